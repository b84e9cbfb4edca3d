"""Posterior of each style's rate, style by style and day by day.

    style_posterior(hierarchy, group, k, n) -> StylePosterior     any styles, any counts
    checked_daily(style, day, k, n) -> DailyTrials                counts by style and day
    posterior_by_day(daily, group, priors) -> DailyPosterior      a row per style and day

A row of day d rests on trials up to d and on the latest prior dated d or before, so
recomputing the past gives what was published then. A style that taught its own prior
(``DatedPrior.trained``) is not counted twice: those trials move the components of the
mixture but not their weights.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import ArrayLike, NDArray

from retail_assets.models.cold_start.counts import FloatArray, IntArray, checked_trials, sum_by
from retail_assets.models.cold_start.hierarchy import Hierarchy
from retail_assets.models.cold_start.mixture import BetaMixture

#: Rows worked on together: 81 components each, small enough for the cache.
ROWS_AT_ONCE = 1_024


@dataclass(frozen=True)
class StylePosterior:
    """What is known of p, (m,) each.

    Parameters
    ----------
    k, n : float
        The counts; fractional only under a forgetting factor.
    mean, sd, lower, upper : float
        Of the posterior mixture; the interval is central (95 % unless asked otherwise).
    alpha, beta : float
        The single Beta with that mean and variance.
    prior_mean, shrink_weight : float
        Mean before the trials, and n / (n + 1/σ): the weight of k/n against it, with
        1/σ = α + β of the prior's moment-matched Beta.
    prob_below : float
        P(p < break-even); NaN when no break-even was given.
    """

    k: FloatArray
    n: FloatArray
    mean: FloatArray
    sd: FloatArray
    lower: FloatArray
    upper: FloatArray
    alpha: FloatArray
    beta: FloatArray
    prior_mean: FloatArray
    shrink_weight: FloatArray
    prob_below: FloatArray


@dataclass(frozen=True)
class DailyTrials:
    """Trials by style and day, sorted by both; build it with :func:`checked_daily`."""

    style: IntArray
    day: IntArray
    k: IntArray
    n: IntArray
    n_styles: int

    def until(self, day: int) -> DailyTrials:
        """What was known at the end of ``day``."""
        kept = self.day <= day
        return DailyTrials(
            self.style[kept], self.day[kept], self.k[kept], self.n[kept], self.n_styles
        )

    def totals(
        self, day: int | None = None, forgetting: float = 1.0
    ) -> tuple[FloatArray, FloatArray]:
        """k and n per style at the end of ``day`` (default the last), (n_styles,) each."""
        last = int(self.day.max(initial=0)) if day is None else day
        known = self.until(last)
        age = forgetting ** (last - known.day).astype(np.float64)
        k, n = (sum_by(known.style, age * counts, self.n_styles) for counts in (known.k, known.n))
        return k, n

    def age(self) -> IntArray:
        """Days since the first row of each row's style, (rows,)."""
        first = ~same_as_before(self.style)
        return self.day - self.day[first][np.cumsum(first) - 1] if self.day.size else self.day

    def cumulative(self, forgetting: float = 1.0) -> tuple[FloatArray, FloatArray]:
        """k and n of each row's style through that row's day, (rows,) each.

        A ``forgetting`` factor below 1 discounts a trial by that factor per day of age:
        1/(1 - factor) days of memory, for rates that drift.
        """
        if not 0 < forgetting <= 1:
            raise ValueError(f"forgetting factor {forgetting:g} is not in (0, 1]")
        k, n = self.k.astype(np.float64), self.n.astype(np.float64)
        same = same_as_before(self.style)
        if forgetting == 1.0:
            return _running(k, same), _running(n, same)
        gap = np.diff(self.day, prepend=0)
        keep = np.where(same, forgetting ** np.where(same, gap, 0), 0.0)
        for row in range(1, k.size):
            k[row] += keep[row] * k[row - 1]
            n[row] += keep[row] * n[row - 1]
        return k, n


def checked_daily(
    style: ArrayLike,
    day: ArrayLike,
    k: ArrayLike,
    n: ArrayLike,
    *,
    n_styles: int | None = None,
    names: Sequence[object] | None = None,
) -> DailyTrials:
    """Validate counts by style and day, add up rows of one style and day, and sort.

    Raises
    ------
    ValueError
        As :func:`~retail_assets.models.cold_start.counts.checked_trials`.
    """
    rows = checked_trials(k, n, style, n_groups=n_styles, names=names)
    days = np.asarray(day, dtype=np.int64)
    keys = np.stack([rows.group, days], axis=1)
    unique, at = np.unique(keys, axis=0, return_inverse=True)
    at = at.reshape(-1)
    total_k, total_n = (
        np.bincount(at, counts, len(unique)).astype(np.int64) for counts in (rows.k, rows.n)
    )
    return DailyTrials(unique[:, 0], unique[:, 1], total_k, total_n, rows.n_groups)


def style_posterior(
    hierarchy: Hierarchy,
    group: ArrayLike,
    k: ArrayLike,
    n: ArrayLike,
    *,
    offset: ArrayLike = 0.0,
    break_even: ArrayLike | None = None,
    seen_k: ArrayLike = 0.0,
    seen_n: ArrayLike = 0.0,
    prior_factor: ArrayLike = 1.0,
    level: float = 0.95,
) -> StylePosterior:
    """Posterior of p for m styles.

    Parameters
    ----------
    group : (m,) array_like of int
        Group of each style; -1 for a group the hierarchy has not seen.
    k, n : (m,) array_like
        Successes and trials so far.
    offset : float or (m,) array_like
        Shift of logit μ, see :meth:`Hierarchy.prior`.
    break_even : float or (m,) array_like, optional
        p below which a style loses money.
    seen_k, seen_n : (m,) array_like
        Those of the trials that taught the hierarchy itself.
    prior_factor : float or (m,) array_like
        Share of the prior's information that is left, ``forgetting ** age`` for a rate
        that drifts; 1 otherwise.

    Raises
    ------
    ValueError
        Counts with k > n or negative, or an unknown group.
    """
    groups = np.atleast_1d(np.asarray(group, dtype=np.int64))

    def rows(values: ArrayLike) -> FloatArray:
        return np.broadcast_to(np.asarray(values, dtype=np.float64), groups.shape)

    columns = [rows(v) for v in (k, n, offset, seen_k, seen_n, prior_factor)]
    threshold = rows(np.nan if break_even is None else break_even)
    parts = []
    for start in range(0, groups.size, ROWS_AT_ONCE) or [0]:
        part = slice(start, start + ROWS_AT_ONCE)
        k_, n_, offset_, seen_k_, seen_n_, factor = (column[part] for column in columns)
        prior = hierarchy.prior(groups[part], offset_).aged(factor)
        mixture = prior.updated(k_, n_, seen_k=seen_k_, seen_n=seen_n_)
        parts.append(_summary(prior, mixture, k_, n_, threshold[part], level))
    return StylePosterior(
        *(np.concatenate([getattr(p, f.name) for p in parts]) for f in fields(StylePosterior))
    )


def same_as_before(index: IntArray) -> NDArray[np.bool_]:
    """Whether each entry equals the one before it; False for the first."""
    same = np.zeros(index.size, dtype=bool)
    same[1:] = index[1:] == index[:-1]
    return same


def _running(counts: FloatArray, same: NDArray[np.bool_]) -> FloatArray:
    """Cumulative sums that start again where ``same`` is False."""
    through = np.cumsum(counts)
    first = np.flatnonzero(~same)
    before = (through - counts)[first]
    return through - before[np.cumsum(~same) - 1] if counts.size else through


def _summary(
    prior: BetaMixture,
    mixture: BetaMixture,
    k: FloatArray,
    n: FloatArray,
    threshold: FloatArray,
    level: float,
) -> StylePosterior:
    lower, upper = mixture.interval(level)
    alpha, beta = mixture.moment_matched()
    strength = np.sum(prior.moment_matched(), axis=0)
    below = np.full(k.size, np.nan)
    known = np.isfinite(threshold)
    if known.any():
        below[known] = mixture.take(known).cdf(threshold[known])
    return StylePosterior(
        k=np.array(k),
        n=np.array(n),
        mean=mixture.mean,
        sd=mixture.sd,
        lower=lower,
        upper=upper,
        alpha=alpha,
        beta=beta,
        prior_mean=prior.mean,
        shrink_weight=n / (n + strength),
        prob_below=below,
    )
