"""How far a forecast was off, and intervals that hold what they promise."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from retail_assets.models.demand.rows import DemandRows, Floats

WINDOWS = (1, 2, 3, 5, 7, 14, 28)
"""Lengths in days that intervals are calibrated for: errors of neighbouring days do not cancel."""
TAIL = 0.1
"""On each side of an 80 % interval."""


def wape(units: Floats, mean: Floats) -> float:
    """Sum of absolute errors over sum of units.

    >>> wape(np.array([2.0, 2.0]), np.array([1.0, 3.0]))
    0.5
    """
    return float(np.abs(units - mean).sum() / max(units.sum(), 1e-9))


def bias(units: Floats, mean: Floats) -> float:
    """Sum of forecasts over sum of units, less one."""
    return float(mean.sum() / max(units.sum(), 1e-9) - 1)


def poisson_deviance(units: Floats, mean: Floats) -> float:
    """Mean Poisson deviance: a strictly proper score of the mean.

    >>> round(poisson_deviance(np.array([2.0]), np.array([1.0])), 4)
    0.7726
    """
    mean = np.maximum(mean, 1e-9)
    logs = np.where(units > 0, units * np.log(np.maximum(units, 1e-300) / mean), 0.0)
    return float(2 * np.mean(logs - (units - mean)))


def rmsse(past: DemandRows, rows: DemandRows, mean: Floats) -> float:
    """Root mean squared error over that of "as the row before", by series (M5's, eq. 1)."""
    # a period's rows at several prices are one observation
    span = int(past.period.max()) + 1
    key, place = np.unique(past.series * span + past.period, return_inverse=True)
    series, units = key // span, np.bincount(place, past.units)
    same = np.diff(series) == 0
    size = int(max(past.series.max(), rows.series.max())) + 1
    steps = np.bincount(series[1:][same], np.diff(units)[same] ** 2, minlength=size)
    count = np.bincount(series[1:][same], minlength=size)
    scale = steps / np.maximum(count, 1)
    own = scale[rows.series]
    known = own > 0
    if not known.any():
        return float("nan")
    error = np.bincount(rows.series[known], (rows.units - mean)[known] ** 2, minlength=size)
    n = np.bincount(rows.series[known], minlength=size)
    told = n > 0
    return float(np.sqrt(error[told] / n[told] / scale[told]).mean())


@dataclass(frozen=True)
class Conformal:
    """80 % limits mean + quantile * sd(mean), with sd^2 = mean + overdispersion * mean^2.

    Split conformal prediction (Lei et al., JASA 113(523), 2018, section 2.2) on past
    forecasts' errors summed over windows of some days, because a sale's error is not
    a day's times their number.

    Attributes
    ----------
    overdispersion : float
    lower, upper : mapping of days to quantile
    """

    overdispersion: float
    lower: Mapping[int, float]
    upper: Mapping[int, float]

    def limits(self, mean: Floats, days: float) -> tuple[Floats, Floats]:
        """Lower and upper 80 % limit of sums over a number of days."""
        window = min(self.lower, key=lambda w: abs(np.log(w / days)))
        sd = _sd(mean, self.overdispersion)
        low = np.maximum(mean + self.lower[window] * sd, 0.0)
        return np.minimum(low, mean), np.maximum(mean + self.upper[window] * sd, mean)


def fit_conformal(rows: DemandRows, mean: Floats) -> Conformal:
    """Calibrate on rows that were forecast before they were seen."""
    excess = ((rows.units - mean) ** 2 - mean).sum() / max((mean**2).sum(), 1e-9)
    overdispersion = max(float(excess), 0.0)
    lower, upper = {}, {}
    for window in WINDOWS:
        block = np.unique(
            np.column_stack([rows.series, rows.period // window]), axis=0, return_inverse=True
        )[1].ravel()
        sums = [np.bincount(block, values).astype(np.float64) for values in (rows.units, mean)]
        score = (sums[0] - sums[1]) / _sd(sums[1], overdispersion)
        n = len(score)
        # the finite-sample corrected ranks of both tails
        level = min(np.ceil((n + 1) * (1 - TAIL)) / n, 1.0)
        lower[window] = -float(np.quantile(-score, level, method="inverted_cdf"))
        upper[window] = float(np.quantile(score, level, method="inverted_cdf"))
    return Conformal(overdispersion, lower, upper)


def _sd(mean: Floats, overdispersion: float) -> Floats:
    return np.asarray(np.sqrt(np.maximum(mean + overdispersion * mean**2, 1e-9)), np.float64)
