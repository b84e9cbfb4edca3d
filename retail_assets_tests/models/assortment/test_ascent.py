"""Climbs against all plans of a small season, and what they may never do."""

import itertools
from dataclasses import replace

import numpy as np
import pytest

from retail_assets.models.assortment.ascent import ascend
from retail_assets.models.assortment.customers import Seasons, draw_seasons
from retail_assets.models.assortment.hill import Ascent, Hill, Move, take
from retail_assets.models.assortment.product_moves import customer_flows
from retail_assets.models.assortment.season import Cap, Market, Season
from retail_assets.models.assortment.unit_differences import mean_profit


def small(seed, fixed=0.0, **limits):
    rng = np.random.default_rng(seed)
    price = np.rint(rng.uniform(600, 1500, 3))
    cost = np.rint(price * rng.uniform(0.4, 0.7, 3))
    season = Season(("a", "b", "c"), price, cost, 0.3 * cost, np.full(3, fixed), **limits)
    matrix = rng.dirichlet(np.ones(3), 3)
    np.fill_diagonal(matrix, 0.0)
    market = Market(season.products, 6 * rng.dirichlet(np.ones(3)), matrix, "markov_chain", 0.5)
    return season, draw_seasons(market, 400, seed)


def best_of_all(season, seasons, top=9):
    """Every vector of 0..top units that breaks no limit."""
    plans = (np.array(q) for q in itertools.product(range(top + 1), repeat=season.n_products))
    return max(mean_profit(season, seasons, q) for q in plans if not season.violations(q))


@pytest.mark.parametrize("fixed", [0.0, 400.0])
def test_a_climb_from_one_of_two_starts_meets_the_best_of_all_plans(fixed):
    for seed in range(6):
        season, seasons = small(seed, fixed)
        starts = (np.full(3, 2), np.array([4, 0, 0]))
        found = max(ascend(season, seasons, start).profit for start in starts)
        assert found == pytest.approx(best_of_all(season, seasons), rel=1e-9)


def test_limits_hold_and_their_best_plan_is_found():
    for seed in range(6):
        season, seasons = small(
            seed,
            fixed=100.0,
            budget=3_000.0,
            pack_size=np.array([1, 2, 1]),
            min_quantity=np.array([0, 0, 2]),
            must_carry=np.array([True, False, False]),
            max_products=2,
        )
        ends = [
            ascend(season, seasons, np.array(start)) for start in ([1, 0, 0], [1, 2, 0], [1, 0, 2])
        ]
        assert all(season.violations(end.quantity) == () for end in ends)
        best = best_of_all(season, seasons, top=7)
        assert max(end.profit for end in ends) == pytest.approx(best, rel=1e-9)


def test_moves_that_are_fine_alone_do_not_drop_together_what_must_be_carried():
    season, seasons = small(1, must_carry=np.array([True, False, False]))
    season = replace(
        season,
        price=np.array([201.0, 900.0, 900.0]),
        unit_cost=np.full(3, 200.0),
        salvage=np.zeros(3),
    )
    hill = Hill(season, seasons)
    plan = np.array([2, 1, 0])
    start = Ascent(plan, mean_profit(season, seasons, plan), 0)
    one_less = Move(np.array([-1, 0, 0]), 1.0)
    found = take(hill, start, [one_less, one_less], tries=2)
    assert found is not None
    assert found.quantity.tolist() == [1, 1, 0]


def test_a_climb_never_ends_below_its_start_and_repeats_itself():
    rng = np.random.default_rng(5)
    n = 12
    products = tuple(f"p{i}" for i in range(n))
    season = Season(
        products,
        rng.uniform(500, 900, n),
        np.full(n, 300.0),
        np.full(n, 50.0),
        np.full(n, 800.0),
        space=rng.uniform(1, 3, n),
        pack_size=np.full(n, 4),
        space_limit=150.0,
        budget=40_000.0,
        caps=(Cap("brand x", products[:6], 3),),
    )
    matrix = rng.dirichlet(np.ones(n), n)
    np.fill_diagonal(matrix, 0.0)
    market = Market(products, 100 * rng.dirichlet(np.ones(n)), matrix, "one_step", cv=0.4)
    seasons = draw_seasons(market, 60, seed=2)
    for start in (np.zeros(n, int), np.where(np.arange(n) % 2, 4, 0)):
        end = ascend(season, seasons, start)
        assert season.violations(end.quantity) == ()
        assert end.profit > mean_profit(season, seasons, start)
        assert end.profit == pytest.approx(mean_profit(season, seasons, end.quantity))
        assert np.array_equal(end.quantity, ascend(season, seasons, start).quantity)


def test_a_start_outside_the_limits_is_refused_with_the_limit():
    season, seasons = small(1, budget=1_000.0)
    with pytest.raises(ValueError, match=r"start is no plan: spends .* of 1,000 cents"):
        ascend(season, seasons, np.full(3, 9))


def test_flows_tell_where_customers_of_a_product_would_turn():
    lists = np.array([[0, 1, 2], [0, 2, -1], [1, -1, -1], [1, 0, 2], [2, -1, -1]], np.int16)
    seasons = Seasons(np.array([0, 3, 5]), lists, np.zeros(2, int), 0.0, 3)
    flow, demand = customer_flows(seasons, np.array([True, False, True]))
    # a: two come first and go on to c, one comes past b and goes on to c.
    assert flow[0].tolist() == [0, 0, 1.5, 0]
    # b, not carried: one would leave without it, one buys a instead.
    assert flow[1].tolist() == [0.5, 0, 0, 0.5]
    # c: its one customer leaves.
    assert flow[2].tolist() == [0, 0, 0, 0.5]
    assert demand.tolist() == [[2, 1], [1, 1], [0, 1]]
