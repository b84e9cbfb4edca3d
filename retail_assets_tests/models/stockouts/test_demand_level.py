"""Demand levels against planted profiles and shocks."""

import numpy as np
import pytest

from retail_assets.models.panel import StorePanel
from retail_assets.models.stockouts.profile import estimate_level, shrunk_levels

HOURS, DAYS = 24, 140
N = HOURS * DAYS


def store_with(footfall=None):
    hour = np.arange(N)
    return StorePanel(
        "s",
        (hour % 168).astype(np.int16),
        (hour // HOURS).astype(np.int32),
        np.array([0, 0]),
        np.empty(0, np.int32),
        np.empty(0, np.int32),
        footfall,
    )


def hourly_profile():
    profile = np.tile(1 + 0.8 * np.sin(2 * np.pi * np.arange(HOURS) / HOURS), DAYS)
    return profile * np.repeat(np.tile(np.linspace(0.7, 1.3, 7), DAYS // 7), HOURS)


def test_a_flat_store_is_left_exactly_flat():
    rng = np.random.default_rng(0)
    level = estimate_level(store_with(), rng.poisson(5.0, N).astype(float), np.full(N, 5.0))
    assert (level.weight == 1.0).all()


def test_overdispersed_noise_is_not_taken_for_a_level():
    rng = np.random.default_rng(1)
    sales = rng.poisson(5.0 * rng.gamma(0.5, 2.0, N)).astype(float)
    assert (estimate_level(store_with(), sales, np.full(N, 5.0)).weight == 1.0).all()


def test_a_seasonal_profile_is_found():
    profile = hourly_profile()
    sales = np.random.default_rng(2).poisson(20 * profile).astype(float)
    level = estimate_level(store_with(), sales, np.full(N, 20.0))
    assert np.corrcoef(level.weight, profile)[0, 1] > 0.99
    assert level.weight.mean() == pytest.approx(1.0)


def test_a_profile_of_two_factors_is_found_better_than_cell_by_cell():
    profile = hourly_profile()
    sales = np.random.default_rng(8).poisson(4 * profile).astype(float)
    weight = estimate_level(store_with(), sales, np.full(N, 4.0)).weight
    cell = np.arange(N) % 168
    raw = (np.bincount(cell, sales) / np.bincount(cell, np.full(N, 4.0)))[cell]
    miss = [np.sqrt(np.mean((level / level.mean() - profile) ** 2)) for level in (weight, raw)]
    assert miss[0] < 0.6 * miss[1]


def test_an_hour_that_is_busy_on_one_weekday_only_is_found():
    cell = np.arange(N) % 168
    truth = np.where(cell % 24 < 12, 0.5, 1.5) * np.where((cell >= 130) & (cell < 140), 2.0, 1.0)
    sales = np.random.default_rng(9).poisson(200 * truth).astype(float)
    weight = estimate_level(store_with(), sales, np.full(N, 200.0)).weight
    np.testing.assert_allclose(weight / weight.mean(), truth / truth.mean(), rtol=0.08)


def test_empty_shelves_do_not_look_like_quiet_hours():
    """Evenings are sold out half of the time: raw sales halve, the level does not."""
    evening = np.arange(N) % HOURS >= 18
    expected = np.where(evening, 10.0, 20.0)
    sales = np.random.default_rng(3).poisson(expected * hourly_profile()).astype(float)
    weight = estimate_level(store_with(), sales, expected).weight
    np.testing.assert_allclose(weight[evening].mean(), hourly_profile()[evening].mean(), rtol=0.06)


def test_footfall_explains_a_shared_shock():
    rng = np.random.default_rng(4)
    shock = rng.gamma(6.0, 1 / 6.0, DAYS)
    sales = rng.poisson(2.0 * np.repeat(shock, HOURS)).astype(float)
    store = store_with(rng.poisson(1500 * shock).astype(float))
    level = estimate_level(store, sales, np.full(N, 2.0))
    assert level.footfall_elasticity == pytest.approx(1.0, abs=0.1)
    assert np.corrcoef(level.day_level, shock)[0, 1] > 0.98


def test_own_sales_add_what_saturated_footfall_hides():
    """The other shelves run empty on busy days: footfall stops at 1.2 times the usual."""
    rng = np.random.default_rng(10)
    shock = rng.gamma(6.0, 1 / 6.0, DAYS)
    store = store_with(rng.poisson(1500 * np.minimum(shock, 1.2)).astype(float))
    sales = rng.poisson(30.0 * np.repeat(shock, HOURS)).astype(float)
    weight = estimate_level(store, sales, np.full(N, 30.0)).weight
    assert np.sqrt(np.mean((weight - np.repeat(shock / shock.mean(), HOURS)) ** 2)) < 0.045


def test_footfall_without_meaning_for_the_category_is_not_used():
    rng = np.random.default_rng(5)
    store = store_with(rng.poisson(1500 * rng.gamma(6.0, 1 / 6.0, DAYS)).astype(float))
    level = estimate_level(store, rng.poisson(2.0, N).astype(float), np.full(N, 2.0))
    assert level.footfall_elasticity == 0.0
    assert (level.weight == 1.0).all()


def test_own_sales_show_a_shock_where_no_footfall_is_known():
    rng = np.random.default_rng(6)
    shock = rng.gamma(6.0, 1 / 6.0, DAYS)
    sales = rng.poisson(10.0 * np.repeat(shock, HOURS)).astype(float)
    level = estimate_level(store_with(), sales, np.full(N, 10.0))
    assert np.corrcoef(level.day_level, shock)[0, 1] > 0.98


def test_shrinkage_equals_the_credibility_formula():
    """Two halves with known covariance: tau2 = sum(r1 r2) / sum(e1 e2), psi from their gap."""
    rng = np.random.default_rng(7)
    n_groups, exposure = 50, 40.0
    level = rng.gamma(4.0, 0.25, n_groups)
    group = np.repeat(np.arange(n_groups), 2)
    half = np.tile([0, 1], n_groups)
    sales = rng.poisson(exposure * level[group]).astype(float)
    expected = np.full(2 * n_groups, exposure)
    found = shrunk_levels(group, half, sales, expected, n_groups)
    e = exposure * sales.sum() / expected.sum()
    y = sales.reshape(n_groups, 2)
    tau2 = np.mean((y[:, 0] - e) * (y[:, 1] - e)) / e**2
    psi = max(1.0, np.mean((y[:, 0] - y[:, 1]) ** 2 / (2 * e)))
    z = tau2 * 2 * e / (tau2 * 2 * e + psi)
    np.testing.assert_allclose(found, 1 + z * (y.sum(axis=1) / (2 * e) - 1), rtol=1e-9)


def test_a_store_without_sales_is_flat():
    assert (estimate_level(store_with(), np.zeros(N), np.zeros(N)).weight == 1.0).all()
