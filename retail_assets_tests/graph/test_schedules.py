"""What the schedules ask for, night by night, and when the clocks change."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise, takewhile
from zoneinfo import ZoneInfo

import dagster as dg
import pandas as pd
import pytest

from retail_assets.automation.freshness import policies
from retail_assets.automation.schedules import build_schedules, day_ended, days_to_close
from retail_assets.definitions import build_definitions
from retail_assets.settings import Settings
from retail_assets.warehouse import Warehouse

PARIS = "Europe/Paris"
START, END = "dagster/asset_partition_range_start", "dagster/asset_partition_range_end"


@pytest.fixture
def warehouse(tmp_path) -> Warehouse:
    (tmp_path / "landing").mkdir()
    return Warehouse(Settings(home=tmp_path, landing=tmp_path / "landing", timezone=PARIS))


def ticks(settings: Settings, at: int, since: date, until: date) -> list[datetime]:
    """Ticks of a schedule from local midnight to local midnight, by Dagster's own clockwork."""
    zone = ZoneInfo(settings.timezone)
    begin, end = (datetime(d.year, d.month, d.day, tzinfo=zone) for d in (since, until))
    schedule = build_schedules(settings)[at]
    every = schedule_times(schedule, begin)
    return list(takewhile(lambda tick: tick < end, every))


def schedule_times(schedule: dg.ScheduleDefinition, begin: datetime):
    from dagster._utils.schedules import schedule_execution_time_iterator

    return schedule_execution_time_iterator(
        begin.timestamp(), schedule.cron_schedule, schedule.execution_timezone, ascending=True
    )


@pytest.fixture
def instance(tmp_path) -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.local_temp(str(tmp_path)) as real:
        yield real


def evaluate(warehouse: Warehouse, at: int, when: datetime, instance=None):
    context = dg.build_schedule_context(
        instance=instance,
        scheduled_execution_time=when,
        resources={"warehouse": warehouse},
    )
    return build_schedules(warehouse.settings)[at](context)


def night(day: str) -> datetime:
    """Half past two in Paris, on the night that ends on ``day``."""
    return datetime.fromisoformat(f"{day} 02:30").replace(tzinfo=ZoneInfo(PARIS))


def traded(warehouse: Warehouse, *days: str) -> None:
    frame = pd.DataFrame({"business_date": [date.fromisoformat(d) for d in days]})
    frame = frame.assign(store_id="s", n_intervals=0, grain_minutes=15, source="hours")
    with warehouse.session() as session:
        both = (min(frame["business_date"]), max(frame["business_date"]))
        session.replace("trading_days", session.connection.from_df(frame), both)


def sold(warehouse: Warehouse, *categories: str) -> None:
    frame = pd.DataFrame({"category": categories, "product_id": categories})
    day = date(2026, 3, 28)
    frame = frame.assign(
        store_id="s", business_date=day, interval_start=datetime(2026, 3, 28, 9, tzinfo=UTC),
        interval_of_day=0, grain_minutes=15, transactions=1, units=1.0, net_cents=100,
    )  # fmt: skip
    with warehouse.session() as session:
        session.replace("interval_sales", session.connection.from_df(frame), (day, day))


@pytest.mark.parametrize("day_starts_hour", [0, 2, 5, 23])
@pytest.mark.parametrize("timezone", [PARIS, "Europe/Lisbon", "America/Santiago", "Asia/Tokyo"])
def test_each_business_day_of_a_year_is_closed_by_one_tick_after_it_ended(
    tmp_path, timezone, day_starts_hour
):
    settings = Settings(
        home=tmp_path, landing=tmp_path, timezone=timezone, day_starts_hour=day_starts_hour
    )
    times = ticks(settings, 0, date(2026, 1, 1), date(2027, 1, 1))
    ended = [day_ended(tick, settings) for tick in times]
    assert len(times) == 365
    assert all(after - before == timedelta(days=1) for before, after in pairwise(ended))
    zone = ZoneInfo(timezone)
    for tick, day in zip(times, ended, strict=True):
        closed = datetime(day.year, day.month, day.day) + timedelta(days=1, hours=day_starts_hour)
        assert (
            timedelta(hours=1)
            < tick - closed.replace(tzinfo=zone).astimezone(UTC)
            < timedelta(hours=4)
        )


@pytest.mark.parametrize(
    ("changes", "tick"), [("2026-03-29", "03:00+02:00"), ("2026-10-25", "02:30+01:00")]
)
def test_the_night_the_clocks_change_has_one_tick(tmp_path, changes, tick):
    settings = Settings(home=tmp_path, landing=tmp_path, timezone=PARIS)
    day = date.fromisoformat(changes)
    (time,) = ticks(settings, 0, day, day + timedelta(days=1))
    assert time.isoformat(timespec="minutes") == f"{changes}T{tick}"
    assert day_ended(time, settings) == day - timedelta(days=1)


def test_models_are_fitted_on_mondays_after_the_night_run(tmp_path):
    settings = Settings(home=tmp_path, landing=tmp_path, timezone=PARIS)
    span = (date(2026, 3, 1), date(2026, 11, 1))
    weekly, nightly = ticks(settings, 1, *span), ticks(settings, 0, *span)
    assert {(t.weekday(), t.hour, t.minute) for t in weekly} == {(0, 4, 0)}
    assert len(weekly) == 35
    last = [max(n for n in nightly if n < t) for t in weekly]
    assert all(t - n == timedelta(minutes=90) for t, n in zip(weekly, last, strict=True))


@pytest.mark.parametrize("day", ["2026-03-29", "2026-03-30", "2026-10-25", "2026-10-26"])
def test_the_night_run_asks_for_the_day_before(warehouse, day):
    request = evaluate(warehouse, 0, night(day))
    before = str(date.fromisoformat(day) - timedelta(days=1))
    assert (request.tags[START], request.tags[END]) == (before, before)


def test_a_day_that_is_there_is_not_made_again(warehouse):
    traded(warehouse, "2026-03-27", "2026-03-28")
    assert isinstance(evaluate(warehouse, 0, night("2026-03-29")), dg.SkipReason)
    request = evaluate(warehouse, 0, night("2026-03-30"))
    assert (request.tags[START], request.tags[END]) == ("2026-03-29", "2026-03-29")


def test_nights_without_a_scheduler_are_made_up_for_but_not_years(warehouse):
    traded(warehouse, "2026-03-20")
    request = evaluate(warehouse, 0, night("2026-03-29"))
    assert (request.tags[START], request.tags[END]) == ("2026-03-21", "2026-03-28")
    assert days_to_close(warehouse, date(2026, 12, 1)) == (date(2026, 12, 1),) * 2


def test_a_day_of_tomorrow_in_the_lake_hides_none(warehouse):
    traded(warehouse, "2026-03-26", "2026-04-02")
    assert days_to_close(warehouse, date(2026, 3, 28)) == (date(2026, 3, 27), date(2026, 3, 28))


def test_models_are_asked_for_by_category_sold(warehouse, instance):
    monday = datetime(2026, 3, 30, 4, tzinfo=ZoneInfo(PARIS))
    assert [type(r) for r in evaluate(warehouse, 1, monday, instance)] == [dg.SkipReason]
    sold(warehouse, "tea", "bars")
    requests = list(evaluate(warehouse, 1, monday, instance))
    assert [r.partition_key for r in requests] == ["bars", "tea"]
    assert len({r.run_key for r in requests}) == 2
    assert set(instance.get_dynamic_partitions("category")) == {"bars", "tea"}


def test_the_schedules_name_the_jobs_they_launch_and_dagster_accepts_their_requests(
    warehouse, instance
):
    definitions = build_definitions({"warehouse": warehouse})
    repository = definitions.get_repository_def()
    jobs = {s.name: s.job_name for s in repository.schedule_defs}
    assert jobs == {
        "nightly_ingest": "ingest",
        "weekly_models": "models",
        "weekly_maintenance": "maintenance",
    }
    sold(warehouse, "bars")
    for schedule in repository.schedule_defs:
        context = dg.build_schedule_context(
            instance=instance, scheduled_execution_time=night("2026-03-30"),
            repository_def=repository, resources={"warehouse": warehouse},
        )  # fmt: skip
        (request,) = schedule.evaluate_tick(context).run_requests
        # Upkeep does no harm twice.
        assert request.run_key or schedule.name == "weekly_maintenance"


def test_a_day_is_late_six_hours_after_it_ended(tmp_path):
    settings = Settings(home=tmp_path, landing=tmp_path, timezone=PARIS, day_starts_hour=5)
    daily = policies(settings)["daily"]
    assert (daily.deadline_cron, daily.timezone) == ("0 11 * * *", PARIS)
