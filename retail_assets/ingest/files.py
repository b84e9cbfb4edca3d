"""One landing file as a DuckDB relation of text columns with the line number.

CSV, gzipped CSV and Parquet are read by DuckDB; Excel (small tables) by excel.py;
CSV that is not plain throughout goes line by line (careful.py). A file that would expand
beyond all proportion is refused before it does. Which table a file belongs to is
mapping.py; what becomes of its lines is raw.py and reference.py.
"""

from __future__ import annotations

import codecs
import csv
import gzip
import hashlib
import re
import zlib
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from retail_assets.errors import LandingError
from retail_assets.ingest import careful, excel
from retail_assets.ingest.mapping import TableMapping
from retail_assets.staging import pattern, quoted
from retail_assets.warehouse import Session

SUFFIXES = (".csv", ".csv.gz", ".tsv", ".tsv.gz", ".txt", ".txt.gz", ".parquet", ".xlsx")
DELIMITERS = ",;\t|"
CHUNK = 1 << 20
MAX_COLUMNS = 4_000
"""3,000 columns take a second to plan; more is not a table but a line without its end."""

MAX_RATIO, RATIO_FROM = 200, 256 << 20
"""Receipts shrink 4 to 8 times when compressed; zeros, a bomb, 1,000 times. From 256 MB on."""

MAX_FOOTER = 32 << 20
"""Bytes of a Parquet file that describe the others."""

SAVE_AS_CSV = "save it as CSV with a header line, UTF-8"

CSV_OPTIONS = (
    "auto_detect = false, header = true, quote = '\"', escape = '\"', "
    "strict_mode = true, null_padding = false, max_line_size = 1000000, buffer_size = 8000000"
)


class IncompleteError(LandingError):
    """The file ends in the middle: it is still arriving, or was cut off."""


@dataclass(frozen=True)
class Bytes:
    """What reading a file's bytes once says about it."""

    sha256: str
    lines: int = 0
    plain: bool = True


@dataclass(frozen=True)
class Opened:
    """A readable file: ``sql`` yields source_row, payload, problem and text columns."""

    sql: str
    columns: dict[str, str]
    """Column of the file (as its header has it) -> column of ``sql``."""
    plain: bool = True
    """No line of it has a problem."""

    def find(self, name: str) -> str | None:
        """Column of ``sql`` for a header name; case does not matter."""
        if name in self.columns:
            return self.columns[name]
        folded = {have.casefold(): alias for have, alias in self.columns.items()}
        return folded.get(name.casefold())


def kind_of(file: str) -> str:
    """csv, parquet or excel."""
    if file.endswith(".parquet"):
        return "parquet"
    return "excel" if file.endswith(".xlsx") else "csv"


def read_bytes(path: Path, file: str) -> Bytes:
    """Hash a file, count its lines and see whether DuckDB may read it as plain CSV.

    Raises
    ------
    IncompleteError
        A gzip or Parquet file that ends in the middle.
    LandingError
        A file that is not what its name says.
    """
    digest = hashlib.sha256()
    kind = kind_of(file)
    if kind == "parquet":
        _whole_parquet(path, file)
    zipped = path.name.endswith(".gz")
    if kind != "csv" or zipped:
        with path.open("rb") as stream:
            while chunk := stream.read(CHUNK):
                digest.update(chunk)
    if kind != "csv":
        return Bytes(digest.hexdigest())
    lines, plain, last, size = 0, True, b"\n", 0
    decoder = codecs.getincrementaldecoder("utf-8")("strict")
    try:
        with _open(path) as stream:
            while chunk := stream.read(CHUNK):
                if not zipped:
                    digest.update(chunk)
                size += len(chunk)
                if zipped:
                    _in_proportion(size, path, file)
                lines += chunk.count(b"\n")
                plain = plain and b"\0" not in chunk and _is_utf8(decoder, chunk)
                last = chunk[-1:]
    except EOFError:
        raise IncompleteError(
            "gzip ends in the middle", file=file, remedy="wait for it, or land it again"
        ) from None
    except (OSError, zlib.error) as error:
        raise LandingError(f"cannot be read: {error}", file=file, remedy="land it again") from None
    return Bytes(digest.hexdigest(), lines + (last != b"\n"), plain)


def _in_proportion(expanded: int, path: Path, file: str) -> None:
    if expanded > RATIO_FROM and expanded > MAX_RATIO * path.stat().st_size:
        what = f"expands to more than {MAX_RATIO} times its size: not a table"
        raise LandingError(what, file=file, remedy="export it again")


def _is_utf8(decoder: codecs.IncrementalDecoder, chunk: bytes) -> bool:
    if chunk.isascii() and not decoder.getstate()[0]:
        return True
    try:
        decoder.decode(chunk)
    except UnicodeDecodeError:
        return False
    return True


def _whole_parquet(path: Path, file: str) -> None:
    with path.open("rb") as stream:
        first = stream.read(4)
        size = stream.seek(0, 2)
        stream.seek(max(0, size - 8))
        footer, last = int.from_bytes(stream.read(4), "little"), stream.read(4)
    if first and not b"PAR1".startswith(first):
        raise LandingError("is not a Parquet file", file=file, remedy="export it again")
    if last != b"PAR1" or size < 12:
        raise IncompleteError(
            "Parquet ends in the middle", file=file, remedy="wait for it, or land it again"
        )
    if MAX_FOOTER < footer < size:
        what = f"{footer:,} bytes describe its columns, more than {MAX_FOOTER:,}"
        raise LandingError(what, file=file, remedy="export fewer columns, or larger row groups")
    try:
        about = pq.read_metadata(path)
    except (pa.ArrowException, OSError):
        return  # DuckDB says what is wrong with it
    groups = [about.row_group(i).total_byte_size for i in range(about.num_row_groups)]
    # A column of one value takes a few bytes, however many rows.
    _in_proportion(max(sum(groups), about.num_rows), path, file)


def _open(path: Path) -> IO[bytes]:
    return gzip.open(path, "rb") if path.name.endswith(".gz") else path.open("rb")  # type: ignore[return-value]


def open_file(
    session: Session, path: Path, file: str, mapping: TableMapping, *, carefully: bool
) -> Opened:
    """A relation over a file's lines; nothing is read yet where DuckDB can do it later.

    Raises
    ------
    LandingError
        When the file has no readable header.
    """
    kind = kind_of(file)
    if kind == "parquet":
        return _parquet(session, path, file)
    if kind == "excel":
        return _excel(session, path, file)
    return _csv(session, path, file, mapping, carefully)


def _csv(session: Session, path: Path, file: str, mapping: TableMapping, carefully: bool) -> Opened:
    delimiter, names = _header(path, file, mapping)
    columns = {name: f"c{i}" for i, name in enumerate(names)}
    if len(columns) < len(names):
        twice = Counter(names).most_common(1)[0][0][:60]
        raise LandingError(
            f"column {twice!r} occurs twice", file=file, line=1, remedy="rename one of them"
        )
    if carefully or mapping.encoding != "utf-8":
        target = session.scratch / f"{hashlib.sha256(file.encode()).hexdigest()[:16]}.parquet"
        if not target.exists():
            try:
                with _open(path) as stream:
                    lines = careful.read_lines(stream, delimiter, mapping.encoding, len(names))
                    careful.to_parquet(lines, len(names), target)
            except careful.LineTooLongError as error:
                target.unlink(missing_ok=True)
                what = f"line is longer than {careful.MAX_LINE:,} bytes"
                raise LandingError(
                    what, file=file, line=error.number, remedy="export it again"
                ) from None
        return Opened(f"SELECT * FROM read_parquet('{pattern(str(target))}')", columns, False)
    kinds = ", ".join(f"'{alias}': 'VARCHAR'" for alias in columns.values())
    read = (
        f"read_csv('{pattern(str(path))}', delim = '{quoted(delimiter)}', {CSV_OPTIONS}, "
        f"columns = {{{kinds}}})"
    )
    return Opened(
        "SELECT row_number() OVER () + 1 AS source_row, NULL::VARCHAR AS payload,"
        f" NULL::VARCHAR AS problem, * FROM {read}",
        columns,
    )


def _header(path: Path, file: str, mapping: TableMapping) -> tuple[str, list[str]]:
    with _open(path) as stream:
        raw = stream.readline(CHUNK)
    cut = len(raw) == CHUNK and not raw.endswith(b"\n")
    if not raw.strip():
        raise LandingError("is empty", file=file, line=1, remedy="a header line is needed")
    try:
        text = (
            raw.decode(mapping.encoding, "ignore" if cut else "strict")
            .lstrip("\ufeff")
            .rstrip("\r\n")
        )
    except UnicodeDecodeError:
        raise LandingError(
            f"header is not {mapping.encoding}", file=file, line=1, remedy=SAVE_AS_CSV
        ) from None
    if "\0" in text or "\r" in text:
        raise LandingError(
            "header is not text with line feeds", file=file, line=1, remedy=SAVE_AS_CSV
        )
    bare = re.sub(r'"[^"]*"', "", text)
    delimiter = mapping.delimiter or max(DELIMITERS, key=bare.count)
    if bare.count(delimiter) >= MAX_COLUMNS:
        what = f"header has more than {MAX_COLUMNS:,} columns"
        raise LandingError(what, file=file, line=1, remedy=SAVE_AS_CSV)
    if cut:
        what = f"header is longer than {CHUNK:,} bytes"
        raise LandingError(what, file=file, line=1, remedy=SAVE_AS_CSV)
    names = [name.strip() for name in next(csv.reader([text], delimiter=delimiter))]
    return delimiter, names


def _parquet(session: Session, path: Path, file: str) -> Opened:
    read = f"read_parquet('{pattern(str(path))}', file_row_number = true)"
    try:
        names = session.connection.sql(f"SELECT * FROM {read} LIMIT 0").columns
    except duckdb.Error as error:
        what = str(error).splitlines()[0]
        raise LandingError(f"cannot be read: {what}", file=file, remedy="export it again") from None
    if len(names) > MAX_COLUMNS:
        what = f"has {len(names):,} columns, more than {MAX_COLUMNS:,}"
        raise LandingError(what, file=file, remedy="export fewer columns")
    columns = {n: f"c{i}" for i, n in enumerate(n for n in names if n != "file_row_number")}
    texts = ", ".join(f'"{_name(n)}"::VARCHAR AS {alias}' for n, alias in columns.items())
    return Opened(
        "SELECT file_row_number + 2 AS source_row, NULL::VARCHAR AS payload,"
        f" NULL::VARCHAR AS problem, {texts} FROM {read}",
        columns,
    )


def _excel(session: Session, path: Path, file: str) -> Opened:
    """First sheet of a workbook as a temporary table."""
    names, rows = excel.first_sheet(path, file)
    columns = {name: f"c{i}" for i, name in enumerate(names)}
    if len(columns) < len(names):
        twice = Counter(names).most_common(1)[0][0][:60]
        raise LandingError(
            f"column {twice!r} occurs twice", file=file, line=1, remedy="rename one of them"
        )
    numbers, values = [number for number, _ in rows], [row for _, row in rows]
    table = {
        "source_row": pa.array(numbers, pa.int64()),
        "payload": pa.nulls(len(rows), pa.string()),
        "problem": pa.nulls(len(rows), pa.string()),
    }
    for i, alias in enumerate(columns.values()):
        table[alias] = pa.array([row[i] for row in values], pa.string())
    name = f"excel_{hashlib.sha256(file.encode()).hexdigest()[:16]}"
    session.connection.register(name, pa.table(table))
    return Opened(f"SELECT * FROM {name}", columns)


def _name(column: str) -> str:
    return column.replace('"', '""')
