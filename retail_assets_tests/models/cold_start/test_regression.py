"""Beta-binomial regression against published figures and a general optimiser."""

import numpy as np
import pytest
from scipy import optimize, stats
from scipy.special import expit

from retail_assets.models.cold_start.beta_binomial import fit_groups
from retail_assets.models.cold_start.counts import checked_trials
from retail_assets.models.cold_start.regression import fit_regression, prior_log_n


def test_batting_averages_by_log_at_bats_as_robinson_and_vgam_print_them(public_data):
    hits, at_bats = np.loadtxt(public_data / "lah.csv", delimiter=",", skiprows=1).T
    fit = fit_regression(checked_trials(hits, at_bats), log_n=np.log10(at_bats))
    assert [f"{v:.3f}" for v in (*fit.coefficients, fit.log_sigma)] == ["-1.688", "0.192", "-6.299"]
    assert fit.se == pytest.approx([0.00907, 0.00280], abs=2e-5)
    # VGAM betabinomial(nsimEIM = 100, irho = .002); gamlss' s.e. of σ is smaller.
    vgam = [-1.6879018382, 0.1923962919, -6.2986765788]
    assert [*fit.coefficients, fit.log_sigma] == pytest.approx(vgam, rel=1e-6)
    assert fit.log_sigma_se == pytest.approx(0.0264, abs=5e-5)
    assert fit.log_likelihood == pytest.approx(-36417.26998, abs=5e-6)


def test_coefficients_are_those_of_a_general_optimiser():
    rng = np.random.default_rng(1)
    x = np.column_stack([np.ones(300), rng.normal(size=300), rng.integers(0, 2, 300)])
    mu, sigma = expit(x @ [-1.0, 0.5, -0.4]), 0.08
    n = rng.integers(0, 80, 300)
    k = rng.binomial(n, rng.beta(mu / sigma, (1 - mu) / sigma))
    fit = fit_regression(checked_trials(k, n), x, ("intercept", "price", "dark"))

    def loss(v):
        m, t = expit(x @ v[:3]), np.exp(-v[3])
        return -stats.betabinom.logpmf(k, n, m * t, (1 - m) * t).sum()

    best = optimize.minimize(loss, [-1, 0.5, -0.4, -2.5], method="BFGS", options={"gtol": 1e-6})
    assert [*fit.coefficients, fit.log_sigma] == pytest.approx(best.x, abs=1e-4)
    assert fit.log_likelihood == pytest.approx(-best.fun, abs=1e-6)
    assert fit.converged
    assert fit.names == ("intercept", "price", "dark")
    assert fit.mean(x) == pytest.approx(expit(x @ best.x[:3]), abs=1e-4)


def test_without_attributes_it_is_the_group_fit():
    rng = np.random.default_rng(2)
    n = rng.integers(0, 50, 200)
    trials = checked_trials(rng.binomial(n, rng.beta(3, 9, 200)), n)
    fit, group = fit_regression(trials), fit_groups(trials)
    assert expit(fit.coefficients[0]) == pytest.approx(group.mu[0], rel=1e-8)
    assert fit.se[0] == pytest.approx(group.logit_mu_se[0], rel=1e-6)
    assert fit.log_likelihood == pytest.approx(group.log_likelihood[0], rel=1e-10)


def test_the_n_term_at_a_new_styles_own_n_is_far_too_low():
    """Bad styles are retired early, so few trials mean a low rate: never for new styles."""
    rng = np.random.default_rng(3)
    p = rng.beta(5, 15, 5_000)
    n = np.maximum(rng.poisson(np.where(p < 0.2, 40, 400)), 1)
    fit = fit_regression(checked_trials(rng.binomial(n, p), n), log_n=True)
    assert fit.names == ("intercept", "log_n")
    new = np.zeros(1)
    at_own = fit.mean(np.ones((1, 1)), prior_log_n("current", new, 400))
    at_reference = fit.mean(np.ones((1, 1)), prior_log_n("reference", new, 400))
    plain = fit_regression(checked_trials(rng.binomial(n, p), n)).mean(np.ones((1, 1)))
    assert at_own[0] < 0.12
    assert at_reference[0] == pytest.approx(0.29, abs=0.03)
    assert plain[0] == pytest.approx(0.25, abs=0.02)


def test_policies_choose_the_n_at_which_a_prior_is_read():
    n = [0, 9, 99]
    assert np.isnan(prior_log_n("none", n, 50)).all()
    assert prior_log_n("reference", n, 49) == pytest.approx(np.log(50))
    assert prior_log_n("current", n, 49) == pytest.approx(np.log([1, 10, 100]))
    with pytest.raises(ValueError, match="'always' is not one of none, reference, current"):
        prior_log_n("always", n, 50)


def test_what_cannot_be_fitted_is_named():
    trials = checked_trials([1, 2, 3], [5, 5, 6])
    x = np.column_stack([np.ones(3), [1, 2, 4], [2, 4, 8]])
    with pytest.raises(ValueError, match="width_cm"):
        fit_regression(trials, x, ("intercept", "width", "width_cm"))
    with pytest.raises(ValueError, match="one row per style"):
        fit_regression(trials, np.ones((2, 1)))
    with pytest.raises(ValueError, match="no style has a trial"):
        fit_regression(checked_trials([0], [0]))
