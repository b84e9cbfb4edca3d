"""The graph in a real webserver and a real browser."""

from __future__ import annotations

import json
import shutil
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, sync_playwright

ARTIFACTS = Path(__file__).parents[2] / "e2e_artifacts"
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
QUIET = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--no-first-run"]
QUIET += ["--disable-component-update", "--disable-sync", "--disable-quic"]


@pytest.fixture(scope="module")
def page() -> Iterator[Page]:
    if CHROMIUM is None:
        pytest.skip("no chromium on this machine: apt-get install chromium")
    ARTIFACTS.mkdir(exist_ok=True)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=QUIET)
        yield browser.new_page(viewport={"width": 1680, "height": 1000})
        browser.close()


def graphql(url: str, query: str) -> dict:
    request = urllib.request.Request(
        f"{url}/graphql",
        data=json.dumps({"query": query}).encode(),
        headers={"Content-Type": "application/json"},
    )
    answer = json.loads(urllib.request.urlopen(request, timeout=60).read())
    assert "errors" not in answer, answer
    return answer["data"]


def test_every_asset_of_the_demo_is_materialised(server):
    nodes = graphql(
        server,
        "{ assetNodes { assetKey { path } groupName isMaterializable "
        "assetMaterializations(limit: 1) { timestamp } } }",
    )["assetNodes"]
    assert {n["groupName"] for n in nodes} >= {"ingest", "inventory", "substitution", "assortment"}
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
    page.wait_for_timeout(4000)
    page.screenshot(path=ARTIFACTS / "lineage.png")
    for group in ("ingest", "inventory", "substitution", "assortment"):
        assert page.get_by_text(group, exact=True).first.is_visible()


@pytest.mark.parametrize(
    ("asset", "shows"),
    [
        ("inventory_status", "timeline"),
        ("substitution_posterior", "histograms"),
        ("substitution_rates", "heat_map"),
        ("assortment_scenarios", "forest"),
    ],
)
def test_an_asset_page_shows_its_plot(server, page, asset, shows):
    page.goto(f"{server}/assets/{asset}?partition=bars", wait_until="networkidle")
    page.wait_for_timeout(3000)
    page.screenshot(path=ARTIFACTS / f"{asset}.png")
    assert page.get_by_text(shows).first.is_visible()
