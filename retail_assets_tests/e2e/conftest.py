"""A home with the demo run in it, and a real ``dagster dev`` on loopback."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
START_UP_SECONDS = 180  # dagster dev needs 25 s on a quiet machine, 71 s on a loaded one


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
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    log = (demo_home.path / "dagster_dev.log").open("w")
    process = subprocess.Popen(
        [
            sys.executable,
            "-m",
            "dagster",
            "dev",
            "-w",
            "workspace.yaml",
            "-h",
            "127.0.0.1",
            "-p",
            str(port),
        ],
        cwd=ROOT,
        env=demo_home.environment,
        stdout=log,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    url = f"http://127.0.0.1:{port}"
    try:
        _wait(url, process, demo_home.path / "dagster_dev.log")
        yield url
    finally:
        os.killpg(process.pid, signal.SIGINT)
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)


def _wait(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + START_UP_SECONDS
    while time.monotonic() < deadline:
        assert process.poll() is None, log.read_text()[-3000:]
        try:
            urllib.request.urlopen(f"{url}/server_info", timeout=5).read()
            return
        except OSError:
            time.sleep(0.5)
    raise AssertionError("dagster dev did not come up:\n" + log.read_text()[-3000:])
