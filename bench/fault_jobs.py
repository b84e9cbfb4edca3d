"""What bench.faults and the tests of faults do harm to: a small home, runs in processes of
their own, and a fingerprint of every partition to tell the old content from the new.

The steps are the functions the assets call; the model asset is run by Dagster.
"""

from __future__ import annotations

import csv
import gzip
import multiprocessing
import os
import resource
import signal
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields
from multiprocessing.process import BaseProcess
from pathlib import Path
from types import SimpleNamespace

from retail_assets import contract, staging
from retail_assets.ingest import intervals, landing, lines, raw, reference
from retail_assets.settings import Settings
from retail_assets.warehouse import Warehouse

CHAIN = ("raw_pos", "pos_lines", "pos_quarantine", "trading_days", "interval_sales")
STATUS = ("inventory_status", "inventory_status_params", "demand_profile",
          "inventory_status_score")  # fmt: skip
CLOCKS = {"ingested_at", "seen_at", "modified_ns", "decided_at", "run_id", "seconds"}
"""Columns that say when a row came, by which run, how long it took: no two runs agree in them."""

context = multiprocessing.get_context("forkserver")
context.set_forkserver_preload(["bench.fault_jobs"])

Fingerprint = dict[tuple[str, str], tuple[int, int]]
"""Table and partition -> rows, and a hash of them that no order changes."""


def small_landing(folder: Path, version: int, days: int = 3, per_day: int = 40) -> Path:
    """Receipts of two products in one shop; a version corrects lines of every day."""
    (folder / "pos").mkdir(parents=True, exist_ok=True)
    _write(folder / "products.csv", "product_id,name,category\nbar,Bar,sweets\nbox,Box,sweets\n")
    _write(folder / "stores.csv", "store_id,timezone\nparis,Europe/Paris\n")
    rows = ["transaction_id,line_number,store_id,sold_at,product_id,quantity,unit_price"]
    for i in range(days * per_day):
        day, nth = divmod(i, per_day)
        product = ("bar", "box", "unheard of")[(nth % 7 == 3) + (nth % 10 == 9)]
        quantity = 1 + (nth + version) % 3
        at = f"2024-02-{5 + day:02d} {9 + nth * 9 // per_day:02d}:{nth % 60:02d}:00"
        rows.append(f"r{i},1,paris,{at},{product},{quantity},1.5")
    _write(folder / "pos" / "receipts.csv", "\n".join(rows) + "\n", version)
    return folder


def paper_landing(source: Path, folder: Path, version: int) -> Path:
    """A week of the preset ``paper``; the second version lacks every tenth receipt."""
    (folder / "pos").mkdir(parents=True, exist_ok=True)
    for table in ("products", "stores", "store_hours"):
        _write(folder / f"{table}.csv", (source / f"{table}.csv").read_text())
    week = min((source / "pos").iterdir())
    with gzip.open(week, "rt") as stream:
        header, *rows = csv.reader(stream)
    some = [row for i, row in enumerate(rows) if version == 1 or i % 10]
    text = "".join(",".join(row) + "\n" for row in (header, *some))
    _write(folder / "pos" / "receipts.csv", text, version)
    return folder


def _write(path: Path, text: str, age: int = 0) -> None:
    partial = path.with_name(f".{path.name}")
    partial.write_text(text)
    os.utime(partial, (10**9 + age, 10**9 + age))
    partial.replace(path)


@dataclass(frozen=True)
class Harm:
    """What a run has to bear."""

    megabytes: int | None = None
    """Address space it may take beyond that of its imports."""
    clock: float = 0.0
    """Seconds its clock is ahead."""


NO_HARM = Harm()


def start(job: str, settings: Settings, harm: Harm = NO_HARM) -> BaseProcess:
    """A run of one of ``JOBS`` in a process of its own; exit code 0: done."""
    process = context.Process(target=_bear, args=(job, settings, harm))
    process.start()
    return process


def finish(job: str, settings: Settings, harm: Harm = NO_HARM) -> int | None:
    """As ``start``; the exit code once it is over."""
    process = start(job, settings, harm)
    process.join()
    return process.exitcode


def kill(process: BaseProcess) -> bool:
    """SIGKILL; False when the run was over before."""
    assert process.pid is not None
    if process.is_alive():
        os.kill(process.pid, signal.SIGKILL)
    process.join()
    return process.exitcode == -signal.SIGKILL


def log_of(settings: Settings) -> Path:
    """What the runs of a home last said of their failure; beside the home, not in it."""
    return settings.home.with_name(f"{settings.home.name}.log")


def _bear(job: str, settings: Settings, harm: Harm) -> None:
    with log_of(settings).open("w") as log:
        os.dup2(log.fileno(), 2)
    if harm.clock:
        ahead = harm.clock
        shifted = SimpleNamespace(time=lambda: time.time() + ahead, sleep=time.sleep)
        setattr(staging, "time", shifted)  # noqa: B010 - a module, to a type checker
    if harm.megabytes is not None:
        pages = int(Path("/proc/self/statm").read_text().split()[0])
        limit = pages * resource.getpagesize() + harm.megabytes * 2**20
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    os.environ["RETAIL_ASSETS_HOME"] = str(settings.home)
    JOBS[job](settings)


def ingest(settings: Settings) -> None:
    """Landing files to interval sales, as ``retail-assets run --until interval_sales``."""
    warehouse = Warehouse(settings)
    with warehouse.session() as session:
        landing.write_landing_files(session, landing.scan(session))
    for name in ("products", "stores", "store_hours"):
        with warehouse.session() as session:
            reference.write_reference(session, name)
    for days in landing.affected_ranges(warehouse):
        for step in (raw.write_raw_pos, lines.write_pos_lines, intervals.write_intervals):
            with warehouse.session() as session:
                step(session, days)


def model(settings: Settings) -> None:
    """The asset of step 1 for the one category there is: four tables of one fit."""
    import dagster as dg

    warnings.filterwarnings("ignore", category=dg.BetaWarning)
    from retail_assets.assets.inventory import infer_inventory_status

    warehouse = Warehouse(settings)
    with warehouse.session() as session:
        ((category,),) = session.sql("SELECT DISTINCT category FROM interval_sales").fetchall()
    instance = dg.DagsterInstance.ephemeral()
    instance.add_dynamic_partitions("category", [category])
    dg.materialize(
        [infer_inventory_status],
        partition_key=category,
        resources={"warehouse": warehouse},
        instance=instance,
        run_config={"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}},
    )


def nothing(settings: Settings) -> None:
    """What a process costs."""


JOBS = {job.__name__: job for job in (ingest, model, nothing)}


def fingerprint(warehouse: Warehouse, names: tuple[str, ...]) -> Fingerprint:
    """Rows and content of every partition of some tables, as a reader sees them now."""
    found: Fingerprint = {}
    with warehouse.session() as session:
        for name in names:
            table = contract.table(name)
            columns = ", ".join(f'"{c}"' for c in table.column_names if c not in CLOCKS)
            part = table.partition or "'whole'"
            rows = session.sql(
                f"SELECT {part}::VARCHAR, count(*), sum(hash({columns}))::VARCHAR"
                f" FROM {name} GROUP BY 1"
            ).fetchall()
            found |= {(name, partition): (n, int(total)) for partition, n, total in rows}
    return found


@dataclass
class Tally:
    """What came of the faults."""

    tried: int = 0
    struck: int = 0
    """Faults that hit a run at work."""
    lost: int = 0
    """Rows that are not there after the run that heals."""
    half: int = 0
    """Partitions seen neither old nor new."""

    def see(self, now: Fingerprint, old: Fingerprint, new: Fingerprint) -> None:
        """Count partitions that a reader sees half-written."""
        for key in now.keys() | old.keys() | new.keys():
            self.half += now.get(key) not in (old.get(key), new.get(key))

    def adding(self, other: Tally) -> Tally:
        """Count the faults of another tally in; that one again."""
        for field in fields(self):
            setattr(self, field.name, getattr(self, field.name) + getattr(other, field.name))
        return other

    def healed(self, now: Fingerprint, new: Fingerprint) -> None:
        """Count rows that are missing, doubled or wrong after a run that was left in peace."""
        for key in now.keys() | new.keys():
            if now.get(key) != new.get(key):
                self.lost += max(now.get(key, (0, 0))[0], new.get(key, (0, 0))[0])


@contextmanager
def mounted(folder: Path, megabytes: float) -> Iterator[None]:
    """A small file system in memory at ``folder``.

    Raises
    ------
    OSError
        Where mounting is not allowed.
    """
    folder.mkdir(parents=True, exist_ok=True)
    _mount(f"size={int(megabytes * 1024)}k", folder, "-t", "tmpfs", "tmpfs")
    try:
        yield
    finally:
        _run("umount", "-l", str(folder))


def remount(folder: Path, options: str) -> None:
    """Change the options of a mounted file system: ``ro``, ``rw``, ``size=8m``."""
    _mount(f"remount,{options}", folder)


def _mount(options: str, folder: Path, *what: str) -> None:
    _run("mount", "-o", options, *what, str(folder))


def _run(*command: str) -> None:
    import subprocess

    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise OSError(done.stderr.strip())
