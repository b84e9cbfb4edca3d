"""The best unlimited assortment against enumeration, the logit theorem and plain iteration."""

import itertools

import numpy as np
import pytest
from scipy import sparse

from retail_assets.models.assortment.static import best_assortment
from retail_assets.models.choice.markov_chain import choice_rates


def random_chain(seed, n, leave=None):
    rng = np.random.default_rng(seed)
    matrix = rng.gamma(0.5, 1.0, (n, n))
    np.fill_diagonal(matrix, 0.0)
    leaves = rng.uniform(0.05, 0.6, n) if leave is None else np.full(n, leave)
    matrix *= ((1 - leaves) / matrix.sum(axis=1))[:, None]
    return rng.lognormal(0.0, 0.7, n), rng.gamma(1.0, 1.0, n), matrix


def every_value(revenue, rate, matrix):
    sets = np.array(list(itertools.product([False, True], repeat=len(rate))))
    return choice_rates(rate, matrix, sets, "markov_chain") @ revenue


@pytest.mark.parametrize("leave", [None, 0.3, 0.005])
@pytest.mark.parametrize("costs", [0.0, 1.0])
def test_no_assortment_earns_more(leave, costs):
    for seed in range(6):
        revenue, rate, matrix = random_chain(seed, 3 + seed, leave)
        revenue = revenue - costs
        plan = best_assortment(revenue, rate, matrix)
        assert plan.value == pytest.approx(every_value(revenue, rate, matrix).max(), rel=1e-12)
        sales = choice_rates(rate, matrix, plan.offered, "markov_chain")
        assert sales @ revenue == pytest.approx(plan.value, rel=1e-12)
        assert not plan.offered[revenue <= 0].any()


def test_under_logit_the_best_assortment_is_the_dearest_products():
    # Talluri & van Ryzin (2004), proposition 6: offer a product exactly where its revenue
    # is at least the best expected revenue per customer.
    rng = np.random.default_rng(3)
    attraction, revenue = rng.gamma(1.0, 1.0, 30), rng.lognormal(0.0, 0.8, 30)
    share = attraction / (1.0 + attraction.sum())
    rho = share[None, :] / (1 - share[:, None])
    np.fill_diagonal(rho, 0.0)
    by_revenue = np.argsort(-revenue)
    earned = np.cumsum((attraction * revenue)[by_revenue])
    earned /= 1.0 + np.cumsum(attraction[by_revenue])
    plan = best_assortment(revenue, share, rho)
    assert plan.value == pytest.approx(earned.max(), rel=1e-12)
    assert plan.offered.tolist() == (revenue >= earned.max()).tolist()


@pytest.mark.parametrize("substitutes", [20, 1_200])
def test_large_chains_agree_with_thousands_of_plain_sweeps(substitutes):
    revenue, rate, matrix = random_chain(5, 1_200, 0.01)
    if substitutes < 1_200:
        kept = np.random.default_rng(1).random(matrix.shape) < substitutes / 1_200
        matrix = np.where(kept, matrix, 0.0)
        matrix *= (0.99 / matrix.sum(axis=1))[:, None]
    plan = best_assortment(revenue, rate, matrix)
    value, onward = revenue, sparse.csr_array(matrix) if substitutes < 1_200 else matrix
    for _ in range(3_000):
        value = np.maximum(revenue, onward @ value)
    assert plan.method == "krylov"
    np.testing.assert_allclose(plan.value_of_visit, value, rtol=1e-12)
    assert plan.residual < 1e-13


def test_a_long_ring_is_solved_directly_where_krylov_stalls():
    n, stay = 1_200, 0.9995
    ring = np.zeros((n, n))
    ring[np.arange(n), (np.arange(n) + 1) % n] = stay
    revenue = np.full(n, -1.0)
    revenue[0] = 8.0
    plan = best_assortment(revenue, np.ones(n), ring)
    assert plan.method == "direct"
    np.testing.assert_allclose(plan.value_of_visit, 8 * stay ** ((-np.arange(n)) % n), rtol=1e-12)


def test_a_tie_stays_on_offer_and_nothing_worth_selling_is_an_empty_plan():
    tie = best_assortment([10.0, 8.0], [1.0, 1.0], [[0.0, 0.0], [0.8, 0.0]])
    assert tie.offered.tolist() == [True, True]
    assert tie.value == 18.0
    none = best_assortment([-3.0, 0.0], [1.0, 1.0], [[0.0, 0.5], [0.5, 0.0]])
    assert none.offered.tolist() == [False, False]
    assert none.value == 0.0


def test_bad_input_is_named():
    with pytest.raises(ValueError, match="revenue must be 2 finite numbers"):
        best_assortment([1.0, np.nan], [1.0, 1.0], np.zeros((2, 2)))
    with pytest.raises(ValueError, match="products 0, 1 hand customers to each other for ever"):
        best_assortment([1.0, 2.0], [1.0, 1.0], [[0.0, 1.0], [1.0, 0.0]])
