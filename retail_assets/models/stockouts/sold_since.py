"""Status paths where running out depends on how much was sold since stock came back.

A delivery brings so many units: none of the first sales behind it can be the last
one, and the sale that is comes at nearly the same count each time. Where every
delivery of a schedule refills the shelf, that count is observed (`rhythm`); where
deliveries come when ordered, it hangs on the path itself. So the state *in stock* is
split by transactions since the last restock, the last class holding all beyond.
In `paper_money` (12 seeds)
the RMSE of the substitution rates falls from .080 to .049, and lambda of the slow seller
b is 2 % low instead of 7 %. How long an outage lasts is still memoryless: lambda of e,
whose outages last up to 100 intervals and never longer, stays 5 % low.
"""

from __future__ import annotations

import numba
import numpy as np
from numpy.typing import NDArray

from retail_assets.models.stockouts.kernels import tail_ratio

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

# Transactions told apart; 200,000 intervals need 53 MB for the time of a draw.
MAX_SOLD = 64


def sold_since_restock(counts: NDArray[np.int32], out: NDArray[np.bool_]) -> Ints:
    """(T,) transactions since the path's last restock, up to the interval's end; capped.

    Before the first restock nothing is known, which counts as `MAX_SOLD`.
    """
    total = np.cumsum(counts, dtype=np.int64)
    back = np.append(False, out[:-1] & ~out[1:])
    base = np.maximum.accumulate(np.where(back, total - counts, -1))
    return np.where(base < 0, MAX_SOLD, np.minimum(total - base, MAX_SOLD))


@numba.njit(cache=True)
def _sell(a: Floats, count: int, q: Floats, reached: float, after: Floats, go: Floats) -> float:
    """One interval with sales: fills the weights that stay, and that run out; sums these."""
    last = len(q) - 1
    after[:] = 0.0
    gone = 0.0
    for k in range(last + 1):
        sold = min(k + count, last)
        kept = (1.0 - q[sold]) ** (count - 1)
        after[sold] += a[k] * kept * (1.0 - q[sold])
        go[k] = a[k] * kept * q[sold] * reached
        gone += go[k]
    return gone


@numba.njit(cache=True)
def _filter(counts, zero, mean, hazard, after_sale, row, dispersion, otherwise, initial_out):  # type: ignore[no-untyped-def]
    """(T + 1, K + 2) P(state, sales so far), each row to a scale of its own; log-likelihood."""
    n, last = len(counts), after_sale.shape[1] - 1
    kept = np.empty((n + 1, last + 2), np.float32)
    a, after, go = np.zeros(last + 1), np.empty(last + 1), np.empty(last + 1)
    a[last], a_out, log_lik = 1.0 - initial_out, initial_out, 0.0
    for t in range(n):
        h = hazard[t + 1] if t + 1 < n else 0.0
        total = 0.0
        for k in range(last + 1):
            kept[t, k] = a[k]
            total += a[k]
        kept[t, last + 1] = a_out
        if counts[t] == 0:
            stay = zero[t] * (1.0 - otherwise)
            for k in range(last + 1):
                a[k] *= stay
            a_out += total * zero[t] * otherwise
            total *= stay
        else:
            reached = 1.0 + tail_ratio(counts[t], mean[t], dispersion)
            a_out = _sell(a, counts[t], after_sale[row[t]], reached, after, go)
            a[:] = after
            total = a.sum()
        a[0] += a_out * h
        total += a_out
        a_out *= 1.0 - h
        # Rescaled often enough for float32; on a strict schedule a sale may be impossible.
        if counts[t] > 0 or total < 1e-6:
            total = max(total, 1e-200)
            log_lik += np.log(total)
            a /= total
            a_out /= total
    kept[n, : last + 1] = a
    kept[n, last + 1] = a_out
    return kept, log_lik + np.log(a.sum() + a_out)


@numba.njit(cache=True)
def _pick(weight: Floats, uniform: float) -> int:
    """Index drawn in proportion to ``weight``; the last positive one against rounding."""
    left, chosen = uniform * weight.sum(), 0
    for k in range(len(weight)):
        if weight[k] > 0.0:
            chosen = k
            left -= weight[k]
            if left < 0.0:
                break
    return chosen


@numba.njit(cache=True)
def sample_path(  # type: ignore[no-untyped-def]
    counts, zero, mean, hazard, after_sale, row, dispersion, otherwise, initial_out, uniform
):
    """Draw one status path given all sales: (T,) out of stock, and the log-likelihood.

    Parameters
    ----------
    counts, zero, mean, hazard : (T,)
        As in `kernels`.
    after_sale : (R, K + 1) float64
        P(run out | sale) by row and by transactions since the restock, this one
        included; K = 0 leaves the plain two-state model.
    row : (T,) int16
        Row of ``after_sale`` that holds in each interval.
    uniform : (T + 1,) float64

    Notes
    -----
    Filtered forward, drawn backward: the count is known going back, up to the class
    that holds all beyond K. Sales weigh relative to P(N = count).
    """
    n, last = len(counts), after_sale.shape[1] - 1
    kept, log_lik = _filter(
        counts, zero, mean, hazard, after_sale, row, dispersion, otherwise, initial_out
    )
    path = np.empty(n, np.bool_)
    weight, after = np.empty(last + 2), np.empty(last + 1)
    go, a = np.empty(last + 1), np.empty(last + 1)
    state = _pick(kept[n].astype(np.float64), uniform[n])
    for t in range(n - 1, -1, -1):
        if 0 < state < last or (state == last and last > 0 and counts[t] == 0):
            state -= counts[t]
            path[t] = False
            continue
        h = hazard[t + 1] if t + 1 < n else 0.0
        enters = 1.0 - h if state == last + 1 else (h if state == 0 else 0.0)
        a[:] = kept[t, : last + 1]
        weight[:] = 0.0
        if counts[t] == 0:
            weight[: last + 1] = a * (zero[t] * otherwise * enters)
            weight[last + 1] = kept[t, last + 1] * enters
            if state == 0:
                weight[0] += a[0] * zero[t] * (1.0 - otherwise)
        else:
            q = after_sale[row[t]]
            reached = 1.0 + tail_ratio(counts[t], mean[t], dispersion)
            _sell(a, counts[t], q, reached, after, go)
            weight[: last + 1] = go * enters
            if state == last:
                for k in range(max(last - counts[t], 0), last + 1):
                    weight[k] += a[k] * (1.0 - q[last]) ** counts[t]
        state = _pick(weight, uniform[t])
        path[t] = state == last + 1
    return path, log_lik
