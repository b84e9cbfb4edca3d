"""The weekly recursion of projected stock, compiled: many paths of many styles at once.

One week of one path, for every style of a pool (the styles one warehouse offers the
same clients):

    arrivals and the week's returns join the stock
    demand D ~ Poisson(traffic x considered x p), shipped X = min(D, stock)
    a share of what was not served picks another style still in stock
    a shipped unit is settled after a random delay: kept with probability kappa, else back

Returns count before the demand of their week: a style that ran out sends a returned unit
again within days. (With returns at the week's end, stock of scarce styles was overstated
by a week's returns: coverage .78 at week 8 where it is .95.)

Given a gamma traffic level shared by the pool, D is the thinned negative binomial
count of clients. Paths go in blocks of 16, so that one cache line of each result is
written at a time.
"""

from __future__ import annotations

from typing import NamedTuple

import numba
import numpy as np
from numpy.typing import NDArray

from retail_assets.models.inventory.sampling import Floats, State, binomial, poisson, word

Counts = NDArray[np.int32]
_BLOCK = 16
_ONE_BY_ONE = 30
_SLICE_BITS = np.uint64(12)
_SLICES = 4096
_SLICE_MASK = np.uint64(_SLICES - 1)


@numba.njit(cache=True)
def _lookup(cumulative: Floats, table: NDArray[np.int8]) -> None:
    """Lag of each of 4096 equal slices of probability: exact to 1.2e-4, and free of branches."""
    lag = 0
    for k in range(_SLICES):
        while lag < len(cumulative) - 1 and (k + 0.5) / _SLICES > cumulative[lag]:
            lag += 1
        table[k] = lag


@numba.njit(cache=True)
def _settle_later(
    state: State, units: int, cumulative: Floats, table: NDArray[np.int8], ring: Counts, now: int
) -> None:
    """Put ``units`` in the weeks they are settled in; ``ring`` (L,), this week at ``now``."""
    lags = len(cumulative)
    if lags == 1:
        ring[now] += units
        return
    if units <= _ONE_BY_ONE:
        while units > 0:
            bits = word(state)
            for _ in range(min(units, 5)):
                at = now + table[np.int64(bits & _SLICE_MASK)]
                ring[at if at < lags else at - lags] += 1
                bits >>= _SLICE_BITS
            units -= 5
        return
    below = 0.0
    for lag in range(lags):
        # The last value is 1: whatever is left is settled then.
        drawn = binomial(state, units, (cumulative[lag] - below) / (1.0 - below))
        ring[now + lag if now + lag < lags else now + lag - lags] += drawn
        below = cumulative[lag]
        units -= drawn
        if units == 0:
            return


class Pool(NamedTuple):
    """What one pool of n styles starts from: T weeks, R paths, L lags.

    Parameters
    ----------
    on_hand, out, on_order : (n,)
        Units now.
    residual : (n, L)
        Cumulative distribution of the weeks until units now out are settled.
    arrivals : (n, T)
        Units scheduled to arrive at the start of each week.
    order_week, free_from : (n, R)
        Week ``on_order`` arrives in; week from which stock is unlimited (T: never).
    p, keep : (n, R)
    considered : (n, T)
    traffic : (T, R)
        Expected clients of the pool, gamma level included.
    respill : float
    delay : (L,)
        Cumulative distribution of the weeks from sending to settling.
    window : (2, n, R)
        Weeks, exclusive, at which the two requirement windows end.
    """

    on_hand: Counts
    out: Counts
    on_order: Counts
    residual: Floats
    arrivals: Counts
    order_week: Counts
    free_from: Counts
    p: Floats
    keep: Floats
    considered: Floats
    traffic: Floats
    respill: float
    delay: Floats
    window: Counts


class Paths(NamedTuple):
    """What the recursion fills.

    Parameters
    ----------
    totals : (8, n, T)
        Sums over paths: sent, sold, returned, out, short, available, arrived, demand.
    stock, sold : (n, T, R), or (n, 0, 0) where paths are not wanted
        On hand at the week's end; units sold since the start.
    need : (2, n, R)
        Units short at the largest shortfall since ``free_from``, per window; negative
        where that many units are to spare.
    lost : (n, R)
        Units of demand not served at first choice before ``free_from``.
    """

    totals: Floats
    stock: Counts
    sold: Counts
    need: Counts
    lost: Counts


class _Block(NamedTuple):
    """State of 16 paths: (n, 16) each, ``ring`` (n, 16, L), the last two (16,)."""

    stock: Counts
    out: Counts
    sold: Counts
    kept: Counts
    back: Counts
    sent: Counts
    ring: Counts
    unserved: NDArray[np.int64]
    pull: Floats


@numba.njit(cache=True)
def simulate(state: State, pool: Pool, paths: Paths) -> None:
    """Run the recursion over all paths of a pool; ``paths`` is filled in place."""
    n, weeks = pool.arrivals.shape
    n_paths = pool.p.shape[1]
    table = np.empty(_SLICES, np.int8)
    _lookup(pool.delay, table)
    rest = np.empty((n, _SLICES), np.int8)
    for s in range(n):
        if pool.out[s] > 0:
            _lookup(pool.residual[s], rest[s])
    size = (n, _BLOCK)
    block = _Block(
        np.empty(size, np.int32),
        np.empty(size, np.int32),
        np.empty(size, np.int32),
        np.empty(size, np.int32),
        np.empty(size, np.int32),
        np.empty(size, np.int32),
        np.empty((n, _BLOCK, len(pool.delay)), np.int32),
        np.empty(_BLOCK, np.int64),
        np.empty(_BLOCK, np.float64),
    )
    for first in range(0, n_paths, _BLOCK):
        width = min(_BLOCK, n_paths - first)
        block.ring[:] = 0
        block.sold[:] = 0
        for s in range(n):
            block.stock[s] = pool.on_hand[s]
            block.out[s] = pool.out[s]
            for b in range(width):
                _settle_later(state, pool.out[s], pool.residual[s], rest[s], block.ring[s, b], 0)
        for t in range(weeks):
            _arrive_and_ask(state, pool, block, paths, t, first, width)
            _send_and_settle(state, pool, block, paths, table, t, first, width)


@numba.njit(cache=True)
def _arrive_and_ask(
    state: State, pool: Pool, block: _Block, paths: Paths, t: int, first: int, width: int
) -> None:
    """Arrivals and the week's returns join the stock; first choices are served from it."""
    now = t % len(pool.delay)
    block.unserved[:] = 0
    block.pull[:] = 0.0
    for s in range(len(pool.on_hand)):
        share = pool.considered[s, t]
        came, wanted, short, held = 0, 0, 0, 0
        for b in range(width):
            r = first + b
            new = pool.arrivals[s, t]
            if pool.order_week[s, r] == t:
                new += pool.on_order[s]
            settled = block.ring[s, b, now]
            block.ring[s, b, now] = 0
            kept = binomial(state, settled, pool.keep[s, r])
            block.kept[s, b] = kept
            block.back[s, b] = settled - kept
            block.stock[s, b] += new + settled - kept
            stock = block.stock[s, b]
            free = t >= pool.free_from[s, r]
            demand = poisson(state, pool.traffic[t, r] * share * pool.p[s, r])
            sent = demand if free else min(demand, stock)
            block.sent[s, b] = sent
            block.unserved[b] += demand - sent
            paths.lost[s, r] += demand - sent
            if free or stock > sent:
                block.pull[b] += share * pool.p[s, r]
            came += new
            wanted += demand
            short += demand > sent
            held += stock > 0 and share > 0.0
        paths.totals[4, s, t] += short
        paths.totals[5, s, t] += held
        paths.totals[6, s, t] += came
        paths.totals[7, s, t] += wanted


@numba.njit(cache=True)
def _send_and_settle(
    state: State,
    pool: Pool,
    block: _Block,
    paths: Paths,
    table: NDArray[np.int8],
    t: int,
    first: int,
    width: int,
) -> None:
    """Unserved picks move to styles still there; what is sent gets its day of settling."""
    now = t % len(pool.delay)
    keeps_paths = paths.stock.shape[1] > 0
    for s in range(len(pool.on_hand)):
        all_sent, all_kept, all_back, all_out = 0, 0, 0, 0
        for b in range(width):
            r = first + b
            free = t >= pool.free_from[s, r]
            sent, stock = block.sent[s, b], block.stock[s, b]
            if pool.respill > 0.0 and block.unserved[b] > 0 and (free or stock > sent):
                share = pool.considered[s, t] * pool.p[s, r]
                if share > 0.0:
                    mean = pool.respill * block.unserved[b] * share / block.pull[b]
                    more = poisson(state, mean)
                    sent += more if free else min(more, stock - sent)
            stock -= sent
            if free:
                for w in range(2):
                    if t < pool.window[w, s, r] and -stock > paths.need[w, s, r]:
                        paths.need[w, s, r] = -stock
            _settle_later(state, sent, pool.delay, table, block.ring[s, b], now)
            # Settled in the very week it was sent: back too late to be sent again.
            settled = block.ring[s, b, now]
            block.ring[s, b, now] = 0
            kept = binomial(state, settled, pool.keep[s, r])
            all_kept += kept + block.kept[s, b]
            all_back += settled - kept + block.back[s, b]
            block.stock[s, b] = stock + settled - kept
            block.sold[s, b] += kept + block.kept[s, b]
            block.out[s, b] += sent - settled - block.kept[s, b] - block.back[s, b]
            all_sent += sent
            all_out += block.out[s, b]
            if keeps_paths:
                paths.stock[s, t, r] = block.stock[s, b]
                paths.sold[s, t, r] = block.sold[s, b]
        paths.totals[0, s, t] += all_sent
        paths.totals[1, s, t] += all_kept
        paths.totals[2, s, t] += all_back
        paths.totals[3, s, t] += all_out
