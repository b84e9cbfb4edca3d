"""Sufficient statistics of step 2: exposure and sales per availability pattern.

While the set of products on the shelf does not change, neither do the expected
sales per unit of weight (profile x footfall). A Poisson likelihood over 200,000
intervals therefore collapses to a handful of rows, one per availability pattern:
one gradient costs 1/1,300 of the row-by-row one. Nothing is densified over time;
the sweep visits span boundaries and days only.

This module does not decide who is out: it is handed spans (from the truth, a
rule, or a sampled path of the hidden Markov model).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from retail_assets.models.panel import Panel, Spans
from retail_assets.models.substitution.sweep import (
    Sweep,
    mean_rate,
    partial_exposure,
    pattern_codes,
    sweep_store,
)

__all__ = ["Cells", "PatternStatistics", "availability_statistics", "partial_exposure"]

MAX_PRODUCTS = 15
"""Beyond this a category goes to ``sparse``: patterns would outnumber the data."""


@dataclass(frozen=True)
class Cells:
    """Sums over store-days within each availability pattern, for Pearson's dispersion.

    A sale that emptied a shelf counts towards the pattern it was made in: without it
    counts fall short of their mean by the sale that ended each cycle.

    Parameters
    ----------
    store : (Q,) int64
    out : (Q, n) float64, 0 or 1
    exposure, exposure_sq, cross, counts_sq : (Q, n) float64
        Sums of E, E², E·C and C² over the pattern's store-days.
    """

    store: NDArray[np.int64]
    out: NDArray[np.float64]
    exposure: NDArray[np.float64]
    exposure_sq: NDArray[np.float64]
    cross: NDArray[np.float64]
    counts_sq: NDArray[np.float64]


@dataclass(frozen=True)
class PatternStatistics:
    """Exposure and transactions per store and availability pattern.

    A row ``p`` gathers the intervals of one store that share a pattern. A product
    is out for the fraction ``out[p, j]`` of it: 0 or 1, or between the two where
    it ran out inside the interval or its status is a probability.

    The sales of an interval in which product ``j`` ran out fall in two rows. The
    others' counts see ``j`` out for part of it. ``j``'s own count is a stopping
    rule: it has a row of its own, ``stopped``, in which ``j`` is in stock for the
    time it lasted and nobody else is observed.

    Parameters
    ----------
    n_stores : int
    store : (P,) int64
    fold : (P,) int64
        Which fold of alternate days the row belongs to (0 unless asked for).
    out : (P, n) float64 in [0, 1]
    exposure : (P,) float64
        Sum of weight (profile x footfall) over the row's intervals.
    counts : (P, n) float64
        Transactions that hold the product.
    observed : (P, n) bool
        Whether the product's count belongs to this row.
    stopped : (P,) bool
        Counts that emptied a shelf: evidence on rates, not on dispersion.
    cells : Cells, optional
        Of all rows, also where ``rows`` has chosen some.
    """

    n_stores: int
    store: NDArray[np.int64]
    fold: NDArray[np.int64]
    out: NDArray[np.float64]
    exposure: NDArray[np.float64]
    counts: NDArray[np.float64]
    observed: NDArray[np.bool_]
    stopped: NDArray[np.bool_]
    cells: Cells | None = None

    @property
    def n_products(self) -> int:
        return int(self.out.shape[1])

    def exposure_out(self) -> NDArray[np.float64]:
        """(S, n) exposure during which each product was out."""
        total = np.zeros((self.n_stores, self.n_products))
        length = np.where(self.stopped, 0.0, self.exposure)
        np.add.at(total, self.store, self.out * length[:, None])
        return total

    def rows(self, chosen: NDArray[np.bool_]) -> PatternStatistics:
        """The chosen rows only (a training or a hold-out fold)."""
        kept = {name: getattr(self, name)[chosen] for name in _ROWS}
        return PatternStatistics(n_stores=self.n_stores, cells=self.cells, **kept)


_ROWS = ("store", "fold", "out", "exposure", "counts", "observed", "stopped")


def availability_statistics(
    panel: Panel,
    out: Sequence[Spans],
    weight: Sequence[NDArray[np.float64]],
    *,
    probability: Sequence[NDArray[np.float64]] | None = None,
    arrival_rate: NDArray[np.float64] | None = None,
    partial: bool = True,
    folds: int = 1,
) -> PatternStatistics:
    """Group a category's intervals by who was out.

    Parameters
    ----------
    panel : Panel of S stores, n <= 15 products
    out : one Spans per store
        Intervals at whose start the product was out.
    weight : one (T,) array per store
        Seasonal profile x footfall, mean about 1.
    probability : one (m,) array per store, optional
        P(out) of each span, aligned with ``out[s].start``; 1 when left out. Soft
        spans give the expected statistics that a joint EM needs.
    arrival_rate : (S, n), optional
        Rates per unit of weight used for the partial exposure; by default each
        product's mean rate while in stock.
    partial : bool
        Keep the interval in which stock ran out (the sale right before a span)
        with its expected partial exposure. False counts it in full.
    folds : int
        Split rows by ``day % folds`` for hold-out comparison.

    Raises
    ------
    ValueError
        More than 15 products, or spans and weights that do not match the stores.
    """
    n = panel.n_products
    if n > MAX_PRODUCTS:
        raise ValueError(
            f"{n} products are too many for full patterns (at most {MAX_PRODUCTS}); "
            "use sparse.target_statistics"
        )
    if not len(out) == len(weight) == len(panel.stores):
        raise ValueError(
            f"{len(panel.stores)} stores but {len(out)} span sets and {len(weight)} weights"
        )
    parts = []
    for s, store in enumerate(panel.stores):
        chance = np.ones(len(out[s].start)) if probability is None else probability[s]
        rate = (
            mean_rate(store, out[s], weight[s], chance) if arrival_rate is None else arrival_rate[s]
        )
        sweep = sweep_store(store, out[s], weight[s], chance, rate if partial else None)
        parts.append(_group(store.day, sweep, s, folds, len(panel.stores)))
    return _concatenate(parts)


def _group(
    day: NDArray[np.int32], sweep: Sweep, number: int, folds: int, n_stores: int
) -> PatternStatistics:
    """Add stretches up by pattern and fold."""
    code = pattern_codes(sweep.out, sweep.observed, sweep.stopped)
    key, row = np.unique(code * folds + day[sweep.start] % folds, return_inverse=True)
    m = len(key)
    total = _add(sweep.exposure, row, m)
    weighted = _add(sweep.out * sweep.exposure[:, None], row, m)
    first = np.zeros(m, np.int64)
    first[row[::-1]] = np.arange(len(row))[::-1]
    example = sweep.out[first]
    mean_out = np.clip(weighted / np.maximum(total, 1e-300)[:, None], 0.0, 1.0)
    between = (example > 0.0) & (example < 1.0) & (total > 0.0)[:, None]
    return PatternStatistics(
        n_stores=n_stores,
        store=np.full(m, number, np.int64),
        fold=key % folds,
        out=np.where(between, mean_out, example),
        exposure=total,
        counts=_add(sweep.counts, row, m),
        observed=sweep.observed[first],
        stopped=sweep.stopped[first],
        cells=_cells(day, sweep, number),
    )


def _cells(day: NDArray[np.int32], sweep: Sweep, number: int) -> Cells:
    """Add stretches up by whole pattern and day, then their products by pattern."""
    whole = np.all((sweep.out <= 0.0) | (sweep.out >= 1.0), axis=1)
    everyone = np.ones((int(whole.sum()), sweep.out.shape[1]), dtype=bool)
    code = pattern_codes(sweep.out[whole], everyone, np.zeros(len(everyone), dtype=bool))
    today = day[sweep.start[whole]].astype(np.int64)
    n_days = int(today.max(initial=0)) + 1
    key, cell = np.unique(code * n_days + today, return_inverse=True)
    seen = sweep.observed[whole] & (sweep.out[whole] <= 0.0)
    exposure = _add(np.where(seen, sweep.exposure[whole, None], 0.0), cell, len(key))
    counts = _add(np.where(seen, sweep.counts[whole], 0.0), cell, len(key))
    pattern, row = np.unique(key // n_days, return_inverse=True)
    first = np.zeros(len(pattern), np.int64)
    first[row[cell[::-1]]] = np.arange(len(cell))[::-1]
    sums = (
        _add(x, row, len(pattern)) for x in (exposure, exposure**2, exposure * counts, counts**2)
    )
    return Cells(np.full(len(pattern), number, np.int64), sweep.out[whole][first], *sums)


def _add(values: NDArray[np.float64], group: NDArray[np.int64], size: int) -> NDArray[np.float64]:
    total = np.zeros((size, *values.shape[1:]))
    np.add.at(total, group, values)
    return total


def _concatenate(parts: list[PatternStatistics]) -> PatternStatistics:
    joined = {name: np.concatenate([getattr(part, name) for part in parts]) for name in _ROWS}
    cells = [part.cells for part in parts if part.cells is not None]
    together = {
        f.name: np.concatenate([getattr(cell, f.name) for cell in cells]) for f in fields(Cells)
    }
    return PatternStatistics(n_stores=parts[0].n_stores, cells=Cells(**together), **joined)
