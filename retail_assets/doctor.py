"""``retail-assets doctor``: what is wrong with this machine or this home, and what to do.

Looks and changes nothing. A finding is ok, a warning (work goes on) or wrong (a run would
fail, or already gives wrong answers). Footers are read, never rows: seconds on a big lake.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import platform
import shutil
import sqlite3
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
from deltalake import DeltaTable
from deltalake.exceptions import DeltaError, TableNotFoundError

from retail_assets import contract
from retail_assets.errors import RetailAssetsError
from retail_assets.ingest import landing
from retail_assets.ingest.folder import look
from retail_assets.maintenance import unpublished
from retail_assets.settings import Settings
from retail_assets.staging import STAGED
from retail_assets.warehouse import Warehouse

OK, WARNING, WRONG = "ok", "warning", "wrong"
COMPILED = ("dagster", "duckdb", "deltalake", "pandas", "retail_assets")
SHOWN = ("dagster", "duckdb", "deltalake")
HEARTBEAT_SECONDS = 300
"""A daemon writes one every 30 s; Dagster itself calls it dead after 5 minutes."""

LISTED = 5
"""So many files are named one by one; the rest is a number."""


@dataclass(frozen=True)
class Finding:
    """One line of the report."""

    level: str
    what: str
    about: str
    remedy: str = ""

    def __str__(self) -> str:
        remedy = f"; {self.remedy}" if self.remedy else ""
        return f"{self.level:<8} {self.what:<10} {self.about}{remedy}"


def examine(settings: Settings) -> list[Finding]:
    """Every finding, in the order in which they are best mended."""
    warehouse = Warehouse(settings)
    looks = (versions(), bytecode(), paths(settings), disk(settings), locks(settings),
             leftovers(warehouse), daemon(settings), tables(warehouse),
             landed(warehouse))  # fmt: skip
    return [finding for some in looks for finding in some]


def versions() -> Iterator[Finding]:
    """Installed packages against the ranges of pyproject.toml."""
    from packaging.requirements import Requirement

    wrong = 0
    for line in importlib.metadata.requires("retail-assets") or []:
        wanted = Requirement(line)
        if wanted.marker is not None and not wanted.marker.evaluate({"extra": ""}):
            continue
        try:
            found = importlib.metadata.version(wanted.name)
        except importlib.metadata.PackageNotFoundError:
            found = "not installed"
        if found == "not installed" or not wanted.specifier.contains(found, prereleases=True):
            wrong += 1
            about = f"{wanted.name} {found}, needed is {wanted.specifier or 'any'}"
            yield Finding(WRONG, "versions", about, "make setup")
    if not wrong:
        shown = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in SHOWN)
        yield Finding(OK, "versions", f"python {platform.python_version()}, {shown}")


def bytecode() -> Iterator[Finding]:
    """Without compiled bytecode every Dagster process compiles every library again: 20 CPU s."""
    bare = [name for name in COMPILED if not is_compiled(name)]
    if bare:
        about = f"not compiled: {', '.join(bare)}; every process starts 3 times slower"
        yield Finding(WARNING, "bytecode", about, "python -m compileall the environment")
    else:
        yield Finding(OK, "bytecode", "compiled")


def is_compiled(name: str) -> bool:
    """Has the package's first module bytecode of this Python beside it?"""
    spec = importlib.util.find_spec(name)
    if spec is None or spec.origin is None:
        return True
    return Path(importlib.util.cache_from_source(spec.origin)).exists()


def paths(settings: Settings) -> Iterator[Finding]:
    """Folders there and writable; Dagster's history where this home keeps it."""
    for what, path in {"home": settings.home, "lake": settings.lake}.items():
        where = next(p for p in (path, *path.parents) if p.exists())
        if not where.is_dir() or not _writable(where):
            yield Finding(WRONG, "paths", f"{what} {path} cannot be written", f"chown {where}")
            return
    if not settings.landing.is_dir():
        remedy = "create it, or name it with --landing"
        yield Finding(WRONG, "paths", f"landing {settings.landing} does not exist", remedy)
    elif not os.access(settings.landing, os.R_OK | os.X_OK):
        yield Finding(WRONG, "paths", f"landing {settings.landing} cannot be read", "chmod o+rx")
    else:
        yield Finding(OK, "paths", f"home {settings.home}, landing {settings.landing}")
    given = os.environ.get("DAGSTER_HOME")
    if given is None:
        remedy = f"export DAGSTER_HOME={dagster_home(settings)}"
        about = "DAGSTER_HOME is not set: the dagster command would keep no history"
        yield Finding(WARNING, "paths", about, remedy)
    elif Path(given).resolve() != dagster_home(settings).resolve():
        about = f"DAGSTER_HOME {given} is not the one of this home"
        yield Finding(WARNING, "paths", about, f"export DAGSTER_HOME={dagster_home(settings)}")


def _writable(folder: Path) -> bool:
    """Tried, not asked: root may write anywhere but to a file system mounted read-only."""
    probe = folder / f".doctor-{os.getpid()}"
    try:
        probe.touch()
        probe.unlink()
    except OSError:
        return False
    return True


def dagster_home(settings: Settings) -> Path:
    """Where runs of this home keep Dagster's history."""
    return settings.home / "dagster"


def disk(settings: Settings) -> Iterator[Finding]:
    """A replaced table is there twice until the vacuum, and so is the database it is in."""
    where = next(p for p in (settings.home, *settings.home.parents) if p.exists())
    free = shutil.disk_usage(where).free
    size = sum(f.stat().st_size for f in settings.lake.rglob("*") if f.is_file())
    about = f"{free / 1e9:,.1f} GB free, lake {size / 1e9:,.2f} GB"
    remedy = "retail-assets vacuum, or a larger disk"
    if free < max(size // 2, 200_000_000):
        yield Finding(WRONG, "disk", f"{about}: the next full run will not fit", remedy)
    elif free < 2 * size:
        yield Finding(WARNING, "disk", f"{about}: less than twice the lake", remedy)
    else:
        yield Finding(OK, "disk", about)


def locks(settings: Settings) -> Iterator[Finding]:
    """Who holds the published database or Dagster's history."""
    held = 0
    if settings.database.exists():
        try:
            duckdb.connect(str(settings.database), read_only=True).close()
        except duckdb.Error as error:
            held += 1
            if "lock" in str(error).lower():
                about = f"{settings.database.name} is open for writing elsewhere"
                yield Finding(WARNING, "locks", about, "close it; runs go on, readers wait")
            else:
                about = f"{settings.database.name} cannot be opened: {_first_line(error)}"
                yield Finding(WRONG, "locks", about, "retail-assets publish")
    for file in (dagster_home(settings) / "history" / "runs.db",):
        if file.exists():
            connection = sqlite3.connect(file, timeout=1)
            try:
                connection.execute("BEGIN IMMEDIATE")
                connection.rollback()
            except sqlite3.Error as error:
                held += 1
                about = f"{file}: {error}"
                yield Finding(WARNING, "locks", about, "end the process that holds it: fuser FILE")
            finally:
                connection.close()
    if not held:
        yield Finding(OK, "locks", "nobody holds the database or Dagster's history")


def leftovers(warehouse: Warehouse) -> Iterator[Finding]:
    """What killed runs left behind; a run at work looks the same for a while."""
    staged = list(warehouse.settings.lake.glob(f"*/{STAGED}*"))
    partial = unpublished(warehouse)
    ages = [time.time() - path.stat().st_mtime for path in (*staged, *partial)]
    if not ages:
        yield Finding(OK, "leftovers", "none")
        return
    about = f"{len(staged)} staged folders, {len(partial)} unfinished databases"
    about += f", the oldest {max(ages) / 3600:.1f} hours old"
    level = WARNING if max(ages) > 6 * 3600 else OK
    yield Finding(level, "leftovers", about, "retail-assets vacuum takes those of a week ago")


def daemon(settings: Settings) -> Iterator[Finding]:
    """Heartbeats of the daemon, which launches what sensors and schedules ask for."""
    home = dagster_home(settings)
    if not (home / "dagster.yaml").exists():
        yield Finding(OK, "daemon", "no run yet", "retail-assets init")
        return
    import dagster as dg

    try:
        with dg.DagsterInstance.from_config(str(home)) as instance:
            beats = instance.get_daemon_heartbeats()
    except Exception as error:  # every storage has errors of its own
        about = f"Dagster's history cannot be read: {_first_line(error)}"
        yield Finding(WRONG, "daemon", about, f"look at {home / 'dagster.yaml'}")
        return
    if not beats:
        about = "none has run here: schedules and sensors do nothing"
        yield Finding(OK, "daemon", about, "retail-assets ui starts one")
        return
    now = time.time()
    stale = [kind for kind, beat in beats.items() if now - beat.timestamp > HEARTBEAT_SECONDS]
    failing = {kind: beat.errors for kind, beat in beats.items() if beat.errors}
    if stale:
        hours = (now - max(beats[kind].timestamp for kind in stale)) / 3600
        about = f"{len(stale)} of {len(beats)} daemons last seen {hours:.1f} hours ago"
        yield Finding(WARNING, "daemon", about, "restart dagster-daemon, or retail-assets ui")
    for kind, errors in failing.items():
        if kind not in stale:
            about = f"{kind.lower()}: {errors[0].message.strip().splitlines()[0]}"
            yield Finding(WRONG, "daemon", about, "its log says where")
    if not stale and not failing:
        yield Finding(OK, "daemon", f"{len(beats)} daemons, all seen within 5 minutes")


def tables(warehouse: Warehouse) -> Iterator[Finding]:
    """Every file of every current version is there, whole, and as long as the log says."""
    broken: list[Finding] = []
    files = 0
    for name in contract.tables():
        try:
            table = DeltaTable(warehouse.path(name))
            adds = pa.table(table.get_add_actions(flatten=True)).to_pylist()
        except TableNotFoundError:
            continue
        except DeltaError as error:
            about = f"{name}: log cannot be read: {_first_line(error)}"
            broken.append(Finding(WRONG, "tables", about, "restore the folder from a backup"))
            continue
        expected = {add["path"]: add for add in adds}
        for add in expected.values():
            files += 1
            why = _broken(_local(warehouse.path(name), add["path"]), add)
            if why:
                remedy = f"retail-assets history {name}, rollback to one before it, run"
                broken.append(Finding(WRONG, "tables", f"{name}/{add['path']} {why}", remedy))
    if not broken:
        yield Finding(OK, "tables", f"{files:,} files, all whole")
    yield from _few(broken, "tables")


def _local(folder: Path, path: str) -> Path:
    from urllib.parse import unquote

    plain = folder / path
    return plain if plain.exists() else folder / unquote(path)


def _broken(path: Path, add: dict[str, object]) -> str:
    if not path.exists():
        return "is missing"
    if path.stat().st_size != add["size_bytes"]:
        return f"has {path.stat().st_size:,} bytes, {add['size_bytes']:,} were written"
    try:
        rows = pq.read_metadata(path).num_rows
    except (pa.ArrowException, OSError):
        return "is no Parquet file any more"
    return "" if add["num_records"] in (None, rows) else f"has {rows:,} rows, not what was written"


def landed(warehouse: Warehouse) -> Iterator[Finding]:
    """Landing files that cannot be read or did not land; new ones are hashed."""
    if not warehouse.settings.landing.is_dir():
        return
    try:
        with warehouse.session() as session:
            known = landing.known_files(session)
        found = [file for file, _ in look(warehouse.settings, known, None)]
    except (RetailAssetsError, duckdb.Error) as error:
        yield Finding(WRONG, "landing", _first_line(error))
        return
    failed = [Finding(WARNING, "landing", str(f.error)) for f in found if f.state == "failed"]
    yield from _few(failed, "landing")
    if not failed:
        yield Finding(OK, "landing", f"{len(found):,} files, all readable")


def _few(findings: list[Finding], what: str) -> Iterator[Finding]:
    yield from findings[:LISTED]
    if len(findings) > LISTED:
        yield Finding(findings[0].level, what, f"and {len(findings) - LISTED:,} more like these")


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
