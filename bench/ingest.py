"""Ingest against the same job in straightforward pandas, side by side.

Generates receipts in a temporary folder, then runs both jobs in processes of their own
and compares CPU seconds and peak memory. Prints the cost of Dagster's book-keeping for
a 730-day backfill apart from the work, and the figures of the real input where it is.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tarfile
import tempfile
import time
from pathlib import Path
from typing import Any

import duckdb

from bench import Row, at_least, at_most

ROOT = Path(__file__).parent.parent
REAL = ROOT.parent / "shared" / "data"
FIRST_DAY = "2023-01-01"
STORES, PRODUCTS, LINES_PER_RECEIPT = 20, 500, 3
BAD_SHARE = 0.001


def run(*, quick: bool, large: bool) -> list[Row]:
    """The table of this bench; ``large``: 100 M lines, ours only."""
    with tempfile.TemporaryDirectory(prefix="retail-assets-bench-") as folder:
        work = Path(folder)
        lines = 100_000_000 if large else 1_000_000 if quick else 10_000_000
        landing = generate(work / "landing", lines, files=100, days=100)
        ours = _measure("ours", landing, work / "home")
        rows = _sizes(lines, ours)
        if not large:
            rows += _against_pandas(ours, _measure("pandas", landing, work / "pandas"))
            rows += _backfill(work, 60 if quick else 730)
            rows += _real(work)
        return rows


def generate(landing: Path, lines: int, *, files: int, days: int) -> Path:
    """Write receipts as CSV: whole days per file, a few bad lines, clocks that change."""
    (landing / "pos").mkdir(parents=True)
    run = duckdb.connect().execute
    per_file = lines // files
    minutes = 12 * 60
    for part in range(files):
        first, last = part * days // files, (part + 1) * days // files
        share = per_file / max(1, last - first)
        run(
            f"""COPY (
            SELECT 'r' || (i // {LINES_PER_RECEIPT}) AS transaction_id,
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


def _sizes(lines: int, ours: dict[str, Any]) -> list[Row]:
    steps = [Row(f"  {step}, CPU s", value) for step, value in ours["steps"].items()]
    return [
        Row("receipt lines", lines),
        Row("  landed", ours["landed"]),
        Row("  quarantined", ours["quarantined"]),
        Row("landed + quarantined = lines", str(ours["landed"] + ours["quarantined"] == lines),
            "True", ours["landed"] + ours["quarantined"] == lines),
        Row("rows of interval_sales", ours["intervals"]),
        Row("file to interval_sales, CPU s", ours["cpu"]),
        *steps,
        Row("file to interval_sales, wall s", ours["wall"]),
        at_most("peak memory, GB", ours["gigabytes"], 1.0),
    ]  # fmt: skip


def _against_pandas(ours: dict[str, Any], pandas: dict[str, Any]) -> list[Row]:
    same = all(ours[k] == pandas[k] for k in ("landed", "quarantined", "intervals", "net_cents"))
    return [
        Row("the same in pandas, CPU s", pandas["cpu"]),
        Row("pandas' peak memory, GB", pandas["gigabytes"]),
        Row("both count the same", str(same), "True", same),
        at_most("CPU, ours / pandas", ours["cpu"] / pandas["cpu"], 1 / 3),
    ]


def _measure(job: str, landing: Path, home: Path, *arguments: str) -> dict[str, Any]:
    """Run one job of this module in its own process; CPU seconds include its threads."""
    done = subprocess.run(
        [sys.executable, "-m", "bench.ingest", job, str(landing), str(home), *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )
    if done.returncode:
        raise RuntimeError(done.stderr)
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def _resources() -> dict[str, float]:
    """CPU of this process and its peak memory (VmHWM: not inherited from the parent)."""
    status = Path("/proc/self/status").read_text()
    kilobytes = next(ln.split()[1] for ln in status.splitlines() if ln.startswith("VmHWM"))
    return {"cpu": time.process_time(), "gigabytes": int(kilobytes) / 1e6}


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
    measured = _resources() | {"wall": time.monotonic() - wall}
    with warehouse.session() as session:
        net = session.sql("SELECT sum(net_cents)::BIGINT FROM interval_sales").fetchall()[0][0]
    ends = [began, *steps.values()]
    steps = {k: b - a for k, a, b in zip(steps, ends, ends[1:], strict=False)}
    return {**measured, **found, "net_cents": net, "steps": steps}


def pandas(landing_folder: Path, home: Path) -> dict[str, Any]:
    """The same job as an analyst would write it: vectorised, file by file, to Parquet."""
    import pandas as pd

    home.mkdir(parents=True)
    products = pd.read_csv(landing_folder / "products.csv", dtype=str)
    stores = pd.read_csv(landing_folder / "stores.csv", dtype=str)
    hours = pd.read_csv(landing_folder / "store_hours.csv", dtype={"store_id": str})
    totals = {"landed": 0, "quarantined": 0, "intervals": 0, "net_cents": 0}
    for path in sorted((landing_folder / "pos").glob("*.csv")):
        raw = pd.read_csv(path, dtype=str)
        raw["source_file"] = f"pos/{path.name}"
        raw["source_row"] = raw.index + 2
        local = pd.to_datetime(raw["sold_at"], format="%Y-%m-%d %H:%M:%S", errors="coerce")
        raw["business_date"] = local.dt.date
        raw.to_parquet(home / "raw_pos", partition_cols=["business_date"])

        lines = raw.copy()
        lines["quantity"] = pd.to_numeric(raw["quantity"], errors="coerce")
        lines["unit_price"] = pd.to_numeric(raw["unit_price"], errors="coerce")
        lines["line_number"] = pd.to_numeric(raw["line_number"], errors="coerce")
        lines = lines.merge(products[["product_id", "category"]], on="product_id", how="left")
        lines = lines.merge(stores[["store_id", "timezone"]], on="store_id", how="left")
        for zone, index in lines.groupby("timezone").groups.items():
            lines.loc[index, "instant"] = (
                local.loc[index].dt.tz_localize(zone, ambiguous=False, nonexistent="shift_forward")
                .dt.tz_convert("UTC")
            )  # fmt: skip
        key = ["store_id", "transaction_id", "line_number", "business_date"]
        tests = {
            "missing value": lines[["transaction_id", "store_id", "product_id"]].isna().any(axis=1),
            "unparsable time": local.isna(),
            "unparsable number": lines[["quantity", "unit_price"]].isna().any(axis=1),
            "unknown product": lines["category"].isna(),
            "unknown store": lines["timezone"].isna(),
            "negative price": lines["unit_price"] < 0,
            "quantity 0": lines["quantity"] == 0,
            "duplicate line key": lines.duplicated(key),
        }
        bad = pd.concat(tests, axis=1)
        rejected = bad.any(axis=1)
        quarantine = raw[rejected].copy()
        quarantine["reasons"] = bad[rejected].apply(lambda r: list(r.index[r]), axis=1)
        quarantine.to_parquet(home / "pos_quarantine", partition_cols=["business_date"])

        lines = lines[~rejected]
        lines["net_amount"] = lines["quantity"] * lines["unit_price"]
        lines["line_type"] = lines["quantity"].lt(0).map({True: "return", False: "sale"})
        lines.to_parquet(home / "pos_lines", partition_cols=["business_date"])

        sales = lines[lines["line_type"] == "sale"].copy()
        day = pd.to_datetime(sales["business_date"])
        sales["weekday"] = day.dt.weekday
        sales = sales.merge(hours, on=["store_id", "weekday"], how="left")
        minute = local[~rejected].dt.hour * 60 + local[~rejected].dt.minute
        opens = sales["open"].str[:2].astype(int) * 60 + sales["open"].str[3:].astype(int)
        closes = sales["close"].str[:2].astype(int) * 60 + sales["close"].str[3:].astype(int)
        nth = (minute.to_numpy() - opens) // 15
        sales["interval_of_day"] = nth.clip(lower=0).clip(upper=(closes - opens) // 15 - 1)
        sparse = (
            sales.groupby(
                ["store_id", "product_id", "category", "business_date", "interval_of_day"],
                as_index=False,
            ).agg(
                transactions=("transaction_id", "nunique"),
                units=("quantity", "sum"),
                net=("net_amount", "sum"),
            )
        )  # fmt: skip
        sparse["net_cents"] = (sparse.pop("net") * 100).round().astype("int64")
        sparse.to_parquet(home / "interval_sales", partition_cols=["business_date"])
        totals["landed"] += len(lines)
        totals["quarantined"] += len(quarantine)
        totals["intervals"] += len(sparse)
        totals["net_cents"] += int(sparse["net_cents"].sum())
    return {**_resources(), **totals}


def backfill(landing_folder: Path, home: Path) -> dict[str, Any]:
    """One single-run range through Dagster; work is the time inside the assets."""
    os.environ["RETAIL_ASSETS_HOME"] = str(home)
    os.environ["RETAIL_ASSETS_LANDING"] = str(landing_folder)
    from retail_assets.ingest import intervals, landing, lines, raw
    from retail_assets.settings import Settings

    found = landing.first_day_and_timezone(Settings.load())
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
    return {"days": count, "work": work, "book_keeping": total - work, **_resources()}


def _backfill(work: Path, days: int) -> list[Row]:
    landing = generate(work / "days", days * 1000, files=max(1, days // 20), days=days)
    found = _measure("backfill", landing, work / "days-home")
    return [
        Row("backfill in one run, days", found["days"]),
        Row("  lines", days * 1000),
        Row("  work, CPU s", found["work"]),
        Row("  Dagster's book-keeping, CPU s", found["book_keeping"]),
        Row("  book-keeping per day, CPU s", found["book_keeping"] / found["days"]),
    ]


def _real(work: Path) -> list[Row]:
    archive = REAL / "online_retail_by_day.tar.gz"
    if not archive.exists():
        return [Row("real input", "not here: ../shared/data is absent")]
    rows: list[Row] = []
    for name, data in (("online_retail", archive), ("bread_basket", REAL / "bread_basket.csv")):
        landing = work / name
        landing.mkdir()
        (landing / "mapping.toml").write_text(
            (ROOT / "examples" / name / "mapping.toml").read_text()
        )
        if data.suffix == ".gz":
            with tarfile.open(data) as tar:
                tar.extractall(landing, filter="data")
        else:
            (landing / data.name).write_bytes(data.read_bytes())
        found = _measure("real", landing, work / f"{name}-home")
        lines, landed, rejected = found["lines"], found["landed"], found["quarantined"]
        rows += [
            Row(f"{name}: lines in {found['files']} files", lines),
            Row("  landed", landed),
            Row("  quarantined", rejected),
            Row("  landed + quarantined = lines", str(landed + rejected == lines), "True",
                landed + rejected == lines),
            at_least("  share landed", landed / lines, 0.95),
            Row("  a second run changes", found["changed"], "0 tables", found["changed"] == 0),
            *(Row(f"  reason: {why}", n) for why, n in found["reasons"].items()),
        ]  # fmt: skip
    return rows


def real(landing_folder: Path, home: Path) -> dict[str, Any]:
    """Two full runs of a real folder; what the second one changed."""
    from retail_assets.ingest import intervals, landing, lines, raw, reference
    from retail_assets.settings import Settings
    from retail_assets.warehouse import Warehouse

    warehouse = Warehouse(Settings(home, landing_folder, quiet_seconds=0))
    tables = ("landing_files", "products", "stores", "raw_pos", "pos_lines", "pos_quarantine",
              "trading_days", "interval_sales")  # fmt: skip
    contents = []
    for force in (False, True):
        with warehouse.session() as session:
            files = landing.scan(session)
            landing.write_landing_files(session, files)
        for name in ("products", "stores", "store_hours"):
            with warehouse.session() as session:
                reference.write_reference(session, name)
        for days in landing.affected_ranges(warehouse, force=force):
            with warehouse.session() as session:
                raw.write_raw_pos(session, days)
            with warehouse.session() as session:
                report = lines.write_pos_lines(session, days)
            with warehouse.session() as session:
                intervals.write_intervals(session, days)
        with warehouse.session() as session:
            contents.append(
                [
                    session.sql(
                        f"SELECT count(*), sum(hash(COLUMNS(*))::HUGEINT) FROM {t}"
                    ).fetchall()
                    for t in tables
                ]
            )
    return {
        "files": len(files),
        "lines": sum(f.rows or 0 for f in files),
        "landed": report.landed,
        "quarantined": report.quarantined,
        "reasons": report.reasons,
        "changed": sum(a != b for a, b in zip(*contents, strict=True)),
    }


if __name__ == "__main__":
    job, *where = sys.argv[1:]
    print(json.dumps(globals()[job](*map(Path, where))))
