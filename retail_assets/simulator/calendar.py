"""A store's trading intervals: elapsed time from opening, so a DST change is only a
longer or shorter day, and an interval is never lost or doubled."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import numpy as np
from numpy.typing import NDArray

from retail_assets.simulator.specs import RetailSpec, StoreSpec

HOURS_OF_WEEK = 168


@dataclass(frozen=True)
class TradingCalendar:
    """The trading intervals of one store.

    Parameters
    ----------
    first_day : date
        Business date of day 0.
    timezone : str
    interval_seconds : int
    opens_at : (D,) int64
        UTC seconds at which each business day opens; of a closed day, its midnight.
    first_interval : (D + 1,) int64
        Day ``d`` owns intervals ``first_interval[d]:first_interval[d + 1]``.
    season : (T,) int16
        Hour of the week (weekday of the local clock x 24 + local hour) at interval start.
    """

    first_day: date
    timezone: str
    interval_seconds: int
    opens_at: NDArray[np.int64]
    first_interval: NDArray[np.int64]
    season: NDArray[np.int16]

    @property
    def n_days(self) -> int:
        return len(self.opens_at)

    @property
    def n_intervals(self) -> int:
        return len(self.season)

    @property
    def day(self) -> NDArray[np.int32]:
        """(T,) business day of each interval."""
        return np.repeat(np.arange(self.n_days, dtype=np.int32), np.diff(self.first_interval))

    def date_of(self, day: int) -> date:
        return self.first_day + timedelta(days=day)

    def is_open(self, day: int) -> bool:
        return bool(self.first_interval[day + 1] > self.first_interval[day])

    def utc_seconds(self, interval: NDArray[np.integer]) -> NDArray[np.int64]:
        """UTC seconds at which intervals start; T itself is the end of the last one."""
        at = np.asarray(interval, dtype=np.int64)
        day = np.searchsorted(self.first_interval, at, side="right") - 1
        over = day >= self.n_days
        day = np.where(over, np.searchsorted(self.first_interval, self.n_intervals) - 1, day)
        return self.opens_at[day] + (at - self.first_interval[day]) * self.interval_seconds


def trading_calendar(spec: RetailSpec, store: StoreSpec) -> TradingCalendar:
    """Lay out the trading intervals of one store.

    Raises
    ------
    ValueError
        When a day's opening time is not a whole number of intervals.
    """
    zone, step = ZoneInfo(store.timezone), spec.interval_minutes * 60
    opens, sizes, seasons, total = [], [], [], 0
    for day in range(spec.n_days):
        business_date = spec.first_day + timedelta(days=day)
        hours = None if business_date in store.closed else store.hours[business_date.weekday()]
        opened, closed = (_utc(business_date, m, zone) for m in hours or (0, 0))
        count, rest = divmod(closed - opened, step)
        if rest:
            raise ValueError(
                f"store {store.store_id}: {business_date} is not a whole number of "
                f"{spec.interval_minutes}-minute intervals; change its hours"
            )
        if spec.n_intervals is not None:
            count = min(count, spec.n_intervals - total)
        total += count
        opens.append(opened)
        sizes.append(count)
        seasons.append(_hours_of_week(opened, count, step, zone))
    bounds = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
    return TradingCalendar(
        spec.first_day,
        store.timezone,
        step,
        np.array(opens, dtype=np.int64),
        bounds,
        np.concatenate(seasons).astype(np.int16),
    )


def _utc(business_date: date, minutes: int, zone: ZoneInfo) -> int:
    clock = datetime.combine(business_date, datetime.min.time()) + timedelta(minutes=minutes)
    return int(clock.replace(tzinfo=zone).timestamp())


def _hours_of_week(opened: int, count: int, step: int, zone: ZoneInfo) -> NDArray[np.int64]:
    """Local hour of the week of ``count`` intervals; the clock may jump among them."""
    starts = opened + step * np.arange(count, dtype=np.int64)
    first, last = (_offset(t, zone) for t in (opened, opened + step * count))
    if first == last:
        local = starts + first
    else:
        local = np.array([t + _offset(int(t), zone) for t in starts])
    return (local // 3600 + 72) % HOURS_OF_WEEK  # 1970-01-01 was a Thursday: 3 x 24 hours in


def _offset(utc: int, zone: ZoneInfo) -> int:
    moment = datetime.fromtimestamp(utc, UTC).astimezone(zone)
    shift = moment.utcoffset()
    return 0 if shift is None else int(shift.total_seconds())
