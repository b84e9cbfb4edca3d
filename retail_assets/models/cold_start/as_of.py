"""What is known of every style at the end of a day: groups, attributes, priors, posteriors.

    known_on(styles, day, rules) -> Knowledge

Only trials up to the day enter, so a day looked at later gives what that day gave. The
prior's mean depends on attributes and, if the rules ask for it, on log(1 + n); groups
share what is left. A style that helped to fit its group's prior is not counted twice.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from retail_assets.models.cold_start.beta_binomial import GroupFits, fit_groups
from retail_assets.models.cold_start.counts import FloatArray, IntArray, checked_trials
from retail_assets.models.cold_start.drift import DriftCheck, drift_check
from retail_assets.models.cold_start.hierarchy import Hierarchy, fit_hierarchy
from retail_assets.models.cold_start.posterior import DailyTrials, StylePosterior, style_posterior
from retail_assets.models.cold_start.regression import RegressionFit, fit_regression, prior_log_n
from retail_assets.models.cold_start.rules import ColdStartRules

#: Fewer styles than this per attribute and the attributes stay out: they would fit noise.
STYLES_PER_TERM = 10
#: A column adds something when more than this of its scale is not in those before it.
ADDS_NOTHING = 1e-8


@dataclass(frozen=True)
class Styles:
    """m styles whose trials were counted in one and the same way.

    Parameters
    ----------
    source : str
        The way they were counted.
    names : tuple of m str
    group : (m,) int
        Position in ``groups``, -1 for a style of no known group.
    groups : tuple of str
    listed : (m,) int
        First day a style is worth an answer.
    daily : DailyTrials
    attributes : (m, p) float
        Numbers known for every style, without the column of ones.
    terms : tuple of p str
    """

    source: str
    names: tuple[str, ...]
    group: IntArray
    groups: tuple[str, ...]
    listed: IntArray
    daily: DailyTrials
    attributes: FloatArray
    terms: tuple[str, ...]

    @cached_property
    def first_trial(self) -> IntArray:
        """First day with a trial, (m,); the largest integer where there is none."""
        first = np.full(len(self.names), np.iinfo(np.int64).max)
        np.minimum.at(first, self.daily.style, self.daily.day)
        return first

    def begun(self, day: int) -> Styles:
        """Without the groups that no style was worth an answer of by the end of ``day``.

        A group that comes later would change what an earlier day knew of the others.
        """
        asked = (np.minimum(self.listed, self.first_trial) <= day) & (self.group >= 0)
        there = np.unique(self.group[asked])
        if len(there) == len(self.groups):
            return self
        number = np.full(len(self.groups) + 1, -1)
        number[there] = np.arange(len(there))
        names = tuple(self.groups[at] for at in there)
        return replace(self, group=number[self.group], groups=names)


@dataclass(frozen=True)
class Knowledge:
    """What one day knows.

    Parameters
    ----------
    style : (r,) int
        Styles with an answer, positions in ``Styles.names``; rows of ``posterior``.
    days_known : (r,) int
        Days since the first trial, the day itself included; 0 = none yet.
    young : (r,) bool
        Fewer days than the rules' horizon.
    offset : (r,) float
        Shift of logit mu at which each style's prior is read.
    fits : GroupFits
        Each group on its own.
    regression : RegressionFit or None
        None: neither attributes nor log(1 + n) are used.
    drift : DriftCheck
        Whether the rates stood still so far.
    """

    day: int
    style: IntArray
    days_known: IntArray
    young: NDArray[np.bool_]
    offset: FloatArray
    fits: GroupFits
    hierarchy: Hierarchy
    regression: RegressionFit | None
    posterior: StylePosterior
    drift: DriftCheck


def known_on(styles: Styles, day: int, rules: ColdStartRules) -> Knowledge:
    """Fit and answer with the trials up to the end of ``day``.

    Raises
    ------
    ValueError
        Counts that no trial can have; the style is named.

    Examples
    --------
    >>> from retail_assets.models.cold_start.posterior import checked_daily
    >>> daily = checked_daily([0, 1, 1], [1, 1, 2], [3, 5, 4], [20, 20, 20])
    >>> styles = Styles("pos_trials", ("a", "b"), np.array([0, 0]), ("bars",), np.zeros(2, int),
    ...                 daily, np.empty((2, 0)), ())
    >>> known_on(styles, 1, ColdStartRules()).posterior.n
    array([20., 20.])
    """
    k, n = styles.daily.totals(day)
    shift, at, regression = _offsets(styles, k, n, day, rules)
    known = styles.group >= 0
    trials = checked_trials(
        k[known],
        n[known],
        styles.group[known],
        n_groups=len(styles.groups),
        names=[name for name, has in zip(styles.names, known, strict=True) if has],
    )
    hierarchy = fit_hierarchy(trials, offset=shift[known])
    asked = np.flatnonzero((styles.listed <= day) | (n > 0))
    k, n = (v[asked] for v in styles.daily.totals(day, rules.forgetting))
    taught = known[asked]
    limits = [
        rules.break_even_of(styles.source, styles.groups[g]) if g >= 0 else np.nan
        for g in styles.group[asked]
    ]
    age = np.maximum(day - styles.first_trial[asked] + 1, 0)
    posterior = style_posterior(
        hierarchy,
        styles.group[asked],
        k,
        n,
        offset=at[asked],
        break_even=np.array(limits, dtype=np.float64),
        seen_k=k * taught,
        seen_n=n * taught,
        prior_factor=rules.forgetting ** np.maximum(age - 1, 0),
    )
    return Knowledge(
        day,
        asked,
        age,
        age < rules.young_days,
        at[asked],
        fit_groups(trials),
        hierarchy,
        regression,
        posterior,
        drift_check(styles.daily.until(day)),
    )


def _offsets(
    styles: Styles, k: FloatArray, n: FloatArray, day: int, rules: ColdStartRules
) -> tuple[FloatArray, FloatArray, RegressionFit | None]:
    """Shift of each style's logit mu in the fit, where its prior is read, and the regression."""
    none = np.zeros(len(styles.names))
    tried = n > 0
    columns = np.column_stack([styles.attributes, np.log1p(n)])
    kept = _adding(columns[tried])
    with_n = rules.n_for_prior != "none" and bool(kept[-1])
    kept[-1] = False
    count = int(kept.sum()) + with_n
    if not count or int(tried.sum()) < STYLES_PER_TERM * count:
        return none, none, None
    attributes = columns[:, kept]
    terms = [term for term, has in zip(styles.terms, kept, strict=False) if has]
    fit = fit_regression(
        checked_trials(k, n, names=styles.names),
        np.column_stack([np.ones(len(styles.names)), attributes]),
        ("intercept", *terms),
        log_n=with_n,
    )
    shift = attributes @ fit.coefficients[1 : 1 + len(terms)]
    shift = shift - shift[n > 0].mean()
    if not with_n:
        return shift, shift, fit
    mature = (n > 0) & (day - styles.first_trial + 1 >= rules.young_days)
    reference = float(np.median(n[mature] if mature.any() else n[n > 0]))
    own = np.log1p(n) - np.log1p(reference)
    at = prior_log_n(rules.n_for_prior, n, reference) - np.log1p(reference)
    return shift + fit.n_effect * own, shift + fit.n_effect * at, fit


def _adding(columns: FloatArray) -> NDArray[np.bool_]:
    """Columns (p,) that are no combination of the constant and the columns before them.

    Attributes of the few styles tried so far often are: cocoa and its complement, say, or
    one that only a style still to come has differently.
    """
    rows, count = columns.shape
    if rows <= count:
        return np.zeros(count, bool)
    centred = columns - columns.mean(axis=0)
    scale = np.abs(columns).max(axis=0)
    centred = centred / np.where(scale > 0, scale, 1.0)
    left = np.abs(np.diag(np.linalg.qr(centred, mode="r")))
    return np.asarray(left > ADDS_NOTHING)
