"""The bound against the exact optimum of small seasons, by a plain programme of its own."""

from __future__ import annotations

import functools
import itertools
import math

import numpy as np
import pytest
from scipy.optimize import linprog

from retail_assets.models.assortment import bounds, fluid
from retail_assets.models.assortment.bounds import largest_useful, stratum_means, upper_bound
from retail_assets.models.assortment.customers import customer_quantile, draw_seasons
from retail_assets.models.assortment.season import Cap, Market, Season
from retail_assets.models.assortment.unit_differences import mean_profit, unit_differences

TOP = 7
SEEDS = 20


def test_no_plan_of_a_small_season_beats_the_bound():
    gaps = []
    for seed in range(SEEDS):
        season, market = _small(seed)
        best = max(_feasible_values(seed).values())
        bound = upper_bound(season, market).profit
        assert bound >= best - 1e-6, f"seed {seed}"
        gaps.append((bound - best) / max(best, 1.0))
    # Ten customers are few: their chance is what the bound leaves out.
    assert 0 < np.median(gaps) < 0.3


def test_some_best_plan_keeps_within_the_largest_useful_quantities():
    for seed in range(SEEDS):
        season, market = _small(seed)
        feasible = _feasible_values(seed)
        most = largest_useful(season, market)
        within = [value for q, value in feasible.items() if np.all(np.array(q) <= most)]
        assert max(within) == pytest.approx(max(feasible.values()), abs=1e-9), f"seed {seed}"


@pytest.mark.parametrize(("fixed", "gap"), [(0.0, 0.03), (2_000.0, 0.04)])
def test_the_bound_is_near_a_good_plan_of_a_larger_season(fixed, gap):
    season, market = _larger(30, fixed)
    bound = upper_bound(season, market)
    plan = _climb(season, market, bound.relaxed_quantity)
    value = mean_profit(season, draw_seasons(market, 400, seed=2), plan)
    assert value < bound.profit < (1 + gap) * value
    assert bound.converged


def test_ties_by_edges_keep_fixed_costs_from_being_spread_thin():
    season, market = _larger(15, 20_000.0)
    most = largest_useful(season, market)
    size = [stratum_means(1_000.0, market, 6)]

    def value(apart: int) -> float:
        flows = [fluid.flows_of(market, 0, apart)]
        return _by_highs(fluid.build(season, list(zip(flows, size, strict=True)), most))

    assert value(15) <= value(3) < 0.99 * value(0)


@pytest.mark.parametrize("choice_model", ["one_step", "markov_chain"])
def test_the_bound_is_the_programs_value_by_another_solver(choice_model):
    season, market = _larger(12, 1_000.0, choice_model)
    size = stratum_means(1_000.0, market, bounds.STRATA)
    flows = fluid.flows_of(market, 0, bounds._APART)
    program = fluid.build(season, [(flows, size)], largest_useful(season, market))
    other = _by_highs(program)
    assert other - 1e-3 <= upper_bound(season, market).profit <= other * 1.002


def test_any_dual_values_give_a_bound():
    season, market = _larger(12, 1_000.0)
    flows = fluid.flows_of(market, 0, 3)
    size = stratum_means(1_000.0, market, 3)
    program = fluid.build(season, [(flows, size)], largest_useful(season, market))
    value = _by_highs(program)
    rng = np.random.default_rng(1)
    for scale in (0.0, 1.0, 100.0):
        dual = rng.normal(0.0, scale, len(program.low))
        assert -bounds.dual_value(program, dual) >= value


def test_a_bound_stopped_early_is_higher_and_says_so():
    season, market = _larger(12, 1_000.0)
    early, late = (upper_bound(season, market, time_limit=limit) for limit in (1e-9, 60.0))
    assert not early.converged
    assert late.converged
    assert early.profit >= late.profit


def test_fixed_costs_are_paid_in_full_where_nothing_is_random():
    market = Market(("a", "b"), [[50.0, 10.0]], np.zeros((2, 2)), "markov_chain", cv=0.0)
    season = Season(("a", "b"), [300.0, 300.0], [100.0, 100.0], [0.0, 0.0], [1_000.0, 2_500.0])
    bound = upper_bound(season, market)
    assert bound.profit == pytest.approx(50 * 200 - 1_000, rel=1e-3)
    assert bound.relaxed_quantity == pytest.approx([50, 0], abs=0.5)
    forced = Season(
        season.products,
        season.price,
        season.unit_cost,
        season.salvage,
        season.fixed_cost,
        must_carry=np.array([False, True]),
    )
    # Carried anyway, b sells its 10 units.
    assert upper_bound(forced, market).profit == pytest.approx(9_000 - 2_500 + 2_000, rel=1e-3)


def test_prices_of_budget_and_space_are_what_a_little_more_earns():
    market = Market(("a",), [[50.0]], [[0.0]], "one_step", cv=0.0)
    money = Season(("a",), [300.0], [100.0], [0.0], budget=2_000.0)
    room = Season(("a",), [300.0], [100.0], [0.0], space=np.array(2.0), space_limit=10.0)
    free = Season(("a",), [300.0], [100.0], [0.0])
    assert upper_bound(money, market).budget_price == pytest.approx(2.0, rel=1e-2)
    assert upper_bound(room, market).space_price == pytest.approx(100.0, rel=1e-2)
    assert upper_bound(money, market).profit == pytest.approx(4_000, rel=1e-3)
    assert math.isnan(upper_bound(free, market).budget_price)


def test_draws_solved_in_groups_give_a_bound_a_little_higher(monkeypatch):
    season, market = _larger(8, 1_000.0, draws=6)
    together = upper_bound(season, market, strata=6)
    monkeypatch.setattr(bounds, "_LARGEST_SIZE", 8 * 6 * 2)
    apart = upper_bound(season, market, strata=6)
    assert together.n_scenarios == apart.n_scenarios == 36
    assert together.profit * 0.999 < apart.profit < 1.1 * together.profit


@pytest.mark.parametrize(
    ("distribution", "cv", "mean"),
    [
        ("lognormal", 0.5, 40.0),
        ("lognormal", 0.9, 3.0),
        ("lognormal", 0.0, 7.0),
        ("negbin", 0.6, 40.0),
        ("poisson", 0.0, 40.0),
    ],
)
def test_means_of_strata_are_those_of_the_quantiles(distribution, cv, mean):
    market = Market(("a",), [[mean]], [[0.0]], "one_step", cv, distribution)
    level = (np.arange(40_000) + 0.5) / 40_000
    customers = customer_quantile(np.full(len(level), mean), market, level)
    expected = customers.reshape(8, -1).mean(axis=1)
    assert stratum_means(mean, market, 8) == pytest.approx(expected, rel=1e-3)


def test_huge_numbers_of_customers_are_counted_in_blocks_from_above():
    market = Market(("a",), [[5e6]], [[0.0]], "one_step", 0.5)
    mean = stratum_means(5e6, market, 4).mean()
    assert 5e6 <= mean < 5e6 * (1 + 1e-4)


def test_other_products_are_refused():
    season, _ = _small(1)
    market = Market(("a",), [[5.0]], [[0.0]], "one_step")
    with pytest.raises(ValueError, match="different products"):
        upper_bound(season, market)


def _small(seed: int) -> tuple[Season, Market]:
    """Three products, about six customers; each kind of limit and of market in turn."""
    rng = np.random.default_rng(seed)
    n, draws = 3, 1 + seed % 2
    price = rng.integers(100, 1_000, n).astype(float)
    cost = np.rint(price * rng.uniform(0.3, 0.8, n))
    limits = [
        {"budget": float(rng.integers(1_000, 4_000))},
        {"space": rng.uniform(0.5, 2.0, n), "space_limit": float(rng.integers(4, 9))},
        {"max_products": 2, "min_quantity": np.array([0, 2, 3])},
        {"must_carry": np.array([True, False, False]), "pack_size": np.array([1, 2, 3])},
        {"excluded": np.array([False, True, False]), "caps": (Cap("x", ("a", "c"), 1),)},
    ][seed % 5]
    fixed = rng.integers(0, 500, n).astype(float) * (seed % 4 > 0)
    season = Season(("a", "b", "c"), price, cost, np.rint(cost * 0.3), fixed, **limits)
    matrix = rng.dirichlet(np.full(n + 1, 0.7), (draws, n))[..., :n]
    matrix[:, np.arange(n), np.arange(n)] = 0.0
    first = rng.dirichlet(np.ones(n), draws) * rng.uniform(3.0, 7.0, (draws, 1))
    model = ("one_step", "markov_chain")[seed // 2 % 2]
    kind = ("lognormal", "poisson")[seed % 3 // 2]
    return season, Market(season.products, first, matrix, model, 0.6, kind)


def _values(season: Season, market: Market) -> dict[tuple[int, ...], float]:
    """Expected profit of every buy up to TOP units, in plain Python."""
    plans = list(itertools.product(range(TOP + 1), repeat=season.n_products))
    gain = (season.price - season.salvage).tolist()
    worth = dict.fromkeys(plans, 0.0)
    for draw in range(market.n_draws):
        first = market.first_choice[draw]
        chance = _number_chances(float(first.sum()), market)
        shares = (first / first.sum()).tolist()
        matrix = market.substitution_rate[draw].tolist()
        buys = {
            here: _choice(shares, matrix, here, market.choice_model)
            for here in itertools.product([False, True], repeat=season.n_products)
        }
        value = dict.fromkeys(plans, 0.0)
        for still in chance[1:]:
            value = {q: _one_customer(q, value, buys, gain) for q in plans}
            for q in plans:
                worth[q] += still * value[q] / market.n_draws
    for q in plans:
        units = np.array(q)
        worth[q] -= float(units @ season.overage + season.fixed_cost[units > 0].sum())
    return worth


def _one_customer(q, value, buys, gain):
    total = 0.0
    probability = buys[tuple(units > 0 for units in q)]
    for j, p in enumerate(probability):
        if p > 0:
            total += p * (gain[j] + value[(*q[:j], q[j] - 1, *q[j + 1 :])])
    return total + (1 - sum(probability)) * value[q]


def _choice(shares, matrix, here, model):
    """What the next customer buys, by following the walk step by step."""
    n = len(shares)
    bought, looking = [0.0] * n, list(shares)
    for _ in range(2 if model == "one_step" else 400):
        onward = [0.0] * n
        for i in range(n):
            if here[i]:
                bought[i] += looking[i]
            else:
                for j in range(n):
                    onward[j] += looking[i] * matrix[i][j]
        looking = onward
    return bought


def _number_chances(mean: float, market: Market) -> list[float]:
    if market.distribution == "poisson":
        return [math.exp(-mean + t * math.log(mean) - math.lgamma(t + 1)) for t in range(30)]
    spread = math.sqrt(math.log1p(market.cv**2))

    def below(t: float) -> float:
        z = (math.log(t / mean) + spread**2 / 2) / spread
        return math.erfc(-z / math.sqrt(2)) / 2

    edges = [0.0] + [below(t + 0.5) for t in range(40)]
    return [b - a for a, b in itertools.pairwise(edges)]


@functools.cache
def _feasible_values(seed: int) -> dict[tuple[int, ...], float]:
    season, market = _small(seed)
    value = _values(season, market)
    return {q: v for q, v in value.items() if not season.violations(np.array(q))}


def _larger(
    n: int, fixed: float, choice_model: str = "markov_chain", draws: int = 1
) -> tuple[Season, Market]:
    rng = np.random.default_rng(7)
    price = rng.uniform(1_000, 3_000, n)
    cost = price * rng.uniform(0.4, 0.7, n)
    products = tuple(f"p{i}" for i in range(n))
    season = Season(products, price, cost, cost * 0.3, np.array(fixed))
    # Draws of one market that is known to a fifth or so.
    first = 1_000 * rng.dirichlet(20 * n * rng.dirichlet(np.full(n, 0.7)), draws)
    matrix = np.repeat(0.7 * rng.dirichlet(np.full(n, 0.5), (1, n)), draws, axis=0)
    matrix[:, np.arange(n), np.arange(n)] = 0.0
    return season, Market(products, first, matrix, choice_model, 0.5)


def _climb(season: Season, market: Market, start: np.ndarray) -> np.ndarray:
    """Units up or down by their differences in ever smaller steps; then products dropped."""
    seasons = draw_seasons(market, 200, seed=1)
    plan = np.rint(start).astype(np.int64)

    def settle(plan: np.ndarray) -> np.ndarray:
        for step in (8, 8, 4, 4, 4, 2, 2, 2, 1, 1, 1, 1):
            found = unit_differences(season, seasons, plan)
            move = np.where(found.plus > 0, 1, np.where(found.minus > 0, -1, 0))
            plan = np.where(plan > 0, np.maximum(plan + step * move, 1), 0)
        return plan

    plan = settle(plan)
    while season.fixed_cost.any():
        without = [np.where(np.arange(len(plan)) == j, 0, plan) for j in np.flatnonzero(plan)]
        best = settle(max(without, key=lambda q: mean_profit(season, seasons, q)))
        if mean_profit(season, seasons, best) <= mean_profit(season, seasons, plan):
            break
        plan = best
    return plan


def _by_highs(program: fluid.Program) -> float:
    equal = program.low == program.high
    rows = program.matrix.tocsr()
    found = linprog(
        program.cost,
        A_ub=rows[~equal],
        b_ub=program.high[~equal],
        A_eq=rows[equal],
        b_eq=program.high[equal],
        bounds=np.column_stack([program.lower, program.upper]),
    )
    return -found.fun
