"""The joint fit on planted retailers, and on panels that hold next to nothing."""

import numpy as np
import pytest

from retail_assets.models.panel import Panel, StorePanel
from retail_assets.models.stockouts.joint import fit_status
from retail_assets.models.stockouts.score import score_status

RATES = np.array([0.5, 0.4])
FLOW = np.array([[0.0, 0.6], [0.3, 0.0]])


def shop(seed, n=20_000, stock=(90, 80), review=200, phases=(60, 140), store_id="s"):
    """Two substitutes in a plain loop, customer by customer."""
    rng = np.random.default_rng(seed)
    left, out = list(stock), np.zeros((2, n), bool)
    sales = np.zeros((2, n), np.int32)
    for t in range(n):
        for j in (0, 1):
            if t % review == phases[j]:
                left[j] = stock[j]
            out[j, t] = left[j] == 0
        for first in rng.permutation(np.repeat([0, 1], rng.poisson(RATES))):
            j = first
            if left[j] == 0 and rng.random() < FLOW[first].sum():
                j = 1 - first
            if left[j] > 0:
                left[j] -= 1
                sales[j, t] += 1
    return panel_store(sales, store_id), out


def panel_store(sales, store_id="s"):
    interval = [np.flatnonzero(row).astype(np.int32) for row in sales]
    n = sales.shape[1]
    return StorePanel(
        store_id,
        (np.arange(n) // 60 % 24).astype(np.int16),
        (np.arange(n) // 1440).astype(np.int32),
        np.concatenate([[0], np.cumsum([len(i) for i in interval])]).astype(np.int64),
        np.concatenate(interval),
        np.concatenate([row[i] for row, i in zip(sales, interval, strict=True)]).astype(np.int32),
    )


@pytest.fixture(scope="module")
def planted():
    store, out = shop(0)
    return fit_status(Panel(("a", "b"), (store,))), out


def test_status_and_rates_of_a_planted_shop_are_found(planted):
    fit, out = planted
    for j in (0, 1):
        score = score_status(fit.smoothed(0, j).p_out, out[j])
        assert score.accuracy > 0.985
        assert score.auc > 0.995
    np.testing.assert_allclose(fit.rates.arrival_rate[0], RATES, rtol=0.06)
    np.testing.assert_allclose(fit.rates.substitution_rate, FLOW, atol=0.12)


def test_ignoring_the_inflow_would_overstate_the_rate(planted):
    fit, out = planted
    store = fit.panel.stores[0]
    for j in (0, 1):
        naive = store.sales(j)[1].sum() / (~out[j]).sum()
        own = fit.stores[0].products[j].params.arrival_rate
        assert naive > 1.025 * RATES[j]
        assert abs(own - RATES[j]) < 0.5 * (naive - RATES[j])


def test_sampled_paths_agree_with_the_smoothed_probabilities(planted):
    fit, _ = planted
    rng = np.random.default_rng(1)
    n = fit.panel.stores[0].n_intervals
    draws = [fit.sample_out(rng)[0] for _ in range(60)]
    for j in (0, 1):
        share = np.mean([draw.mask(j, n) for draw in draws], axis=0)
        p_out = fit.smoothed(0, j).p_out
        assert abs(share.mean() - p_out.mean()) < 0.005
        error = np.abs(share - p_out) / np.sqrt(p_out * (1 - p_out) / 60 + 1e-4)
        assert np.quantile(error, 0.99) < 4


def test_the_same_panel_gives_the_same_fit(planted):
    fit, _ = planted
    again = fit_status(fit.panel, seed=7)
    np.testing.assert_array_equal(again.rates.arrival_rate, fit.rates.arrival_rate)


def test_known_deliveries_are_used():
    store, out = shop(3)
    n = store.n_intervals
    calendar = tuple(np.arange(p, n, 200, dtype=np.int32) for p in (60, 140))
    with_calendar = StorePanel(**{**vars(store), "deliveries": calendar})
    fit = fit_status(Panel(("a", "b"), (with_calendar,)))
    assert score_status(fit.smoothed(0, 0).p_out, out[0]).accuracy > 0.998


def test_stores_may_differ_in_length_and_assortment():
    first, _ = shop(4, n=8_000, store_id="s1")
    second, _ = shop(5, n=3_000, store_id="s2")
    nothing = panel_store(np.zeros((2, 500), np.int32), "s3")
    fit = fit_status(Panel(("a", "b"), (first, second, nothing)))
    assert [store.products[0].method for store in fit.stores] == ["hmm", "hmm", "rule"]
    assert np.isfinite(fit.rates.arrival_rate).all()


@pytest.mark.parametrize(
    "sales",
    [
        np.zeros((1, 1), int),
        np.zeros((2, 50), int),
        np.eye(2, 50, dtype=int),
        np.ones((1, 6), int),
        np.array([[9] + [0] * 400]),
        np.vstack([np.ones(300, int), np.zeros(300, int)]),
    ],
    ids=["one interval", "all zero", "single sales", "no zero", "once only", "one never sold"],
)
def test_panels_that_hold_next_to_nothing_do_not_crash(sales):
    store = panel_store(sales.astype(np.int32))
    fit = fit_status(Panel(tuple("ab"[: len(sales)]), (store,)))
    for product in fit.stores[0].products:
        assert product.spans.start[0] == 0
        assert product.spans.stop[-1] == sales.shape[1]
        assert 0 <= product.share_out <= 1
    assert len(fit.sample_out(np.random.default_rng(0))) == 1


def test_a_product_that_never_sold_is_in_stock_without_a_claim():
    sales = np.vstack([np.random.default_rng(0).poisson(0.4, 2_000), np.zeros(2_000, int)])
    fit = fit_status(Panel(("a", "b"), (panel_store(sales.astype(np.int32)),)))
    silent = fit.stores[0].products[1]
    assert silent.method == "rule"
    assert silent.low_power
    assert silent.share_out == 0.5
    assert not silent.spans.out.any()


def test_the_time_before_a_launch_is_neither_an_outage_nor_demand():
    store, _ = shop(6, n=12_000)
    late = StorePanel(**{**vars(store), "listed": np.array([[0, 12_000], [6_000, 12_000]])})
    start = np.searchsorted(store.sales(1)[0], 6_000)
    keep = np.r_[np.arange(store.indptr[1]), np.arange(store.indptr[1] + start, store.indptr[2])]
    late = StorePanel(
        **{
            **vars(late),
            "indptr": store.indptr - np.array([0, 0, start]),
            "interval": store.interval[keep],
            "transactions": store.transactions[keep],
        }
    )
    product = fit_status(Panel(("a", "b"), (late,))).stores[0].products[1]
    assert product.params.arrival_rate == pytest.approx(RATES[1], rel=0.15)
    assert product.spans.start[0] == 6_000


def test_a_product_without_any_known_delivery_is_fitted_without_a_calendar():
    store, out = shop(7, n=8_000)
    known = np.arange(60, 8_000, 200, dtype=np.int32)
    partly = StorePanel(**{**vars(store), "deliveries": (known, np.empty(0, np.int32))})
    fit = fit_status(Panel(("a", "b"), (partly,)))
    for j in (0, 1):
        assert score_status(fit.smoothed(0, j).p_out, out[j]).accuracy > 0.97


def test_short_outages_of_a_slow_seller_are_marked_low_power():
    rng = np.random.default_rng(8)
    sales = rng.poisson(0.02, (1, 40_000))
    for start in range(300, 40_000, 700):
        sales[0, start : start + 150] = 0
    fit = fit_status(Panel(("a",), (panel_store(sales.astype(np.int32)),)))
    assert fit.stores[0].products[0].low_power


def test_an_empty_panel_is_refused():
    with pytest.raises(ValueError, match="no stores"):
        fit_status(Panel((), ()))
