"""kill -9 of every model asset, on a finished home of the shipped data.

Each asset is run as a person would, by ``dagster asset materialize``. Before each blow its
tables go back to a version that lacks a row of the partition; after it a reader must see that
version or the whole new one, and after a run that is left in peace the new one.
"""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import redirect_stdout
from dataclasses import dataclass
from datetime import date
from io import StringIO
from pathlib import Path

from bench.fault_jobs import Fingerprint, Tally, fingerprint
from retail_assets import contract
from retail_assets.settings import HOME_VARIABLE, LANDING_VARIABLE, Settings
from retail_assets.warehouse import Scope, Warehouse

ROOT = Path(__file__).parents[1]
SHIPPED = ROOT / "data"
NO_MODEL = ("ingest", "report")
IMPORTS = 2.0
"""Seconds before which a run only imports."""


@dataclass(frozen=True)
class Step:
    """Tables that one run writes together, and the partition that is made."""

    name: str
    tables: tuple[str, ...]
    partition: str | None

    @property
    def scope(self) -> Scope:
        """As ``Session.replace`` wants it."""
        if self.partition and contract.table(self.tables[0]).partition in ("as_of", "date"):
            return date.fromisoformat(self.partition), date.fromisoformat(self.partition)
        return self.partition


def kills(work: Path, n: int, seed: int) -> Iterator[tuple[str, Tally]]:
    """Name of each model asset's step, and what came of killing it n times."""
    home = _finished_home(work / "models")
    draw = random.Random(seed)
    for step in _steps(home):
        yield step.name, _killed(step, home, n, draw)


def _killed(step: Step, home: Settings, n: int, draw: random.Random) -> Tally:
    warehouse, tally = Warehouse(home), Tally()
    began = time.monotonic()
    _finish(step, home)
    whole = time.monotonic() - began
    new = _content(warehouse, step)
    before = {name: _with_a_row_less(warehouse, name, step) for name in step.tables}
    old = _content(warehouse, step)
    while tally.struck < n and tally.tried < 3 * n:
        for name, version in before.items():
            warehouse.rollback(name, version)
        process = _start(step, home)
        time.sleep(draw.uniform(min(IMPORTS, whole / 2), whole))
        tally.struck += _kill(process)
        tally.tried += 1
        tally.see(_content(warehouse, step), old, new)
        _finish(step, home)
        tally.healed(_content(warehouse, step), new)
    return tally


def _with_a_row_less(warehouse: Warehouse, name: str, step: Step) -> int:
    """Replace the partition by all but one of its rows, where it has several; the version."""
    column = contract.table(name).partition
    with warehouse.session() as session:
        chosen = f"{column}::VARCHAR = ?" if column else "true"
        given = [step.partition] if column else []
        ((rows,),) = session.sql(f"SELECT count(*) FROM {name} WHERE {chosen}", given).fetchall()
        if rows > 1:
            fewer = session.sql(f"SELECT * FROM {name} WHERE {chosen} LIMIT {rows - 1}", given)
            session.replace(name, session.connection.from_arrow(fewer.to_arrow_table()), step.scope)
    version = warehouse.version(name)
    assert version is not None, f"{name} was never written"
    return version


def _content(warehouse: Warehouse, step: Step) -> Fingerprint:
    return fingerprint(warehouse, step.tables)


def _finished_home(folder: Path) -> Settings:
    """The shipped data, run through once."""
    from rich.console import Console

    from retail_assets import runner

    shutil.copytree(SHIPPED / "landing", folder / "landing")
    shutil.copytree(SHIPPED / "rules", folder / "rules")
    settings = runner.prepare(folder, None)
    with redirect_stdout(StringIO()):
        failed = runner.run(settings, Console(quiet=True))
    if failed:
        raise RuntimeError(f"the shipped data did not run: {failed}")
    return settings


def _steps(home: Settings) -> list[Step]:
    from retail_assets.definitions import build_definitions

    with Warehouse(home).session() as session:
        ((day,),) = session.sql("SELECT max(as_of) FROM cold_start_posterior").fetchall()
        ((sale,),) = session.sql("SELECT max(sale_id) FROM optimal_prices").fetchall()
        ((category,),) = session.sql("SELECT max(category) FROM demand_rates").fetchall()
    key = {"category": category, "sale_id": sale, "occasion": sale, None: None}
    models = {n for n, table in contract.tables().items() if table.group not in NO_MODEL}
    found = []
    for asset in build_definitions().assets or ():
        names = tuple(sorted(one.to_user_string() for one in asset.keys))
        if models.issuperset(names):
            partition = key.get(contract.table(names[0]).partition, str(day))
            found.append(Step(asset.node_def.name, names, partition))
    return found


def _start(step: Step, home: Settings) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "dagster", "asset", "materialize"]
    command += ["-m", "retail_assets.definitions", "--select", ",".join(step.tables)]
    command += ["--partition", step.partition] if step.partition else []
    where = {HOME_VARIABLE: str(home.home), LANDING_VARIABLE: str(home.landing)}
    return subprocess.Popen(
        command,
        cwd=ROOT,
        env={**os.environ, **where, "DAGSTER_HOME": str(home.home / "dagster")},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )


def _finish(step: Step, home: Settings) -> None:
    process = _start(step, home)
    _, said = process.communicate()
    if process.returncode:
        raise RuntimeError(f"{step.name} failed: {said.decode()[-2000:]}")


def _kill(process: subprocess.Popen[bytes]) -> bool:
    """False when the run was over before."""
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    return process.returncode == -signal.SIGKILL
