"""Policies against the textbook's printed answers, stockpyl and brute force.

Examples and problems are those of Snyder and Shen, Fundamentals of Supply Chain Theory,
2nd ed.
"""

import math

import numpy as np
import pytest
import stockpyl.eoq
import stockpyl.newsvendor
import stockpyl.rq
import stockpyl.ss
from scipy import stats

from retail_assets.models.inventory.policies import (
    all_units_discount,
    beta_binomial_pmf,
    economic_order_quantity,
    eoq_with_backorders,
    newsvendor_discrete,
    newsvendor_explicit,
    newsvendor_lognormal,
    newsvendor_normal,
    newsvendor_poisson,
    newsvendor_quantile,
    newsvendor_sample,
    r_q_normal,
    r_q_poisson,
    reorder_point_normal,
    s_s_poisson,
    s_s_power,
)


def close(value, printed):
    """To 1e-6 relative, or to the seven decimals printed."""
    return value == pytest.approx(printed, rel=1e-6, abs=1e-7)


def test_example_3_1_economic_order_quantity():
    best = economic_order_quantity(8, 0.225, 1300)
    assert close(best.order_quantity, 304.0467800)
    assert close(best.cost, 68.4105255)


def test_example_3_8_backorders():
    best = eoq_with_backorders(8, 0.225, 5, 1300)
    assert close(best.order_quantity, 310.8125552)
    assert close(best.backordered, 0.0430622)
    assert close(best.cost, 66.9213636)


def test_example_3_5_all_units_discount():
    best = all_units_discount(8, 0.3, 1300, [0, 400, 800], [0.75, 0.72, 0.68])
    assert best.order_quantity == 800
    assert close(best.cost, 978.6)


def wagner_whitin(fixed_cost, holding_cost, demand):
    """theta_t = min over s of K + h sum (i - t) d_i + theta_s: Wagner and Whitin (1958)."""
    n = len(demand)
    best, take = [0.0] * (n + 1), [0] * n
    for t in reversed(range(n)):
        costs = {}
        for s in range(t + 1, n + 1):
            held = sum((i - t) * demand[i] for i in range(t, s))
            costs[s] = fixed_cost + holding_cost * held + best[s]
        take[t] = min(costs, key=costs.get)
        best[t] = costs[take[t]]
    orders, t = [0] * n, 0
    while t < n:
        orders[t] = sum(demand[t : take[t]])
        t = take[t]
    return best[0], orders


@pytest.mark.parametrize(
    ("fixed", "holding", "demand", "cost"),
    [
        (500, 2, [90, 120, 80, 70], 1380),
        (120, 0.8, [150, 100, 80, 200], 424),
        (100, 0.1, [730, 580, 445, 650, 880], 423),
    ],
    ids=["example 3.9", "problem 3.27", "problem 3.29"],
)
def test_wagner_whitin_rows(fixed, holding, demand, cost):
    assert wagner_whitin(fixed, holding, demand)[0] == pytest.approx(cost, abs=1e-6)


def test_flat_demand_orders_near_the_economic_quantity():
    """Wagner-Whitin on level demand is the EOQ in whole periods."""
    _, orders = wagner_whitin(200, 1.0, [10] * 40)
    mean = sum(orders) / sum(q > 0 for q in orders)
    assert mean == pytest.approx(economic_order_quantity(200, 1.0, 10).order_quantity, rel=0.1)


@pytest.mark.parametrize(
    ("inputs", "level", "cost"),
    [
        ((0.18, 0.70, 50, 8), 56.6039559, 1.9976052),
        ((43, 79, 900, 60), 922.7214038, 2718.1967818),
    ],
    ids=["example 4.3", "problem 4.1"],
)
def test_normal_newsvendor(inputs, level, cost):
    best = newsvendor_normal(*inputs)
    assert close(best.level, level)
    assert close(best.cost, cost)


@pytest.mark.parametrize(
    ("inputs", "level", "profit"),
    [
        ((1, 0.3, 0.12, 50, 8), 56.6039559, 33.0023948),
        ((7, 2.5, 1.5, 50, 10), 59.0845787, 210.4768083),
    ],
    ids=["example 4.2", "problem 4.3b"],
)
def test_explicit_newsvendor(inputs, level, profit):
    best = newsvendor_explicit(*inputs)
    assert close(best.level, level)
    assert close(-best.cost, profit)


def test_example_4_4_base_stock_with_lead_time():
    best = newsvendor_normal(0.18, 0.70, 50, 8, lead_time=4)
    assert close(best.level, 264.7668944)
    assert close(best.cost, 4.4667810)


def test_problem_4_8a_poisson():
    best = newsvendor_poisson(200, 270, 18)
    assert best.level == 19
    assert close(best.cost, 786.0884409)
    pmf = stats.poisson.pmf(np.arange(200), 18)
    assert newsvendor_discrete(200, 270, pmf).level == 19
    assert newsvendor_discrete(200, 270, pmf).cost == pytest.approx(best.cost, rel=1e-10)


def test_problem_4_8b_lognormal_in_closed_form_and_by_quantiles():
    best = newsvendor_lognormal(1, 0.1765, 6, 0.3)
    assert close(best.level, 295.6266448)
    assert close(best.cost, 29.4425435)
    demand = stats.lognorm(0.3, scale=math.exp(6))
    by_quantile = newsvendor_quantile(1, 0.1765, lambda u: float(demand.ppf(u)))
    assert close(by_quantile.level, best.level)
    assert close(by_quantile.cost, best.cost)


@pytest.mark.parametrize(
    ("inputs", "low", "high", "cost"),
    [((1, 4, 5, 6), 4, 10, 8.0341116), ((40, 125, 150, 4), 2, 7, 223.5748296)],
    ids=["example 4.7", "problem 4.31"],
)
def test_exact_s_s(inputs, low, high, cost):
    best = s_s_poisson(*inputs)
    assert (best.reorder_point, best.order_up_to) == (low, high)
    assert close(best.cost, cost)


@pytest.mark.parametrize(
    ("inputs", "low", "high"),
    [
        ((0.18, 0.7, 2.5, 50, 8), 40.1946170, 74.2901701),
        ((2, 36, 60, 190, 48), 226.6137928, 324.3797868),
    ],
    ids=["example 4.8", "problem 4.32"],
)
def test_power_approximation(inputs, low, high):
    best = s_s_power(*inputs)
    assert close(best.reorder_point, low)
    assert close(best.order_up_to, high)


def test_example_5_1_expected_inventory_level():
    best = r_q_normal(0.225, 7.5, 8, 1300, 150, 1 / 12)
    assert close(best.reorder_point, 213.9704421)
    assert close(best.order_quantity, 318.5901811)
    assert close(best.cost, 95.4511402)


@pytest.mark.parametrize(
    ("inputs", "point", "quantity", "cost"),
    [((20, 150, 100, 1.5, 2), 3, 5, 107.9235806), ((4, 28, 4, 12, 0.5), 6, 7, 28.2413128)],
    ids=["example 5.8", "problem 5.2"],
)
def test_exact_r_q(inputs, point, quantity, cost):
    best = r_q_poisson(*inputs)
    assert (best.reorder_point, best.order_quantity) == (point, quantity)
    assert close(best.cost, cost)


def instances(seed, n=12):
    rng = np.random.default_rng(seed)
    for _ in range(n):
        yield (
            float(rng.uniform(0.5, 5)),
            float(rng.uniform(6, 60)),
            float(rng.uniform(5, 200)),
            float(rng.uniform(2, 25)),
        )


def test_random_instances_agree_with_stockpyl():
    for h, p, k, mean in instances(1):
        q, cost = stockpyl.eoq.economic_order_quantity(k, h, mean)
        best = economic_order_quantity(k, h, mean)
        assert (best.order_quantity, best.cost) == pytest.approx((q, cost), rel=1e-9)
        q, x, cost = stockpyl.eoq.economic_order_quantity_with_backorders(k, h, p, mean)
        short = eoq_with_backorders(k, h, p, mean)
        assert (short.order_quantity, short.backordered, short.cost) == pytest.approx(
            (q, x, cost), rel=1e-9
        )
        level, cost = stockpyl.newsvendor.newsvendor_poisson(h, p, mean)
        news = newsvendor_poisson(h, p, mean)
        assert (news.level, news.cost) == pytest.approx((level, cost), rel=1e-8)
        r, q, cost = stockpyl.rq.r_q_poisson_exact(h, p, k, mean, 1.5)
        exact = r_q_poisson(h, p, k, mean, 1.5)
        assert (exact.reorder_point, exact.order_quantity) == (r, q)
        assert exact.cost == pytest.approx(cost, rel=1e-8)
        low, high = stockpyl.ss.s_s_power_approximation(h, p, k, mean, mean / 3)
        power = s_s_power(h, p, k, mean, mean / 3)
        assert (power.reorder_point, power.order_up_to) == pytest.approx((low, high), rel=1e-9)
    for h, p, k, mean in instances(2, 3):
        low, high, cost = stockpyl.ss.s_s_discrete_exact(h, p, k, True, mean)
        best = s_s_poisson(h, p, k, mean)
        assert (best.reorder_point, best.order_up_to) == (low, high)
        assert best.cost == pytest.approx(cost, rel=1e-7)


def test_s_s_beats_every_neighbour_in_a_long_simulation():
    """The cost of (4, 10) in example 4.7, by playing 200,000 periods."""
    demand = np.random.default_rng(3).poisson(6, 200_000)
    position, total = 10, 0.0
    for d in demand.tolist():
        if position <= 4:
            total += 5
            position = 10
        position -= d
        total += position if position > 0 else -4 * position
    assert total / len(demand) == pytest.approx(s_s_poisson(1, 4, 5, 6).cost, rel=0.01)


def test_a_sample_gives_what_its_distribution_gives():
    rng = np.random.default_rng(4)
    best = newsvendor_sample(2.0, 7.0, rng.poisson(40, (1, 200_000)))
    exact = newsvendor_poisson(2.0, 7.0, 40)
    assert best.level[0] == exact.level
    assert best.cost[0] == pytest.approx(exact.cost, rel=0.01)


def test_the_posterior_predictive_is_a_mixture_of_beta_binomials():
    pmf = beta_binomial_pmf(30, [2.0, 8.0], [5.0, 5.0], [0.3, 0.7])
    k = np.arange(31)
    by_hand = 0.3 * stats.betabinom.pmf(k, 30, 2, 5) + 0.7 * stats.betabinom.pmf(k, 30, 8, 5)
    assert pmf == pytest.approx(by_hand, abs=1e-14)


def test_uncertain_p_and_lead_time_by_the_law_of_total_variance():
    rng = np.random.default_rng(5)
    p = rng.normal(0.3, 0.04, 400_000)
    lead = rng.normal(6, 1.5, 400_000)
    demand = 50 * p * lead + rng.normal(0, 3.0, 400_000) * np.sqrt(np.maximum(lead, 0))
    point = reorder_point_normal(0.95, 15, 3.0, 6, 1.5, volume=50, p_variance=0.04**2)
    spread = (point - 90) / stats.norm.ppf(0.95)
    assert spread == pytest.approx(demand.std(), rel=0.01)


def test_impossible_costs_are_refused_with_the_remedy():
    with pytest.raises(ValueError, match="price, salvage"):
        newsvendor_sample(0.0, 5.0, [[1, 2]])
    with pytest.raises(ValueError, match="revenue"):
        newsvendor_explicit(1.0, 2.0, 0.5, 10, 2)
    with pytest.raises(ValueError, match="fixed_cost"):
        economic_order_quantity(0, 1, 1)
