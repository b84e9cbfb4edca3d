"""Simulated seasons against an exact dynamic programme, and differences in one pass.

Standard errors. Seasons are stratified by their number of customers, one per stratum, so
the usual standard error counts the strata as chance and z would look too good. Rows use
`standard_error` (successive differences over the strata); its honesty is the spread of
z, which should be 1, and the usual formula's is printed beside it.

Brute force is given its best: 2n calls of the leanest compiled replay, which counts what
is left over and nothing else.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Literal, get_args

import numpy as np

from bench import Row, at_least, at_most
from bench.exact_season import expected_profit
from retail_assets.models.assortment.customers import draw_seasons
from retail_assets.models.assortment.season import Market, Season
from retail_assets.models.assortment.unit_differences import (
    evaluate,
    mean_profit,
    standard_error,
    unit_differences,
)
from retail_assets.models.panel import ChoiceModel

Distribution = Literal["lognormal", "negbin", "poisson"]
DISTRIBUTIONS: tuple[Distribution, ...] = get_args(Distribution)
MODELS: tuple[ChoiceModel, ...] = ("one_step", "markov_chain")


def rows(*, quick: bool) -> list[Row]:
    """Rows of the assortment bench; all 100 instances in either case."""
    return (
        _against_exact(500 if quick else 4_000)
        + _against_replays()
        + _speed(200 if quick else 2_000)
    )


def random_season(rng: np.random.Generator, n: int) -> Season:
    """Prices of 1 to 20, any cost below them, any salvage below that."""
    price = rng.uniform(1, 20, n)
    unit_cost = price * rng.uniform(0.2, 0.9, n)
    return Season(
        tuple(f"p{j}" for j in range(n)),
        price,
        unit_cost,
        salvage=unit_cost * rng.uniform(0, 0.9, n),
        fixed_cost=rng.uniform(0, 5, n),
    )


def random_market(
    rng: np.random.Generator,
    season: Season,
    mean: float,
    choice_model: ChoiceModel,
    distribution: Distribution = "lognormal",
    draws: int = 1,
) -> Market:
    """Uneven popularity; customers leave with the chance of one more product."""
    n = season.n_products
    level = mean * rng.uniform(0.8, 1.25, (draws, 1))
    matrix = rng.dirichlet(np.full(n + 1, 0.5), (draws, n))[:, :, :n]
    matrix[:, np.arange(n), np.arange(n)] = 0.0
    return Market(
        season.products,
        level * rng.dirichlet(np.ones(n), draws),
        matrix,
        choice_model,
        cv=rng.uniform(0.2, 0.8),
        distribution=distribution,
    )


def _against_exact(n_seasons: int, instances: int = 100) -> list[Row]:
    """2-5 products, 5-25 customers expected, all models and distributions, 1-2 draws."""
    rng = np.random.default_rng(11)
    z, usual = np.empty(instances), np.empty(instances)
    for i in range(instances):
        season = random_season(rng, int(rng.integers(2, 6)))
        market = random_market(
            rng,
            season,
            rng.uniform(6, 20),
            MODELS[i % 2],
            DISTRIBUTIONS[i % 3],
            draws=1 + i % 5 // 4,
        )
        # From nothing to about twice the first choices; something at least.
        wanted = market.first_choice.mean(axis=0)
        quantity = rng.integers(0, 2 * wanted + 2)
        quantity[np.argmax(wanted)] += quantity.sum() == 0
        value = evaluate(season, draw_seasons(market, n_seasons, seed=i), quantity)
        off = value.mean - expected_profit(season, market, quantity)
        z[i] = off / value.se
        usual[i] = off / (value.profit.std(ddof=1) / np.sqrt(n_seasons))
    return [
        at_most(
            f"simulator, max |z| to the exact DP, {instances} instances",
            float(np.abs(z).max()),
            3.5,
        ),
        at_most("simulator, share of instances with |z| > 3.5", float((np.abs(z) > 3.5).mean()), 0),
        Row("simulator, mean and sd of z", f"{z.mean():+.2f}, {z.std(ddof=1):.2f}"),
        Row("the same by the usual standard error: sd of z", float(usual.std(ddof=1))),
    ]


def _against_replays(instances: int = 100) -> list[Row]:
    """2-12 products, all of them, a unit more and a unit less, both choice models."""
    rng = np.random.default_rng(12)
    worst = 0.0
    for i in range(instances):
        season = random_season(rng, int(rng.integers(2, 13)))
        market = random_market(rng, season, 40.0, MODELS[i % 2])
        quantity = rng.integers(0, 8, season.n_products)
        seasons = draw_seasons(market, 20, seed=i)
        found = unit_differences(season, seasons, quantity)
        base = evaluate(season, seasons, quantity).mean
        worst = max(worst, abs(found.profit - base))
        for j in range(season.n_products):
            for change, ours in ((1, found.plus[j]), (-1, found.minus[j])):
                near = quantity.copy()
                near[j] += change
                if near[j] < 0:
                    worst = worst if ours == -np.inf else np.inf
                    continue
                # Fixed costs are left out of the differences.
                fixed = float(season.fixed_cost @ ((near > 0).astype(int) - (quantity > 0)))
                replayed = evaluate(season, seasons, near).mean - base + fixed
                worst = max(worst, abs(ours - replayed))
    return [
        at_most(
            f"one-pass differences, max error to replays, {instances} instances", float(worst), 1e-9
        ),
    ]


def _speed(n_seasons: int) -> list[Row]:
    """20 products, 1,000 customers a season, lists of 8, stock 0.8 of first choices."""
    rng = np.random.default_rng(13)
    season = random_season(rng, 20)
    market = random_market(rng, season, 1_000.0, "markov_chain")
    seasons = draw_seasons(market, n_seasons, seed=1, max_length=8)
    quantity = np.maximum(1, np.rint(0.8 * market.first_choice[0])).astype(np.int64)
    neighbours = [
        quantity + change * unit
        for unit in np.eye(season.n_products, dtype=np.int64)
        for change in (1, -1)
    ]

    def brute() -> None:
        for near in neighbours:
            mean_profit(season, seasons, near)

    def one_pass() -> None:
        unit_differences(season, seasons, quantity)

    # Turn by turn and as long as each other, so that a busy machine slows both.
    pairs = [(_seconds(one_pass, 20), _seconds(brute, 1)) for _ in range(7)]
    faster = float(np.median([slow / fast for fast, slow in pairs]))
    fast, slow = np.min(pairs, axis=0)
    customers = len(seasons.choices) / 1e6
    profit = evaluate(season, seasons, quantity).profit
    usual = profit.std(ddof=1) / np.sqrt(len(profit))
    return [
        at_least("one-pass differences over 2n replays, n = 20: times faster", faster, 15),
        Row("one-pass differences, one core: M customers/s", float(customers / fast)),
        Row("leanest replay, one core: M customers/s", float(customers * len(neighbours) / slow)),
        Row(
            "standard error of the mean profit there, usual over stratified",
            float(usual / standard_error(profit)),
        ),
    ]


def _seconds(work: Callable[[], None], times: int) -> float:
    """Per call, after one to warm up."""
    work()
    start = time.perf_counter()
    for _ in range(times):
        work()
    return (time.perf_counter() - start) / times
