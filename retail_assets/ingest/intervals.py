"""``trading_days`` and ``interval_sales``: when stores trade, and what sold when.

Intervals are counted from opening in elapsed time, so a change of clocks neither loses
nor doubles one. ``interval_sales`` is sparse: a product without a sale in an interval
has no row. Only sale lines count as demand: returns and voids are not negative
demand. They stay in ``pos_lines`` (the sum of its net_amount is the revenue), while
``net_cents`` here is the revenue of the sales counted in the row. A void cancels the
sale of the same receipt, product and quantity. Sales outside the trading hours go to
the nearest interval of their business day. At day grain an open day is one interval.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date

from retail_assets.settings import Settings
from retail_assets.warehouse import Session

Days = tuple[date, date]

CENTS = "round(sum(net) * 100 + sign(sum(net)) * 1e-6)::BIGINT"
"""Sums of amounts with four decimals as DOUBLE: a third of the CPU of sums of DECIMAL. The
millionth of a cent keeps 1.005 on the side of the half where it belongs."""

QUANTILES = (0.25, 0.75)
"""Of each weekday's first and last sale: one late or early day in four changes nothing."""

DAYS_FOR_A_WEEKDAY = 4
"""Fewer days of a weekday than this: all weekdays of the store are taken together."""


@dataclass(frozen=True)
class IntervalsReport:
    """What a write of ``trading_days`` and ``interval_sales`` did."""

    store_days: int
    open_days: int
    rows: int
    sources: dict[str, int]


def write_intervals(session: Session, days: Days) -> IntervalsReport:
    """Replace the days of ``trading_days`` and ``interval_sales``."""
    from retail_assets.ingest.lines import ONE_THREAD, blocks

    settings = session.warehouse.settings
    session.execute(ONE_THREAD)
    create_given_hours(session, days)
    session.execute(_seen(days))
    session.execute(f"CREATE OR REPLACE TEMP TABLE opening AS {_opening(settings, days)}")
    columns = "store_id, business_date, open_at, close_at, n_intervals, grain_minutes, source"
    with (
        session.staging("trading_days", days) as trading,
        # Unique: grouped by store day, product and interval.
        session.staging("interval_sales", days, keyed=False) as sales,
    ):
        trading.add(f"SELECT {columns} FROM opening")
        for block in blocks(session, "pos_lines", days):
            sales.add(_interval_sales(session, block.days), block.day)
        store_days = trading.commit()
        rows = sales.commit()
    run = session.connection.sql
    opened = run("SELECT count(*) FROM opening WHERE n_intervals > 0").fetchall()[0][0]
    sources = dict(run("SELECT source, count(*) FROM opening GROUP BY 1 ORDER BY 1").fetchall())
    return IntervalsReport(store_days, opened, rows, sources)


def _minutes(text: str) -> str:
    """Minutes since midnight of an HH:MM text."""
    return f"(split_part({text}, ':', 1)::INTEGER * 60 + split_part({text}, ':', 2)::INTEGER)"


def create_given_hours(session: Session, days: Days) -> None:
    """Fill temp table ``given_hours``: store days whose hours a file says.

    open_at and close_at are NULL on a closed day. A date's row wins over its weekday's.
    Hours are cut to the business day, which begins at ``day_starts_hour``.
    """
    start = session.warehouse.settings.day_starts_hour * 60
    end = start + 1440
    session.execute(
        f"""CREATE OR REPLACE TEMP TABLE given_hours AS
        WITH said AS (
            SELECT store_id, weekday, date, {_minutes("open")} AS o,
                {_minutes("close")} AS c FROM store_hours
        ), store_days AS (
            SELECT store_id, timezone AS zone, day::DATE AS business_date
            FROM stores, generate_series(DATE '{days[0]}', DATE '{days[1]}', INTERVAL 1 DAY) t(day)
        ), matched AS (
            SELECT d.*, e.store_id IS NOT NULL AS exception,
                coalesce(e.o, w.o) AS o, coalesce(e.c, w.c) AS c
            FROM store_days d
            LEFT JOIN said e ON e.store_id = d.store_id AND e.date = d.business_date
            LEFT JOIN said w ON w.store_id = d.store_id AND w.date IS NULL
                AND w.weekday = isodow(d.business_date) - 1
            WHERE e.store_id IS NOT NULL
                OR d.store_id IN (SELECT store_id FROM said WHERE date IS NULL)
        ), wrapped AS (
            SELECT *, CASE WHEN c <= o THEN c + 1440 ELSE c END AS until FROM matched
        ), cut AS (
            SELECT *, CASE WHEN until - o = 1440 THEN {start} WHEN o >= {start} THEN o
                    WHEN until > {start} THEN {start} ELSE o + 1440 END AS first_minute,
                CASE WHEN until - o = 1440 THEN {end}
                    WHEN o < {start} AND until <= {start} THEN until + 1440
                    ELSE least(until, {end}) END AS last_minute
            FROM wrapped
        )
        SELECT store_id, business_date, CASE WHEN exception THEN 'date' ELSE 'hours' END AS source,
            CASE WHEN shut THEN NULL ELSE {_at("first_minute")} END AS open_at,
            CASE WHEN shut THEN NULL ELSE {_at("last_minute")} END AS close_at
        FROM (SELECT *, o IS NULL OR (exception AND o = c) AS shut FROM cut)"""
    )


def _at(minute: str) -> str:
    return f"timezone(zone, business_date::TIMESTAMP + to_minutes({minute}::BIGINT))"


def _seen(days: Days) -> str:
    """Temp table ``seen``: first and last sale of every store day known by the last day."""
    return f"""CREATE OR REPLACE TEMP TABLE seen AS
        SELECT l.store_id, business_date, min(sold_at) AS first_sale, max(sold_at) AS last_sale,
            any_value(s.timezone) AS zone
        FROM pos_lines l JOIN stores s ON s.store_id = l.store_id
        WHERE line_type = 'sale' AND business_date <= DATE '{days[1]}'
        GROUP BY ALL"""


def _opening(settings: Settings, days: Days) -> str:
    """Opening hours of every store day: given, else inferred from receipts."""
    grain, start = settings.grain_minutes, settings.day_starts_hour * 60
    step, end = min(grain, 60), start + 1440
    low, high = QUANTILES
    minute = "(epoch(timezone(zone, {0})) - epoch(business_date::TIMESTAMP)) // 60"
    first = f"floor(first_minute / {step}) * {step}"
    last = f"(floor(last_minute / {step}) + 1) * {step}"
    elapsed = f"ceil((epoch(close_at) - epoch(open_at)) / {grain * 60})"
    count = f"CASE WHEN open_at IS NULL THEN 0 ELSE {'1' if grain == 1440 else elapsed} END"
    return f"""
        WITH spans AS (
            SELECT store_id, business_date, isodow(business_date) AS weekday,
                {minute.format("first_sale")} AS first_minute,
                {minute.format("last_sale")} AS last_minute
            FROM seen
        ), usual AS (
            SELECT store_id, weekday, count(*) AS n,
                quantile_disc(first_minute, {low}) AS first_minute,
                quantile_disc(last_minute, {high}) AS last_minute
            FROM spans GROUP BY GROUPING SETS ((store_id, weekday), (store_id))
        ), store_days AS (
            SELECT store_id, timezone AS zone, day::DATE AS business_date,
                isodow(day) AS weekday
            FROM stores, generate_series(DATE '{days[0]}', DATE '{days[1]}', INTERVAL 1 DAY) t(day)
        ), known AS (
            SELECT d.*, g.source AS said, g.open_at AS said_open, g.close_at AS said_close,
                t.store_id IS NOT NULL AS traded,
                b.first_day IS NOT NULL AND b.first_day <= d.business_date AS begun,
                -- a day said to be closed that has sales was open: as long as they say
                CASE WHEN g.store_id IS NOT NULL THEN t.first_minute
                    WHEN w.n >= {DAYS_FOR_A_WEEKDAY} THEN w.first_minute
                    ELSE a.first_minute END AS first_minute,
                CASE WHEN g.store_id IS NOT NULL THEN t.last_minute
                    WHEN w.n >= {DAYS_FOR_A_WEEKDAY} THEN w.last_minute
                    ELSE a.last_minute END AS last_minute
            FROM store_days d
            LEFT JOIN given_hours g USING (store_id, business_date)
            LEFT JOIN spans t USING (store_id, business_date)
            LEFT JOIN usual w ON w.store_id = d.store_id AND w.weekday = d.weekday
            LEFT JOIN usual a ON a.store_id = d.store_id AND a.weekday IS NULL
            LEFT JOIN (SELECT store_id, min(business_date) AS first_day FROM seen GROUP BY 1) b
                ON b.store_id = d.store_id
        ), placed AS (
            SELECT store_id, business_date,
                CASE WHEN NOT begun THEN NULL WHEN said_open IS NOT NULL THEN said_open
                    WHEN traded THEN {_at(f"greatest({start}, {first})")} END AS open_at,
                CASE WHEN NOT begun THEN NULL WHEN said_open IS NOT NULL THEN said_close
                    WHEN traded THEN {_at(f"least({end}, {last})")} END AS close_at,
                CASE WHEN said IS NOT NULL AND (said_open IS NOT NULL OR NOT traded) THEN said
                    WHEN first_minute IS NOT NULL THEN 'inferred' ELSE 'default' END AS source
            FROM known
        )
        SELECT *, {grain} AS grain_minutes, ({count})::BIGINT AS n_intervals,
            row_number() OVER () AS store_day FROM placed"""


def _interval_sales(session: Session, days: Days) -> str:
    grain = session.warehouse.settings.grain_minutes
    lines = session.rows("pos_lines", days)
    run = session.connection
    kept = f"SELECT * FROM {lines} WHERE line_type = 'sale'"
    if run.sql(f"SELECT 1 FROM {lines} WHERE line_type = 'void' LIMIT 1").fetchall():
        run.execute(_voided(lines))
        kept += " AND (source_file, source_row) NOT IN (SELECT source_file, source_row FROM voided)"
    nth = f"(epoch_us(s.sold_at) - epoch_us(o.open_at)) // {grain * 60_000_000}"
    # The store day and the product are numbers while grouping: half the CPU of texts.
    run.execute(
        "CREATE OR REPLACE TEMP TABLE sold_products AS SELECT product_id, any_value(category)"
        f" AS category, row_number() OVER () AS product FROM {lines} GROUP BY product_id"
    )
    return f"""
        WITH baskets AS (
            SELECT o.store_day, p.product, s.transaction_id,
                greatest(0, least(o.n_intervals - 1, {nth})) AS interval_of_day,
                sum(s.quantity) AS units, sum(s.net_amount::DOUBLE) AS net
            FROM ({kept}) s
            JOIN opening o ON o.store_id = s.store_id AND o.business_date = s.business_date
            JOIN sold_products p ON p.product_id = s.product_id
            GROUP BY ALL
        ), sales AS (
            SELECT store_day, product, interval_of_day, count(*) AS transactions,
                sum(units) AS units, {CENTS} AS net_cents
            FROM baskets GROUP BY ALL
        )
        SELECT store_id, product_id, category, business_date,
            open_at + to_minutes(interval_of_day * {grain}) AS interval_start,
            interval_of_day, {grain} AS grain_minutes, transactions, units, net_cents
        FROM sales JOIN opening USING (store_day) JOIN sold_products USING (product)"""


def _voided(lines: str) -> str:
    """Temp table ``voided``: sale lines that a void of the same receipt cancels."""
    key = "business_date, store_id, transaction_id, product_id, abs(quantity)"
    return f"""CREATE OR REPLACE TEMP TABLE voided AS
        WITH cancels AS (
            SELECT {key} AS amount, count(*) AS n FROM {lines}
            WHERE line_type = 'void' GROUP BY ALL
        ), sales AS (
            SELECT {key} AS amount, source_file, source_row, row_number() OVER (
                PARTITION BY {key} ORDER BY line_number DESC, source_row DESC) AS nth
            FROM {lines} WHERE line_type = 'sale'
                AND (business_date, store_id, transaction_id) IN
                    (SELECT (business_date, store_id, transaction_id) FROM cancels)
        )
        SELECT source_file, source_row FROM sales
        JOIN cancels USING (business_date, store_id, transaction_id, product_id, amount)
        WHERE nth <= n"""
