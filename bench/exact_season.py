"""Exact expected profit of every buy of a small season, without simulating anybody.

Dynamic programme over (customers still to come, units on each shelf): the next one buys
``j`` with the probability that the absorbing chain (`choice_rates`, a linear solve per set
of products left) gives, so no ranked list is involved:

    V_0(q) = salvage . q
    V_t(q) = sum_j P_j(A(q)) (price_j + V_{t-1}(q - e_j)) + P_0(A(q)) V_{t-1}(q)

and a season is worth E[V_T(q)] - cost . q - fixed costs of what is carried, T being the
number of customers. One pass values all stock vectors up to ``top`` units each.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import lognorm, nbinom, poisson

from retail_assets.models.assortment.season import Market, Season
from retail_assets.models.choice.markov_chain import choice_rates

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

TAIL = 1e-10
"""Chance of more customers than the programme counts; they count as its last number."""


@dataclass(frozen=True)
class BestPlan:
    """The optimum among all buys of 0..top units each; the season's limits are ignored.

    ``at_bound`` tells that ``top`` may be too low: a product is bought ``top`` times.
    """

    quantity: Ints
    profit: float
    at_bound: bool


def best_plan(
    season: Season, market: Market, top: int | Sequence[int], pmf: Floats | None = None
) -> BestPlan:
    """The buy of highest expected profit, by valuing all of them."""
    value = season_values(season, market, top, pmf)
    best = np.unravel_index(int(np.argmax(value)), value.shape)
    quantity = np.array(best, np.int64)
    at_bound = bool((quantity == np.array(value.shape) - 1).any())
    return BestPlan(quantity, float(value[best]), at_bound)


def expected_profit(season: Season, market: Market, quantity: Ints) -> float:
    """Of one buy, cents; the posterior draws of the market are equally likely."""
    top = [int(units) for units in quantity]
    return float(season_values(season, market, top)[tuple(top)])


def season_values(
    season: Season, market: Market, top: int | Sequence[int], pmf: Floats | None = None
) -> Floats:
    """Expected profit of every stock vector, cents.

    Parameters
    ----------
    season : Season
    market : Market
    top : int or one per product
        Largest number of units.
    pmf : (Tmax + 1,) float64, optional
        Of the number of customers, the same for every draw. Default: each draw's own
        `customers_pmf`.

    Returns
    -------
    (top_0 + 1, ..., top_n + 1) float64
    """
    n = season.n_products
    box = tuple(int(most) + 1 for most in np.broadcast_to(top, n))
    units = np.indices(box)
    value = np.zeros(box)
    for which in range(market.n_draws):
        own = market.draw(which)
        count = customers_pmf(own) if pmf is None else pmf
        value += _sold_and_salvaged(season, own, units, count) / market.n_draws
    value -= np.tensordot(season.unit_cost, units, 1)
    value -= np.tensordot(season.fixed_cost, units > 0, 1)
    return value


def customers_pmf(market: Market) -> Floats:
    """(Tmax + 1,) chances of 0, 1, ... customers under the market's one draw.

    From distribution functions, where `customers.customer_quantile` has quantiles; a
    lognormal number is rounded, so it is ``t`` between ``t - 1/2`` and ``t + 1/2``.
    """
    mean = float(market.first_choice[0].sum())
    if market.distribution == "lognormal" and market.cv > 0:
        spread = np.sqrt(np.log1p(market.cv**2))
        number, half = lognorm(spread, scale=mean * np.exp(-(spread**2) / 2)), 0.5
    elif market.distribution == "negbin" and market.cv**2 * mean > 1:
        # Variance mean + mean^2 / shape = (cv mean)^2.
        shape = 1 / (market.cv**2 - 1 / mean)
        number, half = nbinom(shape, shape / (shape + mean)), 0.0
    elif market.distribution == "lognormal":
        return np.append(np.zeros(round(mean)), 1.0)
    else:
        number, half = poisson(mean), 0.0
    most = int(np.ceil(number.isf(TAIL)))
    below = number.cdf(np.arange(most) + half)
    chance: Floats = np.diff(below, prepend=0.0, append=1.0)
    return chance


def _sold_and_salvaged(season: Season, market: Market, units: Ints, pmf: Floats) -> Floats:
    """E[V_T(q)] for all q."""
    n, box = len(units), units.shape[1:]
    patterns = np.array(list(itertools.product([False, True], repeat=n)))
    first = market.first_choice[0] / market.first_choice[0].sum()
    buys = choice_rates(first, market.substitution_rate[0], patterns, market.choice_model)
    left = np.ravel_multi_index(tuple((units > 0).astype(np.int64)), (2,) * n)
    leaves, earns = (1 - buys.sum(axis=1))[left], (buys @ season.price)[left]
    some, one_less, share = [], [], []
    for j in range(n):
        others = (slice(None),) * j
        some.append((*others, slice(1, None)))
        one_less.append((*others, slice(None, -1)))
        share.append(np.ascontiguousarray(buys[:, j][left][some[j]]))
    value = np.tensordot(season.salvage, units, 1)
    expected = np.zeros(box)
    for chance in pmf[:-1]:
        expected += chance * value
        after = leaves * value + earns
        for j in range(n):
            after[some[j]] += share[j] * value[one_less[j]]
        value = after
    expected += pmf[-1] * value
    return expected
