"""The demand group through its assets, on real Delta tables: a till, and a flash-sale site."""

from dataclasses import replace
from datetime import date, datetime, timedelta
from pathlib import Path

import dagster as dg
import numpy as np
import pandas as pd
import pytest

from retail_assets.assets import demand, demand_curve_tables, demand_rows, demand_tables
from retail_assets.checks import demand_checks
from retail_assets.errors import ModelError
from retail_assets.settings import Settings
from retail_assets.warehouse import Warehouse

FIRST, DAYS = date(2026, 1, 5), 168
ELASTICITY = -2.0
PRODUCTS = {"dark": 400, "milk": 300, "white": 350, "mint": 420}


def put(session, table: str, frame: pd.DataFrame, scope=None) -> None:
    session.replace(table, session.connection.from_df(frame), scope)


def run(warehouse: Warehouse, assets: list, category: str) -> dg.ExecuteInProcessResult:
    with dg.DagsterInstance.ephemeral() as instance:
        instance.add_dynamic_partitions("category", [category])
        done = dg.materialize(
            assets, instance=instance, resources={"warehouse": warehouse}, partition_key=category
        )
    assert done.success
    return done


def shop(
    home: Path, *, days: int = DAYS, levels: tuple[float, ...] = (1.0,), calendar: str = "weekly"
) -> Warehouse:
    """Four bars, prices that move by themselves every week, one store per price level.

    ``calendar`` is weekly (every price is in it) or standing (the list price until further
    notice; then every fifth week's prices are a past sale's).
    """
    warehouse = Warehouse(Settings(home=home, landing=home))
    rng = np.random.default_rng(5)
    sales, lines, prices, opened_days, events = [], [], [], [], []
    price = dict(PRODUCTS)
    for at in range(days):
        day = FIRST + timedelta(days=at)
        opened = pd.Timestamp(day, tz="UTC") + pd.Timedelta(hours=9)
        in_sale = calendar == "standing" and at // 7 % 5 == 4
        for product, usual in PRODUCTS.items():
            if at % 7 == 0:
                moves = calendar == "weekly" or in_sale
                price[product] = usual - 20 * int(rng.integers(0, 6)) * moves
                end = day + timedelta(days=6)
                if calendar == "weekly":
                    prices.append({"product_id": product, "valid_from": day, "valid_to": end,
                                   "regular_price": price[product] / 100})  # fmt: skip
                if in_sale:
                    start = datetime(day.year, day.month, day.day)
                    events.append({"sale_id": f"sale_{at}", "product_id": product,
                                   "starts_at": start, "ends_at": start + timedelta(days=7),
                                   "units_available": 999, "price": price[product] / 100,
                                   "units_sold": 1})  # fmt: skip
        for number, level in enumerate(levels):
            opened_days.append(
                {"store_id": f"shop_{number}", "business_date": day, "open_at": opened,
                 "close_at": opened + pd.Timedelta(hours=8), "n_intervals": 8,
                 "grain_minutes": 60, "source": "hours"}
            )  # fmt: skip
            for product, usual in PRODUCTS.items():
                paid = round(price[product] * level)
                busy = 1.6 if day.weekday() == 5 else 1.0
                mean = 30 * busy * (paid / usual) ** ELASTICITY
                for hour in range(8):
                    n = int(rng.poisson(mean / 8))
                    if n:
                        row = {"store_id": f"shop_{number}", "business_date": day,
                               "product_id": product, "category": "bars"}  # fmt: skip
                        when = opened + pd.Timedelta(hours=hour)
                        sales.append(row | {"interval_start": when, "interval_of_day": hour,
                                            "grain_minutes": 60, "transactions": n,
                                            "units": float(n), "net_cents": n * paid})  # fmt: skip
                        lines.append(row | {
                            "transaction_id": f"{product}-{at}-{hour}", "line_number": 1,
                            "sold_at": when, "quantity": float(n), "unit_price": paid / 100,
                            "net_amount": n * paid / 100, "line_type": "sale",
                            "source_file": "pos/a.csv", "source_row": len(lines) + 2})  # fmt: skip
    if calendar == "standing":
        prices = [{"product_id": p, "valid_from": FIRST, "valid_to": None,
                   "regular_price": c / 100} for p, c in PRODUCTS.items()]  # fmt: skip
    span = (FIRST, FIRST + timedelta(days=days - 1))
    stores = {"store_id": [f"shop_{k}" for k in range(len(levels))], "timezone": "Europe/Paris"}
    with warehouse.session() as session:
        put(session, "stores", pd.DataFrame(stores))
        put(session, "products", pd.DataFrame(
            {"product_id": list(PRODUCTS), "name": list(PRODUCTS), "category": "bars",
             "unit_cost": 1.5, "msrp": [c / 100 for c in PRODUCTS.values()]}))  # fmt: skip
        put(session, "trading_days", pd.DataFrame(opened_days), span)
        put(session, "interval_sales", pd.DataFrame(sales), span)
        put(session, "pos_lines", pd.DataFrame(lines), span)
        put(session, "price_calendar", pd.DataFrame(prices))
        if events:
            put(session, "sale_events", pd.DataFrame(events))
    return warehouse


@pytest.fixture(scope="module")
def till(tmp_path_factory: pytest.TempPathFactory) -> Warehouse:
    """One shop with a sale to come."""
    warehouse = shop(tmp_path_factory.mktemp("till"))
    start = datetime(2026, 6, 30)
    coming = pd.DataFrame(
        {"sale_id": "summer", "product_id": list(PRODUCTS), "starts_at": start,
         "ends_at": start + timedelta(days=2, hours=23), "units_available": 200, "exposures": 1}
    )  # fmt: skip
    with warehouse.session() as session:
        put(session, "sale_events", coming)
    return warehouse


@pytest.fixture(scope="module")
def fitted(till: Warehouse):
    done = run(
        till,
        [demand.fit_demand, demand.draw_demand_curves, *demand_checks.demand_checks],
        "bars",
    )
    with till.session() as session:
        tables = {
            name: session.sql(f"SELECT * FROM {name} ORDER BY ALL").df()
            for name in ("demand_backtest", "demand_curves")
        }
        tables["demand_model"] = session.sql("SELECT * EXCLUDE model FROM demand_model").df()
    return done, tables


def test_the_price_model_finds_the_planted_elasticity(fitted):
    (model,) = fitted[1]["demand_model"].to_dict("records")
    assert model["identified"]
    assert model["elasticity_reference"] == pytest.approx(
        ELASTICITY, abs=2.5 * model["elasticity_se"]
    )
    assert model["elasticity"] == pytest.approx(ELASTICITY, rel=0.15)
    assert model["champion"] in model["reason"]


def test_every_model_stands_in_the_backtest_at_every_origin(fitted):
    scores = fitted[1]["demand_backtest"]
    whole = scores[scores["season"] == "all"]
    assert whole.groupby("origin")["model"].nunique().eq(7).all()  # no year before: no growth
    assert (whole.groupby("model")["champion"].first() != "none").sum() in (1, 2)
    priced = whole[whole["price_responsive"]]
    assert (priced["perverse_steps"] == 0).all()
    assert whole["wape"].min() < 0.17  # chance alone among 40 customers a row: .8 / sqrt(40)


def test_curves_cover_every_candidate_of_the_sale_and_fall_with_the_price(fitted):
    curves = fitted[1]["demand_curves"]
    own = curves[curves["sale_id"] == "summer"]
    assert set(own["product_id"]) == set(PRODUCTS)
    for _, rows in own.groupby(["product_id", "rel_price_from"]):
        by_price = rows.sort_values("price_cents")["demand"].to_numpy()
        assert (np.diff(by_price) <= 1e-9).all()
    for _, rows in own.groupby(["product_id", "price_cents"]):
        ordered = rows.sort_values("rel_price_from")
        assert ordered["rel_price_from"].iloc[0] == 0.0
        assert np.isinf(ordered["rel_price_to"].iloc[-1])
        assert (ordered["rel_price_from"].iloc[1:].to_numpy()
                == ordered["rel_price_to"].iloc[:-1].to_numpy()).all()  # fmt: skip
    at_full = own[(own["product_id"] == "dark") & (own["price_cents"] == 400)]["demand"].mean()
    assert at_full == pytest.approx(3 * 30, rel=0.2)  # Tuesday to Thursday
    assert (own["demand_lo80"] <= own["demand"]).all()
    assert (own["demand"] <= own["demand_hi80"]).all()


def test_prices_never_charged_are_flagged_and_known_less_well(fitted):
    curves = fitted[1]["demand_curves"]
    own = curves[(curves["sale_id"] == "summer") & (curves["product_id"] == "dark")]
    assert own[own["price_cents"] < 300]["extrapolated"].all()
    assert not own[own["price_cents"].between(300, 400)]["extrapolated"].any()
    # beyond what chance among more customers alone would add
    width = (own["demand_hi80"] - own["demand_lo80"]) / np.sqrt(own["demand"])
    cheapest, usual = own["price_cents"].min(), own["price_cents"].between(340, 360)
    assert width[own["price_cents"] == cheapest].mean() > width[usual].mean()


def test_the_stored_model_says_what_the_fitted_one_says(till):
    with till.session() as session:
        data = demand_rows.load(session, "bars")
        fresh, stored = (
            demand_tables.fit(data).model,
            demand_curve_tables.stored_model(session, "bars"),
        )
    rows = fresh.numbered(data.rows)
    assert np.allclose(fresh.log_mean(rows), stored.log_mean(rows), atol=1e-6)


def test_checks_of_the_demand_model_pass_where_it_is_right(fitted):
    checks = {c.check_name: c for c in fitted[0].get_asset_check_evaluations()}
    assert len(checks) == len(demand_checks.CHECKS)
    failed = [name for name, check in checks.items() if not check.passed]
    assert failed == []


def test_the_run_shows_its_pictures(fitted):
    shown = {
        event.asset_key.to_user_string(): event.step_materialization_data.materialization.metadata
        for event in fitted[0].get_asset_materialization_events()
    }
    assert {"elasticities", "busiest product", "champion"} <= set(shown["demand_model"])
    assert {"backtest", "models"} <= set(shown["demand_backtest"])


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Warehouse:
    """A flash-sale site without receipts: 40 sales of 12 items, most items offered once."""
    home: Path = tmp_path_factory.mktemp("site")
    warehouse = Warehouse(Settings(home=home, landing=home))
    rng = np.random.default_rng(11)
    items, events = [], []
    for sale in range(40):
        start = datetime(2025, 6, 2) + timedelta(days=7 * sale)
        for k in range(12):
            name, msrp = f"shoe_{sale}_{k}", float(rng.integers(60, 240))
            price = round(msrp * rng.uniform(0.4, 0.9))
            mean = 60 * (msrp / 120) ** -0.5 * (price / msrp) ** -1.8
            wanted, stock = int(rng.poisson(mean)), int(rng.integers(40, 200))
            gone = start + timedelta(days=3 * stock / wanted) if wanted > stock else None
            items.append({"product_id": name, "name": name, "category": "shoes",
                          "unit_cost": msrp * 0.3, "msrp": msrp})  # fmt: skip
            last = sale == 39
            events.append(
                {"sale_id": f"sale_{sale}", "product_id": name, "starts_at": start,
                 "ends_at": start + timedelta(days=3), "units_available": stock, "exposures": 0,
                 "price": None if last else float(price),
                 "units_sold": None if last else min(wanted, stock),
                 "sold_out_at": None if last else gone}
            )  # fmt: skip
    with warehouse.session() as session:
        put(session, "products", pd.DataFrame(items))
        frame = pd.DataFrame(events).astype({"units_sold": "Int64"})
        put(session, "sale_events", frame)
    return warehouse


def test_a_site_without_receipts_learns_from_its_past_sales(site):
    run(site, [demand.fit_demand, demand.draw_demand_curves], "shoes")
    with site.session() as session:
        (model,) = session.sql("SELECT * EXCLUDE model FROM demand_model").to_dicts()
        curves = session.sql("SELECT * FROM demand_curves").df()
        products = session.sql("SELECT product_id, msrp::DOUBLE AS msrp FROM products").df()
    assert model["identified"]
    assert model["elasticity_reference"] == pytest.approx(-1.8, rel=0.15)
    own = curves[curves["sale_id"] == "sale_39"].merge(products, on="product_id")
    truth = 60 * (own["msrp"] / 120) ** -0.5 * (own["price_cents"] / 100 / own["msrp"]) ** -1.8
    inside = ~own["extrapolated"]
    error = (own["demand"] - truth).abs()[inside].sum() / truth[inside].sum()
    assert inside.mean() > 0.7  # discounts that were never given are flagged
    assert error < 0.15


def slope_of(warehouse: Warehouse):
    with warehouse.session() as session:
        return demand_tables.fit(demand_rows.load(session, "bars")).reference


@pytest.mark.parametrize("levels", [(1.0, 1.0), (1.0, 0.9), (1.0, 0.7)])
def test_a_store_that_is_always_cheaper_does_not_hide_what_prices_do(tmp_path, levels):
    slope = slope_of(shop(tmp_path, days=112, levels=levels))
    assert slope.identified
    assert slope.value == pytest.approx(ELASTICITY, abs=0.3)


def test_a_sales_own_price_beats_the_list_price_until_further_notice(tmp_path):
    slope = slope_of(shop(tmp_path, calendar="standing"))
    assert slope.identified
    assert slope.value == pytest.approx(ELASTICITY, abs=2.5 * slope.se)


@pytest.mark.parametrize("days", [1, 3, 14])
def test_a_few_days_identify_no_price_response(tmp_path, days):
    warehouse = shop(tmp_path, days=days)
    assert not slope_of(warehouse).identified
    run(warehouse, [demand.fit_demand, demand.draw_demand_curves], "bars")
    with warehouse.session() as session:
        flags = session.sql("SELECT DISTINCT flag FROM demand_curves").fetchall()
    assert flags == [("unidentified",)]


def test_a_new_product_sells_its_expected_units_at_its_list_price(till):
    new = {"product_id": "gift", "name": "gift", "category": "bars", "unit_cost": 5, "msrp": 12.0}
    with till.session() as session:
        data = demand_rows.load(session, "bars")
        model = demand_tables.fit(data).model
        known = session.sql("SELECT * EXCLUDE (source_file, source_row) FROM products").df()
        put(session, "products", pd.concat([known, pd.DataFrame([new])]))
    with till.session() as session:
        wider = demand_rows.load(session, "bars")
        prior = np.full(len(wider.rows.products), np.nan)
        prior[wider.rows.products.index("gift")] = 18.0
        day = date(2026, 7, 6)
        window = demand_rows.future(session, wider, ["gift"], day, day, [1200])
        put(session, "products", known)
    rows = model.numbered(replace(window, prior_level=prior))
    mean = float(np.exp(model.grown(rows).log_mean(rows))[0])
    assert mean == pytest.approx(18.0, rel=0.25)  # a Monday is quieter than the mean day


def test_sales_that_sold_out_without_a_time_are_refused(site, tmp_path):
    warehouse = Warehouse(Settings(home=tmp_path, landing=tmp_path))
    with site.session() as session:
        products = session.sql("SELECT * EXCLUDE (source_file, source_row) FROM products").df()
        events = session.sql("SELECT * EXCLUDE (source_file, source_row) FROM sale_events").df()
    gone = events.assign(units_sold=events["units_available"], sold_out_at=None)
    with warehouse.session() as session:
        put(session, "products", products)
        put(session, "sale_events", gone)
        with pytest.raises(ModelError, match=r"category shoes: .* sold out without a sold_out_at"):
            demand_rows.load(session, "shoes")


@pytest.mark.parametrize("hours", [24, 36])
def test_a_sale_lasts_as_long_as_it_lasts(site, tmp_path, hours):
    """From noon: days that hold a part of it are not whole days."""
    warehouse = Warehouse(Settings(home=tmp_path, landing=tmp_path))
    with site.session() as session:
        products = session.sql("SELECT * EXCLUDE (source_file, source_row) FROM products").df()
        events = session.sql("SELECT * EXCLUDE (source_file, source_row) FROM sale_events").df()
    last = events["sale_id"] == "sale_39"
    noon = events["starts_at"] + pd.Timedelta(hours=12)
    events.loc[last, "starts_at"] = noon[last]
    events.loc[last, "ends_at"] = noon[last] + pd.Timedelta(hours=hours)
    with warehouse.session() as session:
        put(session, "products", products)
        put(session, "sale_events", events)
        data = demand_rows.load(session, "shoes")
        model = demand_tables.fit(data).model
        names, drawn = demand_curve_tables.curves(session, data, model)["sale_39"]
    msrp = dict(zip(products["product_id"], products["msrp"].astype(float), strict=True))
    listed = np.array([msrp[names[at]] for at in drawn.candidate])
    truth = 60 * (listed / 120) ** -0.5 * (drawn.price_cents / 100 / listed) ** -1.8 * hours / 72
    inside = ~drawn.extrapolated
    assert drawn.demand[inside].sum() == pytest.approx(truth[inside].sum(), rel=0.1)


def test_a_site_without_a_coming_sale_has_no_curves_and_no_fault(site, tmp_path):
    warehouse = Warehouse(Settings(home=tmp_path, landing=tmp_path))
    with site.session() as session:
        products = session.sql("SELECT * EXCLUDE (source_file, source_row) FROM products").df()
        events = session.sql("SELECT * EXCLUDE (source_file, source_row) FROM sale_events").df()
    with warehouse.session() as session:
        put(session, "products", products)
        put(session, "sale_events", events[events["price"].notna()])
    run(warehouse, [demand.fit_demand, demand.draw_demand_curves], "shoes")
    with warehouse.session() as session:
        assert session.sql("SELECT count(*) FROM demand_curves").fetchall() == [(0,)]
