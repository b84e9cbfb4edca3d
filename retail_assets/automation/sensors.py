"""The landing sensor: what lies in the folder decides which run is asked for.

Cursor and run keys come from content, never from a clock: a touched file, a replay or
a restart asks for nothing twice. A half-written file waits. One run per tick: the
reference tables when the folder differs from ``landing_files``, else, and in turn where
files never stop coming, the receipts of the days that differ. What differs is decided by
``ingest.landing``.
"""

import hashlib
import json
from datetime import date

import dagster as dg

from retail_assets.automation import jobs, switch
from retail_assets.ingest import landing
from retail_assets.partitions import DAYS, RANGE_END, RANGE_START
from retail_assets.warehouse import Warehouse


@dg.sensor(
    jobs=[jobs.references, jobs.ingest],
    minimum_interval_seconds=30,
    default_status=switch.SENSORS,
    description="Watches the landing folder and asks for the runs that new content needs.",
)
def landing_sensor(
    context: dg.SensorEvaluationContext, warehouse: dg.ResourceParam[Warehouse]
) -> dg.SensorResult | dg.SkipReason:
    """At most one run per tick."""
    folder = landing.fingerprint(warehouse.settings)
    before = json.loads(context.cursor or "{}")
    if before.get("settled") == folder:
        return dg.SkipReason("nothing new in the landing folder")
    with warehouse.session() as session:
        new, waiting = landing.news(session)
        version = session.versions.get("landing_files", -1)
    ranges = landing.affected_ranges(warehouse)
    # Where a file comes between any two ticks, receipts would never be next.
    their_turn = ranges and str(before.get("asked")).startswith("references")
    if new and not their_turn:
        # The version makes a file that came back to a former content a new request.
        return _ask("references", f"references-{content_hash(*new)}-{version}", {}, folder)
    if ranges:
        first, last = ranges[0]
        if not _is_cut(first) or not _is_cut(last):
            return dg.SkipReason(f"{first} is before the first day: reload the code location")
        tags = {RANGE_START: str(first), RANGE_END: str(last)}
        return _ask("ingest", f"ingest-{version}-{first}-{last}", tags, folder)
    if waiting:
        return dg.SkipReason(f"{waiting} files are still arriving")
    return dg.SensorResult(
        skip_reason="landing folder and tables agree", cursor=json.dumps({"settled": folder})
    )


def _ask(job: str, key: str, tags: dict[str, str], folder: str) -> dg.SensorResult:
    request = dg.RunRequest(run_key=key, job_name=job, tags=tags)
    return dg.SensorResult([request], cursor=json.dumps({"asked": key, "folder": folder}))


def content_hash(*content: str) -> str:
    """Short name of some texts, for run keys: the same content, the same key."""
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()[:16]


def _is_cut(day: date) -> bool:
    return DAYS.has_partition_key(day.isoformat())
