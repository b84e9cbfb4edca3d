"""What is requested when an input was written, after a failed run, and after a failed check."""

from __future__ import annotations

import datetime as dt

import dagster as dg
import pytest

from retail_assets import contract
from retail_assets.assets import ingest
from retail_assets.assets.specs import key_lineage
from retail_assets.automation import conditions, jobs
from retail_assets.automation.freshness import EVENT, cadence
from retail_assets.definitions import build_definitions
from retail_assets.partitions import DAYS
from retail_assets.settings import Settings
from retail_assets.warehouse import Warehouse

CATEGORY = "bars"
NOW = dt.datetime(2026, 3, 30, 3, tzinfo=dt.UTC)
YESTERDAY, TODAY = "2026-03-29", "2026-03-30"


@pytest.fixture(scope="module")
def home(tmp_path_factory) -> Settings:
    """A home on which every run that reads its rules fails."""
    path = tmp_path_factory.mktemp("home")
    settings = Settings(home=path, landing=path)
    settings.rules.mkdir()
    for name in ("stock", "pricing"):
        (settings.rules / f"{name}.toml").write_text("[[")
    return settings


@pytest.fixture(scope="module")
def definitions(home: Settings) -> dg.Definitions:
    return build_definitions({"warehouse": Warehouse(home)})


class Automated:
    """Some assets on an instance of their own: inputs are written, ticks say what is requested."""

    def __init__(self, definitions: dg.Definitions, watched: tuple[str, ...]) -> None:
        self.definitions = definitions
        self.graph = definitions.resolve_asset_graph()
        self.instance = dg.DagsterInstance.ephemeral()
        self.instance.add_dynamic_partitions("category", [CATEGORY, "tea"])
        self.instance.add_dynamic_partitions("sale", ["flash"])
        self.watched = dg.AssetSelection.assets(*watched)
        self.cursor = None
        self.now = NOW

    def tick(self) -> dict[str, set[str | None]]:
        """Partitions requested by asset."""
        self.now += dt.timedelta(seconds=30)
        result = dg.evaluate_automation_conditions(
            self.definitions, self.instance, self.watched, self.now, self.cursor
        )
        self.cursor = result.cursor
        return {
            each.key.to_user_string(): {
                key.partition_key for key in each.true_subset.expensively_compute_asset_partitions()
            }
            for each in result.results
            if not each.true_subset.is_empty
        }

    def write(self, name: str, partition: str | None = None, content: str = "1") -> None:
        """An input was written."""
        tags = {"dagster/data_version": content} if contract.table(name).landed else {}
        self.instance.report_runless_asset_event(
            dg.AssetMaterialization(name, partition=partition, tags=tags)
        )

    def write_inputs_of(self, name: str, partition: str | None = None) -> None:
        """All inputs that are not cut another way."""
        specs = {s.key: s for s in self.definitions.resolve_all_asset_specs()}
        for dep in specs[dg.AssetKey(name)].deps:
            if dep.partition_mapping is None:
                cut = self.graph.get(dep.asset_key).partitions_def
                self.write(dep.asset_key.to_user_string(), partition if cut else None)

    def write_and_check(self, name: str, check: str, passed: bool, partition: str) -> None:
        """A real run of a stand-in: the input is written, then its blocking check speaks."""
        cut = self.graph.get(dg.AssetKey(name)).partitions_def

        @dg.asset(name=name, partitions_def=cut)
        def stand_in() -> None: ...

        @dg.asset_check(asset=name, name=check, blocking=True, partitions_def=cut)
        def verdict() -> dg.AssetCheckResult:
            return dg.AssetCheckResult(passed=passed)

        dg.materialize(
            [stand_in, verdict], instance=self.instance, partition_key=partition,
            raise_on_error=False,
        )  # fmt: skip

    def run(self, job: str, partition: str | None = None) -> bool:
        """A real run of a job."""
        done = self.definitions.resolve_job_def(job).execute_in_process(
            instance=self.instance, partition_key=partition, raise_on_error=False
        )
        return done.success


@pytest.fixture
def stock(definitions) -> Automated:
    watch = Automated(definitions, jobs.STOCK)
    watch.write_inputs_of("reorder_plan")
    assert watch.tick() == {}
    return watch


@pytest.fixture
def demand(definitions) -> Automated:
    watch = Automated(definitions, jobs.DEMAND)
    watch.write_inputs_of("demand_model", CATEGORY)
    assert watch.tick() == {}
    return watch


@pytest.fixture
def trials(definitions) -> Automated:
    watch = Automated(definitions, (jobs.TRIALS, *jobs.COLD_START))
    for day in (YESTERDAY, TODAY):
        watch.write_inputs_of("pos_trials", day)
    watch.write("style_trials")
    assert watch.tick() == {}
    return watch


PLAN = {name: {None} for name in jobs.STOCK}
DEMAND = {name: {CATEGORY} for name in jobs.DEMAND}


def test_the_stock_plan_follows_what_is_known_of_the_styles_once(stock):
    stock.write("cold_start_posterior", YESTERDAY)
    assert stock.tick() == PLAN
    assert stock.tick() == {}


def test_a_failed_run_is_not_requested_again_until_an_input_changes(stock):
    stock.write("cold_start_posterior", YESTERDAY)
    assert stock.tick() == PLAN
    assert not stock.run("stock_plan")
    assert [stock.tick() for _ in range(3)] == [{}, {}, {}]
    stock.write("stock", content="2")
    assert stock.tick() == PLAN


def test_an_input_written_while_the_run_lasts_is_not_forgotten(stock):
    stock.write("stock", content="2")
    assert stock.tick() == PLAN
    stock.write("stock", content="3")
    for name in jobs.STOCK:
        stock.write(name)  # the run, which had read the second content, ends
    assert stock.tick() == PLAN
    assert stock.tick() == {}


def test_a_reference_table_read_again_unchanged_starts_nothing(stock):
    stock.write("stock", content="1")
    assert stock.tick() == {}
    stock.write("stock", content="2")
    assert stock.tick() == PLAN


def test_an_input_that_is_missing_is_waited_for(definitions):
    watch = Automated(definitions, jobs.STOCK)
    watch.tick()
    watch.write("cold_start_posterior", YESTERDAY)
    assert watch.tick() == {}
    watch.write_inputs_of("reorder_plan")
    assert watch.tick() == PLAN


def test_demand_follows_the_models_of_its_own_category(demand):
    demand.write("substitution_rates", CATEGORY)
    assert demand.tick() == DEMAND
    assert not demand.run("demand", CATEGORY)
    assert demand.tick() == {}
    demand.write("substitution_rates", "tea")  # which lacks its other inputs
    assert demand.tick() == {}
    demand.write("substitution_rates", CATEGORY)
    assert demand.tick() == DEMAND


@pytest.mark.parametrize(("passed", "asked"), [(False, {}), (True, {CATEGORY})])
def test_a_failed_blocking_check_stops_what_follows(demand, passed, asked):
    demand.write_and_check("demand_model", "higher_prices_never_sell_more", passed, CATEGORY)
    assert demand.tick().get("demand_curves", {}) == asked


def test_trials_follow_the_receipts_of_their_day_and_styles_the_last_week(trials):
    trials.write_and_check("pos_lines", "quarantine_share", True, YESTERDAY)
    same_run = {name: {YESTERDAY} for name in (jobs.TRIALS, *jobs.COLD_START)}
    assert trials.tick() == same_run
    assert trials.tick() == {}
    trials.write("pos_trials", "2026-01-15")  # late receipts: older days keep what they knew
    week = {f"2026-03-{day}" for day in range(23, 30)}
    assert trials.tick() == dict.fromkeys(jobs.COLD_START, week)


def test_a_day_with_too_many_rejected_lines_yields_no_trials_and_stops_no_other_day(trials):
    trials.write_and_check("pos_lines", "quarantine_share", False, YESTERDAY)
    trials.write_and_check("pos_lines", "quarantine_share", True, TODAY)
    assert trials.tick()["pos_trials"] == {TODAY}


def test_database_and_report_follow_anything_that_was_written_but_not_an_alert(definitions):
    watch = Automated(definitions, jobs.REPORTS)
    assert watch.tick() == {}
    watch.write("optimal_prices", "flash")
    assert watch.tick() == {name: {None} for name in jobs.REPORTS}
    assert watch.tick() == {}
    watch.write("alerts")
    assert watch.tick() == {}


def test_every_asset_has_owner_kind_description_version_tags_and_a_time_it_is_due(definitions):
    named = set()
    for spec in definitions.resolve_all_asset_specs():
        name = spec.key.to_user_string()
        assert spec.owners, name
        assert spec.kinds, name
        assert spec.description, name
        assert spec.code_version, name
        assert {"cut", "cadence"} <= spec.tags.keys(), name
        assert (spec.freshness_policy is None) == (cadence(name) == EVENT), name
        if spec.freshness_policy is None:
            named.add(name)
    assert named == {*jobs.PRICES, "alerts", "report_figures"}


def test_what_follows_names_assets_and_inputs_that_exist(definitions):
    specs = {s.key.to_user_string(): s for s in definitions.resolve_all_asset_specs()}
    for name, starts in conditions.FOLLOWS.items():
        deps = {dep.asset_key.to_user_string() for dep in specs[name].deps}
        assert deps.intersection(starts), name
        assert set(starts) <= specs.keys(), name
    waiting = {n for n, s in specs.items() if s.automation_condition is not None}
    assert waiting == {*conditions.FOLLOWS, *jobs.REPORTS}
    assert DAYS.timezone == Settings.load().timezone


def test_a_reference_table_has_its_content_for_a_data_version(tmp_path):
    landing = tmp_path / "landing"
    landing.mkdir()
    warehouse = Warehouse(Settings(home=tmp_path / "home", landing=landing, quiet_seconds=0))
    products = next(a for a in ingest.reference_assets if a.key.path == ["products"])

    def version(text: str) -> str:
        (landing / "products.csv").write_text(f"product_id,name,category\n{text}")
        done = dg.materialize([ingest.landing_files, products], resources={"warehouse": warehouse})
        (event,) = done.asset_materializations_for_node("products")
        return event.tags["dagster/data_version"]

    first = version("bar,Bar,sweets\ntea,Tea,drinks\n")
    assert version("tea,Tea,drinks\nbar,Bar,sweets\n") == first
    assert version("tea,Tea,drinks\nbar,Bar,bars\n") != first


def test_lineage_names_where_identifiers_come_from_and_nothing_else():
    read = ("pos_lines", "stores", "store_hours", "interval_sales")
    found = key_lineage("interval_sales", read).deps_by_column
    assert found.keys() == {"store_id", "product_id"}
    sources = {c: {d.asset_key.to_user_string() for d in deps} for c, deps in found.items()}
    assert sources["product_id"] == {"pos_lines"}
    assert sources["store_id"] == {"pos_lines", "stores", "store_hours"}
    raw = key_lineage("pos_lines", ["raw_pos"]).deps_by_column
    assert raw.keys() == {"source_file"}
