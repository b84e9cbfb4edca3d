"""The demand group through its assets, on real Delta tables: a till, and a flash-sale site."""

from datetime import date, datetime, timedelta
from pathlib import Path

import dagster as dg
import numpy as np
import pandas as pd
import pytest

from retail_assets.assets import demand, demand_curve_tables, demand_rows, demand_tables
from retail_assets.checks import demand_checks
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


@pytest.fixture(scope="module")
def till(tmp_path_factory: pytest.TempPathFactory) -> Warehouse:
    """One shop, four bars, prices that move by themselves every few weeks, a sale to come."""
    home = tmp_path_factory.mktemp("till")
    warehouse = Warehouse(Settings(home=home, landing=home))
    rng = np.random.default_rng(5)
    sales, lines, calendar, days = [], [], [], []
    price = dict(PRODUCTS)
    for at in range(DAYS):
        day = FIRST + timedelta(days=at)
        opened = pd.Timestamp(day, tz="UTC") + pd.Timedelta(hours=9)
        days.append(
            {"store_id": "shop", "business_date": day, "open_at": opened,
             "close_at": opened + pd.Timedelta(hours=8), "n_intervals": 8, "grain_minutes": 60,
             "source": "hours"}
        )  # fmt: skip
        for product, usual in PRODUCTS.items():
            if at % 7 == 0:
                price[product] = usual - 20 * int(rng.integers(0, 6))
                calendar.append(
                    {"product_id": product, "valid_from": day,
                     "valid_to": day + timedelta(days=6), "regular_price": price[product] / 100}
                )  # fmt: skip
            busy = 1.6 if day.weekday() == 5 else 1.0
            mean = 30 * busy * (price[product] / usual) ** ELASTICITY
            for hour in range(8):
                n = int(rng.poisson(mean / 8))
                if n == 0:
                    continue
                when = opened + pd.Timedelta(hours=hour)
                sales.append(
                    {"store_id": "shop", "product_id": product, "category": "bars",
                     "business_date": day, "interval_start": when, "interval_of_day": hour,
                     "grain_minutes": 60, "transactions": n, "units": float(n),
                     "net_cents": n * price[product]}
                )  # fmt: skip
                lines.append(
                    {"transaction_id": f"{product}-{at}-{hour}", "line_number": 1,
                     "store_id": "shop", "sold_at": when, "business_date": day,
                     "product_id": product, "category": "bars", "quantity": float(n),
                     "unit_price": price[product] / 100, "net_amount": n * price[product] / 100,
                     "line_type": "sale", "source_file": "pos/a.csv",
                     "source_row": len(lines) + 2}
                )  # fmt: skip
    span = (FIRST, FIRST + timedelta(days=DAYS - 1))
    start = datetime(2026, 6, 30)
    coming = pd.DataFrame(
        {"sale_id": "summer", "product_id": list(PRODUCTS), "starts_at": start,
         "ends_at": start + timedelta(days=2, hours=23), "units_available": 200, "exposures": 1}
    )  # fmt: skip
    with warehouse.session() as session:
        put(session, "stores", pd.DataFrame({"store_id": ["shop"], "timezone": ["Europe/Paris"]}))
        put(session, "products", pd.DataFrame(
            {"product_id": list(PRODUCTS), "name": list(PRODUCTS), "category": "bars",
             "unit_cost": 1.5, "msrp": [c / 100 for c in PRODUCTS.values()]}))  # fmt: skip
        put(session, "trading_days", pd.DataFrame(days), span)
        put(session, "interval_sales", pd.DataFrame(sales), span)
        put(session, "pos_lines", pd.DataFrame(lines), span)
        put(session, "price_calendar", pd.DataFrame(calendar))
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
