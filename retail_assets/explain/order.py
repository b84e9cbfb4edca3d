"""Why so many are ordered, or none: demand, stock, lead time, target, and what it rounds to."""

from __future__ import annotations

from statistics import NormalDist
from typing import Any

from retail_assets.errors import RetailAssetsError
from retail_assets.explain.names import Product, find
from retail_assets.warehouse import Session

AROUND = 0.1
"""Orders this much larger and smaller are looked at too."""

_LINES = """
SELECT r.*, on_hand, coalesce(on_order, 0) AS on_order, coalesce(out_with_clients, 0) AS out,
       lead_time_days, coalesce(lead_time_sd, 0) AS lead_time_sd,
       EXISTS (FROM style_trials t WHERE t.warehouse = r.warehouse)
       OR (EXISTS (FROM style_trials WHERE warehouse IS NULL) AND NOT EXISTS (FROM pos_trials))
       AS by_stylist
FROM reorder_plan r LEFT JOIN stock USING (product_id, warehouse)
WHERE product_id = $product
ORDER BY order_qty DESC, warehouse, size
"""

_RATE = """
SELECT n, k, p_mean, p_lo95, p_hi95, prior_mean, shrink_weight, days_known, young, status, group_id
FROM cold_start_posterior WHERE product_id = $product AND source = $source
  AND as_of = (SELECT max(as_of) FROM cold_start_posterior)
"""

# Chances of the last four weeks, a week. Receipts: of the group's product that was longest on
# the shelf each day, for one that is out sees too few.
_CHANCES = {
    "pos_trials": """
SELECT sum(n) / 4 FROM (
    SELECT max(n) AS n FROM pos_trials
    WHERE group_id = $of AND date > $as_of::DATE - 28 GROUP BY date)
""",
    "style_trials": """
SELECT sum(n) / 4 FROM style_trials
WHERE product_id = $of AND date BETWEEN $as_of::DATE - 27 AND $as_of
""",
}
SAYS = {"pos_trials": "of its group's receipts", "style_trials": "of the times it was offered"}

_UNITS = """
SELECT sum(mean * units_per_transaction_mean) / sum(mean) FROM demand_rates
WHERE product_id = $product AND units_per_transaction_mean IS NOT NULL
"""

_EVERYDAY = """
SELECT demand, demand_lo80, demand_hi80, price_cents FROM demand_curves c JOIN products p
USING (product_id, category)
WHERE sale_id = 'everyday' AND product_id = $product AND price_cents = round(100 * msrp)
ORDER BY rel_price_from LIMIT 1
"""

_WEEKS = """
SELECT week, week_start, sent_mean, on_hand_mean, on_hand_lo95, on_hand_hi95, stockout_prob
FROM inventory_forecast WHERE product_id = $product AND warehouse = $warehouse ORDER BY week
"""

_LIMITS = """
SELECT coalesce(max(pack_size), 1) AS pack, max(s.min_qty) AS least, max(s.max_qty) AS most
FROM products p LEFT JOIN shelf s ON s.product_id = p.product_id AND s.store_id IS NULL
WHERE p.product_id = $product OR p.style_id = $product
"""


def explain_order(
    session: Session, text: str, size: str | None = None, warehouse: str | None = None
) -> list[str]:
    """Lines that say why each line of a product's plan orders what it orders.

    Raises
    ------
    RetailAssetsError
        The plan does not hold the product, or not in that size or warehouse.
    """
    ids = session.sql("SELECT DISTINCT product_id FROM reorder_plan ORDER BY ALL").fetchall()
    product = find(session, text, [name for (name,) in ids], "reorder_plan")
    rows = session.sql(_LINES, {"product": product.id}).to_dicts()
    kept = [
        row for row in rows if size in (None, row["size"]) and warehouse in (None, row["warehouse"])
    ]
    if not kept:
        known = "; ".join(f"{row['size']} in {row['warehouse']}" for row in rows)
        raise RetailAssetsError(
            f"reorder_plan has no {product} of that size and warehouse; known: {known}"
        )
    lines: list[str] = []
    for row in kept:
        lines += [*([""] if lines else []), *_line(session, product, row)]
    return lines


def _line(session: Session, product: Product, row: dict[str, Any]) -> list[str]:
    asked = {"product": product.id}
    limits = session.sql(_LIMITS, asked).to_dicts()[0]
    what = str(product) if row["size"] == "one" else f"{product}, {row['size']}"
    if row["retire_flag"]:
        does = "stop sending it"
    elif row["order_qty"]:
        does = f"order {row['order_qty']:,}"
    else:
        does = "order none"
    return [
        f"{what}, warehouse {row['warehouse']}: {does}",
        "",
        "How much is wanted",
        *_demand(session, asked, row),
        "",
        "What is there",
        *_stock(session, asked, row),
        "",
        f"Why {row['order_qty']:,}",
        *_target(row),
        *_limits(limits, row),
        *_around(limits["pack"], row),
        "",
        f"Known as of {row['as_of']}",
    ]


def _demand(session: Session, asked: dict[str, str], row: dict[str, Any]) -> list[str]:
    source = "style_trials" if row["by_stylist"] else "pos_trials"
    lines = []
    for rate in session.sql(_RATE, asked | {"source": source}).to_dicts():
        lines.append(
            f"  chosen in {rate['p_mean']:.1%} {SAYS[source]}, 95 % interval"
            f" [{rate['p_lo95']:.1%}, {rate['p_hi95']:.1%}]: {rate['k']:,.0f} of {rate['n']:,.0f}"
            f" in {rate['days_known']} days; expected before: {rate['prior_mean']:.0%}"
        )
        if rate["status"] != "ok" or rate["n"] == 0:
            lines.append("  nothing is known of it yet but its group: treat this as a guess")
        elif rate["shrink_weight"] < 0.9:
            lines.append(
                f"  {rate['shrink_weight']:.0%} of that is its own trials, the rest its group's"
            )
        of = rate["group_id"] if source == "pos_trials" else asked["product"]
        query = session.sql(_CHANCES[source], {"of": of, "as_of": row["as_of"]})
        (chances,) = query.fetchall()[0]
        (units,) = session.sql(_UNITS, asked).fetchall()[0]
        each = (units or 1.0) if source == "pos_trials" else 1.0
        if chances:
            kind = "receipts" if source == "pos_trials" else "offers"
            apiece = f" x {each:.2f} units" if each != 1.0 else ""
            back = "; some come back" if source == "style_trials" else ""
            lines.append(
                f"  {float(chances):,.0f} {kind} a week x {rate['p_mean']:.1%}{apiece}: about"
                f" {float(chances) * rate['p_mean'] * each:,.0f} a week{back}"
            )
    if not row["by_stylist"]:
        for mean, low, high, cents in session.sql(_EVERYDAY, asked).fetchall():
            lines.append(
                f"  for comparison: the demand model says {mean:,.0f} a week at {cents / 100:.2f},"
                f" 80 % interval [{low:,.0f}, {high:,.0f}]"
            )
    return lines or ["  nothing is known of how often it is chosen"]


def _stock(session: Session, asked: dict[str, str], row: dict[str, Any]) -> list[str]:
    if row["on_hand"] is None:
        return ["  it has left the stock file since"]
    held = f"  {row['on_hand']:,} on hand, {row['on_order']:,} on order"
    held += f", {row['out']:,} out with clients" if row["out"] else ""
    held += ", all sizes" if row["size_share"] < 1 else ""
    lead = row["lead_time_days"]
    when = "how long an order takes is not known" if lead is None else f"an order takes {lead:g}"
    if lead is not None:
        when += f" ± {row['lead_time_sd']:g} days" if row["lead_time_sd"] else " days"
    lines = [f"{held}; {when}"]
    weeks = session.sql(_WEEKS, asked | {"warehouse": row["warehouse"]}).to_dicts()
    if weeks:
        week = weeks[0]
        lines.append(
            f"  with nothing more ordered, {week['sent_mean']:,.0f} leave in the first week (from"
            f" {week['week_start']}) and {week['on_hand_mean']:,.0f} are left, 95 % interval"
            f" [{week['on_hand_lo95']:,.0f}, {week['on_hand_hi95']:,.0f}]"
        )
        soon = next((w for w in weeks if w["stockout_prob"] >= 0.5), None)
        short = f"  probability of running short: {week['stockout_prob']:.0%} in that week"
        if soon is None:
            short += f", below 50 % in all {len(weeks)} weeks ahead"
        elif soon is not week:
            short += f", above 50 % from {soon['week_start']} on"
        lines.append(short)
    return lines


def _target(row: dict[str, Any]) -> list[str]:
    if row["retire_flag"]:
        return [f"  {row['reason']}", "  (break-even and how sure one must be: cold_start.toml)"]
    ratio, share = row["critical_ratio"], row["size_share"]
    odds = f"{ratio / (1 - ratio):,.0f} times" if ratio < 1 else "far more than"
    mean = row["reorder_point"] - row["safety_stock"]
    season = row["policy"] == "newsvendor"
    span = "the season" if season else "the next order's arrival and one review more"
    lines = [
        f"  a missed unit costs {odds} what one too many does, so demand is to be met with"
        f" probability {ratio:.1%}",
        f"  until {span} {mean:,.0f} are expected to be wanted; with {row['safety_stock']:,.0f}"
        f" for bad luck that is a reorder point of {row['reorder_point']:,.0f}",
    ]
    if row["order_up_to"] > row["reorder_point"] + 0.5:
        lines.append(f"  an order fills up to {row['order_up_to']:,.0f}")
    if share < 1:
        lines.append(f"  this size gets {share:.0%} of its style")
    return [*lines, *(f"  {part}" for part in row["reason"].split("; "))]


def _limits(limits: dict[str, Any], row: dict[str, Any]) -> list[str]:
    if not row["order_qty"]:
        return []
    found = [f"packs of {limits['pack']}"] if limits["pack"] > 1 else []
    found += [f"at least {limits['least']:,}"] if limits["least"] else []
    found += [f"at most {limits['most']:,}"] if limits["most"] is not None else []
    return [f"  an order comes in {', '.join(found)}"] if found else []


def _around(pack: int, row: dict[str, Any]) -> list[str]:
    """What a tenth more or less, in whole packs, would do to the probability of running short.

    The safety stock is the ratio's quantile of what is wanted, less its mean: taken for a
    normal's, it gives the spread.
    """
    units, ratio, safety = row["order_qty"], row["critical_ratio"], row["safety_stock"]
    if not units or not 0.5 < ratio < 1 or safety <= 0:
        return []
    need = NormalDist(row["order_up_to"] - safety, safety / NormalDist().inv_cdf(ratio))
    step = max(round(AROUND * units / pack), 1) * pack
    orders = [units - step, units, units + step]
    risks = [1 - need.cdf(row["order_up_to"] + order - units) for order in orders]
    told = ", ".join(f"{o:,}: {risk:.2%}" for o, risk in zip(orders, risks, strict=True) if o > 0)
    return [f"  once it is there, the probability of running short is about, with {told}"]
