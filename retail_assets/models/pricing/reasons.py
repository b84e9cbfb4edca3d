"""Why this price: what the next lower and the next higher price would do to the sale.

Each neighbour is read at the total it leads to, so the sentence counts what the move does to
the demand of all other items too.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from retail_assets.models.pricing.candidates import MARGIN, MILLI, REVENUE, UNITS, Candidates
from retail_assets.models.pricing.kernels import own_value
from retail_assets.models.pricing.plan import PricePlan
from retail_assets.models.pricing.program import Program, compile_program


@dataclass(frozen=True)
class Move:
    """One item at a neighbouring price, all others unchanged: change of the whole sale.

    ``rules`` names what bars it; then the changes are zero. "others" stands for other items
    that are not legal at the new total.
    """

    price_cents: int
    revenue_cents: int
    margin_cents: int
    units: float
    rules: tuple[str, ...] = ()


@dataclass(frozen=True)
class PriceReason:
    """The neighbours of one chosen price; ``None`` at the end of the item's candidates."""

    product: str
    price_cents: int
    lower: Move | None
    higher: Move | None

    def sentence(self) -> str:
        """In words, amounts in currency units of a hundred cents."""
        parts = [
            _words(verb, move)
            for verb, move in (("lowering", self.lower), ("raising", self.higher))
            if move is not None
        ]
        return "; ".join(parts) if parts else "the only candidate price"


def _words(verb: str, move: Move) -> str:
    to = f"{verb} to {move.price_cents / 100:.2f}"
    if move.rules:
        return f"{to} is barred by {', '.join(move.rules)}"
    return (
        f"{to} changes the sale's revenue by {move.revenue_cents / 100:+.2f}, margin by"
        f" {move.margin_cents / 100:+.2f}, units by {move.units:+.1f}"
    )


def reasons(candidates: Candidates, plan: PricePlan) -> tuple[PriceReason, ...]:
    """The neighbours of every chosen price, legal or not, in the order of the products."""
    program = compile_program(candidates, ignored_rules=-1)
    legal = compile_program(candidates)
    price = np.concatenate([p[:, 0] for p in program.prices])
    chosen = program.item_ptr[:-1].copy()
    for i in range(len(chosen)):
        own = price[program.item_ptr[i] : program.item_ptr[i + 1]]
        chosen[i] += int(np.searchsorted(own, plan.price_cents[i]))
    result = []
    for i, product in enumerate(candidates.products):
        moves: list[Move | None] = []
        for step in (-1, 1):
            to = chosen[i] + step
            inside = program.item_ptr[i] <= to < program.item_ptr[i + 1]
            moves.append(_move(candidates, legal, plan, i, int(price[to])) if inside else None)
        result.append(PriceReason(product, int(plan.price_cents[i]), moves[0], moves[1]))
    return tuple(result)


def _move(candidates: Candidates, legal: Program, plan: PricePlan, i: int, to: int) -> Move:
    """The sale with item i at price ``to``."""
    prices = plan.price_cents.copy()
    prices[i] = to
    total = int(prices.sum())
    choice = _choice(legal, prices)
    if choice is not None:
        sums = [
            own_value(
                legal.offset, legal.seg_ptr, legal.seg_from, legal.seg_to,
                np.ascontiguousarray(legal.measures[:, column]), choice,
            )
            for column in (REVENUE, MARGIN, UNITS)
        ]  # fmt: skip
        if sums[0] > -np.inf:
            units = sums[2] / MILLI - float(plan.expected_units.sum())
            return Move(to, int(sums[0]) - plan.revenue, int(sums[1]) - plan.margin, units)
    rows = np.flatnonzero(
        (candidates.item == i)
        & (candidates.price_cents == to)
        & (candidates.total_from_cents <= total)
        & (candidates.total_to_cents >= total)
    )
    if len(rows) == 0:
        return Move(to, 0, 0, 0.0, ("no demand known at that total",))
    mask = 0 if candidates.broken is None else int(candidates.broken[rows[0]])
    names = tuple(r for bit, r in enumerate(candidates.rules) if mask >> bit & 1)
    return Move(to, 0, 0, 0.0, names or ("others",))


def _choice(program: Program, prices: NDArray[np.int64]) -> NDArray[np.int64] | None:
    """Candidate of each item at its price; None when one has no such legal candidate."""
    choice = np.zeros(len(prices), np.int64)
    for i, own in enumerate(program.prices):
        at = int(np.searchsorted(own[:, 0], prices[i]))
        if at == len(own) or own[at, 0] != prices[i]:
            return None
        choice[i] = program.item_ptr[i] + at
    return choice
