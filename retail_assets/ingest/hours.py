"""When stores trade: hours a file says, hours inferred from receipts, local time to instants.

A date's hours win over its weekday's; a business day begins at ``day_starts_hour``.
What was sold in which interval is intervals.py.
"""

from __future__ import annotations

from retail_assets.ingest.blocks import Days
from retail_assets.settings import Settings
from retail_assets.warehouse import Session

QUANTILES = (0.25, 0.75)
"""Of each weekday's first and last sale: one late or early day in four changes nothing."""

DAYS_FOR_A_WEEKDAY = 4
"""Fewer days of a weekday than this: all weekdays of the store are taken together."""


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


def create_shifts(session: Session, days: Days) -> None:
    """Fill temp table ``shifts``: offset of every store zone from UTC on every business day.

    ``shift`` is in microseconds, NULL on a day on which clocks change.
    """
    start = session.warehouse.settings.day_starts_hour
    session.execute(
        f"""CREATE OR REPLACE TEMP TABLE shifts AS
        WITH hours AS (
            SELECT zone, day::DATE AS business_date, day + to_hours({start} + h) AS local
            FROM (SELECT DISTINCT timezone AS zone FROM stores),
                generate_series(DATE '{days[0]}', DATE '{days[1]}', INTERVAL 1 DAY) t(day),
                range(25) u(h)
        ), offsets AS (
            SELECT zone, business_date, epoch_us(local) - epoch_us(timezone(zone, local)) AS shift
            FROM hours
        )
        SELECT zone, business_date,
            CASE WHEN min(shift) = max(shift) THEN min(shift) END AS shift
        FROM offsets GROUP BY ALL"""
    )


def _at(minute: str) -> str:
    return f"timezone(zone, business_date::TIMESTAMP + to_minutes({minute}::BIGINT))"


def create_opening(session: Session, days: Days) -> None:
    """Fill temp table ``opening``: hours and number of intervals of every store day.

    Also fills ``given_hours``. Without receipts or hours a store day is closed.
    """
    create_given_hours(session, days)
    session.execute(_seen(days))
    opening = _opening(session.warehouse.settings, days)
    session.execute(f"CREATE OR REPLACE TEMP TABLE opening AS {opening}")


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
