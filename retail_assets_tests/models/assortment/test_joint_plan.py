"""The joint plan against exact optima, and what it reports of itself."""

from dataclasses import replace

import numpy as np
import pytest

from bench.exact_season import best_plan, expected_profit
from bench.joint_plans import tiny_instance
from retail_assets.models.assortment.customers import draw_seasons
from retail_assets.models.assortment.joint_plan import (
    draw_samples,
    evaluate_under,
    frontier,
    plan_by_vendor,
    plan_season,
    regret,
)
from retail_assets.models.assortment.plan_reasons import reasons
from retail_assets.models.assortment.season import Market, Season
from retail_assets.models.assortment.unit_differences import evaluate, mean_profit

SEASONS = 3_000


@pytest.mark.parametrize("seed", [0, 1])
def test_a_tiny_season_is_planned_as_the_exact_programme_would(seed):
    season, market = tiny_instance(seed)
    best = best_plan(season, market, top=12)
    assert not best.at_bound
    plan = plan_season(season, market, seed=seed, n_seasons=SEASONS)
    earned = expected_profit(season, market, plan.quantity)
    assert earned > best.profit * (1 - 1e-3)
    # The hold-out tells the truth about the plan, and the bound is one.
    assert abs(plan.holdout.mean - earned) < 4 * plan.holdout.se
    assert plan.upper_bound > best.profit
    assert plan.gap_pct == pytest.approx(100 * (plan.upper_bound / plan.holdout.mean - 1))


@pytest.fixture(scope="module")
def planned():
    season, market = tiny_instance(1)
    return season, market, plan_season(season, market, seed=3, n_seasons=SEASONS)


def test_figures_are_those_of_the_holdout(planned):
    season, market, plan = planned
    holdout = draw_samples(market, 3, SEASONS).holdout
    value = evaluate(season, holdout, plan.quantity)
    assert np.array_equal(value.profit, plan.profit_by_season)
    assert np.array_equal(plan.expected_sales, value.sales.mean(axis=0))
    one_more = plan.quantity + np.array([1, 0, 0, 0])
    fixed = season.fixed_cost[0] if plan.quantity[0] == 0 else 0.0
    difference = mean_profit(season, holdout, one_more) - plan.holdout.mean + fixed
    assert plan.plus[0] == pytest.approx(difference)


def test_fill_rate_is_the_share_who_get_their_first_choice(planned):
    _, market, plan = planned
    holdout = draw_samples(market, 3, SEASONS).holdout
    wanted, got = np.zeros(4), np.zeros(4)
    for begin, end in zip(holdout.indptr[:-1], holdout.indptr[1:], strict=True):
        left = plan.quantity.copy()
        for wishes in holdout.choices[begin:end]:
            wanted[wishes[0]] += 1
            got[wishes[0]] += left[wishes[0]] > 0
            bought = next((w for w in wishes if w >= 0 and left[w] > 0), None)
            if bought is not None:
                left[bought] -= 1
    assert plan.fill_rate == pytest.approx(got / wanted)


def test_every_baseline_is_beaten_or_met_on_the_same_seasons(planned):
    _, _, plan = planned
    assert set(plan.baselines) == {"newsvendor", "top_k", "mnl", "chain", "fluid_lp"}
    for baseline in plan.baselines.values():
        difference = baseline.profit_by_season - plan.profit_by_season
        assert baseline.difference.mean == pytest.approx(difference.mean())
        assert baseline.difference.ci_low < 1e-9


def test_the_same_seed_gives_the_same_plan(planned):
    season, market, plan = planned
    again = plan_season(season, market, seed=3, n_seasons=SEASONS)
    assert np.array_equal(again.quantity, plan.quantity)
    assert again.holdout == plan.holdout


def test_a_plan_over_posterior_draws_beats_that_of_one_draw():
    # Units are cheap, so a product that sells well in one of two worlds is worth having.
    season = Season(("a", "b", "c", "d"), [1000] * 4, [200] * 4, [50] * 4)
    first = np.array([[8.0, 1.0, 1.0, 0.0], [0.0, 1.0, 1.0, 8.0]])
    market = Market(season.products, first, np.zeros((2, 4, 4)), "one_step", cv=0.3)
    options = {"seed": 1, "n_seasons": SEASONS, "bound": False, "baselines": False}
    both = plan_season(season, market, **options).quantity
    one = plan_season(season, market.draw(0), **options).quantity
    assert both[0] > 0
    assert both[3] > 0
    assert one[3] == 0
    values = evaluate_under({"both": both, "one": one}, season, market, 5, SEASONS)
    assert values["both"].mean > values["one"].mean


def test_reasons_name_what_keeps_a_product_out():
    # b earns little and its customers take a; c does not earn its fixed cost; d is all loss.
    season = Season(
        ("a", "b", "c", "d", "e", "f"),
        [1000, 600, 900, 400, 900, 900],
        [400, 500, 500, 450, 500, 500],
        [0] * 6,
        [0, 0, 50_000, 0, 0, 0],
        must_carry=np.arange(6) == 4,
        excluded=np.arange(6) == 5,
    )
    matrix = np.zeros((6, 6))
    matrix[1, 0] = 1.0
    market = Market(season.products, np.full(6, 20.0), matrix, "one_step", cv=0.3)
    plan = plan_season(season, market, seed=1, n_seasons=200, bound=False, baselines=False)
    assert plan.reasons == (
        "optimal",
        "dropped_cannibal",
        "dropped_fixed_cost",
        "unprofitable",
        "must_carry",
        "excluded",
    )
    seasons = draw_seasons(market, 200, seed=2)
    only_e = np.array([0, 0, 0, 0, 10, 0])
    for limit, reason in (
        ({"budget": 5_000.0}, "budget"),
        ({"space_limit": 12.0}, "space"),
        ({"max_products": 1}, "limit"),
    ):
        assert reasons(replace(season, **limit), seasons, only_e)[0] == reason


def test_vendors_are_met_in_turn_and_what_is_carried_stays():
    season, market = tiny_instance(2)
    vendors = {"V": ["a", "c"], "W": ["b", "d"]}
    first, both = plan_by_vendor(
        season, market, vendors, ["W", "V"], seed=1, n_seasons=SEASONS, bound=False
    )
    assert set(first.carried) <= {"b", "d"}
    for product, units in first.carried.items():
        assert both.carried[product] == units
        assert both.reasons[season.products.index(product)] == "kept"
    assert both.in_sample_profit >= first.in_sample_profit
    together = plan_season(season, market, seed=1, n_seasons=SEASONS, bound=False)
    assert together.in_sample_profit >= both.in_sample_profit
    with pytest.raises(ValueError, match="vendor X has no products"):
        plan_by_vendor(season, market, vendors, ["X"], seed=1)


def test_regret_is_nil_for_the_best_plan_of_each_market():
    season, chain = tiny_instance(0)
    markets = {"markov_chain": chain, "one_step": replace(chain, choice_model="one_step")}
    plans = {
        name: plan_season(
            season, market, seed=1, n_seasons=SEASONS, bound=False, baselines=False
        ).quantity
        for name, market in markets.items()
    }
    found = regret(plans, season, markets, seed=2)
    for market in markets:
        assert min(found.regret[plan, market].mean for plan in plans) == 0.0
        assert found.worst(market) >= 0.0
        best = max(found.profit[plan, market].mean for plan in plans)
        assert found.profit[market, market].mean > best * (1 - 1e-3)


def test_profit_never_falls_with_the_budget():
    season, market = tiny_instance(2)
    points = frontier(season, market, [6_000, 2_000, 4_000, 9_000], seed=1, n_seasons=1_000)
    assert [point.budget for point in points] == [2_000, 4_000, 6_000, 9_000]
    assert all(season.spend(point.plan.quantity) <= point.budget for point in points)
    sample = [point.plan.in_sample_profit for point in points]
    assert sample == sorted(sample)
    assert all(p.plan.upper_bound > p.plan.holdout.ci_low for p in points)
