"""Every path, environment variable and setting, typed, in one place."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace
from datetime import date
from pathlib import Path
from typing import Any, TypeVar
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from retail_assets.errors import SettingsError

HOME_VARIABLE = "RETAIL_ASSETS_HOME"
LANDING_VARIABLE = "RETAIL_ASSETS_LANDING"
T = TypeVar("T")


@dataclass(frozen=True)
class Settings:
    """Where things lie and how the business counts.

    Values come from ``<home>/settings.toml``; ``RETAIL_ASSETS_HOME`` and
    ``RETAIL_ASSETS_LANDING`` move the folders. ``first_day`` and ``timezone`` are
    written there by the first landing scan, and may be edited.

    Parameters
    ----------
    home : Path
        Lake, published database, rules and settings of one retailer.
    landing : Path
        Folder of landing files; never written to.
    first_day : date
        First business day; the first daily partition.
    timezone : str
        Business time zone: schedules, and stores that name none.
    grain_minutes : int
        Length of a trading interval: 1 (minute) to 1440 (day).
    day_starts_hour : int
        Sales before this hour belong to the business day before.
    receipts : {"all", "sample"}
        ``sample``: of some customers only (a household panel, loyalty cards). What such
        receipts do not show may have been sold to others: nothing is inferred to be out of stock.
    max_quarantine_share : float
        Above this share of rejected lines the ingest check blocks what follows.
    quiet_seconds : int
        A file that changed less than this long ago may still be arriving.
    publish_max_rows : int
        Tables above this become views in retail.duckdb.
    memory_limit : str
        DuckDB's memory limit; more spills to disk.
    currency : str
        Shown beside money; amounts are integer cents of it.
    ui_url : str
        Where the report's links find the Dagster UI.
    automate : bool
        Schedules and sensors run from the start; otherwise they wait to be switched on in the UI.
    """

    home: Path
    landing: Path
    first_day: date = date(2000, 1, 1)
    timezone: str = "UTC"
    grain_minutes: int = 15
    day_starts_hour: int = 0
    receipts: str = "all"
    max_quarantine_share: float = 0.05
    quiet_seconds: int = 5
    publish_max_rows: int = 50_000_000
    memory_limit: str = "2GB"
    currency: str = "EUR"
    ui_url: str = "http://127.0.0.1:3000"
    automate: bool = False

    @property
    def lake(self) -> Path:
        return self.home / "lake"

    @property
    def database(self) -> Path:
        return self.home / "retail.duckdb"

    @property
    def report(self) -> Path:
        return self.home / "report.html"

    @property
    def rules(self) -> Path:
        return self.home / "rules"

    @property
    def file(self) -> Path:
        return self.home / "settings.toml"

    @staticmethod
    def load(home: Path | str | None = None, landing: Path | str | None = None) -> Settings:
        """Read the settings of ``home`` (default: ``RETAIL_ASSETS_HOME`` or ``data``)."""
        root = _absolute(home or os.environ.get(HOME_VARIABLE) or "data")
        values = _read(root / "settings.toml")
        where = landing or os.environ.get(LANDING_VARIABLE) or values.pop("landing", None)
        values.pop("landing", None)
        settings = Settings(home=root, landing=_absolute(where or root / "landing"), **values)
        settings._check()
        return settings

    def read_rules(self, name: str, parse: Callable[[Mapping[str, Any]], T]) -> T:
        """Rules of ``<home>/rules/<name>``, parsed; those of an empty file where there is none.

        Raises
        ------
        SettingsError
            With the file, the entry and what it may be.
        """
        path = self.rules / name
        try:
            return parse(tomllib.loads(path.read_text()) if path.exists() else {})
        except (tomllib.TOMLDecodeError, ValueError) as error:
            raise SettingsError(f"{path}: {error}") from None

    def save(self, **changes: Any) -> Settings:
        """Write changed values to ``<home>/settings.toml``; other values stay, comments do not."""
        kept = _read(self.file) | changes
        self.home.mkdir(parents=True, exist_ok=True)
        partial = self.file.with_suffix(".toml.partial")
        partial.write_text("".join(f"{key} = {_toml(value)}\n" for key, value in kept.items()))
        partial.replace(self.file)
        return replace(self, **{k: v for k, v in changes.items() if k != "landing"})

    def _check(self) -> None:
        try:
            ZoneInfo(self.timezone)
        except (ZoneInfoNotFoundError, ValueError):
            raise SettingsError(
                f"{self.file}: timezone {self.timezone!r} is not known; use e.g. Europe/Paris"
            ) from None
        if not (1 <= self.grain_minutes <= 1440) or 1440 % self.grain_minutes:
            raise SettingsError(
                f"{self.file}: grain_minutes {self.grain_minutes} does not divide a day; "
                "use 1, 5, 15, 30, 60 or 1440 (a weekly grain cannot show a stock-out)"
            )
        if not 0 <= self.day_starts_hour < 24:
            raise SettingsError(f"{self.file}: day_starts_hour must be 0 to 23")
        if self.receipts not in ("all", "sample"):
            raise SettingsError(
                f'{self.file}: receipts {self.receipts!r} is not known; use "all" (every receipt'
                ' of the till) or "sample" (of some customers only, as in a household panel)'
            )


def _absolute(path: Path | str) -> Path:
    """Without ``..`` as well: Delta takes ``here/../there`` for another folder than ``there``."""
    return Path(os.path.abspath(path))


def _read(path: Path) -> dict[str, Any]:
    if not path.exists():
        return {}
    try:
        values = tomllib.loads(path.read_text())
    except tomllib.TOMLDecodeError as error:
        raise SettingsError(f"{path}: {error}") from None
    known = {f.name: f.type for f in fields(Settings)} | {"landing": "Path"}
    for key, value in values.items():
        if key == "home" or key not in known:
            raise SettingsError(f"{path}: unknown setting {key!r}; known: {', '.join(known)}")
        wanted: dict[str, Any] = {
            "int": int,
            "float": (int, float),
            "str": str,
            "date": date,
            "Path": str,
            "bool": bool,
        }
        of_kind = isinstance(value, wanted[str(known[key])])
        if not of_kind or (isinstance(value, bool) and known[key] != "bool"):
            raise SettingsError(f"{path}: {key} = {value!r} should be of type {known[key]}")
    return values


def _toml(value: Any) -> str:
    if isinstance(value, (str, Path)):
        return '"' + str(value).replace("\\", "\\\\").replace('"', '\\"') + '"'
    if isinstance(value, bool):
        return str(value).lower()
    return value.isoformat() if isinstance(value, date) else str(value)
