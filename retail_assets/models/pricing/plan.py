"""What a solve of a sale yields: the chosen prices and the certificate that proves them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from retail_assets.models.pricing.candidates import (
    MARGIN,
    MILLI,
    REVENUE,
    UNITS,
)
from retail_assets.models.pricing.sale_rules import PreparedSale
from retail_assets.models.pricing.search import SearchResult, search

Target = Literal["revenue", "margin_cents", "margin_pct", "sell_through", "weighted"]
MarginKind = Literal["margin_cents", "margin_pct"]
RESOLUTION = 1e10
"""Whole-number steps a weighted score or a margin ratio is measured in."""
SLOPES, BLOCKS = 64, 64
"""Multipliers tried and blocks bounded to show the proof of a sale priced item by item."""


@dataclass(frozen=True)
class Certificate:
    """Why the prices are the best: nothing at any total of the sale can beat them.

    Attributes
    ----------
    objective, upper_bound, gap : float
        In the goal's own unit (cents, percent, or a score between 0 and 1); gap is their
        difference, 0 when proven.
    total_cents : int
        Sum of the chosen prices.
    totals, totals_ruled_out : int
        Totals the prices can add up to, and how many are proven not to hold better ones.
    bounds, closings : int
        Bounds evaluated, blocks of totals closed by a DP or CP-SAT.
    method : str
    blocks : (b, 3) float64
        First and last total in cents and the bound of each block ruled out (in the search's
        whole-number units), to draw the proof.
    """

    objective: float
    upper_bound: float
    gap: float
    total_cents: int
    totals: int
    totals_ruled_out: int
    bounds: int
    closings: int
    method: str
    blocks: NDArray[np.float64]


@dataclass(frozen=True)
class PricePlan:
    """Chosen price per item and what it is expected to bring; arrays of length n."""

    target: Target
    price_cents: NDArray[np.int64]
    expected_units: NDArray[np.float64]
    revenue_cents: NDArray[np.int64]
    margin_cents: NDArray[np.int64]
    sell_through: NDArray[np.float64]
    available: int
    certificate: Certificate

    @property
    def revenue(self) -> int:
        """Revenue of the sale in cents."""
        return int(self.revenue_cents.sum())

    @property
    def margin(self) -> int:
        """Margin of the sale in cents."""
        return int(self.margin_cents.sum())

    @property
    def margin_pct(self) -> float:
        return 100.0 * self.margin / self.revenue if self.revenue else 0.0

    @property
    def sell_through_pct(self) -> float:
        """Units sold in percent of units available, over the sale."""
        return 100.0 * float(self.expected_units.sum()) / self.available


def solve(sale: PreparedSale, value: NDArray[np.float64]) -> SearchResult:
    """Maximise whole-number values by the simplest exact method that applies."""
    if sale.linear:
        # CP-SAT costs a second to import; sales without such rules never pay it
        from retail_assets.models.pricing.constrained import search_constrained

        return search_constrained(sale, value)
    if sale.separable:
        return _apart(sale, value)
    return search(sale.program, value, reach=sale.reach)


def _apart(sale: PreparedSale, value: NDArray[np.float64]) -> SearchResult:
    """The total does not matter: the best price of each item by itself."""
    program = sale.program
    own = value[program.seg_ptr[:-1]]
    parts = np.split(own, program.item_ptr[1:-1])
    choice = program.item_ptr[:-1] + np.array([int(part.argmax()) for part in parts])
    best = float(own[choice].sum())
    totals = int(sale.reach[-1]) if len(sale.reach) > 1 else program.k_max + 1
    blocks = _bounds_by_total(sale, own)
    return SearchResult(best, best, choice, totals, totals, 1, 0, blocks)


def _bounds_by_total(sale: PreparedSale, own: NDArray[np.float64]) -> NDArray[np.float64]:
    """(b, 3) first and last total, and what no prices in between can exceed.

    The search's bound, min over u of sum_i max_j (v_ij - u p_ij) + max(u a, u b), over a
    fixed set of u: what an item loses or gains per unit of price.
    """
    program = sale.program
    offset, starts = program.offset.astype(np.float64), program.item_ptr[:-1]
    step = np.diff(offset)
    inner = (step != 0) & ~np.isin(np.arange(1, len(offset)), starts)
    slopes = np.diff(own)[inner] / step[inner]
    tried = np.append(0.0, np.quantile(slopes, np.linspace(0, 1, SLOPES)) if len(slopes) else [])
    relaxed = [np.maximum.reduceat(own - u * offset, starts).sum() for u in tried]
    edges = np.unique(np.linspace(0, program.k_max + 1, BLOCKS + 1).astype(np.int64))
    low, high = edges[:-1], edges[1:] - 1
    reach = np.maximum(tried[:, None] * low, tried[:, None] * high)
    bounds = (np.array(relaxed)[:, None] + reach).min(axis=0)
    return np.column_stack([low, high, bounds]).astype(np.float64)


def method_of(sale: PreparedSale) -> str:
    if sale.linear:
        return "branch and bound, closed by CP-SAT"
    return "item by item: the total does not matter" if sale.separable else "branch and bound"


def plan_of(
    sale: PreparedSale,
    target: Target,
    found: SearchResult,
    *,
    objective: float,
    upper_bound: float,
    method: str | None = None,
) -> PricePlan:
    """The plan of a search's choice, with its certificate in the goal's own unit."""
    program, candidates = sale.program, sale.candidates
    total = program.total_cents(found.choice)
    prices = program.chosen_prices(found.choice)
    rows = candidates.row_at(prices, total)
    measures = candidates.measures_of(rows)
    blocks = found.blocks.copy()
    if len(blocks):
        blocks[:, :2] = program.base_cents + program.grid_cents * blocks[:, :2]
    certificate = Certificate(
        float(objective), float(upper_bound), float(max(upper_bound - objective, 0.0)),
        total, found.totals,
        found.totals_ruled_out, found.bounds, found.closings, method or method_of(sale), blocks,
    )  # fmt: skip
    units = measures[:, UNITS] / MILLI
    available = np.asarray(candidates.units_available)
    return PricePlan(
        target=target,
        price_cents=prices,
        expected_units=units,
        revenue_cents=measures[:, REVENUE].astype(np.int64),
        margin_cents=measures[:, MARGIN].astype(np.int64),
        sell_through=units / available,
        available=int(available.sum()),
        certificate=certificate,
    )
