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

from retail_assets.errors import ContractError
from retail_assets.ingest.intervals import create_given_hours
from retail_assets.ingest.mapping import POS, columns_of, required_of
from retail_assets.ingest.times import EARLIEST, business_day, instant, timestamp
from retail_assets.settings import Settings
from retail_assets.warehouse import Session

BLOCK_ROWS = 500_000
"""Small days are judged together up to so many lines: about 100 MB of DuckDB's memory."""

PASS_ROWS = 2_000_000
"""Doubled and rejected lines are looked for in passes of so many lines."""

ONE_THREAD = "SET threads = 1"
"""A busy day is one row group, which one thread reads; a second costs 7 % of the CPU and saves
8 % of the time. Parallelism is several runs."""

BUSY_DAY = 40_000
"""A day with so many lines is a block of its own, written as one file (staging.py)."""

Days = tuple[date, date]

QUANTITY = "CASE WHEN kind = 'return' THEN -abs(q) ELSE q END"
AMOUNT = f"coalesce(net, try_cast({QUANTITY} * price - coalesce(discount, 0) AS DECIMAL(18,4)))"

FREE_TEXTS = {"promo_id", "customer_id", "register_id", "channel", "discount_amount"}
"""Columns of pos_lines that are null where the raw ones are."""

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
    session.execute(ONE_THREAD)
    create_given_hours(session, days)
    _create_known(session)
    with (
        session.staging("pos_lines", days, keyed=False) as lines,
        session.staging("pos_quarantine", days) as quarantine,
    ):
        raw_rows = 0
        for some in blocks(session, POS, days, PASS_ROWS, PASS_ROWS):
            judge = Judge.of(session, some.days)
            valid = sum(
                lines.add(
                    judge.lines(session, block.days),
                    block.day,
                    session.absent(POS, block.days) & FREE_TEXTS,
                )
                for block in blocks(session, POS, some.days)
            )
            if valid < some.rows:
                quarantine.add(judge.rejected())
            raw_rows += some.rows
        if lines.rows + quarantine.rows != raw_rows:
            # Stands for the comparison of keys: no line is lost, none is there twice.
            what = f"{lines.rows} valid and {quarantine.rows} rejected of {raw_rows} lines"
            raise ContractError("pos_lines", [what])
        landed = lines.commit()
        rejected = quarantine.commit()
        reasons = _tally(session.connection, quarantine.staged, "reasons") if rejected else {}
        warnings = _tally(session.connection, lines.staged, "warnings") if landed else {}
    return LinesReport(landed, rejected, reasons, warnings)


def _create_known(session: Session) -> None:
    """Temp tables of what lines are judged by, read once and not once per block."""
    for name, query in {
        "known_products": "SELECT product_id, category FROM products",
        "known_stores": "SELECT store_id, timezone AS zone FROM stores",
        "arrivals": "SELECT file, version, seen_at FROM landing_files",
    }.items():
        session.execute(f"CREATE OR REPLACE TEMP TABLE {name} AS {query}")


def _tally(connection: duckdb.DuckDBPyConnection, source: str, column: str) -> dict[str, int]:
    return dict(
        connection.sql(
            f"SELECT why, count(*) FROM (SELECT unnest({column}) AS why FROM {source})"
            " GROUP BY ALL ORDER BY 2 DESC, 1"
        ).fetchall()
    )


@dataclass(frozen=True)
class Block:
    """Days that are worked on together."""

    days: Days
    rows: int

    @property
    def day(self) -> date | None:
        """The day, where the block is one."""
        return self.days[0] if self.days[0] == self.days[1] else None


def blocks(
    session: Session, table: str, days: Days, rows: int = BLOCK_ROWS, alone: int = BUSY_DAY
) -> list[Block]:
    """Cut days into busy days and runs of quiet ones; days without rows are left out.

    Parameters
    ----------
    rows : int
        Quiet days run on up to so many rows.
    alone : int
        A day with as many rows is busy: a block of its own.
    """
    counts = session.connection.sql(
        f"SELECT business_date, count(*) FROM {session.rows(table, days)} GROUP BY 1 ORDER BY 1"
    ).fetchall()
    found: list[Block] = []
    quiet = False
    for day, count in counts:
        if quiet and count < alone and found[-1].rows + count <= rows:
            found[-1] = Block((found[-1].days[0], day), found[-1].rows + count)
        else:
            found.append(Block((day, day), count))
        quiet = count < alone
    return found


@dataclass(frozen=True)
class Judge:
    """What is asked of the lines of some days: SQL over the rows of ``_typed``."""

    typed: str
    valid: str
    reasons: dict[str, str]
    some_unnumbered: bool

    @staticmethod
    def of(session: Session, days: Days) -> Judge:
        """Look for doubled and unnumbered lines, then say what is valid."""
        settings = session.warehouse.settings
        raw = session.rows(POS, days)
        typed, valid, reasons = _typed(raw), _valid(settings), _reasons(settings)
        some_doubled, some_unnumbered = _peculiar(session, raw)
        if some_doubled:
            _create_doubled(session, typed, valid)
            doubled = "(source_file, source_row) IN (SELECT source_file, source_row FROM doubled)"
            reasons = {**reasons, "duplicate line key": doubled}
            valid = f"{valid} AND NOT {doubled}"
        return Judge(typed, valid, reasons, some_unnumbered)

    def lines(self, session: Session, days: Days) -> str:
        """SELECT of the valid lines of some of the days, as rows of ``pos_lines``."""
        typed = _typed(session.rows(POS, days))
        return _valid_lines(_numbered(typed, self.some_unnumbered), self.valid)

    def rejected(self) -> str:
        """SELECT of the rejected lines, as rows of ``pos_quarantine``."""
        return _rejected_lines(self.typed, self.valid, self.reasons)


def _typed(raw: str) -> str:
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
            {AMOUNT} AS amount, p.category, s.zone
        FROM {raw} r
        LEFT JOIN known_products p ON p.product_id = r.product_id
        LEFT JOIN known_stores s ON s.store_id = r.store_id"""


def _valid(settings: Settings) -> str:
    """SQL condition of a valid line: the reasons said the other way round.

    Asked of every line, so it is the short form; a test holds it to ``_reasons``.
    """
    day = business_day("local", settings)
    numbers = " AND ".join(
        f"({value} IS NOT NULL OR coalesce(trim({column}), '') = '')"
        for column, value in OPTIONAL_NUMBERS.items()
    )
    return f"""coalesce(problem IS NULL AND trim(transaction_id) <> '' AND category IS NOT NULL
        AND zone IS NOT NULL AND local >= TIMESTAMP '{EARLIEST}' AND {day} <= business_date
        AND {day} >= DATE '{EARLIEST}' AND isfinite(q) AND q <> 0 AND price >= 0
        AND amount IS NOT NULL AND kind IN ('sale', 'return', 'void') AND {numbers}, false)"""


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
        "unknown product": f"{read} AND trim(product_id) <> '' AND category IS NULL",
        "unknown store": f"{read} AND trim(store_id) <> '' AND zone IS NULL",
        "unknown line type": f"{read} AND kind NOT IN ('sale', 'return', 'void')",
        "future date": f"{read} AND {day} > business_date",
        "implausible date": f"{read} AND {day} < DATE '{EARLIEST}'",
        "negative price": f"{read} AND price < 0",
        "quantity 0": f"{read} AND q = 0",
        "amount too large": f"{read} AND isfinite(q) AND price IS NOT NULL AND amount IS NULL",
    }
    reasons = {why: f"coalesce({test}, false)" for why, test in reasons.items()}
    return {"": "problem IS NOT NULL", **reasons}


LINE_HASH = "hash(business_date, store_id, transaction_id, try_cast(line_number AS BIGINT))"


def _peculiar(session: Session, raw: str) -> tuple[bool, bool]:
    """Are there lines with the same key, and lines without a number?

    Both are rare. Hashes find the first (0.1 CPU s per million lines).
    """
    session.connection.execute(
        f"""CREATE OR REPLACE TEMP TABLE candidate AS SELECT {LINE_HASH} AS h FROM {raw}
        WHERE line_number IS NOT NULL AND problem IS NULL GROUP BY ALL HAVING count(*) > 1"""
    )
    doubled, unnumbered = session.connection.sql(
        f"""SELECT (SELECT count(*) FROM candidate),
            (SELECT count(*) FROM {raw} WHERE line_number IS NULL AND problem IS NULL)"""
    ).fetchall()[0]
    return doubled > 0, unnumbered > 0


def _create_doubled(session: Session, typed: str, valid: str) -> None:
    """Temp table ``doubled``: all but one of the lines with the same key.

    The one that stays is the first valid one by file name and line.
    """
    session.connection.execute(
        f"""CREATE OR REPLACE TEMP TABLE doubled AS SELECT source_file, source_row FROM (
            SELECT source_file, source_row, row_number() OVER (
                PARTITION BY business_date, store_id, transaction_id, line
                ORDER BY ({valid}) DESC, source_file, source_row) AS nth
            FROM ({typed}) WHERE {LINE_HASH} IN (SELECT h FROM candidate)
                AND line IS NOT NULL AND transaction_id IS NOT NULL AND store_id IS NOT NULL
        ) WHERE nth > 1"""
    )


def _numbered(typed: str, some_unnumbered: bool) -> str:
    """Lines with a number each; counting within receipts only where some have none."""
    number = "line"
    if some_unnumbered:
        number = (
            "coalesce(line, row_number() OVER (PARTITION BY business_date, store_id,"
            " transaction_id ORDER BY source_file, source_row))"
        )
    return f"SELECT *, {number} AS nth_line FROM ({typed})"


def _valid_lines(numbered: str, valid: str) -> str:
    warnings = {
        "outside trading hours": "h.store_id IS NOT NULL"
        " AND coalesce(instant < h.open_at OR instant >= h.close_at, true)",
        "return with a positive quantity": "kind = 'return' AND q > 0",
        "sale with a negative quantity": "kind = 'sale' AND q < 0",
    }
    odd = " OR ".join(f"({test})" for test in warnings.values())
    listed = ", ".join(f"CASE WHEN {test} THEN '{why}' END" for why, test in warnings.items())
    return f"""
        SELECT l.transaction_id, nth_line AS line_number, l.store_id, instant AS sold_at,
            l.business_date, l.product_id, category, {QUANTITY} AS quantity,
            price AS unit_price, amount AS net_amount, discount AS discount_amount,
            CASE WHEN kind = 'sale' AND q < 0 THEN 'return' ELSE kind END AS line_type,
            promo_id, customer_id, register_id, channel,
            CASE WHEN {odd} THEN list_filter([{listed}], lambda w: w IS NOT NULL) END AS warnings,
            source_file, source_row
        FROM (SELECT *, {instant("zone", "local")} AS instant FROM ({numbered}) WHERE {valid}) l
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
        LEFT JOIN arrivals f ON f.file = t.source_file AND f.version = t.source_version"""
