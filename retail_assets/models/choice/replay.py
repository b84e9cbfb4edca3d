"""The customer loop: who comes, what they find, what they take.

A customer's ranked list does not depend on stock; only where the customer stops
in it does. So customers are drawn once (`markov_chain.draw_customers`) and any
number of scenarios is replayed on the same people: common random numbers, and a
deterministic loop. One-step substitution (lists of two), Markov chain choice,
MNL and preference rankings all come down to the same lists.

What belongs here: stock, orders, shrinkage, forced outages, customers taking
the first product at hand. What does not: drawing anything.

Order of things at the start of an interval: orders arrive, units shrink, stock
is reviewed (a zero-lead order arrives at once), forced outages end and begin.
Then the interval's customers come, in the order given.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from retail_assets.models.choice import loop
from retail_assets.models.panel import Spans


@dataclass(frozen=True)
class Customers:
    """Customers in order of arrival.

    Parameters
    ----------
    interval : (N,) int32
        Interval each customer comes in; non-decreasing.
    choices : (N, K) int16
        Ranked list of products, best first; -1 ends it. An empty list buys nothing.
    units : (N,) int16
        Units wanted of whatever is bought; at least 1.
    truncated_share : float
        Share of the lists that K cut short.

    Raises
    ------
    ValueError
        Shapes differ, intervals decrease, units below 1.
    """

    interval: NDArray[np.int32]
    choices: NDArray[np.int16]
    units: NDArray[np.int16]
    truncated_share: float = 0.0

    def __post_init__(self) -> None:
        interval = np.ascontiguousarray(self.interval, dtype=np.int32)
        choices = np.ascontiguousarray(self.choices, dtype=np.int16)
        units = np.ascontiguousarray(self.units, dtype=np.int16)
        if choices.ndim != 2 or choices.shape[1] == 0:
            raise ValueError(f"choices must be (N, K) with K >= 1, got {choices.shape}")
        if not len(interval) == len(units) == len(choices):
            raise ValueError(
                f"interval ({len(interval)}), choices ({len(choices)}) and units "
                f"({len(units)}) must hold one entry per customer"
            )
        if len(interval) and (interval[0] < 0 or np.any(np.diff(interval) < 0)):
            raise ValueError("customers must be sorted by interval, from interval 0 on")
        if len(units) and units.min() < 1:
            row = int(np.argmax(units < 1))
            raise ValueError(f"customer {row} wants {units[row]} units; at least 1 is needed")
        for name, value in (("interval", interval), ("choices", choices), ("units", units)):
            object.__setattr__(self, name, value)

    def __len__(self) -> int:
        return len(self.interval)

    @cached_property
    def largest_product(self) -> int:
        """Highest product index in any list; -1 when there is none."""
        return int(self.choices.max()) if self.choices.size else -1


@dataclass(frozen=True)
class Replenishment:
    """Periodic review, order-up-to, with every order's timing drawn beforehand.

    At a review, a product whose position (on hand + on order) is at or below its
    reorder point is ordered up to its level. Lead time and jitter are in ``arrival``.

    Parameters
    ----------
    indptr : (n + 1,) int64
        Product ``j`` owns reviews ``indptr[j]:indptr[j + 1]``.
    review : (m,) int64
        Interval at whose start an order may be placed; ascending within a product.
    arrival : (m,) int64
        Interval at whose start that order arrives, ``>= review``. Orders may cross.
    order_up_to, reorder_point : (n,) int64
        A reorder point equal to the level refills at every review.
    """

    indptr: NDArray[np.int64]
    review: NDArray[np.int64]
    arrival: NDArray[np.int64]
    order_up_to: NDArray[np.int64]
    reorder_point: NDArray[np.int64]

    def __post_init__(self) -> None:
        for name in ("indptr", "review", "arrival", "order_up_to", "reorder_point"):
            object.__setattr__(self, name, np.ascontiguousarray(getattr(self, name), np.int64))
        n, m = len(self.order_up_to), len(self.review)
        if len(self.indptr) != n + 1 or len(self.reorder_point) != n:
            raise ValueError(
                f"replenishment of {n} products needs indptr of {n + 1} (got "
                f"{len(self.indptr)}) and {n} reorder points (got {len(self.reorder_point)})"
            )
        if self.indptr[0] != 0 or self.indptr[-1] != m or np.any(np.diff(self.indptr) < 0):
            raise ValueError(f"indptr must rise from 0 to {m}, the number of reviews")
        if len(self.arrival) != m:
            raise ValueError(f"{m} reviews need {m} arrivals, got {len(self.arrival)}")
        if m and self.review.min() < 0:
            raise ValueError("reviews start at interval 0; one is negative")
        early = np.flatnonzero(self.arrival < self.review)
        if len(early):
            product = int(self.owner[early[0]])
            raise ValueError(
                f"product {product}: order reviewed at {self.review[early[0]]} arrives before "
                f"it, at {self.arrival[early[0]]}"
            )
        falling = np.flatnonzero((np.diff(self.review) < 0) & (np.diff(self.owner) == 0))
        if len(falling):
            raise ValueError(f"product {self.owner[falling[0]]}: reviews must be ascending")

    @cached_property
    def owner(self) -> NDArray[np.int64]:
        """(m,) product of each review."""
        return np.repeat(np.arange(len(self.order_up_to)), np.diff(self.indptr))

    @staticmethod
    def none(n_products: int) -> Replenishment:
        """A single season: what is there at the start is all there is."""
        empty, zeros = np.empty(0, np.int64), np.zeros(n_products, np.int64)
        return Replenishment(np.zeros(n_products + 1, np.int64), empty, empty, zeros, zeros)


@dataclass(frozen=True)
class Replay:
    """What happened.

    Parameters
    ----------
    first_choice, sales, substituted_in, substituted_out, lost : (n,) int64
        Customers: who wanted the product first, bought it, bought it in place of
        another, wanted it and bought another, wanted it and bought nothing.
        ``sales = first_choice - substituted_out - lost + substituted_in``.
    sold_units, substituted_units : (n,) int64
        Units sold, and those of them sold to customers who wanted another product.
    out_intervals : (n,) int64
        Intervals that began with the product unavailable.
    outcome : (N,) int16
        Product bought per customer, -1 = lost. Empty unless recorded.
    taken_units : (N,) int16
        Units each customer took. Empty unless recorded.
    out : Spans or None
        The true out-of-stock spans: unavailable at the start of the interval.
    ran_out : (m, 2) int64
        (interval, product) where customers emptied the shelf inside the interval.
    """

    first_choice: NDArray[np.int64]
    sales: NDArray[np.int64]
    substituted_in: NDArray[np.int64]
    substituted_out: NDArray[np.int64]
    lost: NDArray[np.int64]
    sold_units: NDArray[np.int64]
    substituted_units: NDArray[np.int64]
    out_intervals: NDArray[np.int64]
    outcome: NDArray[np.int16]
    taken_units: NDArray[np.int16]
    out: Spans | None
    ran_out: NDArray[np.int64]


ShrinkageEvents = tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]


def replay(
    customers: Customers,
    initial_stock: NDArray[np.int64],
    replenishment: Replenishment | None = None,
    *,
    n_intervals: int,
    shrinkage: ShrinkageEvents | None = None,
    forced_out: Spans | None = None,
    record: bool = False,
) -> Replay:
    """Send the customers through the shop.

    Each takes ``min(units, on hand)`` of the first available product of the list.

    Parameters
    ----------
    customers : Customers
    initial_stock : (n,) int64
        On hand at the start of interval 0.
    replenishment : Replenishment, optional
        None: a single season.
    n_intervals : int
        Length of the horizon.
    shrinkage : (interval, product, units) int64 arrays, optional
        Units that vanish at the start of an interval, at most what is there. The
        next review sees the true stock.
    forced_out : Spans, optional
        Spans in which a product is kept from customers; its stock stays and orders
        go on arriving.
    record : bool
        Keep each customer's outcome, the out spans and the run-outs; otherwise
        totals only.

    Returns
    -------
    Replay

    Raises
    ------
    ValueError
        An array of another number of products, a customer or event outside the
        horizon, negative stock.

    Examples
    --------
    >>> people = Customers(np.zeros(3), np.array([[0, 1], [0, 1], [0, -1]]), np.ones(3))
    >>> replay(people, np.array([1, 1]), n_intervals=1, record=True).outcome
    array([ 0,  1, -1], dtype=int16)
    """
    stock = np.array(initial_stock, dtype=np.int64)
    orders = replenishment if replenishment is not None else Replenishment.none(len(stock))
    _check(customers, stock, orders, n_intervals)
    lost_units = _shrinkage_arrays(shrinkage, len(stock), n_intervals)
    forced = _forced_arrays(forced_out, len(stock))
    size = len(customers) if record else 0
    outcome, taken = np.full(size, -1, np.int16), np.zeros(size, np.int16)
    totals, spans, ran_out = loop.horizon(
        customers.interval,
        customers.choices,
        customers.units,
        stock,
        (orders.owner, orders.review, orders.arrival, orders.order_up_to, orders.reorder_point),
        lost_units,
        forced,
        n_intervals,
        record,
        outcome,
        taken,
    )
    return Replay(
        **_named(totals),
        outcome=outcome,
        taken_units=taken,
        out=_to_spans(spans, len(stock)) if record else None,
        ran_out=ran_out,
    )


def replay_seasons(
    customers: Customers, season_indptr: NDArray[np.int64], initial_stock: NDArray[np.int64]
) -> Replay:
    """Many single seasons in one call: totals of each, without replenishment.

    Parameters
    ----------
    customers : Customers
        All seasons' customers, one season after the other (``interval`` is ignored).
    season_indptr : (R + 1,) int64
        Season ``r`` owns customers ``season_indptr[r]:season_indptr[r + 1]``.
    initial_stock : (n,) or (R, n) int64

    Returns
    -------
    Replay
        Its totals are (R, n); ``out_intervals`` is zero, as a season has no clock.
    """
    indptr = np.ascontiguousarray(season_indptr, dtype=np.int64)
    if indptr[0] != 0 or indptr[-1] != len(customers) or np.any(np.diff(indptr) < 0):
        raise ValueError(f"season_indptr must rise from 0 to {len(customers)} customers")
    stock = np.asarray(initial_stock, dtype=np.int64)
    stock = np.array(np.broadcast_to(stock, (len(indptr) - 1, stock.shape[-1])), order="C")
    _check(customers, stock.ravel(), None, 1, n_products=stock.shape[1])
    totals = loop.seasons(customers.interval, customers.choices, customers.units, indptr, stock)
    totals[:, loop.OUT] = 0
    return Replay(
        **_named(totals),
        outcome=np.empty(0, np.int16),
        taken_units=np.empty(0, np.int16),
        out=None,
        ran_out=np.empty((0, 2), np.int64),
    )


def _named(totals: NDArray[np.int64]) -> dict[str, NDArray[np.int64]]:
    """The kernel's (..., 7, n) totals under the names of `Replay`."""
    row = np.moveaxis(totals, -2, 0)
    return {
        "first_choice": row[loop.DIRECT] + row[loop.SUB_OUT] + row[loop.LOST],
        "sales": row[loop.DIRECT] + row[loop.SUB_IN],
        "substituted_in": row[loop.SUB_IN],
        "substituted_out": row[loop.SUB_OUT],
        "lost": row[loop.LOST],
        "sold_units": row[loop.UNITS],
        "substituted_units": row[loop.SUB_UNITS],
        "out_intervals": row[loop.OUT],
    }


def _check(
    customers: Customers,
    stock: NDArray[np.int64],
    orders: Replenishment | None,
    n_intervals: int,
    n_products: int | None = None,
) -> None:
    n = n_products if n_products is not None else len(stock)
    if n_intervals < 1:
        raise ValueError(f"n_intervals must be at least 1, got {n_intervals}")
    if len(stock) and stock.min() < 0:
        raise ValueError(f"product {int(np.argmin(stock)) % n}: initial stock is negative")
    if customers.largest_product >= n:
        raise ValueError(
            f"a customer wants product {customers.largest_product}, but stock is given for {n}"
        )
    if orders is None:
        return
    if len(customers) and customers.interval[-1] >= n_intervals:
        raise ValueError(
            f"a customer comes in interval {customers.interval[-1]}, but the horizon ends "
            f"after {n_intervals}"
        )
    if len(orders.order_up_to) != n:
        raise ValueError(
            f"replenishment is given for {len(orders.order_up_to)} products, stock for {n}"
        )


def _shrinkage_arrays(
    shrinkage: ShrinkageEvents | None, n_products: int, n_intervals: int
) -> ShrinkageEvents:
    empty = np.empty(0, np.int64)
    interval, product, units = (
        np.ascontiguousarray(a, np.int64) for a in (shrinkage or (empty, empty, empty))
    )
    if not len(interval) == len(product) == len(units):
        raise ValueError("shrinkage needs one interval, product and number of units per event")
    if len(interval):
        if interval.min() < 0 or interval.max() >= n_intervals:
            raise ValueError(f"shrinkage outside the {n_intervals} intervals of the horizon")
        if product.min() < 0 or product.max() >= n_products:
            raise ValueError(f"shrinkage of product {product.max()}, but there are {n_products}")
        if units.min() < 0:
            raise ValueError(f"product {product[np.argmin(units)]}: shrinkage is negative")
    return interval, product, units


def _forced_arrays(forced_out: Spans | None, n_products: int) -> ShrinkageEvents:
    if forced_out is None:
        empty = np.empty(0, np.int64)
        return empty, empty, empty
    if forced_out.n_products != n_products:
        raise ValueError(
            f"forced_out is given for {forced_out.n_products} products, stock for {n_products}"
        )
    product = np.repeat(np.arange(n_products), np.diff(forced_out.indptr))
    start, stop = (np.ascontiguousarray(a, np.int64) for a in (forced_out.start, forced_out.stop))
    overlap = (np.diff(product) == 0) & (start[1:] < stop[:-1])
    bad = np.flatnonzero(np.append(overlap, False) | (stop < start) | (start < 0))
    if len(bad):
        raise ValueError(f"product {product[bad[0]]}: forced outages must be sorted and disjoint")
    lasting = stop > start
    return product[lasting], start[lasting], stop[lasting]


def _to_spans(spans: NDArray[np.int64], n_products: int) -> Spans:
    """(product, start, stop) rows in order of time, to `Spans`; adjacent ones joined."""
    product, start, stop = spans[np.argsort(spans[:, 0], kind="stable")].T
    same = (np.diff(product) == 0) & (start[1:] == stop[:-1])
    first, last = np.append(True, ~same)[: len(start)], np.append(~same, True)[: len(start)]
    counts = np.bincount(product[first], minlength=n_products)
    indptr = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
    return Spans(indptr, start[first].copy(), stop[last].copy())
