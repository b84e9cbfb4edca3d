"""From the tables to the rows the demand models read, and the rows they predict.

`load` gives what was sold, by product, business day and price, with the share of a normal
day's customers who could have bought it; a retailer who only holds sales has one row per
sale and product. `future` gives rows of a window to come.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from retail_assets.assets.demand_receipts import (
    country_share,
    fill_cells,
    open_by_weekday,
    prior_level,
)
from retail_assets.errors import ModelError
from retail_assets.warehouse import Session

if TYPE_CHECKING:
    from retail_assets.models.demand.rows import DemandRows

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

LEAST_EXPOSURE = 0.02
"""Rows in which fewer of their usual customers found the product say nothing of it; a sale
that sold out sooner is taken to have lasted this long: its first rush is not its pace."""

LEAST_TIMED = 0.5
"""Share of past sales whose end is known, below which those left would be the slow ones."""

PROMO = ("feature", "display", "in_sale")


@dataclass(frozen=True)
class Items:
    """The range of a category, sold yet or not.

    Parameters
    ----------
    category : str
    products : tuple of n str
    msrp_cents : (n,) float64
        NaN where none is set.
    attributes : mapping of name to (n,) float64
        ``product`` (its number) and ``attr_*``; texts as numbers in their order.
    """

    category: str
    products: tuple[str, ...]
    msrp_cents: Floats
    attributes: Mapping[str, Floats]

    def position(self, names: Sequence[str]) -> Ints:
        """(k,) places of products; a ModelError for one the category does not have."""
        known = {name: at for at, name in enumerate(self.products)}
        for name in names:
            if name not in known:
                raise ModelError(f"product {name} is not in category {self.category}")
        return np.array([known[name] for name in names], np.int64)


@dataclass(frozen=True)
class CategoryDemand:
    """What a category sold, and what it takes to describe days to come alike.

    Parameters
    ----------
    category : str
    items : Items
        The same products (n) as ``rows.products``.
    rows : DemandRows
    as_of : date
        Last business day known.
    by_sale : bool
        There are no receipts: a row is a past sale of a product, not a day.
    open_share : (7, n) float64
        Share of the product's demand that lives where stores trade on that weekday
        (0 = Monday), as in the last eight weeks.
    country_share : mapping of country code to float
        Share of the category's demand.
    sale_promo : (f,) float64
        Mean of ``rows.promo`` over the days of past sales; 0 where there were none.
    left_out : int
        Rows with too little exposure (`LEAST_EXPOSURE`) or without any price.
    """

    category: str
    items: Items
    rows: DemandRows
    as_of: date
    by_sale: bool
    open_share: Floats
    country_share: Mapping[str, float]
    sale_promo: Floats
    left_out: int


def load(session: Session, category: str) -> CategoryDemand:
    """Rows to learn one category's demand from.

    Raises
    ------
    ModelError
        When the category has neither receipts nor past sales.
    """
    items = _items(session, category)
    sold = session.sql(
        "SELECT 1 FROM interval_sales WHERE category = $category LIMIT 1", {"category": category}
    ).fetchall()
    data = _from_receipts(session, items) if sold else _from_sales(session, items)
    if sold and (data is None or not len(data.rows)):
        raise ModelError(
            f"category {category}: no receipt has a price above 0, so nothing is known of prices;"
            " map unit_price in mapping.toml, or land price_calendar"
        )
    if data is None or not len(data.rows):
        raise ModelError(
            f"category {category}: neither receipts nor past sales (rows of sale_events with price"
            " and units_sold) to learn demand from; land them and materialise interval_sales"
        )
    return data


def future(
    session: Session,
    data: CategoryDemand,
    products: Sequence[str],
    first: date,
    last: date,
    price_cents: ArrayLike,
    *,
    sale_id: str | None = None,
    rel_price: ArrayLike | None = None,
) -> DemandRows:
    """Rows to predict: every product (k) on every day of a window, product by product.

    Exposure is the share of demand where stores trade on that weekday, everything in stock.
    Where there are no receipts, one row per product stands for the whole window.

    Parameters
    ----------
    price_cents : (k,) or scalar
    sale_id : str, optional
        Describe the days as that sale's: in a sale, featured as past sales were, with its
        units available.
    rel_price : (k,) or scalar, optional
        Default in a sale: price over the mean of those given; else NaN.

    Raises
    ------
    ModelError
        When a product is not in the category.
    """
    from retail_assets.models.demand.calendar import weekday
    from retail_assets.models.demand.rows import DemandRows

    position = data.items.position(products)
    window = np.arange(np.datetime64(first), np.datetime64(last) + 1).astype(np.int64)
    days = window[:1] if data.by_sale else window
    price = np.broadcast_to(np.asarray(price_cents, np.float64), position.shape)
    if rel_price is None:
        rel_price = np.nan if sale_id is None else price / price.mean()
    relative = np.broadcast_to(np.asarray(rel_price, np.float64), position.shape)
    product, period = np.repeat(position, len(days)), np.tile(days, len(position))
    promo = np.zeros_like(data.sale_promo) if sale_id is None else data.sale_promo
    said = {**_sale(session, sale_id, products), "price": price}
    found = {name: np.repeat(values, len(days)) for name, values in said.items()}
    yearly = "year_sin_1" in data.rows.features
    return DemandRows(
        products=data.items.products,
        product=product,
        series=product,
        period=period,
        days=np.full(len(product), len(window) / len(days)),
        units=np.full(len(product), np.nan),
        exposure=data.open_share[weekday(period), product],
        price_cents=found["price"],
        rel_price=np.repeat(relative, len(days)),
        promo=np.tile(promo, (len(product), 1)),
        promo_names=data.rows.promo_names,
        features=_features(data.items, product, period, data.country_share, found, yearly),
        prior_level=data.rows.prior_level,
    )


def _telling(promo: Floats) -> Ints:
    """Promotion columns that move, each movement once: leaflets often are the sales."""
    kept: list[int] = []
    for at, column in enumerate(promo.T):
        moves = len(column) > 0 and np.ptp(column) > 0
        if moves and not any(np.array_equal(column, promo[:, other]) for other in kept):
            kept.append(at)
    return np.array(kept, np.int64)


def _features(
    items: Items,
    product: Ints,
    period: Ints,
    country_share: Mapping[str, float],
    found: Mapping[str, Floats],
    yearly: bool,
) -> dict[str, Floats]:
    from retail_assets.models.demand.calendar import season_features

    return {
        **{name: values[product] for name, values in items.attributes.items()},
        **season_features(period, country_share, yearly=yearly),
        "log_units_available": found["log_units_available"],
        "exposures": found["exposures"],
        "discount_from_msrp": 1.0 - found["price"] / items.msrp_cents[product],
    }


def _items(session: Session, category: str) -> Items:
    found = session.sql(
        "SELECT product_id, nullif(100 * msrp::DOUBLE, 0), attributes FROM products"
        " WHERE category = $category ORDER BY product_id",
        {"category": category},
    ).fetchall()
    free = [json.loads(text or "{}") for *_, text in found]
    keys = sorted({key for each in free for key in each})
    attributes = {
        f"attr_{key.removeprefix('attr_')}": _coded([each.get(key) for each in free])
        for key in keys
    }
    attributes["product"] = np.arange(len(found), dtype=np.float64)
    msrp = np.array([np.nan if price is None else price for _, price, _ in found], np.float64)
    return Items(category, tuple(name for name, *_ in found), msrp, attributes)


def _coded(values: Sequence[Any]) -> Floats:
    """Numbers as they are; texts by their place in the alphabet; NaN where there is none."""
    known = [None if v in (None, "") else str(v) for v in values]
    try:
        numbers = np.array([np.nan if v is None else float(v) for v in known], np.float64)
        return np.where(np.isfinite(numbers), numbers, np.nan)
    except ValueError:
        texts = sorted({v for v in known if v is not None})
        code = {text: float(at) for at, text in enumerate(texts)}
        return np.array([np.nan if v is None else code[v] for v in known], np.float64)


# Past rows are those with a price; the mean is over the whole sale, whatever the category.
_PAST = """
SELECT sale_id, product_id, starts_at::DATE - DATE '1970-01-01' AS since,
       greatest(coalesce((ends_at - INTERVAL 1 MICROSECOND)::DATE, starts_at::DATE),
                starts_at::DATE) - DATE '1970-01-01' AS until,
       round(100 * price)::DOUBLE AS price, 100 * avg(price) OVER (PARTITION BY sale_id) AS usual,
       ln(nullif(units_available, 0)) AS log_units_available, exposures, units_sold,
       nullif(units_available, 0) AS units_available, epoch(ends_at - starts_at) AS seconds,
       epoch(sold_out_at - starts_at) AS seconds_sold
FROM sale_events WHERE price > 0
"""
_ROWS = f"""
SELECT c.position, c.period, c.price, c.exposure, c.units, feature / c.exposure AS feature,
       display / c.exposure AS display, (sale_id IS NOT NULL)::INTEGER AS in_sale,
       c.price / usual AS rel_price, log_units_available, exposures
FROM demand_cells c LEFT JOIN (
    SELECT * EXCLUDE (price) FROM ({_PAST}) JOIN panel_products USING (product_id)
) s ON s.position = c.position AND c.period BETWEEN since AND until
WHERE c.exposure >= {LEAST_EXPOSURE} * c.share AND c.price IS NOT NULL
QUALIFY row_number() OVER (
    PARTITION BY c.position, c.period, c.price ORDER BY since DESC NULLS LAST, sale_id) = 1
ORDER BY c.position, c.period, c.price
"""


def _from_receipts(session: Session, items: Items) -> CategoryDemand:
    from retail_assets.models.demand.calendar import TWO_YEARS
    from retail_assets.models.demand.rows import DemandRows

    demand = fill_cells(session, items.category)
    cells = session.sql("SELECT count(*) FROM demand_cells").fetchall()[0][0]
    found = _columns(session.sql(_ROWS).fetchnumpy())
    own = items.position(demand.panel.panel.products)
    product, period = own[found["position"].astype(np.int64)], found["period"].astype(np.int64)
    promo = np.column_stack([found[name] for name in PROMO])
    moves = _telling(promo)
    in_sale = found["in_sale"] == 1
    countries = country_share(demand)
    opened = open_by_weekday(session, demand)
    open_share = np.tile(opened @ demand.of_category[:, None], len(items.products))
    open_share[:, own] = opened @ demand.of_product
    yearly = bool(len(period)) and int(np.ptp(period)) + 1 >= TWO_YEARS
    rows = DemandRows(
        products=items.products,
        product=product,
        series=product,
        period=period,
        days=np.ones(len(product)),
        units=found["units"],
        exposure=found["exposure"],
        price_cents=found["price"],
        rel_price=found["rel_price"],
        promo=promo[:, moves],
        promo_names=tuple(PROMO[at] for at in moves),
        features=_features(items, product, period, countries, found, yearly),
        prior_level=prior_level(session, items.category, items.products, product),
    )
    return CategoryDemand(
        items.category,
        items,
        rows,
        demand.as_of,
        by_sale=False,
        open_share=open_share,
        country_share=countries,
        sale_promo=rows.promo[in_sale].mean(axis=0) if in_sale.any() else np.zeros(len(moves)),
        left_out=int(cells) - len(rows),
    )


_SALES = f"""
SELECT product_id, since, price, units_sold, price / usual AS rel_price, log_units_available,
       exposures, coalesce(seconds / 86400, 1) AS days, seconds_sold / nullif(seconds, 0) AS lasted,
       until, seconds_sold IS NULL AND units_sold >= units_available AS untimed
FROM ({_PAST}) JOIN products USING (product_id)
WHERE category = $category AND units_sold IS NOT NULL AND coalesce(seconds, 1) > 0
ORDER BY product_id, since, sale_id
"""


def _from_sales(session: Session, items: Items) -> CategoryDemand | None:
    """Without receipts: each past sale of each product is a row, exposed until it sold out."""
    from retail_assets.models.demand.rows import DemandRows

    past = session.sql(_SALES, {"category": items.category}).fetchnumpy()
    every = items.position(past.pop("product_id"))
    if not len(every):
        return None
    found = _columns(past)
    # Sold out, but not when: what was wanted is unknown, and at least what was sold.
    told = found.pop("untimed") != 1
    if told.mean() < LEAST_TIMED:
        raise ModelError(
            f"category {items.category}: {int((~told).sum())} of {len(told)} past sales sold out"
            " without a sold_out_at; land when they did, or demand cannot be told from stock"
        )
    product, found = every[told], {name: values[told] for name, values in found.items()}
    period = found["since"].astype(np.int64)
    lasted = np.where(np.isnan(found["lasted"]), 1.0, found["lasted"])
    rows = DemandRows(
        products=items.products,
        product=product,
        series=product,
        period=period,
        days=found["days"],
        units=found["units_sold"],
        exposure=np.clip(lasted, LEAST_EXPOSURE, 1.0),
        price_cents=found["price"],
        rel_price=found["rel_price"],
        promo=np.zeros((len(product), 0)),
        promo_names=(),
        features=_features(items, product, period, {}, found, False),
    )
    n = len(items.products)
    last = date.fromordinal(date(1970, 1, 1).toordinal() + int(found["until"].max()))
    return CategoryDemand(
        items.category, items, rows, last, True, np.ones((7, n)), {},
        np.zeros(0), int((~told).sum()),
    )  # fmt: skip


def _columns(found: Mapping[str, Any]) -> dict[str, Floats]:
    """Columns as numbers, NaN for null."""
    return {
        name: np.ma.filled(np.ma.asarray(values).astype(np.float64), np.nan)
        for name, values in found.items()
    }


def _sale(session: Session, sale_id: str | None, products: Sequence[str]) -> dict[str, Floats]:
    """(k,) what the sale says of each product; NaN where nothing."""
    rows = session.sql(
        "SELECT product_id, ln(nullif(units_available, 0)), exposures FROM sale_events"
        " WHERE sale_id = $sale",
        {"sale": sale_id},
    ).fetchall()
    known = {name: said for name, *said in rows}
    table = np.array([known.get(name, (None, None)) for name in products], np.float64)
    return dict(zip(("log_units_available", "exposures"), table.reshape(-1, 2).T, strict=True))
