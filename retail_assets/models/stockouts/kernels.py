"""Compiled loops of the stock-out model, one series at a time.

State 0 is *in stock*, 1 is *out*, both at the start of an interval. Within
interval ``t`` a product in stock may run out, and the next interval may begin
with a restock; every loop below uses the same three numbers per interval:

* ``stay``: in stock, these sales, still in stock at the end,
* ``go``:   in stock, these sales, run out by the end,
* ``gone``: out of stock, these sales (1 without a sale, else 0),

followed by a restock with probability ``hazard[t + 1]``.
"""

from __future__ import annotations

import math

import numba
import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


@numba.njit(cache=True, nogil=True)
def log_pmf(count: int, mean: float, dispersion: float) -> float:
    """Log probability of a count: Poisson, or negative binomial with var = m + d m^2."""
    if mean <= 0.0:
        return 0.0 if count == 0 else -745.0
    if dispersion * mean < 1e-9:
        return count * math.log(mean) - mean - math.lgamma(count + 1.0)
    size = 1.0 / dispersion
    odds = dispersion * mean
    return (
        math.lgamma(count + size)
        - math.lgamma(size)
        - math.lgamma(count + 1.0)
        - (count + size) * math.log1p(odds)
        + count * math.log(odds)
    )


@numba.njit(cache=True, nogil=True)
def tail_ratio(count: int, mean: float, dispersion: float) -> float:
    """P(N > count) / P(N = count), summed upwards so that nothing cancels."""
    shrink = mean / (1.0 + dispersion * mean)
    total, term, k = 0.0, 1.0, count
    while k < count + 100_000:
        term *= shrink * (1.0 + dispersion * k) / (k + 1.0)
        total += term
        k += 1
        if term < 1e-12 * (1.0 + total) and k > mean:
            break
    return total


@numba.njit(cache=True, nogil=True)
def in_stock_share(count: int, mean: float, dispersion: float) -> float:
    """Expected share of an interval on the shelf when the ``count``-th sale emptied it.

    ``E[tau_c | tau_c < 1] = (c / mu) P(N > c) / P(N >= c)`` for Poisson arrivals;
    about ``c / (c + 1)`` when the mean is small.
    """
    if mean < 1e-9:
        return count / (count + 1.0)
    above = tail_ratio(count, mean, dispersion)
    return min(1.0, count / mean * above / (1.0 + above))


def zero_probability(mean: Floats, dispersion: float) -> Floats:
    """P(no sale | in stock) per interval; numpy, whose exp and log are vectorised."""
    if dispersion < 1e-6:
        return np.exp(-mean)
    return np.exp(np.log(1.0 + dispersion * mean) * (-1.0 / dispersion))


@numba.njit(cache=True, nogil=True)
def emit(
    count: int, zero: float, mean: float, dispersion: float, after_sale: float, otherwise: float
) -> tuple[float, float, float]:
    """(stay, go, gone) of one interval; with a sale, relative to P(N = count)."""
    if count == 0:
        return zero * (1.0 - otherwise), zero * otherwise, 1.0
    kept = (1.0 - after_sale) ** (count - 1)
    reached = 1.0 + tail_ratio(count, mean, dispersion)
    return kept * (1.0 - after_sale), kept * after_sale * reached, 0.0


@numba.njit(cache=True, nogil=True)
def backward(
    counts: NDArray[np.int32],
    zero: Floats,
    mean: Floats,
    hazard: Floats,
    after_sale: Floats,
    dispersion: float,
    otherwise: float,
) -> Floats:
    """P(out) share of the backward message: out / (in + out) of P(y_t.. | state_t)."""
    n = len(counts)
    share = np.empty(n)
    b_in, b_out = 1.0, 1.0
    for t in range(n - 1, -1, -1):
        if t + 1 < n:
            h = hazard[t + 1]
            b_out += h * (b_in - b_out)
        if counts[t] == 0:
            new_in = zero[t] * (b_in + otherwise * (b_out - b_in))
        else:
            stay, go, _ = emit(counts[t], zero[t], mean[t], dispersion, after_sale[t], otherwise)
            new_in = stay * b_in + go * b_out
            b_out = 0.0
        scale = 1.0 / (new_in + b_out)
        b_in, b_out = new_in * scale, b_out * scale
        share[t] = b_out
    return share


# Places in the array of sufficient statistics that ``expect`` returns.
(LOG_LIK, RAN_OUT, DROPPED, ZERO_IN, OWN_SALES, EXPOSURE, PAIRS, SQUARES) = range(8)
(OUT_TIME, LOST_OWN, N_STATS) = range(8, 11)
# Rows of the statistics per phase.
(RESTOCKS, WAITS, RUN_OUTS, TRANSACTIONS) = range(4)


@numba.njit(cache=True, nogil=True)
def _tally_sale(
    stats: Floats,
    count: int,
    weight: float,
    mean: float,
    ran: float,
    rate: float,
    dispersion: float,
) -> None:
    """Add one interval with sales to the sums.

    ``ran`` is P(ran out within the interval): then only part of it was exposed, and
    its count says nothing about the dispersion.
    """
    stats[RAN_OUT] += ran
    stats[LOG_LIK] += log_pmf(count, mean, dispersion)
    stats[OWN_SALES] += count * (rate * weight / mean if mean > 0.0 else 1.0)
    stats[PAIRS] += (1.0 - ran) * ((count - mean) * (count - mean) - count)
    stats[SQUARES] += (1.0 - ran) * mean * mean
    share = 1.0
    if ran >= 1e-6:
        share -= ran * (1.0 - in_stock_share(count, mean, dispersion))
    stats[EXPOSURE] += weight * share


@numba.njit(cache=True, nogil=True)
def _advance(stay: float, gone: float, hazard: float, sold: bool) -> tuple[float, float, float]:
    """(in, out) weights at the next interval's start, and the log of what they were scaled by."""
    a_out = gone * (1.0 - hazard)
    # On a strict schedule a sale may contradict all of a long silence: keep it possible.
    a_in = max(stay + gone * hazard, 1e-200 * a_out)
    scale = a_in + a_out
    # Rescale at sales and before underflow only: a logarithm per interval is dear.
    if sold or scale < 1e-50:
        return a_in / scale, a_out / scale, math.log(scale)
    return a_in, a_out, 0.0


@numba.njit(cache=True, nogil=True)
def expect(
    counts: NDArray[np.int32],
    weight: Floats,
    mean: Floats,
    zero: Floats,
    phase: NDArray[np.int16],
    hazard: Floats,
    after_sale: Floats,
    params: Floats,
    p_out: Floats,
    p_back: Floats,
    by_phase: Floats,
) -> Floats:
    """Forward-backward; fills ``p_out``, ``p_back``, ``by_phase``; returns the other sums.

    ``params`` is (arrival rate, out otherwise, dispersion, initial out).
    """
    n = len(counts)
    rate, otherwise, dispersion = params[0], params[1], params[2]
    later = backward(counts, zero, mean, hazard, after_sale, dispersion, otherwise)
    stats = np.zeros(N_STATS)
    p_back[0] = 0.0
    a_in, a_out = 1.0 - params[3], params[3]
    for t in range(n):
        # a: P(state_t, y before t) up to a scale kept in LOG_LIK; later: P(y from t on | state_t).
        h, b_out, b_in = 0.0, 1.0, 1.0
        if t + 1 < n:
            h, b_out = hazard[t + 1], later[t + 1]
            b_in = 1.0 - b_out
        b_run_out = b_out + h * (b_in - b_out)
        if counts[t] == 0:
            stay, go = a_in * zero[t] * (1.0 - otherwise), a_in * zero[t] * otherwise
            gone = a_out
            inverse = 1.0 / (stay * b_in + (go + gone) * b_run_out)
            out = gone * b_run_out * inverse
            stats[DROPPED] += go * b_run_out * inverse
            stats[ZERO_IN] += 1.0 - out
            stats[PAIRS] += (1.0 - out) * mean[t] * mean[t]
            stats[SQUARES] += (1.0 - out) * mean[t] * mean[t]
            stats[EXPOSURE] += (1.0 - out) * weight[t]
            stats[OUT_TIME] += out
            stats[LOST_OWN] += out * weight[t] * rate
        else:
            stay, go, _ = emit(counts[t], zero[t], mean[t], dispersion, after_sale[t], otherwise)
            stay, go, gone, out = a_in * stay, a_in * go, 0.0, 0.0
            inverse = 1.0 / (stay * b_in + go * b_run_out)
            ran = go * b_run_out * inverse
            by_phase[RUN_OUTS, phase[t]] += ran
            by_phase[TRANSACTIONS, phase[t]] += counts[t]
            _tally_sale(stats, counts[t], weight[t], mean[t], ran, rate, dispersion)
        p_out[t] = out
        if t + 1 < n:
            p_back[t + 1] = (go + gone) * h * b_in * inverse
            by_phase[RESTOCKS, phase[t + 1]] += p_back[t + 1]
            by_phase[WAITS, phase[t + 1]] += (go + gone) * b_run_out * inverse
        a_in, a_out, log_scale = _advance(stay, go + gone, h, counts[t] > 0)
        stats[LOG_LIK] += log_scale
    stats[LOG_LIK] += math.log(a_in + a_out)
    return stats


@numba.njit(cache=True, nogil=True)
def sample_path(
    counts: NDArray[np.int32],
    mean: Floats,
    zero: Floats,
    hazard: Floats,
    after_sale: Floats,
    dispersion: float,
    otherwise: float,
    initial_out: float,
    uniform: Floats,
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Draw one whole status path given all sales; (starts, stops) of its out spans."""
    n = len(counts)
    later = backward(counts, zero, mean, hazard, after_sale, dispersion, otherwise)
    starts, stops = np.empty(n, np.int64), np.empty(n, np.int64)
    m = 0
    w_in, w_out = (1.0 - initial_out) * (1.0 - later[0]), initial_out * later[0]
    out = uniform[0] * (w_in + w_out) < w_out
    if out:
        starts[0] = 0
    for t in range(n - 1):
        stay, go, gone = emit(counts[t], zero[t], mean[t], dispersion, after_sale[t], otherwise)
        b_out, b_in, h = later[t + 1], 1.0 - later[t + 1], hazard[t + 1]
        to_out = (gone if out else go) * (1.0 - h) * b_out
        to_in = ((gone if out else go) * h + (0.0 if out else stay)) * b_in
        now = uniform[t + 1] * (to_in + to_out) < to_out
        if now and not out:
            starts[m] = t + 1
        elif out and not now:
            stops[m] = t + 1
            m += 1
        out = now
    if out:
        stops[m] = n
        m += 1
    return starts[:m].copy(), stops[:m].copy()
