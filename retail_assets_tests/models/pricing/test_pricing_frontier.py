"""The trade-off of goals, and logit prices, against brute force."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest

from retail_assets.models.pricing.candidates import Candidates
from retail_assets.models.pricing.frontier import frontier, weight_grid
from retail_assets.models.pricing.mnl import optimise_mnl
from retail_assets.models.pricing.optimise import optimise
from retail_assets.models.pricing.sale_rules import prepare


def sale_of(n: int, seed: int) -> Candidates:
    """Prices 10..50; demand falls in the own price, and rises once in the total."""
    rng = np.random.default_rng(seed)
    price = np.tile(np.array([10, 20, 30, 50]), n)
    item = np.repeat(np.arange(n), 4)
    base = np.repeat(rng.uniform(100, 900, n), 4) * price ** -rng.uniform(1.2, 1.8)
    cut = int(25 * n)
    return Candidates(
        tuple(f"item {i}" for i in range(n)),
        rng.integers(3, 9, n),
        rng.integers(2, 9, n),
        np.tile(item, 2),
        np.tile(price, 2),
        np.repeat([0, cut], 4 * n),
        np.repeat([cut - 1, 60 * n], 4 * n),
        np.concatenate([base, base * 1.4]),
    )


def test_66_weight_combinations_hold_the_extremes_and_flag_dominated_plans() -> None:
    sale = prepare(sale_of(6, 1))
    found = frontier(sale)
    assert len(found.plans) == len(weight_grid()) == 66
    revenue = np.array([p.revenue for p in found.plans])
    assert revenue[found.weights[:, 0] == 1.0][0] == optimise(sale, "revenue").revenue
    points = [(p.revenue, p.margin_pct, p.sell_through_pct) for p in found.plans]
    for point, flagged in zip(points, found.dominated, strict=True):
        beaten = any(
            all(a >= b - 1e-9 for a, b in zip(other, point, strict=True))
            and any(a > b + 1e-9 for a, b in zip(other, point, strict=True))
            for other in points
        )
        assert beaten == flagged


def test_margin_percent_and_margin_in_cents_are_different_goals() -> None:
    sale = prepare(sale_of(6, 2))
    cents, percent = optimise(sale, "margin_cents"), optimise(sale, "margin_pct")
    assert cents.margin > percent.margin
    assert percent.margin_pct > cents.margin_pct


@pytest.mark.parametrize("seed", range(25))
def test_logit_prices_equal_enumeration(seed: int) -> None:
    rng = np.random.default_rng(seed)
    n, m = 4, 4
    price = np.sort(rng.integers(5, 60, (n, m)), axis=1)
    weight = np.exp(rng.normal(1.0, 1.0, (n, 1)) - rng.uniform(0.01, 0.15, (n, 1)) * price)
    cost = rng.integers(1, 30, n)
    best = -np.inf
    for combo in product(range(m), repeat=n):
        at = np.arange(n), np.array(combo)
        earned = (weight[at] * (price[at] - cost)).sum() / (1.0 + weight[at].sum())
        best = max(best, float(earned))
    plan = optimise_mnl(np.arange(0, n * m + 1, m), price.ravel(), weight.ravel(), cost)
    assert plan.margin_per_customer_cents == pytest.approx(best, rel=1e-12)
    assert plan.gap_cents == 0.0
    assert plan.share.sum() < 1.0
