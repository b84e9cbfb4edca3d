"""Sales by their state: to be priced, begun, and with demand that is out of date.

Questions to the tables that the runner and the price sensor both ask. Who acts on the answer
is decided there.
"""

from __future__ import annotations

from retail_assets.warehouse import Session

_TODAY = "coalesce((SELECT max(business_date) FROM interval_sales), DATE '0001-01-01')"

_COMING = f"""
SELECT DISTINCT category, sale_id FROM sale_events LEFT JOIN products USING (product_id)
WHERE price IS NULL AND coalesce(ends_at, starts_at) > {_TODAY}
UNION
SELECT NULL, payload->>'sale_id' FROM sale_events_quarantine
WHERE coalesce(payload->>'price', '') = '' AND payload->>'sale_id' IS NOT NULL
  AND NOT starts_with(reasons[1], 'duplicate key')
ORDER BY ALL
"""

_BEGUN = """
SELECT DISTINCT occasion FROM decisions JOIN sale_events
  ON sale_id = occasion AND product_id = key,
  (SELECT max(business_date) AS today FROM interval_sales)
WHERE kind = 'price' AND applied IS NULL
  AND (price IS NOT NULL OR starts_at::DATE BETWEEN today - 62 AND today)
ORDER BY ALL
"""

# Known up to an earlier day than the receipts, or without a price that a sale to come may take.
_OUTDATED = f"""
WITH receipts AS (
    SELECT category, max(business_date) AS last_day FROM interval_sales GROUP BY ALL
),
known AS (SELECT category, max(as_of) AS as_of FROM demand_curves GROUP BY ALL),
wanted AS (
    SELECT category, sale_id, product_id,
           unnest(coalesce(string_split(candidate_prices, ';'), [NULL])) AS price
    FROM sale_events JOIN products USING (product_id)
    WHERE sale_events.price IS NULL AND coalesce(ends_at, starts_at) > {_TODAY}
),
without AS (
    SELECT DISTINCT category FROM wanted w WHERE NOT EXISTS (
        FROM demand_curves c
        WHERE c.category = w.category AND c.sale_id = w.sale_id AND c.product_id = w.product_id
          AND coalesce(c.price_cents = round(100 * try_cast(trim(w.price) AS DOUBLE)), true))
)
SELECT category FROM receipts LEFT JOIN known USING (category)
WHERE as_of IS NULL OR as_of < last_day
   OR category IN (SELECT category FROM without)
ORDER BY ALL
"""

# A till that exports quantities only: nothing to learn of prices, which is no failure.
_UNPRICED = """
SELECT category FROM interval_sales GROUP BY ALL HAVING coalesce(sum(abs(net_cents)), 0) = 0
EXCEPT SELECT category FROM price_calendar JOIN products USING (product_id)
EXCEPT SELECT category FROM sale_events JOIN products USING (product_id)
"""

_EVENTS = "(SELECT * EXCLUDE (source_file, source_row) FROM sale_events)"
_CALENDAR = "(SELECT * EXCLUDE (source_file, source_row) FROM price_calendar)"

# What each answer rests on; the row's place in its file does not count.
_DEMAND_INPUTS = f"""
SELECT category, sum(h::HUGEINT)::VARCHAR FROM (
    SELECT category, hash(max(business_date)) AS h FROM interval_sales GROUP BY category
    UNION ALL SELECT category, hash(e) FROM {_EVENTS} e JOIN products USING (product_id)
) GROUP BY category
"""
_PRICE_INPUTS = f"""
SELECT sale_id, sum(h::HUGEINT)::VARCHAR FROM (
    SELECT sale_id, hash(e) AS h FROM {_EVENTS} e
    UNION ALL SELECT payload->>'sale_id', hash(payload, reasons) FROM sale_events_quarantine
    UNION ALL SELECT sale_id, hash(p) FROM sale_events JOIN
        (SELECT * EXCLUDE (source_file, source_row) FROM products) p USING (product_id)
    UNION ALL SELECT sale_id, hash(c) FROM sale_events JOIN {_CALENDAR} c USING (product_id)
    UNION ALL SELECT sale_id, hash(product_id, price_cents, rel_price_from, rel_price_to,
                                   demand, demand_lo80, demand_hi80) FROM demand_curves
) GROUP BY sale_id
"""
_CHARGED_INPUTS = f"""
SELECT sale_id, sum(h::HUGEINT)::VARCHAR FROM (
    SELECT sale_id, hash(e) AS h FROM {_EVENTS} e
    UNION ALL SELECT sale_id, hash(c) FROM sale_events JOIN {_CALENDAR} c USING (product_id)
) GROUP BY sale_id
"""


def coming(session: Session) -> list[tuple[str | None, str]]:
    """Category and sale of every sale to come that still lacks a price, in order.

    No category for a product nobody knows, and for a row that was rejected: pricing the
    sale says so.
    """
    rows: list[tuple[str | None, str]] = session.sql(_COMING).fetchall()
    return rows


def begun(session: Session) -> list[str]:
    """Recent sales with a recommendation of which nobody knows yet what was charged."""
    return [sale for (sale,) in session.sql(_BEGUN).fetchall()]


def outdated(session: Session) -> set[str]:
    """Categories that have sold something and whose demand curves are missing or too old.

    Too old: receipts of a later day are known, or a sale to come has an item or a candidate
    price without a curve.
    """
    return {category for (category,) in session.sql(_OUTDATED).fetchall()}


def unpriced(session: Session) -> set[str]:
    """Categories that have sold something, of which neither a receipt nor a file knows a price."""
    return {category for (category,) in session.sql(_UNPRICED).fetchall()}


def demand_inputs(session: Session) -> dict[str, str]:
    """What the demand of each category rests on, as text: last receipts, and its sales."""
    return dict(session.sql(_DEMAND_INPUTS).fetchall())


def price_inputs(session: Session) -> dict[str, str]:
    """What the prices of each sale rest on: its items, their costs, calendar and curves."""
    return dict(session.sql(_PRICE_INPUTS).fetchall())


def charged_inputs(session: Session) -> dict[str, str]:
    """What tells which prices a sale charged: its rows and the calendar of its items."""
    return dict(session.sql(_CHARGED_INPUTS).fetchall())
