"""Simpler ways to plan a season, which a joint plan has to beat.

None of them simulates: each is an assortment and the newsvendor. All keep the season's
limits. ``chain`` and ``fluid_lp`` are also starts of the climb (`starts`).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from retail_assets.models.assortment.customers import Seasons
from retail_assets.models.assortment.limits import feasible
from retail_assets.models.assortment.newsvendor import newsvendor, thinned_demand
from retail_assets.models.assortment.season import Market, Season
from retail_assets.models.assortment.starts import stocked, within_limits
from retail_assets.models.assortment.static import best_assortment
from retail_assets.models.assortment.unit_differences import mean_profit
from retail_assets.models.choice.markov_chain import choice_rates
from retail_assets.models.choice.mnl import mnl_chain, mnl_choice
from retail_assets.models.choice.offer_sets import OfferSets, fit_mnl

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


def independent_newsvendor(season: Season, market: Market) -> Ints:
    """Every product for its own first choices, as if nobody ever substituted."""
    demand = thinned_demand(market, market.first_choice)
    return within_limits(season, lambda s: _allowed(s, newsvendor(s, demand).quantity))


def top_k(season: Season, market: Market, seasons: Seasons, most_tried: int = 24) -> Ints:
    """The k products of highest margin revenue, stocked for their pooled demand.

    The best k of ``most_tried``, by replay of ``seasons``.
    """
    worth = season.margin * market.first_choice.mean(axis=0)
    worth = np.where(season.must_carry, np.inf, np.where(season.excluded, -np.inf, worth))
    order = np.argsort(-worth, kind="stable")
    order = order[worth[order] > 0]
    best = feasible(season, np.zeros(season.n_products), season.margin)
    best_profit = mean_profit(season, seasons, best)
    for k in sorted({round(k) for k in np.geomspace(1, max(len(order), 1), most_tried)}):
        carried = np.zeros(season.n_products, bool)
        carried[order[:k]] = True
        quantity = feasible(season, stocked(season, market, carried), season.margin)
        profit = mean_profit(season, seasons, quantity)
        if profit > best_profit:
            best, best_profit = quantity, profit
    return best


def fitted_mnl(season: Season, market: Market, seed: int, n_sets: int = 100) -> Ints:
    """The optimum of the multinomial logit nearest to the market, stocked by its own demand.

    The logit is fitted to what 200,000 customers of the market would choose in expectation
    from ``n_sets`` random offer sets, of all sizes.
    """
    first = market.first_choice.mean(axis=0)
    matrix = market.substitution_rate.mean(axis=0)
    rng = np.random.default_rng(seed)
    n = season.n_products
    offered = rng.random((n_sets, n)) < rng.uniform(0.2, 0.9, (n_sets, 1))
    # Every product is seen at least once.
    offered[0] = True
    offered = np.unique(offered[offered.any(axis=1)], axis=0)
    share = choice_rates(first / first.sum(), matrix, offered, market.choice_model)
    share = np.column_stack([share, np.maximum(1 - share.sum(axis=1), 0.0)])
    chosen = np.rint(share * 200_000 / len(offered)).astype(np.int64)
    weights = fit_mnl(OfferSets(season.products, offered, chosen)).weights
    rate, onward = mnl_chain(weights)

    def plan(free: Season) -> Ints:
        revenue = np.where(free.excluded, -1.0, free.margin)
        carried = best_assortment(revenue, rate, onward).offered | free.must_carry
        wanted = mnl_choice(weights, carried) * market.first_choice.sum(axis=1, keepdims=True)
        return _allowed(free, newsvendor(free, thinned_demand(market, wanted)).quantity)

    return within_limits(season, plan)


def _allowed(season: Season, quantity: Ints) -> Ints:
    return np.where(season.excluded, 0, quantity)
