"""Upkeep of real tables and of a real Dagster instance: what goes, and what must stay."""

from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import dagster as dg
import pytest
from deltalake import DeltaTable, write_deltalake

from retail_assets import maintenance
from retail_assets.automation.upkeep import maintenance as job
from retail_assets.automation.upkeep import maintenance_schedule
from retail_assets.errors import RetailAssetsError
from retail_assets.settings import Settings
from retail_assets.warehouse import Warehouse

DAYS = (date(2024, 1, 1), date(2024, 1, 3))


@pytest.fixture
def warehouse(tmp_path):
    return Warehouse(Settings(tmp_path / "home", tmp_path))


def _replace(warehouse: Warehouse, n: int) -> None:
    with warehouse.session() as session:
        rows = session.sql(
            "SELECT 's' || i AS store_id, DATE '2024-01-01' + d::INTEGER AS business_date,"
            f" {n} AS n_intervals, 15 AS grain_minutes, 'hours' AS source"
            " FROM range(3) t(i), range(3) u(d)"
        )
        session.replace("trading_days", rows, DAYS)


def _in_pieces(warehouse: Warehouse, name: str, values: str, pieces: int) -> Path:
    """A table of which every piece is a file, as another tool would append it."""
    with warehouse.session() as session:
        session.replace(name, session.sql(f"SELECT {values} FROM range(1) t(i)"))
        for i in range(1, pieces):
            rows = session.connection.sql(f"SELECT {values} FROM range({i}, {i + 1}) t(i)")
            write_deltalake(warehouse.path(name), rows.to_arrow_table(), mode="append",
                            schema_mode="merge")  # fmt: skip
    return warehouse.path(name)


STORES = "'s' || i AS store_id, 'UTC' AS timezone"


def test_many_small_files_become_one_and_the_rows_stay(warehouse):
    folder = _in_pieces(warehouse, "stores", STORES, 12)
    few = _in_pieces(warehouse, "products", "'p' || i AS product_id, 'P' AS name, 'c' AS category",
                     3)  # fmt: skip
    assert maintenance.compact(warehouse) == {"stores": 11}
    assert len(DeltaTable(folder).file_uris()) == 1
    assert len(DeltaTable(few).file_uris()) == 3, "not worth a rewrite"
    with warehouse.session() as session:
        rows = session.sql("SELECT store_id FROM stores ORDER BY len(store_id), 1").fetchall()
    assert [store for (store,) in rows] == [f"s{i}" for i in range(12)]
    assert maintenance.compact(warehouse) == {}
    # A reader of the version before still has its files until the vacuum.
    assert len(DeltaTable(folder, version=12).to_pyarrow_table()) == 12


def test_a_long_log_is_summed_up_and_the_history_stays(warehouse):
    for n in range(maintenance.LOGGED):
        _replace(warehouse, n)
    log = warehouse.path("trading_days") / "_delta_log"
    for old in log.glob("*.checkpoint.parquet"):
        old.unlink()
    (log / "_last_checkpoint").unlink(missing_ok=True)
    assert maintenance.checkpoint(warehouse) == 1
    assert list(log.glob("*.checkpoint.parquet"))
    assert maintenance.checkpoint(warehouse) == 0
    with warehouse.session() as session:
        assert session.sql("SELECT DISTINCT n_intervals FROM trading_days").fetchall() == [(49,)]
    assert len(maintenance.history(warehouse, "trading_days", 100)) == maintenance.LOGGED + 1


def test_history_says_which_versions_can_be_restored(warehouse):
    for n in (1, 2, 3):
        _replace(warehouse, n)
    versions = maintenance.history(warehouse, "trading_days")
    assert [(v.number, v.rows) for v in versions] == [(3, 9), (2, 9), (1, 9), (0, 0)]
    assert datetime.now(UTC) - versions[0].written < timedelta(minutes=5)
    assert maintenance.sweep(warehouse, grace_hours=0) == 6
    restorable = [v.number for v in maintenance.history(warehouse, "trading_days") if v.restorable]
    assert restorable == [5, 4, 3, 0], "a vacuum is two versions of its own"
    assert [v.number for v in maintenance.history(warehouse, "trading_days", 2)] == [5, 4]


@pytest.mark.parametrize(("name", "says"), [("nonsense", "known: landing_files"),
                                            ("stores", "stores was never written")])  # fmt: skip
def test_history_of_no_table_says_so(warehouse, name, says):
    with pytest.raises(RetailAssetsError, match=says):
        maintenance.history(warehouse, name)


def test_a_database_whose_writer_was_killed_goes_after_the_grace_period(warehouse):
    _replace(warehouse, 1)
    warehouse.publish()
    partial = warehouse.settings.database.with_name("retail.duckdb.partial")
    partial.write_bytes(b"half")
    assert maintenance.sweep(warehouse) == 0
    assert maintenance.sweep(warehouse, grace_hours=0) == 1
    assert not partial.exists()
    assert warehouse.settings.database.exists()


@dg.asset(partitions_def=dg.StaticPartitionsDefinition(["a", "b"]))
def cut(context: dg.AssetExecutionContext) -> None:
    context.log.info("made")


@dg.asset(deps=[cut])
def whole() -> None: ...


@dg.asset_check(asset=whole)
def fine() -> dg.AssetCheckResult:
    return dg.AssetCheckResult(passed=True)


def test_a_run_that_made_what_is_current_is_never_forgotten(tmp_path):
    with dg.DagsterInstance.local_temp(str(tmp_path)) as instance:

        def make(*assets, **options) -> str:
            return dg.materialize(assets, instance=instance, **options).run_id

        first = make(cut, partition_key="a")
        again = make(cut, partition_key="a")
        other = make(cut, partition_key="b")
        old = make(whole, fine, selection="whole")
        new = make(whole, fine, selection="whole")
        assert maintenance.forget_runs(instance) == maintenance.Forgotten(0, 0)
        logs = tmp_path / "storage"
        assert (logs / first).exists()
        assert maintenance.forget_runs(instance, keep_days=0) == maintenance.Forgotten(2, 3)
        left = {run.run_id for run in instance.get_runs()}
        assert left == {again, other, new}
        assert not (logs / first).exists()
        assert not list((tmp_path / "history" / "runs").glob(f"{old}*"))
        assert instance.get_materialized_partitions(cut.key) == {"a", "b"}
        assert instance.get_latest_materialization_event(whole.key).run_id == new
        check = instance.event_log_storage.get_latest_asset_check_execution_by_key(
            [fine.check_key]
        )  # fmt: skip
        assert check[fine.check_key].run_id == new


def test_the_weekly_job_reports_what_it_did(warehouse):
    _in_pieces(warehouse, "stores", STORES, 9)
    with dg.DagsterInstance.ephemeral() as instance:
        done = job.execute_in_process(
            instance=instance,
            resources={"warehouse": warehouse},
            run_config={"ops": {"tidy": {"config": {"grace_hours": 0}}}},
        )
    (output,) = [e for e in done.all_events if e.is_successful_output]
    about = {k: v.value for k, v in output.step_output_data.metadata.items()}
    assert about["files_joined"] == 8
    assert about["files_deleted"] >= 9
    assert about["runs_deleted"] == 0


def test_the_schedule_is_weekly_in_business_time():
    moments = [
        dg.build_schedule_context(scheduled_execution_time=datetime(2026, 11, day, 4, 30))
        for day in (1, 8)
    ]
    assert maintenance_schedule.cron_schedule == "30 4 * * 0"
    assert [m.scheduled_execution_time.weekday() for m in moments] == [6, 6]
    assert maintenance_schedule.job_name == "maintenance"
