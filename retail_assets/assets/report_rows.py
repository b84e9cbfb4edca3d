"""What the report tells of selling: what sold, what was missing, what was taken instead.

SQL by name, read by ``read``; report_plans.py and report_quality.py hold the rest of the story.
What is said of the rows belongs in retail_assets/report/.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from retail_assets.assets.report_plans import PLANS
from retail_assets.assets.report_quality import QUALITY
from retail_assets.warehouse import Session

Row = dict[str, Any]

# The four weeks before the last four are told only where the receipts cover them.
_SPAN = """
SELECT min(business_date) AS first_day, max(business_date) AS last_day,
       count(DISTINCT store_id) AS stores, count(DISTINCT product_id) AS products,
       coalesce(sum(net_cents), 0) AS cents, coalesce(sum(units), 0) AS units,
       coalesce(sum(net_cents) FILTER (business_date > last - 28), 0) AS recent_cents,
       sum(net_cents) FILTER (business_date BETWEEN last - 55 AND last - 28 AND first <= last - 55)
           AS before_cents
FROM interval_sales,
     (SELECT min(business_date) AS first, max(business_date) AS last FROM interval_sales)
HAVING count(*) > 0
"""

# Whole weeks only: half a week looks like a fall.
_WEEKS = """
SELECT week, cents FROM (
    SELECT date_trunc('week', business_date)::DATE AS week, sum(net_cents) AS cents
    FROM interval_sales GROUP BY ALL
), (SELECT min(business_date) AS first, max(business_date) AS last FROM interval_sales)
WHERE week >= first AND week + 6 <= last ORDER BY week DESC LIMIT 26
"""

_CATEGORIES = """
SELECT category, sum(net_cents) AS cents, sum(units) AS units,
       count(DISTINCT product_id) AS products,
       sum(net_cents) FILTER (business_date > last - 28) AS recent_cents,
       sum(net_cents) FILTER (business_date BETWEEN last - 55 AND last - 28 AND first <= last - 55)
           AS before_cents
FROM interval_sales,
     (SELECT min(business_date) AS first, max(business_date) AS last FROM interval_sales)
GROUP BY ALL ORDER BY cents DESC
"""

# Wanted first: the rate at a mean interval, times the intervals the fit saw; stores add up as
# if independent of one another.
_PRODUCTS = """
WITH sold AS (
    SELECT category, product_id, sum(transactions) AS receipts, sum(units) AS units,
           sum(net_cents) AS cents
    FROM interval_sales GROUP BY ALL
),
seen AS (
    SELECT category, store_id, product_id, sum(n_intervals) AS n FROM inventory_status GROUP BY ALL
),
wanted AS (
    SELECT category, product_id, sum(mean * n) AS wanted, sqrt(sum((sd * n) ** 2)) AS sd
    FROM demand_rates JOIN seen USING (category, store_id, product_id) GROUP BY ALL
)
SELECT category, product_id, coalesce(name, product_id) AS name, receipts, units, cents, wanted,
       greatest(0, wanted - 1.96 * sd) AS wanted_lo, wanted + 1.96 * sd AS wanted_hi,
       rank() OVER (PARTITION BY category ORDER BY receipts DESC) AS sold_rank,
       rank() OVER (PARTITION BY category ORDER BY wanted DESC NULLS LAST) AS wanted_rank
FROM sold LEFT JOIN wanted USING (category, product_id) LEFT JOIN products p USING (product_id)
ORDER BY cents DESC
"""

# A span is one call: out or not for the whole of it, with its own probability.
_MISSING = """
WITH spans AS (
    SELECT category, product_id, sum(n_intervals) AS n, sum(n_intervals * p_out_mean) AS out,
           sqrt(sum(n_intervals ** 2 * p_out_mean * (1 - p_out_mean))) AS sd,
           any_value(as_of) AS as_of
    FROM inventory_status GROUP BY ALL
),
series AS (
    SELECT category, product_id, count(*) AS stores, count(*) FILTER (low_power) AS weak
    FROM inventory_status_params GROUP BY ALL
),
leaving AS (
    SELECT r.category, from_product AS product_id, n_oos_customers AS met_empty,
           r.mean AS leave, r.q025 AS leave_lo, r.q975 AS leave_hi, r.flag AS leave_flag
    FROM substitution_rates r JOIN substitution_diagnostics d USING (category, choice_model)
    WHERE chosen AND to_product = 'none'
),
worth AS (
    SELECT category, product_id, sum(net_cents) / sum(transactions) AS basket,
           (max(max(business_date)) OVER () - min(min(business_date)) OVER () + 1) / 7 AS weeks
    FROM interval_sales GROUP BY ALL
)
SELECT category, product_id, coalesce(name, product_id) AS name, out / n AS share,
       greatest(0, (out - 1.96 * sd) / n) AS share_lo, least(1, (out + 1.96 * sd) / n) AS share_hi,
       stores, weak, met_empty / weeks AS met_empty, leave, leave_lo, leave_hi, leave_flag,
       met_empty * leave * basket / weeks AS lost, met_empty * leave_lo * basket / weeks AS lost_lo,
       met_empty * leave_hi * basket / weeks AS lost_hi
FROM spans LEFT JOIN series USING (category, product_id)
LEFT JOIN leaving USING (category, product_id) LEFT JOIN worth USING (category, product_id)
LEFT JOIN products p USING (product_id)
ORDER BY share DESC
"""

# Of the products missing most, by weekday and hour of the store's own clock. Minutes out count
# with their probability; minutes open count while the product was listed there.
_HOURS = """
WITH worst AS (
    SELECT product_id, any_value(category) AS category,
           sum(n_intervals * p_out_mean) / sum(n_intervals) AS share
    FROM inventory_status GROUP BY product_id ORDER BY bool_and(low_power), share DESC LIMIT 4
),
hours AS (
    SELECT store_id, coalesce(timezone, 'UTC') AS zone, began, greatest(began, open_at) AS opens,
           least(began + INTERVAL 1 HOUR, close_at) AS closes
    FROM (
        SELECT store_id, open_at, close_at,
               unnest(generate_series(date_trunc('hour', open_at), close_at, INTERVAL 1 HOUR))
                   AS began
        FROM trading_days WHERE n_intervals > 0
    ) LEFT JOIN stores USING (store_id)
    WHERE began < close_at
),
spans AS (
    SELECT store_id, product_id, start_ts, end_ts, p_out_mean
    FROM inventory_status JOIN worst USING (product_id)
),
met AS (
    SELECT product_id, timezone(zone, began) AS local, p_out_mean,
           epoch(least(closes, end_ts)) - epoch(greatest(opens, start_ts)) AS seconds
    FROM spans JOIN hours USING (store_id) WHERE start_ts < closes AND end_ts > opens
)
SELECT product_id, coalesce(name, product_id) AS name, w.share,
       isodow(local) - 1 AS weekday, hour(local) AS hour,
       sum(seconds * p_out_mean) / sum(seconds) AS p_out
FROM met JOIN worst w USING (product_id) LEFT JOIN products USING (product_id)
GROUP BY ALL ORDER BY w.share DESC, product_id, weekday, hour
"""

# The twelve products of a category whose customers met most empty shelves: more do not fit a
# picture. 'none' is leaving.
_PAIRS = """
WITH rates AS (
    SELECT r.* FROM substitution_rates r
    JOIN substitution_diagnostics d USING (category, choice_model) WHERE chosen
),
shown AS (
    SELECT category, from_product FROM rates GROUP BY category, from_product
    QUALIFY row_number() OVER (
        PARTITION BY category ORDER BY any_value(n_oos_customers) DESC, from_product) <= 12
)
SELECT category, from_product, coalesce(f.name, from_product) AS wanted, to_product,
       coalesce(t.name, to_product) AS taken, r.mean, r.q025, r.q975, flag, n_oos_customers
FROM rates r JOIN shown USING (category, from_product)
LEFT JOIN products f ON f.product_id = from_product
LEFT JOIN products t ON t.product_id = to_product
WHERE to_product = 'none'
   OR (category, to_product) IN (SELECT (category, from_product) FROM shown)
ORDER BY category, n_oos_customers DESC, from_product, r.mean DESC
"""

SELLING: Mapping[str, str] = {
    "span": _SPAN,
    "weeks": _WEEKS,
    "categories": _CATEGORIES,
    "products": _PRODUCTS,
    "missing": _MISSING,
    "hours": _HOURS,
    "pairs": _PAIRS,
}
STORY: Mapping[str, str] = {**SELLING, **PLANS, **QUALITY}
"""Every question of the report by name; no table needs to exist for any of them."""


def read(session: Session, names: Iterable[str]) -> dict[str, list[Row]]:
    """The rows of some questions; those of a table never written are none."""
    return {name: rows_of(session, STORY[name]) for name in names}


def rows_of(session: Session, query: str) -> list[Row]:
    """Rows as dicts by column."""
    relation = session.sql(query)
    return [dict(zip(relation.columns, row, strict=True)) for row in relation.fetchall()]
