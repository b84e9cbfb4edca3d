"""The mapping applied: a file's own columns under our names, as SQL.

Columns are found by name, never by position. Opening files is files.py; what a
mapping may say is mapping.py; whether a value is valid is lines.py and reference.py.
"""

from __future__ import annotations

from collections.abc import Sequence

from retail_assets import contract
from retail_assets.errors import LandingError
from retail_assets.ingest.files import Opened
from retail_assets.ingest.mapping import (
    FILE,
    POS,
    ROW,
    LeaveOut,
    Part,
    TableMapping,
    columns_of,
    required_of,
)
from retail_assets.staging import quoted


def check_columns(opened: Opened, file: str, mapping: TableMapping) -> None:
    """Every column the mapping or the contract needs is there, by name.

    Raises
    ------
    LandingError
        Naming the file, the column and the remedy.
    """
    has = _few(opened)
    for ours, parts in mapping.columns.items():
        for part in parts:
            if not part.literal and part.text not in (ROW, FILE) and not opened.find(part.text):
                raise LandingError(
                    f"column {part.text!r}, mapped to {ours}, is missing; the file has {has}",
                    file=file,
                    line=1,
                    remedy="correct mapping.toml or the export",
                )
    for rule in mapping.leave_out:
        if not opened.find(rule.column):
            raise LandingError(
                f"column {rule.column!r} of leave_out is missing; the file has {has}",
                file=file,
                line=1,
                remedy="correct mapping.toml or the export",
            )
    for ours in required_of(mapping.table):
        if ours not in mapping.columns | mapping.constants and not opened.find(ours):
            raise LandingError(
                f"column {ours} is missing; the file has {has}",
                file=file,
                line=1,
                remedy="add it, or map it in mapping.toml",
            )


def _few(opened: Opened) -> str:
    """Names of the first columns: a header can be a megabyte, a message should not be."""
    names = list(opened.columns)
    listed = ", ".join(name[:40] for name in names[:30])
    return listed + (f" and {len(names) - 30:,} more" if len(names) > 30 else "")


def select_some(opened: Opened, file: str, mapping: TableMapping, names: Sequence[str]) -> str:
    """SELECT of a few of our columns and of problem: a third of the planning of all."""
    check_columns(opened, file, mapping)
    kinds = {column.name: column.type for column in _meant(mapping).columns}
    texts = []
    for name in names:
        source = _value(opened, file, name, mapping, set())
        text = (
            "NULL::VARCHAR"
            if source is None
            else _canonical(source, kinds.get(name, "VARCHAR"), mapping)
        )
        texts.append(f'{text} AS "{name}", ')
    return f"SELECT {''.join(texts)}{_problem(opened, mapping)} AS problem FROM ({opened.sql})"


def _meant(mapping: TableMapping) -> contract.Table:
    """raw_pos is text throughout; what a column means is said by pos_lines."""
    return contract.table("pos_lines" if mapping.table == POS else mapping.table)


def select_ours(opened: Opened, file: str, mapping: TableMapping) -> str:
    """SELECT of a file's lines under our names, all text: the mapping applied.

    Besides the contract's columns it yields source_row, payload (columns that are not
    ours as JSON; for products ``attributes``) and problem (why a line is left out).
    """
    check_columns(opened, file, mapping)
    kinds = {column.name: column.type for column in _meant(mapping).columns}
    used: set[str] = set()
    texts = []
    for column in columns_of(mapping.table):
        source = _value(opened, file, column.name, mapping, used)
        if source is None:
            texts.append(f'NULL::VARCHAR AS "{column.name}"')
        else:
            kind = kinds.get(column.name, column.type)
            texts.append(f'{_canonical(source, kind, mapping)} AS "{column.name}"')
    if mapping.table == "products":
        texts = [t for t in texts if not t.endswith('"attributes"')]
        texts.append(_attributes(opened, file, mapping, used))
    rest = {name: alias for name, alias in opened.columns.items() if alias not in used}
    payload = f"coalesce(payload, {_json(rest)})" if rest else "payload"
    problem = _problem(opened, mapping)
    if opened.plain:
        payload = payload if rest else "NULL::VARCHAR"
        problem = problem if mapping.leave_out else "NULL::VARCHAR"
    return (
        f'SELECT source_row, {", ".join(texts)}, {payload} AS "payload",'
        f' {problem} AS "problem" FROM ({opened.sql})'
    )


def _value(
    opened: Opened, file: str, ours: str, mapping: TableMapping, used: set[str]
) -> str | None:
    if ours in mapping.constants:
        # A line that could not be split has no values, not even constant ones.
        return f"CASE WHEN problem IS NULL THEN '{quoted(mapping.constants[ours])}' END"
    parts = mapping.columns.get(ours)
    if parts is None:
        alias = opened.find(ours)
        parts = None if alias is None else (Part(ours),)
    if parts is None:
        return None
    pieces = []
    for part in parts:
        if part.literal:
            pieces.append(f"'{quoted(part.text)}'")
        elif part.text == ROW:
            pieces.append("CASE WHEN problem IS NULL THEN source_row::VARCHAR END")
        elif part.text == FILE:
            pieces.append(f"CASE WHEN problem IS NULL THEN '{quoted(file)}' END")
        else:
            alias = opened.find(part.text)
            assert alias is not None, f"{part.text} passed check_columns"
            used.add(alias)
            pieces.append(alias)
    return " || ".join(pieces)


def _canonical(source: str, kind: str, mapping: TableMapping) -> str:
    """Times as ISO text and numbers with a decimal point; what cannot be read stays."""
    dates = kind.startswith(("DATE", "TIMESTAMP"))
    if mapping.date_format and dates:
        formats = ", ".join(f"'{quoted(f)}'" for f in mapping.date_format)
        return f"coalesce(try_strptime({source}, [{formats}])::VARCHAR, {source})"
    if mapping.decimal_comma and kind not in ("VARCHAR", "BOOLEAN") and not dates:
        grouped = r"'\s*[-+]?\d{1,3}(\.\d{3})*(,\d+)?\s*'"
        return (
            f"CASE WHEN regexp_full_match({source}, {grouped}) THEN"
            f" replace(replace({source}, '.', ''), ',', '.')"
            f" ELSE replace({source}, ',', '.') END"
        )
    return source


def _attributes(opened: Opened, file: str, mapping: TableMapping, used: set[str]) -> str:
    """attr_* columns as one JSON object, empty ones left out."""
    names = [n for n in opened.columns if n.casefold().startswith("attr_")]
    names += [n for n in {**mapping.columns, **mapping.constants} if n.startswith("attr_")]
    values = {}
    for name in names:
        source = _value(opened, file, name, mapping, used)
        values[name.removeprefix("attr_")] = source or "NULL"
    if not values:
        given = _value(opened, file, "attributes", mapping, used)
        return f"{given or 'NULL::VARCHAR'} AS attributes"
    return f"{_json(values)} AS attributes"


def _json(values: dict[str, str]) -> str:
    fields = ", ".join(f"'{quoted(name)}', {source}" for name, source in values.items())
    return f"json_merge_patch('{{}}', json_object({fields}))::VARCHAR"


def _problem(opened: Opened, mapping: TableMapping) -> str:
    cases = ""
    for rule in mapping.leave_out:
        cases += f" WHEN {_test(opened.find(rule.column) or '', rule)} THEN '{quoted(rule.reason)}'"
    return f"CASE WHEN problem IS NOT NULL THEN problem{cases} END"


def _test(column: str, rule: LeaveOut) -> str:
    if rule.matches is not None:
        return f"regexp_full_match({column}, '{quoted(rule.matches)}')"
    if rule.empty:
        return f"coalesce(trim({column}), '') = ''"
    listed = ", ".join(f"'{quoted(value)}'" for value in rule.values)
    return f"{column} IN ({listed})"
