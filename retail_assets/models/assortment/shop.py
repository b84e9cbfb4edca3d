"""A store as a what-if sees it: shelf, supply, prices, calendar. Draws no customers."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from retail_assets.models.panel import Spans

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
# indptr (n + 1,), review (m,) and arrival (m,) of `replay.Replenishment`.
Orders = tuple[Ints, Ints, Ints]


@dataclass(frozen=True)
class Shop:
    """One store's shelf, supply and calendar, in trading intervals.

    Shelves start full. At intervals 0, review, 2 review, ... a product whose position
    (on hand + on order) is at most ``floor(reorder_share x capacity)`` is ordered up to
    capacity; the order comes ``lead`` intervals later, normally spread by ``lead_sd``.

    Parameters
    ----------
    products : tuple of str
    capacity : (n,) int64
        Units; 0 where the store does not carry the product.
    unit_price_cents : (n,) int64
    n_intervals : int
        Horizon.
    review, lead : (n,) int64
        ``review`` 0: a single season, never refilled.
    reorder_share : (n,) float64
        Follows the product when capacity changes. 1 refills at every review.
    lead_sd : (n,) float64
    unit_cost_cents : (n,) int64 or None
        None where a cost is missing: scenarios then compare revenue.
    weight : (T,) float64 or None
        Demand profile of the horizon; None: flat.
    units_mean, units_var : (n,) float64 or None
        Units per customer by first choice; None: one each.
    review_times : tuple of n ascending int64 arrays, or None
        Intervals at which each product is reviewed, in place of every ``review``: a
        known delivery calendar is its deliveries with ``lead`` 0.

    Raises
    ------
    ValueError
        Names the product and what is wrong with it.
    """

    products: tuple[str, ...]
    capacity: Ints
    unit_price_cents: Ints
    n_intervals: int
    review: Ints
    lead: Ints
    reorder_share: Floats
    lead_sd: Floats | None = None
    unit_cost_cents: Ints | None = None
    weight: Floats | None = None
    units_mean: Floats | None = None
    units_var: Floats | None = None
    review_times: tuple[Ints, ...] | None = None

    def __post_init__(self) -> None:
        n = len(self.products)
        whole = ("capacity", "unit_price_cents", "review", "lead", "unit_cost_cents")
        for name in (*whole, "reorder_share", "lead_sd", "units_mean", "units_var"):
            given = getattr(self, name)
            if given is None:
                continue
            value = np.broadcast_to(np.asarray(given, np.int64 if name in whole else float), n)
            bad = np.flatnonzero(~(value >= 0))
            if len(bad):
                raise ValueError(
                    f"product {self.products[bad[0]]!r}: {name} {value[bad[0]]} is not >= 0"
                )
            object.__setattr__(self, name, value)
        if self.n_intervals < 1:
            raise ValueError(f"n_intervals must be at least 1, got {self.n_intervals}")
        if self.weight is not None and len(self.weight) != self.n_intervals:
            raise ValueError(
                f"weight has {len(self.weight)} intervals, the horizon {self.n_intervals}"
            )
        if self.review_times is not None and len(self.review_times) != n:
            raise ValueError(f"review_times of {len(self.review_times)} products, shop has {n}")

    def draw_orders(self, rng: np.random.Generator) -> Orders:
        """Reviews of all products and when what they order arrives, in CSR form."""
        reviews = self.review_times or tuple(
            np.arange(0, self.n_intervals, every, dtype=np.int64)
            if every
            else np.empty(0, np.int64)
            for every in self.review
        )
        sizes = [len(own) for own in reviews]
        lead = np.repeat(self.lead.astype(np.float64), sizes)
        if self.lead_sd is not None:
            lead += np.repeat(self.lead_sd, sizes) * rng.standard_normal(len(lead))
        review = np.concatenate(reviews).astype(np.int64)
        arrival = review + np.maximum(np.rint(lead), 0).astype(np.int64)
        return np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64), review, arrival

    def draw_outages(
        self, rng: np.random.Generator, product: int, share: float, mean_intervals: float
    ) -> Spans:
        """One product kept from customers for a share of the time.

        Outages and gaps alternate with geometric lengths of at least one interval,
        started in their stationary state.
        """
        outage = max(mean_intervals, 1.0, share / (1 - share))
        gap = outage * (1 - share) / share
        cycles = int(2 * self.n_intervals / (outage + gap)) + 50
        lengths = np.empty(2 * cycles, np.int64)
        lengths[0::2] = rng.geometric(1 / gap, cycles)
        lengths[1::2] = rng.geometric(1 / outage, cycles)
        if rng.random() < share:
            lengths[0] = 0
        edges = np.minimum(np.cumsum(lengths), self.n_intervals)
        start, stop = edges[0::2], edges[1::2]
        empty = np.empty(0, np.int64)
        parts = [(empty, empty)] * len(self.products)
        parts[product] = (start[stop > start], stop[stop > start])
        return Spans.join(parts)
