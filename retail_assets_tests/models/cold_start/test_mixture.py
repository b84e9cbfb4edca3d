"""Mixtures of Betas against numerical integration and draws."""

import numpy as np
import pytest
from scipy import integrate, stats

from retail_assets.models.cold_start.mixture import BetaMixture


def _mixture(rows=6, parts=81, seed=0):
    rng = np.random.default_rng(seed)
    weight = rng.dirichlet(np.full(parts, 0.2), rows)
    return BetaMixture(
        rng.lognormal(1, 1.5, (rows, parts)), rng.lognormal(2, 0.8, (rows, parts)), weight
    )


def test_moments_cdf_and_quantiles_are_those_of_the_density():
    mixture = _mixture()
    for row in range(len(mixture)):
        parts = stats.beta(mixture.alpha[row], mixture.beta[row])
        weight = mixture.weight[row]
        mean = weight @ parts.mean()
        assert mixture.mean[row] == pytest.approx(mean)
        assert mixture.variance[row] == pytest.approx(
            weight @ (parts.var() + parts.mean() ** 2) - mean**2
        )
        assert mixture.cdf(0.2)[row] == pytest.approx(weight @ parts.cdf(0.2), abs=1e-8)
    for q in (0.001, 0.025, 0.5, 0.975, 0.999):
        at = mixture.quantile(q)
        assert mixture.cdf(at) == pytest.approx(np.full(6, q), abs=1e-9)


def test_quantiles_reach_into_a_polarised_and_a_certain_distribution():
    extreme = BetaMixture(
        np.array([[0.01], [1e6], [0.3]]), np.array([[0.02], [3e6], [1e-3]]), np.ones((3, 1))
    )
    for q in (0.025, 0.5, 0.975):
        exact = stats.beta.ppf(q, extreme.alpha[:, 0], extreme.beta[:, 0])
        assert extreme.quantile(q) == pytest.approx(exact, rel=1e-6, abs=1e-12)


def test_the_update_is_bayes_rule_by_quadrature():
    mixture, k, n = _mixture(rows=3, parts=4), np.array([0, 3, 40]), np.array([0, 10, 60])
    posterior = mixture.updated(k, n)
    for row in range(3):

        def density(p, row=row):
            prior = mixture.weight[row] @ stats.beta.pdf(p, mixture.alpha[row], mixture.beta[row])
            return prior * stats.binom.pmf(k[row], n[row], p)

        points = {"limit": 400, "points": [0.01, 0.1, 0.3, 0.6, 0.9]}
        mass = integrate.quad(density, 0, 1, **points)[0]
        mean = integrate.quad(lambda p: p * density(p), 0, 1, **points)[0] / mass
        below = integrate.quad(density, 0, 0.25, limit=400)[0] / mass
        assert posterior.mean[row] == pytest.approx(mean, rel=1e-6)
        assert posterior.cdf(0.25)[row] == pytest.approx(below, abs=1e-6)
    assert posterior.weight[0] == pytest.approx(mixture.weight[0])


def test_two_updates_are_one_and_trials_already_seen_do_not_move_the_weights():
    mixture = _mixture(rows=2)
    k, n = np.array([2, 5]), np.array([9, 30])
    once = mixture.updated(k, n)
    twice = mixture.updated(k - 1, n - 4).updated(1, 4)
    assert twice.weight == pytest.approx(once.weight)
    assert twice.quantile(0.4) == pytest.approx(once.quantile(0.4))
    taught = mixture.updated(k, n, seen_k=k, seen_n=n)
    assert taught.weight == pytest.approx(mixture.weight)
    assert taught.alpha == pytest.approx(once.alpha)


@pytest.mark.parametrize("n", [0, 1, 7, 400])
def test_foreseen_counts_have_the_moments_of_scipys_mixture(n):
    mixture = _mixture(rows=3, parts=20)
    mean, sd = mixture.foreseen(n)
    k = np.arange(n + 1)
    for row in range(3):
        parts = stats.betabinom.pmf(k[:, None], n, mixture.alpha[row], mixture.beta[row])
        exact = parts @ mixture.weight[row]
        variance = max(exact @ k**2 - (exact @ k) ** 2, 0)
        assert mean[row] == pytest.approx(exact @ k, abs=1e-9)
        assert sd[row] == pytest.approx(np.sqrt(variance), abs=1e-6)


def test_ageing_keeps_the_means_and_loses_information():
    mixture = _mixture()
    old = mixture.aged(np.full(6, 0.5))
    assert old.mean == pytest.approx(mixture.mean)
    assert (old.sd > mixture.sd).all()
    assert mixture.aged(1e-9).alpha == pytest.approx(0.05 * mixture.alpha)


def test_the_moment_matched_beta_has_its_moments():
    mixture = _mixture()
    one = stats.beta(*mixture.moment_matched())
    assert one.mean() == pytest.approx(mixture.mean)
    assert one.std() == pytest.approx(mixture.sd)


def test_impossible_counts_and_quantiles_are_refused():
    mixture = _mixture(rows=2)
    with pytest.raises(ValueError, match="row 1: counts need 0 <= k <= n"):
        mixture.updated([1, 5], [2, 4])
    with pytest.raises(ValueError, match="not between 0 and 1"):
        mixture.quantile(1.0)
