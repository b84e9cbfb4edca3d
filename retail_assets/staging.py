"""Rows on their way into a table: Parquet files that no version refers to yet.

DuckDB writes the files, the contract is checked on them, and one Delta commit makes
them current; nothing is current before that and nothing stays behind when it fails.
On 10 M receipt lines this costs 0.4 of the CPU of handing Arrow to the Delta writer,
and memory does not grow with the rows. Which rows belongs to the caller.
"""

from __future__ import annotations

import hashlib
import json
import random
import re
import shutil
import time
import uuid
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from datetime import date
from functools import cache
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
from deltalake import CommitProperties, DeltaTable, Schema, write_deltalake
from deltalake.exceptions import CommitFailedError
from deltalake.transaction import AddAction, RemoveAction

from retail_assets import contract
from retail_assets.errors import ContractError

Scope = str | tuple[date, date] | None
"""What a write replaces: a category, an inclusive range of days, or (None) the table."""

COMMIT_ATTEMPTS = 60
"""Eight writers of one table need at most 8; a commit of staged files takes about 10 ms."""

PARQUET = "COMPRESSION snappy, PARQUET_VERSION v2, DICTIONARY_SIZE_LIMIT 4000"
"""v2: line numbers and instants as differences, a third smaller and a sixth faster to write.
Dictionaries only for stores, products and the like: another tenth of the CPU."""

STAGED = "_staged-"
"""Folders of rows that the Delta writer will rewrite; readers and vacuum pass over ``_``."""

KEY_CHECK_ROWS = 4_000_000
"""Keys are compared this many rows at a time: about 200 MB."""


@dataclass
class Staging:
    """New rows for ``scope`` of one table, collected batch by batch, then committed."""

    connection: duckdb.DuckDBPyConnection
    table: contract.Table
    folder: Path
    scope: Scope
    keyed: bool = True
    """False: the caller vouches for the keys, and says how it knows."""
    rows: int = 0
    committed: bool = False
    _files: list[AddAction] = field(default_factory=list)
    _nulls: Counter[str] = field(default_factory=Counter)
    _token: str = field(default_factory=lambda: uuid.uuid4().hex)

    def add(
        self,
        rows: duckdb.DuckDBPyRelation | str,
        day: date | None = None,
        absent: Collection[str] = (),
        encoded: Collection[str] = (),
    ) -> int:
        """Write a batch; columns by name, a missing optional column becomes null.

        Parameters
        ----------
        rows : relation or SELECT
            A SELECT yields every column of the contract; it is planned once, a relation
            three times (5 ms each for a receipt line).
        day : date, optional
            The business day of every row, where the caller knows it: the batch is then
            one file, which halves the CPU of splitting rows by day.
        absent : collection of str
            Optional columns that are null throughout and are left out of the file: an
            empty column costs as much to write as one of numbers.
        encoded : collection of str
            Text columns that a SELECT yields as ENUM. The file holds the same text; writing
            its dictionary from the enum takes an eighth of the CPU of finding one.

        Returns
        -------
        int
            Rows in the batch.

        Raises
        ------
        ContractError
            When a column is unknown or a required one is missing.
        """
        if isinstance(rows, str):
            columns = typed(self.table, encoded=encoded)
            written = self._copy(f"SELECT {columns} FROM ({rows})", day, absent)
        else:
            view = f"batch_{self._token}"
            rows.create_view(view, replace=True)
            written = self._copy(
                f"SELECT {typed(self.table, rows.columns)} FROM {view}", day, absent
            )
            self.connection.execute(f"DROP VIEW {view}")
        return self._account(written, day)

    def _account(self, written: list[tuple[Any, ...]], day: date | None) -> int:
        """Note the files of a batch and their empty values; return its rows."""
        added = 0
        for file, count, size, _, statistics, partition, *_ in written:
            if count == 0:
                Path(file).unlink()
                continue
            values = {k: str(v) for k, v in (partition or {}).items() if v is not None}
            if day is not None:
                values = {str(self.table.partition): str(day)}
            for column, about in statistics.items():
                self._nulls[column.strip('"')] += int(about.get("null_count", 0))
            if self._by_day and not values:
                self._nulls[str(self.table.partition)] += count
            stats = json.dumps({"numRecords": count})
            path = str(Path(file).relative_to(self._where))
            now = int(time.time() * 1000)
            self._files.append(AddAction(path, size, values, now, True, stats))
            added += count
        self.rows += added
        return added

    def _copy(self, rows: str, day: date | None, absent: Collection[str]) -> list[tuple[Any, ...]]:
        """Write Parquet; DuckDB's account of each file."""
        which = mark(self.table, absent)
        if absent:
            rows = f"SELECT * EXCLUDE ({', '.join(sorted(absent))}) FROM ({rows})"
        where, split, column = self._where, "", self.table.partition
        if day is not None:
            where = where / f"{column}={day}"
            rows = (
                f"SELECT * EXCLUDE {column} FROM ({rows}) WHERE CASE WHEN {column} ="
                f" DATE '{day}' THEN true ELSE error('a row of another day') END"
            )
        where.mkdir(parents=True, exist_ok=True)
        target = where / f"part-{self._token}-{len(self._files)}{which}.parquet"
        if self._by_day and day is None:
            target = where
            naming = f"part-{self._token}-{{uuid}}{which}"
            split = f"PARTITION_BY ({column}), APPEND, FILENAME_PATTERN '{naming}',"
        return self.connection.execute(
            f"COPY ({rows}) TO '{quoted(str(target))}'"
            f" (FORMAT parquet, {split} {PARQUET}, RETURN_STATS)"
        ).fetchall()

    def commit(self) -> int:
        """Check the contract and make the rows current in one commit; return how many.

        Raises
        ------
        ContractError
            When a row breaks the contract; nothing is written then.
        """
        broken = self._breaches()
        if broken:
            raise ContractError(self.table.name, broken)
        empty = self.connection.sql(f"SELECT * FROM ({nothing(self.table)})")
        _create(self.folder, self.table, Schema.from_arrow(empty.to_arrow_reader().schema))
        if self._text_partition:
            self._rewrite()
        else:
            self._refer()
        self.committed = True
        return self.rows

    def discard(self) -> None:
        """Delete the files of a write that did not come to its commit."""
        for file in self._files:
            (self._where / file.path).unlink(missing_ok=True)
        if self._text_partition:
            shutil.rmtree(self._where, ignore_errors=True)

    @property
    def _by_day(self) -> bool:
        return self.table.by_day

    @property
    def _text_partition(self) -> bool:
        # Readers disagree on how "Käse & Co" is escaped in a path: the Delta writer knows.
        return self.table.partition is not None and not self._by_day

    @property
    def _where(self) -> Path:
        return self.folder / f"{STAGED}{self._token}" if self._text_partition else self.folder

    @property
    def staged(self) -> str:
        """The staged rows as a FROM item."""
        files = self._files
        if not files:
            return f"({nothing(self.table)})"
        listed = ", ".join(f"'{pattern(str(self._where / f.path))}'" for f in files)
        hive = f", hive_partitioning = true, hive_types = {{'{self.table.partition}': DATE}}"
        read = f"read_parquet([{listed}], union_by_name = true{hive if self._by_day else ''})"
        return f"({nothing(self.table)} UNION ALL BY NAME SELECT * FROM {read})"

    def _breaches(self) -> list[str]:
        """What breaks the contract. Empty values are told by the files' own statistics."""
        table = self.table
        broken = [
            f"{self._nulls[c]} rows: {c} is empty" for c in table.required_columns if self._nulls[c]
        ]
        tests = {f"not {rule}": f"NOT ({rule})" for rule in table.rules}
        if table.partition and self.scope is not None:
            outside = f"NOT ({predicate(table, self.scope)})"
            tests[f"{table.partition} outside {self.scope}"] = outside
        if tests and self.rows:
            counted = ", ".join(f"count(*) FILTER ({test})" for test in tests.values())
            counts = self.connection.sql(f"SELECT {counted} FROM {self.staged}").fetchall()[0]
            broken += [f"{n} rows: {why}" for why, n in zip(tests, counts, strict=True) if n]
        return broken + (self._doubled() if table.key and self.keyed else [])

    def _doubled(self) -> list[str]:
        """A key that occurs twice; hashes first, they take a third of the memory."""
        keys = ", ".join(f'"{k}"' for k in self.table.key)
        parts = -(-self.rows // KEY_CHECK_ROWS)
        for part in range(parts):
            share = f"WHERE hash({keys}) % {parts} = {part}" if parts > 1 else ""
            again = self.connection.sql(
                f"SELECT hash({keys}) AS h FROM {self.staged} {share}"
                " GROUP BY h HAVING count(*) > 1"
            ).fetchall()
            if not again:
                continue
            listed = ", ".join(str(h) for (h,) in again[:100])
            doubled = self.connection.sql(
                f"SELECT {keys} FROM {self.staged} WHERE hash({keys}) IN ({listed})"
                " GROUP BY ALL HAVING count(*) > 1 LIMIT 1"
            ).fetchall()
            if doubled:
                return [f"duplicate key ({', '.join(self.table.key)}) = {doubled[0]}"]
        return []

    def _refer(self) -> None:
        """Commit the staged files; what the scope held leaves in the same commit."""
        for attempt in range(COMMIT_ATTEMPTS):
            delta = DeltaTable(self.folder)
            try:
                delta.create_write_transaction(
                    list[AddAction | RemoveAction](self._files),
                    "overwrite",
                    delta.schema(),
                    [self.table.partition] if self.table.partition else None,
                    partition_filters=self._filters(),
                )
                return
            except CommitFailedError:
                # Another writer came first: look again and say it again.
                if attempt == COMMIT_ATTEMPTS - 1:
                    raise
                time.sleep(random.uniform(0, 0.02 * min(attempt + 1, 10)))

    def _filters(self) -> list[tuple[str, str, str]] | None:
        if self.scope is None or self.table.partition is None:
            return None
        assert isinstance(self.scope, tuple), "a day-partitioned table is replaced by days"
        first, last = self.scope
        column = self.table.partition
        return [(column, ">=", first.isoformat()), (column, "<=", last.isoformat())]

    def _rewrite(self) -> None:
        rows = self.connection.sql(f"SELECT * FROM {self.staged}").to_arrow_reader(200_000)
        write_deltalake(
            self.folder,
            rows,
            partition_by=[self.table.partition] if self.table.partition else None,
            mode="overwrite",
            predicate=predicate(self.table, self.scope) if self.scope is not None else None,
            commit_properties=CommitProperties(max_commit_retries=50),
        )
        shutil.rmtree(self._where, ignore_errors=True)


def _create(folder: Path, table: contract.Table, schema: Schema) -> None:
    """An empty table on first use; columns the contract gained since are added."""
    folder.mkdir(parents=True, exist_ok=True)
    partition = [table.partition] if table.partition else None
    if not DeltaTable.is_deltatable(str(folder)):
        DeltaTable.create(folder, schema, mode="ignore", partition_by=partition)
    known = {f.name for f in DeltaTable(folder).schema().fields}
    if not {f.name for f in schema.fields} <= known:
        empty = pa.schema(schema.to_arrow()).empty_table()
        write_deltalake(folder, empty, partition_by=partition, mode="append", schema_mode="merge")


def typed(
    table: contract.Table,
    columns: Sequence[str] | None = None,
    encoded: Collection[str] = (),
) -> str:
    """SELECT list that casts the given columns (default: all) to the contract's, all of them.

    Columns that are ``encoded`` stay as they are.

    Raises
    ------
    ContractError
        When a column is unknown or a required one is missing.
    """
    have = set(table.column_names if columns is None else columns)
    unknown = have - set(table.column_names)
    missing = set(table.required_columns) - have
    if unknown or missing:
        raise ContractError(
            table.name,
            [f"column {c} is not in the contract" for c in sorted(unknown)]
            + [f"column {c} is missing" for c in sorted(missing)],
        )
    return ", ".join(
        f'"{c.name}"'
        if c.name in encoded
        else f'CAST("{c.name}" AS {c.type}) AS "{c.name}"'
        if c.name in have
        else f'NULL::{c.type} AS "{c.name}"'
        for c in table.columns
    )


def mark(table: contract.Table, absent: Collection[str] = ()) -> str:
    """Part of a file's name that says which columns it has: readers need not look."""
    bits = "".join("0" if name in absent else "1" for name in table.column_names)
    return f"-{_digest(table)}x{int(bits, 2):x}"


def present(table: contract.Table, file: str) -> tuple[str, ...] | None:
    """Columns a file has by its name; None where the name does not say."""
    found = re.search(rf"-{_digest(table)}x([0-9a-f]+)\.parquet$", file)
    if found is None:
        return None
    bits = f"{int(found[1], 16):0{len(table.columns)}b}"
    return tuple(n for n, bit in zip(table.column_names, bits, strict=True) if bit == "1")


@cache
def _digest(table: contract.Table) -> str:
    what = ", ".join(f"{c.name} {c.type}" for c in table.columns)
    return hashlib.sha256(what.encode()).hexdigest()[:8]


def nothing(table: contract.Table) -> str:
    """SELECT of no rows with the table's columns and types."""
    nulls = ", ".join(f'NULL::{c.type} AS "{c.name}"' for c in table.columns)
    return f"SELECT {nulls} WHERE false"


def predicate(table: contract.Table, scope: Scope) -> str:
    """SQL condition for the rows a scope covers."""
    if isinstance(scope, tuple):
        first, last = scope
        return (
            f"{table.partition} >= DATE '{first.isoformat()}'"
            f" AND {table.partition} <= DATE '{last.isoformat()}'"
        )
    return f"{table.partition} = '{quoted(str(scope))}'"


def pattern(path: str) -> str:
    """A path for read_csv or read_parquet, which would take ``*`` in it for any file."""
    return quoted(re.sub(r"[*?[]", r"[\g<0>]", path))


def quoted(text: str) -> str:
    """Text inside a SQL string literal."""
    return text.replace("'", "''")
