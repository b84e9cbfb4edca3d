"""Seasons against a plain Python shop, the one pass against 2n replays, both against a DP."""

import itertools
from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import poisson

from bench.exact_season import best_plan, expected_profit, season_values
from bench.plain_replay import plain_season
from bench.season_simulator import MODELS, random_market, random_season
from retail_assets.models.assortment.customers import Seasons, draw_seasons
from retail_assets.models.assortment.season import Market, Season
from retail_assets.models.assortment.unit_differences import (
    evaluate,
    mean_profit,
    standard_error,
    unit_differences,
)
from retail_assets.models.choice.replay import Customers, replay_seasons


def seasons_of(lists, n_products, indptr=None):
    """Seasons from ranked lists; one season unless told."""
    width = max(len(wishes) for wishes in lists) if lists else 1
    rows = [list(wishes) + [-1] * (width - len(wishes)) for wishes in lists]
    ends = np.array([0, len(lists)] if indptr is None else indptr, np.int64)
    choices = np.array(rows, np.int16).reshape(len(lists), width)
    return Seasons(ends, choices, np.zeros(len(ends) - 1, np.int64), 0.0, n_products)


def random_case(seed, n_seasons=15):
    rng = np.random.default_rng(seed)
    season = random_season(rng, int(rng.integers(2, 10)))
    market = random_market(rng, season, 30.0, MODELS[seed % 2])
    return season, draw_seasons(market, n_seasons, seed), rng.integers(0, 7, season.n_products)


def replayed_difference(season, seasons, quantity, product, change):
    """By evaluating both plans; fixed costs taken out of it."""
    free = replace(season, fixed_cost=np.zeros(season.n_products))
    near = quantity.copy()
    near[product] += change
    return evaluate(free, seasons, near).mean - evaluate(free, seasons, quantity).mean


@pytest.mark.parametrize("seed", range(6))
def test_every_season_sells_what_a_plain_python_shop_sells(seed):
    season, seasons, quantity = random_case(seed)
    value = evaluate(season, seasons, quantity)
    for r, (begin, end) in enumerate(itertools.pairwise(seasons.indptr)):
        sold = plain_season(seasons.choices[begin:end].tolist(), quantity.tolist())
        assert value.sales[r].tolist() == list(sold)
        money = 0.0
        for j, units in enumerate(quantity.tolist()):
            money += sold[j] * season.price[j] + (units - sold[j]) * season.salvage[j]
            money -= units * season.unit_cost[j] + (season.fixed_cost[j] if units else 0.0)
        assert value.profit[r] == pytest.approx(money, abs=1e-9)


@pytest.mark.parametrize("seed", range(4))
def test_first_choices_and_substitutes_are_those_of_the_general_replay(seed):
    season, seasons, quantity = random_case(seed)
    size = len(seasons.choices)
    people = Customers(np.zeros(size), seasons.choices, np.ones(size))
    general = replay_seasons(people, seasons.indptr, quantity)
    value = evaluate(season, seasons, quantity)
    for name in ("first_choice", "sales", "substituted_in"):
        np.testing.assert_array_equal(getattr(value, name), getattr(general, name))


@pytest.mark.parametrize("seed", range(30))
def test_one_pass_equals_replaying_every_neighbouring_plan(seed):
    season, seasons, quantity = random_case(seed)
    found = unit_differences(season, seasons, quantity)
    value = evaluate(season, seasons, quantity)
    assert found.profit == pytest.approx(value.mean, abs=1e-9)
    assert mean_profit(season, seasons, quantity) == pytest.approx(value.mean, abs=1e-9)
    for j in range(season.n_products):
        more = replayed_difference(season, seasons, quantity, j, 1)
        assert found.plus[j] == pytest.approx(more, abs=1e-9)
        if quantity[j] == 0:
            assert found.minus[j] == -np.inf
        else:
            less = replayed_difference(season, seasons, quantity, j, -1)
            assert found.minus[j] == pytest.approx(less, abs=1e-9)


def test_cents_of_whole_units_are_exact():
    season, seasons, quantity = random_case(3, n_seasons=16)
    whole = replace(
        season,
        price=np.rint(100 * season.price) + 300,
        unit_cost=np.rint(100 * season.unit_cost) + 200,
        salvage=np.zeros(season.n_products),
    )
    found = unit_differences(whole, seasons, quantity)
    for j in range(season.n_products):
        # Sums of whole cents, divided by 16.
        assert found.plus[j] == replayed_difference(whole, seasons, quantity, j, 1)


def test_an_extra_unit_is_followed_from_shelf_to_shelf():
    # Stock: 0 of a, 1 of b, 1 of c. Now b and c are sold and the third customer leaves.
    # With one a, the first takes a, the second then b and the third c.
    season = Season(("a", "b", "c"), [900, 500, 300], [100, 100, 100], [0, 0, 0])
    seasons = seasons_of([(0, 1), (1, 2), (2,)], 3)
    found = unit_differences(season, seasons, np.array([0, 1, 1]))
    assert found.profit == 500 + 300 - 200
    assert found.plus[0] == 900 + 500 + 300 - 800 - 100


def test_a_missing_unit_sends_its_customer_on_and_the_next_one_after():
    # One of each: all three are sold. Without a, its customer takes b; b's leaves.
    season = Season(("a", "b"), [900, 500], [100, 100], [0, 0])
    found = unit_differences(season, seasons_of([(0, 1), (1,)], 2), np.array([1, 1]))
    assert found.minus.tolist() == [-900 + 100, -500 + 100]


def test_units_nobody_touches_cost_their_overage():
    season = Season(("a", "b"), [900, 500], [300, 200], [100, 50])
    found = unit_differences(season, seasons_of([(0,)], 2), np.array([5, 5]))
    assert found.plus.tolist() == [-200, -150]
    assert found.minus.tolist() == [200, 150]


def test_fixed_costs_count_in_the_profit_and_not_in_the_differences():
    season = Season(("a", "b"), [900, 500], [300, 200], [100, 50], fixed_cost=[10_000, 7])
    found = unit_differences(season, seasons_of([(0, 1)], 2), np.array([0, 1]))
    assert found.profit == 500 - 200 - 7
    assert found.plus[0] == 900 - 300 - (500 - 50)


def test_a_season_without_customers_salvages_everything():
    season = Season(("a", "b"), [900, 500], [300, 200], [100, 50])
    empty = seasons_of([], 2, indptr=[0, 0])
    assert evaluate(season, empty, np.array([2, 3])).profit.tolist() == [-2 * 200 - 3 * 150]
    assert unit_differences(season, empty, np.array([2, 0])).plus.tolist() == [-200, -150]


@pytest.mark.parametrize(
    ("quantity", "message"),
    [
        (np.array([1]), "quantity must be 2 whole numbers"),
        (np.array([1.0, 2.0]), "quantity must be 2 whole numbers, got float64"),
        (np.array([1, -3]), "product b: quantity -3 is negative"),
    ],
)
def test_a_plan_that_is_none_is_refused(quantity, message):
    season = Season(("a", "b"), [900, 500], [300, 200], [100, 50])
    for ask in (evaluate, mean_profit, unit_differences):
        with pytest.raises(ValueError, match=message):
            ask(season, seasons_of([(0, 1)], 2), quantity)


def test_customers_of_other_products_are_refused():
    season = Season(("a", "b"), [900, 500], [300, 200], [100, 50])
    with pytest.raises(ValueError, match="choose among 3 products, the season has 2"):
        evaluate(season, seasons_of([(2,)], 3), np.array([1, 1]))


def test_the_exact_programme_is_the_newsvendor_for_one_product():
    season = Season(("a",), [10.0], [4.0], [1.0], fixed_cost=[3.0])
    market = Market(("a",), [[12.0]], [[0.0]], "one_step", distribution="poisson")
    count, value = np.arange(200), season_values(season, market, 30)
    for units in (0, 1, 9, 30):
        sold = float(np.minimum(count, units) @ poisson.pmf(count, 12.0))
        profit = 10 * sold + (units - sold) - 4 * units - 3 * (units > 0)
        assert value[units] == pytest.approx(profit, abs=1e-7)
    # Critical ratio 6/9.
    assert best_plan(season, market, 30).quantity.tolist() == [poisson.ppf(6 / 9, 12.0)]


def test_the_exact_programme_is_the_sum_over_all_orders_of_arrival():
    # Two customers for certain, one unit each: customers by first choice and next step.
    season = Season(("a", "b"), [9.0, 5.0], [3.0, 2.0], [1.0, 1.0])
    market = Market(("a", "b"), [[1.2, 0.8]], [[0.0, 0.5], [0.25, 0.0]], "markov_chain", cv=0.0)
    paths = {(0,): 0.6 * 0.5, (0, 1): 0.6 * 0.5, (1,): 0.4 * 0.75, (1, 0): 0.4 * 0.25}
    value = season_values(season, market, 1)
    for quantity in itertools.product((0, 1), repeat=2):
        expected = 0.0
        for pair in itertools.product(paths, repeat=2):
            profit = evaluate(season, seasons_of(list(pair), 2), np.array(quantity)).mean
            expected += paths[pair[0]] * paths[pair[1]] * profit
        assert value[quantity] == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("distribution", ["lognormal", "negbin", "poisson"])
@pytest.mark.parametrize("choice_model", MODELS)
def test_the_simulated_mean_is_the_exact_one(choice_model, distribution):
    rng = np.random.default_rng(5)
    z = []
    for seed in range(6):
        season = random_season(rng, 3)
        market = random_market(rng, season, 10.0, choice_model, distribution, draws=2)
        quantity = rng.integers(1, 8, 3)
        value = evaluate(season, draw_seasons(market, 1_000, seed), quantity)
        z.append((value.mean - expected_profit(season, market, quantity)) / value.se)
    assert np.abs(z).max() < 3.5


def test_the_standard_error_is_the_spread_of_the_mean_over_seeds():
    rng = np.random.default_rng(8)
    season = random_season(rng, 4)
    market = random_market(rng, season, 30.0, "markov_chain")
    quantity = np.rint(market.first_choice[0]).astype(np.int64) + 1
    values = [evaluate(season, draw_seasons(market, 100, seed), quantity) for seed in range(300)]
    spread = np.std([value.mean for value in values], ddof=1)
    claimed = np.sqrt(np.mean([value.se**2 for value in values]))
    usual = np.mean([value.profit.std(ddof=1) for value in values]) / np.sqrt(100)
    # 300 seeds know their own spread to 4 %.
    assert 0.85 < claimed / spread < 1.15
    assert usual > 2 * spread


def test_one_season_has_no_standard_error():
    assert np.isnan(standard_error(np.array([3.0])))
