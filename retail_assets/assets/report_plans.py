"""What the report tells of plans: what if, what to carry, new styles, orders and prices."""

from __future__ import annotations

from collections.abc import Mapping

# Where a scenario does nothing but take one product off the shelf, `dropped` names it; those made
# for shops without scenarios of their own carry its id in their names.
_SCENARIOS = """
WITH drops AS (
    SELECT category, choice_model, s.scenario, any_value(product_id) AS dropped
    FROM assortment_simulation_product s
    JOIN (FROM assortment_simulation_product WHERE scenario = 'base') b
        USING (category, choice_model, product_id)
    WHERE s.capacity <> b.capacity GROUP BY ALL HAVING count(*) = 1 AND min(s.capacity) = 0
)
SELECT s.category, scenario, dropped, goal, diff_mean AS diff, diff_ci_low AS lo,
       diff_ci_high AS hi, p_improves, verdict,
       CASE WHEN scenario = 'drop ' || dropped THEN 'drop ' || coalesce(name, dropped)
            ELSE scenario END AS label
FROM assortment_scenarios s
JOIN substitution_diagnostics d USING (category, choice_model)
LEFT JOIN drops USING (category, choice_model, scenario) LEFT JOIN products ON product_id = dropped
WHERE chosen AND verdict <> 'base' ORDER BY s.category, diff DESC
"""

# A plan of one store is named after it.
_PLAN = (
    "CASE WHEN ends_with(plan_id, ', ' || store_id)"
    " THEN left(plan_id, -length(store_id)) || coalesce(s.name, store_id) ELSE plan_id END"
)

# Each plan to take, with what buying each product for its own customers alone would lose.
_BUYS = f"""
SELECT r.category, plan_id, {_PLAN} AS plan, products, units, spend_cents AS spend,
       holdout_profit AS profit, holdout_ci_low AS lo, holdout_ci_high AS hi, gap_pct,
       -100 * n.diff_mean / nullif(r.holdout_profit, 0) AS newsvendor_loses_pct
FROM assortment_plan_summary r
LEFT JOIN (SELECT category, plan_id, choice_model, diff_mean FROM assortment_plan_summary
           WHERE method = 'newsvendor') n USING (category, plan_id, choice_model)
LEFT JOIN stores s USING (store_id)
WHERE recommended ORDER BY profit DESC
"""

_BUY_ITEMS = f"""
SELECT p.category, {_PLAN} AS plan, coalesce(products.name, product_id) AS name, selected,
       order_qty AS units, p.spend_cents AS spend, fill_rate, reason
FROM assortment_plan p
JOIN (SELECT category, plan_id, choice_model, method FROM assortment_plan_summary
      WHERE recommended) USING (category, plan_id, choice_model, method)
LEFT JOIN products USING (product_id) LEFT JOIN stores s USING (store_id)
ORDER BY plan, units DESC, name
"""

_SHELVES = """
SELECT c.category, c.store_id, coalesce(any_value(s.name), c.store_id) AS store, goal,
       any_value(diff_mean) AS diff, any_value(diff_ci_low) AS lo, any_value(diff_ci_high) AS hi,
       any_value(verdict) AS verdict,
       arg_max(coalesce(p.name, product_id), capacity_plan - capacity_now) AS more,
       arg_min(coalesce(p.name, product_id), capacity_plan - capacity_now) AS less
FROM capacity_plan c JOIN substitution_diagnostics d USING (category, choice_model)
LEFT JOIN products p USING (product_id) LEFT JOIN stores s ON s.store_id = c.store_id
WHERE chosen GROUP BY c.category, c.store_id, goal ORDER BY diff DESC
"""

_ROOM = """
SELECT c.category, c.store_id, coalesce(s.name, c.store_id) AS store,
       coalesce(p.name, product_id) AS name, capacity_now AS now, capacity_plan AS planned,
       marginal_value AS worth, marginal_value_se AS worth_se, verdict
FROM capacity_plan c JOIN substitution_diagnostics d USING (category, choice_model)
LEFT JOIN products p USING (product_id) LEFT JOIN stores s ON s.store_id = c.store_id
WHERE chosen AND verdict = 'better' AND capacity_now <> capacity_plan
ORDER BY abs(planned - now) DESC, store, name LIMIT 25
"""

# The young, those nobody has tried yet, and those that should stop.
_STYLES = """
SELECT s.product_id, coalesce(p.name, s.product_id) AS name, s.group_id, s.source, n, k, p_mean,
       p_lo95, p_hi95, prior_mean, prob_below_breakeven AS below, days_known, s.status, young,
       greatest(0, mu - 1.96 * sqrt(mu * (1 - mu) / (alpha + beta + 1))) AS group_lo,
       least(1, mu + 1.96 * sqrt(mu * (1 - mu) / (alpha + beta + 1))) AS group_hi
FROM cold_start_posterior s LEFT JOIN products p USING (product_id)
LEFT JOIN (FROM cold_start_priors WHERE node = 0) g
    ON (g.group_id, g.source, g.as_of) = (s.group_id, s.source, s.as_of)
WHERE s.as_of = (SELECT max(as_of) FROM cold_start_posterior)
  AND (young OR s.status <> 'ok' OR prob_below_breakeven > .9)
ORDER BY young DESC, s.source, days_known, n DESC LIMIT 25
"""

_TRACK = """
SELECT source, count(*) AS weeks, avg(z ** 2) AS z2, avg((abs(z) <= 1.96)::INT) AS inside,
       count(DISTINCT product_id) AS styles, max(as_of) AS as_of
FROM cold_start_track_record
WHERE as_of > (SELECT max(as_of) FROM cold_start_track_record) - 56
GROUP BY ALL ORDER BY ALL
"""

_ORDERS = """
SELECT r.product_id, coalesce(p.name, r.product_id) AS name, r.size, warehouse, order_qty AS units,
       round(100 * order_qty * unit_cost) AS cost, f.stockout_prob AS short, fill_rate,
       f.on_hand_mean AS on_hand, f.on_hand_lo95 AS on_hand_lo, f.on_hand_hi95 AS on_hand_hi,
       retire_flag AS retire, retire_prob, reason
FROM reorder_plan r
LEFT JOIN (SELECT product_id, any_value(name) AS name, any_value(unit_cost) AS unit_cost
           FROM products GROUP BY ALL) p USING (product_id)
LEFT JOIN (FROM inventory_forecast WHERE week = 1) f USING (product_id, warehouse)
ORDER BY order_qty DESC, name, warehouse
"""

# Sales to come only: what a sale of the past was advised stands in `decisions`.
_COMING = """
SELECT sale_id, product_id, units_available, starts_at, ends_at FROM sale_events
WHERE price IS NULL AND coalesce(ends_at, starts_at) >
      coalesce((SELECT max(business_date) FROM interval_sales), DATE '0001-01-01')
"""

_PRICES = f"""
SELECT sale_id, starts_at, product_id, coalesce(p.name, product_id) AS name,
       prior_price_cents AS before, price_cents AS price, change_pct, expected_units AS units,
       units_lo80 AS lo, units_hi80 AS hi, units_available AS available, sell_through,
       revenue_cents AS revenue, o.margin_cents AS margin, extrapolated, reason
FROM optimal_prices o JOIN ({_COMING}) USING (sale_id, product_id)
LEFT JOIN products p USING (product_id)
WHERE target = 'weighted' ORDER BY starts_at, sale_id, expected_units DESC
"""

_PROOFS = f"""
SELECT sale_id, target, objective, upper_bound, gap, totals, totals_ruled_out, method,
       revenue_cents AS revenue, margin_cents AS margin, margin_pct, sell_through_pct
FROM price_certificates WHERE sale_id IN (SELECT sale_id FROM ({_COMING}))
ORDER BY sale_id, target = 'weighted' DESC, target
"""

PLANS: Mapping[str, str] = {
    "scenarios": _SCENARIOS,
    "buys": _BUYS,
    "buy_items": _BUY_ITEMS,
    "shelves": _SHELVES,
    "room": _ROOM,
    "styles": _STYLES,
    "track": _TRACK,
    "orders": _ORDERS,
    "prices": _PRICES,
    "proofs": _PROOFS,
}
