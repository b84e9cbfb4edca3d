"""One job of automation/jobs.py after another, in this process or in one of its own.

What is run, and in which order, is runner.py.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Collection, Sequence
from concurrent.futures import Future
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING

from retail_assets.errors import RetailAssetsError
from retail_assets.settings import Settings
from retail_assets.warehouse import Warehouse

if TYPE_CHECKING:
    import dagster as dg

PLANS = "plans"
MODELS = ("models", PLANS)
"""Jobs of a category that need nothing but its receipts, in order."""


def without_waiting_for_the_disk() -> None:
    """Dagster's run history in SQLite is not synced to disk event by event.

    Half a year of daily partitions is 1,800 events with two syncs each: 117 s instead of
    28 s on a busy disk. A crash of this process loses nothing; a power cut may cost the
    history of runs, never the tables, which are Delta commits of their own.
    """
    from sqlalchemy import event
    from sqlalchemy.engine import Engine

    @event.listens_for(Engine, "connect")
    def relax(connection: sqlite3.Connection, _: object) -> None:
        if isinstance(connection, sqlite3.Connection):
            connection.execute("PRAGMA synchronous = OFF")


@dataclass(frozen=True)
class Done:
    """A job that has ended; ``error`` is its message if it failed."""

    name: str
    what: str
    seconds: float
    error: str | None


def wanted_keys(
    definitions: dg.Definitions, assets: Collection[str], name: str
) -> list[dg.AssetKey]:
    """What of a job is among the wanted assets."""
    every = definitions.resolve_job_def(name).asset_layer.executable_asset_keys
    return [key for key in every if key.to_user_string() in assets]


def of_category(name: str, category: str) -> str:
    """What one of ``MODELS`` makes of a category, in words."""
    return f"{'models' if name != PLANS else 'assortment'} of {category}"


def execute(
    definitions: dg.Definitions,
    instance: dg.DagsterInstance,
    assets: set[str],
    name: str,
    what: str,
    days: tuple[date, date] | None,
    partition: str | None,
) -> Done:
    """Run what of a job is wanted in this process."""
    from retail_assets.partitions import RANGE_END, RANGE_START

    wanted = wanted_keys(definitions, assets, name)
    began = time.monotonic()
    result = definitions.resolve_job_def(name).execute_in_process(
        instance=instance,
        partition_key=partition,
        tags={RANGE_START: str(days[0]), RANGE_END: str(days[1])} if days else {},
        asset_selection=wanted,
        raise_on_error=False,
        run_config={"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}},
    )
    error = None if result.success else _failure(result)
    return Done(name, what, time.monotonic() - began, error)


def survived(category: Future[list[Done]]) -> list[Done]:
    """The jobs of a category, once its process has ended.

    Raises
    ------
    RetailAssetsError
        The process was killed.
    """
    try:
        return category.result()
    except BrokenProcessPool:
        raise RetailAssetsError(
            "a process at work on a category was killed, most often for want of memory: each takes "
            "about 1 GB; what was written is whole, run again"
        ) from None


def chain(settings: Settings, category: str, names: Sequence[str], wanted: set[str]) -> list[Done]:
    """Jobs of one category one after another, in a process of its own, until one fails."""
    import dagster as dg

    from retail_assets.definitions import build_definitions

    without_waiting_for_the_disk()
    definitions = build_definitions({"warehouse": Warehouse(settings)})
    done: list[Done] = []
    with dg.DagsterInstance.get() as instance:
        for name in names:
            if not wanted_keys(definitions, wanted, name):
                continue
            what = of_category(name, category)
            done.append(execute(definitions, instance, wanted, name, what, None, category))
            if done[-1].error is not None:
                break
    return done


def _failure(result: dg.ExecuteInProcessResult) -> str:
    """The message of the deepest cause of the first failed step."""
    from retail_assets.alerts import reason

    return next((reason(event) for event in result.all_events if event.is_step_failure), "failed")
