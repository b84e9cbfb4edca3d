"""One landing file as a DuckDB relation of text columns with the line number.

CSV, gzipped CSV and Parquet are read by DuckDB; Excel (small tables) through openpyxl;
CSV that is not plain throughout goes line by line (careful.py). Which table a file
belongs to is mapping.py; what becomes of its lines is raw.py and reference.py.
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

from retail_assets.errors import LandingError
from retail_assets.ingest import careful
from retail_assets.ingest.mapping import TableMapping
from retail_assets.staging import pattern, quoted
from retail_assets.warehouse import Session

SUFFIXES = (".csv", ".csv.gz", ".tsv", ".tsv.gz", ".txt", ".txt.gz", ".parquet", ".xlsx")
DELIMITERS = ",;\t|"
CHUNK = 1 << 20
MAX_COLUMNS = 4_000
"""3,000 columns take a second to plan; more is not a table but a line without its end."""

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
    lines, plain, last = 0, True, b"\n"
    decoder = codecs.getincrementaldecoder("utf-8")("strict")
    try:
        with _open(path) as stream:
            while chunk := stream.read(CHUNK):
                if not zipped:
                    digest.update(chunk)
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
        stream.seek(max(0, size - 4))
        last = stream.read(4)
    if first and not b"PAR1".startswith(first):
        raise LandingError("is not a Parquet file", file=file, remedy="export it again")
    if last != b"PAR1" or size < 12:
        raise IncompleteError(
            "Parquet ends in the middle", file=file, remedy="wait for it, or land it again"
        )


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
        twice = Counter(names).most_common(1)[0][0]
        raise LandingError(
            f"column {twice!r} occurs twice", file=file, line=1, remedy="rename one of them"
        )
    if carefully or mapping.encoding != "utf-8":
        target = session.scratch / f"{hashlib.sha256(file.encode()).hexdigest()[:16]}.parquet"
        if not target.exists():
            with _open(path) as stream:
                lines = careful.read_lines(stream, delimiter, mapping.encoding, len(names))
                careful.to_parquet(lines, len(names), target)
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
    if not raw.strip():
        raise LandingError("is empty", file=file, line=1, remedy="a header line is needed")
    try:
        text = raw.decode(mapping.encoding).lstrip("\ufeff").rstrip("\r\n")
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
    names = [name.strip() for name in next(csv.reader([text], delimiter=delimiter))]
    return delimiter, names


def _parquet(session: Session, path: Path, file: str) -> Opened:
    read = f"read_parquet('{pattern(str(path))}', file_row_number = true)"
    try:
        names = session.connection.sql(f"SELECT * FROM {read} LIMIT 0").columns
    except duckdb.Error as error:
        what = str(error).splitlines()[0]
        raise LandingError(f"cannot be read: {what}", file=file, remedy="export it again") from None
    columns = {n: f"c{i}" for i, n in enumerate(n for n in names if n != "file_row_number")}
    texts = ", ".join(f'"{_name(n)}"::VARCHAR AS {alias}' for n, alias in columns.items())
    return Opened(
        "SELECT file_row_number + 2 AS source_row, NULL::VARCHAR AS payload,"
        f" NULL::VARCHAR AS problem, {texts} FROM {read}",
        columns,
    )


def _excel(session: Session, path: Path, file: str) -> Opened:
    """First sheet of a workbook; dates become ISO text."""
    import pandas as pd

    try:
        frame = pd.read_excel(path, dtype=str, keep_default_na=False, na_values=[""])
    except Exception as error:
        raise LandingError(f"cannot be read: {error}", file=file, remedy=SAVE_AS_CSV) from None
    columns = {str(name).strip(): f"c{i}" for i, name in enumerate(frame.columns)}
    values = [
        (i + 2, None, None, *(None if pd.isna(v) else str(v) for v in row))
        for i, row in enumerate(frame.itertuples(index=False))
    ]
    view = f"excel_{hashlib.sha256(file.encode()).hexdigest()[:16]}"
    kinds = "".join(f", {alias} VARCHAR" for alias in columns.values())
    session.connection.execute(
        f"CREATE OR REPLACE TEMP TABLE {view}"
        f" (source_row BIGINT, payload VARCHAR, problem VARCHAR{kinds})"
    )
    if values:
        marks = ", ".join("?" * len(values[0]))
        session.connection.executemany(f"INSERT INTO {view} VALUES ({marks})", values)
    return Opened(f"SELECT * FROM {view}", columns)


def _name(column: str) -> str:
    return column.replace('"', '""')
