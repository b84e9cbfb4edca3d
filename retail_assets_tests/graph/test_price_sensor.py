"""What the price sensor asks for, tick by tick, as sales, demand and rules change."""

from __future__ import annotations

from datetime import UTC, date, datetime
from pathlib import Path

import dagster as dg
import pandas as pd
import pytest

from retail_assets.automation import price_sensor as module
from retail_assets.automation.price_sensor import MOST, RUN_KEY, price_sensor
from retail_assets.definitions import build_definitions
from retail_assets.settings import Settings
from retail_assets.warehouse import Warehouse

LAST_DAY = date(2026, 11, 8)
CURVE = {
    "rel_price_from": 0.0, "rel_price_to": 9.0, "demand": 3.0, "demand_lo80": 2.0,
    "demand_hi80": 4.0, "extrapolated": False, "error_bound": 0.0, "flag": "ok",
}  # fmt: skip


class Watched:
    """A lake whose tables a test writes, and the sensor with a daemon's memory of run keys."""

    def __init__(self, home: Path) -> None:
        self.warehouse = Warehouse(Settings(home=home, landing=home))
        self.instance = dg.DagsterInstance.ephemeral()
        self.jobs = {name: stand_in(name) for name in ("demand", "prices", "decisions")}
        self.cursor: str | None = None
        self.put("products", [product("cola", "soft"), product("bar", "sweets")])
        self.sales(event("flash", "cola"))
        self.receipts(LAST_DAY, "soft", "sweets")
        for category in ("soft", "sweets"):
            row = {"category": category, "store_id": "s", "product_id": "x", "mean": 1.0, "sd": 1.0}
            row |= {"q025": 0.0, "q50": 1.0, "q975": 2.0, "as_of": LAST_DAY}
            row |= {"units_per_transaction_mean": 1.0, "units_per_transaction_var": 0.0}
            self.put("demand_rates", [row], category)
        self.curves("soft", ("flash", "cola", 200))
        self.curves("sweets", ("everyday", "bar", 200))

    def put(self, table: str, rows: list[dict], scope=None) -> None:
        with self.warehouse.session() as session:
            frame = session.connection.from_df(pd.DataFrame(rows))
            session.replace(table, frame, scope)

    def sales(self, *rows: dict) -> None:
        self.put("sale_events", list(rows))

    def receipts(self, day: date, *categories: str) -> None:
        at = datetime(day.year, day.month, day.day, 9, tzinfo=UTC)
        row = {"store_id": "s", "business_date": day, "interval_start": at, "interval_of_day": 0}
        row |= {"grain_minutes": 15, "transactions": 1, "units": 1.0, "net_cents": 100}
        rows = [row | {"category": c, "product_id": c} for c in categories]
        self.put("interval_sales", rows, (day, day))

    def curves(self, category: str, *prices: tuple[str, str, int], as_of=LAST_DAY, **more) -> None:
        names = ("sale_id", "product_id", "price_cents")
        rows = [dict(zip(names, p, strict=True)) | CURVE | more for p in prices]
        self.put(
            "demand_curves", [r | {"category": category, "as_of": as_of} for r in rows], category
        )

    def rules(self, text: str) -> None:
        self.warehouse.settings.rules.mkdir(exist_ok=True)
        (self.warehouse.settings.rules / "pricing_rules.csv").write_text(text)

    def tick(self) -> list[tuple[str, str]]:
        """Job and partition of each new request, launched as runs that have not started."""
        context = dg.build_sensor_context(
            instance=self.instance, cursor=self.cursor, resources={"warehouse": self.warehouse}
        )
        result = price_sensor(context)
        if isinstance(result, dg.SkipReason):
            return []
        self.cursor = result.cursor
        for new in result.dynamic_partitions_requests:
            self.instance.add_dynamic_partitions(new.partitions_def_name, new.partition_keys)
        asked = []
        for request in result.run_requests:
            if self.found(request.run_key) is None:
                self.instance.create_run_for_job(
                    self.jobs[request.job_name], tags={RUN_KEY: request.run_key}
                )
                asked.append((request.job_name, request.partition_key))
        return asked

    def found(self, key: str) -> dg.DagsterRun | None:
        return next(iter(self.instance.get_runs(dg.RunsFilter(tags={RUN_KEY: key}))), None)

    def end(self, failed: bool = False) -> None:
        """Every run ends."""
        for run in self.instance.get_runs():
            if not run.is_finished:
                end = (
                    self.instance.report_run_failed if failed else self.instance.report_run_canceled
                )
                end(run)


def stand_in(name: str) -> dg.JobDefinition:
    @dg.op
    def nothing() -> None: ...

    @dg.job(name=name)
    def job() -> None:
        nothing()

    return job


def product(name: str, category: str) -> dict:
    return {"product_id": name, "name": name, "category": category, "unit_cost": 1.0}


def event(sale: str, product: str, day: int = 10, **changes) -> dict:
    row = {"sale_id": sale, "product_id": product, "starts_at": datetime(2026, 11, day)}
    return row | {"units_available": 9, "candidate_prices": "2.00", "price": None} | changes


@pytest.fixture
def watched(tmp_path):
    return Watched(tmp_path)


def test_a_sale_to_come_is_priced_once(watched):
    assert watched.tick() == [("prices", "flash")]
    assert watched.instance.get_dynamic_partitions("sale") == ["flash"]
    assert watched.instance.get_dynamic_partitions("category") == ["soft"]
    watched.end()
    assert watched.tick() == []


def test_a_replay_a_restart_and_a_lost_cursor_ask_for_nothing(watched):
    watched.tick()
    watched.end(failed=True)
    assert [watched.tick(), watched.tick()] == [[], []]
    watched.cursor = None
    assert watched.tick() == []


def test_a_quiet_tick_opens_no_table(watched, monkeypatch):
    watched.tick()
    watched.end()
    watched.tick()
    monkeypatch.setattr(module, "_ask", None)
    assert watched.tick() == []


def test_a_changed_event_rule_cost_or_curve_prices_again_and_so_does_one_that_changes_back(
    watched,
):
    watched.tick()
    before = [event("flash", "cola")]
    changes = [
        lambda: watched.sales(event("flash", "cola", units_available=8)),
        lambda: watched.sales(*before),
        lambda: watched.rules("rule_id\n"),
        lambda: watched.rules(""),
        lambda: watched.rules("rule_id\n"),
        lambda: watched.put("products", [product("cola", "soft") | {"unit_cost": 0.5}]),
        lambda: watched.curves("soft", ("flash", "cola", 200), demand=2.5),
    ]
    for change in changes:
        watched.end()
        change()
        assert watched.tick() == [("prices", "flash")]


def test_what_concerns_other_sales_or_says_the_same_again_prices_nothing(watched):
    watched.tick()
    watched.end()
    watched.curves("sweets", ("everyday", "bar", 200), demand=9.0)
    watched.sales(event("past", "bar", 1, price=2.0), event("flash", "cola") | {"source_row": 7})
    watched.curves("soft", ("flash", "cola", 200))
    assert watched.tick() == []


def test_demand_older_than_the_receipts_is_asked_for_first(watched):
    watched.receipts(date(2026, 11, 9), "soft", "sweets")  # no sale of sweets is to come
    assert watched.tick() == [("demand", "soft")]
    assert watched.tick() == []
    watched.curves("soft", ("flash", "cola", 200), as_of=date(2026, 11, 9))
    watched.end()
    assert watched.tick() == [("prices", "flash")]


@pytest.mark.parametrize(
    "new", [event("late", "cola"), event("flash", "cola", candidate_prices="2.00;1.80")]
)
def test_a_sale_or_a_price_without_a_curve_asks_for_demand(watched, new):
    watched.tick()
    watched.end()
    others = [event("flash", "cola")] if new["sale_id"] == "late" else []
    watched.sales(*others, new)
    assert watched.tick() == [("demand", "soft")]


def test_when_demand_failed_the_sale_is_priced_on_the_older_curves(watched):
    watched.receipts(date(2026, 11, 9), "soft")
    assert watched.tick() == [("demand", "soft")]
    watched.end(failed=True)
    assert watched.tick() == [("prices", "flash")]
    watched.end(failed=True)
    assert watched.tick() == []
    watched.receipts(date(2026, 11, 9), "soft", "sweets")
    assert watched.tick() == []
    watched.sales(event("flash", "cola", day=11))  # an input changed: both again
    assert watched.tick() == [("demand", "soft")]


def test_a_category_without_models_waits_for_them(watched):
    watched.put("products", [product("cola", "new")])
    watched.receipts(LAST_DAY, "new")
    assert watched.tick() == [("prices", "flash")]  # which says that no curve is there


def test_what_a_sale_charged_is_noted_once_it_began_after_its_prices(watched):
    row = {"decided_at": datetime(2026, 11, 1, tzinfo=UTC), "kind": "price", "occasion": "flash"}
    row |= {"key": "cola", "recommended": 200.0, "applied": None, "propensity": 1.0, "run_id": "r"}
    watched.put("decisions", [row], "flash")
    two_days = {"ends_at": datetime(2026, 11, 11, 23)}
    watched.sales(event("flash", "cola", **two_days))
    watched.tick()
    watched.end()
    day = date(2026, 11, 10)
    watched.receipts(day, "soft")
    watched.curves("soft", ("flash", "cola", 200), as_of=day, demand=2.0)
    assert watched.tick() == [("prices", "flash")]
    assert watched.tick() == []  # both runs write the decisions of the sale
    watched.end()
    assert watched.tick() == [("decisions", "flash")]
    watched.end()
    assert watched.tick() == []


def test_a_rejected_event_of_a_sale_is_priced_so_that_the_run_says_why(watched):
    watched.tick()
    watched.end()
    rejected = {"source_file": "a.csv", "source_row": 2, "reasons": ["price: not a number"]}
    rejected |= {"payload": '{"sale_id": "torn"}', "ingested_at": datetime(2026, 11, 8, tzinfo=UTC)}
    watched.put("sale_events_quarantine", [rejected])
    assert watched.tick() == [("prices", "torn")]


def test_a_thousand_sales_come_a_few_a_tick_and_none_is_lost(watched):
    names = [f"sale{i:04d}" for i in range(1000)]
    watched.sales(*(event(name, "cola") for name in names))
    watched.curves("soft", *((name, "cola", 200) for name in names))
    asked = [watched.tick() for _ in range(3)]
    assert [len(some) for some in asked] == [MOST] * 3
    assert [sale for some in asked for _, sale in some] == names[: 3 * MOST]


def test_an_empty_lake_asks_for_nothing(tmp_path):
    warehouse = Warehouse(Settings(home=tmp_path, landing=tmp_path))
    with dg.DagsterInstance.ephemeral() as instance:
        context = dg.build_sensor_context(instance=instance, resources={"warehouse": warehouse})
        assert not price_sensor(context).run_requests


def test_dagster_accepts_the_requests_and_registers_their_partitions(watched, tmp_path):
    repository = build_definitions({"warehouse": watched.warehouse}).get_repository_def()
    (tmp_path / "dagster").mkdir()
    instance = dg.DagsterInstance.local_temp(str(tmp_path / "dagster"))
    with (
        instance,
        dg.SensorEvaluationContext(
            instance_ref=instance.get_ref(),
            last_tick_completion_time=None,
            last_run_key=None,
            cursor=None,
            repository_name=None,
            repository_def=repository,
            definitions=None,
            resources=repository.get_top_level_resources(),
        ) as context,
    ):  # as the daemon's code server has it
        (request,) = price_sensor.evaluate_tick(context).run_requests
    assert (request.job_name, request.tags["dagster/partition"]) == ("prices", "flash")
