"""Steps uphill on a fixed sample of customers: all quantities at once, and single packs.

`ascent` puts them together with the moves of whole products (`product_moves`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from retail_assets.models.assortment.customers import Seasons
from retail_assets.models.assortment.limits import feasible, fits
from retail_assets.models.assortment.season import Season, smallest_quantity
from retail_assets.models.assortment.unit_differences import (
    UnitDifferences,
    mean_profit,
    unit_differences,
)

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Ascent:
    """Where a climb ended.

    Parameters
    ----------
    quantity : (n,) int64
    profit : float
        Mean over the sample, cents.
    replays : int
        Passes over the customers it took.
    """

    quantity: Ints
    profit: float
    replays: int


@dataclass
class Hill:
    """A season on a fixed sample of customers; counts the passes over them."""

    season: Season
    seasons: Seasons
    replays: int = 0
    promise: Floats = field(init=False)
    """(n,) what dropping or adding the product promised when it was last tried."""
    least: Ints = field(init=False)
    most: Ints = field(init=False)

    def __post_init__(self) -> None:
        season = self.season
        self.promise = np.full(season.n_products, np.inf)
        self.least = smallest_quantity(season)
        # Nobody needs more units than there are customers in the largest season.
        useful = int(np.diff(self.seasons.indptr).max()) + season.pack_size
        most = np.minimum(season.max_quantity, np.maximum(useful, self.least))
        self.most = np.where(season.excluded, 0, most // season.pack_size * season.pack_size)

    def profit(self, quantity: Ints) -> float:
        self.replays += 1
        return mean_profit(self.season, self.seasons, quantity)

    def differences(self, quantity: Ints) -> UnitDifferences:
        # Following the odd units about doubles a pass.
        self.replays += 2
        return unit_differences(self.season, self.seasons, quantity)


@dataclass(frozen=True)
class Move:
    """A change of the plan, and what it promises to earn, cents."""

    change: Ints
    gain: float


def sign_steps(hill: Hill, start: Ints, first_step: float, most_steps: int = 60) -> Ascent:
    """All products at once, by the sign of their unit differences; the best plan met."""
    season, pack = hill.season, hill.season.pack_size
    step = np.maximum(np.rint(first_step * start / pack), 1.0)
    quantity, last = start, np.zeros(season.n_products)
    best, best_profit, idle = start, -np.inf, 0
    for _ in range(most_steps):
        now = hill.differences(quantity)
        idle = 0 if now.profit > best_profit else idle + 1
        if now.profit > best_profit:
            best, best_profit = quantity, now.profit
        if idle >= 4 and step.max() < 2:
            break
        moved = _priced_step(hill, quantity, now, np.floor(step).astype(np.int64) * pack)
        direction = np.sign(moved - quantity)
        step = np.where(direction * last > 0, step * 1.5, step)
        step = np.maximum(np.where(direction * last < 0, step / 2, step), 1.0)
        quantity, last = moved, direction
        if not direction.any():
            break
    return Ascent(best, best_profit, hill.replays)


def _priced_step(hill: Hill, quantity: Ints, now: UnitDifferences, step: Ints) -> Ints:
    """The step at the lowest prices of money and space at which it keeps within limits."""
    season = hill.season
    price_of_money, price_of_space = 0.0, 0.0

    def step_at(money: float, space: float) -> Ints:
        toll = money * season.unit_cost + space * season.space
        # No product enters here: with fixed costs a first unit's sign says nothing.
        up = (now.plus > toll) & (quantity > 0)
        down = (now.minus + toll > 0) & ~(up & (now.plus - toll >= now.minus + toll))
        lowered = np.maximum(quantity - step, np.minimum(hill.least, quantity))
        moved: Ints = np.where(down, lowered, np.minimum(quantity + up * step, hill.most))
        return moved

    moved = step_at(0.0, 0.0)
    if fits(season, moved):
        return moved
    if moved @ season.unit_cost > season.budget:
        cost = np.maximum(season.unit_cost, 1e-9)
        price_of_money = _lowest_price(
            lambda p: bool(step_at(p, 0.0) @ season.unit_cost <= season.budget),
            float(np.max(now.plus / cost)),
        )
    if step_at(price_of_money, 0.0) @ season.space > season.space_limit:
        room = np.maximum(season.space, 1e-9)
        price_of_space = _lowest_price(
            lambda p: bool(step_at(price_of_money, p) @ season.space <= season.space_limit),
            float(np.max(now.plus / room)),
        )
    return feasible(season, step_at(price_of_money, price_of_space), -now.minus)


def _lowest_price(within: Callable[[float], bool], high: float) -> float:
    """Bisection; ``high`` where even it is not enough."""
    low = 0.0
    for _ in range(30):
        middle = (low + high) / 2
        low, high = (low, middle) if within(middle) else (middle, high)
    return high


def pack_moves(hill: Hill, at: Ascent, *, exchanges: int = 40) -> Ascent:
    """One pack more or less of a product, or for another's, until none of them helps."""
    while True:
        now = hill.differences(at.quantity)
        better = take(hill, at, _single_packs(hill, at.quantity, now), tries=10)
        if better is None:
            better = take(hill, at, _exchanges(hill, at.quantity, now, exchanges), exchanges)
        if better is None:
            return at
        at = better


def _room(hill: Hill, quantity: Ints) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """(n,) whether a product that is carried can have a pack more, and a pack less."""
    pack, carried = hill.season.pack_size, quantity > 0
    return carried & (quantity + pack <= hill.most), carried & (quantity - pack >= hill.least)


def _single_packs(hill: Hill, quantity: Ints, now: UnitDifferences) -> list[Move]:
    pack = hill.season.pack_size
    more, less = _room(hill, quantity)
    plus = np.where(more, now.plus * pack, -np.inf)
    minus = np.where(less, now.minus * pack, -np.inf)
    gain = np.maximum(plus, minus)
    signed = np.where(plus >= minus, pack, -pack)
    return [
        Move(_one(hill, (product, signed[product])), float(gain[product]))
        for product in np.argsort(-gain, kind="stable")
        if gain[product] > 0
    ]


def _exchanges(hill: Hill, quantity: Ints, now: UnitDifferences, most: int) -> list[Move]:
    """The pairs of a pack more and packs less that promise most, within the limits.

    Where a limit is met, as many packs go as make room. Promises leave out that the two
    may be substitutes, so pairs that promise a small loss are tried as well.
    """
    season, pack = hill.season, hill.season.pack_size
    more, less = (np.flatnonzero(room) for room in _room(hill, quantity))
    spare_money = season.budget - float(quantity @ season.unit_cost) + 1e-6
    spare_room = season.space_limit - float(quantity @ season.space) + 1e-9
    best_more = more[np.argsort(-(now.plus * pack)[more], kind="stable")][:most]
    moves = []
    for i in best_more:
        missing = np.ones(len(less), np.int64)
        for need, spare in ((season.unit_cost, spare_money), (season.space, spare_room)):
            lack = need[i] * pack[i] - spare
            if lack > 0:
                with np.errstate(divide="ignore"):
                    packs = np.ceil(lack / (need * pack)[less] - 1e-9)
                missing = np.maximum(missing, np.minimum(packs, 1e9).astype(np.int64))
        units = missing * pack[less]
        possible = (less != i) & (quantity[less] - units >= hill.least[less])
        gain = now.plus[i] * pack[i] + now.minus[less] * units
        for which in np.flatnonzero(possible)[np.argsort(-gain[possible], kind="stable")][:most]:
            change = _one(hill, (i, pack[i]), (less[which], -units[which]))
            moves.append(Move(change, float(gain[which])))
    return sorted(moves, key=lambda move: -move.gain)[:most]


def _one(hill: Hill, *changes: tuple[int, int]) -> Ints:
    change = np.zeros(hill.season.n_products, np.int64)
    for product, units in changes:
        change[product] += units
    return change


def take(hill: Hill, at: Ascent, moves: Sequence[Move], tries: int) -> Ascent | None:
    """As many of the best moves as help together, else the first that helps alone."""
    together = len(moves)
    while together >= 1:
        quantity = _combined(hill, at.quantity, moves[:together])
        better = _improves(hill, at, quantity)
        if better is not None:
            return better
        together //= 2
    for move in moves[1:tries]:
        quantity = _combined(hill, at.quantity, [move])
        better = _improves(hill, at, quantity)
        if better is not None:
            return better
    return None


def _improves(hill: Hill, at: Ascent, quantity: Ints) -> Ascent | None:
    if np.array_equal(quantity, at.quantity):
        return None
    profit = hill.profit(quantity)
    # Rounding of sums of 1e5 customers' cents stays below a billionth.
    better = profit > at.profit + 1e-9 * max(1.0, abs(at.profit))
    return Ascent(quantity, profit, hill.replays) if better else None


def _combined(hill: Hill, quantity: Ints, moves: Sequence[Move]) -> Ints:
    """The moves one after another, without those that break a limit by then."""
    for move in moves:
        moved = quantity + move.change
        # Two moves that each leave a product its smallest buy may take it away together.
        small = (moved > 0) & (moved < hill.least) | hill.season.must_carry & (moved <= 0)
        if not small.any() and moved.min() >= 0 and fits(hill.season, moved):
            quantity = moved
    return quantity
