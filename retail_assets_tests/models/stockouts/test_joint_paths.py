"""Paths drawn given everybody's sales, against enumeration and against the truth."""

import itertools
from dataclasses import replace

import numpy as np
import pytest

from retail_assets.models.panel import Panel, Rates, Spans, StorePanel
from retail_assets.models.stockouts.hidden_markov import HmmParams
from retail_assets.models.stockouts.joint import fit_status
from retail_assets.models.stockouts.joint_paths import JointPaths
from retail_assets.models.stockouts.soft_spans import SoftSpans
from retail_assets.simulator import load_preset, panel_of, simulate

RATES = Rates(np.array([[0.8, 0.7, 0.3]]), np.array([[0, 0.7, 0.1], [0.5, 0, 0.3], [0, 0.4, 0]]))
SALES = np.array([[1, 0, 0, 0, 2, 0, 0], [0, 1, 2, 0, 1, 0, 0], [0, 0, 1, 0, 0, 0, 1]])
PARAMS = HmmParams(0.8, (0.3,), 0.05, (0.25,), 0.0, 0.2)


@pytest.fixture(scope="module")
def fitted():
    # A month of the preset: long enough for a model of every product.
    spec = load_preset("paper_money")
    history = simulate(replace(spec, n_days=28), seed=3)
    return history, fit_status(panel_of(history))


def tiny_fit(fitted):
    """Seven intervals of three products with given parameters."""
    n, length = SALES.shape
    interval = [np.flatnonzero(row) for row in SALES]
    store = StorePanel(
        "s",
        np.zeros(length, np.int16),
        np.zeros(length, np.int32),
        np.cumsum([0] + [len(at) for at in interval]),
        np.concatenate(interval).astype(np.int32),
        np.concatenate([SALES[j][at] for j, at in enumerate(interval)]).astype(np.int32),
    )
    _, fit = fitted
    status = fit.stores[0]
    spans = replace(
        status.products[0].spans,
        start=np.array([0]),
        stop=np.array([length]),
        out=np.array([False]),
        p_out_mean=np.zeros(1),
        p_out_start=np.zeros(1),
        p_out_end=np.zeros(1),
        rule_neglog10_p=np.zeros(1),
    )
    product = replace(
        status.products[0], params=PARAMS, method="hmm", spans=spans, soft=SoftSpans.empty()
    )
    level = replace(status.level, weight=np.ones(length))
    stores = (replace(status, products=(product,) * n, rhythms=(None,) * n, level=level),)
    return replace(fit, panel=Panel(("a", "b", "c"), (store,)), stores=stores, rates=RATES)


def poisson(count, mean):
    return np.exp(-mean) * mean**count / np.prod(np.arange(1, count + 1))


def joint_probability(paths):
    """P(sales, statuses) of all products, interval by interval; run-outs take effect at once
    in their own product and from the next interval on in the others'."""
    total = 1.0
    lam, alpha = RATES.arrival_rate[0], RATES.substitution_rate
    n, length = SALES.shape
    for j in range(n):
        total *= PARAMS.initial_out if paths[j][0] else 1 - PARAMS.initial_out
        q, h, eps = PARAMS.out_after_sale[0], PARAMS.restock_hazard[0], PARAMS.out_otherwise
        for t in range(length):
            out, count = paths[j][t], SALES[j, t]
            inflow = sum(lam[i] * alpha[i, j] for i in range(n) if i != j and paths[i][t])
            mean = lam[j] + inflow
            if out:
                stay, go = 0.0, float(count == 0)
            elif count == 0:
                stay, go = poisson(0, mean) * (1 - eps), poisson(0, mean) * eps
            else:
                # It ran out at this sale: later arrivals of the interval are unseen.
                at_least = 1 - sum(poisson(c, mean) for c in range(count))
                stay = poisson(count, mean) * (1 - q) ** count
                go = (1 - q) ** (count - 1) * q * at_least
            if t + 1 < length:
                total *= go * (1 - h) if paths[j][t + 1] else stay + go * h
            else:
                total *= stay + go
    return total


def test_draws_match_the_enumerated_posterior(fitted):
    n, length = SALES.shape
    possible = [
        [
            path
            for path in itertools.product([False, True], repeat=length)
            if not any(path[t] and SALES[j, t] for t in range(length))
        ]
        for j in range(n)
    ]
    weights, p_out = 0.0, np.zeros((n, length))
    for paths in itertools.product(*possible):
        weight = joint_probability(paths)
        weights += weight
        p_out += weight * np.array(paths)
    exact = p_out / weights
    sampler = JointPaths(tiny_fit(fitted), redraw_hazards=False)
    rng = np.random.default_rng(1)
    draws = 6_000
    seen = np.zeros((n, length))
    for _ in range(draws):
        path = sampler(rng, RATES)[0]
        seen += np.array([path.mask(j, length) for j in range(n)])
    # Successive draws are correlated: five times the error of independent ones.
    assert np.abs(seen / draws - exact).max() < 5 * np.sqrt(0.25 / draws)


def test_the_substitutes_receipts_sharpen_the_status(fitted):
    history, fit = fitted
    truth = history.category()
    length = fit.panel.stores[0].n_intervals
    true_out = np.array([truth.stores[0].out.mask(j, length) for j in range(5)])
    rng = np.random.default_rng(2)
    sampler = JointPaths(fit)

    def brier(draw):
        mean = np.zeros(true_out.shape)
        for _ in range(30):
            mean += np.array([draw().mask(j, length) for j in range(5)]) / 30
        return float(((mean - true_out) ** 2).mean())

    together = brier(lambda: sampler(rng, truth.truth)[0])
    one_by_one = brier(lambda: fit.sample_out(rng)[0])
    assert together < 0.95 * one_by_one


def test_a_path_never_contradicts_a_sale(fitted):
    _, fit = fitted
    sampler = JointPaths(fit)
    path = sampler(np.random.default_rng(3), None)[0]
    assert isinstance(path, Spans)
    for j in range(5):
        interval, _ = fit.panel.stores[0].sales(j)
        out = path.mask(j, fit.panel.stores[0].n_intervals)
        assert not out[interval].any()


def test_large_categories_are_refused(fitted):
    _, fit = fitted
    wide = replace(fit, panel=Panel(tuple(f"p{j}" for j in range(16)), fit.panel.stores))
    with pytest.raises(ValueError, match="up to 15 products, got 16"):
        JointPaths(wide)
