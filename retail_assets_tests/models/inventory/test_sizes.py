"""Size curves against brute force, planted truth and the rule of largest remainders."""

import numpy as np
import pytest
from scipy.special import gammaln

from retail_assets.models.inventory.sizes import (
    dirichlet_multinomial,
    largest_remainder,
    size_curves,
)

CURVE = np.array([0.1, 0.3, 0.35, 0.2, 0.05])


def planted(styles, units, concentration, seed):
    rng = np.random.default_rng(seed)
    share = rng.dirichlet(CURVE * concentration, styles)
    return share, np.array([rng.multinomial(units, s) for s in share])


def test_the_likelihood_is_at_its_maximum():
    _, counts = planted(60, 40, 25.0, 1)
    alpha = dirichlet_multinomial(counts)

    def loglik(a):
        n = counts.sum(axis=1)
        total = gammaln(a.sum()) - gammaln(a.sum() + n)
        return np.sum(total) + np.sum(gammaln(counts + a) - gammaln(a))

    best = loglik(alpha)
    for k in range(len(alpha)):
        for factor in (0.97, 1.03):
            moved = alpha.copy()
            moved[k] *= factor
            assert loglik(moved) < best


def test_curve_and_concentration_are_recovered():
    _, counts = planted(400, 60, 25.0, 2)
    alpha = dirichlet_multinomial(counts)
    assert alpha.sum() == pytest.approx(25.0, rel=0.15)
    assert alpha / alpha.sum() == pytest.approx(CURVE, abs=0.015)


@pytest.mark.parametrize("units", [10, 40, 200])
def test_shrunk_is_closer_than_raw_and_than_the_category(units):
    share, counts = planted(200, units, 25.0, 3)
    curves = size_curves(counts)

    def distance(guess):
        return np.abs(guess - share).sum(axis=1).mean() / 2

    raw = counts / counts.sum(axis=1, keepdims=True)
    assert distance(curves.share) < distance(raw)
    assert distance(curves.share) < distance(np.broadcast_to(curves.category_share, share.shape))


def test_a_style_without_sizes_falls_back_to_the_category_and_says_so():
    _, counts = planted(30, 50, 25.0, 4)
    counts[7] = 0
    curves = size_curves(counts)
    assert curves.fallback.tolist() == [s == 7 for s in range(30)]
    assert curves.share[7] == pytest.approx(curves.category_share)
    assert "category" in curves.note[7]
    assert curves.own_weight[7] == 0


def test_a_category_without_sales_gets_equal_sizes_and_says_so():
    curves = size_curves(np.zeros((2, 4)))
    assert curves.share == pytest.approx(0.25)
    assert "equal sizes" in curves.note[0]


def test_sizes_a_style_is_not_made_in_get_nothing():
    offered = np.ones((3, 5), bool)
    offered[1, 0] = False
    curves = size_curves(planted(3, 40, 25.0, 5)[1], offered=offered)
    assert curves.share[1, 0] == 0
    assert curves.share.sum(axis=1) == pytest.approx(1)


def test_bad_units_name_the_style():
    with pytest.raises(ValueError, match="blue shirt"):
        size_curves([[1, 2], [-1, 3]], names=("red shirt", "blue shirt"))


def test_largest_remainder_adds_up_and_stays_within_a_unit():
    rng = np.random.default_rng(6)
    for _ in range(200):
        share = rng.dirichlet(np.ones(rng.integers(1, 9)))
        quantity = int(rng.integers(0, 500))
        got = largest_remainder(quantity, share)
        assert got.sum() == quantity
        assert np.all(np.abs(got - quantity * share) < 1)


def test_packs_stay_whole():
    got = largest_remainder(60, CURVE, pack_size=6)
    assert got.sum() == 60
    assert np.all(got % 6 == 0)
    with pytest.raises(ValueError, match="whole packs"):
        largest_remainder(61, CURVE, pack_size=6)
