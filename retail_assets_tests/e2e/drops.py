"""A till system with bad manners: what it drops into landing, and what must become of it.

A new day each time; in turn a copy of an old file beside it, a corrected file, a file that is
half there for a while, one that nobody can read. One line of each day is not valid.
"""

from __future__ import annotations

import csv
import gzip
import io
import tempfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import date, timedelta
from pathlib import Path

from retail_assets_tests.e2e import small_shop

Line = tuple[str, str, str, str]
LINE = ("transaction_id", "line_number", "product_id", "quantity")
MANNERS = ("plain", "copy", "corrected", "half", "broken")
BATCH = 56  # days simulated at a time: the writer packs more than 60 into weeks


@dataclass
class Till:
    """Drops files into a landing folder and keeps count of what they say."""

    landing: Path
    days: Iterator[tuple[date, str]]
    dropped: list[date] = field(default_factory=list)
    good: Counter[Line] = field(default_factory=Counter)
    """Lines of the files as they are now; each is to be in ``pos_lines`` once."""
    bad: int = 0
    """Lines that belong into ``pos_quarantine``."""
    refused: set[str] = field(default_factory=set)
    """Files that ``landing_files`` must call failed."""
    half: tuple[Path, bytes] | None = None

    def drop(self) -> str:
        """The next day, and what its turn brings; what that was."""
        self.complete()
        manner = MANNERS[len(self.dropped) % len(MANNERS)]
        day, text = next(self.days)
        self.dropped.append(day)
        self._count(text, 1)
        path, whole = self._path(day), gzip.compress(text.encode(), mtime=0)
        if manner == "half":
            self.half = (path, whole)
            whole = whole[: len(whole) // 2]
        path.write_bytes(whole)
        if manner == "copy":
            # Not of a day that will be corrected: then it is no copy, and its lines are rejected.
            name = f"pos/copy-of-{self.dropped[-2]}.csv.gz"
            (self.landing / name).write_bytes(self._path(self.dropped[-2]).read_bytes())
            self.refused.add(name)
        elif manner == "corrected":
            self._correct(self.dropped[-2])
        elif manner == "broken":
            name = f"pos/broken-{day}.csv"
            (self.landing / name).write_text("receipt;article;pieces\n1;bar;2\n")
            self.refused.add(name)
        return manner

    def complete(self) -> None:
        """The file that was half there arrives."""
        if self.half is not None:
            path, whole = self.half
            path.write_bytes(whole)
            self.half = None

    def _correct(self, day: date) -> None:
        """The day again: its first receipt line was never sold."""
        text = gzip.decompress(self._path(day).read_bytes()).decode()
        header, _, *rest = text.splitlines(keepends=True)
        self._count(text, -1)
        text = "".join([header, *rest])
        self._count(text, 1)
        self._path(day).write_bytes(gzip.compress(text.encode(), mtime=0))

    def _count(self, text: str, sign: int) -> None:
        for line in csv.DictReader(io.StringIO(text)):
            if line["quantity"] == "many":
                self.bad += sign
            else:
                self.good[tuple(line[name] for name in LINE)] += sign  # type: ignore[index]
        self.good = +self.good

    def _path(self, day: date) -> Path:
        return self.landing / "pos" / f"{day}.csv.gz"


def till(home: Path, last_day: date, days: int) -> Till:
    """A landing folder with reference tables and no receipts, and the till that fills it."""
    first = last_day - timedelta(days=days - 1)
    spans = [(n, min(BATCH, days - n)) for n in range(0, days, BATCH)]
    small_shop.write_landing(home, first, spans[0][1])
    for path in (home / "landing" / "pos").iterdir():
        path.unlink()
    return Till(home / "landing", _receipts(first, spans))


def _receipts(first: date, spans: list[tuple[int, int]]) -> Iterator[tuple[date, str]]:
    """Day by day, one bad line at the end of each."""
    for start, days in spans:
        with tempfile.TemporaryDirectory() as folder:
            small_shop.write_landing(Path(folder), first + timedelta(days=start), days)
            for path in sorted(Path(folder, "landing", "pos").iterdir()):
                day = date.fromisoformat(path.name.removesuffix(".csv.gz"))
                text = gzip.decompress(path.read_bytes()).decode()
                # Receipts are numbered anew in each simulation.
                text = text.replace("s1-", f"{start}-")
                yield day, f"{text}x-{day},1,s1,{day} 12:00:00,bars a,many,1.00,,,sale,,1\n"
