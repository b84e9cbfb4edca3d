"""What lies in the landing folder, what became of it, and which days it concerns.

A scan compares the folder with the table ``landing_files`` by content: a file that is
still arriving waits, one that cannot be read fails alone, a corrected one replaces its
former self, and one that left keeps its rows. Nothing is written to the folder.
Reading lines into tables is raw.py and reference.py.
"""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import fields, replace
from datetime import date, datetime, timedelta

import duckdb
import pyarrow as pa

from retail_assets.errors import LandingError
from retail_assets.ingest.columns import select_some
from retail_assets.ingest.files import kind_of, open_file
from retail_assets.ingest.folder import COPY, LandingFile, fingerprint, is_quiet, look, walk, within
from retail_assets.ingest.mapping import POS, TableMapping
from retail_assets.ingest.times import arrival_day, dated
from retail_assets.ingest.unfinished import misjudged_days, unfinished_days
from retail_assets.settings import Settings
from retail_assets.warehouse import Session, Warehouse

__all__ = ["LandingFile", "fingerprint", "walk"]

APART = timedelta(days=31)
"""Affected days further apart than this are materialised as separate ranges."""


COLUMNS = tuple(f.name for f in fields(LandingFile))


def known_files(session: Session) -> list[LandingFile]:
    """What the table ``landing_files`` holds."""
    listed = ", ".join(f'"{c}"' for c in COLUMNS)
    rows = session.sql(f"SELECT {listed} FROM landing_files ORDER BY file, seen_at").fetchall()
    return [LandingFile(*row) for row in rows]


def write_landing_files(session: Session, files: list[LandingFile]) -> int:
    """Replace the table ``landing_files`` by the result of a scan."""
    kinds = session.sql("SELECT * FROM landing_files LIMIT 0").to_arrow_reader().schema
    rows = pa.Table.from_pylist([vars(f) for f in files], schema=kinds)
    return session.replace("landing_files", session.connection.from_arrow(rows))


def scan(session: Session, now: datetime | None = None) -> list[LandingFile]:
    """Look at the landing folder; the rows ``landing_files`` should hold now.

    Only new and changed files are read. The order is that of the file names.
    """
    known = known_files(session)
    current = [
        _counted(session, found, how, known) if how is not None else found
        for found, how in look(session.warehouse.settings, known, now)
    ]
    return _with_history(_without_copies(current, known), known)


def news(session: Session, now: datetime | None = None) -> tuple[list[str], int]:
    """Content that ``landing_files`` does not know yet, and how many files wait.

    Hashes new files and parses none: what a sensor can afford every half minute.
    """
    known = known_files(session)
    settled = {(f.file, f.version) for f in known if f.state in ("landed", "failed")}
    seen = [found for found, _ in look(session.warehouse.settings, known, now)]
    waiting = sum(f.state == "waiting" for f in seen)
    new = {(f.file, f.version) for f in seen if f.state != "waiting"} - settled
    return sorted(f"{file} {version}" for file, version in new), waiting


def _counted(
    session: Session, found: LandingFile, how: TableMapping, known: list[LandingFile]
) -> LandingFile:
    """A file with its lines and days, or why it failed."""
    for row in known:
        if (row.file, row.version) == (found.file, found.version):
            # Touched, or back to what it once was: the day it first arrived stays.
            found = replace(found, seen_at=row.seen_at)
    try:
        return count_lines(session, found, how)
    except LandingError as error:
        return replace(found, state="failed", rows=None, careful=None, error=str(error))


def count_lines(session: Session, found: LandingFile, how: TableMapping) -> LandingFile:
    """Lines and days of a file; lines that are not plain CSV make it a careful one.

    Raises
    ------
    LandingError
        When the file cannot be read or lacks a column.
    """
    settings = session.warehouse.settings
    path = settings.landing / found.file
    is_csv = kind_of(found.file) == "csv"
    plain = is_csv and not found.careful and how.encoding == "utf-8"
    day = "NULL::DATE"
    if how.table == POS:
        day = dated("sold_at", arrival_day(found.seen_at, settings), settings)
    for careful in (False, True) if plain else (is_csv,):
        opened = open_file(session, path, found.file, how, carefully=careful)
        sold_at = ("sold_at",) if how.table == POS else ()
        lines = select_some(opened, found.file, how, sold_at)
        try:
            rows, has_day, first, last = session.connection.sql(
                f"SELECT count(*), count(day), min(day), max(day)"
                f" FROM (SELECT {day} AS day FROM ({lines}))"
            ).fetchall()[0]
        except duckdb.Error as error:
            if careful or not plain:
                what = f"cannot be read: {str(error).splitlines()[0]}"
                raise LandingError(what, file=found.file, remedy="export it again") from None
            continue
        if careful or not plain or rows == max(0, (found.rows or 0) - 1):
            break
    undated = rows - has_day if how.table == POS else None
    return replace(
        found, rows=rows, undated=undated, first_day=first, last_day=last, careful=careful
    )


def _without_copies(current: list[LandingFile], known: list[LandingFile]) -> list[LandingFile]:
    """Of receipt files with the same bytes one lands: the one that landed before, or first."""
    here = {f.file for f in current}
    landed = {(f.file, f.version) for f in known if f.state == "landed"}
    owner: dict[str, str] = {
        f.version: f.file for f in known if f.state == "landed" and f.file not in here
    }
    for f in sorted(current, key=lambda f: ((f.file, f.version) not in landed, f.file)):
        if f.state == "landed" and f.table_name == POS and f.rows:
            owner.setdefault(f.version, f.file)
    return [
        replace(
            f,
            state="failed",
            error=f"{f.file}: {COPY}{owner[f.version]}, which has landed; remove one of them",
        )
        if f.state == "landed" and owner.get(f.version, f.file) != f.file
        else f
        for f in current
    ]


def _with_history(current: list[LandingFile], known: list[LandingFile]) -> list[LandingFile]:
    """Current rows and former ones; what a landed file was before is replaced."""
    now = {(f.file, f.version) for f in current}
    landed = {f.file for f in current if f.state == "landed"}
    former = [
        replace(f, state="replaced") if f.state == "landed" and f.file in landed else f
        for f in known
        if (f.file, f.version) not in now and f.state != "waiting" and f.sha256
    ]
    return sorted([*current, *former], key=lambda f: (f.file, f.seen_at))


def present(session: Session, table: str) -> dict[str, LandingFile]:
    """Landed files of a table that still lie in the folder as they were scanned."""
    settings = session.warehouse.settings
    found = {}
    for row in known_files(session):
        path = settings.landing / row.file
        if row.state == "landed" and row.table_name == table and path.is_file():
            status = path.stat()
            same = (status.st_size, status.st_mtime_ns) == (row.size, row.modified_ns)
            # A file can have become a link since it was scanned.
            if same and within(settings.landing, path):
                found[row.file] = row
    return found


def affected_ranges(warehouse: Warehouse, *, force: bool = False) -> list[tuple[date, date]]:
    """Days whose receipts differ from the landed files, as few inclusive ranges.

    Compares ``landing_files`` with what ``raw_pos`` holds, and ``raw_pos`` with the tables
    made from it, so a run that failed or was killed is found again, and a reference table
    that changed how receipts are judged. Days up to the next
    receipts are included: closed days exist.

    Parameters
    ----------
    force : bool
        Every day of every landed file.
    """
    settings = warehouse.settings
    with warehouse.session() as session:
        held: dict[str, list[tuple[str, int, date, date]]] = {}
        for file, *rest in session.sql(
            "SELECT source_file, source_version, count(*), min(business_date), max(business_date)"
            " FROM raw_pos GROUP BY ALL"
        ).fetchall():
            held.setdefault(file, []).append((rest[0], rest[1], rest[2], rest[3]))
        spans: list[tuple[date, date]] = []
        for file, row in present(session, POS).items():
            have = held.get(file, [])
            if force or [(v, n) for v, n, _, _ in have] != (
                [(row.version, row.rows)] if row.rows else []
            ):
                spans += row.days(settings) + [(a, b) for _, _, a, b in have]
        spans += [(day, day) for day in unfinished_days(session)]
        spans += [(day, day) for day in misjudged_days(session)]
        done = warehouse.partitions("trading_days")
    if spans and done:
        after = date.fromisoformat(max(done)) + timedelta(days=1)
        spans += (
            [(after, min(a for a, _ in spans if a >= after))]
            if any(a > after and a - after < APART for a, _ in spans)
            else []
        )
    return _joined(spans)


def _joined(spans: list[tuple[date, date]]) -> list[tuple[date, date]]:
    joined: list[tuple[date, date]] = []
    for first, last in sorted(spans):
        if joined and first - joined[-1][1] <= APART:
            joined[-1] = (joined[-1][0], max(joined[-1][1], last))
        else:
            joined.append((first, last))
    return joined


def affected_days(warehouse: Warehouse, *, force: bool = False) -> tuple[date, date] | None:
    """First and last day of ``affected_ranges``; None when receipts are up to date."""
    ranges = affected_ranges(warehouse, force=force)
    return (ranges[0][0], ranges[-1][1]) if ranges else None


def states(files: list[LandingFile]) -> dict[str, int]:
    """How many files are waiting, landed, failed, replaced."""
    return dict(sorted(Counter(f.state for f in files).items()))


def remember_first_day(settings: Settings, files: list[LandingFile]) -> None:
    """Move ``first_day`` in settings.toml back when earlier receipts have landed."""
    days = [f.first_day for f in files if f.state == "landed" and f.first_day]
    if days and min(days) < settings.first_day:
        settings.save(first_day=min(days))


def wait_until_quiet(settings: Settings) -> None:
    """Wait (at most twice ``quiet_seconds``) until no landing file has changed of late."""
    until = time.monotonic() + 2 * settings.quiet_seconds
    while time.monotonic() < until:
        changed = [p.stat().st_mtime for _, p in walk(settings) if p.is_file()]
        if all(is_quiet(modified, time.time(), settings) for modified in changed):
            return
        time.sleep(0.2)
