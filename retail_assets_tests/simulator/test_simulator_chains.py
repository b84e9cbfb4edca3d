"""Style trials, shipments, warehouse stock and sales: what the later chains start from."""

from dataclasses import replace
from datetime import date

import numpy as np
import pandas as pd
import pytest

from retail_assets.simulator import load_preset, simulate
from retail_assets.simulator.chains import (
    sale_events,
    style_probabilities,
    trials_and_shipments,
    warehouse_stock,
)
from retail_assets.simulator.demo import LAUNCH_85
from retail_assets.simulator.receipts import store_receipts


@pytest.fixture(scope="module")
def history():
    return simulate("demo", seed=21)


def test_styles_are_chosen_at_their_true_probability(history):
    trials, _ = trials_and_shipments(history, history.spec.trials)
    truth = style_probabilities(history, history.spec.trials).set_index("product_id")["p"]
    assert (trials["k"] <= trials["n"]).all()
    assert (trials["n"] >= 1).all()
    sums = trials.groupby("product_id")[["n", "k"]].sum()
    p = truth[sums.index]
    assert np.all(np.abs(sums["k"] - sums["n"] * p) < 4.5 * np.sqrt(sums["n"] * p * (1 - p)))


def test_a_new_style_has_trials_from_its_launch_on(history):
    trials, _ = trials_and_shipments(history, history.spec.trials)
    first = trials.groupby("product_id")["date"].min()
    assert (first["bar_85"] - history.spec.first_day).days >= LAUNCH_85
    assert (first["bar_90"] - history.spec.first_day).days <= 3


def test_every_chosen_style_is_shipped_and_kept_or_returned_later(history):
    spec = history.spec.trials
    trials, shipments = trials_and_shipments(history, spec)
    assert len(shipments) == trials["k"].sum()
    settled = shipments[shipments["kept"] != ""]
    assert (settled["kept"] == "true").mean() == pytest.approx(spec.keep_rate, abs=0.04)
    returned = settled[settled["kept"] == "false"]
    delay = (returned["returned_at"] - returned["sent_at"]).dt.days
    assert delay.min() >= 2
    assert delay.mean() == pytest.approx(spec.return_days, rel=0.15)
    assert settled[settled["kept"] == "true"]["returned_at"].isna().all()
    assert shipments["returned_at"].max() < pd.Timestamp(date(2026, 11, 1))


def test_the_70_is_over_stocked(history):
    stock = warehouse_stock(history, history.spec.warehouse).set_index("product_id")
    assert stock.loc["bar_70", "on_hand"] > 3 * stock.loc["bar_90", "on_hand"]
    assert stock.loc["bar_70", "on_order"] == 0


def test_a_past_sale_reports_the_units_on_its_receipts(history):
    events = sale_events(history)
    past = events[events["price"].notna()]
    receipts = pd.concat([store_receipts(history, s) for s in range(4)])
    sold = receipts[(receipts["line_type"] == "sale") & (receipts["promo_id"] != "")]
    units = sold.groupby(["promo_id", "product_id"])["quantity"].sum()
    assert len(past) == len(units) == 18
    for row in past.itertuples():
        assert row.units_sold == units[row.sale_id, row.product_id]
        assert row.units_available >= row.units_sold


def test_the_coming_sale_lies_after_the_history_and_counts_exposures(history):
    coming = sale_events(history).query("sale_id == 'sale_2026_11'").set_index("product_id")
    assert coming["starts_at"].min() > pd.Timestamp(date(2026, 11, 1))
    assert coming["units_sold"].isna().all()
    assert coming.loc["bar_70", "exposures"] == 3
    prices = [float(p) for p in coming.loc["bar_70", "candidate_prices"].split(";")]
    assert prices == sorted(prices, reverse=True)


def test_vans_come_on_their_weekdays_or_the_next_trading_day(history):
    for calendar, stored in zip(
        history.calendars, history.category("pralines").stores, strict=True
    ):
        arrival = np.unique(stored.replenishment.arrival)
        arrival = arrival[arrival < calendar.n_intervals]
        day = calendar.day[arrival]
        assert np.all(arrival - calendar.first_interval[day] <= 8)
        weekday = (calendar.first_day.weekday() + day) % 7
        usual = np.isin(weekday, (1, 4))
        assert 0.8 < usual.mean() < 1  # holidays push about one van in eight
        # The others were due on the trading day before.
        open_days = np.flatnonzero(np.diff(calendar.first_interval) > 0)
        for late in day[~usual]:
            before = open_days[np.searchsorted(open_days, late) - 1]
            due = [(calendar.first_day.weekday() + d) % 7 for d in range(before, late)]
            assert set(due) & {1, 4}


def test_the_trend_raises_demand_over_the_year():
    weight = simulate(replace(load_preset("slow"), trend=0.5), seed=1).weather[0].weight
    assert weight.mean() == pytest.approx(1)
    assert weight[-1] / weight[0] == pytest.approx(1.5 ** (138 / 365), rel=1e-6)
