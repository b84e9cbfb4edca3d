"""Steps 1 and 2 of the paper informing each other: who was out, and who bought instead.

A product sells more while a substitute is out; read as its own rate, that
inflates lambda by 6-35 % and hides its own stock-outs. So sweeps alternate between
(1) a hidden Markov model per store x product given the inflow from the others,
(2) demand level of each interval given availability, and (3) step 2's EM of
demand and substitution rates given P(out). Probabilities of the sources are kept
as sparse segments; every series is laid out alone.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from retail_assets.models.panel import Panel, Rates, Spans, StorePanel
from retail_assets.models.stockouts import hidden_markov as hmm
from retail_assets.models.stockouts.profile import DemandLevel, estimate_level, flat_level
from retail_assets.models.stockouts.soft_spans import SoftSpans, hard_runs, join
from retail_assets.models.stockouts.zero_runs import ZeroRuns, corrected_test
from retail_assets.models.substitution.em import fit_em
from retail_assets.models.substitution.patterns import availability_statistics

Floats = NDArray[np.float64]

SWEEPS = 6
STEPS_PER_SWEEP = 4
# Flows below this share of the receiver's own rate are left out of its inflow.
NEGLIGIBLE_FLOW = 0.002


@dataclass
class _Work:
    """One store while it is being fitted."""

    store: StorePanel
    level: DemandLevel
    params: list[hmm.HmmParams]
    priors: list[hmm.Prior]
    soft: list[SoftSpans]


def fit_level_and_status(work: _Work, alpha: Floats, last: bool = False) -> None:
    """One sweep over a store's products, each seeing the latest P(out) of the others."""
    store, n = work.store, len(work.params)
    sales, expected = np.zeros(store.n_intervals), np.zeros(store.n_intervals)
    for j in range(n):
        series = series_of(work, alpha, j)
        fit = hmm.fit(series, work.params[j], work.priors[j], max_iterations=STEPS_PER_SWEEP)
        work.params[j], work.soft[j] = fit.params, SoftSpans.of(fit.smoothed.p_out)
        sales += series.counts
        expected += (1.0 - fit.smoothed.p_out) * (fit.params.arrival_rate + series.inflow)
    work.level = estimate_level(store, sales, expected)


def series_of(work: _Work, alpha: Floats, product: int) -> hmm.Series:
    store = work.store
    inflow = np.zeros(store.n_intervals)
    for i in range(len(work.params)):
        flow = work.params[i].arrival_rate * alpha[i, product]
        if i != product and flow > NEGLIGIBLE_FLOW * work.params[product].arrival_rate:
            work.soft[i].add_to(inflow, flow)
    deliveries = None if store.deliveries is None else store.deliveries[product]
    return hmm.Series.of(*store.sales(product), work.level.weight, inflow, deliveries)


def start_store(store: StorePanel) -> _Work:
    level = flat_level(store)
    params, priors = [], []
    for j in range(len(store.indptr) - 1):
        interval, transactions = store.sales(j)
        test = corrected_test(interval, transactions, level.weight)
        start, stop = test.out
        total = float(transactions.sum())
        q = (len(start) + 0.5) / (total + 50.0)
        rate = max(test.arrival_rate, 1e-9)
        r = (len(start) + 0.5) / ((stop - start).sum() + 0.5 * 15.0 / rate)
        r = min(r, .5)
        params.append(hmm.HmmParams(rate, q, 0.0, (r,) if store.deliveries is None else (0., .9), min(test.dispersion, 10.0), 0.1))
        priors.append(hmm.Prior(q, r))
    return _Work(store, level, params, priors, [SoftSpans.empty()] * len(params))


def joint(panel: Panel, sweeps: int = SWEEPS, verbose=None):
    works = [start_store(s) for s in panel.stores]
    n = panel.n_products
    alpha = np.zeros((n, n))
    rates = None
    for sweep in range(sweeps):
        for work in works:
            fit_level_and_status(work, alpha)
        joined = [join(w.soft) for w in works]
        stats = availability_statistics(
            panel, [a for a, _ in joined], [w.level.weight for w in works],
            probability=[p for _, p in joined],
        )
        rates = fit_em(stats, start=rates).rates
        alpha = rates.substitution_rate
        if verbose: verbose(sweep, works, rates, stats)
    return works, rates
