"""The three forecasts without a model against loops over rows."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from retail_assets.models.demand.naive import (
    History,
    last_year_growth,
    median_eight_weeks,
    seasonal_naive,
)
from retail_assets.models.demand.rows import DemandRows


def shop(seed, *, days=420, step=1, gaps=0.2, series=3):
    """Daily or weekly rows with gaps and two prices on some days; NaN ahead."""
    rng = np.random.default_rng(seed)
    period = np.repeat(19_000 + step * np.arange(days // step), series)
    size = len(period)
    every = DemandRows(
        products=tuple(f"p{i}" for i in range(series)),
        product=np.tile(np.arange(series), days // step),
        series=np.tile(np.arange(series), days // step),
        period=period,
        days=np.full(size, float(step)),
        units=rng.poisson(5, size).astype(float),
        exposure=rng.choice([0.0, 0.5, 1.0], size),
        price_cents=np.full(size, 100.0),
        rel_price=np.full(size, np.nan),
        promo=np.zeros((size, 0)),
        promo_names=(),
        features={},
    )
    kept = np.flatnonzero(rng.random(size) > gaps)
    return every.take(np.sort(np.append(kept, kept[::7])))


def ahead(past, days=28, step=1):
    last = int(past.period.max())
    times = np.arange(step, days + 1, step)
    rows = past.take(np.zeros(len(times) * 3, np.int64))
    return replace(
        rows,
        product=np.tile(np.arange(3), len(times)),
        series=np.tile(np.arange(3), len(times)),
        period=last + np.repeat(times, 3),
        days=np.full(len(rows), float(step)),
        exposure=np.full(len(rows), 0.8),
    )


def rate(past, series, first, last):
    """Units over exposure days, both ends included; None where there were none."""
    units = time = 0.0
    for k in range(len(past)):
        if past.series[k] == series and first <= past.period[k] <= last:
            units += past.units[k]
            time += past.exposure[k] * past.days[k]
    return units / time if time > 0 else None


def first_known(*rates):
    return next((r for r in rates if r is not None), np.nan)


def overall(past):
    return past.units.sum() / (past.exposure * past.days).sum()


@pytest.mark.parametrize("seed", range(3))
def test_seasonal_naive_repeats_last_year_else_the_last_known_week(seed):
    past = shop(seed)
    rows = ahead(past)
    last, expected = int(past.period.max()), []
    for series, day in zip(rows.series.tolist(), rows.period.tolist(), strict=True):
        week = day
        while week > last:
            week -= 7
        expected.append(
            first_known(
                rate(past, series, day - 364, day - 364),
                rate(past, series, week, week),
                rate(past, series, last - 55, last),
                overall(past),
            )
        )
    found = seasonal_naive(History.of(past), rows)
    np.testing.assert_allclose(found, np.array(expected) * 0.8)


@pytest.mark.parametrize("seed", range(3))
def test_last_year_grows_as_the_last_eight_weeks_did(seed):
    past = shop(seed, days=480)
    rows = ahead(past)
    last, expected = int(past.period.max()), []
    for series, day in zip(rows.series.tolist(), rows.period.tolist(), strict=True):
        same = rate(past, series, day - 367, day - 361)
        now = rate(past, series, last - 55, last)
        then = rate(past, series, last - 364 - 55, last - 364)
        known = None not in (same, now, then)
        expected.append(same * now / then * 0.8 if known else np.nan)
    assert np.isfinite(expected).mean() > 0.9
    np.testing.assert_allclose(last_year_growth(History.of(past), rows), expected)


def test_growth_from_nothing_is_not_told():
    past = shop(0, days=480)
    began = past.period > past.period.max() - 364
    slow = replace(past, units=np.where(began, past.units, 0.0))
    assert np.isnan(last_year_growth(History.of(slow), ahead(slow))).all()


def test_without_a_year_before_growth_is_not_told():
    past = shop(0, days=200)
    assert np.isnan(last_year_growth(History.of(past), ahead(past))).all()


@pytest.mark.parametrize("step", [1, 7])
@pytest.mark.parametrize("seed", range(3))
def test_the_median_is_that_of_eight_weekly_rates(seed, step):
    past = shop(seed, days=150, step=step, gaps=0.6)
    rows = ahead(past, step=step)
    last, expected = int(past.period.max()), []
    for series in rows.series.tolist():
        weeks = [rate(past, series, last - 7 * k - 6, last - 7 * k) for k in range(8)]
        known = [w for w in weeks if w is not None]
        expected.append((np.median(known) if known else overall(past)) * 0.8 * step)
    np.testing.assert_allclose(median_eight_weeks(History.of(past), rows), expected)


@pytest.mark.parametrize("forecast", [seasonal_naive, median_eight_weeks])
def test_empty_shelves_are_not_repeated_as_no_demand(forecast):
    past = replace(shop(1, gaps=0.0), units=np.full(len(shop(1, gaps=0.0)), 6.0))
    half = np.arange(len(past)) % 2 == 0
    short = replace(
        past,
        exposure=np.where(half, 0.25, 1.0),
        units=np.where(half, 1.5, 6.0),
    )
    np.testing.assert_allclose(forecast(History.of(short), ahead(past)), 6 * 0.8)


def test_a_series_never_seen_takes_the_rate_of_all():
    past = shop(2)
    rows = replace(ahead(past), series=np.full(84, 7))
    for forecast in (seasonal_naive, median_eight_weeks):
        np.testing.assert_allclose(forecast(History.of(past), rows), overall(past) * 0.8)
