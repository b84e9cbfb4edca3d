"""Sufficient statistics of a large category: per target, against a few sources.

A thousand products have more availability patterns than intervals. But the one-step
likelihood factorises by target, and a target has few substitutes: so each is given
its K <= 12 likeliest sources, and intervals are grouped by which of *those* are out.
One product's series is laid out at a time.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numba
import numpy as np
from numpy.typing import NDArray

from retail_assets.models.panel import Panel, Spans, StorePanel
from retail_assets.models.substitution.priors import Priors
from retail_assets.models.substitution.sweep import partial_exposure

MAX_CANDIDATES = 12
N_CANDIDATES = 8


@dataclass(frozen=True)
class TargetStatistics:
    """Exposure and counts per target, store and pattern of its candidate sources.

    Target ``j`` owns rows ``row_ptr[j]:row_ptr[j + 1]`` and candidate pairs
    ``pair_ptr[j]:pair_ptr[j + 1]``; bit ``b`` of a row's ``mask`` says that its
    ``b``-th candidate is out. The target itself is in stock throughout.

    Parameters
    ----------
    row_ptr, pair_ptr : (n + 1,) int64
    store, mask : (R,) int64
    exposure, counts : (R,) float64
    cell_exposure_sq, cell_cross, cell_counts_sq : (R,) float64
        Sums of E², E·C, C² over stretches within a day, for the Pearson dispersion.
    source, target : (E,) int64
    seen_out : (E, S) float64
        Exposure with the source out and the target in stock.
    exposure_out, exposure_in : (S, n) float64
    """

    row_ptr: NDArray[np.int64]
    pair_ptr: NDArray[np.int64]
    store: NDArray[np.int64]
    mask: NDArray[np.int64]
    exposure: NDArray[np.float64]
    counts: NDArray[np.float64]
    cell_exposure_sq: NDArray[np.float64]
    cell_cross: NDArray[np.float64]
    cell_counts_sq: NDArray[np.float64]
    source: NDArray[np.int64]
    target: NDArray[np.int64]
    seen_out: NDArray[np.float64]
    exposure_out: NDArray[np.float64]
    exposure_in: NDArray[np.float64]

    @property
    def n_products(self) -> int:
        return len(self.row_ptr) - 1

    @property
    def n_stores(self) -> int:
        return int(self.exposure_out.shape[0])


# Concentration of a candidate pair, and of 'none' per candidate pair of its row. With
# Dirichlet(1) as in a small category, 8 candidates would be believed to catch 8/9 of all
# customers: measured row sums .83 where .64 was true.
PAIR_PRIOR, NONE_PRIOR = 0.5, 0.5


@dataclass(frozen=True)
class PairPriors:
    """Dirichlet rows over candidate pairs and 'none', with Beta(a, b) on pairs known about.

    Parameters
    ----------
    success, failure : (E,) float64
    none : (n,) float64
    arrival_shape, arrival_rate : float
    """

    success: NDArray[np.float64]
    failure: NDArray[np.float64]
    none: NDArray[np.float64]
    arrival_shape: float
    arrival_rate: float

    @staticmethod
    def of(stats: TargetStatistics, priors: Priors | None) -> PairPriors:
        """The default for every pair but those ``priors`` knows about."""
        success = np.full(len(stats.source), PAIR_PRIOR)
        failure = np.ones(len(stats.source))
        degree = np.bincount(stats.source, minlength=stats.n_products)
        none = np.maximum(NONE_PRIOR * degree, 1.0)
        if priors is None:
            return PairPriors(success, failure, none, 0.5, 0.001)
        pairs = (stats.source, stats.target)
        known = priors.informed()[pairs]
        success[known] = priors.success[pairs][known]
        failure[known] = priors.failure[pairs][known]
        return PairPriors(success, failure, none, priors.arrival_shape, priors.arrival_rate)

    def sd(self, source: NDArray[np.int64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Prior standard deviation of each pair (E,) and of each row's 'none' (n,)."""
        total = np.bincount(source, self.success, len(self.none)) + self.none
        rest = np.where(self.failure != 1.0, self.failure, total[source] - self.success)
        return _beta_sd(self.success, rest), _beta_sd(self.none, total - self.none)


def _beta_sd(a: NDArray[np.float64], b: NDArray[np.float64]) -> NDArray[np.float64]:
    sd: NDArray[np.float64] = np.sqrt(a * b / ((a + b) ** 2 * (a + b + 1.0)))
    return sd


def target_statistics(
    panel: Panel,
    out: Sequence[Spans],
    weight: Sequence[NDArray[np.float64]],
    *,
    candidates: Sequence[NDArray[np.int64]] | None = None,
    known_pairs: Mapping[int, Sequence[int]] | None = None,
    n_candidates: int = N_CANDIDATES,
) -> TargetStatistics:
    """Choose each target's candidate sources and group its in-stock intervals.

    Parameters
    ----------
    panel, out, weight
        As in `patterns.availability_statistics`; any number of products.
    candidates : one array of sources per target, optional
        From an earlier imputation, so that all of them share their pairs.
    known_pairs : {target: sources}, optional
        Always candidates (pairs with a prior of their own).
    n_candidates : int
        At most 12: a target has up to 2^K patterns.

    Raises
    ------
    ValueError
        More than 12 candidates.
    """
    if n_candidates > MAX_CANDIDATES:
        raise ValueError(f"{n_candidates} candidate sources: at most {MAX_CANDIDATES}")
    n = panel.n_products
    total = [np.concatenate([[0.0], np.cumsum(w)]) for w in weight]
    gone = [_exposure_out(span, cumulative) for span, cumulative in zip(out, total, strict=True)]
    everything = np.array([cumulative[-1] for cumulative in total])
    days = [np.flatnonzero(np.diff(store.day)) + 1 for store in panel.stores]
    parts, sources, seen = [], [], []
    for j in range(n):
        series = [
            lay_out_target(store, out[s], weight[s], j) for s, store in enumerate(panel.stores)
        ]
        if candidates is None:
            forced = np.asarray((known_pairs or {}).get(j, ()), np.int64)
            chosen = _choose(series, out, j, forced, n_candidates)
        else:
            chosen = np.asarray(candidates[j], np.int64)
        rows, pair_exposure = _group(series, out, days, chosen)
        parts.append(rows)
        sources.append(chosen)
        seen.append(pair_exposure)
    stacked = np.concatenate(parts)
    counts, exposure_out = [len(c) for c in sources], np.array(gone)
    return TargetStatistics(
        row_ptr=_pointer([len(part) for part in parts]),
        pair_ptr=_pointer(counts),
        store=stacked[:, 0].astype(np.int64),
        mask=stacked[:, 1].astype(np.int64),
        **{name: stacked[:, 2 + k].copy() for k, name in enumerate(_SUMS)},
        source=np.concatenate(sources),
        target=np.repeat(np.arange(n), counts),
        seen_out=np.concatenate(seen),
        exposure_out=exposure_out,
        exposure_in=everything[:, None] - exposure_out,
    )


_SUMS = ("exposure", "counts", "cell_exposure_sq", "cell_cross", "cell_counts_sq")


@dataclass(frozen=True)
class TargetSeries:
    """One product in one store: cumulative in-stock exposure and counts, (T + 1,)."""

    exposure: NDArray[np.float64]
    counts: NDArray[np.float64]


def _pointer(sizes: list[int]) -> NDArray[np.int64]:
    return np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)


def _exposure_out(out: Spans, total: NDArray[np.float64]) -> NDArray[np.float64]:
    owner = np.repeat(np.arange(out.n_products), np.diff(out.indptr))
    lost = total[out.stop] - total[out.start]
    return np.bincount(owner, lost, out.n_products).astype(np.float64)


def lay_out_target(
    store: StorePanel, out: Spans, weight: NDArray[np.float64], product: int
) -> TargetSeries:
    """One product's time in stock; the interval in which stock ran out counts in part."""
    start, stop = out.of(product)
    interval, transactions = store.sales(product)
    exposure, counts = _lay_out(weight, interval, transactions, start, stop)
    in_stock, sold = exposure.sum(), counts.sum()
    before = start[start > 0] - 1
    emptied = before[counts[before] > 0]
    if len(emptied) and sold > 0:
        c = counts[emptied]
        share = partial_exposure(c.astype(np.int64), weight[emptied] * sold / max(in_stock, 1e-9))
        exposure[emptied] *= share
    return TargetSeries(_cumulate(exposure), _cumulate(counts))


def _cumulate(values: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.concatenate([[0.0], np.cumsum(values)])


def _choose(
    series: list[TargetSeries],
    out: Sequence[Spans],
    target: int,
    forced: NDArray[np.int64],
    n_candidates: int,
) -> NDArray[np.int64]:
    """Sources while whose absence the target sold more than the others explain.

    Matching pursuit: the source with the largest excess, in standard errors, is taken
    and its flow subtracted before the next is sought. Ranked once and for all, four of
    five pairs of 1,000 products were bystanders that happen to be out at the same time.
    """
    n = out[0].n_products
    # Donoho and Johnstone's universal threshold: the largest of n chance scores.
    threshold = np.sqrt(2.0 * np.log(n))
    exposed = np.zeros(n)
    for s, one in enumerate(series):
        exposed += sum_over_spans(one.exposure, out[s].indptr, out[s].start, out[s].stop)
    in_stock = sum(float(one.exposure[-1]) for one in series)
    rest = np.maximum(in_stock - exposed, 1e-9)
    rate = sum(float(one.counts[-1]) for one in series) / max(in_stock, 1e-9)
    error = np.sqrt(np.maximum(rate * exposed * (1.0 + exposed / rest), 1e-9))
    unexplained = [one.counts.copy() for one in series]
    chosen: list[int] = []
    waiting = [int(i) for i in forced if i != target]
    while len(chosen) < n_candidates:
        sold = np.zeros(n)
        for s, counts in enumerate(unexplained):
            sold += sum_over_spans(counts, out[s].indptr, out[s].start, out[s].stop)
        total = sum(float(counts[-1]) for counts in unexplained)
        excess = sold - (total - sold) / rest * exposed
        score = np.where(exposed > 0.0, excess / error, -np.inf)
        score[[target, *chosen]] = -np.inf
        best = waiting.pop() if waiting else int(np.argmax(score))
        if best in forced or score[best] > threshold:
            chosen.append(best)
        else:
            break
        flow = max(float(excess[best]), 0.0) / max(float(exposed[best]), 1e-9)
        for s, counts in enumerate(unexplained):
            _subtract(counts, series[s].exposure, *out[s].of(best), flow)
    return np.sort(np.array(chosen, dtype=np.int64))


def _group(
    series: list[TargetSeries],
    out: Sequence[Spans],
    days: list[NDArray[np.int64]],
    chosen: NDArray[np.int64],
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Rows (store, mask, E, C, ΣE², ΣEC, ΣC²) and (K, S) exposure with each source out."""
    rows = []
    pair_exposure = np.zeros((len(chosen), len(series)))
    for s, one in enumerate(series):
        table = _sweep(
            one.exposure, one.counts, out[s].indptr, out[s].start, out[s].stop, days[s], chosen
        )
        used = np.flatnonzero(table[:, 0] > 0.0)
        for b in range(len(chosen)):
            pair_exposure[b, s] = table[used[(used >> b) & 1 == 1], 0].sum()
        rows.append(np.column_stack([np.full(len(used), s), used, table[used]]))
    return np.concatenate(rows), pair_exposure


@numba.njit(cache=True)
def _lay_out(weight, interval, transactions, start, stop):  # type: ignore[no-untyped-def]
    """(T,) exposure and counts of one product while in stock."""
    exposure = weight.copy()
    counts = np.zeros(len(weight))
    for k in range(len(interval)):
        counts[interval[k]] = transactions[k]
    for k in range(len(start)):
        exposure[start[k] : stop[k]] = 0.0
        counts[start[k] : stop[k]] = 0.0
    return exposure, counts


@numba.njit(cache=True)
def sum_over_spans(cumulative, indptr, start, stop):  # type: ignore[no-untyped-def]
    """(n,) increments of a cumulative series over each product's spans."""
    n = len(indptr) - 1
    total = np.zeros(n)
    for i in range(n):
        for k in range(indptr[i], indptr[i + 1]):
            total[i] += cumulative[stop[k]] - cumulative[start[k]]
    return total


@numba.njit(cache=True)
def _subtract(counts, exposure, start, stop, flow):  # type: ignore[no-untyped-def]
    """Take ``flow`` per exposure within the spans out of cumulative counts, in place."""
    gone = 0.0
    for k in range(len(start)):
        base = gone - flow * exposure[start[k]]
        for t in range(start[k], stop[k]):
            counts[t] -= base + flow * exposure[t]
        gone += flow * (exposure[stop[k]] - exposure[start[k]])
        end = start[k + 1] if k + 1 < len(start) else len(counts)
        for t in range(stop[k], end):
            counts[t] -= gone


@numba.njit(cache=True)
def _sweep(exposure, counts, indptr, start, stop, days, chosen):  # type: ignore[no-untyped-def]
    """(2^K, 5) sums E, C, ΣE², ΣEC, ΣC² per mask of candidates that are out."""
    size = len(days) + 2
    for i in chosen:
        size += 2 * (indptr[i + 1] - indptr[i])
    time = np.empty(size, np.int64)
    flip = np.zeros(size, np.int64)
    m = 0
    for b in range(len(chosen)):
        for k in range(indptr[chosen[b]], indptr[chosen[b] + 1]):
            time[m], flip[m] = start[k], 1 << b
            time[m + 1], flip[m + 1] = stop[k], 1 << b
            m += 2
    time[m : m + len(days)] = days
    m += len(days)
    time[m], time[m + 1] = 0, len(exposure) - 1
    order = np.argsort(time)
    table = np.zeros((1 << len(chosen), 5))
    mask = 0
    last = 0
    for k in order:
        t = time[k]
        if t > last:
            e = exposure[t] - exposure[last]
            if e > 0.0:
                c = counts[t] - counts[last]
                table[mask, 0] += e
                table[mask, 1] += c
                table[mask, 2] += e * e
                table[mask, 3] += e * c
                table[mask, 4] += c * c
            last = t
        mask ^= flip[k]
    return table
