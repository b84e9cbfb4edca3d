"""Shrunk coefficients against planted truth and the closed form of one dimension."""

from __future__ import annotations

import numpy as np

from retail_assets.models.demand.shrinkage import shrink


def test_planted_coefficients_are_nearer_after_shrinking_and_intervals_hold_them():
    rng = np.random.default_rng(1)
    n, mean, spread = 400, np.array([-2.0, 0.3]), np.array([0.4, 0.1])
    truth = rng.normal(mean, spread, (n, 2))
    # price cut and leaflet come together: strongly correlated errors
    covariance = np.array([[0.5, -0.33], [-0.33, 0.25]]) * rng.uniform(0.2, 2.0, (n, 1, 1))
    value = truth + np.array([rng.multivariate_normal(np.zeros(2), c) for c in covariance])
    found = shrink(value, np.linalg.inv(covariance))
    assert np.abs(found.mean - mean).max() < 0.06
    assert np.allclose(found.spread, spread, atol=0.12)
    assert ((found.value - truth) ** 2).mean() < 0.5 * ((value - truth) ** 2).mean()
    inside = np.abs(found.value - truth) <= 1.96 * found.se
    assert np.all((inside.mean(axis=0) > 0.9) & (inside.mean(axis=0) < 0.99))


def test_one_coefficient_equals_the_closed_form_at_the_spread_found():
    rng = np.random.default_rng(2)
    se = rng.uniform(0.1, 1.0, 50)
    value = rng.normal(-1.5, 0.5, 50) + rng.normal(0, se)
    found = shrink(value[:, None], (1 / se**2)[:, None, None])
    between = float(found.spread[0]) ** 2
    weight = 1 / (se**2 + between)
    mean = (weight * value).sum() / weight.sum()
    keep = between / (between + se**2)
    assert np.isclose(found.mean[0], mean, rtol=1e-3)
    assert np.allclose(found.value[:, 0], keep * value + (1 - keep) * mean, rtol=1e-2, atol=1e-3)


def test_a_product_whose_data_do_not_tell_takes_the_mean_and_says_how_little_is_known():
    value = np.array([[-2.0], [-2.2], [-1.8], [99.0]])
    precision = np.array([400.0, 400.0, 400.0, 0.0])[:, None, None]
    found = shrink(value, precision)
    assert abs(found.value[3, 0] - found.mean[0]) < 1e-6
    assert abs(found.mean[0] + 2.0) < 0.05
    assert found.se[3, 0] > found.se[0, 0]


def test_nothing_told_is_nothing_claimed():
    found = shrink(np.array([[3.0], [-1.0]]), np.zeros((2, 1, 1)))
    assert (found.value == 0).all()
    assert np.isnan(found.se).all()
