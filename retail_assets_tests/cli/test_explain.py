"""One decision in words: the numbers are those of the tables, and they add up."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, timedelta

import dagster as dg
import pandas as pd
import pytest

from retail_assets.assets import price_tables, pricing
from retail_assets.errors import RetailAssetsError
from retail_assets.explain import explain_order, explain_price, explain_substitution
from retail_assets.settings import Settings
from retail_assets.warehouse import Warehouse

SALE, TODAY = "flash", date(2026, 11, 8)
NAMES = {"ball": "Red ball", "pen": "Red pen", "kite": "Blue kite"}
RULES = "rule_id,exposures_op,exposures_value,variable,op,value\nlow,any,,price_cents,>=,200\n"


def put(session, table: str, rows: list[dict], scope=None) -> None:
    session.replace(table, session.connection.from_df(pd.DataFrame(rows)), scope)


@pytest.fixture(scope="module")
def sale(tmp_path_factory) -> Warehouse:
    """Three items whose demand falls with their price and rises with the sale's total."""
    home = tmp_path_factory.mktemp("sale")
    (home / "settings.toml").write_text('currency = "CHF"\n')
    (home / "rules").mkdir()
    (home / "rules" / "pricing_rules.csv").write_text(RULES)
    warehouse = Warehouse(Settings.load(home, home))
    event = {"sale_id": SALE, "starts_at": datetime(2026, 11, 10), "units_available": 90}
    curves = []
    for at, product in enumerate(NAMES):
        for cents in (150, 200, 300, 400):
            for low, high, more in ((0.0, 1.0, 10.0), (1.0, float("inf"), 0.0)):
                units = 60 - 10 * cents / 100 + more + at
                curves.append(
                    {"category": "toys", "sale_id": SALE, "product_id": product,
                     "price_cents": cents, "rel_price_from": low, "rel_price_to": high,
                     "demand": units, "demand_lo80": units - 5, "demand_hi80": units + 5,
                     "extrapolated": cents == 400, "error_bound": 0.0, "flag": "ok",
                     "as_of": TODAY}
                )  # fmt: skip
    with warehouse.session() as session:
        known = {"category": "toys", "unit_cost": 1.0, "msrp": 4.0, "original_price": 3.0}
        put(session, "products", [known | {"product_id": p, "name": n} for p, n in NAMES.items()])
        listed = {"candidate_prices": "1.50;2.00;3.00;4.00", "exposures": 0}
        put(session, "sale_events", [event | listed | {"product_id": p} for p in NAMES])
        put(session, "demand_curves", curves, "toys")
    with dg.DagsterInstance.ephemeral() as instance:
        instance.add_dynamic_partitions("sale", [SALE])
        with_lake = {"warehouse": warehouse}
        dg.materialize(
            [pricing.list_candidates], instance=instance, resources=with_lake, partition_key=SALE
        )
    with warehouse.session() as session:
        read = price_tables.read(session, SALE)
        for name, frame in price_tables.of_results(read, price_tables.solve(read)).items():
            session.replace(name, session.connection.from_arrow(frame), SALE)
    return warehouse


def test_the_chosen_price_scores_best_and_its_neighbours_are_those_of_the_optimiser(sale):
    with sale.session() as session:
        lines = explain_price(session, SALE, "blue")
        (reason, chosen), *_ = session.sql(
            "SELECT reason, price_cents FROM optimal_prices"
            " WHERE product_id = 'kite' AND target = 'weighted'"
        ).fetchall()
    assert lines[0] == f"Blue kite (kite), {SALE}, 2026-11-10"
    assert "CHF" in lines[1]
    rows = [re.findall(r"[-+]?[\d.,]+", line) for line in lines if re.match(r"  [> ] +\d", line)]
    scores = {float(row[0]): float(row[-1]) for row in rows if len(row) == 8}
    assert scores[chosen / 100] == 0
    barred = next(line for line in lines if line.startswith("      1.50"))
    assert "not allowed: low" in barred
    assert any("low: price cents >= 200 (pricing_rules, line 2)" in line for line in lines)
    assert max(score for price, score in scores.items() if price >= 2) == 0
    # The optimiser's own sentence, made from other code, counts the same moves.
    moves = re.findall(r"to ([\d.]+) changes the sale's revenue by ([-+\d.]+)", reason)
    told = {float(row[0]): float(row[4].replace(",", "")) for row in rows if len(row) == 8}
    assert moves
    for price, revenue in moves:
        assert told[float(price)] == pytest.approx(float(revenue), abs=0.51)
    assert any("proven" in line for line in lines)


@pytest.mark.parametrize(
    ("name", "sale_id", "says"),
    [
        ("red", SALE, r"'red' may be Red ball \(ball\), Red pen \(pen\); give the id"),
        ("zebra", SALE, r"'zebra' is not in sale flash; known: Red ball .*, Blue kite \(kite\), "),
        ("kite", "other", "no prices of a sale 'other'; known: flash"),
    ],
)
def test_an_unknown_or_ambiguous_name_lists_what_may_be_meant(sale, name, sale_id, says):
    with sale.session() as session, pytest.raises(RetailAssetsError, match=says) as caught:
        explain_price(session, sale_id, name)
    assert "\n" not in str(caught.value)


def test_an_order_is_told_from_demand_to_packs(tmp_path):
    warehouse = Warehouse(Settings(home=tmp_path, landing=tmp_path))
    line = {"product_id": "ball", "warehouse": "north", "policy": "base_stock", "as_of": TODAY}
    line |= {"critical_ratio": 0.975, "reorder_point": 300.0, "order_up_to": 300.0}
    line |= {"safety_stock": 98.0, "size_share": 1.0, "expected_cost_cents": 5}
    line |= {"cycle_service": 0.97, "fill_rate": 0.99, "retire_flag": False, "size": "one"}
    rate = {"product_id": "ball", "group_id": "toys", "source": "pos_trials", "as_of": TODAY}
    rate |= {"n": 400.0, "k": 40.0, "p_mean": 0.1, "p_sd": 0.01, "p_lo95": 0.08, "p_hi95": 0.12}
    rate |= {"prior_mean": 0.2, "prior_offset": 0.0, "shrink_weight": 0.8, "days_known": 28}
    days = [TODAY - timedelta(days=back) for back in range(28)]
    with warehouse.session() as session:
        put(session, "products", [
            {"product_id": "ball", "name": "Red ball", "category": "toys", "pack_size": 12}
        ])  # fmt: skip
        put(session, "reorder_plan", [
            line | {"order_qty": 120, "reason": "order 120: 190 units; 110 wanted"},
            line | {"order_qty": 0, "reason": "stop sending: below", "warehouse": "south",
                    "retire_flag": True},
        ])  # fmt: skip
        put(session, "stock", [
            {"product_id": "ball", "warehouse": "north", "on_hand": 150, "on_order": 40,
             "lead_time_days": 7.0}
        ])  # fmt: skip
        known = rate | {"young": False, "status": "ok"}
        put(session, "cold_start_posterior", [known], (TODAY, TODAY))
        trials = {"product_id": "ball", "group_id": "toys", "n": 100, "k": 10}
        put(session, "pos_trials", [trials | {"date": d} for d in days], (days[-1], days[0]))
    with warehouse.session() as session:
        text = "\n".join(explain_order(session, "ball", warehouse="north"))
        stopped = "\n".join(explain_order(session, "red", warehouse="south"))
        with pytest.raises(RetailAssetsError, match="known: one in north; one in south"):
            explain_order(session, "ball", size="XL")
    assert "Red ball (ball), warehouse north: order 120" in text
    assert "700 receipts a week x 10.0%: about 70 a week" in text
    assert "80% of that is its own trials" in text
    assert "150 on hand, 40 on order; an order takes 7 days" in text
    assert "costs 39 times what one too many does" in text
    assert "202 are expected to be wanted; with 98 for bad luck" in text
    # 98 is 1.96 standard deviations of 50: a pack is .24 of one.
    assert "108: 4.27%, 120: 2.50%, 132: 1.39%" in text
    assert "warehouse south: stop sending it" in stopped


def test_a_substitution_is_told_with_a_plain_count_of_the_receipts(tmp_path):
    warehouse = Warehouse(Settings(home=tmp_path, landing=tmp_path))
    opened = datetime(2026, 11, 2, 8, tzinfo=UTC)
    begins = [opened + timedelta(hours=h) for h in range(10)]
    spans = {"ball": (5, "out_of_stock"), "pen": (10, None)}
    with warehouse.session() as session:
        put(session, "products", [
            {"product_id": p, "name": n, "category": "toys"} for p, n in NAMES.items()
        ])  # fmt: skip
        put(session, "stores", [{"store_id": "s", "timezone": "UTC"}])
        day = {"store_id": "s", "business_date": opened.date(), "open_at": opened}
        day |= {"close_at": begins[-1] + timedelta(hours=1), "n_intervals": 10}
        put(session, "trading_days", [day | {"grain_minutes": 60, "source": "hours"}],
            (opened.date(), opened.date()))  # fmt: skip
        # The pen sells twice an hour; once the ball is out (after 5 hours) five times.
        sold = {"store_id": "s", "product_id": "pen", "category": "toys", "net_cents": 1}
        sold |= {"business_date": opened.date(), "grain_minutes": 60, "units": 1.0}
        put(session, "interval_sales", [
            sold | {"interval_start": start, "interval_of_day": at,
                    "transactions": 2 if at < 5 else 5}
            for at, start in enumerate(begins)
        ], (opened.date(), opened.date()))  # fmt: skip
        span = {"category": "toys", "store_id": "s", "p_out_mean": 0.0, "p_out_start": 0.0}
        span |= {"p_out_end": 0.0, "method": "hmm", "low_power": False, "as_of": TODAY}
        status = []
        for product, (until, after) in spans.items():
            edges = [(0, until, "in_stock"), *([(until, 10, after)] if after else [])]
            status += [
                span | {"product_id": product, "start_ts": begins[a], "n_intervals": b - a,
                        "end_ts": opened + timedelta(hours=b), "status": state}
                for a, b, state in edges
            ]  # fmt: skip
        put(session, "inventory_status", status, "toys")
        rate = {"category": "toys", "store_id": "s", "product_id": "ball", "sd": 0.1}
        rate |= {"mean": 6.0, "q025": 5.8, "q50": 6.0, "q975": 6.2, "as_of": TODAY}
        put(session, "demand_rates", [rate], "toys")
        pair = {"category": "toys", "from_product": "ball", "choice_model": "one_step"}
        pair |= {"sd": 0.02, "q025": 0.4, "q50": 0.48, "q975": 0.52, "as_of": TODAY}
        pair |= {"n_oos_customers": 30.0, "contraction": 0.8, "flag": "weak"}
        shares = {"pen": 0.48, "kite": 0.12, "none": 0.4}
        put(session, "substitution_rates", [
            pair | {"to_product": to, "mean": mean} for to, mean in shares.items()
        ], "toys")  # fmt: skip
        put(session, "substitution_diagnostics", [
            {"category": "toys", "engine": "nuts", "choice_model": "one_step", "chosen": True,
             "resolved": True, "max_row_sum": 1.0, "share_unidentified": 0.0, "seconds": 1.0,
             "as_of": TODAY}
        ], "toys")  # fmt: skip
        put(
            session,
            "substitution_priors",
            [{"from": "toys", "to": "pen", "alpha": 2.0, "beta": 6.0}],
        )
    with warehouse.session() as session:
        text = "\n".join(explain_substitution(session, "ball", "red pen"))
        with pytest.raises(RetailAssetsError, match="'ball' is not in category toys"):
            explain_substitution(session, "ball", "ball")
    assert "48% take Red pen instead, 95 % interval [40%, 52%]" in text
    assert "Red ball was out 50% of the time, 5 hours in 1 stores" in text
    # Five hours: 25 receipts against 10, and 30 customers who wanted the ball.
    assert (
        "on 25 receipts; in as busy hours with Red ball on the shelf it would have been on 10"
        in text
    )
    assert "+15 receipts for 30 customers who missed Red ball then: a plain count says 50%" in text
    assert "your substitution_priors say 25% (toys -> pen, Beta(2, 6))" in text
    assert "weak: the data say something" in text
    assert "leave" in text.splitlines()[-3]
