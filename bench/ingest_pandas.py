"""The job of bench.ingest as a competent analyst would write it in pandas.

Both variants do what ours does, with the same three steps that each read what the step
before wrote, and are held to the same counts (landed, quarantined, rows, cents):

1. ``raw_pos``: read every CSV once as text, hash its bytes, note lines and days of each
   file, number its lines, and write the text by business day.
2. ``pos_lines`` and ``pos_quarantine``: read that, type times and numbers, look up product,
   store and time zone, turn local time into instants zone by zone, test every line for all
   17 reasons (missing, unparsable, unknown, future, implausible, negative, zero, duplicate
   key), split off the rejected lines with their payload and list of reasons, note sales
   outside the trading hours, check keys and empty values, and write both by day.
3. ``trading_days`` and ``interval_sales``: read the lines, group sale lines to store x
   product x 15-minute interval (distinct receipts, units, cents), check the key, write.

Everything is vectorised; the only Python loops are over files, days, time zones, store days
and rejected lines. ``whole`` keeps whole frames, the way a script grows. ``by_day`` cuts the
work by hand into files (step 1) and days (steps 2 and 3), which fit the processor's cache:
the hard baseline. Not asked of either: atomic commits, corrections of files, careful
reading of broken CSV, voids and memory bounds, all of which ours does in the same time.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from bench.ingest_jobs import resources


def whole(landing_folder: Path, home: Path) -> dict[str, Any]:
    """The job over whole frames."""
    home.mkdir(parents=True)
    _pandas_raw(landing_folder, home)
    return _resources_and(_pandas_days(landing_folder, home, None))


def by_day(landing_folder: Path, home: Path) -> dict[str, Any]:
    """The same job cut by hand into days, which fit the processor's cache."""
    home.mkdir(parents=True)
    _pandas_raw(landing_folder, home, by_file=True)
    days = sorted(p.name.partition("=")[2] for p in (home / "raw_pos").iterdir())
    found = [_pandas_days(landing_folder, home, day) for day in days]
    return _resources_and({key: sum(f[key] for f in found) for key in found[0]})


def _resources_and(totals: dict[str, Any]) -> dict[str, Any]:
    return {**resources(), **totals}


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
