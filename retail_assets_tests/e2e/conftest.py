"""Homes with a real ``dagster dev`` on loopback, of the demo and of the small shop; a browser."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from playwright.sync_api import Page

from retail_assets.automation.jobs import DAILY
from retail_assets_tests.e2e import browser, small_shop
from retail_assets_tests.e2e.small_shop import ROOT, Served


@dataclass(frozen=True)
class Home:
    """A home of its own on the shipped landing files."""

    path: Path
    environment: dict[str, str]
    demo_output: str
    demo_seconds: float

    def cli(self, *args: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "retail_assets.cli", *args],
            env=self.environment,
            cwd=ROOT,
            capture_output=True,
            text=True,
        )


@pytest.fixture(scope="session")
def demo_home(tmp_path_factory: pytest.TempPathFactory) -> Home:
    path = tmp_path_factory.mktemp("demo")
    shutil.copytree(ROOT / "data" / "landing", path / "landing")
    shutil.copytree(ROOT / "data" / "rules", path / "rules")
    environment = {
        **os.environ,
        "RETAIL_ASSETS_HOME": str(path),
        "RETAIL_ASSETS_LANDING": str(path / "landing"),
        "DAGSTER_HOME": str(path / "dagster"),
    }
    began = time.monotonic()
    done = Home(path, environment, "", 0.0).cli("demo", "--home", str(path))
    assert done.returncode == 0, done.stdout + done.stderr
    return Home(path, environment, done.stdout, time.monotonic() - began)


@pytest.fixture(scope="session")
def server(demo_home: Home) -> Iterator[str]:
    """URL of webserver and daemon on the demo's state."""
    log = demo_home.path / "dagster_dev.log"
    with small_shop.webserver(demo_home.path, log, "dagster", "dev") as url:
        yield url


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """The small shop without its receipts, a webserver and a daemon."""
    home = tmp_path_factory.mktemp("served") / "home"
    with small_shop.served(small_shop.copy_without(home, *DAILY)) as served:
        yield served


@pytest.fixture(scope="module")
def page() -> Iterator[Page]:
    if browser.CHROMIUM is None:
        pytest.skip("no chromium on this machine: apt-get install chromium")
    with browser.page() as opened:
        yield opened
