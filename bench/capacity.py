"""The white paper's shelf divided by search, against its three hand-made cases."""

from __future__ import annotations

import time

import numpy as np

from bench import Row, at_least
from bench.scenarios import CASES, SCALE, _shop, _true_rates
from retail_assets.models.assortment.capacity import compare_shelves, plan_capacity
from retail_assets.models.assortment.scenario_rules import capacity_under
from retail_assets.models.assortment.verdicts import ExpectedDifference, expected_difference
from retail_assets.simulator import frozen_truth


def rows(*, quick: bool) -> list[Row]:
    """Gains over 200,000 intervals on hold-out customers, in the paper's money."""
    horizon = 20_000 if quick else frozen_truth()["paper_money"]["intervals"]
    shop, rates = _shop(horizon), _true_rates()
    began = time.process_time()
    plan = plan_capacity([rates], shop, replications=4 if quick else 12, seed=1)
    seconds = time.process_time() - began
    by_hand = [capacity_under(case, shop.products, shop.capacity) for case in CASES]
    shelves = np.array([shop.capacity, plan.capacity_plan, *by_hand])
    judged = compare_shelves([rates], shop, shelves, replications=20 if quick else 100, seed=2)
    gain = (judged.goal[1:] - judged.goal[0]) / SCALE
    best = int(gain[1:].mean(axis=1).argmax()) + 1
    surplus = expected_difference(gain[0] - 2 * gain[best], judged.posterior_draw)
    found, hand = (expected_difference(gain[k], judged.posterior_draw) for k in (0, best))
    room = ", ".join(str(units) for units in plan.capacity_plan)
    return [
        Row("white paper's shelf a-e, today 45, 14, 29, 26, 10: plan", room),
        Row(f"its best hand-made case ({CASES[best - 1].name}): gain", _said(hand)),
        Row("plan: gain", _said(found)),
        at_least("plan over the best hand-made case", found.mean / hand.mean, 2.0),
        at_least("plan - 2 x best case, lower 95 % limit", surplus.low, 0.0),
        Row("CPU s, horizons replayed", f"{seconds:.1f}, {plan.simulations:,}"),
    ]


def _said(gain: ExpectedDifference) -> str:
    return f"{gain.mean:+,.0f} [{gain.low:+,.0f}, {gain.high:+,.0f}]"
