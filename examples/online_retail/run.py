"""UCI Online Retail: 541,909 dirty lines of a real shop, landed, quarantined and corrected.

    python examples/online_retail/run.py "Online Retail.xlsx"

Cuts the download into a file a day, lands them through mapping.toml, then corrects one file and
runs again. What it teaches is in README.md.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path
from typing import Any

import duckdb
import pandas as pd

HERE = Path(__file__).parent
HOME = Path(tempfile.gettempdir()) / "retail-assets-examples" / HERE.name
CORRECTED = "2011-03-07"

REASONS = """
SELECT why, count(*) FROM (SELECT unnest(reasons) AS why FROM pos_quarantine)
GROUP BY 1 ORDER BY 2 DESC, 1
"""
FOUND = """
SELECT count(*), count(*) FILTER (line_type = 'return'), count(DISTINCT product_id),
       (SELECT count(*) FROM pos_quarantine), count(customer_id IS NULL OR NULL),
       round(sum(net_amount)) FROM pos_lines
"""


def land(download: Path, landing: Path, days: int | None = None) -> None:
    """Cut the download (.xlsx, .csv, or an archive of day files) into a CSV file a day."""
    folder = landing / "by-day"
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copy(HERE / "mapping.toml", landing)
    if download.name.endswith((".tar.gz", ".tgz")):
        with tarfile.open(download) as archive:
            for member in sorted(archive.getmembers(), key=lambda m: m.name)[: days and days + 1]:
                archive.extract(member, landing, filter="data")
        return
    if download.suffix == ".xlsx":
        print(f"reading {download.name}: a minute or two")
        lines = pd.read_excel(download, dtype={"InvoiceNo": str, "StockCode": str})
    else:
        lines = pd.read_csv(download, dtype=str, encoding="latin-1")
    # The sheet has "Customer ID" in one edition of the download.
    lines.columns = lines.columns.str.replace(" ", "")
    lines["InvoiceDate"] = pd.to_datetime(lines["InvoiceDate"])
    for number, (day, own) in enumerate(lines.groupby(lines["InvoiceDate"].dt.date)):
        if days is None or number < days:
            own.to_csv(folder / f"{day}.csv", index=False)


def correct(landing: Path, day: str) -> str:
    """Double the quantity of the first line of a day's file, as an office would; what changed."""
    path = landing / "by-day" / f"{day}.csv"
    lines = pd.read_csv(path, dtype=str, keep_default_na=False)
    before = lines.at[0, "Quantity"]
    lines.at[0, "Quantity"] = str(2 * int(before))
    lines.to_csv(path, index=False)
    return f"{path.name}: quantity of the first line {before} -> {lines.at[0, 'Quantity']}"


def figures(home: Path) -> dict[str, Any]:
    """What landed, and what did not and why."""
    names = ("landed", "returns", "products", "quarantined", "without_customer", "net")
    with duckdb.connect(str(home / "retail.duckdb"), read_only=True) as db:
        found: dict[str, Any] = dict(zip(names, db.sql(FOUND).fetchall()[0], strict=True))
        return found | {"reasons": dict(db.sql(REASONS).fetchall())}


def retail_assets(*arguments: str) -> None:
    """Run a command as you would type it."""
    print("\n$ retail-assets", *arguments, flush=True)
    subprocess.run([sys.executable, "-m", "retail_assets.cli", *arguments], check=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("download", type=Path, help="Online Retail.xlsx, or the same as .csv")
    parser.add_argument("--home", type=Path, default=HOME)
    given = parser.parse_args()
    shutil.rmtree(given.home, ignore_errors=True)
    landing = given.home / "landing"
    land(given.download, landing)
    run = ("run", "--home", str(given.home), "--until", "interval_sales")
    retail_assets(*run)
    print("\n" + correct(landing, CORRECTED))
    retail_assets(*run)
    retail_assets("publish", "--home", str(given.home))
    found = figures(given.home)
    print(f"\n{found['landed']:,} lines landed, {found['quarantined']:,} quarantined:")
    for why, lines in found["reasons"].items():
        print(f"  {lines:6,}  {why}")
    print(
        f"{found['returns']:,} of them are returns; {found['without_customer']:,} name no customer;"
        f" {found['products']:,} products, {found['net']:,.0f} net of returns"
    )


if __name__ == "__main__":
    main()
