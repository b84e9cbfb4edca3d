"""What a buyer decides of the stock: data/rules/stock.toml, checked.

parse_rules(mapping) -> StockRules       raises ValueError naming the entry
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any


@dataclass(frozen=True)
class StockRules:
    """How the coming weeks are projected and orders are reckoned.

    Parameters
    ----------
    weeks : int
        Horizon of the projection.
    paths : int
        Random futures per style; the limits of a 95 % interval rest on 2.5 % of them.
    review_weeks : int
        Weeks until the next chance to order.
    seasonal : tuple of str
        Groups bought once for a season (newsvendor); the others are replenished.
    season_weeks : int
        Weeks a seasonal order has to last.
    order_cost_cents : int
        Of placing one order.
    holding_rate : float
        Cost of holding a unit for a year over its purchase cost, where shelf says nothing.
    salvage_share : float
        Value of a left-over unit over its purchase cost, where shelf says nothing.
    refill : float
        Share of picks nobody could serve that go to another style of the group: 1 where a
        stylist fills the box anyway, 0 where the client leaves.
    room : mapping of warehouse to units
        What a warehouse can hold; what does not fit goes to another one, at least cost.
    slot_cost_cents : int
        What a place earns a week with another style: where cold_start.toml sets no
        break-even rate, it follows from this and the margin. 0: no style is stopped.
    wrongly_stopped, wrongly_kept : float
        Costs of the two ways to be wrong, on any scale: 9 to 1 stops a style that is below
        break-even with probability .9.
    """

    weeks: int = 12
    paths: int = 400
    review_weeks: int = 1
    seasonal: tuple[str, ...] = ()
    season_weeks: int = 12
    order_cost_cents: int = 0
    holding_rate: float = 0.25
    salvage_share: float = 0.4
    refill: float = 0.0
    room: Mapping[str, int] = field(default_factory=dict)
    slot_cost_cents: int = 0
    wrongly_stopped: float = 9.0
    wrongly_kept: float = 1.0


_LIMITS: dict[str, tuple[float, float]] = {
    "weeks": (2, 104),
    "paths": (100, 10_000),
    "review_weeks": (1, 26),
    "season_weeks": (1, 104),
    "order_cost_cents": (0, 10**9),
    "holding_rate": (0.001, 5),
    "salvage_share": (0, 0.99),
    "refill": (0, 1),
    "slot_cost_cents": (0, 10**9),
    "wrongly_stopped": (0.001, 10**9),
    "wrongly_kept": (0.001, 10**9),
}


def parse_rules(given: Mapping[str, Any]) -> StockRules:
    """Check the rules of a file.

    Raises
    ------
    ValueError
        An unknown entry, or a value of the wrong kind or out of range.

    Examples
    --------
    >>> parse_rules({"weeks": 8, "seasonal": ["pralines"]}).weeks
    8
    """
    kinds = {each.name: each.type for each in fields(StockRules)}
    values: dict[str, Any] = {}
    for entry, value in given.items():
        if entry not in kinds:
            raise ValueError(f"{entry}: unknown entry; known: {', '.join(kinds)}")
        if entry == "seasonal":
            if not isinstance(value, list) or not all(isinstance(name, str) for name in value):
                raise ValueError('seasonal: a list of groups, ["pralines"]')
            values[entry] = tuple(value)
            continue
        if entry == "room":
            if not isinstance(value, Mapping) or not all(_is_room(v) for v in value.values()):
                raise ValueError("room: a table, warehouse = units (0 or more)")
            values[entry] = dict(value)
            continue
        low, high = _LIMITS[entry]
        whole = kinds[entry] == "int"
        right = isinstance(value, int if whole else (int, float)) and not isinstance(value, bool)
        if not right or not low <= value <= high:
            kind = "a whole number" if whole else "a number"
            raise ValueError(f"{entry} = {value!r}: {kind} between {low:g} and {high:g}")
        values[entry] = value
    return StockRules(**values)


def _is_room(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0
