"""Delta tables underneath, DuckDB on top. Nobody else opens table files.

A table is a Delta table under ``<home>/lake/<name>/``, partitioned as the contract
says. A partition, or a range of days, is replaced in one atomic commit, and only
after the new rows kept the contract: a bad partition never becomes current.
Old versions stay until ``vacuum``. What a table holds belongs in contract.py.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any

import duckdb
from deltalake import CommitProperties, DeltaTable, write_deltalake
from deltalake.exceptions import TableNotFoundError

from retail_assets import contract
from retail_assets.errors import ContractError, RetailAssetsError
from retail_assets.settings import Settings

Scope = str | tuple[date, date] | None
"""What a write replaces: a category, an inclusive range of days, or (None) the table."""


@dataclass
class Session:
    """One DuckDB connection that sees one version of every table it touches."""

    warehouse: Warehouse
    connection: duckdb.DuckDBPyConnection
    versions: dict[str, int] = field(default_factory=dict)
    _viewed: set[str] = field(default_factory=set)

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

    def _resolve(self, query: str) -> None:
        for name in self.connection.get_table_names(query) & contract.tables().keys():
            self._view(name)

    def _view(self, name: str) -> None:
        if name in self._viewed:
            return
        self._viewed.add(name)
        version, source = self.warehouse._source(name)
        if version is not None:
            self.versions[name] = version
        self.connection.execute(f'CREATE OR REPLACE TEMP VIEW "{name}" AS {source}')

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
        table = contract.table(name)
        self.connection.execute("DROP TABLE IF EXISTS staged")
        _typed(rows, table).create("staged")
        try:
            broken = self._breaches(table, scope)
            if broken:
                raise ContractError(name, broken)
            staged = self.connection.table("staged")
            self.warehouse._commit(table, staged, scope)
            return int(staged.count("*").fetchall()[0][0])
        finally:
            self.connection.execute("DROP TABLE IF EXISTS staged")

    def _breaches(self, table: contract.Table, scope: Scope) -> list[str]:
        tests = {f"{c} is empty": f'"{c}" IS NULL' for c in table.required_columns}
        tests |= {f"not {rule}": f"NOT ({rule})" for rule in table.rules}
        if table.partition and scope is not None:
            tests[f"{table.partition} outside {scope}"] = f"NOT ({_predicate(table, scope)})"
        if not tests:
            return []
        counts = self.connection.sql(
            "SELECT " + ", ".join(f"count(*) FILTER ({test})" for test in tests.values())
            + " FROM staged"
        ).fetchall()[0]
        broken = [f"{n} rows: {why}" for why, n in zip(tests, counts, strict=True) if n]
        if table.key:
            keys = ", ".join(f'"{k}"' for k in table.key)
            doubled = self.connection.sql(
                f"SELECT {keys} FROM staged GROUP BY ALL HAVING count(*) > 1 LIMIT 1"
            ).fetchall()
            if doubled:
                broken.append(f"duplicate key ({', '.join(table.key)}) = {doubled[0]}")
        return broken


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
            try:
                yield Session(self, connection)
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

    def rollback(self, name: str, version: int) -> None:
        """Make an earlier version current again, as a new version.

        Raises
        ------
        RetailAssetsError
            When the table or the version does not exist (any more).
        """
        delta = self._open(name)
        if delta is None or not 0 <= version <= delta.version():
            raise RetailAssetsError(f"table {name} has no version {version}")
        delta.restore(version)

    def vacuum(self, grace_hours: int = 168) -> int:
        """Delete files no version younger than ``grace_hours`` uses; return how many."""
        removed = 0
        for name in contract.tables():
            delta = self._open(name)
            if delta is not None:
                removed += len(
                    delta.vacuum(grace_hours, dry_run=False, enforce_retention_duration=False)
                )
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
        partial = target.with_name(target.name + ".partial")
        partial.unlink(missing_ok=True)
        counts: dict[str, int] = {}
        with self.session() as session:
            # Readers of DuckDB 1.4 and later can open this storage version.
            session.connection.execute(
                f"ATTACH '{_quoted(str(partial))}' AS out (STORAGE_VERSION 'v1.4.0')"
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
        run(f"COMMENT ON {kind} out.\"{table.name}\" IS '{_quoted(table.description)}'")
        for column in table.columns:
            comment = _quoted(column.description)
            run(f"COMMENT ON COLUMN out.\"{table.name}\".\"{column.name}\" IS '{comment}'")
        return count

    def _open(self, name: str) -> DeltaTable | None:
        try:
            return DeltaTable(self.path(name))
        except TableNotFoundError:
            return None

    def _source(self, name: str) -> tuple[int | None, str]:
        """Version and SELECT of a table; a table never written is empty but typed."""
        table = contract.table(name)
        delta = self._open(name)
        files = [] if delta is None else delta.file_uris()
        if delta is None or not files:
            nulls = ", ".join(f'NULL::{c.type} AS "{c.name}"' for c in table.columns)
            return (None if delta is None else delta.version()), f"SELECT {nulls} WHERE false"
        listed = ", ".join(f"'{_quoted(uri)}'" for uri in files)
        hive = ""
        if table.partition:
            # Without hive_types the categories "1" and "10" would come back as BIGINT.
            kind = next(c.type for c in table.columns if c.name == table.partition)
            hive = f", hive_partitioning = true, hive_types = {{'{table.partition}': {kind}}}"
        have = {f.name for f in delta.schema().fields}
        columns = ", ".join(
            f'"{c.name}"' if c.name in have else f'NULL::{c.type} AS "{c.name}"'
            for c in table.columns
        )
        source = f"read_parquet([{listed}], union_by_name = true{hive})"
        return delta.version(), f"SELECT {columns} FROM {source}"

    def _commit(
        self, table: contract.Table, rows: duckdb.DuckDBPyRelation, scope: Scope
    ) -> None:
        self.settings.lake.mkdir(parents=True, exist_ok=True)
        write_deltalake(
            self.settings.lake / table.name,
            rows.to_arrow_reader(200_000),
            partition_by=[table.partition] if table.partition else None,
            mode="overwrite",
            predicate=_predicate(table, scope) if scope is not None else None,
            schema_mode=None if scope is not None else "overwrite",
            commit_properties=CommitProperties(max_commit_retries=50),
        )


def _typed(rows: duckdb.DuckDBPyRelation, table: contract.Table) -> duckdb.DuckDBPyRelation:
    unknown = set(rows.columns) - set(table.column_names)
    missing = set(table.required_columns) - set(rows.columns)
    if unknown or missing:
        raise ContractError(
            table.name,
            [f"column {c} is not in the contract" for c in sorted(unknown)]
            + [f"column {c} is missing" for c in sorted(missing)],
        )
    have = set(rows.columns)
    return rows.project(
        ", ".join(
            f'CAST("{c.name}" AS {c.type}) AS "{c.name}"'
            if c.name in have
            else f'NULL::{c.type} AS "{c.name}"'
            for c in table.columns
        )
    )


def _predicate(table: contract.Table, scope: Scope) -> str:
    if isinstance(scope, tuple):
        first, last = scope
        return (
            f"{table.partition} >= DATE '{first.isoformat()}'"
            f" AND {table.partition} <= DATE '{last.isoformat()}'"
        )
    return f"{table.partition} = '{_quoted(str(scope))}'"


def _quoted(text: str) -> str:
    return text.replace("'", "''")
