"""Profiles of ``DAGSTER_HOME``: where Dagster keeps its history, and who executes runs.

``local`` is one machine, ``cluster`` many; the code is the same under both. A profile is
the files of the folder of its name, copied as they are: what differs between two sites
(addresses, passwords) is read from the environment and stands in no file. What a Celery
worker runs is worker.py, how a lost worker is noticed launcher.py.
"""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

from retail_assets.errors import SettingsError

PROFILES = ("local", "cluster")

POSTGRES_VARIABLE = "RETAIL_ASSETS_POSTGRES_URL"
"""Dagster's history under ``cluster``, e.g. ``postgresql://user:password@host:5432/dagster``."""

REDIS_VARIABLE = "RETAIL_ASSETS_REDIS_URL"
"""Broker and results of the workers under ``cluster``, e.g. ``redis://:password@host:6379/0``."""

KEPT = ".old"
"""What a file that somebody edited is renamed to before a profile takes its place."""


def profile_files(profile: str) -> dict[str, str]:
    """Name and content of each file of a profile.

    Raises
    ------
    SettingsError
        When there is no such profile; lists those there are.
    """
    if profile not in PROFILES:
        raise SettingsError(f"no profile {profile!r}; use one of {', '.join(PROFILES)}")
    folder = files("retail_assets.deploy").joinpath(profile)
    return {
        item.name: item.read_text("utf-8")
        for item in sorted(folder.iterdir(), key=lambda item: item.name)
        if item.is_file()
    }


def write_profile(profile: str, dagster_home: Path) -> list[Path]:
    """Copy a profile into ``dagster_home``, which is made where it is missing.

    A file that is neither this profile's nor another's was edited: it is kept beside the
    new one as ``<name>.old``. A history in SQLite stays where it is; ``cluster`` starts
    one of its own in Postgres.

    Parameters
    ----------
    profile : {"local", "cluster"}
    dagster_home : Path

    Returns
    -------
    list of Path
        Every file of the profile, written or already so.

    Raises
    ------
    SettingsError
        When there is no such profile, or the folder cannot be written.
    """
    wanted = profile_files(profile)
    shipped = {(name, text) for p in PROFILES for name, text in profile_files(p).items()}
    try:
        dagster_home.mkdir(parents=True, exist_ok=True)
        for name, text in wanted.items():
            _write(dagster_home / name, text, shipped)
    except OSError as error:
        raise SettingsError(f"{dagster_home}: {error.strerror}; choose another folder") from None
    return [dagster_home / name for name in wanted]


def _write(path: Path, text: str, shipped: set[tuple[str, str]]) -> None:
    found = path.read_text("utf-8") if path.exists() else None
    if found == text:
        return
    if found is not None and (path.name, found) not in shipped:
        path.replace(path.with_name(path.name + KEPT))
    partial = path.with_name(path.name + ".partial")
    partial.write_text(text, "utf-8")
    partial.replace(path)
