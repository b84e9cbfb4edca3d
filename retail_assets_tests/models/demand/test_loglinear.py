"""The log-linear fit against dense least squares, the exact likelihood, and planted truth."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import optimize

from retail_assets.models.demand.loglinear import LEAST_RESPONSE, fit_loglinear
from retail_assets.models.demand.rows import DemandRows


def panel(seed=0, products=1, stores=6, periods=60, *, noise=0.3, slope=-2.0, relative=0.0):
    """Prices high where series and periods sell well: a pooled slope would be far off."""
    rng = np.random.default_rng(seed)
    n = products * stores
    product = np.repeat(np.arange(products), stores)
    own = slope + rng.normal(0, 0.3, products) * (products > 1)
    # one sale at a time: what its mean price does cannot be told from a season it follows
    level, season = rng.normal(3, 0.7, n), rng.normal(0, 0.1 if relative else 0.3, periods)
    deal = (rng.random((periods, n)) < 0.15).astype(float)
    wobble = rng.normal(0, 0.15, (periods, n)) - 0.2 * deal
    common = rng.normal(0, 0.2, periods) if relative else 0.3 * season
    price = np.exp(6 + 0.3 * (level - 3) + common[:, None] + wobble)
    rel = price / price.mean(axis=1, keepdims=True)
    days, exposure = rng.integers(1, 3, (periods, n)), rng.uniform(0.3, 1, (periods, n))
    log_rate = level + season[:, None] + own[product] * (np.log(price) - 6) + 0.4 * deal
    log_rate = log_rate + relative * np.log(rel) + rng.normal(0, noise, (periods, n))
    units = rng.poisson(np.exp(log_rate) * days * exposure) + 0.0
    size = periods * n
    return DemandRows(
        products=tuple(f"p{i}" for i in range(products)),
        product=np.tile(product, periods),
        series=np.tile(np.arange(n), periods),
        period=18_000 + 7 * np.repeat(np.arange(periods), n),
        days=days.ravel().astype(float),
        units=units.ravel(),
        exposure=exposure.ravel(),
        price_cents=price.ravel(),
        rel_price=rel.ravel() if relative else np.full(size, np.nan),
        promo=deal.reshape(-1, 1),
        promo_names=("deal",),
        features={},
    ), own


def dummies(*groups):
    return np.column_stack([np.eye(g.max() + 1)[g] for g in groups])


def dense(rows, more=()):
    """Price, promotion, more, a dummy per series and per period; the last period is zero."""
    period = np.unique(rows.period, return_inverse=True)[1]
    own = [np.log(rows.price_cents), rows.promo[:, 0], *more]
    return np.column_stack([*own, dummies(rows.series), dummies(period)[:, :-1]])


def test_least_squares_equals_a_dense_one_with_dummies():
    rows, _ = panel()
    rows = rows.take(rows.units > 0)
    nuisance = np.random.default_rng(1).normal(size=(len(rows), 2)) + rows.promo
    X = dense(rows, nuisance.T)
    y = np.log(rows.units) - rows.base
    truth = np.linalg.lstsq(X, y, rcond=None)[0]
    fit = fit_loglinear(rows, "ols", period_effects=True, nuisance=nuisance)
    assert fit.slope[0] == pytest.approx(truth[0], abs=2e-3)
    assert fit.promo[0, 0] == pytest.approx(truth[1], abs=2e-3)
    # no period is known ahead: levels average over periods, and smearing makes logs units
    left = y - np.column_stack([np.log(rows.price_cents), rows.promo]) @ truth[:2]
    mean = np.bincount(rows.series, left) / np.bincount(rows.series)
    smear = np.mean(np.exp(left - mean[rows.series]))
    expected = rows.units / np.exp(left - mean[rows.series]) * smear
    np.testing.assert_allclose(fit.predict(rows), expected, rtol=5e-3)


def test_the_standard_error_is_that_of_dense_least_squares():
    rows, _ = panel(seed=3, noise=0.6)
    rows = rows.take(rows.units > 0)
    X = dense(rows)
    y = np.log(rows.units) - rows.base
    left = y - X @ np.linalg.lstsq(X, y, rcond=None)[0]
    # the fit takes out series only, which leaves more of the price than periods would
    Z = np.column_stack([X[:, :2], dummies(rows.series)])
    covariance = np.linalg.inv(Z.T @ Z) * (left**2).mean()
    fit = fit_loglinear(rows, "ols", period_effects=True)
    assert fit.slope_se[0] == pytest.approx(np.sqrt(covariance[0, 0]), rel=0.1)


def test_poisson_is_the_maximum_of_the_exact_likelihood_with_dummies():
    rows, _ = panel(stores=4, periods=40)
    X, offset = dense(rows), rows.base

    def loss(b):
        eta = X @ b + offset
        mean = np.exp(eta)
        return mean.sum() - rows.units @ eta, X.T @ (mean - rows.units)

    X[:, 0] -= X[:, 0].mean()
    start = np.zeros(X.shape[1])
    start[2:6] = 3.0
    found = optimize.minimize(loss, start, jac=True, method="BFGS", options={"gtol": 1e-4}).x
    fit = fit_loglinear(rows, "poisson", period_effects=True)
    assert fit.slope[0] == pytest.approx(found[0], abs=5e-3)
    assert fit.promo[0, 0] == pytest.approx(found[1], abs=5e-3)


def test_poisson_without_period_effects_predicts_every_series_total():
    rows, _ = panel(products=3, stores=2)
    fit = fit_loglinear(rows, "poisson", period_effects=False)
    sold = np.bincount(rows.series, rows.units)
    np.testing.assert_allclose(np.bincount(rows.series, fit.predict(rows)), sold, rtol=0.02)


@pytest.mark.parametrize("kind", ["ols", "poisson"])
def test_prices_that_follow_series_and_periods_do_not_pass_for_demand(kind):
    rows, own = panel(products=8, stores=4, noise=0.1)
    pooled = np.polyfit(np.log(rows.price_cents), np.log(rows.units + 0.5), 1)[0]
    fit = fit_loglinear(rows, kind)
    assert abs(pooled - own.mean()) > 1
    assert (np.abs(fit.slope - own) < 4 * fit.slope_se).all()
    assert fit.slope_mean == pytest.approx(own.mean(), abs=0.1)
    assert np.corrcoef(fit.slope, own)[0, 1] > 0.9


@pytest.mark.parametrize("kind", ["ols", "poisson"])
def test_the_relative_price_is_told_from_the_own_price(kind):
    rows, own = panel(seed=2, products=8, stores=2, noise=0.1, slope=-1.5, relative=-0.8)
    fit = fit_loglinear(rows, kind, period_effects=False)
    assert fit.relative == pytest.approx(-0.8, abs=0.35)
    assert fit.slope_mean + fit.relative == pytest.approx(own.mean() - 0.8, abs=0.15)


@pytest.mark.parametrize("kind", ["ols", "poisson"])
def test_a_product_whose_price_never_moved_takes_the_response_of_the_others(kind):
    rows, own = panel(products=6, noise=0.1)
    fixed = np.where(rows.product == 0, 400.0, rows.price_cents)
    fit = fit_loglinear(replace(rows, price_cents=fixed), kind)
    assert fit.slope[0] == pytest.approx(own[1:].mean(), abs=0.25)
    assert fit.slope_se[0] > 2 * fit.slope_se[1:].max()


@pytest.mark.parametrize("kind", ["ols", "poisson"])
def test_no_price_ever_helps(kind):
    rows, _ = panel(products=3, slope=1.5, noise=0.1)
    fit = fit_loglinear(rows, kind)
    assert (fit.slope + fit.relative <= -LEAST_RESPONSE + 1e-12).all()
    dearer = rows.at_price(rows.price_cents * 1.3, rows.rel_price)
    assert (fit.predict(dearer) < fit.predict(rows)).all()


def test_rows_without_exposure_say_nothing():
    rows, _ = panel(products=2)
    gone = rows.product == 1
    blind = replace(rows, exposure=np.where(gone, 0.0, rows.exposure))
    shouting = replace(blind, units=np.where(gone, 1e6, rows.units))
    a, b = (fit_loglinear(r, "poisson") for r in (blind, shouting))
    np.testing.assert_array_equal(a.level, b.level)
    assert not a.with_history[rows.series[gone]].any()


def test_without_history_the_prior_speaks_else_the_typical_series():
    rows, _ = panel(products=3, stores=1)
    known = replace(
        rows.take(rows.product == 0),
        products=("p0", "new with prior", "new"),
        prior_level=np.array([np.nan, 7.0, np.nan]),
    )
    ahead = replace(rows, products=known.products, prior_level=known.prior_level)
    every = replace(ahead, units=np.where(rows.product == 0, rows.units, np.nan))
    fit = fit_loglinear(every, "poisson")
    assert fit.level[1] == pytest.approx(np.log(7.0))
    assert fit.level[2] == pytest.approx(fit.level[0])
    assert fit.with_history.tolist() == [True, False, False]
    assert np.isnan(fit.lowest_cents[1:]).all()


def test_nothing_sold_is_refused():
    rows, _ = panel()
    with pytest.raises(ValueError, match="no sales to fit"):
        fit_loglinear(replace(rows, units=np.zeros(len(rows))), "ols")


@given(money=st.floats(0.01, 100), units=st.floats(0.2, 50), seed=st.integers(0, 5))
@settings(max_examples=15, deadline=None)
def test_the_currency_and_the_unit_of_sale_do_not_matter(money, units, seed):
    rows, _ = panel(seed=seed, products=2, stores=2, periods=25)
    rows = rows.take(rows.units > 0)
    plain = fit_loglinear(rows, "ols")
    other = replace(rows, units=rows.units * units, price_cents=rows.price_cents * money)
    changed = fit_loglinear(other, "ols")
    np.testing.assert_allclose(changed.slope, plain.slope, atol=2e-3)
    np.testing.assert_allclose(changed.predict(other), plain.predict(rows) * units, rtol=2e-3)
