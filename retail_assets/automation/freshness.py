"""From when on an asset is late, by how often it is made."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta

import dagster as dg

from retail_assets import contract
from retail_assets.automation import jobs
from retail_assets.automation.schedules import cron
from retail_assets.settings import Settings

EVENT = "on event"
"""What only an event brings is never late: a retailer without a sale owes no prices."""


def cadence(name: str) -> str:
    """How often an asset is made: daily, weekly, on landing or on event."""
    table = contract.tables().get(name)
    if table is None or table.by_day or name in jobs.STOCK:
        return "daily"
    if table.partition == "category":
        return "weekly"
    return "on landing" if name in jobs.REFERENCE else EVENT


def policies(settings: Settings) -> Mapping[str, dg.FreshnessPolicy]:
    """The policy of each cadence that has one.

    A day's tables are due six hours after the business day ends; the shortest day has 23
    hours. Reference tables are read again with every landed file, so they are late when no
    file came at all.
    """
    due = cron(settings, timedelta(hours=6), "*")
    return {
        "daily": dg.FreshnessPolicy.cron(due, timedelta(hours=23), timezone=settings.timezone),
        "weekly": dg.FreshnessPolicy.time_window(timedelta(days=9), timedelta(days=8)),
        "on landing": dg.FreshnessPolicy.time_window(timedelta(days=7), timedelta(days=3)),
    }
