"""The checks of a sale's prices, on tables that are right and on tables torn by hand."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import dagster as dg
import pandas as pd
import pytest

from retail_assets.checks.pricing_checks import CHECKS, MAX_SCORE_GAP, pricing_checks, proven
from retail_assets.partitions import SALES
from retail_assets.settings import Settings
from retail_assets.warehouse import Warehouse

SALE, TODAY = "flash", date(2026, 11, 8)
SPANS = [("Ball", 200, 300, 500), ("Ball", 200, 501, 700), ("Ball", 400, 300, 700)]
SPANS += [("Pen", 100, 300, 700), ("Pen", 300, 300, 700)]


def candidates(spans=SPANS, illegal=()) -> pd.DataFrame:
    frame = pd.DataFrame(
        spans, columns=["product_id", "price_cents", "total_from_cents", "total_to_cents"]
    )
    numbers = ("demand", "demand_lo80", "demand_hi80", "capped_units", "revenue_cents")
    frame = frame.assign(**dict.fromkeys((*numbers, "margin_cents", "sell_through"), 1))
    frame["broken_rules"] = [["floor"] if p in illegal else [] for p in frame["product_id"]]
    frame["legal"] = ~frame["product_id"].isin(illegal)
    return frame.assign(sale_id=SALE, extrapolated=False, as_of=TODAY)


def certificates(gaps: dict[str, float], margin: str = "margin_cents") -> pd.DataFrame:
    rows = [
        {"target": target, "gap": gap, "objective": 1.0, "upper_bound": 1.0 + gap}
        for target, gap in gaps.items()
    ]
    numbers = ("total_cents", "totals", "totals_ruled_out", "revenue_cents", "margin_cents")
    rest = dict.fromkeys((*numbers, "margin_pct", "sell_through_pct"), 1)
    return pd.DataFrame(rows).assign(
        sale_id=SALE, margin=margin, method="branch and bound", as_of=TODAY, **rest
    )


def prices(extrapolated: bool) -> pd.DataFrame:
    numbers = ("expected_units", "units_lo80", "units_hi80", "revenue_cents", "margin_cents")
    row = {"product_id": "Ball", "price_cents": 400, "sell_through": 1.0, "reason": ""}
    row |= dict.fromkeys(numbers, 1) | {"extrapolated": extrapolated, "as_of": TODAY}
    return pd.DataFrame([row | {"sale_id": SALE, "target": "weighted"}])


@pytest.fixture
def warehouse(tmp_path: Path) -> Warehouse:
    return Warehouse(Settings(home=tmp_path, landing=tmp_path))


def put(warehouse: Warehouse, table: str, frame: pd.DataFrame) -> None:
    with warehouse.session() as session:
        session.replace(table, session.connection.from_df(frame), SALE)


def verdict(warehouse: Warehouse, name: str) -> dg.AssetCheckEvaluation:
    """Run one check as Dagster does, after an asset that leaves its table as it is."""
    check, definition = next(
        pair for pair in zip(CHECKS, pricing_checks, strict=True) if pair[0].name == name
    )

    @dg.asset(name=check.asset, partitions_def=SALES)
    def untouched() -> None: ...

    with dg.DagsterInstance.ephemeral() as instance:
        instance.add_dynamic_partitions("sale", [SALE])
        done = dg.materialize(
            [untouched, definition],
            instance=instance,
            resources={"warehouse": warehouse},
            partition_key=SALE,
            raise_on_error=False,
        )
    (found,) = done.get_asset_check_evaluations()
    return found


def test_whole_tables_pass_every_check(warehouse: Warehouse):
    put(warehouse, "price_candidates", candidates())
    put(warehouse, "price_certificates", certificates({"revenue": 0.0, "weighted": 0.0}))
    put(warehouse, "optimal_prices", prices(extrapolated=False))
    for check in CHECKS:
        assert verdict(warehouse, check.name).passed, check.name


def test_an_item_without_a_legal_price_is_named(warehouse: Warehouse):
    put(warehouse, "price_candidates", candidates(illegal=("Pen",)))
    found = verdict(warehouse, "every_item_has_a_legal_price")
    assert not found.passed
    assert found.metadata["wrong"].value == ["Pen"]


@pytest.mark.parametrize(
    "torn",
    [
        ("Ball", 200, 502, 700),  # a hole at 501
        ("Ball", 200, 500, 700),  # 500 twice
        ("Ball", 200, 501, 699),  # the last total is missing
    ],
)
def test_a_hole_or_an_overlap_of_segments_blocks(warehouse: Warehouse, torn):
    put(warehouse, "price_candidates", candidates([SPANS[0], torn, *SPANS[2:]]))
    found = verdict(warehouse, "segments_cover_the_totals")
    assert not found.passed
    assert found.severity == dg.AssetCheckSeverity.ERROR
    assert found.metadata["wrong"].value == ["Ball"]


def test_a_gap_is_accepted_only_where_it_is_stated(warehouse: Warehouse):
    put(warehouse, "price_certificates", certificates({"revenue": 0.0, "weighted": 5e-4}))
    assert not verdict(warehouse, "proven_optimal").passed
    stated = certificates({"revenue": 0.0, "weighted": 5e-4}, "margin_pct")
    put(warehouse, "price_certificates", stated)
    assert verdict(warehouse, "proven_optimal").passed
    assert not proven(0.0, 2 * MAX_SCORE_GAP)
    assert not proven(None, None)


def test_a_recommended_price_never_tried_is_warned_of(warehouse: Warehouse):
    put(warehouse, "optimal_prices", prices(extrapolated=True))
    found = verdict(warehouse, "prices_tried_before")
    assert not found.passed
    assert found.severity == dg.AssetCheckSeverity.WARN
    assert found.metadata["wrong"].value == ["Ball"]
