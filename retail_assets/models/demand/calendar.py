"""What the calendar says of a day: weekday, holidays where the customers live, the time of year."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date

import holidays
import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

EPOCH_WEEKDAY = 3  # 1 January 1970 was a Thursday; 0 = Monday
DAYS_PER_YEAR = 365.2425
TWO_YEARS = 730
"""With a shorter history the waves of the year extrapolate what was a trend: on a year of the
orange juice panel they moved the bias from -.05 to -.12."""


def weekday(period: Ints) -> Ints:
    """0 = Monday, of days since 1970."""
    return (period + EPOCH_WEEKDAY) % 7


def season_features(
    period: Ints, country_share: Mapping[str, float], *, yearly: bool
) -> dict[str, Floats]:
    """Columns by name for days since 1970, all (r,) float64.

    Parameters
    ----------
    period : (r,) int64
        Days since 1970.
    country_share : mapping of country code to float
        Share of demand in each country, ISO 3166; shares need not add up to 1.
    yearly : bool
        Add sine and cosine of the year and the half-year: with `TWO_YEARS` of history.

    Returns
    -------
    dict
        ``weekday`` (0 = Monday); ``holiday`` and ``before_holiday``, the share of demand in
        countries with a public holiday that day and the next; ``year_sin_1`` and so on.
    """
    found = {
        "weekday": weekday(period).astype(np.float64),
        "holiday": holiday_share(period, country_share),
        "before_holiday": holiday_share(period + 1, country_share),
    }
    if yearly:
        for wave in (1, 2):
            angle = 2 * np.pi * wave * period / DAYS_PER_YEAR
            found |= {f"year_sin_{wave}": np.sin(angle), f"year_cos_{wave}": np.cos(angle)}
    return found


def holiday_share(period: Ints, country_share: Mapping[str, float]) -> Floats:
    """(r,) share of demand in countries with a public holiday; unknown countries have none."""
    if not len(period):
        return np.zeros(0)
    first, last = int(period.min()), int(period.max())
    share = np.zeros(last - first + 1)
    epoch = date(1970, 1, 1).toordinal()
    years = range(date.fromordinal(epoch + first).year, date.fromordinal(epoch + last).year + 1)
    for country, weight in country_share.items():
        try:
            known = holidays.country_holidays(country, years=years)
        except NotImplementedError:
            continue
        for day in known:
            at = day.toordinal() - epoch - first
            if 0 <= at < len(share):
                share[at] += weight
    return np.asarray(share[period - first], np.float64)
