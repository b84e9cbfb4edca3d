"""Trees that fall in the price, stand on a margin, and step where they say they step."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from retail_assets.models.demand.accuracy import poisson_deviance
from retail_assets.models.demand.boosted import (
    RECENT,
    RELATIVE,
    booster_of,
    columns_of,
    fit_boosted,
)
from retail_assets.models.demand.elasticity import model_elasticity, perverse_steps
from retail_assets.models.demand.loglinear import fit_loglinear
from retail_assets.models.demand.rows import DISCOUNT, DemandRows


def shop(seed=0, *, products=12, periods=80):
    """Items in sales; an attribute and a season act together, as no log-linear model says."""
    rng = np.random.default_rng(seed)
    size = products * periods
    product = np.tile(np.arange(products), periods)
    period = np.repeat(np.arange(periods), products)
    msrp = rng.uniform(500, 2000, products)[product]
    price = np.rint(msrp * rng.uniform(0.4, 1.0, size))
    rel = price / (np.bincount(period, price) / products)[period]
    colour = rng.integers(0, 3, products)[product]
    warm = np.sin(2 * np.pi * period / 40)
    log_mean = 2.5 - 1.5 * np.log(price / msrp) - 0.7 * np.log(rel) + 0.8 * warm * (colour - 1)
    exposure = rng.uniform(0.2, 1, size)
    return DemandRows(
        products=tuple(f"p{i}" for i in range(products)),
        product=product,
        series=product,
        period=18_000 + period,
        days=np.ones(size),
        units=rng.poisson(np.exp(log_mean) * exposure).astype(float),
        exposure=exposure,
        price_cents=price,
        rel_price=rel,
        promo=np.zeros((size, 0)),
        promo_names=(),
        features={
            "attr_colour": colour.astype(float),
            "warm": warm,
            "noise": rng.normal(size=size),
            DISCOUNT: 1 - price / msrp,
        },
    )


@pytest.fixture(scope="module")
def fitted():
    rows = shop()
    margin = fit_loglinear(rows, "poisson", period_effects=False)
    alone = fit_boosted(rows, margin, sees_price=True)
    on_margin = fit_boosted(rows, margin, sees_price=False)
    return rows, margin, alone, on_margin


def test_they_find_what_the_log_linear_model_cannot_say():
    rows = shop(periods=120)
    past, ahead = (rows.take(part) for part in (rows.period < 18_080, rows.period >= 18_080))
    margin = fit_loglinear(past, "poisson", period_effects=False)
    trees = [fit_boosted(past, margin, sees_price=sees) for sees in (True, False)]
    errors = [poisson_deviance(ahead.units, m.predict(ahead)) for m in (margin, *trees)]
    assert max(errors[1:]) < 0.75 * errors[0]


def test_demand_never_rises_with_a_price(fitted):
    rows, _, alone, on_margin = fitted
    assert perverse_steps(alone.predict, rows) == 0
    assert perverse_steps(on_margin.predict, rows) == 0


def test_on_a_margin_the_response_to_prices_is_the_margins(fitted):
    rows, margin, _, on_margin = fitted
    up = rows.at_price(rows.price_cents * 1.2, rows.rel_price * 1.1)
    ours = on_margin.log_mean(up) - on_margin.log_mean(rows)
    np.testing.assert_allclose(ours, margin.log_mean(up) - margin.log_mean(rows), atol=1e-5)
    assert DISCOUNT not in on_margin.names


def test_alone_they_learn_the_response_as_well(fitted):
    rows, _, alone, _ = fitted
    assert model_elasticity(alone.predict, rows) == pytest.approx(-2.2, rel=0.2)


@pytest.mark.parametrize("which", [2, 3])
def test_units_are_proportional_to_exposure(fitted, which):
    rows, model = fitted[0], fitted[which]
    half = replace(rows, exposure=rows.exposure / 2)
    np.testing.assert_allclose(model.predict(half), model.predict(rows) / 2, rtol=1e-5)


@pytest.mark.parametrize("which", [2, 3])
def test_training_totals_agree(fitted, which):
    rows, model = fitted[0], fitted[which]
    assert model.predict(rows).sum() == pytest.approx(rows.units.sum(), rel=1e-6)


def test_the_thresholds_are_those_of_the_stored_trees_to_the_last_bit(fitted):
    alone = fitted[2]
    stored = json.loads(bytes(alone.booster.save_raw(raw_format="json")))
    place, expected = alone.names.index(RELATIVE), []
    for tree in stored["learner"]["gradient_booster"]["model"]["trees"]:
        for feature, left, at in zip(
            tree["split_indices"], tree["left_children"], tree["split_conditions"], strict=True
        ):
            if left >= 0 and feature == place:
                expected.append(float(np.float32(at)))
    assert alone.thresholds().tolist() == sorted(set(expected))


def test_between_thresholds_demand_is_constant_and_a_threshold_opens_its_segment(fitted):
    rows, _, alone, _ = fitted
    cut = alone.thresholds()
    each = rows.take(np.full(len(cut), 3))

    def at(relative):
        return alone.log_mean(each.at_price(each.price_cents, relative))

    below = np.nextafter(cut.astype(np.float32), np.float32(0)).astype(float)
    above = np.nextafter(np.append(cut[1:], 9.0).astype(np.float32), np.float32(0)).astype(float)
    np.testing.assert_array_equal(at(cut), at(above))
    np.testing.assert_array_equal(at(below)[1:], at(cut)[:-1])
    assert (at(below) > at(cut)).any()


def test_trees_survive_being_stored(fitted):
    rows, _, alone, _ = fitted
    again = replace(alone, booster=booster_of(alone.to_ubj()))
    np.testing.assert_array_equal(again.log_mean(rows), alone.log_mean(rows))


def test_columns_are_read_by_name_not_by_order(fitted):
    rows, margin, alone, _ = fitted
    shuffled = replace(rows, features=dict(reversed(rows.features.items())))
    np.testing.assert_array_equal(
        columns_of(shuffled, margin, alone.names), columns_of(rows, margin, alone.names)
    )


def test_a_column_left_out_is_not_seen():
    rows = shop(1)
    margin = fit_loglinear(rows, "poisson")
    blind = fit_boosted(rows, margin, sees_price=True, without=(RELATIVE,))
    assert len(blind.thresholds()) == 0
    other = rows.at_price(rows.price_cents, rows.rel_price * 2)
    np.testing.assert_array_equal(blind.predict(other), blind.predict(rows))


def test_rows_without_exposure_or_units_are_not_learnt():
    rows = shop(2)
    margin = fit_loglinear(rows, "poisson")
    odd = np.arange(len(rows)) % 5 == 0
    blind = replace(rows, exposure=np.where(odd, 0.0, rows.exposure))
    shouting = replace(blind, units=np.where(odd, 1e5, rows.units))
    silent = replace(blind, units=np.where(odd, np.nan, rows.units))
    a, b = (fit_boosted(r, margin, sees_price=True).predict(rows) for r in (shouting, silent))
    np.testing.assert_array_equal(a, b)


def test_a_lag_moves_the_forecast_but_not_the_response():
    rows = shop(3)
    rng = np.random.default_rng(0)
    recent = rng.normal(0, 0.5, len(rows))
    sold = rng.poisson(rows.units * np.exp(recent)).astype(float)
    rows = replace(rows, units=sold, features=dict(rows.features) | {RECENT: recent})
    margin = fit_loglinear(rows, "poisson", period_effects=False)
    model = fit_boosted(rows, margin, sees_price=False)
    strong, weak = (
        model.predict(replace(rows, features=dict(rows.features) | {RECENT: recent * 0 + r})).sum()
        for r in (0.5, -0.5)
    )
    assert strong > 1.8 * weak
    assert model_elasticity(model.predict, rows) == pytest.approx(
        model_elasticity(margin.predict, rows), abs=0.1
    )
