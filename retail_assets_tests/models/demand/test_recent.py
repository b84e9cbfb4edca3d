"""The price-free lag against a loop over rows."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from retail_assets.models.demand.recent import STEADY_ROWS, WINDOW_DAYS, recent_residual
from retail_assets.models.demand.rows import DemandRows


def random_rows(seed, size=80):
    rng = np.random.default_rng(seed)
    series = rng.integers(0, 4, size)
    return DemandRows(
        products=("a", "b"),
        product=series // 2,
        series=series,
        period=18_000 + rng.integers(0, 70, size),
        days=np.ones(size),
        units=rng.poisson(3, size).astype(float),
        exposure=np.ones(size),
        price_cents=rng.uniform(100, 200, size),
        rel_price=np.full(size, np.nan),
        promo=np.zeros((size, 0)),
        promo_names=(),
        features={},
    ), rng.normal(1, 0.3, size)


def one_by_one(seen, log_mean, rows, gap):
    found = []
    for series, period in zip(rows.series, rows.period, strict=True):
        last = period - gap
        units = expected = 0.0
        n = 0
        for k in range(len(seen)):
            if seen.series[k] == series and last - WINDOW_DAYS < seen.period[k] <= last:
                units, expected, n = units + seen.units[k], expected + np.exp(log_mean[k]), n + 1
        steady = STEADY_ROWS * expected / n if n else 1.0
        found.append(np.log((units + steady) / (expected + steady)))
    return np.array(found)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("gap", [1, 7, 28])
def test_it_is_sales_over_expectation_in_four_weeks(seed, gap):
    seen, log_mean = random_rows(seed)
    rows, _ = random_rows(seed + 100, 40)
    found = recent_residual(seen, log_mean, rows, gap_days=gap)
    np.testing.assert_allclose(found, one_by_one(seen, log_mean, rows, gap), atol=1e-6)


@pytest.mark.parametrize("gap", [1, 14])
def test_what_is_not_known_yet_changes_nothing(gap):
    seen, log_mean = random_rows(3)
    day = 18_040
    rows = replace(seen, period=np.full(len(seen), day))
    later = np.where(seen.period > day - gap, 999.0, seen.units)
    a, b = (
        recent_residual(s, log_mean, rows, gap_days=gap) for s in (seen, replace(seen, units=later))
    )
    assert np.abs(a).max() > 0.1
    np.testing.assert_array_equal(a, b)


def test_a_series_that_was_never_seen_runs_as_expected():
    seen, log_mean = random_rows(4)
    rows = replace(seen, series=np.full(len(seen), 9))
    np.testing.assert_array_equal(recent_residual(seen, log_mean, rows, gap_days=1), 0)


def test_sales_that_follow_their_prices_leave_no_trace():
    """Half price and twice the sales, as the margin expects: nothing is left to steal."""
    seen, log_mean = random_rows(5)
    as_expected = replace(seen, units=np.exp(log_mean))
    np.testing.assert_allclose(
        recent_residual(as_expected, log_mean, seen, gap_days=1), 0, atol=1e-6
    )
