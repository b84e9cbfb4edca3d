"""Harm done to real runs on real tables: nothing is lost, nothing is seen half, a run heals.

Few faults each, on a shop of 120 receipt lines; bench/faults.py tries many on a bigger one.
"""

from __future__ import annotations

import os
import random
import subprocess
import sys
import threading
import time
from pathlib import Path

import duckdb
import pytest

from bench import fault_jobs as jobs
from bench.fault_jobs import CHAIN, Harm, Tally, fingerprint
from retail_assets import doctor
from retail_assets.ingest import landing, unfinished
from retail_assets.settings import Settings
from retail_assets.warehouse import Warehouse


@pytest.fixture
def warehouse(tmp_path: Path) -> Warehouse:
    """A home whose lake holds version 1 of the receipts; version 2 has just landed."""
    return _home(tmp_path / "home", tmp_path / "landing")


def _home(home: Path, folder: Path) -> Warehouse:
    made = Warehouse(Settings(home, jobs.small_landing(folder, 1)))
    jobs.ingest(made.settings)
    jobs.small_landing(folder, 2)
    return made


@pytest.fixture(scope="module")
def corrected(tmp_path_factory: pytest.TempPathFactory) -> jobs.Fingerprint:
    """What every partition should hold of version 2, from a run that nothing disturbed."""
    folder = tmp_path_factory.mktemp("undisturbed")
    made = Warehouse(Settings(folder / "home", jobs.small_landing(folder / "landing", 2)))
    jobs.ingest(made.settings)
    whole = fingerprint(made, CHAIN)
    assert sum(rows for (table, _), (rows, _) in whole.items() if table == "raw_pos") == 120
    return whole


def test_kill_at_any_moment_shows_old_or_new_and_the_next_run_heals(warehouse, corrected):
    draw = random.Random(6)
    old = fingerprint(warehouse, CHAIN)
    jobs.finish("nothing", warehouse.settings)  # the first process of all imports everything
    began = time.monotonic()
    assert jobs.finish("ingest", warehouse.settings) == 0
    whole_run, tally = time.monotonic() - began, Tally()
    new = fingerprint(warehouse, CHAIN)
    assert new == corrected
    assert all(old[key] != new[key] for key in old if key[0] in ("raw_pos", "pos_lines"))
    for attempt in range(4):
        jobs.small_landing(warehouse.settings.landing, 1 + attempt % 2)
        old, new = new, old
        run = jobs.start("ingest", warehouse.settings)
        time.sleep(draw.uniform(0.1, 0.8) * whole_run)
        tally.struck += jobs.kill(run)
        tally.see(fingerprint(warehouse, CHAIN), old, new)
        jobs.ingest(warehouse.settings)
        tally.healed(fingerprint(warehouse, CHAIN), new)
        assert landing.affected_ranges(warehouse) == []
    assert (tally.half, tally.lost) == (0, 0)
    assert tally.struck >= 2, "most hit a run at work"


def test_two_runs_of_the_same_days_at_once_leave_one_whole_result(warehouse, corrected):
    both = [jobs.start("ingest", warehouse.settings) for _ in range(2)]
    for run in both:
        run.join()
    jobs.ingest(warehouse.settings)
    assert fingerprint(warehouse, CHAIN) == corrected


def _needs_mount(folder: Path) -> None:
    try:
        with jobs.mounted(folder, 1):
            pass
    except OSError as error:
        pytest.skip(f"a small file system cannot be mounted here: {error}")


def test_a_full_disk_fails_the_run_and_more_room_heals(tmp_path, corrected):
    home = tmp_path / "home"
    _needs_mount(home)
    with jobs.mounted(home, 32):
        warehouse = _home(home, tmp_path / "landing")
        old = fingerprint(warehouse, CHAIN)
        used = int(subprocess.check_output(["du", "-sk", str(home)]).split()[0])
        jobs.remount(home, f"size={used + 16}k")
        assert jobs.finish("ingest", warehouse.settings) != 0
        assert "No space left on device" in jobs.log_of(warehouse.settings).read_text()
        tally = Tally()
        tally.see(fingerprint(warehouse, CHAIN), old, corrected)
        assert tally.half == 0
        jobs.remount(home, "size=32m")
        assert jobs.finish("ingest", warehouse.settings) == 0
        assert fingerprint(warehouse, CHAIN) == corrected


def test_a_read_only_lake_fails_the_run_and_is_still_read(tmp_path, corrected):
    home = tmp_path / "home"
    _needs_mount(home)
    with jobs.mounted(home, 32):
        warehouse = _home(home, tmp_path / "landing")
        old = fingerprint(warehouse, CHAIN)
        jobs.remount(home, "ro")
        assert jobs.finish("ingest", warehouse.settings) != 0
        assert "Read-only file system" in jobs.log_of(warehouse.settings).read_text()
        assert fingerprint(warehouse, CHAIN) == old
        jobs.remount(home, "rw")
        assert jobs.finish("ingest", warehouse.settings) == 0
        assert fingerprint(warehouse, CHAIN) == corrected


@pytest.mark.parametrize("megabytes", [0, 300])
def test_a_step_out_of_memory_leaves_the_tables_and_the_next_run_heals(
    warehouse, corrected, megabytes
):
    old = fingerprint(warehouse, CHAIN)
    assert jobs.finish("ingest", warehouse.settings, Harm(megabytes=megabytes)) != 0
    tally = Tally()
    tally.see(fingerprint(warehouse, CHAIN), old, corrected)
    assert tally.half == 0
    assert jobs.finish("ingest", warehouse.settings) == 0
    assert fingerprint(warehouse, CHAIN) == corrected


def test_a_clock_that_was_set_back_hides_no_correction(warehouse, corrected):
    jobs.small_landing(warehouse.settings.landing, 1)
    ahead = Harm(clock=7200)
    assert jobs.finish("ingest", warehouse.settings, ahead) == 0
    jobs.small_landing(warehouse.settings.landing, 2)
    jobs.ingest(warehouse.settings)
    jobs.ingest(warehouse.settings)
    assert fingerprint(warehouse, CHAIN) == corrected
    assert landing.affected_ranges(warehouse) == []


def test_a_file_changed_in_the_future_does_not_wait_for_that_day(warehouse, corrected):
    later = time.time() + 10 * 365 * 86400
    os.utime(warehouse.settings.landing / "pos" / "receipts.csv", (later, later))
    jobs.ingest(warehouse.settings)
    assert fingerprint(warehouse, CHAIN) == corrected


def test_a_damaged_file_is_named_and_a_rollback_and_a_run_mend_it(warehouse, corrected):
    damaged, *_ = warehouse.files("raw_pos", warehouse.version("raw_pos"))
    Path(damaged).write_bytes(b"PAR1 damaged PAR1")
    with pytest.raises(duckdb.Error, match=Path(damaged).name):
        jobs.ingest(warehouse.settings)
    assert any(Path(damaged).name in finding.about for finding in doctor.tables(warehouse))
    others = tuple(name for name in CHAIN if name != "raw_pos")
    assert fingerprint(warehouse, others).keys() == {k for k in corrected if k[0] != "raw_pos"}
    warehouse.rollback("raw_pos", 0)
    jobs.ingest(warehouse.settings)
    assert fingerprint(warehouse, CHAIN) == corrected


@pytest.mark.parametrize("table", CHAIN)
def test_a_table_rolled_back_to_nothing_is_filled_by_the_next_run(warehouse, corrected, table):
    jobs.ingest(warehouse.settings)
    warehouse.rollback(table, 0)
    jobs.ingest(warehouse.settings)
    assert fingerprint(warehouse, CHAIN) == corrected
    assert landing.affected_ranges(warehouse) == []


READER = """
import sys, duckdb
connection = duckdb.connect(sys.argv[1], read_only=True)
first = connection.sql("SELECT sum(units) FROM interval_sales").fetchall()
print(1, flush=True)
sys.stdin.readline()
assert connection.sql("SELECT sum(units) FROM interval_sales").fetchall() == first
print(first[0][0])
"""


def test_a_reader_that_holds_the_database_open_blocks_nothing_and_sees_one_version(warehouse):
    warehouse.publish()
    command = [sys.executable, "-c", READER, str(warehouse.settings.database)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as reader:
        assert reader.stdout is not None
        assert reader.stdout.readline() == "1\n"
        jobs.ingest(warehouse.settings)
        warehouse.publish()
        seen, _ = reader.communicate("\n")
    assert reader.returncode == 0
    now = subprocess.run(command, input="\n", capture_output=True, text=True).stdout.split()[-1]
    assert seen.strip() != now


def test_a_run_told_to_stop_after_the_receipts_leaves_a_category_to_do(warehouse):
    rates = (
        "SELECT 'sweets' AS category, 's' AS store_id, 'p' AS product_id, 1 AS mean, 0 AS sd,"
        " 1 AS q025, 1 AS q50, 1 AS q975, DATE '2024-01-01' AS as_of"
    )
    names = ("demand_rates", "substitution_rates", "products")
    assert unfinished.unfinished_categories(warehouse, names) == set()
    with warehouse.session() as session:
        session.replace("demand_rates", session.sql(rates), "sweets")
    assert unfinished.unfinished_categories(warehouse, names) == set()
    time.sleep(0.01)
    jobs.ingest(warehouse.settings)
    assert unfinished.unfinished_categories(warehouse, names) == {"sweets"}


def _rates(settings: Settings, category: str, version: int) -> None:
    warehouse = Warehouse(settings)
    with warehouse.session() as session:
        rows = session.sql(
            f"SELECT '{category}' AS category, 's' AS store_id, 'p' || i AS product_id,"
            f" {version} AS mean, 0 AS sd, 1 AS q025, 1 AS q50, 1 AS q975,"
            " DATE '2024-01-01' AS as_of FROM range(500) t(i)"
        )
        session.replace("demand_rates", rows, category)


def _replace_often(settings: Settings, category: str) -> None:
    for version in range(1, 5):
        _rates(settings, category, version)


def test_eight_writers_of_one_table_and_a_reader_fail_in_nothing(tmp_path):
    warehouse = Warehouse(Settings(tmp_path / "home", tmp_path))
    categories = [f"c{i}" for i in range(8)]
    for category in categories:
        _rates(warehouse.settings, category, 0)
    writers = [jobs.context.Process(target=_replace_often, args=(warehouse.settings, c))
               for c in categories]  # fmt: skip
    torn, reads, done = [], 0, threading.Event()
    for writer in writers:
        writer.start()
    while not done.is_set():
        if not any(writer.is_alive() for writer in writers):
            done.set()
        with warehouse.session() as session:
            seen = session.sql(
                "SELECT category, count(*), count(DISTINCT mean) FROM demand_rates GROUP BY 1"
            ).fetchall()
        torn += [row for row in seen if row[1:] != (500, 1)]
        torn += [len(seen)] * (len(seen) != 8)
        reads += 1
    for writer in writers:
        writer.join()
    assert [writer.exitcode for writer in writers] == [0] * 8
    assert torn == []
    assert reads > 1
    assert warehouse.version("demand_rates") == 8 * 5
