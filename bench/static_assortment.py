"""Static assortments: exact against enumeration, and how large they may be.

The larger category of the programme: Zipf 1.1 popularity, 20 substitutes a product, 10-50 %
leave, lognormal revenues.
"""

from __future__ import annotations

import itertools
import time

import numpy as np
from numpy.typing import NDArray

from bench import Row, at_most, between
from retail_assets.models.assortment.constrained import best_constrained
from retail_assets.models.assortment.season import Cap
from retail_assets.models.assortment.static import best_assortment
from retail_assets.models.choice.markov_chain import choice_rates

Floats = NDArray[np.float64]
Category = tuple[Floats, Floats, Floats]


def rows(*, quick: bool) -> list[Row]:
    """The static part of the assortment table."""
    table = [_gap_to_enumeration(20 if quick else 100)]
    for leave in (0.3, 0.005):
        table += _large(leave, 1 if quick else 3)
    table += _programme_against_enumeration(10 if quick else 50)
    sizes = [(50, 10)] if quick else [(50, 10), (100, 10), (100, 25)]
    for n, most in sizes:
        table += [row for seed in (1, 2) for row in _larger_programme(n, most, seed)]
    return table


def _chain(rng: np.random.Generator, n: int, leave: Floats | float) -> Category:
    """Dense: every product substitutes every other."""
    matrix = rng.random((n, n)) ** 3
    np.fill_diagonal(matrix, 0.0)
    matrix *= ((1 - np.broadcast_to(leave, n)) / matrix.sum(axis=1))[:, None]
    return rng.lognormal(0.0, 0.7, n), rng.dirichlet(np.ones(n)), matrix


def _all_values(category: Category) -> tuple[NDArray[np.bool_], Floats]:
    revenue, rate, matrix = category
    sets = np.array(list(itertools.product([False, True], repeat=len(rate))))
    values = [
        choice_rates(rate, matrix, some, "markov_chain") @ revenue
        for some in np.array_split(sets, max(1, len(sets) // 512))
    ]
    return sets, np.concatenate(values)


def _gap_to_enumeration(instances: int) -> Row:
    """n = 2 to 12; every third leaves with 0.5 %, every fourth has negative revenues."""
    worst = 0.0
    for seed in range(instances):
        rng = np.random.default_rng(seed)
        n = 2 + seed % 11
        revenue, rate, matrix = _chain(rng, n, rng.uniform(0.05, 0.6, n) if seed % 3 else 0.005)
        revenue = revenue - (1.0 if seed % 4 == 0 else 0.0)
        best = float(_all_values((revenue, rate, matrix))[1].max())
        gap = abs(best_assortment(revenue, rate, matrix).value - best)
        worst = max(worst, gap / best if best > 0 else gap)
    return at_most(f"static, worst relative gap to enumeration, {instances} x", worst, 1e-12)


def _large(leave: float, runs: int) -> list[Row]:
    category = _chain(np.random.default_rng(1), 5_000, leave)
    seconds, work = float("inf"), float("inf")
    for _ in range(runs):
        wall, cpu = time.perf_counter(), time.process_time()
        plan = best_assortment(*category)
        seconds = min(seconds, time.perf_counter() - wall)
        work = min(work, time.process_time() - cpu)
    what = f"static, n = 5,000, {leave:.1%} leave"
    return [
        at_most(f"{what}: seconds", seconds, 3.0),
        Row(f"{what}: CPU seconds", work),
        Row(f"{what}: assortments evaluated", float(plan.iterations)),
        at_most(f"{what}: residual of v = max(r, rho v)", plan.residual, 1e-12),
    ]


def _programme_against_enumeration(instances: int) -> list[Row]:
    """n = 4 to 10, at most 3 products, one must-carry; odd ones with costs and a cap."""
    differ = bound_differs = swap_differs = 0
    for seed in range(instances):
        rng = np.random.default_rng(seed)
        n = 4 + seed % 7
        revenue, rate, matrix = category = _chain(rng, n, rng.uniform(0.01, 0.6, n))
        must = np.arange(n) == rng.integers(n)
        cost = rng.uniform(0, 0.1, n) * (seed % 2)
        brand = np.arange(n) < n // 2
        sets, values = _all_values(category)
        allowed = (sets.sum(1) <= 3) & sets[:, must].all(1)
        if seed % 2:
            allowed &= sets[:, brand].sum(1) <= 1
        best = float((values - sets @ cost)[allowed].max())
        ids = tuple(f"p{j}" for j in range(n))
        plans = [
            best_constrained(
                revenue,
                rate,
                matrix,
                products=ids,
                fixed_cost=cost,
                max_products=3,
                caps=(Cap("brand", ids[: n // 2], 1),) if seed % 2 else (),
                must_carry=must,
                time_limit=limit,
            )
            for limit in (30.0, 0.0)
        ]
        differ += abs(plans[0].value - best) > 1e-9 * abs(best)
        bound_differs += abs(plans[0].upper_bound - best) > 1e-6 * abs(best)
        swap_differs += abs(plans[1].value - best) > 1e-9 * abs(best)
    return [
        between(f"programme, plans unlike enumeration, {instances} x", float(differ), 0, 0),
        between("programme, bounds off its optimum by > 1e-6", float(bound_differs), 0, 0),
        Row("greedy + swap alone, plans unlike enumeration", float(swap_differs)),
    ]


def _larger_programme(n: int, most: int, seed: int) -> list[Row]:
    rng = np.random.default_rng(seed)
    rate = 1 / np.arange(1, n + 1) ** 1.1
    rng.shuffle(rate)
    matrix = np.zeros((n, n))
    for i in range(n):
        others = rng.choice(np.delete(np.arange(n), i), 20, replace=False)
        matrix[i, others] = rng.dirichlet(np.full(20, 0.5)) * rng.uniform(0.5, 0.9)
    revenue = rng.lognormal(0.0, 0.5, n)
    ids = tuple(f"p{j}" for j in range(n))
    found, spent = [], []
    for limit in (0.0, 30.0):
        start = time.perf_counter()
        found.append(
            best_constrained(
                revenue,
                rate / rate.sum(),
                matrix,
                products=ids,
                max_products=most,
                time_limit=limit,
            )
        )
        spent.append(time.perf_counter() - start)
    what = f"n = {n}, {most} products, seed {seed}"
    return [
        Row(f"greedy + swap, {what}: seconds", spent[0]),
        Row(
            f"greedy + swap, {what}: below the programme's plan",
            1 - found[0].value / found[1].value,
        ),
        Row(f"programme, {what}: seconds", spent[1]),
        Row(f"programme, {what}: gap", found[1].gap),
    ]
