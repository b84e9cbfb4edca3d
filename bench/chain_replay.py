"""A second half lived through: the same customers at an arm's prices and levels, and its books.

A plan is a list of (first day, levels); where levels change, what is on the shelf or under way
goes on to the next stretch. Books are in cents.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np

from bench.chain_worlds import Ints, StoreHalf, World
from retail_assets.models.choice.replay import (
    Customers,
    Replay,
    Replenishment,
    ShrinkageEvents,
    replay,
)
from retail_assets.simulator.supply import stock_ledger

SALVAGE, HOLDING = 0.4, 0.25
"""Share of its cost a left-over unit brings, and of its cost a unit on the shelf costs a year:
the defaults of rules/stock.toml."""
YEAR = 365.0
Plan = Sequence[tuple[int, Ints]]


@dataclass(frozen=True)
class Books:
    """What a half-year came to, cents; ``lost`` and ``customers`` count people.

    ``profit`` = revenue - purchases - holding + what left-overs bring. ``waste`` is the cost
    of left-overs less that, ``markdown`` what discounts gave away on units sold.
    """

    profit: float
    revenue: float
    holding: float
    waste: float
    markdown: float
    lost: float
    customers: float

    def __add__(self, other: Books) -> Books:
        pairs = ((getattr(self, f.name), getattr(other, f.name)) for f in fields(self))
        return Books(*(a + b for a, b in pairs))


@dataclass(frozen=True)
class Lived:
    """One store's half: its books, and what its till shows of it."""

    books: Books
    customers: Customers
    outcome: Ints
    sold_units: Ints


def who_comes(world: World, store: StoreHalf, prices: Ints) -> tuple[Customers, Ints]:
    """The customers these prices (D, n) bring, and the day each comes on."""
    every, elasticity = store.customers, world.own.elasticity
    assert elasticity is not None
    low = world.prices(
        {
            p.promo_id: {q.product: int(world.ladder[q.product][0]) for q in world.own.promotions}
            for p in world.own.promotions
        }
    )
    day = store.calendar.day[every.interval]
    first = every.choices[:, 0].astype(np.int64)
    share = (prices / low) ** elasticity
    kept = store.mark < share[day, first]
    chosen = Customers(every.interval[kept], every.choices[kept], every.units[kept])
    return chosen, day[kept].astype(np.int64)


def trade(world: World, store: StoreHalf, prices: Ints, plan: Plan) -> Lived:
    """One store under an arm's prices and plan."""
    people, day = who_comes(world, store, prices)
    outcome = np.full(len(people), -1, np.int64)
    taken = np.zeros(len(people), np.int64)
    n, held = len(store.stock), store.stock
    bought, on_hand = np.zeros(n, np.int64), []
    for begin, end, levels in _stretches(plan, store):
        orders = _part(store.orders, begin, end, levels)
        gone = _shrinkage(store.shrinkage, begin, end)
        rows = slice(*np.searchsorted(people.interval, [begin, end]))
        own = Customers(people.interval[rows] - begin, people.choices[rows], people.units[rows])
        length = end - begin
        run = replay(own, held, orders, n_intervals=length, shrinkage=gone, record=True)
        outcome[rows], taken[rows] = run.outcome, run.taken_units
        opens = store.calendar.first_interval
        opens = np.unique(opens[(opens >= begin) & (opens < end)]) - begin
        ordered, seen = stock_ledger(own, run, held, orders, gone, np.append(opens, length))
        held = seen[-1] + _under_way(orders, ordered, length)
        bought += np.bincount(orders.owner, ordered, n).astype(np.int64)
        on_hand.append(seen[:-1])
    some = outcome >= 0
    paid = prices[day[some], outcome[some]]
    sold = np.bincount(outcome[some], taken[some], n).astype(np.int64)
    full = world.regular_cents[outcome[some]]
    cost = world.cost_cents
    mean_held = np.concatenate(on_hand).mean(axis=0)
    holding = float(HOLDING * store.calendar.n_days / YEAR * (cost @ mean_held))
    revenue = float(paid @ taken[some])
    left = float(cost @ held)
    books = Books(
        profit=revenue - float(cost @ bought) - holding + SALVAGE * left,
        revenue=revenue,
        holding=holding,
        waste=(1 - SALVAGE) * left,
        markdown=float((full - paid) @ taken[some]),
        lost=float((outcome < 0).sum()),
        customers=float(len(people)),
    )
    return Lived(books, people, outcome, sold)


def stock_after(
    customers: Customers,
    run: Replay,
    initial: Ints,
    orders: Replenishment,
    shrinkage: ShrinkageEvents | None,
    n_intervals: int,
) -> Ints:
    """(n,) units on the shelf or under way when a half ends."""
    ordered, seen = stock_ledger(
        customers, run, initial, orders, shrinkage, np.array([n_intervals])
    )
    left: Ints = seen[-1] + _under_way(orders, ordered, n_intervals)
    return left


def _stretches(plan: Plan, store: StoreHalf) -> list[tuple[int, int, Ints]]:
    """(first interval, one past the last, levels); stretches of equal levels are one."""
    kept = [plan[0]]
    for day, levels in plan[1:]:
        if not np.array_equal(levels, kept[-1][1]):
            kept.append((day, levels))
    first = [int(store.calendar.first_interval[day]) for day, _ in kept]
    ends = [*first[1:], store.calendar.n_intervals]
    return [(a, b, levels) for a, b, (_, levels) in zip(first, ends, kept, strict=True)]


def _part(orders: Replenishment, begin: int, end: int, levels: Ints) -> Replenishment:
    kept = (orders.review >= begin) & (orders.review < end)
    sizes = np.bincount(orders.owner[kept], minlength=len(levels))
    return Replenishment(
        np.concatenate([[0], np.cumsum(sizes)]),
        orders.review[kept] - begin,
        orders.arrival[kept] - begin,
        levels,
        levels - 1,
    )


def _shrinkage(events: ShrinkageEvents | None, begin: int, end: int) -> ShrinkageEvents | None:
    if events is None:
        return None
    kept = (events[0] >= begin) & (events[0] < end)
    return events[0][kept] - begin, events[1][kept], events[2][kept]


def _under_way(orders: Replenishment, ordered: Ints, end: int) -> Ints:
    """(n,) units that arrive after ``end``."""
    late = orders.arrival > end
    return np.bincount(orders.owner[late], ordered[late], len(orders.order_up_to)).astype(np.int64)


def total(lived: Sequence[Lived]) -> Books:
    """The books of all stores together."""
    books = lived[0].books
    for one in lived[1:]:
        books = books + one.books
    return books
