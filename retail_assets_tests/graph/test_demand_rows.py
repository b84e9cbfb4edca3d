"""Demand rows from real Delta tables: a shop in Paris and one in Lisbon, small enough to reckon."""

from __future__ import annotations

from datetime import date, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd
import pytest

from retail_assets.assets import demand_receipts, demand_rows
from retail_assets.errors import ModelError
from retail_assets.settings import Settings
from retail_assets.warehouse import Session, Warehouse

FIRST, DAYS = date(2026, 7, 6), 28  # a Monday
LAST = FIRST + timedelta(days=DAYS - 1)
EPOCH = date(1970, 1, 1)
# Time zone, intervals a day; Paris opens at 10 for four hours, Lisbon for two, but on Sundays.
STORES = {"paris": ("Europe/Paris", 4), "lisbon": ("Europe/Lisbon", 2)}
LOST = 8  # Tuesday, 14 July: open in Paris, and not a single receipt came
OUT = 4  # Friday: the dark bar was gone from the third hour on in Paris
LAUNCH = 20
# First-choice receipts an interval; over a day 12 and 4 of the dark bar, 8 and 8 of the milk bar.
RATES = {"dark": {"paris": 3.0, "lisbon": 2.0}, "milk": {"paris": 2.0, "lisbon": 4.0}}


def day(at: int) -> date:
    return FIRST + timedelta(days=at)


def opens(store: str, at: int) -> datetime:
    when = day(at)
    return datetime(when.year, when.month, when.day, 10, tzinfo=ZoneInfo(STORES[store][0]))


def is_open(store: str, at: int) -> bool:
    return store == "paris" or day(at).weekday() != 6


def paid(store: str, product: str, at: int) -> int | None:
    """Cents a unit; None where nothing sold."""
    if not is_open(store, at) or (store, at) == ("paris", LOST):
        return None
    if product == "late":
        return 500 if store == "paris" and at >= LAUNCH else None
    if product == "dark" or store == "paris":
        if product == "dark":  # a little off the calendar: vouchers and rounding
            return 345 if store == "paris" and at in (10, 11, 12) else 390
        return 310
    if at in (0, 5):
        return None
    return 250 if at in (2, 3, 4) else 300


def sales() -> pd.DataFrame:
    """Two receipts with three units in the first hour, of everything that sold."""
    rows = [
        {"store_id": store, "product_id": product, "category": "bars", "business_date": day(at),
         "interval_start": opens(store, at), "interval_of_day": 0, "grain_minutes": 60,
         "transactions": 2, "units": 3.0, "net_cents": 3 * price}
        for store in STORES for product in ("dark", "milk", "late") for at in range(DAYS)
        if (price := paid(store, product, at)) is not None
    ]  # fmt: skip
    frame = pd.DataFrame(rows)
    frame["interval_start"] = pd.to_datetime(frame["interval_start"], utc=True)
    return frame


def lines(sold: pd.DataFrame) -> pd.DataFrame:
    """The receipts behind the two old bars: one with one of each, one with two of each."""
    old = sold[sold["product_id"] != "late"]
    rows = [
        {"transaction_id": f"{row.store_id} {row.business_date} {units}", "line_number": 1,
         "store_id": row.store_id, "sold_at": row.interval_start, "category": "bars",
         "business_date": row.business_date, "product_id": row.product_id,
         "quantity": float(units), "unit_price": 4, "net_amount": 4 * units, "line_type": "sale",
         "source_file": "pos.csv", "source_row": 2 * at + units}
        for at, row in enumerate(old.itertuples()) for units in (1, 2)
    ]  # fmt: skip
    return pd.DataFrame(rows)


def trading_days() -> pd.DataFrame:
    rows = []
    for store, (_, hours) in STORES.items():
        for at in range(DAYS):
            start, n = opens(store, at), hours * is_open(store, at)
            row = {"store_id": store, "business_date": day(at), "n_intervals": n, "source": "hours"}
            times = {"open_at": start, "close_at": start + timedelta(hours=n)} if n else {}
            rows.append(row | {"grain_minutes": 60} | times)
    frame = pd.DataFrame(rows)
    for column in ("open_at", "close_at"):
        frame[column] = pd.to_datetime(frame[column], utc=True)
    return frame


def status() -> pd.DataFrame:
    """Of the dark bar in Paris; nobody says anything of the others."""
    base = {"category": "bars", "store_id": "paris", "product_id": "dark", "method": "hmm"}
    gone, back = opens("paris", OUT) + timedelta(hours=2), opens("paris", OUT + 1)
    close, end = (opens("paris", at) + timedelta(hours=4) for at in (OUT, DAYS - 1))
    rows = [
        {"start_ts": a, "end_ts": b, "p_out_mean": p, "p_out_start": p, "p_out_end": p,
         "status": "out_of_stock" if p else "in_stock", "n_intervals": 1, "low_power": False,
         "as_of": LAST}
        for a, b, p in ((opens("paris", 0), gone, 0.0), (gone, close, 1.0), (back, end, 0.0))
    ]  # fmt: skip
    frame = pd.DataFrame([base | row for row in rows])
    for column in ("start_ts", "end_ts"):
        frame[column] = pd.to_datetime(frame[column], utc=True)
    return frame


def profile() -> pd.DataFrame:
    """The last two of the four hours in Paris are three times as busy; Lisbon is even."""
    rows = [
        {"category": "bars", "store_id": "paris", "hour_of_week": 24 * weekday + 10 + hour,
         "level": 0.5 if hour < 2 else 1.5, "as_of": LAST}
        for weekday in range(7) for hour in range(4)
    ]  # fmt: skip
    return pd.DataFrame(rows)


def rates() -> dict[str, pd.DataFrame]:
    figures = {"sd": 0.1, "q025": 0.0, "q50": 0.5, "q975": 9.0, "as_of": LAST, "category": "bars"}
    demand = [
        {"store_id": store, "product_id": product, "mean": mean} | figures
        for product, by_store in RATES.items() for store, mean in by_store.items()
    ]  # fmt: skip
    pairs = [("one_step", "milk", 0.5), ("markov_chain", "milk", 0.9), ("one_step", "none", 0.5)]
    moved = [
        {"from_product": "dark", "to_product": to, "choice_model": model, "mean": mean,
         "n_oos_customers": 9.0, "contraction": 0.9, "flag": "ok"} | figures
        for model, to, mean in pairs
    ]  # fmt: skip
    verdict = [
        {"category": "bars", "engine": "nuts", "choice_model": model, "chosen": model == "one_step",
         "resolved": True, "max_row_sum": 1.0, "share_unidentified": 0.0, "seconds": 1.0,
         "as_of": LAST}
        for model in ("one_step", "markov_chain")
    ]  # fmt: skip
    frames = {"demand_rates": demand, "substitution_rates": moved}
    frames |= {"substitution_diagnostics": verdict}
    return {name: pd.DataFrame(rows) for name, rows in frames.items()}


def products() -> pd.DataFrame:
    bars = {
        "dark": (4.0, '{"cocoa": "70", "paper": "red"}', None),
        "milk": (None, '{"cocoa": "30.5", "paper": "blue"}', None),
        "late": (5.0, '{"paper": "red"}', day(LAUNCH)),
        "new": (6.0, "{}", None),
    }
    rows = [
        {"product_id": name, "name": name, "category": "bars", "msrp": msrp, "attributes": text,
         "launch_date": launch}
        for name, (msrp, text, launch) in bars.items()
    ]  # fmt: skip
    rows += [{"product_id": name, "name": name, "category": "shirts", "msrp": 40} for name in "xy"]
    return pd.DataFrame([*rows, {"product_id": "z", "name": "z", "category": "hats"}])


def sale_events() -> pd.DataFrame:
    start, stop = datetime(2026, 7, 21), datetime(2026, 7, 22, 23, 59, 59)
    shirts = datetime(2026, 6, 1, 10), datetime(2026, 6, 3, 10)
    rows = [
        ("july", "dark", start, stop, 100, 1, 3.6, 9, None),
        ("july", "milk", start, stop, 80, 0, 2.4, 9, None),
        ("august", "dark", datetime(2026, 8, 9), datetime(2026, 8, 11), 50, 2, None, None, None),
        ("june", "x", *shirts, 60, 0, 20, 60, datetime(2026, 6, 1, 22)),
        ("june", "y", *shirts, 60, 1, 30, 7, None),
        ("june", "z", *shirts, 60, 1, 10, None, None),
    ]
    names = ["sale_id", "product_id", "starts_at", "ends_at", "units_available", "exposures"]
    frame = pd.DataFrame(rows, columns=[*names, "price", "units_sold", "sold_out_at"])
    return frame.astype({"units_sold": "Int64", "sold_out_at": "datetime64[us]"})


def put(session: Session, table: str, frame: pd.DataFrame, scope=None) -> None:
    session.replace(table, session.connection.from_df(frame), scope)


@pytest.fixture(scope="module")
def retailer(tmp_path_factory: pytest.TempPathFactory) -> Warehouse:
    home: Path = tmp_path_factory.mktemp("two_shops")
    warehouse = Warehouse(Settings(home=home, landing=home))
    stores = [{"store_id": name, "timezone": zone} for name, (zone, _) in STORES.items()]
    calendar = [
        {"product_id": "dark", "store_id": None, "valid_from": FIRST, "valid_to": None,
         "regular_price": 4.0, "offer_price": None, "feature": False},
        {"product_id": "dark", "store_id": "paris", "valid_from": day(10), "valid_to": day(12),
         "regular_price": 4.0, "offer_price": 3.5, "feature": True},
    ]  # fmt: skip
    chance = {
        "product_id": "new", "group_id": "bars", "n": 0.0, "k": 0.0, "p_sd": 0.1, "p_lo95": 0.0,
        "p_hi95": 1.0, "prior_mean": 0.1, "prior_offset": 0.0, "shrink_weight": 0.0,
        "days_known": 0, "young": True, "status": "prior_only",
    }  # fmt: skip
    known = [("pos_trials", day(0), 0.9), ("pos_trials", LAST, 0.1), ("style_trials", LAST, 0.7)]
    with warehouse.session() as session:
        sold = sales()
        put(session, "interval_sales", sold, (FIRST, LAST))
        put(session, "pos_lines", lines(sold), (FIRST, LAST))
        put(session, "trading_days", trading_days(), (FIRST, LAST))
        put(session, "stores", pd.DataFrame(stores))
        put(session, "products", products())
        put(session, "price_calendar", pd.DataFrame(calendar))
        put(session, "sale_events", sale_events())
        fitted = {"inventory_status": status(), "demand_profile": profile(), **rates()}
        for name, frame in fitted.items():
            put(session, name, frame, "bars")
        for as_of in (day(0), LAST):
            rows = [{"source": s, "as_of": d, "p_mean": p} for s, d, p in known if d == as_of]
            frame = pd.DataFrame([chance | row for row in rows])
            put(session, "cold_start_posterior", frame, (as_of, as_of))
    return warehouse


@pytest.fixture(scope="module")
def bars(retailer: Warehouse) -> demand_rows.CategoryDemand:
    with retailer.session() as session:
        return demand_rows.load(session, "bars")


def of(data: demand_rows.CategoryDemand, product: str, at: int) -> dict[float, np.ndarray]:
    """Exposure and units of a product on a day, by price."""
    rows = data.rows
    own = rows.product == rows.products.index(product)
    own &= rows.period == (day(at) - EPOCH).days
    kept = rows.take(own)
    return dict(
        zip(kept.price_cents, np.column_stack([kept.exposure, kept.units]).round(9), strict=True)
    )


def same(found: dict[float, np.ndarray], expected: dict[float, tuple[float, float]]) -> None:
    assert found.keys() == expected.keys()
    for price, figures in expected.items():
        np.testing.assert_allclose(found[price], figures, err_msg=str(price))


def test_every_unit_sold_is_in_a_row(bars):
    assert bars.rows.units.sum() == sales()["units"].sum()
    assert bars.left_out == 0
    assert (bars.as_of, bars.by_sale) == (LAST, False)


def test_a_missing_product_is_exposed_to_less_and_its_neighbour_to_more(bars):
    # Three quarters of Paris' day (its share of the dark bar: 12 of 16 receipts) were lost.
    same(of(bars, "dark", OUT), {400: (0.75 * 0.25 + 0.25, 6)})
    # Paris: 3 x .5 customers sent over 2 own, for three quarters of the day; half of the demand.
    found = of(bars, "milk", OUT)
    np.testing.assert_allclose(found[310], (0.5 * (1 + 0.75 * 0.75), 3))
    np.testing.assert_allclose(found[250], (0.5, 3))


def test_a_lost_day_and_a_closed_one_expose_nothing(bars):
    same(of(bars, "dark", LOST), {400: (0.25, 3)})
    same(of(bars, "dark", 6), {400: (0.75, 3)})


def test_a_store_of_its_own_price_is_a_row_of_its_own(bars):
    same(of(bars, "dark", 10), {350: (0.75, 3), 400: (0.25, 3)})
    assert bars.rows.promo_names == ("feature", "in_sale")
    featured = bars.rows.take(bars.rows.promo[:, 0] > 0)
    assert set(featured.price_cents) == {350.0}
    assert sorted(featured.period - (FIRST - EPOCH).days) == [10, 11, 12]


def test_receipts_that_pay_far_from_the_calendar_are_believed(retailer):
    with retailer.session() as session:
        session.sql("FROM price_calendar")
        session.execute("CREATE TEMP TABLE listed AS FROM price_calendar")
        session.connection.execute(
            "CREATE OR REPLACE TEMP VIEW price_calendar AS "
            "SELECT * REPLACE (8.0 AS regular_price, NULL::DECIMAL AS offer_price) FROM listed"
        )
        rows = demand_rows.load(session, "bars").rows
    dark = rows.take(rows.product == rows.products.index("dark"))
    assert set(dark.price_cents[dark.units > 0]) <= {390.0, 345.0, 300.0}


def test_without_a_calendar_the_price_paid_counts_then_the_last_then_the_usual(bars):
    same(of(bars, "milk", 1), {310: (0.5, 3), 300: (0.5, 3)})
    # Lisbon sold none: on day 5 its price was still 250, on day 0 nobody knew any.
    same(of(bars, "milk", 5), {310: (0.5, 3), 250: (0.5, 0)})
    same(of(bars, "milk", 0), {310: (1.0, 3)})


def test_before_its_launch_a_product_has_no_rows(bars):
    own = bars.rows.take(bars.rows.product == bars.rows.products.index("late"))
    assert own.period.min() == (day(LAUNCH) - EPOCH).days
    # No rate was fitted for it: all of its receipts are in Paris.
    np.testing.assert_allclose(own.exposure, 1.0)


def test_days_of_a_past_sale_say_so(bars):
    rows = bars.rows
    in_sale = rows.promo[:, 1] == 1
    days = {(date(2026, 7, n) - EPOCH).days for n in (21, 22)}
    assert set(rows.period[in_sale]) == days
    assert set(rows.product[in_sale]) == {rows.products.index(p) for p in ("dark", "milk")}
    np.testing.assert_allclose(rows.rel_price[in_sale], rows.price_cents[in_sale] / 300)
    assert np.isnan(rows.rel_price[~in_sale]).all()
    available = np.exp(rows.features["log_units_available"][in_sale])
    dark = rows.product[in_sale] == rows.products.index("dark")
    np.testing.assert_allclose(available, np.where(dark, 100, 80))
    assert np.isnan(rows.features["exposures"][~in_sale]).all()


def test_features_are_numbers_of_the_product_and_the_day(bars):
    rows, at = bars.rows, {name: k for k, name in enumerate(bars.rows.products)}
    cocoa, paper = (bars.items.attributes[f"attr_{name}"] for name in ("cocoa", "paper"))
    np.testing.assert_allclose(cocoa[[at["dark"], at["milk"]]], [70, 30.5])
    assert paper[at["dark"]] == paper[at["late"]] != paper[at["milk"]]
    assert np.isnan(cocoa[at["late"]])
    assert np.isnan(paper[at["new"]])
    dark = rows.take((rows.product == at["dark"]) & (rows.price_cents == 350))
    np.testing.assert_allclose(dark.features["discount_from_msrp"], 0.125)
    assert np.isnan(rows.features["discount_from_msrp"][rows.product == at["milk"]]).all()
    # 14 July is a holiday in Paris: 12 + 8 + 2 of 34 receipts a day (the late bar: 2).
    holiday = rows.features["holiday"]
    np.testing.assert_allclose(holiday[rows.period == (day(LOST) - EPOCH).days], 22 / 34)
    assert (holiday[rows.period != (day(LOST) - EPOCH).days] == 0).all()
    assert not any(name.startswith("year_") for name in rows.features)


def test_a_product_never_sold_has_a_prior_and_the_others_none(bars):
    prior = dict(zip(bars.rows.products, bars.rows.prior_level, strict=True))
    # Two receipts a day in each shop, 1.5 units on a line, one receipt in ten.
    assert prior["new"] == pytest.approx(0.1 * 4 * 1.5)
    assert np.isnan([prior[name] for name in ("dark", "milk", "late")]).all()


def test_days_to_come_are_described_as_past_ones_were(retailer, bars):
    first, last = date(2026, 8, 9), date(2026, 8, 11)  # Sunday to Tuesday
    with retailer.session() as session:
        rows = demand_rows.future(
            session, bars, ["dark", "new"], first, last, [300, 500], sale_id="august"
        )
        everyday = demand_rows.future(session, bars, ["dark"], first, last, 300)
    assert rows.promo_names == bars.rows.promo_names
    assert rows.features.keys() == bars.rows.features.keys()
    assert [rows.products[p] for p in rows.product] == ["dark"] * 3 + ["new"] * 3
    np.testing.assert_allclose(rows.exposure, [0.75, 1, 1, 22 / 34, 1, 1])
    np.testing.assert_allclose(rows.rel_price, np.repeat([0.75, 1.25], 3))
    # No day of July's sale was featured.
    np.testing.assert_allclose(rows.promo, [[0, 1]] * 6)
    available = np.exp(rows.features["log_units_available"])
    np.testing.assert_allclose(available, [50] * 3 + [np.nan] * 3)
    np.testing.assert_allclose(rows.features["weekday"], [6, 0, 1] * 2)
    assert (everyday.promo == 0).all()
    assert np.isnan(everyday.rel_price).all()
    moved = rows.at_price(np.full(len(rows), 350.0), np.full(len(rows), 0.9))
    np.testing.assert_allclose(moved.features["discount_from_msrp"][:3], 0.125)
    np.testing.assert_allclose(moved.rel_price, 0.9)


def test_a_flash_sale_retailer_has_a_row_per_sale_and_product(retailer):
    with retailer.session() as session:
        data = demand_rows.load(session, "shirts")
        start = date(2026, 9, 1)
        rows = demand_rows.future(
            session, data, ["y"], start, start + timedelta(days=2), 2500, sale_id="september"
        )
    past = data.rows
    assert data.by_sale
    assert past.products == ("x", "y")
    assert past.period.tolist() == [(date(2026, 6, 1) - EPOCH).days] * 2
    np.testing.assert_allclose(past.days, 2)
    np.testing.assert_allclose(past.units, [60, 7])
    np.testing.assert_allclose(past.exposure, [0.25, 1])  # x sold out after 12 of 48 hours
    np.testing.assert_allclose(past.rel_price, [1.0, 1.5])  # z took part at 10
    np.testing.assert_allclose(past.features["discount_from_msrp"], [0.5, 0.25])
    assert len(rows) == 1
    assert (rows.days[0], rows.exposure[0], rows.features["weekday"][0]) == (3, 1, 1)
    assert rows.features.keys() == past.features.keys()


def test_nothing_to_learn_from_names_the_category(retailer, bars):
    with retailer.session() as session:
        with pytest.raises(ModelError, match="category hats: neither receipts nor past sales"):
            demand_rows.load(session, "hats")
        with pytest.raises(ModelError, match="product x is not in category bars"):
            demand_rows.future(session, bars, ["x"], LAST, LAST, 100)


def test_a_sale_that_sold_out_at_once_keeps_a_least_exposure(tmp_path):
    warehouse = Warehouse(Settings(home=tmp_path, landing=tmp_path))
    start = datetime(2026, 6, 1)
    row = {
        "sale_id": "rush", "product_id": "x", "starts_at": start, "sold_out_at": start,
        "ends_at": start + timedelta(days=1), "units_available": 5, "units_sold": 5, "price": 9,
    }  # fmt: skip
    with warehouse.session() as session:
        put(session, "products", products())
        put(session, "sale_events", pd.DataFrame([row]))
        assert demand_rows.load(session, "shirts").rows.exposure.tolist() == [0.02]


def test_time_zones_lead_to_countries_whatever_their_name():
    known = demand_receipts.countries()
    zones = ("Europe/Paris", "Europe/Amsterdam", "America/New_York", "US/Eastern", "Asia/Calcutta")
    assert [known[zone] for zone in zones] == ["FR", "NL", "US", "US", "IN"]
    assert "UTC" not in known
