"""Maximum likelihood of groups against published figures, 40-digit roots and scipy.

Counts typed here are published facts: rats (Tarone 1982; Gelman et al., BDA3, table
5.1), Saxony's boys (Geissler 1889, as on Wikipedia, "Beta-binomial distribution"),
litters (Moore and Tsiatis 1991; VGAM's ``lirat``).
"""

import warnings

import mpmath
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from scipy.special import expit, logit

from retail_assets.models.cold_start.beta_binomial import STATUSES, fit_groups
from retail_assets.models.cold_start.counts import checked_trials, tail_counts
from retail_assets.models.cold_start.likelihood import (
    Derivatives,
    gamma_objective,
    tail_objective,
)
from retail_assets.models.cold_start.newton import maximise

RATS = (
    "0/20 0/20 0/20 0/20 0/20 0/20 0/20 0/19 0/19 0/19 0/19 0/18 0/18 0/17 1/20 1/20 1/20 "
    "1/20 1/19 1/19 1/18 1/18 2/25 2/24 2/23 2/20 2/20 2/20 2/20 2/20 2/20 1/10 5/49 2/19 "
    "5/46 3/27 2/17 7/49 7/47 3/20 3/20 2/13 9/48 10/50 4/20 4/20 4/20 4/20 4/20 4/20 4/20 "
    "10/48 4/19 4/19 4/19 5/22 11/46 12/49 5/20 5/20 6/23 5/19 6/22 6/20 6/20 6/20 16/52 "
    "15/46 15/47 9/24 4/14"
)
BOYS = np.repeat(np.arange(13), [3, 24, 104, 286, 670, 1033, 1343, 1112, 829, 478, 181, 45, 7])
LITTERS = [
    "1/10 4/11 9/12 4/4 10/10 9/11 9/9 11/11 10/10 7/10 12/12 9/10 8/8 9/11 4/6 7/9 14/14 7/12 "
    "9/11 8/13 5/14 10/10 10/12 8/13 10/10 3/14 13/13 3/4 8/8 5/13 12/12",
    "1/10 1/3 1/13 0/12 4/14 2/9 2/13 1/16 0/11 0/4 0/1 0/12",
    "0/8 1/11 0/14 1/14 0/11",
    "0/3 0/13 2/9 2/17 0/15 0/2 1/14 0/8 0/6 0/17",
]


def _counts(text, group=0):
    """k, n and group of "k/n k/n ..."."""
    k, n = np.array([[int(v) for v in pair.split("/")] for pair in text.split()]).T
    return k, n, np.full(k.size, group)


def _litters():
    return np.concatenate([_counts(text, g) for g, text in enumerate(LITTERS)], axis=1)


RATS_K, RATS_N, _ = _counts(RATS)


def _score_root(k, n, alpha, beta):
    """Root of the beta-binomial score in (log α, log β) with 40 digits."""
    pairs, counts = np.unique(np.stack([k, n], axis=1), axis=0, return_counts=True)
    with mpmath.workdps(40):
        psi = mpmath.digamma

        def score(log_a, log_b):
            a, b = mpmath.exp(log_a), mpmath.exp(log_b)
            base_a, base_b, both = psi(a), psi(b), psi(a + b)
            in_a = in_b = mpmath.mpf(0)
            for (x, y), c in zip(pairs.tolist(), counts.tolist(), strict=True):
                total = both - psi(a + b + y)
                in_a += c * (psi(a + x) - base_a + total)
                in_b += c * (psi(b + y - x) - base_b + total)
            return in_a, in_b

        root = mpmath.findroot(score, (mpmath.log(alpha), mpmath.log(beta)))
        return float(mpmath.exp(root[0])), float(mpmath.exp(root[1]))


@pytest.mark.parametrize(
    ("k", "n", "published", "printed_to"),
    [
        (RATS_K[:70], RATS_N[:70], (2.304768, 14.079707), 2e-4),  # CRAN BayesGOF
        (BOYS, np.full(BOYS.size, 12), (34.09558, 31.5715), 1e-2),  # Wikipedia: not the optimum
    ],
)
def test_the_maximum_is_the_root_of_the_score_to_1e_9(k, n, published, printed_to):
    fit = fit_groups(checked_trials(k, n))
    found = (fit.alpha[0], fit.beta[0])
    assert found == pytest.approx(published, abs=printed_to)
    assert found == pytest.approx(_score_root(k, n, *published), rel=1e-9)
    gamma_form = fit_groups(checked_trials(k, n), tail_limit=0)
    assert found == pytest.approx((gamma_form.alpha[0], gamma_form.beta[0]), rel=1e-9)


def test_saxonys_boys_log_likelihood_as_printed():
    fit = fit_groups(checked_trials(BOYS, np.full(BOYS.size, 12)))
    assert f"{fit.log_likelihood[0]:.1f}" == "-12492.9"


def test_posterior_mode_of_the_rats_as_printed():
    """BDA3 p. 110: (log α/β, log(α + β)) = (-1.79, 2.74) under (α + β)^(-5/2)."""
    trials = checked_trials(RATS_K, RATS_N)
    likelihood = tail_objective(tail_counts(trials, np.array([0])))

    def with_hyperprior(groups, eta, s):
        at, mu, q = likelihood(groups, eta, s), expit(eta), expit(-eta)
        # log α + log β - 5/2 log(α + β), the Jacobian included.
        return Derivatives(
            at.value + np.log(mu * q) + 0.5 * s,
            at.eta + q - mu,
            at.s + 0.5,
            at.eta_eta - 2 * mu * q,
            at.eta_s,
            at.s_s,
        )

    found = maximise(with_hyperprior, np.array([-1.0]), np.array([-2.0]))
    assert (round(float(found.eta[0]), 2), round(float(-found.s[0]), 2)) == (-1.79, 2.74)


def test_litters_as_vgam_prints_them():
    k, n, group = _litters()
    one = fit_groups(checked_trials(k, n))
    assert one.alpha[0] == pytest.approx(0.310273184, rel=1e-7)
    assert one.beta[0] == pytest.approx(0.356460652, rel=1e-7)
    assert one.log_likelihood[0] == pytest.approx(-123.326071, abs=5e-7)
    four = fit_groups(checked_trials(k, n, group))
    # VGAM, epsilon = 1e-13; its group 3 is under-dispersed and has no maximum.
    vgam = [(1.52554283, 0.43139511), (4.02091422, 35.4252865), None, (1.31850675, 26.3450496)]
    for g, expected in enumerate(vgam):
        if expected is None:
            assert four.status[g] == "binomial"
            assert np.isinf(four.alpha[g])
        else:
            assert (four.alpha[g], four.beta[g]) == pytest.approx(expected, rel=1e-6)


def test_batting_averages_as_robinson_prints_them(public_data):
    hits, at_bats = np.loadtxt(public_data / "lah.csv", delimiter=",", skiprows=1).T
    fit = fit_groups(checked_trials(hits, at_bats))
    assert f"{fit.alpha[0]:.1f}" == "72.1"
    assert f"{fit.beta[0]:.0f}" == "215"


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), min_size=1, max_size=12),
    st.floats(-3, 3),
    st.floats(-6, 3),
)
def test_both_forms_agree_with_scipy_and_with_finite_differences(rows, eta, s):
    k = np.array([min(row) for row in rows])
    n = np.array([max(row) for row in rows])
    n[0] += 1
    trials = checked_trials(k, n)
    group = np.array([0])
    mu, sigma = expit(eta), np.exp(s)
    exact = stats.betabinom.logpmf(k, n, mu / sigma, (1 - mu) / sigma).sum()
    constant = np.log([float(mpmath.binomial(int(b), int(a))) for a, b in zip(k, n, strict=True)])
    for objective in (tail_objective(tail_counts(trials, group)), gamma_objective(trials)):

        def at(e, z, objective=objective):
            return objective(group, np.array([e]), np.array([z]))

        here, h = at(eta, s), 1e-5
        assert here.value[0] + constant.sum() == pytest.approx(exact, abs=1e-8)
        right, left, up, down = at(eta + h, s), at(eta - h, s), at(eta, s + h), at(eta, s - h)
        for name, plus, minus in (("value", right, left), ("eta", right, left)):
            slope = (getattr(plus, name) - getattr(minus, name)) / (2 * h)
            target = here.eta if name == "value" else here.eta_eta
            assert target == pytest.approx(slope, abs=2e-5, rel=1e-5)
        for name, target in (("value", here.s), ("eta", here.eta_s), ("s", here.s_s)):
            slope = (getattr(up, name) - getattr(down, name)) / (2 * h)
            assert target == pytest.approx(slope, abs=2e-5, rel=1e-5)


def test_each_ill_posed_group_has_its_status_and_limit():
    groups = [
        ([], []),
        ([0, 0], [0, 0]),
        ([0, 1, 1], [1, 1, 1]),
        ([0, 0], [5, 9]),
        ([5, 9], [5, 9]),
        ([0, 7, 1], [5, 7, 1]),
        ([3], [10]),
        ([3, 6, 30], [10, 20, 100]),
        ([1, 9], [10, 10]),
    ]
    k, n, group = (
        np.concatenate(parts)
        for parts in zip(*((a, b, [g] * len(a)) for g, (a, b) in enumerate(groups)), strict=True)
    )
    fit = fit_groups(checked_trials(k, n, group, n_groups=len(groups)))
    assert fit.status.tolist() == [
        "no_trials",
        "no_trials",
        "unidentified",
        "degenerate",
        "degenerate",
        "polarised",
        "binomial",
        "binomial",
        "ok",
    ]
    assert set(fit.status) == set(STATUSES)
    assert fit.mu[2:9].tolist() == pytest.approx([2 / 3, 0, 1, 2 / 3, 0.3, 0.3, 0.5])
    assert fit.alpha[5] == fit.beta[5] == 0
    assert np.isinf(fit.alpha[6:8]).all()
    # Methods page: two styles 1/10 and 9/10 give α = β = .670.
    assert (fit.alpha[8], fit.beta[8]) == pytest.approx((0.670, 0.670), abs=5e-4)
    assert fit.n_styles.tolist() == [0, 0, 3, 2, 2, 3, 1, 3, 2]
    assert fit.log_likelihood[3:5].tolist() == [0, 0]


counts = st.lists(st.tuples(st.integers(0, 8), st.integers(0, 8)), min_size=1, max_size=8)


@settings(max_examples=150, deadline=None)
@given(counts)
def test_no_point_of_a_wide_grid_beats_the_fit(rows):
    """Whatever the status: the claimed maximum, or supremum, is one."""
    k = np.array([min(row) for row in rows])
    n = np.array([max(row) for row in rows])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fit = fit_groups(checked_trials(k, n))
    assert fit.converged[0]
    eta, s = np.meshgrid(np.linspace(-8, 8, 41), np.linspace(-12, 6, 37))
    mu, sigma = expit(eta.ravel()), np.exp(s.ravel())
    value = stats.betabinom.logpmf(k, n, (mu / sigma)[:, None], ((1 - mu) / sigma)[:, None])
    assert value.sum(axis=1).max() <= fit.log_likelihood[0] + 1e-6


def test_tarones_z_is_that_of_the_formula():
    """Tarone (1979): [Σ (k - np)²/(pq) - Σ n] / sqrt(2 Σ n(n - 1))."""
    k, n = RATS_K[30:], RATS_N[30:]
    p = k.sum() / n.sum()
    by_hand = (((k - n * p) ** 2).sum() / (p * (1 - p)) - n.sum()) / np.sqrt(
        2 * (n * (n - 1)).sum()
    )
    assert fit_groups(checked_trials(k, n)).tarone_z[0] == pytest.approx(by_hand)


def test_standard_errors_are_the_spread_of_estimates():
    rng = np.random.default_rng(5)
    group = np.repeat(np.arange(250), 200)
    p = rng.beta(5.0, 15.0, group.size)
    n = rng.integers(20, 120, group.size)
    fit = fit_groups(checked_trials(rng.binomial(n, p), n, group))
    assert fit.converged.all()
    assert fit.logit_mu_se.mean() == pytest.approx(logit(fit.mu).std(), rel=0.1)
    assert fit.log_sigma_se.mean() == pytest.approx(np.log(fit.sigma).std(), rel=0.1)
    assert np.log(fit.sigma).mean() == pytest.approx(np.log(1 / 20), abs=0.05)


def test_millions_of_trials_use_the_gamma_form_and_agree():
    rng = np.random.default_rng(6)
    p = rng.beta(60, 180, 40)
    small, large = np.full(40, 4_000), np.full(40, 1_000_000)
    k = rng.binomial(small, p)
    one = fit_groups(checked_trials(k, small))
    two = fit_groups(checked_trials(k, small), tail_limit=100)
    assert one.alpha == pytest.approx(two.alpha, rel=1e-8)
    huge = fit_groups(checked_trials(rng.binomial(large, p), large))
    assert huge.converged[0]
    assert huge.alpha[0] == pytest.approx(stats.beta.fit(p, floc=0, fscale=1)[0], rel=0.02)


def test_groups_do_not_depend_on_each_other_or_on_the_order_of_rows():
    rng = np.random.default_rng(7)
    group = rng.integers(0, 50, 900)
    n = rng.integers(0, 60, 900)
    k = rng.binomial(n, rng.beta(2, 6, 900))
    together = fit_groups(checked_trials(k, n, group))
    order = rng.permutation(900)
    shuffled = fit_groups(checked_trials(k[order], n[order], group[order]))
    assert together.alpha == pytest.approx(shuffled.alpha, rel=1e-9)
    alone = fit_groups(checked_trials(k[group == 7], n[group == 7]))
    assert alone.alpha[0] == pytest.approx(together.alpha[7], rel=1e-9)
