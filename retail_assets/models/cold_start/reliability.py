"""Were past posteriors right? Forecasts one step ahead, and a reliability curve.

one_step_ahead(daily, group, hierarchy, period=7) -> Forecasts
reliability_curve(mean, k, n) -> ReliabilityCurve
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from retail_assets.models.cold_start.counts import FloatArray, IntArray, sum_by
from retail_assets.models.cold_start.hierarchy import Hierarchy
from retail_assets.models.cold_start.likelihood import log_choose
from retail_assets.models.cold_start.posterior import DailyTrials, checked_daily

ROWS_AT_ONCE = 2_048


@dataclass(frozen=True)
class Forecasts:
    """Each style and period predicted from the periods before it, (rows,) each.

    ``mean`` is the rate foreseen, ``z`` the standardised error of k, ``log_score`` the
    log probability of k.
    """

    style: IntArray
    period: IntArray
    k: FloatArray
    n: FloatArray
    mean: FloatArray
    z: FloatArray
    log_score: FloatArray


@dataclass(frozen=True)
class ReliabilityCurve:
    """Foreseen against realised rate by bin of the foreseen, (bins,) each."""

    predicted: FloatArray
    realised: FloatArray
    realised_se: FloatArray
    trials: FloatArray


def one_step_ahead(
    daily: DailyTrials,
    group: ArrayLike,
    hierarchy: Hierarchy,
    *,
    period: int = 7,
    forgetting: float = 1.0,
    offset: ArrayLike = 0.0,
) -> Forecasts:
    """Predict every style's periods of ``period`` days, each from those before it.

    The first period of a style is predicted by the prior. ``forgetting`` is per day.
    """
    start = int(daily.day.min(initial=0))
    blocks = checked_daily(
        daily.style, (daily.day - start) // period, daily.k, daily.n, n_styles=daily.n_styles
    )
    through_k, through_n = blocks.cumulative(forgetting**period)
    # What was known before the period, aged to its start.
    known_k, known_n = np.maximum(through_k - blocks.k, 0.0), through_n - blocks.n
    known_k = np.minimum(known_k, np.maximum(known_n, 0.0))
    age = period * blocks.age()
    groups = np.broadcast_to(np.asarray(group, dtype=np.int64), (daily.n_styles,))[blocks.style]
    shift = np.broadcast_to(np.asarray(offset, float), (daily.n_styles,))[blocks.style]
    mean, z, score = (np.empty(groups.size) for _ in range(3))
    for first in range(0, groups.size, ROWS_AT_ONCE):
        part = slice(first, first + ROWS_AT_ONCE)
        prior = hierarchy.prior(groups[part], shift[part]).aged(forgetting ** age[part])
        mixture = prior.updated(known_k[part], np.maximum(known_n[part], 0.0))
        k, n = blocks.k[part], blocks.n[part]
        expected, sd = mixture.foreseen(n)
        mean[part] = mixture.mean
        z[part] = np.divide(k - expected, sd, out=np.zeros(k.size), where=sd > 0)
        evidence = np.sum(mixture.weight * np.exp(mixture.log_evidence(k, n)), axis=1)
        score[part] = np.log(np.maximum(evidence, 1e-300)) + log_choose(n, k)
    return Forecasts(
        blocks.style, blocks.day, blocks.k.astype(float), blocks.n.astype(float), mean, z, score
    )


def reliability_curve(
    mean: ArrayLike, k: ArrayLike, n: ArrayLike, *, bins: int = 10
) -> ReliabilityCurve:
    """Group forecasts of p by their value, with equal trials per bin, and compare with k/n."""
    predicted, successes, trials = (np.asarray(v, dtype=np.float64) for v in (mean, k, n))
    order = np.argsort(predicted, kind="stable")
    through = np.cumsum(trials[order])
    total = max(float(through[-1]), 1.0) if through.size else 1.0
    at = np.empty(predicted.size, dtype=np.int64)
    at[order] = np.minimum((through - 0.5 * trials[order]) / total * bins, bins - 1)
    size, hits, foreseen = (
        sum_by(at, weights, bins) for weights in (trials, successes, trials * predicted)
    )
    full = size > 0
    rate = hits[full] / size[full]
    se = np.sqrt(np.maximum(rate * (1 - rate), 0.0) / size[full])
    return ReliabilityCurve(foreseen[full] / size[full], rate, se, size[full])
