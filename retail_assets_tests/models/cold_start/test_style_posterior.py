"""Posteriors by style and day: shrinkage, as-of discipline, forgetting."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from retail_assets.models.cold_start.counts import checked_trials
from retail_assets.models.cold_start.hierarchy import fit_hierarchy
from retail_assets.models.cold_start.posterior import (
    checked_daily,
    style_posterior,
)


@pytest.fixture(scope="module")
def hierarchy():
    rng = np.random.default_rng(1)
    group = np.repeat(np.arange(4), 15)
    n = rng.integers(20, 200, 60)
    return fit_hierarchy(checked_trials(rng.binomial(n, rng.beta(6, 18, 60)), n, group))


def _history(seed=2, styles=12, days=30):
    rng = np.random.default_rng(seed)
    style, day = (v.ravel() for v in np.meshgrid(np.arange(styles), np.arange(days)))
    n = rng.poisson(2, style.size)
    k = rng.binomial(n, np.repeat(0.25, style.size))
    kept = n > 0
    return checked_daily(style[kept], day[kept], k[kept], n[kept], n_styles=styles)


FIELDS = ("k", "n", "mean", "sd", "lower", "upper", "prior_mean", "shrink_weight", "prob_below")


def test_no_trials_give_the_prior_and_many_give_the_rate(hierarchy):
    found = style_posterior(hierarchy, [0, 0], [0, 2_000], [0, 10_000], break_even=0.12)
    prior = hierarchy.prior([0])
    assert found.mean[0] == pytest.approx(prior.mean[0])
    assert found.shrink_weight[0] == 0
    assert found.prob_below[0] == pytest.approx(prior.cdf(0.12)[0])
    assert found.mean[1] == pytest.approx(0.2, abs=1e-3)
    assert found.shrink_weight[1] > 0.99
    exact = stats.binom(10_000, 0.2)
    assert found.lower[1] == pytest.approx(exact.ppf(0.025) / 10_000, abs=1e-3)


def test_the_shrink_weight_is_how_far_the_mean_moves(hierarchy):
    found = style_posterior(hierarchy, [1], [9], [20])
    linear = found.prior_mean + found.shrink_weight * (0.45 - found.prior_mean)
    # Exact for one Beta; a mixture's weights move a little too.
    assert found.mean == pytest.approx(linear, abs=0.02)
    assert stats.beta.mean(found.alpha, found.beta) == pytest.approx(found.mean)
    assert stats.beta.std(found.alpha, found.beta) == pytest.approx(found.sd)


def test_without_a_break_even_its_probability_is_unknown(hierarchy):
    assert np.isnan(style_posterior(hierarchy, [0], [1], [4]).prob_below).all()
    assert style_posterior(hierarchy, [], [], []).mean.size == 0


def test_more_styles_than_a_block_are_the_same_one_by_one(hierarchy):
    rng = np.random.default_rng(3)
    n = rng.integers(0, 50, 1_500)
    k, group = rng.binomial(n, 0.3), rng.integers(-1, 4, 1_500)
    together = style_posterior(hierarchy, group, k, n)
    for i in (0, 1_023, 1_024, 1_499):
        alone = style_posterior(hierarchy, group[i : i + 1], k[i : i + 1], n[i : i + 1])
        assert together.lower[i] == pytest.approx(alone.lower[0], rel=1e-9)


@settings(max_examples=40, deadline=None)
@given(
    st.lists(
        st.tuples(st.integers(0, 3), st.integers(0, 20), st.integers(0, 5), st.integers(0, 5)),
        min_size=0,
        max_size=25,
    ),
    st.sampled_from([1.0, 0.9, 0.5]),
)
def test_running_counts_are_the_discounted_sums(rows, forgetting):
    style, day = [r[0] for r in rows], [r[1] for r in rows]
    k, n = [min(r[2:]) for r in rows], [max(r[2:]) for r in rows]
    daily = checked_daily(style, day, k, n, n_styles=4)
    running_k, running_n = daily.cumulative(forgetting)
    for i, (s, d) in enumerate(zip(daily.style, daily.day, strict=True)):
        past = [
            (forgetting ** (d - t), x, y)
            for z, t, x, y in zip(style, day, k, n, strict=True)
            if z == s and t <= d
        ]
        assert running_k[i] == pytest.approx(sum(w * x for w, x, _ in past))
        assert running_n[i] == pytest.approx(sum(w * y for w, _, y in past))
        assert daily.totals(int(d), forgetting)[0][s] == pytest.approx(running_k[i])


def test_bad_counts_are_refused(hierarchy):
    with pytest.raises(ValueError, match="more successes"):
        checked_daily([0], [1], [3], [2])
    with pytest.raises(ValueError, match="row 0"):
        style_posterior(hierarchy, [0], [3], [2])
