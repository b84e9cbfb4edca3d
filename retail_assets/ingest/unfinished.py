"""Days on which a run died between two of its tables.

Every table is committed by itself, so a killed run can leave new lines in ``raw_pos``
and the former ones in ``pos_lines``. The file lists of the tables say so without a row
being read: each file has its day, its rows and the time it was written.
"""

from __future__ import annotations

from datetime import date

from retail_assets.ingest.mapping import POS
from retail_assets.warehouse import DayFiles, Warehouse

CHAIN = (POS, "pos_lines", "pos_quarantine", "trading_days", "interval_sales")
NONE = DayFiles(0, 0)


def unfinished_days(warehouse: Warehouse) -> list[date]:
    """Days whose later tables are not those of their receipts, in order.

    A day is finished when every raw line is a valid or a rejected one, and each table's files
    are no older than those it was made from. (A table without a row on that day has no file
    there: ``trading_days`` never is without one, and is committed before ``interval_sales``.)
    """
    held = [warehouse.day_files(name) for name in CHAIN]
    days = sorted(set().union(*held[:3]))
    return [day for day in days if not _finished(*(table.get(day, NONE) for table in held))]


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
