"""The ingest assets on a real instance and real Delta tables."""

import os
import time
from datetime import date, timedelta

import dagster as dg
import pytest

from retail_assets import contract
from retail_assets.assets import ingest
from retail_assets.ingest import landing
from retail_assets.settings import Settings
from retail_assets.warehouse import Warehouse

ASSETS = [ingest.landing_files, *ingest.reference_assets, ingest.raw_pos, ingest.pos_lines,
          ingest.interval_sales]  # fmt: skip
DAILY = [ingest.raw_pos, ingest.pos_lines, ingest.interval_sales]
POS = "transaction_id,line_number,store_id,sold_at,product_id,quantity,unit_price\n"


@pytest.fixture
def retailer(tmp_path):
    folder = tmp_path / "landing"
    (folder / "pos").mkdir(parents=True)
    files = {
        "products.csv": "product_id,name,category\nbar,Bar,sweets\nsoap,Soap,care\n",
        "stores.csv": "store_id,timezone\nparis,Europe/Paris\n",
        "pos/a.csv": POS + "r1,1,paris,2024-02-05 10:00:00,bar,2,1.5\n"
        "r1,2,paris,2024-02-05 10:00:00,soap,1,3\nr2,1,mars,2024-02-07 10:00:00,bar,1,1.5\n",
    }
    for name, text in files.items():
        (folder / name).write_text(text)
        os.utime(folder / name, (time.time() - 60,) * 2)
    return Warehouse(Settings(home=tmp_path / "home", landing=folder))


def _range(days: tuple[date, date]) -> dict[str, str]:
    return {
        "dagster/asset_partition_range_start": str(days[0]),
        "dagster/asset_partition_range_end": str(days[1]),
    }


def _run(warehouse, instance) -> None:
    common = {"instance": instance, "resources": {"warehouse": warehouse}}
    assert dg.materialize([ingest.landing_files, *ingest.reference_assets], **common).success
    days = landing.affected_days(warehouse)
    assert dg.materialize(ASSETS, selection=DAILY, tags=_range(days), **common).success


def _last(instance, name: str) -> dict:
    event = instance.get_latest_materialization_event(dg.AssetKey(name))
    return {k: v.value for k, v in event.asset_materialization.metadata.items()}


def test_one_run_takes_a_folder_to_interval_sales(retailer):
    with dg.DagsterInstance.ephemeral() as instance:
        _run(retailer, instance)
        with retailer.session() as session:
            sales = session.sql(
                "SELECT product_id, transactions, net_cents FROM interval_sales ORDER BY 1"
            ).fetchall()
        assert sales == [("bar", 1, 300), ("soap", 1, 300)]
        assert set(instance.get_dynamic_partitions("category")) == {"care", "sweets"}
        rejected = _last(instance, "pos_quarantine")
        assert rejected["dagster/row_count"] == 1
        assert rejected["share_quarantined"] == pytest.approx(1 / 3)
        assert "| unknown store | 1 |" in rejected["reasons"]
        assert rejected["versions_read"]["raw_pos"] == retailer.version("raw_pos")
        assert _last(instance, "interval_sales")["dagster/row_count"] == 2
        days = instance.get_materialized_partitions(dg.AssetKey("interval_sales"))
        assert days == {"2024-02-05", "2024-02-06", "2024-02-07"}


@pytest.mark.parametrize(
    ("file", "text", "days"),
    [
        ("products.csv", "product_id,name,category\nbar,Bar,care\nsoap,Soap,care\n", [5]),
        ("stores.csv", "store_id,timezone\nparis,Europe/Paris\nmars,UTC\n", [7]),
        ("stores.csv", "store_id,timezone\nparis,Europe/Lisbon\n", [5, 6, 7]),
        ("store_hours.csv", "store_id,weekday,open,close\nparis,0,09:00,18:00\n", [5]),
        ("products.csv", "product_id,name,category\nbar,A bar,sweets\nsoap,Soap,care\n", []),
    ],
    ids=["category", "unknown store", "time zone", "hours", "name only"],
)
def test_a_corrected_reference_file_asks_for_the_days_it_changes(retailer, file, text, days):
    if "Lisbon" in text:
        hours = "store_id,weekday,open,close\n"
        hours += "".join(f"paris,{day},09:00,18:00\n" for day in range(7))
        _drop(retailer, "store_hours.csv", hours)
    with dg.DagsterInstance.ephemeral() as instance:
        _run(retailer, instance)
        assert landing.affected_ranges(retailer) == []
        _drop(retailer, file, text)
        references = [ingest.landing_files, *ingest.reference_assets]
        common = {"instance": instance, "resources": {"warehouse": retailer}}
        assert dg.materialize(references, **common).success
        found = landing.affected_ranges(retailer)
        asked = [a + timedelta(days=d) for a, b in found for d in range((b - a).days + 1)]
        assert [day.day for day in asked] == days
        for first, last in found:
            tags = _range((first, last))
            assert dg.materialize(ASSETS, selection=DAILY, tags=tags, **common).success
        assert landing.affected_ranges(retailer) == []


def _drop(retailer, file: str, text: str) -> None:
    path = retailer.settings.landing / file
    path.write_text(text)
    os.utime(path, (time.time() - 60,) * 2)


def test_a_single_day_and_a_range_write_the_same(retailer, tmp_path):
    with dg.DagsterInstance.ephemeral() as instance:
        _run(retailer, instance)
        with retailer.session() as session:
            whole = session.sql("SELECT * FROM interval_sales ORDER BY ALL").fetchall()
        for day in ("2024-02-05", "2024-02-07"):
            assert dg.materialize(
                ASSETS, selection=DAILY, partition_key=day, instance=instance,
                resources={"warehouse": retailer},
            ).success  # fmt: skip
        with retailer.session() as session:
            again = session.sql("SELECT * FROM interval_sales ORDER BY ALL").fetchall()
        assert again == whole


def test_every_asset_is_described_by_the_contract():
    specs = {spec.key.to_user_string(): spec for asset in ASSETS for spec in asset.specs}
    for name, spec in specs.items():
        table = contract.table(name)
        assert (spec.group_name, spec.description) == (table.group, table.description)
        columns = spec.metadata["dagster/column_schema"].columns
        assert tuple(c.name for c in columns) == table.column_names
        assert (spec.partitions_def is not None) == (table.partition == "business_date")
    assert {t.name for t in contract.landed_tables()} < specs.keys()


def test_daily_assets_take_a_range_in_one_run_and_bodies_stay_short():
    for asset in DAILY:
        assert asset.backfill_policy == dg.BackfillPolicy.single_run()
    assert not ingest.pos_lines.can_subset
    assert not ingest.interval_sales.can_subset
