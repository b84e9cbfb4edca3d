"""What-ifs against the white paper, the Amazon article's chocolate, and exact sums."""

import json
from importlib import resources

import numpy as np
import pytest

from retail_assets.contract import table
from retail_assets.models.assortment.scenario_rules import (
    AddStockouts,
    Base,
    ChangeCapacity,
    DropProducts,
)
from retail_assets.models.assortment.scenario_tables import (
    product_columns,
    simulation_columns,
    summary_columns,
)
from retail_assets.models.assortment.scenarios import simulate_scenarios
from retail_assets.models.assortment.shop import Shop
from retail_assets.models.assortment.verdicts import summarise, summarise_models
from retail_assets.models.choice.markov_chain import draw_customers
from retail_assets.models.choice.replay import replay
from retail_assets.models.panel import Rates

PAPER = json.loads(resources.files("retail_assets.simulator").joinpath("presets.json").read_text())[
    "paper_money"
]
CASES = (
    DropProducts("drop b", ("b",)),
    DropProducts("drop b, capacity to a", ("b",), "to", "a"),
    DropProducts("drop b, capacity equally", ("b",), "equal", "a"),
)


def paper_shop(n_intervals=PAPER["intervals"]):
    return Shop(
        products=tuple(PAPER["products"]),
        capacity=np.array(PAPER["capacity"]),
        # Tenths of a cent: the preset's prices have three decimals.
        unit_price_cents=np.rint(np.array(PAPER["unit_revenue"]) * 1000),
        n_intervals=n_intervals,
        review=PAPER["review"],
        lead=PAPER["lead"],
        reorder_share=0.5,
    )


def paper_rates(choice_model="one_step"):
    return Rates(np.array([PAPER["rates"]]), np.array(PAPER["alpha"]), choice_model)


@pytest.fixture(scope="module")
def paper():
    return simulate_scenarios([paper_rates()], CASES, [paper_shop()], replications=12, seed=7)


def test_the_white_papers_four_cases(paper):
    base, drop, to_a, equal = summarise(paper)
    revenue_of_b = paper.product_mean["revenue_cents"][0, 1] / 1000
    published = PAPER["published"]
    assert revenue_of_b == pytest.approx(published["revenue_of_b"], rel=0.04)
    assert base.verdict == "base"
    for row, figure in ((drop, "drop_b"), (to_a, "to_a"), (equal, "equal")):
        ratio = row.diff_mean / 1000 / revenue_of_b
        assert ratio == pytest.approx(published[figure] / published["revenue_of_b"], abs=0.05)
    assert drop.verdict == "worse"
    assert equal.verdict == "better"
    assert all(row.crn_variance_ratio > 1.5 for row in (drop, to_a, equal))


def test_tables_3_to_6_add_up(paper):
    mean = paper.product_mean
    customers = mean["first_choice_demand"].sum(1)
    assert customers == pytest.approx(np.full(4, paper.customers.mean()))
    bought = mean["first_choice_demand"] - mean["substituted_out"] - mean["lost"]
    assert bought + mean["substituted_in"] == pytest.approx(mean["sales"])
    assert mean["substituted_in"].sum(1) == pytest.approx(mean["substituted_out"].sum(1))
    assert mean["revenue_cents"].sum(1) == pytest.approx(paper.revenue_cents.mean(1))
    assert mean["lost"].sum(1) == pytest.approx(paper.lost_customers.mean(1))
    assert np.all(mean["sales"][1:, 1] == 0)
    assert np.all(mean["stockout_share"][1:, 1] == 1)
    assert paper.capacity[3].tolist() == [50, 0, 32, 29, 13]
    assert paper.stockout_share[0].mean() == pytest.approx(0.191, abs=0.03)


def test_tables_hold_every_column_of_the_contract(paper):
    summaries = summarise(paper)
    tables = {
        "assortment_simulation": simulation_columns(paper, "bars"),
        "assortment_simulation_product": product_columns(paper, "bars"),
        "assortment_scenarios": summary_columns(summaries, "bars"),
    }
    for name, rows in (("assortment_simulation", 48), ("assortment_simulation_product", 20)):
        assert {len(column) for column in tables[name].values()} == {rows}
    assert tables["assortment_scenarios"]["verdict"][0] == "base"
    assert tables["assortment_scenarios"]["crn_variance_ratio"][0] is None
    for name, columns in tables.items():
        missing = {column.name for column in table(name).columns} - set(columns)
        assert missing == set(), name


def test_base_equals_one_plain_replay_per_replication():
    shop = paper_shop(5_000)
    result = simulate_scenarios([paper_rates()], CASES[:1], [shop], replications=2, seed=3)
    again = simulate_scenarios([paper_rates()], CASES[1:], [shop], replications=2, seed=3)
    assert np.array_equal(result.revenue_cents[0], again.revenue_cents[0])
    people = draw_customers(
        np.random.default_rng((3, 1, 0)),
        np.array(PAPER["rates"]),
        np.array(PAPER["alpha"]),
        "one_step",
        n_intervals=5_000,
    )
    assert result.customers[1] == len(people)


def test_chocolate_sells_from_dark_to_light():
    # Amazon Science, "Developing a model to offer fashion products": all prefer 90 %, "once it
    # runs out, 80 % sells and then 70 %".
    bars = ("90 %", "80 %", "70 %")
    down = np.array([[0.0, 1.0, 0.0], [0.0, 0.0, 1.0], [0.0, 0.0, 0.0]])
    rate = np.array([1.0, 0.0, 0.0])
    people = draw_customers(np.random.default_rng(1), rate, down, "markov_chain", n_intervals=400)
    stock = np.array([100, 100, 100])
    sold = replay(people, stock, n_intervals=400, record=True).outcome
    assert sold[:100].tolist() == [0] * 100
    assert sold[100:200].tolist() == [1] * 100
    assert sold[200:300].tolist() == [2] * 100
    assert np.all(sold[300:] == -1)
    assert len(people) > 320
    shop = Shop(bars, stock, np.array([400, 300, 250]), 400, 0, 0, 1.0)
    result = simulate_scenarios(
        [Rates(rate[None], down, "markov_chain")],
        [DropProducts("no 90 %", ("90 %",), "to", "80 %")],
        [shop],
        replications=4,
        seed=1,
    )
    assert result.product_mean["sales"].tolist() == [[100, 100, 100], [0, 200, 100]]
    assert result.diff_vs_base_cents[1].tolist() == [100 * (300 - 400)] * 4


def test_intervals_widen_with_the_parameters_not_with_the_noise():
    rng = np.random.default_rng(4)
    known = paper_rates()
    unsure = [
        Rates(known.arrival_rate * rng.gamma(25, 1 / 25, (1, 5)), known.substitution_rate)
        for _ in range(40)
    ]
    shop = paper_shop(6_000)
    sure = summarise(simulate_scenarios([known], CASES, [shop], replications=80, seed=5))[1]
    wide = summarise(simulate_scenarios(unsure, CASES, [shop], replications=80, seed=5))[1]
    assert sure.diff_sd_parameters == 0
    assert wide.diff_sd_parameters > 3 * wide.diff_se_monte_carlo
    assert wide.diff_se_monte_carlo == pytest.approx(sure.diff_se_monte_carlo, rel=0.4)
    # One horizon as lived varies more than its expectation.
    assert sure.q95 - sure.q05 > 3 * (sure.diff_ci_high - sure.diff_ci_low)


def test_the_interval_covers_the_expected_difference():
    shop, known = paper_shop(3_000), paper_rates()
    truth = simulate_scenarios([known], CASES[2:], [shop], replications=3_000, seed=99)
    expected = truth.diff_vs_base_cents[1].mean()
    covered = 0
    for seed in range(60):
        row = summarise(simulate_scenarios([known], CASES[2:], [shop], replications=20, seed=seed))[
            1
        ]
        covered += row.diff_ci_low <= expected <= row.diff_ci_high
    assert 52 <= covered <= 60


def test_added_stockouts_take_their_share_of_time():
    shop = paper_shop(60_000)
    shop = Shop(**{**shop.__dict__, "capacity": np.full(5, 100_000)})
    for share, length in ((0.2, 100), (0.7, 30), (0.6, 1)):
        result = simulate_scenarios(
            [paper_rates()],
            [AddStockouts("d out", "d", share, length)],
            [shop],
            replications=4,
            seed=1,
        )
        assert result.product_mean["stockout_share"][1] == pytest.approx(
            [0, 0, 0, share, 0], abs=0.05
        )
        substitute = result.product_mean["substituted_in"][1, 4]
        flow = PAPER["rates"][3] * PAPER["alpha"][3][4] * 60_000
        assert substitute == pytest.approx(flow * share, rel=0.2)


def test_a_delivery_calendar_is_followed():
    every_day = tuple(np.arange(0, 4_000, PAPER["review"]) for _ in range(5))
    shop = paper_shop(4_000)
    dated = Shop(**{**shop.__dict__, "review": 0, "review_times": every_day})
    never = Shop(**{**shop.__dict__, "review": 0})
    sales = [
        simulate_scenarios([paper_rates()], [], [s], replications=2, seed=1).product_mean["sales"]
        for s in (shop, dated, never)
    ]
    assert np.array_equal(sales[0], sales[1])
    assert np.array_equal(sales[2][0], PAPER["capacity"])


def test_lead_times_can_vary():
    shop = paper_shop(4_000)
    varied = Shop(**{**shop.__dict__, "lead_sd": 30.0})
    _, review, arrival = varied.draw_orders(np.random.default_rng(1))
    lead = arrival - review
    assert lead.mean() == pytest.approx(101, abs=6)
    assert lead.std() == pytest.approx(30, abs=4)


def test_costs_turn_revenue_into_profit():
    shop = paper_shop(4_000)
    costed = Shop(**{**shop.__dict__, "unit_cost_cents": np.full(5, 1_000)})
    plain = simulate_scenarios([paper_rates()], CASES, [shop], replications=2, seed=1)
    result = simulate_scenarios([paper_rates()], CASES, [costed], replications=2, seed=1)
    assert (plain.goal, result.goal) == ("revenue", "profit")
    units = result.product_mean["sales"].sum(1)
    assert result.cogs_cents.mean(1) == pytest.approx(units * 1_000)
    assert np.array_equal(result.goal_cents, result.revenue_cents - result.cogs_cents)
    assert np.array_equal(result.revenue_cents, plain.revenue_cents)


def test_two_shops_are_the_sum_of_one_and_one():
    shop = paper_shop(4_000)
    rates = Rates(np.array([PAPER["rates"], PAPER["rates"]]), np.array(PAPER["alpha"]))
    both = simulate_scenarios([rates], CASES, [shop, shop], replications=4, seed=1)
    assert both.capacity[0].tolist() == [90, 28, 58, 52, 20]
    alone = simulate_scenarios([paper_rates()], CASES, [shop], replications=4, seed=1)
    assert both.customers.mean() == pytest.approx(2 * alone.customers.mean(), rel=0.05)
    assert both.revenue_cents.mean() == pytest.approx(2 * alone.revenue_cents.mean(), rel=0.05)


def test_larger_baskets_empty_the_shelf_sooner():
    shop = paper_shop(6_000)
    baskets = Shop(**{**shop.__dict__, "units_mean": np.full(5, 1.5), "units_var": np.full(5, 1.0)})
    one = simulate_scenarios([paper_rates()], [], [shop], replications=4, seed=2)
    more = simulate_scenarios([paper_rates()], [], [baskets], replications=4, seed=2)
    assert one.scenarios == more.scenarios == (Base(),)
    assert more.stockout_share.mean() > one.stockout_share.mean() + 0.05


def test_an_open_choice_model_leaves_the_verdict_open():
    shop = paper_shop(6_000)
    cases = (DropProducts("drop b", ("b",)), ChangeCapacity("more a", "a", add=1))
    results = [
        simulate_scenarios([paper_rates(model)], cases, [shop], replications=30, seed=1)
        for model in ("one_step", "markov_chain")
    ]
    rows = summarise_models(results)
    assert [(row.scenario, row.choice_model) for row in rows][:4] == [
        ("base", "one_step"),
        ("base", "markov_chain"),
        ("drop b", "one_step"),
        ("drop b", "markov_chain"),
    ]
    alone = [{row.verdict for row in summarise(result)[1:]} for result in results]
    for first, second in zip(rows[::2], rows[1::2], strict=True):
        assert first.verdict == second.verdict
    assert rows[2].verdict == "worse"
    assert alone[0]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"capacity": np.array([1, -2, 3, 4, 5])}, "product 'b': capacity -2"),
        ({"weight": np.ones(3)}, "weight has 3 intervals"),
        ({"n_intervals": 0}, "n_intervals must be at least 1"),
    ],
)
def test_a_bad_shop_is_named(change, message):
    with pytest.raises(ValueError, match=message):
        Shop(**{**paper_shop(100).__dict__, **change})


def test_bad_calls_say_what_is_missing():
    shop = paper_shop(100)
    with pytest.raises(ValueError, match="at least 2 replications"):
        simulate_scenarios([paper_rates()], [], [shop], replications=1, seed=1)
    with pytest.raises(ValueError, match="mix choice models"):
        simulate_scenarios(
            [paper_rates(), paper_rates("markov_chain")], [], [shop], replications=2, seed=1
        )
    with pytest.raises(ValueError, match=r"\(shops, products\) = \(2, 5\)"):
        simulate_scenarios([paper_rates()], [], [shop, shop], replications=2, seed=1)
    with pytest.raises(ValueError, match="scenario 'x': unknown product 'zz'"):
        simulate_scenarios(
            [paper_rates()], [DropProducts("x", ("zz",))], [shop], replications=2, seed=1
        )
