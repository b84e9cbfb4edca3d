"""Exposure against a loop over intervals, and against shops whose truth is known."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from retail_assets.models.demand.exposure import CELLS, daily_exposure, interval_weights
from retail_assets.models.panel import Spans
from retail_assets.simulator import simulate


def random_spans(rng, n, end):
    """Disjoint spans per product with a probability each; some products have none."""
    parts, p_out = [], []
    for _ in range(n):
        cuts = np.sort(rng.choice(end + 1, 2 * int(rng.integers(0, 6)), replace=False))
        parts.append((cuts[::2], cuts[1::2]))
        p_out.append(rng.choice([0.02, 0.5, 1.0], len(cuts) // 2))
    return Spans.join(parts), np.concatenate(p_out)


def by_interval(weight, first_interval, out, p_out, rate, alpha, listed):
    """The formula read aloud, an interval and a pair at a time."""
    n, days = len(rate), len(first_interval) - 1
    in_stock, inflow = np.zeros((days, n)), np.zeros((days, n))
    for day, (begin, stop) in enumerate(pairwise(first_interval)):
        for t in range(begin, stop):
            gone = np.zeros(n)
            for j in range(n):
                for k in range(out.indptr[j], out.indptr[j + 1]):
                    if out.start[k] <= t < out.stop[k]:
                        gone[j] = p_out[k]
            carried = [listed[j, 0] <= t < listed[j, 1] for j in range(n)]
            for j in range(n):
                if not carried[j]:
                    continue
                in_stock[day, j] += weight[t] * (1 - gone[j])
                for i in range(n):
                    if carried[i]:
                        sent = rate[i] * alpha[i, j] / rate[j]
                        inflow[day, j] += weight[t] * sent * gone[i] * (1 - gone[j])
    return in_stock, inflow


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("cells", [7, CELLS])
def test_it_is_the_sum_over_intervals(seed, cells, monkeypatch):
    monkeypatch.setattr("retail_assets.models.demand.exposure.CELLS", cells)
    rng = np.random.default_rng(seed)
    n = int(rng.integers(1, 5))
    first_interval = np.concatenate([[0], np.cumsum(rng.integers(0, 9, 6))])
    end = max(int(first_interval[-1]), 12)
    first_interval[-1] = end
    weight = rng.uniform(0, 1, end)
    out, p_out = random_spans(rng, n, end)
    rate, alpha = rng.uniform(0.1, 1, n), rng.uniform(0, 0.4, (n, n))
    np.fill_diagonal(alpha, 0)
    listed = np.sort(rng.integers(0, end + 1, (n, 2)), axis=1)
    given = (weight, first_interval, out, p_out, rate, alpha, listed)
    found = daily_exposure(*given)
    in_stock, inflow = by_interval(*given)
    np.testing.assert_allclose(found.in_stock, in_stock, atol=1e-9)
    np.testing.assert_allclose(found.inflow, inflow, atol=1e-9)
    np.testing.assert_allclose(found.total, in_stock + inflow, atol=1e-9)


@pytest.fixture(scope="module")
def paper():
    """The white paper's shop: exposure from its true outages and rates, and its sales."""
    history = simulate("paper", seed=1)
    category = history.category()
    (shop,) = category.stores
    first_interval, rate = history.calendars[0].first_interval, category.truth.arrival_rate[0]
    exposure = daily_exposure(
        history.weather[0].weight,
        first_interval,
        shop.out,
        np.ones(len(shop.out.start)),
        rate,
        category.truth.substitution_rate,
    )
    own = pairwise(shop.sales_indptr)
    sales = np.array([shop.sales_transactions[a:b].sum() for a, b in own])
    return sales / rate, exposure, first_interval[-1]


def test_sales_over_exposure_are_the_true_own_rate(paper):
    # Out 8 % of the time; 14,000 to 42,000 sales a product, so one standard error is .5-.8 %.
    sales, exposure, _ = paper
    np.testing.assert_allclose(sales / exposure.total.sum(axis=0), 1.0, atol=0.015)


def test_without_inflow_a_neighbours_customers_pass_for_own(paper):
    sales, exposure, _ = paper
    over = sales / exposure.in_stock.sum(axis=0)
    assert (over > 1.06).all()
    assert over.max() == pytest.approx(1.25, abs=0.1)


def test_without_out_time_a_sold_out_product_passes_for_unwanted(paper):
    sales, _, end = paper
    assert (sales / end < 0.94).all()


def test_a_product_nobody_wants_first_has_finite_exposure():
    spans = Spans.join([(np.array([0]), np.array([4])), (np.empty(0, int), np.empty(0, int))])
    alpha = np.array([[0, 0.5], [0, 0]])
    rate = np.array([2.0, 0.0])
    found = daily_exposure(np.full(4, 0.25), np.array([0, 4]), spans, np.ones(1), rate, alpha)
    # Its rate counts as a thousandth of the mean: 2 x .5 customers over .001.
    np.testing.assert_allclose(found.total, [[0.0, 1 + 1000.0]])


def test_a_normal_day_weighs_one_and_a_short_one_its_share():
    # Two weeks of Monday and Tuesday; the second Monday closes after two of four hours.
    first_interval = np.array([0, 4, 7, 9, 12, 16])
    level = np.array([1, 1, 3, 3, 2, 2, 2, 1, 1, 2, 2, 2, 1, 1, 3, 3], float)
    weight = interval_weights(level, first_interval, np.array([0, 1, 0, 1, 0]))
    per_day = np.add.reduceat(weight, first_interval[:-1])
    np.testing.assert_allclose(per_day, [1, 1, 2 / 8, 1, 1])
    np.testing.assert_allclose(weight[:4], [1 / 8, 1 / 8, 3 / 8, 3 / 8])


def test_hours_that_never_sold_count_alike():
    weight = interval_weights(np.zeros(4), np.array([0, 2, 4]), np.array([0, 1]))
    np.testing.assert_allclose(weight, 0.5)
