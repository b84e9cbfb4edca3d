"""Three ways to backfill days give the same tables; a daemon launches what is asked for."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import pytest

from retail_assets import contract, deploy
from retail_assets.automation.jobs import DAILY
from retail_assets_tests.e2e import small_shop
from retail_assets_tests.e2e.small_shop import FIRST_DAY, wait_for

DAYS = tuple(str(FIRST_DAY + timedelta(days=n)) for n in range(7, 13))
LAUNCH = """
mutation ($days: [String!]!, $assets: [AssetKeyInput!]!) {
  launchPartitionBackfill(backfillParams: {partitionNames: $days, assetSelection: $assets}) {
    __typename ... on PythonError { message }
  }
}"""


@dataclass(frozen=True)
class Shop:
    """The small shop without its receipts, a webserver and a daemon."""

    home: Path
    url: str

    def forget(self) -> None:
        for table in DAILY:
            shutil.rmtree(self.home / "lake" / table, ignore_errors=True)

    def finished(self, before: int, expected: int) -> list[dict]:
        """The runs that came after the first ``before``, once each has ended well."""

        def ended() -> list[dict] | None:
            runs = small_shop.runs(self.url)
            new = runs[: len(runs) - before]
            assert "FAILURE" not in [run["status"] for run in new]
            good = [run for run in new if run["status"] == "SUCCESS"]
            return good if len(good) >= expected and len(good) == len(new) else None

        return wait_for("backfill", ended, self.home / "dev.log", 300)


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    home = small_shop.copy_without(tmp_path_factory.mktemp("backfills") / "home", *DAILY)
    deploy.write_profile("local", home / "dagster")
    with small_shop.webserver(home, home / "dev.log", "dagster", "dev") as url:
        yield Shop(home, url)


def materialise_a_range(shop: Shop) -> None:
    command = ("-m", "dagster", "asset", "materialize", "-m", "retail_assets.definitions")
    days = f"{DAYS[0]}...{DAYS[-1]}"
    small_shop.command(shop.home, *command, "--select", ",".join(DAILY), "--partition-range", days)


def launch_in_the_ui(shop: Shop) -> None:
    """What the button "Materialize" of a range of days sends."""
    before = len(small_shop.runs(shop.url))
    assets = [{"path": [name]} for name in DAILY]
    answer = small_shop.graphql(shop.url, LAUNCH, days=DAYS, assets=assets)
    assert answer["launchPartitionBackfill"]["__typename"] == "LaunchBackfillSuccess", answer
    (run,) = shop.finished(before, 1)
    assert run["tags"]["dagster/asset_partition_range_start"] == DAYS[0]
    assert run["tags"]["dagster/asset_partition_range_end"] == DAYS[-1]


def backfill_the_job(shop: Shop) -> None:
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


@pytest.mark.parametrize("way", [materialise_a_range, launch_in_the_ui, backfill_the_job])
def test_a_backfill_makes_the_tables_of_one_process(shop, way):
    expected = rows(small_shop.shop())
    shop.forget()
    way(shop)
    assert rows(shop.home) == expected
    assert all(expected[table] for table in DAILY if table != "pos_quarantine")


@pytest.mark.parametrize("way", [materialise_a_range, launch_in_the_ui])
def test_a_repeated_backfill_changes_no_row(shop, way):
    before = rows(shop.home)
    way(shop)
    assert rows(shop.home) == before
