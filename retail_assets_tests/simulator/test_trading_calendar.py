"""Trading intervals are elapsed time: no clock change loses or doubles one."""

from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from retail_assets.simulator.calendar import trading_calendar
from retail_assets.simulator.presets import load_preset
from retail_assets.simulator.specs import RetailSpec, StoreSpec


def calendar_of(store: StoreSpec, first_day: date, n_days: int, minutes: int = 15):
    own = load_preset("paper").categories
    spec = RetailSpec("test", (store,), own, first_day, n_days, interval_minutes=minutes)
    return trading_calendar(spec, store)


@pytest.mark.parametrize(
    ("day", "hours"),
    [(date(2026, 3, 29), 23), (date(2026, 10, 25), 25), (date(2026, 6, 1), 24)],
)
def test_a_day_around_the_clock_has_23_24_or_25_hours(day, hours):
    calendar = calendar_of(StoreSpec("s", "Europe/Zurich"), day, 1, 60)
    assert calendar.n_intervals == hours


def test_the_doubled_hour_is_two_intervals_of_one_season():
    calendar = calendar_of(StoreSpec("s", "Europe/Zurich"), date(2026, 10, 25), 1, 60)
    local_hours = calendar.season - 6 * 24
    assert local_hours.tolist() == [0, 1, 2, 2, *range(3, 24)]


def test_a_business_day_may_end_after_midnight():
    bar = StoreSpec("bar", "Europe/London", hours=((18 * 60, 26 * 60),) * 7)
    calendar = calendar_of(bar, date(2026, 5, 8), 2, 60)  # a Friday
    assert calendar.day.tolist() == [0] * 8 + [1] * 8
    assert calendar.season[7] == 5 * 24 + 1  # one o'clock on Saturday's clock


def test_closed_days_exist_and_are_empty():
    closed = (date(2026, 5, 14),)
    hours = ((9 * 60, 17 * 60),) * 6 + (None,)
    calendar = calendar_of(StoreSpec("s", hours=hours, closed=closed), date(2026, 5, 11), 7, 60)
    assert np.diff(calendar.first_interval).tolist() == [8, 8, 8, 0, 8, 8, 0]
    assert not calendar.is_open(3)
    assert calendar.day[-1] == 5


def test_half_an_interval_is_refused_by_store_and_day():
    store = StoreSpec("odd", hours=((9 * 60, 17 * 60 + 10),) * 7)
    with pytest.raises(ValueError, match=r"store odd: 2026-05-11 is not a whole number of 15"):
        calendar_of(store, date(2026, 5, 11), 1)


@given(
    zone=st.sampled_from(["UTC", "Europe/London", "America/New_York", "Australia/Lord_Howe"]),
    start=st.dates(date(2025, 1, 1), date(2026, 12, 1)),
    opened=st.integers(0, 23),
    length=st.integers(1, 24),
)
@settings(max_examples=40, deadline=None)
def test_intervals_follow_the_wall_clock_of_opening_and_closing(zone, start, opened, length):
    hours = ((opened * 60, (opened + length) * 60),) * 7
    calendar = calendar_of(StoreSpec("s", zone, hours=hours), start, 5, 30)
    for day in range(5):
        midnight = datetime.combine(start + timedelta(days=day), datetime.min.time())
        both = (midnight + timedelta(hours=h) for h in (opened, opened + length))
        a, b = (int(moment.replace(tzinfo=ZoneInfo(zone)).timestamp()) for moment in both)
        own = np.flatnonzero(calendar.day == day)
        assert len(own) * 1800 == b - a
        np.testing.assert_array_equal(calendar.utc_seconds(own), np.arange(a, b, 1800))
