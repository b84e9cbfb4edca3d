"""Choice models against enumeration of walks, the logit formula and an exact programme."""

import itertools
from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from retail_assets.models.choice.markov_chain import (
    choice_rates,
    draw_customers,
    draw_units,
    ranked_lists,
)
from retail_assets.models.choice.replay import Customers, replay_seasons


def random_category(seed, n):
    rng = np.random.default_rng(seed)
    matrix = rng.dirichlet(np.full(n + 1, 0.7), n)[:, :n]
    np.fill_diagonal(matrix, 0.0)
    return rng.gamma(1.0, 0.3, n), matrix


def walks_enumerated(rate, matrix, available, steps):
    """Sales rates by following every walk, product by product, for so many steps."""
    n = len(rate)
    sales = [0.0] * n
    walkers = {j: float(rate[j]) for j in range(n)}
    for _ in range(steps):
        onward = dict.fromkeys(range(n), 0.0)
        for i, mass in walkers.items():
            if available[i]:
                sales[i] += mass
            else:
                for j in range(n):
                    onward[j] += mass * matrix[i, j]
        walkers = onward
    return sales


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 5))
def test_absorbing_chain_equals_enumerated_walks(seed, n):
    rate, matrix = random_category(seed, n)
    matrix *= 0.9
    for pattern in itertools.product([False, True], repeat=n):
        got = choice_rates(rate, matrix, np.array(pattern), "markov_chain")
        np.testing.assert_allclose(got, walks_enumerated(rate, matrix, pattern, 400), atol=1e-10)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 5))
def test_one_step_is_the_chain_stopped_after_one_step(seed, n):
    rate, matrix = random_category(seed, n)
    for pattern in itertools.product([False, True], repeat=n):
        got = choice_rates(rate, matrix, np.array(pattern), "one_step")
        np.testing.assert_allclose(got, walks_enumerated(rate, matrix, pattern, 2), atol=1e-12)


def test_both_models_agree_while_one_product_is_out():
    rate, matrix = random_category(8, 6)
    for out in range(6):
        available = np.arange(6) != out
        np.testing.assert_allclose(
            choice_rates(rate, matrix, available, "one_step"),
            choice_rates(rate, matrix, available, "markov_chain"),
            rtol=1e-12,
        )


def test_the_logit_model_is_a_chain():
    # Blanchet, Gallego & Goyal (2016), section 3: lambda = choice shares with everything on
    # offer, rho_ij = share_j / (1 - share_i), gives the logit shares of every assortment.
    attraction = np.random.default_rng(1).gamma(1.0, 1.0, 7)
    share = attraction / (1.0 + attraction.sum())
    rho = share[None, :] / (1 - share[:, None])
    np.fill_diagonal(rho, 0.0)
    for pattern in itertools.product([False, True], repeat=7):
        on = np.array(pattern)
        logit = np.where(on, attraction, 0.0) / (1.0 + attraction[on].sum())
        np.testing.assert_allclose(choice_rates(share, rho, on, "markov_chain"), logit, atol=1e-14)


@pytest.mark.parametrize("choice_model", ["one_step", "markov_chain"])
def test_drawn_lists_stop_where_the_rates_say(choice_model):
    rate, matrix = random_category(4, 5)
    size = 200_000
    lists = ranked_lists(np.random.default_rng(2), rate, matrix, choice_model, size, 5).choices
    for pattern in itertools.product([False, True], repeat=5):
        on = np.array(pattern)
        reach = np.where(lists >= 0, on[lists], False)
        buys = np.where(reach.any(1), lists[np.arange(size), reach.argmax(1)], 5)
        expected = choice_rates(rate, matrix, on, choice_model) / rate.sum()
        expected = np.append(expected, 1 - expected.sum())
        z = (np.bincount(buys, minlength=6) / size - expected) * np.sqrt(size)
        assert np.all(np.abs(z) < 4.5 * np.sqrt(np.maximum(expected * (1 - expected), 1e-9)))


def test_lists_hold_no_repeats_and_cut_walks_are_counted():
    rate, matrix = random_category(6, 9)
    full = ranked_lists(np.random.default_rng(1), rate, matrix, "markov_chain", 20_000, 9)
    assert full.truncated_share == 0.0
    for row in full.choices[:500].tolist():
        products = [j for j in row if j >= 0]
        assert len(set(products)) == len(products)
        assert all(j == -1 for j in row[len(products) :])
    short = ranked_lists(np.random.default_rng(1), rate, matrix, "markov_chain", 20_000, 3)
    longer = (full.choices[:, 3] >= 0).mean()
    assert short.truncated_share == pytest.approx(longer, abs=0.015)
    assert ranked_lists(np.random.default_rng(1), rate, matrix, "one_step", 50).choices.shape == (
        50,
        2,
    )


def test_customers_come_as_the_profile_says():
    rate, matrix = random_category(9, 4)
    weight = np.tile([0.2, 1.0, 1.8], 20_000)
    people = draw_customers(np.random.default_rng(3), rate, matrix, "one_step", weight=weight)
    came = np.bincount(people.interval, minlength=len(weight))
    for phase, level in enumerate((0.2, 1.0, 1.8)):
        mean = came[phase::3].mean()
        assert mean == pytest.approx(level * rate.sum(), abs=4.5 * np.sqrt(mean / 20_000))
    first = np.bincount(people.choices[:, 0], minlength=4)
    assert stats.chisquare(first, rate / rate.sum() * len(people)).pvalue > 1e-4
    again = draw_customers(np.random.default_rng(3), rate, matrix, "one_step", weight=weight)
    assert np.array_equal(people.choices, again.choices)


@pytest.mark.parametrize(("mean", "var"), [(1.0, 0.0), (1.3, 0.3), (2.0, 3.0), (1.5, 0.75)])
def test_units_have_the_asked_mean_and_variance(mean, var):
    units = draw_units(np.random.default_rng(4), np.full(200_000, mean), np.full(200_000, var))
    assert units.min() >= 1
    assert units.mean() == pytest.approx(mean, abs=0.02)
    assert units.var() == pytest.approx(var, abs=0.03 * max(var, 1))


def season_by_dynamic_programme(rate, matrix, choice_model, stock, size):
    """Expected units sold of ``size`` customers, by recursion over stock vectors."""
    share = rate / rate.sum()

    @cache
    def sold(left, customers):
        if customers == 0:
            return (0.0,) * len(left)
        buys = choice_rates(share, matrix, np.array(left) > 0, choice_model)
        total = np.zeros(len(left))
        for j, p in enumerate(np.append(buys, 1 - buys.sum())):
            if p <= 0:
                continue
            after = tuple(s - (i == j) for i, s in enumerate(left))
            gain = np.zeros(len(left))
            if j < len(left):
                gain[j] = 1
            total += p * (gain + np.array(sold(after, customers - 1)))
        return tuple(total)

    return np.array(sold(tuple(stock), size))


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("choice_model", ["one_step", "markov_chain"])
def test_mean_season_equals_the_exact_programme(seed, choice_model):
    rate, matrix = random_category(seed, 3)
    stock, size, seasons = np.array([3, 2, 2]), 9, 20_000
    rng = np.random.default_rng(seed + 50)
    lists = ranked_lists(rng, rate, matrix, choice_model, size * seasons)
    people = Customers(
        np.zeros(size * seasons), lists.choices, np.ones(size * seasons), lists.truncated_share
    )
    sold = replay_seasons(people, np.arange(0, size * seasons + 1, size), stock).sold_units
    exact = season_by_dynamic_programme(rate, matrix, choice_model, stock, size)
    z = (sold.mean(0) - exact) / (sold.std(0) / np.sqrt(seasons) + 1e-12)
    assert np.all(np.abs(z) < 3.5)


@pytest.mark.parametrize(
    ("change", "choice_model", "message"),
    [
        (lambda r, m: (r, np.where(np.eye(3), m, 0.6)), "one_step", "product 0: .* above 1"),
        (lambda r, m: (r, m - 1), "one_step", "product 0: substitution rates must be >= 0"),
        (lambda r, m: (r * np.nan, m), "one_step", "product 0: arrival rate"),
        (lambda r, m: (r, m + np.eye(3) * 0.1), "one_step", "product 0 substitutes itself"),
        (lambda r, m: (r, m[:2]), "one_step", r"must be \(3, 3\)"),
        (lambda r, m: (r, m), "mnl", "one_step or markov_chain"),
        (
            lambda r, m: (r, np.array([[0, 1.0, 0], [1.0, 0, 0], [0, 0, 0]])),
            "markov_chain",
            "products 0, 1 hand customers to each other",
        ),
    ],
)
def test_bad_rates_are_named(change, choice_model, message):
    rate, matrix = change(np.full(3, 0.1), np.zeros((3, 3)))
    with pytest.raises(ValueError, match=message):
        choice_rates(rate, matrix, np.array([True, False, True]), choice_model)
