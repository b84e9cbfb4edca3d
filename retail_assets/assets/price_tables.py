"""A sale read, solved for every goal, and written down: rows of three tables."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from datetime import date
from typing import TYPE_CHECKING, Any, get_args

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from retail_assets.assets import price_rules
from retail_assets.assets.price_candidates import SaleItems, goals_of, items_of
from retail_assets.errors import ModelError
from retail_assets.warehouse import Session

if TYPE_CHECKING:
    from retail_assets.models.pricing.candidates import Candidates
    from retail_assets.models.pricing.decision_table import DecisionTable
    from retail_assets.models.pricing.frontier import Frontier
    from retail_assets.models.pricing.goals import PricingGoals
    from retail_assets.models.pricing.logit_sale import LogitSale
    from retail_assets.models.pricing.plan import PricePlan
    from retail_assets.models.pricing.sale_rules import SaleRules

USED = "weighted"
"""The goal whose prices are recommended."""
EXPLAINED_ITEMS = 200
"""Sales up to this size explain the prices of every goal, larger ones those recommended: at
1,000 items the neighbours of one plan take 3 s."""
WEIGHTS = ("weight_revenue", "weight_margin", "weight_sell_through")
EXTREMES = ("max_revenue", "max_margin", "max_sell_through")
RECENT_DAYS = 28

_CANDIDATES = """
SELECT * FROM price_candidates WHERE sale_id = $sale
ORDER BY product_id, price_cents, total_from_cents
"""

# Receipts of the last four weeks before the sale, over its length: buyers of anything.
_CUSTOMERS = f"""
WITH sale AS (
    SELECT min(starts_at)::DATE AS day,
           greatest(date_diff('hour', min(starts_at), max(coalesce(ends_at, starts_at))), 24) / 24
           AS days
    FROM sale_events WHERE sale_id = $sale
), recent AS (
    SELECT business_date, store_id, transaction_id FROM pos_lines, sale
    WHERE line_type = 'sale' AND business_date BETWEEN day - {RECENT_DAYS} AND day - 1
)
SELECT any_value(days) * count(DISTINCT (business_date, store_id, transaction_id))
       / nullif(count(DISTINCT business_date), 0)
FROM sale LEFT JOIN recent ON true
"""


@dataclass(frozen=True)
class Sale:
    """What is read of one sale before it is solved; arrays by row of ``candidates``."""

    items: SaleItems
    candidates: Candidates
    demand_lo80: NDArray[np.float64]
    demand_hi80: NDArray[np.float64]
    extrapolated: NDArray[np.bool_]
    rules: SaleRules
    table: DecisionTable
    goals: PricingGoals
    as_of: date
    customers: float
    """Receipts the sale's days would see; only known where customers choose by a logit."""


@dataclass(frozen=True)
class Solved:
    """Prices for every goal, the trade-off between them, and why."""

    plans: dict[str, PricePlan]
    frontier: Frontier
    reasons: dict[str, tuple[str, ...]]


def read(session: Session, sale_id: str) -> Sale:
    """The sale's candidates and rules.

    Raises
    ------
    ModelError
        Without candidates, or with those of other items than the sale has now.
    """
    from retail_assets.models.pricing.candidates import Candidates

    items, goals = items_of(session, sale_id), goals_of(session)
    items.check()
    found = session.sql(_CANDIDATES, {"sale": sale_id}).fetchnumpy()
    products = tuple(dict.fromkeys(found["product_id"].tolist()))
    if products != items.products:
        raise ModelError(
            f"sale {sale_id}: price_candidates hold {len(products)} of its"
            f" {len(items.products)} items or others; run price_candidates first"
        )
    place = {product: at for at, product in enumerate(products)}
    broken = found["broken_rules"]
    names = tuple(dict.fromkeys(rule for rules in broken for rule in rules))
    bit = {rule: 1 << at for at, rule in enumerate(names)}
    prior = items.column("prior_price_cents")
    try:
        candidates = Candidates(
            products, items.column("units_available"), items.column("unit_cost_cents"),
            np.array([place[p] for p in found["product_id"]]), found["price_cents"],
            found["total_from_cents"], found["total_to_cents"], found["demand"],
            np.array([sum(bit[rule] for rule in rules) for rules in broken], np.int64),
            names, prior if prior.any() else None,
        )  # fmt: skip
    except ValueError as error:
        raise ModelError(f"sale {sale_id}: {error}") from None
    table = price_rules.read_table(session.warehouse.settings, goals)
    seen = session.sql(_CUSTOMERS, {"sale": sale_id}) if goals.demand_kind == "mnl" else None
    return Sale(
        items, candidates, found["demand_lo80"], found["demand_hi80"],
        found["extrapolated"].astype(bool), price_rules.sale_rules(session, table, products),
        table, goals,
        np.datetime64(found["as_of"].max(), "D").astype(object),
        float(seen.fetchall()[0][0] or 0) if seen is not None else 0.0,
    )  # fmt: skip


def solve(sale: Sale) -> Solved:
    """The best prices for every goal.

    Raises
    ------
    ModelError
        No prices keep the rules: which item or which rules, and what would be nearest.
    """
    from retail_assets.models.pricing.explain import explain
    from retail_assets.models.pricing.program import NoLegalPriceError

    name = f"sale {sale.items.sale_id}"
    try:
        return _by_logit(sale) if sale.goals.demand_kind == "mnl" else _by_total(sale)
    except NoLegalPriceError as error:
        why = explain(sale.candidates, sale.rules)
        message = why.message().replace("\n", "; ") or str(error)
        raise ModelError(f"{name}: {_with_ids(sale, message)}") from None
    except ValueError as error:
        raise ModelError(f"{name}: {_with_ids(sale, str(error))}") from None


def _with_ids(sale: Sale, message: str) -> str:
    """Names of sale-wide rules as the merchandiser wrote them."""
    names = {part: price_rules.rule_behind(sale.table, part) for part in sale.rules.parts()}
    return re.sub(r"\w+(\[\d+\])?", lambda word: names.get(word[0], word[0]), message)


def _targets() -> tuple[Any, ...]:
    from retail_assets.models.pricing.plan import Target

    return get_args(Target)


def _by_total(sale: Sale) -> Solved:
    from retail_assets.models.pricing.frontier import Frontier, dominated, weight_grid
    from retail_assets.models.pricing.optimise import optimise
    from retail_assets.models.pricing.reasons import reasons
    from retail_assets.models.pricing.sale_rules import prepare
    from retail_assets.models.pricing.weighted import best_weighted, scale_of

    goals, prepared = sale.goals, prepare(sale.candidates, sale.rules)
    # One scale for all weights, and none that a rule on the sale's sums would move: with two
    # such rules on 12 items its six solves took 48 s, without them milliseconds.
    scale = scale_of(replace(prepared, linear=()), goals.margin)
    plans = {
        target: best_weighted(prepared, goals.weights, goals.margin, scale=scale)
        if target == USED
        else optimise(prepared, target)
        for target in _targets()
    }
    # Each of 66 mixes is a second of CP-SAT where a rule binds the sums of the sale: 15 then.
    grid = weight_grid(min(_steps(goals), 4) if prepared.linear else _steps(goals))
    mixed = tuple(
        best_weighted(prepared, (a, b, c), goals.margin, scale=scale) for a, b, c in grid.tolist()
    )
    points = np.array([[p.revenue, p.margin_pct, p.sell_through_pct] for p in mixed])
    why = {
        target: tuple(each.sentence() for each in reasons(sale.candidates, plan))
        for target, plan in plans.items()
        if target == USED or len(sale.items.rows) <= EXPLAINED_ITEMS
    }
    return Solved(plans, Frontier(grid, mixed, dominated(points)), why)


def _by_logit(sale: Sale) -> Solved:
    """Customers choose by a multinomial logit; it knows rules of single prices only."""
    from retail_assets.models.pricing.logit_sale import logit_sale

    if sale.rules.parts():
        raise ValueError(
            f"demand_kind mnl prices items one by one; drop {', '.join(sale.rules.parts())}"
            " from the rules, or use demand_kind auto"
        )
    if sale.goals.margin == "margin_pct":
        raise ValueError("demand_kind mnl weighs margin in cents; set margin to margin_cents")
    logit: LogitSale = logit_sale(sale.candidates, sale.customers)
    plans = {target: logit.solve(target, sale.goals.weights) for target in _targets()}
    why = {
        target: tuple(each.sentence() for each in logit.reasons(plan))
        for target, plan in plans.items()
    }
    return Solved(plans, logit.frontier(_steps(sale.goals)), why)


def _steps(goals: PricingGoals) -> int:
    """Tenths of weight between the plans of the trade-off, or its three ends alone."""
    return 10 if goals.frontier else 1


def of_results(sale: Sale, solved: Solved) -> dict[str, pa.Table]:
    """Rows of the three tables that are replaced with every run."""
    return {
        "optimal_prices": pa.concat_tables(
            _price_rows(sale, plan, solved.reasons.get(target))
            for target, plan in solved.plans.items()
        ),
        "price_certificates": pa.Table.from_pylist(
            [_certificate_row(sale, plan) for plan in solved.plans.values()]
        ),
        "price_frontier": pa.Table.from_pylist(_frontier_rows(sale, solved.frontier)),
    }


def _price_rows(sale: Sale, plan: PricePlan, why: tuple[str, ...] | None) -> pa.Table:
    items, n = sale.items, len(plan.price_cents)
    rows = sale.candidates.row_at(plan.price_cents, plan.certificate.total_cents)
    available = items.column("units_available")
    # Sold units cannot exceed the stock, nor can their limits; where demand is joint (logit)
    # the limits of the curve are scaled with it.
    demand = np.minimum(sale.candidates.demand[rows], available)
    scale = np.divide(plan.expected_units, demand, out=np.ones(n), where=demand > 0)
    low, high = (
        np.minimum(limit[rows] * scale, available) for limit in (sale.demand_lo80, sale.demand_hi80)
    )
    prior = items.column("prior_price_cents").astype(float)
    change = np.divide(100 * (plan.price_cents - prior), prior, out=np.zeros(n), where=prior > 0)
    words = why or (f"part of the prices with the best {plan.target}",) * n
    context = _contexts(sale)
    return pa.table(
        {
            "sale_id": pa.repeat(items.sale_id, n),
            "target": pa.repeat(plan.target, n),
            "product_id": list(items.products),
            "price_cents": plan.price_cents,
            "expected_units": plan.expected_units,
            "units_lo80": np.minimum(low, plan.expected_units),
            "units_hi80": np.maximum(high, plan.expected_units),
            "revenue_cents": plan.revenue_cents,
            "margin_cents": plan.margin_cents,
            "sell_through": plan.sell_through,
            "prior_price_cents": pa.array(prior.astype(np.int64), mask=prior == 0),
            "change_pct": pa.array(change, mask=prior == 0),
            "extrapolated": sale.extrapolated[rows],
            "reason": [
                "; ".join([words[i], *_notes(sale, plan, rows[i], i), *context[i]])
                for i in range(n)
            ],
            "as_of": pa.repeat(pa.scalar(sale.as_of), n),
        }
    )


def _notes(sale: Sale, plan: PricePlan, row: int, i: int) -> list[str]:
    notes = {"sells out": plan.sell_through[i] >= 1}
    notes["never sold at this price"] = bool(sale.extrapolated[row])
    return [note for note, holds in notes.items() if holds]


def _contexts(sale: Sale) -> list[list[str]]:
    """Per item, how many of its prices the rules leave, and which rules take how many."""
    candidates, found = sale.candidates, []
    prices: list[set[int]] = [set() for _ in sale.items.rows]
    legal: list[set[int]] = [set() for _ in sale.items.rows]
    barred: list[dict[str, set[int]]] = [{} for _ in sale.items.rows]
    assert candidates.broken is not None
    rows = (candidates.item, candidates.price_cents, candidates.broken)
    for i, price, mask in zip(*(column.tolist() for column in rows), strict=True):
        prices[i].add(price)
        if not mask:
            legal[i].add(price)
        for bit, rule in enumerate(candidates.rules):
            if mask >> bit & 1:
                barred[i].setdefault(rule, set()).add(price)
    whole = sorted({price_rules.rule_behind(sale.table, part) for part in sale.rules.parts()})
    for i, every in enumerate(prices):
        rules = ", ".join(f"{rule} bars {len(barred[i][rule] - legal[i])}" for rule in barred[i])
        left = f"{len(legal[i])} of {len(every)} candidate prices are legal ({rules})"
        kept = f"the sale keeps {', '.join(whole)}"
        found.append([*([left] if rules else []), *([kept] if whole else [])])
    return found


def _certificate_row(sale: Sale, plan: PricePlan) -> dict[str, Any]:
    proof = plan.certificate
    return {
        "sale_id": sale.items.sale_id,
        "target": plan.target,
        "margin": sale.goals.margin,
        "total_cents": proof.total_cents,
        "objective": proof.objective,
        "upper_bound": proof.upper_bound,
        "gap": proof.gap,
        "totals": proof.totals,
        "totals_ruled_out": proof.totals_ruled_out,
        "method": proof.method,
        "revenue_cents": plan.revenue,
        "margin_cents": plan.margin,
        "margin_pct": plan.margin_pct,
        "sell_through_pct": plan.sell_through_pct,
        "as_of": sale.as_of,
    }


def _frontier_rows(sale: Sale, frontier: Frontier) -> list[dict[str, Any]]:
    rows = []
    for weights, plan, worse in zip(
        frontier.weights.tolist(), frontier.plans, frontier.dominated.tolist(), strict=True
    ):
        rows.append(
            {
                "sale_id": sale.items.sale_id,
                **dict(zip(WEIGHTS, weights, strict=True)),
                "revenue_cents": plan.revenue,
                "margin_cents": plan.margin,
                "margin_pct": plan.margin_pct,
                "sell_through_pct": plan.sell_through_pct,
                "dominated": worse,
                "extreme": EXTREMES[int(np.argmax(weights))] if max(weights) == 1 else None,
                "as_of": sale.as_of,
            }
        )
    return rows
