"""A failed run becomes one row of alerts and one call of the webhook, and no secret leaks."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer

import dagster as dg
import pytest

from retail_assets import alerts
from retail_assets.alerts import WEBHOOK_VARIABLE, Alert, note, noted
from retail_assets.assets import report
from retail_assets.automation.alert_sensor import alert_sensor
from retail_assets.errors import ModelError
from retail_assets.settings import Settings
from retail_assets.warehouse import Warehouse

SECRET = "s3cr3t-t0ken"
WHY = "category bars: no receipts; run interval_sales first"


class Webhook:
    """A real server on loopback that remembers what it was told."""

    def __init__(self) -> None:
        self.told: list[dict] = []
        self.answer = 200
        hook = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                hook.told.append({"path": self.path, **json.loads(body)})
                self.send_response(hook.answer)
                self.end_headers()

            def log_message(self, *_: object) -> None: ...

        self.server = HTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/{SECRET}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()


@pytest.fixture
def webhook(monkeypatch) -> Iterator[Webhook]:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    hook = Webhook()
    monkeypatch.setenv(WEBHOOK_VARIABLE, hook.url)
    yield hook
    hook.server.shutdown()
    hook.server.server_close()


@pytest.fixture
def warehouse(tmp_path, monkeypatch) -> Warehouse:
    monkeypatch.delenv(WEBHOOK_VARIABLE, raising=False)
    return Warehouse(Settings(home=tmp_path, landing=tmp_path))


@pytest.fixture
def instance(tmp_path) -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.local_temp(str(tmp_path)) as real:
        yield real


@dg.op
def look() -> None:
    try:
        raise ModelError(WHY)
    except ModelError as error:
        raise ValueError("a step failed") from error


@dg.job(partitions_def=dg.StaticPartitionsDefinition(["bars"]))
def models() -> None:
    look()


class Watch:
    """Ticks of the sensor over one instance, as the daemon has them."""

    def __init__(self, instance: dg.DagsterInstance, warehouse: Warehouse) -> None:
        self.instance, self.warehouse, self.cursor = instance, warehouse, None
        self.repository = dg.Definitions(
            jobs=[models], sensors=[alert_sensor], resources={"warehouse": warehouse}
        ).get_repository_def()
        self.tick()

    def tick(self) -> None:
        context = dg.build_sensor_context(
            instance=self.instance, cursor=self.cursor, repository_def=self.repository,
            resources={"warehouse": self.warehouse},
        )  # fmt: skip
        self.cursor = alert_sensor.evaluate_tick(context).cursor

    def fail(self) -> str:
        job = self.repository.get_job("models")
        done = job.execute_in_process(
            instance=self.instance, partition_key="bars", raise_on_error=False
        )
        assert not done.success
        return done.run_id

    def rows(self) -> list[dict]:
        with self.warehouse.session() as session:
            return session.sql("FROM alerts").to_dicts()


def everything(watch: Watch, output: str) -> str:
    """All that was kept: the table, the instance's events and what was printed."""
    logs = [
        str(record) for run in watch.instance.get_runs()
        for record in watch.instance.all_logs(run.run_id)
    ]  # fmt: skip
    event = watch.instance.get_latest_materialization_event(dg.AssetKey("alerts"))
    return "\n".join([str(watch.rows()), *logs, str(event), output])


def test_a_failed_run_is_noted_once_and_told_once(instance, warehouse, webhook):
    watch = Watch(instance, warehouse)
    run_id = watch.fail()
    watch.tick()
    watch.tick()
    (row,), (told,) = watch.rows(), webhook.told
    for found in (row, told):
        assert (found["job"], found["partition"], found["step"]) == ("models", "bars", "look")
        assert found["run_id"] == found["alert_id"] == run_id
        assert found["message"] == WHY
    assert told["text"] == f"models of bars failed: {WHY}"
    assert row["sent"] is True
    assert row["send_error"] is None
    assert abs(row["raised_at"] - datetime.now(UTC)) < timedelta(minutes=1)
    assert instance.get_latest_materialization_event(dg.AssetKey("alerts")) is not None


def test_without_a_webhook_the_row_says_that_nobody_was_told(instance, warehouse):
    watch = Watch(instance, warehouse)
    watch.fail()
    watch.tick()
    assert [row["sent"] for row in watch.rows()] == [None]


def test_a_webhook_that_fails_is_noted_and_its_address_is_nowhere(
    instance, warehouse, webhook, capfd
):
    watch = Watch(instance, warehouse)
    webhook.answer = 500
    watch.fail()
    watch.tick()
    (row,) = watch.rows()
    assert (row["sent"], row["send_error"]) == (False, "HTTP status 500")
    assert SECRET not in everything(watch, "".join(capfd.readouterr()))


@pytest.mark.parametrize(
    ("url", "error"),
    [
        ("http://127.0.0.1:1/{secret}", "ConnectionRefusedError"),
        ("http://127.0.0.1:1/a b{secret}", "InvalidURL"),
        ("http://[{secret}", "ValueError"),
        ("file:///etc/{secret}", f"{WEBHOOK_VARIABLE} is not a http(s) address"),
        ("{secret}", f"{WEBHOOK_VARIABLE} is not a http(s) address"),
    ],
)
def test_a_wrong_address_is_noted_and_not_quoted(monkeypatch, url, error):
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setenv(WEBHOOK_VARIABLE, url.format(secret=SECRET))
    found = alerts.sent(alert("a", datetime(2026, 3, 1, tzinfo=UTC)))
    assert (found.sent, found.send_error) == (False, error)
    assert SECRET not in repr(found)


def test_a_webhook_that_never_answers_does_not_hold_the_sensor(monkeypatch):
    with socket.create_server(("127.0.0.1", 0)) as deaf:
        monkeypatch.setenv("no_proxy", "127.0.0.1")
        monkeypatch.setenv(WEBHOOK_VARIABLE, f"http://127.0.0.1:{deaf.getsockname()[1]}/")
        monkeypatch.setattr(alerts, "TIMEOUT_SECONDS", 0.2)
        found = alerts.sent(alert("a", datetime(2026, 3, 1, tzinfo=UTC)))
    assert (found.sent, found.send_error) == (False, "TimeoutError")


def alert(name: str, raised_at: datetime) -> Alert:
    return Alert(name, raised_at, "run_failed", "models", None, name, None, "why")


def test_a_year_of_alerts_is_kept_and_each_once(warehouse):
    start = datetime(2025, 1, 1, tzinfo=UTC)
    note(warehouse, [alert("old", start), alert("kept", start + timedelta(days=100))])
    note(warehouse, [alert("kept", start + timedelta(days=100))])
    assert noted(warehouse) == {"old", "kept"}
    assert note(warehouse, [alert("new", start + timedelta(days=400))]) == 2
    assert noted(warehouse) == {"kept", "new"}


def test_the_asset_notes_runs_that_failed_while_no_sensor_was_there(instance, warehouse, webhook):
    watch = Watch(instance, warehouse)
    first = watch.fail()
    watch.tick()
    second = watch.fail()
    for _ in range(2):
        assert dg.materialize(
            [report.alerts], instance=instance, resources={"warehouse": warehouse}
        ).success
    rows = {row["run_id"]: row for row in watch.rows()}
    assert rows.keys() == {first, second}
    assert rows[second]["message"] == WHY
    assert len(webhook.told) == 1  # late news is noted, not rung


@dg.asset
def sold() -> None: ...


@dg.asset_check(asset=sold, blocking=True)
def plausible() -> dg.AssetCheckResult:
    return dg.AssetCheckResult(passed=False)


@dg.asset(deps=[sold])
def learnt() -> None: ...


def test_a_failed_check_is_named():
    done = dg.materialize([sold, plausible, learnt], raise_on_error=False)
    failed = next(event for event in done.all_events if event.is_step_failure)
    assert "plausible" in alerts.reason(failed)
    assert "\n" not in alerts.reason(failed)
