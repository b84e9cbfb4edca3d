"""Projected stock per style and warehouse, week by week, with honest intervals.

Consumption is demand x considered x in stock x P(chosen) x P(kept) (Langford, Stitch
Fix, QCon New York). P(chosen) and the keep rate are *drawn* from their posterior, one
value per path: with their means plugged in, a 95 % interval of stock on hand covered
88, 84 and 80 % at weeks 2, 4 and 8, with draws 95.3, 95.4 and 95.6 %. A shop without
clients is the special case of keep rate 1 and no delay: what is sent is sold.

What belongs here: the inputs, the draws around the compiled recursion (`paths`) and
its summary. What does not: the posterior (`cold_start`), keep rate and delay
(`returns`), what to order (`reorder`).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from retail_assets.models.inventory import paths as _paths
from retail_assets.models.inventory.demand import Demand, Stock, Traffic
from retail_assets.models.inventory.returns import Settlement
from retail_assets.models.inventory.sampling import Floats, Ints, stream

Counts = NDArray[np.int32]
_NEVER = np.iinfo(np.int32).max
_TOTALS = 8
_TAIL = 0.025
# 512 rows x 12 weeks x 400 paths x 2 results = 20 MB.
_CHUNK = 512


@dataclass(frozen=True)
class InventoryForecast:
    """Projected stock; every field (S, T). Column t is week t + 1, stock at its *end*.

    Parameters
    ----------
    on_hand_mean, on_hand_lo95, on_hand_hi95 : units in the warehouse
    out_mean : units with clients
    sent_mean, sold_mean, returned_mean, arrivals : units of the week
    demand_mean : units that would be sent if none were short
    stockout_prob : P(the week's demand is not fully served)
    frac_out : out / (out + on hand)
    cum_sold_mean, cum_sold_lo95, cum_sold_hi95 : units sold since now
    styles_available : expected styles of the row's pool with stock at the week's start
    """

    on_hand_mean: Floats
    on_hand_lo95: Floats
    on_hand_hi95: Floats
    out_mean: Floats
    sent_mean: Floats
    sold_mean: Floats
    returned_mean: Floats
    arrivals: Floats
    demand_mean: Floats
    stockout_prob: Floats
    frac_out: Floats
    cum_sold_mean: Floats
    cum_sold_lo95: Floats
    cum_sold_hi95: Floats
    styles_available: Floats


def project_stock(
    stock: Stock,
    demand: Demand,
    settlement: Settlement,
    *,
    seed: int,
) -> InventoryForecast:
    """Projected stock of every row; as many paths as ``demand.p`` has draws.

    Parameters
    ----------
    settlement : Settlement
        Keep rate and delay; `Settlement.sold_at_once` for a shop without clients.
    """
    rows, weeks = len(stock.on_hand), demand.traffic.mean.shape[1]
    n_paths = demand.p.shape[1]
    sums = np.zeros((_TOTALS, rows, weeks))
    bands = np.zeros((2, 2, rows, weeks))
    mean = np.zeros((2, rows, weeks))
    available = np.zeros((rows, weeks))
    never = np.full((rows, n_paths), _NEVER, np.int32)
    for pool, own in _chunks(demand):
        paths = np.zeros((2, len(own), weeks, n_paths), np.int32)
        sums[:, own] = _run(stock, demand, settlement, pool, own, seed, never, None, paths)
        mean[:, own] = paths.mean(axis=3)
        paths.sort(axis=3)
        bands[:, :, own] = _interval(paths)
    for pool in np.unique(demand.pool):
        mine = demand.pool == pool
        available[mine] = sums[5, mine].sum(axis=0) / n_paths
    sent, sold, returned, out, short, _, arrived, wanted = sums / n_paths
    units = mean[0] + out
    return InventoryForecast(
        on_hand_mean=mean[0],
        on_hand_lo95=bands[0, 0],
        on_hand_hi95=bands[1, 0],
        out_mean=out,
        sent_mean=sent,
        sold_mean=sold,
        returned_mean=returned,
        arrivals=arrived,
        demand_mean=wanted,
        stockout_prob=short,
        frac_out=np.divide(out, units, out=np.zeros_like(out), where=units > 0),
        cum_sold_mean=mean[1],
        cum_sold_lo95=bands[0, 1],
        cum_sold_hi95=bands[1, 1],
        styles_available=available,
    )


@dataclass(frozen=True)
class Requirement:
    """What an order placed now would have to bring, path by path.

    An order placed now arrives after the lead time drawn in each path. Until then stock
    limits what is sent; from then on every demand is met and the largest shortfall is
    what the order would have needed to hold. Negative: units to spare.

    Parameters
    ----------
    until_next : (S, R) int64
        Up to the arrival of an order placed one review later.
    until_cover : (S, R) int64
        Up to the end of the cover (a season, or the cycle an order is meant to last).
    lost : (S, R) int64
        Demand lost before the order can arrive: no order brings it back, yet a level that
        never lets stock run out has to hold it.
    demand : (S,) float64
        Expected demand from arrival to the end of the cover.
    weekly_net : (S,) float64
        Expected units that leave for good per week: demand less returns.
    """

    until_next: Ints
    until_cover: Ints
    lost: Ints
    demand: Floats
    weekly_net: Floats


def requirement_paths(
    stock: Stock,
    demand: Demand,
    settlement: Settlement,
    *,
    review_weeks: ArrayLike = 1,
    cover_weeks: ArrayLike = 0,
    seed: int,
) -> Requirement:
    """Draw the requirement of each row; uncertain p, traffic, keep rate and lead time in it.

    Parameters
    ----------
    review_weeks : () or (S,)
        Weeks until the next chance to order; at least 1.
    cover_weeks : () or (S,)
        Weeks from now the order has to last; never less than lead time + review.
    """
    rows, weeks = len(stock.on_hand), demand.traffic.mean.shape[1]
    n_paths = demand.p.shape[1]
    rng = np.random.default_rng((seed, 2))
    lead = _whole_weeks(_lead_draws(stock, np.arange(rows), n_paths, rng), rng)
    latest = lead.max(axis=1) + np.broadcast_to(np.asarray(review_weeks), (rows,))
    if np.any(np.quantile(lead, 0.9, axis=1) >= weeks):
        row = int(np.argmax(lead.mean(axis=1)))
        name = stock.names[row] if stock.names else f"row {row}"
        raise ValueError(
            f"{name}: lead time {stock.lead_weeks[row]:.1f} weeks against a horizon of "
            f"{weeks}; project at least {int(latest.max())} weeks"
        )
    lead = np.minimum(lead, weeks - 1).astype(np.int32)
    review = np.maximum(np.broadcast_to(np.asarray(review_weeks), (rows,)), 1)
    cover = np.broadcast_to(np.asarray(cover_weeks), (rows,))
    until = np.minimum(lead + review[:, None], weeks)
    window = np.stack([until, np.minimum(np.maximum(until, cover[:, None]), weeks)])
    window = window.astype(np.int32)
    sums = np.zeros((_TOTALS, rows, weeks))
    need = np.empty((2, rows, n_paths), np.int64)
    lost = np.empty((rows, n_paths), np.int64)
    for pool, own in _chunks(demand):
        part = _Needs.nothing(len(own), n_paths, window[:, own])
        sums[:, own] = _run(stock, demand, settlement, pool, own, seed, lead, part, None)
        need[:, own], lost[own] = part.need, part.lost
    served = np.arange(weeks)
    in_window = (served >= lead.mean(axis=1)[:, None]) & (served < window[1].mean(axis=1)[:, None])
    totals = sums / n_paths
    return Requirement(
        need[0],
        need[1],
        lost,
        (totals[7] * in_window).sum(axis=1),
        totals[7].mean(axis=1) * settlement.keep.mean(axis=1),
    )


class _Needs(NamedTuple):
    """Windows (2, n, R) and what the recursion finds in them: need (2, n, R), lost (n, R)."""

    window: Counts
    need: Counts
    lost: Counts

    @staticmethod
    def nothing(rows: int, n_paths: int, window: Counts | None = None) -> _Needs:
        size = (2, rows, n_paths)
        return _Needs(
            np.zeros(size, np.int32) if window is None else window,
            np.full(size, -_NEVER, np.int32),
            np.zeros(size[1:], np.int32),
        )


def _run(
    stock: Stock,
    demand: Demand,
    settlement: Settlement,
    pool: int,
    own: Ints,
    seed: int,
    free_from: Counts,
    needs: _Needs | None,
    paths: Counts | None,
) -> Floats:
    """One pool's recursion, (8, n, T) sums over paths; fills ``needs`` and ``paths``."""
    weeks, n_paths = demand.traffic.mean.shape[1], demand.p.shape[1]
    # Chunks of one pool repeat its traffic: the level comes from the seed and pool alone.
    level = _levels(demand.traffic, pool, n_paths, np.random.default_rng((seed, 1, pool)))
    rng = np.random.default_rng((seed, 3, int(own[0])))
    waited = _whole_weeks(_lead_draws(stock, own, n_paths, rng) * rng.random((1, n_paths)), rng)
    # Orders do not overtake each other: what is on order comes before one placed now.
    waited = np.minimum(waited, free_from[own])
    arrivals = np.zeros((len(own), weeks), np.int32)
    if stock.arrivals is not None:
        arrivals[:] = stock.arrivals[own]
    needed = _Needs.nothing(len(own), n_paths) if needs is None else needs
    pool_inputs = _paths.Pool(
        on_hand=stock.on_hand[own].astype(np.int32),
        out=stock.out[own].astype(np.int32),
        on_order=stock.on_order[own].astype(np.int32),
        residual=settlement.residual[own],
        arrivals=arrivals,
        order_week=np.where(stock.on_order[own, None] > 0, waited, _NEVER).astype(np.int32),
        free_from=free_from[own],
        p=demand.p[own],
        keep=settlement.keep[own],
        considered=demand.considered[own],
        traffic=level,
        respill=float(demand.respill[pool]),
        delay=settlement.cumulative,
        window=needed.window,
    )
    none = np.zeros((len(own), 0, 0), np.int32)
    totals = np.zeros((_TOTALS, len(own), weeks))
    stock_paths, sold_paths = (none, none) if paths is None else (paths[0], paths[1])
    filled = _paths.Paths(totals, stock_paths, sold_paths, needed.need, needed.lost)
    _paths.simulate(stream(seed, pool, int(own[0])), pool_inputs, filled)
    return totals


def _chunks(demand: Demand) -> Iterator[tuple[int, Ints]]:
    """Rows to run together: a pool, in parts where no pick moves between its styles."""
    for pool in np.unique(demand.pool):
        own = np.flatnonzero(demand.pool == pool)
        step = len(own) if demand.respill[pool] > 0 else _CHUNK
        for first in range(0, len(own), step):
            yield int(pool), own[first : first + step]


def _levels(traffic: Traffic, pool: int, n_paths: int, rng: np.random.Generator) -> Floats:
    """(T, R) expected clients: the mean, one uncertain level per path, one shock per week."""
    weekly = _gamma(rng, float(traffic.dispersion[pool]), (traffic.mean.shape[1], n_paths))
    lasting = _gamma(rng, float(traffic.level_cv[pool]) ** 2, (1, n_paths))
    return np.asarray(traffic.mean[pool][:, None] * weekly * lasting)


def _gamma(rng: np.random.Generator, variance: float, shape: tuple[int, int]) -> Floats:
    """Gamma variates of mean 1."""
    if variance <= 0:
        return np.ones(shape)
    return rng.gamma(1.0 / variance, variance, shape)


def _lead_draws(stock: Stock, own: Ints, n_paths: int, rng: np.random.Generator) -> Floats:
    """(n, R) lead times in weeks, gamma with the given mean and standard deviation."""
    mean, sd = stock.lead_weeks[own, None], stock.lead_weeks_sd[own, None]
    varies = (sd > 0) & (mean > 0)
    shape = np.where(varies, (mean / np.where(varies, sd, 1.0)) ** 2, 1.0)
    drawn = rng.gamma(np.broadcast_to(shape, (len(own), n_paths))) / shape * mean
    return np.where(varies, drawn, mean)


def _whole_weeks(time: Floats, rng: np.random.Generator) -> Ints:
    """Round up or down at random, so that the mean is kept."""
    return np.floor(time + rng.random(time.shape)).astype(np.int64)


def _interval(ordered: Counts) -> Floats:
    """(2, ...) ends of the 95 % interval of paths sorted along the last axis.

    Ranks .025 and .975 of R + 1 cover the next draw with the nominal probability;
    np.quantile's default is half a per cent short at 400 paths. Stock cannot fall below 0:
    what the lower tail does not use there, the upper one does. With equal tails the
    interval of styles about to run out covered .977 instead of .95.
    """
    n = ordered.shape[-1]
    low = ordered[..., max(math.floor(_TAIL * (n + 1)) - 1, 0)]
    unused = np.maximum(_TAIL - (ordered < low[..., None]).mean(axis=-1), 0.0)
    rank = np.ceil((1.0 - _TAIL - unused) * (n + 1)).astype(np.int64) - 1
    high = np.take_along_axis(ordered, np.clip(rank, 0, n - 1)[..., None], axis=-1)[..., 0]
    return np.stack([low, high]).astype(np.float64)
