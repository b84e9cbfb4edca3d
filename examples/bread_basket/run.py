"""A bakery's till: 20,506 lines without quantities, prices or hours, and what was out of stock.

    python examples/bread_basket/run.py bread_basket.csv

Lands the download through mapping.toml and infers the stock of the ten best sellers. What it
teaches is in README.md.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import duckdb

HERE = Path(__file__).parent
HOME = Path(tempfile.gettempdir()) / "retail-assets-examples" / HERE.name

RECEIPTS = """
SELECT (SELECT count(*) FROM pos_lines) AS landed, (SELECT count(*) FROM pos_quarantine),
       min(open_at AT TIME ZONE 'UTC')::VARCHAR, count(*) FILTER (n_intervals > 0)
FROM trading_days
"""
STATUS = """
SELECT product_id, lines, share_out, expected_sales_per_outage, low_power
FROM inventory_status_params
JOIN (SELECT product_id, count(*) AS lines FROM pos_lines GROUP BY 1) USING (product_id)
ORDER BY lines DESC LIMIT 10
"""


def land(download: Path, landing: Path) -> None:
    """Put the download beside its mapping."""
    landing.mkdir(parents=True, exist_ok=True)
    shutil.copy(HERE / "mapping.toml", landing)
    shutil.copy(download, landing / "bread_basket.csv")


def figures(home: Path) -> dict[str, Any]:
    """What landed, and the stock of the ten best sellers."""
    names = ("landed", "quarantined", "first_opening", "days_open")
    with duckdb.connect(str(home / "retail.duckdb"), read_only=True) as db:
        found: dict[str, Any] = dict(zip(names, db.sql(RECEIPTS).fetchall()[0], strict=True))
        return found | {"best_sellers": db.sql(STATUS).fetchall()}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument(
        "download", type=Path, help="bread_basket.csv: Transaction, Item, Date, Time"
    )
    parser.add_argument("--home", type=Path, default=HOME)
    given = parser.parse_args()
    shutil.rmtree(given.home, ignore_errors=True)
    land(given.download, given.home / "landing")
    for step in (["run", "--until", "inventory_status"], ["publish"]):
        arguments = [*step, "--home", str(given.home)]
        print("\n$ retail-assets", *arguments, flush=True)
        subprocess.run([sys.executable, "-m", "retail_assets.cli", *arguments], check=True)
    found = figures(given.home)
    print(f"\n{'':16}{'lines':>8}{'out':>8}{'missed an outage':>20}")
    for product, lines, share, missed, low_power in found["best_sellers"]:
        weak = "  low power: cannot be told" if low_power else ""
        print(f"{product:16}{lines:8,}{share:8.1%}{missed or 0:20.1f}{weak}")


if __name__ == "__main__":
    main()
