"""What is said of differences and of learning, against closed forms and planted truths."""

import itertools

import numpy as np
import pytest
from scipy.stats import norm, t

from bench.improves import LAST, answer, calibrate, draw_world, true_difference, true_differences
from retail_assets.models.assortment.customers import draw_seasons
from retail_assets.models.assortment.scenarios import simulate_scenarios
from retail_assets.models.assortment.season import Market, Season
from retail_assets.models.assortment.uncertainty import (
    plans_of_draws,
    profit_by_draw,
    value_of_information,
    value_of_learning,
)
from retail_assets.models.assortment.unit_differences import evaluate
from retail_assets.models.assortment.verdicts import expected_difference, summarise


def replications(rng, n_draws, sd_rates, sd_chance, mean=0.0, each=2):
    """Differences of ``each`` replications per draw: what rates do, plus chance."""
    of_draw = rng.normal(mean, sd_rates, n_draws)
    value = of_draw[:, None] + rng.normal(0, sd_chance, (n_draws, each))
    return value.ravel(), np.repeat(np.arange(n_draws), each)


def unit_normal_loss(u):
    return norm.pdf(u) - u * norm.sf(u)


def test_without_chance_the_interval_is_students():
    value = np.random.default_rng(1).normal(2, 3, 12)
    found = expected_difference(np.repeat(value, 2), np.repeat(np.arange(12), 2))
    spread = value.std(ddof=1) * np.sqrt(1 + 1 / 12)
    assert found.high == pytest.approx(t.ppf(0.975, 11, value.mean(), spread))
    assert found.p_positive == pytest.approx(t.sf(0, 11, value.mean(), spread))
    # Nor does it jump when a little chance comes in.
    tiny = np.tile([1e-5, -1e-5], 12)
    near = expected_difference(np.repeat(value, 2) + tiny, np.repeat(np.arange(12), 2))
    assert near.high == pytest.approx(found.high, rel=1e-5)
    assert near.p_positive == pytest.approx(found.p_positive, rel=1e-5)


@pytest.mark.parametrize(("n_draws", "sd_rates", "seed"), [(5, 0.3, 3), (40, 0.3, 4), (80, 1.0, 5)])
def test_posterior_equals_its_simulation(n_draws, sd_rates, seed):
    rng = np.random.default_rng(seed)
    value, draw = replications(rng, n_draws, sd_rates, 1.0, mean=0.3)
    found = expected_difference(value, draw)
    pairs = value.reshape(-1, 2)
    between, size = pairs.mean(1).var(ddof=1), 400_000
    chance = pairs.var(1, ddof=1).mean() * n_draws / rng.chisquare(n_draws, size) / 2
    total = between * (n_draws - 1) / rng.chisquare(n_draws - 1, size)
    kept = total > chance
    spread = np.sqrt((total - chance)[kept] + total[kept] / n_draws)
    drawn = value.mean() + spread * rng.standard_normal(kept.sum())
    assert found.p_positive == pytest.approx((drawn > 0).mean(), abs=0.005)
    assert found.high - found.mean == pytest.approx(
        np.quantile(np.abs(drawn - value.mean()), 0.95), rel=0.02
    )
    assert found.sd_parameters == pytest.approx(
        np.sqrt(np.median((total - chance)[kept])), rel=0.02
    )


@pytest.mark.parametrize("sd_rates", [0.35, 0.7, 3.0])
def test_the_interval_covers_where_chance_hides_the_rates(sd_rates):
    rng, covered, size = np.random.default_rng(7), 0, 200
    for _ in range(size):
        # The truth is one more draw of the same rates.
        found = expected_difference(*replications(rng, 60, sd_rates, 1.0))
        covered += found.low <= rng.normal(0, sd_rates) <= found.high
    # With a point estimate of the rates' variance: 84 % at .35.
    assert 0.91 <= covered / size <= 0.99


def test_a_difference_without_spread_is_certain():
    draw = np.repeat(np.arange(3), 2)
    assert expected_difference(np.full(6, 5.0), draw).p_positive == 1.0
    assert expected_difference(np.full(6, -5.0), draw).p_positive == 0.0
    # Means of draws that agree to the cent, in spite of chance.
    odd = expected_difference(np.array([1.0, 3.0, 1.0, 3.0, 1.0, 3.0]), draw)
    assert (odd.low, odd.high, odd.p_positive) == (2.0, 2.0, 1.0)


def test_a_bad_calibration_is_told_from_a_good_one():
    rng = np.random.default_rng(2)
    score = rng.normal(0, 2, 4_000)
    true = 1 / (1 + np.exp(-score))
    improves = rng.random(4_000) < true
    good = calibrate(true, improves)
    assert good.slope == pytest.approx(1, abs=3 * good.slope_se)
    assert good.intercept_p > 0.01
    # Logits twice as large, or moved by one half.
    assert calibrate(1 / (1 + np.exp(-2 * score)), improves).slope < 0.6
    assert calibrate(1 / (1 + np.exp(-score - 0.5)), improves).intercept_p < 0.001


def test_what_ifs_of_simulated_worlds_come_true_as_often_as_said():
    said, improves = [], []
    for seed in range(50):
        world = draw_world(seed, n_draws=30)
        said.append(summarise(answer(world, seed))[1].p_improves)
        improves.append(true_difference(world, seed)[0] > 0)
    fit = calibrate(np.array(said), np.array(improves))
    # The bench asks this of 3,000 worlds. Here a wrong sign shows, and logits that are 2.5
    # times too large (slope .55 +- .13).
    assert fit.slope == pytest.approx(1, abs=2.6 * fit.slope_se)
    assert fit.intercept_p > 0.01
    assert fit.slope_se < 0.4


@pytest.mark.parametrize("seed", [0, 2, 5, 7])
def test_worlds_replayed_as_one_horizon_are_the_what_ifs_worlds(seed):
    world = draw_world(seed)
    apart = simulate_scenarios(
        [world.truth], [world.question], [world.shop], replications=400, seed=1
    ).diff_vs_base_cents[1]
    joined = true_differences(world, np.random.default_rng(2), 1_000)
    error = np.hypot(apart.std() / 20, joined.std() / np.sqrt(1_000))
    assert abs(apart.mean() - joined.mean()) < 3.5 * error
    assert joined.std() == pytest.approx(apart.std(), rel=0.25)
    assert len(joined) < LAST


def two_products(first_choice, fixed_cost=(0.0, 0.0)):
    products = ("a", "b")
    season = Season(products, [300, 300], [100, 100], [20, 20], fixed_cost=fixed_cost)
    matrix = np.zeros((len(first_choice), 2, 2))
    return season, Market(products, first_choice, matrix, "one_step", cv=0.2)


def best_on_a_grid(season, seasons, quantity):
    plans = [np.array([a, b]) for a in range(0, 40, 4) for b in range(0, 40, 4)]
    return max(plans, key=lambda plan: evaluate(season, seasons, plan).mean)


def test_a_product_is_selected_in_the_draws_it_earns_its_place_in():
    # b earns its fixed cost in the draws that have customers for it: 3 of 4.
    demand = np.array([[20.0, 0.0], [20.0, 20.0], [20.0, 25.0], [20.0, 30.0]])
    season, market = two_products(demand, (0.0, 500.0))
    found = plans_of_draws(season, market, np.array([20, 20]), best_on_a_grid, seed=1)
    assert found.draw.tolist() == [0, 1, 2, 3]
    assert found.p_selected.tolist() == [1.0, 0.75]
    assert np.all(np.diff(found.quantity[:, 1]) > 0)
    # Nothing but the rates differs between draws.
    assert len(set(found.quantity[:, 0])) == 1
    again = plans_of_draws(season, market, np.array([20, 20]), best_on_a_grid, seed=1, most=2)
    assert again.draw.tolist() == [0, 2]
    assert np.array_equal(again.quantity, found.quantity[[0, 2]])


def test_plans_are_valued_in_each_draws_own_market():
    season, market = two_products(np.array([[20.0, 5.0], [5.0, 40.0]]))
    plans = np.array([[20, 5], [5, 40]])
    found = profit_by_draw(season, market, plans, seed=3, n_seasons=400)
    assert found.profit.shape == (2, 2, 2)
    for g, p in itertools.product(range(2), range(2)):
        value = evaluate(season, draw_seasons(market.draw(g), 4_000, 9), plans[p])
        error = value.profit.std() / np.sqrt(400)
        assert found.profit[:, g, p] == pytest.approx([value.mean] * 2, abs=3.5 * error)
    assert not np.array_equal(found.profit[0], found.profit[1])
    # Which is better depends on the draw; knowing it is worth half of what is at stake.
    mean = found.profit.mean(0)
    best = mean.mean(0).max()
    assert value_of_information(found.profit).value == pytest.approx(mean.max(1).mean() - best)


def test_a_plan_that_is_better_in_every_market_beats_the_other():
    demand = np.random.default_rng(1).gamma(30, 1, (40, 2))
    season, market = two_products(demand)
    found = profit_by_draw(season, market, np.array([[30, 30], [30, 5]]), seed=2, n_seasons=4)
    gain = found.difference(0, 1)
    assert gain.p_positive > 0.99
    assert found.difference(1, 0).mean == pytest.approx(-gain.mean)
    assert found.difference(1, 0).p_positive == pytest.approx(1 - gain.p_positive)


def normal_problem(n_draws, seed, chance=0.0):
    """Plan 0 earns 0, plan 1 earns -.3 + theta_0 + theta_1 / 2; theta_2 means nothing."""
    rng = np.random.default_rng(seed)
    theta = rng.normal(size=(n_draws, 3))
    gain = -0.3 + theta[:, 0] + theta[:, 1] / 2
    profit = np.stack([np.zeros(n_draws), gain], axis=1) + rng.normal(0, 5, (n_draws, 1))
    return profit + rng.normal(0, chance, (2, n_draws, 2)), theta


def test_value_of_information_is_the_unit_normal_loss():
    profit, theta = normal_problem(20_000, seed=1)
    for found, sd in (
        (value_of_information(profit), np.sqrt(1.25)),
        (value_of_information(profit[0]), np.sqrt(1.25)),
    ):
        assert found.value == pytest.approx(sd * unit_normal_loss(0.3 / sd), abs=4 * found.se)
        assert found.se < 0.01
    learned = value_of_learning(profit, theta)
    for j, sd in ((0, 1.0), (1, 0.5)):
        exact = sd * unit_normal_loss(0.3 / sd)
        assert learned.value[j] == pytest.approx(exact, abs=4 * learned.se[j])
    assert learned.value[2] == pytest.approx(0, abs=1e-3)


def test_few_noisy_draws_do_not_make_learning_look_good():
    values, informed = [], []
    for seed in range(60):
        profit, theta = normal_problem(60, seed, chance=1.0)
        sets = np.stack([theta[:, [0, 1]], theta[:, [2, 2]]], axis=1)
        learned = value_of_learning(profit, sets)
        values.append(np.concatenate([learned.value, value_of_learning(profit, theta).value]))
        informed.append(value_of_information(profit).value)
        assert np.all(learned.value >= 0)
        # Knowing some rates is never worth more than knowing all, on the same figures.
        average = profit.mean(0)
        assert np.all(learned.value <= value_of_information(average).value + 1e-12)
    exact = [np.sqrt(1.25), 1.0, 0.5]
    exact = [sd * unit_normal_loss(0.3 / sd) for sd in exact]
    both, nothing, first, second, third = np.mean(values, axis=0)
    assert (both, first, second) == pytest.approx(exact, abs=0.05)
    assert nothing < 0.02
    assert third < 0.02
    # The maximum of noisy profits is .43 on average here; halves stay below the truth, .31.
    assert np.mean(informed) < exact[0]


def test_what_is_known_already_is_worth_nothing():
    profit, theta = normal_problem(50, seed=1)
    assert value_of_learning(profit, np.ones((50, 2))).value.tolist() == [0.0, 0.0]
    only_one = profit[:, :, :1]
    assert value_of_learning(only_one, theta).value.tolist() == [0.0] * 3
    assert value_of_information(only_one).value == 0.0


def test_bad_calls_say_what_is_wrong():
    profit, theta = normal_problem(10, seed=1)
    with pytest.raises(ValueError, match=r"rates must be \(10, k\) or \(10, k, m\).*\(9, 3\)"):
        value_of_learning(profit, theta[:9])
    with pytest.raises(ValueError, match="at least 3 draws, got 2"):
        value_of_learning(profit[:, :2], theta[:2])
    season, market = two_products(np.ones((2, 2)))
    with pytest.raises(ValueError, match="at least 1 posterior draw"):
        profit_by_draw(season, market, np.array([[1, 1]]), seed=1, most=0)
    other = Season(("a", "c"), [3, 3], [1, 1], [0, 0])
    with pytest.raises(ValueError, match="only in the season c"):
        plans_of_draws(other, market, np.array([1, 1]), best_on_a_grid, seed=1)
