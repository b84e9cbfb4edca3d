"""A run killed between two commits: the next one finds the days and mends them."""

import multiprocessing
import os
import signal

import pytest

from retail_assets.ingest import intervals, landing, lines, raw
from retail_assets.settings import Settings
from retail_assets.staging import Staging
from retail_assets.warehouse import Warehouse

ROWS = ("r1,1,paris,2024-02-05 10:00:00,bar,1,1", "r2,1,mars,2024-02-05 11:00:00,bar,1,1",
        "r9,1,paris,2024-02-06 10:00:00,bar,1,1")  # fmt: skip
# As many lines as before, and as many rejected: only their content differs.
CORRECTED = ("r1,1,paris,2024-02-05 10:00:00,box,3,1", "r3,1,mars,2024-02-05 11:00:00,bar,1,1",
             "r9,1,paris,2024-02-06 10:00:00,bar,1,1")  # fmt: skip


def _ingest_and_die(settings: Settings, table: str, committed: bool) -> None:
    """Ingest until a table is about to be committed, or just was; then SIGKILL."""
    commit = Staging.commit

    def dying(self: Staging) -> int:
        rows = commit(self) if committed or self.table.name != table else 0
        if self.table.name == table:
            os.kill(os.getpid(), signal.SIGKILL)
        return rows

    Staging.commit = dying  # type: ignore[method-assign]
    warehouse = Warehouse(settings)
    with warehouse.session() as session:
        landing.write_landing_files(session, landing.scan(session))
    for days in landing.affected_ranges(warehouse):
        for step in (raw.write_raw_pos, lines.write_pos_lines, intervals.write_intervals):
            with warehouse.session() as session:
                step(session, days)


@pytest.mark.parametrize(
    ("table", "committed"),
    [
        ("raw_pos", False),
        ("raw_pos", True),
        ("pos_lines", True),
        ("pos_quarantine", True),
        ("trading_days", True),
    ],
)
def test_the_next_run_mends_what_a_killed_one_left(shop, table, committed):
    shop.basics()
    shop.pos("a.csv", *ROWS)
    shop.ingest()
    shop.pos("a.csv", *CORRECTED, age=30)
    run = multiprocessing.get_context("spawn").Process(
        target=_ingest_and_die, args=(shop.warehouse.settings, table, committed)
    )
    run.start()
    run.join()
    assert run.exitcode == -signal.SIGKILL
    shop.ingest()
    sold = shop.rows("SELECT product_id, units FROM interval_sales ORDER BY interval_start")
    assert sold == [("box", 3), ("bar", 1)]
    assert shop.rows("SELECT product_id, quantity FROM pos_lines ORDER BY sold_at") == sold
    ((rejected,),) = shop.rows("SELECT payload->>'transaction_id' FROM pos_quarantine")
    assert rejected == "r3"
    assert landing.affected_ranges(shop.warehouse) == []
    assert shop.rows("SELECT count(*) FROM trading_days") == [(2,)]
