"""Delta tables underneath, DuckDB on top. Nobody else opens table files.

A table is a Delta table under ``<home>/lake/<name>/``, partitioned as the contract
says. A partition, or a range of days, is replaced in one atomic commit, and only
after the new rows kept the contract: a bad partition never becomes current.
Old versions stay until ``vacuum``. What a table holds belongs in contract.py.
"""

from __future__ import annotations

import re
import shutil
import tempfile
import time
import uuid
from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
from deltalake import DeltaTable
from deltalake.exceptions import DeltaError, TableNotFoundError

from retail_assets import contract
from retail_assets.errors import RetailAssetsError
from retail_assets.settings import Settings
from retail_assets.staging import STAGED, Scope, Staging, nothing, pattern, present, quoted

__all__ = ["Scope", "Session", "Warehouse"]


@dataclass(frozen=True)
class DayFiles:
    """What a daily table holds of one day."""

    rows: int
    written: int
    """When the newest of its files was written, milliseconds since 1970."""


@dataclass
class Session:
    """One DuckDB connection that sees one version of every table it touches."""

    warehouse: Warehouse
    connection: duckdb.DuckDBPyConnection
    scratch: Path
    """Folder that is gone with the session."""
    versions: dict[str, int] = field(default_factory=dict)
    _files: dict[str, list[tuple[date, str]]] = field(default_factory=dict)
    _viewed: set[str] = field(default_factory=set)
    # Names are looked up on a connection without views: one that binds a view over
    # read_parquet there fails ("cannot take NULL list as parameter").
    _names: duckdb.DuckDBPyConnection | None = None

    def sql(self, query: str, parameters: Mapping[str, Any] | Sequence[Any] | None = None) -> Any:
        """Run SQL; names of contract tables resolve to their current Delta version.

        Returns
        -------
        duckdb.DuckDBPyRelation or None
            As ``duckdb.sql``.
        """
        self._resolve(query)
        return self.connection.sql(query, params=parameters)

    def execute(self, statement: str, parameters: Any = None) -> None:
        """Run a statement that returns nothing, with the same name resolution."""
        self._resolve(statement)
        self.connection.execute(statement, parameters)

    def encode(self, name: str, texts: str) -> None:
        """Create the enum type ``name`` of the texts a SELECT of one column yields.

        Texts that repeat are cheap to group and to write as an enum (``Staging.add``).
        """
        self.execute(
            f"CREATE OR REPLACE TEMP TYPE {name} AS ENUM"
            f" (SELECT DISTINCT * FROM ({texts}) WHERE COLUMNS(*) IS NOT NULL ORDER BY ALL)"
        )

    def _resolve(self, query: str) -> None:
        words = set(re.findall(r"\w+", query)) & contract.tables().keys()
        if not words:
            return
        if self._names is None:
            self._names = duckdb.connect()
        try:
            names = self._names.get_table_names(query)
        except duckdb.Error:
            # An INSERT into a temporary table, say, which that connection does not know.
            names = words
        for name in names & words:
            self._view(name)

    def _view(self, name: str) -> None:
        if name in self._viewed:
            return
        self._viewed.add(name)
        version, source = self.warehouse._source(name)
        if version is not None:
            self.versions[name] = version
        self.connection.execute(f'CREATE OR REPLACE TEMP VIEW "{name}" AS {source}')

    def rows(self, name: str, days: tuple[date, date]) -> str:
        """The rows of some days of a daily table as a FROM item.

        Names only the files of those days: a query over the whole table opens the footer
        of every file first, 0.1 ms each.
        """
        self._view(name)
        if name not in self._files:
            found = self.warehouse.files(name, self.versions.get(name))
            self._files[name] = sorted((_day_of(file), file) for file in found)
        first, last = (bisect_left(self._files[name], (d,)) for d in (days[0], _next(days[1])))
        return f"({self.warehouse.select(name, [f for _, f in self._files[name][first:last]])})"

    def absent(self, name: str, days: tuple[date, date]) -> set[str]:
        """Columns that no file of these days has: they are null throughout."""
        table = contract.table(name)
        self.rows(name, days)
        every = set(table.column_names)
        for day, file in self._files[name]:
            if days[0] <= day <= days[1]:
                every -= set(present(table, file) or table.column_names)
        return every

    @contextmanager
    def staging(self, name: str, scope: Scope = None, *, keyed: bool = True) -> Iterator[Staging]:
        """New rows for ``scope`` of a table, added in batches; ``commit()`` makes them current.

        Without a commit (an error, say) the batches are deleted and the table stays.
        ``keyed=False`` leaves out the comparison of keys (0.1 CPU s per million rows)
        where they are unique by construction.
        """
        folder = self.warehouse.path(name)
        staging = Staging(self.connection, contract.table(name), folder, scope, keyed)
        try:
            yield staging
        finally:
            if not staging.committed:
                staging.discard()

    def replace(self, name: str, rows: duckdb.DuckDBPyRelation, scope: Scope = None) -> int:
        """Replace what ``scope`` covers of a table by ``rows``, in one commit.

        Parameters
        ----------
        rows : DuckDBPyRelation
            Columns by name; a missing optional column becomes null.
        scope : str or (date, date) or None
            Category, inclusive days, or the whole table.

        Returns
        -------
        int
            Rows written.

        Raises
        ------
        ContractError
            When a row breaks the contract. Nothing is written then.
        """
        with self.staging(name, scope) as staging:
            staging.add(rows)
            return staging.commit()


class Warehouse:
    """The lake of one retailer: read, replace, publish, vacuum, roll back."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings

    @contextmanager
    def session(self) -> Iterator[Session]:
        """A DuckDB connection in UTC, spilling to a temporary folder."""
        with tempfile.TemporaryDirectory(prefix="retail-assets-") as spill:
            connection = duckdb.connect(
                config={
                    "memory_limit": self.settings.memory_limit,
                    "temp_directory": spill,
                    "preserve_insertion_order": False,
                }
            )
            connection.execute("SET TimeZone = 'UTC'")
            connection.execute("SET enable_progress_bar = false")
            try:
                yield Session(self, connection, Path(spill))
            finally:
                connection.close()

    def path(self, name: str) -> Path:
        """Folder of a contract table."""
        return self.settings.lake / contract.table(name).name

    def exists(self, name: str) -> bool:
        return self._open(name) is not None

    def version(self, name: str) -> int | None:
        """Current version of a table; None before its first write."""
        delta = self._open(name)
        return None if delta is None else delta.version()

    def partitions(self, name: str) -> set[str]:
        """Partition values a table holds rows for, as text."""
        column, delta = contract.table(name).partition, self._open(name)
        if column is None or delta is None:
            return set()
        return {str(part[column]) for part in delta.partitions()}

    def day_files(self, name: str) -> dict[date, DayFiles]:
        """Rows and time of writing of each day of a daily table; reads no rows."""
        delta = self._open(name)
        if delta is None:
            return {}
        wanted = [f"partition.{contract.table(name).partition}", "num_records", "modification_time"]
        found: dict[date, DayFiles] = {}
        for row in pa.table(delta.get_add_actions(flatten=True)).select(wanted).to_pylist():
            day, rows, written = row.values()
            had = found.get(day, DayFiles(0, 0))
            found[day] = DayFiles(had.rows + rows, max(had.written, written))
        return found

    def rollback(self, name: str, version: int) -> None:
        """Make an earlier version current again, as a new version; the current one stays.

        Raises
        ------
        RetailAssetsError
            When the table or the version does not exist (any more).
        """
        delta = self._open(name)
        if delta is None or not 0 <= version <= delta.version():
            raise RetailAssetsError(f"table {name} has no version {version}")
        if version == delta.version():
            return
        try:
            delta.restore(version)
        except DeltaError as error:
            what = f"version {version} of table {name} cannot be restored: {error}"
            raise RetailAssetsError(f"{what}; vacuum may have removed its files") from None

    def vacuum(self, grace_hours: int = 168) -> int:
        """Delete files no version younger than ``grace_hours`` uses; return how many.

        That includes what killed writers left behind. A writer at work is younger than the
        grace period; with 0 hours nobody else may be writing.
        """
        removed = 0
        for name in contract.tables():
            delta = self._open(name)
            if delta is not None:
                removed += len(
                    delta.vacuum(
                        grace_hours, dry_run=False, enforce_retention_duration=False, full=True
                    )
                )
            for folder in self.path(name).glob(f"{STAGED}*"):
                if time.time() - folder.stat().st_mtime >= grace_hours * 3600:
                    removed += sum(1 for _ in folder.iterdir())
                    shutil.rmtree(folder, ignore_errors=True)
        return removed

    def publish(self) -> dict[str, int]:
        """Write ``retail.duckdb`` whole: every table under its name, with comments.

        Built beside the old file and renamed over it, so a reader sees the old or the
        new database and can never block the pipeline.

        Returns
        -------
        dict
            Rows per table.
        """
        target = self.settings.database
        target.parent.mkdir(parents=True, exist_ok=True)
        # Two publications at once must not rename each other's half-written file.
        partial = target.with_name(f"{target.name}.{uuid.uuid4().hex}.partial")
        counts: dict[str, int] = {}
        with self.session() as session:
            # Readers of DuckDB 1.4 and later can open this storage version.
            session.connection.execute(
                f"ATTACH '{quoted(str(partial))}' AS out (STORAGE_VERSION 'v1.4.0')"
            )
            for name, table in contract.tables().items():
                version, source = self._source(name)
                if version is not None:
                    counts[name] = self._publish_table(session, table, source)
            session.connection.execute("DETACH out")
        partial.replace(target)
        return counts

    def _publish_table(self, session: Session, table: contract.Table, source: str) -> int:
        row = session.connection.execute(f"SELECT count(*) FROM ({source})").fetchall()[0]
        count = int(row[0])
        kind = "TABLE" if count <= self.settings.publish_max_rows else "VIEW"
        run = session.connection.execute
        run(f'CREATE {kind} out."{table.name}" AS {source}')
        run(f"COMMENT ON {kind} out.\"{table.name}\" IS '{quoted(table.description)}'")
        for column in table.columns:
            comment = quoted(column.description)
            run(f'COMMENT ON COLUMN out."{table.name}"."{column.name}" IS \'{comment}\'')
        return count

    def _open(self, name: str) -> DeltaTable | None:
        try:
            return DeltaTable(self.path(name))
        except TableNotFoundError:
            return None

    def files(self, name: str, version: int | None) -> list[str]:
        """Parquet files of one version of a table."""
        if version is None:
            return []
        return DeltaTable(self.path(name), version=version).file_uris()

    def _source(self, name: str) -> tuple[int | None, str]:
        """Version and SELECT of a table; a table never written is empty but typed."""
        delta = self._open(name)
        if delta is None:
            return None, self.select(name, [])
        return delta.version(), self.select(name, delta.file_uris())

    def select(self, name: str, files: Sequence[str]) -> str:
        """SELECT of the contract's columns from some of a table's files."""
        table = contract.table(name)
        if not files:
            return nothing(table)
        hive = ""
        if table.partition:
            # Without hive_types the categories "1" and "10" would come back as BIGINT.
            kind = next(c.type for c in table.columns if c.name == table.partition)
            hive = f", hive_partitioning = true, hive_types = {{'{table.partition}': {kind}}}"
        groups: dict[tuple[str, ...] | None, list[str]] = {}
        for file in files:
            groups.setdefault(present(table, file), []).append(f"'{pattern(file)}'")
        return " UNION ALL ".join(
            _select(table, columns, f"[{', '.join(some)}]", hive)
            for columns, some in groups.items()
        )


def _select(table: contract.Table, columns: tuple[str, ...] | None, files: str, hive: str) -> str:
    """SELECT of all columns from files that have some: those named, or (None) unknown ones."""
    if columns is None:
        listed = ", ".join(f'"{c.name}"' for c in table.columns)
        return (
            f"SELECT {listed} FROM ({nothing(table)} UNION ALL BY NAME"
            f" SELECT * FROM read_parquet({files}, union_by_name = true{hive}))"
        )
    # The file's name said what it has: saves 3 ms of planning, and every file's footer.
    listed = ", ".join(
        f'"{c.name}"' if c.name in columns else f'NULL::{c.type} AS "{c.name}"'
        for c in table.columns
    )
    return f"SELECT {listed} FROM read_parquet({files}{hive})"


def _day_of(file: str) -> date:
    """Of a file of a table by day: the partition's value is its folder's name."""
    return date.fromisoformat(re.findall(r"=(\d{4}-\d\d-\d\d)/", file)[-1])


def _next(day: date) -> date:
    return day + timedelta(days=1)
