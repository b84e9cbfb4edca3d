"""Days cut into blocks that are worked on one after the other, so that memory stays bounded.

A block is whole days: what belongs together (a receipt, an interval) never spans two.
What is done with a block is lines.py and intervals.py.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date

from retail_assets.warehouse import Session

Days = tuple[date, date]

BLOCK_ROWS = 500_000
"""Small days are worked on together up to so many lines: about 100 MB of DuckDB's memory."""

BUSY_DAY = 40_000
"""A day with so many lines is a block of its own, written as one file (staging.py)."""

ONE_THREAD = "SET threads = 1"
"""A busy day is one row group, which one thread reads; a second costs 7 % of the CPU and saves
8 % of the time. Parallelism is several runs."""


@dataclass(frozen=True)
class Block:
    """Days that are worked on together."""

    days: Days
    rows: int

    @property
    def day(self) -> date | None:
        """The day, where the block is one."""
        return self.days[0] if self.days[0] == self.days[1] else None


def blocks(
    session: Session, table: str, days: Days, rows: int = BLOCK_ROWS, alone: int = BUSY_DAY
) -> list[Block]:
    """Cut days into busy days and runs of quiet ones; days without rows are left out.

    Parameters
    ----------
    rows : int
        Quiet days run on up to so many rows.
    alone : int
        A day with as many rows is busy: a block of its own.
    """
    counts = session.connection.sql(
        f"SELECT business_date, count(*) FROM {session.rows(table, days)} GROUP BY 1 ORDER BY 1"
    ).fetchall()
    found: list[Block] = []
    quiet = False
    for day, count in counts:
        if quiet and count < alone and found[-1].rows + count <= rows:
            found[-1] = Block((found[-1].days[0], day), found[-1].rows + count)
        else:
            found.append(Block((day, day), count))
        quiet = count < alone
    return found
