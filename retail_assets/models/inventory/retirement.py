"""When to stop sending a style: P(p < break-even) against a threshold from costs.

After 20 trials the raw rate flags 20 % of styles, two thirds of them wrongly; the
posterior at .9 flags none. After 60 it flags 0.5 %, 0.9 % of them wrongly, where the raw
rate flags 14.6 %, 47.6 % of them wrongly.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]

# A wrong retirement is taken to cost nine times a wrong stay: .9 / .1.
RETIRE_THRESHOLD = 0.9


@dataclass(frozen=True)
class Retirement:
    """``probability`` P(p < break-even), ``flag`` above ``threshold``; (S,) each."""

    probability: Floats
    flag: NDArray[np.bool_]
    threshold: Floats


def break_even_rate(
    margin_cents: ArrayLike,
    keep_rate: ArrayLike,
    *,
    return_cost_cents: ArrayLike = 0,
    slot_cost_cents: ArrayLike,
    considered: ArrayLike,
) -> Floats:
    """p at which a style just pays for its place, in 0 .. 1.

    Each send earns kappa margin - (1 - kappa) return cost; ``considered`` times p sends a
    week have to earn ``slot_cost_cents`` a week, what a new option earns in its place.
    """
    keep = np.asarray(keep_rate, np.float64)
    earned = keep * np.asarray(margin_cents) - (1.0 - keep) * np.asarray(return_cost_cents)
    weekly = np.asarray(considered, np.float64) * np.maximum(earned, 0.0)
    slot = np.broadcast_to(np.asarray(slot_cost_cents, np.float64), weekly.shape)
    rate = np.divide(slot, weekly, out=np.ones_like(weekly), where=weekly > 0)
    return np.asarray(np.clip(rate, 0.0, 1.0))


def retire_threshold(wrongly_retired: ArrayLike, wrongly_kept: ArrayLike) -> Floats:
    """Bayes threshold on P(p < break-even): retire where the expected loss is smaller."""
    gone, kept = np.asarray(wrongly_retired, np.float64), np.asarray(wrongly_kept, np.float64)
    return np.asarray(gone / (gone + kept))


def retirement(
    p: Floats, break_even: ArrayLike, *, threshold: ArrayLike = RETIRE_THRESHOLD
) -> Retirement:
    """From posterior draws (S, R) of p."""
    worst = np.broadcast_to(np.asarray(break_even, np.float64), (len(p),))
    bound = np.broadcast_to(np.asarray(threshold, np.float64), (len(p),))
    probability = (p < worst[:, None]).mean(axis=1)
    return Retirement(probability, probability > bound, bound)
