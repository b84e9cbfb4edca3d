"""One price per item of a sale, proven best for a goal.

The source's "max margin" is the margin *percent* (67 % of $4,289 earns less than 58 % of
$6,606), so a goal says which margin it means: `margin_cents` adds up over items, `margin_pct`
is a ratio (Dinkelbach, Management Science 13(7), 1967).
"""

from __future__ import annotations

import numpy as np

from retail_assets.models.pricing.candidates import MARGIN, MILLI, REVENUE, UNITS, Candidates
from retail_assets.models.pricing.plan import MarginKind, PricePlan, Target, plan_of, solve
from retail_assets.models.pricing.ratio import best_margin_pct
from retail_assets.models.pricing.sale_rules import PreparedSale, SaleRules, prepare
from retail_assets.models.pricing.weighted import best_weighted

TIE_STEPS = 1e12
"""Whole-number steps units and, below them, revenue share in the sell-through goal."""
COLUMN = {"revenue": REVENUE, "margin_cents": MARGIN}


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
    target : {"revenue", "margin_cents", "margin_pct", "sell_through", "weighted"}
    rules : SaleRules, optional
        Rules of the whole sale; a `PreparedSale` holds its own.
    weights : (float, float, float)
        Of revenue, margin and sell-through in "weighted"; each target is scaled between its worst
        and best over the sale.
    margin : {"margin_cents", "margin_pct"}
        The one the weighted goal means.

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
        return best_margin_pct(sale)
    if target == "weighted":
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
