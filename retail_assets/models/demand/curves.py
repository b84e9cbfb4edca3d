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
    """One row per candidate price and segment; arrays of length s.

    ``candidate`` numbers the prices as they were given. ``relative_from`` is included in a
    segment and ``relative_to`` is not. ``error_bound`` is the largest relative error of taking
    demand constant in the segment.
    """

    candidate: Ints
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


@dataclass(frozen=True)
class _Pieces:
    """Segments (s) of candidates (c): which candidate, which limits, which product."""

    candidate: Ints
    low: Floats
    high: Floats
    product: Ints
    price: Ints


def demand_curves(
    model: PriceModel,
    rows: DemandRows,
    product: Ints,
    price_cents: Ints,
    *,
    relative_range: Floats | None = None,
) -> DemandCurves:
    """Demand of a window at candidate prices.

    Parameters
    ----------
    model : PriceModel
        With the rows' products numbered as in `PriceModel.numbered`.
    rows : DemandRows
        The window to predict, one row per product and day at any price. With NaN relative
        prices it is no sale, and a price has one segment.
    product, price_cents : (c,) int64
        Candidate prices, by product.
    relative_range : (c, 2) float64, optional
        Lowest and highest relative price the sale's totals leave a candidate: segments
        outside are not predicted.

    Raises
    ------
    ValueError
        A candidate's product has no row in the window.
    """
    missing = np.setdiff1d(product, rows.product)
    if len(missing):
        raise ValueError(f"{rows.products[int(missing[0])]}: no day of the window to predict")
    in_sale = not np.isnan(rows.rel_price).all()
    edges = _edges(model) if in_sale else np.array([0.0, np.inf])
    pieces = _pieces(edges, product, price_cents, relative_range)
    how = _stepwise if model.sees_price else _smooth
    units = how(model, rows, pieces, in_sale)
    days = np.bincount(rows.product, rows.days, minlength=len(rows.products))[product]
    low, high = _limits(model, units, float(np.median(days)), pieces)
    margin = model.margin
    inside = (pieces.price >= margin.lowest_cents[pieces.product]) & (
        pieces.price <= margin.highest_cents[pieces.product]
    )
    told = np.array(["prior_only", "ok"] if model.identified else ["unidentified"] * 2)
    return DemandCurves(
        candidate=pieces.candidate,
        price_cents=pieces.price,
        relative_from=pieces.low,
        relative_to=pieces.high,
        demand=units,
        demand_lo80=low,
        demand_hi80=high,
        extrapolated=~inside,
        error_bound=np.zeros(len(units)) if model.sees_price else _bound(model, pieces),
        flag=tuple(told[margin.with_history[pieces.product].astype(np.int64)].tolist()),
        predictions=len(units) if model.sees_price else len(np.unique(product)),
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


def _pieces(
    edges: Floats, product: Ints, price_cents: Ints, relative_range: Floats | None
) -> _Pieces:
    """The segments each candidate can be in, candidate by candidate."""
    first = np.zeros(len(product), np.int64)
    last = np.full(len(product), len(edges) - 2)
    if relative_range is not None:
        # ratios are compared in float32: a neighbour more at each end
        first = np.searchsorted(edges, relative_range[:, 0] * (1 - 1e-6), side="right") - 1
        last = np.searchsorted(edges, relative_range[:, 1] * (1 + 1e-6), side="right") - 1
        first, last = np.maximum(first, 0), np.minimum(last, len(edges) - 2)
    count = last - first + 1
    candidate = np.repeat(np.arange(len(product)), count)
    segment = first[candidate] + np.arange(len(candidate))
    segment -= np.repeat(np.cumsum(count) - count, count)
    return _Pieces(
        candidate, edges[segment], edges[segment + 1], product[candidate], price_cents[candidate]
    )


def _smooth(model: PriceModel, rows: DemandRows, pieces: _Pieces, in_sale: bool) -> Floats:
    """(s,) units of a log-linear response: one prediction per row serves every price."""
    margin = model.margin
    reference = np.exp(margin.reference[rows.product])
    relative = np.full(len(rows), 1.0 if in_sale else np.nan)
    anchor = np.exp(model.log_mean(rows.at_price(reference, relative)))
    total = np.bincount(rows.product, anchor, minlength=len(rows.products))
    own = np.log(pieces.price) - margin.reference[pieces.product]
    log_units = np.log(total[pieces.product]) + margin.slope[pieces.product] * own
    if in_sale and margin.relative < 0:
        low = np.where(pieces.low > 0, pieces.low, pieces.high)
        high = np.where(np.isfinite(pieces.high), pieces.high, pieces.low)
        log_units += margin.relative * (np.log(low) + np.log(high)) / 2
    return np.asarray(np.exp(log_units), np.float64)


def _bound(model: PriceModel, pieces: _Pieces) -> Floats:
    """(s,) largest relative error of a log-linear response taken at a segment's middle."""
    if model.margin.relative == 0 or not (pieces.low > 0).any():
        return np.zeros(len(pieces.low))
    inner = (pieces.low > 0) & np.isfinite(pieces.high)
    width = np.log(np.where(inner, pieces.high, 1.0) / np.where(inner, pieces.low, 1.0))
    return np.where(inner, np.expm1(abs(model.margin.relative) * width / 2), np.inf)


def _stepwise(model: PriceModel, rows: DemandRows, pieces: _Pieces, in_sale: bool) -> Floats:
    """(s,) units of trees that read the prices: a prediction per price and segment."""
    # a split sends float32(relative) < threshold left: the threshold itself opens its segment
    smallest = float(np.nextafter(np.float32(0), np.float32(1)))
    inside = np.maximum(pieces.low, smallest) if in_sale else np.full(len(pieces.low), np.nan)
    order = np.argsort(rows.product, kind="stable")
    start = np.searchsorted(rows.product[order], np.arange(len(rows.products) + 1))
    days = start[pieces.product + 1] - start[pieces.product]
    units = np.empty(len(inside))
    batch = max(BATCH // max(int(days.max(initial=1)), 1), 1)
    for first in range(0, len(units), batch):
        some = np.arange(first, min(first + batch, len(units)))
        begin = np.cumsum(days[some]) - days[some]
        lines = np.repeat(some, days[some])
        within = np.arange(len(lines)) - np.repeat(begin, days[some])
        each = rows.take(order[start[pieces.product[lines]] + within])
        priced = each.at_price(pieces.price[lines].astype(np.float64), inside[lines])
        units[some] = np.add.reduceat(np.exp(model.log_mean(priced)), begin)
    return units


def _limits(
    model: PriceModel, units: Floats, days: float, pieces: _Pieces
) -> tuple[Floats, Floats]:
    """80 % limits of (s,) units: past errors, and what the slope's own error adds.

    Past errors were made near the usual price; further away the slope decides.
    """
    if model.conformal is not None:
        low, high = model.conformal.limits(units, days)
    else:
        spread = NO_BACKTEST_SPREAD * units + Z80 * np.sqrt(units)
        low, high = units - spread, units + spread
    margin = model.margin
    away = np.abs(np.log(pieces.price) - margin.reference[pieces.product])
    error = Z80 * np.nan_to_num(margin.slope_se[pieces.product]) * away
    slope = units * np.minimum(error, 1.0)
    lower = np.maximum(units - np.hypot(units - low, slope), 0.0)
    return lower, units + np.hypot(high - units, slope)
