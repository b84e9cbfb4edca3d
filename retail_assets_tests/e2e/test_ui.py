"""The graph in a real webserver and a real browser."""

from __future__ import annotations

import subprocess
import sys

import pytest
from playwright.sync_api import Locator, Page, TimeoutError

from retail_assets_tests.e2e.browser import picture
from retail_assets_tests.e2e.small_shop import ROOT, graphql

GROUPS = (
    "ingest",
    "inventory",
    "substitution",
    "cold_start",
    "demand",
    "pricing",
    "assortment",
)


def test_every_asset_of_the_demo_is_materialised(server):
    nodes = graphql(
        server,
        "{ assetNodes { assetKey { path } groupName isMaterializable "
        "assetMaterializations(limit: 1) { timestamp } } }",
    )["assetNodes"]
    assert {n["groupName"] for n in nodes} >= set(GROUPS)
    missing = [n["assetKey"]["path"][0] for n in nodes if not n["assetMaterializations"]]
    assert missing == []


def test_the_daemon_is_healthy_and_knows_the_sensor(server):
    data = graphql(
        server,
        "{ instance { daemonHealth { allDaemonStatuses { daemonType required healthy } } }"
        " repositoriesOrError { ... on RepositoryConnection {"
        " nodes { sensors { name } jobs { name } } } } }",
    )
    names = {s["name"] for n in data["repositoriesOrError"]["nodes"] for s in n["sensors"]}
    assert "landing_sensor" in names


def test_the_lineage_page_shows_the_groups(server, page):
    page.goto(f"{server}/asset-groups", wait_until="networkidle")
    page.get_by_text("Hide navigation").click()  # the graph is drawn to fit
    page.reload(wait_until="networkidle")
    page.wait_for_timeout(4000)
    picture(page, "lineage")
    for group in GROUPS:
        assert page.get_by_text(group, exact=True).first.is_visible()


@pytest.mark.parametrize(
    ("asset", "view"),
    [
        ("inventory_status", "partitions&partition=bars"),
        ("substitution_posterior", "partitions&partition=bars"),
        ("substitution_rates", "partitions&partition=bars"),
        ("assortment_scenarios", "partitions&partition=bars"),
        ("assortment_simulation_product", "partitions&partition=bars"),
        ("assortment_plan", "partitions&partition=bars"),
        ("assortment_plan_summary", "partitions&partition=bars"),
        ("assortment_frontier", "partitions&partition=pralines"),
        ("capacity_plan", "partitions&partition=bars"),
        ("cold_start_posterior", "partitions&partition=2026-10-31"),
        ("demand_model", "partitions&partition=bars"),
        ("demand_backtest", "partitions&partition=bars"),
        ("optimal_prices", "partitions&partition=sale_2026_11"),
        ("price_certificates", "partitions&partition=sale_2026_11"),
        ("price_frontier", "partitions&partition=sale_2026_11"),
        ("inventory_forecast", "events"),
        ("reorder_plan", "events"),
    ],
)
def test_the_run_of_an_asset_shows_its_plot(server, page, asset, view):
    page.goto(f"{server}/assets/{asset}?view={view}", wait_until="networkidle")
    plot = _open_a_plot(page)
    page.wait_for_timeout(500)
    picture(page, asset)
    width = plot.evaluate("image => image.naturalWidth")
    assert width > 300, "the picture did not load"


def _open_a_plot(page: Page) -> Locator:
    """The first entry of the metadata that is a picture; tables are Markdown too."""
    plot = page.locator("img[src^='data:image/png']").first
    entries = page.get_by_text("Show Markdown")
    entries.first.wait_for(state="visible", timeout=15_000)
    for entry in entries.all():
        entry.click()
        try:
            plot.wait_for(state="visible", timeout=3_000)
            return plot
        except TimeoutError:
            page.get_by_text("Close").last.click()
    raise AssertionError("no entry of the metadata is a picture")


def test_the_demo_says_what_it_found_in_three_minutes(demo_home):
    for said in (
        "Receipts",
        "Out of stock",
        "Extra dark 90 %",
        "Substitution",
        "What if",
        "What to buy",
        "Shelf room",
        "Order now",
        "Sale prices",
        "proven best",
    ):
        assert said in demo_home.demo_output
    assert demo_home.demo_seconds < 180


def test_a_second_run_changes_no_table(demo_home):
    lake = demo_home.path / "lake"
    before = {p.name: len(list((p / "_delta_log").glob("*.json"))) for p in lake.iterdir()}
    again = demo_home.cli("run", "--home", str(demo_home.path))
    assert again.returncode == 0, again.stdout + again.stderr
    assert "receipts up to date" in again.stdout
    daily = ("raw_pos", "pos_lines", "interval_sales", "inventory_status", "assortment_scenarios")
    daily += ("assortment_plan", "capacity_plan")
    after = {p.name: len(list((p / "_delta_log").glob("*.json"))) for p in lake.iterdir()}
    assert {n: after[n] for n in daily} == {n: before[n] for n in daily}


def test_the_dagster_command_materialises_a_range(demo_home):
    daily = "raw_pos,pos_lines,pos_quarantine,trading_days,interval_sales"
    done = subprocess.run(
        [
            *(sys.executable, "-m", "dagster", "asset", "materialize"),
            *("-m", "retail_assets.definitions", "--select", daily),
            *("--partition-range", "2026-05-04...2026-05-10"),
        ],
        env=demo_home.environment,
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-2000:]
