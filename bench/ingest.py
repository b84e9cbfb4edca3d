"""Ingest against the same job in pandas, side by side in one run.

Generates receipts in a temporary folder, then runs ours and pandas (ingest_pandas.py says
what exactly it does, over whole frames and cut by hand into days) in processes of their own
and compares CPU seconds, threads included, and peak memory. Prints the cost of Dagster's
book-keeping for a 730-day backfill apart from the work, and the figures of the real input
where it is (ingest_real.py). The jobs are in ingest_jobs.py.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from bench import Row, at_most, ingest_real
from bench.ingest_jobs import generate, measure


def run(*, quick: bool, large: bool) -> list[Row]:
    """The table of this bench; ``large``: 100 M lines, ours only."""
    with tempfile.TemporaryDirectory(prefix="retail-assets-bench-") as folder:
        work = Path(folder)
        lines = 100_000_000 if large else 1_000_000 if quick else 10_000_000
        landing = generate(work / "landing", lines, files=100, days=100)
        ours = measure("bench.ingest_jobs.ours", landing, work / "home")
        rows = _sizes(lines, ours)
        if not large:
            whole = measure("bench.ingest_pandas.whole", landing, work / "pandas")
            by_day = measure("bench.ingest_pandas.by_day", landing, work / "pandas-by-day")
            again = measure("bench.ingest_jobs.ours", landing, work / "home-again")
            rows += _against_pandas((ours, again), whole, by_day)
            rows += _backfill(work, 60 if quick else 730)
            rows += ingest_real.rows(work)
        return rows


def _sizes(lines: int, ours: dict[str, Any]) -> list[Row]:
    steps = [Row(f"  {step}, CPU s", value) for step, value in ours["steps"].items()]
    return [
        Row("receipt lines", lines),
        Row("  landed", ours["landed"]),
        Row("  quarantined", ours["quarantined"]),
        Row("landed + quarantined = lines", str(ours["landed"] + ours["quarantined"] == lines),
            "True", ours["landed"] + ours["quarantined"] == lines),
        Row("rows of interval_sales", ours["intervals"]),
        Row("file to interval_sales, CPU s", ours["cpu"]),
        *steps,
        Row("file to interval_sales, wall s", ours["wall"]),
        at_most("peak memory, GB", ours["gigabytes"], 1.0),
    ]  # fmt: skip


def _against_pandas(
    runs: tuple[dict[str, Any], dict[str, Any]], whole: dict[str, Any], by_day: dict[str, Any]
) -> list[Row]:
    """Ours is run before and after, and the mean counts: other load on the machine drifts."""
    ours = runs[0]
    cpu = (runs[0]["cpu"] + runs[1]["cpu"]) / 2
    counted = ("landed", "quarantined", "intervals", "net_cents")
    same = all(ours[k] == whole[k] == by_day[k] for k in counted)
    return [
        Row("ours again afterwards, CPU s", runs[1]["cpu"]),
        Row("the same in pandas, CPU s", whole["cpu"]),
        Row("  peak memory, GB", whole["gigabytes"]),
        Row("the same in pandas, cut into days by hand, CPU s", by_day["cpu"]),
        Row("  peak memory, GB", by_day["gigabytes"]),
        Row("all three count the same", str(same), "True", same),
        at_most("CPU, ours / pandas", cpu / whole["cpu"], 1 / 3),
        Row("CPU, ours / pandas cut into days", cpu / by_day["cpu"]),
    ]


def _backfill(work: Path, days: int) -> list[Row]:
    landing = generate(work / "days", days * 1000, files=max(1, days // 20), days=days)
    found = measure("bench.ingest_jobs.backfill", landing, work / "days-home")
    return [
        Row("backfill in one run, days", found["days"]),
        Row("  lines", days * 1000),
        Row("  work, CPU s", found["work"]),
        Row("  Dagster's book-keeping, CPU s", found["book_keeping"]),
        Row("  book-keeping per day, CPU s", found["book_keeping"] / found["days"]),
    ]
