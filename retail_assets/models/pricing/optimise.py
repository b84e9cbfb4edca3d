"""One price per item of a sale, proven best for a goal.

The source's "max margin" is the margin *percent* (67 % of $4,289 earns less than 58 % of
$6,606), so a goal says which margin it means: `margin_cents` adds up over items, `margin_pct`
is a ratio (Dinkelbach, Management Science 13(7), 1967).
"""

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
    Candidates,
)
from retail_assets.models.pricing.sale_rules import PreparedSale, SaleRules, prepare
from retail_assets.models.pricing.search import SearchResult, search

Target = Literal["revenue", "margin_cents", "margin_pct", "sell_through", "weighted"]
MarginKind = Literal["margin_cents", "margin_pct"]
RESOLUTION = 1e10
"""Whole-number steps a weighted score or a margin ratio is measured in."""
SHOWN_TOTALS = 100_000
"""Totals up to which a sale whose total does not matter is still searched (a millisecond), so
that its certificate holds a bound for every total."""
TIE_STEPS = 1e12
"""Whole-number steps units and, below them, revenue share in the sell-through goal."""
COLUMN = {"revenue": REVENUE, "margin_cents": MARGIN}


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
    blocks = np.array([[0.0, float(program.k_max), best]])
    if program.k_max <= SHOWN_TOTALS:
        blocks = search(program, value, reach=sale.reach).blocks
    return SearchResult(best, best, choice, totals, totals, 1, 0, blocks)


def method_of(sale: PreparedSale) -> str:
    if sale.linear:
        return "branch and bound, closed by CP-SAT"
    return "item by item: the total does not matter" if sale.separable else "branch and bound"


def optimise(
    candidates: Candidates | PreparedSale,
    target: Target,
    *,
    rules: SaleRules | None = None,
    weights: tuple[float, float, float] = (2.0, 5.0, 3.0),
    margin: MarginKind = "margin_cents",
) -> PricePlan:
    """Choose one price per item so that demand is read at the resulting total.

    Parameters
    ----------
    candidates : Candidates, or a `PreparedSale` to solve for several goals
    target : revenue, margin_cents, margin_pct, sell_through, or weighted
    rules : SaleRules, optional
        Rules of the whole sale; a `PreparedSale` holds its own.
    weights : revenue, margin, sell-through
        For "weighted"; each target is scaled between its worst and best over the sale.
    margin : which margin the weighted goal means.

    Raises
    ------
    NoLegalPriceError
        No prices satisfy the rules; `explain` says which rules and the nearest prices.

    Examples
    --------
    The source's toy: a ball at $2 or $4, a pen at $1 or $3 (prices in whole dollars here).

    >>> toy = Candidates(
    ...     ("Ball", "Pen"), np.array([9, 9]), np.array([0, 0]),
    ...     item=[0, 0, 0, 1, 1, 1, 1], price_cents=[2, 2, 4, 1, 1, 3, 3],
    ...     total_from_cents=[3, 6, 3, 3, 5, 3, 7], total_to_cents=[5, 7, 7, 4, 7, 6, 7],
    ...     demand=[4, 3, 2, 7, 8, 1, 0],
    ... )
    >>> plan = optimise(toy, "revenue")
    >>> plan.price_cents.tolist(), plan.certificate.total_cents, plan.revenue
    ([4, 1], 5, 16)
    """
    sale = candidates if isinstance(candidates, PreparedSale) else prepare(candidates, rules)
    if target == "margin_pct":
        from retail_assets.models.pricing.ratio import best_margin_pct

        return best_margin_pct(sale)
    if target == "weighted":
        from retail_assets.models.pricing.weighted import best_weighted

        return best_weighted(sale, weights, margin)
    if target == "sell_through":
        return _most_units(sale)
    found = solve(sale, sale.program.measures[:, COLUMN[target]])
    return plan_of(sale, target, found, objective=found.value, upper_bound=found.upper_bound)


def _most_units(sale: PreparedSale) -> PricePlan:
    """Most units, and among such plans the most revenue (it sells near cost otherwise).

    A unit's thousandth weighs more than all revenue together; revenue is told apart in
    ``places`` steps.
    """
    program = sale.program
    available = MILLI * float(np.sum(sale.candidates.units_available))
    places = np.floor(TIE_STEPS / available)
    starts = program.seg_ptr[program.item_ptr[:-1]]
    revenue = program.measures[:, REVENUE]
    most = max(float(np.maximum.reduceat(revenue, starts).sum()), 1.0)
    share = np.floor(revenue * ((places - 1) / most))
    found = solve(sale, program.measures[:, UNITS] * places + share)
    unit = 100.0 / available
    return plan_of(
        sale,
        "sell_through",
        found,
        objective=float(found.value // places) * unit,
        upper_bound=float(found.upper_bound // places) * unit,
    )


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
