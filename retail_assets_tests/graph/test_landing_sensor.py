"""What the landing sensor asks for, tick by tick."""

import json
import os
import time

import dagster as dg
import pytest

from retail_assets.assets import ingest
from retail_assets.automation.sensors import landing_sensor
from retail_assets.settings import Settings
from retail_assets.warehouse import Warehouse

POS = "transaction_id,line_number,store_id,sold_at,product_id,quantity,unit_price\n"
START, END = "dagster/asset_partition_range_start", "dagster/asset_partition_range_end"


class Watched:
    """A landing folder with its sensor: runs what is asked, once per run key."""

    def __init__(self, tmp_path):
        folder = tmp_path / "landing"
        (folder / "pos").mkdir(parents=True)
        self.folder = folder
        self.warehouse = Warehouse(Settings(home=tmp_path / "home", landing=folder))
        self.instance = dg.DagsterInstance.ephemeral()
        self.cursor: str | None = None
        self.keys: set[str] = set()

    def drop(self, file: str, *rows: str, age: float = 60) -> None:
        path = self.folder / file
        path.write_text(POS + "".join(f"{row}\n" for row in rows))
        os.utime(path, (time.time() - age,) * 2)

    def tick(self) -> dg.RunRequest | None:
        """One tick; the request, unless its run key was seen before."""
        context = dg.build_sensor_context(
            instance=self.instance, cursor=self.cursor, resources={"warehouse": self.warehouse}
        )
        result = landing_sensor(context)
        if isinstance(result, dg.SkipReason):
            return None
        self.cursor = result.cursor
        requests = result.run_requests or []
        assert len(requests) <= 1
        new = [r for r in requests if r.run_key not in self.keys]
        self.keys |= {r.run_key for r in new}
        return new[0] if new else None

    def run(self, request: dg.RunRequest) -> None:
        names = {
            "references": [ingest.landing_files, *ingest.reference_assets],
            "ingest": [ingest.raw_pos, ingest.pos_lines, ingest.interval_sales],
        }
        every = [*names["references"], *names["ingest"]]
        assert dg.materialize(
            every, selection=names[request.job_name], tags=request.tags,
            instance=self.instance, resources={"warehouse": self.warehouse},
        ).success  # fmt: skip

    def settle(self) -> list[str]:
        """Tick and run until nothing is asked for; the jobs that ran."""
        jobs = []
        while request := self.tick():
            self.run(request)
            jobs.append(request.job_name)
            assert len(jobs) < 6
        return jobs

    def lines(self) -> list[tuple]:
        with self.warehouse.session() as session:
            return session.sql(
                "SELECT transaction_id, quantity FROM pos_lines ORDER BY 1"
            ).fetchall()


@pytest.fixture
def watched(tmp_path):
    return Watched(tmp_path)


ONE = "r1,1,paris,2024-02-05 10:00:00,bar,2,1.5"
TWO = "r2,1,paris,2024-02-07 10:00:00,bar,1,1.5"


def test_new_receipts_ask_for_the_tables_then_for_their_days(watched):
    watched.drop("pos/a.csv", ONE, TWO)
    first = watched.tick()
    assert first.job_name == "references"
    watched.run(first)
    second = watched.tick()
    assert (second.job_name, second.tags[START], second.tags[END]) == (
        "ingest",
        "2024-02-05",
        "2024-02-07",
    )
    watched.run(second)
    assert watched.tick() is None
    assert watched.lines() == [("r1", 2.0), ("r2", 1.0)]


def test_a_replay_a_lost_cursor_and_a_touched_file_ask_for_nothing(watched):
    watched.drop("pos/a.csv", ONE)
    watched.settle()
    assert watched.tick() is None
    watched.cursor = None
    assert watched.tick() is None
    os.utime(watched.folder / "pos/a.csv", (1_700_000_000,) * 2)
    assert watched.settle() == []


def test_a_request_is_not_repeated_while_its_run_lasts(watched):
    watched.drop("pos/a.csv", ONE)
    assert watched.tick() is not None
    assert watched.tick() is None


def test_a_copy_of_a_file_adds_no_lines(watched):
    watched.drop("pos/a.csv", ONE)
    watched.settle()
    watched.drop("pos/b.csv", ONE)
    assert watched.settle() == ["references"]
    assert watched.lines() == [("r1", 2.0)]


def test_a_changed_file_asks_again_and_so_does_one_that_changes_back(watched):
    watched.drop("pos/a.csv", ONE)
    watched.settle()
    watched.drop("pos/a.csv", TWO, age=50)
    assert watched.settle() == ["references", "ingest"]
    assert watched.lines() == [("r2", 1.0)]
    watched.drop("pos/a.csv", ONE, age=40)
    assert watched.settle() == ["references", "ingest"]
    assert watched.lines() == [("r1", 2.0)]


def test_a_half_written_file_waits_and_is_not_forgotten(watched):
    watched.drop("pos/a.csv", ONE, age=0)
    assert watched.tick() is None
    assert not watched.warehouse.exists("raw_pos")
    watched.drop("pos/a.csv", ONE, TWO)
    assert watched.settle() == ["references", "ingest"]
    assert len(watched.lines()) == 2


def test_a_thousand_files_are_one_request_and_a_quiet_tick_reads_none(watched, monkeypatch):
    for i in range(1000):
        watched.drop(f"pos/{i:04d}.csv", f"r{i},1,paris,2024-02-05 10:00:00,bar,1,1.5")
    request = watched.tick()
    watched.run(request)
    request = watched.tick()
    assert request.tags[START] == request.tags[END] == "2024-02-05"
    watched.run(request)
    assert watched.tick() is None
    assert len(watched.lines()) == 1000
    assert json.loads(watched.cursor).keys() == {"settled"}
    monkeypatch.setattr("retail_assets.ingest.folder.read_bytes", None)
    began = time.monotonic()
    assert watched.tick() is None
    assert time.monotonic() - began < 2


def test_receipts_before_the_first_day_ask_to_reload(watched):
    watched.drop("pos/a.csv", "r1,1,paris,2001-02-05 10:00:00,bar,1,1.5")
    watched.run(watched.tick())
    assert watched.tick() is None
    assert not watched.warehouse.exists("raw_pos")


def test_files_that_never_stop_coming_do_not_keep_receipts_out(watched):
    jobs = []
    for n in range(4):
        watched.drop(f"pos/{n}.csv", f"r{n},1,paris,2024-02-05 10:00:00,bar,1,1.5")
        request = watched.tick()
        watched.run(request)
        jobs.append(request.job_name)
    assert jobs == ["references", "ingest"] * 2
