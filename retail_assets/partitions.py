"""How the graph is cut: business days, categories and sales. SKUs and stores are rows.

The first day comes from the settings of the home named by the environment, read once
when this module is imported; a code location is reloaded when it changes.
"""

from __future__ import annotations

from datetime import date

import dagster as dg

from retail_assets.settings import Settings

_settings = Settings.load()

DAYS = dg.DailyPartitionsDefinition(
    start_date=_settings.first_day.isoformat(),
    timezone=_settings.timezone,
    end_offset=1,  # today's receipts have a partition too
)

CATEGORIES = dg.DynamicPartitionsDefinition(name="category")

#: Sales that still need prices, registered from sale_events.
SALES = dg.DynamicPartitionsDefinition(name="sale")

RANGE_START, RANGE_END = "dagster/asset_partition_range_start", "dagster/asset_partition_range_end"
"""Tags of a run over a range of days; Dagster has no public names for them."""


def days_of(context: dg.AssetExecutionContext) -> tuple[date, date]:
    """First and last business day of the run's partition or range."""
    keys = context.partition_key_range
    return date.fromisoformat(keys.start), date.fromisoformat(keys.end)
