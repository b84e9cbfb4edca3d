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
            whole = _measure("pandas", landing, work / "pandas")
            by_day = _measure("pandas_by_day", landing, work / "pandas-by-day")
            again = _measure("ours", landing, work / "home-again")
            rows += _against_pandas((ours, again), whole, by_day)
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


def _against_pandas(
    runs: tuple[dict[str, Any], dict[str, Any]], whole: dict[str, Any], by_day: dict[str, Any]
) -> list[Row]:
    """Ours is run before and after, and the mean counts: other load on the machine drifts."""
    ours = runs[0]
    cpu = (runs[0]["cpu"] + runs[1]["cpu"]) / 2
    counted = ("landed", "quarantined", "intervals", "net_cents")
    same = all(ours[k] == whole[k] == by_day[k] for k in counted)
    return [
        Row("ours again afterwards, CPU s", runs[1]["cpu"]),
        Row("the same in pandas, CPU s", whole["cpu"]),
        Row("  peak memory, GB", whole["gigabytes"]),
        Row("the same in pandas, cut into days by hand, CPU s", by_day["cpu"]),
        Row("  peak memory, GB", by_day["gigabytes"]),
        Row("all three count the same", str(same), "True", same),
        at_most("CPU, ours / pandas", cpu / whole["cpu"], 1 / 3),
        Row("CPU, ours / pandas cut into days", cpu / by_day["cpu"]),
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
    """The same job in straightforward pandas: whole frames, vectorised, to Parquet.

    The same tables, the same three steps that read what the step before wrote, the same
    reasons, the same checks of keys and empty values before a table is written.
    """
    home.mkdir(parents=True)
    _pandas_raw(landing_folder, home)
    return _resources_and(_pandas_days(landing_folder, home, None))


def pandas_by_day(landing_folder: Path, home: Path) -> dict[str, Any]:
    """The pandas job cut by hand into days, which fit the processor's cache."""
    home.mkdir(parents=True)
    _pandas_raw(landing_folder, home, by_file=True)
    days = sorted(p.name.partition("=")[2] for p in (home / "raw_pos").iterdir())
    found = [_pandas_days(landing_folder, home, day) for day in days]
    return _resources_and({key: sum(f[key] for f in found) for key in found[0]})


def _resources_and(totals: dict[str, Any]) -> dict[str, Any]:
    return {**_resources(), **totals}


def _pandas_write(frame: Any, home: Path, table: str, key: list[str], required: list[str]) -> None:
    """Add days to a table after the checks that ours makes before a commit."""
    if frame[required].isna().any().any() or (key and frame.duplicated(key).any()):
        raise ValueError(f"{table}: empty values or duplicate keys")
    frame.to_parquet(home / table, partition_cols=["business_date"], index=False)


def _pandas_read(home: Path, table: str, day: str | None) -> Any:
    import pandas as pd

    frame = pd.read_parquet(home / table / (f"business_date={day}" if day else ""))
    frame["business_date"] = day or frame["business_date"].astype(str)
    return frame


def _pandas_raw(landing_folder: Path, home: Path, *, by_file: bool = False) -> None:
    """landing_files and raw_pos: hash, lines and days of each file; its lines as text."""
    import hashlib

    import pandas as pd

    files, frames = [], []
    required = ["source_file", "source_row", "business_date"]
    for path in sorted((landing_folder / "pos").glob("*.csv")):
        raw = pd.read_csv(path, dtype=str)
        local = pd.to_datetime(raw["sold_at"], format="%Y-%m-%d %H:%M:%S", errors="coerce")
        raw["source_file"] = f"pos/{path.name}"
        raw["source_row"] = raw.index + 2
        raw["source_version"] = hashlib.sha256(path.read_bytes()).hexdigest()
        raw["business_date"] = local.dt.date
        files.append((path.name, raw["source_version"][0], len(raw), local.min(), local.max()))
        if by_file:
            _pandas_write(raw, home, "raw_pos", [], required)
        else:
            frames.append(raw)
    if frames:
        _pandas_write(pd.concat(frames, ignore_index=True), home, "raw_pos", [], required)
    columns = ["file", "sha256", "rows", "first_day", "last_day"]
    pd.DataFrame(files, columns=columns).to_parquet(home / "landing_files.parquet")


def _pandas_days(landing_folder: Path, home: Path, day: str | None) -> dict[str, int]:
    landed, quarantined = _pandas_lines(landing_folder, home, day)
    rows, cents = _pandas_intervals(landing_folder, home, day)
    return {"landed": landed, "quarantined": quarantined, "intervals": rows, "net_cents": cents}


def _pandas_lines(landing_folder: Path, home: Path, day: str | None) -> tuple[int, int]:
    """pos_lines and pos_quarantine, with every reason."""
    import pandas as pd

    products = pd.read_csv(landing_folder / "products.csv", dtype=str)
    stores = pd.read_csv(landing_folder / "stores.csv", dtype=str)
    raw = _pandas_read(home, "raw_pos", day)
    lines = raw.copy()
    local = pd.to_datetime(raw["sold_at"], format="%Y-%m-%d %H:%M:%S", errors="coerce")
    for column in ("quantity", "unit_price", "line_number"):
        lines[column] = pd.to_numeric(raw[column], errors="coerce")
    lines = lines.merge(products[["product_id", "category"]], on="product_id", how="left")
    lines = lines.merge(stores[["store_id", "timezone"]], on="store_id", how="left")
    sold_at = pd.Series(pd.NaT, index=lines.index, dtype="datetime64[us, UTC]")
    for zone, index in lines.groupby("timezone").groups.items():
        instant = local.loc[index].dt.tz_localize(
            zone, ambiguous=False, nonexistent="shift_forward"
        )
        sold_at.loc[index] = instant.dt.tz_convert("UTC")
    lines["sold_at"] = sold_at
    lines["net_amount"] = lines["quantity"] * lines["unit_price"]
    lines["line_type"] = lines["quantity"].lt(0).map({True: "return", False: "sale"})
    bad = _pandas_tests(raw, lines, local)
    rejected = bad.any(axis=1)
    quarantine = raw.loc[rejected, ["business_date", "source_file", "source_row"]].copy()
    quarantine["payload"] = raw[rejected].to_json(orient="records", lines=True).splitlines()
    quarantine["reasons"] = bad[rejected].apply(lambda r: list(r.index[r]), axis=1)
    hours = _pandas_hours(landing_folder, sorted(raw["business_date"].unique()))
    lines = lines[~rejected].merge(hours, on=["store_id", "business_date"], how="left")
    odd = (lines["sold_at"] < lines["open_at"]) | (lines["sold_at"] >= lines["close_at"])
    lines["warnings"] = odd.map({True: "outside trading hours", False: None})
    lines = lines.drop(columns=["timezone", "open_at", "close_at", "source_version"])
    required = ["transaction_id", "store_id", "sold_at", "product_id", "category", "net_amount"]
    key = ["source_file", "source_row"]
    _pandas_write(lines, home, "pos_lines", key, required)
    if len(quarantine):
        _pandas_write(quarantine, home, "pos_quarantine", key, ["reasons"])
    return len(lines), len(quarantine)


def _pandas_tests(raw: Any, lines: Any, local: Any) -> Any:
    """One column per reason a line may be rejected for."""
    import pandas as pd

    tests = {}
    for column in ("transaction_id", "store_id", "sold_at", "product_id", "quantity", "unit_price"):
        tests[f"missing value: {column}"] = raw[column].fillna("").str.strip() == ""
    for column in ("quantity", "unit_price", "line_number"):
        tests[f"unparsable number: {column}"] = raw[column].notna() & lines[column].isna()
    tests |= {
        "unparsable time: sold_at": raw["sold_at"].notna() & local.isna(),
        "unknown product": lines["category"].isna(),
        "unknown store": lines["timezone"].isna(),
        "future date": local > pd.Timestamp.now(),
        "implausible date": local < pd.Timestamp("1990-01-01"),
        "negative price": lines["unit_price"] < 0,
        "quantity 0": lines["quantity"] == 0,
        "duplicate line key": lines.duplicated(
            ["business_date", "store_id", "transaction_id", "line_number"]
        ),
    }
    return pd.concat(tests, axis=1)


def _pandas_hours(landing_folder: Path, days: list[str]) -> Any:
    """Opening and closing instants of every store on some days."""
    import pandas as pd

    hours = pd.read_csv(landing_folder / "store_hours.csv", dtype={"store_id": str})
    stores = pd.read_csv(landing_folder / "stores.csv", dtype=str)
    dates = pd.DataFrame({"business_date": days})
    dates["weekday"] = pd.to_datetime(dates["business_date"]).dt.day_of_week
    hours = dates.merge(hours, on="weekday").merge(stores[["store_id", "timezone"]], on="store_id")
    for ours, column in (("open_at", "open"), ("close_at", "close")):
        hours[ours] = [
            pd.Timestamp(f"{day} {at}", tz=zone).tz_convert("UTC")
            for day, at, zone in zip(
                hours["business_date"], hours[column], hours["timezone"], strict=True
            )
        ]
    return hours[["store_id", "business_date", "open_at", "close_at"]]


def _pandas_intervals(landing_folder: Path, home: Path, day: str | None) -> tuple[int, int]:
    """trading_days and interval_sales."""
    import pandas as pd

    lines = _pandas_read(home, "pos_lines", day)
    hours = _pandas_hours(landing_folder, sorted(lines["business_date"].unique()))
    hours["n_intervals"] = (hours["close_at"] - hours["open_at"]) // pd.Timedelta(minutes=15)
    _pandas_write(hours, home, "trading_days", ["store_id", "business_date"], ["n_intervals"])
    sales = lines[lines["line_type"] == "sale"]
    sales = sales.merge(hours, on=["store_id", "business_date"], how="left")
    nth = (sales["sold_at"] - sales["open_at"]) // pd.Timedelta(minutes=15)
    sales["interval_of_day"] = nth.clip(lower=0).clip(upper=sales["n_intervals"] - 1)
    sparse = sales.groupby(
        ["store_id", "product_id", "category", "business_date", "interval_of_day"],
        as_index=False,
        observed=True,
    ).agg(
        open_at=("open_at", "first"),
        transactions=("transaction_id", "nunique"),
        units=("quantity", "sum"),
        net=("net_amount", "sum"),
    )
    sparse["net_cents"] = (sparse.pop("net") * 100).round().astype("int64")
    opened = sparse.pop("open_at")
    sparse["interval_start"] = opened + pd.to_timedelta(sparse["interval_of_day"] * 15, unit="min")
    key = ["store_id", "product_id", "interval_start"]
    _pandas_write(sparse, home, "interval_sales", key, ["category", "units", "net_cents"])
    return len(sparse), int(sparse["net_cents"].sum())


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
