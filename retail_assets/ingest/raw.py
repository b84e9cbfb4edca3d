"""``raw_pos``: receipt lines as they arrived, as text, with source file and line.

New content of a day = lines of the landed files that lie in the folder + lines already
held of files that left, wait or failed. Typing and judging them is lines.py.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import date
from itertools import groupby

from retail_assets import contract
from retail_assets.errors import LandingError
from retail_assets.ingest import mapping as mappings
from retail_assets.ingest.blocks import Days
from retail_assets.ingest.columns import select_ours
from retail_assets.ingest.files import open_file
from retail_assets.ingest.landing import LandingFile, present
from retail_assets.ingest.mapping import POS, LandingMapping, columns_of, required_of
from retail_assets.ingest.times import arrival_day, dated
from retail_assets.staging import quoted
from retail_assets.warehouse import Session

BATCH_ROWS = 1_000_000
BATCH_FILES = 64
"""One COPY covers this much: small files share Parquet files, memory stays bounded."""

ENCODED = ("source_file", "source_version")

OPTIONAL = {c.name for c in columns_of(POS)} - set(required_of(POS)) | {"payload", "problem"}


@dataclass(frozen=True)
class RawReport:
    """What a write of ``raw_pos`` did."""

    rows: int
    read: tuple[str, ...]
    kept: int
    """Lines of files that are no longer read."""


def write_raw_pos(session: Session, days: Days) -> RawReport:
    """Replace the days of ``raw_pos`` by what the landing folder and the past say."""
    here = present(session, POS)
    settings = session.warehouse.settings
    files = [f for f in here.values() if any(_overlap(s, days) for s in f.days(settings))]
    mapping = mappings.load(settings.landing)
    # Line numbers count up within a file, and a file is read once.
    with session.staging("raw_pos", days, keyed=False) as staging:
        session.encode("file_text", _values(f.file for f in files))
        session.encode("version_text", _values(f.version for f in files))
        kept = staging.add(_kept(session, here, days))
        for day, batch in _batches(files):
            texts = [f"({lines_of(session, f, mapping, days)})" for f in batch]
            absent = {c for c in OPTIONAL if all(_is_null(c, text) for text in texts)}
            staging.add(" UNION ALL BY NAME ".join(texts), day, absent, ENCODED)
        _check_counts(session, files, days, staging.staged)
        rows = staging.commit()
    return RawReport(rows, tuple(f.file for f in files), kept)


def _values(texts: Iterable[str]) -> str:
    listed = ", ".join(f"('{quoted(text)}')" for text in texts)
    return f"VALUES {listed}" if listed else "SELECT '' WHERE false"


def _check_counts(session: Session, files: list[LandingFile], days: Days, staged: str) -> None:
    """A file whose days are all written must have as many lines as were counted.

    Raises
    ------
    LandingError
        When a file changed while it was read; the next scan sees it anew.
    """
    counted = f"SELECT source_file, source_version, count(*) FROM {staged} GROUP BY ALL"
    found = {(f, v): n for f, v, n in session.connection.sql(counted).fetchall()}
    for f in files:
        if all(_within(span, days) for span in f.days(session.warehouse.settings)):
            got = found.get((f.file, f.version), 0)
            if got != f.rows:
                what = f"{got} lines were read where {f.rows} were counted"
                raise LandingError(what, file=f.file, remedy="run again when it no longer changes")


def _within(span: Days, days: Days) -> bool:
    return days[0] <= span[0] and span[1] <= days[1]


def _is_null(column: str, text: str) -> bool:
    """Does a file's SELECT say that it has no such column?"""
    return f'NULL::VARCHAR AS "{column}"' in text


def _overlap(span: Days, days: Days) -> bool:
    return span[0] <= days[1] and days[0] <= span[1]


def _kept(session: Session, here: dict[str, LandingFile], days: Days) -> str:
    names = ", ".join(f"'{quoted(file)}'" for file in here)
    absent = f"WHERE source_file NOT IN ({names})" if names else ""
    return f"SELECT * FROM {session.rows('raw_pos', days)} {absent}"


def _batches(files: list[LandingFile]) -> Iterator[tuple[date | None, list[LandingFile]]]:
    """Files to write together, with their day where they all hold the same one."""
    files = sorted(files, key=lambda f: (_only_day(f) or date.min, f.file))
    for day, same in groupby(files, key=_only_day):
        batch: list[LandingFile] = []
        for file in same:
            rows = sum(f.rows or 0 for f in batch)
            if batch and (len(batch) >= BATCH_FILES or rows >= BATCH_ROWS):
                yield day, batch
                batch = []
            batch.append(file)
        yield day, batch


def _only_day(file: LandingFile) -> date | None:
    return file.first_day if file.first_day == file.last_day and not file.undated else None


def lines_of(
    session: Session, file: LandingFile, mapping: LandingMapping, days: Days | None = None
) -> str:
    """SELECT of a file's lines as rows of ``raw_pos``; the file and its version as enums."""
    settings = session.warehouse.settings
    how = mapping.of(file.file)
    assert how is not None, f"{file.file} landed"
    path = settings.landing / file.file
    opened = open_file(session, path, file.file, how, carefully=bool(file.careful))
    arrived = arrival_day(file.seen_at, settings)
    day = f"coalesce({dated('sold_at', arrived, settings)}, DATE '{arrived}')"
    constant = {"source_file", "source_version", "business_date"}
    columns = [c.name for c in contract.table(POS).columns if c.name not in constant]
    rows = (
        f"SELECT '{quoted(file.file)}'::file_text AS source_file,"
        f" '{file.version}'::version_text AS source_version,"
        f" {', '.join(columns)}, {day} AS business_date"
        f" FROM ({select_ours(opened, file.file, how)})"
    )
    if days is None or all(_within(span, days) for span in file.days(settings)):
        return rows
    return (
        f"SELECT * FROM ({rows}) WHERE business_date BETWEEN DATE '{days[0]}' AND DATE '{days[1]}'"
    )
