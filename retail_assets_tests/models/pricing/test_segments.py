"""Segments of the relative price against a comparison made total by total."""

from __future__ import annotations

import numpy as np
import pytest

from retail_assets.models.pricing.segments import (
    at_one_total,
    first_total_below,
    merged,
    relative_price,
    to_totals,
)


def steps_of(thresholds: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    edges = np.concatenate([[0.0], thresholds, [np.inf]])
    return edges[:-1], edges[1:]


@pytest.mark.parametrize("seed", range(20))
def test_segments_say_the_same_as_the_trees_at_every_total(seed):
    rng = np.random.default_rng(seed)
    n = int(rng.integers(1, 9))
    prices = rng.integers(1, 900, n).astype(np.int64)
    low, high = int(prices.sum()), int(prices.sum() + rng.integers(0, 4000))
    totals = np.arange(low, high + 1)
    # thresholds that are ratios of this very sale: equality is where rounding shows
    exact = prices[:, None] * n / rng.choice(totals, (n, 4))
    thresholds = np.unique(np.append(exact, rng.uniform(0, 3, 5)).astype(np.float32)).astype(float)
    begin, end = steps_of(thresholds)
    for price in prices.tolist():
        own = np.full(len(begin), price)
        found = to_totals(own, begin, end, n, low, high)
        seen = np.float32(price * n / totals)
        by_total = (seen[:, None] >= thresholds.astype(np.float32)).sum(axis=1)
        spread = np.concatenate(
            [
                np.full(b - a + 1, row)
                for row, a, b in sorted(
                    zip(found.row, found.total_from_cents, found.total_to_cents, strict=True),
                    key=lambda piece: piece[1],
                )
            ]
        )
        np.testing.assert_array_equal(spread, by_total)


def test_a_total_of_a_million_is_cut_where_single_precision_rounds():
    rng = np.random.default_rng(1)
    n, low, high = 5000, 99_000_000, 101_000_000
    price = rng.integers(10_000, 40_000, 200)
    bound = np.float32(price * n / rng.integers(low, high, 200)).astype(float)
    cut = first_total_below(price, n, bound, low, high)
    inside = (cut > low) & (cut <= high)
    assert inside.sum() > 150
    assert (relative_price(price, n, cut)[inside] < bound[inside]).all()
    assert (relative_price(price, n, cut - 1)[inside] >= bound[inside]).all()
    # the division alone would have been wrong for most
    assert (cut != np.floor(price * n / bound) + 1)[inside].mean() > 0.5


def test_bounds_no_total_reaches_are_clipped():
    price = np.array([100, 100, 100])
    found = first_total_below(price, 2, np.array([np.inf, 0.0, 1e-9]), 150, 400)
    assert found.tolist() == [150, 401, 401]


def test_neighbours_of_equal_demand_are_one_row_and_others_stay():
    price = np.array([200, 200, 200, 200, 300])
    begin = np.array([0.0, 0.8, 1.0, 1.2, 0.0])
    end = np.array([0.8, 1.0, 1.2, np.inf, np.inf])
    pieces = to_totals(price, begin, end, 2, 300, 600)
    found = merged(pieces, price, np.array([[5.0], [5.0], [4.0], [4.0], [4.0]]))
    # 200 * 2 / T < 1.0 from T = 401 on
    assert price[found.row].tolist() == [200, 200, 300]
    assert found.total_from_cents.tolist() == [300, 401, 300]
    assert found.total_to_cents.tolist() == [400, 600, 600]


def test_a_price_read_at_one_total_holds_at_all():
    price = np.array([200, 200, 300])
    pieces = to_totals(
        price, np.array([0.0, 1.0, 0.0]), np.array([1.0, np.inf, np.inf]), 2, 300, 600
    )
    found = at_one_total(pieces, np.array([350, 350, 9999]), 300, 600)
    assert found.row.tolist() == [1, 2]
    assert found.total_from_cents.tolist() == [300, 300]
    assert found.total_to_cents.tolist() == [600, 600]
