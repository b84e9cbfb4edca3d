"""What people do in the UI, by clicks: make days, switch the landing sensor on, read a table."""

from __future__ import annotations

import csv
import gzip
import io
import os
import time
from datetime import timedelta
from decimal import Decimal

from playwright.sync_api import Page, expect

from retail_assets import contract
from retail_assets.automation.jobs import DAILY
from retail_assets.partitions import RANGE_END, RANGE_START
from retail_assets.settings import Settings
from retail_assets.warehouse import Warehouse
from retail_assets_tests.e2e import small_shop
from retail_assets_tests.e2e.browser import picture
from retail_assets_tests.e2e.small_shop import DAYS, FIRST_DAY, Served, graphql, runs, wait_for

LAST_DAY = FIRST_DAY + timedelta(days=DAYS - 1)
NEXT_DAY = LAST_DAY + timedelta(days=1)
NEWEST_BACKFILL = """
{ partitionBackfillsOrError(limit: 1) {
  ... on PartitionBackfills { results { id status partitionNames } } } }"""


def test_a_backfill_launched_by_clicks_makes_the_tables_of_one_process(shop, page):
    shop.forget()
    before = len(runs(shop.url))
    _materialise(page, shop, f"[{FIRST_DAY}...{LAST_DAY}]", f"{DAYS} partitions")
    (run,) = shop.finished(before, 1)
    assert (run["tags"][RANGE_START], run["tags"][RANGE_END]) == (str(FIRST_DAY), str(LAST_DAY))
    for table in DAILY:
        assert small_shop.rows(shop.home, table) == small_shop.rows(small_shop.shop(), table)

    backfill = wait_for("backfill", lambda: _ended_backfill(shop.url), shop.log, 90)
    assert (backfill["status"], len(backfill["partitionNames"])) == ("COMPLETED_SUCCESS", DAYS)
    page.goto(f"{shop.url}/runs/b/{backfill['id']}")
    expect(page.get_by_text("Succeeded").first).to_be_visible(timeout=20_000)
    page.wait_for_timeout(2_000)  # the bars of the assets are drawn
    picture(page, "backfill")


def test_a_file_dropped_into_landing_is_landed_by_the_sensor(shop, page):
    before = len(runs(shop.url))
    page.goto(f"{shop.url}/locations/retail_assets/sensors/landing_sensor")
    switch = page.locator("label:has(input[type=checkbox])").first
    switch.click()
    expect(switch.locator("input")).to_be_checked(timeout=20_000)
    lines = _drop_the_next_day(shop)

    ended = shop.finished(before, 2)
    assert [run["jobName"] for run in ended] == ["ingest", "references"]
    assert ended[0]["tags"][RANGE_END] == str(NEXT_DAY)
    with Warehouse(Settings.load(shop.home, shop.home / "landing")).session() as session:
        landed = session.sql(
            "SELECT transaction_id, line_number, product_id, quantity, unit_price, net_amount"
            " FROM pos_lines WHERE business_date = ?",
            [NEXT_DAY],
        ).fetchall()
    assert sorted(landed) == sorted(lines)
    page.wait_for_timeout(3_000)  # the line of ticks follows
    picture(page, "landing_sensor")


def test_an_asset_page_says_what_its_columns_mean(shop, page):
    page.goto(f"{shop.url}/assets/pos_lines?view=overview")
    for column in contract.table("pos_lines").columns:
        shown = page.get_by_role("row").filter(has=page.get_by_text(column.name, exact=True))
        expect(shown.first).to_contain_text(column.description, timeout=20_000)


def _materialise(page: Page, shop: Served, days: str, shown: str) -> None:
    """The button "Materialize all..." of the job, with a range typed into its dialog."""
    page.goto(f"{shop.url}/locations/retail_assets/jobs/ingest")
    page.get_by_text(DAILY[0]).first.wait_for()
    page.get_by_role("button", name="Materialize").first.click()
    dialog = page.get_by_role("dialog")
    title = dialog.get_by_text("Partition selection")
    sure = dialog.get_by_role("button", name="Confirm")  # it has not seen the reference tables made
    title.or_(sure).first.wait_for()
    if sure.is_visible():
        sure.click()
        title.wait_for()
    every = dialog.get_by_text("Show all partitions")  # those of the last 90 days are shown
    if every.count():
        every.click()
    chosen = dialog.locator("input[type=text]").first
    chosen.fill(days)
    chosen.press("Enter")
    dialog.get_by_text(shown, exact=True).wait_for()
    dialog.get_by_role("button", name="Launch backfill").click()
    dialog.wait_for(state="hidden")


def _ended_backfill(url: str) -> dict | None:
    (newest,) = graphql(url, NEWEST_BACKFILL)["partitionBackfillsOrError"]["results"]
    return None if newest["status"] in ("REQUESTED", "FAILING") else newest


def _drop_the_next_day(shop: Served) -> list[tuple]:
    """A file with the last day's receipts a day later, copied from elsewhere; its lines."""
    folder = shop.home / "landing" / "pos"
    text = gzip.decompress((folder / f"{LAST_DAY}.csv.gz").read_bytes()).decode()
    text = text.replace(str(LAST_DAY), str(NEXT_DAY)).replace("s1-", "late-")
    hidden = folder / ".arriving"
    hidden.write_text(text)
    os.utime(hidden, (time.time() - 60,) * 2)
    hidden.rename(folder / f"{NEXT_DAY}.csv")
    return [
        (
            line["transaction_id"],
            int(line["line_number"]),
            line["product_id"],
            float(line["quantity"]),
            Decimal(line["unit_price"]),
            Decimal(line["net_amount"]),
        )
        for line in csv.DictReader(io.StringIO(text))
    ]
