"""Season features against Python's own calendar and holidays everyone knows."""

from __future__ import annotations

from datetime import date, timedelta

import numpy as np
import pytest

from retail_assets.models.demand.calendar import holiday_share, season_features, weekday

EPOCH = date(1970, 1, 1)


def periods(*days: date) -> np.ndarray:
    return np.array([(day - EPOCH).days for day in days])


def test_weekdays_are_those_of_the_calendar():
    days = [date(2026, 2, 20) + timedelta(days=k) for k in range(400)]
    assert weekday(periods(*days)).tolist() == [day.weekday() for day in days]


def test_a_holiday_counts_with_the_demand_of_its_countries():
    # Bastille Day is French, 5 October is Portuguese, Christmas is both; 13 July is neither.
    days = periods(date(2026, 7, 14), date(2026, 10, 5), date(2026, 12, 25), date(2026, 7, 13))
    share = holiday_share(days, {"FR": 0.6, "PT": 0.3})
    assert share == pytest.approx([0.6, 0.3, 0.9, 0.0])


def test_the_day_before_looks_over_the_turn_of_the_year():
    found = season_features(periods(date(2026, 12, 31)), {"FR": 1.0}, yearly=False)
    assert found["holiday"] == pytest.approx([0.0])
    assert found["before_holiday"] == pytest.approx([1.0])


def test_a_country_nobody_knows_has_no_holidays():
    assert holiday_share(periods(date(2026, 12, 25)), {"ZZ": 1.0}) == pytest.approx([0.0])


def test_waves_of_the_year_come_back_and_only_when_asked_for():
    days = periods(date(2024, 3, 1), date(2026, 3, 1))
    found = season_features(days, {}, yearly=True)
    waves = [name for name in found if name.startswith("year_")]
    assert len(waves) == 4
    for name in waves:
        assert found[name][0] == pytest.approx(found[name][1], abs=0.02)
        assert np.abs(found[name]).max() <= 1
    assert not any(name.startswith("year_") for name in season_features(days, {}, yearly=False))


def test_no_days_have_no_features():
    found = season_features(np.empty(0, np.int64), {"FR": 1.0}, yearly=False)
    assert {len(values) for values in found.values()} == {0}
