"""The tables: columns, types, units, keys, rules.

This registry drives validation before a commit, the column schema in the UI, the
asset checks, the comments in retail.duckdb and docs/data_contract.md. It says what
a table *is*; how rows get there belongs in assets/ and ingest/.

Each table is written as text: one column per line, ``name TYPE meaning``; ``!``
after the type means never null (in a landing table: the file must have it).
Rules are SQL conditions that every row keeps.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cache
from importlib import resources


@dataclass(frozen=True)
class Column:
    """One column: its DuckDB type, whether it may be null, and what it means."""

    name: str
    type: str
    required: bool
    description: str


@dataclass(frozen=True)
class Table:
    """One table of the lake.

    Parameters
    ----------
    name, group, description : str
    columns : tuple of Column
    key : tuple of str
        No two rows agree in all of these; empty: no key is enforced.
    partition : str or None
        Column a write replaces by: a day (``business_date``, ``date``, ``as_of``),
        ``category`` or None (whole).
    landed : bool
        True: read from landing files by column name; other columns are optional.
    rules : tuple of str
        SQL conditions; a row for which one is false is a breach (null passes).
    """

    name: str
    group: str
    description: str
    columns: tuple[Column, ...]
    key: tuple[str, ...] = ()
    partition: str | None = None
    landed: bool = False
    rules: tuple[str, ...] = field(default=())

    @property
    def column_names(self) -> tuple[str, ...]:
        return tuple(column.name for column in self.columns)

    @property
    def by_day(self) -> bool:
        """The table is cut by day: a write replaces a range of days."""
        return any(c.name == self.partition and c.type == "DATE" for c in self.columns)

    @property
    def required_columns(self) -> tuple[str, ...]:
        return tuple(column.name for column in self.columns if column.required)


#: Appended to every landed table: where a row came from.
PROVENANCE = (
    Column("source_file", "VARCHAR", False, "landing file"),
    Column("source_row", "BIGINT", False, "line in that file; the header is line 1"),
)

#: Columns that ingest writes and no file may hold.
OURS = frozenset({"source_file", "source_row", "origin"})


def parse_tables(text: str) -> dict[str, Table]:
    """Read tables from the text form described in ``tables.txt``.

    Raises
    ------
    ValueError
        On a line that is neither a heading, an attribute nor a column.
    """
    tables: dict[str, Table] = {}
    for block in text.split("\n[")[1:]:
        heading, *lines = block.splitlines()
        name, group = heading.rstrip("]").split(" in ")
        attributes: dict[str, str] = {}
        rules: list[str] = []
        columns: list[Column] = []
        description = ""
        for line in filter(None, map(str.strip, lines)):
            if line.startswith("#"):
                description = f"{description} {line.lstrip('# ')}".strip()
            elif line.startswith("rule:"):
                rules.append(line.removeprefix("rule:").strip())
            elif line.split(":")[0] in {"key", "partition", "landed"}:
                attribute, _, value = line.partition(":")
                attributes[attribute] = value.strip()
            else:
                column, kind, meaning = line.split(None, 2)
                columns.append(Column(column, kind.rstrip("!"), kind.endswith("!"), meaning))
        tables[name] = Table(
            name,
            group,
            description,
            tuple(columns),
            tuple(attributes.get("key", "").split()),
            attributes.get("partition"),
            "landed" in attributes,
            tuple(rules),
        )
    return tables


@cache
def tables() -> dict[str, Table]:
    """Every table by name, in lineage order; a landed table is followed by its quarantine."""
    every: dict[str, Table] = {}
    parsed = parse_tables((resources.files(__package__) / "tables.txt").read_text())
    for name, each in parsed.items():
        every[name] = each
        if each.landed:
            every[name] = replace(each, columns=(*each.columns, *PROVENANCE))
            every[f"{name}_quarantine"] = _quarantine_of(each, parsed["pos_quarantine"])
    return every


def _quarantine_of(landed: Table, model: Table) -> Table:
    columns = tuple(c for c in model.columns if c.name != "business_date")
    return replace(
        model,
        name=f"{landed.name}_quarantine",
        description=f"Rejected lines of {landed.name}, with every reason that applies.",
        columns=columns,
        partition=None,
    )


def table(name: str) -> Table:
    """One table.

    Raises
    ------
    KeyError
        When the contract has no such table.
    """
    return tables()[name]


def landed_tables() -> tuple[Table, ...]:
    """The tables that users drop as files."""
    return tuple(t for t in tables().values() if t.landed)
