"""The season as flows of expected customers: a linear program over scenarios.

A scenario is one posterior draw and one stratum of the number of customers. Its flows
are what happens on average: customers who find their first choice buy it, the others
pass on. The averages of any plan obey the program, so its value is above every plan's
(`bounds`).

Products are carried in the program to a degree x between 0 and 1. Tied to it by totals
alone (sales <= x times everyone who would ever look), fixed costs are spread over sales
no plan has: the bound was 6.2 % above the plan (n = 100). Tied edge by edge, customers
who bought something on the way there are not counted: 1.8 %. It is the disaggregation
of facility location (Balinski 1965: x_ij <= y_j for each customer, not their sum), here
of a product's first visits by the product that sent them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from retail_assets.models.assortment.season import Market, Season, smallest_quantity

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Program:
    """Minimise ``cost @ v`` with ``low <= matrix @ v <= high``, v within its box.

    The first 2n variables are x (degree carried) and q (units bought).

    Parameters
    ----------
    cost, lower, upper : (V,) float64
        The box is finite.
    matrix : (C, V) sparse
    low, high : (C,) float64
    limits : dict of str to int
        Row of the budget and of the space, where they are limited.
    """

    cost: Floats
    lower: Floats
    upper: Floats
    matrix: Any
    low: Floats
    high: Floats
    limits: dict[str, int]


@dataclass(frozen=True)
class Flows:
    """Expected flows of one draw, per customer of the season.

    Edges into a product are gathered in bundles, large edges each in one of their own.

    Parameters
    ----------
    first : (n,) float64
        Share of customers by first choice.
    visits : (n,) float64
        Visits of a customer in an empty shop.
    hits : (n,) float64
        Chance that a customer in an empty shop ever visits the product.
    onward : (n, n) sparse
        Where those who found a product out show up among those who look.
    target : (B,) int64
        Product of each bundle.
    rate : (B, n) sparse
        Chance of coming along a bundle after finding a product out.
    most : (B,) float64
        First visits along a bundle in an empty shop.
    """

    first: Floats
    visits: Floats
    hits: Floats
    onward: Any
    target: Ints
    rate: Any
    most: Floats


def flows_of(market: Market, draw: int, apart: int) -> Flows:
    """Flows of one draw; the ``apart`` largest edges into a product are not gathered."""
    rate = market.substitution_rate[draw]
    first = market.first_choice[draw] / market.first_choice[draw].sum()
    n = len(first)
    if market.choice_model == "one_step":
        visits, hits = first, first + first @ rate
        edge, onward = first[:, None] * rate, sp.csr_matrix((n, n))
    else:
        green = np.linalg.inv(np.eye(n) - rate)
        visits = first @ green
        hits = visits / np.diag(green)
        # Visits to j before the first to i are those to j less those that follow on i.
        edge = rate * np.maximum(visits[:, None] - hits * green.T, 0.0)
        onward = sp.csr_matrix(rate)
    source, target = np.nonzero(edge)
    place = np.argsort(np.argsort(-edge, axis=0), axis=0)[source, target]
    bundle, which = np.unique(target * (apart + 1) + np.minimum(place, apart), return_inverse=True)
    shape = (len(bundle), n)
    return Flows(
        first,
        visits,
        hits,
        onward,
        bundle // (apart + 1),
        sp.csr_matrix((rate[source, target], (which, source)), shape),
        np.bincount(which, edge[source, target], len(bundle)).astype(np.float64),
    )


def carrying_matters(season: Season) -> bool:
    """Whether a product carried a little costs or counts as if carried in full."""
    counted = season.max_products < season.n_products or bool(season.caps)
    return counted or bool(season.fixed_cost.any() or (smallest_quantity(season) > 1).any())


def build(season: Season, scenarios: list[tuple[Flows, Floats]], most: Floats) -> Program:
    """The program of a season.

    Parameters
    ----------
    season : Season
    scenarios : list of (Flows, (K,) float64)
        Per draw its flows and the customers of its equally likely strata.
    most : (n,) float64
        Units beyond which some best plan buys none.

    Returns
    -------
    Program
    """
    n, tied = season.n_products, carrying_matters(season)
    shared, own, low, high, upper, cost = (list[Any]() for _ in range(6))
    gain = season.price - season.salvage
    for flows, size in scenarios:
        on_plan, on_flows, right, equal = _rows(flows, size, tied)
        shared.append(on_plan)
        own.append(on_flows)
        high.append(right)
        low.append(np.where(equal, right, -np.inf))
        for share, value in (
            (flows.first, gain),
            (flows.most, gain[flows.target]),
            (flows.visits, np.zeros(n)),
        ):
            upper.append(np.outer(size, share).ravel())
            cost.append(np.tile(-value / (len(size) * len(scenarios)), len(size)))
    limits, at_least, at_most, named = _limits(season, most)
    n_own = sum(block.shape[1] for block in own)
    flow_rows = sp.hstack([sp.vstack(shared), sp.block_diag(own)])
    limit_rows = sp.hstack([limits, sp.csr_matrix((limits.shape[0], n_own))])
    carried = np.where(season.excluded, 0.0, 1.0)
    least = np.where(season.must_carry, np.minimum(smallest_quantity(season), most), 0.0)
    return Program(
        cost=np.concatenate([season.fixed_cost, season.overage, *cost]),
        lower=np.concatenate([season.must_carry if tied else carried, least, np.zeros(n_own)]),
        upper=np.concatenate([carried, most * carried, *upper]),
        matrix=sp.vstack([limit_rows, flow_rows]).tocsc(),
        low=np.concatenate([at_least, *low]),
        high=np.concatenate([at_most, *high]),
        limits=named,
    )


def _rows(flows: Flows, size: Floats, tied: bool) -> tuple[Any, Any, Floats, NDArray[np.bool_]]:
    """Rows of a draw: on x and q, on its own flows, right sides, which are equalities.

    Own flows are d (K, n) bought as first choice, h (K, B) bought after coming along a
    bundle, y (K, n) passing on.
    """
    n, bundles, k = len(flows.first), len(flows.target), len(size)
    each, products = sp.identity(k), sp.identity(n)
    into = sp.csr_matrix((np.ones(bundles), (flows.target, np.arange(bundles))), (n, bundles))
    direct, along = sp.identity(k * n), sp.identity(k * bundles)
    arrive = sp.kron(each, into)
    # One-step customers look once more and leave; a chain's who buy are no longer passing.
    walks = flows.onward.nnz > 0
    rows = [
        # Sold at most what was bought.
        [direct, arrive, None],
        # Those who look buy or pass on.
        [direct, arrive * float(walks), sp.kron(each, products - flows.onward.T)],
        # Along a bundle come at most those sent.
        [None, along, -sp.kron(each, flows.rate)],
    ]
    on_x = [sp.csr_matrix((k * m, n)) for m in (n, n, bundles)]
    on_q = [sp.kron(-np.ones((k, 1)), products), sp.csr_matrix((k * n, n)), on_x[2]]
    right = [np.zeros(k * n), np.outer(size, flows.first).ravel(), np.zeros(k * bundles)]
    if tied:
        share = sp.diags(flows.most) @ into.T
        rows += [[direct, None, None], [None, along, None]]
        on_x += [sp.kron(-size[:, None], part) for part in (sp.diags(flows.first), share)]
        on_q += [sp.csr_matrix((k * m, n)) for m in (n, bundles)]
        right += [np.zeros(k * n), np.zeros(k * bundles)]
    equal = np.repeat(np.arange(len(right)) == 1, [len(part) for part in right])
    on_plan = sp.hstack([sp.vstack(on_x), sp.vstack(on_q)])
    return on_plan, sp.block_array(rows), np.concatenate(right), equal


def _limits(season: Season, most: Floats) -> tuple[Any, Floats, Floats, dict[str, int]]:
    """Rows on x and q alone: (rows, low, high, where budget and space are)."""
    n = season.n_products
    rows, low, high, named = [], [], [], {}

    def add(on_x: Any, on_q: Any, at_most: Any) -> None:
        rows.append(np.hstack([np.atleast_2d(on_x), np.atleast_2d(on_q)]))
        high.append(np.broadcast_to(at_most, len(rows[-1])))
        low.append(np.full(len(rows[-1]), -np.inf))

    nothing = np.zeros(n)
    for name, per_unit, limit in (
        ("budget", season.unit_cost, season.budget),
        ("space", season.space, season.space_limit),
    ):
        if np.isfinite(limit):
            named[name] = len(rows)
            add(nothing, per_unit, limit)
    if carrying_matters(season):
        smallest = np.minimum(smallest_quantity(season), most)
        add(np.diag(-most), np.eye(n), 0.0)
        add(np.diag(smallest), -np.eye(n), 0.0)
        add(np.ones(n), nothing, min(season.max_products, n))
        for cap, members in zip(season.caps, season.cap_members, strict=True):
            add(members.astype(np.float64), nothing, cap.most)
    if not rows:
        return sp.csr_matrix((0, 2 * n)), np.empty(0), np.empty(0), named
    return sp.csr_matrix(np.vstack(rows)), np.concatenate(low), np.concatenate(high), named
