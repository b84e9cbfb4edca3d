"""Ranked lists of customers whose first choice is known."""

from __future__ import annotations

import numba
import numpy as np
from numpy.typing import NDArray

from retail_assets.models.panel import ChoiceModel

MAX_LIST = 8


def ranked_lists(
    first_choice: NDArray[np.int16],
    substitution_rate: NDArray[np.float64],
    choice_model: ChoiceModel,
    rng: np.random.Generator,
) -> NDArray[np.int16]:
    """Where each customer goes when what they want is out.

    One step: one attempt from the row of the first choice. Markov chain: the walk over the
    rows until it leaves; repeated products drop out, since a product that was out a moment
    ago still is.

    Parameters
    ----------
    first_choice : (N,) int16
    substitution_rate : (n, n) float64
    choice_model : {"one_step", "markov_chain"}
    rng : numpy.random.Generator

    Returns
    -------
    (N, K) int16
        Distinct products, best first, -1 ends the list. K = 2 for one step, else min(n, 8).
    """
    cumulated = np.cumsum(substitution_rate, axis=1)
    n = len(substitution_rate)
    if choice_model == "one_step":
        lists = np.empty((len(first_choice), 2), dtype=np.int16)
        lists[:, 0] = first_choice
        _step(first_choice, cumulated, rng.random(len(first_choice)), lists)
        return lists
    lists = np.full((len(first_choice), min(n, MAX_LIST)), -1, dtype=np.int16)
    _walk(first_choice, cumulated, rng, lists)
    return lists


@numba.njit(cache=True)
def _step(first, cumulated, uniform, lists):  # type: ignore[no-untyped-def]
    n = cumulated.shape[1]
    for i in range(len(first)):
        target = np.searchsorted(cumulated[first[i]], uniform[i], side="right")
        lists[i, 1] = target if target < n else -1


@numba.njit(cache=True)
def _walk(first, cumulated, rng, lists):  # type: ignore[no-untyped-def]
    n, room = cumulated.shape[1], lists.shape[1]
    seen = np.full(n, -1, np.int64)
    for i in range(len(first)):
        at, filled = np.int64(first[i]), 0
        while at < n:
            if seen[at] != i:
                seen[at] = i
                lists[i, filled] = at
                filled += 1
                if filled == room:
                    break
            at = np.searchsorted(cumulated[at], rng.random(), side="right")
