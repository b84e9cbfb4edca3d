"""From the stored demand model to the rows of demand_curves: what to price, and when."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import date, timedelta
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from retail_assets import contract
from retail_assets.assets import demand_rows
from retail_assets.assets.demand_rows import CategoryDemand
from retail_assets.assets.price_candidates import candidate_prices_of, goals_of
from retail_assets.errors import ModelError
from retail_assets.report import metadata
from retail_assets.warehouse import Session

if TYPE_CHECKING:
    from retail_assets.models.demand.curves import DemandCurves
    from retail_assets.models.demand.price_model import PriceModel

EVERYDAY = "everyday"
"""The ``sale_id`` of the coming seven days at no sale."""
WEEK = 7


def stored_model(session: Session, category: str) -> PriceModel:
    """The fitted model as demand_model holds it.

    Raises
    ------
    ModelError
        When the category has no model yet.
    """
    from retail_assets.models.demand.price_model import PriceModel

    found = session.sql(
        "SELECT coefficients, model FROM demand_model WHERE category = $category",
        {"category": category},
    ).fetchall()
    if not found:
        raise ModelError(f"category {category}: no demand model; materialise demand_model first")
    return PriceModel.read(*found[0])


_COMING = """
SELECT sale_id, min(starts_at)::DATE AS first,
       greatest(max(ends_at - INTERVAL 1 MICROSECOND)::DATE, max(starts_at)::DATE) AS last,
       coalesce(epoch(max(ends_at) - min(starts_at)) / 86400, 1) AS days
FROM sale_events
WHERE sale_id IN (SELECT sale_id FROM sale_events JOIN products USING (product_id)
                  WHERE category = $category AND price IS NULL)
GROUP BY ALL ORDER BY ALL
"""


@dataclass(frozen=True)
class Occasion:
    """A window to price: a sale, or the coming week; ``days`` is its exact length.

    ``relative_range`` (c, 2) is each price over the sale's mean price, at the largest and at the
    smallest total of all its items, whatever their category; None outside a sale.
    """

    sale_id: str
    first: date
    last: date
    days: float
    prices: tuple[tuple[str, int], ...]
    relative_range: NDArray[np.float64] | None = None


def occasions(session: Session, data: CategoryDemand) -> list[Occasion]:
    """The coming week at ladder prices, and every sale to come that still lacks a price.

    A sale whose prices cannot be read is left out: pricing it says why, and no other sale
    has to wait for it.
    """
    tomorrow = data.as_of + timedelta(days=1)
    # A site that only holds sales has no everyday.
    prices = () if data.by_sale else _everyday_prices(session, data)
    week = data.as_of + timedelta(days=WEEK)
    found = [Occasion(EVERYDAY, tomorrow, week, WEEK, prices)]
    for sale_id, first, last, days in session.sql(_COMING, {"category": data.category}).fetchall():
        if last <= data.as_of:
            continue
        with suppress(ModelError):
            listed = tuple(candidate_prices_of(session, sale_id, data.category))
            reach = _relative_range(session, sale_id, listed)
            found.append(Occasion(sale_id, first, last, days, listed, reach))
    return [o for o in found if o.prices]


def _relative_range(
    session: Session, sale_id: str, listed: tuple[tuple[str, int], ...]
) -> NDArray[np.float64]:
    prices: dict[str, list[int]] = {}
    for product, cents in candidate_prices_of(session, sale_id):
        prices.setdefault(product, []).append(cents)
    mean = np.array([f(p) for p in prices.values() for f in (max, min)]).reshape(-1, 2)
    own = np.array([cents for _, cents in listed], np.float64)
    return np.asarray(own[:, None] / mean.mean(axis=0), np.float64)


def _everyday_prices(session: Session, data: CategoryDemand) -> tuple[tuple[str, int], ...]:
    """Ladder prices of every product sold, and the last price charged."""
    ladder, rows = goals_of(session).ladder, data.rows
    found: set[tuple[str, int]] = set()
    for at in np.unique(rows.product):
        own = np.flatnonzero(rows.product == at)
        newest = own[rows.period[own] == rows.period[own].max()]
        now = round(float(rows.price_cents[newest[np.argmax(rows.exposure[newest])]]))
        msrp = data.items.msrp_cents[at]
        steps = list(ladder.prices(round(msrp))) if msrp > 0 else []
        found |= {(rows.products[at], cents) for cents in [*steps, now]}
    return tuple(sorted(found))


def curves(
    session: Session, data: CategoryDemand, model: PriceModel
) -> dict[str, tuple[tuple[str, ...], DemandCurves]]:
    """Product names and curves of every occasion, by sale id."""
    from retail_assets.models.demand.curves import demand_curves

    found = {}
    for occasion in occasions(session, data):
        names = sorted({name for name, _ in occasion.prices})
        first = dict(reversed(occasion.prices))
        window = demand_rows.future(
            session,
            data,
            names,
            occasion.first,
            occasion.last,
            [first[name] for name in names],
            sale_id=None if occasion.sale_id == EVERYDAY else occasion.sale_id,
        )
        if data.by_sale:
            # past rows lasted as long as their sale did, to the minute
            window = replace(window, days=np.full(len(window), occasion.days))
        rows = model.numbered(window)
        grown = model.grown(rows)
        place = {name: at for at, name in enumerate(rows.products)}
        product = np.array([place[name] for name, _ in occasion.prices], np.int64)
        cents = np.array([cents for _, cents in occasion.prices], np.int64)
        drawn = demand_curves(grown, rows, product, cents, relative_range=occasion.relative_range)
        found[occasion.sale_id] = (tuple(name for name, _ in occasion.prices), drawn)
    return found


def of_curves(
    data: CategoryDemand, found: Mapping[str, tuple[tuple[str, ...], DemandCurves]]
) -> pa.Table:
    """Rows of demand_curves."""
    columns = ("price_cents", "demand", "demand_lo80", "demand_hi80", "extrapolated", "error_bound")
    parts = []
    for sale_id, (names, drawn) in found.items():
        rows = len(drawn.candidate)
        part: dict[str, Any] = {name: getattr(drawn, name) for name in columns}
        part |= {
            "category": pa.repeat(data.category, rows),
            "sale_id": pa.repeat(sale_id, rows),
            "product_id": pa.array(np.array(names, dtype=object)[drawn.candidate]),
            "rel_price_from": drawn.relative_from,
            "rel_price_to": drawn.relative_to,
            "flag": pa.array(drawn.flag, pa.string()),
            "as_of": pa.repeat(pa.scalar(data.as_of), rows),
        }
        parts.append(pa.table(part))
    if not parts:  # a site without a coming sale
        names = contract.table("demand_curves").required_columns
        return pa.table({name: pa.array([], pa.null()) for name in names})
    return pa.concat_tables(parts)


def describe_curves(
    data: CategoryDemand,
    model: PriceModel,
    found: Mapping[str, tuple[tuple[str, ...], DemandCurves]],
) -> dict[str, Any]:
    """What the curves cost and what they rest on."""
    rows = []
    for sale_id, (names, drawn) in found.items():
        finite = drawn.error_bound[np.isfinite(drawn.error_bound)]
        segments = len(drawn.candidate)
        share = float(drawn.extrapolated.mean())
        bound = float(finite.max(initial=0.0))
        rows.append((sale_id, len(names), segments, drawn.predictions, share, bound))
    header = ("occasion", "prices", "segments", "predictions", "extrapolated", "error bound")
    return {
        "model": model.name,
        "total of a sale matters": model.total_matters,
        "extrapolated_share": max((row[4] for row in rows), default=0.0),
        "occasions": metadata.table(header, rows),
    }
