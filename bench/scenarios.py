"""What-if: replay speed, the white paper's four cases, and honest intervals.

The coverage exam. Each run simulates one history of ``paper_money`` and shows the
estimators its receipts only; steps 1 and 2 give posterior draws, and the what-if
replays the scenarios under them. Shelf and supply are known to the planner, as they
are to a retailer. The interval is of the *expected* difference over 200,000
intervals given what the receipts say about the rates; the truth it must cover is
that same expectation under the true rates, from 400 replications.
"""

from __future__ import annotations

import itertools
import multiprocessing
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from typing import Any

import numpy as np

from bench import Row, at_least, between
from bench.plain_replay import plain_replay, plain_season
from retail_assets.models.assortment.scenario_rules import DropProducts
from retail_assets.models.assortment.scenarios import ScenarioResult, simulate_scenarios
from retail_assets.models.assortment.shop import Shop
from retail_assets.models.assortment.verdicts import summarise
from retail_assets.models.choice.markov_chain import draw_customers, ranked_lists
from retail_assets.models.choice.replay import Customers, Replenishment, replay, replay_seasons
from retail_assets.models.panel import Rates
from retail_assets.simulator import frozen_truth, panel_of, simulate

CASES = (
    DropProducts("drop b", ("b",)),
    DropProducts("drop b, capacity to a", ("b",), "to", "a"),
    DropProducts("drop b, capacity equally", ("b",), "equal", "a"),
)
PUBLISHED = ("drop_b", "to_a", "equal")
# The preset's unit revenues have three decimals: money below is in tenths of a cent.
SCALE = 1000
PROCESSES = 2
# Two per posterior draw.
REPLICATIONS = 120


def run(*, quick: bool, large: bool) -> list[Row]:
    """The bench's table; ``large`` has nothing more to add."""
    rows = _replay_speed(quick)
    rows += _horizon_speed(quick)
    rows += _published_cases(10 if quick else 50)
    return rows + _coverage(6 if quick else 50)


def _best(work: Callable[[], Any], times: int = 5) -> float:
    best = float("inf")
    for _ in range(times):
        start = time.perf_counter()
        work()
        best = min(best, time.perf_counter() - start)
    return best


def _replay_speed(quick: bool) -> list[Row]:
    """Single seasons: n = 20 products, lists of 8, 1,000 customers each."""
    n, length, size = 20, 8, 1_000
    seasons, plain_seasons = (500, 50) if quick else (5_000, 500)
    rng = np.random.default_rng(1)
    rate = rng.gamma(1.0, 1.0, n)
    matrix = rng.dirichlet(np.full(n + 1, 0.5), n)[:, :n]
    np.fill_diagonal(matrix, 0.0)
    lists = ranked_lists(rng, rate, matrix, "markov_chain", size * seasons, length)
    people = Customers(
        np.zeros(len(lists.choices)), lists.choices, np.ones(len(lists.choices), np.int16)
    )
    stock = np.maximum(1, np.rint(0.8 * size * rate / rate.sum())).astype(np.int64)
    indptr = np.arange(0, len(people) + 1, size)
    sold = replay_seasons(people, indptr, stock).sold_units
    fast = len(people) / _best(lambda: replay_seasons(people, indptr, stock))

    wishes = [lists.choices[a:b].tolist() for a, b in itertools.pairwise(indptr[:plain_seasons])]
    start = time.perf_counter()
    plain = [plain_season(own, stock.tolist()) for own in wishes]
    slow = size * len(wishes) / (time.perf_counter() - start)
    equal = sum(a == b.tolist() for a, b in zip(plain, sold, strict=False))
    return [
        at_least("replay, one core: M customers/s", fast / 1e6, 100),
        Row("plain Python loop, same run: M customers/s", slow / 1e6),
        Row("replay over plain Python", fast / slow),
        between("seasons equal to the plain loop, share", equal / len(wishes), 1.0, 1.0),
    ]


def _horizon_speed(quick: bool) -> list[Row]:
    """The white paper's horizon with orders, drawn and replayed; equal to the twin."""
    truth = frozen_truth()["paper_money"]
    horizon, capacity = 20_000 if quick else 200_000, np.array(truth["capacity"])
    rng = np.random.default_rng(1)
    rate, matrix = np.array(truth["rates"]), np.array(truth["alpha"])
    shop = _shop(horizon)
    indptr, review, arrival = shop.draw_orders(rng)
    orders = Replenishment(indptr, review, arrival, capacity, capacity // 2)

    def draw() -> Customers:
        return draw_customers(rng, rate, matrix, "one_step", n_intervals=horizon)

    people = draw()
    ours = replay(people, capacity, orders, n_intervals=horizon, record=True)
    reviews = [
        dict(zip(review[a:b].tolist(), arrival[a:b].tolist(), strict=True))
        for a, b in itertools.pairwise(indptr)
    ]
    arguments = (people.interval.tolist(), people.choices.tolist(), people.units.tolist())
    levels = (capacity.tolist(), (capacity // 2).tolist())
    start = time.perf_counter()
    twin = plain_replay(*arguments, capacity.tolist(), horizon, reviews, *levels)
    plain_seconds = time.perf_counter() - start
    same = ours.outcome.tolist() == twin["outcome"]
    return [
        Row(f"draw {len(people):,} customers: ms", 1e3 * _best(draw)),
        Row(
            f"replay them over {horizon:,} intervals with orders: ms",
            1e3 * _best(lambda: replay(people, capacity, orders, n_intervals=horizon)),
        ),
        Row("the same in plain Python: ms", 1e3 * plain_seconds),
        between("its outcomes equal, customer by customer", float(same), 1.0, 1.0),
    ]


def _shop(n_intervals: int) -> Shop:
    truth = frozen_truth()["paper_money"]
    return Shop(
        products=tuple(truth["products"]),
        capacity=np.array(truth["capacity"]),
        unit_price_cents=np.rint(np.array(truth["unit_revenue"]) * SCALE),
        n_intervals=n_intervals,
        review=truth["review"],
        lead=truth["lead"],
        reorder_share=0.5,
    )


def _true_rates() -> Rates:
    truth = frozen_truth()["paper_money"]
    return Rates(np.array([truth["rates"]]), np.array(truth["alpha"]), "one_step")


def _simulate(draws: list[Rates], replications: int, seed: int) -> ScenarioResult:
    shop = _shop(frozen_truth()["paper_money"]["intervals"])
    return simulate_scenarios(draws, CASES, [shop], replications=replications, seed=seed)


def _published_cases(runs: int) -> list[Row]:
    """Tables 3-6: the rates are known, so the intervals are Monte Carlo error alone."""
    published = frozen_truth()["paper_money"]["published"]
    result = _simulate([_true_rates()], runs, seed=2026)
    of_b = result.product_mean["revenue_cents"][0, 1] / SCALE
    half = 1.96 * result.product_se["revenue_cents"][0, 1] / SCALE
    rows = [
        Row(f"revenue of b (paper: {published['revenue_of_b']:,})", f"{of_b:,.0f} +- {half:,.0f}"),
        Row("base out of stock, share (paper: 0.191)", float(result.stockout_share[0].mean())),
    ]
    for summary, name in zip(summarise(result)[1:], PUBLISHED, strict=True):
        half = (summary.diff_ci_high - summary.diff_ci_low) / 2 / SCALE
        diff = summary.diff_mean / SCALE
        ratio = published[name] / published["revenue_of_b"]
        rows += [
            Row(
                f"{summary.scenario} (paper: {published[name]:+,})", f"{diff:+,.0f} +- {half:,.0f}"
            ),
            between(
                f"{summary.scenario}, over revenue of b (paper: {ratio:+.3f})",
                diff / of_b,
                ratio - 0.05,
                ratio + 0.05,
            ),
            at_least(
                f"{summary.scenario}, variance without common customers / with",
                summary.crn_variance_ratio,
                1.0,
            ),
        ]
    return rows


def estimate_from_receipts(seed: int) -> list[Rates]:
    """One history's posterior draws, from what its tills show."""
    # Heavy imports stay in the workers.
    from retail_assets.models.stockouts.joint import fit_status
    from retail_assets.models.stockouts.joint_paths import JointPaths
    from retail_assets.models.substitution.levels import LevelDraws
    from retail_assets.models.substitution.posterior import fit_posterior

    panel = panel_of(simulate("paper_money", seed))
    status = fit_status(panel, seed=seed)
    posterior = fit_posterior(
        panel,
        JointPaths(status),
        status.weight,
        seed=seed,
        n_draws=REPLICATIONS // 2,
        redraw_level=LevelDraws(panel, [store.level for store in status.stores]),
    )
    return [posterior.rates(draw) for draw in range(posterior.n_draws)]


def _one_run(seed: int) -> list[tuple[float, float, float]]:
    """(mean, low, high) of each case's expected difference."""
    draws = estimate_from_receipts(seed)
    summaries = summarise(_simulate(draws, replications=REPLICATIONS, seed=10_000 + seed))[1:]
    return [(s.diff_mean, s.diff_ci_low, s.diff_ci_high) for s in summaries]


def _true_differences(seed: int) -> list[float]:
    result = _simulate([_true_rates()], 200, seed)
    return [float(row.mean()) for row in result.diff_vs_base_cents[1:]]


def _coverage(runs: int) -> list[Row]:
    # Spawned, not forked: JAX has threads of its own.
    context = multiprocessing.get_context("spawn")
    start = time.perf_counter()
    with ProcessPoolExecutor(PROCESSES, mp_context=context) as pool:
        truth = np.mean(list(pool.map(_true_differences, range(777, 777 + PROCESSES))), axis=0)
        found = np.array(list(pool.map(_one_run, range(runs))))
    covered = (found[:, :, 1] <= truth) & (truth <= found[:, :, 2])
    rows = []
    for c, case in enumerate(CASES):
        mean, width = found[:, c, 0] / SCALE, (found[:, c, 2] - found[:, c, 1]) / SCALE
        rows += [
            Row(f"POS only, {case.name}: true expected difference", float(truth[c] / SCALE)),
            Row(f"POS only, {case.name}: mean estimate", f"{mean.mean():+,.0f}"),
            Row(f"POS only, {case.name}: mean half-width", float(width.mean() / 2)),
            Row(f"POS only, {case.name}: covered, share of runs", float(covered[:, c].mean())),
        ]
    rows.append(
        between(f"POS only, truth covered, {runs} runs x 3 cases", float(covered.mean()), 0.9, 0.98)
    )
    rows.append(Row("POS only, seconds per run", (time.perf_counter() - start) * PROCESSES / runs))
    return rows
