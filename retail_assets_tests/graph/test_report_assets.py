"""The report through its assets: from receipts alone, and on what a run left behind."""

from __future__ import annotations

import os
import time
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import dagster as dg
import pyarrow as pa
import pytest

from retail_assets.assets import ingest, report
from retail_assets.ingest import landing
from retail_assets.partitions import RANGE_END, RANGE_START
from retail_assets.settings import Settings
from retail_assets.warehouse import Warehouse

POS = "transaction_id,store_id,sold_at,product_id,quantity,unit_price\n"
LANDED = [ingest.landing_files, *ingest.reference_assets]
DAILY = [ingest.raw_pos, ingest.pos_lines, ingest.interval_sales]
REPORT = [report.headline_figures, report.retail_report]
FIRST = date(2026, 3, 2)


@pytest.fixture
def warehouse(tmp_path: Path) -> Warehouse:
    """Receipts of three weeks, one line broken, and one day without any."""
    (tmp_path / "landing" / "pos").mkdir(parents=True)
    days = [FIRST + timedelta(days=k) for k in range(21) if k != 9]
    lines = [f"r{k},s,{day} {9 + k % 9}:00:00,bar,1,1.50\n" for k, day in enumerate(days * 5)]
    file = tmp_path / "landing" / "pos" / "a.csv"
    file.write_text(POS + "".join(lines) + "r,s,2026-03-04 10:00:00,bar,many,1.50\n")
    os.utime(file, (time.time() - 60,) * 2)
    settings = Settings(home=tmp_path / "home", landing=tmp_path / "landing", currency="CHF")
    return Warehouse(settings)


def make(warehouse: Warehouse, instance: dg.DagsterInstance, *assets) -> dg.ExecuteInProcessResult:
    done = dg.materialize(list(assets), instance=instance, resources={"warehouse": warehouse})
    assert done.success
    return done


def land(warehouse: Warehouse, instance: dg.DagsterInstance) -> None:
    make(warehouse, instance, *LANDED)
    days = landing.affected_days(warehouse)
    tags = {RANGE_START: str(days[0]), RANGE_END: str(days[1])}
    common = {"instance": instance, "resources": {"warehouse": warehouse}}
    assert dg.materialize([*LANDED, *DAILY], selection=DAILY, tags=tags, **common).success


def sell(warehouse: Warehouse, cents: int) -> None:
    at = datetime(2026, 3, 2, 9, tzinfo=UTC)
    row = {"store_id": "s", "product_id": "bar", "category": "sweets", "business_date": FIRST,
           "interval_start": at, "interval_of_day": 0, "grain_minutes": 15, "transactions": 1,
           "units": 1.0, "net_cents": cents}  # fmt: skip
    with warehouse.session() as session:
        rows = session.connection.from_arrow(pa.Table.from_pylist([row]))
        session.replace("interval_sales", rows, (FIRST, FIRST))


def figures(warehouse: Warehouse) -> list[tuple]:
    with warehouse.session() as session:
        return session.sql(
            "SELECT figure, value, lo FROM report_figures ORDER BY made_at, figure"
        ).fetchall()


def test_receipts_alone_make_a_report_that_says_what_is_lacking(warehouse):
    with dg.DagsterInstance.ephemeral() as instance:
        land(warehouse, instance)
        make(warehouse, instance, *REPORT)
        event = instance.get_latest_materialization_event(dg.AssetKey("retail_report"))
    html = warehouse.settings.report.read_text(encoding="utf-8")
    assert "150\N{NO-BREAK SPACE}CHF" in html
    assert "land sale_events" in html
    assert "1 line rejected" in html
    assert "2026-03-11" in html  # the day without receipts
    told = event.asset_materialization.metadata
    assert told["path"].value == str(warehouse.settings.report)
    assert told["url"].value == warehouse.settings.report.as_uri()
    assert sorted(p.name for p in warehouse.settings.home.glob("report*")) == ["report.html"]


def test_a_home_without_any_table_has_a_report(warehouse):
    with dg.DagsterInstance.ephemeral() as instance:
        make(warehouse, instance, *REPORT)
    assert "No receipts yet" in warehouse.settings.report.read_text(encoding="utf-8")


def test_figures_are_kept_when_they_changed_and_the_next_report_says_so(warehouse):
    with dg.DagsterInstance.ephemeral() as instance:
        sell(warehouse, cents=16_200)
        make(warehouse, instance, *REPORT)
        assert figures(warehouse) == [("revenue_28_days", 16_200.0, None)]
        sell(warehouse, cents=16_200)
        make(warehouse, instance, *REPORT)
        assert len(figures(warehouse)) == 1, "a report made again on the same data is no news"
        sell(warehouse, cents=16_500)
        make(warehouse, instance, *REPORT)
    assert [value for _, value, _ in figures(warehouse)] == [16_200.0, 16_500.0]
    html = warehouse.settings.report.read_text(encoding="utf-8")
    assert "1 figure moved beyond the interval; 0 stayed within noise" in html
    assert "+3\N{NO-BREAK SPACE}CHF" in html
