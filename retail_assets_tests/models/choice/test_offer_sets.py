"""Fits from offer sets against plain-Python likelihoods, general optimisers and planted truth."""

import itertools
from dataclasses import replace

import numpy as np
import pytest
from scipy.optimize import minimize

from bench.hotels import HOTELS, hotel
from retail_assets.models.choice.markov_chain import choice_rates
from retail_assets.models.choice.mnl import RIDGE, mnl_chain, mnl_choice
from retail_assets.models.choice.offer_sets import (
    OfferSets,
    fit_chain,
    fit_mnl,
    log_likelihood,
)

NAMES = ("ale", "bun", "cod", "dip", "egg", "fig")


def all_sets(n):
    return np.array(list(itertools.product([False, True], repeat=n)))[1:]


def planted_chain(seed, n):
    rng = np.random.default_rng(seed)
    matrix = np.zeros((n, n))
    for i in range(n):
        others = [j for j in range(n) if j != i]
        matrix[i, others] = rng.dirichlet(np.full(n, 0.6))[: n - 1]
    return rng.dirichlet(np.full(n + 1, 4.0))[:n], matrix


def sell(seed, buys, offered, customers):
    """Each offer set to so many customers, who buy with probabilities ``buys`` (S, n)."""
    shares = np.column_stack([buys, np.maximum(1 - buys.sum(axis=1), 0.0)])
    chosen = np.random.default_rng(seed).multinomial(customers, shares)
    return OfferSets(NAMES[: offered.shape[1]], offered, chosen)


def sold_by_chain(seed, rate, matrix, offered, customers):
    buys = choice_rates(rate, matrix, offered, "markov_chain")
    return sell(seed, buys, offered, customers)


def log_lik_by_walking(sets, rate, matrix, steps=600):
    """Every customer's walk, product by product, in plain Python."""
    n, total = len(rate), 0.0
    for offer, counts in zip(sets.offered.tolist(), sets.chosen.tolist(), strict=True):
        here, bought = [float(r) for r in rate], [0.0] * n
        for _ in range(steps):
            onward = [0.0] * n
            for i in range(n):
                if offer[i]:
                    bought[i] += here[i]
                else:
                    for j in range(n):
                        onward[j] += here[i] * matrix[i][j]
            here = onward
        shares = [*bought, 1.0 - sum(bought)]
        total += sum(c * np.log(p) for c, p in zip(counts, shares, strict=True) if c)
    return total


@pytest.mark.parametrize("n", [2, 3, 4])
def test_likelihood_equals_walks_followed_one_by_one(n):
    rate, matrix = planted_chain(n, n)
    sets = sold_by_chain(1, rate, matrix, all_sets(n), 50)
    by_walking = log_lik_by_walking(sets, rate, matrix.tolist())
    assert log_likelihood(sets, rate, matrix) == pytest.approx(by_walking, abs=1e-9)


def test_transactions_become_counts_of_distinct_offer_sets():
    sets = OfferSets.from_transactions(
        [["b", "a"], ["a", "b"], ("a",), {"a", "b"}, ["a"]], ["a", None, "a", "a", None]
    )
    assert sets.products == ("a", "b")
    assert sets.offered.tolist() == [[True, True], [True, False]]
    assert sets.chosen.tolist() == [[2, 0, 1], [1, 0, 1]]  # the last bought nothing


def test_one_product_has_the_odds_as_weight_and_its_textbook_error():
    fit = fit_mnl(OfferSets(("ale",), np.array([[True]]), np.array([[30, 120]])))
    assert fit.weights[0] == pytest.approx(30 / 120, rel=1e-12)
    assert fit.se_log_weight[0] == pytest.approx(np.sqrt(1 / 30 + 1 / 120), rel=1e-9)
    assert fit.ridge == 0


def test_logit_is_the_maximum_a_general_optimiser_finds():
    weights = np.array([0.8, 0.1, 2.0, 0.4])
    sets = sell(5, mnl_choice(weights, all_sets(4)), all_sets(4), 40)

    def minus(u):
        shares = mnl_choice(np.exp(u), sets.offered)
        shares = np.column_stack([shares, 1 - shares.sum(axis=1)])
        return -(sets.chosen * np.log(np.where(sets.chosen > 0, shares, 1.0))).sum()

    fit, general = fit_mnl(sets), minimize(minus, np.zeros(4), method="BFGS")
    assert fit.log_lik == pytest.approx(-general.fun, abs=1e-7)
    np.testing.assert_allclose(np.log(fit.weights), general.x, atol=1e-4)
    assert np.all(np.abs(np.log(fit.weights / weights)) < 4 * fit.se_log_weight)


def test_only_a_product_that_is_never_chosen_brings_the_ridge():
    chosen = np.array([[10, 0, 700], [5, 0, 100]])
    offered = np.array([[True, True], [True, False]])
    fit = fit_mnl(OfferSets(("ale", "bun"), offered, chosen))
    assert (fit.ridge, fit.never_chosen) == (RIDGE, ("bun",))
    # What the docstring of RIDGE promises: less than half a sale, not none.
    assert 0.2 < mnl_choice(fit.weights, offered[0])[1] * 710 < 0.5
    assert fit.weights[0] == pytest.approx(15 / 800, rel=0.02)
    chosen[0, 1] = 1
    assert fit_mnl(OfferSets(("ale", "bun"), offered, chosen)).ridge == 0


def test_a_product_always_chosen_over_the_rest_has_a_finite_weight():
    offered = np.array([[True, True], [False, True]])
    fit = fit_mnl(OfferSets(("ale", "bun"), offered, np.array([[20, 0, 0], [0, 5, 5]])))
    assert fit.ridge == RIDGE
    assert np.isfinite(fit.weights).all()
    assert fit.weights[0] > 10 * fit.weights[1]


def log_prior(rate, matrix, prior_rate, prior_matrix):
    """Of shares with what is missing to 1, per pseudo-customer."""
    here = [(np.append(rate, 1 - rate.sum()), np.append(prior_rate, 1 - prior_rate.sum()))]
    here += [
        (np.append(row, 1 - row.sum()), np.append(prior, 1 - prior.sum()))
        for row, prior in zip(matrix, prior_matrix, strict=True)
    ]
    return sum((p[p > 0] * np.log(q[p > 0])).sum() for q, p in here)


def test_em_climbs_to_the_mode_a_general_optimiser_finds():
    n, strength = 3, 4.0
    sets = sold_by_chain(2, *planted_chain(4, n), all_sets(n), 200)
    prior = fit_mnl(sets).chain()
    off = ~np.eye(n, n + 1, dtype=bool)

    def shares(x):
        rate = np.exp(np.append(x[:n], 0.0))
        weight = np.zeros((n, n + 1))
        weight[off] = np.exp(np.column_stack([x[n:].reshape(n, n - 1), np.zeros(n)])).ravel()
        return (rate / rate.sum())[:n], (weight / weight.sum(axis=1, keepdims=True))[:, :n]

    def minus(x):
        rate, matrix = shares(x)
        fitted = log_lik_by_walking(sets, rate, matrix.tolist(), steps=60)
        return -fitted - strength * log_prior(rate, matrix, *prior)

    fit = fit_chain(sets, strengths=(strength,), tolerance=1e-13)
    general = minimize(minus, np.zeros(n * n), method="BFGS")
    assert fit.converged
    assert fit.log_posterior[-1] == pytest.approx(-general.fun, abs=1e-3)
    rate, matrix = shares(general.x)
    np.testing.assert_allclose(fit.first_choice, rate, atol=2e-3)
    np.testing.assert_allclose(fit.substitution_rate, matrix, atol=2e-3)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("strength", [0.1, 10.0])
def test_no_step_of_em_lowers_the_posterior(seed, strength):
    n = 3 + seed % 3
    some = np.random.default_rng(seed).permutation(all_sets(n)[:-1])[:6]
    offered = np.vstack([np.ones(n, bool), some])
    sets = sold_by_chain(seed, *planted_chain(seed, n), offered, 30)
    fit = fit_chain(sets, strengths=(strength,))
    assert fit.iterations == len(fit.log_posterior) - 1 > 3
    assert np.diff(fit.log_posterior).min() > -1e-9
    assert fit.log_lik == pytest.approx(
        log_likelihood(sets, fit.first_choice, fit.substitution_rate), abs=1e-9
    )


def test_a_planted_chain_is_found_as_customers_come():
    rate, matrix = planted_chain(9, 4)
    errors = []
    for customers in (100, 10_000, 1_000_000):
        sets = sold_by_chain(1, rate, matrix, all_sets(4), customers)
        fit = fit_chain(sets, strengths=(1.0,), max_iterations=20_000, tolerance=1e-11)
        off = np.abs(fit.substitution_rate - matrix).max()
        errors.append(max(off, np.abs(fit.first_choice - rate).max()))
    assert errors[1] < errors[0] / 3
    assert errors[2] < errors[1] / 3
    assert errors[2] < 0.01


def test_logit_customers_are_left_a_logit_and_chain_customers_are_not():
    n = 5
    weights = np.array([0.3, 0.6, 0.2, 0.9, 0.4])
    logit = sell(3, mnl_choice(weights, all_sets(n)), all_sets(n), 100)
    assert fit_chain(logit).shrinkage >= 300
    rate, matrix = planted_chain(3, n)
    sets = sold_by_chain(3, rate, matrix, all_sets(n), 100)
    fit = fit_chain(sets)
    assert fit.shrinkage <= 30
    # Against customers nobody has seen.
    later = sold_by_chain(4, rate, matrix, all_sets(n), 1000)
    under_logit = log_likelihood(later, *fit_mnl(sets).chain())
    assert log_likelihood(later, fit.first_choice, fit.substitution_rate) > under_logit + 100


def test_all_the_way_is_the_logit_itself():
    sets = sold_by_chain(7, *planted_chain(7, 4), all_sets(4), 60)
    logit, fit = fit_mnl(sets), fit_chain(sets, strengths=(np.inf,))
    rate, matrix = mnl_chain(logit.weights)
    np.testing.assert_array_equal(fit.first_choice, rate)
    np.testing.assert_array_equal(fit.substitution_rate, matrix)
    assert fit.log_lik == pytest.approx(logit.log_lik, abs=1e-9)


def test_a_product_always_offered_keeps_the_row_of_the_logit_and_says_so():
    offered = all_sets(4)
    offered = offered[offered[:, 1]]
    sets = sold_by_chain(8, *planted_chain(8, 4), offered, 500)
    fit = fit_chain(sets, strengths=(5.0,))
    assert fit.unidentified.tolist() == [False, True, False, False]
    np.testing.assert_array_equal(fit.found_out > 0, ~fit.unidentified)
    np.testing.assert_allclose(fit.substitution_rate[1], fit_mnl(sets).chain()[1][1], rtol=1e-12)


def test_the_order_of_the_rows_does_not_matter():
    sets = sold_by_chain(6, *planted_chain(6, 4), all_sets(4), 80)
    order = np.random.default_rng(0).permutation(len(sets.offered))
    turned = replace(sets, offered=sets.offered[order], chosen=sets.chosen[order])
    one, other = fit_chain(sets), fit_chain(turned)
    assert one.shrinkage == other.shrinkage
    np.testing.assert_allclose(one.substitution_rate, other.substitution_rate, atol=1e-9)


def test_one_offer_set_shows_no_substitution():
    fit = fit_chain(OfferSets(("ale", "bun"), np.ones((1, 2), bool), np.array([[5, 9, 30]])))
    assert (fit.shrinkage, fit.held_out) == (np.inf, {})
    assert fit.unidentified.all()


@pytest.mark.parametrize(
    ("offered", "chosen", "products", "message"),
    [
        ([["a"], ["a"]], ["a"], None, "2 offers for 1 choices"),
        ([["a"], ["a"]], ["a", "b"], None, "transaction 1: product b is chosen but not offered"),
        ([["a", "z"]], ["a"], ["a"], "transaction 0: product z is offered but not listed"),
        ([["a"]], ["a"], ["a", "a"], "product a is listed twice"),
    ],
)
def test_bad_transactions_are_named(offered, chosen, products, message):
    with pytest.raises(ValueError, match=message):
        OfferSets.from_transactions(offered, chosen, products)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"chosen": [[1, 2, 3], [4, 5, 6]]}, "product bun: chosen but not offered in offer set 1"),
        ({"chosen": [[1, -2, 3], [4, 0, 6]]}, "product bun: chosen by fewer than 0 customers"),
        ({"chosen": [[1, 2, 3], [4, 0, -6]]}, "offer set 1: fewer than 0 customers bought"),
        ({"offered": [[True, True]] * 2}, "an offer set is listed twice; add up its customers"),
        ({"chosen": [[1, 2], [4, 0]]}, r"chosen \(S, 3\), got"),
    ],
)
def test_bad_counts_are_named(change, message):
    parts = {"offered": [[True, True], [True, False]], "chosen": [[1, 2, 3], [4, 0, 6]]} | change
    with pytest.raises(ValueError, match=message):
        OfferSets(("ale", "bun"), np.array(parts["offered"]), np.array(parts["chosen"]))


@pytest.mark.parametrize("fit", [fit_mnl, fit_chain])
def test_what_was_never_offered_cannot_be_fitted(fit):
    offered = np.array([[True, False], [False, True]])
    with pytest.raises(ValueError, match="products bun were never offered to anybody"):
        fit(OfferSets(("ale", "bun"), offered, np.array([[3, 0, 4], [0, 0, 0]])))
    with pytest.raises(ValueError, match="no customers"):
        fit(OfferSets(("ale", "bun"), offered, np.zeros((2, 3), int)))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"strengths": (0.0, 3.0)}, "strengths .* above 0"),
        ({"strengths": ()}, "one or more numbers above 0"),
        ({"strengths": (1.0, np.nan)}, "above 0"),
        ({"folds": 1}, "folds must be at least 2, got 1"),
    ],
)
def test_bad_settings_are_named(change, message):
    sets = OfferSets(("ale",), np.array([[True]]), np.array([[3, 4]]))
    with pytest.raises(ValueError, match=message):
        fit_chain(sets, **change)


@pytest.mark.parametrize(
    ("rate", "matrix", "message"),
    [
        ([0.2, 0.2], [[0, 1.0], [1.0, 0]], "products ale, bun hand customers to each other"),
        ([0.2, 0.2], [[0, 1.1], [0.5, 0]], "product ale: substitution rates sum to 1.1"),
        ([0.2, -0.2], [[0, 0.5], [0.5, 0]], "product bun: arrival rate -0.2"),
        ([0.7, 0.5], [[0, 0.5], [0.5, 0]], "first choices of ale, bun sum to 1.2, above 1"),
    ],
)
def test_a_chain_that_is_none_is_named(rate, matrix, message):
    sets = OfferSets(("ale", "bun"), np.array([[True, False]]), np.array([[1, 0, 2]]))
    with pytest.raises(ValueError, match=message):
        log_likelihood(sets, rate, matrix)


@pytest.mark.skipif(not HOTELS.exists(), reason="../shared/data is absent")
def test_hotel_bookings_nobody_has_seen_are_told_better_than_by_the_logit():
    past, later = hotel(5)
    assert past.chosen.sum() == 1000
    assert later.chosen.sum() == 255
    logit, chain = fit_mnl(past), fit_chain(past)
    under_logit = log_likelihood(later, *logit.chain())
    under_chain = log_likelihood(later, chain.first_choice, chain.substitution_rate)
    assert under_chain > under_logit + 0.001 * abs(under_logit)
    assert chain.log_lik > logit.log_lik
