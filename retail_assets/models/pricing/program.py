"""Candidates laid out for the search: sums on a grid, rows by candidate, merged families.

Totals are counted in steps of the greatest common divisor of all price differences: prices
that end in .99 have sums on a coarse grid with an offset, which this finds by itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from retail_assets.models.pricing.candidates import Candidates

MOST_TUPLES = 20_000
"""Largest number of price combinations of one family that is listed."""


class NoLegalPriceError(ValueError):
    """No combination of prices satisfies the rules."""


@dataclass(frozen=True)
class Program:
    """A sale on the grid of totals; a *unit* is an item, or items priced together.

    ``total_cents = base_cents + grid_cents * k`` with k the sum of the chosen offsets.
    """

    item_ptr: NDArray[np.int64]
    offset: NDArray[np.int64]
    seg_ptr: NDArray[np.int64]
    seg_from: NDArray[np.int64]
    seg_to: NDArray[np.int64]
    measures: NDArray[np.float64]
    base_cents: int
    grid_cents: int
    k_max: int
    units: tuple[tuple[int, ...], ...]
    prices: tuple[NDArray[np.int64], ...]
    """Per unit, (candidates, members): what each member costs in cents."""

    def chosen_prices(self, choice: NDArray[np.int64]) -> NDArray[np.int64]:
        """Price per item, (n,), of one candidate per unit (global candidate numbers)."""
        result = np.zeros(sum(map(len, self.units)), np.int64)
        for unit, members in enumerate(self.units):
            result[list(members)] = self.prices[unit][choice[unit] - self.item_ptr[unit]]
        return result

    def total_cents(self, choice: NDArray[np.int64]) -> int:
        return self.base_cents + self.grid_cents * int(self.offset[choice].sum())

    def segment_at(self, candidate: int, k: int) -> int:
        """The candidate's segment at grid total ``k``; -1 where it is not legal there."""
        start, stop = self.seg_ptr[candidate], self.seg_ptr[candidate + 1]
        s = start + int(np.searchsorted(self.seg_from[start:stop], k, side="right")) - 1
        return s if s >= start and self.seg_to[s] >= k else -1

    def totals_of(self, choice: NDArray[np.int64]) -> NDArray[np.float64]:
        """Measures of a choice at its own total, (4,); the choice must be legal there."""
        k = int(self.offset[choice].sum())
        rows = [self.segment_at(int(c), k) for c in choice]
        return np.asarray(self.measures[rows].sum(axis=0), np.float64)


def compile_program(candidates: Candidates, *, ignored_rules: int = 0) -> Program:
    """Lay out the legal rows; bits of ``ignored_rules`` are treated as kept.

    Raises
    ------
    NoLegalPriceError
        An item has no legal row at all.
    """
    rows = np.arange(len(candidates.item))
    if candidates.broken is not None:
        rows = np.flatnonzero((candidates.broken & ~ignored_rules) == 0)
    item, price = candidates.item[rows], candidates.price_cents[rows]
    n = len(candidates.products)
    missing = np.bincount(item, minlength=n) == 0
    if missing.any():
        raise NoLegalPriceError(
            f"{candidates.products[int(missing.argmax())]}: no legal price; see explain()"
        )
    first = np.flatnonzero(np.append(True, (np.diff(item) != 0) | (np.diff(price) != 0)))
    cand_item, cand_price = item[first], price[first]
    item_ptr = np.searchsorted(cand_item, np.arange(n + 1)).astype(np.int64)
    lowest, highest = cand_price[item_ptr[:-1]], cand_price[item_ptr[1:] - 1]
    difference = cand_price - lowest[cand_item]
    grid = max(int(np.gcd.reduce(difference)), 1)
    base, k_max = int(lowest.sum()), int((highest - lowest).sum()) // grid
    seg_from = np.maximum(-((base - candidates.total_from_cents[rows]) // grid), 0)
    seg_to = np.minimum((candidates.total_to_cents[rows] - base) // grid, k_max)
    used = seg_from <= seg_to
    cand_of_seg = np.repeat(np.arange(len(first)), np.diff(np.append(first, len(rows))))[used]
    return Program(
        item_ptr=item_ptr,
        offset=difference // grid,
        seg_ptr=np.searchsorted(cand_of_seg, np.arange(len(first) + 1)).astype(np.int64),
        seg_from=seg_from[used],
        seg_to=seg_to[used],
        measures=candidates.measures()[rows][used],
        base_cents=base,
        grid_cents=grid,
        k_max=k_max,
        units=tuple((i,) for i in range(n)),
        prices=tuple(np.split(cand_price[:, None], item_ptr[1:-1])),
    )


def family_candidates(
    program: Program,
    members: Sequence[int],
    same: Sequence[Sequence[int]],
    order: Sequence[Sequence[int]],
) -> list[tuple[int, ...]]:
    """Combinations of the members' candidates that keep the family's rules.

    Parameters
    ----------
    same : groups of items sold at one price (size variants)
    order : chains of items, each priced at or below the next
    """
    price = np.concatenate([p[:, 0] for p in program.prices])
    place = {item: position for position, item in enumerate(members)}
    pairs = [(place[g[0]], place[i], True) for g in same for i in g[1:]]
    pairs += [(place[a], place[b], False) for g in order for a, b in pairwise(g)]
    checks = [[(a, b, eq) for a, b, eq in pairs if max(a, b) == at] for at in range(len(members))]
    partial: list[tuple[int, ...]] = [()]
    for at, item in enumerate(members):
        grown = []
        for head in partial:
            for c in range(program.item_ptr[item], program.item_ptr[item + 1]):
                row = (*head, c)
                if all(
                    price[row[a]] == price[row[b]] if eq else price[row[a]] <= price[row[b]]
                    for a, b, eq in checks[at]
                ):
                    grown.append(row)
        if len(grown) > MOST_TUPLES:
            raise ValueError(
                f"a family of {len(members)} items has over {MOST_TUPLES} combinations; split it"
            )
        partial = grown
    return partial


def merge(
    program: Program, families: Sequence[tuple[tuple[int, ...], list[tuple[int, ...]]]]
) -> Program:
    """Price each family as one unit: its listed combinations become the unit's candidates.

    Exact: offsets and measures add up, and segments are cut wherever a member's are.
    """
    if not families:
        return program
    joined = {i for members, _ in families for i in members}
    units: list[tuple[int, ...]] = []
    combos: list[list[tuple[int, ...]]] = []
    for i, own in enumerate(program.units):
        if i not in joined:
            units.append(own)
            combos.append([(c,) for c in range(program.item_ptr[i], program.item_ptr[i + 1])])
    for members, listed in families:
        if not listed:
            raise NoLegalPriceError(f"items {members}: no combination of prices fits the family")
        units.append(tuple(members))
        combos.append(listed)
    price = np.concatenate([p[:, 0] for p in program.prices])
    pieces = [_intersect(program, combo) for listed in combos for combo in listed]
    offset = np.array(
        [program.offset[list(combo)].sum() for listed in combos for combo in listed], np.int64
    )
    item_ptr = np.cumsum([0, *map(len, combos)]).astype(np.int64)
    return Program(
        item_ptr=item_ptr,
        offset=offset,
        seg_ptr=np.cumsum([0, *(len(p[0]) for p in pieces)]).astype(np.int64),
        seg_from=np.concatenate([p[0] for p in pieces]),
        seg_to=np.concatenate([p[1] for p in pieces]),
        measures=np.concatenate([p[2] for p in pieces]),
        base_cents=program.base_cents,
        grid_cents=program.grid_cents,
        k_max=program.k_max,
        units=tuple(units),
        prices=tuple(price[np.array(listed)] for listed in combos),
    )


def _intersect(
    program: Program, combo: tuple[int, ...]
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]:
    """Segments on which all candidates of a combination are legal, with summed measures."""
    spans = [slice(program.seg_ptr[c], program.seg_ptr[c + 1]) for c in combo]
    if len(combo) == 1:
        own = spans[0]
        return program.seg_from[own], program.seg_to[own], program.measures[own]
    cuts = np.unique(
        np.concatenate([a for s in spans for a in (program.seg_from[s], program.seg_to[s] + 1)])
    )
    start, stop = cuts[:-1], cuts[1:] - 1
    inside = np.ones(len(start), bool)
    total = np.zeros((len(start), program.measures.shape[1]))
    for span in spans:
        where = np.searchsorted(program.seg_from[span], start, side="right") - 1
        held = where >= 0
        where = np.maximum(where, 0)
        if span.stop == span.start:
            return start[:0], stop[:0], total[:0]
        inside &= held & (program.seg_to[span][where] >= start)
        total += program.measures[span][where]
    return start[inside], stop[inside], total[inside]
