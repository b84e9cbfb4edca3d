"""Local time, business days and instants, as SQL.

``sold_at`` is local time without an offset. A business day begins at
``day_starts_hour``. Where clocks go forward, a time inside the gap is read with the
offset before it (02:30 becomes 03:30); where they go back, a time inside the repeated
hour is its second pass (standard time). Both keep every interval once, because
intervals are counted in elapsed time (intervals.py).
"""

from __future__ import annotations

from datetime import date, datetime
from zoneinfo import ZoneInfo

from retail_assets.settings import Settings

EARLIEST = date(1990, 1, 1)
"""Days before this are typing errors; a daily partition for each would cost 0.1 CPU s."""


LOCAL = r"\s*\d{4,6}-\d\d?-\d\d?([T ]\s*\d\d?:\d\d(:\d\d?(\.\d+)?)?)?\s*"


def timestamp(text: str) -> str:
    """Local time of an ISO text, else NULL.

    A text with an offset or a zone (``...Z``, ``...+02``) is not local time: a cast would
    drop what it says. The usual form is tried first; the pattern costs twice as much.
    """
    return (
        f"coalesce(try_strptime({text}, '%Y-%m-%d %H:%M:%S'),"
        f" CASE WHEN regexp_full_match({text}, '{LOCAL}') THEN try_cast({text} AS TIMESTAMP) END)"
    )


def business_day(local: str, settings: Settings) -> str:
    """Business day of a local timestamp."""
    if settings.day_starts_hour == 0:
        return f"CAST({local} AS DATE)"
    return f"CAST({local} - INTERVAL {settings.day_starts_hour} HOUR AS DATE)"


def dated(text: str, arrived: date, settings: Settings) -> str:
    """Business day of a text, NULL when it cannot be read, is too early or in the future."""
    day = business_day(timestamp(text), settings)
    return f"CASE WHEN {day} BETWEEN DATE '{EARLIEST}' AND DATE '{arrived}' THEN {day} END"


def arrival_day(seen_at: datetime, settings: Settings) -> date:
    """Business day on which a file arrived."""
    return seen_at.astimezone(ZoneInfo(settings.timezone)).date()


def instant(zone: str, local: str, shift: str) -> str:
    """TIMESTAMPTZ of a local timestamp in a time zone.

    ``shift`` is the zone's offset in microseconds where the whole business day has one, else
    NULL: looking up every time in the zone's rules costs 0.07 CPU s per million.
    """
    return (
        f"CASE WHEN {shift} IS NOT NULL THEN make_timestamptz(epoch_us({local}) - {shift})"
        f" ELSE timezone({zone}, {local}) END"
    )
