"""What the models read: one category's sales on trading intervals, sparse.

Zero sales are never stored. A store's closed hours are not intervals at all,
so interval ``t`` and ``t + 1`` may lie a night apart.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

ChoiceModel = Literal["one_step", "markov_chain"]


@dataclass(frozen=True)
class Spans:
    """Half-open interval spans per product, in CSR form.

    Parameters
    ----------
    indptr : (n + 1,) int64
        Product ``j`` owns spans ``indptr[j]:indptr[j + 1]``.
    start, stop : (m,) int64
        Intervals ``start[k] <= t < stop[k]``; sorted and disjoint within a product.
    """

    indptr: NDArray[np.int64]
    start: NDArray[np.int64]
    stop: NDArray[np.int64]

    @property
    def n_products(self) -> int:
        return len(self.indptr) - 1

    def of(self, product: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Starts and stops of one product."""
        own = slice(self.indptr[product], self.indptr[product + 1])
        return self.start[own], self.stop[own]

    def mask(self, product: int, n_intervals: int) -> NDArray[np.bool_]:
        """One product's spans as a (T,) mask."""
        start, stop = self.of(product)
        steps = np.zeros(n_intervals + 1, dtype=np.int32)
        np.add.at(steps, start, 1)
        np.add.at(steps, stop, -1)
        return np.cumsum(steps[:-1]) > 0

    @staticmethod
    def join(parts: list[tuple[NDArray[np.int64], NDArray[np.int64]]]) -> Spans:
        """One pair of (starts, stops) per product, put in CSR form."""
        sizes = [len(start) for start, _ in parts]
        empty = np.empty(0, np.int64)
        return Spans(
            np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64),
            np.concatenate([start for start, _ in parts] or [empty]).astype(np.int64),
            np.concatenate([stop for _, stop in parts] or [empty]).astype(np.int64),
        )


@dataclass(frozen=True)
class StorePanel:
    """One store's sales of one category.

    Parameters
    ----------
    store_id : str
    season : (T,) int16
        Cell of the seasonal profile each interval belongs to (hour of the week).
    day : (T,) int32
        Index of the business day of each interval, 0-based, non-decreasing.
    indptr : (n + 1,) int64
    interval : (nnz,) int32
        Intervals with at least one transaction, ascending within a product.
    transactions : (nnz,) int32
        Receipts that hold the product in that interval; at least 1.
    footfall : (D,) float64 or None
        Transactions of the store's *other* categories on each business day.
    deliveries : tuple of (k,) int32 arrays, one per product, or None
        Intervals at whose start stock may have come in. None: no calendar known.
    listed : (n, 2) int64 or None
        First interval a product is in the range, and one past its last: outside of it
        the product has no customers and is not missing. None: always listed.
    """

    store_id: str
    season: NDArray[np.int16]
    day: NDArray[np.int32]
    indptr: NDArray[np.int64]
    interval: NDArray[np.int32]
    transactions: NDArray[np.int32]
    footfall: NDArray[np.float64] | None = None
    deliveries: tuple[NDArray[np.int32], ...] | None = None
    listed: NDArray[np.int64] | None = None

    @property
    def n_intervals(self) -> int:
        return len(self.season)

    def unlisted(self, product: int) -> NDArray[np.bool_] | None:
        """(T,) intervals in which a product is not in the range; None when there are none."""
        if self.listed is None:
            return None
        first, stop = self.listed[product]
        if first <= 0 and stop >= self.n_intervals:
            return None
        outside = np.ones(self.n_intervals, dtype=bool)
        outside[first:stop] = False
        return outside

    def sales(self, product: int) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
        """Intervals with a sale of one product, and the transactions in each."""
        own = slice(self.indptr[product], self.indptr[product + 1])
        return self.interval[own], self.transactions[own]


@dataclass(frozen=True)
class Panel:
    """One category: the same products in the same order in every store."""

    products: tuple[str, ...]
    stores: tuple[StorePanel, ...]

    @property
    def n_products(self) -> int:
        return len(self.products)


@dataclass(frozen=True)
class Rates:
    """Demand and substitution of a category.

    Parameters
    ----------
    arrival_rate : (S, n) float64
        λ: first-choice transactions per trading interval at profile 1, per store.
    substitution_rate : (n, n) float64
        α (one step) or ρ (Markov chain): row ``i`` says where a customer of ``i``
        goes when ``i`` is out. Zero diagonal; rows sum to at most 1.
    choice_model : {"one_step", "markov_chain"}
        Which of the two the matrix is. One is never read as the other.
    """

    arrival_rate: NDArray[np.float64]
    substitution_rate: NDArray[np.float64]
    choice_model: ChoiceModel = "one_step"
