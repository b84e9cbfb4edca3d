"""What the very first scan says about a retailer, before any table exists.

The settings need the first business day and the time zone before Dagster can name a
partition; both are read from the files themselves.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date

from retail_assets.errors import LandingError
from retail_assets.ingest.landing import scan, wait_until_quiet
from retail_assets.ingest.mapping import POS
from retail_assets.ingest.reference import landed_rows
from retail_assets.settings import Settings
from retail_assets.warehouse import Warehouse


@dataclass(frozen=True)
class Found:
    """What the first scan says about a retailer."""

    first_day: date
    timezone: str


def first_day_and_timezone(settings: Settings) -> Found:
    """First day of the landed receipts or style trials, and the time zone most stores are in.

    Raises
    ------
    LandingError
        When not one file of receipts can be read, nor one of style trials: the first reason.
    """
    wait_until_quiet(settings)
    with Warehouse(settings).session() as session:
        files = scan(session)
        days = [f.first_day for f in files if f.state == "landed" and f.first_day]
        if not days:
            failed = [f for f in files if f.state == "failed" and f.table_name in (POS, None)]
            if failed:
                raise LandingError(str(failed[0].error).partition(": ")[2], file=failed[0].file)
            trials = landed_rows(session, "style_trials", files, "date")
            # A retailer with stylists may have no till at all.
            days = [date.fromisoformat(str(d)) for d in trials]
        if not days:
            what = "no receipts have landed"
            raise LandingError(what, file=str(settings.landing), remedy="put files under pos/")
        zones = landed_rows(session, "stores", files, "timezone")
    common = max(sorted(set(zones)), key=zones.count) if zones else settings.timezone
    return Found(min(days), common)
