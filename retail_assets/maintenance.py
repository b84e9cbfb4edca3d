"""What keeps a home small: files joined, old versions deleted, old runs forgotten.

The job of automation/upkeep.py and the commands ``vacuum`` and ``history`` call this. Nothing
here changes a row of a current table; what is deleted is older than the grace period.
"""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
from deltalake import DeltaTable
from deltalake.exceptions import CommitFailedError, TableNotFoundError

from retail_assets import contract
from retail_assets.errors import RetailAssetsError
from retail_assets.ingest.unfinished import CHAIN
from retail_assets.warehouse import Warehouse

if TYPE_CHECKING:
    import dagster as dg

GRACE_HOURS = 168
"""A week: longer than any run or any query over an old version."""

KEEP_DAYS = 30
"""Runs are looked at for a month; what wrote a current partition stays whatever its age."""

MANY_FILES = 8
"""A partition of fewer files is not worth a rewrite: opening a file costs 0.1 ms."""

LOGGED = 50
"""Commits since the last checkpoint; each is a file that every reader of the table opens."""

CHUNK = 500


@dataclass(frozen=True)
class Version:
    """One version of a table."""

    number: int
    written: datetime
    operation: str
    rows: int | None
    """None where the version cannot be read any more."""

    @property
    def restorable(self) -> bool:
        """All its files still exist."""
        return self.rows is not None


@dataclass(frozen=True)
class Forgotten:
    """What became of finished runs past their time."""

    deleted: int
    kept: int
    """They wrote a partition that is current: without them it would look unmade."""


def history(warehouse: Warehouse, name: str, limit: int = 20) -> list[Version]:
    """The latest versions of a table, newest first.

    Raises
    ------
    RetailAssetsError
        When there is no such table, or it was never written.
    """
    folder = _folder(warehouse, name)
    try:
        entries = DeltaTable(folder).history(limit)
    except TableNotFoundError:
        raise RetailAssetsError(f"table {name} was never written; run it first") from None
    return [
        Version(
            int(entry["version"]),
            datetime.fromtimestamp(entry["timestamp"] / 1000, UTC),
            str(entry["operation"]).lower(),
            _rows(folder, int(entry["version"])),
        )
        for entry in entries
    ]


def _folder(warehouse: Warehouse, name: str) -> Path:
    if name not in contract.tables():
        known = ", ".join(contract.tables())
        raise RetailAssetsError(f"no table {name!r}; known: {known}")
    return warehouse.path(name)


def _rows(folder: Path, version: int) -> int | None:
    try:
        table = DeltaTable(folder, version=version)
    except Exception:  # a log entry that was cleaned up: delta-rs raises more than one kind
        return None
    if not all(Path(file).exists() for file in table.file_uris()):
        return None
    adds = pa.table(table.get_add_actions(flatten=True))
    return int(sum(adds.column("num_records").to_pylist())) if adds.num_rows else 0


def compact(warehouse: Warehouse) -> dict[str, int]:
    """Join the small files of partitions that have many; by how many each table shrank.

    Readers see the same rows throughout. A table that somebody writes meanwhile is left for
    next time. The daily tables of the receipts are left alone: a day is one file already, and
    *when* it was written tells a run that was killed half-way (ingest/unfinished.py).
    """
    fewer: dict[str, int] = {}
    for name in contract.tables():
        table = _open(warehouse, name)
        if table is None or name in CHAIN:
            continue
        counts = Counter(str(Path(file).parent) for file in table.file_uris())
        if max(counts.values(), default=0) < MANY_FILES:
            continue
        try:
            about = table.optimize.compact()
        except CommitFailedError:
            continue
        fewer[name] = about["numFilesRemoved"] - about["numFilesAdded"]
    return fewer


def checkpoint(warehouse: Warehouse) -> int:
    """Sum up the logs of tables with many commits, so that they open fast; how many."""
    done = 0
    for name in contract.tables():
        table = _open(warehouse, name)
        log = warehouse.path(name) / "_delta_log"
        if table is None:
            continue
        summed = max((int(p.name[:20]) for p in log.glob("*.checkpoint*.parquet")), default=0)
        if table.version() - summed >= LOGGED:
            table.create_checkpoint()
            table.cleanup_metadata()
            done += 1
    return done


def sweep(warehouse: Warehouse, grace_hours: int = GRACE_HOURS) -> int:
    """Delete what no version younger than the grace period uses; how many files.

    Besides the tables' own (``Warehouse.vacuum``) that is a published database whose writer
    was killed before it was whole.
    """
    removed = warehouse.vacuum(grace_hours)
    for partial in unpublished(warehouse):
        if time.time() - partial.stat().st_mtime >= grace_hours * 3600:
            partial.unlink()
            removed += 1
    return removed


def unpublished(warehouse: Warehouse) -> list[Path]:
    """Databases and reports that were begun and not published."""
    home = warehouse.settings.home
    targets = (warehouse.settings.database, warehouse.settings.report)
    return sorted(path for one in targets for path in home.glob(f"{one.name}*.partial*"))


def forget_runs(instance: dg.DagsterInstance, keep_days: int = KEEP_DAYS) -> Forgotten:
    """Delete finished runs and their logs that are older than ``keep_days``.

    Deleting a run deletes its events, also that a partition was made: a run that is the
    latest to have written some partition stays, or automation would make it again.
    """
    import dagster as dg

    over = [dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.CANCELED]
    before = datetime.now(UTC) - timedelta(days=keep_days)
    records = instance.get_run_records(dg.RunsFilter(statuses=over, created_before=before))
    current = _current_runs(instance) if records else set[str]()
    deleted = 0
    for record in records:
        run = record.dagster_run.run_id
        if run not in current:
            instance.compute_log_manager.delete_logs(prefix=[run])
            instance.delete_run(run)
            _delete_history_file(instance, run)
            deleted += 1
    return Forgotten(deleted, len(records) - deleted)


def _delete_history_file(instance: dg.DagsterInstance, run: str) -> None:
    """SQLite keeps a file per run, 135 kB of nothing once its events are deleted."""
    path_of = getattr(instance.event_log_storage, "path_for_shard", None)
    if path_of is not None:
        for suffix in ("", "-journal", "-wal", "-shm"):
            Path(f"{path_of(run)}{suffix}").unlink(missing_ok=True)


def _current_runs(instance: dg.DagsterInstance) -> set[str]:
    """Runs that were the latest to write some asset or a partition of it."""
    import dagster as dg

    runs: set[str] = set()
    written = dg.DagsterEventType.ASSET_MATERIALIZATION
    for key in instance.get_asset_keys():
        latest = instance.get_latest_materialization_event(key)
        if latest is not None:
            runs.add(latest.run_id)
        storage = instance.event_log_storage
        ids = list(storage.get_latest_storage_id_by_partition(key, written).values())
        for start in range(0, len(ids), CHUNK):
            some = dg.AssetRecordsFilter(asset_key=key, storage_ids=ids[start : start + CHUNK])
            found = instance.fetch_materializations(some, limit=CHUNK).records
            runs |= {record.run_id for record in found}
    return runs


def _open(warehouse: Warehouse, name: str) -> DeltaTable | None:
    try:
        return DeltaTable(warehouse.path(name))
    except TableNotFoundError:
        return None
