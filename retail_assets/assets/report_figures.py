"""The headline figures of each report: kept, so that the next report can say what changed."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime, timedelta

import pyarrow as pa

from retail_assets.report.page.figures import Figure
from retail_assets.warehouse import Session

KEPT = timedelta(days=366)

_LATEST = """
SELECT figure, about, value, lo, hi FROM report_figures
WHERE made_at = (SELECT max(made_at) FROM report_figures)
"""

_EVERY = """
SELECT * FROM (FROM new UNION ALL BY NAME FROM report_figures) AS every
WHERE made_at > (SELECT max(made_at) FROM new) - to_days($kept)
ORDER BY made_at, figure, about
"""


def keep(session: Session, figures: Sequence[Figure]) -> int:
    """Add the figures of this report, unless all of them are those of the last one.

    Returns
    -------
    int
        Rows of the table.
    """
    had = set(session.sql(_LATEST).fetchall())
    new = {(f.figure, f.about, f.value, f.lo, f.hi) for f in figures}
    if new == had:
        ((rows,),) = session.sql("SELECT count(*) FROM report_figures").fetchall()
        return int(rows)
    ((as_of,),) = session.sql("SELECT max(business_date) FROM interval_sales").fetchall()
    told = {
        "made_at": datetime.now(UTC),
        "as_of": as_of or datetime.now(UTC).date(),
        "versions": json.dumps(dict(sorted(session.versions.items()))),
    }
    rows = pa.Table.from_pylist([asdict(figure) | told for figure in figures], _SCHEMA)
    session.connection.register("new", rows)
    every = session.sql(_EVERY, {"kept": KEPT.days}).to_arrow_table()
    return session.replace("report_figures", session.connection.from_arrow(every))


_SCHEMA = pa.schema(
    [
        ("made_at", pa.timestamp("us", "UTC")),
        ("figure", pa.string()),
        ("about", pa.string()),
        ("label", pa.string()),
        ("unit", pa.string()),
        ("value", pa.float64()),
        ("lo", pa.float64()),
        ("hi", pa.float64()),
        ("level", pa.float64()),
        ("as_of", pa.date32()),
        ("versions", pa.string()),
    ]
)
