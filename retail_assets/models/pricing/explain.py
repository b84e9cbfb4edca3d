"""Why no prices fit: the item, its nearest price and the rules in its way, or the rules of the
sale that contradict each other, none of which can be left out.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from retail_assets.models.pricing.candidates import CHANGED, Candidates
from retail_assets.models.pricing.optimise import optimise
from retail_assets.models.pricing.plan import solve
from retail_assets.models.pricing.program import NoLegalPriceError
from retail_assets.models.pricing.sale_rules import PreparedSale, SaleRules, prepare


@dataclass(frozen=True)
class BlockedItem:
    """An item without a legal price: the candidate that breaks fewest rules, and which."""

    product: str
    nearest_price_cents: int
    rules: tuple[str, ...]


@dataclass(frozen=True)
class Conflict:
    """Rules that cannot hold together, none of which can be dropped.

    ``attainable`` gives, for each conflicting sum over the sale, the best it can reach while
    the other conflicting rules hold (percent, percent, or number of changes).
    """

    rules: tuple[str, ...]
    attainable: dict[str, float]


@dataclass(frozen=True)
class Explanation:
    """What stands in the way of any prices; all empty when prices exist."""

    items: tuple[BlockedItem, ...] = ()
    conflict: Conflict | None = None

    @property
    def feasible(self) -> bool:
        return not self.items and self.conflict is None

    def message(self) -> str:
        """One line per cause, for people."""
        lines = [
            f"{b.product}: no legal price; nearest {b.nearest_price_cents} cents,"
            f" blocked by {', '.join(b.rules)}"
            for b in self.items
        ]
        if self.conflict is not None:
            lines.append(f"cannot hold together: {', '.join(self.conflict.rules)}")
            lines += [f"{k}: at best {v:.4g}" for k, v in self.conflict.attainable.items()]
        return "\n".join(lines)


def blocked_items(candidates: Candidates) -> tuple[BlockedItem, ...]:
    """Items whose every row breaks a rule, with the row that breaks fewest.

    Among rows that break equally few, the one nearest the price charged now (else cheapest).
    """
    legal = candidates.legal
    without = np.flatnonzero(np.bincount(candidates.item[legal], minlength=_n(candidates)) == 0)
    broken, prior, items = candidates.broken, candidates.prior_price_cents, []
    for i in without.tolist():
        assert broken is not None
        rows = np.flatnonzero(candidates.item == i)
        count = np.array([int(b).bit_count() for b in broken[rows]])
        price = candidates.price_cents[rows]
        away = abs(price - int(prior[i])) if prior is not None and prior[i] > 0 else price
        row = rows[np.lexsort((away, count))[0]]
        mask = int(broken[row])
        names = tuple(r for bit, r in enumerate(candidates.rules) if mask >> bit & 1)
        items.append(BlockedItem(candidates.products[i], int(candidates.price_cents[row]), names))
    return tuple(items)


def explain(candidates: Candidates, rules: SaleRules | None = None) -> Explanation:
    """Find what makes a sale infeasible, item by item first, then over the sale.

    A minimal conflicting set by deletion: drop one rule at a time for good whenever the
    rest still conflict (CP-SAT's own core of assumptions was not minimal: it returned all
    four rules where two conflict).
    """
    items = blocked_items(candidates)
    if items:
        return Explanation(items=items)
    parts = (rules or SaleRules()).parts()
    names = [*candidates.rules, *parts]
    if _feasible(candidates, parts, names):
        return Explanation()
    kept = list(names)
    for name in names:
        rest = [k for k in kept if k != name]
        if not _feasible(candidates, parts, rest):
            kept = rest
    attainable = {
        name: _attainable(candidates, parts, name, [k for k in kept if k != name])
        for name in kept
        if name in ("max_changes", "min_margin_pct", "min_sell_through_pct")
    }
    return Explanation(conflict=Conflict(tuple(kept), attainable))


def _n(candidates: Candidates) -> int:
    return len(candidates.products)


def _prepared(candidates: Candidates, parts: dict[str, SaleRules], kept: list[str]) -> PreparedSale:
    """The sale under some of its rules."""
    ignored = sum(1 << bit for bit, r in enumerate(candidates.rules) if r not in kept)
    union = SaleRules.union([parts[k] for k in kept if k in parts])
    return prepare(candidates, union, ignored_rules=ignored)


def _feasible(candidates: Candidates, parts: dict[str, SaleRules], kept: list[str]) -> bool:
    try:
        optimise(_prepared(candidates, parts, kept), "sell_through")
    except NoLegalPriceError:
        return False
    return True


def _attainable(
    candidates: Candidates, parts: dict[str, SaleRules], name: str, others: list[str]
) -> float:
    """The best a sum over the sale can reach under the other rules."""
    sale = _prepared(candidates, parts, others)
    if name == "min_margin_pct":
        return optimise(sale, "margin_pct").margin_pct
    if name == "min_sell_through_pct":
        return optimise(sale, "sell_through").sell_through_pct
    return float(-solve(sale, -sale.program.measures[:, CHANGED]).value)
