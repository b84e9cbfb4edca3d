"""Newsvendor, starts and simpler plans against sums over distributions and brute force."""

import itertools

import numpy as np
import pytest
from scipy import stats

from retail_assets.models.assortment.baselines import fitted_mnl, independent_newsvendor, top_k
from retail_assets.models.assortment.customers import draw_seasons
from retail_assets.models.assortment.limits import feasible
from retail_assets.models.assortment.newsvendor import newsvendor, thinned_demand
from retail_assets.models.assortment.season import Cap, Market, Season
from retail_assets.models.assortment.starts import (
    chain_optimum,
    chain_start,
    demand_pooling,
    pooled_demand,
    pooling_start,
)
from retail_assets.models.assortment.unit_differences import mean_profit
from retail_assets.models.choice.markov_chain import choice_rates
from retail_assets.models.choice.mnl import mnl_chain, mnl_choice


def market_of(n, customers, seed, choice_model="markov_chain", cv=0.4):
    rng = np.random.default_rng(seed)
    matrix = 0.9 * rng.dirichlet(np.ones(n), n)
    np.fill_diagonal(matrix, 0.0)
    products = tuple(f"p{i}" for i in range(n))
    return Market(products, customers * rng.dirichlet(np.ones(n)), matrix, choice_model, cv)


def season_of(n, seed, **limits):
    rng = np.random.default_rng(seed)
    price = np.rint(rng.uniform(500, 1500, n))
    cost = np.rint(price * rng.uniform(0.4, 0.8, n))
    return Season(tuple(f"p{i}" for i in range(n)), price, cost, np.rint(0.3 * cost), **limits)


def test_newsvendor_minimises_the_exact_mismatch_cost():
    season = season_of(4, 1)
    market = market_of(4, 40.0, 2)
    demand = thinned_demand(market, market.first_choice)
    found = newsvendor(season, demand)
    units = np.arange(120)
    for j in range(4):
        # The mixture's probabilities one by one.
        pmf = stats.binom.pmf(units[:, None], demand.customers[:, 0], demand.chance[:, j]).mean(1)
        gap = units[:, None] - units
        cost = np.where(gap > 0, season.overage[j] * gap, -season.margin[j] * gap) @ pmf
        assert found.quantity[j] == np.argmin(cost)
        assert found.mismatch_cost[j] == pytest.approx(cost.min(), rel=1e-6)
        assert found.profit[j] == pytest.approx(
            season.margin[j] * (pmf @ units) - cost.min(), rel=1e-6
        )


def test_newsvendor_of_packs_takes_the_better_neighbour():
    market = market_of(3, 60.0, 3)
    single, packs = season_of(3, 4), season_of(3, 4, pack_size=7)
    demand = thinned_demand(market, market.first_choice)
    found = newsvendor(packs, demand).quantity

    def cost(units):
        left = demand.left_over(units)
        return single.overage * left + single.margin * (left - units + demand.mean)

    choices = [cost(np.full(3, 7 * k)) for k in range(20)]
    assert found.tolist() == (7 * np.argmin(choices, axis=0)).tolist()


def test_pooled_demand_is_that_of_the_choice_model_with_the_product_added():
    for choice_model in ("one_step", "markov_chain"):
        market = market_of(6, 50.0, 5, choice_model)
        carried = np.array([True, False, False, True, False, True])
        pooled = pooled_demand(market, carried)
        for j in range(6):
            shelf = carried.copy()
            shelf[j] = True
            rates = choice_rates(
                market.first_choice[0], market.substitution_rate[0], shelf, choice_model
            )
            assert pooled[j] == pytest.approx(rates[j])


def test_chain_optimum_earns_as_much_as_the_best_of_all_assortments():
    season = season_of(6, 7, must_carry=np.arange(6) == 2, excluded=np.arange(6) == 4)
    market = market_of(6, 50.0, 8)

    def earns(carried):
        rates = choice_rates(
            market.first_choice[0], market.substitution_rate[0], carried, "markov_chain"
        )
        return rates @ season.margin

    sets = (np.array(s) for s in itertools.product([False, True], repeat=6))
    best = max(earns(s) for s in sets if s[2] and not s[4])
    assert earns(chain_optimum(season, market)) == pytest.approx(best)


def test_pooling_carries_fewer_products_where_carrying_costs():
    market = market_of(30, 200.0, 9)
    counts = [
        int(demand_pooling(season_of(30, 10, fixed_cost=np.full(30, cost)), market).sum())
        for cost in (0.0, 500.0, 3_000.0)
    ]
    assert counts[0] > counts[1] > counts[2] >= 1


@pytest.mark.parametrize("choice_model", ["one_step", "markov_chain"])
def test_every_formula_keeps_every_limit(choice_model):
    for seed in range(3):
        rng = np.random.default_rng(seed)
        n = 15
        names = tuple(f"p{i}" for i in range(n))
        season = season_of(
            n,
            seed,
            fixed_cost=np.full(n, 200.0),
            space=rng.uniform(0.5, 2.0, n),
            pack_size=rng.integers(1, 5, n),
            min_quantity=rng.integers(0, 6, n),
            max_quantity=np.full(n, 60),
            must_carry=np.arange(n) == 3,
            excluded=np.arange(n) == 5,
            budget=30_000.0,
            space_limit=45.0,
            max_products=8,
            caps=(Cap("brand", names[:7], 3),),
        )
        market = market_of(n, 120.0, seed, choice_model)
        seasons = draw_seasons(market, 20, seed)
        plans = {
            "newsvendor": independent_newsvendor(season, market),
            "top_k": top_k(season, market, seasons),
            "mnl": fitted_mnl(season, market, seed),
            "chain": chain_start(season, market),
            "pooling": pooling_start(season, market),
            "anything": feasible(season, rng.uniform(0, 90, n), season.margin),
        }
        for name, quantity in plans.items():
            assert season.violations(quantity) == (), name


def test_trimming_takes_the_packs_worth_least_of_the_budget():
    season = Season(("a", "b"), [1000, 1000], [500, 500], [0, 0], budget=5_000.0)
    # b is worth a tenth of a: nine units of it go before the tenth of a.
    assert feasible(season, np.array([9, 9]), np.array([500.0, 50.0])).tolist() == [9, 1]


def test_a_budget_costs_the_newsvendor_little_more_than_it_must():
    season = season_of(3, 12, budget=20_000.0)
    market = market_of(3, 60.0, 13)
    demand = thinned_demand(market, market.first_choice)

    def worth(units):
        return float(
            season.margin @ units - (season.margin + season.overage) @ demand.left_over(units)
        )

    grid = (np.array(q) for q in itertools.product(range(10, 50), repeat=3))
    affordable = [q for q in grid if 19_000 < season.spend(q) <= season.budget]
    best = max(worth(q) for q in affordable)
    assert worth(independent_newsvendor(season, market)) > 0.97 * best


def test_the_fitted_logit_of_a_logit_market_carries_its_optimum():
    # Nearly nobody leaves at first: a market knows only customers who want something.
    weights = np.array([3.0, 5.0, 4.0, 20.0, 6.0, 2.0])
    share, matrix = mnl_chain(weights)
    names = tuple("abcdef")
    margin = np.array([500.0, 480.0, 470.0, 390.0, 150.0, 100.0])
    season = Season(names, 500 + margin, [500] * 6, [100] * 6)
    market = Market(names, 500 * share / share.sum(), matrix, "markov_chain", 0.2)
    sets = [np.array(s) for s in itertools.product([False, True], repeat=6)]
    best = sets[int(np.argmax([mnl_choice(weights, s) @ margin for s in sets]))]
    assert best.sum() > 1
    assert np.array_equal(fitted_mnl(season, market, seed=1) > 0, best)


def test_top_k_takes_the_best_k():
    season, market = season_of(5, 16), market_of(5, 80.0, 17)
    seasons = draw_seasons(market, 50, seed=3)
    best = mean_profit(season, seasons, top_k(season, market, seasons))
    worth = season.margin * market.first_choice[0]
    for k in range(1, 6):
        carried = np.isin(np.arange(5), np.argsort(-worth)[:k])
        wanted = np.where(carried, pooled_demand(market, carried), 0.0)[None]
        stock = newsvendor(season, thinned_demand(market, wanted)).quantity
        assert best >= mean_profit(season, seasons, stock)
