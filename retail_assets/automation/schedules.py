"""The schedules, in the business time zone: each night the day that ended, each week the models.

Receipts come in by the landing sensor; the nightly run closes the day, so that a day without
receipts is there too, as an empty one. Hours follow ``day_starts_hour``: a business day that
ends at five is not closed at half past two.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, datetime, timedelta

import dagster as dg

from retail_assets.automation import jobs, switch
from retail_assets.ingest.landing import APART, affected_ranges
from retail_assets.partitions import CATEGORIES, RANGE_END, RANGE_START
from retail_assets.settings import Settings
from retail_assets.warehouse import Warehouse

NIGHTLY = timedelta(hours=2, minutes=30)
"""After the business day ends. Where clocks spring forward over it, Dagster ticks at 3:00;
where they fall back, once."""
WEEKLY = timedelta(hours=4)
"""On Mondays, when the nightly run is done."""


def build_schedules(settings: Settings) -> list[dg.ScheduleDefinition]:
    """The schedules of a retailer's time zone and business day."""

    @dg.schedule(
        job=jobs.ingest,
        cron_schedule=cron(settings, NIGHTLY, "*"),
        execution_timezone=settings.timezone,
        default_status=switch.SCHEDULES,
        description="Closes the business day that ended, and days missed since the last one.",
    )
    def nightly_ingest(
        context: dg.ScheduleEvaluationContext, warehouse: dg.ResourceParam[Warehouse]
    ) -> dg.RunRequest | dg.SkipReason:
        ended = day_ended(context.scheduled_execution_time, settings)
        days = days_to_close(warehouse, ended)
        if days is None:
            return dg.SkipReason(f"{ended} is there and its receipts are up to date")
        first, last = map(str, days)
        return dg.RunRequest(f"{first}-{last}", tags={RANGE_START: first, RANGE_END: last})

    @dg.schedule(
        job=jobs.models,
        cron_schedule=cron(settings, WEEKLY, "1"),
        execution_timezone=settings.timezone,
        default_status=switch.SCHEDULES,
        description="Fits the models of every category that has sold something.",
    )
    def weekly_models(
        context: dg.ScheduleEvaluationContext, warehouse: dg.ResourceParam[Warehouse]
    ) -> Iterator[dg.RunRequest | dg.SkipReason]:
        with warehouse.session() as session:
            rows = session.sql("SELECT DISTINCT category FROM interval_sales ORDER BY 1")
            sold = [category for (category,) in rows.fetchall()]
        if not sold:
            yield dg.SkipReason("no receipts yet")
        context.instance.add_dynamic_partitions(CATEGORIES.name or "", sold)
        for category in sold:
            yield dg.RunRequest(category, partition_key=category)

    return [nightly_ingest, weekly_models]


def day_ended(scheduled: datetime, settings: Settings) -> date:
    """The business day before the one that the scheduled local time is in."""
    local = scheduled.replace(tzinfo=None)  # by the clock on the wall: 23 and 25 hours are a day
    return (local - timedelta(hours=settings.day_starts_hour)).date() - timedelta(days=1)


def days_to_close(warehouse: Warehouse, ended: date) -> tuple[date, date] | None:
    """First and last day that the nightly run makes; None where nothing is left to do.

    Nights on which no scheduler ran are made up for, a month at most.
    """
    done = sorted(d for d in warehouse.day_files("trading_days") if d <= ended)
    if ended in done:
        late = any(first <= ended <= last for first, last in affected_ranges(warehouse))
        return (ended, ended) if late else None
    missed = done and ended - done[-1] < APART
    return (done[-1] + timedelta(days=1), ended) if missed else (ended, ended)


def cron(settings: Settings, after: timedelta, weekday: str) -> str:
    """A cron line for so long after the business day ends."""
    minutes = int(after.total_seconds()) // 60 + 60 * settings.day_starts_hour
    return f"{minutes % 60} {minutes // 60 % 24} * * {weekday}"
