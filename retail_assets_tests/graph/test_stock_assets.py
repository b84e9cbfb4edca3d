"""Projected stock and orders through the assets, on real Delta tables."""

from datetime import date, datetime, timedelta
from pathlib import Path

import dagster as dg
import numpy as np
import pandas as pd
import pytest

from retail_assets.assets import cold_start, stock, stock_demand, stock_inputs, stock_sizes
from retail_assets.assets.style_rates import load_rates
from retail_assets.checks import stock_checks
from retail_assets.models.inventory.returns import Settlement
from retail_assets.models.inventory.rules import StockRules
from retail_assets.models.inventory.traffic import PoolTraffic
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
        # As if the run before had been last night, its weeks a day earlier, and 50 units more
        # had been foreseen throughout.
        session.connection.register("again", again)
        older = session.connection.sql(
            "SELECT * REPLACE ((as_of - INTERVAL 1 DAY)::DATE AS as_of,"
            " (week_start - INTERVAL 1 DAY)::DATE AS week_start,"
            " units_start_mean + 50 AS units_start_mean, on_hand_mean + 50 AS on_hand_mean)"
            " FROM again"
        )
        session.replace("inventory_forecast", older)
    pd.testing.assert_frame_equal(before, again)
    run(box_shop, [stock.plan_stock])
    with box_shop.session() as session:
        later = session.sql("SELECT * FROM inventory_forecast").df()
    start = pd.to_datetime(later["week_start"])
    holds = (start.dt.day == 1) | (start.dt.month != (start + pd.Timedelta(days=6)).dt.month)
    assert holds.any()
    assert not holds.all()
    assert later.loc[~holds, "bom_delta"].isna().all()
    # A night moved each week's end by a seventh of its own change, besides the 50 units.
    a_night = (later["units_start_mean"].max() - later["on_hand_mean"].min()) / 7
    assert np.abs(later.loc[holds, "bom_delta"] + 50).max() < a_night


def test_a_wrong_rule_names_the_file_and_the_entry(box_shop: Warehouse):
    rules = Path(box_shop.settings.rules)
    rules.mkdir(parents=True, exist_ok=True)
    (rules / "stock.toml").write_text("weeks = 0\n")
    try:
        with pytest.raises(Exception, match=r"stock\.toml: weeks = 0: a whole number between"):
            run(box_shop, [stock.plan_stock])
    finally:
        (rules / "stock.toml").unlink()


def small_shop(home: Path, trials: dict[str, int], days: int = 70, **columns: object) -> Warehouse:
    """Products by name with their first day of trials (30 a day, a fifth taken)."""
    warehouse = Warehouse(Settings(home=home, landing=home))
    counted = [
        {"product_id": name, "date": FIRST + timedelta(days=day), "n": 30, "k": 4 + day % 5}
        | columns
        for name, first in trials.items() for day in range(first, days)
    ]  # fmt: skip
    products = [
        {"product_id": name, "name": name, "category": name.split("_")[0], "msrp": 10}
        for name in trials
    ]
    with warehouse.session() as session:
        put(session, "style_trials", pd.DataFrame(counted))
        put(session, "products", pd.DataFrame(products))
    return warehouse


def hold(warehouse: Warehouse, *rows: tuple[str, str]) -> None:
    held = [{"product_id": name, "warehouse": where, "on_hand": 20} for name, where in rows]
    with warehouse.session() as session:
        put(session, "stock", pd.DataFrame(held))


def planned_rows(warehouse: Warehouse) -> pd.DataFrame:
    run(warehouse, [stock.plan_stock])
    with warehouse.session() as session:
        return session.sql("SELECT * FROM inventory_forecast ORDER BY ALL").df()


def test_a_group_without_two_whole_weeks_is_left_out_by_name_and_the_rest_is_planned(tmp_path):
    warehouse = small_shop(tmp_path, {"old_a": 0, "new_b": 60}, warehouse="north")
    hold(warehouse, ("old_a", "north"), ("new_b", "north"))
    run(warehouse, [cold_start.learn_cold_start], FIRST + timedelta(days=69))
    assert set(planned_rows(warehouse)["product_id"]) == {"old_a"}
    with warehouse.session() as session:
        rules, today = stock_inputs.rules(session), stock_inputs.last_day(session)
        _, left_out = stock_inputs.load(session, today, rules, 1)
    assert [line.partition(":")[0] for line in left_out] == ["new in north"]
    assert "two whole weeks" in left_out[0]


def test_without_a_stock_file_there_is_no_plan_and_no_error(tmp_path):
    warehouse = Warehouse(Settings(home=tmp_path, landing=tmp_path))
    assert planned_rows(warehouse).empty


def test_stock_without_any_trials_says_what_to_land(tmp_path):
    warehouse = Warehouse(Settings(home=tmp_path, landing=tmp_path))
    hold(warehouse, ("old_a", "north"))
    with pytest.raises(Exception, match="stock has landed, but no style is known; land"):
        run(warehouse, [stock.plan_stock])


def test_trials_without_a_warehouse_are_shared_by_those_that_hold_stock(tmp_path):
    warehouse = small_shop(tmp_path, {"old_a": 0})
    hold(warehouse, ("old_a", "north"), ("old_a", "south"))
    run(warehouse, [cold_start.learn_cold_start], FIRST + timedelta(days=69))
    wanted = planned_rows(warehouse)
    first = wanted[wanted["week"] == 1].set_index("warehouse")["sent_mean"]
    # 210 chances a week, a fifth taken, half for each.
    assert first["north"] == pytest.approx(min(20, 210 * 0.2 / 2), rel=0.15)
    assert first["south"] == pytest.approx(first["north"], rel=0.05)


def test_trials_that_stopped_are_not_weeks_without_clients(tmp_path):
    warehouse = small_shop(tmp_path, {"old_a": 0}, warehouse="north")
    last = FIRST + timedelta(days=69 + 28)
    run(warehouse, [cold_start.learn_cold_start], last)
    rows = [{"product_id": "old_a", "warehouse": "north", "group_id": "old"}]
    with warehouse.session() as session:
        rates = load_rates(session, "style_trials")
        traffic, _ = stock_demand.pool_traffic(session, "style_trials", rows, rates, last, 12)
    assert traffic["north", "old"].mean == pytest.approx(210)


def test_a_style_has_the_chances_of_its_sizes_and_the_sum_of_their_rates(tmp_path):
    warehouse = small_shop(tmp_path, {"tee_s": 0, "tee_m": 0, "cap_a": 0}, warehouse="north")
    with warehouse.session() as session:
        products = session.sql("SELECT * FROM products").df()
        products["style_id"] = products["category"].where(products["category"] == "tee")
        put(session, "products", products)
    hold(warehouse, ("tee", "north"), ("cap_a", "north"))
    run(warehouse, [cold_start.learn_cold_start], FIRST + timedelta(days=69))
    with warehouse.session() as session:
        today = stock_inputs.last_day(session)
        cases, left_out = stock_inputs.load(session, today, stock_inputs.rules(session), 1)
    assert left_out == []
    (case,) = cases
    assert case.traffic["north", "tee"].mean == pytest.approx(210)
    assert case.p[case.product.index("tee")].mean() == pytest.approx(0.4, abs=0.02)


@pytest.mark.parametrize("forgetting", [1.0, 0.95])
def test_restored_draws_are_those_of_the_published_posterior(tmp_path, forgetting):
    warehouse = small_shop(tmp_path, {"old_a": 0, "old_b": 30, "old_c": 65}, warehouse="north")
    rules = Path(warehouse.settings.rules)
    rules.mkdir()
    (rules / "cold_start.toml").write_text(f"forgetting = {forgetting}\n")
    run(warehouse, [cold_start.learn_cold_start], FIRST + timedelta(days=69))
    with warehouse.session() as session:
        rates = load_rates(session, "style_trials")
        found = session.sql("SELECT product_id, p_mean, p_sd FROM cold_start_posterior").fetchall()
    for name, mean, sd in found:
        draws = rates.draws(name, 20_000, 1)
        assert draws.mean() == pytest.approx(mean, rel=0.01), name
        assert draws.std() == pytest.approx(sd, rel=0.03), name


def test_a_missing_price_is_twice_the_cost_and_a_missing_cost_half_the_price():
    row = {"salvage": None, "holding": None}
    rows = [row | {"price": None, "cost": 2000.0}, row | {"price": 900.0, "cost": None}]
    costs = stock_inputs._costs(rows, np.zeros(2, bool), StockRules())
    np.testing.assert_allclose(costs.underage, [2000, 450])


def test_the_break_even_rate_earns_the_slot_whatever_the_units_of_other_styles():
    rows = [
        {"warehouse": "shop", "group_id": group, "price": 300.0, "cost": 200.0, "salvage": None,
         "holding": None}
        for group in ("bars", "boxes")
    ]  # fmt: skip
    one = np.ones(1)
    traffic = {("shop", row["group_id"]): PoolTraffic(100.0, 0.0, 0.0, one) for row in rows}
    units, rules = np.array([1.0, 4.0]), StockRules(slot_cost_cents=1000)
    p = np.full((2, 100), 0.2)
    demand = stock_demand.demand_of(rows, traffic, np.ones(2), p, units, 4, rules)
    found = stock_inputs._break_even(
        np.full(2, np.nan), demand, units, Settlement.sold_at_once(2, 100),
        stock_inputs._costs(rows, np.zeros(2, bool), rules), rules,
    )  # fmt: skip
    # 1000 cents = 100 chances x p x units x 100 cents of margin.
    np.testing.assert_allclose(found, [0.1, 0.025])


def test_styles_of_one_size_do_not_loosen_the_size_curves_of_others():
    rng = np.random.default_rng(1)
    share = [0.2, 0.5, 0.3]
    tees = [
        {"style": f"tee_{at:02d}", "size": size, "units": float(units)}
        for at in range(20)
        for size, units in zip("SML", rng.multinomial(40, share), strict=True)
    ]
    tees += [{"style": "new", "size": size, "units": 0.0} for size in "SML"]
    plain = [
        {"style": f"{size}_{at}", "size": size, "units": 500.0} for size in "SML" for at in range(9)
    ]
    number = {size: at for at, size in enumerate("SML")}
    alone, among = (stock_sizes._curves(rows, number) for rows in (tees, tees + plain))
    np.testing.assert_allclose(among["tee_00"][0], alone["tee_00"][0], rtol=1e-6)
    np.testing.assert_allclose(among["new"][0], share, atol=0.03)
    assert "curve is the category's" in among["new"][2]
    assert among["M_0"][0].tolist() == [0, 1, 0]
    assert among["M_0"][2] == ""
