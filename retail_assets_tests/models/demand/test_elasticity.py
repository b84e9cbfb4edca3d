"""Slopes against dense regressions and planted truth; a model's own response by hand."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy import optimize

from retail_assets.models.demand.elasticity import (
    PriceSlope,
    kind_for,
    lately,
    model_elasticity,
    perverse_steps,
    reference_slope,
    total_effect,
)
from retail_assets.models.demand.loglinear import fit_loglinear
from retail_assets.models.demand.rows import DISCOUNT, DemandRows


def shop(
    seed=0, *, products=8, weeks=100, chase=0.0, wobble=0.08, shock=0.3, level=3.5, slope=-2.0
):
    """Weekly rows; with ``chase``, a price answers to last week's sales. Shocks are AR(1)."""
    rng = np.random.default_rng(seed)
    base, usual = rng.uniform(5, 7, products), rng.normal(level, 0.4, products)
    season = 0.3 * np.sin(np.arange(weeks) / 8)
    price, units = np.zeros((2, weeks, products))
    deal = (rng.random((weeks, products)) < 0.1).astype(float)
    hidden, surplus = np.zeros((2, products))
    for t in range(weeks):
        hidden = 0.6 * hidden + rng.normal(0, shock * 0.8, products)
        dearer = 0.3 * season[t] + chase * surplus - 0.2 * deal[t]
        dearer = dearer + rng.normal(0, wobble, products) * (wobble > 0)
        price[t] = np.exp(base + dearer)
        units[t] = rng.poisson(np.exp(usual + season[t] + slope * dearer + 0.3 * deal[t] + hidden))
        told = np.log((units[t] + 0.5) / np.exp(usual + season[t] + slope * dearer + 0.3 * deal[t]))
        surplus = np.clip(told, -1, 1)
    size = weeks * products
    product = np.tile(np.arange(products), weeks)
    return DemandRows(
        products=tuple(f"p{i}" for i in range(products)),
        product=product,
        series=product,
        period=18_000 + 7 * np.repeat(np.arange(weeks), products),
        days=np.full(size, 7.0),
        units=units.ravel(),
        exposure=np.ones(size),
        price_cents=price.ravel(),
        rel_price=np.full(size, np.nan),
        promo=deal.reshape(-1, 1),
        promo_names=("deal",),
        features={},
    )


def dense(rows, more=()):
    week = np.unique(rows.period, return_inverse=True)[1]
    own = [np.log(rows.price_cents), rows.promo[:, 0], *more]
    sides = (np.eye(8)[rows.product], np.eye(week.max() + 1)[week][:, :-1])
    return np.column_stack([*own, *sides]), week


def test_the_reference_is_the_fixed_effects_slope_with_errors_clustered_by_week():
    rows = shop()
    rows = rows.take(rows.units > 0)
    X, week = dense(rows)
    y = np.log(rows.units)
    b = np.linalg.lstsq(X, y, rcond=None)[0]
    bread = np.linalg.pinv(X.T @ X)
    score = X * (y - X @ b)[:, None]
    meat = sum(np.outer(s, s) for s in (score[week == w].sum(axis=0) for w in range(100)))
    found = reference_slope(rows)
    assert found.kind == "ols"
    assert found.value == pytest.approx(b[0], abs=1e-3)
    small = 100 / 99 * (len(y) - 1) / (len(y) - np.linalg.matrix_rank(X))
    assert found.se == pytest.approx(np.sqrt(small * (bread @ meat @ bread)[0, 0]), rel=1e-2)
    left = X[:, 0] - X[:, 1:] @ np.linalg.lstsq(X[:, 1:], X[:, 0], rcond=None)[0]
    assert found.residual_variance == pytest.approx((left**2).mean(), rel=1e-3)


def test_nuisances_enter_as_columns():
    rows = shop(1)
    rows = rows.take(rows.units > 0)
    more = np.random.default_rng(0).normal(size=(len(rows), 2)) + np.log(rows.price_cents)[:, None]
    X, _ = dense(rows, more.T)
    b = np.linalg.lstsq(X, np.log(rows.units), rcond=None)[0]
    found = reference_slope(rows, kind="ols", nuisance=more)
    assert found.value == pytest.approx(b[0], abs=2e-3)


def test_where_much_does_not_sell_the_reference_is_poisson():
    rows = shop(2, level=0.5, weeks=60)
    assert kind_for(rows) == "poisson"
    X, _ = dense(rows)
    X[:, 0] -= X[:, 0].mean()

    def loss(b):
        mean = np.exp(X @ b + rows.base)
        return mean.sum() - rows.units @ (X @ b), X.T @ (mean - rows.units)

    best = optimize.minimize(loss, np.zeros(X.shape[1]), jac=True, options={"gtol": 1e-5}).x
    assert reference_slope(rows).value == pytest.approx(best[0], abs=1e-2)


def test_the_standard_error_says_how_far_slopes_scatter():
    found = [reference_slope(shop(seed)) for seed in range(30)]
    scatter = np.std([f.value for f in found], ddof=1)
    assert np.mean([f.se for f in found]) == pytest.approx(scatter, rel=0.35)
    assert np.mean([f.value for f in found]) == pytest.approx(-2.0, abs=0.1)


def test_prices_that_chase_sales_bias_the_slope_until_last_week_is_known():
    slopes = []
    for seed in range(4):
        rows = shop(seed, chase=0.4, products=20, wobble=0.06)
        nuisance = lately(rows, "poisson", gap_days=7)
        slopes.append([reference_slope(rows, nuisance=n).value for n in (None, nuisance)])
    plain, ours = np.mean(slopes, axis=0)
    assert plain > -1.6
    assert ours == pytest.approx(-2.0, rel=0.15)


@pytest.mark.parametrize("kind", ["ols", "poisson"])
def test_lately_knows_nothing_of_the_row_itself(kind):
    rows = shop(3)
    last = rows.period == rows.period.max()
    first = lately(rows, kind, gap_days=7)[last]
    assert np.isfinite(first).all()
    again = replace(rows, units=np.where(last, rows.units * 3, rows.units))
    second = lately(again, kind, gap_days=7)[last]
    # only through the slope of the first stage, a little
    assert np.abs(second - first).max() < 0.15


def test_prices_that_never_move_by_themselves_are_not_identified():
    still = reference_slope(shop(0, wobble=0.0))
    assert not still.identified
    assert reference_slope(shop(0)).identified


def test_agreement_is_15_percent_or_two_standard_errors():
    exact = PriceSlope(-2.0, 0.01, 0.1, 0.5, "ols")
    assert [exact.holds(e) for e in (-2.29, -2.31, -1.71, -1.69)] == [True, False, True, False]
    loose = PriceSlope(-2.0, 0.5, 0.1, 0.5, "ols")
    assert [loose.holds(e) for e in (-2.9, -3.1)] == [True, False]


def test_a_log_linear_model_answers_with_its_slope():
    rows = shop(4)
    fit = fit_loglinear(rows, "poisson")
    share = fit.predict(rows) / fit.predict(rows).sum()
    by_hand = float((share * fit.slope[rows.product]).sum())
    assert model_elasticity(fit.predict, rows) == pytest.approx(by_hand, abs=0.02)


@pytest.mark.parametrize("rivals", [1, 2, 20])
def test_in_a_sale_the_own_price_moves_the_mean_as_well(rivals):
    rows = replace(shop(5), rel_price=np.ones(800))

    def predict(r):
        return r.price_cents**-1.5 * r.rel_price**-0.8

    found = model_elasticity(predict, rows, rivals=np.full(len(rows), float(rivals)))
    # with one price up 10 % the ratio to the mean of n rises by 1.1 / (1 + .1 / n)
    up, down = (f / (1 + (f - 1) / rivals) for f in (1.1, 0.9))
    expected = -1.5 - 0.8 * np.log(up / down) / np.log(1.1 / 0.9)
    assert found == pytest.approx(expected)


def test_a_discount_moves_with_the_price():
    rows = shop(6)
    rows = replace(rows, features={DISCOUNT: 1 - rows.price_cents / 1000})
    found = model_elasticity(lambda r: (1 - r.features[DISCOUNT]) ** -3.0, rows)
    assert found == pytest.approx(-3.0)


def test_perverse_steps_are_counted_one_by_one():
    rows = replace(shop(7), rel_price=np.ones(800))
    price = rows.price_cents

    def bumpy(r):
        """Falls, but for one rise between +10 % and +12 % in half of the rows."""
        ratio = r.price_cents / price
        return 1 / ratio + 0.2 * (ratio > 1.11) * (r.product % 2)

    assert perverse_steps(bumpy, rows) == pytest.approx(0.5 / 20)
    assert perverse_steps(lambda r: 1 / r.price_cents, rows) == 0


def sales(seed, relative, *, count=40, items=15):
    """One sale a day; the items' prices and so the mean price vary from sale to sale."""
    rng = np.random.default_rng(seed)
    level, usual = rng.normal(3.5, 0.4, items), rng.uniform(5, 7, items)
    dearer = rng.normal(0, 0.15, (count, items)) + rng.normal(0, 0.15, (count, 1))
    price = np.exp(usual + dearer)
    rel = price / price.mean(axis=1, keepdims=True)
    mean = np.exp(level - 1.5 * dearer + relative * np.log(rel) + rng.normal(0, 0.2, price.shape))
    product = np.tile(np.arange(items), count)
    size = count * items
    return DemandRows(
        products=tuple(f"p{i}" for i in range(items)),
        product=product,
        series=product,
        period=18_000 + np.repeat(np.arange(count), items),
        days=np.ones(size),
        units=rng.poisson(mean).ravel().astype(float),
        exposure=np.ones(size),
        price_cents=price.ravel(),
        rel_price=rel.ravel(),
        promo=np.zeros((size, 0)),
        promo_names=(),
        features={},
    )


def test_whether_the_total_matters_is_found_and_not_imagined():
    found = [total_effect(sales(seed, -1.0)) for seed in range(10)]
    assert all(f.significant for f in found)
    assert not any(f.by_period for f in found)  # one sale at a time: not told from its days
    assert not any(f.matters() for f in found)
    assert all(f.matters(trusted=True) for f in found)
    assert np.mean([f.value for f in found]) == pytest.approx(-1.0, abs=0.1)
    imagined = [total_effect(sales(seed, 0.0)).significant for seed in range(40)]
    assert np.mean(imagined) <= 0.1


def test_a_handful_of_sales_tells_nothing_of_the_total():
    found = total_effect(sales(0, -3.0, count=5))
    assert found.sales == 5
    assert not found.matters(trusted=True)


def test_two_sales_at_a_time_tell_the_total_from_the_season():
    """Prices follow the season: within a day the season cancels."""
    rng = np.random.default_rng(12)
    days, items = 40, 15
    season = rng.normal(0, 0.2, days)
    parts = []
    for sale in range(2):
        dearer = rng.normal(0, 0.15, (days, items)) + rng.normal(0, 0.2, (days, 1))
        dearer += 0.5 * season[:, None]
        parts.append((sale, dearer))
    real, none = (_two_sales(parts, season, relative, rng) for relative in (-1.0, 0.0))
    assert total_effect(real).by_period
    assert total_effect(real).matters()
    assert total_effect(real).value == pytest.approx(-1.0, abs=0.35)
    assert not total_effect(none).matters()


def _two_sales(parts, season, relative, rng):
    days, items = parts[0][1].shape
    rows = []
    for sale, dearer in parts:
        usual = np.linspace(5, 7, items)
        price = np.exp(usual + dearer)
        rel = price / price.mean(axis=1, keepdims=True)
        log_mean = 3.5 - 1.5 * dearer + relative * np.log(rel) + season[:, None]
        rows.append((sale, price, rel, rng.poisson(np.exp(log_mean))))
    size = 2 * days * items
    product = np.concatenate([np.tile(np.arange(items) + items * s, days) for s, *_ in rows])
    period = 18_000 + np.tile(np.repeat(np.arange(days), items), 2)
    return DemandRows(
        products=tuple(f"p{i}" for i in range(2 * items)),
        product=product,
        series=product,
        period=period,
        days=np.ones(size),
        units=np.concatenate([r[3].ravel() for r in rows]).astype(float),
        exposure=np.ones(size),
        price_cents=np.concatenate([r[1].ravel() for r in rows]),
        rel_price=np.concatenate([r[2].ravel() for r in rows]),
        promo=np.zeros((size, 0)),
        promo_names=(),
        features={},
    )
