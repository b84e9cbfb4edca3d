"""An upper bound on what any plan of a season can be expected to earn.

Why it holds. Given the draw and the number of customers T, the average flows of any plan
obey the linear program of `fluid`, whatever the order of arrival: units sold are at most
those bought, and who passes on from a product goes where the chain says. The program's
value is concave in T, so replacing T by its mean within a stratum can only raise it
(Jensen). Relaxed are chance within a season, whole packs and the degree to
which a product is carried. (El Housni et al. 2021 measure regret against a linear program
too.)

The program is solved by PDLP (Applegate et al. 2021), and the bound is read off its dual
solution over the box of the variables: by weak duality it holds for *any* dual solution,
however early the solver stopped. n = 500 with 8 strata took .7 processor seconds (to
1e-4); HiGHS took 38 to the optimum.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from ortools.pdlp import solve_log_pb2, solvers_pb2
from ortools.pdlp.python import pdlp
from scipy.special import ndtr
from scipy.stats import binom, nbinom, poisson

from retail_assets.models.assortment import fluid
from retail_assets.models.assortment.customers import customer_quantile
from retail_assets.models.assortment.season import (
    Market,
    Season,
    check_same_products,
    smallest_quantity,
)

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

STRATA = 16
"""Of the number of customers (CV .5): 8 lift the bound by .5 %, 16 by .06 %."""

_FEWEST_STRATA = 6
_USUAL_SIZE = 8_000
"""Products x scenarios at which strata are saved: n = 500 with 16 takes 2-5 s of one core."""
_USUAL_SCENARIOS = 96
"""Draws x strata at which strata are saved: 8 products and 12 draws took 4.6 s of one core with 16
strata and 1.6 s with 8, for the same bound to .04 %."""

_LARGEST_SIZE = 8_000
"""Products x scenarios solved at once; 15,000 against 4,000 lowered a bound by .2 %."""

_APART = 3
"""Edges into a product tied to it one by one; 6 lower the bound by .02-.1 %."""

_TOLERANCE = 1e-4
_FAR_TAIL = 1e-12
_MOST_COUNTS = 1_000_000
_SPLIT = 0.05


@dataclass(frozen=True)
class Bound:
    """An upper bound and the relaxed plan that comes with it.

    Parameters
    ----------
    profit : float
        Cents; no plan's expected profit is higher.
    relaxed_quantity : (n,) float64
        Units bought in the relaxation; a start for a planner.
    relaxed_carried : (n,) float64
        Degree to which each product is carried, 0 .. 1; 1 where being carried neither
        costs nor counts.
    budget_price, space_price : float
        What the bound would rise by with a cent more, or a unit of space more; nan
        where there is no such limit.
    method : str
    seconds : float
    n_scenarios : int
        Draws x strata.
    converged : bool
        The solver reached its tolerance; if not, the bound holds but is higher than
        need be.
    """

    profit: float
    relaxed_quantity: Floats
    relaxed_carried: Floats
    budget_price: float
    space_price: float
    method: str
    seconds: float
    n_scenarios: int
    converged: bool


@dataclass(frozen=True)
class _Solved:
    profit: float
    quantity: Floats
    carried: Floats
    prices: dict[str, float]
    converged: bool


def upper_bound(
    season: Season, market: Market, *, strata: int = STRATA, time_limit: float = 120.0
) -> Bound:
    """An upper bound on the expected profit of every feasible plan, in cents.

    Parameters
    ----------
    season : Season
    market : Market
        Either choice model, any number of draws. Many draws are solved in groups (13 of
        them at n = 100), which lets each group have a plan of its own: still a bound.
    strata : int
        Strata of the number of customers per draw, fewer in large programs, from 6 on.
    time_limit : float
        Seconds of solving, about.

    Returns
    -------
    Bound

    Raises
    ------
    ValueError
        Season and market of different products.

    Examples
    --------
    >>> season = Season(("a",), [300.0], [100.0], [0.0])
    >>> market = Market(("a",), [[50.0]], [[0.0]], "one_step", cv=0.0)
    >>> round(upper_bound(season, market).profit)
    10000
    """
    check_same_products(season, market)
    begin = time.perf_counter()
    n, n_draws = season.n_products, market.n_draws
    fixed = market.distribution == "lognormal" and market.cv == 0
    wished = 1 if fixed else strata
    usual = min(_USUAL_SIZE // (n * n_draws), _USUAL_SCENARIOS // n_draws)
    per_draw = min(wished, max(usual, _FEWEST_STRATA))
    n_groups = min(-(-n * n_draws * per_draw // _LARGEST_SIZE), n_draws)
    groups = np.array_split(np.arange(n_draws), n_groups)
    most = largest_useful(season, market)
    solved = [
        _solve_group(season, market, own, per_draw, most, time_limit / n_groups) for own in groups
    ]
    share = np.array([len(own) for own in groups]) / n_draws

    def mean(values: list[Floats] | list[float]) -> Floats:
        return np.asarray(share @ np.array(values))

    return Bound(
        profit=float(mean([one.profit for one in solved])),
        relaxed_quantity=mean([one.quantity for one in solved]),
        relaxed_carried=mean([one.carried for one in solved]),
        budget_price=float(mean([one.prices.get("budget", np.nan) for one in solved])),
        space_price=float(mean([one.prices.get("space", np.nan) for one in solved])),
        method="fluid" if not fluid.carrying_matters(season) else "fluid, tied by edges",
        seconds=time.perf_counter() - begin,
        n_scenarios=n_draws * per_draw,
        converged=all(one.converged for one in solved),
    )


def largest_useful(season: Season, market: Market) -> Floats:
    """(n,) units of each product that some best plan does not exceed.

    The m-th unit is sold only if m customers come by, and then earns at most price -
    salvage: what it takes from other sales stays on other shelves. In an empty shop W
    customers come by, in no shop more. So a unit with (price - salvage) P(W >= m) below
    the overage can be taken away, down to the smallest quantity. Of T customers each
    comes by with the same chance, so for any t, P(W >= m) <= P(T > t) +
    P(Binomial(t, chance) >= m); t and m take 95 and 5 % of what the ratio allows.

    Returns
    -------
    (n,) float64
        Whole packs, within smallest and largest quantity.
    """
    gain = season.price - season.salvage
    # A product sold below its salvage: a customer kept from it is worth that much.
    gain = gain - min(0.0, float(gain.min()))
    ratio = season.overage / np.maximum(gain, 1e-12)
    sold = ratio < 1
    level = np.where(sold, ratio, 0.5)
    useful = np.zeros(season.n_products)
    for draw in range(market.n_draws):
        mean = np.full(season.n_products, market.first_choice[draw].sum())
        size = customer_quantile(mean, market, 1 - (1 - _SPLIT) * level)
        hits = np.clip(fluid.flows_of(market, draw, 0).hits, 0.0, 1.0)
        useful = np.maximum(useful, binom.isf(_SPLIT * level, size, hits) + 1)
    packs = season.pack_size
    most = np.ceil(np.where(sold, useful, 0.0) / packs) * packs
    least = smallest_quantity(season)
    return np.clip(most, least, season.max_quantity // packs * packs).astype(np.float64)


def stratum_means(mean: float, market: Market, strata: int) -> Floats:
    """(K,) mean number of customers within K equally likely strata of one draw.

    Exact for the whole numbers of customers that `customer_quantile` gives, by
    E[T; T's quantile below u] = sum over m >= 0 of (u - P(T <= m))+.
    """
    # The 1e-12 beyond adds less than a millionth of a customer to a season of thousands.
    top = int(customer_quantile(np.array([mean]), market, np.array([1 - _FAR_TAIL]))[0])
    # Beyond a million counts, in blocks that are counted in full: a hair above.
    block = top // _MOST_COUNTS + 1
    below = _cdf(np.arange(0, top + 1, block), mean, market)
    edges = np.linspace(0.0, 1.0, strata + 1)
    reached = np.searchsorted(below, edges)
    total = np.concatenate([[0.0], np.cumsum(below)])[reached]
    means: Floats = np.diff(edges * reached - total) * block * strata
    return means


def _cdf(count: Ints, mean: float, market: Market) -> Floats:
    """P(T <= count), the inverse of `customer_quantile`."""
    if market.distribution == "poisson":
        return np.asarray(poisson.cdf(count, mean))
    if market.distribution == "negbin":
        shape = 1 / max(market.cv**2 - 1 / max(mean, 1e-12), 1e-9)
        return np.asarray(nbinom.cdf(count, shape, shape / (shape + mean)))
    spread = np.sqrt(np.log1p(market.cv**2))
    if spread == 0:
        return np.asarray(count >= np.rint(mean), np.float64)
    return np.asarray(ndtr((np.log((count + 0.5) / mean) + spread**2 / 2) / spread))


def _solve_group(
    season: Season, market: Market, draws: Ints, strata: int, most: Floats, seconds: float
) -> _Solved:
    apart = _APART if fluid.carrying_matters(season) else 0
    scenarios = [
        (
            fluid.flows_of(market, int(draw), apart),
            stratum_means(float(market.first_choice[draw].sum()), market, strata),
        )
        for draw in draws
    ]
    return _solve(fluid.build(season, scenarios, most), season.n_products, seconds)


def _solve(program: fluid.Program, n: int, seconds: float) -> _Solved:
    lp = pdlp.QuadraticProgram()
    lp.resize_and_initialize(len(program.cost), len(program.low))
    lp.objective_vector = program.cost
    lp.constraint_matrix = program.matrix
    lp.constraint_lower_bounds, lp.constraint_upper_bounds = program.low, program.high
    lp.variable_lower_bounds, lp.variable_upper_bounds = program.lower, program.upper
    parameters = solvers_pb2.PrimalDualHybridGradientParams()
    criteria = parameters.termination_criteria
    criteria.simple_optimality_criteria.eps_optimal_relative = _TOLERANCE
    criteria.simple_optimality_criteria.eps_optimal_absolute = _TOLERANCE
    criteria.time_sec_limit = seconds
    found = pdlp.primal_dual_hybrid_gradient(lp, parameters)
    reason = found.solve_log.termination_reason
    quantity = np.clip(found.primal_solution[n : 2 * n], 0.0, None)
    return _Solved(
        profit=-dual_value(program, found.dual_solution),
        quantity=quantity,
        carried=np.clip(found.primal_solution[:n], 0.0, 1.0),
        prices={
            name: float(max(-found.dual_solution[row], 0.0)) for name, row in program.limits.items()
        },
        converged=reason == solve_log_pb2.TERMINATION_REASON_OPTIMAL,
    )


def dual_value(program: fluid.Program, dual: Floats) -> float:
    """Lower bound on the program's least cost from any vector of dual values.

    Weak duality over the box: min cost.v >= sum of y times the side of its row it
    presses on + the least of the reduced costs within the box.
    """
    no_low, no_high = np.isinf(program.low), np.isinf(program.high)
    y = np.where(no_low, np.minimum(dual, 0.0), dual)
    y = np.where(no_high, np.maximum(y, 0.0), y)
    side = np.where(y > 0, program.low, program.high)
    rows = float(np.where(y == 0, 0.0, y) @ np.where(y == 0, 0.0, side))
    reduced = program.cost - program.matrix.T @ y
    return rows + float(np.minimum(reduced * program.lower, reduced * program.upper).sum())
