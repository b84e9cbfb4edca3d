"""Log-linear demand with a level per series and a price response per product.

    log E[units] = log(exposure days) + level_series + slope_product log(price / reference)
                   + relative log(price / mean price of the sale) + promotions + season

Slopes come from what prices did *within* a series, after effects of the period: prices that
are high where or when demand is high (on the orange juice panel the pooled slope is -1.5,
within store, brand and week it is -4.0) do not pass for demand that likes high prices.

Two ways to fit: least squares on log units with Duan's smearing ("ols"; Duan, JASA 78(383),
1983), and Poisson pseudo maximum likelihood ("poisson"; Santos Silva and Tenreyro, Review of
Economics and Statistics 88(4), 2006, eq. 11), which also reads rows without a sale.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from retail_assets.models.demand.rows import DemandRows, Floats, Ints
from retail_assets.models.demand.shrinkage import shrink
from retail_assets.models.demand.thin import LIST_PRICE

Kind = Literal["ols", "poisson"]
MAX_SWEEPS, POISSON_SWEEPS, POISSON_STEPS = 200, 4, 60
TOLERANCE = 1e-5
"""Largest change of a fitted log demand in one sweep over the blocks."""
RIDGE = 1e-9
LEAST_RESPONSE = 0.05
"""Own and relative slope together answer a price at least this much: prices never help."""
PSEUDO_ROWS = 20.0
"""Rows of its neighbours a product's smearing factor borrows."""
SEASON = ("weekday", "holiday", "before_holiday", LIST_PRICE)
"""Features that enter the log-linear part too; the trees see them as well."""


@dataclass(frozen=True)
class LogLinear:
    """A fitted log-linear model of S series, n products, f promotions, k season columns.

    Attributes
    ----------
    kind : "ols" or "poisson"
    level : (S,) log units a day at the reference price, smearing included
    reference : (n,) log of the reference price in cents
    lowest_cents, highest_cents : (n,) range of prices it was fitted on; NaN without rows
    slope, slope_se : (n,) response to log price, shrunk towards the products' mean
    relative, relative_se : response to log relative price; NaN se where no sale told
    promo : (n, f), season : (k,)
    with_history : (S,) bool, series that had rows
    """

    kind: Kind
    level: Floats
    reference: Floats
    lowest_cents: Floats
    highest_cents: Floats
    slope: Floats
    slope_se: Floats
    slope_mean: float
    relative: float
    relative_se: float
    promo: Floats
    season: Floats
    with_history: NDArray[np.bool_]

    def log_mean(self, rows: DemandRows, *, relative: bool = True) -> Floats:
        """(r,) log of the expected units of rows, or without the relative price's part."""
        product = rows.product
        log_price = np.log(rows.price_cents) - self.reference[product]
        found = rows.base + self.level[rows.series] + self.slope[product] * log_price
        found += (rows.promo * self.promo[product]).sum(axis=1)
        found += season_columns(rows) @ self.season
        if relative:
            found += self.relative * log_relative(rows)
        return np.asarray(found, np.float64)

    def predict(self, rows: DemandRows) -> Floats:
        """(r,) expected units."""
        return np.asarray(np.exp(self.log_mean(rows)), np.float64)


def log_relative(rows: DemandRows) -> Floats:
    """(r,) log of the relative price; zero outside a sale."""
    known = np.where(np.isnan(rows.rel_price), 1.0, rows.rel_price)
    return np.asarray(np.log(known), np.float64)


def season_columns(rows: DemandRows) -> Floats:
    """(r, k) weekday dummies and holiday flags, where the rows have them."""
    columns: list[Floats] = []
    for name in SEASON:
        if name not in rows.features:
            continue
        values = np.nan_to_num(rows.features[name])
        columns += [(values == d) * 1.0 for d in range(1, 7)] if name == "weekday" else [values]
    return np.column_stack(columns) if columns else np.zeros((len(rows), 0))


def fit_loglinear(
    rows: DemandRows,
    kind: Kind,
    *,
    period_effects: bool | None = None,
    nuisance: Floats | None = None,
    relative: bool = True,
) -> LogLinear:
    """Fit to past rows.

    Parameters
    ----------
    rows : DemandRows
        With units; rows of exposure zero are left out, and for "ols" those without a sale.
    period_effects : bool, optional
        Take what all products of a period share out of the slopes. Default: where a period
        has at least two products in the mean.
    nuisance : (r, c), optional
        What else moved prices and demand together, such as last week's demand: taken out of
        the slopes like the period effects, and no part of a prediction.
    relative : bool
        Whether demand may answer to the relative price (`elasticity.total_effect` tests it).

    Raises
    ------
    ValueError
        No rows to fit.
    """
    kept = rows.exposure * rows.days > 0
    kept &= ~np.isnan(rows.units)
    sold = np.bincount(rows.series, np.where(kept, rows.units, 0.0))
    seen = np.bincount(rows.series, np.where(kept, rows.exposure * rows.days, 0.0))
    # a series that never sold has no finite level; its estimate below is half a unit
    kept &= (rows.units if kind == "ols" else sold[rows.series]) > 0
    used = rows.take(kept)
    if len(used) == 0:
        raise ValueError("no sales to fit a demand model on")
    if not relative:
        used = replace(used, rel_price=np.full(len(used), np.nan))
    fit = _Fit(used, kind, period_effects, None if nuisance is None else nuisance[kept])
    fit.run()
    found = fit.result(rows)
    never = np.zeros(len(found.level), bool)
    never[: len(sold)] = (sold == 0) & (seen > 0)
    level = found.level.copy()
    level[never] = np.log(0.5 / seen[never[: len(seen)]])
    n = len(rows.products)
    unsold = np.bincount(used.product, minlength=n) == 0
    count = np.maximum(np.bincount(rows.product, minlength=n), 1)
    own = np.bincount(rows.product, np.log(rows.price_cents), minlength=n) / count
    reference = np.where(unsold & (own > 0), own, found.reference)
    history = found.with_history | never
    return replace(found, level=level, reference=reference, with_history=history)


class _Fit:
    """Blocks of one fit: levels and slopes by product, effects of periods, pooled columns.

    The blocks are solved in turn (Gauss-Seidel): a table of products x rows never exists.
    """

    def __init__(
        self, rows: DemandRows, kind: Kind, period_effects: bool | None, nuisance: Floats | None
    ) -> None:
        self.rows, self.kind = rows, kind
        n = len(rows.products)
        self.n_series = int(rows.series.max()) + 1
        log_price = np.log(rows.price_cents)
        count = np.bincount(rows.product, minlength=n)
        total = np.bincount(rows.product, log_price, minlength=n)
        self.reference = np.where(count > 0, total / np.maximum(count, 1), log_price.mean())
        centred = log_price - self.reference[rows.product]
        self.own = np.column_stack([centred, rows.promo])
        lasting = np.column_stack([log_relative(rows), season_columns(rows)])
        self.lasting = lasting.shape[1]
        self.pooled = lasting
        if nuisance is not None:
            # around each series' mean: dropped from a prediction, they must not move its level
            held = np.bincount(rows.series) + 1e-300
            around = [c - (np.bincount(rows.series, c) / held)[rows.series] for c in nuisance.T]
            self.pooled = np.column_stack([lasting, *around])
        self.period = np.unique(rows.period, return_inverse=True)[1]
        per_period = len(np.unique(self.period * n + rows.product)) / (self.period.max() + 1)
        self.by_period = per_period >= 2 if period_effects is None else period_effects
        self.level = np.zeros(self.n_series)
        self.beta = np.zeros((n, self.own.shape[1]))
        self.effect = np.zeros(self.period.max() + 1)
        self.gamma = np.zeros(self.pooled.shape[1])
        self.weight = np.ones(len(rows))
        self.slopes_fixed = False
        self.y = np.log(np.maximum(rows.units, 1e-9)) - rows.base

    def run(self) -> None:
        """Slopes with the effects of periods taken out; then levels and season without them."""
        self._solve()
        self._shrink()
        self.by_period, self.slopes_fixed = False, True
        self.effect[:], self.gamma[self.lasting :] = 0.0, 0.0
        self.gamma[0] = min(self.gamma[0], 0.0)
        # outside a sale the own slope answers alone, inside with the relative one
        highest = min(-LEAST_RESPONSE - self.gamma[0], 0.0)
        self.beta[:, 0] = np.minimum(self.beta[:, 0], highest)
        self._solve()

    def _solve(self) -> None:
        """Least squares once, or again with Poisson's weights until nothing moves."""
        if self.kind == "poisson":  # a start near the answer: from afar the steps diverge
            self.y = np.log(self.rows.units + 0.5) - self.rows.base
            self.weight = np.ones(len(self.y))
        self._sweeps(MAX_SWEEPS)
        for _ in range(POISSON_STEPS if self.kind == "poisson" else 0):
            before = self._eta()
            mean = np.exp(np.clip(before + self.rows.base, -30, 30))
            self.y = before + (self.rows.units - mean) / mean
            self.weight = mean
            self._sweeps(POISSON_SWEEPS)
            if np.abs(self._eta() - before).max() < TOLERANCE:
                break

    def _eta(self) -> Floats:
        rows = self.rows
        own = (self.own * self.beta[rows.product]).sum(axis=1)
        found = self.level[rows.series] + own + self.pooled @ self.gamma
        return np.asarray(found + self.effect[self.period], np.float64)

    def _sweeps(self, most: int) -> None:
        product = self.rows.product
        self._weigh()
        gram = None if self.slopes_fixed else np.linalg.inv(self._own_gram())
        # The common part of the products' own coefficients moves with the pooled ones: the
        # relative price is nearly the own price once periods are taken out.
        own, q = self.own, self.pooled.shape[1]
        together = np.column_stack([self.pooled, own])
        if self.slopes_fixed:
            together = self.pooled[:, 1 : self.lasting]
        inner = _columns([self._within(column) for column in together.T], len(self.y))
        inner *= self.weight[:, None]
        joint = np.linalg.pinv(inner.T @ together)
        residual = self.y - self._eta()
        for _ in range(most):
            moved = residual
            if gram is not None:
                step = self.weight * self._within(residual)
                score = _grouped(product, self.own_within * step[:, None], len(gram))
                change = np.einsum("gij,gj->gi", gram, score)
                self.beta += change
                moved = residual - (own * change[product]).sum(axis=1)
            shift = self._mean(self.rows.series, moved, self.per_series)
            self.level += shift
            moved -= shift[self.rows.series]
            if self.by_period:
                effect = self._mean(self.period, moved, self.per_period)
                effect -= np.average(effect, weights=self.per_period)
                self.effect += effect
                moved -= effect[self.period]
            delta = joint @ (inner.T @ moved)
            if self.slopes_fixed:
                self.gamma[1 : self.lasting] += delta
            else:
                self.gamma += delta[:q]
                self.beta += delta[q:]
            moved -= together @ delta
            if np.abs(residual - moved).max() < TOLERANCE:
                break
            residual = moved

    def _weigh(self) -> None:
        """Weight of each series and each period."""
        rows, tiny = self.rows, 1e-300
        series = np.bincount(rows.series, self.weight, minlength=self.n_series)
        self.per_series: Floats = np.asarray(series + tiny, np.float64)
        self.per_period: Floats = np.asarray(np.bincount(self.period, self.weight) + tiny)

    def _own_gram(self, ridge: float = RIDGE) -> Floats:
        """(n, k, k) of the own columns within their series; leaves them in `own_within`."""
        columns = self.own.T
        self.own_within = np.column_stack([self._within(column) for column in columns])
        k, n = len(columns), len(self.beta)
        gram = np.empty((n, k, k))
        for a in range(k):
            products = self.own_within * (self.own_within[:, a] * self.weight)[:, None]
            gram[:, a, :] = _grouped(self.rows.product, products, n)
        scale = max(float(np.einsum("gii->gi", gram).mean()), 1e-6)
        return np.asarray(gram + ridge * scale * np.eye(k), np.float64)

    def _within(self, values: Floats) -> Floats:
        mean = self._mean(self.rows.series, values, self.per_series)
        return np.asarray(values - mean[self.rows.series], np.float64)

    def _mean(self, group: Ints, values: Floats, total: Floats) -> Floats:
        return np.bincount(group, self.weight * values, minlength=len(total)) / total

    def _shrink(self) -> None:
        """Each product's own coefficients towards their mean, by how well they are known."""
        product, n = self.rows.product, len(self.beta)
        self._weigh()
        gram = self._own_gram(ridge=0.0)
        residual = self.y - self._eta()
        squares = np.bincount(product, self.weight * residual**2, minlength=n)
        count = np.bincount(product, minlength=n)
        pooled = squares.sum() / max(count.sum() - n, 1)
        # a product's own residual variance, steadied by ten rows of everybody's
        variance = np.maximum((squares + 10 * pooled) / (count + 10), 1e-12)
        shrunk = shrink(self.beta, gram / variance[:, None, None])
        self.beta, self.se, self.mean = shrunk.value.copy(), shrunk.se, shrunk.mean
        variance_pooled = np.linalg.pinv((self.pooled * self.weight[:, None]).T @ self.pooled)
        self.gamma_se = np.sqrt(np.maximum(np.diag(variance_pooled), 0.0) * pooled)

    def result(self, every: DemandRows) -> LogLinear:
        rows, n = self.rows, len(self.beta)
        sold = np.exp(self._eta() + rows.base)
        if self.kind == "ols":
            smear = rows.units / sold
            counted = np.bincount(rows.product, minlength=n) + PSEUDO_ROWS
            own = np.bincount(rows.product, smear, minlength=n) + PSEUDO_ROWS * smear.mean()
            level_shift = np.log(own / counted)
        else:
            units = np.bincount(rows.product, rows.units, minlength=n) + 0.5
            level_shift = np.log(units / (np.bincount(rows.product, sold, minlength=n) + 0.5))
        size = max(self.n_series, int(every.series.max()) + 1)
        per_product = bool(np.array_equal(every.series, every.product))
        # a product without any row has a level too: its prior's
        owner = np.arange(max(size, n)) if per_product else np.zeros(size, np.int64)
        owner[every.series] = every.product
        history = np.bincount(rows.series, minlength=len(owner)) > 0
        level = np.zeros(len(owner))
        level[: self.n_series] = self.level
        level += level_shift[owner]
        prior = np.full(n, np.nan) if every.prior_level is None else np.log(every.prior_level)
        typical = float(np.median(level[history]))
        level[~history] = np.where(np.isnan(prior[owner]), typical, prior[owner])[~history]
        low, high = np.full(n, np.inf), np.full(n, -np.inf)
        np.minimum.at(low, rows.product, rows.price_cents)
        np.maximum.at(high, rows.product, rows.price_cents)
        relative = float(self.gamma[0])
        told = bool(np.ptp(self.pooled[:, 0]) > 0)
        return LogLinear(
            kind=self.kind,
            level=level,
            reference=self.reference,
            lowest_cents=np.where(np.isfinite(low), low, np.nan),
            highest_cents=np.where(np.isfinite(high), high, np.nan),
            slope=self.beta[:, 0],
            slope_se=self.se[:, 0],
            slope_mean=float(self.mean[0]),
            relative=relative,
            relative_se=float(self.gamma_se[0]) if told else np.nan,
            promo=self.beta[:, 1:],
            season=self.gamma[1 : self.lasting],
            with_history=history,
        )


def _columns(columns: list[Floats], rows: int) -> Floats:
    return np.column_stack(columns) if columns else np.zeros((rows, 0))


def _grouped(group: Ints, columns: Floats, size: int) -> Floats:
    """(size, k) sums of (r, k) columns by group."""
    return np.column_stack([np.bincount(group, c, minlength=size) for c in columns.T])
