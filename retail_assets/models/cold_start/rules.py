"""What a merchandiser decides of the cold start: data/rules/cold_start.toml, checked.

parse_rules(mapping) -> ColdStartRules       raises ValueError naming the entry
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, get_args

from retail_assets.models.cold_start.regression import NForPrior

DEFAULT = "default"
SOURCES = ("style_trials", "pos_trials")
"""Two ways of counting that measure different things: the stylist's and the receipts'."""


@dataclass(frozen=True)
class ColdStartRules:
    """Policy of priors and posteriors.

    Parameters
    ----------
    n_for_prior : {"none", "reference", "current"}
        Trials at which the log(1 + n) term of the prior is read.
    young_days : int
        A style with fewer days of trials is young: its n says nothing about its p yet.
    forgetting : float
        Weight a trial keeps per day of age; 1 forgets nothing.
    break_even : mapping of source to (mapping of group to rate)
        Rate below which a style of the group loses money, ``default`` for the other groups;
        a source is the way trials were counted, ``style_trials`` or ``pos_trials``.
    """

    n_for_prior: NForPrior = "none"
    young_days: int = 56
    forgetting: float = 1.0
    break_even: Mapping[str, Mapping[str, float]] = field(default_factory=dict)

    def break_even_of(self, source: str, group: str) -> float:
        """Break-even rate of a group; NaN where none is set."""
        rates = self.break_even.get(source, {})
        return rates.get(group, rates.get(DEFAULT, float("nan")))


def parse_rules(given: Mapping[str, Any]) -> ColdStartRules:
    """Check the rules of a file.

    Raises
    ------
    ValueError
        An unknown entry, or a value out of range.

    Examples
    --------
    >>> rules = parse_rules({"break_even": {"pos_trials": {"default": 0.05}}})
    >>> rules.break_even_of("pos_trials", "bars")
    0.05
    """
    known = ColdStartRules.__dataclass_fields__
    for entry in given:
        if entry not in known:
            raise ValueError(f"{entry}: unknown entry; known: {', '.join(known)}")
    policy = given.get("n_for_prior", "none")
    if policy not in get_args(NForPrior):
        raise ValueError(f"n_for_prior = {policy!r}: use {', '.join(get_args(NForPrior))}")
    break_even = given.get("break_even", {})
    for source, rates in break_even.items() if isinstance(break_even, Mapping) else [("", None)]:
        if not isinstance(rates, Mapping) or source not in SOURCES:
            raise ValueError(
                f"break_even: write [break_even.{SOURCES[0]}] or [break_even.{SOURCES[1]}], "
                "then group = rate"
            )
        for group, rate in rates.items():
            _between(f"break_even.{source}.{group}", rate, 0, 1)
    days = given.get("young_days", 56)
    if not isinstance(days, int) or days < 0:
        raise ValueError(f"young_days = {days!r}: a whole number of days")
    forgetting = given.get("forgetting", 1.0)
    _between("forgetting", forgetting, 0.5, 1)
    return ColdStartRules(policy, days, float(forgetting), dict(break_even))


def _between(entry: str, value: Any, low: float, high: float) -> None:
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if not number or not low <= value <= high:
        raise ValueError(f"{entry} = {value!r}: a number between {low:g} and {high:g}")
