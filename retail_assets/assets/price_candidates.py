"""Items of a sale and every price each may have, with demand by the sale's total and the rules.

Errors name the sale, the product and what to mend; a sale is priced whole or not at all.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from retail_assets import contract
from retail_assets.assets import price_rules
from retail_assets.errors import ModelError
from retail_assets.warehouse import Session

if TYPE_CHECKING:
    from retail_assets.models.pricing.goals import PricingGoals
    from retail_assets.models.pricing.segments import Stretches

Ints = NDArray[np.int64]
FIRST_NAMES = 5
EXTRAPOLATED, UNIDENTIFIED = "extrapolated", "unidentified"
"""Rule ids of prices too far outside what was ever charged, and of prices whose effect is not
known: then only the candidate nearest to today's price may be kept."""

# Today's price: of the calendar (an offer that has ended gives way to the regular price), else
# the receipts' (median of the last day the product was sold), else the original price.
_ITEMS = """
WITH items AS (SELECT *, starts_at::DATE AS day FROM sale_events WHERE sale_id = $sale),
calendar AS (
    SELECT product_id,
           CASE WHEN coalesce(valid_to, day) >= day - 1
                THEN coalesce(offer_price, regular_price) ELSE regular_price END AS price
    FROM price_calendar JOIN items USING (product_id) WHERE valid_from < day
    QUALIFY row_number() OVER (PARTITION BY product_id
                               ORDER BY valid_from DESC, store_id NULLS FIRST) = 1
), receipts AS (
    SELECT product_id, quantile_disc(unit_price, 0.5) AS price FROM (
        SELECT p.product_id, unit_price, business_date,
               max(business_date) OVER (PARTITION BY p.product_id) AS last
        FROM pos_lines p JOIN items USING (product_id)
        WHERE line_type = 'sale' AND business_date < day AND unit_price > 0
    ) WHERE business_date = last GROUP BY ALL
)
SELECT s.product_id, s.starts_at, s.ends_at, s.units_available, s.candidate_prices,
       coalesce(s.exposures, 0) AS exposures, p.name, p.category,
       round(100 * s.price)::BIGINT AS fixed_price_cents,
       round(100 * p.unit_cost)::BIGINT AS unit_cost_cents,
       round(100 * p.msrp)::BIGINT AS msrp_cents,
       round(100 * p.original_price)::BIGINT AS original_price_cents,
       round(100 * coalesce(nullif(c.price, 0), r.price, p.original_price, p.msrp))::BIGINT
       AS prior_price_cents
FROM items s
LEFT JOIN products p USING (product_id)
LEFT JOIN calendar c USING (product_id)
LEFT JOIN receipts r USING (product_id)
ORDER BY s.product_id
"""

# Of two rows of one item the later counts, and the other is no loss.
_REJECTED = """
SELECT source_file, source_row, reasons FROM sale_events_quarantine
WHERE payload->>'sale_id' = $sale
  AND NOT starts_with(reasons[1], 'duplicate key')
ORDER BY source_file, source_row LIMIT 1
"""

_CURVES = """
SELECT c.* FROM demand_curves c JOIN products USING (product_id, category)
WHERE sale_id = $sale ORDER BY product_id, price_cents, rel_price_from
"""

# What a product was ever sold at: means of its days, so that one odd receipt widens nothing.
_SOLD_AT = """
SELECT product_id, min(cents) AS lowest, max(cents) AS highest FROM (
    SELECT product_id, sum(net_cents) / sum(units) AS cents FROM interval_sales
    WHERE product_id IN (SELECT product_id FROM sale_events WHERE sale_id = $sale)
    GROUP BY product_id, business_date HAVING sum(units) > 0
    UNION ALL
    SELECT product_id, 100 * price::DOUBLE FROM sale_events WHERE price > 0
) GROUP BY product_id
"""


@dataclass(frozen=True)
class SaleItems:
    """Items of one sale in the order of their ids; each row as `_ITEMS` selects it."""

    sale_id: str
    rows: tuple[dict[str, Any], ...]

    @property
    def products(self) -> tuple[str, ...]:
        return tuple(row["product_id"] for row in self.rows)

    @property
    def first_day(self) -> date:
        day: date = min(row["starts_at"] for row in self.rows).date()
        return day

    def column(self, name: str) -> Ints:
        """Whole numbers, (n,); 0 where unknown."""
        return np.array([row[name] or 0 for row in self.rows], np.int64)

    def check(self) -> None:
        """Refuse a sale that cannot be priced.

        Raises
        ------
        ModelError
            Names the items nobody knows, without stock or without cost.
        """
        for wrong, what in (
            ([r for r in self.rows if r["category"] is None], "not in products; land them"),
            (
                [r for r in self.rows if not r["units_available"]],
                "units_available is missing or 0 in sale_events; leave sold-out items out",
            ),
            (
                [r for r in self.rows if r["unit_cost_cents"] is None],
                "no unit_cost in products, so no margin is known; fill it in",
            ),
        ):
            if wrong:
                raise ModelError(f"sale {self.sale_id}: {_names(wrong)}: {what}")
        first = self.rows[0]
        for row in self.rows:  # demand is over one window: other dates would get all of it
            if (row["starts_at"], row["ends_at"]) != (first["starts_at"], first["ends_at"]):
                raise ModelError(
                    f"sale {self.sale_id}: {row['product_id']} has other dates than"
                    f" {first['product_id']}; give it a sale_id of its own"
                )


def _names(rows: list[dict[str, Any]]) -> str:
    shown = ", ".join(str(row["product_id"]) for row in rows[:FIRST_NAMES])
    return shown + (f" and {len(rows) - FIRST_NAMES} more" if len(rows) > FIRST_NAMES else "")


def items_of(session: Session, sale_id: str) -> SaleItems:
    """The items of a sale, with what is known of them.

    Raises
    ------
    ModelError
        When no row of sale_events names the sale, or one of them was rejected.
    """
    for file, line, reasons in session.sql(_REJECTED, {"sale": sale_id}).fetchall():
        raise ModelError(
            f"sale {sale_id}: {file}, line {line} was rejected ({'; '.join(reasons)}); mend it,"
            " or leave the item out: a sale is priced whole"
        )
    rows = session.sql(_ITEMS, {"sale": sale_id}).to_dicts()
    if not rows:
        raise ModelError(f"sale {sale_id}: not in sale_events; land a row per item")
    return SaleItems(sale_id, tuple(rows))


def goals_of(session: Session) -> PricingGoals:
    """``rules/pricing.toml``; the defaults where there is none."""
    from retail_assets.models.pricing.goals import parse_goals

    return session.warehouse.settings.read_rules("pricing.toml", parse_goals)


def candidate_prices_of(
    session: Session, sale_id: str, category: str | None = None
) -> list[tuple[str, int]]:
    """Product and price in cents of every price a sale may charge, sorted.

    The list of ``sale_events.candidate_prices``, else the ladder of ``rules/pricing.toml``
    with today's price: keeping it is always an option.

    Parameters
    ----------
    category : str, optional
        Only its items; default: the whole sale.

    Raises
    ------
    ModelError
        Names the product and the price that cannot be read, is not above 0, or stands twice.
    """
    items, goals = items_of(session, sale_id), goals_of(session)
    return sorted(
        (row["product_id"], cents)
        for row in items.rows
        if category in (None, row["category"])
        for cents in _prices(sale_id, row, goals)
    )


def _prices(sale_id: str, row: dict[str, Any], goals: PricingGoals) -> set[int]:
    where = f"sale_events, sale {sale_id}, product {row['product_id']}"
    if row["fixed_price_cents"]:  # decided already: part of the sale, but no longer a choice
        return {row["fixed_price_cents"]}
    if (row["candidate_prices"] or "").strip():
        return _listed(where, row["candidate_prices"])
    start = row["msrp_cents"] or row["original_price_cents"]
    if not start:
        raise ModelError(
            f"{where}: no candidate_prices, and no msrp for the ladder of rules/pricing.toml;"
            " give one of them"
        )
    today = row["prior_price_cents"]
    return {*goals.ladder.prices(start), *([today] if today else [])}


def _listed(where: str, text: str) -> set[int]:
    """Cents of a list of prices separated by semicolons."""
    found: list[int] = []
    for part in text.split(";"):
        try:
            cents = 100 * Decimal(part.strip())
            whole = int(cents)
        except (InvalidOperation, ValueError, OverflowError):
            raise ModelError(
                f"{where}: candidate price {part.strip()!r} is not a number; write 3.90;3.50"
            ) from None
        if cents != whole:
            raise ModelError(f"{where}: candidate price {part.strip()} is not in whole cents")
        if whole <= 0:
            raise ModelError(f"{where}: candidate price {part.strip()} must be above 0")
        if whole in found:
            raise ModelError(f"{where}: candidate price {part.strip()} stands twice; drop one")
        found.append(whole)
    return set(found)


@dataclass(frozen=True)
class SaleCurves:
    """Rows of demand_curves at the candidate prices of a sale.

    ``item`` is each row's position among the items, ``column`` its values by name.
    """

    items: SaleItems
    item: Ints
    column: dict[str, NDArray[Any]]

    @property
    def price(self) -> Ints:
        return np.asarray(self.column["price_cents"], np.int64)

    @property
    def key(self) -> Ints:
        """Equal for rows of one item's price."""
        return self.item * (int(self.price.max()) + 1) + self.price

    @property
    def limits(self) -> tuple[int, int]:
        """Lowest and highest total of the sale's prices, cents."""
        low = np.full(len(self.items.rows), np.iinfo(np.int64).max)
        high = np.zeros(len(low), np.int64)
        np.minimum.at(low, self.item, self.price)
        np.maximum.at(high, self.item, self.price)
        return int(low.sum()), int(high.sum())

    @property
    def totals(self) -> int:
        """Totals the prices can have, on the grid of their common steps."""
        low, high = self.limits
        first = self.price[np.searchsorted(self.item, self.item)]  # rows are in item order
        return (high - low) // max(int(np.gcd.reduce(self.price - first)), 1) + 1

    @property
    def today(self) -> Ints:
        """Candidate price nearest to today's per item, (n,); the cheaper of two."""
        prior = self.items.column("prior_price_cents")[self.item]
        order = np.lexsort((self.price, abs(self.price - prior), self.item))
        first = order[np.unique(self.item[order], return_index=True)[1]]
        return self.price[first]


def curves_of(session: Session, items: SaleItems, goals: PricingGoals) -> SaleCurves:
    """Curves of all items of a sale at all their candidate prices.

    Raises
    ------
    ModelError
        A price without a curve, or more totals than ``max_total_cells`` allows.
    """
    sale = items.sale_id
    found = session.sql(_CURVES, {"sale": sale}).fetchnumpy()
    place = {product: at for at, product in enumerate(items.products)}
    item = np.array([place.get(p, -1) for p in found["product_id"]], np.int64)
    wanted = {
        (at, cents) for at, row in enumerate(items.rows) for cents in _prices(sale, row, goals)
    }
    pairs = list(zip(item.tolist(), found["price_cents"].tolist(), strict=True))
    missing = sorted(wanted - set(pairs))
    if missing:
        at, cents = missing[0]
        raise ModelError(
            f"sale {sale}: no demand curve of {items.products[at]} at {cents / 100:.2f}"
            f" ({len(missing)} prices in all); run demand_curves of category"
            f" {items.rows[at]['category']}"
        )
    kept = np.array([pair in wanted for pair in pairs], bool)
    columns = {name: np.asarray(np.ma.filled(v))[kept] for name, v in found.items()}
    curves = SaleCurves(items, item[kept], columns)
    if curves.totals > goals.max_total_cells:
        raise ModelError(
            f"sale {sale}: its prices add up to {curves.totals:,} different totals, over"
            f" max_total_cells = {goals.max_total_cells:,} in rules/pricing.toml; raise it, or"
            " give fewer or rounder candidate prices"
        )
    return curves


def rows_of(session: Session, curves: SaleCurves, goals: PricingGoals) -> pa.Table:
    """Rows before the rules, with what the rules are about."""
    from retail_assets.models.pricing.candidates import MARGIN, MILLI, REVENUE, UNITS, Candidates

    items, held = curves.items, _stretches(curves, goals)
    item, price = curves.item[held.row], curves.price[held.row]
    column = {name: values[held.row] for name, values in curves.column.items()}
    available = items.column("units_available")
    measures = Candidates(
        items.products, available, items.column("unit_cost_cents"), item, price,
        held.total_from_cents, held.total_to_cents, column["demand"],
    ).measures()  # fmt: skip
    units = measures[:, UNITS] / MILLI
    unknown = (column["flag"] == UNIDENTIFIED) & (price != curves.today[item])
    far = column["extrapolated"].astype(bool) & _too_far(session, curves, goals)[held.row]
    about = {
        name: pa.array([row[name] for row in items.rows], pa.int64()).take(pa.array(item))
        for name in ("exposures", "msrp_cents", "original_price_cents", "unit_cost_cents")
    }
    return pa.table(
        {
            "sale_id": pa.repeat(items.sale_id, len(item)),
            "product_id": pa.array(items.products).take(pa.array(item)),
            "price_cents": price,
            "total_from_cents": held.total_from_cents,
            "total_to_cents": held.total_to_cents,
            **{name: column[name] for name in ("demand", "demand_lo80", "demand_hi80")},
            "capped_units": units,
            "revenue_cents": measures[:, REVENUE].astype(np.int64),
            "margin_cents": measures[:, MARGIN].astype(np.int64),
            "sell_through": units / available[item],
            "extrapolated": column["extrapolated"].astype(bool),
            "too_far": far,
            "unknown_effect": unknown,
            "as_of": pa.repeat(pa.scalar(_day(curves.column["as_of"].max())), len(item)),
            **about,
        }
    )


def _day(value: Any) -> date:
    day: date = np.datetime64(value, "D").astype(object)
    return day


def _stretches(curves: SaleCurves, goals: PricingGoals) -> Stretches:
    """Curve rows by total; where the total is not to matter, at today's prices of the others."""
    from retail_assets.models.pricing import segments

    low, high = curves.limits
    column = curves.column
    pieces = segments.to_totals(
        curves.price, column["rel_price_from"], column["rel_price_to"],
        len(curves.items.rows), low, high,
    )  # fmt: skip
    if goals.demand_kind in ("separable", "mnl"):
        now = curves.today
        total = int(now.sum()) - now[curves.item] + curves.price
        pieces = segments.at_one_total(pieces, total, low, high)
    same = ("demand", "demand_lo80", "demand_hi80", "extrapolated", "error_bound")
    return segments.merged(
        pieces, curves.key, np.column_stack([column[name].astype(np.float64) for name in same])
    )


def _too_far(session: Session, curves: SaleCurves, goals: PricingGoals) -> NDArray[np.bool_]:
    """Prices further outside what was ever charged than the goals allow, per curve row."""
    sold = {
        p: (low, high)
        for p, low, high in session.sql(_SOLD_AT, {"sale": curves.items.sale_id}).fetchall()
    }
    low, high = np.zeros(len(curves.items.rows)), np.zeros(len(curves.items.rows))
    for at, row in enumerate(curves.items.rows):
        known = [*sold.get(row["product_id"], ()), row["prior_price_cents"]]
        ends = [float(cents) for cents in known if cents]
        low[at], high[at] = (min(ends), max(ends)) if ends else (0.0, np.inf)
    slack = goals.max_extrapolation_pct / 100
    price, item = curves.price, curves.item
    return np.asarray(
        (price < low[item] * (1 - slack) - 1e-9) | (price > high[item] * (1 + slack) + 1e-9)
    )


def judged(session: Session, rows: pa.Table, goals: PricingGoals) -> pa.Table:
    """The rows with the rules they break, as price_candidates keeps them."""
    session.connection.register("price_rows", rows)
    table = price_rules.read_table(session.warehouse.settings, goals)
    flags = {EXTRAPOLATED: "too_far", UNIDENTIFIED: "unknown_effect"}
    found = price_rules.evaluate(session, table, "price_rows", flags)
    columns = contract.table("price_candidates").column_names
    return found.project(", ".join(columns)).to_arrow_table()
