"""Past days see only what was known then, and the choice follows its own rules."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from retail_assets.models.demand.accuracy import poisson_deviance, wape
from retail_assets.models.demand.backtest import (
    LEAST_DAYS,
    Backtest,
    Score,
    backtest,
    choose,
    origins_of,
)
from retail_assets.models.demand.elasticity import PriceSlope
from retail_assets.models.demand.models import MODELS, NAIVE, RESPONSIVE, fit_models
from retail_assets.models.demand.rows import DemandRows


def shop(seed=0, *, products=5, days=140):
    rng = np.random.default_rng(seed)
    size = products * days
    product, day = np.tile(np.arange(products), days), np.repeat(np.arange(days), products)
    price = 500 * np.exp(rng.normal(0, 0.15, size))
    level = rng.normal(2.5, 0.4, products)[product]
    busy = 0.5 * ((day >= 70) & (day < 84))
    exposure = rng.choice([0.0, 0.6, 1.0], size, p=[0.05, 0.2, 0.75])
    mean = np.exp(level - 1.8 * np.log(price / 500) + busy) * exposure
    return DemandRows(
        products=tuple(f"p{i}" for i in range(products)),
        product=product,
        series=product,
        period=18_000 + day,
        days=np.ones(size),
        units=rng.poisson(mean).astype(float),
        exposure=exposure,
        price_cents=price,
        rel_price=np.full(size, np.nan),
        promo=np.zeros((size, 0)),
        promo_names=(),
        features={"weekday": (day % 7).astype(float)},
    )


@pytest.fixture(scope="module")
def tested():
    rows = shop()
    origins = origins_of(rows, horizon_days=14, most=3)
    return rows, origins, backtest(rows, origins, horizon_days=14, gap_days=7)


def test_origins_end_at_the_last_day_and_leave_eight_weeks_to_learn_from():
    rows = shop(days=100)
    assert origins_of(rows, horizon_days=14, most=3) == [18_057, 18_071, 18_085]
    assert origins_of(rows, horizon_days=14, most=9) == [18_057, 18_071, 18_085]
    assert 18_000 + LEAST_DAYS <= 18_057
    assert origins_of(shop(days=60), horizon_days=14, most=3) == []


def test_a_row_of_several_days_ends_the_history_when_it_ends():
    rows = replace(shop(days=100), days=np.full(500, 7.0))
    assert origins_of(rows, horizon_days=14, most=1) == [18_099 + 6 - 14]


def test_every_model_is_scored_at_every_origin(tested):
    _, origins, found = tested
    told = {(s.model, s.origin) for s in found.scores if s.season == "all"}
    able = [m for m in MODELS if m != "last_year_growth"]  # there is no year before
    assert told == {(m, o) for m in able for o in origins}
    for name in able:
        assert len(found.forecast[name]) == len(found.rows)
    assert (found.rows.exposure > 0).all()


def test_what_came_after_an_origin_changes_nothing_of_its_forecast(tested):
    rows, origins, found = tested
    later = rows.period > origins[0]
    wild = replace(rows, units=np.where(later, rows.units * 7 + 3, rows.units))
    again = backtest(wild, origins[:1], horizon_days=14, gap_days=7)
    first = found.rows.period <= origins[0] + 14
    for name in MODELS:
        np.testing.assert_array_equal(again.forecast[name], found.forecast[name][first])


def test_a_row_that_ends_after_the_origin_is_not_known_yet(tested):
    rows, origins, _ = tested
    straddles = rows.period == origins[0]
    long = replace(rows, days=np.where(straddles, 2.0, 1.0))
    shouting = replace(long, units=np.where(straddles, 1e4, rows.units))
    plain, wild = (backtest(r, origins[:1], horizon_days=14, gap_days=7) for r in (long, shouting))
    for name in MODELS:
        np.testing.assert_array_equal(plain.forecast[name], wild.forecast[name])


def test_scores_are_those_of_the_forecasts(tested):
    _, _, found = tested
    for score in found.scores:
        if score.season != "all":
            continue
        own = (found.rows.period > score.origin) & (found.rows.period <= score.origin + 14)
        units, mean = found.rows.units[own], found.forecast[score.model][own]
        assert score.rows == own.sum()
        assert score.wape == wape(units, mean)
        assert score.poisson_deviance == poisson_deviance(units, mean)


def test_peak_weeks_are_the_busiest_tenth_and_scored_apart():
    rows = shop(1)
    busiest = np.bincount(rows.period // 7 - 18_000 // 7, rows.units)
    peak = np.argsort(-busiest)[: int(np.ceil(0.1 * len(busiest)))] + 18_000 // 7
    found = backtest(rows, [18_069], horizon_days=28, gap_days=7, names=("poisson_glm",))
    count = {s.season: s.rows for s in found.scores}
    inside = np.isin(found.rows.period // 7, peak)
    assert count == {"all": len(inside), "peak": inside.sum(), "normal": (~inside).sum()}
    assert count["peak"] > 0


def test_only_models_that_see_prices_have_an_elasticity(tested):
    _, _, found = tested
    for score in found.scores:
        assert np.isnan(score.elasticity) == (score.model in NAIVE)
    assert found.mean("poisson_glm", "elasticity") == pytest.approx(-1.8, abs=0.25)


def test_coverage_waits_for_past_errors_and_then_holds(tested):
    _, _, found = tested
    glm = [s for s in found.scores if (s.model, s.season) == ("poisson_glm", "all")]
    assert np.isnan(glm[0].coverage80)
    assert np.mean([s.coverage80 for s in glm[1:]]) == pytest.approx(0.8, abs=0.1)


def test_a_forecast_of_the_last_origin_is_that_of_a_fit_to_its_past(tested):
    rows, origins, found = tested
    past = rows.take((rows.period <= origins[-1]) & (rows.exposure > 0))
    ahead = found.rows.period > origins[-1]
    fitted = fit_models(past, gap_days=7, names=("xgboost",))
    expected = fitted.predict("xgboost", found.rows.take(ahead))
    np.testing.assert_array_equal(found.forecast["xgboost"][ahead], expected)


def test_a_price_in_the_future_is_known_but_a_lag_is_not(tested):
    rows, origins, _ = tested
    past = rows.take((rows.period <= origins[0]) & (rows.exposure > 0))
    fitted = fit_models(past, gap_days=7, names=("xgboost_on_margin_lags",))
    ahead = rows.take(rows.period > origins[0])
    name = "xgboost_on_margin_lags"
    loud = replace(ahead, units=ahead.units * 9)
    np.testing.assert_array_equal(fitted.predict(name, ahead), fitted.predict(name, loud))
    dear = ahead.at_price(ahead.price_cents * 1.2, ahead.rel_price)
    sold = ahead.exposure > 0
    assert (fitted.predict(name, dear)[sold] < fitted.predict(name, ahead)[sold]).all()


REFERENCE = PriceSlope(-2.0, 0.05, 0.02, 0.5, "ols")


def scored(**models):
    """A backtest of one origin: model=(wape, deviance, elasticity, perverse)."""
    found = []
    for name, (error, deviance, elasticity, perverse) in models.items():
        found.append(
            Score(
                model=name,
                origin=18_000,
                season="all",
                rows=10,
                wape=error,
                rmsse=1.0,
                bias=0.0,
                poisson_deviance=deviance,
                coverage80=0.8,
                elasticity=elasticity,
                perverse_steps=perverse,
            )
        )
    return Backtest(tuple(found), shop(days=60), {}, 28)


NAN = float("nan")


def test_a_forecast_that_cannot_price_wins_the_forecast_only():
    found = choose(
        scored(seasonal_naive=(0.2, 1.0, NAN, NAN), poisson_glm=(0.4, 3.0, -2.1, 0.0)), REFERENCE
    )
    assert (found.price, found.forecast) == ("poisson_glm", "seasonal_naive")
    assert "seasonal_naive forecasts best (WAPE 0.200 against 0.400)" in found.reason


def test_a_model_that_lost_the_price_effect_does_not_price():
    found = choose(
        scored(xgboost=(0.3, 1.0, -0.6, 0.0), xgboost_on_margin=(0.4, 2.0, -1.9, 0.0)), REFERENCE
    )
    assert (found.price, found.forecast) == ("xgboost_on_margin", "xgboost")
    assert "xgboost (-0.60)" in found.reason


def test_a_model_that_sells_more_at_a_higher_price_does_not_price():
    found = choose(
        scored(xgboost=(0.3, 1.0, -2.0, 0.01), log_log_ols=(0.5, 4.0, -2.0, 0.0)), REFERENCE
    )
    assert found.price == "log_log_ols"


def test_of_those_that_hold_the_elasticity_the_lowest_deviance_prices_not_the_lowest_error():
    found = choose(
        scored(xgboost=(0.3, 2.0, -2.0, 0.0), poisson_glm=(0.4, 1.0, -2.2, 0.0)), REFERENCE
    )
    assert (found.price, found.forecast) == ("poisson_glm", "xgboost")


def test_when_none_agrees_the_reason_says_so():
    found = choose(scored(xgboost=(0.3, 2.0, -0.5, 0.0)), REFERENCE)
    assert found.price == "xgboost"
    assert "no model's elasticity agrees with the reference slope -2.00" in found.reason


def test_an_unidentified_slope_is_named():
    unknown = PriceSlope(NAN, NAN, 1e-9, 1e-9, "ols")
    found = choose(scored(poisson_glm=(0.3, 2.0, -0.5, 0.0)), unknown)
    assert "not identified" in found.reason


def test_a_history_too_short_to_be_tested_is_priced_by_the_margin():
    rows = shop(days=50)
    found = backtest(rows, origins_of(rows, horizon_days=14, most=3), horizon_days=14, gap_days=7)
    assert found.scores == ()
    assert choose(found, REFERENCE).price == "xgboost_on_margin"
    assert choose(found, REFERENCE).price in RESPONSIVE


def test_an_origin_before_anything_sold_is_left_out():
    rows = shop(days=120)
    late = replace(rows, units=np.where(rows.period < 18_090, 0.0, rows.units))
    found = backtest(late, [18_080, 18_100], horizon_days=14, gap_days=7, names=("poisson_glm",))
    assert {s.origin for s in found.scores} == {18_100}
