"""Rules on a whole sale, and the sale made ready to be solved under them.

Size variants and family ladders become joint units (exact, no relaxation); sums over the sale
(changes, margin, sell-through) stay as linear rules that `constrained` closes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from retail_assets.models.pricing.candidates import (
    CHANGED,
    MARGIN,
    MILLI,
    REVENUE,
    UNITS,
    Candidates,
)
from retail_assets.models.pricing.program import (
    NoLegalPriceError,
    Program,
    compile_program,
    family_candidates,
    merge,
)
from retail_assets.models.pricing.search import reach_counts

BASIS_POINTS = 10_000


@dataclass(frozen=True)
class SaleRules:
    """What must hold for a sale as a whole; ``None`` or empty leaves a rule out.

    Parameters
    ----------
    same_price : groups of item indices with one price (size variants)
    price_order : chains of item indices, each priced at or below the next
    max_changes : most items whose price may differ from `Candidates.prior_price_cents`
    min_margin_pct : least margin of the sale in percent of its revenue
    min_sell_through_pct : least units sold in percent of units available
    """

    same_price: Sequence[Sequence[int]] = ()
    price_order: Sequence[Sequence[int]] = ()
    max_changes: int | None = None
    min_margin_pct: float | None = None
    min_sell_through_pct: float | None = None

    def parts(self) -> dict[str, SaleRules]:
        """Each rule by its name, alone, for the search for a minimal conflict."""
        alone: dict[str, SaleRules] = {}
        for i, group in enumerate(self.same_price):
            alone[f"same_price[{i}]"] = SaleRules(same_price=(group,))
        for i, group in enumerate(self.price_order):
            alone[f"price_order[{i}]"] = SaleRules(price_order=(group,))
        for name in ("max_changes", "min_margin_pct", "min_sell_through_pct"):
            if getattr(self, name) is not None:
                alone[name] = replace(SaleRules(), **{name: getattr(self, name)})
        return alone

    @staticmethod
    def union(parts: Sequence[SaleRules]) -> SaleRules:
        """One set of rules of several disjoint parts."""
        joined = SaleRules(
            same_price=[g for p in parts for g in p.same_price],
            price_order=[g for p in parts for g in p.price_order],
        )
        for name in ("max_changes", "min_margin_pct", "min_sell_through_pct"):
            given = [getattr(p, name) for p in parts if getattr(p, name) is not None]
            if given:
                joined = replace(joined, **{name: given[0]})
        return joined


@dataclass(frozen=True)
class LinearRule:
    """A sum over the sale, ``sum of coefficient >= at_least``, in whole numbers."""

    name: str
    coefficient: NDArray[np.float64]
    at_least: float


@dataclass(frozen=True)
class PreparedSale:
    """A sale laid out once, to be solved for many goals; see `prepare`."""

    candidates: Candidates
    program: Program
    reach: NDArray[np.int32]
    linear: tuple[LinearRule, ...]
    separable: bool
    """True when no legal row depends on the total: each item can be priced alone."""


def prepare(
    candidates: Candidates, rules: SaleRules | None = None, *, ignored_rules: int = 0
) -> PreparedSale:
    """Lay out a sale under its rules.

    Raises
    ------
    NoLegalPriceError
        An item has no legal price, or a family no combination.
    ValueError
        A rule names an item outside the sale, or counts changes without prior prices.
    """
    rules = rules or SaleRules()
    program = compile_program(candidates, ignored_rules=ignored_rules)
    program = merge(program, _families(program, rules, candidates.products))
    rows = np.diff(program.seg_ptr[program.item_ptr])
    if (rows == 0).any():
        first = program.units[int((rows == 0).argmax())][0]
        raise NoLegalPriceError(
            f"{candidates.products[first]}: no price is legal at a total the sale can have"
        )
    return PreparedSale(
        candidates, program, reach_counts(program), _linear(candidates, program, rules),
        _separable(program),
    )  # fmt: skip


def _families(
    program: Program, rules: SaleRules, products: Sequence[str]
) -> list[tuple[tuple[int, ...], list[tuple[int, ...]]]]:
    """Items tied by any rule, with the price combinations that keep those rules."""
    groups = [tuple(g) for g in (*rules.same_price, *rules.price_order)]
    root: dict[int, int] = {}

    def find(i: int) -> int:
        while root.setdefault(i, i) != i:
            i = root[i]
        return i

    for group in groups:
        for i in group:
            if not 0 <= i < len(products):
                raise ValueError(f"a sale rule names item {i}; the sale has {len(products)}")
            root[find(i)] = find(group[0])
    families = []
    for head in sorted({find(i) for i in root}):
        members = tuple(sorted(i for i in root if find(i) == head))
        if len(members) == 1:
            continue
        same = [g for g in rules.same_price if find(g[0]) == head]
        order = [g for g in rules.price_order if find(g[0]) == head]
        combos = family_candidates(program, members, same, order)
        if not combos:
            names = ", ".join(products[i] for i in members)
            raise NoLegalPriceError(f"{names}: no prices fit the family's rules together")
        families.append((members, combos))
    return families


def _linear(candidates: Candidates, program: Program, rules: SaleRules) -> tuple[LinearRule, ...]:
    measures, linear = program.measures, []
    if rules.max_changes is not None:
        if candidates.prior_price_cents is None:
            raise ValueError("max_changes: give prior_price_cents, or drop the rule")
        linear.append(LinearRule("max_changes", -measures[:, CHANGED], -float(rules.max_changes)))
    if rules.min_margin_pct is not None:
        floor = round(rules.min_margin_pct * BASIS_POINTS / 100)
        coefficient = BASIS_POINTS * measures[:, MARGIN] - floor * measures[:, REVENUE]
        linear.append(LinearRule("min_margin_pct", coefficient, 0.0))
    if rules.min_sell_through_pct is not None:
        available = int(np.sum(candidates.units_available)) * MILLI
        least = float(np.ceil(rules.min_sell_through_pct / 100 * available - 1e-9))
        linear.append(LinearRule("min_sell_through_pct", measures[:, UNITS], least))
    return tuple(linear)


def _separable(program: Program) -> bool:
    """Does every candidate have one value at all reachable totals (or none anywhere)?"""
    lows = np.minimum.reduceat(program.offset, program.item_ptr[:-1]).sum()
    highs = np.maximum.reduceat(program.offset, program.item_ptr[:-1])
    counts = np.diff(program.seg_ptr)
    if (counts == 0).any():
        return False
    first, last = program.seg_ptr[:-1], program.seg_ptr[1:] - 1
    if (program.seg_from[first] > lows).any() or (program.seg_to[last] < highs.sum()).any():
        return False
    inner = np.ones(len(program.seg_from), bool)
    inner[first] = False
    later = np.flatnonzero(inner)
    if (program.seg_from[later] != program.seg_to[later - 1] + 1).any():
        return False
    return bool((program.measures[later] == program.measures[later - 1]).all())
