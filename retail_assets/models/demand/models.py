"""The demand models by name: one way to fit each, one way to predict with each."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from retail_assets.models.demand.boosted import RECENT, RELATIVE, Boosted, fit_boosted
from retail_assets.models.demand.elasticity import TotalEffect, lately, step_of, total_effect
from retail_assets.models.demand.loglinear import Kind, LogLinear, fit_loglinear
from retail_assets.models.demand.naive import (
    History,
    last_year_growth,
    median_eight_weeks,
    seasonal_naive,
)
from retail_assets.models.demand.recent import recent_residual
from retail_assets.models.demand.rows import DemandRows, Floats
from retail_assets.models.demand.thin import pool, thin_products

NAIVE = ("seasonal_naive", "last_year_growth", "median_8_weeks")
RESPONSIVE = (
    "log_log_ols",
    "poisson_glm",
    "xgboost",
    "xgboost_on_margin",
    "xgboost_on_margin_lags",
)
MODELS = (*NAIVE, *RESPONSIVE)
KINDS: tuple[Kind, Kind] = ("poisson", "ols")
ALONE_ROUNDS = 300
"""Trees without a margin have the price to learn as well."""


@dataclass(frozen=True)
class Fitted:
    """Every model fitted to the same past.

    Attributes
    ----------
    margin : LogLinear
        The Poisson one; trees stand on it.
    boosted : mapping of name to Boosted
    gap_days : int
        Days between the newest row known and the row forecast, as the lags were trained.
    total : TotalEffect
        The test whether the total of a sale's prices matters.
    total_matters : bool
        What follows from it; where false, no model sees the relative price.
    thin : tuple of str
        Products that share one level (`thin`).
    """

    past: DemandRows
    history: History
    ols: LogLinear
    margin: LogLinear
    boosted: dict[str, Boosted]
    gap_days: int
    total: TotalEffect
    total_matters: bool
    thin: tuple[str, ...]

    def predict(self, name: str, rows: DemandRows) -> Floats:
        """(r,) expected units of rows after the past; NaN where a model cannot tell."""
        rows = pool(rows, self._shared(rows))
        naive: dict[str, Callable[[History, DemandRows], Floats]] = {
            "seasonal_naive": seasonal_naive,
            "last_year_growth": last_year_growth,
            "median_8_weeks": median_eight_weeks,
        }
        if name in naive:
            return naive[name](self.history, rows)
        if name == "log_log_ols":
            return self.ols.predict(rows)
        if name == "poisson_glm":
            return self.margin.predict(rows)
        if name == "xgboost_on_margin_lags":
            rows = self.with_recent(rows)
        return self.boosted[name].predict(rows)

    def _shared(self, rows: DemandRows) -> list[str]:
        """Products that take the pooled level: those seen too few times, and never seen ones."""
        if not self.thin:
            return []
        prior = rows.prior_level
        known = self.margin.with_history[: len(rows.products)]
        never = ~known if prior is None else ~known & np.isnan(prior)
        return [*self.thin, *np.array(rows.products, dtype=object)[never].tolist()]

    def with_recent(self, rows: DemandRows) -> DemandRows:
        """Rows with how their series ran in the four weeks before the past's end."""
        ends = np.full(len(rows), int(self.past.period.max()) + self.gap_days)
        known = replace(rows, period=np.minimum(rows.period, ends))
        expected = self.margin.log_mean(self.past)
        recent = recent_residual(self.past, expected, known, gap_days=self.gap_days)
        return replace(rows, features=dict(rows.features) | {RECENT: recent})


def fit_models(
    rows: DemandRows,
    *,
    gap_days: int,
    names: tuple[str, ...] = MODELS,
    trust_total: bool = False,
) -> Fitted:
    """Fit the named models to past rows.

    ``trust_total`` lets the relative price in where only single sales speak for it
    (`TotalEffect.matters`).

    Raises
    ------
    ValueError
        No row has sales and exposure.
    """
    thin: tuple[str, ...] = ()
    if np.array_equal(rows.series, rows.product):
        thin = tuple(np.array(rows.products, dtype=object)[thin_products(rows)])
    rows = pool(rows, thin)
    nuisance = lately(rows, "poisson", gap_days=step_of(rows))
    total = total_effect(rows, nuisance=nuisance)
    # with one sale at a time, effects of the period would take its mean price with them
    matters = total.matters(trusted=trust_total)
    by_period = False if matters and not total.by_period else None
    margin, ols = (
        fit_loglinear(rows, kind, period_effects=by_period, nuisance=nuisance, relative=matters)
        for kind in KINDS
    )
    boosted = {}
    if "xgboost" in names:
        without = () if matters else (RELATIVE,)
        boosted["xgboost"] = fit_boosted(
            rows, margin, sees_price=True, rounds=ALONE_ROUNDS, without=without
        )
    if "xgboost_on_margin" in names:
        boosted["xgboost_on_margin"] = fit_boosted(rows, margin, sees_price=False)
    if "xgboost_on_margin_lags" in names:
        recent = recent_residual(rows, margin.log_mean(rows), rows, gap_days=gap_days)
        lagged = replace(rows, features=dict(rows.features) | {RECENT: recent})
        boosted["xgboost_on_margin_lags"] = fit_boosted(lagged, margin, sees_price=False)
    return Fitted(rows, History.of(rows), ols, margin, boosted, gap_days, total, matters, thin)
