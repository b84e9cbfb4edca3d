"""Prices of a sale: what may be charged, what is best and why; what the runs show of it."""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import dagster as dg
import numpy as np
import pyarrow as pa

from retail_assets.assets import price_candidates as candidates
from retail_assets.assets import price_rules
from retail_assets.assets import price_tables as tables
from retail_assets.assets.specs import asset_spec, written
from retail_assets.partitions import SALES
from retail_assets.report import metadata, pricing_plots
from retail_assets.warehouse import Session, Warehouse

if TYPE_CHECKING:
    from retail_assets.models.pricing.plan import PricePlan

REFERENCE = ("sale_events", "products", "price_calendar")
SHOWN = 6
NO_RULES = "no rules in rules/pricing_rules.csv or .xlsx: every price is legal"
DAILY = ("pos_lines", "interval_sales")


@dg.multi_asset(
    name="list_candidates",
    specs=[asset_spec("price_candidates", deps=REFERENCE, every=("demand_curves", *DAILY))],
    partitions_def=SALES,
)
def list_candidates(
    context: dg.AssetExecutionContext, warehouse: dg.ResourceParam[Warehouse]
) -> dg.MaterializeResult:
    """Turn the curves' steps into totals of the sale, and judge every price by the rules."""
    sale = context.partition_key
    with warehouse.session() as session:
        goals, items = candidates.goals_of(session), candidates.items_of(session, sale)
        items.check()
        curves = candidates.curves_of(session, items, goals)
        rows = candidates.judged(session, candidates.rows_of(session, curves, goals), goals)
        count = session.replace("price_candidates", session.connection.from_arrow(rows), sale)
        about = describe_candidates(curves, rows)
        table = price_rules.read_table(warehouse.settings, goals)
        for warning in table.warnings if table.rules else (NO_RULES,):
            context.log.warning(str(warning))
            about["rule warnings"] = f"{about.get('rule warnings', '')}{warning}\n"
        return written(session, "price_candidates", count, about)


@dg.multi_asset(
    name="price_sale",
    specs=[
        asset_spec(
            name,
            deps=("price_candidates", *REFERENCE),
            every=DAILY,
            kinds=["numba", "ortools"],
        )
        for name in ("optimal_prices", "price_certificates", "price_frontier")
    ],
    partitions_def=SALES,
)
def price_sale(
    context: dg.AssetExecutionContext, warehouse: dg.ResourceParam[Warehouse]
) -> Iterator[dg.MaterializeResult]:
    """Solve the sale for every goal and keep the proof."""
    name = context.partition_key
    with warehouse.session() as session:
        sale = tables.read(session, name)
        solved = tables.solve(sale)
        rows = tables.of_results(sale, solved)
        about = describe_prices(sale, solved, warehouse.settings.currency)
        for table, frame in rows.items():
            count = session.replace(table, session.connection.from_arrow(frame), name)
            yield written(session, table, count, about.get(table))


@dg.multi_asset(
    name="note_decisions",
    specs=[asset_spec("decisions", deps=("optimal_prices", *REFERENCE), every=("interval_sales",))],
    partitions_def=SALES,
)
def note_decisions(
    context: dg.AssetExecutionContext, warehouse: dg.ResourceParam[Warehouse]
) -> dg.MaterializeResult:
    """Note what was recommended; and, once it is known, what was charged."""
    name = context.partition_key
    with warehouse.session() as session:
        rows = decisions(session, name, context.run.run_id)
        count = session.replace("decisions", session.connection.from_arrow(rows), name)
        return written(session, "decisions", count)


# What was charged is known from the sale itself, else from the calendar once the first day of
# the sale has come: a regular price "until further notice" says nothing of a day ahead.
_DECISIONS = """
WITH sale AS (SELECT *, starts_at::DATE AS day FROM sale_events WHERE sale_id = $sale),
calendar AS (
    SELECT product_id, coalesce(offer_price, regular_price) AS price
    FROM price_calendar JOIN sale USING (product_id)
    WHERE day BETWEEN valid_from AND coalesce(valid_to, day)
      AND day <= (SELECT max(business_date) FROM interval_sales)
    QUALIFY row_number() OVER (PARTITION BY product_id
                               ORDER BY store_id NULLS FIRST, valid_from DESC) = 1
),
done AS (
    SELECT product_id, 100 * coalesce(sale.price, calendar.price)::DOUBLE AS cents
    FROM sale LEFT JOIN calendar USING (product_id)
),
kept AS (SELECT * FROM decisions WHERE occasion = $sale),
latest AS (
    SELECT key, recommended FROM kept WHERE kind = 'price'
    QUALIFY row_number() OVER (PARTITION BY key ORDER BY decided_at DESC) = 1
),
fresh AS (
    SELECT $now::TIMESTAMPTZ AS decided_at, 'price' AS kind, $sale AS occasion,
           product_id AS key, price_cents::DOUBLE AS recommended, NULL::DOUBLE AS applied,
           1.0::DOUBLE AS propensity, $run AS run_id
    FROM optimal_prices p
    WHERE sale_id = $sale AND target = $used AND NOT EXISTS (
        FROM latest l WHERE l.key = p.product_id AND l.recommended = p.price_cents)
      -- what the merchandiser had decided already is no advice of ours
      AND NOT EXISTS (FROM sale s WHERE s.product_id = p.product_id AND s.price > 0)
)
SELECT every.* REPLACE (
    CASE WHEN kind = 'price' THEN coalesce(done.cents, applied) ELSE applied END AS applied)
FROM (FROM kept UNION ALL BY NAME FROM fresh) AS every
LEFT JOIN done ON done.product_id = every.key
ORDER BY decided_at, kind, key
"""


def decisions(session: Session, sale_id: str, run_id: str) -> pa.Table:
    """Everything decided for a sale: earlier rows, and new ones where a price changed."""
    parameters = {
        "sale": sale_id,
        "now": datetime.now(UTC),
        "run": run_id,
        "used": tables.USED,
    }
    found: pa.Table = session.sql(_DECISIONS, parameters).to_arrow_table()
    return found


def describe_candidates(curves: candidates.SaleCurves, rows: pa.Table) -> dict[str, Any]:
    """Figures of the candidates of a sale, and of the rules they break."""
    items, prices = rows["product_id"].to_pylist(), rows["price_cents"].to_pylist()
    barred: dict[str, set[tuple[str, int]]] = {}
    for product, price, rules in zip(items, prices, rows["broken_rules"].to_pylist(), strict=True):
        for rule in rules:
            barred.setdefault(rule, set()).add((product, price))
    counts = sorted(((rule, len(found)) for rule, found in barred.items()), key=lambda r: -r[1])
    every = len(set(zip(items, prices, strict=True)))
    return {
        "items": len(curves.items.rows),
        "candidate prices": every,
        "totals": curves.totals,
        "records if listed by total": every * curves.totals,
        "error bound of demand": float(curves.column["error_bound"].max()),
        "rules": metadata.table(("rule", "prices it bars"), counts),
    }


def describe_prices(
    sale: tables.Sale, solved: tables.Solved, currency: str
) -> dict[str, dict[str, Any]]:
    """Figures and pictures of the run, by table name."""
    plan, name = solved.plans[tables.USED], sale.items.sale_id
    proof = plan.certificate
    prior = sale.items.column("prior_price_cents").astype(float)
    changes = pricing_plots.old_and_new(
        sale.items.products,
        np.where(prior > 0, prior, np.nan),
        plan.price_cents.astype(float),
        currency=currency,
        title=f"{name}: prices now and recommended",
    )
    curves = pricing_plots.demand_and_revenue(
        _curves(sale, plan), currency=currency, title=f"{name}: demand and revenue by price"
    )
    return {
        "optimal_prices": {
            "demand and revenue": metadata.picture(curves, "demand and revenue by price"),
            "old and new prices": metadata.picture(changes, "prices now and recommended"),
            "targets": _targets_table(solved, currency),
            "goal": _goal(sale),
            "prices changed": int((plan.price_cents != prior).sum()),
            f"expected revenue, {currency}": plan.revenue / 100,
            f"expected margin, {currency}": plan.margin / 100,
        },
        "price_certificates": {
            "proof": metadata.picture(_proof(sale, solved, currency), "bounds by total"),
            "objective": proof.objective,
            "upper_bound": proof.upper_bound,
            "gap": proof.gap,
            "totals": proof.totals,
            "totals_ruled_out": proof.totals_ruled_out,
            "bounds_evaluated": proof.bounds,
            "blocks_closed": proof.closings,
            "method": proof.method,
            "margin": sale.goals.margin,
        },
        "price_frontier": {
            "frontier": metadata.picture(_trade_off(sale, solved, currency), "the trade-off"),
            "plans": len({tuple(p.price_cents.tolist()) for p in solved.frontier.plans}),
            "dominated": int(solved.frontier.dominated.sum()),
            "note": "weighted sums find the convex part of the trade-off only",
        },
    }


def _goal(sale: tables.Sale) -> str:
    revenue, margin, through = sale.goals.weights
    return (
        f"revenue {revenue:g}, {sale.goals.margin} {margin:g}, sell_through {through:g}; each"
        " scaled between its worst and best over the sale, rules on its sums aside"
    )


def _targets_table(solved: tables.Solved, currency: str) -> Any:
    header = ("target", f"revenue, {currency}", f"margin, {currency}", "margin %", "sold %", "gap")
    return metadata.table(
        header,
        [
            (target, p.revenue / 100, p.margin / 100, p.margin_pct, p.sell_through_pct,
             p.certificate.gap)
            for target, p in solved.plans.items()
        ],
    )  # fmt: skip


def _curves(sale: tables.Sale, plan: "PricePlan") -> list[pricing_plots.PriceCurve]:
    """The items that bring most, each moved alone from the recommended prices."""
    rows, found = sale.candidates, []
    now = plan.price_cents
    moved = int(now.sum()) - now[rows.item] + rows.price_cents
    holds = (rows.total_from_cents <= moved) & (moved <= rows.total_to_cents)
    prior, available = (sale.items.column(c) for c in ("prior_price_cents", "units_available"))
    for i in np.argsort(-plan.revenue_cents, kind="stable")[:SHOWN].tolist():
        at = np.flatnonzero(holds & (rows.item == i))
        found.append(
            pricing_plots.PriceCurve(
                label=str(sale.items.rows[i]["name"]),
                price_cents=rows.price_cents[at].astype(float),
                demand=rows.demand[at],
                demand_lo80=sale.demand_lo80[at],
                demand_hi80=sale.demand_hi80[at],
                units_available=float(available[i]),
                legal=rows.legal[at],
                chosen_cents=float(now[i]),
                prior_cents=float(prior[i]) if prior[i] else None,
            )
        )
    return found


def _proof(sale: tables.Sale, solved: tables.Solved, currency: str) -> bytes:
    """Of the revenue goal, whose bounds are amounts of money people know."""
    proof = solved.plans["revenue"].certificate
    blocks = proof.blocks.copy()
    blocks[:, 2] /= 100
    return pricing_plots.proof(
        blocks,
        proof.objective / 100,
        proof.total_cents,
        unit=f"{currency} of revenue",
        title=f"{sale.items.sale_id}: no total can earn more",
        upper_bound=proof.upper_bound / 100,
    )


def _trade_off(sale: tables.Sale, solved: tables.Solved, currency: str) -> bytes:
    front = solved.frontier
    weights = np.asarray(sale.goals.weights, float) / sum(sale.goals.weights)
    used = np.flatnonzero(np.isclose(front.weights, weights).all(axis=1))
    ends = {name: int(front.weights[:, k].argmax()) for k, name in enumerate(tables.EXTREMES)}
    return pricing_plots.frontier(
        np.array([p.revenue for p in front.plans], float),
        np.array([p.margin_pct for p in front.plans]),
        np.array([p.sell_through_pct for p in front.plans]),
        front.dominated,
        ends,
        int(used[0]) if len(used) else None,
        currency=currency,
        title=f"{sale.items.sale_id}: revenue, margin and sell-through",
    )
