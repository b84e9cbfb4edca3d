"""Branch and bound over intervals of the price total, to a proof.

Best-first: the block of totals with the highest bound is split until its values are constant,
then closed exactly by reduced-cost elimination and a DP on the items that remain open.
"""

from __future__ import annotations

import heapq
from dataclasses import dataclass

import numba
import numpy as np
from numpy.typing import NDArray

from retail_assets.models.pricing.kernels import (
    Bools,
    Floats,
    Ints,
    block_values,
    bound,
    cheapest,
    close,
    land,
    meet,
    own_value,
    reachable,
    surviving,
)
from retail_assets.models.pricing.program import NoLegalPriceError, Program

START_BLOCKS = 32
CORE = 40
"""Candidates besides the best ones that a first, inexact closing may take (1,000 x 10 on odd
cents: without it the exact table does not fit)."""
MAX_CELLS = 50_000_000
"""Cells of the closing table (4 bytes each)."""
REACHABLE_WORK = 4_000_000
"""Totals nobody can reach are listed when candidates x totals / 64 stays below this (30 ms)."""


@dataclass(frozen=True)
class SearchResult:
    """The best choice and what proves it.

    Attributes
    ----------
    value, upper_bound : float
        Whole numbers; equal when the search ran to its end.
    choice : (units,) int64
        Candidate per unit.
    totals, totals_ruled_out : int
        Totals of the grid some choice reaches (all, for large sales), and how many of
        them are proven not to beat ``value``.
    bounds, closings : int
        Bounds evaluated, blocks closed by a DP.
    blocks : (b, 3) float64
        First and last grid total of every block that was ruled out, and its bound.
    """

    value: float
    upper_bound: float
    choice: NDArray[np.int64]
    totals: int
    totals_ruled_out: int
    bounds: int
    closings: int
    blocks: NDArray[np.float64]


@numba.njit(cache=True)
def _keep(
    offset: Ints,
    seg_ptr: Ints,
    seg_from: Ints,
    seg_to: Ints,
    value: Floats,
    vector: Ints,
    best: float,
    choice: Ints,
) -> float:
    """Take the vector as incumbent if it is better at its own total; the best value."""
    own = own_value(offset, seg_ptr, seg_from, seg_to, value, vector)
    if own > best:
        choice[:] = vector
        return own
    return best


@numba.njit(cache=True)
def _improve(
    item_ptr: Ints,
    offset: Ints,
    seg_ptr: Ints,
    seg_from: Ints,
    seg_to: Ints,
    value: Floats,
    low: int,
    high: int,
    values: Floats,
    work: Ints,
    limit: float,
    best: float,
    choice: Ints,
) -> float:
    """Incumbents from a block's bound, and from the bound at the one total they meet at.

    Every choice is legal pricing at *its own* total; landing exactly on the total whose
    bound it came from is what keeps 5,000 items to one closing of 24 open ones.
    """
    above, below, trial = work[0], work[1], work[2]
    meet(offset, above, below, low, high, trial)
    for r in range(3):
        best = _keep(offset, seg_ptr, seg_from, seg_to, value, work[r], best, choice)
    if limit > best:
        k = 0
        for c in trial:
            k += offset[c]
        k = min(max(k, low), high)
        block_values(seg_ptr, seg_from, seg_to, value, k, k, values)
        bound(item_ptr, offset, values, k, k, above, below, trial)
        meet(offset, above, below, k, k, trial)
        land(item_ptr, offset, values, k, trial)
        best = _keep(offset, seg_ptr, seg_from, seg_to, value, trial, best, choice)
    return best


@numba.njit(cache=True)
def _shrink(reach: NDArray[np.int32], low: int, high: int) -> tuple[int, int]:
    """The block without unreachable totals at its ends."""
    if len(reach) > 1:
        while low <= high and reach[low + 1] == reach[low]:
            low += 1
        while low <= high and reach[high + 1] == reach[high]:
            high -= 1
    return low, high


@numba.njit(cache=True)
def _still_open(heap: list, reach: NDArray[np.int32], best: float) -> tuple[float, int]:
    """Highest bound among blocks left open, and the totals in them."""
    limit, totals = best, 0
    for entry in heap:
        if np.floor(entry[4] - entry[0]) > best:
            limit = max(limit, np.floor(entry[4] - entry[0]))
            listed = len(reach) > 1
            totals += reach[entry[2] + 1] - reach[entry[1]] if listed else entry[2] - entry[1] + 1
    return limit, totals


@numba.njit(cache=True)
def _close_block(
    item_ptr: Ints, offset: Ints, values: Floats, low: int, high: int, keep: Bools,
    limit: float, u: float, tolerance: float, max_cells: int,
    trial: Ints, best: float, choice: Ints,
) -> tuple[float, bool]:  # fmt: skip
    """Solve a block of constant values exactly; the best value, and whether it fitted.

    When the table is too large, a small core gives a better incumbent first, which leaves
    fewer candidates for the exact one.
    """
    for attempt in range(3):
        if attempt == 1:
            cheapest(item_ptr, offset, values, u, keep, CORE)
        else:
            surviving(item_ptr, offset, values, limit, u, best, tolerance, keep)
        closed, fitted = close(item_ptr, offset, values, low, high, keep, trial, max_cells)
        if closed > best:
            best = closed
            choice[:] = trial
        if fitted and attempt != 1:
            return best, True
    return best, False


@numba.njit(cache=True)
def _search(
    item_ptr: Ints, offset: Ints, seg_ptr: Ints, seg_from: Ints, seg_to: Ints, value: Floats,
    reach: NDArray[np.int32], k_max: int, start: int, max_bounds: int, max_cells: int,
) -> tuple[float, float, Ints, int, int, int, list, bool]:  # fmt: skip
    """Best value, open bound, choice, totals left open, bounds, closings, blocks, too large."""
    n, m = len(item_ptr) - 1, len(offset)
    values, keep = np.empty(m), np.empty(m, np.bool_)
    work, choice = np.zeros((3, n), np.int64), np.zeros(n, np.int64)
    best, bounds, closings, failed = -np.inf, 0, 0, False
    heap = [(0.0, 0, 0, 0.0, 0.0, True)]
    ruled = [(0.0, 0.0, 0.0)]
    heap.clear()
    ruled.clear()
    todo = [((k_max + 1) * b // start, (k_max + 1) * (b + 1) // start - 1) for b in range(start)]
    while True:
        while len(todo) > 0:
            low, high = todo.pop()
            low, high = _shrink(reach, low, high)
            if low > high:
                continue
            constant = block_values(seg_ptr, seg_from, seg_to, value, low, high, values)
            limit, u, tolerance = bound(
                item_ptr, offset, values, low, high, work[0], work[1], work[2]
            )
            bounds += 1
            if limit > -np.inf:
                best = _improve(
                    item_ptr, offset, seg_ptr, seg_from, seg_to, value, low, high, values,
                    work, np.floor(limit + tolerance), best, choice,
                )  # fmt: skip
            if np.floor(limit + tolerance) > best:
                heapq.heappush(heap, (-limit, low, high, u, tolerance, constant))
            else:
                ruled.append((float(low), float(high), limit))
        if len(heap) == 0 or bounds >= max_bounds or failed:
            break
        minus, low, high, u, tolerance, constant = heapq.heappop(heap)
        if np.floor(tolerance - minus) <= best:
            ruled.append((float(low), float(high), -minus))
            continue
        if constant:
            block_values(seg_ptr, seg_from, seg_to, value, low, high, values)
            best, fitted = _close_block(
                item_ptr, offset, values, low, high, keep, -minus, u, tolerance, max_cells,
                work[2], best, choice,
            )  # fmt: skip
            if fitted:
                closings += 1
                ruled.append((float(low), float(high), -minus))
                continue
            failed = low == high
        todo.append((low, (low + high) // 2))
        todo.append(((low + high) // 2 + 1, high))
    limit, left = _still_open(heap, reach, best)
    return best, limit, choice, left, bounds, closings, ruled, failed


def reach_counts(program: Program) -> NDArray[np.int32]:
    """Running count of reachable totals, or one zero for a sale too large to list them."""
    if len(program.offset) * (program.k_max + 1) / 64 > REACHABLE_WORK:
        return np.zeros(1, np.int32)
    counts = reachable(program.item_ptr, program.offset)
    padding = np.full(program.k_max + 2 - len(counts), counts[-1], np.int32)
    return np.concatenate([counts, padding])


def search(
    program: Program,
    value: NDArray[np.float64],
    *,
    reach: NDArray[np.int32] | None = None,
    max_bounds: int = 1_000_000,
    max_cells: int = MAX_CELLS,
) -> SearchResult:
    """Maximise a sum of whole-number values, each read at the total of the chosen prices.

    Parameters
    ----------
    value : (segments,) float64 of whole numbers
        The sum over units must stay below 1e13, where float64 still resolves ones.
    reach : from `reach_counts`, to share it between searches of one program.

    Raises
    ------
    NoLegalPriceError
        No choice is legal at its own total.
    ValueError
        The closing table would exceed ``max_cells``.
    """
    reach = reach_counts(program) if reach is None else reach
    step = float(np.gcd.reduce(np.abs(value).astype(np.int64))) if len(value) else 1.0
    scaled = value / step if step > 1 else value
    step = max(step, 1.0)
    start = min(START_BLOCKS, program.k_max + 1)
    best, limit, choice, left, bounds, closings, ruled, failed = _search(
        program.item_ptr, program.offset, program.seg_ptr, program.seg_from, program.seg_to,
        scaled, reach, program.k_max, start, max_bounds, max_cells,
    )  # fmt: skip
    if failed:
        raise ValueError(
            f"{program.k_max + 1} price totals need more than {max_cells} cells; use a coarser"
            " price grid (prices that share a step, such as .99 endings)"
        )
    if best == -np.inf:
        raise NoLegalPriceError("no combination of prices is legal at its own total; see explain()")
    totals = int(reach[-1]) if len(reach) > 1 else program.k_max + 1
    blocks = np.array(ruled, np.float64).reshape(-1, 3)
    blocks[:, 2] *= step
    return SearchResult(
        value=best * step,
        upper_bound=limit * step,
        choice=choice,
        totals=totals,
        totals_ruled_out=totals - int(left),
        bounds=bounds,
        closings=closings,
        blocks=blocks,
    )
