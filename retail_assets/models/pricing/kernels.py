"""Compiled loops of the search: block values, the Lagrangian bound, the DP on core items.

Values are whole numbers held as float64; minus infinity marks "not legal here". A bound is
therefore rounded down before it is compared, and every pruning stays exact.

Method: Ferreira, Lee and Simchi-Levi (M&SOM 18(1), 2016) bound each total by its LP; here one
bound covers an interval of totals, min over u of sum_i max_j (v_ij - u p_ij) + max(u a, u b),
which equals the LP bound where a = b.
"""

from __future__ import annotations

import numba
import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]


@numba.njit(cache=True)
def block_values(
    seg_ptr: Ints, seg_from: Ints, seg_to: Ints, value: Floats, low: int, high: int, out: Floats
) -> bool:
    """Best value of each candidate in low..high into ``out``; True if constant there."""
    constant = True
    for c in range(len(seg_ptr) - 1):
        left, stop = seg_ptr[c], seg_ptr[c + 1]
        right = stop
        while left < right:
            middle = (left + right) >> 1
            if seg_to[middle] < low:
                left = middle + 1
            else:
                right = middle
        best = -np.inf
        if left < stop and seg_from[left] <= low and seg_to[left] >= high:
            best = value[left]
        else:
            while left < stop and seg_from[left] <= high:
                best = max(best, value[left])
                constant = False
                left += 1
        out[c] = best
    return constant


@numba.njit(cache=True)
def relaxed(
    item_ptr: Ints, offset: Ints, values: Floats, price_of_total: float, choice: Ints
) -> tuple[float, int]:
    """Per item the best of value - u * offset; (sum of values, sum of offsets)."""
    value, total = 0.0, 0
    for i in range(len(item_ptr) - 1):
        best, at = -np.inf, item_ptr[i]
        for c in range(item_ptr[i], item_ptr[i + 1]):
            score = values[c] - price_of_total * offset[c]
            if score > best:
                best, at = score, c
        choice[i] = at
        value += values[at]
        total += offset[at]
    return value, total


@numba.njit(cache=True)
def extremes(item_ptr: Ints, offset: Ints, values: Floats) -> tuple[int, int, float, float, bool]:
    """Smallest and largest sum of legal offsets, with the best value at each; feasible."""
    low_total, high_total, low_value, high_value = 0, 0, 0.0, 0.0
    for i in range(len(item_ptr) - 1):
        low, high = -1, -1
        for c in range(item_ptr[i], item_ptr[i + 1]):
            if values[c] == -np.inf:
                continue
            if low < 0 or (offset[c], -values[c]) < (offset[low], -values[low]):
                low = c
            if high < 0 or (offset[c], values[c]) > (offset[high], values[high]):
                high = c
        if low < 0:
            return 0, 0, 0.0, 0.0, False
        low_total += offset[low]
        high_total += offset[high]
        low_value += values[low]
        high_value += values[high]
    return low_total, high_total, low_value, high_value, True


@numba.njit(cache=True)
def bound(
    item_ptr: Ints,
    offset: Ints,
    values: Floats,
    low: int,
    high: int,
    above: Ints,
    below: Ints,
    trial: Ints,
) -> tuple[float, float, float]:
    """Lagrangian bound over totals low..high: (bound, multiplier, tolerance).

    ``above`` and ``below`` receive the choices on either side of the target. The minimum of
    a convex piecewise linear function by intersecting its outermost known lines.
    """
    low_total, high_total, low_value, high_value, feasible = extremes(item_ptr, offset, values)
    low, high = max(low, low_total), min(high, high_total)
    if not feasible or low > high:
        return -np.inf, 0.0, 0.0
    value, total = relaxed(item_ptr, offset, values, 0.0, above)
    precision = max(1e-13, 1.2e-16 * len(item_ptr))
    below[:] = above
    if low <= total <= high:
        return value, 0.0, precision * abs(value) + 1e-7
    # line of slope < 0 (the choice costs more than the target), and of slope >= 0
    if total > high:
        target = high
        down_value, down = value, target - total
        up_value, up = low_value, target - low_total
    else:
        target = low
        down_value, down = high_value, target - high_total
        up_value, up = value, target - total
    best, best_u = np.inf, 0.0
    scale = abs(value) + abs(low_value) + abs(high_value)
    for _ in range(200):
        u = (down_value - up_value) / (up - down)
        predicted = down_value + down * u
        value, total = relaxed(item_ptr, offset, values, u, trial)
        slope = target - total
        reached = value + slope * u
        if reached < best:
            best, best_u = reached, u
        if slope <= 0:
            above[:] = trial
        if slope >= 0:
            below[:] = trial
        if slope == 0 or reached <= predicted + 1e-14 * scale + 1e-9:
            break
        if slope < 0:
            down_value, down = value, slope
        else:
            up_value, up = value, slope
    return best, best_u, precision * (scale + abs(best_u) * (target + 1)) + 1e-7


@numba.njit(cache=True)
def own_value(
    offset: Ints, seg_ptr: Ints, seg_from: Ints, seg_to: Ints, value: Floats, choice: Ints
) -> float:
    """Value of a choice with demand read at its own total; minus infinity if not legal."""
    k = 0
    for c in choice:
        k += offset[c]
    result = 0.0
    for c in choice:
        left, right = seg_ptr[c], seg_ptr[c + 1]
        stop = right
        while left < right:
            middle = (left + right) >> 1
            if seg_to[middle] < k:
                left = middle + 1
            else:
                right = middle
        if left >= stop or seg_from[left] > k:
            return -np.inf
        result += value[left]
    return result


@numba.njit(cache=True)
def meet(offset: Ints, above: Ints, below: Ints, low: int, high: int, out: Ints) -> None:
    """Walk from the dearer choice to the cheaper one, stopping short of leaving the block."""
    out[:] = above
    k = 0
    for c in above:
        k += offset[c]
    for i in range(len(above)):
        if k <= high:
            break
        step = offset[above[i]] - offset[below[i]]
        if step != 0 and k - step >= low:
            k -= step
            out[i] = below[i]


@numba.njit(cache=True)
def land(item_ptr: Ints, offset: Ints, values: Floats, k: int, choice: Ints) -> None:
    """Bring the choice to total ``k`` exactly by the one cheapest change, if there is one."""
    short = k
    for c in choice:
        short -= offset[c]
    if short == 0:
        return
    best, at, to = -np.inf, -1, -1
    for i in range(len(choice)):
        own = choice[i]
        for c in range(item_ptr[i], item_ptr[i + 1]):
            if offset[c] - offset[own] == short and values[c] - values[own] > best:
                best, at, to = values[c] - values[own], i, c
    if at >= 0:
        choice[at] = to


@numba.njit(cache=True)
def surviving(
    item_ptr: Ints,
    offset: Ints,
    values: Floats,
    limit: float,
    u: float,
    incumbent: float,
    tolerance: float,
    keep: Bools,
) -> int:
    """Reduced costs: mark candidates that could still be in a better choice; their number.

    Candidate c of item i goes when bound - (best_i - score_c) < incumbent + 1.
    """
    kept = 0
    for i in range(len(item_ptr) - 1):
        best = -np.inf
        for c in range(item_ptr[i], item_ptr[i + 1]):
            best = max(best, values[c] - u * offset[c])
        for c in range(item_ptr[i], item_ptr[i + 1]):
            cost = best - (values[c] - u * offset[c])
            keep[c] = values[c] > -np.inf and limit - cost >= incumbent + 1.0 - tolerance
            kept += keep[c]
    return kept


@numba.njit(cache=True)
def cheapest(
    item_ptr: Ints, offset: Ints, values: Floats, u: float, keep: Bools, extra: int
) -> None:
    """Mark each item's best candidates and the ``extra`` others of least reduced cost."""
    cost = np.empty(len(offset))
    for i in range(len(item_ptr) - 1):
        best = -np.inf
        for c in range(item_ptr[i], item_ptr[i + 1]):
            best = max(best, values[c] - u * offset[c])
        for c in range(item_ptr[i], item_ptr[i + 1]):
            cost[c] = best - (values[c] - u * offset[c])
    at = min(len(item_ptr) - 1 + extra, len(cost) - 1)
    limit = np.sort(cost)[at]
    for c in range(len(cost)):
        keep[c] = cost[c] <= limit and values[c] > -np.inf


@numba.njit(cache=True)
def _core(
    item_ptr: Ints, offset: Ints, values: Floats, keep: Bools, choice: Ints, core: Ints, span: Ints
) -> tuple[int, int, float, int]:
    """Items with several candidates left into ``core``, their (shortest, range) into ``span``.

    Returns their number (-1: an item has none left), the sum of the shortest offsets of all
    items, the value of the items with one candidate, and the sum of the ranges.
    """
    size, base, fixed, reach = 0, 0, 0.0, 0
    for i in range(len(item_ptr) - 1):
        count, least, most, only = 0, 0, 0, -1
        for c in range(item_ptr[i], item_ptr[i + 1]):
            if keep[c]:
                least = offset[c] if count == 0 else min(least, offset[c])
                most = offset[c] if count == 0 else max(most, offset[c])
                count += 1
                only = c
        if count == 0:
            return -1, 0, 0.0, 0
        choice[i] = only
        base += least
        if count == 1:
            fixed += values[only]
            continue
        core[size] = i
        span[size, 0], span[size, 1] = least, most - least
        reach += most - least
        size += 1
    return size, base, fixed, reach


@numba.njit(cache=True)
def _fill(
    item_ptr: Ints, offset: Ints, values: Floats, keep: Bools, core: Ints, span: Ints,
    first: int, last: int, origin: NDArray[np.int32],
) -> Floats:  # fmt: skip
    """Best value per sum up to ``last`` over the core; the candidate taken into ``origin``.

    Sums from which ``first`` is out of reach are left out.
    """
    table = np.full(last + 1, -np.inf)
    table[0] = 0.0
    done, rest = 0, span[: len(core), 1].sum()
    for t in range(len(core)):
        rest -= span[t, 1]
        grown = np.full(last + 1, -np.inf)
        limit, need = min(done + span[t, 1], last), max(first - rest, 0)
        for c in range(item_ptr[core[t]], item_ptr[core[t] + 1]):
            if keep[c]:
                step = offset[c] - span[t, 0]
                for s in range(max(need, step), min(done + step, limit) + 1):
                    score = table[s - step] + values[c]
                    if score > grown[s]:
                        grown[s] = score
                        origin[t, s] = c
        table = grown
        done = limit
    return table


@numba.njit(cache=True)
def close(
    item_ptr: Ints, offset: Ints, values: Floats, low: int, high: int, keep: Bools,
    choice: Ints, max_cells: int,
) -> tuple[float, bool]:  # fmt: skip
    """Best choice whose offsets sum to low..high, over kept candidates, by DP.

    Returns the value (minus infinity: none) and whether the table fitted ``max_cells``.
    """
    n = len(item_ptr) - 1
    core, span = np.empty(n, np.int64), np.empty((n, 2), np.int64)
    size, base, fixed, reach = _core(item_ptr, offset, values, keep, choice, core, span)
    first, last = max(low - base, 0), min(high - base, reach)
    if size < 0 or first > last:
        return -np.inf, True
    if size == 0:
        return fixed, True
    if size * (last + 1) > max_cells:
        return -np.inf, False
    origin = np.empty((size, last + 1), np.int32)
    table = _fill(item_ptr, offset, values, keep, core[:size], span, first, last, origin)
    at = first + int(np.argmax(table[first:]))
    best = table[at]
    if best == -np.inf:
        return best, True
    for t in range(size - 1, -1, -1):
        c = origin[t, at]
        choice[core[t]] = c
        at -= offset[c] - span[t, 0]
    return best + fixed, True


def reachable(item_ptr: NDArray[np.int64], offset: NDArray[np.int64]) -> NDArray[np.int32]:
    """Running count of the totals some choice reaches: entry k counts totals below k."""
    sums = 1
    for i in range(len(item_ptr) - 1):
        grown = 0
        for step in set(offset[item_ptr[i] : item_ptr[i + 1]].tolist()):
            grown |= sums << step
        sums = grown
    raw = np.frombuffer(sums.to_bytes((sums.bit_length() + 7) // 8, "little"), np.uint8)
    bits = np.unpackbits(raw, bitorder="little", count=sums.bit_length())
    return np.append(0, np.cumsum(bits)).astype(np.int32)
