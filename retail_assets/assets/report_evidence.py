"""What Dagster remembers of earlier runs and the report shows: proof plots, results of checks."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

import dagster as dg

CHECKS_LOOKED_AT = 1000
"""Newest evaluations; the demo has 79."""
_PNG = re.compile(r"\((data:image/png;base64,[A-Za-z0-9+/=]+)\)")


def proof_plots(instance: dg.DagsterInstance, sales: Iterable[str]) -> dict[str, str]:
    """The plot of each sale's proof as a data URI, from the run that proved it."""
    found = {}
    for sale in sales:
        records = instance.fetch_materializations(
            dg.AssetRecordsFilter(dg.AssetKey("price_certificates"), asset_partitions=[sale]),
            limit=1,
        ).records
        for record in records:
            done = record.asset_materialization
            proof = None if done is None else done.metadata.get("proof")
            png = _PNG.search(str(proof.value)) if proof is not None else None
            if png:
                found[sale] = png.group(1)
    return found


def checks(instance: dg.DagsterInstance) -> list[dict[str, Any]]:
    """The newest result of each asset check, per partition."""
    records = instance.event_log_storage.get_event_records(
        dg.EventRecordsFilter(event_type=dg.DagsterEventType.ASSET_CHECK_EVALUATION),
        limit=CHECKS_LOOKED_AT,
    )
    newest: dict[tuple[str, str, str | None], dict[str, Any]] = {}
    for record in records:  # the newest first
        event = record.event_log_entry.dagster_event
        if event is None:
            continue
        said: Any = event.event_specific_data
        row = {
            "asset": said.asset_key.to_user_string(),
            "check": said.check_name,
            "partition": said.partition,
            "passed": said.passed,
            "severity": said.severity.value.lower(),
        }
        newest.setdefault((row["asset"], row["check"], row["partition"]), row)
    return sorted(
        newest.values(), key=lambda row: (row["asset"], row["check"], row["partition"] or "")
    )
