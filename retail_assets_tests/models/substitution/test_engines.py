"""Laplace, variational and NUTS engines against plain twins and conjugate cases."""

from __future__ import annotations

import jax
import numpy as np
import pytest
from scipy import stats as dist

from retail_assets.models.choice.markov_chain import choice_rates
from retail_assets.models.panel import Rates
from retail_assets.models.substitution import density
from retail_assets.models.substitution.khat import pareto_khat
from retail_assets.models.substitution.laplace import Gaussian, fit_laplace
from retail_assets.models.substitution.nuts import (
    Chains,
    effective_sample_size,
    potential_scale_reduction,
)
from retail_assets.models.substitution.patterns import PatternStatistics
from retail_assets.models.substitution.priors import Priors
from retail_assets.models.substitution.variational import fit_variational


def statistics(out, counts, exposure) -> PatternStatistics:
    out, counts = np.asarray(out, float), np.asarray(counts, float)
    rows = len(out)
    exposure = np.asarray(exposure, float)
    return PatternStatistics(
        n_stores=1,
        store=np.zeros(rows, np.int64),
        fold=np.zeros(rows, np.int64),
        out=out,
        exposure=exposure,
        counts=counts,
        observed=np.ones(out.shape, bool),
        stopped=np.zeros(rows, bool),
    )


@pytest.fixture(scope="module")
def conjugate() -> tuple[PatternStatistics, density.Block]:
    """Two products never out: λ is Gamma, and each row is uniform as before."""
    found = statistics([[0.0, 0.0]], [[9.0, 30.0]], [100.0])
    return found, density.block(found, Priors.default(2))


def _twin(theta, stats, priors, model) -> float:
    """The log posterior in plain numpy, from `choice_rates` and scipy's densities."""
    n = stats.n_products
    lam = np.exp(theta[:n])
    logits = theta[n:].reshape(n, n - 1)
    value = dist.gamma(priors.arrival_shape, scale=1 / priors.arrival_rate).logpdf(lam).sum()
    value += theta[:n].sum()
    alpha = np.zeros((n, n))
    for i in range(n):
        share = np.exp(np.append(logits[i], 0.0))
        share /= share.sum()
        alpha[i, [j for j in range(n) if j != i]] = share[:-1]
        value += dist.dirichlet(np.ones(n)).logpdf(share) + np.log(share).sum()
        for j in range(n):
            a, b = priors.success[i, j], priors.failure[i, j]
            if i != j and (a, b) != (1.0, 1.0):
                value += (a - 1) * np.log(alpha[i, j]) + (b - 1) * np.log1p(-alpha[i, j])
    for p in range(len(stats.store)):
        here = stats.out[p] < 0.5
        mean = stats.exposure[p] * choice_rates(lam, alpha, here, model)
        value += dist.poisson(mean[here]).logpmf(stats.counts[p, here]).sum()
    return float(value)


@pytest.mark.parametrize("model", ["one_step", "markov_chain"])
def test_density_and_gradient_are_those_of_a_plain_twin(model) -> None:
    rng = np.random.default_rng(0)
    out = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0], [1, 1, 0], [0, 1, 1]], float)
    stats = statistics(out, rng.poisson(20, (5, 3)) * (1 - out), rng.uniform(50, 90, 5))
    priors = Priors.default(3, {(0, 2): (2.0, 5.0)})
    data, markov = density.block(stats, priors), density.is_markov(model)
    points = rng.normal(-1.0, 0.7, (2, 9))
    ours = np.asarray(density.log_posteriors(points, data, markov))
    twin = np.array([_twin(x, stats, priors, model) for x in points])
    assert ours[1] - ours[0] == pytest.approx(twin[1] - twin[0], rel=1e-7)
    slope = np.asarray(jax.grad(density.log_posterior)(points[0], data, markov))
    for k in range(9):
        step = np.zeros(9)
        step[k] = 1e-5
        difference = _twin(points[0] + step, stats, priors, model) - _twin(
            points[0] - step, stats, priors, model
        )
        assert slope[k] == pytest.approx(difference / 2e-5, rel=1e-5, abs=1e-5)


def test_rates_survive_the_unconstrained_space_and_back() -> None:
    alpha = np.array([[0, 0.3, 0.2], [0.1, 0, 0.8], [0.25, 0.25, 0]])
    rates = Rates(np.array([[0.3, 0.2, 0.1], [1.0, 2.0, 3.0]]), alpha)
    lam, back = density.to_rates(density.to_unconstrained(rates)[None], 2, 3)
    assert lam[0] == pytest.approx(rates.arrival_rate)
    assert back[0] == pytest.approx(alpha)


def test_padded_sizes_are_few_and_never_too_small() -> None:
    sizes = [density.padded_size(k) for k in range(1, 400)]
    assert all(size >= k for k, size in enumerate(sizes, start=1))
    assert sorted(set(sizes)) == [16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512]


def test_laplace_finds_the_mode_and_curvature_of_a_gamma(conjugate) -> None:
    _, data = conjugate
    found = fit_laplace(np.array([-1.0, -1.0, 0.3, -0.2]), data, False)
    # In log λ the density is λ^(a + C) exp(-(b + E) λ): mode (a + C) / (b + E), precision a + C.
    shape, rate = np.array([9.5, 30.5]), 100.001
    assert np.exp(found.loc[:2]) == pytest.approx(shape / rate, rel=1e-3)
    cov = found.scale @ found.scale.T
    assert np.diag(cov)[:2] == pytest.approx(1 / shape, rel=1e-3)
    assert found.loc[2:] == pytest.approx([0.0, 0.0], abs=1e-3)


def test_gaussian_density_is_scipys() -> None:
    scale = np.array([[1.0, 0.0], [0.5, 2.0]])
    ours = Gaussian(np.array([1.0, -1.0]), scale, 0.0)
    x = np.array([[0.3, 0.4], [2.0, -3.0]])
    expected = dist.multivariate_normal(ours.loc, scale @ scale.T).logpdf(x)
    assert ours.log_density(x) == pytest.approx(expected)


def test_variational_fit_matches_the_best_gaussian_of_a_log_gamma(conjugate) -> None:
    _, data = conjugate
    start = fit_laplace(np.array([-1.0, -1.0, 0.3, -0.2]), data, False)
    found = fit_variational(start, data, False, seed=1)
    # The KL-optimal Gaussian of log Gamma(k, r) has variance 1/k and e^(mean + var/2) = k/r.
    shape, rate = np.array([9.5, 30.5]), 100.001
    variance = np.diag(found.gaussian.scale @ found.gaussian.scale.T)[:2]
    assert np.exp(found.gaussian.loc[:2] + variance / 2) == pytest.approx(shape / rate, rel=0.03)
    assert variance == pytest.approx(1 / shape, rel=0.15)
    assert found.khat < 1.0


def test_nuts_reproduces_a_gamma_and_a_uniform(conjugate) -> None:
    _, data = conjugate
    shape = fit_laplace(np.array([-1.0, -1.0, 0.3, -0.2]), data, False)
    draws = Chains(shape, False, seed=2).run(shape, data, 40)
    assert draws.shape == (1000, 4, 4)
    lam, alpha = density.to_rates(draws.reshape(-1, 4), 1, 2)
    for j, k in enumerate((9.5, 30.5)):
        exact = dist.gamma(k, scale=1 / 100.001)
        uniform = exact.cdf(lam[:, 0, j])
        assert np.quantile(uniform, [0.025, 0.5, 0.975]) == pytest.approx(
            [0.025, 0.5, 0.975], abs=0.025
        )
    assert np.quantile(alpha[:, 0, 1], [0.1, 0.5, 0.9]) == pytest.approx([0.1, 0.5, 0.9], abs=0.05)
    quantities = np.concatenate([lam[:, 0], alpha[:, [0, 1], [1, 0]]], axis=1)
    quantities = quantities.reshape(1000, 4, 4)
    assert potential_scale_reduction(quantities).max() < 1.01
    assert effective_sample_size(quantities).min() > 400


@pytest.mark.parametrize("k", [0.3, 0.7, 1.2])
def test_khat_finds_the_shape_of_a_pareto_tail(k) -> None:
    found = [
        pareto_khat(np.log(dist.genpareto(k).rvs(20_000, random_state=seed) + 1.0))
        for seed in range(10)
    ]
    assert np.mean(found) == pytest.approx(k, abs=0.08)


def test_khat_of_a_gaussian_that_is_too_narrow_is_large_and_of_a_wide_one_small() -> None:
    x = np.random.default_rng(0).standard_normal(20_000)
    # Ratio N(0, s²) / N(0, 1) has tail shape 1 - 1 / s² for s > 1 and is bounded below 1.
    wide_target = -0.5 * x**2 / 4 + 0.5 * x**2
    narrow_target = -0.5 * x**2 / 0.25 + 0.5 * x**2
    assert pareto_khat(wide_target) == pytest.approx(0.75, abs=0.15)
    assert pareto_khat(narrow_target) < 0.1
    assert pareto_khat(np.array([0.0, np.nan])) == float("inf")


def test_potential_scale_reduction_sees_chains_that_disagree() -> None:
    rng = np.random.default_rng(0)
    together = rng.standard_normal((500, 4, 1))
    apart = together + np.array([0.0, 0.0, 0.0, 2.0])[None, :, None]
    assert potential_scale_reduction(together)[0] < 1.01
    assert potential_scale_reduction(apart)[0] > 1.2
