"""P(improves) against what turned out: is 70 % said right seven times in ten?

Each simulated world has a shop of 4-6 products whose true rates come from a prior. The
analyst knows that prior, the shop and a limited record: counts of customers by first
choice, and where 10-60 customers of each product went when it was out. The prior is
conjugate (gamma, Dirichlet), so the posterior is exact and what is tested is the
machinery from posterior draws to the probability said: `simulate_scenarios` with two
replications per draw, and `summarise`. The question asked of a world is chosen by a
pilot on draws of its own, near a probability drawn uniformly, so that all of 0 .. 1 is
said; nothing but the record decides on it, so the posterior still holds given the
question. The truth is the sign of the expected difference under the true rates,
replayed in growing numbers until it is clear.

Plans of a season are compared likewise, on `draw_seasons`: two random changes of one buy.
And the value of learning a product's rates: how much of what 3,000
posterior draws find do 100 find, for the plans that single draws would choose?
"""

from __future__ import annotations

import multiprocessing
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, logit, ndtr

from bench import Row, at_least, between
from retail_assets.models.assortment.ascent import ascend
from retail_assets.models.assortment.customers import draw_seasons
from retail_assets.models.assortment.scenario_rules import (
    ChangeCapacity,
    DropProducts,
    Scenario,
    capacity_under,
)
from retail_assets.models.assortment.scenarios import ScenarioResult, simulate_scenarios
from retail_assets.models.assortment.season import Market, Season
from retail_assets.models.assortment.shop import Shop
from retail_assets.models.assortment.starts import pooling_start
from retail_assets.models.assortment.uncertainty import (
    plans_of_draws,
    profit_by_draw,
    value_of_learning,
)
from retail_assets.models.assortment.unit_differences import evaluate
from retail_assets.models.assortment.verdicts import expected_difference, summarise
from retail_assets.models.choice.markov_chain import draw_customers
from retail_assets.models.choice.replay import Replenishment, replay
from retail_assets.models.panel import ChoiceModel, Rates

Floats = NDArray[np.float64]

PROCESSES = 2
HORIZON = 120
LEAD = 5
# Prior of the rates: customers per interval, and Dirichlet weights of the others, of leaving.
SHAPE, OTHERS, LEAVING = 2.0, 0.6, 1.0
PILOT_DRAWS, PILOT_CASES = 6, 24
# The truth's replications double from the first to the last until |z| exceeds CLEAR.
FIRST, LAST, CLEAR = 256, 8_192, 3.5
BINS = 10


@dataclass(frozen=True)
class World:
    """A shop, its true rates, what the analyst believes of them, and the question."""

    shop: Shop
    truth: Rates
    draws: tuple[Rates, ...]
    question: Scenario


@dataclass(frozen=True)
class Claim:
    """What was said of one world, and what is true of it."""

    said: float
    improves: bool
    covered: bool
    resolved: bool = True


@dataclass(frozen=True)
class Calibration:
    """Logistic regression of what turned out on logit(said)."""

    intercept: float
    slope: float
    intercept_se: float
    slope_se: float

    @property
    def intercept_p(self) -> float:
        """Two-sided, of a true intercept of zero."""
        return float(2 * ndtr(-abs(self.intercept / self.intercept_se)))


def rows(*, quick: bool) -> list[Row]:
    """The reliability of P(improves), and what learning a rate is found to be worth."""
    worlds, markets = (200, 100) if quick else (3_000, 1_500)
    # Spawned, not forked: numba and BLAS have threads of their own.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(PROCESSES, mp_context=context) as pool:
        start = time.perf_counter()
        claims = list(pool.map(claim, range(worlds), chunksize=10))
        seconds = time.perf_counter() - start
        plans = list(pool.map(plan_claim, range(markets), chunksize=10))
        found = np.array(list(pool.map(learning, range(2 if quick else 4))))
    return [
        # Of 200 worlds the slope has a standard error of .12: no verdict on that.
        *_table(f"P(improves), {worlds:,} worlds", claims, judged=not quick),
        Row("P(improves): seconds", seconds),
        *_table(f"one plan against another, {markets:,} markets", plans, judged=False),
        Row(
            "value of learning: share found by 100 draws",
            float(found[:, 0].sum() / found[:, 1].sum()),
        ),
    ]


def _table(what: str, claims: list[Claim], *, judged: bool) -> list[Row]:
    said = np.array([one.said for one in claims])
    improves = np.array([one.improves for one in claims])
    fit = calibrate(said, improves)
    reliability, worst = _reliability(said, improves)
    unresolved = float(np.mean([not one.resolved for one in claims]))
    covered = float(np.mean([one.covered for one in claims]))
    slope, intercept = f"{what}: calibration slope", "  p-value of intercept 0"
    return [
        between(slope, fit.slope, 0.85, 1.15) if judged else Row(slope, fit.slope),
        Row("  slope's standard error", fit.slope_se),
        Row("  intercept", f"{fit.intercept:+.3f} +- {fit.intercept_se:.3f}"),
        at_least(intercept, fit.intercept_p, 0.01) if judged else Row(intercept, fit.intercept_p),
        *reliability,
        Row("  largest error of a bin", worst),
        Row("  Brier score", float(np.mean((said - improves) ** 2))),
        Row("  Brier score expected if calibrated", float(np.mean(said * (1 - said)))),
        Row("  expected difference in its 95 % interval, share", covered),
        Row(f"  truths not clear at |z| {CLEAR:g}, share", unresolved),
    ]


def _reliability(said: Floats, improves: NDArray[np.bool_]) -> tuple[list[Row], float]:
    found, worst = [], 0.0
    which = np.minimum((said * BINS).astype(int), BINS - 1)
    for own in (which == b for b in range(BINS)):
        if not own.any():
            continue
        mean, actual, size = float(said[own].mean()), float(improves[own].mean()), int(own.sum())
        worst = max(worst, abs(mean - actual))
        found.append(Row(f"  said {mean:.3f} in {size:>3}: improved, share", f"{actual:.3f}"))
    return found, worst


def calibrate(said: Floats, improves: NDArray[np.bool_]) -> Calibration:
    """Maximum likelihood by Newton; probabilities are clipped to .005 .. .995."""
    x = np.column_stack([np.ones(len(said)), logit(np.clip(said, 0.005, 0.995))])
    beta = np.zeros(2)
    for _ in range(30):
        fitted = expit(x @ beta)
        information = (x * (fitted * (1 - fitted))[:, None]).T @ x
        beta = beta + np.linalg.solve(information, x.T @ (improves - fitted))
    error = np.sqrt(np.diag(np.linalg.inv(information)))
    return Calibration(float(beta[0]), float(beta[1]), float(error[0]), float(error[1]))


def claim(seed: int) -> Claim:
    """One world's probability and outcome."""
    world = draw_world(seed)
    found = summarise(answer(world, seed))[1]
    truth, clear = true_difference(world, seed)
    covered = found.diff_ci_low <= truth <= found.diff_ci_high
    return Claim(found.p_improves, truth > 0, covered, clear)


def answer(world: World, seed: int) -> ScenarioResult:
    """The what-if, two replications per draw."""
    size = 2 * len(world.draws)
    return simulate_scenarios(
        world.draws, [world.question], [world.shop], replications=size, seed=100_000 + seed
    )


def draw_world(seed: int, n_draws: int | None = None) -> World:
    """True rates from the prior, a record of them, its posterior, a shop, a question.

    The posterior has 60-100 draws unless told.
    """
    rng = np.random.default_rng((2026, seed))
    n = int(rng.integers(4, 7))
    model: ChoiceModel = ("one_step", "markov_chain")[seed % 2]
    rate_prior = np.full(n, SHAPE), np.full(n, SHAPE * n)
    row_prior = np.full((n, n + 1), OTHERS)
    row_prior[:, n] = LEAVING
    np.fill_diagonal(row_prior, 0.0)
    truth = _draw_rates(rng, *rate_prior, row_prior, model)

    observed = HORIZON * rng.uniform(0.3, 1.5)
    counts = rng.poisson(truth.arrival_rate[0] * observed)
    leaving = 1 - truth.substitution_rate.sum(axis=1, keepdims=True)
    went = rng.multinomial(rng.integers(10, 61, n), np.hstack([truth.substitution_rate, leaving]))
    beliefs = rate_prior[0] + counts, rate_prior[1] + observed, row_prior + went

    shop = _draw_shop(rng, beliefs[0] / beliefs[1])
    pilot = [_draw_rates(rng, *beliefs, model) for _ in range(PILOT_DRAWS)]
    size = n_draws or int(rng.integers(60, 101))
    draws = [_draw_rates(rng, *beliefs, model) for _ in range(size)]
    return World(shop, truth, tuple(draws), _choose_question(rng, shop, pilot, seed))


def _draw_rates(
    rng: np.random.Generator, shape: Floats, exposure: Floats, weights: Floats, model: ChoiceModel
) -> Rates:
    """One draw of gamma arrival rates and Dirichlet rows; the last column is leaving."""
    n = len(shape)
    parts = rng.standard_gamma(weights)
    matrix = parts[:, :n] / parts.sum(axis=1, keepdims=True)
    return Rates((rng.standard_gamma(shape) / exposure)[None], matrix, model)


def _draw_shop(rng: np.random.Generator, expected: Floats) -> Shop:
    """A single season, or periodic review; somewhat scarce, with random margins."""
    n, review = len(expected), int(rng.choice([0, 0, 20, 40]))
    price = rng.integers(500, 3_000, n)
    cycle = expected * (review + LEAD if review else HORIZON)
    return Shop(
        products=tuple("abcdef"[:n]),
        capacity=np.maximum(1, np.rint(cycle * rng.uniform(0.4, 1.2, n))),
        unit_price_cents=price,
        n_intervals=HORIZON,
        review=review,
        lead=LEAD,
        reorder_share=1.0,
        unit_cost_cents=price * rng.uniform(0.3, 0.8, n),
    )


def _choose_question(
    rng: np.random.Generator, shop: Shop, pilot: list[Rates], seed: int
) -> Scenario:
    """Of some what-ifs that of which the pilot says about a probability drawn uniformly."""
    cases: list[Scenario] = []
    for number in range(PILOT_CASES):
        product, other = (shop.products[j] for j in rng.permutation(len(shop.products))[:2])
        room = int(shop.capacity[shop.products.index(product)])
        more = int(rng.integers(1, 2 + room // 2))
        how = ("none", "equal", "to")[int(rng.integers(3))]
        receiver = other if how == "to" else None
        if number % 2:
            cases.append(ChangeCapacity(f"room {number}", product, add=more, taken_from=other))
        else:
            cases.append(DropProducts(f"drop {number}", (product,), how, receiver))
    result = simulate_scenarios(
        pilot, cases, [shop], replications=2 * PILOT_DRAWS, seed=200_000 + seed
    )
    said = np.array([row.p_improves for row in summarise(result)[1:]])
    return cases[int(np.argmin(np.abs(said - rng.uniform())))]


def true_difference(world: World, seed: int) -> tuple[float, bool]:
    """The expected difference under the true rates, and whether its sign is clear."""
    rng, found = np.random.default_rng((300_000, seed)), np.empty(0)
    while True:
        found = np.concatenate([found, true_differences(world, rng, len(found) or FIRST)])
        error = found.std(ddof=1) / np.sqrt(len(found))
        clear = bool(abs(found.mean()) > CLEAR * error)
        if clear or 2 * len(found) > LAST:
            return float(found.mean()), clear


def true_differences(world: World, rng: np.random.Generator, size: int) -> Floats:
    """(size,) differences to the base under the true rates, cents, as one long replay.

    Horizons follow each other, parted by a gap without customers in which every shelf is
    filled up: a thousand horizons in 50 ms, where a call for each takes 600.
    """
    shop, gap = world.shop, LEAD + 1
    period = HORIZON + gap
    weight = np.tile(np.repeat([1.0, 0.0], [HORIZON, gap]), size)
    people = draw_customers(
        rng,
        world.truth.arrival_rate[0],
        world.truth.substitution_rate,
        world.truth.choice_model,
        weight=weight,
    )
    every = int(shop.review[0]) or HORIZON
    review = np.append(np.arange(every, HORIZON, every), HORIZON)
    review = (np.arange(size)[:, None] * period + review).ravel()
    n = len(shop.products)
    indptr, review = np.arange(n + 1) * len(review), np.tile(review, n)
    margin = np.append(shop.unit_price_cents - shop.unit_cost_cents, 0)
    profit = []
    for room in (shop.capacity, capacity_under(world.question, shop.products, shop.capacity)):
        orders = Replenishment(indptr, review, review + LEAD, room, room)
        sold = replay(people, room, orders, n_intervals=len(weight), record=True).outcome
        profit.append(np.bincount(people.interval // period, margin[sold], size))
    return profit[1] - profit[0]


def plan_claim(seed: int) -> Claim:
    """One season's two plans, compared on seasons of all posterior draws."""
    season, market, truth = draw_market(seed, n=6, size=80.0, draws=100)
    rng = np.random.default_rng((400_000, seed))
    change = np.where(rng.random((2, 6)) < 0.5, rng.integers(-8, 9, (2, 6)), 0)
    plan, other = np.maximum(pooling_start(season, market.mean()) + change, 0)
    gains = []
    for known, size in ((market, 400), (truth, 4_000)):
        seasons = draw_seasons(known, size, seed)
        gain = evaluate(season, seasons, other).profit - evaluate(season, seasons, plan).profit
        gains.append(expected_difference(gain, seasons.draw))
    found, true_gain = gains[0], gains[1].mean
    return Claim(found.p_positive, true_gain > 0, found.low <= true_gain <= found.high)


def learning(seed: int) -> tuple[float, float]:
    """Value of learning, summed over products: by 100 draws on average, by 3,000."""
    season, market, _ = draw_market(seed, n=8, size=200.0, draws=3_000)
    plan = pooling_start(season, market.mean())
    plans = plans_of_draws(season, market, plan, lambda *a: ascend(*a).quantity, seed=seed)
    candidates = np.unique(plans.quantity, axis=0)
    profit = profit_by_draw(season, market, candidates, seed=seed, most=3_000, n_seasons=20).profit
    rates = np.concatenate([market.first_choice[:, :, None], market.substitution_rate], axis=2)
    few = [value_of_learning(profit[:, own::30], rates[own::30]).value.sum() for own in range(30)]
    return float(np.mean(few)), float(value_of_learning(profit, rates).value.sum())


def draw_market(seed: int, *, n: int, size: float, draws: int) -> tuple[Season, Market, Market]:
    """A season, what a record leaves to believe of its market, and the true market."""
    rng = np.random.default_rng((500_000, seed))
    products = tuple(f"p{j}" for j in range(n))
    cost = rng.integers(500, 2_000, n)
    price, salvage = cost * rng.uniform(1.5, 2.5, n), cost * rng.uniform(0.2, 0.7, n)
    season = Season(products, price, cost, salvage, fixed_cost=rng.uniform(0, 4_000, n))
    model: ChoiceModel = ("one_step", "markov_chain")[seed % 2]
    # The prior of a rate is the one the shops have, the record half a season and 20 customers.
    shape, exposure = np.full(n, SHAPE), np.full(n, SHAPE * n / size)
    rows = np.full((n, n + 1), OTHERS)
    rows[:, n] = LEAVING
    np.fill_diagonal(rows, 0.0)
    true = _draw_rates(rng, shape, exposure, rows, model)
    shape = shape + rng.poisson(true.arrival_rate[0] / 2)
    leaving = 1 - true.substitution_rate.sum(axis=1, keepdims=True)
    rows = rows + rng.multinomial(20, np.hstack([true.substitution_rate, leaving]))
    believed = [_draw_rates(rng, shape, exposure + 0.5, rows, model) for _ in range(draws)]
    market = Market(
        products,
        np.array([one.arrival_rate[0] for one in believed]),
        np.array([one.substitution_rate for one in believed]),
        model,
    )
    return season, market, Market(products, true.arrival_rate, true.substitution_rate, model)
