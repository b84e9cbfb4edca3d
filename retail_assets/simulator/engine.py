"""Simulate a retailer in memory: receipts to be, and the truth behind them.

The engine draws (`arrivals`, `supply`) and lets
`retail_assets.models.choice.replay` run the shop. Files are written by `writer`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from retail_assets.models.choice.replay import (
    Customers,
    Replay,
    Replenishment,
    ShrinkageEvents,
    replay,
)
from retail_assets.models.panel import Panel, Rates, Spans, StorePanel
from retail_assets.simulator.arrivals import (
    StoreWeather,
    draw_customers,
    store_rates,
    store_weather,
)
from retail_assets.simulator.calendar import TradingCalendar, trading_calendar
from retail_assets.simulator.presets import load_preset
from retail_assets.simulator.specs import CategorySpec, RetailSpec, StoreSpec
from retail_assets.simulator.supply import (
    draw_replenishment,
    draw_shrinkage,
    initial_stock,
    order_levels,
)


@dataclass(frozen=True)
class StoreHistory:
    """One category in one store: what came, what was there, what happened.

    Parameters
    ----------
    store : StoreSpec
    customers : Customers
        Everyone who came, with their ranked lists.
    initial_stock : (n,) int64
    replenishment : Replenishment
    shrinkage : event arrays or None
    replay : Replay
        Outcome per customer, totals, true out spans and run-outs.
    sales_indptr, sales_interval, sales_transactions
        Sparse sales as in `retail_assets.models.panel.StorePanel`.
    """

    store: StoreSpec
    customers: Customers
    initial_stock: NDArray[np.int64]
    replenishment: Replenishment
    shrinkage: ShrinkageEvents | None
    replay: Replay
    sales_indptr: NDArray[np.int64]
    sales_interval: NDArray[np.int32]
    sales_transactions: NDArray[np.int32]

    @property
    def out(self) -> Spans:
        """True out-of-stock spans: nothing on the shelf when the interval starts."""
        assert self.replay.out is not None
        return self.replay.out

    @property
    def ran_out(self) -> NDArray[np.int64]:
        """(m, 2) interval and product where customers took the last unit."""
        return self.replay.ran_out

    @property
    def first_choices(self) -> NDArray[np.int64]:
        """(n,) customers who wanted the product first."""
        return self.replay.first_choice

    @property
    def lost(self) -> NDArray[np.int64]:
        """(n,) customers who wanted the product and left with nothing."""
        return self.replay.lost

    def deliveries(self, n_intervals: int) -> tuple[NDArray[np.int32], ...]:
        """Per product, the intervals at whose start an order may have come in."""
        orders = self.replenishment
        bounds = zip(orders.indptr[:-1], orders.indptr[1:], strict=True)
        every = (np.unique(orders.arrival[a:b]).astype(np.int32) for a, b in bounds)
        return tuple(at[(at > 0) & (at < n_intervals)] for at in every)


@dataclass(frozen=True)
class CategoryHistory:
    """One category over all stores, with its true rates."""

    spec: CategorySpec
    truth: Rates
    stores: tuple[StoreHistory, ...]


@dataclass(frozen=True)
class History:
    """A simulated retailer.

    Parameters
    ----------
    spec : RetailSpec
    seed : int
    calendars, weather : one per store
    categories : one per category
    """

    spec: RetailSpec
    seed: int
    calendars: tuple[TradingCalendar, ...]
    weather: tuple[StoreWeather, ...]
    categories: tuple[CategoryHistory, ...]

    def category(self, name: str | None = None) -> CategoryHistory:
        """A category by name; the first one when no name is given."""
        if name is None:
            return self.categories[0]
        for own in self.categories:
            if own.spec.category == name:
                return own
        known = ", ".join(own.spec.category for own in self.categories)
        raise ValueError(f"no category {name!r} in {self.spec.name}; known: {known}")


def simulate(spec: RetailSpec | str, seed: int = 0) -> History:
    """Run a retailer over its horizon.

    Parameters
    ----------
    spec : RetailSpec or str
        A specification, or the name of a preset.
    seed : int
        The same seed gives the same history. Streams are separate per store, category and
        purpose: variants of a specification share the draws they have in common.

    Returns
    -------
    History

    Examples
    --------
    >>> history = simulate("paper", seed=1)
    >>> history.category().truth.arrival_rate
    array([[0.3 , 0.2 , 0.15, 0.1 , 0.25]])
    """
    spec = load_preset(spec) if isinstance(spec, str) else spec
    calendars = tuple(trading_calendar(spec, store) for store in spec.stores)
    weather = tuple(store_weather(spec, cal, seed, s) for s, cal in enumerate(calendars))
    categories = []
    for c, own in enumerate(spec.categories):
        rates = store_rates(spec, c, seed)
        stores = tuple(
            _simulate_store(spec, c, s, rates[s], calendars[s], weather[s].weight, seed)
            for s in range(len(spec.stores))
        )
        truth = Rates(rates, own.substitution_rate, own.choice_model)
        categories.append(CategoryHistory(own, truth, stores))
    return History(spec, seed, calendars, weather, tuple(categories))


def panel_of(
    history: History,
    category: str | None = None,
    *,
    deliveries: bool = False,
    footfall: bool = True,
) -> Panel:
    """What a till would show of one category.

    Parameters
    ----------
    history : History
    category : str, optional
        Default: the first one.
    deliveries : bool
        Hand over the intervals at which stock may have come in.
    footfall : bool
        Hand over the transactions of the store's other categories per day, if there are any.

    Returns
    -------
    Panel
    """
    own = history.category(category)
    others = [c for c in history.categories if c is not own] if footfall else []
    stores = []
    for s, (calendar, sold) in enumerate(zip(history.calendars, own.stores, strict=True)):
        day = calendar.day
        traffic = np.zeros(calendar.n_days)
        for other in others:
            sales = other.stores[s]
            np.add.at(traffic, day[sales.sales_interval], sales.sales_transactions)
        stores.append(
            StorePanel(
                sold.store.store_id,
                calendar.season,
                day,
                sold.sales_indptr,
                sold.sales_interval,
                sold.sales_transactions,
                traffic if others else None,
                sold.deliveries(calendar.n_intervals) if deliveries else None,
                _listed(own.spec, calendar),
            )
        )
    return Panel(own.spec.products, tuple(stores))


def _listed(spec: CategorySpec, calendar: TradingCalendar) -> NDArray[np.int64] | None:
    """First interval of each product in the range, and one past its last."""
    if spec.launch_day is None and spec.delist_day is None:
        return None
    n, end = len(spec.products), calendar.n_days
    launch = np.zeros(n, np.int64) if spec.launch_day is None else spec.launch_day
    delist = np.full(n, end) if spec.delist_day is None else spec.delist_day
    bounds: NDArray[np.int64] = calendar.first_interval[
        np.clip(np.column_stack([launch, delist]), 0, end)
    ]
    return bounds


def _simulate_store(
    spec: RetailSpec,
    category: int,
    store: int,
    arrival_rate: NDArray[np.float64],
    calendar: TradingCalendar,
    weight: NDArray[np.float64],
    seed: int,
) -> StoreHistory:
    own, shop = spec.categories[category], spec.stores[store]
    n_intervals = calendar.n_intervals
    customers = draw_customers(own, arrival_rate, calendar, weight, seed, store, category)
    levels = order_levels(own, arrival_rate, shop.traffic)
    orders = draw_replenishment(own, calendar, seed, store, category, levels)
    initial = initial_stock(own, levels[0])
    shrinkage = draw_shrinkage(own, n_intervals, seed, store, category)
    run = replay(
        customers, initial, orders, n_intervals=n_intervals, shrinkage=shrinkage, record=True
    )
    indptr, interval, transactions = _sparse_sales(customers, run, own.n_products, n_intervals)
    return StoreHistory(
        shop, customers, initial, orders, shrinkage, run, indptr, interval, transactions
    )


def _sparse_sales(
    customers: Customers, run: Replay, n_products: int, n_intervals: int
) -> tuple[NDArray[np.int64], NDArray[np.int32], NDArray[np.int32]]:
    """Transactions per product and interval, zeros left out: CSR by product."""
    bought = run.outcome >= 0
    key = run.outcome[bought].astype(np.int64) * n_intervals + customers.interval[bought]
    cells, counts = np.unique(key, return_counts=True)
    indptr = np.searchsorted(cells, n_intervals * np.arange(n_products + 1, dtype=np.int64))
    return indptr, (cells % n_intervals).astype(np.int32), counts.astype(np.int32)
