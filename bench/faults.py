"""Harm done to runs: how many faults, how many rows lost, how many partitions seen half.

Every fault strikes a run that brings a corrected week of receipts into a lake that holds the
week before its correction; after the blow every partition is compared with its old and its
new content, and after a run that is left in peace with the new content. ``--large`` kills five
times as often, and every other model asset of a finished home twenty times
(fault_models.py). What is run, and how, is fault_jobs.py.
"""

from __future__ import annotations

import gzip
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from bench import Row, at_most, fault_models
from bench import fault_jobs as jobs
from bench.fault_jobs import CHAIN, STATUS, Fingerprint, Harm, Tally, fingerprint
from retail_assets import doctor
from retail_assets.settings import Settings
from retail_assets.simulator import write_preset
from retail_assets.warehouse import Warehouse

SEED = 6
MODEL_KILLS = 20
HEADER = "transaction_id,line_number,store_id,sold_at,product_id,quantity,unit_price"


@dataclass
class Shop:
    """A home, both versions of its receipts, and what its tables hold of each."""

    warehouse: Warehouse
    source: Path
    names: tuple[str, ...]
    content: dict[int, Fingerprint]

    @staticmethod
    def open(home: Path, source: Path, names: tuple[str, ...] = CHAIN) -> Shop:
        """Undisturbed runs over version 2, then version 1, which is what the lake holds."""
        settings = Settings(home, home.with_name(f"{home.name}-landing"))
        shop = Shop(Warehouse(settings), source, names, {})
        for version in (2, 1):
            shop.land(version)
            shop.peace()
            shop.content[version] = shop.now()
        return shop

    @property
    def settings(self) -> Settings:
        return self.warehouse.settings

    def land(self, version: int) -> None:
        jobs.paper_landing(self.source, self.settings.landing, version)

    def now(self) -> Fingerprint:
        return fingerprint(self.warehouse, self.names)

    def peace(self) -> None:
        """A run of everything that nothing disturbs."""
        for job in ("ingest", "model") if self.names == STATUS else ("ingest",):
            if jobs.finish(job, self.settings):
                raise RuntimeError(jobs.log_of(self.settings).read_text())

    def compare(self, tally: Tally, old: int, new: int) -> None:
        tally.see(self.now(), self.content[old], self.content[new])

    def heal(self, tally: Tally, new: int) -> None:
        self.peace()
        tally.healed(self.now(), self.content[new])


def run(*, quick: bool, large: bool) -> list[Row]:
    """The table of this bench."""
    kills = 4 if quick else 100 if large else 20
    rows, every = list[Row](), Tally()
    with tempfile.TemporaryDirectory(prefix="retail-assets-bench-") as folder:
        work = Path(folder)
        write_preset("paper", work / "paper")
        faults: dict[str, Callable[[], Tally]] = {
            "kill -9 of ingest": lambda: _kills(work, "ingest", CHAIN, kills),
            "kill -9 of a model asset": lambda: _kills(work, "model", STATUS, kills),
            "disk full": lambda: _disk_full(work, 2 if quick else 5),
            "lake read-only": lambda: _read_only(work),
            "out of memory": lambda: _out_of_memory(work, (0, 100, 300, 600)[-2 if quick else 0 :]),
            "clock set back": lambda: _clock(work),
            "two runs at once": lambda: _twice(work, 1 if quick else 5),
            "reader holds retail.duckdb": lambda: _reader(work),
            "damaged Parquet file": lambda: _damaged(work),
        }
        for name, strike in faults.items():
            try:
                rows += _rows(name, every.adding(strike()))
            except OSError as error:
                rows.append(Row(f"{name}, not tried: {error}", "-"))
        for name, tally in fault_models.kills(work, MODEL_KILLS, SEED) if large else ():
            rows += _rows(f"kill -9 of {name}", every.adding(tally))
        rows += _rows("all faults", every)
        rows += _hostile(work, large)
    return rows


def _rows(name: str, tally: Tally) -> list[Row]:
    return [
        Row(f"{name}: faults tried", tally.tried),
        Row("  that hit a run at work", tally.struck),
        at_most("  rows lost", tally.lost, 0),
        at_most("  partitions half-visible", tally.half, 0),
    ]


def _kills(work: Path, job: str, names: tuple[str, ...], n: int) -> Tally:
    """SIGKILL after a random share of what an undisturbed run takes, until n hit one at work."""
    shop = Shop.open(work / f"kill-{job}", work / "paper", names)
    draw, tally, at = random.Random(SEED), Tally(), 1
    began = time.monotonic()
    jobs.finish(job, shop.settings)
    if job == "ingest":
        shop.land(2)
        began = time.monotonic()
        jobs.finish(job, shop.settings)
        at = 2
    whole = time.monotonic() - began
    while tally.struck < n and tally.tried < 3 * n:
        old, at = at, 3 - at
        shop.land(at)
        if job == "model":
            jobs.finish("ingest", shop.settings)
        process = jobs.start(job, shop.settings)
        time.sleep(draw.uniform(0, whole))
        tally.struck += jobs.kill(process)
        tally.tried += 1
        shop.compare(tally, old, at)
        shop.heal(tally, at)
    return tally


def _disk_full(work: Path, n: int) -> Tally:
    """Room for more and more of the new rows, never for all."""
    tally, home = Tally(), work / "full"
    for attempt in range(n):
        with jobs.mounted(home, 256):
            shop = Shop.open(home, work / "paper")
            shop.land(2)
            used = int(subprocess.check_output(["du", "-sk", str(home)]).split()[0])
            jobs.remount(home, f"size={used + 8 + 60 * attempt}k")
            tally.tried += 1
            tally.struck += jobs.finish("ingest", shop.settings) != 0
            shop.compare(tally, 1, 2)
            jobs.remount(home, "size=256m")
            shop.heal(tally, 2)
    return tally


def _read_only(work: Path) -> Tally:
    tally, home = Tally(1), work / "read-only"
    with jobs.mounted(home, 256):
        shop = Shop.open(home, work / "paper")
        shop.land(2)
        jobs.remount(home, "ro")
        tally.struck = jobs.finish("ingest", shop.settings) != 0
        shop.compare(tally, 1, 1)
        jobs.remount(home, "rw")
        shop.heal(tally, 2)
    return tally


def _out_of_memory(work: Path, megabytes: tuple[int, ...]) -> Tally:
    """So much address space beyond the imports; the week takes 1.2 GB where there is enough."""
    shop, tally, at = Shop.open(work / "memory", work / "paper"), Tally(), 1
    for some in megabytes:
        old, at = at, 3 - at
        shop.land(at)
        tally.tried += 1
        tally.struck += jobs.finish("ingest", shop.settings, Harm(megabytes=some)) != 0
        shop.compare(tally, old, at)
        shop.heal(tally, at)
    return tally


def _clock(work: Path) -> Tally:
    """A run two hours ahead of its time, then a killed and a whole run at the right one."""
    shop, tally = Shop.open(work / "clock", work / "paper"), Tally(2)
    for at in (2, 1):
        shop.land(at)
        jobs.finish("ingest", shop.settings, Harm(clock=7200))
        shop.compare(tally, at, at)
        shop.land(3 - at)
        process = jobs.start("ingest", shop.settings)
        time.sleep(0.5)
        tally.struck += jobs.kill(process)
        shop.compare(tally, at, 3 - at)
        shop.peace()
        shop.heal(tally, 3 - at)
        shop.land(at)
        shop.peace()
    return tally


def _twice(work: Path, n: int) -> Tally:
    shop, tally, at = Shop.open(work / "twice", work / "paper"), Tally(), 1
    for _ in range(n):
        old, at = at, 3 - at
        shop.land(at)
        both = [jobs.start("ingest", shop.settings) for _ in range(2)]
        while any(process.is_alive() for process in both):
            shop.compare(tally, old, at)
        tally.tried, tally.struck = tally.tried + 1, tally.struck + 1
        shop.heal(tally, at)
    return tally


READER = """
import sys, duckdb
connection = duckdb.connect(sys.argv[1], read_only=True)
seen = set()
while not seen or sys.stdin.readline().strip() != "end":
    seen.add(connection.sql("SELECT count(*), sum(units) FROM interval_sales").fetchall()[0])
    print(len(seen), flush=True)
"""


def _reader(work: Path) -> Tally:
    """It sees one version from first to last, and no publication waits for it."""
    shop, tally = Shop.open(work / "reader", work / "paper"), Tally(1, 1)
    shop.warehouse.publish()
    command = [sys.executable, "-c", READER, str(shop.settings.database)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as reader:
        assert reader.stdin is not None
        assert reader.stdout is not None
        versions = {reader.stdout.readline()}
        for at in (2, 1, 2):
            shop.land(at)
            shop.heal(tally, at)
            shop.warehouse.publish()
            reader.stdin.write("again\n")
            reader.stdin.flush()
            versions.add(reader.stdout.readline())
        reader.communicate("end\n")
    tally.half += versions != {"1\n"} or reader.returncode != 0
    return tally


def _damaged(work: Path) -> Tally:
    """Named by the doctor; the rollback and the run it advises bring every row back."""
    shop, tally = Shop.open(work / "damaged", work / "paper"), Tally()
    for name in CHAIN:
        files = shop.warehouse.files(name, shop.warehouse.version(name))
        if not files:
            continue
        Path(files[0]).write_bytes(b"PAR1 damaged PAR1")
        tally.tried += 1
        named = [f.about for f in doctor.tables(shop.warehouse) if f.level == doctor.WRONG]
        tally.struck += any(Path(files[0]).name in about for about in named)
        shop.warehouse.rollback(name, 0)
        shop.heal(tally, 1)
    return tally


SCAN = """
import json, sys
from pathlib import Path
from retail_assets.ingest import landing
from retail_assets.settings import Settings
from retail_assets.warehouse import Warehouse
with Warehouse(Settings(Path(sys.argv[1]), Path(sys.argv[2]))).session() as session:
    errors = [file.error or file.state for file in landing.scan(session)]
lines = Path("/proc/self/status").read_text().splitlines()
peak = next(int(line.split()[1]) for line in lines if line.startswith("VmHWM"))
print("\\n" + json.dumps([errors, peak / 1e6]))
"""


def _hostile(work: Path, large: bool) -> list[Row]:
    """Files made to do harm, at their real size: how they end, and at what cost."""
    import json
    import os

    start = gzip.compress(f"{HEADER}\n".encode())
    gigabytes = 100 if large else 10
    zeros = gzip.compress(b"\0" * 2**26)
    bombs: dict[str, list[bytes]] = {
        f"zip bomb of {gigabytes} GB.csv.gz": [start, *[zeros] * (gigabytes * 16)],
        "one line of 1 GB.csv": [b"x" * 2**20] * 1024,
        "header, then one line of 1 GB.csv": [f"{HEADER}\n".encode(), *[b"x" * 2**20] * 1024],
        "1 GB of NUL.csv": [f"{HEADER}\n".encode(), *[b"\0" * 2**20] * 1024],
        "header of 10 M columns.csv": [b"column," * 10**6] * 10,
    }
    rows = []
    for at, (name, pieces) in enumerate(bombs.items()):
        landing = work / f"hostile-{at}"
        (landing / "pos").mkdir(parents=True)
        path = landing / "pos" / f"bomb{''.join(Path(name).suffixes[-2:])}"
        if name.endswith(".csv"):
            path = path.with_name("bomb.csv")
        with path.open("wb") as stream:
            stream.writelines(pieces)
        os.utime(path, (1, 1))
        began = time.monotonic()
        command = [sys.executable, "-c", SCAN, str(work / f"hostile-home-{at}"), str(landing)]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        ((error,), peak) = json.loads(done.stdout.splitlines()[-1])
        path.unlink()
        rows += [
            Row(f"{name}: seconds", time.monotonic() - began),
            at_most("  peak memory, GB", peak, 0.5),
            Row("  is refused by name", str(error.startswith(f"pos/{path.name}")), "True",
                error.startswith(f"pos/{path.name}")),
        ]  # fmt: skip
    return rows
