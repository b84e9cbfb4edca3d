"""Newsvendor and base stock: one order, uncertain demand, two ways to be wrong.

The order S minimises h E[(S - D)+] + p E[(D - S)+]; it is the critical ratio's quantile
of demand, S* = F^-1(p / (h + p)), whatever the distribution. Equations of Snyder and
Shen, 2nd ed., chapter 4. For a new style the distribution is the posterior predictive:
with the mean of p plugged in, service at a critical ratio of .778 falls to .58-.60.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import integrate, stats

Floats = NDArray[np.float64]
_TAIL = 1e-14


@dataclass(frozen=True)
class BaseStock:
    """``level`` S, ``cost`` per period at it, ``critical_ratio`` p / (h + p)."""

    level: float
    cost: float
    critical_ratio: float


@dataclass(frozen=True)
class SampleLevels:
    """Newsvendor levels from draws of demand, one per row.

    Parameters
    ----------
    level : (S,) float64
        Smallest draw that covers the critical ratio.
    cost : (S,) float64
        h E[(S - D)+] + p E[(D - S)+].
    cycle_service : (S,) float64
        P(D <= S).
    short : (S,) float64
        E[(D - S)+].
    """

    level: Floats
    cost: Floats
    cycle_service: Floats
    short: Floats


def critical_ratio(holding_cost: ArrayLike, stockout_cost: ArrayLike) -> Floats:
    """p / (h + p): eq. (4.27)'s argument; overage first, underage second."""
    over, under = np.asarray(holding_cost, np.float64), np.asarray(stockout_cost, np.float64)
    if np.any(~(over > 0)) or np.any(~(under > 0)):
        raise ValueError("overage and underage cost must be positive; check cost, price, salvage")
    return np.asarray(under / (over + under))


def newsvendor_normal(
    holding_cost: float,
    stockout_cost: float,
    demand_mean: float,
    demand_sd: float,
    *,
    lead_time: float = 0.0,
) -> BaseStock:
    """S* = mu + z sigma, cost (h + p) phi(z) sigma: eq. (4.30), (4.37), (4.24).

    With a lead time the base stock covers L + 1 periods: example 4.4.
    """
    ratio = float(critical_ratio(holding_cost, stockout_cost))
    mean, sd = demand_mean * (lead_time + 1.0), demand_sd * np.sqrt(lead_time + 1.0)
    z = float(stats.norm.ppf(ratio))
    cost = (holding_cost + stockout_cost) * float(stats.norm.pdf(z)) * sd
    return BaseStock(float(mean + z * sd), float(cost), ratio)


def newsvendor_explicit(
    revenue: float,
    purchase_cost: float,
    salvage_value: float,
    demand_mean: float,
    demand_sd: float,
) -> BaseStock:
    """Profit form, alpha = (r - c) / (r - v): example 4.2; ``cost`` is -profit."""
    if not revenue > purchase_cost > salvage_value:
        raise ValueError("revenue > purchase cost > salvage value is needed")
    best = newsvendor_normal(
        purchase_cost - salvage_value, revenue - purchase_cost, demand_mean, demand_sd
    )
    profit = (revenue - purchase_cost) * demand_mean - best.cost
    return BaseStock(best.level, -profit, best.critical_ratio)


def newsvendor_discrete(holding_cost: float, stockout_cost: float, pmf: ArrayLike) -> BaseStock:
    """Smallest S with F(S) >= p / (h + p), for P(D = 0), P(D = 1), ...: eq. (4.27)."""
    mass = np.asarray(pmf, np.float64)
    ratio = float(critical_ratio(holding_cost, stockout_cost))
    level = int(np.searchsorted(np.cumsum(mass), ratio - 1e-12))
    if level >= len(mass):
        raise ValueError(f"probabilities add to {mass.sum():.6f}, below the ratio {ratio:.6f}")
    gap = level - np.arange(len(mass))
    cost = np.sum(mass * np.where(gap > 0, holding_cost * gap, -stockout_cost * gap))
    return BaseStock(float(level), float(cost), ratio)


def newsvendor_poisson(holding_cost: float, stockout_cost: float, demand_mean: float) -> BaseStock:
    """Poisson demand: smallest S with F(S) >= p / (h + p), cost eq. (4.6)."""
    ratio = float(critical_ratio(holding_cost, stockout_cost))
    level = float(stats.poisson.ppf(ratio, demand_mean))
    cost = poisson_cost(level, holding_cost, stockout_cost, demand_mean)
    return BaseStock(level, float(cost), ratio)


def poisson_cost(
    level: ArrayLike, holding_cost: float, stockout_cost: float, demand_mean: float
) -> Floats:
    """g(S) = h E[(S - D)+] + p E[(D - S)+] for Poisson demand, eq. (4.6)."""
    s = np.asarray(level, np.float64)
    over = (s - demand_mean) * stats.poisson.cdf(s, demand_mean)
    over = over + demand_mean * stats.poisson.pmf(s, demand_mean)
    return np.asarray(holding_cost * over + stockout_cost * (over - (s - demand_mean)))


def newsvendor_lognormal(
    holding_cost: float, stockout_cost: float, log_mean: float, log_sd: float
) -> BaseStock:
    """ln D ~ N(mu, sigma^2): S* = exp(mu + z sigma), cost by eq. (4.24)."""
    ratio = float(critical_ratio(holding_cost, stockout_cost))
    z = float(stats.norm.ppf(ratio))
    level = float(np.exp(log_mean + z * log_sd))
    mean = float(np.exp(log_mean + log_sd**2 / 2.0))
    # E[D; D <= S] = mean Phi(z - sigma), hence both losses in closed form.
    over = level * ratio - mean * float(stats.norm.cdf(z - log_sd))
    return BaseStock(level, holding_cost * over + stockout_cost * (over - level + mean), ratio)


def newsvendor_quantile(
    holding_cost: float, stockout_cost: float, quantile: Callable[[float], float]
) -> BaseStock:
    """Any distribution by its quantile function: eq. (4.27); cost by integrating it."""
    ratio = float(critical_ratio(holding_cost, stockout_cost))
    level = float(quantile(ratio))
    below, _ = integrate.quad(lambda u: level - quantile(u), _TAIL, ratio, limit=200)
    above, _ = integrate.quad(lambda u: quantile(u) - level, ratio, 1.0 - _TAIL, limit=200)
    return BaseStock(level, float(holding_cost * below + stockout_cost * above), ratio)


def newsvendor_sample(
    holding_cost: ArrayLike, stockout_cost: ArrayLike, draws: ArrayLike
) -> SampleLevels:
    """Draws (S, R) of demand, such as a posterior predictive: the ratio's order statistic.

    Rank CR x (R + 1), rounded up, is the one the next draw stays below with probability
    CR. Negative draws (units to spare) are allowed.
    """
    demand = np.sort(np.atleast_2d(np.asarray(draws, np.float64)), axis=1)
    rows, n = demand.shape
    over = np.broadcast_to(np.asarray(holding_cost, np.float64), (rows,))
    under = np.broadcast_to(np.asarray(stockout_cost, np.float64), (rows,))
    ratio = critical_ratio(over, under)
    rank = np.clip(np.ceil(ratio * (n + 1)).astype(np.int64) - 1, 0, n - 1)
    level = demand[np.arange(rows), rank]
    gap = level[:, None] - demand
    short = np.maximum(-gap, 0.0).mean(axis=1)
    cost = over * np.maximum(gap, 0.0).mean(axis=1) + under * short
    return SampleLevels(level, cost, (gap >= 0).mean(axis=1), short)


def beta_binomial_pmf(
    trials: int, alpha: ArrayLike, beta: ArrayLike, weight: ArrayLike | None = None
) -> Floats:
    """Posterior predictive P(D = 0 .. trials) of a Beta mixture, (trials + 1,)."""
    a, b = (np.atleast_1d(np.asarray(v, np.float64)) for v in (alpha, beta))
    w = np.full(len(a), 1.0 / len(a)) if weight is None else np.asarray(weight, np.float64)
    k = np.arange(trials + 1)[:, None]
    return np.asarray(stats.betabinom.pmf(k, trials, a, b) @ (w / w.sum()))
