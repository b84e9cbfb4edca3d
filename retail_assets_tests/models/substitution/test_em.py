"""EM against general-purpose optimisers, plain twins and planted truth."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize

from retail_assets.models.choice.markov_chain import choice_rates
from retail_assets.models.panel import Rates
from retail_assets.models.substitution.em import expected_counts, fit_em, log_likelihood
from retail_assets.models.substitution.patterns import PatternStatistics
from retail_assets.models.substitution.priors import Priors

LAMBDA = np.array([[0.3, 0.2, 0.15], [0.2, 0.4, 0.1]])
ALPHA = np.array([[0.0, 0.5, 0.2], [0.4, 0.0, 0.3], [0.1, 0.6, 0.0]])


def statistics(rates: Rates, exposure: float, seed: int | None, n_days: int = 1):
    """All hard patterns of every store; counts drawn, or at their mean without a seed."""
    lam = rates.arrival_rate
    n = lam.shape[1]
    patterns = np.array([[(k >> j) & 1 for j in range(n)] for k in range(2**n)], dtype=float)
    store = np.repeat(np.arange(len(lam)), len(patterns))
    out = np.tile(patterns, (len(lam), 1))
    mean = exposure * np.array(
        [
            choice_rates(lam[s], rates.substitution_rate, o < 0.5, rates.choice_model)
            for s, o in zip(store, out, strict=True)
        ]
    )
    counts = mean if seed is None else np.random.default_rng(seed).poisson(mean).astype(float)
    rows = len(store)
    return PatternStatistics(
        n_stores=len(lam),
        store=store,
        fold=np.arange(rows) % 2,
        out=out,
        exposure=np.full(rows, exposure),
        counts=counts,
        observed=np.ones((rows, n), bool),
        stopped=np.zeros(rows, bool),
    )


@pytest.mark.parametrize("model", ["one_step", "markov_chain"])
def test_expected_counts_are_those_of_the_choice_model(model) -> None:
    rates = Rates(LAMBDA, ALPHA, model)
    stats = statistics(rates, 100.0, None)
    assert expected_counts(stats, rates) == pytest.approx(stats.counts)


@pytest.mark.parametrize("model", ["one_step", "markov_chain"])
def test_em_recovers_the_rates_from_counts_at_their_mean(model) -> None:
    stats = statistics(Rates(LAMBDA, ALPHA, model), 1e6, None)
    fit = fit_em(stats, model, tolerance=1e-14, max_iterations=6000)
    assert fit.rates.arrival_rate == pytest.approx(LAMBDA, rel=1e-3)
    assert fit.rates.substitution_rate == pytest.approx(ALPHA, abs=2e-3)
    assert fit.rates.choice_model == model


@pytest.mark.parametrize("model", ["one_step", "markov_chain"])
def test_em_reaches_the_optimum_a_general_optimiser_finds(model) -> None:
    stats = statistics(Rates(LAMBDA, ALPHA, model), 400.0, 1)
    priors = Priors.default(3, {(0, 1): (4.0, 1.0), (2, 0): (3.0, 1.0)})

    def objective(x: np.ndarray) -> float:
        lam = np.exp(x[:6]).reshape(2, 3)
        logits = x[6:].reshape(3, 2)
        share = np.exp(np.column_stack([logits, np.zeros(3)]))
        share /= share.sum(axis=1, keepdims=True)
        row = np.zeros((3, 4))
        for i in range(3):
            row[i, [j for j in range(4) if j != i]] = share[i]
        found = log_likelihood(stats, Rates(lam, row[:, :3], model))
        return -(found + priors.log_density(lam, row))

    start = np.concatenate([np.log(LAMBDA).ravel(), np.zeros(6)])
    other = minimize(objective, start, method="L-BFGS-B", options={"maxiter": 2000, "ftol": 1e-15})
    fit = fit_em(stats, model, priors=priors, tolerance=1e-13, max_iterations=6000)
    assert fit.log_posterior == pytest.approx(-other.fun, abs=1e-3)
    assert fit.rates.arrival_rate == pytest.approx(np.exp(other.x[:6]).reshape(2, 3), rel=2e-3)


@pytest.mark.parametrize("model", ["one_step", "markov_chain"])
def test_plain_em_steps_never_go_down(model) -> None:
    stats = statistics(Rates(LAMBDA, ALPHA, model), 200.0, 2)
    values = [
        fit_em(stats, model, max_iterations=k, tolerance=0.0).log_posterior for k in (3, 9, 60)
    ]
    assert values[0] <= values[1] + 1e-9 <= values[2] + 2e-9


@given(st.integers(0, 10_000), st.sampled_from(["one_step", "markov_chain"]))
@settings(max_examples=25, deadline=None)
def test_rows_never_exceed_one_and_rates_are_never_negative(seed: int, model) -> None:
    rng = np.random.default_rng(seed)
    n = int(rng.integers(2, 5))
    alpha = rng.dirichlet(np.ones(n), n)
    np.fill_diagonal(alpha, 0.0)
    stats = statistics(Rates(rng.gamma(1.0, 0.2, (1, n)) + 1e-3, alpha, "one_step"), 30.0, seed)
    rates = fit_em(stats, model, max_iterations=60).rates
    assert np.all(rates.substitution_rate >= 0)
    assert np.all(rates.substitution_rate.sum(axis=1) <= 1 + 1e-12)
    assert np.all(np.diag(rates.substitution_rate) == 0)
    assert np.all(rates.arrival_rate > 0)


def test_a_count_that_is_not_observed_carries_no_weight() -> None:
    stats = statistics(Rates(LAMBDA, ALPHA), 500.0, 3)
    hidden = stats.observed.copy()
    hidden[4, 1] = False
    spoiled = stats.counts.copy()
    spoiled[4, 1] = 1e6
    parts = {name: getattr(stats, name) for name in stats.__dataclass_fields__}
    masked = PatternStatistics(**{**parts, "observed": hidden})
    nonsense = PatternStatistics(**{**parts, "observed": hidden, "counts": spoiled})
    assert fit_em(masked).rates.arrival_rate == pytest.approx(fit_em(nonsense).rates.arrival_rate)


def test_half_precision_is_half_the_data() -> None:
    rates = Rates(LAMBDA, ALPHA)
    full, half = statistics(rates, 600.0, None), statistics(rates, 300.0, None)
    kwargs = {"tolerance": 1e-13, "max_iterations": 6000}
    tempered = fit_em(full, precision=np.full(3, 0.5), **kwargs)
    plain = fit_em(half, **kwargs)
    assert tempered.rates.substitution_rate == pytest.approx(
        plain.rates.substitution_rate, abs=2e-3
    )
