"""Run the graph in this process: which jobs of automation/jobs.py, in which order, and why.

What ``retail-assets run`` and ``demo`` do. How one job is run is runner_jobs.py; what a run
would do, runner_dry.py. No computation belongs here.
"""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Collection, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from datetime import date, datetime, timedelta
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

from rich.console import Console

from retail_assets import contract, sales
from retail_assets.deploy import write_profile
from retail_assets.errors import RetailAssetsError, SettingsError
from retail_assets.runner_jobs import (
    MODELS,
    PLANS,
    Done,
    chain,
    execute,
    of_category,
    survived,
    wanted_keys,
    without_waiting_for_the_disk,
)
from retail_assets.runner_progress import Progress
from retail_assets.settings import HOME_VARIABLE, LANDING_VARIABLE, Settings
from retail_assets.warehouse import Warehouse

if TYPE_CHECKING:
    import dagster as dg

LOOK_BACK = timedelta(days=62)
"""What was known of the styles is made for nine weeks at first: eight are shown, one foresees.
Earlier days, by ``--force`` or a backfill, cost 90 ms each with Dagster's book-keeping."""
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
    without_waiting_for_the_disk()
    return _Run(settings, console, until, force).all()


class _Run:
    """One chain of jobs in this process. What a dry run leaves out has a method of its own."""

    def __init__(
        self, settings: Settings, console: Console, until: str | None, force: bool
    ) -> None:
        from retail_assets.definitions import build_definitions

        self.console, self.until, self.force = console, until, force
        self.warehouse = Warehouse(settings)
        self.definitions = build_definitions({"warehouse": self.warehouse})
        self.wanted = self._wanted()
        self.steps = Progress(console)
        self._told: set[str] = set()

    @cached_property
    def instance(self) -> dg.DagsterInstance:
        """Where Dagster notes runs and partitions."""
        import dagster as dg

        return dg.DagsterInstance.get()

    def _wanted(self) -> set[str]:
        """Assets to build: ``until`` and everything it is made from."""
        import dagster as dg

        graph = self.definitions.resolve_asset_graph()
        every = {key.to_user_string() for key in graph.materializable_asset_keys}
        if self.until is None:
            return every
        if self.until not in every:
            known = ", ".join(sorted(every))
            raise RetailAssetsError(f"unknown asset {self.until!r}; known: {known}")
        selection = dg.AssetSelection.assets(self.until).upstream().required_multi_asset_neighbors()
        return {key.to_user_string() for key in selection.resolve(graph)}

    def all(self) -> list[str]:
        """Run every job; what of plans, demand and prices failed."""
        from retail_assets.ingest.landing import affected_ranges, wait_until_quiet

        with self.steps:
            wait_until_quiet(self.warehouse.settings)
            self.job("references", "landing files and reference tables", why="every run")
            ranges = affected_ranges(self.warehouse, force=self.force)
            self._expect(ranges, self._categories() if ranges else [])
            why = "forced" if self.force else "new or changed receipts"
            for first, last in ranges:
                self.job("ingest", f"receipts of {first} to {last}", days=(first, last), why=why)
            if not ranges:
                self.console.print("  receipts up to date")
            stale = self.stale_categories(bool(ranges))
            chains = self._chains(stale)
            self._expect([], chains)
            failed = self.models(chains, stale)
            self._styles(ranges)
            failed += self._demand_and_prices(stale, failed)
            self.job("stock_plan", "stock of the coming weeks", why="every run")
            name = self.warehouse.settings.database.name
            self.job("publish", f"publish {name}", why="every run")
            return failed

    def _expect(self, ranges: Sequence[object], categories: Collection[str]) -> None:
        """What is still to come, as far as it is known."""
        coming = self._coming_sales()
        every = ["ingest"] * len(ranges)
        every += [name for name in MODELS for _ in categories] + ["trials", "cold_start"]
        every += ["demand"] * len({*categories, *(c for c, _ in coming if c)})
        every += ["prices"] * len({sale for _, sale in coming}) + ["stock_plan", "publish"]
        self.steps.expect([name for name in every if self._is_wanted(name)], _at_once(categories))

    def _is_wanted(self, job: str) -> bool:
        return bool(wanted_keys(self.definitions, self.wanted, job))

    def _styles(self, ranges: list[tuple[date, date]]) -> None:
        """What is known of the styles, from the first day whose knowledge changed."""
        for first, last in self._days_to_know(ranges):
            why = (
                "forced" if self.force else "the last day, and days that are new or follow a change"
            )
            self.job("trials", f"trials of {first} to {last}", days=(first, last), why=why)
            since = last - LOOK_BACK if not self.force else first
            days = (max(first, since), last)
            self.job("cold_start", f"styles as known {days[0]} to {last}", days=days, why=why)

    def _demand_and_prices(self, stale: Mapping[str, str], broken: Collection[str]) -> list[str]:
        """Demand, prices and decisions, each by itself; what failed.

        Demand rests on the models of its category: where those are broken, it waits for them.
        """
        coming = self._coming_sales()
        self.register("category", sorted({c for c, _ in coming if c}))
        self.register("sale", sorted({sale for _, sale in coming}))
        with self.warehouse.session() as session:
            outdated, begun = sales.outdated(session), sales.begun(session)
            unpriced = sales.unpriced(session)
        # What a sale to come rests on is asked for every time: its dates may have changed.
        asked = dict.fromkeys(outdated, "its receipts are newer than its demand")
        asked |= {c: f"{sale} is to come" for c, sale in reversed(coming) if c} | dict(stale)
        if unpriced & set(asked) and self._is_wanted("demand"):
            names = ", ".join(sorted(unpriced & set(asked)))
            self.console.print(f"  no demand at prices of {names}: no receipt has a price")
        asked = {
            category: why
            for category, why in asked.items()
            if category not in unpriced and of_category("models", category) not in broken
        }
        jobs = [("demand", f"demand for {c}", c, asked[c]) for c in sorted(asked)]
        jobs += [
            ("prices", f"prices of {sale}", sale, "to come; sale_events holds no price of it")
            for sale in sorted({sale for _, sale in coming})
        ]
        jobs += [("decisions", f"what {sale} charged", sale, "it has begun") for sale in begun]
        failed = []
        for name, what, partition, why in jobs:
            try:
                self.job(name, what, partition=partition, why=why)
            except RetailAssetsError as error:  # one sale's fault is not the next one's
                self._tell_failed(what, str(error).removeprefix(f"{what}: "))
                failed.append(what)
        return failed

    def _chains(self, stale: Mapping[str, str]) -> dict[str, Sequence[str]]:
        """Jobs of each category that has any."""
        from retail_assets.automation import jobs

        if not self.wanted & {*jobs.MODELS, *jobs.PLANS}:
            return {}
        chains: dict[str, Sequence[str]] = dict.fromkeys(sorted(stale), MODELS)
        for category in sorted(self._without("capacity_plan")):
            chains.setdefault(category, [PLANS])
        return chains

    def models(self, chains: Mapping[str, Sequence[str]], _why: Mapping[str, str]) -> list[str]:
        """Models and plans of the categories, several at once; what failed.

        Categories share nothing, and each is one process's work for a minute or two: on two
        cores the demo's three took 117 s, one after another 226.
        """
        if not chains:
            return []
        failed, spawn = list[str](), multiprocessing.get_context("spawn")
        at_once, cores = _at_once(chains), os.cpu_count() or 1
        # Read when a process loads its libraries: more threads than cores cost half the speed.
        os.environ.setdefault("OMP_NUM_THREADS", str(max(1, cores // at_once)))
        self.steps.begin(f"models of {', '.join(sorted(chains))}")
        with ProcessPoolExecutor(at_once, mp_context=spawn) as pool, _stopped_together():
            settings = self.warehouse.settings
            asked = [
                pool.submit(chain, settings, category, names, self.wanted)
                for category, names in sorted(chains.items())
            ]
            for job in (job for done in asked for job in survived(done)):
                self.steps.end(job.name)
                if job.error is None:
                    self._tell_done(job)
                else:  # one category's fault is not the next one's
                    self._tell_failed(job.what, job.error)
                    failed.append(job.what)
        return failed

    def _tell_done(self, job: Done) -> None:
        self.console.print(f"  {job.what:<58} {job.seconds:6.1f} s")

    def _tell_failed(self, what: str, why: str) -> None:
        """The reason once: a mistyped sale stops its category's demand and its own prices."""
        self.console.print(f"  {what:<58} failed{', as above' if why in self._told else ''}")
        if why not in self._told:
            self.console.print(f"    {why}", soft_wrap=True, markup=False)
        self._told.add(why)

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

    def _categories(self) -> list[str]:
        """Categories there are, as far as products and receipts say."""
        with self.warehouse.session() as session:
            query = "SELECT category FROM interval_sales UNION SELECT category FROM products"
            return sorted(category for (category,) in session.sql(query).fetchall())

    def stale_categories(self, new_receipts: bool) -> dict[str, str]:
        """Categories whose models are missing or older than their receipts, and why."""
        from retail_assets.ingest import unfinished

        with self.warehouse.session() as session:
            rows = session.sql(
                "SELECT DISTINCT category FROM interval_sales ORDER BY ALL"
            ).fetchall()
        every = [category for (category,) in rows]
        self.register("category", every)
        if new_receipts or self.force:
            why = "forced" if self.force else "new or changed receipts"
            return dict.fromkeys(every, why)
        last = self.until if self.until in contract.tables() else "assortment_scenarios"
        by_category = contract.table(str(last)).partition == "category"
        done = self.warehouse.partitions(str(last)) if by_category else set(every)
        old = unfinished.unfinished_categories(self.warehouse, self.wanted & set(contract.tables()))
        return {
            category: "older than its receipts" if category in done else "not made yet"
            for category in every
            if category not in done or category in old
        }

    def register(self, dimension: str, keys: list[str]) -> None:
        """Let Dagster know of categories and sales."""
        self.instance.add_dynamic_partitions(dimension, keys)

    def _coming_sales(self) -> list[tuple[str | None, str]]:
        """Category and sale of every sale to come that still lacks a price.

        No category for a product nobody knows, and for a row that was rejected: pricing the
        sale says so.
        """
        with self.warehouse.session() as session:
            return sales.coming(session)

    def _without(self, table: str) -> set[str]:
        """Categories that have sold something and are not in a table yet."""
        with self.warehouse.session() as session:
            rows = session.sql("SELECT DISTINCT category FROM interval_sales").fetchall()
        return {category for (category,) in rows} - self.warehouse.partitions(table)

    def job(
        self,
        name: str,
        what: str,
        *,
        why: str,
        days: tuple[date, date] | None = None,
        partition: str | None = None,
    ) -> None:
        """Run what of a job is wanted; ``why`` is for a dry run.

        Raises
        ------
        RetailAssetsError
            The message of what failed.
        """
        if not self._is_wanted(name):
            return
        self.steps.begin(what)
        done = execute(self.definitions, self.instance, self.wanted, name, what, days, partition)
        self.steps.end(name)
        if done.error is not None:
            raise RetailAssetsError(f"{what}: {done.error}")
        self._tell_done(done)


@contextmanager
def _stopped_together() -> Iterator[None]:
    """Whoever stops this process need not wait for the categories at work."""
    try:
        yield
    except BaseException:
        for child in multiprocessing.active_children():
            child.terminate()
        raise


def _at_once(categories: Collection[str]) -> int:
    return max(1, min(len(categories), os.cpu_count() or 1, MOST_AT_ONCE))
