"""Scenarios that rest on inferred shelves or cut lists say so."""

from __future__ import annotations

import dagster as dg
import pytest

from retail_assets.checks.scenario_checks import capacity_landed, lists_whole
from retail_assets.partitions import CATEGORIES
from retail_assets.settings import Settings
from retail_assets.warehouse import Warehouse


def _ask(check, instance, metadata=None, **resources) -> dg.AssetCheckEvaluation:
    """Materialise the check's asset for the category ``bars`` and ask the check."""
    (key,) = check.check_keys

    @dg.asset(key=key.asset_key, partitions_def=CATEGORIES)
    def made() -> dg.MaterializeResult:
        return dg.MaterializeResult(metadata=metadata)

    done = dg.materialize(
        [made, check], instance=instance, partition_key="bars", resources=resources
    )
    (evaluation,) = done.get_asset_check_evaluations()
    return evaluation


@pytest.fixture
def instance():
    with dg.DagsterInstance.ephemeral() as made:
        made.add_dynamic_partitions(CATEGORIES.name or "", ["bars"])
        yield made


@pytest.mark.parametrize(("share", "passed"), [(0.0, True), (0.001, True), (0.0011, False)])
def test_cut_lists_of_customers_are_said(instance, share, passed):
    instance.report_runless_asset_event(
        dg.AssetMaterialization(
            "assortment_simulation", partition="other", metadata={"truncated_share": 0.5 - share}
        )
    )
    evaluation = _ask(lists_whole, instance, {"truncated_share": share})
    assert evaluation.passed is passed
    assert evaluation.severity == dg.AssetCheckSeverity.WARN
    assert evaluation.metadata["truncated_share"].value == share


@pytest.mark.parametrize(
    ("shelves", "inferred"),
    [
        ([], 4),
        ([("a", None, 5), ("b", None, 5)], 0),
        ([("a", "s1", 5), ("b", None, 5)], 1),
        ([("a", "s1", None), ("a", None, 7), ("b", None, None)], 3),
    ],
)
def test_shelves_inferred_from_sales_are_counted(tmp_path, instance, shelves, inferred):
    warehouse = Warehouse(Settings.load(tmp_path))
    with warehouse.session() as session:
        rates = (
            "SELECT 'bars' AS category, s AS store_id, p AS product_id, 1.0 AS mean, 0.1 AS sd,"
            " 0.8 AS q025, 1.0 AS q50, 1.2 AS q975, now() AS as_of"
            " FROM (VALUES ('s1'), ('s2')) t(s), (VALUES ('a'), ('b')) u(p)"
        )
        session.replace("demand_rates", session.sql(rates), "bars")
        session.execute(
            "CREATE TABLE given (product_id VARCHAR, store_id VARCHAR, capacity BIGINT)"
        )
        for row in shelves:
            session.execute("INSERT INTO given VALUES (?, ?, ?)", row)
        session.replace(
            "shelf", session.sql("SELECT *, 'f' AS source_file, 1 AS source_row FROM given")
        )
    evaluation = _ask(capacity_landed, instance, warehouse=warehouse)
    assert evaluation.passed is (inferred == 0)
    assert evaluation.metadata["shelves_inferred"].value == inferred
    assert evaluation.metadata["shelves"].value == 4
