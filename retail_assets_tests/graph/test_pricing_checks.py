"""What stops a sale from being priced, and the checks of prices on tables torn by hand."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import dagster as dg
import pandas as pd
import pytest

from retail_assets.assets import pricing
from retail_assets.assets.price_candidates import candidate_prices_of
from retail_assets.checks.pricing_checks import (
    CHECKS,
    MAX_RATIO_GAP,
    MAX_SCORE_GAP,
    pricing_checks,
    proven,
)
from retail_assets.partitions import SALES
from retail_assets.settings import Settings
from retail_assets.warehouse import Warehouse
from retail_assets_tests.graph.test_pricing_assets import TOY, TOY_CURVES, lake, price, refused

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
    assert proven(0.0, None, MAX_RATIO_GAP / 10)
    assert not proven(0.0, 2 * MAX_SCORE_GAP, None)
    assert not proven(0.0, None, 2 * MAX_RATIO_GAP)
    assert not proven(None, None, None)


def test_a_recommended_price_never_tried_is_warned_of(warehouse: Warehouse):
    put(warehouse, "optimal_prices", prices(extrapolated=True))
    found = verdict(warehouse, "prices_tried_before")
    assert not found.passed
    assert found.severity == dg.AssetCheckSeverity.WARN
    assert found.metadata["wrong"].value == ["Ball"]


@pytest.mark.parametrize(
    ("prices", "message"),
    [
        ("4;abc", r"sale_events, sale flash, product Ball: candidate price 'abc' is not a number"),
        ("4;3,50", r"product Ball: candidate price '3,50' is not a number; write 3.90;3.50"),
        ("4;", r"product Ball: candidate price '' is not a number"),
        ("4;nan", r"product Ball: candidate price 'nan' is not a number"),
        ("4;inf", r"product Ball: candidate price 'inf' is not a number"),
        ("4;0", r"product Ball: candidate price 0 must be above 0"),
        ("4;-2", r"product Ball: candidate price -2 must be above 0"),
        ("4;2;4.00", r"product Ball: candidate price 4.00 stands twice; drop one"),
        ("4;1.999", r"product Ball: candidate price 1.999 is not in whole cents"),
        ("4;2.20", r"no demand curve of Ball at 2.20 \(1 prices in all\); run demand_curves of"),
    ],
)
def test_a_wrong_price_list_names_the_product_and_the_price(tmp_path, prices, message):
    warehouse = lake(tmp_path, events=[{"candidate_prices": prices}, {}])
    refused(warehouse, message)


@pytest.mark.parametrize(
    ("products", "changes", "goals", "message"),
    [
        (TOY, {"units_available": 0}, "", "Ball, Pen: units_available is missing or 0"),
        (({"product_id": "Ball"}, TOY[1]), {}, "", "sale flash: Ball: no unit_cost in products"),
        (
            ({"product_id": "Ball", "unit_cost": 1.0, "msrp": None, "original_price": None},),
            {"candidate_prices": None},
            "",
            "product Ball: no candidate_prices, and no msrp for the ladder",
        ),
        (
            ({"product_id": "Ball", "unit_cost": 1.0, "msrp": 9e5},),
            {"candidate_prices": "0.01;0.02;99999.99"},
            "max_total_cells = 1000\n",
            r"add up to 9,999,999 different totals, over max_total_cells = 1,000 in rules",
        ),
    ],
)
def test_what_cannot_be_priced_is_refused_by_name(tmp_path, products, changes, goals, message):
    curves = TOY_CURVES | {("Ball", cents): ((), (1,)) for cents in (1, 2, 9_999_999)}
    if "candidate_prices" not in changes:
        curves = TOY_CURVES
    refused(lake(tmp_path, products, curves, goals=goals, **changes), message)


def test_a_missing_list_price_is_named_with_the_rule_that_needs_it(tmp_path):
    products = (TOY[0] | {"msrp": None}, TOY[1])
    warehouse = lake(tmp_path, products, rules="off,any,,discount_from_msrp_pct,>=,10\n")
    refused(warehouse, "msrp_cents missing or out of range for Ball, needed by off; give msrp")


def test_unknown_products_and_unknown_sales_are_named(tmp_path):
    warehouse = lake(tmp_path)
    with warehouse.session() as session:
        session.replace("products", session.sql("FROM products WHERE product_id = 'Pen'"))
    refused(warehouse, "sale flash: Ball: not in products; land them")
    with warehouse.session() as session:
        session.replace("sale_events", session.sql("FROM sale_events WHERE false"))
    refused(warehouse, "sale flash: not in sale_events; land a row per item")


def test_prices_need_candidates_of_the_same_items(tmp_path):
    warehouse = lake(tmp_path)
    with pytest.raises(Exception, match="hold 0 of its 2 items or others; run price_candidates"):
        price(warehouse, [pricing.price_sale])


def test_a_ladder_holds_todays_price_and_a_list_only_itself(tmp_path):
    warehouse = lake(
        tmp_path,
        events=[{"candidate_prices": None}, {"candidate_prices": "3; 1.00"}],
        goals="[ladder]\nlowest_pct_of_msrp = 70\nhighest_pct_of_msrp = 100\nstep_cents = 50\n",
    )
    with warehouse.session() as session:
        every = candidate_prices_of(session, SALE)
        none = candidate_prices_of(session, SALE, "books")
    ball = [("Ball", cents) for cents in (350, 400, 450, 500)]
    assert every == [*ball, ("Pen", 100), ("Pen", 300)]
    assert none == []


def test_items_of_other_dates_are_not_one_sale(tmp_path):
    later = {"starts_at": pd.Timestamp("2026-12-20")}
    warehouse = lake(tmp_path, events=[{}, later])
    refused(warehouse, "sale flash: Pen has other dates than Ball; give it a sale_id of its own")


def test_a_rejected_row_is_not_left_out_in_silence(tmp_path):
    warehouse = lake(tmp_path)
    rejected = pd.DataFrame(
        {"source_file": "sale_events.csv", "source_row": 26,
         "payload": '{"sale_id": "flash", "product_id": "Cup"}',
         "reasons": [["missing value: units_available"]], "ingested_at": pd.Timestamp.now(tz="UTC")}
    )  # fmt: skip
    with warehouse.session() as session:
        session.replace("sale_events_quarantine", session.connection.from_df(rejected))
    refused(warehouse, r"sale flash: sale_events.csv, line 26 was rejected \(missing value")


def test_a_run_without_rules_says_that_every_price_is_legal(tmp_path):
    done = price(lake(tmp_path), [pricing.list_candidates])
    (event,) = done.get_asset_materialization_events()
    about = event.step_materialization_data.materialization.metadata
    assert "every price is legal" in about["rule warnings"].value
