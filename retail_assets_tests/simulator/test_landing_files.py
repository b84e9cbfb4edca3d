"""Landing files say what the history says, in the contract's words."""

import json
from dataclasses import replace
from datetime import date

import numpy as np
import pandas as pd
import pytest

from retail_assets.contract import landed_tables, table
from retail_assets.errors import SettingsError
from retail_assets.simulator import load_preset, simulate, write_landing, write_preset
from retail_assets.simulator.specs import RetailSpec, StoreSpec


def read(folder, name):
    found = list(folder.glob(f"{name}.csv*"))
    assert len(found) == 1, f"{name}: {found}"
    return pd.read_csv(found[0])


def read_receipts(folder):
    files = sorted((folder / "pos").glob("*.csv.gz"))
    return pd.concat([pd.read_csv(f) for f in files], ignore_index=True)


@pytest.fixture(scope="module")
def demo_history():
    return simulate("demo", seed=5)


@pytest.fixture(scope="module")
def demo_folder(demo_history, tmp_path_factory):
    folder = tmp_path_factory.mktemp("demo")
    write_landing(demo_history, folder)
    return folder


def sparse_from_receipts(lines, calendar, products):
    """Receipts per product and interval, counted from local times by pandas alone."""
    local = pd.to_datetime(lines["sold_at"]).dt.tz_localize(calendar.timezone)
    seconds = (local - pd.Timestamp(0, tz="UTC")) // pd.Timedelta(seconds=1)
    day = np.searchsorted(calendar.opens_at, seconds, side="right") - 1
    slot = (seconds.to_numpy() - calendar.opens_at[day]) // calendar.interval_seconds
    interval = calendar.first_interval[day] + slot
    code = lines["product_id"].map({p: j for j, p in enumerate(products)})
    frame = pd.DataFrame({"j": code, "t": interval, "id": lines["transaction_id"]})
    return frame.groupby(["j", "t"])["id"].nunique()


def test_receipts_hold_the_sales_of_the_history(demo_history, demo_folder):
    receipts = read_receipts(demo_folder)
    sales = receipts[receipts["line_type"] == "sale"]
    for category in demo_history.categories:
        products = category.spec.products
        for calendar, stored in zip(demo_history.calendars, category.stores, strict=True):
            own = sales[
                (sales["store_id"] == stored.store.store_id) & sales["product_id"].isin(products)
            ]
            found = sparse_from_receipts(own, calendar, products)
            owner = np.repeat(np.arange(len(products)), np.diff(stored.sales_indptr))
            np.testing.assert_array_equal(found.index.get_level_values(0), owner)
            np.testing.assert_array_equal(found.index.get_level_values(1), stored.sales_interval)
            np.testing.assert_array_equal(found.to_numpy(), stored.sales_transactions)
            units = own.groupby("product_id")["quantity"].sum()
            np.testing.assert_array_equal(units[list(products)], stored.replay.sold_units)


def test_receipts_look_like_receipts(demo_folder):
    receipts = read_receipts(demo_folder)
    assert set(receipts.columns) <= set(table("raw_pos").column_names)
    assert not receipts.duplicated(["transaction_id", "line_number"]).any()
    by_receipt = receipts.groupby("transaction_id")
    assert (by_receipt["sold_at"].nunique() == 1).all()
    assert (by_receipt["store_id"].nunique() == 1).all()
    assert (by_receipt["line_number"].max() == by_receipt.size()).all()
    assert (by_receipt.size() > 1).mean() > 0.02
    returns = receipts[receipts["line_type"] == "return"]
    assert 0.003 < len(returns) / len(receipts) < 0.009
    assert (returns["quantity"] < 0).all()
    assert (returns["net_amount"] < 0).all()
    voids = receipts[receipts["line_type"] == "void"]
    assert len(voids) > 100
    assert (voids["net_amount"] == 0).all()
    amount = receipts["quantity"] * receipts["unit_price"] - receipts["discount_amount"]
    kept = receipts["line_type"] != "void"
    np.testing.assert_allclose(amount[kept], receipts["net_amount"][kept], atol=1e-9)


def test_every_file_keeps_the_contract(demo_folder):
    names = {p.name.split(".")[0] for p in demo_folder.glob("*.csv*")}
    expected = {t.name for t in landed_tables()} - {"substitution_priors", "sales_aggregate"}
    assert names == expected
    for name in names:
        frame, contract = read(demo_folder, name), table(name)
        free = [c for c in frame.columns if c not in contract.column_names]
        assert all(c.startswith("attr_") for c in free), (name, free)
        for column in contract.required_columns:
            assert column in frame.columns, (name, column)
            if not (name == "store_hours" and column in ("weekday", "date")):
                assert frame[column].notna().all(), (name, column)
        key = [c for c in contract.key if c in frame.columns]
        assert not frame.duplicated(key or None).any(), name


def test_promotions_are_priced_as_the_calendar_says(demo_folder):
    prices = read(demo_folder, "price_calendar")
    prices = prices.dropna(subset="offer_price")
    receipts = read_receipts(demo_folder)
    sold = receipts[(receipts["line_type"] == "sale") & receipts["promo_id"].notna()]
    assert sold["promo_id"].nunique() == 6
    sold = sold.assign(day=sold["sold_at"].str[:10]).merge(prices, on="product_id")
    inside = (sold["day"] >= sold["valid_from"]) & (sold["day"] <= sold["valid_to"])
    sold = sold[inside]
    paid = sold["net_amount"] / sold["quantity"]
    np.testing.assert_allclose(paid, sold["offer_price"], atol=1e-9)
    assert len(sold) == (receipts["promo_id"].notna() & (receipts["line_type"] == "sale")).sum()


def test_stock_counts_are_zero_exactly_in_outages(demo_history, demo_folder):
    counts = read(demo_folder, "stock_counts")
    assert 0.05 < (counts["on_hand"] == 0).mean() < 0.4
    for category in demo_history.categories:
        products = category.spec.products
        for calendar, stored in zip(demo_history.calendars, category.stores, strict=True):
            own = counts[counts["store_id"] == stored.store.store_id]
            at = pd.to_datetime(own["counted_at"]).dt.tz_localize(calendar.timezone)
            seconds = (at - pd.Timestamp(0, tz="UTC")) // pd.Timedelta(seconds=1)
            starts = calendar.utc_seconds(np.arange(calendar.n_intervals))
            interval = np.searchsorted(starts, seconds)
            for j, product in enumerate(products):
                rows = (own["product_id"] == product).to_numpy()
                out = stored.out.mask(j, calendar.n_intervals)[interval[rows]]
                np.testing.assert_array_equal(own["on_hand"].to_numpy()[rows] == 0, out)


def test_deliveries_are_where_outages_end(demo_history, demo_folder):
    delivered = read(demo_folder, "deliveries")
    known = set(zip(*(delivered[c] for c in delivered.columns), strict=True))
    bars = demo_history.category("bars")
    for calendar, stored in zip(demo_history.calendars, bars.stores, strict=True):
        for j, product in enumerate(bars.spec.products):
            ends = stored.out.of(j)[1]
            ends = ends[ends < calendar.n_intervals]
            moments = pd.to_datetime(calendar.utc_seconds(ends), unit="s", utc=True)
            for moment in moments.tz_convert(calendar.timezone).strftime("%Y-%m-%d %H:%M:%S"):
                assert (stored.store.store_id, product, moment) in known


def test_the_truth_lies_beside_the_files(demo_history, demo_folder):
    truth = demo_folder / "truth"
    rates = read(truth, "arrival_rate")
    planted = np.concatenate([c.truth.arrival_rate.ravel() for c in demo_history.categories])
    np.testing.assert_allclose(rates["arrival_rate"], planted)
    customers = read(truth, "customers")
    bought = customers["bought_first_choice"] + customers["substituted_out"] + customers["lost"]
    np.testing.assert_array_equal(bought, customers["first_choice"])
    assert customers["substituted_in"].sum() == customers["substituted_out"].sum()
    spans = read(truth, "out_of_stock")
    assert (spans["stop_interval"] > spans["start_interval"]).all()
    about = json.loads((truth / "retailer.json").read_text())
    assert (about["preset"], about["seed"]) == ("demo", 5)


def test_the_same_seed_writes_the_same_bytes(tmp_path):
    files = [write_preset("slow", tmp_path / n, seed=3) for n in ("a", "b")]
    for one, two in zip(*files, strict=True):
        assert one.read_bytes() == two.read_bytes(), one


def test_the_last_day_of_a_cut_history_closes_early(tmp_path):
    write_preset("slow", tmp_path)
    hours = read(tmp_path, "store_hours")
    cut = hours.dropna(subset="date").iloc[0]
    assert (cut["open"], cut["close"]) == ("00:00", "21:20")  # 200,000 minutes = 138 days + 21:20
    last = read_receipts(tmp_path)["sold_at"].max()
    assert last < f"{cut['date']} 21:20:00"


def test_a_clock_change_shifts_local_time_only(tmp_path):
    own = load_preset("paper").categories
    store = StoreSpec("night", "Europe/Zurich")
    spec = RetailSpec("clock", (store,), own, date(2026, 3, 28), 3)
    history = simulate(spec, seed=1)
    write_landing(history, tmp_path)
    receipts = read_receipts(tmp_path)
    on_the_day = receipts[receipts["sold_at"].str.startswith("2026-03-29")]
    hours = set(on_the_day["sold_at"].str[11:13])
    assert hours == {f"{h:02d}" for h in range(24)} - {"02"}
    assert len(receipts[receipts["line_type"] == "sale"]) == sum(
        s.replay.sales.sum() for s in history.category().stores
    )


def test_other_receipts_in_the_folder_are_not_mixed_with(tmp_path):
    (tmp_path / "pos").mkdir()
    (tmp_path / "pos" / "mine.csv").write_text("transaction_id\n")
    with pytest.raises(SettingsError, match="already holds other receipts"):
        write_preset("slow", tmp_path)


def test_prices_with_three_decimals_keep_them(tmp_path):
    spec = replace(load_preset("paper_money"), n_intervals=1440, n_days=1)
    write_landing(simulate(spec, seed=1), tmp_path)
    assert set(read_receipts(tmp_path)["unit_price"]) == {8.051, 5.376, 3.579, 6.767, 7.598}
