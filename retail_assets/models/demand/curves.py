"""Demand at candidate prices, in segments of the relative price in which it is constant.

Trees are piecewise constant in the relative price: one prediction per threshold interval says
what every total of a sale would say (488 times fewer predictions on 20 items x 1,700 totals).
A smooth model enters through buckets of the relative price with a stated error bound.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from retail_assets.models.demand.price_model import PriceModel
from retail_assets.models.demand.rows import DemandRows, Floats, Ints

BUCKET_ERROR = 0.005
"""Relative error of a bucket's demand: half a percent, far inside any interval of it."""
RELATIVE_RANGE = (0.2, 5.0)
"""Where buckets are cut; a price a fifth or five times the sale's mean is an edge case."""
BATCH = 500_000
"""Predictions at a time: 500,000 rows of 20 columns are 80 MB."""
Z80 = 1.2816
NO_BACKTEST_SPREAD = 0.5
"""Half-width of the limits, as a share of demand, where no backtest could calibrate them."""


@dataclass(frozen=True)
class DemandCurves:
    """One row per product, price and segment; arrays of length s.

    ``relative_from`` is included in a segment and ``relative_to`` is not; the segments of one
    price cover (0, infinity). ``error_bound`` is the largest relative error of taking demand
    constant in the segment.
    """

    product: Ints
    price_cents: Ints
    relative_from: Floats
    relative_to: Floats
    demand: Floats
    demand_lo80: Floats
    demand_hi80: Floats
    extrapolated: NDArray[np.bool_]
    error_bound: Floats
    flag: tuple[str, ...]
    predictions: int


def demand_curves(
    model: PriceModel, rows: DemandRows, product: Ints, price_cents: Ints
) -> DemandCurves:
    """Demand of a window at candidate prices.

    Parameters
    ----------
    model : PriceModel
        With the rows' products numbered as in `PriceModel.numbered`.
    rows : DemandRows
        The window to predict, one row per product and day at any price.
    product, price_cents : (c,) int64
        Candidate prices, by product.

    Raises
    ------
    ValueError
        A candidate's product has no row in the window.
    """
    missing = np.setdiff1d(product, rows.product)
    if len(missing):
        raise ValueError(f"{rows.products[int(missing[0])]}: no day of the window to predict")
    edges = _edges(model)
    units = _stepwise(model, rows, product, price_cents, edges) if model.sees_price else _smooth(
        model, rows, product, price_cents, edges
    )  # fmt: skip
    c, k = units.shape
    days = np.bincount(rows.product, rows.days, minlength=len(rows.products))[product]
    low, high = _limits(model, units, float(np.median(days)), product, price_cents)
    margin, known = model.margin, model.margin.with_history[product]
    outside = ~(
        (price_cents >= margin.lowest_cents[product])
        & (price_cents <= margin.highest_cents[product])
    )
    bound = np.zeros(k)
    if not model.sees_price and k > 1:
        bound = np.exp(abs(margin.relative) * np.log(edges[2] / edges[1]) / 2) - 1 + np.zeros(k)
        bound[[0, -1]] = np.inf
    told = "ok" if model.identified else "unidentified"
    return DemandCurves(
        product=np.repeat(product, k),
        price_cents=np.repeat(price_cents, k),
        relative_from=np.tile(edges[:-1], c),
        relative_to=np.tile(edges[1:], c),
        demand=units.ravel(),
        demand_lo80=low.ravel(),
        demand_hi80=high.ravel(),
        extrapolated=np.repeat(outside, k),
        error_bound=np.tile(bound, c),
        flag=tuple(np.repeat(np.where(known, told, "prior_only"), k).tolist()),
        predictions=c * k if model.sees_price else len(np.unique(product)),
    )


def _edges(model: PriceModel) -> Floats:
    """Segment limits of the relative price, from zero to infinity."""
    inner = np.empty(0)
    if model.total_matters:
        if model.sees_price:
            assert model.boosted is not None
            inner = model.boosted.thresholds()
        elif model.margin.relative < 0:
            ratio = 2 * np.log1p(BUCKET_ERROR) / abs(model.margin.relative)
            low, high = np.log(RELATIVE_RANGE)
            inner = np.exp(np.linspace(low, high, int(np.ceil((high - low) / ratio)) + 1))
    return np.concatenate([[0.0], inner, [np.inf]])


def _smooth(
    model: PriceModel, rows: DemandRows, product: Ints, price_cents: Ints, edges: Floats
) -> Floats:
    """(c, k) units of a log-linear response: one prediction per row serves every price."""
    margin = model.margin
    reference = np.exp(margin.reference[rows.product])
    anchor = np.exp(model.log_mean(rows.at_price(reference, np.ones(len(rows)))))
    total = np.bincount(rows.product, anchor, minlength=len(rows.products))[product]
    own = margin.slope[product] * (np.log(price_cents) - margin.reference[product])
    if len(edges) == 2:
        return np.asarray((total * np.exp(own))[:, None], np.float64)
    inner = np.log(edges[1:-1])
    middle = np.concatenate([inner[:1], (inner[:-1] + inner[1:]) / 2, inner[-1:]])
    return np.asarray((total * np.exp(own))[:, None] * np.exp(margin.relative * middle), np.float64)


def _stepwise(
    model: PriceModel, rows: DemandRows, product: Ints, price_cents: Ints, edges: Floats
) -> Floats:
    """(c, k) units of trees that read the prices: a prediction per price and segment."""
    # a split sends float32(relative) < threshold left: the threshold itself opens its segment
    inside = np.maximum(edges[:-1], np.nextafter(np.float32(0), np.float32(1)).astype(float))
    order = np.argsort(rows.product, kind="stable")
    start = np.searchsorted(rows.product[order], np.arange(len(rows.products) + 1))
    days = start[product + 1] - start[product]
    units = np.empty((len(product), len(inside)))
    batch = max(BATCH // (len(inside) * max(int(days.max()), 1)), 1)
    for first in range(0, len(product), batch):
        some = np.arange(first, min(first + batch, len(product)))
        lines = np.repeat(some, days[some])
        within = np.arange(len(lines)) - np.repeat(np.cumsum(days[some]) - days[some], days[some])
        each = np.repeat(order[start[product[lines]] + within], len(inside))
        price = np.repeat(price_cents[lines].astype(np.float64), len(inside))
        priced = rows.take(each).at_price(price, np.tile(inside, len(lines)))
        mean = np.exp(model.log_mean(priced)).reshape(len(lines), len(inside))
        units[some] = np.add.reduceat(mean, np.cumsum(days[some]) - days[some], axis=0)
    return units


def _limits(
    model: PriceModel, units: Floats, days: float, product: Ints, price_cents: Ints
) -> tuple[Floats, Floats]:
    """80 % limits of (c, k) units: past errors, and what the slope's own error adds.

    Past errors were made near the usual price; further away the slope decides.
    """
    if model.conformal is not None:
        low, high = model.conformal.limits(units, days)
    else:
        spread = NO_BACKTEST_SPREAD * units + Z80 * np.sqrt(units)
        low, high = units - spread, units + spread
    margin = model.margin
    away = np.abs(np.log(price_cents) - margin.reference[product])
    error = Z80 * np.nan_to_num(margin.slope_se[product]) * away
    slope = units * np.minimum(error, 1.0)[:, None]
    lower = np.maximum(units - np.hypot(units - low, slope), 0.0)
    return lower, units + np.hypot(high - units, slope)
