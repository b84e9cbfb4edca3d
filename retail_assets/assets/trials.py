"""Trials of the cold start: from receipts and inferred stock to (n, k) per product and day.

A retailer without stylists has trials too: every receipt of the category while the
product was on the shelf could have held it. Without the stock status a favourite that
sells out on Saturdays would look like a bar that Saturday's customers do not want.
"""

from __future__ import annotations

from datetime import date

import duckdb

from retail_assets.warehouse import Session

# The last span of a series holds until the next fit says otherwise.
_SHELF = """
CREATE OR REPLACE TEMP TABLE shelf_spans AS
WITH spans AS (
    SELECT store_id, product_id, category, status, start_ts,
           CASE WHEN end_ts = max(end_ts) OVER (PARTITION BY category, store_id)
                THEN 'infinity'::TIMESTAMPTZ ELSE end_ts END AS end_ts
    FROM inventory_status
)
SELECT s.store_id, s.product_id, s.category, d.business_date, status,
       greatest(start_ts, open_at) AS since, least(end_ts, close_at) AS until
FROM spans s JOIN trading_days d
  ON d.store_id = s.store_id AND start_ts < close_at AND end_ts > open_at
WHERE d.business_date BETWEEN $first AND $last
"""

# Sales outside the hours count in the nearest interval of the day, as in interval_sales.
_BASKETS = """
CREATE OR REPLACE TEMP TABLE baskets AS
SELECT l.store_id, l.business_date, l.category, l.transaction_id,
       greatest(least(min(sold_at), any_value(close_at) - INTERVAL 1 MICROSECOND),
                any_value(open_at)) AS rung_at,
       list_distinct(list(product_id)) AS products
FROM {lines} l JOIN trading_days d USING (store_id, business_date)
WHERE line_type = 'sale' AND n_intervals > 0 GROUP BY ALL
"""

# Receipts so far at both ends of a span, not span x receipts: linear in either.
_SEEN = """
WITH counted AS (
    SELECT store_id, category, rung_at, count(*) AS receipts FROM baskets GROUP BY ALL
), so_far AS (
    SELECT store_id, category, rung_at, sum(receipts) OVER (
        PARTITION BY store_id, category ORDER BY rung_at) AS seen FROM counted
), edges AS (
    SELECT store_id, product_id, category, business_date, since - INTERVAL 1 MICROSECOND AS rung_at,
           -1 AS sign FROM shelf_spans WHERE status = 'in_stock'
    UNION ALL
    SELECT store_id, product_id, category, business_date, until - INTERVAL 1 MICROSECOND, 1
    FROM shelf_spans WHERE status = 'in_stock'
)
SELECT product_id, business_date, sum(sign * coalesce(seen, 0))::BIGINT AS seen
FROM edges e ASOF LEFT JOIN so_far s
  ON e.store_id = s.store_id AND e.category = s.category AND e.rung_at >= s.rung_at
GROUP BY ALL
"""

# Where no span covers a sale (left over after the range, or a product or store no fit has seen
# yet), only the receipts that hold the product would count: k = n, a rate of one.
_TAKEN = """
SELECT b.product_id, b.business_date, count(*) AS taken,
       count(*) FILTER (status = 'out_of_stock') AS unexpected
FROM (SELECT * EXCLUDE products, unnest(products) AS product_id FROM baskets) b
ASOF JOIN shelf_spans f
  ON b.store_id = f.store_id AND b.product_id = f.product_id AND b.rung_at >= f.since
WHERE rung_at < until
GROUP BY ALL
"""


def pos_trials(session: Session, days: tuple[date, date]) -> duckdb.DuckDBPyRelation:
    """Rows of ``pos_trials`` for some days.

    n counts the receipts of the product's category, over all stores, in the spans in
    which the product is in stock; a receipt that holds a product believed to be out is
    a trial too, so k never exceeds n. A product outside its range has no trials, nor has one
    whose stock nothing is known of yet.
    """
    bounds = {"first": days[0], "last": days[1]}
    session.execute(_SHELF, bounds)
    session.execute(_BASKETS.format(lines=session.rows("pos_lines", days)))
    rows: duckdb.DuckDBPyRelation = session.sql(
        f"""
        WITH seen AS ({_SEEN}), taken AS ({_TAKEN})
        SELECT product_id, coalesce(p."group", p.category) AS group_id, business_date AS date,
               coalesce(seen, 0) + coalesce(unexpected, 0) AS n, coalesce(taken, 0) AS k
        FROM seen FULL JOIN taken USING (product_id, business_date)
        JOIN products p USING (product_id)
        WHERE coalesce(seen, 0) + coalesce(unexpected, 0) > 0
        """
    )
    return rows
