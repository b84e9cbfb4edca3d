"""Days whose tables are not what they would be now: a run died, or a reference table changed.

Every table is committed by itself, so a killed run can leave new lines in ``raw_pos``
and the former ones in ``pos_lines``. The file lists of the tables say so without a row
being read: each file has its day, its rows and the time it was written. A corrected
products, stores or store_hours file changes how receipts of the past are judged.
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import date

from retail_assets import contract
from retail_assets.ingest.hours import create_given_hours
from retail_assets.ingest.mapping import POS
from retail_assets.warehouse import DayFiles, Session, Warehouse

CHAIN = (POS, "pos_lines", "pos_quarantine", "trading_days", "interval_sales")
NONE = DayFiles(0, 0)


# A void cancels one sale at most, so a day of more sales than voids has sold something.
_SOLD = """
SELECT business_date FROM pos_lines WHERE business_date IN (SELECT unnest(?::DATE[]))
GROUP BY ALL HAVING count(*) FILTER (line_type = 'sale') > count(*) FILTER (line_type = 'void')
"""


def unfinished_days(session: Session) -> list[date]:
    """Days whose later tables are not those of their receipts, in order.

    A day is finished when every raw line is a valid or a rejected one, and each table's files
    are no older than those it was made from. (A table without a row on that day has no file
    there: ``trading_days`` never is without one, and is committed before ``interval_sales``.)
    A day of ``interval_sales`` without a row is looked at: it may be one of returns only, or
    an earlier version that somebody went back to.
    """
    held = [session.warehouse.day_files(name) for name in CHAIN]
    days = sorted(set().union(*held[:3]))
    found = {day for day in days if not _finished(*(table.get(day, NONE) for table in held))}
    _, lines, _, _, sales = held
    empty = [day for day in lines if day not in sales and day not in found]
    if empty:
        found |= {day for (day,) in session.sql(_SOLD, [empty]).fetchall()}
    return sorted(found)


def _finished(
    raw: DayFiles, lines: DayFiles, rejected: DayFiles, trading: DayFiles, sales: DayFiles
) -> bool:
    judged = max(lines.written, rejected.written)
    return (
        lines.rows + rejected.rows == raw.rows
        and judged >= raw.written
        and (not rejected.rows or rejected.written >= lines.written)
        and trading.written >= judged
        and (not sales.rows or sales.written >= trading.written)
    )


def unfinished_categories(warehouse: Warehouse, names: Collection[str]) -> set[str]:
    """Categories of which one of the tables ``names`` is older than the newest sales.

    A run that was killed between receipts and models, or told to stop there (``--until``),
    leaves them. A table that holds no row of a category says nothing of it.
    """
    sales = warehouse.day_files("interval_sales").values()
    newest = max((day.written for day in sales), default=0)
    found: set[str] = set()
    for name in names:
        if contract.table(name).partition == "category":
            files = warehouse.day_files(name).items()
            found |= {str(category) for category, files_ in files if files_.written < newest}
    return found


_MISJUDGED = """
SELECT DISTINCT business_date FROM interval_sales i JOIN products p USING (product_id)
WHERE i.category <> p.category
UNION
SELECT DISTINCT business_date FROM pos_quarantine
WHERE list_contains(reasons, 'unknown product')
        AND trim(payload ->> 'product_id') IN (SELECT product_id FROM products)
    OR list_contains(reasons, 'unknown store')
        AND trim(payload ->> 'store_id') IN (SELECT store_id FROM stores)
"""
# A store is closed before its first receipt and after its last, whatever its hours say.
_OTHER_HOURS = """
WITH trades AS (
    SELECT store_id, min(business_date) AS first_day, max(business_date) AS last_day
    FROM trading_days WHERE open_at IS NOT NULL GROUP BY ALL
)
SELECT DISTINCT business_date FROM trading_days t
JOIN trades USING (store_id) JOIN given_hours g USING (store_id, business_date)
WHERE business_date BETWEEN first_day AND last_day
  AND (t.open_at IS DISTINCT FROM g.open_at OR t.close_at IS DISTINCT FROM g.close_at)
  -- sales on a day said to be closed win, now as then
  AND NOT (t.source = 'inferred' AND g.open_at IS NULL)
"""


def misjudged_days(session: Session) -> list[date]:
    """Days on which products, stores or trading hours are not those of the files any more.

    A product in another category, a product or a store unknown when its receipts came, other
    hours or another time zone. Prices and costs do not count: receipts carry their own.
    """
    days = {day for (day,) in session.sql(_MISJUDGED).fetchall()}
    span = session.sql("SELECT min(business_date), max(business_date) FROM trading_days")
    first, last = span.fetchall()[0]
    if first is not None:
        create_given_hours(session, (first, last))
        days |= {day for (day,) in session.sql(_OTHER_HOURS).fetchall()}
    return sorted(days)
