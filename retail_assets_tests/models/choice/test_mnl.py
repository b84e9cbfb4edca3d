"""The logit against its formula, and against the walks of the chain it is."""

import itertools

import numpy as np
import pytest

from retail_assets.models.choice.markov_chain import choice_rates
from retail_assets.models.choice.mnl import mnl_chain, mnl_choice


def every_set(n):
    return np.array(list(itertools.product([False, True], repeat=n)))


@pytest.mark.parametrize("outside", [0.05, 1.0, 30.0])
def test_the_chain_of_a_logit_sells_as_the_logit_from_every_offer_set(outside):
    weights = np.random.default_rng(3).lognormal(0.0, 1.5, 8)
    sets = every_set(8)
    chain = choice_rates(*mnl_chain(weights, outside), sets, "markov_chain")
    np.testing.assert_allclose(chain, mnl_choice(weights, sets, outside), atol=1e-14)


def test_choice_probabilities_are_shares_of_attraction():
    weights = [0.5, 2.0, 0.0, 1.25]
    for row in every_set(4):
        total = 1.5 + sum(w for w, on in zip(weights, row, strict=True) if on)
        by_hand = [w / total if on else 0.0 for w, on in zip(weights, row, strict=True)]
        np.testing.assert_allclose(mnl_choice(weights, row, 1.5), by_hand, rtol=1e-15)


def test_a_product_that_is_nearly_everything_leaves_the_others_their_rates():
    _, rate = mnl_chain([1e20, 2.0, 1.0])
    np.testing.assert_allclose(rate[0], [0.0, 0.5, 0.25], rtol=1e-15)


@pytest.mark.parametrize(
    ("weights", "outside", "message"),
    [
        ([1.0, -0.1], 1.0, "product 1: weight -0.1 is not"),
        ([np.nan, 1.0], 1.0, "product 0: weight nan is not"),
        ([1.0, 1.0], 0.0, "outside is 0.0; it must be above 0"),
        ([[1.0]], 1.0, r"weights must be \(n,\)"),
    ],
)
def test_bad_weights_are_named(weights, outside, message):
    with pytest.raises(ValueError, match=message):
        mnl_chain(weights, outside)


def test_offer_sets_of_another_size_are_refused():
    with pytest.raises(ValueError, match=r"available must be \(\.\.\., 2\), got \(3,\)"):
        mnl_choice([1.0, 2.0], [True, False, True])
