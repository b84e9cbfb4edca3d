"""Alerts: what failed, noted in the table ``alerts`` and told to a webhook.

The webhook's address is a secret: it is read from the environment when an alert is sent, and
nothing that names it is kept, logged or raised.
"""

from __future__ import annotations

import json
import os
import urllib.error
import urllib.request
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime, timedelta
from urllib.parse import urlsplit

import dagster as dg
import pyarrow as pa

from retail_assets.partitions import RANGE_END, RANGE_START
from retail_assets.warehouse import Warehouse

WEBHOOK_VARIABLE = "RETAIL_ASSETS_WEBHOOK"
TIMEOUT_SECONDS = 10
KEPT = timedelta(days=365)
LONGEST = 1000
ASSETS = "assets chosen in the UI"


@dataclass(frozen=True)
class Alert:
    """One row of ``alerts``."""

    alert_id: str
    raised_at: datetime
    kind: str
    job: str
    partition: str | None
    run_id: str
    step: str | None
    message: str
    sent: bool | None = None
    send_error: str | None = None


def alert_of(instance: dg.DagsterInstance, run: dg.DagsterRun) -> Alert:
    """What the log of a failed run says: the first step that failed, and its deepest cause."""
    steps = instance.all_logs(run.run_id, of_type=dg.DagsterEventType.STEP_FAILURE)
    ends = instance.all_logs(run.run_id, of_type=dg.DagsterEventType.RUN_FAILURE)
    entry = next(iter([*steps, *ends]), None)
    step, message = None, "the run ended without a message"
    if entry is not None and (event := entry.dagster_event) is not None:
        step, message = event.step_key, reason(event) or message
    first, last = run.tags.get(RANGE_START), run.tags.get(RANGE_END)
    when = ends[-1].timestamp if ends else entry.timestamp if entry else 0.0
    return Alert(
        alert_id=run.run_id,
        raised_at=datetime.fromtimestamp(when, UTC),
        kind="run_failed",
        job=ASSETS if run.job_name.startswith("__") else run.job_name,
        partition=f"{first}...{last}" if first else run.tags.get("dagster/partition"),
        run_id=run.run_id,
        step=step,
        message=message[:LONGEST],
    )


def reason(event: dg.DagsterEvent) -> str:
    """Why it failed, in one line: of a step its deepest cause, of a run what Dagster says."""
    failure = event.step_failure_data if event.is_step_failure else event.job_failure_data
    error = failure.error
    if error is None:
        return (event.message or "").split("\n")[0]
    while error.cause is not None:
        error = error.cause
    # "package.Error: what is wrong": people need the second half
    said = error.message.strip().split(f"{error.cls_name}: ", 1)[-1].splitlines() or [""]
    # The checks that failed are named on the lines after a colon.
    return " ".join(line.strip() for line in said) if said[0].endswith(":") else said[0]


def sent(alert: Alert) -> Alert:
    """The alert, told to the webhook where one is configured, with what became of that."""
    url = os.environ.get(WEBHOOK_VARIABLE)
    if not url:
        return alert
    error = _post(url, alert)
    return replace(alert, sent=error is None, send_error=error)


def _post(url: str, alert: Alert) -> str | None:
    """Why the webhook did not take it; messages that could quote the address are left out."""
    told = asdict(alert) | {"raised_at": alert.raised_at.isoformat(), "text": _text(alert)}
    del told["sent"], told["send_error"]
    try:
        if urlsplit(url).scheme not in ("http", "https"):
            return f"{WEBHOOK_VARIABLE} is not a http(s) address"
        request = urllib.request.Request(
            url, json.dumps(told).encode(), {"Content-Type": "application/json"}
        )
        with urllib.request.urlopen(request, timeout=TIMEOUT_SECONDS):  # nosec B310
            return None
    except urllib.error.HTTPError as error:
        return f"HTTP status {error.code}"
    except Exception as error:
        cause = getattr(error, "reason", error)
        return type(cause if isinstance(cause, Exception) else error).__name__


def _text(alert: Alert) -> str:
    """The line a chat shows."""
    what = f"{alert.job} of {alert.partition}" if alert.partition else alert.job
    return f"{what} failed: {alert.message}"


def note(warehouse: Warehouse, alerts: Sequence[Alert]) -> int:
    """Add alerts to the table, once each; a year of them is kept.

    Returns
    -------
    int
        Rows of the table.
    """
    with warehouse.session() as session:
        rows = pa.Table.from_pylist([asdict(alert) for alert in alerts], _SCHEMA)
        session.connection.register("new", rows)
        every = session.sql(
            "SELECT * FROM (FROM new UNION ALL BY NAME FROM alerts"
            " WHERE alert_id NOT IN (SELECT alert_id FROM new)) AS every"
            " WHERE raised_at > (SELECT max(raised_at) FROM (SELECT raised_at FROM new"
            " UNION ALL SELECT raised_at FROM alerts)) - to_days($kept) ORDER BY raised_at",
            {"kept": KEPT.days},
        ).to_arrow_table()
        return session.replace("alerts", session.connection.from_arrow(every))


def noted(warehouse: Warehouse) -> set[str]:
    """Alerts that are in the table."""
    with warehouse.session() as session:
        return {alert for (alert,) in session.sql("SELECT alert_id FROM alerts").fetchall()}


_SCHEMA = pa.schema(
    [
        ("alert_id", pa.string()),
        ("raised_at", pa.timestamp("us", "UTC")),
        ("kind", pa.string()),
        ("job", pa.string()),
        ("partition", pa.string()),
        ("run_id", pa.string()),
        ("step", pa.string()),
        ("message", pa.string()),
        ("sent", pa.bool_()),
        ("send_error", pa.string()),
    ]
)
