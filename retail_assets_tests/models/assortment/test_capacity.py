"""Capacity plans against every shelf there is, and the search against exact knapsacks."""

import itertools

import numpy as np
import pytest

from bench.plain_replay import plain_replay
from retail_assets.models.assortment.capacity import HOLDOUT, compare_shelves, plan_capacity
from retail_assets.models.assortment.marginal_curves import (
    divide,
    knapsack,
    marginal_curves,
    shelf_limits,
)
from retail_assets.models.assortment.scenarios import draw_horizon
from retail_assets.models.assortment.shop import Shop
from retail_assets.models.assortment.verdicts import expected_difference
from retail_assets.models.panel import Rates

FREE = {"keep": False, "least": 0, "most": 1_000}


def small_world(seed, n=3, costs=True, reorder_share=0.5):
    rng = np.random.default_rng(seed)
    matrix = rng.dirichlet(np.full(n + 1, 0.6), n)[:, :n]
    np.fill_diagonal(matrix, 0)
    price = rng.integers(200, 1500, n)
    shop = Shop(
        products=tuple("abcdefgh"[:n]),
        capacity=rng.integers(1, 6, n),
        unit_price_cents=price,
        n_intervals=600,
        review=24,
        lead=int(rng.integers(0, 30)),
        reorder_share=reorder_share,
        unit_cost_cents=(price * rng.uniform(0.3, 0.8, n)).astype(int) if costs else None,
    )
    model = ("one_step", "markov_chain")[seed % 2]
    return Rates(rng.gamma(1.5, 0.06, (1, n)), matrix, model), shop


@pytest.mark.parametrize("seed", range(8))
def test_the_best_of_all_shelves_is_found(seed):
    """Brute force and search are told of every shelf what the same customers spend there."""
    rates, shop = small_world(seed, costs=seed % 3 > 0, reorder_share=(0.5, 1.0)[seed // 4])
    space = np.array([1.0, 1.5, 2.0]) if seed >= 6 else np.ones(3)
    room = float(space @ shop.capacity)
    limits = shelf_limits(shop.products, space=space, room=room, **FREE)
    shelves = np.array(list(itertools.product(*[range(most + 1) for most in limits.most])))
    goal = compare_shelves([rates], shop, shelves, replications=2, seed=seed).goal.mean(axis=1)
    table = {tuple(shelf): value for shelf, value in zip(shelves.tolist(), goal, strict=True)}
    asked = set()

    def value(shelf):
        asked.add(tuple(shelf.tolist()))
        return table[tuple(shelf.tolist())]

    found = divide(value, shop.capacity, limits, shop.products)
    fitting = shelves @ space <= room
    assert limits.fits(found.capacity)
    assert found.value == table[tuple(found.capacity.tolist())]
    assert found.value >= 0.99 * goal[fitting].max()
    assert found.value >= table[tuple(shop.capacity.tolist())]
    assert len(asked) < fitting.sum()


def exact_knapsack(gain, space, room):
    """Dynamic programme over whole room; gain[j][x] of x units."""
    best = np.zeros(room + 1)
    for own, size in zip(gain, space, strict=True):
        best = np.array(
            [
                max(own[x] + best[left - x * size] for x in range(min(len(own), left // size + 1)))
                for left in range(room + 1)
            ]
        )
    return best[room]


@pytest.mark.parametrize("seed", range(5))
def test_the_knapsack_is_exact_where_every_capacity_was_tried(seed):
    rng = np.random.default_rng(seed)
    n, room = 6, 25
    space = rng.integers(1, 4, n)
    limits = shelf_limits("abcdef", space=space, room=room, **FREE)
    gain = [np.cumsum(rng.gamma(1.0, 100.0, most + 1)) for most in limits.most]
    curves = [(np.arange(len(own)), own) for own in gain]
    centre = np.zeros(n, np.int64)
    shelf = knapsack(curves, centre, limits, distance=room)
    worth = sum(own[x] for own, x in zip(gain, shelf, strict=True))
    assert worth == pytest.approx(exact_knapsack(gain, space, room), rel=1e-4)
    near = knapsack(curves, centre, limits, distance=2)
    assert near.max() <= 2
    cut = [own[:3] for own in gain]
    worth = sum(own[x] for own, x in zip(cut, near, strict=True))
    assert worth == pytest.approx(exact_knapsack(cut, space, room), rel=1e-4)


def test_without_interaction_the_search_ends_at_the_optimum():
    """A separable, concave goal: the greedy shelf is best, whatever the first centre."""
    rng = np.random.default_rng(3)
    n, room = 6, 150
    size, top = rng.uniform(5, 60, n), rng.uniform(1e4, 1e5, n)

    def value(shelf):
        return float(top @ (1 - np.exp(-shelf / size)))

    greedy = np.zeros(n, np.int64)
    for _ in range(room):
        greedy[np.argmax(top * (np.exp(-greedy / size) - np.exp(-(greedy + 1) / size)))] += 1
    limits = shelf_limits("abcdef", space=1, room=room, **FREE)
    for start in (np.full(n, 25), np.append(np.zeros(n - 1, np.int64), 150)):
        found = divide(value, start, limits, "abcdef")
        assert found.value == pytest.approx(value(greedy), rel=1e-4)
    for own, units in zip(found.curves, found.capacity, strict=True):
        assert own.goal[own.capacity == units] == found.value


def test_unworthy_moves_are_not_made():
    limits = shelf_limits("abc", space=1, room=12, **FREE)
    found = divide(lambda shelf: 5.0, np.array([3, 4, 5]), limits, "abc")
    assert found.capacity.tolist() == [3, 4, 5]


def test_curves_hold_the_centre_and_the_smallest_capacity():
    limits = shelf_limits("ab", space=1, room=40, keep=[True, False], least=0, most=[30, 9])
    centre = np.array([20, 9])
    curves = marginal_curves(lambda shelf: float(100 * shelf[0] + shelf[1]), centre, limits, 8)
    assert curves[0][0].tolist() == [1, 12, 16, 18, 19, 20, 21, 22, 24, 28]
    assert curves[1][0].tolist() == [0, 1, 5, 7, 8, 9]
    assert curves[1][1].tolist() == [2000, 2001, 2005, 2007, 2008, 2009]


def test_a_shelfs_goal_is_that_of_the_plain_loop():
    rates, shop = small_world(5)
    shelf = np.array([7, 3, 4])
    found = compare_shelves([rates], shop, shelf[None], replications=2, seed=11)
    for r in range(2):
        people, (indptr, review, arrival) = draw_horizon(rates, shop, 0, (11, 0, r, HOLDOUT), 8)
        reviews = [
            dict(zip(review[a:b].tolist(), arrival[a:b].tolist(), strict=True))
            for a, b in itertools.pairwise(indptr)
        ]
        twin = plain_replay(
            people.interval.tolist(),
            people.choices.tolist(),
            people.units.tolist(),
            shelf.tolist(),
            shop.n_intervals,
            reviews,
            shelf.tolist(),
            (shelf // 2).tolist(),
        )
        bought = np.bincount([at for at in twin["outcome"] if at >= 0], minlength=3)
        margin = shop.unit_price_cents - shop.unit_cost_cents
        assert found.goal[0, r] == bought @ margin


def test_the_gain_reported_is_that_of_other_customers():
    rates, shop = small_world(2)
    plan = plan_capacity([rates], shop, replications=3, holdout_replications=8, seed=4)
    unit = np.eye(3, dtype=np.int64)
    shelves = np.vstack([shop.capacity, plan.capacity_plan, plan.capacity_plan + unit])
    same = compare_shelves([rates], shop, shelves, replications=8, seed=4)
    gain = expected_difference(same.goal[1] - same.goal[0], same.posterior_draw)
    assert (plan.diff_mean, plan.diff_ci_low) == (gain.mean, gain.low)
    assert plan.marginal_value == pytest.approx((same.goal[2:] - same.goal[1]).mean(axis=1))
    other = compare_shelves([rates], shop, shelves, replications=40, seed=5).goal
    assert other[1].mean() > other[0].mean()
    assert plan.verdict == "better"
    assert plan.capacity_plan.sum() <= shop.capacity.sum()
    again = plan_capacity([rates], shop, replications=3, holdout_replications=8, seed=4)
    assert again.capacity_plan.tolist() == plan.capacity_plan.tolist()


def test_profit_is_the_goal_where_every_cost_is_known():
    rates, shop = small_world(4, costs=False)
    dear = np.array([0, 1, 0]) * (shop.unit_price_cents - 1)
    by_profit = Shop(**{**vars(shop), "unit_cost_cents": dear})
    how = {"replications": 3, "holdout_replications": 4, "seed": 1}
    revenue, profit = plan_capacity([rates], shop, **how), plan_capacity([rates], by_profit, **how)
    assert (revenue.goal, profit.goal) == ("revenue", "profit")
    assert profit.capacity_plan[1] <= revenue.capacity_plan[1]
    assert profit.capacity_plan[1] == 0


def test_limits_are_kept_even_where_today_is_outside_of_them():
    rates, shop = small_world(6)
    both = np.vstack([np.zeros(3), rates.arrival_rate])
    rates = Rates(both, rates.substitution_rate, rates.choice_model)
    plan = plan_capacity(
        [rates],
        shop,
        store=1,
        space=[1.0, 0.7, 1.3],
        room=6.0,
        keep=[True, True, False],
        least=[0, 2, 0],
        most=[3, 9, 9],
        replications=2,
        holdout_replications=2,
        seed=1,
    )
    assert 1 <= plan.capacity_plan[0] <= 3
    assert plan.capacity_plan[1] >= 2
    assert np.array([1.0, 0.7, 1.3]) @ plan.capacity_plan <= 6.0 + 1e-9


def test_uncertain_rates_widen_the_interval():
    rates, shop = small_world(8)
    rng = np.random.default_rng(1)
    unsure = [
        Rates(rates.arrival_rate * rng.gamma(4, 0.25, (1, 3)), rates.substitution_rate)
        for _ in range(10)
    ]
    how = {"replications": 10, "holdout_replications": 20, "seed": 1}
    known, plan = plan_capacity([rates], shop, **how), plan_capacity(unsure, shop, **how)
    width = known.diff_ci_high - known.diff_ci_low
    assert plan.diff_ci_high - plan.diff_ci_low > 2 * width
    assert plan.p_improves <= 1


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"room": 3.0, "least": [2, 2, 0]}, "products a, b: .* needs 4 of room, there is 3"),
        ({"room": 1.0, "keep": [True, False, True]}, "products a, c: .* needs 2 of room"),
        ({"least": [0, 3, 4], "most": [9, 2, 3]}, "products b, c: least is above most"),
        ({"keep": [False, True, False], "most": [9, 0, 9]}, "product b: is to be kept, but"),
        ({"space": [1.0, 0.0, 1.0]}, "product b: space of a unit"),
        ({"space": [1.0, 1.0]}, r"space has shape \(2,\), the shop 3 products: a, b, c"),
        ({"keep": [True]}, r"keep has shape \(1,\), the shop 3 products: a, b, c"),
        ({"least": -1}, "products a, b, c: capacity limits must be 0 or more"),
        ({"room": float("nan")}, "room nan"),
        ({"store": 2}, "arrival_rate must be"),
    ],
)
def test_limits_that_no_shelf_can_keep_are_refused(wrong, message):
    rates, shop = small_world(1)
    with pytest.raises(ValueError, match=message):
        plan_capacity([rates], shop, seed=1, **wrong)
