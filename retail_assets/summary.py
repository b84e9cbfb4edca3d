"""The short answer a run ends with, read from the tables. Prints; computes nothing new."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console

from retail_assets.settings import Settings
from retail_assets.warehouse import Session, Warehouse

_RECEIPTS = """
SELECT (SELECT count(*) FROM pos_lines), (SELECT count(*) FROM pos_quarantine),
       (SELECT count(DISTINCT product_id) FROM pos_lines),
       (SELECT count(DISTINCT store_id) FROM pos_lines),
       (SELECT min(business_date) FROM pos_lines), (SELECT max(business_date) FROM pos_lines)
"""

# Of products that a model could be fitted to, by what their customers would buy: among the many
# that sell once a month nobody can tell, and they would fill the list.
_MISSED = """
SELECT product_id, arrival_rate, share_out, low_power FROM inventory_status_params
WHERE method = 'hmm'
"""

_STOCKOUTS = f"""
SELECT s.product_id, coalesce(any_value(p.name), s.product_id) AS name,
       sum(arrival_rate * share_out) / sum(arrival_rate) AS share,
       count(*) FILTER (low_power) AS weak, count(*) AS stores
FROM ({_MISSED}) s LEFT JOIN products p USING (product_id)
GROUP BY 1 HAVING share >= 0.0005 ORDER BY sum(arrival_rate * share_out) DESC LIMIT 5
"""

_OVERALL = f"""
SELECT sum(arrival_rate * share_out) / sum(arrival_rate) FROM ({_MISSED}) HAVING count(*) > 0
"""

_SUBSTITUTIONS = """
SELECT coalesce(f.name, from_product), coalesce(t.name, to_product), mean, q025, q975
FROM substitution_rates r JOIN substitution_diagnostics d USING (category, choice_model)
LEFT JOIN products f ON f.product_id = from_product
LEFT JOIN products t ON t.product_id = to_product
WHERE d.chosen AND to_product <> 'none' AND flag IN ('ok', 'weak')
ORDER BY q025 DESC LIMIT 5
"""

_SCENARIOS = """
SELECT category, coalesce('drop ' || p.name, scenario), goal, diff_mean, diff_ci_low,
       diff_ci_high, verdict
FROM assortment_scenarios s JOIN substitution_diagnostics d USING (category, choice_model)
LEFT JOIN products p ON scenario = 'drop ' || p.product_id
WHERE d.chosen AND verdict <> 'base' AND (diff_ci_low <> 0 OR diff_ci_high <> 0)
ORDER BY diff_mean DESC LIMIT 8
"""

# Each recommended plan, with what the independent newsvendor would lose.
_PLANS = """
SELECT plan_id, products, spend_cents / 100, holdout_profit / 100, holdout_ci_low / 100,
       holdout_ci_high / 100, gap_pct, -100 * n.diff_mean / nullif(r.holdout_profit, 0)
FROM assortment_plan_summary r
LEFT JOIN (SELECT category, plan_id, choice_model, diff_mean FROM assortment_plan_summary
           WHERE method = 'newsvendor') n USING (category, plan_id, choice_model)
WHERE recommended ORDER BY r.holdout_profit DESC LIMIT 6
"""

_SHELVES = """
SELECT category, store_id, goal, any_value(diff_mean) / 100 AS gain,
       any_value(diff_ci_low) / 100, any_value(diff_ci_high) / 100, any_value(verdict),
       bool_and(product_id NOT IN (SELECT product_id FROM shelf)) AS inferred,
       arg_max(coalesce(name, product_id), capacity_plan - capacity_now),
       arg_min(coalesce(name, product_id), capacity_plan - capacity_now)
FROM capacity_plan c JOIN substitution_diagnostics d USING (category, choice_model)
LEFT JOIN products p USING (product_id)
WHERE d.chosen GROUP BY c.category, store_id, goal HAVING gain <> 0 ORDER BY gain DESC LIMIT 4
"""

# The youngest style of each way of counting, with what was expected of it before its first trial.
_NEWEST = """
SELECT coalesce(p.name, s.product_id), source, n, p_mean, p_lo95, p_hi95, prior_mean, days_known
FROM cold_start_posterior s LEFT JOIN products p USING (product_id)
WHERE as_of = (SELECT max(as_of) FROM cold_start_posterior) AND young AND n > 0
ORDER BY source, days_known, n DESC LIMIT 4
"""

_ORDERS = """
SELECT coalesce(p.name, r.product_id), r.size, warehouse, order_qty, f.stockout_prob
FROM reorder_plan r LEFT JOIN products p USING (product_id)
LEFT JOIN inventory_forecast f USING (product_id, warehouse)
WHERE order_qty > 0 AND f.week = 1 ORDER BY order_qty DESC LIMIT 5
"""

# Sales to come only: what a sale of the past was advised stands in `decisions`.
_COMING = """
SELECT sale_id, product_id, units_available, starts_at FROM sale_events
WHERE coalesce(ends_at, starts_at) >
      coalesce((SELECT max(business_date) FROM interval_sales), DATE '0001-01-01')
"""

_PRICES = f"""
SELECT sale_id, coalesce(p.name, o.product_id), prior_price_cents / 100, price_cents / 100,
       expected_units, units_lo80, units_hi80, units_available
FROM optimal_prices o JOIN ({_COMING}) USING (sale_id, product_id)
LEFT JOIN products p USING (product_id)
WHERE target = 'weighted' ORDER BY starts_at, sale_id, expected_units DESC LIMIT 8
"""

_PROOFS = f"""
SELECT sale_id, revenue_cents / 100, margin_cents / 100, sell_through_pct, gap
FROM price_certificates WHERE target = 'weighted'
  AND sale_id IN (SELECT sale_id FROM ({_COMING})) ORDER BY sale_id LIMIT 4
"""

PROVEN = 1e-6
"""Gap of a score at which rounding is all that is left."""
SAYS = {"pos_trials": "of its category's receipts", "style_trials": "of the boxes"}


def show(settings: Settings, console: Console, failed: Sequence[str] = ()) -> None:
    """Print what the tables say, as far as they exist; ``failed`` are parts not made anew."""
    with Warehouse(settings).session() as session:
        console.print()
        _receipts(session, console)
        _stockouts(session, settings, console)
        _substitutions(session, console)
        _scenarios(session, settings, console)
        _plans(session, settings, console)
        _shelves(session, settings, console)
        _newest(session, console)
        _orders(session, console)
        _prices(session, settings, console)
        for what in failed:
            told = f"  {what}: failed, see above; what stands here is an earlier answer"
            console.print(told, soft_wrap=True)
    console.print("\nLook further")
    if settings.report.exists():
        console.print(f"  your report   {settings.report}", soft_wrap=True)
    if settings.database.exists():
        console.print(f"  every table   duckdb {settings.database}", soft_wrap=True)
    else:
        console.print(
            f"  every table   retail-assets publish --home {settings.home}", soft_wrap=True
        )
    console.print(f"  the graph     retail-assets ui --home {settings.home}", soft_wrap=True)
    console.print(f"  your rules    {settings.rules}", soft_wrap=True)


def _receipts(session: Session, console: Console) -> None:
    lines, rejected, products, stores, first, last = session.sql(_RECEIPTS).fetchall()[0]
    if not lines and not rejected:
        console.print("Receipts         none")
        return
    console.print(
        f"Receipts         {lines:,} lines of {products:,} product{'s' * (products != 1)} in "
        f"{stores} store{'s' * (stores != 1)}, "
        f"{first} to {last}; {rejected:,} rejected (pos_quarantine says why)",
        soft_wrap=True,
    )


def _stockouts(session: Session, settings: Settings, console: Console) -> None:
    overall = session.sql(_OVERALL).fetchall()
    if not overall:
        return
    if settings.receipts == "sample":
        console.print(
            "Out of stock     not inferred: settings.toml says receipts of some customers"
        )
        return
    console.print(f"Out of stock     {overall[0][0]:.1%} of what is wanted, most of it:")
    for _, name, share, low_power, stores in session.sql(_STOCKOUTS).fetchall():
        where = "" if low_power == stores else f" in {low_power} of {stores} stores"
        weak = f"  (low power{where}: not certain)" if low_power else ""
        console.print(f"  {name:<34} {share:6.1%} of its time{weak}", soft_wrap=True)


def _substitutions(session: Session, console: Console) -> None:
    rows = session.sql(_SUBSTITUTIONS).fetchall()
    if rows:
        console.print("Substitution     of the customers who miss the first, take the second:")
    for wanted, taken, mean, low, high in rows:
        console.print(f"  {wanted:<24} -> {taken:<24} {mean:5.0%}   [{low:.0%}, {high:.0%}]")


def _scenarios(session: Session, settings: Settings, console: Console) -> None:
    rows = session.sql(_SCENARIOS).fetchall()
    if not rows:
        return
    console.print(f"What if          difference to today, {settings.currency}, 95 % interval:")
    for _, scenario, goal, mean, low, high, verdict in rows:
        money = f"{mean / 100:+10,.0f}   [{low / 100:+,.0f}, {high / 100:+,.0f}]"
        console.print(f"  {scenario:<44} {money} {goal}, {verdict}", soft_wrap=True)


def _plans(session: Session, settings: Settings, console: Console) -> None:
    rows = session.sql(_PLANS).fetchall()
    if rows:
        console.print(f"What to buy      expected profit of one buy, {settings.currency}, 95 %:")
    for plan, products, spend, mean, low, high, gap, newsvendor in rows:
        bound = f"at most {gap:.1f}% below the best" if gap is not None else "no bound"
        gain = ""
        if newsvendor is not None:
            lost = f"{newsvendor:.1f}% below it" if newsvendor >= 0.05 else "as good"
            gain = f"; newsvendor {lost}"
        console.print(
            f"  {plan:<38} {products} products for {spend:,.0f}: {mean:,.0f}   "
            f"[{low:,.0f}, {high:,.0f}], {bound}{gain}",
            soft_wrap=True,
        )


def _shelves(session: Session, settings: Settings, console: Console) -> None:
    rows = session.sql(_SHELVES).fetchall()
    if rows:
        console.print(f"Shelf room       gain of dividing it anew, {settings.currency} a quarter:")
    for category, store, goal, mean, low, high, verdict, inferred, more, less in rows:
        room = " (no shelf landed: room as sales suggest)" if inferred else ""
        console.print(
            f"  {category + ', ' + store:<24} {mean:+10,.0f}   [{low:+,.0f}, {high:+,.0f}] {goal}, "
            f"{verdict}; most to {more}, from {less}{room}",
            soft_wrap=True,
        )


def _newest(session: Session, console: Console) -> None:
    rows = session.sql(_NEWEST).fetchall()
    if rows:
        console.print("New styles       how often they are chosen, 95 % interval:")
    for name, source, n, mean, low, high, prior, days in rows:
        console.print(
            f"  {name:<24} {mean:5.1%}   [{low:.1%}, {high:.1%}] {SAYS[source]} after {days} days "
            f"and {n:,.0f} of them; expected before: {prior:.0%}",
            soft_wrap=True,
        )


def _orders(session: Session, console: Console) -> None:
    rows = session.sql(_ORDERS).fetchall()
    if rows:
        console.print("Order now        units, warehouse, P(short) in the coming week:")
    for name, size, warehouse, units, short in rows:
        what = f"{name}, {size}"
        console.print(f"  {what:<34} {units:6,}   {warehouse:<10} {short:.0%}", soft_wrap=True)


def _prices(session: Session, settings: Settings, console: Console) -> None:
    rows = session.sql(_PRICES).fetchall()
    if rows:
        console.print(
            f"Sale prices      {settings.currency} now -> best, units with 80 % interval:"
        )
    for sale, name, now, best, units, low, high, available in rows:
        before = f"{now:7.2f}" if now is not None else "      ?"
        console.print(
            f"  {sale}  {name:<24} {before} -> {best:.2f}   {units:5,.0f} [{low:,.0f}, {high:,.0f}]"
            f" of {available:,}",
            soft_wrap=True,
        )
    for sale, revenue, margin, sold, gap in session.sql(_PROOFS).fetchall():
        proof = "proven best" if gap <= PROVEN else f"within {gap:.1e} of the best possible score"
        console.print(
            f"  {sale}  revenue {revenue:,.0f}, margin {margin:,.0f}, {sold:.0f}% sold; {proof}",
            soft_wrap=True,
        )
