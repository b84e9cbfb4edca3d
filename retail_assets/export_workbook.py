"""A table as an Excel workbook: its rows, and a sheet that says what each column means.

Amounts the lake keeps in cents are shown in the currency, and their column is renamed so that
nobody takes one for the other. Text is always a text cell, never a formula.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import duckdb

from retail_assets.contract import Column, Table
from retail_assets.errors import RetailAssetsError
from retail_assets.staging import quoted

FORMULA_STARTS = "=+-@\t\r\n＝＋－＠"
"""A spreadsheet runs text that begins so (OWASP, \"CSV Injection\"). Numbers are no text."""

MOST_ROWS = 1_048_576
"""Of a sheet, its header included."""
MOST_TEXT = 32_767
"""Characters of a cell; openpyxl would cut longer text without a word."""
BATCH = 5_000
"""Rows read at a time; the first batch decides the widths."""
WIDEST = 60
NUMBERS = ("BIGINT", "INTEGER", "DOUBLE", "DECIMAL")

# What is shown as a percentage: the contract's rule says 0 to 1, or its words do.
_SHARES = re.compile(r"(mean )?(probability|share|P\()|posterior mean of p\b", re.IGNORECASE)
_BELONG = {"sd": "mean", "q025": "mean", "q50": "mean", "q975": "mean"}
_NAMED_SHARES = {"sell_through", "p_mean", "p_sd", "p_lo95", "p_hi95", "prior_mean", "p_foreseen"}
# Text that needs a cell of its own: it might be run, or holds what XML cannot. Other text goes
# as it is: a cell object costs half of the 25 us a value takes.
_HARD = re.compile(f"^[{re.escape(FORMULA_STARTS)}]|[\x00-\x08\x0b\x0c\x0e-\x1f]")
_UNITS = re.compile(r"\b(units|days|weeks|seconds|customers|receipts|trading intervals|bytes)\b")


@dataclass(frozen=True)
class Sheet:
    """What is written: the columns of a table that Excel can hold, in order."""

    table: Table
    columns: tuple[Column, ...]
    currency: str
    timezone: str

    def title(self, column: Column) -> str:
        """Head of a column; an amount says in which currency it is."""
        if _cents(column):
            return f"{column.name.replace('_cents', '')} ({self.currency})"
        return column.name

    def select(self) -> str:
        """SELECT list of the values as Excel holds them."""
        return ", ".join(self._value(column) for column in self.columns)

    def _value(self, column: Column) -> str:
        name = f'"{column.name}"'
        if _cents(column):
            return f"{name} / 100 AS {name}"
        if column.type.endswith("[]"):
            return f"array_to_string({name}, '; ') AS {name}"
        if column.type == "TIMESTAMPTZ":  # Excel knows no time zones
            return f"timezone('{quoted(self.timezone)}', {name}) AS {name}"
        return name

    def number_format(self, column: Column) -> str | None:
        """Excel's number format of a column; None where its own default serves."""
        if _cents(column):
            return "#,##0.00"
        if column.type.startswith("DECIMAL"):
            return "#,##0.00##"
        if column.type in ("DATE", "TIMESTAMP", "TIMESTAMPTZ"):
            return "yyyy-mm-dd" if column.type == "DATE" else "yyyy-mm-dd hh:mm:ss"
        if column.type in ("BIGINT", "INTEGER"):
            return "#,##0"
        if self._is_share(column):
            return "0.0%"
        return "#,##0.0" if self.unit(column) in ("units", "percent") else None

    def unit(self, column: Column) -> str:
        """What a number counts, as far as the contract says."""
        if not column.type.startswith(NUMBERS):
            return f"time in {self.timezone}" if column.type == "TIMESTAMPTZ" else ""
        if _cents(column) or column.type.startswith("DECIMAL"):
            return self.currency
        if re.search(r"\bcents\b", column.description):
            return "cents"
        if self._is_share(column):
            return "share, 100 % = all"
        if column.name.endswith("_pct") or "percent" in column.description:
            return "percent"
        words = f"{column.name.replace('_', ' ')}: {column.description}"
        found = _UNITS.search(words)
        return found[0] if found and " per " not in words else ""

    def _is_share(self, column: Column) -> bool:
        if column.type != "DOUBLE":
            return False
        names = {column.name, _BELONG.get(column.name, "")}
        ruled = {rule.split()[0] for rule in self.table.rules if rule.endswith("BETWEEN 0 AND 1")}
        named = column.name in _NAMED_SHARES or _SHARES.match(column.description) is not None
        return bool(names & ruled) or named

    def notes(self) -> list[str]:
        """What a reader of the workbook should know."""
        gone = [c.name for c in self.table.columns if c not in self.columns and c.type == "BLOB"]
        return [
            f"{self.table.name}: {self.table.description}",
            f"Columns named _cents in the table are shown in {self.currency} here;"
            " csv and parquet hold cents.",
            *(
                [f"Left out, because only parquet can hold them: {', '.join(gone)}."]
                if gone
                else []
            ),
        ]


def check_rows(name: str, rows: int) -> None:
    """Refuse what a sheet cannot hold.

    Raises
    ------
    RetailAssetsError
        Names the formats that can.
    """
    if rows >= MOST_ROWS:
        raise RetailAssetsError(
            f"table {name}: {rows:,} rows are more than the {MOST_ROWS - 1:,} an Excel sheet"
            " holds; use --format csv or parquet, or one --partition"
        )


def write_workbook(path: Path, sheet: Sheet, rows: duckdb.DuckDBPyRelation) -> None:
    """Write the workbook, a batch of rows at a time."""
    from openpyxl import Workbook
    from openpyxl.utils import get_column_letter

    book = Workbook(write_only=True)
    titles = [sheet.title(column) for column in sheet.columns]
    page = book.create_sheet(sheet.table.name)
    cells = _Cells(page, sheet)
    batches = _batches(rows)
    first, count = next(batches, []), 1
    for at, title in enumerate(titles):
        longest = max((_length(row[at]) for row in first), default=0)
        width = min(max(len(title) + 4, longest + 2), WIDEST)
        page.column_dimensions[get_column_letter(at + 1)].width = width
    page.freeze_panes = "A2"
    page.append([cells.bold(title) for title in titles])
    try:
        for row in chain(first, chain.from_iterable(batches)):
            count += 1
            page.append(cells.of(row, count))
    except RetailAssetsError:
        page.close()  # its temporary file is open
        raise
    page.auto_filter.ref = f"A1:{get_column_letter(len(titles))}{count}"
    _meanings(book.create_sheet("columns"), sheet)
    book.save(path)


def _batches(rows: duckdb.DuckDBPyRelation) -> Iterator[list[tuple[Any, ...]]]:
    for batch in rows.to_arrow_reader(BATCH):
        yield list(zip(*(column.to_pylist() for column in batch.columns), strict=True))


def _meanings(page: Any, sheet: Sheet) -> None:
    cells = _Cells(page, sheet)
    for letter, width in zip("ABCDE", (28, 26, 16, 22, 90), strict=True):
        page.column_dimensions[letter].width = width
    page.freeze_panes = "A2"
    page.append([cells.bold(t) for t in ("here", "in the table", "type", "unit", "meaning")])
    for c in sheet.columns:
        row = (sheet.title(c), c.name, c.type, sheet.unit(c), c.description)
        page.append([cells.text(text) for text in row])
    page.append([])
    for note in sheet.notes():
        page.append([cells.text(note)])


class _Cells:
    """Cells of one sheet. One object per column is used again: a row is written at once."""

    def __init__(self, page: Any, sheet: Sheet) -> None:
        from openpyxl.cell import WriteOnlyCell
        from openpyxl.styles import Font

        self.page, self.sheet, self.font = page, sheet, Font(bold=True)
        self.new = WriteOnlyCell
        self.columns = [WriteOnlyCell(page) for _ in sheet.columns]
        for cell, column in zip(self.columns, sheet.columns, strict=True):
            cell.number_format = sheet.number_format(column) or "General"

    def bold(self, text: str) -> Any:
        cell = self.text(text)
        cell.font = self.font
        return cell

    def text(self, text: str) -> Any:
        """A text cell, whatever the text begins with; it stays one when it is edited."""
        from openpyxl.cell.cell import ILLEGAL_CHARACTERS_RE

        cell = self.new(self.page)
        cell.value = ILLEGAL_CHARACTERS_RE.sub("\N{REPLACEMENT CHARACTER}", text)
        cell.data_type = "s"
        cell.quotePrefix = True
        return cell

    def of(self, row: tuple[Any, ...], number: int) -> list[Any]:
        """The cells of one row of the table."""
        return [self._cell(at, value, number) for at, value in enumerate(row)]

    def _cell(self, at: int, value: Any, number: int) -> Any:
        if value is None or (isinstance(value, float) and math.isnan(value)):
            return None
        if isinstance(value, float) and math.isinf(value):
            return self.text("infinite" if value > 0 else "-infinite")
        if isinstance(value, str):
            if len(value) > MOST_TEXT:
                raise RetailAssetsError(
                    f"table {self.sheet.table.name}, row {number}, column"
                    f" {self.sheet.columns[at].name}: {len(value):,} characters, more than the"
                    f" {MOST_TEXT:,} an Excel cell holds; use --format csv or parquet"
                )
            return self.text(value) if _HARD.search(value) else value
        cell = self.columns[at]
        cell.value = value
        return cell


def _cents(column: Column) -> bool:
    return "_cents" in column.name and column.type.startswith(NUMBERS)


def _length(value: Any) -> int:
    if isinstance(value, float):
        return len(f"{value:,.4f}")
    return 0 if value is None else len(str(value))
