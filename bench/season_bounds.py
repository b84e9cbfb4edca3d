"""Upper bounds on a season's profit: valid on tiny seasons, quick on large ones."""

from __future__ import annotations

import time

import numpy as np

from bench import Row, between
from bench.exact_season import best_plan
from retail_assets.models.assortment.bounds import upper_bound
from retail_assets.models.assortment.season import Market, Season
from retail_assets.models.panel import ChoiceModel

SUBSTITUTES = 20
TINY = 100


def big_instance(
    n: int, horizon: float, cv: float, seed: int, fixed: bool
) -> tuple[Season, Market]:
    """A season of ``n`` products and ``horizon`` expected customers, one posterior draw.

    Popularity is Zipf (1.1), shuffled; a product has 20 substitutes (below 100 products:
    all others), more likely popular ones, and .6-.8 of its disappointed customers try one
    (Markov chain). ``fixed`` costs are such that a good plan carries a third to a half of
    the products.
    """
    rng = np.random.default_rng(seed)
    popularity = np.arange(1, n + 1) ** -1.1
    first = rng.permutation(popularity / popularity.sum()) * horizon
    price = np.rint(2_000 * np.exp(rng.normal(0.0, 0.3, n)))
    cost = np.rint(price * rng.uniform(0.4, 0.7, n))
    salvage = np.rint(cost * rng.uniform(0.1, 0.4, n))
    # 10 % of the margin on the mean product's customers.
    fixed_cost = 0.1 * float(np.mean(price - cost)) * horizon / n if fixed else 0.0
    products = tuple(f"p{i}" for i in range(n))
    season = Season(products, price, cost, salvage, fixed_cost=np.array(round(fixed_cost)))
    matrix = _substitutes(rng, first / horizon)
    return season, Market(products, first, matrix, "markov_chain", cv)


def _substitutes(rng: np.random.Generator, popularity: np.ndarray) -> np.ndarray:
    n = len(popularity)
    count = SUBSTITUTES if n >= 100 else n - 1
    matrix = np.zeros((n, n))
    for i in range(n):
        others = np.delete(np.arange(n), i)
        chosen = rng.choice(others, count, replace=False)
        weight = popularity[chosen] ** 0.5 * rng.gamma(1.0, 1.0, count)
        matrix[i, chosen] = rng.uniform(0.6, 0.8) * weight / weight.sum()
    return matrix


def rows(*, quick: bool) -> list[Row]:
    """The bound against exact optima, and its processor seconds; gaps are in `joint_plans`."""
    count = 20 if quick else TINY
    gaps = np.array([_tiny_gap(seed) for seed in range(count)])
    found = [
        between(
            f"bound: not below the exact optimum, {count} tiny", float(np.mean(gaps >= 0)), 1, 1
        ),
        Row("bound: over the exact optimum, tiny, median %", 100 * float(np.median(gaps))),
    ]
    cases = [(100, 2_000, False), (100, 2_000, True)]
    if not quick:
        cases += [(500, 5_000, False), (500, 5_000, True)]
    for n, horizon, fixed in cases:
        season, market = big_instance(n, horizon, 0.5, 1, fixed)
        start = time.process_time()
        bound = upper_bound(season, market)
        what = f"bound: n = {n}, {'fixed costs' if fixed else 'no fixed costs'}"
        found.append(Row(f"{what}, {bound.n_scenarios} strata: s", time.process_time() - start))
        found.append(between(f"{what}, solver converged", float(bound.converged), 1, 1))
    return found


def _tiny_gap(seed: int) -> float:
    """Bound over exact optimum, a share of it: 3 products, about 10 customers."""
    rng = np.random.default_rng(seed)
    n, n_draws = 3, 1 + seed % 2
    price = rng.integers(100, 1_000, n).astype(np.float64)
    cost = np.rint(price * rng.uniform(0.3, 0.8, n))
    season = Season(
        tuple("abc"),
        price,
        cost,
        np.rint(cost * rng.uniform(0, 0.5, n)),
        rng.integers(0, 400, n).astype(np.float64),
    )
    matrix = rng.dirichlet(np.full(n + 1, 0.7), (n_draws, n))[..., :n]
    matrix[:, np.arange(n), np.arange(n)] = 0.0
    first = rng.dirichlet(np.ones(n), n_draws) * 10
    model: ChoiceModel = "markov_chain" if seed // 2 % 2 else "one_step"
    market = Market(season.products, first, matrix, model, cv=0.6)
    best = best_plan(season, market, 20).profit
    return (upper_bound(season, market).profit - best + 1e-6) / max(best, 1.0)
