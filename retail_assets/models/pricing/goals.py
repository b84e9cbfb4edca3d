"""What a merchandiser wants of a sale's prices: data/rules/pricing.toml, checked.

parse_goals(mapping) -> PricingGoals       raises ValueError naming the entry
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Literal, get_args

from retail_assets.models.pricing.decision_table import HitPolicy

Margin = Literal["margin_cents", "margin_pct"]
DemandKind = Literal["auto", "relative", "separable", "mnl"]


@dataclass(frozen=True)
class PriceLadder:
    """Candidate prices of items for which the sale lists none.

    Parameters
    ----------
    lowest_pct_of_msrp, highest_pct_of_msrp : float
        Both ends, in percent of the list price.
    step_cents : int
        Between two prices, or the smallest multiple of it that leaves ``most_prices``.
    ending_cents : int, optional
        Last two digits of every price, e.g. 99; the step must then be whole hundreds.
    most_prices : int
    """

    lowest_pct_of_msrp: float = 50.0
    highest_pct_of_msrp: float = 100.0
    step_cents: int = 10
    ending_cents: int | None = None
    most_prices: int = 20

    def prices(self, msrp_cents: int) -> range:
        """Candidate prices in cents, lowest first; empty where no step falls inside.

        Examples
        --------
        >>> list(PriceLadder(80, 100, 20).prices(390))
        [320, 340, 360, 380]
        >>> list(PriceLadder(50, 100, 100, 99).prices(600))
        [399, 499, 599]
        """
        step, ending = self.step_cents, self.ending_cents or 0
        # Rounded to a millionth of a cent: 0.56 x 100 is a hair above 56 in floating point.
        lowest = round(self.lowest_pct_of_msrp * msrp_cents / 100, 6)
        highest = round(self.highest_pct_of_msrp * msrp_cents / 100, 6)
        first = max(int(-(-(lowest - ending) // step)), 0) * step + ending
        every = range(first or step, int(highest) + 1, step)
        wider = -(-len(every) // self.most_prices)
        return every[:: max(wider, 1)]


@dataclass(frozen=True)
class PricingGoals:
    """How prices of a sale are weighed, ruled and searched.

    Parameters
    ----------
    weights : (float, float, float)
        Of revenue, margin and sell-through, on any scale; each target is scaled between its worst
        and best over the sale.
    margin : {"margin_cents", "margin_pct"}
        Which margin the goal means: what is earned, or its share of revenue.
    hit_policy : {"override", "unique"}
        Whether later rows of pricing_rules win over earlier ones, or must not overlap.
    ladder : PriceLadder
        Candidates of items for which sale_events lists none.
    demand_kind : {"auto", "relative", "separable", "mnl"}
        How prices of a sale act on each other; auto asks the test of the total.
    max_total_cells : int
        Largest table of price totals held in memory, 4 bytes a cell.
    max_extrapolation_pct : float
        A price further than this outside what was ever charged breaks rule ``extrapolated``.
    frontier : bool
        Whether the trade-off curve is computed.
    """

    weights: tuple[float, float, float] = (2.0, 5.0, 3.0)
    margin: Margin = "margin_cents"
    hit_policy: HitPolicy = "override"
    ladder: PriceLadder = field(default_factory=PriceLadder)
    demand_kind: DemandKind = "auto"
    max_total_cells: int = 50_000_000
    max_extrapolation_pct: float = 10.0
    frontier: bool = True


_WEIGHTS = ("revenue", "margin", "sell_through")
_CHOICES: dict[str, tuple[str, ...]] = {
    "margin": get_args(Margin),
    "hit_policy": get_args(HitPolicy),
    "demand_kind": get_args(DemandKind),
}
_LIMITS: dict[str, tuple[float, float, bool]] = {  # lowest, highest, whole
    "weights.revenue": (0, 1_000, False),
    "weights.margin": (0, 1_000, False),
    "weights.sell_through": (0, 1_000, False),
    "ladder.lowest_pct_of_msrp": (1, 100, False),
    "ladder.highest_pct_of_msrp": (1, 200, False),
    "ladder.step_cents": (1, 1_000_000, True),
    "ladder.ending_cents": (0, 99, True),
    "ladder.most_prices": (2, 1_000, True),
    "max_total_cells": (1_000, 1_000_000_000, True),
    "max_extrapolation_pct": (0, 100, False),
}


def parse_goals(given: Mapping[str, Any]) -> PricingGoals:
    """Check the goals of a file.

    Raises
    ------
    ValueError
        An unknown entry, or a value of the wrong kind or out of range.

    Examples
    --------
    >>> parse_goals({"weights": {"margin": 8}}).weights
    (2.0, 8.0, 3.0)
    """
    _known(given, [each.name for each in fields(PricingGoals)])
    values: dict[str, Any] = {}
    for entry, value in given.items():
        if entry in _CHOICES:
            if value not in _CHOICES[entry]:
                choices = ", ".join(map(repr, _CHOICES[entry]))
                raise ValueError(f"{entry} = {value!r}: one of {choices}")
            values[entry] = value
        elif entry == "frontier":
            if not isinstance(value, bool):
                raise ValueError(f"frontier = {value!r}: true or false")
            values[entry] = value
        elif entry == "weights":
            values[entry] = _weights(value)
        elif entry == "ladder":
            values[entry] = _ladder(value)
        else:
            values[entry] = _number(entry, value)
    return PricingGoals(**values)


def _weights(given: Any) -> tuple[float, ...]:
    default = dict(zip(_WEIGHTS, PricingGoals.weights, strict=True))
    weights = default | _table("weights", given, _WEIGHTS)
    if not any(weights.values()):
        raise ValueError("weights: at least one must be above 0")
    return tuple(float(weights[name]) for name in _WEIGHTS)


def _ladder(given: Any) -> PriceLadder:
    ladder = PriceLadder(**_table("ladder", given, [f.name for f in fields(PriceLadder)]))
    if ladder.lowest_pct_of_msrp > ladder.highest_pct_of_msrp:
        raise ValueError(
            f"ladder.lowest_pct_of_msrp = {ladder.lowest_pct_of_msrp:g}: above "
            f"highest_pct_of_msrp = {ladder.highest_pct_of_msrp:g}"
        )
    if ladder.ending_cents is not None and ladder.step_cents % 100:
        raise ValueError(
            f"ladder.step_cents = {ladder.step_cents}: with ending_cents, whole hundreds (100)"
        )
    return ladder


def _table(name: str, given: Any, known: Any) -> dict[str, Any]:
    if not isinstance(given, Mapping):
        raise ValueError(f"{name} = {given!r}: a table, [{name}] with {', '.join(known)}")
    _known(given, known, f"{name}.")
    return {entry: _number(f"{name}.{entry}", value) for entry, value in given.items()}


def _known(given: Mapping[str, Any], known: Any, prefix: str = "") -> None:
    for entry in given:
        if entry not in known:
            raise ValueError(f"{prefix}{entry}: unknown entry; known: {', '.join(known)}")


def _number(entry: str, value: Any) -> Any:
    low, high, whole = _LIMITS[entry]
    right = isinstance(value, int if whole else (int, float)) and not isinstance(value, bool)
    if not right or not low <= value <= high:
        kind = "a whole number" if whole else "a number"
        raise ValueError(f"{entry} = {value!r}: {kind} between {low:g} and {high:g}")
    return value
