"""How much of a product to buy when only its own demand counts.

A customer comes to product ``j`` with a fixed chance, so its demand is Binomial(T, p_j)
given the number of customers ``T``, and a mixture over T and the posterior draws. The buy
is the smallest q with P(demand <= q) >= margin / (margin + overage): Snyder & Shen
(2nd ed.), eq. (4.27). All products at once; distribution functions are exact given T, and
T is taken at the middle of its strata.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import bdtr

from retail_assets.models.assortment.customers import customer_quantile
from retail_assets.models.assortment.season import Market, Season

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True)
class ThinnedDemand:
    """Demand of n products, each customer wanting one with a fixed chance.

    Parameters
    ----------
    customers : (S, 1) int64
        Equally likely numbers of customers.
    chance : (S, n) float64
        That a customer comes to the product.
    """

    customers: Ints
    chance: Floats

    @property
    def mean(self) -> Floats:
        """(n,) units."""
        mean: Floats = (self.customers * self.chance).mean(axis=0)
        return mean

    def at_most(self, units: Ints) -> Floats:
        """(n,) P(demand <= units)."""
        share: Floats = self._cdf(units, self.customers).mean(axis=0)
        return share

    def left_over(self, units: Ints) -> Floats:
        """(n,) E[(units - demand)+]; E[D; D <= q] = T p P(Binomial(T - 1, p) <= q - 1)."""
        covered = self._cdf(units, self.customers)
        sold = self._cdf(units - 1, self.customers - 1) * self.customers * self.chance
        left: Floats = (units * covered - sold).mean(axis=0)
        return left

    def _cdf(self, units: Ints, trials: Ints) -> Floats:
        # scipy's bdtr is nan where units exceed the trials.
        within = np.clip(units, 0, np.maximum(trials, 0))
        cdf = bdtr(within.astype(np.float64), np.maximum(trials, 0), self.chance)
        share: Floats = np.where(units < 0, 0.0, np.where(units >= trials, 1.0, cdf))
        return share


def thinned_demand(market: Market, wanted: Floats, n_strata: int = 128) -> ThinnedDemand:
    """Demand where product ``j`` can expect ``wanted[d, j]`` customers in draw ``d``.

    Parameters
    ----------
    market : Market
    wanted : (D, n) float64
        E.g. ``market.first_choice``, or what an assortment makes of it (`choice_rates`).
    n_strata : int
        Of the number of customers; at least one per draw.
    """
    strata = max(n_strata, market.n_draws)
    # The same strata for each draw would tie the draw to the season's size.
    draw = np.random.default_rng(0).permutation(np.arange(strata) % market.n_draws)
    expected = market.first_choice.sum(axis=1)
    level = (np.arange(strata) + 0.5) / strata
    customers = customer_quantile(expected[draw], market, level)
    chance = np.clip(wanted / expected[:, None], 0.0, 1.0)[draw]
    return ThinnedDemand(customers[:, None], chance)


@dataclass(frozen=True)
class Newsvendor:
    """The best buy of each product on its own.

    Parameters
    ----------
    quantity : (n,) int64
        Units, whole packs between smallest and largest; 0 where no unit has a margin.
    demand : (n,) float64
        Expected units.
    mismatch_cost : (n,) float64
        overage E[(q - D)+] + margin E[(D - q)+], cents.
    profit : (n,) float64
        margin E[D] - mismatch cost, before fixed costs, cents.
    """

    quantity: Ints
    demand: Floats
    mismatch_cost: Floats
    profit: Floats


def newsvendor(season: Season, demand: ThinnedDemand) -> Newsvendor:
    """Newsvendor quantities and what they are worth.

    Parameters
    ----------
    season : Season
    demand : ThinnedDemand

    Examples
    --------
    >>> season = Season(("a",), [500], [200], [100])
    >>> market = Market(("a",), [[50.0]], [[0.0]], "one_step", distribution="poisson")
    >>> newsvendor(season, thinned_demand(market, market.first_choice)).quantity
    array([55])
    """
    margin = np.maximum(season.margin, 0.0)
    ratio = margin / (margin + season.overage)
    low = np.full(season.n_products, -1, np.int64)
    high = np.full(season.n_products, int(demand.customers.max()), np.int64)
    while np.any(high - low > 1):
        middle = (low + high) // 2
        # 1e-12: a ratio that is a probability of the distribution must be met by it.
        enough = demand.at_most(middle) >= ratio - 1e-12
        high, low = np.where(enough, middle, high), np.where(enough, low, middle)
    quantity = _whole_packs(season, demand, np.where(margin > 0, high, 0))
    mean, left = demand.mean, demand.left_over(quantity)
    cost = season.overage * left + margin * (left - quantity + mean)
    return Newsvendor(quantity, mean, cost, season.margin * mean - cost)


def _whole_packs(season: Season, demand: ThinnedDemand, units: Ints) -> Ints:
    """The better of the packs below and above: the cost is convex in the quantity."""
    pack = season.pack_size
    least = -(-season.min_quantity // pack) * pack
    most = season.max_quantity // pack * pack
    below = np.clip(units // pack * pack, least, most)
    above = np.clip(below + pack, least, most)

    def worth(quantity: Ints) -> Floats:
        return season.margin * quantity - (season.margin + season.overage) * demand.left_over(
            quantity
        )

    better = np.where(worth(above) > worth(below), above, below)
    chosen: Ints = np.where(units > 0, better, 0)
    return chosen
