"""The profile ``cluster`` as it is shipped, on loopback: Postgres, Redis, two workers."""

from __future__ import annotations

import importlib.util
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from retail_assets import deploy
from retail_assets.automation.jobs import MODELS
from retail_assets_tests.e2e import small_shop
from retail_assets_tests.e2e.small_shop import CATEGORIES, process, wait_for

PASSWORD = "not-in-any-file"
POSTGRES = max(Path("/usr/lib/postgresql").glob("*/bin"), default=None)
REDIS = shutil.which("redis-server")
TASK = "dagster-celery/task_id"
EXTRA = ("dagster_celery", "dagster_postgres", "psycopg2", "redis")


def _missing() -> list[str]:
    missing = [f"module {name}" for name in EXTRA if importlib.util.find_spec(name) is None]
    if POSTGRES is None and shutil.which("initdb") is None:
        missing.append("initdb (apt-get install postgresql)")
    if REDIS is None:
        missing.append("redis-server (apt-get install redis-server)")
    return missing


@dataclass(frozen=True)
class Cluster:
    home: Path
    url: str
    workers: dict[str, subprocess.Popen[bytes]]
    secrets: dict[str, str]

    def command(self, *args: str) -> str:
        return small_shop.command(self.home, *args, **self.secrets)

    def log(self, name: str) -> Path:
        return self.home / f"{name}.log"


@contextmanager
def _postgres(log: Path) -> Iterator[str]:
    """A server of its own under a folder that an unprivileged user may own."""
    binary = f"{POSTGRES}/" if POSTGRES else ""
    user = {"user": "postgres", "group": "postgres"} if os.getuid() == 0 else {}
    with tempfile.TemporaryDirectory(prefix="retail-assets-postgres-") as folder:
        secret = Path(folder, "secret")
        secret.write_text(PASSWORD)
        if user:
            for path in (folder, secret):
                shutil.chown(path, **user)
        data, port = f"{folder}/data", small_shop.free_port()
        create = [f"{binary}initdb", "-D", data, "-U", "retail", "-A", "scram-sha-256"]
        create += ["--pwfile", str(secret), "--no-sync"]
        subprocess.run(create, check=True, capture_output=True, cwd=folder, **user)
        serve = (f"{binary}postgres", "-D", data, "-p", str(port), "-k", folder)
        with process(log, *serve, "-c", "listen_addresses=127.0.0.1", "-c", "fsync=off", **user):
            wait_for("postgres", lambda: "ready to accept" in log.read_text(), log, 60)
            yield f"postgresql://retail:{PASSWORD}@127.0.0.1:{port}/postgres"


@contextmanager
def _redis(log: Path, folder: Path) -> Iterator[str]:
    port = small_shop.free_port()
    serve = (str(REDIS), "--port", str(port), "--bind", "127.0.0.1", "--save", "")
    with process(log, *serve, "--requirepass", PASSWORD, "--dir", str(folder)):
        wait_for("redis", lambda: "Ready to accept" in log.read_text(), log, 60)
        yield f"redis://:{PASSWORD}@127.0.0.1:{port}/0"


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """The small shop without models, and everything that stands in docs/scaling.md."""
    if _missing():
        pytest.skip(f"no cluster on this machine, missing: {', '.join(_missing())}")
    home = small_shop.copy_without(tmp_path_factory.mktemp("cluster") / "home", *MODELS)
    deploy.write_profile("cluster", home / "dagster")
    workers = {}
    with ExitStack() as servers:
        start = servers.enter_context
        secrets = {
            deploy.POSTGRES_VARIABLE: start(_postgres(home / "postgres.log")),
            deploy.REDIS_VARIABLE: start(_redis(home / "redis.log", home)),
        }
        environment = small_shop.environment(home, **secrets)
        python = (sys.executable, "-m")
        for name in ("one", "two"):
            app = ("celery", "-A", "retail_assets.deploy.worker", "worker")
            log = home / f"{name}.log"
            command = (*python, *app, "-c", "1", "-n", f"{name}@%h", "-l", "INFO")
            workers[name] = start(process(log, *command, env=environment))
        daemon = (*python, "dagster._daemon", "run", "-w", "workspace.yaml")
        start(process(home / "daemon.log", *daemon, env=environment))
        server = small_shop.webserver(home, home / "web.log", "dagster_webserver", **secrets)
        url = start(server)
        for name in workers:
            log = home / f"{name}.log"
            wait_for("worker", lambda log=log: " ready." in log.read_text(), log, 120)
        yield Cluster(home, url, workers, secrets)


def _backfill(cluster: Cluster) -> None:
    """Of every category, asked for as docs/scaling.md says."""
    job = ("-m", "dagster", "job", "backfill", "-w", "workspace.yaml", "-j", "models")
    cluster.command(*job, "--partitions", ",".join(CATEGORIES), "--noprompt")


def _finished(cluster: Cluster, job: str, count: int) -> list[dict[str, Any]]:
    """The runs of a job, once there are so many and none goes on."""

    def ended() -> list[dict[str, Any]] | None:
        found = [run for run in small_shop.runs(cluster.url) if run["jobName"] == job]
        going = [run for run in found if run["status"] not in ("SUCCESS", "FAILURE", "CANCELED")]
        return found if len(found) >= count and not going else None

    return wait_for(f"runs of {job}", ended, cluster.log("daemon"), 400)


def _of_the_first_worker(cluster: Cluster) -> dict[str, Any] | None:
    """A run the first worker is in the middle of: a step done, others to come."""
    tasks = cluster.log("one").read_text()
    for run in small_shop.runs(cluster.url):
        mine = run["tags"].get(TASK, "-") in tasks
        if mine and run["status"] == "STARTED" and run["done"]:
            return run
    return None


def _as_one_process_makes_them(cluster: Cluster) -> None:
    for table in MODELS:
        expected = small_shop.rows(small_shop.shop(), table)
        assert small_shop.rows(cluster.home, table) == expected, table


def test_a_killed_worker_costs_no_partition(cluster):
    cluster.command("-m", "dagster", "job", "launch", "-w", "workspace.yaml", "-j", "references")
    assert [run["status"] for run in _finished(cluster, "references", 1)] == ["SUCCESS"]
    _backfill(cluster)
    victim = wait_for("a run", lambda: _of_the_first_worker(cluster), cluster.log("one"), 180)
    os.killpg(cluster.workers["one"].pid, signal.SIGKILL)

    runs = _finished(cluster, "models", len(CATEGORIES))
    assert [run["status"] for run in runs] == ["SUCCESS"] * len(CATEGORIES)
    healed = next(run for run in runs if run["runId"] == victim["runId"])
    assert healed["tags"][TASK] != victim["tags"][TASK], "the run did not change its worker"
    _as_one_process_makes_them(cluster)


def test_a_repeated_backfill_changes_nothing(cluster):
    _backfill(cluster)
    runs = _finished(cluster, "models", 2 * len(CATEGORIES))
    assert [run["status"] for run in runs] == ["SUCCESS"] * len(runs)
    _as_one_process_makes_them(cluster)


def test_passwords_stand_in_no_file(cluster):
    folders = (cluster.home / "dagster", cluster.home / "lake")
    files = [path for folder in folders for path in folder.rglob("*") if path.is_file()]
    logs = [cluster.log(name) for name in ("one", "two", "daemon", "web")]
    assert len(files) > 1
    named = [path for path in files + logs if PASSWORD.encode() in path.read_bytes()]
    assert named == []
