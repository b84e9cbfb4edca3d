"""Dividing a shelf by marginal curves: what each product earns at other capacities.

What a product's capacity earns depends on the others' through substitution, so there is
no additive problem to solve. Around a centre there nearly is one: with the others held,
each product's goal is simulated at a few capacities (`marginal_curves`), and CP-SAT picks
one capacity per product, the sum of gains being most and the room kept: a
multiple-choice knapsack. Its answer is a guess. It is taken within ever smaller
distances of the centre, each answer is valued as a whole, the best becomes the next
centre. When none is better, units are passed between pairs of products, and each product
is forced off the centre for the others to adapt.

What a shelf is worth is the caller's function; nothing here simulates.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from ortools.sat.python import cp_model

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Value = Callable[[Ints], float]
"""The goal, in cents, of a shelf (n,)."""

MAX_CAPACITY = 1_000_000
# Of a knapsack, by CP-SAT's own clock: the answer does not depend on the machine's load.
# 15 products need .05 s, 100 need .5 s, 300 need 6 s.
SECONDS_PER_PRODUCT = 0.05
# Ways to pass units that are tried, and how often all of them are.
PASSES_PER_PRODUCT = 8
MAX_SWEEPS = 10
# Products up to which each is forced off the centre: of 180 shops with 3 products the best
# of all shelves was found in 174 without that, in 178 with it. 100 products would need 400
# knapsacks of .2 s.
MAX_FORCED = 30


@dataclass(frozen=True)
class Limits:
    """What a shelf may be; made by `shelf_limits`.

    Parameters
    ----------
    space : (n,) float64
        Of one unit.
    room : float
        Most that all units may take.
    least, most : (n,) int64
        Units; ``most`` is no more than what the others' ``least`` leaves room for.
    """

    space: Floats
    room: float
    least: Ints
    most: Ints

    def fits(self, capacity: Ints) -> bool:
        """Whether a shelf keeps the limits."""
        within = np.all((self.least <= capacity) & (capacity <= self.most))
        return bool(within and self.slack(capacity) >= 0)

    def slack(self, capacity: Ints) -> float:
        """Room left, rounding errors forgiven."""
        return self.room * (1 + 1e-9) - float(self.space @ capacity)


@dataclass(frozen=True)
class MarginalCurve:
    """What a product's capacity is worth, the others as in the plan.

    Parameters
    ----------
    product : str
    capacity : (k,) int64
        Ascending.
    goal : (k,) float64
        The whole shelf's, cents over the horizon.
    """

    product: str
    capacity: Ints
    goal: Floats


@dataclass(frozen=True)
class Division:
    """What `divide` found: the shelf, its value and the curves around it."""

    capacity: Ints
    value: float
    curves: tuple[MarginalCurve, ...]
    rounds: int


def shelf_limits(
    products: Sequence[str],
    *,
    space: ArrayLike,
    room: float,
    keep: ArrayLike,
    least: ArrayLike,
    most: ArrayLike,
) -> Limits:
    """Check a shelf's limits against each other.

    Parameters
    ----------
    products : sequence of n str
    space : (n,) float, or one for all
        Of one unit, above 0.
    room : float
    keep : (n,) bool
        Products that may not go to 0.
    least, most : (n,) int, or one for all

    Raises
    ------
    ValueError
        Limits of other products, out of range, or that no shelf can keep; names the
        products.
    """
    given = {"space": space, "keep": keep, "least": least, "most": most}
    for name, values in given.items():
        if np.ndim(values) and np.shape(values) != (len(products),):
            raise ValueError(
                f"{name} has shape {np.shape(values)}, the shop {len(products)} products: "
                f"{', '.join(products)}"
            )
    n = len(products)
    size = np.broadcast_to(np.asarray(space, np.float64), n)
    kept = np.broadcast_to(np.asarray(keep, bool), n)
    low = np.broadcast_to(np.asarray(least, np.int64), n)
    high = np.minimum(np.broadcast_to(np.asarray(most, np.int64), n), MAX_CAPACITY)
    _refuse(products, ~(np.isfinite(size) & (size > 0)), "space of a unit must be above 0")
    _refuse(products, (low < 0) | (high < 0), "capacity limits must be 0 or more")
    _refuse(products, kept & (high < 1), "is to be kept, but may have no unit; raise most")
    low = np.maximum(low, kept)
    _refuse(products, low > high, "least is above most; change one of them")
    if not (np.isfinite(room) and room >= 0):
        raise ValueError(f"room {room} is not a number >= 0")
    needed = float(size @ low)
    if needed > room * (1 + 1e-9):
        names = ", ".join(products[int(j)] for j in np.flatnonzero(low).tolist())
        raise ValueError(
            f"products {names}: what must be on the shelf needs {needed:g} of room, there is "
            f"{room:g}; keep fewer, lower least or give more room"
        )
    own = low + np.floor((room * (1 + 1e-9) - needed) / size).astype(np.int64)
    return Limits(size, float(room), low, np.minimum(high, own))


def _refuse(products: Sequence[str], bad: NDArray[np.bool_], why: str) -> None:
    names = [products[j] for j in np.flatnonzero(bad).tolist()]
    if names:
        raise ValueError(f"product{'s' * (len(names) > 1)} {', '.join(names)}: {why}")


def divide(
    value: Value, start: Ints, limits: Limits, products: Sequence[str], *, max_rounds: int = 8
) -> Division:
    """The best shelf that marginal curves lead to.

    Parameters
    ----------
    value : callable
        Deterministic, and quick for shelves it has met before.
    start : (n,) int64
        First centre; need not keep the limits.
    limits : Limits
    products : sequence of n str
    max_rounds : int
        Times the curves are simulated.

    Returns
    -------
    Division
        Keeps the limits; worth no less than ``start``, where that keeps them.
    """
    centre = np.clip(np.asarray(start, np.int64), limits.least, limits.most)
    best = value(centre) if limits.fits(centre) else -np.inf
    widest = int((limits.most - limits.least).max(initial=0))
    reach, moved, rounds = widest, True, 0
    while moved and rounds < max_rounds:
        rounds += 1
        curves = marginal_curves(value, centre, limits, reach)
        found, worth = _best_jump(value, centre, best, curves, limits)
        if not worth > best:
            found, worth = _pass_units(value, centre, best, curves, limits)
        if not worth > best and len(centre) <= MAX_FORCED:
            found, worth = _forced_steps(value, centre, best, curves, limits)
        moved = worth > best
        if moved:
            # Far away nothing was better; capacities twice as far as the move are tried next.
            reach = min(widest, 2 * int(np.abs(found - centre).max()) + 2)
            centre, best = found, worth
        elif reach < widest:
            reach, moved = widest, True
    levels = marginal_curves(value, centre, limits, widest)
    named = tuple(MarginalCurve(p, *curve) for p, curve in zip(products, levels, strict=True))
    return Division(centre, best, named, rounds)


Curve = tuple[Ints, Floats]


def marginal_curves(value: Value, centre: Ints, limits: Limits, reach: int) -> list[Curve]:
    """Per product: capacities up to ``reach`` units off the centre, and the shelf's value.

    Distances double, so that a product costs about 2 log2(reach) values; its smallest
    capacity is always among them, as leaving the range changes more than any unit.
    """
    doubling = 2 ** np.arange(max(reach, 1).bit_length())
    offsets = np.concatenate([[0], doubling, -doubling, [reach, -reach]])
    curves = []
    for j, (low, high) in enumerate(zip(limits.least, limits.most, strict=True)):
        near = centre[j] + offsets[np.abs(offsets) <= reach]
        levels = np.unique(np.append(np.clip(near, low, high), low))
        shelf = np.repeat(centre[None, :], len(levels), axis=0)
        shelf[:, j] = levels
        curves.append((levels, np.array([value(row) for row in shelf])))
    return curves


def _best_jump(
    value: Value, centre: Ints, best: float, curves: list[Curve], limits: Limits
) -> tuple[Ints, float]:
    """The best shelf of the knapsacks within all, half, a quarter ... of the curves' reach."""
    distance = max(
        int(np.abs(levels - c).max()) for c, (levels, _) in zip(centre, curves, strict=True)
    )
    found, worth = centre, best
    while distance >= 1:
        shelf = knapsack(curves, centre, limits, distance)
        if shelf is not None:
            if (own := value(shelf)) > worth:
                found, worth = shelf, own
            distance = min(distance, int(np.abs(shelf - centre).max()))
        distance //= 2
    return found, worth


def _forced_steps(
    value: Value, centre: Ints, best: float, curves: list[Curve], limits: Limits
) -> tuple[Ints, float]:
    """One product a unit or two away from the centre, the others' best answer to that."""
    found, worth = centre, best
    for j, step in itertools.product(range(len(centre)), (1, -1, 2, -2)):
        level = centre[j] + step
        if limits.least[j] <= level <= limits.most[j]:
            fixed = (np.array([level]), np.interp([level], *curves[j]))
            answer = knapsack([*curves[:j], fixed, *curves[j + 1 :]], centre, limits, 4)
            if answer is not None and (own := value(answer)) > worth:
                found, worth = answer, own
    return found, worth


def knapsack(curves: list[Curve], centre: Ints, limits: Limits, distance: int) -> Ints | None:
    """One capacity per product, gains added up; None where no shelf that near was found.

    Capacities between simulated ones are valued by interpolation: CP-SAT chooses one
    piece of each curve and the units along it. (With a variable per unit instead of per
    piece, ties kept it busy for a second where pieces take 10 ms.) Of shelves equally
    good, the one that changes least.
    """
    model = cp_model.CpModel()
    unit, room = _whole_space(limits)
    near = centre if limits.fits(centre) else limits.least
    taken, terms, prices = [], [], []
    for j, (tried, goal) in enumerate(curves):
        low, high = max(tried[0], centre[j] - distance), min(tried[-1], centre[j] + distance)
        inside = tried[(low < tried) & (tried < high)]
        level = np.unique(np.concatenate([[low], inside, [high]]))
        gain = 100 * (np.interp(level, tried, goal) - np.interp(centre[j], tried, goal))
        gain -= np.abs(level - centre[j])
        length = np.diff(level) if len(level) > 1 else np.zeros(1, np.int64)
        slope = np.diff(gain) / length if len(level) > 1 else np.zeros(1)
        start, gain = level[: len(length)], gain[: len(length)]
        chosen = [model.new_bool_var("") for _ in start]
        along = [model.new_int_var(0, int(most), "") for most in length]
        model.add_exactly_one(chosen)
        first = int(np.searchsorted(start, near[j], side="right")) - 1
        for s, (is_in, units) in enumerate(zip(chosen, along, strict=True)):
            model.add(units <= int(length[s]) * is_in)
            model.add_hint(is_in, s == first)
            model.add_hint(units, int(near[j] - start[s]) if s == first else 0)
        taken.append(cp_model.LinearExpr.weighted_sum(chosen, start.tolist()) + sum(along))
        terms += [*chosen, *along]
        prices += np.rint(np.concatenate([gain, slope])).astype(np.int64).tolist()
    model.add(cp_model.LinearExpr.weighted_sum(taken, unit) <= room)
    model.maximize(cp_model.LinearExpr.weighted_sum(terms, prices))
    return _solved(model, taken, limits)


def _solved(model: cp_model.CpModel, taken: list[Any], limits: Limits) -> Ints | None:
    solver = cp_model.CpSolver()
    solver.parameters.max_deterministic_time = SECONDS_PER_PRODUCT * len(taken)
    # Without all linear relaxations 40 products were far from solved after 25 times the time.
    solver.parameters.linearization_level = 2
    solver.parameters.relative_gap_limit = 1e-4
    solver.parameters.num_workers = 1
    solver.parameters.random_seed = 1
    if solver.solve(model) not in (cp_model.OPTIMAL, cp_model.FEASIBLE):
        return None
    shelf: Ints = np.array([solver.value(units) for units in taken], np.int64)
    return shelf if limits.fits(shelf) else None


def _whole_space(limits: Limits) -> tuple[list[int], int]:
    """Space of a unit and room in whole numbers: CP-SAT wants them, and small."""
    for scale in range(1, 101):
        unit = limits.space * scale
        if np.allclose(unit, np.rint(unit), rtol=0, atol=1e-9):
            return np.rint(unit).astype(np.int64).tolist(), int(limits.room * scale + 1e-6)
    # No common measure: to a millionth of the room, rounded up so that the shelf fits.
    per_part = max(limits.room, 1e-12) / 1e6
    return np.ceil(limits.space / per_part - 1e-6).astype(np.int64).tolist(), 1_000_000


def _pass_units(
    value: Value, centre: Ints, best: float, curves: list[Curve], limits: Limits
) -> tuple[Ints, float]:
    """Units passed from one product to another while that helps, the most promising first.

    The curves miss what only shows when two capacities change at once; and where a reorder
    point is half the capacity, it rises with every second unit only.
    """
    found, worth = centre, best
    passes = _promising(centre, curves, limits)
    for _ in range(MAX_SWEEPS):
        before = worth
        for giver, receiver, units in passes:
            shelf = found.copy()
            shelf[giver] -= units
            shelf[receiver] += int(limits.slack(shelf) / limits.space[receiver])
            shelf[receiver] = min(shelf[receiver], limits.most[receiver])
            if limits.fits(shelf) and (own := value(shelf)) > worth:
                found, worth = shelf, own
        if not worth > before:
            break
    return found, worth


def _promising(centre: Ints, curves: list[Curve], limits: Limits) -> list[tuple[int, int, int]]:
    """(giver, receiver, units given), 1, 2, 4 ... or all, by what the curves promise."""
    n, slack = len(centre), limits.slack(centre)
    worth = [np.interp(units, *curve) for units, curve in zip(centre, curves, strict=True)]
    found = []
    for giver, least in enumerate(limits.least):
        spare = int(centre[giver] - least)
        amounts = {*(2 ** np.arange(spare.bit_length())).tolist(), spare} - {0}
        for units in sorted(amounts):
            loss = worth[giver] - np.interp(centre[giver] - units, *curves[giver])
            more = np.floor((slack + units * limits.space[giver]) / limits.space)
            grown = np.minimum(centre + more.astype(np.int64), limits.most)
            for receiver in np.flatnonzero(grown > centre).tolist():
                if receiver != giver:
                    gain = np.interp(grown[receiver], *curves[receiver]) - worth[receiver]
                    found.append((float(loss - gain), giver, receiver, units))
    return [move[1:] for move in sorted(found)[: PASSES_PER_PRODUCT * n]]
