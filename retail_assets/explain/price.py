"""Why a sale charges a price: the candidates, the rules, the goal, the proof."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from retail_assets.errors import ModelError, RetailAssetsError
from retail_assets.explain.names import Product, find
from retail_assets.warehouse import Session

USED = "weighted"
PROVEN = 1e-6
"""Gap of a score at which rounding is all that is left."""
CLOSE = 0.01
"""Of a score from 0 to 1: less than a hundredth of what the sale's prices can move."""
GOALS = {
    "revenue": "revenue alone",
    "margin_cents": "margin alone",
    "margin_pct": "margin in percent",
    "sell_through": "units sold alone",
    "weighted": "as they are weighed",
}

_SALES = "SELECT DISTINCT sale_id FROM optimal_prices ORDER BY ALL"

_CHOSEN = """
SELECT o.*, units_available, starts_at, coalesce(ends_at, starts_at) AS ends_at, exposures,
       category, 100 * unit_cost::DOUBLE AS cost_cents
FROM optimal_prices o LEFT JOIN sale_events USING (sale_id, product_id)
LEFT JOIN products USING (product_id)
WHERE sale_id = $sale AND product_id = $product AND target = 'weighted'
"""

# Each candidate of the item with all others at their chosen price: the sale's total moves with
# it, and each row of price_candidates holds for some totals.
_OPTIONS = """
WITH plan AS (
    SELECT product_id, price_cents FROM optimal_prices WHERE sale_id = $sale AND target = 'weighted'
), chosen AS (SELECT price_cents AS cents FROM plan WHERE product_id = $product),
options AS (
    SELECT DISTINCT price_cents AS own,
           price_cents - (FROM chosen) + (SELECT sum(price_cents) FROM plan) AS total
    FROM price_candidates WHERE sale_id = $sale AND product_id = $product
)
SELECT own, sum(revenue_cents), sum(margin_cents), sum(capped_units),
       any_value(capped_units) FILTER (c.product_id = $product),
       any_value(demand_lo80) FILTER (c.product_id = $product),
       any_value(demand_hi80) FILTER (c.product_id = $product),
       any_value(broken_rules) FILTER (c.product_id = $product),
       coalesce(bool_and(legal) FILTER (c.product_id <> $product), true),
       any_value(c.extrapolated) FILTER (c.product_id = $product),
       count(*) = (SELECT count(*) FROM plan)
FROM options JOIN price_candidates c ON sale_id = $sale
 AND total BETWEEN total_from_cents AND total_to_cents
JOIN plan p ON p.product_id = c.product_id
 AND c.price_cents = CASE WHEN c.product_id = $product THEN own ELSE p.price_cents END
GROUP BY own ORDER BY own DESC
"""

_PROOF = """
SELECT objective, gap, totals, totals_ruled_out, method FROM price_certificates
WHERE sale_id = $sale AND target = 'weighted'
"""

_GOALS = """
SELECT target, o.price_cents, c.revenue_cents, c.margin_cents, sell_through_pct
FROM optimal_prices o JOIN price_certificates c USING (sale_id, target)
WHERE sale_id = $sale AND product_id = $product ORDER BY target = 'weighted', target
"""

_MODEL = "SELECT elasticity, identified, rows, reason FROM demand_model WHERE category = $category"

_FLAGS = """
SELECT DISTINCT flag FROM demand_curves WHERE sale_id = $sale AND product_id = $product
"""


@dataclass(frozen=True)
class Option:
    """One candidate price, all other items at theirs: what the whole sale would bring."""

    cents: int
    revenue_cents: int
    margin_cents: int
    sale_units: float
    units: float
    units_lo80: float
    units_hi80: float
    broken: list[str]
    others_legal: bool
    extrapolated: bool
    known: bool
    """Every item has a demand at the total this price leads to."""


@dataclass(frozen=True)
class Goal:
    """How the sale's goal weighs revenue, margin and units: score of one cent or unit."""

    weights: tuple[float, float, float]
    per_cent_and_unit: tuple[float, float, float]

    def gain(self, option: Option, chosen: Option) -> float:
        """Score of the sale at another price less that at the chosen one."""
        revenue, margin, units = self.per_cent_and_unit
        return (
            revenue * (option.revenue_cents - chosen.revenue_cents)
            + margin * (option.margin_cents - chosen.margin_cents)
            + units * (option.sale_units - chosen.sale_units)
        )


def explain_price(session: Session, sale: str, text: str) -> list[str]:
    """Lines that say why an item of a sale has its price.

    Raises
    ------
    RetailAssetsError
        The sale has no prices, or the product is not one item of it.
    """
    sales = [name for (name,) in session.sql(_SALES).fetchall()]
    if sale not in sales:
        known = ", ".join(sales) or "none"
        raise RetailAssetsError(f"no prices of a sale {sale!r}; known: {known}")
    asked = {"sale": sale}
    items = session.sql("SELECT product_id FROM optimal_prices WHERE sale_id = $sale", asked)
    product = find(session, text, [item for (item,) in items.fetchall()], f"sale {sale}")
    asked["product"] = product.id
    row = session.sql(_CHOSEN, asked).to_dicts()[0]
    options = [Option(*values) for values in session.sql(_OPTIONS, asked).fetchall()]
    chosen = next((o for o in options if o.cents == row["price_cents"] and o.known), None)
    goal = _goal(session, sale)
    settings = session.warehouse.settings
    return [
        *_head(product, sale, row, settings.currency),
        *_expected(session, asked, row, settings.currency),
        *(_candidates(session, options, chosen, goal, row) if chosen else []),
        *_why(session, row, options, chosen, goal),
        *_goals(session, asked),
        *_care(session, asked, row),
    ]


def _goal(session: Session, sale: str) -> Goal | None:
    """The goal as it was solved: each part scaled between its worst and best over the sale.

    None where it cannot be split over prices: customers who choose by a logit, margin in
    percent, or candidates that are older than the sale.
    """
    from retail_assets.assets import price_tables
    from retail_assets.models.pricing.sale_rules import prepare
    from retail_assets.models.pricing.weighted import scale_of

    try:
        found = price_tables.read(session, sale)
    except ModelError:
        return None
    goals = found.goals
    if goals.demand_kind == "mnl" or goals.margin == "margin_pct":
        return None
    prepared = replace(prepare(found.candidates, found.rules), linear=())
    share = np.asarray(goals.weights, float) / sum(goals.weights)
    revenue, margin, milli_units = (share / scale_of(prepared, goals.margin).spread).tolist()
    return Goal(goals.weights, (revenue, margin, 1000 * milli_units))


def _head(product: Product, sale: str, row: dict[str, Any], currency: str) -> list[str]:
    now, best = row["prior_price_cents"], row["price_cents"]
    days = "" if row["starts_at"] is None else f", {row['starts_at']:%Y-%m-%d}"
    if days and row["ends_at"].date() > row["starts_at"].date():
        days += f" to {row['ends_at']:%Y-%m-%d}"
    if now is None:
        change = f"charge {best / 100:.2f} {currency}; what it costs now is not known"
    elif now == best:
        change = f"leave the price at {best / 100:.2f} {currency}"
    else:
        verb = "lower" if best < now else "raise"
        change = f"{verb} the price from {now / 100:.2f} to {best / 100:.2f} {currency}"
        change += f" ({row['change_pct']:+.0f} %)"
    return [f"{product}, {sale}{days}", change]


def _expected(
    session: Session, asked: dict[str, str], row: dict[str, Any], currency: str
) -> list[str]:
    low, mean, high = row["units_lo80"], row["expected_units"], row["units_hi80"]
    price, cost = row["price_cents"], row["cost_cents"]
    units = f"  units    {mean:,.0f}   [{low:,.0f}, {high:,.0f}]"
    if row["units_available"]:
        units += f" of {row['units_available']:,} ({row['sell_through']:.0%})"
    lines = ["", f"Expected at {price / 100:.2f}, 80 % interval", units]
    lines.append(
        f"  revenue  {row['revenue_cents'] / 100:,.0f}   [{low * price / 100:,.0f},"
        f" {high * price / 100:,.0f}] {currency}"
    )
    if cost is not None:
        each = price - cost
        limits = sorted((low * each / 100, high * each / 100))
        lines.append(
            f"  margin   {row['margin_cents'] / 100:,.0f}   [{limits[0]:,.0f}, {limits[1]:,.0f}]"
            f" {currency}: {each / 100:.2f} a unit, which costs {cost / 100:.2f}"
        )
    for elasticity, identified, rows, _ in session.sql(
        _MODEL, {"category": row["category"]}
    ).fetchall():
        learnt = f"  learnt from {rows:,} rows of past sales of {row['category']}: "
        if identified and elasticity is not None:
            learnt += f"demand moves by {elasticity:+.1f} % for each percent of price"
        else:
            learnt += "prices hardly moved by themselves, so what they do is a guess"
        lines.append(learnt)
    return lines


def _candidates(
    session: Session,
    options: list[Option],
    chosen: Option,
    goal: Goal | None,
    row: dict[str, Any],
) -> list[str]:
    """A line per price: the item's units, what the whole sale gains or loses, the verdict."""
    score, currency = "    score" if goal else "", session.warehouse.settings.currency
    lines = [
        "",
        "Every candidate price, and what the whole sale gains or loses if only this price moves",
        f"  (at the chosen prices: revenue {chosen.revenue_cents / 100:,.0f} {currency}, margin"
        f" {chosen.margin_cents / 100:,.0f}, {chosen.sale_units:,.0f} units)",
        f"     price   units      80 %           revenue   margin    units{score}",
    ]
    words = _rule_words(session)
    met: dict[str, str] = {}
    for o in options:
        mark = ">" if o is chosen else " "
        units = f"[{min(o.units_lo80, o.units):,.0f}, {max(o.units_hi80, o.units):,.0f}]"
        line = f"  {mark} {o.cents / 100:6.2f}  {o.units:6,.0f}  {units:<16}"
        if not o.known:
            lines.append(f"{line}  demand at that total of prices is not known")
            continue
        line += (
            f" {(o.revenue_cents - chosen.revenue_cents) / 100:+8,.0f}"
            f" {(o.margin_cents - chosen.margin_cents) / 100:+8,.0f}"
            f" {o.sale_units - chosen.sale_units:+8,.0f}"
        )
        line += f"  {goal.gain(o, chosen):+8.4f}" if goal else ""
        notes = ["chosen"] if o is chosen else []
        notes += ["today's price"] if o.cents == row["prior_price_cents"] else []
        notes += [f"not allowed: {', '.join(o.broken)}"] if o.broken else []
        notes += [] if o.others_legal else ["other items would break their rules"]
        notes += ["never sold at this price"] if o.extrapolated else []
        met |= {rule: words.get(rule, "") for rule in o.broken}
        lines.append((f"{line}   " + "; ".join(notes)).rstrip())
    lines += [f"  {rule}: {meaning}" for rule, meaning in met.items() if meaning]
    return lines


def _rule_words(session: Session) -> dict[str, str]:
    """Rules of rules/pricing_rules as they stand now, and the two that are ours."""
    from retail_assets.assets import price_rules
    from retail_assets.assets.price_candidates import goals_of

    goals = goals_of(session)
    words = {
        "extrapolated": f"more than {goals.max_extrapolation_pct:g} % outside what was ever charged"
        " (pricing.toml)",
        "unidentified": "what prices do is not known, so only the one nearest to today's is kept",
    }
    for rule in price_rules.read_table(session.warehouse.settings, goals).rules:
        says = f"{rule.variable.removesuffix('_pct').replace('_', ' ')} {rule.op} {rule.text}"
        percent = " %" if rule.variable.endswith("_pct") else ""
        words[rule.rule_id] = f"{says}{percent} (pricing_rules, line {rule.line})"
    return words


def _why(
    session: Session,
    row: dict[str, Any],
    options: list[Option],
    chosen: Option | None,
    goal: Goal | None,
) -> list[str]:
    lines = ["", f"Why {row['price_cents'] / 100:.2f}"]
    if goal and chosen:
        lines += _won(goal, options, chosen)
    else:
        lines += [f"  {part}" for part in row["reason"].split("; ")]
    for objective, gap, totals, out, method in session.sql(
        _PROOF, {"sale": row["sale_id"]}
    ).fetchall():
        if gap <= PROVEN:
            proof = "proven: no allowed prices of this sale score higher"
        else:
            proof = f"not proven best: some prices may score up to {gap:.1e} higher"
        of = f"{out:,} of {totals:,} totals ruled out; {method}"
        lines.append(f"  {proof} than {objective:.3f} of 1 ({of})")
    return lines


def _goals(session: Session, asked: dict[str, str]) -> list[str]:
    """The price, and what the whole sale brings, had it one goal only."""
    rows = session.sql(_GOALS, asked).fetchall()
    lines = [
        "",
        "Prices of the sale chosen for another goal",
        "                       this price    the sale's revenue    margin    sold",
    ]
    for target, cents, revenue, margin, sold in rows:
        lines.append(
            f"  {GOALS[target]:<20} {cents / 100:10.2f}    {revenue / 100:18,.0f}"
            f"  {margin / 100:8,.0f}  {sold:5.0f}%"
        )
    return lines if len(rows) > 1 else []


def _won(goal: Goal, options: list[Option], chosen: Option) -> list[str]:
    """The goal in words, and what the best of the other legal prices would lack."""
    weights = "revenue {:g}, margin {:g}, units sold {:g}".format(*goal.weights)
    lines = [
        f"  the goal weighs {weights} (pricing.toml), each scaled from its worst to its best over"
        " the sale"
    ]
    others = [o for o in options if o.known and not o.broken and o.others_legal and o is not chosen]
    if not others:
        return [*lines, "  no other candidate is allowed"]
    best = max(others, key=lambda o: goal.gain(o, chosen))
    gain = goal.gain(best, chosen)
    if gain > PROVEN:
        told = f"would score {gain:.4f} more, but a rule of the whole sale bars it"
    else:
        told = f"scores {-gain:.4f} less{', a close call' if -gain < CLOSE else ''}"
    return [*lines, f"  the next best allowed price, {best.cents / 100:.2f}, {told}"]


def _care(session: Session, asked: dict[str, str], row: dict[str, Any]) -> list[str]:
    """What should make a reader doubt."""
    flags = {flag for (flag,) in session.sql(_FLAGS, asked).fetchall()}
    notes = []
    if row["extrapolated"]:
        notes.append("the product was never sold at this price: its demand there is a guess")
    if "prior_only" in flags:
        notes.append("the product has no sales of its own yet: its demand is its group's")
    if "unidentified" in flags:
        notes.append("prices of its category never moved by themselves: what they do is a guess")
    if row["sell_through"] >= 1:
        notes.append("it sells out: more units would sell at this price, or it could cost more")
    kept = [part for part in row["reason"].split("; ") if part.startswith("the sale keeps ")]
    notes += [f"rules of the whole sale: {part.removeprefix('the sale keeps ')}" for part in kept]
    head = f"Known as of {row['as_of']}"
    return ["", head, *(f"  {note}" for note in notes)]
