"""Segments of the relative price against a comparison made total by total."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from retail_assets.models.pricing.candidates import Candidates
from retail_assets.models.pricing.segments import (
    LogitSale,
    at_one_total,
    first_total_below,
    logit_sale,
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


PRICES = np.array([200, 300, 400, 150, 250, 100, 120])
ITEM = np.array([0, 0, 0, 1, 1, 2, 2])
COST, TODAY, CUSTOMERS = np.array([120, 90, 40]), np.array([1, 4, 5]), 500.0


def planted(seed: int) -> np.ndarray:
    """Attractions that fall with the price."""
    taste = np.random.default_rng(seed).uniform(-1.5, 0.5, 3)
    return np.exp(taste[ITEM] - PRICES / 200)


def logit_units(weight: np.ndarray, rows: list[int]) -> np.ndarray:
    chosen = weight[rows]
    return CUSTOMERS * chosen / (1 + chosen.sum())


def planted_sale(seed: int, available: int = 500) -> LogitSale:
    """Curves as a demand model reads them: one price moved, the others as they are today."""
    weight = planted(seed)
    demand = np.zeros(len(PRICES))
    for row, item in enumerate(ITEM):
        rows = TODAY.copy()
        rows[item] = row
        demand[row] = logit_units(weight, rows)[item]
    candidates = Candidates(
        ("a", "b", "c"), np.full(3, available), COST, ITEM, PRICES,
        np.full(7, 450), np.full(7, 770), demand, prior_price_cents=PRICES[TODAY],
    )  # fmt: skip
    return LogitSale(candidates, CUSTOMERS, TODAY)


@pytest.mark.parametrize("seed", range(5))
def test_a_planted_logit_is_recovered_and_its_best_prices_are_those_of_enumeration(seed):
    sale, weight = planted_sale(seed), planted(seed)
    np.testing.assert_allclose(sale.weight, weight, rtol=1e-9)
    every = [list(rows) for rows in itertools.product((0, 1, 2), (3, 4), (5, 6))]
    units = np.array([logit_units(weight, rows) for rows in every])
    money = (units * PRICES[every]).sum(axis=1)
    margin = (units * (PRICES[every] - COST)).sum(axis=1)
    goals = {
        "revenue": money,
        "margin_cents": margin,
        "margin_pct": 100 * margin / money,
        "sell_through": 100 * units.sum(axis=1) / 1500,
        "weighted": 0.2 * money / money.max() + 0.5 * margin / margin.max()
        + 0.3 * units.sum(axis=1) / units.sum(axis=1).max(),
    }  # fmt: skip
    for target, values in goals.items():
        plan = sale.solve(target, (2.0, 5.0, 3.0))
        assert plan.price_cents.tolist() == PRICES[every[int(values.argmax())]].tolist(), target
        assert plan.certificate.gap == 0
        assert plan.certificate.objective == pytest.approx(values.max(), rel=1e-6)


def test_stock_that_runs_out_leaves_a_gap_that_is_stated():
    plan = planted_sale(1, available=20).solve("revenue", (2.0, 5.0, 3.0))
    assert (plan.expected_units <= 20).all()
    assert plan.certificate.upper_bound > plan.certificate.objective > 0
    assert plan.certificate.totals_ruled_out == 0


def test_a_move_in_a_logit_counts_what_the_others_lose():
    sale = planted_sale(2)
    plan = sale.plan("revenue", TODAY, 0.0, 0.0)
    move = sale.reasons(plan)[0].lower
    now, then = (logit_units(planted(2), rows) for rows in ([1, 4, 5], [0, 4, 5]))
    assert move.units == pytest.approx((then - now).sum(), abs=2e-3)
    assert move.revenue_cents == pytest.approx(
        then @ PRICES[[0, 4, 5]] - now @ PRICES[TODAY], abs=3
    )


def test_customers_are_more_than_the_units_they_could_want():
    candidates = planted_sale(0).candidates
    assert logit_sale(candidates, 10.0).customers > candidates.demand.max() * 1.25
    assert logit_sale(candidates, 1e6).customers == 1e6
    with pytest.raises(ValueError, match="10 customers want more units"):
        _ = LogitSale(candidates, 10.0, TODAY).weight
