"""The first sheet of an Excel workbook as text, within bounded memory.

A workbook of 2 kB can hold a value in the last cell of a sheet of 17 billion: rows are
read one at a time, and a sheet that is no small table is refused. What becomes of the
rows is files.py.
"""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

from retail_assets.errors import LandingError

MAX_EXPANDED = 64 << 20
"""Bytes of all its parts. A million numbers are 37 MB, 8 CPU s and 110 MB of memory."""

MAX_CELLS, MAX_COLUMNS = 2_000_000, 4_000
MAX_ROWS = 1_048_576
"""A sheet of Excel has no more."""

SAVE_AS_CSV = "save it as CSV with a header line, UTF-8"


def first_sheet(path: Path, file: str) -> tuple[list[str], list[tuple[int, list[str | None]]]]:
    """Names of the header row, and the rows below it with their number in the sheet.

    Dates become ISO text, whole numbers lose their ``.0``; blank rows are no rows. A column
    without a name is called ``Unnamed: 3``.

    Raises
    ------
    LandingError
        When it is no workbook, empty, or too large for a small table.
    """
    import openpyxl

    try:
        with zipfile.ZipFile(path) as parts:
            expanded = sum(part.file_size for part in parts.infolist())
        if expanded > MAX_EXPANDED:
            raise _too_large(f"expands to {expanded:,} bytes, more than {MAX_EXPANDED:,}", file)
        book = openpyxl.load_workbook(path, read_only=True, data_only=True, keep_links=False)
        try:
            rows = _rows(book.worksheets[0], file)
        finally:
            book.close()
    except LandingError:
        raise
    except Exception as error:  # what a broken workbook makes openpyxl raise has no common base
        what = f"cannot be read: {str(error).splitlines()[0] if str(error) else 'not a workbook'}"
        raise LandingError(what, file=file, remedy=SAVE_AS_CSV) from None
    if not rows:
        raise LandingError("is empty", file=file, line=1, remedy="a header line is needed")
    (_, header), *below = rows
    width = max(len(row) for _, row in rows)
    if width > MAX_COLUMNS:
        raise _too_large(f"has {width:,} columns, more than {MAX_COLUMNS:,}", file)
    if width * len(rows) > MAX_CELLS:
        raise _too_large(f"has {width * len(rows):,} cells, more than {MAX_CELLS:,}", file)
    header += [None] * (width - len(header))
    names = [name.strip() if name else f"Unnamed: {i}" for i, name in enumerate(header)]
    return names, [(number, row + [None] * (width - len(row))) for number, row in below]


def _too_large(what: str, file: str) -> LandingError:
    return LandingError(f"{what}; Excel is for small tables", file=file, remedy=SAVE_AS_CSV)


def _rows(sheet: Any, file: str) -> list[tuple[int, list[str | None]]]:
    """Rows with a value, without the empty cells at their end."""
    sheet.reset_dimensions()  # what a sheet says of its size can be wrong
    rows, cells = [], 0
    for number, row in enumerate(sheet.iter_rows(), 1):
        if number > MAX_ROWS:
            raise _too_large(f"has more than {MAX_ROWS:,} rows", file)
        texts = [_text(cell) for cell in row]
        while texts and texts[-1] is None:
            texts.pop()
        cells += len(texts)
        if cells > MAX_CELLS:
            raise _too_large(f"has more than {MAX_CELLS:,} cells", file)
        if texts:
            rows.append((number, texts))
    return rows


def _text(cell: Any) -> str | None:
    value = cell.value
    if value is None or value == "" or cell.data_type == "e":
        return None
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value)
