"""``pos_lines`` and ``pos_quarantine``: receipt lines typed and judged.

Every line of ``raw_pos`` goes to exactly one of the two; a rejected one names every
reason. Derived here: the instant from local time and the store's zone, the kind of
line from the sign of its quantity, the net amount from price, quantity and discount,
the line number from the order within the receipt.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import duckdb

from retail_assets.errors import ContractError
from retail_assets.ingest.blocks import ONE_THREAD, Days, blocks
from retail_assets.ingest.hours import create_given_hours, create_shifts
from retail_assets.ingest.mapping import POS, columns_of, required_of
from retail_assets.ingest.times import EARLIEST, business_day, instant, timestamp
from retail_assets.settings import Settings
from retail_assets.warehouse import Session

QUANTITY = "CASE WHEN kind = 'return' THEN -abs(q) ELSE q END"
AMOUNT = f"coalesce(net, try_cast({QUANTITY} * price - coalesce(discount, 0) AS DECIMAL(18,4)))"

FREE_TEXTS = {"promo_id", "customer_id", "register_id", "channel", "discount_amount"}
"""Columns of pos_lines that are null where the raw ones are."""

FILLED = "(transaction_id BETWEEN '!' AND '~' OR trim(transaction_id) <> '')"
"""Not blank: a first character that is seen says so without trimming (0.03 CPU s per million)."""

PASS_ROWS = 2_000_000
"""Doubled and rejected lines are looked for in passes of so many lines: planning the query for
the rejected ones takes 20 ms."""

ENCODED = ("store_id", "product_id", "category", "line_type", "source_file")

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
    _create_known(session, days)
    with (
        session.staging("pos_lines", days, keyed=False) as lines,
        session.staging("pos_quarantine", days) as quarantine,
    ):
        raw_rows = 0
        for some in blocks(session, POS, days, PASS_ROWS, PASS_ROWS):
            judge = Judge.of(session, some.days)
            valid = 0
            for block in blocks(session, POS, some.days):
                empty = session.absent(POS, block.days) & FREE_TEXTS
                valid += lines.add(judge.lines(block.days), block.day, empty, ENCODED)
            if valid < some.rows:
                quarantine.add(judge.rejected(some.days), some.day)
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


def _create_known(session: Session, days: Days) -> None:
    """Temp tables and enums of what lines are judged by, made once and not once per block."""
    create_given_hours(session, days)
    create_shifts(session, days)
    session.encode("store_text", "SELECT store_id FROM stores")
    session.encode("product_text", "SELECT product_id FROM products")
    session.encode("category_text", "SELECT category FROM products")
    session.encode("file_text", f"SELECT source_file FROM {session.rows(POS, days)}")
    for name, query in {
        "known_products": "SELECT product_id, product_id::product_text AS product,"
        " category::category_text AS category FROM products",
        "known_stores": """SELECT s.store_id, s.store_id::store_text AS store, z.zone, z.shift,
            z.business_date, h.store_id IS NOT NULL AS given, h.open_at, h.close_at
            FROM stores s JOIN shifts z ON z.zone = s.timezone
            LEFT JOIN given_hours h
                ON h.store_id = s.store_id AND h.business_date = z.business_date
            ORDER BY z.business_date""",
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
class Judge:
    """What is asked of the lines of some days: SQL over the rows of ``_typed``."""

    session: Session
    valid: str
    reasons: dict[str, str]
    some_unnumbered: bool

    @staticmethod
    def of(session: Session, days: Days) -> Judge:
        """Look for doubled and unnumbered lines, then say what is valid."""
        settings = session.warehouse.settings
        valid, reasons = _valid(settings), _reasons(settings)
        some_doubled, some_unnumbered = _peculiar(session, days)
        if some_doubled:
            _create_doubled(session, days, valid)
            doubled = "(source_file, source_row) IN (SELECT source_file, source_row FROM doubled)"
            reasons = {**reasons, "duplicate line key": doubled}
            valid = f"{valid} AND NOT {doubled}"
        return Judge(session, valid, reasons, some_unnumbered)

    def lines(self, days: Days) -> str:
        """SELECT of the valid lines of some of the days, as rows of ``pos_lines``."""
        return _valid_lines(_numbered(_typed(self.session, days), self.some_unnumbered), self.valid)

    def rejected(self, days: Days) -> str:
        """SELECT of the rejected lines, as rows of ``pos_quarantine``."""
        return _rejected_lines(_typed(self.session, days), self.valid, self.reasons)


def _typed(session: Session, days: Days) -> str:
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
            {AMOUNT} AS amount,
            p.product, p.category, s.store, s.zone, s.shift, s.given, s.open_at, s.close_at
        FROM {session.rows(POS, days)} r
        LEFT JOIN known_products p ON p.product_id = r.product_id
        LEFT JOIN (SELECT * FROM known_stores
                WHERE business_date BETWEEN DATE '{days[0]}' AND DATE '{days[1]}') s
            ON s.store_id = r.store_id AND s.business_date = r.business_date"""


def _valid(settings: Settings) -> str:
    """SQL condition of a valid line: the reasons said the other way round.

    Asked of every line, so it is the short form; a test holds it to ``_reasons``.
    """
    day = business_day("local", settings)
    numbers = " AND ".join(
        f"({value} IS NOT NULL OR coalesce(trim({column}), '') = '')"
        for column, value in OPTIONAL_NUMBERS.items()
    )
    return f"""coalesce(problem IS NULL AND {FILLED} AND category IS NOT NULL
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


def _peculiar(session: Session, days: Days) -> tuple[bool, bool]:
    """Are there lines with the same key, and lines without a number?

    Both are rare. Hashes find the first, block by block, because a key has one day and a
    million hashes do not fit the processor's cache (0.06 instead of 0.12 CPU s per million).
    """
    doubled = unnumbered = False
    for block in blocks(session, POS, days):
        lines, keys, different = session.connection.sql(
            f"""SELECT count(*), count(key), count(DISTINCT key) FROM (
                SELECT CASE WHEN line_number IS NOT NULL THEN {LINE_HASH} END AS key
                FROM {session.rows(POS, block.days)} WHERE problem IS NULL)"""
        ).fetchall()[0]
        doubled, unnumbered = doubled or different < keys, unnumbered or keys < lines
    return doubled, unnumbered


def _create_doubled(session: Session, days: Days, valid: str) -> None:
    """Temp table ``doubled``: all but one of the lines with the same key.

    The one that stays is the first valid one by file name and line.
    """
    session.connection.execute(
        f"""CREATE OR REPLACE TEMP TABLE doubled AS
        WITH candidate AS (
            SELECT {LINE_HASH} AS key FROM {session.rows(POS, days)}
            WHERE line_number IS NOT NULL AND problem IS NULL GROUP BY ALL HAVING count(*) > 1
        )
        SELECT source_file, source_row FROM (
            SELECT source_file, source_row, row_number() OVER (
                PARTITION BY business_date, store_id, transaction_id, line
                ORDER BY ({valid}) DESC, source_file, source_row) AS nth
            FROM ({_typed(session, days)}) WHERE {LINE_HASH} IN (SELECT key FROM candidate)
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
        "outside trading hours": "given"
        " AND coalesce(instant < open_at OR instant >= close_at, true)",
        "return with a positive quantity": "kind = 'return' AND q > 0",
        "sale with a negative quantity": "kind = 'sale' AND q < 0",
    }
    odd = " OR ".join(f"({test})" for test in warnings.values())
    listed = ", ".join(f"CASE WHEN {test} THEN '{why}' END" for why, test in warnings.items())
    returned = "kind = 'return' OR (kind = 'sale' AND q < 0)"
    return f"""
        SELECT transaction_id, nth_line AS line_number, store AS store_id, instant AS sold_at,
            business_date, product AS product_id, category, {QUANTITY} AS quantity,
            price AS unit_price, amount AS net_amount, discount AS discount_amount,
            CASE WHEN {returned} THEN {_kind("return")} WHEN kind = 'void' THEN {_kind("void")}
                ELSE {_kind("sale")} END AS line_type,
            promo_id, customer_id, register_id, channel,
            CASE WHEN {odd} THEN list_filter([{listed}], lambda w: w IS NOT NULL) END AS warnings,
            source_file::file_text AS source_file, source_row
        FROM (SELECT *, {instant("zone", "local", "shift")} AS instant
            FROM ({numbered}) WHERE {valid})"""


def _kind(name: str) -> str:
    return f"'{name}'::ENUM('sale', 'return', 'void')"


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
