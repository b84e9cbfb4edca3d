"""Does p move? A test, and the forgetting factor that follows a moving rate best.

    drift_check(daily) -> DriftCheck
    best_forgetting(daily, group, hierarchy) -> float

A posterior that takes p as constant grows too sure of a rate that drifts: with logit p
stepping .05 a day, 63 % instead of 95 % of styles have today's p in their interval after
112 days. The check is the locally best test of a constant against a random walk; the
remedy is a forgetting factor, under which old trials and the prior both lose weight.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import ndtr

from retail_assets.models.cold_start.counts import FloatArray, sum_by
from retail_assets.models.cold_start.hierarchy import Hierarchy
from retail_assets.models.cold_start.posterior import DailyTrials, same_as_before
from retail_assets.models.cold_start.reliability import one_step_ahead


@dataclass(frozen=True)
class DriftCheck:
    """Evidence that rates move within styles.

    Parameters
    ----------
    ratio : float
        Squared partial sums over what a constant p would give; 1 without drift.
    z, p_value : float
        Of ratio = 1 against more; NaN with fewer than two usable styles.
    style_ratio : (n_styles,) float
        The same style by style, to find who moves; NaN without two days of trials.
    n_styles : int
        Styles used.
    """

    ratio: float
    z: float
    p_value: float
    style_ratio: FloatArray
    n_styles: int


def drift_check(daily: DailyTrials) -> DriftCheck:
    """Test that every style's p is constant, against a daily random walk.

    Given a style's totals K of N, a constant p makes the order of successes a random
    permutation. S_t, the successes to day t less N_t K/N, then has mean 0 and variance
    N_t (N - N_t) / (N - 1) · (K/N)(1 - K/N); drift makes Σ_t S_t² larger.

    Notes
    -----
    Nyblom (1989), JASA 84, 223-230: Σ S_t² is locally best against a random walk. The
    standard error is the larger of the spread between styles and that of a Brownian
    bridge, Var ∫B² / (E ∫B²)² = 4/5.
    """
    running_k, running_n = daily.cumulative()
    total_k = sum_by(daily.style, daily.k, daily.n_styles)[daily.style]
    total_n = sum_by(daily.style, daily.n, daily.n_styles)[daily.style]
    rate = np.divide(total_k, total_n, out=np.zeros(total_k.size), where=total_n > 0)
    partial = running_k - running_n * rate
    variance = rate * (1 - rate) * running_n * (total_n - running_n) / np.maximum(total_n - 1, 1)
    # Days until the style's next row: S stays where it is in between.
    days = np.zeros(partial.size)
    days[:-1] = np.where(same_as_before(daily.style)[1:], np.diff(daily.day), 0)
    found = sum_by(daily.style, days * partial**2, daily.n_styles)
    expected = sum_by(daily.style, days * variance, daily.n_styles)
    used = expected > 0
    each = np.divide(found, expected, out=np.full(used.size, np.nan), where=used)
    count = int(used.sum())
    if count < 2:
        return DriftCheck(np.nan, np.nan, np.nan, each, count)
    ratio = float(found.sum() / expected.sum())
    spread = np.sum((found - ratio * expected) ** 2)
    error = np.sqrt(max(spread, 0.8 * np.sum(expected**2))) / expected.sum()
    z = float((ratio - 1.0) / error)
    return DriftCheck(ratio, z, float(ndtr(-z)), each, count)


def best_forgetting(
    daily: DailyTrials,
    group: ArrayLike,
    hierarchy: Hierarchy,
    *,
    candidates: Sequence[float] = (1.0, 0.995, 0.99, 0.98, 0.97, 0.95, 0.93, 0.9),
    period: int = 7,
) -> float:
    """The factor per day whose one-step-ahead forecasts score best; 1 wins ties."""
    scores = [
        one_step_ahead(daily, group, hierarchy, period=period, forgetting=c).log_score.sum()
        for c in candidates
    ]
    return float(candidates[int(np.argmax(scores))])
