"""The landing folder itself: which files lie there, and which content each of them is.

A file is known again by size and time, told apart by the hash of its bytes and of the
way mapping.toml reads them. Counting lines and keeping the table is landing.py.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from pathlib import Path

from retail_assets.errors import LandingError
from retail_assets.ingest import mapping as mappings
from retail_assets.ingest.files import SUFFIXES, IncompleteError, read_bytes
from retail_assets.ingest.mapping import LandingMapping, TableMapping
from retail_assets.ingest.times import arrival_day
from retail_assets.settings import Settings

READER = "2"
"""Part of every version: raise it when the same bytes would be read differently."""


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


def within(landing: Path, path: Path) -> bool:
    """Does a path, its links followed, stay in the landing folder?"""
    return path.resolve().is_relative_to(landing.resolve())


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


def look(
    settings: Settings, known: list[LandingFile], now: datetime | None
) -> Iterator[tuple[LandingFile, TableMapping | None]]:
    """Every file as it is now; with its mapping where its lines are still to be counted."""
    mapping = mappings.load(settings.landing)
    when = now or datetime.now(UTC)
    before: dict[str, list[LandingFile]] = {}
    for row in known:
        before.setdefault(row.file, []).append(row)
    for file, path in walk(settings):
        found = LandingFile(file, "", "unread", "failed", when)
        try:
            yield _identify(settings, path, found, mapping, before.get(file, []))
        except IncompleteError as error:
            yield replace(found, state="waiting", error=str(error)), None
        except LandingError as error:
            yield replace(found, error=str(error)), None
        except OSError as error:
            yield replace(found, error=f"{file}: cannot be read: {error.strerror}"), None


def _identify(
    settings: Settings,
    path: Path,
    found: LandingFile,
    mapping: LandingMapping,
    before: list[LandingFile],
) -> tuple[LandingFile, TableMapping | None]:
    """Which content of which table a file is: known, waiting, or to be counted."""
    file = found.file
    if not within(settings.landing, path) or path.is_dir():
        what = "symbolic link leads out of the landing folder"
        raise LandingError(what, file=file, remedy="copy the file instead")
    if path.exists() and not path.is_file():
        # A pipe would be waited for until somebody writes to it.
        raise LandingError("is not a regular file", file=file, remedy="copy the file instead")
    how = mapping.of(file)
    if how is None:
        what = "no table of the contract has this name"
        remedy = "rename it, or give its pattern in mapping.toml"
        raise LandingError(what, file=file, remedy=remedy)
    size, modified = _size_and_time(path)
    found = replace(found, table_name=how.table, size=size, modified_ns=modified)
    for row in before:
        current = row.state in ("landed", "failed") and not is_copy(row)
        same = (row.size, row.modified_ns) == (size, modified)
        if same and current and row.version == version_of(row.sha256, how, settings):
            return row, None
    if not is_quiet(modified / 1e9, found.seen_at.timestamp(), settings):
        return replace(found, state="waiting"), None
    content = read_bytes(path, file)
    found = replace(
        found,
        sha256=content.sha256,
        version=version_of(content.sha256, how, settings),
        state="landed",
        rows=content.lines,
        careful=not content.plain,
    )
    return found, how


def is_quiet(modified: float, now: float, settings: Settings) -> bool:
    """Has a file not changed of late? Seconds since 1970.

    One changed in the future says nothing: a clock was set back, here or where it came from.
    It would wait for years; a half that lands is corrected when the rest does.
    """
    return abs(now - modified) >= settings.quiet_seconds


def version_of(sha256: str, how: TableMapping, settings: Settings) -> str:
    """Changes with the bytes and with the way they are read."""
    what = "|".join((sha256, how.digest, str(settings.day_starts_hour), READER))
    return hashlib.sha256(what.encode()).hexdigest()[:16]


COPY = "same content as "


def is_copy(row: LandingFile) -> bool:
    return row.state == "failed" and COPY in (row.error or "")
