"""A shop small enough to be run several times over, and real servers on it.

Three categories of five products for four weeks; two of the names are those that broke
partitions before. Its tables as one process makes them are what backfills are held against.
"""

from __future__ import annotations

import atexit
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import date
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from retail_assets import contract, deploy, simulator
from retail_assets.automation.jobs import DAILY
from retail_assets.settings import Settings
from retail_assets.simulator.presets import category
from retail_assets.simulator.specs import FLAT_PROFILE, RetailSpec, ReviewCycle, StoreSpec
from retail_assets.warehouse import Warehouse

ROOT = Path(__file__).parents[2]
CATEGORIES = ("1", "Käse & Co", "bars")
FIRST_DAY, DAYS = date(2026, 9, 7), 28
START_UP_SECONDS = 180  # dagster dev needs 25 s on a quiet machine, 71 s on a loaded one
CLOCK = "seconds"


def environment(home: Path, **more: str) -> dict[str, str]:
    """Of every process of one home. Compiled jax programs are shared: 20 CPU s a process."""
    return {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "RETAIL_ASSETS_HOME": str(home),
        "RETAIL_ASSETS_LANDING": str(home / "landing"),
        "DAGSTER_HOME": str(home / "dagster"),
        "JAX_COMPILATION_CACHE_DIR": f"{_folder()}/jax",
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        **more,
    }


@cache
def _folder() -> str:
    path = tempfile.mkdtemp(prefix="retail-assets-small-shop-")
    atexit.register(shutil.rmtree, path, ignore_errors=True)
    return path


@cache
def shop() -> Path:
    """The home of the shop, up to its scenarios, made by one process."""
    home = Path(_folder(), "home")
    write_landing(home, FIRST_DAY, DAYS)
    command(home, "-m", "retail_assets.cli", "run", "--until", "assortment_scenarios")
    return home


def write_landing(home: Path, first_day: date, days: int) -> None:
    """Landing files of the shop over some days, and their truth beside them."""
    paper = simulator.frozen_truth()["paper"]
    categories = tuple(
        category(
            name,
            [f"{name} {product}" for product in paper["products"]],
            4 * np.array(paper["rates"]),
            paper["alpha"],
            paper["unit_revenue"],
            [40, 30, 20, 15, 35],
            ReviewCycle(24),
        )
        for name in CATEGORIES
    )
    store = StoreSpec("s1", hours=((8 * 60, 20 * 60),) * 7)
    spec = RetailSpec(
        "small shop", (store,), categories, first_day, days, None, 60, FLAT_PROFILE, count_days=0
    )
    simulator.write_landing(simulator.simulate(spec, seed=1), home / "landing", home / "truth")


def copy_without(home: Path, *tables: str) -> Path:
    """The shop at another place, without Dagster's memory and without some tables."""
    gone = shutil.ignore_patterns("dagster", *tables)
    return Path(shutil.copytree(shop(), home, ignore=gone))


def rows(home: Path, table: str, where: str = "true") -> list[tuple[Any, ...]]:
    """Every row of a table, in an order of its own, without how long a fit took."""
    names = [name for name in contract.table(table).column_names if name != CLOCK]
    columns = ", ".join(f'"{name}"' for name in names)
    with Warehouse(Settings.load(home, home / "landing")).session() as session:
        found = session.sql(f"SELECT {columns} FROM {table} WHERE {where}").fetchall()
    return sorted(found, key=repr)


def command(home: Path, *args: str, **more: str) -> str:
    """What a Python command prints; it must succeed."""
    done = subprocess.run(
        [sys.executable, *args],
        env=environment(home, **more),
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return done.stdout


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def process(log: Path, *args: str, **popen: Any) -> Iterator[subprocess.Popen[bytes]]:
    """A process group of its own that does not outlive the block."""
    with log.open("w") as out:
        started = subprocess.Popen(
            args, cwd=ROOT, stdout=out, stderr=out, start_new_session=True, **popen
        )
    try:
        yield started
    finally:
        for how in (signal.SIGTERM, signal.SIGKILL):
            with suppress(ProcessLookupError):
                os.killpg(started.pid, how)
            with suppress(subprocess.TimeoutExpired):
                started.wait(15)


def wait_for(what: str, found: Callable[[], Any], log: Path, seconds: float) -> Any:
    """The first true answer; the end of the log where none comes."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        with suppress(OSError):
            answer = found()
            if answer:
                return answer
        time.sleep(0.2)
    raise AssertionError(f"{what}: not within {seconds} s\n{log.read_text()[-3000:]}")


@contextmanager
def webserver(home: Path, log: Path, *module: str, **more: str) -> Iterator[str]:
    """URL of ``dagster_webserver``, or of ``dagster dev``, which has a daemon beside it."""
    port = free_port()
    listen = ("-w", "workspace.yaml", "-h", "127.0.0.1", "-p", str(port))
    with process(log, sys.executable, "-m", *module, *listen, env=environment(home, **more)):
        url = f"http://127.0.0.1:{port}"
        up = f"{url}/server_info"
        wait_for("webserver", lambda: urllib.request.urlopen(up).read(), log, START_UP_SECONDS)
        yield url


def graphql(url: str, query: str, **variables: Any) -> dict[str, Any]:
    request = urllib.request.Request(
        f"{url}/graphql",
        data=json.dumps({"query": query, "variables": variables}).encode(),
        headers={"Content-Type": "application/json"},
    )
    answer = json.loads(urllib.request.urlopen(request, timeout=60).read())
    assert "errors" not in answer, answer
    return answer["data"]


def runs(url: str) -> list[dict[str, Any]]:
    """Newest first: id, status, job, assets chosen, steps that succeeded, tags as a dict."""
    found = graphql(
        url,
        "{ runsOrError { ... on Runs { results { runId status jobName parentRunId"
        " assetSelection { path } stepStats { stepKey status } tags { key value } } } } }",
    )["runsOrError"]["results"]
    for run in found:
        run["tags"] = {tag["key"]: tag["value"] for tag in run["tags"]}
        run["assets"] = [key["path"][0] for key in run["assetSelection"] or ()]
        run["done"] = {s["stepKey"] for s in run["stepStats"] if s["status"] == "SUCCESS"}
    return found


def launch_backfill(url: str, assets: Iterable[str], days: Iterable[str]) -> str:
    """What the button "Materialize" of a range of days sends; the id of the backfill."""
    answer = graphql(
        url,
        "mutation ($days: [String!]!, $assets: [AssetKeyInput!]!) {"
        " launchPartitionBackfill(backfillParams: {partitionNames: $days, assetSelection: $assets})"
        " { ... on LaunchBackfillSuccess { backfillId } ... on PythonError { message } } }",
        days=list(days),
        assets=[{"path": [name]} for name in assets],
    )["launchPartitionBackfill"]
    assert "backfillId" in answer, answer
    return str(answer["backfillId"])


def materializations(url: str, assets: Iterable[str]) -> list[tuple[str, str | None, str]]:
    """Asset, partition and run of what Dagster remembers of some assets."""
    found = graphql(
        url,
        "query ($keys: [AssetKeyInput!]) { assetNodes(assetKeys: $keys) {"
        " assetKey { path } assetMaterializations(limit: 10000) { partition runId } } }",
        keys=[{"path": [name]} for name in assets],
    )["assetNodes"]
    return [
        (node["assetKey"]["path"][0], event["partition"], event["runId"])
        for node in found
        for event in node["assetMaterializations"]
    ]


@dataclass(frozen=True)
class Served:
    """A home with a webserver and a daemon on it."""

    home: Path
    url: str

    @property
    def log(self) -> Path:
        return self.home / "dev.log"

    def forget(self) -> None:
        """Its receipts."""
        for table in DAILY:
            shutil.rmtree(self.home / "lake" / table, ignore_errors=True)

    def finished(self, before: int, expected: int) -> list[dict[str, Any]]:
        """The runs that came after the first ``before``, once each has ended well."""

        def ended() -> list[dict[str, Any]] | None:
            found = runs(self.url)
            new = found[: len(found) - before]
            assert "FAILURE" not in [run["status"] for run in new]
            good = [run for run in new if run["status"] == "SUCCESS"]
            return good if len(good) >= expected and len(good) == len(new) else None

        return wait_for("runs", ended, self.log, 300)


@contextmanager
def served(home: Path) -> Iterator[Served]:
    """``dagster dev`` on a home, with the profile of one machine."""
    deploy.write_profile("local", home / "dagster")
    with webserver(home, home / "dev.log", "dagster", "dev") as url:
        yield Served(home, url)
