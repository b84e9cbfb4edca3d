"""Orders: warehouse splits, service at the critical ratio, reorder points, size curves."""

from __future__ import annotations

import numpy as np
from scipy import stats
from scipy.optimize import linprog

from bench import Row, at_most, between
from retail_assets.models.inventory import policies
from retail_assets.models.inventory.allocation import split_over_warehouses
from retail_assets.models.inventory.demand import Demand, Stock, Traffic, rate_draws
from retail_assets.models.inventory.forecast import requirement_paths
from retail_assets.models.inventory.returns import Settlement
from retail_assets.models.inventory.sizes import size_curves

PATHS = 400
PRIOR = (5.4, 14.6)
SEED = 11


def order_rows(quick: bool) -> list[Row]:
    """The orders' part of the bench ``cold_start``."""
    rows = _splits()
    rows += _newsvendor_service(50_000 if quick else 200_000)
    rows += _reorder_service(300 if quick else 1_000)
    return rows + _size_curves()


def _splits() -> list[Row]:
    """Flow against one variable per style, warehouse and zone (scipy's HiGHS)."""
    worst = 0.0
    for seed in range(50):
        rng = np.random.default_rng((SEED, seed))
        styles, wares, zones = rng.integers(2, 15), rng.integers(2, 6), rng.integers(2, 7)
        need = rng.integers(0, 40, (styles, zones))
        room = rng.multinomial(int(need.sum() * 1.15) + 3, np.full(wares, 1 / wares))
        shape = (wares, zones) if seed % 2 else (styles, wares, zones)
        cost = rng.integers(1, 100, shape)
        index = np.arange(styles * wares * zones).reshape(styles, wares, zones)
        served = np.zeros((styles * zones, index.size))
        for row, (s, z) in enumerate(np.ndindex(styles, zones)):
            served[row, index[s, :, z]] = 1
        used = np.zeros((wares, index.size))
        for w in range(wares):
            used[w, index[:, w].ravel()] = 1
        prices = np.broadcast_to(cost, index.shape).ravel()
        optimum = linprog(prices, used, room, served, need.ravel(), method="highs").fun
        split = split_over_warehouses(need, cost, room)
        worst = max(worst, abs(split.cost_cents - optimum))
    return [
        at_most("warehouse split: largest gap to the full LP, 50 instances (cents)", worst, 1e-6)
    ]


def _newsvendor_service(styles: int) -> list[Row]:
    """CR 7/9, 850 trials to come: the posterior predictive against two plug-ins.

    Earlier prototypes: 244.7 against 283.0 at n = 0, 186.3 against 213.6 (naive 365.6) at
    10, 121.5 against 133.6 at 50; service .779-.790 against .604-.694.
    """
    rng = np.random.default_rng(SEED)
    under, over, ahead = 7.0, 2.0, 850
    ratio = under / (under + over)
    rows = []
    for n in (0, 10, 50):
        p = rng.beta(*PRIOR, styles)
        k, demand = rng.binomial(n, p), rng.binomial(ahead, p)
        hits = np.arange(n + 1)
        a, b = PRIOR[0] + hits, PRIOR[1] + n - hits
        # A hundred sets of draws for each count: one set's quantile is 2 % off by chance.
        sets = rate_draws(np.tile(a, 100), np.tile(b, 100), None, PATHS, seed=n)
        sampled = policies.newsvendor_sample(over, under, rng.binomial(ahead, sets)).level
        levels = {
            "predictive": stats.betabinom.ppf(ratio, ahead, a, b),
            "plug-in mean": stats.binom.ppf(ratio, ahead, a / (a + b)),
        }
        if n:
            levels["naive k/n"] = stats.binom.ppf(ratio, ahead, hits / n)
        orders = {name: by_hits[k] for name, by_hits in levels.items()}
        drawn = rng.integers(0, 100, styles)
        orders["predictive, 400 draws"] = sampled.reshape(100, n + 1)[drawn, k]
        for name, level in orders.items():
            cost = np.maximum(level - demand, 0) * over + np.maximum(demand - level, 0) * under
            service = float((demand <= level).mean())
            metric = f"order-up-to service at CR {ratio:.3f}, n = {n}, {name}"
            low, high = ratio - 0.015, ratio + 0.015
            held = "predictive" in name
            rows.append(between(metric, service, low, high) if held else Row(metric, service))
            rows.append(Row("  cost per style", float(cost.mean())))
    return rows


def _reorder_service(styles: int) -> list[Row]:
    """Cycle service .95: lead time 4 (1) weeks, p after n trials; formula against paths."""
    rng = np.random.default_rng(SEED)
    clients, lead_mean, lead_sd, target, futures = 50.0, 4.0, 1.0, 0.95, 200
    rows = []
    for n in (10, 100):
        p = rng.beta(*PRIOR, styles)
        k = rng.binomial(n, p)
        a, b = PRIOR[0] + k, PRIOR[1] + n - k
        mean, variance = a / (a + b), stats.beta.var(a, b)
        weekly, sd = clients * mean, np.sqrt(clients * mean)
        formulas = {
            "no lead-time variance, no p variance": (0.0, 0.0),
            "lead-time variance only": (lead_sd, 0.0),
            "formula": (lead_sd, variance),
        }
        shape = (lead_mean / lead_sd) ** 2
        time_to = rng.gamma(shape, lead_mean / shape, (styles, futures))
        weeks_to = np.floor(time_to + rng.random(time_to.shape))
        demand = rng.poisson(clients * p[:, None] * (weeks_to + 1.0))
        points = {
            name: policies.reorder_point_normal(
                target, weekly, sd, lead_mean + 1.0, s, volume=clients, p_variance=v
            )
            for name, (s, v) in formulas.items()
        }
        need = requirement_paths(
            Stock.of(np.zeros(styles, int), lead_weeks=lead_mean, lead_weeks_sd=lead_sd),
            Demand.of(
                np.arange(styles),
                Traffic.of(np.full((styles, 14), clients)),
                rate_draws(a, b, None, 1_000, seed=n),
            ),
            Settlement.sold_at_once(styles, 1_000),
            seed=4,
        )
        points["quantile of paths"] = policies.newsvendor_sample(
            1.0 - target, target, need.until_next + need.lost
        ).level
        for name, point in points.items():
            service = float((demand <= point[:, None]).mean())
            metric = f"reorder point, service at .95, n = {n}, {name}"
            held = name == "quantile of paths"
            rows.append(between(metric, service, 0.935, 0.965) if held else Row(metric, service))
    return rows


def _size_curves() -> list[Row]:
    """Total-variation error of a style's curve; the concentration is estimated."""
    rng = np.random.default_rng(SEED)
    curve, rows = np.array([0.08, 0.22, 0.32, 0.24, 0.1, 0.04]), []
    for units in (10, 40, 200):
        share = rng.dirichlet(curve * 30, 400)
        counts = np.array([rng.multinomial(units, s) for s in share])
        curves = size_curves(counts)
        guesses = (
            curves.share,
            counts / units,
            np.broadcast_to(curves.category_share, share.shape),
        )
        error = [float(np.abs(g - share).sum(axis=1).mean() / 2) for g in guesses]
        metric = f"size curve error at {units} units, over the better of raw and category"
        rows.append(at_most(metric, error[0] / min(error[1:]), 1.0))
        rows.append(Row("  shrunk / raw / category", " / ".join(f"{e:.4f}" for e in error)))
    return rows
