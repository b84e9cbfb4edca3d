"""Prices of a sale through the assets, on real Delta tables."""

from __future__ import annotations

import itertools
from datetime import date, datetime
from pathlib import Path

import dagster as dg
import numpy as np
import pandas as pd
import pytest

from retail_assets.assets import price_tables, pricing
from retail_assets.settings import Settings
from retail_assets.warehouse import Warehouse

SALE, START, TODAY = "flash", datetime(2026, 11, 10), date(2026, 11, 8)
TABLES = ("price_candidates", "optimal_prices", "price_certificates", "price_frontier", "decisions")
PRICES = TABLES[1:]

# The deck's slide "Prediction changes": demand by own price and total of both, in dollars.
# Two items: the relative price is 2 p / T, so the Ball at $2 sells 4 up to T = 5, then 3.
TOY_CURVES = {
    ("Ball", 200): ((0.75,), (3, 4)),
    ("Ball", 400): ((), (2,)),
    ("Pen", 100): ((0.45,), (8, 7)),
    ("Pen", 300): ((0.90,), (0, 1)),
}
TOY_DECK = {("Ball", 200): "44433", ("Ball", 400): "22222"}
TOY_DECK |= {("Pen", 100): "77888", ("Pen", 300): "11110"}
TOY = ({"product_id": "Ball", "unit_cost": 1.0}, {"product_id": "Pen", "unit_cost": 0.5})


def lake(home: Path, products=TOY, curves=None, *, events=None, rules="", goals="", **changes):
    """A lake with one sale: curves by (product, price) as thresholds and demand between them."""
    warehouse = Warehouse(Settings(home=home, landing=home))
    known = {"category": "toys", "msrp": 5.0, "original_price": 4.0}
    frame = pd.DataFrame([known | {"name": p["product_id"]} | p for p in products])
    default = {"sale_id": SALE, "starts_at": START, "units_available": 99, "exposures": 0}
    listed = [default | changes | {"product_id": p["product_id"]} for p in products]
    if events is not None:
        listed = [row | event for row, event in zip(listed, events, strict=True)]
    curves = TOY_CURVES if curves is None else curves
    for row in listed:
        prices = sorted(c for p, c in curves if p == row["product_id"])
        row.setdefault("candidate_prices", ";".join(f"{c / 100:.2f}" for c in prices))
    with warehouse.session() as session:
        put(session, "products", frame)
        put(session, "sale_events", pd.DataFrame(listed))
    put_curves(warehouse, curves, dict(zip(frame["product_id"], frame["category"], strict=True)))
    if rules:
        rule_file(warehouse, "pricing_rules.csv", HEADER + rules)
    if goals:
        rule_file(warehouse, "pricing.toml", goals)
    return warehouse


HEADER = "rule_id,exposures_op,exposures_value,variable,op,value\n"


def rule_file(warehouse: Warehouse, name: str, text: str) -> None:
    warehouse.settings.rules.mkdir(exist_ok=True)
    (warehouse.settings.rules / name).write_text(text)


def put(session, table: str, frame: pd.DataFrame, scope=None) -> None:
    session.replace(table, session.connection.from_df(frame), scope)


def put_curves(warehouse: Warehouse, curves, category, **changes) -> None:
    rows = []
    for (product, price), (thresholds, demand) in curves.items():
        edges = [0.0, *(float(np.float32(t)) for t in thresholds), np.inf]
        for low, high, units in zip(edges[:-1], edges[1:], demand, strict=True):
            row = {"category": category.get(product, "toys"), "sale_id": SALE}
            row |= {"product_id": product, "price_cents": price, "rel_price_from": low}
            row |= {"rel_price_to": high, "demand": units, "demand_lo80": 0.8 * units}
            row |= {"demand_hi80": 1.2 * units, "extrapolated": False, "error_bound": 0.0}
            rows.append(row | {"flag": "ok", "as_of": TODAY} | changes)
    frame = pd.DataFrame(rows)
    with warehouse.session() as session:
        for name, part in frame.groupby("category"):
            put(session, "demand_curves", part, name)


def price(
    warehouse: Warehouse,
    assets=(pricing.list_candidates, pricing.price_sale, pricing.note_decisions),
):
    with dg.DagsterInstance.ephemeral() as instance:
        instance.add_dynamic_partitions("sale", [SALE])
        return dg.materialize(
            list(assets),
            instance=instance,
            resources={"warehouse": warehouse},
            partition_key=SALE,
        )


def solved(warehouse: Warehouse):
    """Candidates by the asset, prices without the pictures of their asset."""
    price(warehouse, [pricing.list_candidates])
    with warehouse.session() as session:
        sale = price_tables.read(session, SALE)
    found = price_tables.solve(sale)
    rows = price_tables.of_results(sale, found)
    return {name: table.to_pandas() for name, table in rows.items()}


def read(warehouse: Warehouse, table: str) -> pd.DataFrame:
    with warehouse.session() as session:
        return session.sql(f"SELECT * FROM {table} ORDER BY ALL").df()


def chosen(prices: pd.DataFrame, target: str) -> dict[str, int]:
    own = prices[prices["target"] == target]
    return dict(zip(own["product_id"], own["price_cents"], strict=True))


def refused(warehouse: Warehouse, match: str, tables=TABLES) -> None:
    """The run fails with this message, and nothing of these tables is written."""
    before = {name: warehouse.version(name) for name in tables}
    with pytest.raises(Exception, match=match):
        price(warehouse)
    assert {name: warehouse.version(name) for name in tables} == before


@pytest.fixture(scope="module")
def toy(tmp_path_factory: pytest.TempPathFactory):
    warehouse = lake(tmp_path_factory.mktemp("toy"))
    return warehouse, price(warehouse)


def test_the_decks_toy_is_a_ball_at_4_and_a_pen_at_1(toy):
    warehouse, _ = toy
    prices = read(warehouse, "optimal_prices")
    assert chosen(prices, "revenue") == {"Ball": 400, "Pen": 100}
    proof = read(warehouse, "price_certificates").set_index("target").loc["revenue"]
    assert (proof["total_cents"], proof["revenue_cents"]) == (500, 1600)
    assert (proof["objective"], proof["upper_bound"], proof["gap"]) == (1600, 1600, 0)
    assert proof["totals_ruled_out"] == proof["totals"]


def test_candidates_read_the_decks_demand_at_every_total(toy):
    warehouse, _ = toy
    rows = read(warehouse, "price_candidates")
    for (product, cents), demand in TOY_DECK.items():
        own = rows[(rows["product_id"] == product) & (rows["price_cents"] == cents)]
        for total, units in zip((300, 400, 500, 600, 700), demand, strict=True):
            held = own[(own["total_from_cents"] <= total) & (own["total_to_cents"] >= total)]
            assert held["demand"].tolist() == [int(units)], (product, cents, total)
    assert rows["legal"].all()


def test_every_goal_has_a_price_a_proof_and_words(toy):
    warehouse, done = toy
    prices = read(warehouse, "optimal_prices")
    assert prices.groupby("target").size().to_dict() == dict.fromkeys(
        ("margin_cents", "margin_pct", "revenue", "sell_through", "weighted"), 2
    )
    ball = prices[(prices["target"] == "revenue") & (prices["product_id"] == "Ball")].iloc[0]
    # one cheaper Ball: 3 are 8 + 7 = 15 dollars, three units more
    assert ball["reason"].startswith("lowering to 2.00 changes the sale's revenue by -1.00")
    assert ball["prior_price_cents"] == 400
    assert ball["change_pct"] == 0
    assert ball["units_lo80"] == pytest.approx(1.6)
    assert ball["units_hi80"] == pytest.approx(2.4)
    front = read(warehouse, "price_frontier")
    assert len(front) == 66
    assert set(front["extreme"].dropna()) == {"max_revenue", "max_margin", "max_sell_through"}
    ends = front.dropna(subset="extreme").set_index("extreme")
    assert ends.loc["max_revenue", "revenue_cents"] == front["revenue_cents"].max() == 1600
    assert ends.loc["max_margin", "margin_cents"] == front["margin_cents"].max()
    assert ends.loc["max_sell_through", "sell_through_pct"] == front["sell_through_pct"].max()
    shown = {
        e.asset_key.to_user_string(): e.step_materialization_data.materialization.metadata
        for e in done.get_asset_materialization_events()
    }
    assert shown["price_certificates"]["gap"].value == 0
    assert "data:image/png" in shown["price_certificates"]["proof"].value
    assert "data:image/png" in shown["price_frontier"]["frontier"].value
    assert "data:image/png" in shown["optimal_prices"]["demand and revenue"].value
    assert "margin_cents 5" in shown["optimal_prices"]["goal"].value


def test_a_repeat_changes_nothing_and_decides_nothing_anew(toy):
    warehouse, _ = toy
    before = [read(warehouse, name) for name in TABLES]
    price(warehouse)
    for old, name in zip(before, TABLES, strict=True):
        pd.testing.assert_frame_equal(old, read(warehouse, name))


def test_decisions_keep_earlier_recommendations_and_learn_what_was_applied(tmp_path):
    warehouse = lake(tmp_path)
    price(warehouse)
    first = read(warehouse, "decisions")
    assert first["kind"].unique().tolist() == ["price"]
    assert first["applied"].isna().all()
    advised = dict(zip(first["key"], first["recommended"], strict=True))
    assert advised == chosen(read(warehouse, "optimal_prices"), "weighted")
    # another goal, another price of the Ball: its old row stays
    rule_file(warehouse, "pricing.toml", "[weights]\nrevenue = 0\nmargin = 0\nsell_through = 1\n")
    price(warehouse)
    second = read(warehouse, "decisions")
    now = chosen(read(warehouse, "optimal_prices"), "weighted")
    moved = {p for p, cents in advised.items() if now[p] != cents}
    assert moved
    assert len(second) == len(first) + len(moved)
    assert second["run_id"].nunique() == 2
    with warehouse.session() as session:
        events = session.sql("SELECT * REPLACE (3.50 AS price) FROM sale_events").df()
        put(session, "sale_events", events)
    third = decided(warehouse)
    assert third["applied"].tolist() == [350.0] * len(second)
    pd.testing.assert_frame_equal(third.drop(columns="applied"), second.drop(columns="applied"))


def decided(warehouse: Warehouse) -> pd.DataFrame:
    """Decisions as a further run with the same prices would leave them."""
    with warehouse.session() as session:
        return pricing.decisions(session, SALE, "later").to_pandas()


def test_the_calendar_says_what_was_applied_once_the_day_has_come(tmp_path):
    warehouse = lake(tmp_path)
    calendar = {"product_id": ["Ball"], "valid_from": [START.date()], "regular_price": [4.0]}
    prices = solved(warehouse)["optimal_prices"]
    with warehouse.session() as session:
        put(session, "price_calendar", pd.DataFrame(calendar | {"offer_price": [2.0]}))
        put(session, "optimal_prices", prices)
    assert decided(warehouse)["applied"].isna().all()
    sold(warehouse, "Pen", {START.date(): 1.0})
    applied = decided(warehouse).set_index("key")["applied"]
    assert applied["Ball"] == 200
    assert np.isnan(applied["Pen"])


def sold(warehouse: Warehouse, product: str, price_of: dict[date, float]) -> None:
    rows = [
        {"store_id": "shop", "product_id": product, "category": "toys", "business_date": day,
         "interval_start": pd.Timestamp(day, tz="UTC"), "interval_of_day": 0, "grain_minutes": 60,
         "transactions": 1, "units": 2.0, "net_cents": round(200 * each)}
        for day, each in price_of.items()
    ]  # fmt: skip
    with warehouse.session() as session:
        put(session, "interval_sales", pd.DataFrame(rows), (min(price_of), max(price_of)))


def test_a_sale_of_two_categories_is_priced_as_one(tmp_path):
    rng = np.random.default_rng(4)
    names = {"bar": "food", "box": "food", "cup": "home"}
    curves = {
        (name, int(cents)): (
            tuple(np.sort(rng.uniform(0.4, 1.6, 3)).tolist()),
            tuple((np.sort(rng.integers(1, 60, 4))[::-1] * 300 / cents).round(2).tolist()),
        )
        for name in names
        for cents in rng.choice(np.arange(11, 60), 4, replace=False) * 10
    }
    products = [
        {"product_id": n, "category": c, "unit_cost": float(at), "original_price": None}
        for at, (n, c) in enumerate(names.items())
    ]
    found = solved(lake(tmp_path, products, curves, units_available=50))
    best = max(
        revenue(curves, dict(zip(names, prices, strict=True)), 50)
        for prices in itertools.product(*([c for p, c in curves if p == name] for name in names))
    )
    proof = found["price_certificates"].set_index("target").loc["revenue"]
    assert proof["revenue_cents"] == pytest.approx(best, abs=2)  # rounded per item
    prices = chosen(found["optimal_prices"], "revenue")
    assert revenue(curves, prices, 50) == pytest.approx(best, abs=2)


def revenue(curves, prices: dict[str, int], available: int) -> float:
    """Cents, the demand of every item looked up at the relative price the trees would see."""
    total, sum_of = sum(prices.values()), 0.0
    for item in prices.items():
        thresholds, demand = curves[item]
        seen = np.float32(item[1] * len(prices) / total)
        units = demand[int(np.searchsorted(np.array(thresholds, np.float32), seen, side="right"))]
        sum_of += item[1] * min(units, available)
    return sum_of


def test_an_item_without_a_legal_price_is_named_with_the_nearest_and_its_rule(tmp_path):
    warehouse = lake(tmp_path, rules="floor,any,,margin_pct,>=,80\n")
    words = "sale flash: Ball: no legal price; nearest 400 cents, blocked by floor"
    refused(warehouse, words, PRICES)
    # which price breaks which rule can be looked up
    rows = read(warehouse, "price_candidates")
    assert not rows.loc[rows["product_id"] == "Ball", "legal"].any()


def test_rules_of_the_sale_that_conflict_are_named_with_what_is_attainable(tmp_path):
    rules = "keep_margin,any,,sale_margin_pct,>=,70\nclear_out,any,,sale_sell_through_pct,>=,5\n"
    warehouse = lake(tmp_path, rules=rules)
    refused(
        warehouse,
        r"sale flash: cannot hold together: keep_margin, clear_out;"
        r" keep_margin: at best [\d.]+; clear_out: at best [\d.]+",
        PRICES,
    )


def test_a_rule_of_the_whole_sale_holds_and_is_named_in_the_reason(tmp_path):
    free = solved(lake(tmp_path))["optimal_prices"]
    assert chosen(free, "sell_through")["Ball"] == 200
    # the Pen's 4.00 is no candidate, so its price changes whatever is chosen
    held = solved(lake(tmp_path, rules="few,any,,max_changes,<=,1\n"))
    prices = held["optimal_prices"]
    assert prices.loc[prices["product_id"] == "Ball", "price_cents"].unique().tolist() == [400]
    assert prices["reason"].str.endswith("the sale keeps few").all()
    assert len(held["price_frontier"]) == 15


def test_prices_far_outside_the_past_are_illegal_and_near_ones_flagged(tmp_path):
    curves = {("Ball", cents): ((), (1000 / cents,)) for cents in (200, 360, 400, 430, 500)}
    warehouse = lake(tmp_path, TOY[:1], curves)
    put_curves(warehouse, curves, {"Ball": "toys"}, extrapolated=True)
    sold(warehouse, "Ball", {date(2026, 11, 1): 3.9, date(2026, 11, 2): 4.0})
    found = solved(warehouse)["optimal_prices"]
    rows = read(warehouse, "price_candidates").set_index("price_cents")
    # sold between 3.90 and 4.00; 10 % further is a guess
    assert rows["legal"].to_dict() == {200: False, 360: True, 400: True, 430: True, 500: False}
    assert rows.loc[200, "broken_rules"].tolist() == ["extrapolated"]
    weighted = found[found["target"] == "weighted"].iloc[0]
    assert weighted["extrapolated"]
    assert "; never sold at this price; 3 of 5 candidate prices are legal" in weighted["reason"]


def test_where_prices_never_moved_only_todays_may_stay(tmp_path):
    warehouse = lake(tmp_path)
    put_curves(warehouse, TOY_CURVES, {}, flag="unidentified")
    found = solved(warehouse)["optimal_prices"]
    rows = read(warehouse, "price_candidates")
    barred = rows[~rows["legal"]]
    assert {r for rules in barred["broken_rules"] for r in rules} == {"unidentified"}
    # today's price is 4.00 for both; the Pen's nearest candidate is 3.00
    assert set(rows[rows["legal"]]["price_cents"]) == {400, 300}
    assert chosen(found, "weighted") == {"Ball": 400, "Pen": 300}


def test_todays_price_is_the_calendars_then_the_receipts(tmp_path):
    warehouse = lake(tmp_path)
    calendar = pd.DataFrame(
        {"product_id": ["Ball"] * 2, "valid_from": [date(2026, 9, 1), date(2026, 10, 1)],
         "valid_to": [None, date(2026, 10, 7)], "regular_price": [3.0, 3.8],
         "offer_price": [None, 1.0]}
    )  # fmt: skip
    line = {"transaction_id": "1", "line_number": 1, "store_id": "shop", "product_id": "Pen",
            "category": "toys", "quantity": 1.0, "net_amount": 2.5, "line_type": "sale",
            "source_file": "f"}  # fmt: skip
    lines = [
        line | {"business_date": day, "sold_at": pd.Timestamp(day, tz="UTC"), "unit_price": cost,
                "source_row": at}
        for at, (day, cost) in enumerate(
            [(date(2026, 10, 1), 9.0), (date(2026, 11, 2), 2.5), (date(2026, 11, 2), 2.5),
             (date(2026, 11, 2), 0.1), (START.date(), 1.0)]
        )
    ]  # fmt: skip
    with warehouse.session() as session:
        put(session, "price_calendar", calendar)
        put(session, "pos_lines", pd.DataFrame(lines), (date(2026, 10, 1), START.date()))
    prices = solved(warehouse)["optimal_prices"]
    prices = prices.drop_duplicates("product_id").set_index("product_id")
    # the Ball's offer of October has ended; the Pen's receipts before the sale
    assert prices["prior_price_cents"].to_dict() == {"Ball": 380, "Pen": 250}


def test_one_switch_prices_items_alone_at_todays_prices(tmp_path):
    warehouse = lake(tmp_path, goals='demand_kind = "separable"\n')
    found = solved(warehouse)
    rows = read(warehouse, "price_candidates")
    assert (rows["total_from_cents"] == 300).all()
    assert (rows["total_to_cents"] == 700).all()
    proof = found["price_certificates"].set_index("target").loc["revenue"]
    assert proof["method"] == "item by item: the total does not matter"


def test_customers_may_choose_by_a_logit(tmp_path):
    warehouse = lake(tmp_path, goals='demand_kind = "mnl"\n')
    price(warehouse)
    proofs = read(warehouse, "price_certificates").set_index("target")
    assert (proofs["method"] == "multinomial logit, Dinkelbach").all()
    assert proofs["gap"].max() == 0
    assert len(read(warehouse, "price_frontier")) == 66
    assert proofs.loc["revenue", "revenue_cents"] == proofs["revenue_cents"].max()
    rule_file(warehouse, "pricing_rules.csv", HEADER + "few,any,,max_changes,<=,1\n")
    refused(warehouse, "demand_kind mnl prices items one by one; drop few from the rules", PRICES)


def test_without_the_trade_off_its_three_ends_are_kept(tmp_path):
    found = solved(lake(tmp_path, goals="frontier = false\n"))
    assert found["price_frontier"]["extreme"].notna().tolist() == [True] * 3
