"""Boosted trees for own demand: alone with monotone prices, or on a log-linear margin.

Alone, the trees see the prices and must fall in them (without the constraint 12 % of price-up
steps on the orange juice panel raised demand). On a margin they see everything but prices:
the response to prices stays that of the log-linear model, and lags cannot steal it.

The loss is Poisson's with every row weighted by one over the margin's dispersion: counts with
a variance of 80 means would otherwise drown each regularising term (minimal leaf weight 20
then means 20 expected units, a fifth of one row).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import xgboost as xgb
from numpy.typing import NDArray

from retail_assets.models.demand.loglinear import LogLinear
from retail_assets.models.demand.rows import DISCOUNT, DemandRows, Floats

PRICE, RELATIVE, RECENT = "price_index", "rel_price", "recent_residual"
FALLING, RISING = (PRICE, RELATIVE), (DISCOUNT,)
PARAMETERS = {
    "objective": "count:poisson",
    "tree_method": "hist",
    "max_bin": 64,
    "eta": 0.1,
    "max_depth": 6,
    "min_child_weight": 50.0,
    "reg_lambda": 10.0,
    "nthread": 1,
    "seed": 0,
}
ROUNDS = 150
LEVEL_UNITS = 5.0
"""Expected units of its product a series' level borrows."""


@dataclass(frozen=True)
class Boosted:
    """Trees over a log-linear margin, or (``sees_price``) over the levels alone.

    Attributes
    ----------
    booster : xgboost.Booster
    margin : LogLinear
    sees_price : bool
    level : (S,) float64
        Log units a day of each series whatever the price; used where trees see the price.
    names : tuple of str
        Columns the trees read, in order.
    calibration : float
        Added to the log mean so that training totals agree.
    """

    booster: xgb.Booster
    margin: LogLinear
    sees_price: bool
    level: Floats
    names: tuple[str, ...]
    calibration: float

    def log_mean(self, rows: DemandRows) -> Floats:
        """(r,) log of the expected units."""
        margin = _margin(rows, self.margin, self.level, self.sees_price)
        matrix = xgb.DMatrix(self._columns(rows), base_margin=margin, nthread=1)
        found = self.booster.predict(matrix, output_margin=True).astype(np.float64)
        return np.asarray(found + self.calibration, np.float64)

    def predict(self, rows: DemandRows) -> Floats:
        """(r,) expected units."""
        return np.asarray(np.exp(self.log_mean(rows)), np.float64)

    def _columns(self, rows: DemandRows) -> Floats:
        return columns_of(rows, self.margin, self.names)

    def thresholds(self) -> Floats:
        """Relative prices at which the trees step, ascending; empty where they do not see it.

        A row goes left where float32(relative price) < threshold.
        """
        if RELATIVE not in self.names:
            return np.empty(0)
        splits = self.booster.trees_to_dataframe()
        place = f"f{self.names.index(RELATIVE)}"
        own = splits.loc[splits["Feature"] == place, "Split"].to_numpy(np.float32)
        # a split of missing against present is kept as a threshold below zero
        return np.asarray(np.unique(own[own > 0]), np.float64)

    def to_ubj(self) -> bytes:
        """The trees in xgboost's binary JSON."""
        return bytes(self.booster.save_raw(raw_format="ubj"))


def booster_of(ubj: bytes) -> xgb.Booster:
    """Trees from `Boosted.to_ubj`."""
    booster = xgb.Booster({"nthread": 1})
    booster.load_model(bytearray(ubj))
    return booster


def fit_boosted(
    rows: DemandRows,
    margin: LogLinear,
    *,
    sees_price: bool,
    rounds: int = ROUNDS,
    without: Sequence[str] = (),
) -> Boosted:
    """Fit trees to past rows.

    Parameters
    ----------
    margin : LogLinear
        What the trees correct, or (``sees_price``) only the reference prices.
    sees_price : bool
        Trees read own and relative price, discount; own and relative price may only lower
        demand, the discount only raise it.
    without : names of columns to leave out, e.g. the relative price to test whether it matters
    """
    used = rows.take((rows.exposure * rows.days > 0) & ~np.isnan(rows.units))
    names = tuple(n for n in _names(used, sees_price) if n not in without)
    level = _levels(used, len(margin.level)) if sees_price else np.zeros(len(margin.level))
    start = _margin(used, margin, level, sees_price)
    mean = np.exp(margin.log_mean(used))
    dispersion = max(float(np.mean((used.units - mean) ** 2 / np.maximum(mean, 1e-9))), 1.0)
    matrix = xgb.DMatrix(
        columns_of(used, margin, names),
        label=used.units,
        weight=np.full(len(used), 1 / dispersion),
        base_margin=start,
        nthread=1,
    )
    monotone = [-1 if n in FALLING else 1 if n in RISING else 0 for n in names]
    # xgboost steps no further than .7 per leaf for counts by default; levels are in the margin
    parameters = PARAMETERS | {"monotone_constraints": tuple(monotone)}
    booster = xgb.train(parameters, matrix, rounds)
    fitted = booster.predict(matrix).astype(np.float64)
    calibration = float(np.log(max(used.units.sum(), 0.5) / fitted.sum()))
    return Boosted(booster, margin, sees_price, level, names, calibration)


def _names(rows: DemandRows, sees_price: bool) -> tuple[str, ...]:
    features = [n for n in rows.features if sees_price or n != DISCOUNT]
    prices = [PRICE, RELATIVE] if sees_price else []
    if sees_price and not (~np.isnan(rows.rel_price)).any():
        prices.remove(RELATIVE)
    return (*prices, *rows.promo_names, *features)


def columns_of(rows: DemandRows, margin: LogLinear, names: Sequence[str]) -> Floats:
    """(r, c) what the trees read, by name."""
    every: dict[str, NDArray[np.float64]] = dict(rows.features)
    every |= {n: rows.promo[:, at] for at, n in enumerate(rows.promo_names)}
    every[PRICE] = np.log(rows.price_cents) - margin.reference[rows.product]
    every[RELATIVE] = rows.rel_price
    return np.column_stack([every[n] for n in names]) if names else np.zeros((len(rows), 1))


def _margin(rows: DemandRows, margin: LogLinear, level: Floats, sees_price: bool) -> Floats:
    if sees_price:
        return np.asarray(rows.base + level[rows.series], np.float64)
    return margin.log_mean(rows)


def _levels(rows: DemandRows, size: int) -> Floats:
    """(S,) log units a day of each series, shrunk to its product's."""
    n = len(rows.products)
    time = np.exp(rows.base)
    rate = np.bincount(rows.product, rows.units, minlength=n) + 0.5
    rate /= np.bincount(rows.product, time, minlength=n) + 1e-9
    overall = float(rows.units.sum() / max(time.sum(), 1e-9))
    sold = np.bincount(rows.product, minlength=n) > 0
    rate = np.where(sold, rate, max(overall, 1e-9))
    owner = np.zeros(size, np.int64)
    owner[rows.series] = rows.product
    units = np.bincount(rows.series, rows.units, minlength=size) + LEVEL_UNITS
    expected = np.bincount(rows.series, time, minlength=size) * rate[owner] + LEVEL_UNITS
    return np.asarray(np.log(rate[owner] * units / expected), np.float64)
