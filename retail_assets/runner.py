"""Run the graph in this process: the jobs of automation/jobs.py, one after another.

What ``retail-assets run`` and ``demo`` do. No computation belongs here.
"""

from __future__ import annotations

import multiprocessing
import os
import sqlite3
import time
from collections.abc import Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

from rich.console import Console

from retail_assets import contract, sales
from retail_assets.deploy import write_profile
from retail_assets.errors import RetailAssetsError, SettingsError
from retail_assets.settings import HOME_VARIABLE, LANDING_VARIABLE, Settings
from retail_assets.warehouse import Warehouse

if TYPE_CHECKING:
    import dagster as dg

LOOK_BACK = timedelta(days=62)
"""What was known of the styles is made for nine weeks at first: eight are shown, one foresees.
Earlier days, by ``--force`` or a backfill, cost 90 ms each with Dagster's book-keeping."""
PLANS = "plans"
MODELS = ("models", PLANS)
"""Jobs of a category that need nothing but its receipts, in order."""
MOST_AT_ONCE = 4
"""Categories; each takes about 1 GB."""


def prepare(home: Path, landing: Path | None) -> Settings:
    """Point this process at a home, before any definition is imported.

    Raises
    ------
    SettingsError
        When the landing folder does not exist.
    """
    settings = Settings.load(home, landing)
    if not settings.landing.is_dir():
        raise SettingsError(f"{settings.landing}: no such folder; name one with --landing")
    dagster_home = settings.home / "dagster"
    if not (dagster_home / "dagster.yaml").exists():
        write_profile("local", dagster_home)
    os.environ[HOME_VARIABLE] = str(settings.home)
    os.environ[LANDING_VARIABLE] = str(settings.landing)
    os.environ["DAGSTER_HOME"] = str(dagster_home)
    return _with_first_day(settings)


def _with_first_day(settings: Settings) -> Settings:
    """The first landing scan sets the first business day and the time zone."""
    from retail_assets.ingest.first_scan import first_day_and_timezone

    if settings.file.exists() and "first_day" in settings.file.read_text():
        return settings
    found = first_day_and_timezone(settings)
    return settings.save(first_day=found.first_day, timezone=found.timezone)


def _without_waiting_for_the_disk() -> None:
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


def run(
    settings: Settings, console: Console, *, until: str | None = None, force: bool = False
) -> list[str]:
    """Bring every table, or those up to ``until``, up to date with the landing folder.

    Returns
    -------
    list of str
        Categories and sales whose plans, demand or prices failed, each told on the console;
        all else is up to date.

    Raises
    ------
    RetailAssetsError
        When an asset is unknown or a step fails: the step's own message.
    """
    if until is not None and until not in {*contract.tables(), "retail_duckdb"}:
        known = ", ".join(contract.tables())
        raise RetailAssetsError(f"unknown asset {until!r}; known: {known}")
    _without_waiting_for_the_disk()
    return _Run(settings, console, until, force).all()


class _Run:
    """One chain of jobs in this process."""

    def __init__(
        self, settings: Settings, console: Console, until: str | None, force: bool
    ) -> None:
        import dagster as dg

        from retail_assets.definitions import build_definitions

        self.console, self.until, self.force = console, until, force
        self.warehouse = Warehouse(settings)
        self.definitions = build_definitions({"warehouse": self.warehouse})
        self.instance = dg.DagsterInstance.get()
        self.wanted = self._wanted()

    def _wanted(self) -> set[str]:
        """Assets to build: ``until`` and everything it is made from."""
        import dagster as dg

        graph = self.definitions.resolve_asset_graph()
        every = {key.to_user_string() for key in graph.materializable_asset_keys}
        if self.until is None:
            return every
        selection = dg.AssetSelection.assets(self.until).upstream().required_multi_asset_neighbors()
        return {key.to_user_string() for key in selection.resolve(graph)}

    def all(self) -> list[str]:
        """Run every job; what of plans, demand and prices failed."""
        from retail_assets.ingest.landing import affected_ranges, wait_until_quiet

        wait_until_quiet(self.warehouse.settings)
        self._job("references", "landing files and reference tables")
        ranges = affected_ranges(self.warehouse, force=self.force)
        for first, last in ranges:
            self._job("ingest", f"receipts of {first} to {last}", days=(first, last))
        if not ranges:
            self.console.print("  receipts up to date")
        stale = self._stale_categories(bool(ranges))
        failed = self._models(stale)
        for first, last in self._days_to_know(ranges):
            self._job("trials", f"trials of {first} to {last}", days=(first, last))
            since = last - LOOK_BACK if not self.force else first
            days = (max(first, since), last)
            self._job("cold_start", f"styles as known {days[0]} to {last}", days=days)
        coming = self._coming_sales()
        asked = {*stale, *(c for c, _ in coming if c), *self._without("demand_curves")}
        jobs = [("demand", f"demand for {category}", category) for category in sorted(asked)]
        jobs += [("prices", f"prices of {s}", s) for s in sorted({s for _, s in coming})]
        jobs += [("decisions", f"what {s} charged", s) for s in self._sales_begun()]
        for name, what, partition in jobs:
            try:
                self._job(name, what, partition=partition)
            except RetailAssetsError as error:  # one sale's fault is not the next one's
                self.console.print(f"  {what:<58} failed")
                self.console.print(f"    {error}", soft_wrap=True, markup=False)
                failed.append(what)
        self._job("stock_plan", "stock of the coming weeks")
        self._job("publish", f"publish {self.warehouse.settings.database.name}")
        return failed

    def _models(self, stale: list[str]) -> list[str]:
        """Models and plans of the categories, several at once; the plans that failed.

        Categories share nothing, and each is one process's work for a minute or two: on two
        cores the demo's three took 117 s, one after another 226.
        """
        from retail_assets.automation import jobs

        if not self.wanted & {*jobs.MODELS, *jobs.PLANS}:
            return []
        chains = {category: [*MODELS] for category in stale}
        for category in self._without("capacity_plan"):
            chains.setdefault(category, [PLANS])
        failed, spawn = list[str](), multiprocessing.get_context("spawn")
        cores = os.cpu_count() or 1
        at_once = max(1, min(len(chains), cores, MOST_AT_ONCE))
        # Read when a process loads its libraries: more threads than cores cost half the speed.
        os.environ.setdefault("OMP_NUM_THREADS", str(max(1, cores // at_once)))
        with ProcessPoolExecutor(at_once, mp_context=spawn) as pool:
            settings = self.warehouse.settings
            asked = [
                pool.submit(_chain, settings, category, names, self.wanted)
                for category, names in sorted(chains.items())
            ]
            for done in asked:
                with self.console.status(f"models of {', '.join(sorted(chains))} ..."):
                    jobs_done = _survived(done)
                for job in jobs_done:
                    self._tell(job)
                    if job.error is not None and job.name != PLANS:
                        pool.shutdown(cancel_futures=True)
                        raise RetailAssetsError(f"{job.what}: {job.error}")
                    failed += [job.what] if job.error is not None else []
        return failed

    def _tell(self, job: _Done) -> None:
        if job.error is None:
            self.console.print(f"  {job.what:<58} {job.seconds:6.1f} s")
        elif job.name == PLANS:
            self.console.print(f"  {job.what:<58} failed")
            self.console.print(f"    {job.error}", soft_wrap=True, markup=False)

    def _days_to_know(self, changed: list[tuple[date, date]]) -> list[tuple[date, date]]:
        """Days whose knowledge changed: the first changed or new day and all after it.

        Trials dated after today wait for their day; those before the first business day
        count, but have no partition of their own.
        """
        settings = self.warehouse.settings
        today = datetime.now(ZoneInfo(settings.timezone)).date()
        between = {"opened": settings.first_day, "today": today}
        with self.warehouse.session() as session:
            query = (
                "SELECT min(day), max(day) FROM (SELECT business_date AS day FROM trading_days"
                " UNION ALL SELECT date FROM style_trials WHERE date BETWEEN $opened AND $today)"
            )
            first, last = session.sql(query, between).fetchall()[0]
        if last is None:
            return []
        known = self.warehouse.partitions("cold_start_posterior")
        if known:
            newest = date.fromisoformat(max(known))
            last = max(last, min(newest, today))
            if not self.force:
                first = min(last, newest + timedelta(days=1), *(day for day, _ in changed))
        return [(first, last)]

    def _stale_categories(self, new_receipts: bool) -> list[str]:
        from retail_assets.ingest import unfinished

        with self.warehouse.session() as session:
            rows = session.sql(
                "SELECT DISTINCT category FROM interval_sales ORDER BY ALL"
            ).fetchall()
        every = [category for (category,) in rows]
        self.instance.add_dynamic_partitions("category", every)
        if new_receipts or self.force:
            return every
        last = self.until if self.until in self.wanted else "assortment_scenarios"
        by_category = contract.table(last).partition == "category"
        done = self.warehouse.partitions(last) if by_category else set(every)
        old = unfinished.unfinished_categories(self.warehouse, self.wanted & set(contract.tables()))
        return [category for category in every if category not in done or category in old]

    def _coming_sales(self) -> list[tuple[str | None, str]]:
        """Category and sale of every sale to come that still lacks a price.

        No category for a product nobody knows, and for a row that was rejected: pricing the
        sale says so.
        """
        with self.warehouse.session() as session:
            rows = sales.coming(session)
        self.instance.add_dynamic_partitions("category", sorted({c for c, _ in rows if c}))
        self.instance.add_dynamic_partitions("sale", sorted({sale for _, sale in rows}))
        return rows

    def _sales_begun(self) -> list[str]:
        """Recent sales with a recommendation of which nobody knows yet what was charged."""
        with self.warehouse.session() as session:
            return sales.begun(session)

    def _without(self, table: str) -> set[str]:
        """Categories that have sold something and are not in a table yet."""
        with self.warehouse.session() as session:
            rows = session.sql("SELECT DISTINCT category FROM interval_sales").fetchall()
        return {category for (category,) in rows} - self.warehouse.partitions(table)

    def _job(
        self,
        name: str,
        what: str,
        *,
        days: tuple[date, date] | None = None,
        partition: str | None = None,
    ) -> None:
        with self.console.status(f"{what} ..."):
            done = _execute(
                self.definitions, self.instance, self.wanted, name, what, days, partition
            )
        if done is None:
            return
        if done.error is not None:
            raise RetailAssetsError(f"{what}: {done.error}")
        self.console.print(f"  {what:<58} {done.seconds:6.1f} s")


@dataclass(frozen=True)
class _Done:
    """A job that has ended; ``error`` is its message if it failed."""

    name: str
    what: str
    seconds: float
    error: str | None


def _execute(
    definitions: dg.Definitions,
    instance: dg.DagsterInstance,
    assets: set[str],
    name: str,
    what: str,
    days: tuple[date, date] | None,
    partition: str | None,
) -> _Done | None:
    """Run what of a job is wanted in this process; None where nothing is."""
    from retail_assets.partitions import RANGE_END, RANGE_START

    job = definitions.resolve_job_def(name)
    every = job.asset_layer.executable_asset_keys
    wanted = [key for key in every if key.to_user_string() in assets]
    if not wanted:
        return None
    began = time.monotonic()
    result = job.execute_in_process(
        instance=instance,
        partition_key=partition,
        tags={RANGE_START: str(days[0]), RANGE_END: str(days[1])} if days else {},
        asset_selection=wanted,
        raise_on_error=False,
        run_config={"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}},
    )
    error = None if result.success else _failure(result)
    return _Done(name, what, time.monotonic() - began, error)


def _survived(chain: Future[list[_Done]]) -> list[_Done]:
    try:
        return chain.result()
    except BrokenProcessPool:
        raise RetailAssetsError(
            "a process at work on a category was killed, most often for want of memory: each takes "
            "about 1 GB; what was written is whole, run again"
        ) from None


def _chain(
    settings: Settings, category: str, names: Sequence[str], wanted: set[str]
) -> list[_Done]:
    """Jobs of one category one after another, in a process of its own, until one fails."""
    import dagster as dg

    from retail_assets.definitions import build_definitions

    _without_waiting_for_the_disk()
    definitions = build_definitions({"warehouse": Warehouse(settings)})
    done = []
    with dg.DagsterInstance.get() as instance:
        for name in names:
            what = f"{'models' if name != PLANS else 'assortment'} of {category}"
            job = _execute(definitions, instance, wanted, name, what, None, category)
            done += [] if job is None else [job]
            if job is not None and job.error is not None:
                break
    return done


def _failure(result: dg.ExecuteInProcessResult) -> str:
    """The message of the deepest cause of the first failed step."""
    from retail_assets.alerts import reason

    return next((reason(event) for event in result.all_events if event.is_step_failure), "failed")
