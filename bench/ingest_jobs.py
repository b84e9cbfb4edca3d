"""Jobs that bench.ingest runs in processes of their own, and what they are fed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import duckdb

ROOT = Path(__file__).parent.parent
FIRST_DAY = "2023-01-01"
STORES, PRODUCTS, LINES_PER_RECEIPT = 20, 500, 3
BAD_SHARE = 0.001
JOBS = ("bench.ingest_jobs.ours", "bench.ingest_jobs.backfill", "bench.ingest_real.real",
        "bench.ingest_pandas.whole", "bench.ingest_pandas.by_day")  # fmt: skip


def measure(job: str, landing: Path, home: Path) -> dict[str, Any]:
    """Run one of JOBS in its own process; CPU seconds include its threads."""
    done = subprocess.run(
        [sys.executable, "-m", "bench.ingest_jobs", job, str(landing), str(home)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )
    if done.returncode:
        raise RuntimeError(done.stderr)
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def resources() -> dict[str, float]:
    """CPU of this process and its peak memory (VmHWM: not inherited from the parent)."""
    status = Path("/proc/self/status").read_text()
    kilobytes = next(ln.split()[1] for ln in status.splitlines() if ln.startswith("VmHWM"))
    return {"cpu": time.process_time(), "gigabytes": int(kilobytes) / 1e6}


def generate(landing: Path, lines: int, *, files: int, days: int) -> Path:
    """Write receipts as CSV: whole days per file, a few bad lines, clocks that change."""
    (landing / "pos").mkdir(parents=True)
    run = duckdb.connect().execute
    per_file = lines // files
    minutes = 12 * 60
    for part in range(files):
        first, last = part * days // files, (part + 1) * days // files
        share = -(-per_file // max(1, last - first))
        run(
            f"""COPY (
            SELECT 'r' || (({part * per_file} + i) // {LINES_PER_RECEIPT}) AS transaction_id,
                i % {LINES_PER_RECEIPT} + 1 AS line_number,
                's' || (i // {LINES_PER_RECEIPT} % {STORES}) AS store_id,
                strftime(TIMESTAMP '{FIRST_DAY} 08:00:00'
                    + to_days({first} + (i // {share})::INTEGER)
                    + to_seconds((i % {share}) * {minutes * 60} // {share}),
                    '%Y-%m-%d %H:%M:%S') AS sold_at,
                CASE WHEN hash(i) % {int(1 / BAD_SHARE)} = 0 THEN 'unheard of'
                    ELSE 'p' || (hash(i + 1) % {PRODUCTS}) END AS product_id,
                1 + hash(i + 2) % 3 AS quantity,
                (hash(i + 3) % 2000 + 100) / 100 AS unit_price
            FROM range({per_file}) t(i)) TO '{landing}/pos/part-{part:03d}.csv'"""
        )
    run(
        f"COPY (SELECT 'p' || i AS product_id, 'p' || i AS name, 'c' || i % 10 AS category"
        f" FROM range({PRODUCTS}) t(i)) TO '{landing}/products.csv'"
    )
    run(
        f"COPY (SELECT 's' || i AS store_id, 'Europe/Paris' AS timezone"
        f" FROM range({STORES}) t(i)) TO '{landing}/stores.csv'"
    )
    run(
        "COPY (SELECT 's' || i AS store_id, d AS weekday, '08:00' AS open, '20:00' AS close"
        f" FROM range({STORES}) t(i), range(7) u(d)) TO '{landing}/store_hours.csv'"
    )
    return landing


def ours(landing_folder: Path, home: Path) -> dict[str, Any]:
    """Landing files to interval_sales through the functions the assets call."""
    from retail_assets.ingest import intervals, landing, lines, raw, reference
    from retail_assets.settings import Settings
    from retail_assets.warehouse import Warehouse

    warehouse = Warehouse(Settings(home, landing_folder, quiet_seconds=0))
    began, wall, steps = time.process_time(), time.monotonic(), {}
    with warehouse.session() as session:
        landing.write_landing_files(session, landing.scan(session))
    for name in ("products", "stores", "store_hours"):
        with warehouse.session() as session:
            reference.write_reference(session, name)
    steps["scan and reference tables"] = time.process_time()
    found = {"landed": 0, "quarantined": 0, "intervals": 0}
    for days in landing.affected_ranges(warehouse):
        with warehouse.session() as session:
            raw.write_raw_pos(session, days)
        steps["raw_pos"] = time.process_time()
        with warehouse.session() as session:
            report = lines.write_pos_lines(session, days)
        steps["pos_lines and pos_quarantine"] = time.process_time()
        with warehouse.session() as session:
            found["intervals"] += intervals.write_intervals(session, days).rows
        steps["trading_days and interval_sales"] = time.process_time()
        found["landed"] += report.landed
        found["quarantined"] += report.quarantined
    measured = resources() | {"wall": time.monotonic() - wall}
    with warehouse.session() as session:
        net = session.sql("SELECT sum(net_cents)::BIGINT FROM interval_sales").fetchall()[0][0]
    ends = [began, *steps.values()]
    steps = {k: b - a for k, a, b in zip(steps, ends, ends[1:], strict=False)}
    return {**measured, **found, "net_cents": net, "steps": steps}


def backfill(landing_folder: Path, home: Path) -> dict[str, Any]:
    """One single-run range through Dagster; work is the time inside the assets."""
    os.environ["RETAIL_ASSETS_HOME"] = str(home)
    os.environ["RETAIL_ASSETS_LANDING"] = str(landing_folder)
    from retail_assets.ingest import first_scan, intervals, landing, lines, raw
    from retail_assets.settings import Settings

    found = first_scan.first_day_and_timezone(Settings.load())
    Settings.load().save(first_day=found.first_day, quiet_seconds=0)
    import dagster as dg

    from retail_assets.assets import ingest
    from retail_assets.warehouse import Warehouse

    warehouse = Warehouse(Settings.load())
    assets = dg.load_assets_from_modules([ingest])
    common = {"resources": {"warehouse": warehouse}, "instance": dg.DagsterInstance.ephemeral()}
    whole = [a for a in assets if isinstance(a, dg.AssetsDefinition) and not a.partitions_def]
    daily = [a for a in assets if isinstance(a, dg.AssetsDefinition) and a.partitions_def]
    dg.materialize(whole, **common)
    days = landing.affected_days(warehouse)
    assert days is not None
    work = 0.0
    for module, name in ((raw, "write_raw_pos"), (lines, "write_pos_lines"),
                         (intervals, "write_intervals")):  # fmt: skip
        plain = getattr(module, name)

        def timed(*arguments: Any, plain: Any = plain) -> Any:
            nonlocal work
            began = time.process_time()
            try:
                return plain(*arguments)
            finally:
                work += time.process_time() - began

        setattr(module, name, timed)
    tags = {
        "dagster/asset_partition_range_start": str(days[0]),
        "dagster/asset_partition_range_end": str(days[1]),
    }
    began = time.process_time()
    dg.materialize([*daily, *whole], selection=[*daily], tags=tags, **common)
    total = time.process_time() - began
    count = (days[1] - days[0]).days + 1
    return {"days": count, "work": work, "book_keeping": total - work, **resources()}


if __name__ == "__main__":
    import importlib

    name, landing_folder, home_folder = sys.argv[1:]
    if name not in JOBS:
        raise SystemExit(f"{name} is not one of {', '.join(JOBS)}")
    module, _, function = name.rpartition(".")
    run = getattr(importlib.import_module(module), function)
    print(json.dumps(run(Path(landing_folder), Path(home_folder))))
