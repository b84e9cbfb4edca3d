"""``raw_pos``: receipt lines as they arrived, as text, with source file and line.

New content of a day = lines of the landed files that lie in the folder + lines already
held of files that left, wait or failed. Typing and judging them is lines.py.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from itertools import groupby

from retail_assets import contract
from retail_assets.ingest import mapping as mappings
from retail_assets.ingest.columns import select_ours
from retail_assets.ingest.files import open_file
from retail_assets.ingest.landing import LandingFile, present
from retail_assets.ingest.mapping import POS, LandingMapping
from retail_assets.ingest.times import arrival_day, dated
from retail_assets.staging import quoted
from retail_assets.warehouse import Session

BATCH_ROWS = 1_000_000
BATCH_FILES = 64
"""One COPY covers this much: small files share Parquet files, memory stays bounded."""

Days = tuple[date, date]


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
    with session.staging("raw_pos", days) as staging:
        kept = staging.add(_kept(session, here, days))
        for day, batch in _batches(files):
            texts = (f"({lines_of(session, f, mapping, days)})" for f in batch)
            staging.add(" UNION ALL BY NAME ".join(texts), day)
        rows = staging.commit()
    return RawReport(rows, tuple(f.file for f in files), kept)


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
    """SELECT of a file's lines as rows of ``raw_pos``."""
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
        f"SELECT '{quoted(file.file)}' AS source_file, '{file.version}' AS source_version,"
        f" {', '.join(columns)}, {day} AS business_date"
        f" FROM ({select_ours(opened, file.file, how)})"
    )
    inside = days is None or all(
        days[0] <= first and last <= days[1] for first, last in file.days(settings)
    )
    if inside:
        return rows
    assert days is not None
    return (
        f"SELECT * FROM ({rows}) WHERE business_date BETWEEN DATE '{days[0]}' AND DATE '{days[1]}'"
    )
