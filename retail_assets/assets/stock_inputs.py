"""From the tables to what the stock models start from: stock, demand, settlement, costs.

A warehouse named in ``style_trials`` serves a stylist's or a site's clients: its chances
and rates are theirs, and what is sent may come back. Every other warehouse serves the
shops: its chances are receipts, and what is sold is sold. Without any receipts, trials
that name no warehouse are those of every one they do not name.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from retail_assets.assets import cold_start_tables
from retail_assets.assets.stock_demand import (
    DAYS_PER_WEEK,
    Floats,
    Rows,
    column,
    demand_of,
    pool_traffic,
    receipt_shares,
    settlement_of,
    units_per_success,
)
from retail_assets.assets.stock_sizes import sizes_of
from retail_assets.assets.style_rates import StyleRates, load_rates
from retail_assets.errors import ModelError
from retail_assets.warehouse import Session

if TYPE_CHECKING:
    from retail_assets.models.cold_start.rules import ColdStartRules
    from retail_assets.models.inventory.demand import Demand, Stock
    from retail_assets.models.inventory.reorder import Costs, Limits
    from retail_assets.models.inventory.returns import Settlement
    from retail_assets.models.inventory.rules import StockRules
    from retail_assets.models.inventory.sizes import SizeCurves
    from retail_assets.models.inventory.traffic import PoolTraffic

LEAD_WEEKS_UNKNOWN = 2.0
WEEKS_PER_YEAR = 52

# A row of stock names a product, or a style of several sizes.
_ROWS = """
WITH named AS (
    SELECT product_id AS key, * FROM products
    UNION ALL BY NAME
    SELECT style_id AS key, any_value(COLUMNS(* EXCLUDE (style_id, product_id, size, pack_size))),
           max(pack_size) AS pack_size
    FROM products WHERE style_id NOT IN (SELECT product_id FROM products) GROUP BY style_id
), members AS (
    SELECT product_id AS key, product_id FROM products
    UNION ALL
    SELECT style_id, product_id FROM products
    WHERE style_id NOT IN (SELECT product_id FROM products)
), prices AS (
    SELECT key, sum(net_amount) / nullif(sum(quantity), 0) AS price
    FROM pos_lines JOIN members USING (product_id)
    WHERE line_type = 'sale' AND business_date > $last::DATE - 56 GROUP BY ALL
), shelves AS (
    SELECT key, avg(salvage) AS salvage, avg(holding_cost) AS holding_cost,
           max(min_qty) FILTER (store_id IS NULL) AS min_qty,
           max(max_qty) FILTER (store_id IS NULL) AS max_qty
    FROM shelf JOIN members USING (product_id) GROUP BY ALL
)
SELECT s.product_id, s.warehouse, on_hand, coalesce(out_with_clients, 0) AS out_with_clients,
       coalesce(on_order, 0) AS on_order, lead_time_days, coalesce(lead_time_sd, 0) AS lead_time_sd,
       coalesce(n."group", n.category) AS group_id, n.category, coalesce(pack_size, 1) AS pack,
       round(100 * coalesce(price, msrp))::DOUBLE AS price, round(100 * unit_cost)::DOUBLE AS cost,
       100 * salvage::DOUBLE AS salvage, 100 * holding_cost::DOUBLE AS holding, min_qty, max_qty,
       EXISTS (FROM style_trials t WHERE t.warehouse = s.warehouse)
       OR (EXISTS (FROM style_trials WHERE warehouse IS NULL) AND NOT EXISTS (FROM pos_trials))
       AS by_stylist
FROM stock s LEFT JOIN named n ON n.key = s.product_id
LEFT JOIN prices ON prices.key = s.product_id
LEFT JOIN shelves ON shelves.key = s.product_id
ORDER BY s.warehouse, s.product_id
"""


def rules(session: Session) -> StockRules:
    """``rules/stock.toml``; the defaults where there is none."""
    from retail_assets.models.inventory.rules import parse_rules

    return session.warehouse.settings.read_rules("stock.toml", parse_rules)


@dataclass(frozen=True)
class StockCase:
    """Rows (S) of stock whose chances were counted in one way, ready for the models.

    Parameters
    ----------
    source : str
        style_trials or pos_trials.
    product, warehouse, group : tuple of S str
    p : (S, R) float64
        Draws of P(chosen).
    break_even : (S,) float64
        Rate below which the style loses money; NaN where none is set.
    size_names : tuple of K str
        Columns of ``sizes``.
    room : (W,) int64 or None
        Units each warehouse can still take, in the order of ``warehouses``.
    """

    source: str
    product: tuple[str, ...]
    warehouse: tuple[str, ...]
    group: tuple[str, ...]
    stock: Stock
    demand: Demand
    settlement: Settlement
    costs: Costs
    limits: Limits
    sizes: SizeCurves
    size_names: tuple[str, ...]
    p: Floats
    break_even: Floats
    seasonal: NDArray[np.bool_]
    room: NDArray[np.int64] | None
    traffic: Mapping[tuple[str, str], PoolTraffic]

    @property
    def warehouses(self) -> tuple[str, ...]:
        return tuple(sorted(set(self.warehouse)))


def last_day(session: Session) -> date:
    """Last day anything is known of the styles; any day where there is no stock to project.

    Raises
    ------
    ModelError
        When there is stock and nothing is known.
    """
    day: date | None = session.sql("SELECT max(as_of) FROM cold_start_posterior").fetchall()[0][0]
    if day is None and session.sql("FROM stock LIMIT 1").fetchall():
        raise ModelError(
            "stock has landed, but no style is known; land style_trials or receipts and run"
            " cold_start"
        )
    return day or date.min


def load(
    session: Session, last: date, rules: StockRules, seed: int
) -> tuple[list[StockCase], list[str]]:
    """Every stock row as part of a case, and the rows left out with the reason."""
    rows = session.sql(_ROWS, {"last": last}).to_dicts()
    policy = cold_start_tables.rules(session)
    cases: list[StockCase] = []
    left_out: list[str] = []
    for source, by_stylist in (("style_trials", True), ("pos_trials", False)):
        rates = load_rates(session, source)
        mine = [row for row in rows if row["by_stylist"] == by_stylist]
        known = [row for row in mine if rates.products(row["product_id"]) and row["group_id"]]
        names = {row["product_id"] for row in known}
        left_out += [row["product_id"] for row in mine if row["product_id"] not in names]
        if not known:
            continue
        weeks = _horizon(_stock(known), rules)
        traffic, refused = pool_traffic(session, source, known, rates, last, weeks)
        left_out += [f"{group} in {where}: {why}" for (where, group), why in refused.items()]
        kept = [row for row in known if (row["warehouse"], row["group_id"]) in traffic]
        if kept:
            cases.append(
                _case(session, source, kept, rates, traffic, weeks, last, rules, seed, policy)
            )
    return cases, left_out


def _case(
    session: Session,
    source: str,
    rows: list[dict[str, Any]],
    rates: StyleRates,
    traffic: Mapping[tuple[str, str], PoolTraffic],
    weeks: int,
    last: date,
    rules: StockRules,
    seed: int,
    policy: ColdStartRules,
) -> StockCase:
    product, warehouse, group = (
        tuple(row[name] for row in rows) for name in ("product_id", "warehouse", "group_id")
    )
    stock = _stock(rows)
    # One style, one rate: its rows in several warehouses share their draws.
    drawn = {
        name: rates.draws(name, rules.paths, seed + at)
        for at, name in enumerate(dict.fromkeys(product))
    }
    p = np.stack([drawn[name] for name in product])
    share = np.ones(len(traffic))
    if source == "pos_trials":
        share = receipt_shares(
            session, sorted(traffic), {r["group_id"]: r["category"] for r in rows}, last
        )
    units = units_per_success(session, source, product, rates, last)
    seasonal = np.isin(group, rules.seasonal)
    names, sizes = sizes_of(session, rows)
    demand = demand_of(rows, traffic, share, p, units, weeks, rules)
    settlement = settlement_of(session, source, product, rates, last, rules.paths, seed)
    costs = _costs(rows, seasonal, rules)
    given = np.array([policy.break_even_of(source, each) for each in group])
    return StockCase(
        source=source,
        product=product,
        warehouse=warehouse,
        group=group,
        stock=stock,
        demand=demand,
        settlement=settlement,
        costs=costs,
        limits=_limits(rows),
        sizes=sizes,
        size_names=names,
        p=p,
        break_even=_break_even(given, demand, units, settlement, costs, rules),
        seasonal=seasonal,
        room=_room(stock, warehouse, rules),
        traffic=traffic,
    )


def _stock(rows: Rows) -> Stock:
    from retail_assets.models.inventory.demand import Stock

    return Stock.of(
        column(rows, "on_hand"),
        out=column(rows, "out_with_clients"),
        on_order=column(rows, "on_order"),
        lead_weeks=column(rows, "lead_time_days", DAYS_PER_WEEK * LEAD_WEEKS_UNKNOWN)
        / DAYS_PER_WEEK,
        lead_weeks_sd=column(rows, "lead_time_sd", 0.0) / DAYS_PER_WEEK,
        names=tuple(str(row["product_id"]) for row in rows),
    )


def _horizon(stock: Stock, rules: StockRules) -> int:
    """Weeks to project: those shown, and what an order placed now is meant to last."""
    lead = stock.lead_weeks + 3 * stock.lead_weeks_sd
    needed = int(np.ceil(lead.max())) + rules.review_weeks + 1
    return max(rules.weeks, needed, rules.season_weeks)


def _costs(rows: Rows, seasonal: NDArray[np.bool_], rules: StockRules) -> Costs:
    """In cents; a price is twice the cost where one is missing, a margin at least a cent.

    Where both are missing they only weigh a unit short against one too many: 2 to 1.
    """
    from retail_assets.models.inventory.reorder import Costs

    price, cost = column(rows, "price"), column(rows, "cost")
    price = np.where(np.isnan(price), np.where(np.isnan(cost), 200.0, 2 * cost), price)
    price = np.maximum(price, 2.0)
    cost = np.clip(np.where(np.isnan(cost), price / 2, cost), 1.0, price - 1.0)
    salvage = column(rows, "salvage")
    salvage = np.where(np.isnan(salvage), rules.salvage_share * cost, salvage)
    holding = column(rows, "holding")
    holding = np.where(np.isnan(holding), rules.holding_rate * cost, holding) / WEEKS_PER_YEAR
    return Costs.of(
        price,
        cost,
        seasonal=seasonal,
        salvage_cents=np.minimum(salvage, cost - 0.5),
        holding_cents_per_week=np.maximum(holding, 0.01),
        review_weeks=rules.review_weeks,
        fixed_cost_cents=rules.order_cost_cents,
    )


def _break_even(
    given: Floats,
    demand: Demand,
    units: Floats,
    settlement: Settlement,
    costs: Costs,
    rules: StockRules,
) -> Floats:
    """The rate a rule sets, else the one that earns the slot's cost; NaN with neither.

    A style nobody is offered yet earns nothing at any rate: that is no verdict on it.
    """
    from retail_assets.models.inventory.retirement import break_even_rate

    if not rules.slot_cost_cents:
        return given
    chances = demand.considered[:, 0] * demand.traffic.mean[demand.pool, 0]
    # `demand_of` took what units exceed one out of p and into the traffic.
    chances = chances * units / max(1.0, float(units.max()))
    earned = break_even_rate(
        costs.underage,
        settlement.keep.mean(axis=1),
        slot_cost_cents=rules.slot_cost_cents,
        considered=chances,
    )
    return np.where(np.isnan(given), np.where(chances > 1e-6, earned, np.nan), given)


def _limits(rows: Rows) -> Limits:
    from retail_assets.models.inventory.reorder import Limits

    return Limits.of(
        len(rows),
        min_qty=column(rows, "min_qty", 0.0),
        max_qty=column(rows, "max_qty", np.iinfo(np.int32).max),
        pack_size=column(rows, "pack", 1.0),
    )


def _room(stock: Stock, warehouse: Sequence[str], rules: StockRules) -> NDArray[np.int64] | None:
    """Units each warehouse can still take; None where no rule says what it holds."""
    names = sorted(set(warehouse))
    if not any(name in rules.room for name in names):
        return None
    held = [stock.position[np.array(warehouse) == name].sum() for name in names]
    most = np.iinfo(np.int32).max
    free = [max(rules.room.get(n, most) - h, 0) for n, h in zip(names, held, strict=True)]
    return np.array(free, np.int64)
