"""Business rules of pricing: 300,000 candidate prices judged in DuckDB, and by plain Python.

The table is the source's own twelve rows (slide "Sample Rules"); CPU seconds of this process,
one thread, with the rows in a DuckDB table and the verdicts fetched.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Mapping
from fractions import Fraction
from pathlib import Path
from typing import Any

from bench import Row, at_most
from retail_assets.assets.price_rules import evaluate
from retail_assets.models.pricing.decision_table import DecisionTable, parse
from retail_assets.models.pricing.table_rows import COLUMNS
from retail_assets.settings import Settings
from retail_assets.warehouse import Session, Warehouse

VARIABLES = (
    ("discount_from_msrp_pct", ">="),
    ("difference_from_original_pct", "<="),
    ("margin_pct", ">="),
    ("sell_through_pct", ">="),
)
SALES = (
    ("initial", "=", "0", ("20", "40", "40", "20")),
    ("repeat", ">=", "1", ("20", "40", "30", "20")),
    ("exit", ">=", "10", ("60", "40", "5", "40")),
)


def rows(quick: bool) -> list[Row]:
    """The rules' rows of the table of claims."""
    count, sample = (30_000, 3_000) if quick else (300_000, 20_000)
    table = source_table()
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        with Warehouse(Settings(home=home, landing=home)).session() as session:
            session.execute("SET threads = 1")
            random_candidates(session, count, distinct=count // 10)
            _judge(session, table)  # warm-up
            started = time.process_time()
            legal = _judge(session, table)
            cpu = time.process_time() - started
            wrong, slow = _against_python(session, table, sample)
    return [
        at_most(f"{count:,} candidates x {len(table.rules)} rules in DuckDB: CPU s", cpu, 1.0),
        Row("  share of them legal", legal / count),
        at_most(f"  verdicts that differ from plain Python ({sample:,} rows)", wrong, 0),
        Row(f"  plain Python for {count:,} rows: CPU s, from the sample", slow * count / sample),
    ]


def source_table() -> DecisionTable:
    """The source's twelve rules; later rows override earlier ones."""
    written = [
        [f"{sale}_{variable}", op, exposures, variable, sign, value]
        for sale, op, exposures, values in SALES
        for (variable, sign), value in zip(VARIABLES, values, strict=True)
    ]
    return parse(list(enumerate([list(COLUMNS), *written], start=1)))


def random_candidates(session: Session, count: int, distinct: int) -> None:
    """``candidates``: items with ten prices each, many exactly at a limit; seed 1."""
    session.execute("SELECT setseed(0.1)")
    session.execute(
        """
        CREATE OR REPLACE TEMP TABLE candidates AS
        WITH items AS MATERIALIZED (
            SELECT 'item_' || i AS product_id, (random() * 14)::BIGINT AS exposures,
                   500 + 5 * (random() * 2000)::BIGINT AS msrp_cents,
                   0.6 + 0.4 * random() AS original_share, 0.2 + 0.4 * random() AS cost_share
            FROM range($distinct) t(i)
        )
        SELECT product_id, exposures, msrp_cents,
               (msrp_cents * original_share)::BIGINT AS original_price_cents,
               (msrp_cents * cost_share)::BIGINT AS unit_cost_cents,
               (msrp_cents * (0.3 + 0.1 * (k % 10)) / (1 + k // 10))::BIGINT AS price_cents,
               (random() * 20)::BIGINT / 20 AS sell_through
        FROM items, range($prices) p(k)
        """,
        {"distinct": distinct, "prices": count // distinct},
    )


def _judge(session: Session, table: DecisionTable) -> int:
    """Fetch every verdict; how many are legal."""
    found = evaluate(session, table, "candidates").project("broken_rules, legal")
    return int(found.to_arrow_table()["legal"].to_numpy().sum())


def _against_python(session: Session, table: DecisionTable, sample: int) -> tuple[int, float]:
    """Verdicts that differ on a sample, and the twin's CPU seconds."""
    session.execute(
        "CREATE OR REPLACE TEMP TABLE sampled AS"
        f" SELECT * FROM candidates USING SAMPLE reservoir({sample} ROWS) REPEATABLE (1)"
    )
    judged = evaluate(session, table, "sampled")
    lines = [dict(zip(judged.columns, line, strict=True)) for line in judged.fetchall()]
    started = time.process_time()
    twin = [broken_by_hand(line) for line in lines]
    cpu = time.process_time() - started
    return sum(a != b["broken_rules"] for a, b in zip(twin, lines, strict=True)), cpu


def broken_by_hand(line: Mapping[str, Any]) -> list[str]:
    """Walk down the source's rows for one candidate, in exact fractions; the last row wins."""
    price, exposures = line["price_cents"], line["exposures"]
    measured = {
        "discount_from_msrp_pct": Fraction(100 * (line["msrp_cents"] - price), line["msrp_cents"]),
        "difference_from_original_pct": Fraction(
            100 * abs(price - line["original_price_cents"]), line["original_price_cents"]
        ),
        "margin_pct": Fraction(100 * (price - line["unit_cost_cents"]), price),
        "sell_through_pct": 100 * Fraction(line["sell_through"]).limit_denominator(1000),
    }
    last: dict[str, tuple[str, str, int]] = {}
    for sale, op, at, values in SALES:
        if exposures == int(at) or (op == ">=" and exposures > int(at)):
            for (variable, sign), value in zip(VARIABLES, values, strict=True):
                last[variable] = (f"{sale}_{variable}", sign, int(value))
    return [
        rule
        for variable, (rule, sign, value) in last.items()
        if (measured[variable] < value if sign == ">=" else measured[variable] > value)
    ]
