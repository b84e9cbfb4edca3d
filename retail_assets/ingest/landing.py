"""What lies in the landing folder, what became of it, and which days it concerns.

A scan compares the folder with the table ``landing_files`` by content: a file that is
still arriving waits, one that cannot be read fails alone, a corrected one replaces its
former self, and one that left keeps its rows. Nothing is written to the folder.
Reading lines into tables is raw.py and reference.py.
"""

from __future__ import annotations

import hashlib
import os
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import astuple, dataclass, fields, replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import duckdb

from retail_assets.errors import LandingError
from retail_assets.ingest import mapping as mappings
from retail_assets.ingest.columns import select_ours
from retail_assets.ingest.files import (
    SUFFIXES,
    Bytes,
    IncompleteError,
    kind_of,
    open_file,
    read_bytes,
)
from retail_assets.ingest.mapping import POS, LandingMapping, TableMapping
from retail_assets.ingest.times import arrival_day, dated
from retail_assets.settings import Settings
from retail_assets.warehouse import Session, Warehouse

READER = "1"
"""Part of every version: raise it when the same bytes would be read differently."""

APART = timedelta(days=31)
"""Affected days further apart than this are materialised as separate ranges."""


@dataclass(frozen=True)
class LandingFile:
    """One row of ``landing_files``; ``seen_at`` is aware."""

    file: str
    sha256: str
    version: str
    state: str
    seen_at: datetime
    table_name: str | None = None
    first_day: date | None = None
    last_day: date | None = None
    rows: int | None = None
    undated: int | None = None
    error: str | None = None
    size: int | None = None
    modified_ns: int | None = None
    careful: bool | None = None

    def days(self, settings: Settings) -> list[tuple[date, date]]:
        """Business days its lines are kept under."""
        spans = []
        if self.first_day is not None and self.last_day is not None:
            spans.append((self.first_day, self.last_day))
        if self.undated:
            arrived = arrival_day(self.seen_at, settings)
            spans.append((arrived, arrived))
        return spans


COLUMNS = tuple(f.name for f in fields(LandingFile))


def known_files(session: Session) -> list[LandingFile]:
    """What the table ``landing_files`` holds."""
    listed = ", ".join(f'"{c}"' for c in COLUMNS)
    rows = session.sql(f"SELECT {listed} FROM landing_files ORDER BY file, seen_at").fetchall()
    return [LandingFile(*row) for row in rows]


def write_landing_files(session: Session, files: list[LandingFile]) -> int:
    """Replace the table ``landing_files`` by the result of a scan."""
    marks = ", ".join("?" * len(COLUMNS))
    run = session.connection
    session.sql("SELECT * FROM landing_files LIMIT 0").create("scanned")
    if files:
        names = ", ".join(COLUMNS)
        run.executemany(
            f"INSERT INTO scanned ({names}) VALUES ({marks})", [list(astuple(f)) for f in files]
        )
    rows = session.replace("landing_files", run.table("scanned"))
    run.execute("DROP TABLE scanned")
    return rows


def scan(session: Session, now: datetime | None = None) -> list[LandingFile]:
    """Look at the landing folder; the rows ``landing_files`` should hold now.

    Only new and changed files are read. The order is that of the file names.
    """
    settings = session.warehouse.settings
    when = now or datetime.now(UTC)
    known = known_files(session)
    mapping = mappings.load(settings.landing)
    current = [_look(session, path, file, mapping, known, when) for file, path in walk(settings)]
    current = _without_copies(current, known)
    return _with_history(current, known)


def walk(settings: Settings) -> Iterator[tuple[str, Path]]:
    """Data files below the landing folder, by relative name; hidden ones are not ours."""
    if not settings.landing.is_dir():
        raise LandingError("no such folder", file=str(settings.landing), remedy="create it")
    for folder, inner, names in os.walk(settings.landing):
        links = [n for n in inner if (Path(folder) / n).is_symlink()]
        inner[:] = sorted(n for n in inner if not n.startswith((".", "_")) and n != "truth")
        for name in sorted([*names, *links]):
            path = Path(folder) / name
            if not name.startswith((".", "_")) and (name.endswith(SUFFIXES) or name in links):
                yield path.relative_to(settings.landing).as_posix(), path


def fingerprint(settings: Settings) -> str:
    """Changes whenever a file came, left or was written to; reads no file but the mapping."""
    status = [(f, *_size_and_time(p)) for f, p in walk(settings)]
    rules = settings.landing / mappings.NAME
    what = repr((status, rules.read_bytes() if rules.exists() else b""))
    return hashlib.sha256(what.encode()).hexdigest()[:16]


def _size_and_time(path: Path) -> tuple[int, int]:
    try:
        status = path.stat()
    except OSError:
        return (-1, -1)
    return status.st_size, status.st_mtime_ns


def _look(
    session: Session,
    path: Path,
    file: str,
    mapping: LandingMapping,
    known: list[LandingFile],
    when: datetime,
) -> LandingFile:
    """One file as it is now: waiting, landed or failed."""
    settings = session.warehouse.settings
    found = LandingFile(file, "", "unread", "failed", when)
    try:
        if not path.resolve().is_relative_to(settings.landing.resolve()) or path.is_dir():
            raise LandingError(
                "symbolic link leads out of the landing folder",
                file=file,
                remedy="copy the file instead",
            )
        status = path.stat()
        found = replace(found, size=status.st_size, modified_ns=status.st_mtime_ns)
        how = mapping.of(file)
        if how is None:
            raise LandingError(
                "no table of the contract has this name",
                file=file,
                remedy="rename it, or give its pattern in mapping.toml",
            )
        found = replace(found, table_name=how.table)
        before = _unchanged(found, how, known, settings)
        if before is not None:
            return before
        if when.timestamp() - status.st_mtime < settings.quiet_seconds:
            return replace(found, state="waiting")
        return _read(session, path, found, how, known)
    except IncompleteError as error:
        return replace(found, state="waiting", error=str(error))
    except LandingError as error:
        return replace(found, error=str(error))
    except OSError as error:
        return replace(found, error=f"{file}: cannot be read: {error.strerror}")


def version_of(sha256: str, how: TableMapping, settings: Settings) -> str:
    """Changes with the bytes and with the way they are read."""
    what = "|".join((sha256, how.digest, str(settings.day_starts_hour), READER))
    return hashlib.sha256(what.encode()).hexdigest()[:16]


def _unchanged(
    found: LandingFile, how: TableMapping, known: list[LandingFile], settings: Settings
) -> LandingFile | None:
    """The known row of a file with the same size and time, read the same way."""
    for row in known:
        same = (row.file, row.size, row.modified_ns) == (found.file, found.size, found.modified_ns)
        current = row.state in ("landed", "failed") and not _is_copy(row)
        if same and current and row.version == version_of(row.sha256, how, settings):
            return row
    return None


def _read(
    session: Session, path: Path, found: LandingFile, how: TableMapping, known: list[LandingFile]
) -> LandingFile:
    settings = session.warehouse.settings
    content = read_bytes(path, found.file)
    version = version_of(content.sha256, how, settings)
    found = replace(found, sha256=content.sha256, version=version)
    for row in known:
        if (row.file, row.version) == (found.file, version):
            # Touched, or back to what it once was: the day it first arrived stays.
            found = replace(found, seen_at=row.seen_at)
            if row.rows is not None:
                state = "failed" if row.state == "failed" and not _is_copy(row) else "landed"
                error = row.error if state == "failed" else None
                return replace(
                    row, state=state, error=error, size=found.size, modified_ns=found.modified_ns
                )
    try:
        return count_lines(session, path, found, how, content)
    except LandingError as error:
        return replace(found, error=str(error))


def count_lines(
    session: Session, path: Path, found: LandingFile, how: TableMapping, content: Bytes
) -> LandingFile:
    """Lines and days of a file; lines that are not plain CSV make it a careful one.

    Raises
    ------
    LandingError
        When the file cannot be read or lacks a column.
    """
    plain = kind_of(found.file) == "csv" and content.plain and how.encoding == "utf-8"
    for careful in (False, True) if plain else (kind_of(found.file) == "csv",):
        opened = open_file(session, path, found.file, how, carefully=careful)
        ours = select_ours(opened, found.file, how)
        day = "NULL::DATE"
        if how.table == POS:
            settings = session.warehouse.settings
            day = dated("sold_at", arrival_day(found.seen_at, settings), settings)
        try:
            rows, has_day, first, last = session.connection.sql(
                f"SELECT count(*), count(day), min(day), max(day) FROM (SELECT {day} AS day"
                f" FROM ({ours}))"
            ).fetchall()[0]
        except duckdb.Error as error:
            if careful or not plain:
                what = str(error).splitlines()[0]
                raise LandingError(
                    f"cannot be read: {what}", file=found.file, remedy="export it again"
                ) from None
            continue
        if careful or not plain or rows == max(0, content.lines - 1):
            break
    undated = rows - has_day if how.table == POS else None
    return replace(
        found, state="landed", rows=rows, undated=undated, first_day=first, last_day=last,
        careful=careful,
    )  # fmt: skip


COPY = "same content as "


def _is_copy(row: LandingFile) -> bool:
    return row.state == "failed" and COPY in (row.error or "")


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
            if (status.st_size, status.st_mtime_ns) == (row.size, row.modified_ns):
                found[row.file] = row
    return found


def affected_ranges(warehouse: Warehouse, *, force: bool = False) -> list[tuple[date, date]]:
    """Days whose receipts differ from the landed files, as few inclusive ranges.

    Compares ``landing_files`` with what ``raw_pos`` holds, so a run that failed is
    found again. Days up to the next receipts are included: closed days exist.

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


@dataclass(frozen=True)
class Found:
    """What the first scan says about a retailer."""

    first_day: date
    timezone: str


def first_day_and_timezone(settings: Settings) -> Found:
    """First business day of the landed receipts, and the time zone most stores are in.

    Raises
    ------
    LandingError
        When not one file of receipts can be read: the first reason.
    """
    from retail_assets.ingest.reference import landed_rows

    wait_until_quiet(settings)
    with Warehouse(settings).session() as session:
        files = scan(session)
        days = [f.first_day for f in files if f.state == "landed" and f.first_day]
        if not days:
            failed = [f for f in files if f.state == "failed" and f.table_name in (POS, None)]
            if failed:
                raise LandingError(str(failed[0].error).partition(": ")[2], file=failed[0].file)
            what = "no receipts have landed"
            raise LandingError(what, file=str(settings.landing), remedy="put files under pos/")
        zones = landed_rows(session, "stores", files, "timezone")
    common = max(sorted(set(zones)), key=zones.count) if zones else settings.timezone
    return Found(min(days), common)


def wait_until_quiet(settings: Settings) -> None:
    """Wait (at most twice ``quiet_seconds``) until no landing file has changed of late."""
    until = time.monotonic() + 2 * settings.quiet_seconds
    while time.monotonic() < until:
        newest = max((p.stat().st_mtime for _, p in walk(settings) if p.is_file()), default=0.0)
        if time.time() - newest >= settings.quiet_seconds:
            return
        time.sleep(0.2)
