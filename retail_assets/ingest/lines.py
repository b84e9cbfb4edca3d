"""``pos_lines`` and ``pos_quarantine``: receipt lines typed and judged.

Every line of ``raw_pos`` goes to exactly one of the two; a rejected one names every
reason. Derived here: the instant from local time and the store's zone, the kind of
line from the sign of its quantity, the net amount from price, quantity and discount,
the line number from the order within the receipt.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date

import duckdb

from retail_assets.ingest.intervals import create_given_hours
from retail_assets.ingest.mapping import POS, columns_of, required_of
from retail_assets.ingest.times import EARLIEST, business_day, instant, timestamp
from retail_assets.settings import Settings
from retail_assets.warehouse import Session

CHUNK_ROWS = 2_000_000
"""Days are judged together up to so many lines: about 300 MB of DuckDB's memory."""

Days = tuple[date, date]

OPTIONAL_NUMBERS = {
    "line_number": "line",
    "net_amount": "net",
    "discount_amount": "discount",
}


@dataclass(frozen=True)
class LinesReport:
    """What became of the lines of some days."""

    landed: int
    quarantined: int
    reasons: dict[str, int] = field(default_factory=dict)
    warnings: dict[str, int] = field(default_factory=dict)

    @property
    def share_quarantined(self) -> float:
        return self.quarantined / max(1, self.landed + self.quarantined)


def write_pos_lines(session: Session, days: Days) -> LinesReport:
    """Replace the days of ``pos_lines`` and ``pos_quarantine``.

    Two commits, quarantine last: a run that dies between them is repaired by the next.
    """
    create_given_hours(session, days)
    with (
        session.staging("pos_lines", days) as lines,
        session.staging("pos_quarantine", days) as quarantine,
    ):
        for chunk in chunks(session, POS, days, CHUNK_ROWS):
            judged = judge(session, chunk)
            lines.add(session.sql(judged.lines))
            quarantine.add(session.sql(judged.quarantine))
        landed = lines.commit()
        rejected = quarantine.commit()
        reasons = _tally(session.connection, quarantine.staged, "reasons") if rejected else {}
        warnings = _tally(session.connection, lines.staged, "warnings") if landed else {}
    return LinesReport(landed, rejected, reasons, warnings)


def _tally(connection: duckdb.DuckDBPyConnection, source: str, column: str) -> dict[str, int]:
    return dict(
        connection.sql(
            f"SELECT why, count(*) FROM (SELECT unnest({column}) AS why FROM {source})"
            " GROUP BY ALL ORDER BY 2 DESC, 1"
        ).fetchall()
    )


def chunks(session: Session, table: str, days: Days, rows: int) -> list[Days]:
    """Cut days into ranges of at most ``rows`` rows each (one day at least)."""
    counts = session.sql(
        f"SELECT business_date, count(*) FROM {table} WHERE {between(days)}"
        " GROUP BY ALL ORDER BY ALL"
    ).fetchall()
    found: list[Days] = []
    total = 0
    for day, count in counts:
        if found and total + count <= rows:
            found[-1] = (found[-1][0], day)
            total += count
        else:
            found.append((day, day))
            total = count
    return found


def between(days: Days) -> str:
    """SQL condition for rows of these business days."""
    return f"business_date BETWEEN DATE '{days[0]}' AND DATE '{days[1]}'"


@dataclass(frozen=True)
class Judged:
    """SELECTs of the valid and of the rejected lines of some days."""

    lines: str
    quarantine: str


def judge(session: Session, days: Days) -> Judged:
    """Type and judge the lines of ``raw_pos`` on these days."""
    settings = session.warehouse.settings
    typed = _typed(settings, days)
    reasons = _reasons(settings)
    valid = " AND ".join(f"NOT ({test})" for test in reasons.values())
    doubled = ""
    if _find_doubled(session, typed, valid, days):
        doubled = "(source_file, source_row) IN (SELECT source_file, source_row FROM doubled)"
        reasons = {**reasons, "duplicate line key": doubled}
        valid = f"{valid} AND NOT {doubled}"
    numbered = _numbered(session, typed, days)
    return Judged(_valid_lines(numbered, valid), _rejected_lines(typed, valid, reasons))


def _typed(settings: Settings, days: Days) -> str:
    """Raw lines with their values read; NULL where a text cannot be read."""
    return f"""
        SELECT r.*, {timestamp("r.sold_at")} AS local,
            try_cast(r.quantity AS DOUBLE) AS q,
            try_cast(r.unit_price AS DECIMAL(18,4)) AS price,
            try_cast(r.net_amount AS DECIMAL(18,4)) AS net,
            try_cast(r.discount_amount AS DECIMAL(18,4)) AS discount,
            try_cast(r.line_number AS BIGINT) AS line,
            coalesce(lower(trim(r.line_type)), CASE WHEN q < 0 THEN 'return' ELSE 'sale' END)
                AS kind,
            p.category, p.product_id IS NOT NULL AS product_known,
            s.timezone AS zone
        FROM (SELECT * FROM raw_pos WHERE {between(days)}) r
        LEFT JOIN products p ON p.product_id = r.product_id
        LEFT JOIN stores s ON s.store_id = r.store_id"""


def _reasons(settings: Settings) -> dict[str, str]:
    """Reason -> SQL condition, never NULL, over the rows of ``_typed``."""
    day = business_day("local", settings)
    read = "problem IS NULL"
    reasons = {
        f"missing value: {column}": f"{read} AND coalesce(trim({column}), '') = ''"
        for column in required_of(POS)
    }
    reasons |= {
        "unparsable time: sold_at": f"{read} AND trim(sold_at) <> '' AND local IS NULL",
        "unparsable number: quantity": f"{read} AND trim(quantity) <> ''"
        " AND (q IS NULL OR NOT isfinite(q))",
        "unparsable number: unit_price": f"{read} AND trim(unit_price) <> '' AND price IS NULL",
    }
    reasons |= {
        f"unparsable number: {column}": f"{read} AND trim({column}) <> '' AND {value} IS NULL"
        for column, value in OPTIONAL_NUMBERS.items()
    }
    reasons |= {
        "unknown product": f"{read} AND trim(product_id) <> '' AND NOT product_known",
        "unknown store": f"{read} AND trim(store_id) <> '' AND zone IS NULL",
        "unknown line type": f"{read} AND kind NOT IN ('sale', 'return', 'void')",
        "future date": f"{read} AND {day} > business_date",
        "implausible date": f"{read} AND {day} < DATE '{EARLIEST}'",
        "negative price": f"{read} AND price < 0",
        "quantity 0": f"{read} AND q = 0",
        "amount too large": f"{read} AND isfinite(q) AND price IS NOT NULL"
        " AND coalesce(net, try_cast(q * price - coalesce(discount, 0) AS DECIMAL(18,4))) IS NULL",
    }
    reasons = {why: f"coalesce({test}, false)" for why, test in reasons.items()}
    return {"": "problem IS NOT NULL", **reasons}


def _find_doubled(session: Session, typed: str, valid: str, days: Days) -> bool:
    """Fill temp table ``doubled``: all but one of the lines with the same key.

    The one that stays is the first valid one by file name and line. Hashes find the
    few candidates (0.2 CPU s per million lines); only those are compared in full.
    """
    key = "business_date, store_id, transaction_id, line"
    raw_key = "hash(business_date, store_id, transaction_id, try_cast(line_number AS BIGINT))"
    session.execute(
        f"""CREATE OR REPLACE TEMP TABLE candidate AS SELECT {raw_key} AS h FROM raw_pos
        WHERE {between(days)} AND line_number IS NOT NULL AND problem IS NULL
        GROUP BY ALL HAVING count(*) > 1"""
    )
    if not session.connection.sql("SELECT 1 FROM candidate LIMIT 1").fetchall():
        return False
    session.execute(
        f"""CREATE OR REPLACE TEMP TABLE doubled AS SELECT source_file, source_row FROM (
            SELECT source_file, source_row, row_number() OVER (PARTITION BY {key}
                ORDER BY ({valid}) DESC, source_file, source_row) AS nth
            FROM ({typed}) WHERE {raw_key} IN (SELECT h FROM candidate)
                AND line IS NOT NULL AND transaction_id IS NOT NULL AND store_id IS NOT NULL
        ) WHERE nth > 1"""
    )
    return bool(session.connection.sql("SELECT 1 FROM doubled LIMIT 1").fetchall())


def _numbered(session: Session, typed: str, days: Days) -> str:
    """Lines with a number each; counting within receipts only where some have none."""
    some = session.sql(
        f"SELECT 1 FROM raw_pos WHERE {between(days)} AND line_number IS NULL"
        " AND problem IS NULL LIMIT 1"
    ).fetchall()
    number = "line"
    if some:
        number = (
            "coalesce(line, row_number() OVER (PARTITION BY business_date, store_id,"
            " transaction_id ORDER BY source_file, source_row))"
        )
    return f"SELECT *, {number} AS nth_line FROM ({typed})"


def _valid_lines(numbered: str, valid: str) -> str:
    warnings = {
        "outside trading hours": "h.store_id IS NOT NULL AND (h.open_at IS NULL"
        f" OR {instant('zone', 'local')} < h.open_at OR {instant('zone', 'local')} >= h.close_at)",
        "return with a positive quantity": "kind = 'return' AND q > 0",
        "sale with a negative quantity": "kind = 'sale' AND q < 0",
    }
    odd = " OR ".join(warnings.values())
    listed = ", ".join(f"CASE WHEN {test} THEN '{why}' END" for why, test in warnings.items())
    quantity = "CASE WHEN kind = 'return' THEN -abs(q) ELSE q END"
    return f"""
        SELECT l.transaction_id, nth_line AS line_number, l.store_id,
            {instant("zone", "local")} AS sold_at, l.business_date, l.product_id, category,
            {quantity} AS quantity, price AS unit_price,
            coalesce(net, try_cast({quantity} * price - coalesce(discount, 0) AS DECIMAL(18,4)))
                AS net_amount,
            discount AS discount_amount,
            CASE WHEN kind = 'sale' AND q < 0 THEN 'return' ELSE kind END AS line_type,
            promo_id, customer_id, register_id, channel,
            CASE WHEN {odd} THEN list_filter([{listed}], lambda w: w IS NOT NULL) END AS warnings,
            source_file, source_row
        FROM (SELECT * FROM ({numbered}) WHERE {valid}) l
        LEFT JOIN given_hours h ON h.store_id = l.store_id AND h.business_date = l.business_date"""


def _rejected_lines(typed: str, valid: str, reasons: dict[str, str]) -> str:
    named = ", ".join(
        f"CASE WHEN {test} THEN {'problem' if not why else repr(why)} END"
        for why, test in reasons.items()
    )
    fields = ", ".join(f"'{c.name}', {c.name}" for c in columns_of(POS))
    unread = "coalesce(transaction_id, sold_at, product_id, quantity, unit_price) IS NULL"
    return f"""
        SELECT t.business_date, t.source_file, t.source_row,
            CASE WHEN problem IS NOT NULL AND {unread} THEN t.payload
                ELSE json_merge_patch('{{}}', json_object({fields}), coalesce(t.payload, '{{}}'))
                    ::VARCHAR END AS payload,
            list_filter([{named}], lambda r: r IS NOT NULL) AS reasons,
            coalesce(f.seen_at, t.business_date::TIMESTAMPTZ) AS ingested_at
        FROM (SELECT * FROM ({typed}) WHERE NOT ({valid})) t
        LEFT JOIN landing_files f ON f.file = t.source_file AND f.version = t.source_version"""
