"""The best assortment under a Markov chain of customers, with limits and fixed costs.

With at most so many products, group caps, must-carry products or a cost per product
carried, the problem is hard (Désir, Goyal, Segev & Ye 2020: APX-hard even at equal
prices). Two parts answer it together: a local search finds a good assortment in
milliseconds, a mixed-integer programme over the flow of customers improves it and bounds
what any assortment could earn. The bound is reported always, proven optimal or not.

Like `static`, this is of the ``markov_chain`` reading of the rates alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from ortools.math_opt.python import mathopt

from retail_assets.models.assortment.season import NO_LIMIT, Cap, flags
from retail_assets.models.assortment.static import best_assortment
from retail_assets.models.choice.markov_chain import check_rates

Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]

Method = Literal["mip", "swap"]

SAME = 1e-12
"""Share of the money at stake below which two values differ by rounding."""


@dataclass(frozen=True)
class ConstrainedPlan:
    """The best assortment found, and how much better any other could be.

    Parameters
    ----------
    offered : (n,) bool
    value : float
        Revenue less fixed costs, recomputed exactly from the chain.
    upper_bound : float
        No assortment within the limits earns more.
    gap : float
        ``(upper_bound - value) / |upper_bound|``; at most rounding where proven.
    method : {"mip", "swap"}
        Who found it: the programme, or the local search already.
    proven : bool
        Optimal to the solver's tolerance (1e-6 of a product's customers).
    """

    offered: Mask
    value: float
    upper_bound: float
    gap: float
    method: Method
    proven: bool


@dataclass(frozen=True)
class _Problem:
    """Checked input; ``groups`` (C, n) may have at most ``most`` (C,) products each."""

    revenue: Floats
    fixed_cost: Floats
    rate: Floats
    matrix: Floats
    groups: Mask
    most: NDArray[np.int64]
    must: Mask
    barred: Mask

    @property
    def money(self) -> float:
        """What is at stake at most; differences are measured against it."""
        dearest = float(np.abs(self.revenue).max(initial=0.0))
        return float(self.rate.sum()) * dearest + float(self.fixed_cost.sum())

    def chain(self, offered: Mask) -> Floats:
        """(n, n) expected visits of j by a customer now at i, when walks end at the offered."""
        passing_on = np.where(offered[:, None], 0.0, self.matrix)
        return np.asarray(np.linalg.inv(np.eye(len(self.rate)) - passing_on), np.float64)

    def value(self, offered: Mask) -> float:
        sales = (self.rate @ self.chain(offered))[offered]
        return float(sales @ self.revenue[offered] - self.fixed_cost[offered].sum())

    def may_add(self, offered: Mask) -> Mask:
        """(..., n) products that may join each of the assortments (..., n)."""
        full = offered @ self.groups.T.astype(np.int64) >= self.most
        joins: Mask = ~offered & ~self.barred & (full.astype(np.int64) @ self.groups == 0)
        return joins


def best_constrained(
    revenue: ArrayLike,
    first_choice: ArrayLike,
    substitution_rate: ArrayLike,
    *,
    products: tuple[str, ...],
    fixed_cost: ArrayLike | None = None,
    max_products: int | None = None,
    caps: tuple[Cap, ...] = (),
    must_carry: Mask | None = None,
    excluded: Mask | None = None,
    time_limit: float = 30.0,
) -> ConstrainedPlan:
    """The assortment within the limits that earns most, with a bound on all others.

    Parameters
    ----------
    revenue : (n,) float64
        Of a customer who buys, e.g. the margin; may be negative.
    first_choice : (n,) float64
        λ, expected customers of the season by first choice: the value is money of a season.
    substitution_rate : (n, n) float64
        ρ of the ``markov_chain`` model.
    products : tuple of str
        For messages and caps.
    fixed_cost : (n,) float64, optional
        Of carrying the product in the season, >= 0, in the money of ``revenue``.
    max_products : int, optional
    caps : tuple of Cap
    must_carry, excluded : (n,) bool, optional
    time_limit : float
        Seconds for the programme; 0 leaves the local search and the bound of `static`.

    Raises
    ------
    ValueError
        Input that is none, or limits that contradict each other, with the products.

    Examples
    --------
    >>> plan = best_constrained([10.0, 9.0, 4.0], [5.0, 5.0, 9.0],
    ...                         [[0, 0.3, 0], [0.8, 0, 0], [0, 0.1, 0]],
    ...                         products=("a", "b", "c"), max_products=1)
    >>> plan.offered, round(plan.value, 9), plan.proven
    (array([ True, False, False]), 97.2, True)
    """
    problem = _checked(
        (revenue, first_choice, substitution_rate, fixed_cost),
        products,
        (NO_LIMIT if max_products is None else max_products, caps),
        (must_carry, excluded),
    )
    free = best_assortment(problem.revenue, problem.rate, problem.matrix)
    bound = free.value - float(problem.fixed_cost[problem.must].sum())
    starts = (problem.must, _trimmed(problem, free.offered))
    offered = max((_climb(problem, start) for start in starts), key=problem.value)
    value = problem.value(offered)
    method: Method = "swap"
    proven = bound - value <= SAME * problem.money
    if not proven and time_limit > 0:
        other, programme_bound, proven = _programme(problem, offered, time_limit)
        bound = min(bound, programme_bound)
        better = _climb(problem, other)
        if problem.value(better) > value + SAME * problem.money:
            offered, value, method = better, problem.value(better), "mip"
    bound = max(bound, value)
    gap = (bound - value) / abs(bound) if bound > value else 0.0
    return ConstrainedPlan(offered, value, bound, gap, method, proven)


def _checked(
    numbers: tuple[ArrayLike, ArrayLike, ArrayLike, ArrayLike | None],
    products: tuple[str, ...],
    limits: tuple[int, tuple[Cap, ...]],
    masks: tuple[Mask | None, Mask | None],
) -> _Problem:
    rate, matrix = check_rates(numbers[1], numbers[2], "markov_chain", products)
    n = len(rate)
    worth = np.asarray(numbers[0], np.float64)
    cost = np.zeros(n) if numbers[3] is None else np.asarray(numbers[3], np.float64)
    must, barred = (np.zeros(n, bool) if m is None else np.asarray(m, bool) for m in masks)
    sizes = {len(products), *(len(each) for each in (worth, cost, must, barred))}
    if sizes != {n}:
        raise ValueError(f"{n} products have first choices, other input has {sorted(sizes)}")
    for name, wrong in (
        ("revenue must be a finite number", ~np.isfinite(worth)),
        ("fixed cost must be a number >= 0", ~(np.isfinite(cost) & (cost >= 0))),
        ("must be carried and is excluded; take it out of one list", must & barred),
    ):
        if wrong.any():
            raise ValueError(f"product {_named(products, wrong)}: {name}")
    groups, most = [np.ones(n, bool)], [limits[0]]
    names = ["max_products", *(f"cap {cap.name!r}" for cap in limits[1])]
    for cap in limits[1]:
        groups.append(flags(products, cap.members, f"cap {cap.name!r}"))
        most.append(cap.most)
    for name, group, limit in zip(names, groups, most, strict=True):
        if limit < 0:
            raise ValueError(f"{name} of {limit} is below 0; leave it out for no limit")
        if int((must & group).sum()) > limit:
            raise ValueError(
                f"must-carry products {_named(products, must & group)} are "
                f"{int((must & group).sum())}, above the {name} of {limit}; raise it or "
                "release one of them"
            )
    return _Problem(
        worth, cost, rate, matrix, np.array(groups), np.array(most, np.int64), must, barred
    )


def _named(products: tuple[str, ...], which: Mask) -> str:
    return ", ".join(products[int(j)] for j in np.flatnonzero(which))


@dataclass(frozen=True)
class _Moves:
    """What single moves from an assortment of k products add to its value.

    ``add`` (n,) is of joining; ``carried`` (k,) are the products offered, ``drop`` (k,) is
    of leaving and ``swap`` (k, n) of leaving for another. Moves that no product can make
    are -inf; limits are respected but for those the assortment breaks already.
    """

    carried: NDArray[np.int64]
    add: Floats
    drop: Floats
    swap: Floats


def _moves(problem: _Problem, offered: Mask) -> _Moves:
    """Every move from one inverse.

    Offering one product more, or less, changes one row of ``I - ρ_OO``, so its inverse H
    changes by rank one (Sherman-Morrison). With visits ``w = λ H``, value of a visit
    ``u = H r_A`` and ``g = ρ_b H`` of a product b taken off, whose customers are then worth
    ``lift = (ρ_b u - r_b) / (1 - g_b)`` more than b earned:

        add a: (w_a / H_aa) (r_a - u_a) - f_a          drop b: w_b lift + f_b
    """
    visits = problem.chain(offered)
    carried = np.flatnonzero(offered)
    worth, cost = problem.revenue, problem.fixed_cost
    reach = problem.rate @ visits
    value = visits @ np.where(offered, worth, 0.0)
    onward = problem.matrix[carried] @ visits
    back = 1.0 - onward[np.arange(len(carried)), carried]
    lift = (problem.matrix[carried] @ value - worth[carried]) / back

    again = np.diag(visits)
    add = reach / again * (worth - value) - cost
    drop = reach[carried] * lift + cost[carried]
    by_row = onward / back[:, None]
    reach_after = reach + reach[carried][:, None] * by_row
    again_after = again + visits[:, carried].T * by_row
    value_after = value + visits[:, carried].T * lift[:, None]
    swap = drop[:, None] + reach_after / again_after * (worth - value_after) - cost

    without = np.repeat(offered[None], len(carried), axis=0)
    without[np.arange(len(carried)), carried] = False
    kept = problem.must[carried]
    joins = problem.may_add(without) & ~offered & ~kept[:, None]
    return _Moves(
        carried,
        np.where(problem.may_add(offered), add, -np.inf),
        np.where(kept, -np.inf, drop),
        np.where(joins, swap, -np.inf),
    )


def _climb(problem: _Problem, offered: Mask) -> Mask:
    """Best move after best move: one product more or less, else a swap, until none gains."""
    offered = offered.copy()
    while True:
        moves = _moves(problem, offered)
        best = {
            "add": float(moves.add.max(initial=-np.inf)),
            "drop": float(moves.drop.max(initial=-np.inf)),
            "swap": float(moves.swap.max(initial=-np.inf)),
        }
        # Swaps wait until the assortment is full: before, they only reorder the greedy path.
        kind = "add" if best["add"] >= best["drop"] else "drop"
        kind = kind if best[kind] > SAME * problem.money else "swap"
        if best[kind] <= SAME * problem.money:
            return offered
        if kind == "add":
            offered[moves.add.argmax()] = True
        elif kind == "drop":
            offered[moves.carried[moves.drop.argmax()]] = False
        else:
            leaves, joins = np.unravel_index(moves.swap.argmax(), moves.swap.shape)
            offered[moves.carried[leaves]], offered[joins] = False, True


def _trimmed(problem: _Problem, offered: Mask) -> Mask:
    """Take off what costs least until the limits hold."""
    offered = (offered | problem.must) & ~problem.barred
    while True:
        over = problem.groups @ offered.astype(np.int64) > problem.most
        if not over.any():
            return offered
        moves = _moves(problem, offered)
        helps = problem.groups[over][:, moves.carried].any(axis=0)
        offered[moves.carried[np.where(helps, moves.drop, -np.inf).argmax()]] = False


def _programme(problem: _Problem, hint: Mask, time_limit: float) -> tuple[Mask, float, bool]:
    """(its best assortment or the hint, upper bound, proven optimal).

    Flow of customers, with Y_i the visits when only must-carry products are offered and
    ``S_i = Y_i / G_ii`` the customers among them, who would all buy if i came too:

        max Σ r_i z_i - f_i q_i
        z_i + y_i = λ_i + Σ_j ρ_ji y_j      sold and passed on = first choice and passed to i
        0 <= z_i <= S_i q_i,  0 <= y_i <= Y_i (1 - q_i),  q_i in {0, 1},  caps on q

    z is written as a share of S and y as a share of Y, so that the solver's tolerances are
    relative to each product. HiGHS through math_opt proves n = 50, 10 products, in 0.3-0.6 s
    (SCIP: 2-5 s) and most of n = 100 in 9-30 s; when time runs out its bound remains.
    """
    chain = problem.chain(problem.must)
    most_visits = problem.rate @ chain
    reached = np.flatnonzero(most_visits > 1e-12 * most_visits.sum())
    most_sold = most_visits / np.diag(chain)
    unit = float(np.abs(problem.revenue * most_sold).max() + problem.fixed_cost.max())

    model = mathopt.Model()
    offer = [
        model.add_variable(lb=float(must), ub=float(not barred), is_integer=True)
        for must, barred in zip(problem.must, problem.barred, strict=True)
    ]
    for group, most in zip(problem.groups, problem.most, strict=True):
        if group.sum() > most:
            members = mathopt.fast_sum(offer[int(i)] for i in np.flatnonzero(group))
            model.add_linear_constraint(members <= float(most))
    gain = [-float(cost) / unit * q for cost, q in zip(problem.fixed_cost, offer, strict=True)]
    passed = {int(i): model.add_variable(lb=0.0, ub=1.0) for i in reached}
    for i in passed:
        sold = model.add_variable(lb=0.0, ub=1.0)
        model.add_linear_constraint(sold <= offer[i])
        model.add_linear_constraint(passed[i] <= 1 - offer[i])
        into = problem.matrix[:, i] * most_visits / most_visits[i]
        comes = mathopt.fast_sum(float(into[j]) * passed[j] for j in passed if into[j] > 1e-9)
        stops = float(most_sold[i] / most_visits[i]) * sold
        first = float(problem.rate[i] / most_visits[i])
        model.add_linear_constraint(stops + passed[i] - comes == first)
        gain.append(float(problem.revenue[i] * most_sold[i]) / unit * sold)
    model.maximize(mathopt.fast_sum(gain))

    start = mathopt.SolutionHint(
        variable_values={q: float(on) for q, on in zip(offer, hint, strict=True)}
    )
    result = mathopt.solve(
        model,
        mathopt.SolverType.HIGHS,
        params=mathopt.SolveParameters(
            time_limit=timedelta(seconds=time_limit),
            relative_gap_tolerance=1e-9,
            absolute_gap_tolerance=1e-9,
        ),
        model_params=mathopt.ModelSolveParameters(solution_hints=[start]),
    )
    found = hint
    if result.has_primal_feasible_solution():
        values = result.variable_values()
        found = np.array([values[q] > 0.5 for q in offer])
    reason, ended = mathopt.TerminationReason, result.termination
    if ended.reason not in (reason.OPTIMAL, reason.FEASIBLE, reason.NO_SOLUTION_FOUND):
        return hint, np.inf, False
    return found, ended.objective_bounds.dual_bound * unit, ended.reason == reason.OPTIMAL
