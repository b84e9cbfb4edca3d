"""A thousand days of receipts asked for as one backfill, and where its time goes.

Days are many and thin, so that Dagster's book-keeping outweighs the work: bench/ingest_jobs.py
measures it within one process, here are the daemon, the queue and a history on disk.
"""

from __future__ import annotations

import time
from collections import Counter
from datetime import date, timedelta
from pathlib import Path
from typing import Any

from bench import Row, at_least, at_most, ingest_jobs
from retail_assets.automation.jobs import DAILY
from retail_assets.settings import Settings
from retail_assets_tests.e2e import small_shop
from retail_assets_tests.e2e.memory import watched
from retail_assets_tests.e2e.small_shop import Served, graphql, materializations, wait_for

DAYS, LINES = 1_000, 100_000
MEMORY_BOUND = 0.2
BACKFILL = """
query ($id: String!) { partitionBackfillOrError(backfillId: $id) {
  ... on PartitionBackfill { status timestamp endTimestamp } } }"""
LOGS = """
query ($run: ID!, $cursor: String) { logsForRun(runId: $run, afterCursor: $cursor, limit: 1000) {
  ... on EventConnection { cursor hasMore events {
    __typename ... on MessageEvent { timestamp stepKey eventType } } } } }"""


def backfill(home: Path) -> list[Row]:
    """The table of one backfill."""
    ingest_jobs.generate(home / "landing", LINES, files=10, days=DAYS)
    first = date.fromisoformat(ingest_jobs.FIRST_DAY)
    days = [str(first + timedelta(days=n)) for n in range(DAYS)]
    Settings(home, home / "landing").save(first_day=first, quiet_seconds=0)
    with small_shop.served(home) as shop, watched(home, 2) as memory:
        launch = ("-m", "dagster", "job", "launch", "-w", "workspace.yaml", "-j", "references")
        small_shop.command(home, *launch)
        shop.finished(0, 1)
        began = time.monotonic()
        key = small_shop.launch_backfill(shop.url, DAILY, days)
        launched = time.monotonic() - began
        ended = wait_for("backfill", lambda: _ended(shop, key), shop.log, 1800)
        took = ended["endTimestamp"] - ended["timestamp"]
        time.sleep(20)
        rows = [
            Row("days of five assets asked for at once", DAYS),
            Row("  status", ended["status"], "", ended["status"] == "COMPLETED_SUCCESS"),
            Row("seconds to take the order", launched),
            Row("seconds from order to end", took),
            *_runs(shop),
            *_events(shop, days),
        ]
    return rows + memory.rows(MEMORY_BOUND)


def _ended(shop: Served, key: str) -> dict[str, Any] | None:
    found = graphql(shop.url, BACKFILL, id=key)["partitionBackfillOrError"]
    return None if found["status"] in ("REQUESTED", "FAILING") else found


def _runs(shop: Served) -> list[Row]:
    """Runs, and the seconds of each kind in them.

    An asset's body returns before its first event is written, and what a step does after
    that is book-keeping; so is whatever lies between the steps.
    """
    found = [run for run in small_shop.runs(shop.url) if "dagster/backfill" in run["tags"]]
    work = total = asked = events = 0.0
    for run in found:
        log = _log(shop.url, run["runId"])
        events += len(log)
        total += log[-1][0] - log[0][0]
        asked += next(at for at, _, kind in log if kind == "STEP_START") - log[0][0]
        for step in {step for _, step, _ in log if step}:
            own = [(at, kind) for at, of, kind in log if of == step]
            start = next(at for at, kind in own if kind == "STEP_START")
            first = next(at for at, kind in own if kind == "STEP_OUTPUT" and at >= start)
            work += first - start
    return [
        at_most("runs", len(found), 1),
        Row("  events in their logs", events),
        Row("  seconds", total),
        Row("    in the bodies of the assets: the work", work),
        Row("    book-keeping", total - work),
        Row("      of it before the first step", asked),
        Row("    book-keeping, milliseconds a day and asset", 1e3 * (total - work) / DAYS / 5),
    ]


def _log(url: str, run: str) -> list[tuple[float, str | None, str]]:
    """Seconds, step and kind of each event of a run."""
    events: list[tuple[float, str | None, str]] = []
    cursor, more = None, True
    while more:
        page = graphql(url, LOGS, run=run, cursor=cursor)["logsForRun"]
        events += [
            (float(e["timestamp"]) / 1e3, e["stepKey"], str(e["eventType"])) for e in page["events"]
        ]
        cursor, more = page["cursor"], page["hasMore"]
    return events


def _events(shop: Served, days: list[str]) -> list[Row]:
    """Each day of each asset was made once, and Dagster remembers it."""
    found = Counter((name, day) for name, day, _ in materializations(shop.url, DAILY))
    owed = [(name, day) for name in DAILY for day in days]
    return [
        at_least("materializations remembered", sum(found[of] > 0 for of in owed), len(owed)),
        at_most("  twice", found.total() - len(found), 0),
    ]
