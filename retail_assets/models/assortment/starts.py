"""Where a climb starts: assortments from formulas, stocked by the newsvendor.

Three ideas of which products to carry, each followed by the newsvendor quantity of the
demand that the assortment leaves to a product:

- the optimal assortment on margins, as if nothing ever ran out;
- pooled demand (after El Housni et al. 2021): the same on margins less what a product's
  uncertain demand and its fixed cost take from them, per unit. Few products with pooled
  demand waste less than many with little each;
- the fluid relaxation, rounded.

Under one-step substitution the optimal assortment is hard; products are dropped from the
full one while that pays.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from retail_assets.models.assortment.limits import feasible
from retail_assets.models.assortment.newsvendor import newsvendor, thinned_demand
from retail_assets.models.assortment.season import NO_LIMIT, Market, Season
from retail_assets.models.assortment.static import best_assortment

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Mask = NDArray[np.bool_]


def pooled_demand(market: Market, carried: Mask) -> Floats:
    """Expected customers who come to each product where ``carried`` is on the shelf.

    Of a product that is not carried: those who would, if it were added. At the mean of
    the market's rates.

    Returns
    -------
    (n,) float64
    """
    first = market.first_choice.mean(axis=0)
    matrix = market.substitution_rate.mean(axis=0)
    out = ~carried
    if market.choice_model == "one_step":
        pooled: Floats = first + np.where(out, first, 0.0) @ matrix
        return pooled
    among = np.linalg.inv(np.eye(int(out.sum())) - matrix[np.ix_(out, out)])
    visits = first[out] @ among
    pooled = first.copy()
    pooled[carried] += visits @ matrix[np.ix_(out, carried)]
    # A walk may come back to a product that is out; it would have stopped the first time.
    pooled[out] = visits / np.diag(among)
    return pooled


def stocked(season: Season, market: Market, carried: Mask) -> Ints:
    """Newsvendor quantities of what an assortment leaves to its products, limits ignored."""
    wanted = _spread(market, np.where(carried, pooled_demand(market, carried), 0.0))
    quantity = newsvendor(season, thinned_demand(market, wanted)).quantity
    chosen: Ints = np.where(carried, quantity, 0)
    return chosen


def _spread(market: Market, wanted: Floats) -> Floats:
    """(D, n): every draw's customers come to the products in the same proportions."""
    customers = market.first_choice.sum(axis=1, keepdims=True)
    per_draw: Floats = customers / customers.mean() * wanted
    return per_draw


def chain_optimum(season: Season, market: Market) -> Mask:
    """(n,) the assortment that earns the most margin if nothing runs out."""
    return _optimal_stopping(season, market, season.margin)


def demand_pooling(season: Season, market: Market, *, rounds: int = 6, n_strata: int = 24) -> Mask:
    """(n,) the assortment on margins net of mismatch and fixed cost per expected unit.

    A fixed point, damped by half: the net margins decide the assortment, which decides
    the pooled demand, which decides the net margins.
    """
    choose = _dropping if market.choice_model == "one_step" else _optimal_stopping
    net, carried = season.margin, np.zeros(season.n_products, bool)
    for _ in range(rounds):
        before, carried = carried, choose(season, market, net)
        pooled = pooled_demand(market, carried)
        alone = newsvendor(season, thinned_demand(market, _spread(market, pooled), n_strata))
        target = (alone.profit - season.fixed_cost) / np.maximum(pooled, 1e-9)
        if np.array_equal(before, carried) and np.allclose(net, target, rtol=0.01, atol=1.0):
            break
        net = (net + target) / 2
    return carried


def _optimal_stopping(season: Season, market: Market, net: Floats) -> Mask:
    """Of the Markov chain; who meets a must-carry product stops there, wherever else pays more."""
    if market.choice_model == "one_step":
        return _dropping(season, market, net)
    matrix = market.substitution_rate.mean(axis=0)
    matrix = np.where(season.must_carry[:, None], 0.0, matrix)
    revenue = np.where(season.excluded, -1.0, net)
    first = market.first_choice.mean(axis=0)
    carried: Mask = best_assortment(revenue, first, matrix).offered | season.must_carry
    return carried


def _dropping(season: Season, market: Market, net: Floats) -> Mask:
    """One step: from all products, drop those whose customers are worth more elsewhere.

    A tenth of them at a time, for each drop changes what the others are worth.
    """
    first = market.first_choice.mean(axis=0)
    matrix = market.substitution_rate.mean(axis=0)
    carried = ~season.excluded
    while True:
        kept = pooled_demand(market, carried) * net
        elsewhere = first * (matrix @ np.where(carried, np.maximum(net, 0.0), 0.0))
        gain = np.where(carried & ~season.must_carry, kept - elsewhere, np.inf)
        worst = np.argsort(gain, kind="stable")[: max(1, int(carried.sum()) // 10)]
        worst = worst[gain[worst] < 0]
        if not len(worst):
            return carried
        carried[worst] = False


def within_limits(season: Season, plan: Callable[[Season], Ints]) -> Ints:
    """A formula's plan at the lowest tolls at which it keeps the season's limits.

    Where a limit is broken, a place is charged for, then money, then space, each at the
    lowest price that meets it (Lagrange multipliers; Hadley & Whitin 1963, §6-2 for the
    budget of a newsvendor); what is left over the limits after that is trimmed.

    Parameters
    ----------
    season : Season
    plan : callable
        Quantities of a season, which has no limits on money, space and places.
    """
    free = replace(
        season,
        budget=float("inf"),
        space_limit=float("inf"),
        max_products=NO_LIMIT,
        caps=(),
    )
    margin = np.maximum(season.margin, 0.0)
    tolls: list[tuple[str, Floats, float, Callable[[Ints], bool]]] = [
        (
            "fixed_cost",
            np.ones(season.n_products),
            float(np.max(margin * np.maximum(plan(free), 1))),
            lambda q: int((q > 0).sum()) <= season.max_products,
        ),
        (
            "unit_cost",
            season.unit_cost,
            float(np.max(margin / np.maximum(season.unit_cost, 1e-9))),
            lambda q: float(q @ season.unit_cost) <= season.budget,
        ),
        (
            "unit_cost",
            season.space,
            float(np.max(margin / np.maximum(season.space, 1e-9))),
            lambda q: float(q @ season.space) <= season.space_limit,
        ),
    ]
    quantity = plan(free)
    for name, per, high, met in tolls:
        if met(quantity):
            continue
        low, base = 0.0, getattr(free, name)
        for _ in range(7):
            middle = (low + high) / 2
            tried = plan(replace(free, **{name: base + middle * per}))
            low, high = (low, middle) if met(tried) else (middle, high)
        free = replace(free, **{name: base + high * per})
        quantity = plan(free)
    return feasible(season, quantity, season.margin)


def chain_start(season: Season, market: Market) -> Ints:
    """The chain optimum on margins, stocked, within the limits."""
    return within_limits(season, lambda s: stocked(s, market, chain_optimum(s, market)))


def pooling_start(season: Season, market: Market) -> Ints:
    """Demand pooling, stocked, within the limits."""
    return within_limits(season, lambda s: stocked(s, market, demand_pooling(s, market)))


def fluid_start(season: Season, relaxed_quantity: Floats) -> Ints:
    """The fluid relaxation's quantities, rounded to a plan."""
    return feasible(season, relaxed_quantity, season.margin)
