"""What a run would do and why, without doing it.

The landing folder is read for real, into a throwaway home whose other tables are links to the
lake: the first job's answer decides the rest. Nothing is written to the home or the folder.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import date
from pathlib import Path

from rich.console import Console

from retail_assets import contract
from retail_assets.errors import SettingsError
from retail_assets.ingest import landing as folder
from retail_assets.ingest.landing import LandingFile
from retail_assets.ingest.reference import write_reference
from retail_assets.runner import _Run
from retail_assets.runner_jobs import of_category
from retail_assets.settings import HOME_VARIABLE, LANDING_VARIABLE, Settings

SHOWN = 3
"""Files of a table named one by one."""


def dry_run(
    home: Path, landing: Path | None, console: Console, *, until: str | None, force: bool
) -> None:
    """Say which files would be read and which days, categories and sales made, and why.

    Raises
    ------
    RetailAssetsError
        As a run would, where the landing folder or a setting is wrong.
    """
    settings = Settings.load(home, landing)
    if not settings.landing.is_dir():
        raise SettingsError(f"{settings.landing}: no such folder; name one with --landing")
    with _throwaway(settings) as trial:
        os.environ[HOME_VARIABLE] = str(trial.home)
        os.environ[LANDING_VARIABLE] = str(trial.landing)
        _DryRun(trial, console, until, force).all()
    console.print("nothing was written")


@contextmanager
def _throwaway(settings: Settings) -> Iterator[Settings]:
    """A home like this one: copies of the tables the first job writes, links to all others."""
    from retail_assets.ingest.first_scan import first_day_and_timezone

    written = {"landing_files"}
    for table in contract.landed_tables():
        written |= {table.name, f"{table.name}_quarantine"}
    with tempfile.TemporaryDirectory(prefix="retail-assets-dry-") as home:
        trial = replace(settings, home=Path(home))
        trial.lake.mkdir()
        for path in settings.lake.iterdir() if settings.lake.is_dir() else ():
            if path.name in written:
                shutil.copytree(path, trial.lake / path.name)
            else:
                (trial.lake / path.name).symlink_to(path, target_is_directory=True)
        if settings.file.exists():
            shutil.copy(settings.file, trial.file)
        if not trial.file.exists() or "first_day" not in trial.file.read_text():
            found = first_day_and_timezone(trial)
            trial = trial.save(first_day=found.first_day, timezone=found.timezone)
        yield trial


class _DryRun(_Run):
    """A run that reads the landing folder and then only tells."""

    def job(
        self,
        name: str,
        what: str,
        *,
        why: str,
        days: tuple[date, date] | None = None,
        partition: str | None = None,
    ) -> None:
        if name == "references":
            self._read()
        if self._is_wanted(name):
            self._tell(what, why)

    def models(self, chains: Mapping[str, Sequence[str]], why: Mapping[str, str]) -> list[str]:
        for category, names in chains.items():
            for name in names:
                if self._is_wanted(name):
                    self._tell(of_category(name, category), why.get(category, "not made yet"))
        return []

    def stale_categories(self, new_receipts: bool) -> dict[str, str]:
        stale = super().stale_categories(new_receipts)
        if new_receipts:  # some may come with receipts that are not read yet
            why = "forced" if self.force else "new or changed receipts"
            stale |= dict.fromkeys(self._categories(), why)
        return stale

    def _days_to_know(self, changed: list[tuple[date, date]]) -> list[tuple[date, date]]:
        found = super()._days_to_know(changed)
        if not changed:
            return found
        first, last = changed[0][0], changed[-1][1]  # their trading days are not known yet
        return [
            (min(first, *(a for a, _ in found), first), max(last, *(b for _, b in found), last))
        ]

    def register(self, dimension: str, keys: Collection[str]) -> None:
        """Dagster is told nothing."""

    def _read(self) -> None:
        """Do what the first job does, in the throwaway home, and name the files."""
        with self.warehouse.session() as session:
            known = {(f.file, f.version) for f in folder.known_files(session)}
            before = {file for file, _ in known}
            files = folder.scan(session)
            folder.write_landing_files(session, files)
        for table in contract.landed_tables():
            with self.warehouse.session() as session:
                write_reference(session, table.name)
        news: dict[str, list[str]] = {}
        for file in files:
            if file.state == "landed" and (file.file, file.version) not in known:
                said = f"{file.file}{' (changed)' if file.file in before else ''}"
                news.setdefault(str(file.table_name), []).append(said)
            elif file.state in ("failed", "waiting"):
                self.console.print(f"  {_why_not(file)}", markup=False, soft_wrap=True)
        for table_name, named in news.items():
            more = f" and {len(named) - SHOWN:,} more" if len(named) > SHOWN else ""
            self._tell(f"read {table_name}", f"{', '.join(named[:SHOWN])}{more}")

    def _tell(self, what: str, why: str) -> None:
        self.console.print(f"  {what:<58} {why}", markup=False, soft_wrap=True)


def _why_not(file: LandingFile) -> str:
    return file.error or f"{file.file}: {file.state}, still arriving"
