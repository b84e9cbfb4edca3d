"""A shop that is open for a while: dagster dev with every sensor and schedule on, and a till.

``python -m retail_assets_tests.e2e.soak [--minutes 20]``: every half minute a day's receipts
are dropped, not all of them well (drops.py). A reader looks at the tables meanwhile. At the end
each good line must be there once, each bad file and line must be named, no tick and no run may
have failed, no event may be lost, and the daemon must not have grown. ``--backfill`` asks for a
thousand days at once instead (thousand_days.py).
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb

from bench import Row, at_least, at_most
from retail_assets.automation.jobs import DAILY
from retail_assets.partitions import RANGE_END, RANGE_START
from retail_assets.settings import Settings
from retail_assets.warehouse import Warehouse
from retail_assets_tests.e2e import drops, small_shop, thousand_days
from retail_assets_tests.e2e.memory import watched
from retail_assets_tests.e2e.small_shop import Served, graphql, materializations, runs, wait_for

EVERY, LOOK_EVERY = (20, 40), 10
"""Seconds from drop to drop, at random so as not to keep step with the sensor; between looks."""
FIRST_DAYS = 3
"""Dropped before the servers start, so that the first day is known."""
SETTLE_SECONDS = 600
MEMORY_BOUND = 0.2
TICKS = """
{ repositoriesOrError { ... on RepositoryConnection { nodes {
  sensors { name sensorState { status ticks(limit: 5000) { status error { message } } } }
  schedules { name scheduleState { status ticks(limit: 5000) { status error { message } } } }
} } } }"""


@dataclass
class Reader:
    """Somebody who looks at the tables all the time, and how often what she saw was wrong."""

    warehouse: Warehouse
    looks: int = 0
    published: int = 0
    wrong: list[str] = field(default_factory=list)

    def look(self) -> None:
        """No line is ever there twice, and a table or database being written can be read."""
        self.looks += 1
        try:
            with self.warehouse.session() as session:
                lines, keys = session.sql(
                    "SELECT count(*), count(DISTINCT (source_file, source_row)) FROM pos_lines"
                ).fetchall()[0]
            if lines != keys:
                self.wrong.append(f"{lines} lines, {keys} of them different")
            if self.warehouse.settings.database.exists():
                with duckdb.connect(str(self.warehouse.settings.database), read_only=True) as base:
                    base.execute("SELECT count(*), sum(net_amount) FROM pos_lines").fetchall()
                self.published += 1
        except Exception as error:  # whatever a reader sees is a finding
            self.wrong.append(str(error).splitlines()[0])


def soak(home: Path, minutes: float) -> list[Row]:
    """Open the shop for so long; the table of what was found."""
    days = FIRST_DAYS + int(minutes * 60 / EVERY[0]) + 1
    till = drops.till(home, datetime.now(UTC).date() - timedelta(days=1), days)
    for _ in range(FIRST_DAYS):
        till.drop()
    time.sleep(Settings.quiet_seconds + 1)
    small_shop.command(home, "-m", "retail_assets.cli", "run", "--until", "interval_sales")
    warehouse = Warehouse(Settings.load(home, home / "landing").save(automate=True))
    reader, pause = Reader(warehouse), random.Random(6)
    with small_shop.served(home) as shop, watched(home, LOOK_EVERY, reader.look) as memory:
        began = time.monotonic()
        while time.monotonic() - began < 60 * minutes:
            print(f"{time.monotonic() - began:6.0f} s  {till.drop()}", flush=True)
            time.sleep(pause.uniform(*EVERY))
        till.complete()
        wait_for("landing", lambda: _settled(shop, warehouse, till), shop.log, SETTLE_SECONDS)
        rows = [*_landed(warehouse, till), *_ran(shop)]
    rows += [
        Row("looks at the tables, at retail.duckdb", f"{reader.looks}, {reader.published}"),
        at_most(f"  that saw something wrong {reader.wrong[:1] or ''}", len(reader.wrong), 0),
    ]
    return rows + memory.rows(MEMORY_BOUND)


def _settled(shop: Served, warehouse: Warehouse, till: drops.Till) -> bool:
    """Every day is there as it was dropped last, and no run goes on."""
    going = [r for r in runs(shop.url) if r["status"] not in ("SUCCESS", "FAILURE", "CANCELED")]
    return not going and _lines(warehouse) == till.good


def _lines(warehouse: Warehouse) -> Counter[drops.Line]:
    with warehouse.session() as session:
        found = session.sql(
            "SELECT transaction_id, line_number::VARCHAR, product_id, quantity::BIGINT::VARCHAR"
            " FROM pos_lines"
        ).fetchall()
    return Counter(found)


def _landed(warehouse: Warehouse, till: drops.Till) -> list[Row]:
    """What became of the lines and files."""
    lines = _lines(warehouse)
    with warehouse.session() as session:
        ((bad,),) = session.sql("SELECT count(*) FROM pos_quarantine").fetchall()
        failed = session.sql(
            "SELECT DISTINCT file FROM landing_files WHERE state = 'failed' AND error IS NOT NULL"
        ).fetchall()
    refused = {file for (file,) in failed}
    return [
        Row("days dropped; good lines", f"{len(till.dropped)}; {till.good.total():,}"),
        at_most("  good lines missing", (till.good - lines).total(), 0),
        at_most("  lines too many", (lines - till.good).total(), 0),
        Row("bad lines", till.bad),
        at_most("  not in quarantine, or too many there", abs(bad - till.bad), 0),
        Row("broken files and copies", len(till.refused)),
        at_most("  not reported", len(till.refused - refused), 0),
        at_most("  good files reported as failed", len(refused - till.refused), 0),
    ]


def _ran(shop: Served) -> list[Row]:
    """What Dagster did: ticks, runs, and the events each run owes."""
    ((repository,),) = [graphql(shop.url, TICKS)["repositoriesOrError"]["nodes"]]
    states = [s["sensorState"] for s in repository["sensors"]]
    states += [s["scheduleState"] for s in repository["schedules"]]
    ticks = [tick for state in states for tick in state["ticks"]]
    broken = [tick["error"]["message"] for tick in ticks if tick["status"] == "FAILURE"]
    every = runs(shop.url)
    jobs = Counter(run["jobName"].replace("__ASSET_JOB", "automation") for run in every)
    failed = [run for run in every if run["status"] != "SUCCESS"]
    owed, lost = _events(shop.url, every)
    return [
        at_least("sensors and schedules on", _on(states), len(states)),
        Row("ticks", len(ticks)),
        at_most(f"  that failed {broken[:1] or ''}", len(broken), 0),
        Row("runs: " + ", ".join(f"{n} {job}" for job, n in jobs.items()), len(every)),
        at_most(f"  that failed {_assets(failed) or ''}", len(failed), 0),
        Row("materializations owed by runs over days", owed),
        at_most("  lost", lost, 0),
    ]


def _on(states: Iterable[dict[str, Any]]) -> int:
    return sum(state["status"] == "RUNNING" for state in states)


def _assets(found: list[dict[str, Any]]) -> list[str]:
    return sorted({name for run in found for name in run["assets"]})


def _events(url: str, every: list[dict[str, Any]]) -> tuple[int, int]:
    """Materializations that the good runs over days owe, and how many are not there."""
    owed = {
        (name, day, run["runId"])
        for run in every
        if run["status"] == "SUCCESS" and RANGE_START in run["tags"]
        for name in (DAILY if run["jobName"] == "ingest" else run["assets"])
        for day in _days(run["tags"][RANGE_START], run["tags"][RANGE_END])
    }
    there = set(materializations(url, {name for name, _, _ in owed}))
    return len(owed), len(owed - there)


def _days(first: str, last: str) -> list[str]:
    start, count = date.fromisoformat(first), (date.fromisoformat(last) - date.fromisoformat(first))
    return [str(start + timedelta(days=n)) for n in range(count.days + 1)]


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--minutes", type=float, default=20)
    parser.add_argument("--backfill", action="store_true", help="a thousand days at once instead")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="retail-assets-soak-") as folder:
        home = Path(folder, "home")
        rows = thousand_days.backfill(home) if args.backfill else soak(home, args.minutes)
    width = max(len(row.metric) for row in rows)
    for row in rows:
        value = row.value if isinstance(row.value, str) else f"{row.value:,.5g}"
        verdict = {True: "ok", False: "MISSED", None: ""}[row.ok]
        print(f"{row.metric:<{width}}  {value:>14}  {row.target:<12} {verdict}".rstrip())
    return 0 if all(row.ok is not False for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
