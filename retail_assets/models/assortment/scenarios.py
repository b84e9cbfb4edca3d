"""What happens if: scenarios replayed on the same customers, with intervals.

The white paper compares single runs with independent random numbers; in a store
like its own such a run has a 95 % half-width of about 4,600, more than two of its
three differences. Here the customers of a replication are drawn once and replayed
in every scenario, and each pair of replications has its own posterior draw.
What the results mean, and for how sure they are, is in `verdicts`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from retail_assets.models.assortment.scenario_rules import (
    AddStockouts,
    Base,
    Scenario,
    capacity_under,
)
from retail_assets.models.assortment.shop import Orders, Shop
from retail_assets.models.choice.markov_chain import draw_customers
from retail_assets.models.choice.replay import Customers, Replay, Replenishment, replay
from retail_assets.models.panel import ChoiceModel, Rates

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

PRODUCT_FIGURES = (
    "first_choice_demand",
    "sales",
    "substituted_in",
    "substituted_out",
    "lost",
    "stockout_share",
    "revenue_cents",
)


@dataclass(frozen=True)
class ScenarioResult:
    """Every replication's money, and the products' means.

    Parameters
    ----------
    scenarios : tuple of Scenario
        The base first; all arrays below are in this order.
    products : tuple of str
    choice_model : {"one_step", "markov_chain"}
    posterior_draw : (R,) int64
    customers : (R,) int64
        The same people in every scenario.
    revenue_cents, cogs_cents, lost_customers, substituted_units : (S, R) int64
        Over all shops; ``cogs_cents`` is None where a cost is missing.
    stockout_share : (S, R) float64
        Share of product time out, over the products a scenario carries.
    capacity : (S, n) int64
    product_mean, product_se : dict of (S, n) float64
        By `PRODUCT_FIGURES`: ``sales`` and ``substituted_in`` in units, ``lost``,
        ``substituted_out`` and ``first_choice_demand`` in customers.
    truncated_share : float
        Share of customers whose list ``max_length`` cut short: above 0.001, raise it.
    """

    scenarios: tuple[Scenario, ...]
    products: tuple[str, ...]
    choice_model: ChoiceModel
    posterior_draw: Ints
    customers: Ints
    revenue_cents: Ints
    cogs_cents: Ints | None
    lost_customers: Ints
    substituted_units: Ints
    stockout_share: Floats
    capacity: Ints
    product_mean: dict[str, Floats]
    product_se: dict[str, Floats]
    truncated_share: float

    @property
    def goal(self) -> str:
        """What scenarios are compared by: profit, or revenue where a cost is missing."""
        return "revenue" if self.cogs_cents is None else "profit"

    @property
    def goal_cents(self) -> Ints:
        """(S, R) int64."""
        return self.revenue_cents - (0 if self.cogs_cents is None else self.cogs_cents)

    @property
    def diff_vs_base_cents(self) -> Ints:
        """(S, R) int64: the goal minus the base's in the same replication."""
        return self.goal_cents - self.goal_cents[:1]


class _Ledger:
    """What is kept of every run: money per replication, sums of the products' figures."""

    def __init__(self, n_cases: int, replications: int, n_products: int) -> None:
        self.replications = replications
        per_run, per_product = (n_cases, replications), (n_cases, n_products)
        self.revenue, self.cogs = np.zeros(per_run, np.int64), np.zeros(per_run, np.int64)
        self.lost, self.substituted = np.zeros(per_run, np.int64), np.zeros(per_run, np.int64)
        self.out_share = np.zeros(per_run)
        self.sums = {name: np.zeros(per_product) for name in PRODUCT_FIGURES}
        self.squares = {name: np.zeros(per_product) for name in PRODUCT_FIGURES}

    def enter(
        self, case: int, r: int, runs: Sequence[Replay], shops: Sequence[Shop], rooms: Ints
    ) -> None:
        """One scenario's runs (one per shop) in replication ``r``."""
        figures = _product_figures(runs, shops, rooms)
        for name, value in figures.items():
            self.sums[name][case] += value
            self.squares[name][case] += value**2
        self.revenue[case, r] = figures["revenue_cents"].sum()
        self.cogs[case, r] = _cost(runs, shops)
        self.lost[case, r] = figures["lost"].sum()
        self.substituted[case, r] = figures["substituted_in"].sum()
        carried = rooms.any(axis=0)
        shares = figures["stockout_share"][carried]
        self.out_share[case, r] = shares.mean() if len(shares) else 1.0

    def product_mean(self) -> dict[str, Floats]:
        return {name: total / self.replications for name, total in self.sums.items()}

    def product_se(self) -> dict[str, Floats]:
        size, mean = self.replications, self.product_mean()
        return {
            name: np.sqrt(np.maximum(squares / size - mean[name] ** 2, 0) / (size - 1))
            for name, squares in self.squares.items()
        }


def simulate_scenarios(
    draws: Sequence[Rates],
    scenarios: Sequence[Scenario],
    shops: Sequence[Shop],
    *,
    replications: int,
    seed: int,
    max_length: int = 8,
) -> ScenarioResult:
    """Replay every scenario on the same customers.

    Replications ``2k`` and ``2k + 1`` share a posterior draw and differ in their
    customers: that is what tells Monte Carlo error from parameter uncertainty. Where
    the choice model is unresolved, call once per model and take `summarise_models`.

    Parameters
    ----------
    draws : sequence of Rates
        Posterior draws, or one element when the rates are known. Spread evenly over
        the replications. ``arrival_rate`` has a row per shop.
    scenarios : sequence of Scenario
        The base is added in front when it is missing.
    shops : sequence of Shop
        Same products in the same order; results are summed over shops.
    replications : int
        At least 2.
    seed : int
    max_length : int
        Longest ranked list; see `markov_chain.ranked_lists`.

    Returns
    -------
    ScenarioResult

    Raises
    ------
    ValueError
        Draws of mixed models or other shapes, unknown products, no shop.
    """
    cases = tuple(scenarios)
    if not cases or not isinstance(cases[0], Base):
        cases = (Base(), *(case for case in cases if not isinstance(case, Base)))
    check_simulation(draws, shops, replications)
    rooms = np.array(
        [[capacity_under(case, s.products, s.capacity) for s in shops] for case in cases]
    )
    which = draw_of_replication(len(draws), replications)
    ledger = _Ledger(len(cases), replications, len(shops[0].products))
    customers, truncated = np.zeros(replications, np.int64), 0.0
    for r in range(replications):
        shared = [
            draw_horizon(draws[which[r]], shop, store, (seed, r, store), max_length)
            for store, shop in enumerate(shops)
        ]
        customers[r] = sum(len(people) for people, _ in shared)
        truncated += sum(len(people) * people.truncated_share for people, _ in shared)
        for c, case in enumerate(cases):
            runs = [
                live_through(case, shop, rooms[c, s], *shared[s], (seed, r, s))
                for s, shop in enumerate(shops)
            ]
            ledger.enter(c, r, runs, shops, rooms[c])
    costed = all(shop.unit_cost_cents is not None for shop in shops)
    return ScenarioResult(
        scenarios=cases,
        products=shops[0].products,
        choice_model=draws[0].choice_model,
        posterior_draw=which,
        customers=customers,
        revenue_cents=ledger.revenue,
        cogs_cents=ledger.cogs if costed else None,
        lost_customers=ledger.lost,
        substituted_units=ledger.substituted,
        stockout_share=ledger.out_share,
        capacity=rooms.sum(axis=1),
        product_mean=ledger.product_mean(),
        product_se=ledger.product_se(),
        truncated_share=truncated / max(int(customers.sum()), 1),
    )


def check_simulation(draws: Sequence[Rates], shops: Sequence[Shop], replications: int) -> None:
    """ValueError where `simulate_scenarios` could not use them."""
    if not draws or not shops:
        raise ValueError("a simulation needs at least one draw of the rates and one shop")
    if replications < 2:
        raise ValueError(f"at least 2 replications are needed, got {replications}")
    if any(shop.products != shops[0].products for shop in shops):
        raise ValueError("all shops must list the same products in the same order")
    if len({draw.choice_model for draw in draws}) > 1:
        raise ValueError("draws mix choice models; simulate each model on its own")
    expected = (len(shops), len(shops[0].products))
    for number, draw in enumerate(draws):
        if draw.arrival_rate.shape != expected:
            raise ValueError(
                f"draw {number}: arrival_rate must be (shops, products) = {expected}, got "
                f"{draw.arrival_rate.shape}"
            )


def draw_of_replication(n_draws: int, replications: int) -> Ints:
    """Two replications per draw, the draws evenly spaced over the chain."""
    pairs = (replications + 1) // 2
    used = min(n_draws, pairs)
    return (np.arange(replications) // 2 % used * n_draws // used).astype(np.int64)


def draw_horizon(
    rates: Rates, shop: Shop, store: int, seed: tuple[int, ...], max_length: int
) -> tuple[Customers, Orders]:
    """What a replication's scenarios have in common: customers and order times.

    ``store`` is the shop's row of the rates.
    """
    rng = np.random.default_rng(seed)
    people = draw_customers(
        rng,
        rates.arrival_rate[store],
        rates.substitution_rate,
        rates.choice_model,
        n_intervals=shop.n_intervals if shop.weight is None else None,
        weight=shop.weight,
        max_length=max_length,
        units_mean=shop.units_mean,
        units_var=shop.units_var,
    )
    return people, shop.draw_orders(rng)


def live_through(
    case: Scenario,
    shop: Shop,
    room: Ints,
    people: Customers,
    orders: Orders,
    seed: tuple[int, ...],
) -> Replay:
    """One shop with capacities ``room`` (n,); ``seed`` times what a scenario forces out."""
    reorder_point = np.floor(shop.reorder_share * room + 1e-9).astype(np.int64)
    forced = None
    if isinstance(case, AddStockouts):
        product = shop.products.index(case.product)
        rng = np.random.default_rng((*seed, product, 1))
        forced = shop.draw_outages(rng, product, case.share, case.mean_intervals)
    return replay(
        people,
        room,
        Replenishment(*orders, room, reorder_point),
        n_intervals=shop.n_intervals,
        forced_out=forced,
    )


def _product_figures(
    runs: Sequence[Replay], shops: Sequence[Shop], rooms: Ints
) -> dict[str, Floats]:
    """One scenario of one replication, summed over shops; shares over shops carrying it."""
    pairs = list(zip(runs, shops, strict=True))
    out = np.array([run.out_intervals / shop.n_intervals for run, shop in pairs])
    carrying = rooms > 0
    share = np.where(carrying, out, 0).sum(0) / np.maximum(carrying.sum(0), 1)
    return {
        "first_choice_demand": _sum([run.first_choice for run in runs]),
        "sales": _sum([run.sold_units for run in runs]),
        "substituted_in": _sum([run.substituted_units for run in runs]),
        "substituted_out": _sum([run.substituted_out for run in runs]),
        "lost": _sum([run.lost for run in runs]),
        "stockout_share": np.where(carrying.any(0), share, 1.0),
        "revenue_cents": _sum([run.sold_units * shop.unit_price_cents for run, shop in pairs]),
    }


def _sum(parts: Sequence[Ints]) -> Floats:
    total: Floats = np.array(parts, dtype=np.float64).sum(axis=0)
    return total


def _cost(runs: Sequence[Replay], shops: Sequence[Shop]) -> int:
    return sum(
        int(run.sold_units @ shop.unit_cost_cents)
        for run, shop in zip(runs, shops, strict=True)
        if shop.unit_cost_cents is not None
    )
