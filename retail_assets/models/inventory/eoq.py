"""Economic order quantities: demand is known, orders have a fixed cost.

Equations of Snyder and Shen, Fundamentals of Supply Chain Theory, 2nd ed., chapter 3.
Costs are per unit and unit of time, in any one money.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class OrderQuantity:
    """``order_quantity`` Q, ``cost`` per unit of time, ``backordered`` share x of time short."""

    order_quantity: float
    cost: float
    backordered: float = 0.0


def economic_order_quantity(
    fixed_cost: float, holding_cost: float, demand_rate: float
) -> OrderQuantity:
    """Q* = sqrt(2 K lambda / h), cost sqrt(2 K lambda h): eq. (3.4), (3.5).

    Examples
    --------
    >>> round(economic_order_quantity(8, 0.225, 1300).order_quantity, 4)
    304.0468
    """
    _positive(fixed_cost=fixed_cost, holding_cost=holding_cost, demand_rate=demand_rate)
    quantity = math.sqrt(2.0 * fixed_cost * demand_rate / holding_cost)
    return OrderQuantity(quantity, math.sqrt(2.0 * fixed_cost * demand_rate * holding_cost))


def eoq_with_backorders(
    fixed_cost: float, holding_cost: float, backorder_cost: float, demand_rate: float
) -> OrderQuantity:
    """Q* = sqrt(2 K lambda (h + p) / (h p)), x* = h / (h + p): eq. (3.27)-(3.29)."""
    _positive(
        fixed_cost=fixed_cost,
        holding_cost=holding_cost,
        backorder_cost=backorder_cost,
        demand_rate=demand_rate,
    )
    both = holding_cost + backorder_cost
    quantity = math.sqrt(2.0 * fixed_cost * demand_rate * both / (holding_cost * backorder_cost))
    cost = math.sqrt(2.0 * fixed_cost * demand_rate * holding_cost * backorder_cost / both)
    return OrderQuantity(quantity, cost, holding_cost / both)


def all_units_discount(
    fixed_cost: float,
    holding_share: float,
    demand_rate: float,
    breakpoints: Sequence[float],
    unit_costs: Sequence[float],
) -> OrderQuantity:
    """Best quantity when a larger order lowers the price of *every* unit: eq. (3.18), (3.19).

    In each price band the cost K lambda / Q + i c_j Q / 2 + c_j lambda is least at its EOQ
    or, where that lies below the band, at the band's start.

    Parameters
    ----------
    holding_share : float
        i: holding cost per unit of time as a share of the unit cost.
    breakpoints : sequence of float
        Where each band starts; the first is 0, ascending.
    unit_costs : sequence of float
        Price in each band.
    """
    if len(breakpoints) != len(unit_costs) or not breakpoints or breakpoints[0] != 0:
        raise ValueError("breakpoints start at 0 and have one unit cost each")
    best = OrderQuantity(math.nan, math.inf)
    ends = [*breakpoints[1:], math.inf]
    for start, end, unit_cost in zip(breakpoints, ends, unit_costs, strict=True):
        holding = holding_share * unit_cost
        quantity = economic_order_quantity(fixed_cost, holding, demand_rate).order_quantity
        if quantity >= end:
            continue
        quantity = max(quantity, start)
        cost = unit_cost * demand_rate + fixed_cost * demand_rate / quantity
        cost += holding * quantity / 2.0
        if cost < best.cost:
            best = OrderQuantity(quantity, cost)
    return best


def _positive(**values: float) -> None:
    for name, value in values.items():
        if not value > 0:
            raise ValueError(f"{name} is {value}; it must be positive")
