"""The joint plan against exact optima, upper bounds, simpler plans and the clock."""

from __future__ import annotations

import time
from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from bench import Row, at_most
from bench.exact_season import season_values
from bench.season_bounds import big_instance
from retail_assets.models.assortment.joint_plan import JointPlan, plan_season
from retail_assets.models.assortment.season import Market, Season

TOP = 20
"""Units of each product that the exact programme goes up to: 21^4 plans an instance."""


def rows(*, quick: bool) -> list[Row]:
    """Part of the table of the issue."""
    return [*_tiny(5 if quick else 100), *_large(quick)]


def tiny_instance(seed: int) -> tuple[Season, Market]:
    """4 products, 10 customers expected, coefficient of variation .6; odd seeds: fixed costs."""
    rng = np.random.default_rng(seed)
    n = 4
    price = np.rint(1_000 * np.exp(rng.normal(0.0, 0.3, n)))
    cost = np.rint(price * rng.uniform(0.4, 0.7, n))
    salvage = np.rint(cost * rng.uniform(0.0, 0.5, n))
    fixed = np.rint(rng.uniform(0.2, 1.0, n) * (price - cost)) * (seed % 2)
    matrix = rng.dirichlet(np.ones(n), n)
    np.fill_diagonal(matrix, 0.0)
    matrix *= rng.uniform(0.4, 0.9, (n, 1)) / matrix.sum(axis=1, keepdims=True)
    products = ("a", "b", "c", "d")
    season = Season(products, price, cost, salvage, fixed)
    first = 10.0 * rng.dirichlet(np.ones(n))
    return season, Market(products, first, matrix, "markov_chain", cv=0.6)


def _tiny(instances: int) -> list[Row]:
    """Gaps of exact expected profits to the best of 21^4 plans, percent of the best."""
    gaps: dict[str, list[float]] = {}
    seconds, at_bound = 0.0, 0
    for seed in range(instances):
        season, market = tiny_instance(seed)
        value = season_values(season, market, TOP)
        best = float(value.max())
        at_bound += max(np.unravel_index(int(value.argmax()), value.shape)) == TOP
        start = time.process_time()
        plan = plan_season(season, market, seed=seed, bound=True)
        seconds += time.process_time() - start
        plans = {"joint": plan.quantity}
        plans |= {name: baseline.quantity for name, baseline in plan.baselines.items()}
        for name, quantity in plans.items():
            gaps.setdefault(name, []).append(100 * (1 - _exact(value, quantity) / best))
    joint = np.array(gaps.pop("joint"))
    found = [
        at_most(f"{instances} tiny seasons: mean gap to the optimum, %", float(joint.mean()), 0.1),
        at_most("tiny: largest gap, %", float(joint.max()), 1.5),
        Row("tiny: optimum met exactly, share", float((joint < 1e-9).mean())),
        Row("tiny: processor seconds per plan, bound and baselines included", seconds / instances),
        Row("tiny: optima at the exact programme's edge", float(at_bound)),
    ]
    for name, gap in sorted(gaps.items(), key=lambda item: np.mean(item[1])):
        text = f"{np.mean(gap):.2f}, at most {np.max(gap):.1f}"
        found.append(Row(f"tiny: {name}: mean gap, %", text))
    return found


def _exact(value: NDArray[np.float64], quantity: NDArray[np.int64]) -> float:
    """A plan above the edge is counted at the edge, which is as good or better for it."""
    return float(value[tuple(np.minimum(quantity, TOP))])


def _large(quick: bool) -> list[Row]:
    """n = 100 and 500: processor seconds of one core, the bound, the hold-out."""
    plan_season(*big_instance(20, 100, 0.5, 1, fixed=True), seed=1, bound=False)
    found: list[Row] = []
    for fixed in (False, True):
        what = "fixed costs" if fixed else "no fixed costs"
        seeds = range(1, 2 if quick else 4)
        plans, seconds = _plans(100, 2_000, seeds, fixed, bound=True)
        found += _figures(f"n = 100, {what}", plans, seconds, 8, 6 if fixed else 3)
        found += _beside(f"n = 100, {what}", plans)
    if quick:
        return found
    for fixed in (False, True):
        what = "fixed costs" if fixed else "no fixed costs"
        plans, seconds = _plans(500, 5_000, [1], fixed, bound=False)
        found += _figures(f"n = 500, {what}", plans, seconds, 45, None)
    return found


def _plans(
    n: int, horizon: float, seeds: Iterable[int], fixed: bool, bound: bool
) -> tuple[list[JointPlan], list[float]]:
    """Plans with all that is asked of them, and seconds of plans without bound and baselines."""
    plans, seconds = [], []
    for seed in seeds:
        season, market = big_instance(n, horizon, 0.5, seed, fixed)
        start = time.process_time()
        bare = plan_season(season, market, seed=seed, bound=False, baselines=False)
        seconds.append(time.process_time() - start)
        plans.append(plan_season(season, market, seed=seed, bound=True) if bound else bare)
    return plans, seconds


def _figures(
    what: str, plans: list[JointPlan], seconds: list[float], slowest: float, gap: float | None
) -> list[Row]:
    optimism = max(plan.optimism_pct for plan in plans)
    found = [
        at_most(f"{what}: slowest plan, processor seconds", max(seconds), slowest),
        at_most(f"{what}: in-sample over hold-out, worst of {len(plans)}, %", optimism, 0.5),
    ]
    if gap is not None:
        worst = max(plan.gap_pct for plan in plans)
        found.append(at_most(f"{what}: bound over hold-out, worst of {len(plans)}, %", worst, gap))
    return found


def _beside(what: str, plans: list[JointPlan]) -> list[Row]:
    """What simpler plans lose, percent of the joint plan's hold-out profit."""
    found = []
    for name in plans[0].baselines:
        lost = [-100 * p.baselines[name].difference.mean / p.holdout.mean for p in plans]
        half = [196 * p.baselines[name].difference.se / p.holdout.mean for p in plans]
        text = f"{np.mean(lost):.2f} +- {np.sqrt(np.mean(np.square(half)) / len(half)):.2f}"
        found.append(Row(f"{what}: {name} loses, %", text))
    return found
