"""Time zones, clock changes and business days, against zoneinfo and plain Python."""

from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

import duckdb
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from retail_assets.ingest.hours import create_shifts
from retail_assets.ingest.reference import write_reference
from retail_assets.ingest.times import business_day, dated, instant, timestamp
from retail_assets.settings import Settings

ZONES = ("Europe/Paris", "America/New_York", "Australia/Lord_Howe", "Asia/Kolkata", "UTC",
         "America/Sao_Paulo", "Pacific/Apia")  # fmt: skip
moments = st.datetimes(datetime(1995, 1, 1), datetime(2035, 12, 31)).map(
    lambda t: t.replace(microsecond=0)
)


def _connection():
    connection = duckdb.connect()
    connection.execute("SET TimeZone = 'UTC'")
    return connection


@given(st.lists(st.tuples(st.sampled_from(ZONES), moments), min_size=1, max_size=200))
@settings(deadline=None, max_examples=30)
def test_local_times_become_the_instants_that_zoneinfo_says(cases):
    connection = _connection()
    connection.execute("CREATE TABLE c (zone VARCHAR, local TIMESTAMP)")
    connection.executemany("INSERT INTO c VALUES (?, ?)", cases)
    found = connection.execute(f"SELECT {instant('zone', 'local', 'NULL')} FROM c").fetchall()
    for (zone, local), (got,) in zip(cases, found, strict=True):
        first = local.replace(tzinfo=ZoneInfo(zone))
        # A repeated hour is its second pass; a skipped one is read with the offset before.
        twice = first.utcoffset() > first.replace(fold=1).utcoffset()
        wanted = first.replace(fold=1) if twice else first
        assert got == wanted.astimezone(UTC)


@pytest.mark.parametrize("start", [0, 5])
@pytest.mark.parametrize("year", [2011, 2024])  # at the end of 2011 Apia skipped a day
def test_the_offset_of_a_whole_day_changes_no_instant(new_shop, year, start):
    shop = new_shop(day_starts_hour=start)
    shop.write("stores.csv", "store_id,timezone\n" + "".join(f"{z},{z}\n" for z in ZONES))
    shop.scan()
    with shop.warehouse.session() as session:
        write_reference(session, "stores")
    with shop.warehouse.session() as session:
        create_shifts(session, (date(year, 1, 1), date(year, 12, 31)))
        half_hours = (
            f"SELECT *, business_date + to_minutes({start} * 60 + 30 * i) AS local"
            " FROM shifts, range(48) t(i)"
        )
        ((different, looked_up, days),) = session.sql(
            f"SELECT count(*) FILTER ({instant('zone', 'local', 'shift')} <>"
            f" {instant('zone', 'local', 'NULL')}), count(*) FILTER (shift IS NULL) / 48,"
            f" count(*) / 48 FROM ({half_hours})"
        ).fetchall()
    assert different == 0
    assert 0 < looked_up <= 2 * len(ZONES) < days


@given(moments, st.integers(0, 23))
@settings(deadline=None, max_examples=100)
def test_a_business_day_begins_at_its_hour(tmp_path_factory, moment, hour):
    home = tmp_path_factory.getbasetemp()
    day = business_day(f"TIMESTAMP '{moment}'", Settings(home, home, day_starts_hour=hour))
    ((got,),) = duckdb.sql(f"SELECT {day}").fetchall()
    assert got == (moment - timedelta(hours=hour)).date()


@pytest.mark.parametrize(
    ("text", "read"),
    [
        ("2024-02-05 10:00:00", datetime(2024, 2, 5, 10)),
        ("2024-02-05T10:00", datetime(2024, 2, 5, 10)),
        ("2024-02-05", datetime(2024, 2, 5)),
        ("2024-02-05T10:00:00Z", None),
        ("05/02/2024 10:00", None),
        ("", None),
    ],
)
def test_only_iso_local_time_is_read(text, read):
    assert duckdb.execute(f"SELECT {timestamp('$t')}", {"t": text}).fetchall() == [(read,)]


@pytest.mark.parametrize(
    ("text", "day"),
    [
        ("2024-02-05 01:30:00", date(2024, 2, 4)),
        ("2024-02-05 04:00:00", date(2024, 2, 5)),
        ("2024-02-11 03:00:00", date(2024, 2, 10)),
        ("2024-02-11 05:00:00", None),
        ("1200-01-01 12:00:00", None),
        ("no time", None),
    ],
)
def test_a_time_that_is_unreadable_too_early_or_in_the_future_has_no_day(tmp_path, text, day):
    asked = dated("t", date(2024, 2, 10), Settings(tmp_path, tmp_path, day_starts_hour=4))
    ((got,),) = duckdb.sql(f"SELECT {asked} FROM (SELECT '{text}' AS t)").fetchall()
    assert got == day


CLOCKS = ("00:00", "02:30", "05:00", "09:00", "18:00", "23:00", "24:00")


@given(
    zone=st.sampled_from(ZONES),
    day=st.dates(date(2020, 1, 1), date(2025, 12, 20)),
    opened=st.sampled_from(CLOCKS[:-1]),
    closed=st.sampled_from(CLOCKS),
    start=st.sampled_from([0, 3, 5]),
    grain=st.sampled_from([1, 15, 60, 1440]),
)
@settings(
    max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_a_day_has_the_intervals_that_pass_between_opening_and_closing(
    new_shop, zone, day, opened, closed, start, grain
):
    shop = new_shop(day_starts_hour=start, grain_minutes=grain)
    shop.write("products.csv", "product_id,name,category\nbar,Bar,sweets\n")
    shop.write("stores.csv", f"store_id,timezone\ns,{zone}\n")
    rows = "".join(f"s,{weekday},{opened},{closed}\n" for weekday in range(7))
    shop.write("store_hours.csv", "store_id,weekday,open,close\n" + rows)
    noon = datetime.combine(day, time(12))
    shop.pos("a.csv", f"r1,1,s,{noon},bar,1,1")
    shop.ingest()
    ((open_at, close_at, count),) = shop.rows(
        "SELECT open_at, close_at, n_intervals FROM trading_days"
    )
    first, last = _opening(opened, closed, start)
    midnight = datetime.combine(day, time())
    bounds = [
        (midnight + timedelta(minutes=minute)).replace(tzinfo=ZoneInfo(zone))
        for minute in (first, last)
    ]
    bounds = [
        b.replace(fold=1) if b.utcoffset() > b.replace(fold=1).utcoffset() else b for b in bounds
    ]
    assert [open_at, close_at] == [b.astimezone(UTC) for b in bounds]
    elapsed = (close_at - open_at).total_seconds() / 60
    assert count == (1 if grain == 1440 else -(-elapsed // grain))


def _opening(opened: str, closed: str, start: int) -> tuple[int, int]:
    """Minutes of the wall clock, cut to the business day."""
    first, last = (int(t[:2]) * 60 + int(t[3:]) for t in (opened, closed))
    begin, end = start * 60, start * 60 + 1440
    if last <= first:
        last += 1440
    if last - first == 1440:
        return begin, end
    if first < begin and last > begin:
        return begin, min(last, end)
    if first < begin:
        return first + 1440, last + 1440
    return first, min(last, end)


@pytest.mark.parametrize(
    ("zone", "day", "hours"),
    [
        ("Europe/Paris", "2024-03-31", 23),
        ("Europe/Paris", "2024-10-27", 25),
        ("Australia/Lord_Howe", "2024-04-07", 24.5),
        ("Asia/Kolkata", "2024-03-31", 24),
    ],
)
def test_a_change_of_clocks_neither_loses_nor_doubles_an_interval(new_shop, zone, day, hours):
    shop = new_shop(grain_minutes=30)
    shop.write("products.csv", "product_id,name,category\nbar,Bar,sweets\n")
    shop.write("stores.csv", f"store_id,timezone\ns,{zone}\n")
    rows = "".join(f"s,{weekday},00:00,24:00\n" for weekday in range(7))
    shop.write("store_hours.csv", "store_id,weekday,open,close\n" + rows)
    sold = [f"r{i},1,s,{day} {i // 2:02d}:{i % 2 * 30:02d}:00,bar,1,1" for i in range(48)]
    shop.pos("a.csv", *sold)
    shop.ingest()
    assert shop.rows("SELECT n_intervals FROM trading_days") == [(hours * 2,)]
    found = shop.rows(
        "SELECT interval_of_day, interval_start, transactions FROM interval_sales ORDER BY 1"
    )
    starts = [start for _, start, _ in found]
    assert len(set(starts)) == len(starts)
    assert sum(n for _, _, n in found) == 48
    opening = starts[0]
    for nth, start, _ in found:
        assert start == opening + timedelta(minutes=30 * nth)


def test_a_sale_after_midnight_belongs_to_the_business_day_before(new_shop):
    shop = new_shop(day_starts_hour=5)
    shop.basics(hours=False)
    shop.write("store_hours.csv", "store_id,weekday,open,close\n"
               + "".join(f"paris,{d},18:00,02:00\n" for d in range(7)))  # fmt: skip
    shop.pos(
        "a.csv",
        "r1,1,paris,2024-02-05 23:50:00,bar,1,1",
        "r2,1,paris,2024-02-06 01:50:00,bar,1,1",
    )
    shop.ingest()
    found = shop.rows("SELECT business_date, interval_of_day FROM interval_sales ORDER BY 2")
    assert found == [(date(2024, 2, 5), 23), (date(2024, 2, 5), 31)]
    assert shop.rows("SELECT n_intervals FROM trading_days") == [(32,)]
    assert shop.rows("SELECT count(warnings) FROM pos_lines") == [(0,)]
