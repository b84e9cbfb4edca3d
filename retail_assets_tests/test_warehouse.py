"""Versions of real Delta tables: rollback, vacuum, and writers that are killed."""

import multiprocessing
import os
import signal
import time
from datetime import date

import pytest
from deltalake import DeltaTable

from retail_assets.errors import RetailAssetsError
from retail_assets.settings import Settings
from retail_assets.warehouse import Warehouse

DAYS = (date(2024, 1, 1), date(2024, 1, 20))


def _days(n: int) -> str:
    return (
        "SELECT 's' || i AS store_id, DATE '2024-01-01' + d::INTEGER AS business_date,"
        f" {n} AS n_intervals, 15 AS grain_minutes, 'hours' AS source"
        " FROM range(3) t(i), range(20) u(d)"
    )


def _replace(warehouse: Warehouse, n: int, days: tuple[date, date] = DAYS) -> None:
    with warehouse.session() as session:
        rows = session.sql(f"SELECT * FROM ({_days(n)}) WHERE business_date <= DATE '{days[1]}'")
        session.replace("trading_days", rows, days)


def _counts(warehouse: Warehouse) -> dict[int, int]:
    with warehouse.session() as session:
        found = session.sql("SELECT n_intervals, count(*) FROM trading_days GROUP BY 1").fetchall()
    return dict(found)


@pytest.fixture
def warehouse(tmp_path):
    return Warehouse(Settings(tmp_path / "home", tmp_path))


def test_rollback_makes_an_earlier_version_current_as_a_new_one(warehouse):
    _replace(warehouse, 1)
    earlier = warehouse.version("trading_days")
    _replace(warehouse, 2, (DAYS[0], date(2024, 1, 5)))
    assert _counts(warehouse) == {1: 45, 2: 15}
    warehouse.rollback("trading_days", earlier)
    assert warehouse.version("trading_days") == earlier + 2
    assert _counts(warehouse) == {1: 60}
    # Another reader of the same table sees the same rows.
    theirs = DeltaTable(warehouse.path("trading_days")).to_pyarrow_table()
    assert theirs.column("n_intervals").to_pylist() == [1] * 60
    _replace(warehouse, 3, (DAYS[0], DAYS[0]))
    assert _counts(warehouse) == {1: 57, 3: 3}


def test_rollback_to_the_current_version_changes_nothing(warehouse):
    _replace(warehouse, 1)
    now = warehouse.version("trading_days")
    warehouse.rollback("trading_days", now)
    assert warehouse.version("trading_days") == now


@pytest.mark.parametrize("version", [-1, 2, 99])
def test_rollback_to_a_version_that_never_was_says_so(warehouse, version):
    _replace(warehouse, 1)
    with pytest.raises(RetailAssetsError, match=f"trading_days has no version {version}"):
        warehouse.rollback("trading_days", version)
    with pytest.raises(RetailAssetsError, match="interval_sales has no version 0"):
        warehouse.rollback("interval_sales", 0)


def test_rollback_past_a_vacuum_is_refused_and_the_table_stays(warehouse):
    _replace(warehouse, 1)
    _replace(warehouse, 2)
    assert warehouse.vacuum(grace_hours=0) == 20
    with pytest.raises(RetailAssetsError, match="vacuum may have removed its files"):
        warehouse.rollback("trading_days", 1)
    assert _counts(warehouse) == {2: 60}


def _replace_for_ever(settings: Settings) -> None:
    warehouse, n = Warehouse(settings), 2
    while True:
        _replace(warehouse, n)
        n += 1


def test_a_writer_killed_at_any_moment_leaves_one_whole_version(warehouse):
    _replace(warehouse, 1)
    spawn = multiprocessing.get_context("spawn")
    for delay in (0.0, 0.011, 0.023, 0.037):
        before = warehouse.version("trading_days")
        writer = spawn.Process(target=_replace_for_ever, args=(warehouse.settings,))
        writer.start()
        while warehouse.version("trading_days") == before and writer.is_alive():
            time.sleep(0.002)
        time.sleep(delay)
        assert writer.pid is not None
        os.kill(writer.pid, signal.SIGKILL)
        writer.join()
        assert writer.exitcode == -signal.SIGKILL
        assert list(_counts(warehouse).values()) == [60]
    _replace(warehouse, 1)
    assert _counts(warehouse) == {1: 60}
    warehouse.vacuum(grace_hours=0)
    files = list(warehouse.path("trading_days").rglob("*.parquet"))
    assert len(files) == 20, "what the killed writers left is gone"


def test_vacuum_takes_rows_that_were_staged_and_never_committed(warehouse):
    rows = "SELECT 'c' AS category, 's' AS store_id, 'p' AS product_id"
    with warehouse.session() as session, session.staging("demand_rates", "c") as staging:
        staging._where.mkdir(parents=True)
        session.execute(f"COPY ({rows}) TO '{staging._where}/part.parquet' (FORMAT parquet)")
        staging.committed = True  # a killed writer discards nothing
    assert warehouse.vacuum() == 0
    assert warehouse.vacuum(grace_hours=0) == 1
    assert list(warehouse.path("demand_rates").iterdir()) == []
