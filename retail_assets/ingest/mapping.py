"""``mapping.toml``: how an export that is not ours is read, without code.

Per table: which files, which source column is which of ours, constants,
concatenations, date formats, decimal comma, and lines to leave out with a reason.
Everything is checked before a file is read, and columns are found by name, never by
position. The format with two real examples is in docs/mapping.md. Reading the files
belongs in files.py.
"""

from __future__ import annotations

import hashlib
import json
import re
import tomllib
from dataclasses import dataclass, field, replace
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import duckdb

from retail_assets import contract
from retail_assets.errors import LandingError

NAME = "mapping.toml"
MAX_BYTES = 1_000_000
ROW, FILE = "@row", "@file"
ENCODINGS = ("utf-8", "latin-1", "cp1252")
POS = "raw_pos"
_INTERNAL = frozenset(
    {"source_file", "source_row", "source_version", "business_date", "payload", "problem"}
)
_TABLE_KEYS = {
    "files": (str, list),
    "columns": (dict,),
    "constants": (dict,),
    "date_format": (str, list),
    "decimal_comma": (bool,),
    "delimiter": (str,),
    "encoding": (str,),
    "leave_out": (list,),
}


@dataclass(frozen=True)
class Part:
    """A piece of a value: a source column, or literal text."""

    text: str
    literal: bool = False


@dataclass(frozen=True)
class LeaveOut:
    """Lines that go to quarantine with ``reason`` instead of landing.

    Exactly one of ``matches`` (regular expression for the whole value), ``values``
    and ``empty`` says which values of the source ``column`` are meant.
    """

    column: str
    reason: str
    matches: str | None = None
    values: tuple[str, ...] = ()
    empty: bool = False


@dataclass(frozen=True)
class TableMapping:
    """How the files of one table are read; the default reads our own names."""

    table: str
    files: tuple[str, ...] = ()
    columns: dict[str, tuple[Part, ...]] = field(default_factory=dict)
    constants: dict[str, str] = field(default_factory=dict)
    date_format: tuple[str, ...] = ()
    decimal_comma: bool = False
    delimiter: str | None = None
    encoding: str = "utf-8"
    leave_out: tuple[LeaveOut, ...] = ()

    @property
    def digest(self) -> str:
        """Changes whenever the same bytes would be read differently."""
        what = json.dumps(replace(self, files=()), default=vars, sort_keys=True)
        return hashlib.sha256(what.encode()).hexdigest()[:16]


@dataclass(frozen=True)
class LandingMapping:
    """The whole mapping of a landing folder."""

    tables: tuple[TableMapping, ...] = ()

    def of(self, file: str) -> TableMapping | None:
        """How a file is read: its pattern here, else its folder or name; None: not ours.

        Examples
        --------
        >>> LandingMapping().of("pos/2024/january.csv.gz").table
        'raw_pos'
        >>> LandingMapping().of("notes.csv") is None
        True
        """
        for mapping in self.tables:
            if any(fnmatch(file, pattern) for pattern in mapping.files):
                return mapping
        name = file.split("/")[0] if "/" in file else file.split(".")[0]
        table = POS if name == "pos" else name
        if table not in _readable():
            return None
        found = [m for m in self.tables if m.table == table and not m.files]
        return found[0] if found else TableMapping(table)


def left_out_reasons(mapping: LandingMapping) -> list[str]:
    """Reasons of lines that are left out on purpose: quarantined, but nothing to mend."""
    return sorted({rule.reason for table in mapping.tables for rule in table.leave_out})


def columns_of(table: str) -> tuple[contract.Column, ...]:
    """Columns that a landing file of a table may hold."""
    ours = _INTERNAL if table == POS else contract.OURS
    return tuple(c for c in contract.table(table).columns if c.name not in ours)


def required_of(table: str) -> tuple[str, ...]:
    """Columns that a landing file of a table must hold."""
    if table == POS:
        return ("transaction_id", "store_id", "sold_at", "product_id", "quantity", "unit_price")
    return tuple(c.name for c in columns_of(table) if c.required)


def load(landing: Path) -> LandingMapping:
    """Read and check ``mapping.toml`` of a landing folder; without one, the default.

    Raises
    ------
    LandingError
        Naming the table, the key and the remedy.
    """
    file = landing / NAME
    if not file.exists():
        return LandingMapping()
    if not file.resolve().is_relative_to(landing.resolve()):
        raise LandingError("leads out of the landing folder", file=NAME, remedy="copy it instead")
    if file.stat().st_size > MAX_BYTES:
        raise LandingError(f"is larger than {MAX_BYTES:,} bytes", file=NAME, remedy="shorten it")
    try:
        content = tomllib.loads(file.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise LandingError(f"not valid TOML: {error}", file=NAME) from None
    mappings = []
    for name, value in content.items():
        table = POS if name == "pos" else name
        if table not in _readable():
            known = ", ".join("pos" if t == POS else t for t in _readable())
            raise _wrong(f"[{name}]", "no such table", f"use one of {known}")
        for each in value if isinstance(value, list) else [value]:
            if not isinstance(each, dict):
                raise _wrong(name, "should be a table", f"write [{name}]")
            mappings.append(_table(name, table, each))
    return LandingMapping(tuple(mappings))


def _readable() -> tuple[str, ...]:
    return (POS, *(t.name for t in contract.landed_tables()))


def _wrong(where: str, what: str, remedy: str) -> LandingError:
    return LandingError(f"{where}: {what}", file=NAME, remedy=remedy)


def _table(name: str, table: str, values: dict[str, Any]) -> TableMapping:
    for key, value in values.items():
        if key not in _TABLE_KEYS:
            raise _wrong(f"[{name}] {key}", "unknown key", f"known: {', '.join(_TABLE_KEYS)}")
        if not isinstance(value, _TABLE_KEYS[key]):
            kinds = " or ".join(k.__name__ for k in _TABLE_KEYS[key])
            raise _wrong(
                f"[{name}] {key}", f"{value!r} is not of type {kinds}", "see docs/mapping.md"
            )
    encoding = values.get("encoding", "utf-8")
    if encoding not in ENCODINGS:
        raise _wrong(f"[{name}] encoding", f"{encoding!r}", f"use one of {', '.join(ENCODINGS)}")
    delimiter = values.get("delimiter")
    if delimiter is not None and len(delimiter) != 1:
        raise _wrong(f"[{name}] delimiter", f"{delimiter!r}", "use one character")
    columns = {
        ours: _parts(name, ours, value)
        for ours, value in _ours(name, table, "columns", values).items()
    }
    constants = _ours(name, table, "constants", values)
    for ours in columns.keys() & constants.keys():
        raise _wrong(f"[{name}] {ours}", "is both a column and a constant", "remove one of them")
    return TableMapping(
        table=table,
        files=_texts(name, "files", values),
        columns=columns,
        constants={ours: _constant(name, ours, value) for ours, value in constants.items()},
        date_format=_texts(name, "date_format", values),
        decimal_comma=values.get("decimal_comma", False),
        delimiter=delimiter,
        encoding=encoding,
        leave_out=tuple(_leave_out(name, each) for each in values.get("leave_out", [])),
    )


def _texts(name: str, key: str, values: dict[str, Any]) -> tuple[str, ...]:
    value = values.get(key, [])
    texts = [value] if isinstance(value, str) else value
    if not all(isinstance(text, str) for text in texts):
        raise _wrong(f"[{name}] {key}", "should hold text only", 'write ["..."]')
    return tuple(texts)


def _ours(name: str, table: str, key: str, values: dict[str, Any]) -> dict[str, Any]:
    given: dict[str, Any] = values.get(key, {})
    known = {c.name for c in columns_of(table)}
    for ours in given:
        if ours not in known and not ours.startswith("attr_"):
            raise _wrong(
                f"[{name}.{key}] {ours}", "is not a column of ours", f"known: {', '.join(known)}"
            )
    return given


def _constant(name: str, ours: str, value: Any) -> str:
    if isinstance(value, bool) or not isinstance(value, (str, int, float)):
        raise _wrong(f"[{name}.constants] {ours}", f"{value!r}", "use a text or a number")
    return str(value)


_PIECE = re.compile(r'\s*(?:"([^"]*)"|([^"+]+?))\s*(?:\+|$)')


def _parts(name: str, ours: str, value: Any) -> tuple[Part, ...]:
    """``Date + " " + Time`` becomes column, literal, column; plain text is one column."""
    where = f"[{name}.columns] {ours}"
    if not isinstance(value, str) or not value.strip():
        raise _wrong(where, f"{value!r}", "name a source column, or a sum of columns")
    if '"' not in value and " + " not in value:
        return (Part(value),)
    parts, at = [], 0
    while at < len(value):
        piece = _PIECE.match(value, at)
        if piece is None or piece.end() == at:
            raise _wrong(where, f"{value!r} is not a sum", 'write it like Date + " " + Time')
        literal, column = piece.groups()
        parts.append(Part(column, False) if literal is None else Part(literal, True))
        at = piece.end()
    return tuple(parts)


def _leave_out(name: str, value: Any) -> LeaveOut:
    where = f"[[{name}.leave_out]]"
    if not isinstance(value, dict) or not {"column", "reason"} <= value.keys():
        raise _wrong(where, "needs column and reason", "say which lines, and why")
    tests = value.keys() - {"column", "reason"}
    if len(tests) != 1 or not tests <= {"matches", "values", "empty"}:
        raise _wrong(where, f"has {sorted(tests)}", "use exactly one of matches, values, empty")
    if not all(isinstance(value[key], str) for key in ("column", "reason")):
        raise _wrong(where, "column and reason are texts", "put them in quotes")
    if "matches" in value:
        try:
            duckdb.execute("SELECT regexp_full_match('', ?)", [str(value["matches"])]).fetchall()
        except duckdb.Error as error:
            what = str(error).splitlines()[0]
            raise _wrong(where, f"matches: {what}", "write a regular expression (RE2)") from None
    if "values" in value and not all(isinstance(v, str) for v in value["values"]):
        raise _wrong(where, "values should be a list of texts", 'write ["A", "B"]')
    return LeaveOut(
        value["column"],
        value["reason"],
        value.get("matches"),
        tuple(value.get("values", ())),
        bool(value.get("empty", False)),
    )
