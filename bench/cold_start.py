"""Priors and posteriors of styles: published values, coverage, log loss and speed.

    python -m bench cold_start            20 seeds a cell, about 7 CPU minutes
    python -m bench cold_start --quick    2 seeds; not for claims

The simulated groups: logit μ ~ N(-1, .5²), log σ ~ N(-3, .5²), n of a training style
geometric with mean 80, 20 new styles a group. Excess log loss is per trial, over that
of the true p; the *oracle* knows each group's α and β.
"""

from __future__ import annotations

import os
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import optimize
from scipy.special import expit, logit, psi

from bench import Row, at_least, at_most, between
from bench.cold_start_published import open_bandit_rows, published_rows
from retail_assets.models.cold_start.beta_binomial import GroupFits, fit_groups
from retail_assets.models.cold_start.counts import Trials, checked_trials
from retail_assets.models.cold_start.drift import best_forgetting, drift_check
from retail_assets.models.cold_start.hierarchy import Hierarchy, fit_hierarchy
from retail_assets.models.cold_start.posterior import checked_daily, style_posterior

FloatArray = NDArray[np.float64]
DATA = Path(__file__).parents[1].parent / "shared" / "data"
NEW_N = (0, 5, 20, 100)


def run(*, quick: bool, large: bool) -> list[Row]:
    """All figures; ``large`` changes nothing."""
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    seeds = range(2) if quick else range(20)
    rows = published_rows() + calibration_rows(seeds)
    rows += robustness_rows(seeds[:10]) + drift_rows(seeds[:6])
    rows += speed_rows(300 if quick else 3_000) + open_bandit_rows()
    try:
        from bench.cold_start_stock import stock_rows
    except ImportError:
        return rows
    return [*rows, *stock_rows(quick)]


# Calibration

Draw = Callable[[np.random.Generator, FloatArray, FloatArray, NDArray[np.int64]], FloatArray]


def _beta(
    rng: np.random.Generator, mu: FloatArray, sigma: FloatArray, group: NDArray[np.int64]
) -> FloatArray:
    return np.asarray(rng.beta((mu / sigma)[group], ((1 - mu) / sigma)[group]))


def _two_point(
    rng: np.random.Generator, mu: FloatArray, sigma: FloatArray, group: NDArray[np.int64]
) -> FloatArray:
    """Two kinds of styles with the Beta's mean and variance: 30 % of them good."""
    sd = np.sqrt(mu * (1 - mu) * sigma / (1 + sigma))
    high, low = mu + sd * np.sqrt(0.7 / 0.3), mu - sd * np.sqrt(0.3 / 0.7)
    good = rng.random(group.size) < 0.3
    return np.clip(np.where(good, high[group], low[group]), 0.005, 0.995)


def _logit_normal(
    rng: np.random.Generator, mu: FloatArray, sigma: FloatArray, group: NDArray[np.int64]
) -> FloatArray:
    sd = np.sqrt(sigma / (1 + sigma) / (mu * (1 - mu)))
    return np.asarray(expit(logit(mu)[group] + sd[group] * rng.normal(size=group.size)))


@dataclass(frozen=True)
class Shop:
    """Groups with a history, and new styles whose p is known."""

    trials: Trials
    group: NDArray[np.int64]
    p: FloatArray
    mu: FloatArray
    sigma: FloatArray
    rng: np.random.Generator


def simulate(groups: int, styles: int, seed: int, draw: Draw = _beta, new: int = 20) -> Shop:
    rng = np.random.default_rng([seed, groups, styles])
    mu, sigma = expit(rng.normal(-1, 0.5, groups)), np.exp(rng.normal(-3, 0.5, groups))
    group = np.repeat(np.arange(groups), styles)
    n = np.minimum(rng.geometric(1 / 80, group.size), 1_000)
    k = rng.binomial(n, draw(rng, mu, sigma, group))
    fresh = np.repeat(np.arange(groups), new)
    p = draw(rng, mu, sigma, fresh)
    return Shop(checked_trials(k, n, group, n_groups=groups), fresh, p, mu, sigma, rng)


def _loss(p: FloatArray, q: FloatArray) -> float:
    """Excess log loss per trial of forecasting q where p is true."""
    q = np.clip(q, 1e-6, 1 - 1e-6)
    return float(np.mean(p * np.log(p / q) + (1 - p) * np.log((1 - p) / (1 - q))))


def _cell(shop: Shop, fitted: Hierarchy, plug_in: GroupFits, n: int) -> dict[str, float]:
    """Coverage and losses of every method for new styles with n trials."""
    p, group = shop.p, shop.group
    k = shop.rng.binomial(n, p)
    found = style_posterior(fitted, group, k, np.full(p.size, n))
    theta = 1 / shop.sigma[group]
    with np.errstate(invalid="ignore"):
        # inf/inf where the maximum is binomial: the group's rate, whatever k.
        own = (plug_in.alpha[group] + k) / (plug_in.alpha[group] + plug_in.beta[group] + n)
    pooled = fit_groups(checked_trials(shop.trials.k, shop.trials.n))
    return {
        "covered": float(((found.lower <= p) & (p <= found.upper)).mean()),
        "loss": _loss(p, found.mean),
        "oracle": _loss(p, (shop.mu[group] * theta + k) / (theta + n)),
        "plug-in": _loss(p, np.where(np.isfinite(own), own, plug_in.mu[group])),
        "pooled": _loss(p, (pooled.alpha + k) / (pooled.alpha + pooled.beta + n)),
        "naive": _loss(p, k / n) if n else np.inf,
    }


def _table(
    groups: int, styles: int, seeds: range, draw: Draw = _beta
) -> dict[int, dict[str, float]]:
    """Mean over seeds of every cell, by n of the new styles."""
    cells: dict[int, list[dict[str, float]]] = {n: [] for n in NEW_N}
    for seed in seeds:
        shop = simulate(groups, styles, seed, draw)
        fitted, plug_in = fit_hierarchy(shop.trials), fit_groups(shop.trials)
        for n in NEW_N:
            cells[n].append(_cell(shop, fitted, plug_in, n))
    return {
        n: {key: float(np.mean([cell[key] for cell in found])) for key in found[0]}
        for n, found in cells.items()
    }


def calibration_rows(seeds: range) -> list[Row]:
    rows: list[Row] = []
    for groups, styles, low, high, worst in (
        (150, 3, 0.925, 0.965, None),
        (600, 3, 0.94, 0.96, None),
        (150, 10, 0.94, 0.96, 0.15),
        (150, 40, 0.94, 0.96, 0.05),
    ):
        table = _table(groups, styles, seeds if groups == 150 else seeds[: max(2, len(seeds) // 4)])
        for n, cell in table.items():
            name = f"{styles} styles x {groups} groups, n={n}"
            rows.append(between(f"coverage, {name}", cell["covered"], low, high))
            if groups != 150:
                continue
            excess = cell["loss"] / cell["oracle"] - 1
            label = f"log loss over oracle's, {name}"
            rows.append(Row(label, excess) if worst is None else at_most(label, excess, worst))
            others = min(cell[key] for key in ("plug-in", "pooled", "naive"))
            label = f"log loss / best of naive, pooled, plug-in, {name}"
            rows.append(Row(label, cell["loss"] / others, "< 1", cell["loss"] < others))
    few = [_table(5, 10, range(s, s + 1)) for s in seeds for s in range(3 * s, 3 * s + 3)]
    covered = float(np.mean([t[n]["covered"] for t in few for n in NEW_N]))
    return [*rows, Row("coverage, 10 styles x 5 groups, all n", covered)]


def robustness_rows(seeds: range) -> list[Row]:
    rows: list[Row] = []
    for label, draw in (("two-point p", _two_point), ("logit-normal p", _logit_normal)):
        for styles in (10, 40):
            for n, cell in _table(150, styles, seeds, draw).items():
                rows.append(
                    at_least(f"coverage, {label}, {styles} styles, n={n}", cell["covered"], 0.90)
                )
    return rows


def drift_rows(seeds: range) -> list[Row]:
    """logit p of 1,000 styles takes a daily step; is today's p in today's interval?"""
    rows: list[Row] = []
    for step in (0.0, 0.02, 0.05, 0.1):
        still: list[float] = []
        follow: list[float] = []
        alarms, factors = [], []
        for seed in seeds:
            shop = simulate(40, 40, 900 + seed, new=25)
            rng, size, days = shop.rng, shop.p.size, 112
            path = logit(shop.p)[:, None] + np.cumsum(step * rng.normal(size=(size, days)), axis=1)
            n = rng.poisson(1.5, path.shape)
            style, day = np.nonzero(n)
            k = rng.binomial(n, expit(path))
            daily = checked_daily(style, day, k[style, day], n[style, day], n_styles=size)
            fitted, today = fit_hierarchy(shop.trials), expit(path[:, -1])
            alarms.append(drift_check(daily).p_value < 0.05)
            factors.append(best_forgetting(daily, shop.group, fitted))
            for covered, factor in ((still, 1.0), (follow, factors[-1])):
                k_now, n_now = daily.totals(days - 1, factor)
                found = style_posterior(
                    fitted, shop.group, k_now, n_now, prior_factor=factor ** (days - 1)
                )
                covered.append(((found.lower <= today) & (today <= found.upper)).mean())
        name = f"p drifts {step:g} a day, 112 days"
        share, flagged = float(np.mean(still)), float(np.mean(alarms))
        fine = share >= 0.90 or flagged >= 0.9
        rows.append(Row(f"coverage, {name}", share, ">= .9 or flagged", fine))
        rows.append(
            Row(
                f"flagged by the drift check, {name}",
                flagged,
                "<= 0.1" if step == 0 else "",
                flagged <= 0.1 if step == 0 else None,
            )
        )
        rows.append(
            Row(
                f"coverage with the best forgetting ({np.mean(factors):.3f}), {name}",
                float(np.mean(follow)),
            )
        )
    return rows


# Speed


def speed_rows(groups: int) -> list[Row]:
    """20-60 styles a group, n geometric with mean 80, at most 1,000; CPU seconds, one thread."""
    rng = np.random.default_rng(0)
    group = np.repeat(np.arange(groups), rng.integers(20, 61, groups))
    mu, sigma = expit(rng.normal(-1, 0.5, groups)), np.exp(rng.normal(-3, 0.5, groups))
    n = np.minimum(rng.geometric(1 / 80, group.size), 1_000)
    trials = checked_trials(rng.binomial(n, _beta(rng, mu, sigma, group)), n, group)
    fit_groups(trials)
    began = time.process_time()
    ours = fit_groups(trials)
    speed = groups / (time.process_time() - began)
    few = min(groups, 300)
    began = time.process_time()
    theirs = np.array([_scipy_fit(trials.k[group == g], trials.n[group == g]) for g in range(few)])
    scipy_speed = few / (time.process_time() - began)
    ok = ours.status[:few] == "ok"
    gap = np.abs(ours.alpha[:few][ok] / theirs[ok, 0] - 1)
    began = time.process_time()
    fit_hierarchy(trials)
    hierarchy_speed = groups / (time.process_time() - began)
    shop = simulate(150, 10, 0)
    fitted = fit_hierarchy(shop.trials)
    k = shop.rng.binomial(20, shop.p)
    began = time.process_time()
    style_posterior(fitted, shop.group, k, np.full(k.size, 20), break_even=0.12)
    return [
        at_least("maximum likelihood, groups per CPU s", speed, 4_000),
        at_least("times scipy L-BFGS-B with gradient", speed / scipy_speed, 5),
        Row("median rel. difference of α to scipy's", float(np.median(gap))),
        Row("hierarchy, groups per CPU s", hierarchy_speed),
        Row("posteriors with interval, per CPU s", k.size / (time.process_time() - began)),
    ]


def _scipy_fit(k: FloatArray, n: FloatArray) -> FloatArray:
    """One group by ``scipy.optimize.minimize(..., jac=True)``, as the source does it."""
    from scipy.special import betaln

    def loss(x: FloatArray) -> tuple[float, FloatArray]:
        a, b = np.exp(x)
        value = betaln(k + a, n - k + b).sum() - k.size * betaln(a, b)
        both = k.size * psi(a + b) - psi(n + a + b).sum()
        in_a = psi(k + a).sum() - k.size * psi(a) + both
        in_b = psi(n - k + b).sum() - k.size * psi(b) + both
        return -value, -np.array([a * in_a, b * in_b])

    rate = np.clip(k.sum() / n.sum(), 0.01, 0.99)
    start = np.log([10 * rate, 10 * (1 - rate)])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = optimize.minimize(loss, start, jac=True, method="L-BFGS-B")
    return np.asarray(np.exp(found.x))
