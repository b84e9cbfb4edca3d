"""The trade-off between revenue, margin and sell-through, as a grid of weighted goals.

Weighted sums reach only the convex part of the frontier; plans in its hollows exist that no
weights choose.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from retail_assets.models.pricing.plan import MarginKind, PricePlan
from retail_assets.models.pricing.sale_rules import PreparedSale
from retail_assets.models.pricing.weighted import Weights, best_weighted, scale_of

STEPS = 10
"""Weights in tenths: 66 combinations of three."""


@dataclass(frozen=True)
class Frontier:
    """One plan per combination of weights.

    Attributes
    ----------
    weights : (g, 3) float64
        Revenue, margin, sell-through; rows sum to one.
    plans : tuple of PricePlan, length g
    dominated : (g,) bool
        Another plan is at least as good in revenue, margin percent and sell-through, and
        better in one.
    """

    weights: NDArray[np.float64]
    plans: tuple[PricePlan, ...]
    dominated: NDArray[np.bool_]


def weight_grid(steps: int = STEPS) -> NDArray[np.float64]:
    """All weights of three targets in whole steps that sum to one, (66, 3) for ten steps."""
    rows = [(a, b, steps - a - b) for a in range(steps + 1) for b in range(steps + 1 - a)]
    return np.array(rows, float) / steps


def frontier(
    sale: PreparedSale, *, margin: MarginKind = "margin_cents", steps: int = STEPS
) -> Frontier:
    """Solve every combination of weights exactly and flag dominated plans."""
    scale, grid = scale_of(sale, margin), weight_grid(steps)
    plans = tuple(best_weighted(sale, _weights(row), margin, scale=scale) for row in grid.tolist())
    points = np.array([[p.revenue, p.margin_pct, p.sell_through_pct] for p in plans])
    return Frontier(grid, plans, dominated(points))


def _weights(row: list[float]) -> Weights:
    return row[0], row[1], row[2]


def dominated(points: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Which rows another row equals or exceeds everywhere and exceeds somewhere, (g,).

    >>> dominated(np.array([[3.0, 1.0], [2.0, 1.0], [1.0, 2.0], [3.0, 1.0]])).tolist()
    [False, True, False, False]
    """
    at_least = (points[None, :, :] >= points[:, None, :] - 1e-9).all(axis=2)
    better = (points[None, :, :] > points[:, None, :] + 1e-9).any(axis=2)
    worse: NDArray[np.bool_] = np.any(at_least & better, axis=1)
    return worse
