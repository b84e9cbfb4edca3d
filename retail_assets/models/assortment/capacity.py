"""How to divide a replenished shelf that stays as large as it is.

The white paper compares three shelves made by hand. Here the best one is searched for:
every shelf is lived through by the same customers (common random numbers), each
replication has its own posterior draw, so the plan is the best on average over what is
known of the rates; `marginal_curves` says how the search goes. What the plan gains is
measured on other customers than it was made on.

What it costs: ``n`` products x about 2 log2(units of room) capacities x replications in
each of 4-8 rounds. A quarter of minutes (91 days, 300 customers a day) took 6 s of CPU for
5 products, 24 s for 15, 58 s for 40 and 154 s for 100; the white paper's 200,000 intervals
with 115,000 customers 45 s for 5 (``bench/capacity.py``). Beyond that, lower
``replications`` and ``max_rounds``: the first half of the rounds brings nearly all.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from retail_assets.models.assortment.marginal_curves import (
    MAX_CAPACITY,
    MarginalCurve,
    divide,
    shelf_limits,
)
from retail_assets.models.assortment.scenario_rules import Base
from retail_assets.models.assortment.scenarios import (
    check_simulation,
    draw_horizon,
    draw_of_replication,
    live_through,
)
from retail_assets.models.assortment.shop import Orders, Shop
from retail_assets.models.assortment.verdicts import expected_difference
from retail_assets.models.choice.replay import Customers
from retail_assets.models.panel import Rates

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

# Streams of random numbers: customers a plan is made on, and those it is judged on. Not 0,
# with which a seed would be that of a scenario's replication.
SEARCH, HOLDOUT = 1, 2


@dataclass(frozen=True)
class ShelfGoals:
    """What shelves earn from the same customers.

    Parameters
    ----------
    goal : (P, R) float64
        Cents over the horizon, of each shelf in each replication.
    posterior_draw : (R,) int64
    """

    goal: Floats
    posterior_draw: Ints


@dataclass(frozen=True)
class CapacityPlan:
    """A shelf divided anew, against the shelf as it is.

    Parameters
    ----------
    products : tuple of n str
    goal : {"profit", "revenue"}
        Revenue where a cost is missing. All money is in cents over the horizon.
    room : float
    capacity_now, capacity_plan : (n,) int64
        Units.
    marginal_value : (n,) float64
        What one unit more would earn under the plan, per unit of its space; on hold-out
        replications.
    marginal_value_se : (n,) float64
        A 95 % interval is 1.96 of it either way; uncertain rates included.
    diff_mean, diff_ci_low, diff_ci_high : float
        Expected gain of the plan over now on hold-out replications, with the 95 %
        interval of `verdicts.expected_difference`: the rates' and the simulation's.
    p_improves : float
    curves : tuple of n MarginalCurve
        Around the plan, on the customers it was made on.
    rounds : int
        Times the curves were simulated.
    simulations : int
        Horizons replayed, hold-out included.
    """

    products: tuple[str, ...]
    goal: str
    room: float
    capacity_now: Ints
    capacity_plan: Ints
    marginal_value: Floats
    marginal_value_se: Floats
    diff_mean: float
    diff_ci_low: float
    diff_ci_high: float
    p_improves: float
    curves: tuple[MarginalCurve, ...]
    rounds: int
    simulations: int

    @property
    def verdict(self) -> str:
        """Better or worse where the interval says so, else unresolved."""
        better, worse = self.diff_ci_low > 0, self.diff_ci_high < 0
        return "better" if better else "worse" if worse else "unresolved"


def plan_capacity(
    draws: Sequence[Rates],
    shop: Shop,
    *,
    space: ArrayLike = 1.0,
    room: float | None = None,
    keep: ArrayLike = False,
    least: ArrayLike = 0,
    most: ArrayLike = MAX_CAPACITY,
    store: int = 0,
    replications: int = 20,
    holdout_replications: int = 100,
    max_rounds: int = 8,
    seed: int,
    max_length: int = 8,
) -> CapacityPlan:
    """Divide a shop's room between its products.

    Parameters
    ----------
    draws : sequence of Rates
        Posterior draws, or one element when the rates are known. Where the choice model
        is unresolved, plan once per model.
    shop : Shop
        As it is; with all ``unit_cost_cents`` the goal is gross profit, else revenue.
    space : (n,) float64, or one for all
        Shelf that one unit takes, in any measure.
    room : float, optional
        In the same measure; default: what the shop's capacities take today.
    keep : (n,) bool
        Products that may not go to 0.
    least, most : (n,) int, or one for all
        Units. A product not carried today may come in unless its ``most`` is 0.
    store : int
        The shop's row of the draws' ``arrival_rate``.
    replications : int
        The search's; each has its own draw. The pair of a plan and its rival meets the
        same customers, so few are enough: with 12, 25 or 50 plans of a demo store earned the
        same to 3 %.
    holdout_replications : int
        Two per draw, as in `simulate_scenarios`.
    max_rounds : int
    seed : int
    max_length : int
        Longest ranked list; see `markov_chain.ranked_lists`.

    Returns
    -------
    CapacityPlan

    Raises
    ------
    ValueError
        Limits that no shelf can keep, with the products' names; draws of other products.
    """
    own = _rates_of(draws, shop, store, min(replications, holdout_replications))
    now = np.asarray(shop.capacity, np.int64)
    each = np.broadcast_to(np.asarray(space, np.float64), np.shape(space) or len(now))
    if room is None:
        room = float(each @ now) if len(each) == len(now) else 0.0
    limits = shelf_limits(shop.products, space=each, room=room, keep=keep, least=least, most=most)
    sample = _Sample(own, shop, replications, (seed, store), max_length)
    found = divide(sample.value, now, limits, shop.products, max_rounds=max_rounds)
    plan = found.capacity
    shelves = np.vstack([now, plan, plan + np.eye(len(plan), dtype=np.int64)])
    judged = compare_shelves(
        draws,
        shop,
        shelves,
        store=store,
        replications=holdout_replications,
        seed=seed,
        max_length=max_length,
    )
    gain = expected_difference(judged.goal[1] - judged.goal[0], judged.posterior_draw)
    unit = [
        expected_difference((goal - judged.goal[1]) / size, judged.posterior_draw)
        for goal, size in zip(judged.goal[2:], each, strict=True)
    ]
    return CapacityPlan(
        products=shop.products,
        goal="revenue" if shop.unit_cost_cents is None else "profit",
        room=room,
        capacity_now=now,
        capacity_plan=plan,
        marginal_value=np.array([one.mean for one in unit]),
        marginal_value_se=np.array([(one.high - one.low) / (2 * 1.96) for one in unit]),
        diff_mean=gain.mean,
        diff_ci_low=gain.low,
        diff_ci_high=gain.high,
        p_improves=gain.p_positive,
        curves=found.curves,
        rounds=found.rounds,
        simulations=sample.simulations + judged.goal.size,
    )


def compare_shelves(
    draws: Sequence[Rates],
    shop: Shop,
    shelves: NDArray[np.int64],
    *,
    store: int = 0,
    replications: int,
    seed: int,
    max_length: int = 8,
) -> ShelfGoals:
    """What shelves (P, n) earn, all from the same customers.

    They are not those on which `plan_capacity` makes its plan with the same seed: two
    plans compared here are compared on hold-out replications. Parameters as there.
    """
    own = _rates_of(draws, shop, store, replications)
    which = draw_of_replication(len(own), replications)
    goal = np.empty((len(shelves), replications))
    for r in range(replications):
        seeds = (seed, store, r, HOLDOUT)
        shared = draw_horizon(own[which[r]], shop, 0, seeds, max_length)
        goal[:, r] = [_goal(shop, shelf, shared) for shelf in shelves]
    return ShelfGoals(goal, which)


def _rates_of(draws: Sequence[Rates], shop: Shop, store: int, replications: int) -> list[Rates]:
    """One store's rates, checked."""
    own = [
        Rates(draw.arrival_rate[store : store + 1], draw.substitution_rate, draw.choice_model)
        for draw in draws
    ]
    check_simulation(own, [shop], replications)
    return own


class _Sample:
    """The search's customers, and the mean goal of every shelf they have met."""

    def __init__(
        self,
        draws: Sequence[Rates],
        shop: Shop,
        replications: int,
        seed: tuple[int, ...],
        max_length: int,
    ) -> None:
        self._shop = shop
        self._known: dict[bytes, float] = {}
        # One replication per draw, evenly spaced over the chain.
        which = np.arange(replications) * len(draws) // replications
        self._shared = [
            draw_horizon(draws[draw], shop, 0, (*seed, r, SEARCH), max_length)
            for r, draw in enumerate(which.tolist())
        ]

    def value(self, shelf: Ints) -> float:
        key = shelf.tobytes()
        if key not in self._known:
            goals = [_goal(self._shop, shelf, shared) for shared in self._shared]
            self._known[key] = float(np.mean(goals))
        return self._known[key]

    @property
    def simulations(self) -> int:
        return len(self._known) * len(self._shared)


def _goal(shop: Shop, shelf: Ints, shared: tuple[Customers, Orders]) -> int:
    sold = live_through(Base(), shop, shelf, *shared, ()).sold_units
    cost = 0 if shop.unit_cost_cents is None else shop.unit_cost_cents
    return int(sold @ (shop.unit_price_cents - cost))
