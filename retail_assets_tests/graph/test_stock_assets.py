"""Projected stock and orders through the assets, on real Delta tables."""

from datetime import date, datetime, timedelta
from pathlib import Path

import dagster as dg
import numpy as np
import pandas as pd
import pytest

from retail_assets.assets import cold_start, stock
from retail_assets.checks import stock_checks
from retail_assets.settings import Settings
from retail_assets.warehouse import Warehouse

FIRST, DAYS = date(2026, 7, 6), 140
LAST = FIRST + timedelta(days=DAYS - 1)
STYLES, KEEP = 6, 0.6
SHIRT = "shirt"  # the one style that comes in sizes
SHIRT_SIZES = {"S": 10, "M": 60, "L": 30}


def put(session, table: str, frame: pd.DataFrame) -> None:
    session.replace(table, session.connection.from_df(frame))


@pytest.fixture(scope="module")
def box_shop(tmp_path_factory: pytest.TempPathFactory) -> Warehouse:
    """A box service: five plain styles and a shirt in three sizes, stock for some weeks."""
    rng = np.random.default_rng(3)
    home = tmp_path_factory.mktemp("box_shop")
    warehouse = Warehouse(Settings(home=home, landing=home))
    names = [f"style_{at}" for at in range(STYLES - 1)] + [SHIRT]
    trials, shipments = [], []
    for p, name in zip(rng.uniform(0.1, 0.3, STYLES), names, strict=True):
        for day in range(DAYS):
            n = int(rng.poisson(20))
            k = int(rng.binomial(n, p))
            when = FIRST + timedelta(days=day)
            trials.append({"product_id": name, "date": when, "n": n, "k": k, "warehouse": "north"})
            noon = datetime(when.year, when.month, when.day, 12)
            for _ in range(k):
                back = noon + timedelta(days=int(rng.integers(5, 15)))
                known, kept = back.date() <= LAST, bool(rng.random() < KEEP)
                shipments.append(
                    {"product_id": name, "sent_at": noon, "kept": kept if known else None,
                     "returned_at": back if known and not kept else None, "warehouse": "north"}
                )  # fmt: skip
    common = {"category": "clothes", "unit_cost": 20, "msrp": 50, "pack_size": 1}
    products = [{"product_id": n, "name": n, "style_id": n} | common for n in names[:-1]]
    products += [
        {"product_id": f"{SHIRT}_{s}", "name": s, "style_id": SHIRT, "size": s} | common
        for s in SHIRT_SIZES
    ]
    held = [
        {"product_id": n, "warehouse": "north", "on_hand": 40 if n == SHIRT else 400,
         "out_with_clients": 30, "on_order": 0, "lead_time_days": 14.0, "lead_time_sd": 3.0}
        for n in [*names, "never_seen"]
    ]  # fmt: skip
    with warehouse.session() as session:
        put(session, "style_trials", pd.DataFrame(trials))
        put(session, "shipments", pd.DataFrame(shipments).astype({"kept": "boolean"}))
        put(session, "products", pd.DataFrame(products))
        put(session, "stock", pd.DataFrame(held))
        session.replace("interval_sales", session.connection.from_df(_size_sales()), (FIRST, FIRST))
    run(warehouse, [cold_start.learn_cold_start], LAST)
    return warehouse


def _size_sales() -> pd.DataFrame:
    row = {
        "store_id": "shop",
        "category": "clothes",
        "business_date": FIRST,
        "grain_minutes": 60,
        "interval_start": pd.Timestamp(FIRST, tz="UTC"),
        "interval_of_day": 0,
        "net_cents": 5000,
    }
    return pd.DataFrame(
        [row | {"product_id": f"{SHIRT}_{s}", "transactions": n, "units": float(n)}
         for s, n in SHIRT_SIZES.items()]
    )  # fmt: skip


def run(warehouse: Warehouse, assets: list, day: date | None = None):
    with dg.DagsterInstance.ephemeral() as instance:
        done = dg.materialize(
            assets,
            instance=instance,
            resources={"warehouse": warehouse},
            partition_key=day.isoformat() if day else None,
        )
    assert done.success
    return done


@pytest.fixture(scope="module")
def planned(box_shop: Warehouse):
    done = run(
        box_shop,
        [
            stock.plan_stock,
            stock_checks.stock_rows_projected,
            stock_checks.month_projections_stable,
        ],
    )
    with box_shop.session() as session:
        forecast = session.sql("SELECT * FROM inventory_forecast ORDER BY ALL").df()
        plan = session.sql("SELECT * FROM reorder_plan ORDER BY ALL").df()
    return done, forecast, plan


def test_units_are_neither_lost_nor_made(planned):
    _, forecast, _ = planned
    for _, rows in forecast.groupby("product_id"):
        units = rows["on_hand_mean"] + rows["out_mean"] + rows["cum_sold_mean"]
        came = rows["arrivals"].cumsum()
        start = rows["units_start_mean"].iloc[0]
        np.testing.assert_allclose(units, start + came, rtol=1e-9)


def test_the_keep_rate_is_learned_from_the_shipments(planned):
    _, forecast, _ = planned
    settled = forecast.groupby("product_id")[["sold_mean", "returned_mean"]].sum()
    kept = settled["sold_mean"].sum() / settled.to_numpy().sum()
    assert kept == pytest.approx(KEEP, abs=0.04)


def test_stock_nothing_is_known_of_is_named(planned):
    done, forecast, _ = planned
    verdict = next(
        e for e in done.get_asset_check_evaluations() if e.check_name == "stock_rows_projected"
    )
    assert not verdict.passed
    assert verdict.metadata["first"].value == ["never_seen, north"]
    assert "never_seen" not in set(forecast["product_id"])


def test_a_short_style_is_ordered_by_its_size_curve(planned):
    _, _, plan = planned
    shirt = plan[plan["product_id"] == SHIRT].set_index("size")
    assert set(shirt.index) == set(SHIRT_SIZES)
    assert shirt["order_qty"].sum() > 0
    assert shirt["order_qty"].idxmax() == "M"
    assert shirt["order_qty"].idxmin() == "S"
    assert shirt["size_share"].sum() == pytest.approx(1)
    plain = plan[plan["product_id"] == "style_0"]
    assert plain["size"].tolist() == ["one"]
    assert plain["size_share"].tolist() == [1.0]


def test_a_repeat_changes_nothing_and_a_later_day_says_how_far_a_month_moved(box_shop, planned):
    _, before, _ = planned
    run(box_shop, [stock.plan_stock])
    with box_shop.session() as session:
        again = session.sql("SELECT * FROM inventory_forecast ORDER BY ALL").df()
        # As if the run before had been a day earlier and 50 units more had been foreseen.
        session.connection.register("again", again)
        older = session.connection.sql(
            "SELECT * REPLACE (as_of - INTERVAL 1 DAY AS as_of,"
            " units_start_mean - 50 AS units_start_mean) FROM again"
        )
        session.replace("inventory_forecast", older)
    pd.testing.assert_frame_equal(before, again)
    run(box_shop, [stock.plan_stock])
    with box_shop.session() as session:
        later = session.sql("SELECT week_start, bom_delta FROM inventory_forecast").df()
    opens = pd.to_datetime(later["week_start"]).dt.day <= 7
    assert opens.any()
    assert not opens.all()
    np.testing.assert_allclose(later.loc[opens, "bom_delta"], 50)
    assert later.loc[~opens, "bom_delta"].isna().all()


def test_a_wrong_rule_names_the_file_and_the_entry(box_shop: Warehouse):
    rules = Path(box_shop.settings.rules)
    rules.mkdir(parents=True, exist_ok=True)
    (rules / "stock.toml").write_text("weeks = 0\n")
    try:
        with pytest.raises(Exception, match=r"stock\.toml: weeks = 0: a whole number between"):
            run(box_shop, [stock.plan_stock])
    finally:
        (rules / "stock.toml").unlink()
