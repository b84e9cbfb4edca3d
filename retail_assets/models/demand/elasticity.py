"""What prices do: the reference slope, whether the data can tell, and a model's own elasticity.

Prices that chase demand bias a naive slope. The reference takes out the level of each series,
what all series of a period share, promotions, and how the series ran just before: what is
left of the price must still move, or there is no answer.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from retail_assets.models.demand.loglinear import (
    SEASON,
    Kind,
    LogLinear,
    fit_loglinear,
    log_relative,
    season_columns,
)
from retail_assets.models.demand.recent import recent_residual
from retail_assets.models.demand.rows import DemandRows, Floats, Ints
from retail_assets.models.demand.thin import LIST_PRICE

LEAST_VARIANCE = 1e-6
"""Residual variance of log price below which nothing is told: 3 % off on one day in a thousand."""
LEAST_CLUSTERS = 20
"""Periods below which clustered errors are too small (ten days: 62 % instead of 95 %)."""
LARGEST_SE = 0.75
"""A slope known no better than this is not known: -2 +- 1.5 spans a fivefold best margin."""
HELD = 0.15
"""A price model must come this close to the reference, or within two standard errors of it."""
STEP = 0.1
LEAST_TIME = 0.02
"""Exposure days a rate is read over at least: less is a stray sale, not a rate."""
LEAST_WITHIN_PERIOD = 0.05
"""Share of the relative price's variance that must lie within periods to be told from them."""
LEAST_SALES = 10
"""Sales below which standard errors clustered by sale mean little."""
POSITIVE_SHARE = 0.95
"""With more zero rows than this leaves, logs of units would drop what prices did to them."""


@dataclass(frozen=True)
class PriceSlope:
    """A slope of log units on log price.

    Attributes
    ----------
    value, se : float
        Clustered by period.
    residual_variance : float
        Variance of log price after series, period, promotions and recent demand.
    share : float
        Of the variance of log price within series.
    kind : "ols" or "poisson"
    """

    value: float
    se: float
    residual_variance: float
    share: float
    kind: Kind

    @property
    def identified(self) -> bool:
        """The data can tell: prices moved, and the slope is known well enough to be used."""
        return self.residual_variance >= LEAST_VARIANCE and self.se <= LARGEST_SE

    def holds(self, elasticity: float) -> bool:
        """Whether a model's elasticity agrees with this slope."""
        return abs(elasticity - self.value) <= max(HELD * abs(self.value), 2 * self.se)


def kind_for(rows: DemandRows) -> Kind:
    """Least squares on logs where nearly all rows sold something, else Poisson."""
    return "ols" if float(np.mean(rows.units > 0)) >= POSITIVE_SHARE else "poisson"


def lately(rows: DemandRows, kind: Kind, *, gap_days: int) -> Floats:
    """(r, c) what a retailer saw just before it set a price: nuisances for the slopes.

    Units, price and promotions of the series' row before, and how the four weeks before ran
    against what prices explain. Where prices answer to last week's sales, the slope is .59 of
    the truth with series and period effects alone, .71 with the four weeks, and unbiased with
    the row before (bench `demand`).
    """
    first = fit_loglinear(rows, kind)
    past = recent_residual(rows, first.log_mean(rows), rows, gap_days=gap_days)
    return np.column_stack([past, _row_before(rows)])


def _row_before(rows: DemandRows) -> Floats:
    """(r, 2 + f) log rate, log price and promotions of each series' period before.

    Series means where there is none: a series' level is taken out anyway.
    """
    span = int(rows.period.max()) + 1
    key, place = np.unique(rows.series * span + rows.period, return_inverse=True)
    count = np.bincount(place)
    time = np.bincount(place, rows.exposure * rows.days)
    units = np.bincount(place, np.nan_to_num(rows.units))
    columns = [np.log((units + 0.5) / np.maximum(time, LEAST_TIME))]
    columns += [
        np.bincount(place, values) / count for values in (np.log(rows.price_cents), *rows.promo.T)
    ]
    series = np.unique(key // span, return_inverse=True)[1]
    total = np.bincount(series)
    first = np.append(True, np.diff(series) > 0)
    found = np.empty((len(key), len(columns)))
    for at, values in enumerate(columns):
        mean = np.bincount(series, values) / total
        found[:, at] = np.where(first, mean[series], np.append(0.0, values[:-1]))
    return np.asarray(found[place], np.float64)


def step_of(rows: DemandRows) -> int:
    """Days from one period to the next: 1 for daily rows, 7 for weekly ones."""
    steps = np.diff(np.unique(rows.period))
    return max(int(np.median(steps)), 1) if len(steps) else 1


def reference_slope(
    rows: DemandRows, *, kind: Kind | None = None, nuisance: Floats | None = None
) -> PriceSlope:
    """One slope for all products, with series and period effects and promotions.

    On the orange juice panel: -3.29 (naive pooled -1.51, without promotions -3.97).
    """
    kind = kind or kind_for(rows)
    kept = (rows.exposure * rows.days > 0) & (rows.units > 0 if kind == "ols" else True)
    used = rows.take(kept)
    controls = None if nuisance is None else nuisance[kept]
    several = len(np.unique(used.series)) > 1
    # period effects hold the season; without them weekday and holidays have to
    kept_features = (LIST_PRICE,) if several else SEASON
    merged = replace(
        used,
        products=("all",),
        product=np.zeros(len(used), np.int64),
        rel_price=np.full(len(used), np.nan),
        prior_level=None,
        features={k: v for k, v in used.features.items() if k in kept_features},
    )
    fit = fit_loglinear(merged, kind, period_effects=several, nuisance=controls)
    extra = [merged.promo, season_columns(merged)]
    extra += [] if controls is None else [controls]
    weight = np.exp(fit.log_mean(merged)) if kind == "poisson" else np.ones(len(merged))
    series = np.unique(merged.series, return_inverse=True)[1]
    period = np.unique(merged.period, return_inverse=True)[1]
    groups = (series, period) if several else (series,)
    log_price = np.log(merged.price_cents)
    price = _alone(log_price, list(np.column_stack(extra).T), weight, groups)
    bread = float((weight * price**2).sum())
    within = _taken_out(log_price, weight, (series,))
    variance = bread / float(weight.sum())
    before = float((weight * within**2).sum()) / float(weight.sum())
    if variance < LEAST_VARIANCE:
        return PriceSlope(np.nan, np.nan, variance, variance / max(before, 1e-12), kind)
    logs = np.log(merged.units) if kind == "ols" else None
    residual = _residual(merged, fit, logs, price, weight, groups)
    score = np.bincount(period, weight * price * residual)
    clusters = len(score)
    used_up = 1 + sum(c.shape[1] for c in extra) + sum(int(g.max()) + 1 for g in groups)
    free = len(merged) - used_up
    if clusters < LEAST_CLUSTERS or free <= 0:
        se = np.nan
    else:  # the usual small-sample correction of clustered errors (Stata's, eq. of CR1)
        small = clusters / (clusters - 1) * (len(merged) - 1) / free
        se = float(np.sqrt(small * (score**2).sum())) / bread
    return PriceSlope(float(fit.slope[0]), se, variance, variance / max(before, 1e-12), kind)


@dataclass(frozen=True)
class TotalEffect:
    """Whether demand answers to the other prices of a sale.

    Attributes
    ----------
    value, se : float
        Response to the log relative price beside the own price; clustered by sale. NaN
        where no sale tells.
    sales : int
        Sales in which relative prices were seen.
    by_period : bool
        Period effects leave it identified; a single sale at a time does not.
    """

    value: float
    se: float
    sales: int
    by_period: bool

    @property
    def z(self) -> float:
        return self.value / self.se if self.se > 0 else float("nan")

    @property
    def significant(self) -> bool:
        """At 2.5 %, with the sign of a price, over enough sales for clusters."""
        return self.sales >= LEAST_SALES and self.z < -1.96

    def matters(self, *, trusted: bool = False) -> bool:
        """Whether models should see the relative price.

        With one sale at a time its mean price and whatever else was special about its days
        are one: a retailer who prices by the season makes it significant in 19 of 20 cases
        without any effect. Then only ``trusted``, the merchandiser's word, lets it in.
        """
        return self.significant and (self.by_period or trusted)


def total_effect(rows: DemandRows, *, nuisance: Floats | None = None) -> TotalEffect:
    """Test whether the total of a sale's prices matters beside the own price.

    Effects of the period are taken out where several sales, or items of none, share it; they
    would absorb what all items of a single sale have in common.
    """
    usable = (rows.exposure * rows.days > 0) & (rows.units > 0)
    used = rows.take(usable)
    seen = ~np.isnan(used.rel_price)
    cluster, sales = _sales(used)
    if sales < LEAST_SALES:
        return TotalEffect(np.nan, np.nan, sales, False)
    fit = fit_loglinear(
        used, "ols", period_effects=False, nuisance=None if nuisance is None else nuisance[usable]
    )
    relative = log_relative(used)
    series = np.unique(used.series, return_inverse=True)[1]
    period = np.unique(used.period, return_inverse=True)[1]
    ones = np.ones(len(used))
    others = [np.log(used.price_cents), *used.promo.T, *season_columns(used).T]
    if nuisance is not None:
        others += list(nuisance[usable].T)
    left = _alone(relative, others, ones, (series,))
    both = _alone(relative, others, ones, (series, period))
    identified = float((both**2).sum()) > LEAST_WITHIN_PERIOD * float((left**2).sum())
    groups = (series, period) if identified else (series,)
    left = both if identified else left
    spread = float((left**2).sum())
    if spread < LEAST_VARIANCE * max(int(seen.sum()), 1) / 10:
        return TotalEffect(np.nan, np.nan, sales, False)
    logs = np.log(used.units) - fit.log_mean(used, relative=False)
    value = float((left * _taken_out(logs, ones, groups)).sum()) / spread
    residual = _taken_out(logs - value * relative, ones, groups)
    score = np.bincount(cluster, left * residual)
    se = float(np.sqrt((score**2).sum())) / spread
    return TotalEffect(value, se, sales, identified)


def _sales(rows: DemandRows) -> tuple[Ints, int]:
    """(r,) clusters: days in a row of one mean price are one sale; and how many sales."""
    period = np.unique(rows.period, return_inverse=True)[1]
    mean = rows.price_cents / rows.rel_price
    seen = ~np.isnan(mean)
    count = np.bincount(period, seen)
    usual = np.bincount(period, np.where(seen, mean, 0.0)) / np.maximum(count, 1)
    new = np.append(True, np.abs(np.diff(usual)) > 1e-6 * np.maximum(usual[1:], 1.0))
    run = np.cumsum(new) - 1
    sales = len(np.unique(run[count > 0]))
    # outside sales every period stands for itself
    label = np.where(count > 0, run, run.max() + 1 + np.arange(len(run)))
    return np.unique(label, return_inverse=True)[1][period], sales


def _alone(
    column: Floats, others: list[Floats], weight: Floats, groups: tuple[Ints, ...]
) -> Floats:
    """A column without what groups and other columns say of it."""
    own = _taken_out(column, weight, groups)
    if not others:
        return own
    rest = np.column_stack([_taken_out(c, weight, groups) for c in others])
    weighted = rest * weight[:, None]
    fitted = np.linalg.pinv(weighted.T @ rest) @ (weighted.T @ own)
    return np.asarray(own - rest @ fitted, np.float64)


def _residual(
    rows: DemandRows,
    fit: LogLinear,
    logs: Floats | None,
    price: Floats,
    weight: Floats,
    groups: tuple[Ints, ...],
) -> Floats:
    """What the slope leaves unexplained, on the log scale, series and periods taken out."""
    mean = fit.log_mean(rows)
    left = logs - mean if logs is not None else rows.units / np.exp(mean) - 1.0
    return _taken_out(left, weight, groups)


def _taken_out(values: Floats, weight: Floats, groups: tuple[Ints, ...]) -> Floats:
    """Weighted means of each grouping removed in turn until none is left."""
    totals = [np.bincount(group, weight) + 1e-300 for group in groups]
    for _ in range(100):
        before = values
        for group, total in zip(groups, totals, strict=True):
            values = values - (np.bincount(group, weight * values) / total)[group]
        if len(groups) == 1 or np.abs(values - before).max() < 1e-9:
            break
    return np.asarray(values, np.float64)


def rivals_of(rows: DemandRows) -> Floats:
    """(r,) items in each row's sale, where one sale runs at a time; 1 outside a sale."""
    seen = ~np.isnan(rows.rel_price)
    period = np.unique(rows.period, return_inverse=True)[1]
    count = np.bincount(period, seen.astype(np.float64))
    return np.asarray(np.where(seen, np.maximum(count[period], 1.0), 1.0), np.float64)


def model_elasticity(
    predict: Callable[[DemandRows], Floats], rows: DemandRows, *, rivals: Floats | None = None
) -> float:
    """Own-price elasticity of a model over rows: log units up 10 % against down 10 %.

    Parameters
    ----------
    predict : rows to expected units
    rivals : (r,), optional
        Items of each row's sale: the mean price moves by 1 / items of the own price.
    """
    share = np.zeros(len(rows)) if rivals is None else 1 / rivals
    units = []
    for factor in (1 + STEP, 1 - STEP):
        relative = rows.rel_price * factor / (1 + share * (factor - 1) * rows.rel_price)
        units.append(predict(rows.at_price(rows.price_cents * factor, relative)).sum())
    return float(np.log(units[0] / units[1]) / np.log((1 + STEP) / (1 - STEP)))


def perverse_steps(predict: Callable[[DemandRows], Floats], rows: DemandRows) -> float:
    """Share of price-up steps of 2 % around each row's price that raise predicted demand."""
    factors = np.linspace(0.8, 1.2, 21)
    demand = np.array(
        [predict(rows.at_price(rows.price_cents * f, rows.rel_price * f)) for f in factors]
    )
    rises = np.diff(demand, axis=0) > 1e-6 * demand[:-1]
    return float(rises.mean())
