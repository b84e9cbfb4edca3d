"""Prices of a logit sale against a planted logit and enumeration."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from retail_assets.models.pricing.candidates import Candidates
from retail_assets.models.pricing.logit_sale import LogitSale, logit_sale

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
