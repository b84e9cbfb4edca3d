"""Products dropped, added and exchanged as a whole, each move valued by a replay.

A product's customers do not vanish with it. The sample tells where each of them would
turn (`customer_flows`), so a move also shifts the stock of the products that gain or lose
them: without that, dropping looks worse than it is.
"""

from __future__ import annotations

from collections.abc import Sequence

import numba
import numpy as np
from numpy.typing import NDArray

from retail_assets.models.assortment.customers import Seasons
from retail_assets.models.assortment.hill import (
    Ascent,
    Hill,
    Move,
    pack_moves,
    sign_steps,
    take,
)
from retail_assets.models.assortment.limits import feasible, fits
from retail_assets.models.assortment.season import Season

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


def product_moves(hill: Hill, at: Ascent) -> Ascent:
    """Drop and add products while it helps; the last ones are judged after a climb.

    Products whose last try lost more than a thousandth of the profit wait until the
    others have nothing left: at n = 500 that saves four of five replays.
    """
    hopeful = hill.promise > -1e-3 * abs(at.profit)
    for which in [hopeful] if hopeful.all() else [hopeful, np.ones_like(hopeful)]:
        moves = toggles(hill, at, which)
        better = take(hill, at, [move for move in moves if move.gain > 0], tries=1)
        if better is None:
            better = take(hill, at, _replacements(at.quantity, moves), tries=20)
        if better is not None:
            return sign_steps(hill, better.quantity, first_step=0.02, most_steps=12)
    for move in moves[: max(3, 60 // hill.season.n_products)]:
        tried = at.quantity + move.change
        if fits(hill.season, tried):
            there = sign_steps(hill, tried, first_step=0.05, most_steps=12)
            there = pack_moves(hill, there)
            if there.profit > at.profit:
                return there
    return at


def toggles(hill: Hill, at: Ascent, which: NDArray[np.bool_]) -> list[Move]:
    """Each of some products dropped, or added, with its exact gain; the best first.

    A dropped product's stock goes to the products its customers would turn to, as far as
    they do; an added one's is the newsvendor quantity of the customers who pass it,
    less what the products they buy instead no longer need.
    """
    season, quantity = hill.season, at.quantity
    flow, demand = customer_flows(hill.seasons, quantity > 0)
    pooled = np.maximum(flow.sum(axis=1), 1e-9)
    stocked = np.clip(quantity / pooled, 0.0, 2.0)
    wanted = _quantile_of_each(demand, season.margin / (season.margin + season.overage))
    free = which & ~season.excluded & ~(season.must_carry & (quantity > 0))
    moves = []
    for product in np.flatnonzero(free & ((quantity > 0) | (season.margin > 0))):
        shift = flow[product, :-1] * stocked
        shift[product] = 0.0
        if quantity[product] > 0:
            target = quantity + shift
            target[product] = 0.0
        else:
            target = np.where(quantity > 0, np.maximum(quantity - shift, hill.least), 0.0)
            target[product] = max(wanted[product], hill.least[product])
        moved = _whole(hill, quantity, target)
        if not _within_money(season, moved):
            moved = feasible(season, moved, season.margin)
        move = Move(moved - quantity, hill.profit(moved) - at.profit)
        hill.promise[product] = move.gain
        moves.append(move)
    return sorted(moves, key=lambda move: -move.gain)


def _whole(hill: Hill, quantity: Ints, target: Floats) -> Ints:
    pack = hill.season.pack_size
    units = np.rint((target - quantity) / pack).astype(np.int64) * pack + quantity
    return np.where(target > 0, np.clip(units, np.minimum(hill.least, hill.most), hill.most), 0)


def _within_money(season: Season, quantity: Ints) -> bool:
    return bool(
        quantity @ season.unit_cost <= season.budget + 1e-6
        and quantity @ season.space <= season.space_limit + 1e-9
    )


def _replacements(quantity: Ints, moves: Sequence[Move], most: int = 20) -> list[Move]:
    """A product for another: the least missed of those carried, the most missed of the rest."""
    drops = [m for m in moves if ((m.change < 0) & (quantity + m.change == 0)).any()][:most]
    adds = [m for m in moves if ((m.change > 0) & (quantity == 0)).any()][:most]
    pairs = [
        Move(np.maximum(quantity + a.change + d.change, 0) - quantity, a.gain + d.gain)
        for a in adds
        for d in drops
        if not ((quantity + d.change == 0) & (a.change > 0) & (quantity > 0)).any()
    ]
    return sorted(pairs, key=lambda move: -move.gain)[:most]


def customer_flows(seasons: Seasons, carried: NDArray[np.bool_]) -> tuple[Floats, Ints]:
    """Who would turn where if a product were dropped or added.

    Returns
    -------
    flow : (n, n + 1) float64
        Customers a season between product ``i`` and ``j``, the last column leaving. Of a
        carried ``i``: they come to it and would go on to ``j``. Of another: they buy
        ``j`` and would have bought ``i``.
    demand : (n, R) int64
        Customers of each season who come to ``i``, or would.
    """
    n = seasons.n_products
    flow = np.zeros((n, n + 1), np.int64)
    demand = np.zeros((n, seasons.n_seasons), np.int64)
    _count_flows(seasons.indptr, seasons.choices, carried, flow, demand)
    return flow / seasons.n_seasons, demand


@numba.njit(cache=True)
def _next_carried(wishes, carried, rank):  # type: ignore[no-untyped-def]
    """Rank of the first carried product from ``rank`` on; -1 if the list has none."""
    while rank < len(wishes) and wishes[rank] >= 0:
        if carried[wishes[rank]]:
            return rank
        rank += 1
    return -1


@numba.njit(cache=True)
def _count_flows(indptr, choices, carried, flow, demand):  # type: ignore[no-untyped-def]
    n = len(carried)
    for season in range(len(indptr) - 1):
        for customer in range(indptr[season], indptr[season + 1]):
            wishes = choices[customer]
            rank = _next_carried(wishes, carried, 0)
            bought = np.int64(wishes[rank]) if rank >= 0 else n
            for passed in range(len(wishes) if rank < 0 else rank):
                if wishes[passed] < 0:
                    break
                flow[wishes[passed], bought] += 1
                demand[wishes[passed], season] += 1
            if rank >= 0:
                again = _next_carried(wishes, carried, rank + 1)
                flow[bought, np.int64(wishes[again]) if again >= 0 else n] += 1
                demand[bought, season] += 1


def _quantile_of_each(demand: Ints, level: Floats) -> Ints:
    """(n,) smallest of a product's demands that covers its level."""
    ordered = np.sort(demand, axis=1)
    which = np.ceil(np.clip(level, 0.0, 1.0) * ordered.shape[1] - 1e-9).astype(np.int64) - 1
    taken: Ints = np.take_along_axis(ordered, np.maximum(which, 0)[:, None], axis=1)[:, 0]
    return taken
