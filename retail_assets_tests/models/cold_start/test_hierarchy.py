"""The hierarchy of groups against brute-force integration and planted hyperparameters."""

import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from scipy.special import expit, logsumexp

from retail_assets.models.cold_start.counts import checked_trials
from retail_assets.models.cold_start.hierarchy import fit_hierarchy


def _simulate(groups, styles, seed, centre=-1.0, tau=0.5, log_sigma=-3.0, omega=0.5, new=20):
    """Trials of ``styles`` a group, and the true rates of ``new`` more of each."""
    rng = np.random.default_rng(seed)
    mu = expit(centre + tau * rng.normal(size=groups))
    theta = np.exp(-(log_sigma + omega * rng.normal(size=groups)))
    group = np.repeat(np.arange(groups), styles)
    n = np.minimum(rng.geometric(1 / 80, group.size), 1_000)
    k = rng.binomial(n, rng.beta((mu * theta)[group], ((1 - mu) * theta)[group]))
    fresh = np.repeat(np.arange(groups), new)
    p = rng.beta((mu * theta)[fresh], ((1 - mu) * theta)[fresh])
    return checked_trials(k, n, group, n_groups=groups), fresh, p, rng


def test_planted_hyperparameters_come_back():
    trials, *_ = _simulate(400, 12, seed=1)
    hyper = fit_hierarchy(trials).hyper
    assert hyper.coefficients[0] == pytest.approx(-1.0, abs=0.08)
    assert hyper.tau == pytest.approx(0.5, abs=0.06)
    assert hyper.mean_log_sigma == pytest.approx(-3.0, abs=0.15)
    assert hyper.omega == pytest.approx(0.5, abs=0.15)


def test_three_styles_a_group_do_not_bias_log_sigma():
    """A Laplace E-step found -3.69 here, where -3.0 is true."""
    trials, *_ = _simulate(600, 3, seed=2)
    assert fit_hierarchy(trials).hyper.mean_log_sigma == pytest.approx(-3.0, abs=0.3)


def test_a_groups_prior_is_the_integral_over_a_fine_grid():
    trials, *_ = _simulate(30, 3, seed=3)
    fitted = fit_hierarchy(trials)
    eta, s = np.meshgrid(np.linspace(-4, 2, 151), np.linspace(-8, 1, 151), indexing="ij")
    eta, s = eta.ravel(), s.ravel()
    alpha, beta = expit(eta) * np.exp(-s), expit(-eta) * np.exp(-s)

    def log_normal(hyper):
        return stats.norm.logpdf(eta, hyper.coefficients[0], hyper.tau) + stats.norm.logpdf(
            s, hyper.mean_log_sigma, hyper.omega
        )

    marginal = 0.0
    prior = fitted.prior(np.arange(30))
    for g in range(30):
        k, n = trials.k[trials.group == g, None], trials.n[trials.group == g, None]
        each = stats.betabinom.logpmf(k, n, alpha, beta) - np.log(stats.binom.pmf(k, n, 0.5))
        log_likelihood = (each - n * np.log(2)).sum(axis=0)
        area = np.log((6 / 150) * (9 / 150))
        marginal += logsumexp(log_normal(fitted.hyper) + log_likelihood) + area
        log_weight = log_normal(fitted.widened) + log_likelihood
        weight = np.exp(log_weight - logsumexp(log_weight))
        mean = alpha / (alpha + beta)
        exact = weight @ mean
        second = weight @ (mean * (alpha + 1) / (alpha + beta + 1))
        assert prior.mean[g] == pytest.approx(exact, abs=2e-4)
        assert prior.sd[g] == pytest.approx(np.sqrt(second - exact**2), abs=5e-4)
        for q in (0.025, 0.975):
            at = prior.quantile(q)[g]
            assert weight @ stats.beta.cdf(at, alpha, beta) == pytest.approx(q, abs=1e-3)
    assert fitted.log_marginal == pytest.approx(marginal, abs=0.02)


@settings(max_examples=60, deadline=None)
@given(
    st.integers(1, 4),
    st.lists(
        st.tuples(st.integers(0, 3), st.integers(0, 40), st.integers(0, 40)),
        min_size=0,
        max_size=20,
    ),
)
def test_every_group_gets_a_finite_prior_and_no_warning(groups, rows):
    group = [min(g, groups - 1) for g, _, _ in rows]
    k, n = [min(a, b) for _, a, b in rows], [max(a, b) for _, a, b in rows]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fitted = fit_hierarchy(checked_trials(k, n, group, n_groups=groups))
        prior = fitted.prior(np.arange(-1, groups))
        lower, upper = prior.interval()
    assert np.isfinite(prior.alpha).all()
    assert np.isfinite(prior.beta).all()
    assert prior.weight.sum(axis=1) == pytest.approx(1)
    assert (lower < prior.mean).all()
    assert (prior.mean < upper).all()


def test_ill_posed_groups_lean_on_the_others():
    """No trials, one trial each, all failed, all 0 or 1, equal rates, a million trials."""
    trials, *_ = _simulate(60, 20, seed=4)
    extra = [
        ([0], [0]),
        ([0, 1, 1], [1, 1, 1]),
        ([0, 0], [30, 30]),
        ([0, 20], [20, 20]),
        ([9, 18], [30, 60]),
        ([250_000, 260_000], [1_000_000, 1_000_000]),
    ]
    k, n, group = [trials.k], [trials.n], [trials.group]
    for number, (successes, tried) in enumerate(extra):
        k, n = [*k, successes], [*n, tried]
        group = [*group, [60 + number] * len(tried)]
    fitted = fit_hierarchy(checked_trials(*(np.concatenate(v) for v in (k, n, group))))
    prior, everyone = fitted.prior(np.arange(60, 66)), fitted.prior(-1)
    assert prior.mean[0] == pytest.approx(everyone.mean[0], abs=1e-3)
    assert prior.sd[0] == pytest.approx(everyone.sd[0], abs=2e-3)
    assert prior.mean[1] > everyone.mean[0]
    assert prior.mean[2] < everyone.mean[0] / 1.5
    assert prior.sd[3] > prior.sd[4]
    assert prior.mean[5] == pytest.approx(0.255, abs=0.02)


def test_coverage_where_a_plug_in_covers_37_percent():
    hit = []
    for seed in range(3):
        trials, group, p, rng = _simulate(150, 3, seed=10 + seed, new=10)
        k = rng.binomial(5, p)
        lower, upper = fit_hierarchy(trials).prior(group).updated(k, np.full(k.size, 5)).interval()
        hit.append(((lower <= p) & (p <= upper)).mean())
    assert 0.925 <= np.mean(hit) <= 0.965


def test_covariates_of_groups_carry_to_a_group_without_trials():
    rng = np.random.default_rng(6)
    x = np.column_stack([np.ones(80), np.repeat([0.0, 1.0], 40)])
    mu = expit(x @ [-1.5, 1.0] + 0.1 * rng.normal(size=80))
    group = np.repeat(np.arange(80), 10)
    group = group[~np.isin(group, (0, 79))]
    n = np.full(group.size, 60)
    k = rng.binomial(n, rng.beta(30 * mu[group], 30 * (1 - mu[group])))
    fitted = fit_hierarchy(checked_trials(k, n, group, n_groups=80), x)
    assert fitted.hyper.coefficients == pytest.approx([-1.5, 1.0], abs=0.12)
    assert fitted.prior([0, 79]).mean == pytest.approx(expit([-1.5, -0.5]), abs=0.03)


def test_an_offset_per_style_is_taken_out_and_put_back():
    rng = np.random.default_rng(7)
    group, offset = np.repeat(np.arange(40), 30), rng.normal(0, 0.8, 1_200)
    mu = expit(-1.0 + offset)
    n = np.full(1_200, 50)
    k = rng.binomial(n, rng.beta(25 * mu, 25 * (1 - mu)))
    fitted = fit_hierarchy(checked_trials(k, n, group), offset=offset)
    assert fitted.hyper.tau < 0.2
    assert fitted.prior([3, 3], [0.0, 1.0]).mean == pytest.approx(expit([-1.0, 0.0]), abs=0.04)
    zero = fit_hierarchy(checked_trials(k, n, group), offset=np.zeros(1_200))
    none = fit_hierarchy(checked_trials(k, n, group))
    assert zero.prior(range(40)).mean == pytest.approx(none.prior(range(40)).mean, rel=1e-9)


def test_the_order_of_rows_does_not_matter():
    trials, *_ = _simulate(20, 4, seed=8)
    order = np.random.default_rng(0).permutation(trials.k.size)
    one, two = fit_hierarchy(trials), fit_hierarchy(trials.take(order))
    assert one.prior(range(20)).mean == pytest.approx(two.prior(range(20)).mean, rel=1e-8)


def test_unknown_groups_and_wrong_designs_are_refused():
    trials, *_ = _simulate(3, 4, seed=9)
    fitted = fit_hierarchy(trials)
    with pytest.raises(ValueError, match=r"not in -1\.\.2"):
        fitted.prior([3])
    with pytest.raises(ValueError, match="one row per group"):
        fit_hierarchy(trials, np.ones((2, 1)))
