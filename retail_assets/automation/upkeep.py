"""Weekly upkeep: the lake and Dagster's own history stay small while nobody looks.

What is deleted, and what never is, stands in retail_assets/maintenance.py.
"""

import dagster as dg

from retail_assets import maintenance as upkeep
from retail_assets.automation import switch
from retail_assets.automation.jobs import EXECUTOR
from retail_assets.partitions import DAYS
from retail_assets.warehouse import Warehouse


class Upkeep(dg.Config):
    """How much of the past stays."""

    grace_hours: int = upkeep.GRACE_HOURS
    keep_days: int = upkeep.KEEP_DAYS


@dg.op(description="Join small files, delete old versions, forget old runs and their logs.")
def tidy(
    context: dg.OpExecutionContext, config: Upkeep, warehouse: dg.ResourceParam[Warehouse]
) -> None:
    """One pass; a pass that is killed leaves nothing half done."""
    fewer = upkeep.compact(warehouse)
    runs = upkeep.forget_runs(context.instance, config.keep_days)
    context.add_output_metadata(
        {
            "files_joined": sum(fewer.values()),
            "logs_summed_up": upkeep.checkpoint(warehouse),
            "files_deleted": upkeep.sweep(warehouse, config.grace_hours),
            "runs_deleted": runs.deleted,
            "runs_kept_for_their_partitions": runs.kept,
        }
    )


@dg.job(
    executor_def=EXECUTOR,
    description="Weekly: compaction, vacuum with a grace period, retention of runs and logs.",
)
def maintenance() -> None:
    """One step."""
    tidy()


#: Sunday before dawn, business time: no receipts arrive and no model is fitted.
maintenance_schedule = dg.ScheduleDefinition(
    name="weekly_maintenance",
    job=maintenance,
    cron_schedule="30 4 * * 0",
    execution_timezone=DAYS.timezone,
    default_status=switch.SCHEDULES,
    description="Sunday 04:30, business time.",
)
