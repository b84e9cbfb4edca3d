"""Margin as a percent of revenue: a ratio of two sums, by Dinkelbach's iteration.

For a trial ratio z the best prices of margin - z * revenue either improve on z or prove it
best (Dinkelbach, Management Science 13(7), 1967, theorem and algorithm of section 3).
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from retail_assets.models.pricing.candidates import MARGIN, REVENUE
from retail_assets.models.pricing.plan import RESOLUTION, PricePlan, method_of, plan_of, solve
from retail_assets.models.pricing.sale_rules import PreparedSale

MAX_STEPS = 50


def best_margin_pct(sale: PreparedSale, *, worst: bool = False) -> PricePlan:
    """Prices with the highest margin percent of the sale (or the lowest).

    The certificate is in percent. A price plan that sells nothing has no percent and is
    never better than one that sells.
    """
    sign = -1.0 if worst else 1.0
    measures = sale.program.measures
    found = solve(sale, measures[:, REVENUE])
    start = _sums(sale, found.choice)
    if start[REVENUE] == 0:
        return plan_of(sale, "margin_pct", found, objective=0.0, upper_bound=0.0)
    ratio, best, bounds, closings, slack = start[MARGIN] / start[REVENUE], found, 0, 0, np.inf
    held = start
    for _ in range(MAX_STEPS):
        gain = sign * (measures[:, MARGIN] - ratio * measures[:, REVENUE])
        scale = _scale(sale, gain)
        whole = np.rint(gain * scale)
        rounded = _largest_sum(sale, np.abs(whole - gain * scale))
        found = solve(sale, whole)
        bounds, closings = bounds + found.bounds, closings + found.closings
        slack = (found.upper_bound + rounded) / scale
        sums = _sums(sale, found.choice)
        better = sign * (sums[MARGIN] * held[REVENUE] - held[MARGIN] * sums[REVENUE]) > 0
        if sums[REVENUE] <= 0 or not better:
            break
        ratio, best, held = sums[MARGIN] / sums[REVENUE], found, sums
    least = max(float(-solve(sale, -measures[:, REVENUE]).upper_bound), 1.0)
    # any plan: sign (margin - z revenue) <= slack, so its ratio is within slack / revenue of z
    error = max(slack, 0.0) / least
    last = replace(found, choice=best.choice, value=best.value, bounds=bounds, closings=closings)
    objective = 100.0 * ratio
    return plan_of(
        sale, "margin_pct", last, objective=objective, upper_bound=objective + 100.0 * error,
        method=f"Dinkelbach, each step by {method_of(sale)}",
    )  # fmt: skip


def _sums(sale: PreparedSale, choice: np.ndarray) -> np.ndarray:
    return sale.program.totals_of(choice)


def _largest_sum(sale: PreparedSale, amount: np.ndarray) -> float:
    """Sum over units of each unit's largest amount."""
    program = sale.program
    return float(np.maximum.reduceat(amount, program.seg_ptr[program.item_ptr[:-1]]).sum())


def _scale(sale: PreparedSale, gain: np.ndarray) -> float:
    """Factor that puts the largest possible sum of ``gain`` at `RESOLUTION` steps."""
    top = _largest_sum(sale, np.abs(gain))
    return float(RESOLUTION / top) if top > 0 else 1.0
