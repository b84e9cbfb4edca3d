"""Steps 1 and 2 of the paper informing each other: who was out, and who bought instead.

A product sells more while a substitute is out; read as its own rate, that
inflates lambda by 6-35 % and hides its own stock-outs. So sweeps alternate between
(1) a hidden Markov model per store x product given the inflow from the others,
(2) the demand level of each interval given availability, and (3) step 2's EM of
demand and substitution rates given P(out). Probabilities of the sources are kept
as sparse segments; every series is laid out alone.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from operator import attrgetter
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from retail_assets.models.panel import Panel, Rates, Spans, StorePanel
from retail_assets.models.stockouts import hidden_markov as hmm
from retail_assets.models.stockouts.profile import DemandLevel, estimate_level, flat_level
from retail_assets.models.stockouts.rhythm import (
    MIN_CYCLES,
    WEEK,
    Rhythm,
    calendar_phases,
    find_periods,
    learn_rhythm,
    rhythm_score,
)
from retail_assets.models.stockouts.shared_rhythm import (
    NEGLIGIBLE_SHARE,
    Found,
    commonest,
    start_like,
)
from retail_assets.models.stockouts.soft_spans import SoftSpans, join
from retail_assets.models.stockouts.status import (
    ProductStatus,
    StatusFit,
    StatusSpans,
    StoreStatus,
    lay_out,
    on_sale,
)
from retail_assets.models.stockouts.zero_runs import ZeroRuns, corrected_test
from retail_assets.models.substitution.em import fit_em
from retail_assets.models.substitution.patterns import MAX_PRODUCTS, availability_statistics
from retail_assets.models.substitution.sparse import target_statistics

Floats = NDArray[np.float64]
T = TypeVar("T")

MAX_SWEEPS = 10
STEPS_PER_SWEEP = 3
FINAL_STEPS = 8
# Products of a large category done at a time.
CHUNK = 8
# The sweep whose inflow is good enough to look for a delivery rhythm.
RHYTHM_SWEEP = 2
# Sweeps stop when no rate moves by more than this share.
TOLERANCE = 0.005
# With fewer transactions there is no rate to speak of, and the rule decides.
MIN_TRANSACTIONS = 5
# Assumed where a product shows no long run: own sales missed per outage, sales between two.
TYPICAL_MISSED, TYPICAL_SALES = 15.0, 100.0
SHORT_MISSED, SHORT_SALES = 4.0, 20.0
# P(out) where nothing is known: status in stock, without a claim.
UNKNOWN = 0.5


def fit_status(
    panel: Panel,
    *,
    seed: int = 0,
    max_sweeps: int = MAX_SWEEPS,
    learn_deliveries: bool = True,
) -> StatusFit:
    """Infer who was out of stock when, from receipts alone.

    Parameters
    ----------
    panel : Panel
        One category on minute, hour or day intervals. A weekly grain is refused by
        the caller: an outage shorter than an interval leaves no zero.
    seed : int
        Nothing here is random; kept so that every model has the same signature.
    max_sweeps : int
        Sweeps over products, demand level and rates.
    learn_deliveries : bool
        Look for a delivery rhythm where no calendar is known.

    Returns
    -------
    StatusFit

    Raises
    ------
    ValueError
        A panel without stores or products, or a store without intervals.
    """
    _check(panel)
    works = [_start(store) for store in panel.stores]
    n = panel.n_products
    rates = Rates(np.array([w.rates() for w in works]), np.zeros((n, n)))
    converged, sweep = False, 0
    while sweep < max_sweeps and not converged:
        for work, rate in zip(works, rates.arrival_rate, strict=True):
            _sweep(work, rate, rates.substitution_rate)
            if sweep == RHYTHM_SWEEP and learn_deliveries and work.store.deliveries is None:
                _look_for_rhythms(work, rate, rates.substitution_rate)
        before, rates = rates, _rates(panel, works, rates)
        sweep += 1
        converged = sweep > RHYTHM_SWEEP + 2 and _moved(before, rates) < TOLERANCE
    stores = tuple(
        _finish(work, rate, rates.substitution_rate)
        for work, rate in zip(works, rates.arrival_rate, strict=True)
    )
    return StatusFit(panel, stores, rates, sweep, converged)


@dataclass
class _Work:
    """One store while it is being fitted."""

    store: StorePanel
    level: DemandLevel
    params: list[hmm.HmmParams]
    priors: list[hmm.Prior]
    soft: list[SoftSpans]
    rhythms: list[Rhythm | None]
    sold: list[float]

    @property
    def fitted(self) -> list[int]:
        """Products with enough sales for a model."""
        return [j for j, sold in enumerate(self.sold) if sold >= MIN_TRANSACTIONS]

    def rates(self) -> Floats:
        return np.array([p.arrival_rate for p in self.params])

    def typical_outage(self) -> float:
        """Median over products of the mean outage length; a twentieth of all where none."""
        lengths = [1.0 / max(p.restock_hazard) for p in self.params if len(p.restock_hazard) == 1]
        return float(np.median(lengths)) if lengths else self.store.n_intervals / 20.0

    def zero_runs(self, product: int) -> ZeroRuns:
        weight = on_sale(self.store, product, self.level.weight)
        return corrected_test(*self.store.sales(product), weight)

    def series(self, rate: Floats, alpha: Floats, product: int) -> hmm.Series:
        return lay_out(
            self.store, self.level.weight, self.soft, rate, alpha, self.rhythms[product], product
        )


def _check(panel: Panel) -> None:
    if not panel.stores or not panel.products:
        raise ValueError("nothing to fit: the panel has no stores or no products")
    for store in panel.stores:
        if store.n_intervals == 0:
            raise ValueError(f"store {store.store_id} has no trading intervals; leave it out")
        if len(store.indptr) != panel.n_products + 1:
            raise ValueError(
                f"store {store.store_id} has {len(store.indptr) - 1} products but the panel "
                f"{panel.n_products}; give every store all of them"
            )


def _start(store: StorePanel) -> _Work:
    """Starting values of every product."""
    level = flat_level(store)
    n_products = len(store.indptr) - 1
    started = [_start_product(store, level.weight, j) for j in range(n_products)]
    return _Work(
        store,
        level,
        [params for params, _ in started],
        [prior for _, prior in started],
        [SoftSpans.empty()] * n_products,
        [None] * n_products,
        [float(store.sales(j)[1].sum()) for j in range(n_products)],
    )


def _start_product(
    store: StorePanel, weight: Floats, product: int
) -> tuple[hmm.HmmParams, hmm.Prior]:
    """Starting values from the zero-run test, or from short outages if those fit better.

    Outages of less than 9 missed sales leave no run the test would flag; started from
    the test alone, EM then settles on "never out" (Brier .22 instead of .05 where a
    cycle holds 20 sales).
    """
    interval, transactions = store.sales(product)
    weight = on_sale(store, product, weight)
    test = corrected_test(interval, transactions, weight)
    start, stop = test.out
    rate = max(test.arrival_rate, 1e-12)
    total = float(transactions.sum())
    flagged = (len(start) + 0.5) / (total + 0.5 * TYPICAL_SALES)
    length = float((stop - start).sum()) + 0.5 * TYPICAL_MISSED / rate
    phase, n_phases = None, 1
    if store.deliveries is not None:
        phase = calendar_phases(store.deliveries[product], store.n_intervals)
        n_phases = int(phase.max(initial=0)) + 1
    dispersion = min(test.dispersion, hmm.MAX_DISPERSION)
    series = hmm.Series.of(interval, transactions, weight, phase=phase)
    best, best_lik = None, -np.inf
    for q, r, spread in (
        (flagged, (len(start) + 0.5) / length, dispersion),
        (1.0 / SHORT_SALES, 1.1 * rate / SHORT_MISSED, 0.0),
    ):
        q, r = min(q, 0.5), min(r, 0.5)
        hazard = (r,) if n_phases == 1 else (0.0,) * (n_phases - 1) + (0.9,)
        params = hmm.HmmParams(rate, (q,) * n_phases, 0.0, hazard, spread)
        prior = hmm.Prior(q, max(hazard))
        if total < MIN_TRANSACTIONS:
            return params, prior
        fit = hmm.fit(series, params, prior, max_iterations=STEPS_PER_SWEEP)
        if fit.smoothed.log_lik > best_lik:
            best, best_lik = (fit.params, prior), fit.smoothed.log_lik
    assert best is not None
    return best


def _together(work: _Work, task: Callable[[int], T]) -> Iterator[tuple[int, T]]:
    """Do a task for each product: one after the other, in large categories by chunks.

    Products of a chunk do not see each other's latest result, so the outcome does not
    depend on how many processors share it.
    """
    if len(work.params) <= MAX_PRODUCTS:
        yield from ((j, task(j)) for j in work.fitted)
        return
    with ThreadPoolExecutor(min(CHUNK, os.cpu_count() or 1)) as pool:
        for first in range(0, len(work.fitted), CHUNK):
            chunk = work.fitted[first : first + CHUNK]
            yield from zip(chunk, list(pool.map(task, chunk)), strict=True)


def _sweep(work: _Work, rate: Floats, alpha: Floats) -> None:
    """A few EM steps per product, each seeing the latest P(out) of the others."""
    sales, expected = np.zeros(work.store.n_intervals), np.zeros(work.store.n_intervals)

    def step(j: int) -> tuple[hmm.Series, hmm.HmmFit]:
        series = work.series(rate, alpha, j)
        start, prior = work.params[j], work.priors[j]
        return series, hmm.fit(series, start, prior, max_iterations=STEPS_PER_SWEEP)

    for j, (series, fit) in _together(work, step):
        work.params[j], work.soft[j] = fit.params, SoftSpans.of(fit.smoothed.p_out)
        sales += series.counts
        wanted = np.where(series.weight > 0, fit.params.arrival_rate + series.inflow, 0.0)
        expected += (1.0 - fit.smoothed.p_out) * wanted
    work.level = estimate_level(work.store, sales, expected)


def _look_for_rhythms(work: _Work, rate: Floats, alpha: Floats) -> None:
    """Learn each product's delivery rhythm, then offer the store's commonest to the others.

    One van serves many products: a slow seller rarely shows its period by itself.
    """
    enough = work.store.day[-1] + 1 >= 7 * MIN_CYCLES and len(np.unique(work.store.season)) > 24
    week = [WEEK] if enough else []

    def learn(j: int, common: Found | None = None) -> Found | None:
        series = work.series(rate, alpha, j)
        plain = hmm.HmmFit(work.params[j], hmm.smooth(series, work.params[j]), True)
        score, prior, season = rhythm_score(plain, 2), work.priors[j], work.store.season
        if common is None:
            tried = week + find_periods(plain.smoothed)
            best = learn_rhythm(series, plain, prior, tried, season, to_beat=score)
        else:
            start, tried = start_like(common, series, plain), [common.rhythm.period]
            best = learn_rhythm(series, start, prior, tried, season, to_beat=-np.inf)
        if best is None or best.score <= score:
            return None
        smoothed = best.fit.smoothed
        soft = SoftSpans.of(smoothed.p_out)
        return Found(best.rhythm, best.fit.params, soft, best.score, smoothed.share_out)

    found = dict(_together(work, learn))
    common = commonest([own for own in found.values() if own is not None])

    def offer(j: int) -> Found | None:
        own = found[j]
        if common is None or (own is not None and own.rhythm.period == common.rhythm.period):
            return own
        both = [f for f in (own, learn(j, common)) if f is not None]
        return max(both, key=attrgetter("score"), default=None)

    for j, best in _together(work, offer):
        if best is not None:
            work.rhythms[j], work.params[j], work.soft[j] = best.rhythm, best.params, best.soft


def _rates(panel: Panel, works: list[_Work], before: Rates) -> Rates:
    """Step 2's EM given P(out): full patterns, or beyond 15 products sparse pairs."""
    weight = [work.level.weight for work in works]
    if panel.n_products > MAX_PRODUCTS:
        # Here because it draws in the whole posterior of large categories.
        from retail_assets.models.substitution.large import fit_sparse_em

        out = [Spans.join([soft.likely_out() for soft in work.soft]) for work in works]
        sparse = target_statistics(panel, out, weight)
        fit = fit_sparse_em(sparse)
        alpha = np.zeros((panel.n_products, panel.n_products))
        alpha[sparse.source, sparse.target] = fit.pair_rate
        return Rates(fit.arrival_rate, alpha)
    joined = [join(work.soft) for work in works]
    statistics = availability_statistics(
        panel,
        [spans for spans, _ in joined],
        weight,
        probability=[p_out for _, p_out in joined],
    )
    return fit_em(statistics, start=before).rates


def _moved(before: Rates, after: Rates) -> float:
    """How far rates moved, demand relative and substitution absolute: 98 % moved less."""
    base = np.maximum(after.arrival_rate, 1e-12)
    moved = (np.abs(after.arrival_rate - before.arrival_rate) / base).ravel()
    used = (after.substitution_rate > 0) | (before.substitution_rate > 0)
    shifted = np.abs(after.substitution_rate - before.substitution_rate)[used]
    return max(float(np.quantile(part, 0.98)) for part in (moved, shifted) if len(part))


def _finish(work: _Work, rate: Floats, alpha: Floats) -> StoreStatus:
    fitted = dict(_together(work, lambda j: _product_status(work, rate, alpha, j)))
    products = [fitted.get(j) or _by_rule(work, j) for j in range(len(work.params))]
    return StoreStatus(work.store.store_id, work.level, tuple(products), tuple(work.rhythms))


def _product_status(work: _Work, rate: Floats, alpha: Floats, product: int) -> ProductStatus:
    test = work.zero_runs(product)
    series = work.series(rate, alpha, product)
    fit = hmm.fit(series, work.params[product], work.priors[product], max_iterations=FINAL_STEPS)
    smoothed = fit.smoothed
    restocks, waits, run_outs, transactions = smoothed.by_phase.sum(axis=1)
    # Specks of probability are not outages: a product out .1 % of the time never was.
    seen = smoothed.share_out > NEGLIGIBLE_SHARE
    missed = smoothed.lost_per_outage if seen else float("nan")
    # No outage seen: could one of typical length have been?
    power = missed if np.isfinite(missed) else fit.params.arrival_rate * work.typical_outage()
    return ProductStatus(
        params=fit.params,
        out_after_sale=float(run_outs / transactions),
        restock_hazard=float(restocks / waits) if waits > 0 else float("nan"),
        spans=_listed_part(work.store, product, StatusSpans.of(smoothed.p_out, test)),
        soft=SoftSpans.of(smoothed.p_out),
        method="hmm",
        low_power=bool(power < hmm.LOW_POWER_BELOW),
        expected_sales_per_outage=missed,
        log_lik=smoothed.log_lik,
        share_out=float(smoothed.p_out[series.weight > 0.0].mean()),
        converged=fit.converged,
    )


def _listed_part(store: StorePanel, product: int, spans: StatusSpans) -> StatusSpans:
    if store.listed is None:
        return spans
    first, stop = store.listed[product]
    return spans.within(int(first), int(stop))


def _by_rule(work: _Work, product: int) -> ProductStatus:
    """Too few sales for a model: the flagged runs, and for the rest an honest 'unknown'."""
    test = work.zero_runs(product)
    p_out = np.full(work.store.n_intervals, UNKNOWN)
    for start, stop in zip(*test.out, strict=True):
        p_out[start:stop] = 1.0 - test.threshold
    p_out[work.store.sales(product)[0]] = 0.0
    return ProductStatus(
        params=work.params[product],
        out_after_sale=float("nan"),
        restock_hazard=float("nan"),
        spans=_listed_part(work.store, product, StatusSpans.of(p_out, test)),
        soft=SoftSpans.empty(),
        method="rule",
        low_power=True,
        expected_sales_per_outage=float("nan"),
        log_lik=float("nan"),
        share_out=float(p_out.mean()),
        converged=False,
    )
