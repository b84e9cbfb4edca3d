"""Buys and shelves through their assets, on real Delta tables with planted rates."""

import itertools
from datetime import date, timedelta
from pathlib import Path

import dagster as dg
import numpy as np
import pandas as pd
import pytest

from retail_assets.assets import assortment
from retail_assets.checks import plan_checks
from retail_assets.settings import Settings
from retail_assets.warehouse import Warehouse

FIRST, DAYS, DRAWS = date(2026, 1, 5), 28, 6
PRODUCTS = ("a", "b", "c", "d")
PRICE = (500, 400, 300, 450)
STORES = ("north", "south")
# Who misses b mostly takes a; d sells little and is expensive to have.
RATE = np.array(
    [[0.0, 0.2, 0.1, 0.0], [0.7, 0.0, 0.1, 0.0], [0.1, 0.1, 0.0, 0.0], [0.4, 0.3, 0, 0]]
)
ARRIVALS = np.array([3.0, 2.0, 2.5, 0.2])


def put(session, table: str, frame: pd.DataFrame, scope=None) -> None:
    session.replace(table, session.connection.from_df(frame), scope)


def shop(home: Path, rules: str = "", models: tuple[str, ...] = ("one_step",), cost=2.0):
    """Two stores of eight hours a day, whose posterior is what the test says it is."""
    (home / "rules").mkdir(parents=True)
    (home / "rules" / "assortment.toml").write_text(rules)
    warehouse = Warehouse(Settings(home=home, landing=home))
    rng = np.random.default_rng(3)
    days = [FIRST + timedelta(days=at) for at in range(DAYS)]
    opened = [pd.Timestamp(day, tz="UTC") + pd.Timedelta(hours=9) for day in days]
    sales, lines = [], []
    for store in STORES:
        for day, at in zip(days, opened, strict=True):
            for product, price, rate in zip(PRODUCTS, PRICE, ARRIVALS, strict=True):
                for hour in np.flatnonzero(rng.poisson(rate, 8)):
                    when = at + pd.Timedelta(hours=int(hour))
                    row = {"store_id": store, "business_date": day, "product_id": product,
                           "category": "bars"}  # fmt: skip
                    sales.append(row | {"interval_start": when, "interval_of_day": int(hour),
                                        "grain_minutes": 60, "transactions": 1, "units": 1.0,
                                        "net_cents": price})  # fmt: skip
                    lines.append(row | {"transaction_id": f"t{len(lines)}", "line_number": 1,
                                        "sold_at": when, "quantity": 1.0,
                                        "unit_price": price / 100, "net_amount": price / 100,
                                        "line_type": "sale", "source_file": "a.csv",
                                        "source_row": len(lines) + 2})  # fmt: skip
    trading = [{"store_id": store, "business_date": day, "open_at": at, "n_intervals": 8,
                "close_at": at + pd.Timedelta(hours=8), "grain_minutes": 60, "source": "hours"}
               for store in STORES for day, at in zip(days, opened, strict=True)]  # fmt: skip
    span = (days[0], days[-1])
    with warehouse.session() as session:
        put(session, "stores", pd.DataFrame({"store_id": STORES, "timezone": "Europe/Paris"}))
        put(session, "products", pd.DataFrame(
            {"product_id": PRODUCTS, "name": PRODUCTS, "category": "bars", "unit_cost": cost,
             "vendor": ["v", "v", "w", "w"], "pack_size": [1, 1, 6, 1],
             "brand": ["x", "x", "x", "y"]}))  # fmt: skip
        put(session, "shelf", pd.DataFrame(
            [{"product_id": p, "store_id": None, "capacity": 12, "review_days": 2.0,
              "lead_time_days": 1.0, "fixed_cost": 400.0 if p == "d" else 0.0, "salvage": 0.5,
              "source_file": "shelf.csv", "source_row": 2 + j} for j, p in enumerate(PRODUCTS)]
        ))  # fmt: skip
        put(session, "trading_days", pd.DataFrame(trading), span)
        put(session, "interval_sales", pd.DataFrame(sales), span)
        put(session, "pos_lines", pd.DataFrame(lines), span)
        _posterior(session, models, rng)
    return warehouse


def _posterior(session, models: tuple[str, ...], rng: np.random.Generator) -> None:
    draws, rates = [], []
    for model in models:
        for draw in range(DRAWS):
            wobble = rng.uniform(0.95, 1.05, (len(STORES), 4))
            head = {"category": "bars", "choice_model": model, "draw": draw, "as_of": FIRST}
            draws += [head | {"parameter": "arrival_rate", "store_id": store, "from_product": p,
                              "to_product": None, "value": ARRIVALS[j] * wobble[s, j]}
                      for s, store in enumerate(STORES)
                      for j, p in enumerate(PRODUCTS)]  # fmt: skip
            draws += [head | {"parameter": "substitution_rate", "store_id": None,
                              "from_product": PRODUCTS[i], "to_product": PRODUCTS[j],
                              "value": RATE[i, j]}
                      for i in range(4) for j in range(4) if i != j]  # fmt: skip
    for store in STORES:
        rates += [{"category": "bars", "store_id": store, "product_id": p, "mean": ARRIVALS[j],
                   "sd": 0.1, "q025": 0.9 * ARRIVALS[j], "q50": ARRIVALS[j],
                   "q975": 1.1 * ARRIVALS[j], "units_per_transaction_mean": 1.0,
                   "units_per_transaction_var": 0.0, "as_of": FIRST}
                  for j, p in enumerate(PRODUCTS)]  # fmt: skip
    put(session, "substitution_posterior", pd.DataFrame(draws), "bars")
    put(session, "demand_rates", pd.DataFrame(rates), "bars")


def run(warehouse: Warehouse, assets: list, fails: bool = False) -> dg.ExecuteInProcessResult:
    with dg.DagsterInstance.ephemeral() as instance:
        instance.add_dynamic_partitions("category", ["bars"])
        done = dg.materialize(
            assets,
            instance=instance,
            resources={"warehouse": warehouse},
            partition_key="bars",
            raise_on_error=not fails,
        )
    assert done.success is not fails
    return done


def rows(warehouse: Warehouse, query: str) -> list[dict]:
    with warehouse.session() as session:
        return session.sql(query).to_dicts()


ONE = '[[plan]]\nname = "buy"\nstores = ["north"]\nweeks = 2\nmust_carry = ["c"]\nbudget = 700\n'


@pytest.fixture(scope="module")
def planned(tmp_path_factory) -> tuple[Warehouse, dg.ExecuteInProcessResult]:
    warehouse = shop(tmp_path_factory.mktemp("plan"), ONE)
    return warehouse, run(warehouse, [assortment.plan_assortment, *plan_checks.plan_checks[:4]])


def test_a_buy_keeps_its_limits_and_beats_the_newsvendor(planned):
    warehouse, _ = planned
    found = rows(warehouse, "SELECT * FROM assortment_plan WHERE method = 'joint' ORDER BY ALL")
    assert [row["product_id"] for row in found] == list(PRODUCTS)
    assert {row["plan_id"] for row in found} == {"buy, north"}
    assert sum(row["spend_cents"] for row in found) <= 70_000
    assert found[2]["selected"]
    assert found[2]["reason"] == "must_carry"
    assert found[2]["order_qty"] % 6 == 0
    # 400 a year is 15 a fortnight: more than some 22 customers of d can bring.
    assert not found[3]["selected"]
    # Two weeks of eight hours: 112 hours of 3 customers who want a first.
    assert found[0]["first_choice_demand"] == pytest.approx(112 * 3, rel=0.05)
    gain = rows(
        warehouse, "SELECT diff_ci_high FROM assortment_plan_summary WHERE method = 'newsvendor'"
    )
    assert gain[0]["diff_ci_high"] < 0


def test_profit_lies_under_the_bound_and_its_interval_holds_it(planned):
    warehouse, _ = planned
    (joint,) = rows(warehouse, "SELECT * FROM assortment_plan_summary WHERE recommended")
    assert joint["method"] == "joint"
    assert joint["holdout_ci_low"] <= joint["holdout_profit"] <= joint["holdout_ci_high"]
    assert joint["holdout_profit"] <= joint["upper_bound"]
    assert joint["gap_pct"] == pytest.approx(
        100 * (joint["upper_bound"] / joint["holdout_profit"] - 1)
    )
    assert joint["regret"] is None


def test_a_larger_budget_never_earns_less(planned):
    warehouse, _ = planned
    points = rows(warehouse, "SELECT * FROM assortment_frontier ORDER BY budget_cents")
    assert len(points) >= 4
    for small, large in itertools.pairwise(points):
        assert large["holdout_profit"] >= small["holdout_profit"] * 0.999
        assert large["spend_cents"] <= large["budget_cents"]


def test_the_run_shows_its_pictures_and_passes_its_checks(planned):
    _, done = planned
    said = {
        m.asset_key.to_user_string(): m.metadata for m in done.get_asset_materialization_events()
        for m in [m.step_materialization_data.materialization]
    }  # fmt: skip
    assert "data:image/png" in said["assortment_plan"]["stock_0"].value
    assert "data:image/png" in said["assortment_plan_summary"]["methods_0"].value
    assert "data:image/png" in said["assortment_frontier"]["budget_0"].value
    assert all(evaluation.passed for evaluation in done.get_asset_check_evaluations())


def test_a_plan_repeats_itself(planned, tmp_path):
    warehouse, _ = planned
    query = "SELECT * EXCLUDE seconds FROM assortment_plan_summary ORDER BY ALL"
    before = rows(warehouse, query)
    run(warehouse, [assortment.plan_assortment])
    assert rows(warehouse, query) == before


def test_two_choice_models_are_both_planned_and_one_is_recommended(tmp_path):
    rules = '[[plan]]\nname = "buy"\nweeks = 1\nby_vendor = ["w", "v"]\n'
    warehouse = shop(tmp_path / "home", rules, models=("one_step", "markov_chain"))
    run(warehouse, [assortment.plan_assortment])
    found = rows(warehouse, "SELECT * FROM assortment_plan_summary WHERE method = 'by_vendor'")
    assert {row["choice_model"] for row in found} == {"one_step", "markov_chain"}
    assert sum(row["recommended"] for row in found) == 1
    assert all(row["regret"] >= 0 for row in found)
    assert {row["store_id"] for row in found} == {None}
    best = min(found, key=lambda row: row["regret"])
    assert best["recommended"]


def test_without_costs_there_is_no_buy_and_a_check_says_so(tmp_path):
    warehouse = shop(tmp_path / "home", cost=None)
    done = run(warehouse, [assortment.plan_assortment, plan_checks.plan_checks[0]])
    assert rows(warehouse, "SELECT * FROM assortment_plan") == []
    (evaluation,) = done.get_asset_check_evaluations()
    assert not evaluation.passed
    assert evaluation.metadata["without"].value == 4


@pytest.mark.parametrize(
    ("rules", "said"),
    [
        ('[[plan]]\nname = "x"\nstores = ["east"]', "unknown store east; there are north, south"),
        ('[[plan]]\nname = "x"\nmust_carry = ["z"]', "must_carry names unknown product z"),
        (
            '[[plan]]\nname = "x"\nmust_carry = ["a", "c"]\nbudget = 3',
            "must-carry products a, c need 1,400 cents",
        ),
        ('[[plan]]\nname = "x"\nby_vendor = ["u"]', "no product of u; vendors are v, w"),
        ('[[plan]]\nname = "x"\nat_most = [{ brand = "q", products = 1 }]', "brand 'q'"),
    ],
)
def test_a_wrong_rule_is_said_with_file_plan_and_id(tmp_path, rules, said):
    warehouse = shop(tmp_path / "home", rules)
    done = run(warehouse, [assortment.plan_assortment], fails=True)
    (failure,) = done.get_step_failure_events()
    message = failure.step_failure_data.error.cause.message
    assert "assortment.toml: plan 'x'" in message
    assert said in message


def test_each_store_gets_its_shelf_divided_within_its_room(tmp_path):
    warehouse = shop(tmp_path / "home", '[[shelf]]\nkeep = ["d"]\nmost = { a = 20 }\n')
    done = run(warehouse, [assortment.divide_shelves, plan_checks.plan_checks[4]])
    found = rows(warehouse, "SELECT * FROM capacity_plan ORDER BY store_id, product_id")
    assert len(found) == 8
    for store in STORES:
        own = [row for row in found if row["store_id"] == store]
        assert sum(row["capacity_now"] for row in own) == 48
        assert sum(row["capacity_plan"] for row in own) <= 48
        assert own[0]["capacity_plan"] <= 20
        assert own[3]["capacity_plan"] >= 1
        assert own[0]["diff_ci_low"] <= own[0]["diff_mean"] <= own[0]["diff_ci_high"]
        # d hardly sells; its room is worth more to the others.
        assert own[3]["capacity_plan"] < 12
        assert own[0]["verdict"] == "better"
    (evaluation,) = done.get_asset_check_evaluations()
    assert evaluation.passed
