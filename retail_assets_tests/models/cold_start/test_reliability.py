"""Forecasts that know only the past, and a curve that shows whether they were fair."""

import numpy as np
import pytest

from retail_assets.models.cold_start.counts import checked_trials
from retail_assets.models.cold_start.hierarchy import fit_hierarchy
from retail_assets.models.cold_start.posterior import checked_daily
from retail_assets.models.cold_start.reliability import one_step_ahead, reliability_curve


def _shop():
    rng = np.random.default_rng(0)
    mature = rng.integers(50, 200, 80)
    taught = fit_hierarchy(checked_trials(rng.binomial(mature, rng.beta(8, 24, 80)), mature))
    n = rng.poisson(4, (5, 28))
    k = rng.binomial(n, 0.25)
    style, day = np.nonzero(n)
    return checked_daily(style, day, k[style, day], n[style, day]), taught


def test_forecasts_know_only_the_past():
    daily, taught = _shop()
    whole, first = one_step_ahead(daily, 0, taught), one_step_ahead(daily.until(13), 0, taught)
    early = whole.period < 2
    assert whole.mean[early] == pytest.approx(first.mean)
    assert whole.z[early] == pytest.approx(first.z)
    start = np.append(True, whole.style[1:] != whole.style[:-1])
    assert whole.mean[start] == pytest.approx(np.full(5, taught.prior(0).mean[0]))


def test_a_fair_forecast_lies_on_the_diagonal():
    rng = np.random.default_rng(4)
    p, n = rng.beta(2, 6, 3_000), rng.integers(1, 40, 3_000)
    curve = reliability_curve(p, rng.binomial(n, p), n, bins=8)
    assert (np.abs(curve.realised - curve.predicted) < 4 * curve.realised_se).all()
    assert curve.trials.sum() == n.sum()
    assert (np.diff(curve.predicted) > 0).all()
    high = reliability_curve(np.minimum(2 * p, 1), rng.binomial(n, p), n, bins=8)
    assert (high.realised < high.predicted).all()
    assert reliability_curve([], [], []).trials.size == 0
