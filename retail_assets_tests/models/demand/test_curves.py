"""Curves against one prediction per price and total; stored models against fitted ones."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from retail_assets.models.demand.accuracy import Conformal
from retail_assets.models.demand.curves import BUCKET_ERROR, DemandCurves, demand_curves
from retail_assets.models.demand.models import Fitted, fit_models
from retail_assets.models.demand.price_model import PriceModel, price_model
from retail_assets.models.demand.rows import DISCOUNT, DemandRows
from retail_assets.models.demand.thin import POOL

ITEMS, SALES, OWN, RELATIVE = 12, 60, -1.0, -1.5
LIST = np.linspace(1500, 6000, ITEMS)


def sales(seed: int = 3, *, unseen: bool = False) -> DemandRows:
    """Weekly sales of the same items: demand falls in the own and the relative price."""
    rng = np.random.default_rng(seed)
    product = np.tile(np.arange(ITEMS), SALES)
    period = 20_000 + 7 * np.repeat(np.arange(SALES), ITEMS)
    depth = rng.uniform(0.5, 1.0, (SALES, ITEMS))
    price = np.rint(LIST * depth)
    relative = price / price.mean(axis=1, keepdims=True)
    usual = LIST / LIST.mean()
    mean = 80 * depth**OWN * (relative / usual) ** RELATIVE
    names = tuple(f"item {i}" for i in range(ITEMS)) + (("new",) if unseen else ())
    return DemandRows(
        products=names,
        product=product,
        series=product,
        period=period,
        days=np.full(len(product), 3.0),
        units=rng.poisson(mean).ravel().astype(float),
        exposure=np.ones(len(product)),
        price_cents=price.ravel(),
        rel_price=relative.ravel(),
        promo=np.zeros((len(product), 0)),
        promo_names=(),
        features={
            DISCOUNT: 1 - depth.ravel(),
            "product": product.astype(float),
            "log_units_available": rng.uniform(3, 5, len(product)),
        },
        prior_level=np.append(np.full(ITEMS, np.nan), 4.0) if unseen else None,
    )


@pytest.fixture(scope="module")
def fitted() -> Fitted:
    return fit_models(sales(), gap_days=7, trust_total=True)


@pytest.fixture(scope="module")
def coming() -> DemandRows:
    """One row per item of a sale, two days each."""
    return replace(sales().take(np.arange(ITEMS)), days=np.full(ITEMS, 2.0))


def model_of(fitted: Fitted, name: str, conformal: Conformal | None = None) -> PriceModel:
    return price_model(fitted, name, conformal, identified=True)


def drawn(model: PriceModel, rows: DemandRows) -> tuple[DemandCurves, np.ndarray, np.ndarray]:
    product = np.repeat(np.arange(ITEMS), 4)
    cents = np.rint(LIST[product] * np.tile([0.5, 0.65, 0.8, 1.0], ITEMS)).astype(np.int64)
    numbered = model.numbered(rows)
    return demand_curves(model.grown(numbered), numbered, product, cents), product, cents


def test_a_total_that_matters_is_seen_but_single_sales_are_not_taken_at_their_word(fitted: Fitted):
    assert fitted.total.significant
    assert fitted.total_matters
    assert not fitted.total.by_period
    assert not fit_models(sales(), gap_days=7, names=("poisson_glm",)).total_matters
    assert fitted.total.value == pytest.approx(RELATIVE, abs=3 * fitted.total.se)


@pytest.mark.parametrize("seed", range(5))
def test_segments_of_trees_say_what_the_trees_say_at_any_relative_price(fitted, coming, seed):
    model = model_of(fitted, "xgboost")
    curves, product, cents = drawn(model, coming)
    assert len(curves.candidate) > 10 * len(cents)
    rng = np.random.default_rng(seed)
    for _ in range(40):
        at = int(rng.integers(len(cents)))
        relative = np.float32(rng.uniform(0.2, 3.0))
        own = np.flatnonzero(curves.candidate == at)
        inside = (curves.relative_from[own] <= relative) & (relative < curves.relative_to[own])
        row = model.numbered(coming).take(np.array([product[at]]))
        priced = row.at_price(np.array([float(cents[at])]), np.array([float(relative)]))
        assert curves.demand[own[inside]] == pytest.approx(np.exp(model.log_mean(priced)), rel=1e-9)
    assert (curves.error_bound == 0).all()


def test_buckets_of_a_smooth_response_keep_their_stated_error(fitted, coming):
    model = model_of(fitted, "xgboost_on_margin")
    curves, product, cents = drawn(model, coming)
    rng = np.random.default_rng(9)
    for _ in range(200):
        at = int(rng.integers(len(cents)))
        relative = float(rng.uniform(0.25, 4.5))
        own = np.flatnonzero(curves.candidate == at)
        inside = (curves.relative_from[own] <= relative) & (relative < curves.relative_to[own])
        piece = own[inside][0]
        row = model.numbered(coming).take(np.array([product[at]]))
        priced = row.at_price(np.array([float(cents[at])]), np.array([relative]))
        exact = float(np.exp(model.log_mean(priced))[0])
        assert abs(curves.demand[piece] / exact - 1) <= curves.error_bound[piece] + 1e-9
        assert curves.error_bound[piece] <= BUCKET_ERROR + 1e-9


@pytest.mark.parametrize("name", ["xgboost", "xgboost_on_margin", "poisson_glm", "log_log_ols"])
def test_demand_never_rises_with_the_own_price(fitted, coming, name):
    curves, product, cents = drawn(model_of(fitted, name), coming)
    for item in range(ITEMS):
        of_item = product[curves.candidate] == item
        for start in np.unique(curves.relative_from[of_item]):
            same = np.flatnonzero(of_item & (curves.relative_from == start))
            ordered = same[np.argsort(cents[curves.candidate[same]])]
            assert (np.diff(curves.demand[ordered]) <= 1e-9).all()


def test_only_segments_a_sale_can_reach_are_predicted(fitted, coming):
    model = model_of(fitted, "xgboost")
    whole, product, cents = drawn(model, coming)
    numbered = model.numbered(coming)
    reach = np.column_stack([np.full(len(cents), 0.8), np.full(len(cents), 1.2)])
    some = demand_curves(model.grown(numbered), numbered, product, cents, relative_range=reach)
    assert some.predictions < 0.6 * whole.predictions
    for at in range(len(cents)):
        own, every = some.candidate == at, whole.candidate == at
        assert some.relative_from[own].min() <= 0.8
        assert some.relative_to[own].max() > 1.2
        shared = np.isin(whole.relative_from[every], some.relative_from[own])
        assert np.array_equal(some.demand[own], whole.demand[every][shared])


def test_outside_a_sale_a_price_has_one_segment(fitted, coming):
    everyday = replace(coming, rel_price=np.full(ITEMS, np.nan))
    curves, _, cents = drawn(model_of(fitted, "xgboost"), everyday)
    assert len(curves.candidate) == len(cents)
    assert (curves.relative_from == 0).all()
    assert np.isinf(curves.relative_to).all()


@pytest.mark.parametrize("name", ["xgboost", "xgboost_on_margin_lags", "log_log_ols"])
def test_a_stored_model_reads_back_the_same(fitted, coming, name):
    conformal = Conformal(0.1, {1: -1.0, 7: -1.2}, {1: 1.1, 7: 1.3})
    model = model_of(fitted, name, conformal)
    again = PriceModel.read(model.to_json(), model.to_ubj())
    rows = model.numbered(coming)
    assert np.allclose(again.log_mean(rows), model.log_mean(rows), atol=1e-7)
    assert again.conformal == conformal
    assert again.products == model.products


def test_a_new_product_starts_from_its_prior_and_answers_like_the_others(coming):
    model = model_of(fit_models(sales(unseen=True), gap_days=7), "poisson_glm")
    rows = sales(unseen=True).take(np.array([0]))
    rows = replace(rows, product=np.array([ITEMS]), series=np.array([ITEMS]))
    rows = replace(rows, days=np.ones(1), rel_price=np.full(1, np.nan))
    numbered = model.numbered(rows)
    grown = model.grown(numbered)
    mean = float(np.exp(grown.log_mean(numbered))[0])
    reference = float(np.exp(grown.margin.reference[numbered.product[0]]))
    away = np.log(float(rows.price_cents[0]) / reference)
    assert mean == pytest.approx(4.0 * np.exp(grown.margin.slope_mean * away), rel=0.05)
    curves = demand_curves(grown, numbered, numbered.product, rows.price_cents.astype(np.int64))
    assert curves.flag == ("prior_only",)
    assert curves.extrapolated.all()


def test_products_seen_once_share_a_level_and_keep_a_curve_each():
    rng = np.random.default_rng(8)
    n = 200
    listed = rng.uniform(2000, 9000, n)
    depth = rng.uniform(0.4, 0.95, n)
    mean = 50 * (listed / 5000) ** -0.4 * depth**-2.0
    rows = DemandRows(
        products=tuple(f"shoe {i}" for i in range(n)),
        product=np.arange(n),
        series=np.arange(n),
        period=20_000 + 7 * (np.arange(n) // 10),
        days=np.ones(n),
        units=rng.poisson(mean).astype(float),
        exposure=np.ones(n),
        price_cents=np.rint(listed * depth),
        rel_price=np.full(n, np.nan),
        promo=np.zeros((n, 0)),
        promo_names=(),
        features={DISCOUNT: 1 - depth},
    )
    model = model_of(fit_models(rows, gap_days=7), "poisson_glm")
    assert model.products[-1] == POOL
    numbered = model.numbered(rows)
    found = np.exp(model.grown(numbered).log_mean(numbered))
    assert np.abs(found - mean).sum() / mean.sum() < 0.06
    one = demand_curves(
        model.grown(numbered), numbered, np.array([3, 4]), np.rint(listed[[3, 4]] * 0.7).astype(int)
    )
    truth = 50 * (listed[[3, 4]] / 5000) ** -0.4 * 0.7**-2.0
    assert one.demand == pytest.approx(truth, rel=0.1)
    assert not one.extrapolated.any()
