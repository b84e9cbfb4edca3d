"""``check-landing``: what would land, what would not, and what to do about it.

The folder is ingested into a temporary lake that is thrown away, so the verdict is
that of the real run; nothing is written to the folder or to a home.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from retail_assets import contract
from retail_assets.ingest import landing
from retail_assets.ingest.landing import LandingFile
from retail_assets.ingest.lines import write_pos_lines
from retail_assets.ingest.mapping import POS, left_out_reasons, load
from retail_assets.ingest.raw import write_raw_pos
from retail_assets.ingest.reference import FROM_RECEIPTS, ReferenceReport, write_reference
from retail_assets.settings import Settings
from retail_assets.warehouse import Session, Warehouse

REMEDIES = {
    "missing value": "fill it, or give a constant in mapping.toml",
    "unparsable time": "use local time like 2024-05-31 17:45:00, no offset, or set date_format",
    "unparsable date": "use 2024-05-31, or set date_format",
    "unparsable number": "use 1234.5, or set decimal_comma",
    "unparsable whole number": "use a number without decimals",
    "unparsable yes or no": "use true or false",
    "unknown product": "add it to products, or leave it out in mapping.toml",
    "unknown store": "add it to stores",
    "unknown line type": "use sale, return or void",
    "unknown time zone": "use a name like Europe/Paris",
    "duplicate line key": "number the lines of a receipt, or remove the copy",
    "duplicate key": "keep one of the rows",
    "negative price": "a return has a negative quantity and a positive price",
    "quantity 0": "remove the line",
    "future date": "correct the till's clock, or the time zone in settings.toml",
    "implausible date": "correct the date",
    "amount too large": "correct quantity or price",
    "breaks the rule": "correct the value",
}
LARGE_CATEGORY = 50
MANY = 20
"""Of more files than these only those with something to mend are listed."""
LAYOUT = {
    "quote that is never closed": "close it, or double it inside quotes",
    "bad quoting": "double a quote inside quotes",
    "value longer than": "shorten it",
    "NUL byte": "export the file again",
    "not utf-8": "save as UTF-8, or set encoding in mapping.toml",
}


@dataclass(frozen=True)
class Rejection:
    """Lines of one file rejected for one reason; ``line`` is the first of them."""

    file: str
    reason: str
    lines: int
    line: int

    @property
    def remedy(self) -> str:
        """What to do about it; empty where the mapping itself left the line out."""
        for start, remedy in {**REMEDIES, **LAYOUT}.items():
            if self.reason.startswith(start):
                return remedy
        return "quote the separator" if " columns where the header has " in self.reason else ""

    def __str__(self) -> str:
        count = f"{self.lines:,} lines, the first is " if self.lines > 1 else ""
        remedy = f"; {self.remedy}" if self.remedy else ""
        return f"  {count}line {self.line}: {self.reason}{remedy}"


@dataclass(frozen=True)
class FileReport:
    """One file: its lines are those landed plus those quarantined."""

    file: str
    table: str | None
    state: str
    lines: int
    quarantined: int
    error: str | None
    rejections: tuple[Rejection, ...]
    left_out: int = 0

    @property
    def landed(self) -> int:
        return self.lines - self.quarantined


@dataclass(frozen=True)
class CheckReport:
    """The verdict on a landing folder."""

    files: tuple[FileReport, ...]
    notes: tuple[str, ...]
    max_quarantine_share: float

    @property
    def share_quarantined(self) -> float:
        """Of the receipt lines that mapping.toml does not leave out."""
        receipts = [f for f in self.files if f.table == POS]
        wrong = sum(f.quarantined - f.left_out for f in receipts)
        return wrong / max(1, sum(f.lines - f.left_out for f in receipts))

    @property
    def ok(self) -> bool:
        """Every file lands, and no more receipt lines are rejected than allowed."""
        landed = all(f.state == "landed" for f in self.files)
        return bool(self.files) and landed and (self.share_quarantined <= self.max_quarantine_share)

    def lines(self) -> Iterator[str]:
        """The report as text, a line at a time."""
        for f in self.files:
            if len(self.files) > MANY and f.state == "landed" and f.quarantined == f.left_out:
                continue
            if f.state != "landed":
                yield f"{f.state.upper()} {f.error or f.file + ': still arriving'}"
                continue
            yield f"{f.file}: {f.lines:,} lines, {f.landed:,} landed, {f.quarantined:,} quarantined"
            yield from map(str, f.rejections)
        yield from (f"note: {note}" for note in self.notes)
        receipts = sum(f.lines - f.left_out for f in self.files if f.table == POS)
        left_out = sum(f.left_out for f in self.files)
        if left_out:
            yield f"note: {left_out:,} lines are left out, as mapping.toml says"
        share = f"{self.share_quarantined:.2%} of {receipts:,} receipt lines quarantined"
        yield f"{'ok' if self.ok else 'NOT OK'}: {len(self.files)} files, {share}" + (
            f" (at most {self.max_quarantine_share:.0%})"
        )


def check_landing(settings: Settings) -> CheckReport:
    """Validate a landing folder as a run would, without writing anything.

    Raises
    ------
    LandingError
        When the folder or its mapping.toml cannot be read at all.
    """
    with tempfile.TemporaryDirectory(prefix="retail-assets-check-") as folder:
        trial = replace(settings, home=Path(folder), quiet_seconds=0)
        warehouse = Warehouse(trial)
        with warehouse.session() as session:
            files = landing.scan(session)
            landing.write_landing_files(session, files)
        notes = []
        if not any(f.table_name == POS for f in files):
            notes.append(f"no receipts: put them into {settings.landing / 'pos'}, or map them")
        for table in contract.landed_tables():
            with warehouse.session() as session:
                report = write_reference(session, table.name)
            notes += _missing(table.name, report, settings)
        for days in landing.affected_ranges(warehouse):
            with warehouse.session() as session:
                write_raw_pos(session, days)
            with warehouse.session() as session:
                write_pos_lines(session, days)
        with warehouse.session() as session:
            meant = left_out_reasons(load(settings.landing))
            reports = tuple(_file_report(session, f, meant) for f in files)
        return CheckReport(reports, tuple(notes), settings.max_quarantine_share)


def _missing(table: str, report: ReferenceReport, settings: Settings) -> Iterator[str]:
    """What is taken for granted where a reference file is not there."""
    if table == "store_hours" and not report.rows:
        yield "no store_hours file: trading hours are inferred from the receipts"
    if report.origin != FROM_RECEIPTS:
        return
    note = f"no {table} file: {table} are taken from the receipts"
    if table == "products" and report.rows > LARGE_CATEGORY:
        note += (
            f", all {report.rows:,} in one category: each a substitute of all others,"
            " which takes long and says little; land products with categories"
        )
    if table == "stores":
        note += f", in time zone {settings.timezone}; another stands in HOME/settings.toml"
    yield note


def _file_report(session: Session, f: LandingFile, meant: list[str]) -> FileReport:
    quarantine = "pos_quarantine" if f.table_name == POS else f"{f.table_name}_quarantine"
    rejections: tuple[Rejection, ...] = ()
    rejected = 0
    if f.state == "landed":
        rows = session.sql(
            f"SELECT why, count(*), min(source_row) FROM (SELECT unnest(reasons) AS why, source_row"
            f" FROM {quarantine} WHERE source_file = $file) GROUP BY 1 ORDER BY 2 DESC, 3",
            {"file": f.file},
        ).fetchall()
        rejections = tuple(Rejection(f.file, why, n, line) for why, n, line in rows)
        rejected = session.sql(
            f"SELECT count(*) FROM {quarantine} WHERE source_file = $file", {"file": f.file}
        ).fetchall()[0][0]
    left_out = sum(r.lines for r in rejections if r.reason in meant)
    return FileReport(
        f.file, f.table_name, f.state, f.rows or 0, rejected, f.error, rejections, left_out
    )
