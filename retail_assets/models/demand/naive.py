"""Forecasts that need no model: they may win a forecast, but they cannot price.

All work on rates, units over exposure days, so that a week of empty shelves is not repeated.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from retail_assets.models.demand.rows import DemandRows, Floats, Ints

YEAR, WEEK, WINDOW = 364, 7, 56


@dataclass(frozen=True)
class History:
    """Rates of each series by day, sparse: what was known at an origin.

    Parameters
    ----------
    key : (m,) int64, ascending
        series * span + day.
    units, time : (m + 1,) float64
        Running sums before each entry, of units and of exposure days.
    """

    key: Ints
    units: Floats
    time: Floats
    span: int
    last: int
    rate: float

    @staticmethod
    def of(rows: DemandRows) -> History:
        """The history of past rows."""
        span = int(rows.period.max()) + 4 * YEAR
        key, place = np.unique(rows.series * span + rows.period, return_inverse=True)
        time = rows.exposure * rows.days
        units = np.concatenate([[0.0], np.cumsum(np.bincount(place, rows.units))])
        known = np.concatenate([[0.0], np.cumsum(np.bincount(place, time))])
        rate = float(rows.units.sum() / max(time.sum(), 1e-9))
        return History(key, units, known, span, int(rows.period.max()), rate)

    def between(self, series: Ints, first: Ints, last: Ints) -> tuple[Floats, Floats]:
        """Units and exposure days of each series from first to last day, both included."""
        low = np.searchsorted(self.key, series * self.span + np.maximum(first, 0))
        high = np.searchsorted(self.key, series * self.span + np.maximum(last, 0) + 1)
        high = np.maximum(high, low)
        return self.units[high] - self.units[low], self.time[high] - self.time[low]


def seasonal_naive(history: History, rows: DemandRows) -> Floats:
    """The same day a year ago, else of the last known week; then the series' eight weeks."""
    ahead = np.maximum(rows.period - history.last, 1)
    week = rows.period - WEEK * (-(-ahead // WEEK))
    found = np.full(len(rows), np.nan)
    for day in (rows.period - YEAR, week):
        units, time = history.between(rows.series, day, day)
        found = np.where(np.isnan(found), _rate(units, time), found)
    return _units(rows, np.where(np.isnan(found), _recent(history, rows), found))


def last_year_growth(history: History, rows: DemandRows) -> Floats:
    """The same week last year times the growth of the last eight weeks over theirs.

    NaN where there is no year before.
    """
    back = rows.period - YEAR
    units, time = history.between(rows.series, back - 3, back + 3)
    same_week = _rate(units, time)
    last = np.full(len(rows), history.last)
    now = _recent(history, rows)
    then = _rate(*history.between(rows.series, last - YEAR - WINDOW + 1, last - YEAR))
    return _units(rows, same_week * now / np.where(then > 0, then, np.nan))


def median_eight_weeks(history: History, rows: DemandRows) -> Floats:
    """The median of the last eight weekly rates of each series."""
    weekly = []
    for back in range(WINDOW // WEEK):
        last = np.full(len(rows), history.last - WEEK * back)
        weekly.append(_rate(*history.between(rows.series, last - WEEK + 1, last)))
    table = np.array(weekly)
    known = ~np.isnan(table).all(axis=0)
    median = np.full(len(rows), np.nan)
    median[known] = np.nanmedian(table[:, known], axis=0)
    return _units(rows, np.where(known, median, history.rate))


def _recent(history: History, rows: DemandRows) -> Floats:
    last = np.full(len(rows), history.last)
    found = _rate(*history.between(rows.series, last - WINDOW + 1, last))
    return np.where(np.isnan(found), history.rate, found)


def _rate(units: Floats, time: Floats) -> Floats:
    return np.where(time > 0, units / np.where(time > 0, time, 1.0), np.nan)


def _units(rows: DemandRows, rate: Floats) -> Floats:
    return np.asarray(rate * rows.exposure * rows.days, np.float64)
