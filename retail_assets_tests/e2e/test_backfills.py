"""Three ways to backfill days give the same tables; a daemon launches what is asked for."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from retail_assets import contract
from retail_assets.automation.jobs import DAILY
from retail_assets_tests.e2e import small_shop
from retail_assets_tests.e2e.small_shop import FIRST_DAY, Served

DAYS = tuple(str(FIRST_DAY + timedelta(days=n)) for n in range(7, 13))


def materialise_a_range(shop: Served) -> None:
    command = ("-m", "dagster", "asset", "materialize", "-m", "retail_assets.definitions")
    days = f"{DAYS[0]}...{DAYS[-1]}"
    small_shop.command(shop.home, *command, "--select", ",".join(DAILY), "--partition-range", days)


def ask_for_days(shop: Served) -> None:
    before = len(small_shop.runs(shop.url))
    small_shop.launch_backfill(shop.url, DAILY, DAYS)
    (run,) = shop.finished(before, 1)
    assert run["tags"]["dagster/asset_partition_range_start"] == DAYS[0]
    assert run["tags"]["dagster/asset_partition_range_end"] == DAYS[-1]


def backfill_the_job(shop: Served) -> None:
    before = len(small_shop.runs(shop.url))
    command = ("-m", "dagster", "job", "backfill", "-w", "workspace.yaml", "-j", "ingest")
    small_shop.command(shop.home, *command, "--partitions", ",".join(DAYS), "--noprompt")
    runs = shop.finished(before, len(DAYS))
    assert sorted(run["tags"]["dagster/partition"] for run in runs) == list(DAYS)


def rows(home: Path) -> dict[str, list]:
    span = f"BETWEEN DATE '{DAYS[0]}' AND DATE '{DAYS[-1]}'"
    return {
        table: small_shop.rows(home, table, f"{contract.table(table).partition} {span}")
        for table in DAILY
    }


@pytest.mark.parametrize("way", [materialise_a_range, ask_for_days, backfill_the_job])
def test_a_backfill_makes_the_tables_of_one_process(shop, way):
    expected = rows(small_shop.shop())
    shop.forget()
    way(shop)
    assert rows(shop.home) == expected
    assert all(expected[table] for table in DAILY if table != "pos_quarantine")


@pytest.mark.parametrize("way", [materialise_a_range, ask_for_days])
def test_a_repeated_backfill_changes_no_row(shop, way):
    before = rows(shop.home)
    way(shop)
    assert rows(shop.home) == before
