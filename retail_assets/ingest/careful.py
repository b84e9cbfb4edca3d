"""Reading a CSV file line by line, for files that are not plain CSV throughout.

A file with blank lines, line breaks inside quotes, or lines that cannot be split is
read here: every line keeps its number in the file, and one that cannot be split keeps
its text and the reason. Plain files are read by DuckDB (files.py), 20 times faster.
"""

from __future__ import annotations

import csv
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import pyarrow as pa
import pyarrow.parquet as pq

QUOTED_LINES = 50
"""A quote still open after so many lines was never meant to be one."""

MAX_LINE = 4_000_000
"""Bytes. A million columns fit; more is not a line but a file without line feeds."""

BATCH, BATCH_BYTES = 50_000, 8_000_000
"""Lines held at once, and their bytes: a file of 4,000 columns takes 600 MB to go through."""


class LineTooLongError(ValueError):
    """A line is longer than ``MAX_LINE`` bytes; ``number`` says which."""

    def __init__(self, number: int) -> None:
        super().__init__(f"line {number} is longer than {MAX_LINE:,} bytes")
        self.number = number


@dataclass(frozen=True)
class Line:
    """One record: number of its first line, its values, or its text and the problem."""

    number: int
    values: tuple[str | None, ...] = ()
    text: str | None = None
    problem: str | None = None


def read_lines(stream: IO[bytes], delimiter: str, encoding: str, width: int) -> Iterator[Line]:
    """Records below the header of a CSV stream.

    Parameters
    ----------
    stream : binary stream
        At the start of the file; its first line is the header.
    width : int
        Columns of the header.

    Yields
    ------
    Line
        Blank lines are not records.

    Raises
    ------
    LineTooLongError
        Such a line is never held in memory.
    """
    numbered = _numbered(stream)
    next(numbered, None)
    waiting: deque[tuple[int, bytes]] = deque()
    while True:
        number, raw = waiting.popleft() if waiting else next(numbered, (0, b""))
        if number == 0:
            return
        if not raw.strip():
            continue
        line = _record(number, raw, delimiter, encoding, width)
        if line.problem != UNCLOSED:
            yield line
            continue
        joined = raw
        taken: list[tuple[int, bytes]] = []
        while len(taken) < QUOTED_LINES and len(joined) < MAX_LINE and line.problem == UNCLOSED:
            following = waiting.popleft() if waiting else next(numbered, None)
            if following is None:
                break
            taken.append(following)
            joined += following[1]
            line = _record(number, joined, delimiter, encoding, width)
        if line.problem is not None:
            waiting.extendleft(reversed(taken))
            line = _record(number, raw, delimiter, encoding, width)
        yield line


def _numbered(stream: IO[bytes]) -> Iterator[tuple[int, bytes]]:
    number = 0
    while raw := stream.readline(MAX_LINE + 1):
        number += 1
        if len(raw) > MAX_LINE:
            raise LineTooLongError(number)
        yield number, raw


UNCLOSED = "quote that is never closed"


def _record(number: int, raw: bytes, delimiter: str, encoding: str, width: int) -> Line:
    try:
        text = raw.decode(encoding).rstrip("\r\n")
    except UnicodeDecodeError as error:
        text = raw.decode(encoding, errors="replace").rstrip("\r\n")
        return Line(number, text=text, problem=f"not {encoding} at byte {error.start + 1}")
    if "\0" in text:
        shown = text.replace("\0", "\\0")
        return Line(number, text=shown, problem="NUL byte")
    try:
        values = next(csv.reader([text], delimiter=delimiter, strict=True))
    except csv.Error as error:
        problem = UNCLOSED if "unexpected end" in str(error) else f"bad quoting: {error}"
        if "field limit" in str(error):
            problem = f"value longer than {csv.field_size_limit():,} characters"
        return Line(number, text=text, problem=problem)
    if len(values) != width:
        problem = f"{len(values)} columns where the header has {width}"
        return Line(number, text=text, problem=problem)
    return Line(number, tuple(value or None for value in values))


def to_parquet(lines: Iterator[Line], width: int, target: Path) -> int:
    """Write records as text columns c0, c1, ... with source_row, payload and problem."""
    names = [f"c{i}" for i in range(width)]
    schema = pa.schema(
        [("source_row", pa.int64()), ("payload", pa.string()), ("problem", pa.string())]
        + [(name, pa.string()) for name in names]
    )
    missing = (None,) * width
    count = 0
    with pq.ParquetWriter(target, schema) as writer:
        while batch := _some(lines):
            values = list(zip(*(line.values or missing for line in batch), strict=True))
            columns = [
                [line.number for line in batch],
                [line.text for line in batch],
                [line.problem for line in batch],
                *values,
            ]
            arrays = [pa.array(c, f.type) for c, f in zip(columns, schema, strict=True)]
            writer.write_table(pa.table(arrays, schema=schema))
            count += len(batch)
    return count


def _some(lines: Iterator[Line]) -> list[Line]:
    batch: list[Line] = []
    held = 0
    for line in lines:
        batch.append(line)
        held += sum(map(len, filter(None, line.values))) + len(line.values) + len(line.text or "")
        if len(batch) >= BATCH or held >= BATCH_BYTES:
            break
    return batch
