"""The white paper's shelf divided by optimisation against its three cases by hand.

Plans and cases meet the same hold-out customers; the intervals are of differences.
Seconds are of CPU, one core.
"""

from __future__ import annotations

import itertools
import time
from functools import partial

import numpy as np
from numpy.typing import NDArray

from bench import Row, at_least, at_most
from bench.scenarios import CASES, PUBLISHED, SCALE, _shop, _true_rates
from retail_assets.models.assortment.capacity import compare_shelves, plan_capacity
from retail_assets.models.assortment.marginal_curves import divide, shelf_limits
from retail_assets.models.assortment.scenario_rules import capacity_under
from retail_assets.models.assortment.shop import Shop
from retail_assets.models.assortment.verdicts import expected_difference
from retail_assets.models.panel import Rates
from retail_assets.simulator import frozen_truth

Ints = NDArray[np.int64]

TARGET = 2.0
# Of customers that no plan was made on.
HOLDOUT_SEED = 99
DAYS, MINUTES_PER_DAY = 91, 600


def rows(*, quick: bool) -> list[Row]:
    """The capacity part of the assortment table."""
    table = _paper_store(10 if quick else 50, seeds=1 if quick else 3)
    table += _against_every_shelf(10 if quick else 60)
    for n in (15,) if quick else (5, 15, 40, 100):
        table += _larger(n)
    return table


def _paper_store(runs: int, seeds: int) -> list[Row]:
    """The plan of each search seed; the first one is the one compared."""
    truth = frozen_truth()["paper_money"]
    shop, rates = _shop(truth["intervals"]), _true_rates()
    plans, seconds = [], []
    for seed in range(1, 1 + seeds):
        start = time.process_time()
        plans.append(plan_capacity([rates], shop, seed=seed))
        seconds.append(time.process_time() - start)
    by_hand = [capacity_under(case, shop.products, shop.capacity) for case in CASES]
    shares = _by_first_choices(rates, int(shop.capacity.sum()))
    shelves = np.array([shop.capacity, shares, *by_hand, *(p.capacity_plan for p in plans)])
    met = compare_shelves([rates], shop, shelves, replications=runs, seed=HOLDOUT_SEED)
    gain = (met.goal - met.goal[0]) / SCALE
    best = 2 + int(gain[2 : 2 + len(CASES)].mean(axis=1).argmax())
    first = 2 + len(CASES)
    margin = expected_difference(gain[first] - TARGET * gain[best], met.posterior_draw)
    published = max(truth["published"][name] for name in PUBLISHED)
    plan = plans[0]
    table = [
        Row(f"best by hand: {CASES[best - 2].name} (paper: {published:+,})", _interval(gain[best])),
        Row("room in proportion to first choices", _interval(gain[1])),
        Row(f"the plan: {' '.join(map(str, plan.capacity_plan))}", _interval(gain[first])),
        at_least("the plan's gain / best by hand", gain[first].mean() / gain[best].mean(), TARGET),
        at_least("the plan's gain - 2 x best by hand, lower 95 % limit", margin.low, 0.0),
        at_least("the plan's gain / the paper's best case", gain[first].mean() / published, TARGET),
    ]
    if seeds > 1:
        others = gain[first:].mean(axis=1)
        table.append(Row(f"least gain of {seeds} search seeds", f"{others.min():+,.0f}"))
    return [
        *table,
        at_most("paper's store, 200,000 intervals: seconds", float(np.mean(seconds)), 60),
        Row("horizons replayed, and rounds", f"{plan.simulations:,}, {plan.rounds}"),
    ]


def _interval(gain: NDArray[np.float64]) -> str:
    found = expected_difference(gain, np.zeros(len(gain), np.int64))
    return f"{found.mean:+,.0f} +- {found.high - found.mean:,.0f}"


def _by_first_choices(rates: Rates, room: int) -> Ints:
    """Largest remainders."""
    exact = room * rates.arrival_rate[0] / rates.arrival_rate[0].sum()
    shelf = np.floor(exact).astype(np.int64)
    shelf[np.argsort(shelf - exact)[: room - shelf.sum()]] += 1
    return shelf


def _against_every_shelf(instances: int) -> list[Row]:
    """3 products, both choice models, a third of the shops with units of unlike space."""
    gaps, now = [], []
    for seed in range(instances):
        rates, shop, space = _small_world(seed)
        room = float(space @ shop.capacity)
        limits = shelf_limits(
            shop.products, space=space, room=room, keep=False, least=0, most=1_000
        )
        shelves = np.array(list(itertools.product(*[range(most + 1) for most in limits.most])))
        goal = compare_shelves([rates], shop, shelves, replications=2, seed=seed).goal.mean(axis=1)
        told = dict(zip(map(tuple, shelves.tolist()), goal.tolist(), strict=True))
        found = divide(partial(_told, told), shop.capacity, limits, shop.products)
        best = goal[shelves @ space <= room].max()
        gaps.append(1 - found.value / best)
        now.append(1 - told[tuple(shop.capacity.tolist())] / best)
    name = f"{instances} shops of 3 products"
    return [
        Row(f"{name}, today's shelf below the best of all, mean %", 100 * float(np.mean(now))),
        Row(f"{name}, plan below the best of all, mean %", 100 * float(np.mean(gaps))),
        at_most(f"{name}, plan below the best of all, max %", 100 * float(np.max(gaps)), 1.0),
        Row(f"{name}, exactly the best, share", float(np.mean(np.array(gaps) < 1e-12))),
    ]


def _told(told: dict[tuple[int, ...], float], shelf: Ints) -> float:
    return told[tuple(shelf.tolist())]


def _small_world(seed: int) -> tuple[Rates, Shop, NDArray[np.float64]]:
    rng, n = np.random.default_rng((seed, 5)), 3
    matrix = rng.dirichlet(np.full(n + 1, 0.6), n)[:, :n]
    np.fill_diagonal(matrix, 0)
    price = rng.integers(200, 1500, n)
    shop = Shop(
        products=("a", "b", "c"),
        capacity=rng.integers(1, 6, n),
        unit_price_cents=price,
        n_intervals=600,
        review=24,
        lead=rng.integers(0, 30, n),
        reorder_share=(0.5, 1.0)[seed // 2 % 2],
        unit_cost_cents=(price * rng.uniform(0.3, 0.8, n)).astype(int),
    )
    rates = Rates(rng.gamma(1.5, 0.06, (1, n)), matrix, "one_step" if seed % 2 else "markov_chain")
    return rates, shop, np.array([1.0, 1.5, 2.0]) if seed % 3 == 2 else np.ones(n)


def _larger(n: int) -> list[Row]:
    """A quarter of minutes, 300 customers a day, multi-step, 50 posterior draws, profit."""
    rng, horizon = np.random.default_rng(n), DAYS * MINUTES_PER_DAY
    rate = rng.gamma(1.0, 1.0, n)
    rate *= 0.5 / rate.sum()
    matrix = rng.dirichlet(np.full(n + 1, 0.3), n)[:, :n]
    np.fill_diagonal(matrix, 0)
    price = rng.integers(200, 1500, n)
    five_days = 5 * MINUTES_PER_DAY * rate
    shop = Shop(
        products=tuple(f"p{j}" for j in range(n)),
        capacity=np.maximum(1, rng.poisson(five_days * rng.uniform(0.5, 1.2, n))),
        unit_price_cents=price,
        n_intervals=horizon,
        review=3 * MINUTES_PER_DAY,
        lead=MINUTES_PER_DAY,
        lead_sd=np.full(n, 100.0),
        reorder_share=np.ones(n),
        unit_cost_cents=(price * rng.uniform(0.3, 0.8, n)).astype(int),
    )
    draws = [
        Rates(rate[None] * rng.gamma(100, 0.01, (1, n)), matrix, "markov_chain") for _ in range(50)
    ]
    start = time.process_time()
    plan = plan_capacity(draws, shop, space=rng.choice([1.0, 1.5, 2.0], n), seed=1)
    seconds = time.process_time() - start
    name = f"a quarter of minutes, {n} products"
    told = f"{seconds:.1f} s, {plan.simulations:,} horizons, {plan.rounds} rounds, {plan.verdict}"
    return [at_most(f"{name}: seconds", seconds, 60) if n <= 15 else Row(f"{name}", told)]
