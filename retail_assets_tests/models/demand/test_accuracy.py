"""Figures of a forecast by hand, and intervals that hold what they promise."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from retail_assets.models.demand.accuracy import (
    WINDOWS,
    Conformal,
    bias,
    fit_conformal,
    poisson_deviance,
    rmsse,
    wape,
)
from retail_assets.models.demand.rows import DemandRows


def rows_of(series, period, units):
    size = len(units)
    series = np.asarray(series, np.int64)
    return DemandRows(
        products=tuple(f"p{i}" for i in range(series.max() + 1)),
        product=series,
        series=series,
        period=np.asarray(period, np.int64),
        days=np.ones(size),
        units=np.asarray(units, float),
        exposure=np.ones(size),
        price_cents=np.full(size, 100.0),
        rel_price=np.full(size, np.nan),
        promo=np.zeros((size, 0)),
        promo_names=(),
        features={},
    )


def test_errors_by_hand():
    units, mean = np.array([4.0, 0.0, 6.0]), np.array([3.0, 2.0, 6.0])
    assert wape(units, mean) == pytest.approx(3 / 10)
    assert bias(units, mean) == pytest.approx(1 / 10)
    assert poisson_deviance(units, mean) == pytest.approx(2 * ((4 * np.log(4 / 3) - 1) + 2 + 0) / 3)


@given(
    units=st.lists(st.integers(0, 50), min_size=1, max_size=20),
    scale=st.floats(0.1, 10),
)
@settings(max_examples=50, deadline=None)
def test_deviance_is_twice_the_likelihood_lost_against_knowing_the_units(units, scale):
    units = np.array(units, float)
    mean = scale * (units + 0.5)
    told = stats.poisson.logpmf(units, np.maximum(units, 1e-300))
    lost = 2 * (told - stats.poisson.logpmf(units, mean)).mean()
    assert poisson_deviance(units, mean) == pytest.approx(lost, rel=1e-6, abs=1e-9)


def test_rmsse_is_that_of_m5():
    """Makridakis et al., 2022, eq. 1: (1/h Σ e²) / (1/(n-1) Σ (y_t - y_{t-1})²), by series."""
    past = rows_of([0, 0, 0, 1, 1, 1, 1], [2, 1, 3, 1, 2, 3, 4], [5, 3, 4, 0, 2, 0, 4])
    rows = rows_of([0, 0, 1], [5, 6, 5], [4, 8, 2])
    mean = np.array([5.0, 5.0, 3.0])
    first = np.sqrt(((4 - 5) ** 2 + (8 - 5) ** 2) / 2 / ((4 + 1) / 2))
    second = np.sqrt(1 / ((4 + 4 + 16) / 3))
    assert rmsse(past, rows, mean) == pytest.approx((first + second) / 2)


def test_rmsse_leaves_out_series_that_never_moved():
    past = rows_of([0, 0, 1, 1, 2], [1, 2, 1, 2, 1], [3, 3, 1, 3, 9])
    rows = rows_of([0, 1, 2], [3, 3, 3], [5, 5, 5])
    assert rmsse(past, rows, np.array([9.0, 3.0, 9.0])) == pytest.approx(np.sqrt(4 / 4))
    still = rows_of([0], [3], [5])
    assert np.isnan(rmsse(past, still, np.array([1.0])))


def noisy(seed, days, *, size):
    """Negative binomial days of 40 products, with an error of each product that lasts."""
    rng = np.random.default_rng(seed)
    mean = np.repeat(rng.uniform(1, 30, 40), days)
    lasting = np.repeat(rng.gamma(8, 1 / 8, 40), days)
    units = rng.poisson(mean * lasting * rng.gamma(4, 1 / 4, len(mean)))
    rows = rows_of(np.repeat(np.arange(40), days), np.tile(np.arange(days), 40), units)
    return rows, mean * size


@pytest.mark.parametrize("size", [1.0, 1.3])
def test_intervals_hold_four_of_five_days_even_where_the_mean_is_off(size):
    conformal = fit_conformal(*noisy(0, 84, size=size))
    inside = []
    for seed in range(1, 9):
        rows, mean = noisy(seed, 28, size=size)
        low, high = conformal.limits(mean, 1)
        inside.append(((rows.units >= low) & (rows.units <= high)).mean())
    assert np.mean(inside) == pytest.approx(0.8, abs=0.05)


def test_intervals_of_four_weeks_hold_sums_whose_errors_last():
    conformal = fit_conformal(*noisy(0, 280, size=1.0))
    inside, naive = [], []
    for seed in range(1, 30):
        rows, mean = noisy(seed, 28, size=1.0)
        units, mean = (v.reshape(40, 28).sum(axis=1) for v in (rows.units, mean))
        low, high = conformal.limits(mean, 28)
        inside.append(((units >= low) & (units <= high)).mean())
        naive.append((np.abs(units - mean) < 1.2816 * np.sqrt(mean)).mean())
    assert np.mean(inside) == pytest.approx(0.8, abs=0.07)
    assert np.mean(naive) < 0.5


def test_the_quantiles_have_the_ranks_of_split_conformal_prediction():
    """With n past scores the limits are the ceil(.9 (n + 1))-th from either end."""
    rng = np.random.default_rng(0)
    n = 30
    rows = rows_of(np.arange(n), np.full(n, 70), rng.poisson(9, n))
    mean = np.full(n, 9.0)
    conformal = fit_conformal(rows, mean)
    score = np.sort(rows.units - mean) / np.sqrt(9 + conformal.overdispersion * 81)
    rank = int(np.ceil(0.9 * (n + 1)))
    assert conformal.upper[1] == pytest.approx(score[rank - 1])
    assert conformal.lower[1] == pytest.approx(score[n - rank])


@given(
    mean=st.lists(st.floats(0, 1e6), min_size=1, max_size=5),
    days=st.floats(0.5, 400),
    seed=st.integers(0, 50),
)
@settings(max_examples=60, deadline=None)
def test_limits_contain_the_mean_and_are_never_below_zero(mean, days, seed):
    rng = np.random.default_rng(seed)
    lower, upper = (dict(zip(WINDOWS, rng.normal(0, 2, 7), strict=True)) for _ in range(2))
    value = np.array(mean)
    low, high = Conformal(rng.uniform(0, 2), lower, upper).limits(value, days)
    assert (low >= 0).all()
    assert (low <= value).all()
    assert (value <= high).all()


def test_a_length_in_between_takes_the_nearest_window():
    conformal = Conformal(0.0, {w: -0.1 * w for w in WINDOWS}, {w: 0.1 * w for w in WINDOWS})
    high = [float(conformal.limits(np.array([100.0]), d)[1][0]) for d in (1, 6, 11, 300)]
    assert high == pytest.approx([101, 107, 114, 128])
