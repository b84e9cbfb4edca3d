"""A small retailer in a temporary folder: drop files, ingest, look at tables."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from retail_assets.ingest import intervals, landing, lines, raw, reference
from retail_assets.settings import Settings
from retail_assets.warehouse import Warehouse

POS_HEADER = "transaction_id,line_number,store_id,sold_at,product_id,quantity,unit_price"
PRODUCTS = "product_id,name,category\nbar,Bar,sweets\nbox,Box,sweets\n"
STORES = "store_id,timezone\nparis,Europe/Paris\n"
HOURS = "store_id,weekday,open,close\n" + "".join(f"paris,{d},09:00,18:00\n" for d in range(6))


@dataclass
class Shop:
    """Landing folder and lake of one retailer."""

    warehouse: Warehouse

    @property
    def folder(self) -> Path:
        return self.warehouse.settings.landing

    def write(self, file: str, content: str | bytes, *, age: float = 60) -> Path:
        """Drop a file that was last changed ``age`` seconds ago."""
        path = self.folder / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        then = time.time() - age
        os.utime(path, (then, then))
        return path

    def pos(self, file: str, *rows: str, **options: Any) -> Path:
        return self.write(f"pos/{file}", "\n".join([POS_HEADER, *rows]) + "\n", **options)

    def basics(self, *, hours: bool = True) -> None:
        self.write("products.csv", PRODUCTS)
        self.write("stores.csv", STORES)
        if hours:
            self.write("store_hours.csv", HOURS)

    def scan(self) -> dict[str, landing.LandingFile]:
        """Scan and write landing_files; the current row of each file."""
        with self.warehouse.session() as session:
            files = landing.scan(session)
            landing.write_landing_files(session, files)
        return {f.file: f for f in files if f.state != "replaced"}

    def ingest(self, *, force: bool = False) -> list[tuple[date, date]]:
        """Everything a run does; the days it wrote."""
        self.scan()
        for name in ("products", "stores", "store_hours"):
            with self.warehouse.session() as session:
                reference.write_reference(session, name)
        ranges = landing.affected_ranges(self.warehouse, force=force)
        for days in ranges:
            for step in (raw.write_raw_pos, lines.write_pos_lines, intervals.write_intervals):
                with self.warehouse.session() as session:
                    step(session, days)
        return ranges

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        with self.warehouse.session() as session:
            found: list[tuple[Any, ...]] = session.sql(query).fetchall()
            return found

    def reasons(self) -> dict[int, set[str]]:
        """Reasons by line number."""
        found = self.rows("SELECT source_row, reasons FROM pos_quarantine")
        return {row: set(reasons) for row, reasons in found}


@pytest.fixture
def new_shop(tmp_path: Path) -> Callable[..., Shop]:
    """Make shops, each with a home of its own."""
    made = 0

    def make(**settings: Any) -> Shop:
        nonlocal made
        made += 1
        landing_folder = tmp_path / f"landing{made}"
        landing_folder.mkdir()
        home = tmp_path / f"home{made}"
        return Shop(Warehouse(Settings(home=home, landing=landing_folder, **settings)))

    return make


@pytest.fixture
def shop(new_shop: Callable[..., Shop]) -> Shop:
    return new_shop()
