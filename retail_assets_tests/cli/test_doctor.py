"""The doctor sees what was broken on purpose, names it, says what to do, changes nothing."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import dagster as dg
import duckdb
import pytest
from click.testing import CliRunner
from deltalake import DeltaTable

from retail_assets import doctor
from retail_assets.cli import cli
from retail_assets.settings import Settings
from retail_assets.warehouse import Warehouse


@pytest.fixture
def warehouse(tmp_path: Path) -> Warehouse:
    """A home with one table by category (of an awkward name), one whole, and a database."""
    landing = tmp_path / "home" / "landing"
    landing.mkdir(parents=True)
    (landing / "stores.csv").write_text("store_id,timezone\ns1,UTC\n")
    os.utime(landing / "stores.csv", (1, 1))
    made = Warehouse(Settings(tmp_path / "home", landing))
    with made.session() as session:
        for n in (1, 2):
            stores = f"SELECT 's' || i AS store_id, 'UTC' AS timezone FROM range({n}) t(i)"
            session.replace("stores", session.sql(stores))
        rates = (
            "SELECT 'Käse & Co' AS category, 's1' AS store_id, 'p' AS product_id, 1 AS mean,"
            " 0 AS sd, 1 AS q025, 1 AS q50, 1 AS q975, DATE '2024-01-01' AS as_of"
        )
        session.replace("demand_rates", session.sql(rates), "Käse & Co")
    made.publish()
    return made


def _levels(warehouse: Warehouse) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for finding in doctor.examine(warehouse.settings):
        found.setdefault(finding.what, set()).add(finding.level)
    return found


def _one(warehouse: Warehouse, what: str, level: str) -> str:
    ((line),) = [str(f) for f in doctor.examine(warehouse.settings)
                 if (f.what, f.level) == (what, level)]  # fmt: skip
    return line


def test_a_healthy_home_has_nothing_wrong_and_is_left_as_it_was(warehouse, monkeypatch):
    monkeypatch.setenv("DAGSTER_HOME", str(warehouse.settings.home / "dagster"))
    before = sorted(warehouse.settings.home.rglob("*"))
    levels = _levels(warehouse)
    assert set(levels) == {"versions", "bytecode", "paths", "disk", "locks", "leftovers",
                           "daemon", "tables", "landing"}  # fmt: skip
    levels.pop("bytecode")
    assert set().union(*levels.values()) == {"ok"}
    assert sorted(warehouse.settings.home.rglob("*")) == before


def test_a_damaged_file_is_named_and_the_rollback_it_advises_mends_it(warehouse):
    (file,) = DeltaTable(warehouse.path("stores")).file_uris()
    whole = Path(file).read_bytes()
    for content, why in ((whole[:-9], "bytes"), (whole[:-4] + b"????", "no Parquet file")):
        Path(file).write_bytes(content)
        line = _one(warehouse, "tables", "wrong")
        assert Path(file).name in line
        assert why in line
    Path(file).unlink()
    assert "is missing; retail-assets history stores" in _one(warehouse, "tables", "wrong")
    home = ["--home", str(warehouse.settings.home)]
    shown = CliRunner().invoke(cli, ["doctor", *home])
    assert shown.exit_code == 1, shown.output
    listed = CliRunner().invoke(cli, ["history", "stores", *home]).output.splitlines()
    assert ["vacuumed" in line for line in listed] == [True, False, False]
    back = CliRunner().invoke(cli, ["rollback", "stores", "1", *home])
    assert "version 1 is current again, as version 3" in back.output
    assert _levels(warehouse)["tables"] == {"ok"}


def test_a_damaged_log_is_told_and_stops_no_other_look(warehouse):
    for entry in (warehouse.path("stores") / "_delta_log").glob("*.json"):
        entry.write_text("{")
    assert "stores: log cannot be read" in _one(warehouse, "tables", "wrong")
    assert "landing" in _levels(warehouse)


def test_a_landing_file_nobody_can_read_is_a_warning_with_its_name(warehouse):
    landing = warehouse.settings.landing
    (landing / "products.csv").symlink_to("/etc/hostname")
    assert "products.csv: symbolic link leads out" in _one(warehouse, "landing", "warning")
    for i in range(9):
        (landing / f"other{i}.csv").write_text("x")
    lines = [str(f) for f in doctor.examine(warehouse.settings) if f.what == "landing"]
    assert len(lines) == doctor.LISTED + 1
    assert lines[-1].endswith("and 5 more like these")


def test_leftovers_are_a_warning_once_no_run_can_be_at_work_on_them(warehouse):
    staged = warehouse.path("demand_rates") / "_staged-1"
    staged.mkdir()
    assert _levels(warehouse)["leftovers"] == {"ok"}
    os.utime(staged, (1, 1))
    assert "1 staged folders" in _one(warehouse, "leftovers", "warning")
    warehouse.vacuum()
    assert _one(warehouse, "leftovers", "ok").endswith("none")


def test_a_database_that_is_no_database_any_more_is_wrong(warehouse):
    warehouse.settings.database.write_bytes(b"x" * 20_000)
    assert "; retail-assets publish" in _one(warehouse, "locks", "wrong")
    warehouse.publish()
    assert _levels(warehouse)["locks"] == {"ok"}


def test_who_holds_dagsters_history_is_told(warehouse):
    file = warehouse.settings.home / "dagster" / "history" / "runs.db"
    file.parent.mkdir(parents=True)
    with sqlite3.connect(file, isolation_level=None) as holder:
        holder.execute("BEGIN IMMEDIATE")
        assert "database is locked" in _one(warehouse, "locks", "warning")
        holder.rollback()
    assert _levels(warehouse)["locks"] == {"ok"}


def test_daemons_are_judged_by_their_heartbeats(warehouse):
    from dagster._daemon.types import DaemonHeartbeat

    home = warehouse.settings.home / "dagster"
    home.mkdir()
    (home / "dagster.yaml").write_text("telemetry: {enabled: false}\n")
    assert "none has run here" in _one(warehouse, "daemon", "ok")
    with dg.DagsterInstance.from_config(str(home)) as instance:
        instance.add_daemon_heartbeat(DaemonHeartbeat(time.time(), "SENSOR", "1", []))
        assert "1 daemons" in _one(warehouse, "daemon", "ok")
        instance.add_daemon_heartbeat(DaemonHeartbeat(time.time() - 7200, "SENSOR", "1", []))
        assert "1 of 1 daemons last seen 2.0 hours ago" in _one(warehouse, "daemon", "warning")
    (home / "dagster.yaml").write_text("storage: {nonsense: true}\n")
    assert "history cannot be read" in _one(warehouse, "daemon", "wrong")


def test_a_package_outside_the_ranges_is_named(monkeypatch):
    needed = ["duckdb>=99", "no-such-package", "x; extra == 'test'"]
    monkeypatch.setattr(doctor.importlib.metadata, "requires", lambda _: needed)
    lines = [str(f) for f in doctor.versions()]
    assert ["duckdb" in lines[0], "needed is >=99" in lines[0]] == [True, True]
    assert "no-such-package not installed" in lines[1]
    assert len(lines) == 2


def test_a_disk_that_is_nearly_full_is_told(warehouse, monkeypatch):
    for free, level in ((10**8, "wrong"), (10**12, "ok")):
        usage = type("Usage", (), {"free": free})
        monkeypatch.setattr(doctor.shutil, "disk_usage", lambda _, usage=usage: usage)
        assert _levels(warehouse)["disk"] == {level}


def test_a_home_that_cannot_be_written_is_wrong(tmp_path):
    (tmp_path / "file").write_text("")
    settings = Settings(tmp_path / "file" / "home", tmp_path)
    assert next(f.level for f in doctor.paths(settings)) == "wrong"


def test_vacuum_with_its_grace_period(warehouse):
    home = ["--home", str(warehouse.settings.home)]
    assert CliRunner().invoke(cli, ["vacuum", *home]).output == "0 files joined, 0 deleted\n"
    shown = CliRunner().invoke(cli, ["vacuum", "--grace-hours", "0", *home]).output
    assert shown == "0 files joined, 1 deleted\n"


@pytest.mark.parametrize("profile", ["local", "cluster"])
def test_init_writes_a_profile_that_dagster_can_read(tmp_path, monkeypatch, profile):
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path / "dagster"))
    done = CliRunner().invoke(cli, ["init", "--profile", profile, "--home", str(tmp_path)])
    assert done.exit_code == 0, done.output
    assert str(tmp_path / "dagster" / "dagster.yaml") in done.output.split()
    assert (tmp_path / "dagster" / "dagster.yaml").exists()


def test_the_doctor_of_a_machine_does_not_need_the_graph():
    code = "import sys, retail_assets.doctor; print('retail_assets.definitions' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout == "False\n", done.stderr


def test_a_locked_database_is_a_warning_and_publishing_goes_on(warehouse):
    hold = ("import duckdb, sys; c = duckdb.connect(sys.argv[1]); print(1, flush=True);"
            " sys.stdin.read()")  # fmt: skip
    database = str(warehouse.settings.database)
    with subprocess.Popen([sys.executable, "-c", hold, database],
                          stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:  # fmt: skip
        assert holder.stdout is not None
        holder.stdout.readline()
        assert "is open for writing elsewhere" in _one(warehouse, "locks", "warning")
        assert warehouse.publish()["stores"] == 2
        with duckdb.connect(database, read_only=True) as reader:
            assert reader.sql("SELECT count(*) FROM stores").fetchall() == [(2,)]
        holder.communicate(b"")
