"""Grouped binomial trials: n chances and k successes per style, in groups of styles.

Checks the rows before any model sees them, and condenses a group to *tail counts*
(Griffiths 1973, Biometrics 29; Smith 1983, AS 189), from which the beta-binomial
likelihood needs only logarithms:

    A_r = #{i : k_i > r},  B_r = #{i : n_i - k_i > r},  C_r = #{i : n_i > r}

    checked_trials(k, n, group) -> Trials          raises ValueError naming the row
    tail_counts(trials, groups) -> TailCounts
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]


@dataclass(frozen=True)
class Trials:
    """Counts of m styles in ``n_groups`` groups; build it with :func:`checked_trials`.

    Parameters
    ----------
    k, n : (m,) int
        Successes and trials, ``0 <= k <= n``.
    group : (m,) int
        Index of the style's group, in ``0 .. n_groups - 1``. Groups may be empty.
    """

    k: IntArray
    n: IntArray
    group: IntArray
    n_groups: int

    def total(self, values: ArrayLike) -> FloatArray:
        """Sum of a (m,) quantity over each group's styles, (n_groups,)."""
        return sum_by(self.group, values, self.n_groups)

    def take(self, rows: ArrayLike) -> Trials:
        """The same groups with some of the styles (mask or index)."""
        index = np.asarray(rows)
        return Trials(self.k[index], self.n[index], self.group[index], self.n_groups)


@dataclass(frozen=True)
class TailCounts:
    """Tail counts of some groups, three runs per group (of k, n - k and n) in one array.

    Parameters
    ----------
    r, count : (c,) float
        Position in the run and number of styles beyond it (always positive).
    start, length : (3 g,) int
        Where each run begins, and how long it is (the largest value; 0 is possible).
    """

    r: FloatArray
    count: FloatArray
    start: IntArray
    length: IntArray


def checked_trials(
    k: ArrayLike,
    n: ArrayLike,
    group: ArrayLike | None = None,
    *,
    n_groups: int | None = None,
    names: Sequence[object] | None = None,
) -> Trials:
    """Validate counts and group them.

    Parameters
    ----------
    k, n : (m,) array_like
        Successes and trials per style; floats are accepted when they are whole.
    group : (m,) array_like of int, optional
        Group per style; one group of all styles by default.
    n_groups : int, optional
        Number of groups, where some may be empty; default the largest index + 1.
    names : sequence of m, optional
        What to call a row in an error; default its position.

    Raises
    ------
    ValueError
        A count that is NaN, negative, fractional or has k > n, or a group out of
        range: the first such row is named.
    """
    k_float, n_float = (np.atleast_1d(np.asarray(v, dtype=np.float64)) for v in (k, n))
    if k_float.ndim != 1 or k_float.shape != n_float.shape:
        raise ValueError(f"k and n must be lists of one length: {k_float.shape}, {n_float.shape}")
    index = np.zeros(k_float.size) if group is None else np.asarray(group, dtype=np.float64)
    if index.shape != k_float.shape:
        raise ValueError(f"group must have one entry per style: {index.shape}, {k_float.shape}")
    groups = n_groups if n_groups is not None else int(index.max(initial=-1)) + 1
    bad_group = ~((index >= 0) & (index < groups) & (index == np.floor(index)))
    problems = [
        (~(np.isfinite(k_float) & np.isfinite(n_float)), "a count is missing or not finite"),
        ((k_float < 0) | (n_float < 0), "a count is negative"),
        ((k_float != np.floor(k_float)) | (n_float != np.floor(n_float)), "a count is fractional"),
        (k_float > n_float, "more successes than trials"),
        (bad_group, f"group is not in 0..{groups - 1}"),
    ]
    for wrong, what in problems:
        if wrong.any():
            row = int(np.argmax(wrong))
            name = row if names is None else names[row]
            raise ValueError(
                f"row {name}: {what} (k={k_float[row]:g}, n={n_float[row]:g}, "
                f"group={index[row]:g}); quarantine it before fitting"
            )
    return Trials(
        k_float.astype(np.int64), n_float.astype(np.int64), index.astype(np.int64), groups
    )


def sum_by(index: IntArray, values: ArrayLike, size: int) -> FloatArray:
    """Sum of ``values`` per index, (size,) float; an index that never occurs gives 0."""
    weights = np.asarray(values, dtype=np.float64)
    return np.asarray(np.bincount(index, weights, size), dtype=np.float64)


def tail_counts(trials: Trials, groups: IntArray) -> TailCounts:
    """Tail counts of the given groups (sorted indices), in their order."""
    local = np.full(trials.n_groups, -1)
    local[groups] = np.arange(groups.size)
    chosen = local[trials.group] >= 0
    k, n = trials.k[chosen], trials.n[chosen]
    run = 3 * local[trials.group[chosen]]
    value = np.concatenate([k, n - k, n])
    run = np.concatenate([run, run + 1, run + 2])
    length = np.zeros(3 * groups.size, dtype=np.int64)
    np.maximum.at(length, run, value)
    start = np.cumsum(length) - length
    positive = value > 0
    at = start[run[positive]] + value[positive] - 1
    here = np.bincount(at, minlength=int(length.sum()))
    through = np.cumsum(here)
    end = np.repeat(through[start + length - 1], length)
    r = np.arange(here.size) - np.repeat(start, length)
    return TailCounts(
        r.astype(np.float64), (end - through + here).astype(np.float64), start, length
    )
