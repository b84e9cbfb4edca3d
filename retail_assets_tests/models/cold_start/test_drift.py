"""A rate that drifts is noticed and followed; one that rests raises no alarm."""

import numpy as np
import pytest
from scipy.special import expit, logit

from retail_assets.models.cold_start.counts import checked_trials
from retail_assets.models.cold_start.drift import best_forgetting, drift_check
from retail_assets.models.cold_start.hierarchy import fit_hierarchy
from retail_assets.models.cold_start.posterior import checked_daily, style_posterior


def _shop(seed, step, styles=60, days=112, per_day=3):
    """Styles on sale day after day; logit p takes a random step every day."""
    rng = np.random.default_rng(seed)
    mature = rng.integers(50, 200, 80)
    taught = fit_hierarchy(checked_trials(rng.binomial(mature, rng.beta(8, 24, 80)), mature))
    steps = step * rng.normal(size=(styles, days))
    path = logit(rng.beta(8, 24, styles))[:, None] + np.cumsum(steps, axis=1)
    n = rng.poisson(per_day, (styles, days))
    k = rng.binomial(n, expit(path))
    style, day = np.nonzero(n)
    return checked_daily(style, day, k[style, day], n[style, day]), taught, expit(path[:, -1])


def test_resting_rates_pass_and_keep_all_their_history():
    alarms = [drift_check(_shop(seed, 0.0)[0]).p_value < 0.01 for seed in range(20)]
    assert sum(alarms) <= 1
    daily, taught, _ = _shop(1, 0.0)
    assert best_forgetting(daily, 0, taught) >= 0.995


def test_drifting_rates_fail_the_check_and_forgetting_follows_them():
    daily, taught, today = _shop(2, 0.08)
    check = drift_check(daily)
    assert check.p_value < 1e-4
    assert check.ratio > 2
    factor = best_forgetting(daily, 0, taught)
    assert factor < 0.99

    def covered(forgetting):
        found = style_posterior(
            taught, np.zeros(60, int), *daily.totals(111, forgetting), prior_factor=forgetting**111
        )
        return ((found.lower <= today) & (today <= found.upper)).mean()

    assert covered(1.0) < 0.6
    assert covered(factor) > 0.8


def test_partial_sums_are_as_a_random_order_of_successes_gives():
    """The expected Σ S² by enumeration: 2 successes in 4 trials, one a day."""
    days = np.arange(4)
    orders = [
        [i in pair for i in range(4)] for pair in ((0, 1), (0, 2), (0, 3), (1, 2), (1, 3), (2, 3))
    ]
    ratios = [
        drift_check(checked_daily(np.zeros(4, int), days, order, np.ones(4))).style_ratio[0]
        for order in orders
    ]
    assert np.mean(ratios) == pytest.approx(1.0)


def test_one_style_cannot_be_tested_for_drift():
    check = drift_check(_shop(3, 0.0, styles=1)[0])
    assert np.isnan(check.p_value)
    assert check.n_styles == 1
    assert np.isnan(drift_check(checked_daily([], [], [], [])).p_value)
