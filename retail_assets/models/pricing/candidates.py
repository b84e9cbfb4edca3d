"""What a sale may charge: candidate prices, with demand as steps of the sale's price total.

In a sale the demand for an item depends on its own price and on the *total* of all prices
(its price relative to the others). A tree model is piecewise constant in the relative price,
so demand needs one row per *segment* of the total, never one per total.

Source: Elbert and Feldman, "Using Machine Learning, Business Rules, and Optimization for
Flash Sale Pricing", slides "Example" and "Problem definition (MathProg)".
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

REVENUE, MARGIN, UNITS, CHANGED = range(4)
"""Columns of `Candidates.measures` (cents, cents, thousandths of a unit, 0 or 1)."""
MILLI = 1000
"""Expected units are kept as whole thousandths, so that every objective is an integer."""


@dataclass(frozen=True)
class Candidates:
    """Every price that may be chosen in one sale; one row per item, price and segment.

    Parameters
    ----------
    products : tuple of str, length n
    units_available, cost_cents : (n,) int64
    item : (s,) int64
        Row's item, an index into `products`.
    price_cents : (s,) int64, above zero
    total_from_cents, total_to_cents : (s,) int64
        First and last total of the sale's prices for which the row holds, both included.
        Where no row covers a total, the price may not be used at that total.
    demand : (s,) float64
        Expected demand in units; what is sold is capped by `units_available`.
    broken : (s,) int64, optional
        Bit r is set when the row breaks `rules[r]`; 0 is a legal row. Default: all legal.
    rules : tuple of str
        Identifiers of the rules behind the bits of `broken`; at most 62.
    prior_price_cents : (n,) int64, optional
        What is charged now; 0 where there is none.

    Raises
    ------
    ValueError
        A price or stock of zero or below, a negative or missing demand or cost, an item
        without rows, or two rows of one price whose totals overlap.
    """

    products: tuple[str, ...]
    units_available: NDArray[np.int64]
    cost_cents: NDArray[np.int64]
    item: NDArray[np.int64]
    price_cents: NDArray[np.int64]
    total_from_cents: NDArray[np.int64]
    total_to_cents: NDArray[np.int64]
    demand: NDArray[np.float64]
    broken: NDArray[np.int64] | None = None
    rules: tuple[str, ...] = ()
    prior_price_cents: NDArray[np.int64] | None = None

    def __post_init__(self) -> None:
        for name in ("item", "price_cents", "total_from_cents", "total_to_cents"):
            object.__setattr__(self, name, np.asarray(getattr(self, name), np.int64))
        object.__setattr__(self, "demand", np.asarray(self.demand, np.float64))
        order = self._order()
        if order is not None:
            for name in ("item", "price_cents", "total_from_cents", "total_to_cents", "demand"):
                object.__setattr__(self, name, getattr(self, name)[order])
            if self.broken is not None:
                object.__setattr__(self, "broken", np.asarray(self.broken, np.int64)[order])
        self._validate()

    def _order(self) -> NDArray[np.int64] | None:
        """The order by item, price and total; None when the rows are in it already."""
        step_item, step_price = np.diff(self.item), np.diff(self.price_cents)
        step_total = np.diff(self.total_from_cents)
        ordered = (step_item > 0) | (
            (step_item == 0) & ((step_price > 0) | ((step_price == 0) & (step_total >= 0)))
        )
        if ordered.all():
            return None
        return np.lexsort((self.total_from_cents, self.price_cents, self.item)).astype(np.int64)

    def _validate(self) -> None:
        n = len(self.products)
        if len(self.rules) > 62:
            raise ValueError(f"{len(self.rules)} rules; candidates carry at most 62 rule bits")
        missing = np.setdiff1d(np.arange(n), self.item)
        if len(missing):
            raise ValueError(
                f"{self.products[missing[0]]}: no candidate price; give it at least one"
            )
        if self.item.min() < 0 or self.item.max() >= n:
            raise ValueError("item: a row names an item outside `products`")
        self._refuse(self.price_cents <= 0, "a price must be above zero cents")
        self._refuse(~(self.demand >= 0) | np.isinf(self.demand), "demand is missing or negative")
        self._refuse(self.total_to_cents < self.total_from_cents, "a segment ends before it starts")
        for wrong, what in (
            (np.asarray(self.units_available) <= 0, "nothing available to sell; leave it out"),
            (np.asarray(self.cost_cents) < 0, "cost is missing or negative"),
        ):
            if wrong.any():
                raise ValueError(f"{self.products[int(wrong.argmax())]}: {what}")
        same = (np.diff(self.item) == 0) & (np.diff(self.price_cents) == 0)
        overlap = same & (self.total_from_cents[1:] <= self.total_to_cents[:-1])
        self._refuse(np.append(overlap, False), "two rows of one price overlap; remove duplicates")

    def _refuse(self, wrong: NDArray[np.bool_], what: str) -> None:
        if wrong.any():
            row = int(wrong.argmax())
            product = self.products[int(self.item[row])]
            raise ValueError(f"{product} at {int(self.price_cents[row])} cents: {what}")

    @property
    def legal(self) -> NDArray[np.bool_]:
        """Rows that break no rule, (s,)."""
        return np.ones(len(self.item), bool) if self.broken is None else self.broken == 0

    def measures(self) -> NDArray[np.float64]:
        """Revenue, margin, thousandths of units, price changed; whole numbers, (s, 4)."""
        return self.measures_of(np.arange(len(self.item)))

    def measures_of(self, rows: NDArray[np.int64]) -> NDArray[np.float64]:
        """The measures of some rows, (len(rows), 4)."""
        item, price = self.item[rows], self.price_cents[rows]
        units = np.minimum(self.demand[rows], np.asarray(self.units_available)[item])
        milli = np.rint(units * MILLI)
        prior = self.prior_price_cents
        changed = (
            np.zeros(len(rows))
            if prior is None
            else (np.asarray(prior)[item] != price).astype(np.float64)
        )
        margin = price - np.asarray(self.cost_cents)[item]
        return np.column_stack(
            [np.rint(price * milli / MILLI), np.rint(margin * milli / MILLI), milli, changed]
        )

    def row_at(self, prices: NDArray[np.int64], total_cents: int) -> NDArray[np.int64]:
        """Row that holds for each item's price at a total, (n,); -1 where none does."""
        rows = np.full(len(self.products), -1, np.int64)
        holds = (
            (self.price_cents == np.asarray(prices)[self.item])
            & (self.total_from_cents <= total_cents)
            & (self.total_to_cents >= total_cents)
        )
        found = np.flatnonzero(holds)
        rows[self.item[found]] = found
        return rows
