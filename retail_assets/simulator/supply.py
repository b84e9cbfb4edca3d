"""When orders can be placed and arrive, what vanishes from the shelf, and what is on it.

Timing is drawn before any customer comes, so scenarios share it.
"""

from __future__ import annotations

import numba
import numpy as np
from numpy.typing import NDArray

from retail_assets.models.choice.replay import Customers, Replay, Replenishment, ShrinkageEvents
from retail_assets.simulator.arrivals import ORDERS, generator
from retail_assets.simulator.arrivals import SHRINKAGE as SHRINKAGE_STREAM
from retail_assets.simulator.calendar import TradingCalendar
from retail_assets.simulator.specs import CategorySpec, ReviewCycle, WeeklyDeliveries

Orders = tuple[NDArray[np.int64], NDArray[np.int64]]


def order_levels(
    own: CategorySpec, arrival_rate: NDArray[np.float64], traffic: float
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Order-up-to level and reorder point (n,): as large as the store's own λ asks for."""
    own_rate = np.where(own.arrival_rate > 0, own.arrival_rate, 1.0)
    scale = np.where(own.arrival_rate > 0, arrival_rate / own_rate, traffic)
    level = np.maximum(1, np.rint(own.order_up_to * scale)).astype(np.int64)
    if own.reorder_point is None:
        return level, level - 1
    return level, np.rint(own.reorder_point * scale).astype(np.int64)


def initial_stock(own: CategorySpec, level: NDArray[np.int64]) -> NDArray[np.int64]:
    """Full shelves at the start; nothing of products that are launched later."""
    if own.launch_day is not None:
        level = np.where(own.launch_day > 0, 0, level)
    return level


def draw_replenishment(
    own: CategorySpec,
    calendar: TradingCalendar,
    seed: int,
    store: int,
    category: int,
    levels: tuple[NDArray[np.int64], NDArray[np.int64]],
) -> Replenishment:
    """All reviews and arrivals of one store and category over the horizon."""
    rng = generator(seed, store, category, ORDERS)
    if isinstance(own.supply, ReviewCycle):
        parts = _cycles(own.supply, own.n_products, calendar.n_intervals, rng)
    else:
        parts = _weekly(own.supply, own.n_products, calendar, rng)
    parts = [_on_the_shelf(own, calendar, j, orders) for j, orders in enumerate(parts)]
    sizes = [len(review) for review, _ in parts]
    empty = np.empty(0, np.int64)
    return Replenishment(
        np.concatenate([[0], np.cumsum(sizes)]),
        np.concatenate([review for review, _ in parts] or [empty]),
        np.concatenate([arrival for _, arrival in parts] or [empty]),
        *levels,
    )


def draw_shrinkage(
    own: CategorySpec, n_intervals: int, seed: int, store: int, category: int
) -> ShrinkageEvents | None:
    """Single units that vanish, uniformly over time; None where nothing does."""
    if own.shrinkage_rate <= 0:
        return None
    rng = generator(seed, store, category, SHRINKAGE_STREAM)
    counts = rng.poisson(own.shrinkage_rate * n_intervals, own.n_products)
    product = np.repeat(np.arange(own.n_products), counts)
    interval = rng.integers(0, n_intervals, len(product))
    order = np.argsort(interval, kind="stable")
    return interval[order], product[order], np.ones(len(product), np.int64)


def _cycles(
    supply: ReviewCycle, n_products: int, n_intervals: int, rng: np.random.Generator
) -> list[Orders]:
    if supply.review == 0:
        return [(np.empty(0, np.int64), np.empty(0, np.int64))] * n_products
    phases = rng.integers(1, supply.review + 1, n_products)
    parts = []
    for phase in phases if supply.phase is None else [supply.phase] * n_products:
        review = np.arange(phase, n_intervals, supply.review, dtype=np.int64)
        late = rng.integers(0, supply.jitter + 1, len(review))
        parts.append((review, review + supply.lead + late))
    return parts


def _weekly(
    supply: WeeklyDeliveries,
    n_products: int,
    calendar: TradingCalendar,
    rng: np.random.Generator,
) -> list[Orders]:
    """Delivery days of each product; one van per store and day serves all of them."""
    open_days = np.flatnonzero(np.diff(calendar.first_interval) > 0)
    shifted = rng.random(calendar.n_days) < supply.late_share
    minutes_late = rng.integers(0, supply.jitter + 1, calendar.n_days)
    weekday = (calendar.first_day.weekday() + np.arange(calendar.n_days)) % 7
    parts = []
    for days in supply.weekdays:
        due = np.flatnonzero(np.isin(weekday, days))
        # A closed day's delivery comes on the next open one; so does a late van.
        slot = np.searchsorted(open_days, due + shifted[due])
        due, slot = due[slot < len(open_days)], slot[slot < len(open_days)]
        arrives = open_days[slot]
        ordered = np.maximum(due - supply.lead_days, 0)
        review = calendar.first_interval[ordered]
        arrival = calendar.first_interval[arrives] + minutes_late[arrives]
        # Two orders of one product in one van would be one order.
        keep = np.append(True, np.diff(arrival) > 0)[: len(arrival)]
        parts.append((review[keep], np.maximum(arrival, review)[keep]))
    return parts


def _on_the_shelf(
    own: CategorySpec, calendar: TradingCalendar, product: int, orders: Orders
) -> Orders:
    """Orders within a product's life; a launch is a delivery at opening of its first day."""
    review, arrival = orders
    keep = np.ones(len(review), dtype=bool)
    launch = 0 if own.launch_day is None else int(own.launch_day[product])
    if own.delist_day is not None:
        keep &= review < calendar.first_interval[min(own.delist_day[product], calendar.n_days)]
    if launch <= 0:
        return review[keep], arrival[keep]
    at = calendar.first_interval[min(launch, calendar.n_days)]
    if at >= calendar.n_intervals:
        return np.empty(0, np.int64), np.empty(0, np.int64)
    keep &= review > at
    return np.append(at, review[keep]), np.append(at, arrival[keep])


def stock_ledger(
    customers: Customers,
    replay: Replay,
    initial: NDArray[np.int64],
    replenishment: Replenishment,
    shrinkage: ShrinkageEvents | None,
    ask_interval: NDArray[np.int64],
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Recount the shelf from what the replay sold.

    Parameters
    ----------
    customers, replay, initial, replenishment, shrinkage
        Of one store and category; the replay recorded.
    ask_interval : (q,) int64
        Ascending intervals at whose start (after its deliveries, before its customers)
        stock is asked for.

    Returns
    -------
    ordered : (m,) int64
        Units of each order; 0 where none was placed.
    on_hand : (q, n) int64
    """
    n = len(initial)
    lost = shrinkage or tuple(np.empty(0, np.int64) for _ in range(3))
    ordered = np.zeros(len(replenishment.review), np.int64)
    on_hand = np.zeros((len(ask_interval), n), np.int64)
    by_product = np.argsort(replay.outcome, kind="stable")
    starts = np.searchsorted(replay.outcome[by_product], np.arange(n + 1))
    lost_by_product = np.argsort(lost[1], kind="stable")
    lost_starts = np.searchsorted(lost[1][lost_by_product], np.arange(n + 1))
    for j in range(n):
        sold = by_product[starts[j] : starts[j + 1]]
        gone = lost_by_product[lost_starts[j] : lost_starts[j + 1]]
        own = slice(replenishment.indptr[j], replenishment.indptr[j + 1])
        review, arrival = replenishment.review[own], replenishment.arrival[own]
        arrivals = np.argsort(arrival, kind="stable")
        _ledger(
            initial[j],
            customers.interval[sold].astype(np.int64),
            replay.taken_units[sold].astype(np.int64),
            review,
            arrival,
            arrivals,
            replenishment.order_up_to[j],
            replenishment.reorder_point[j],
            lost[0][gone],
            lost[2][gone],
            ask_interval,
            ordered[own],
            on_hand[:, j],
        )
    return ordered, on_hand


@numba.njit(cache=True)
def _ledger(  # type: ignore[no-untyped-def]
    initial, sold_at, sold, review, arrival, arrivals, level, point, gone_at, gone, ask,
    ordered, on_hand,
):  # fmt: skip
    """One product's stock: arrivals, shrinkage, review, the question, then the customers."""
    held, on_order = initial, 0
    s = r = a = g = q = 0
    far = np.iinfo(np.int64).max
    while True:
        t_sold = sold_at[s] if s < len(sold_at) else far
        t_review = review[r] if r < len(review) else far
        t_arrival = arrival[arrivals[a]] if a < len(arrivals) else far
        t_gone = gone_at[g] if g < len(gone_at) else far
        t_ask = ask[q] if q < len(ask) else far
        t = min(t_sold, t_review, t_arrival, t_gone, t_ask)
        if t == far:
            break
        if t_arrival == t and arrivals[a] < r:
            held += ordered[arrivals[a]]
            on_order -= ordered[arrivals[a]]
            a += 1
        elif t_gone == t:
            held -= min(held, gone[g])
            g += 1
        elif t_review == t:
            position = held + on_order
            if position <= point and position < level:
                ordered[r] = level - position
                on_order += ordered[r]
            r += 1
        elif t_ask == t:
            on_hand[q] = held
            q += 1
        else:
            held -= sold[s]
            s += 1
