"""Customers come at the planted rates; bounds are 4.5 standard errors, so seeds are fixed."""

from dataclasses import replace

import numpy as np
import pytest

from retail_assets.simulator import load_preset, simulate
from retail_assets.simulator.arrivals import price_multipliers
from retail_assets.simulator.lists import ranked_lists
from retail_assets.simulator.specs import Promotion

SIGMAS = 4.5


def counts(history, product, category=None):
    """Customers of one product per interval in the first store."""
    customers = history.category(category).stores[0].customers
    at = customers.interval[customers.choices[:, 0] == product]
    return np.bincount(at, minlength=history.calendars[0].n_intervals)


def test_first_choices_match_the_planted_rates():
    history = simulate("paper", seed=3)
    wanted = history.category().stores[0].first_choices
    expected = np.array([0.3, 0.2, 0.15, 0.1, 0.25]) * 200_000
    assert np.all(np.abs(wanted - expected) < SIGMAS * np.sqrt(expected))


def test_poisson_counts_have_variance_equal_to_the_mean():
    per_interval = counts(simulate("paper", seed=4), 0)
    ratio = per_interval.var() / per_interval.mean()
    assert abs(ratio - 1) < SIGMAS * np.sqrt(2 / len(per_interval)) * 2


def test_negative_binomial_counts_have_the_planted_variance():
    history = simulate("overdispersed", seed=5)
    for product, mean in enumerate([0.3, 0.2, 0.15, 0.1, 0.25]):
        per_interval = counts(history, product)
        assert per_interval.mean() == pytest.approx(mean, rel=0.02)
        assert per_interval.var() == pytest.approx(mean + 0.8 * mean**2, rel=0.03)
        lag = np.corrcoef(per_interval[:-1], per_interval[1:])[0, 1]
        assert abs(lag) < SIGMAS / np.sqrt(len(per_interval))


def test_baskets_are_one_plus_geometric():
    units = simulate("overdispersed", seed=6).category().stores[0].customers.units
    assert units.min() == 1
    assert units.mean() == pytest.approx(1 / 0.6, rel=0.01)
    assert units.var() == pytest.approx(0.4 / 0.36, rel=0.03)


def test_the_profile_moves_demand_and_leaves_the_mean():
    history = simulate("seasonal", seed=7)
    weight = history.weather[0].weight
    assert weight.mean() == pytest.approx(1)
    per_interval = counts(history, 0)
    quiet, busy = weight < 0.4, weight > 1.6
    expected = weight[busy].mean() / weight[quiet].mean()
    assert per_interval[busy].mean() / per_interval[quiet].mean() == pytest.approx(
        expected, rel=0.03
    )


def test_a_store_shares_its_day_shock_over_categories():
    history = simulate("common_shock_cv80", seed=8)
    shock = history.weather[0].shock
    assert shock.std() / shock.mean() == pytest.approx(0.8, rel=0.25)
    day = history.calendars[0].day
    for category in (None, "other"):
        customers = history.category(category).stores[0].customers
        per_day = np.bincount(day[customers.interval], minlength=len(shock))
        assert np.corrcoef(per_day, shock)[0, 1] > 0.95


def test_without_substitution_the_same_customers_come():
    full, bare = simulate("common_shock", seed=9), simulate("common_shock_zero", seed=9)
    np.testing.assert_array_equal(
        full.category().stores[0].customers.choices[:, 0],
        bare.category().stores[0].customers.choices[:, 0],
    )
    np.testing.assert_array_equal(full.weather[0].weight, bare.weather[0].weight)


def test_a_price_cut_multiplies_demand_by_the_elasticity():
    paper = load_preset("paper")
    cut = Promotion(1, 20, 79, price=1.1, promo_id="half")
    own = replace(paper.categories[0], elasticity=np.full(5, -2.0), promotions=(cut,))
    assert price_multipliers(own, 1, 139) == [(0, 20, 1.0), (20, 80, 4.0), (80, 139, 1.0)]
    history = simulate(replace(paper, categories=(own,)), seed=10)
    day = history.calendars[0].day
    during = (day >= 20) & (day < 80)
    on_sale, usual = counts(history, 1)[during], counts(history, 1)[~during]
    assert on_sale.mean() == pytest.approx(0.8, rel=0.03)
    assert usual.mean() == pytest.approx(0.2, rel=0.03)
    assert counts(history, 0)[during].mean() == pytest.approx(0.3, rel=0.03)


def test_overlapping_promotions_of_a_product_are_refused():
    twice = tuple(Promotion(0, first, first + 5, 2.0, "p") for first in (3, 6))
    own = replace(load_preset("paper").categories[0], promotions=twice)
    with pytest.raises(ValueError, match="product a: promotions overlap"):
        price_multipliers(own, 0, 30)


def test_a_one_step_list_names_each_substitute_at_its_rate():
    alpha = load_preset("paper").categories[0].substitution_rate
    first = np.repeat(np.arange(5, dtype=np.int16), 40_000)
    lists = ranked_lists(first, alpha, "one_step", np.random.default_rng(1))
    for i in range(5):
        seconds = lists[lists[:, 0] == i, 1]
        for j in range(5):
            assert np.mean(seconds == j) == pytest.approx(alpha[i, j], abs=0.012)


def test_a_markov_list_is_a_walk_without_repeats():
    alpha = load_preset("paper").categories[0].substitution_rate
    first = np.repeat(np.arange(5, dtype=np.int16), 20_000)
    lists = ranked_lists(first, alpha, "markov_chain", np.random.default_rng(2))
    for row in lists[:2000]:
        named = row[row >= 0].tolist()
        assert len(set(named)) == len(named)
        assert np.all(row[len(named) :] == -1)
    # Second places: the walk's first step, since it cannot return to where it stands.
    for i in range(5):
        seconds = lists[lists[:, 0] == i, 1]
        for j in range(5):
            assert np.mean(seconds == j) == pytest.approx(alpha[i, j], abs=0.016)
