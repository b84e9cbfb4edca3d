"""Which row of the decision table decides where, and what does not fit together.

Limits from below and limits from above are ruled apart: a later ``>=`` takes the place of an
earlier ``>=`` only, and ``=`` is both. Two sides that leave no price are a contradiction.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from math import lcm

from retail_assets.models.pricing.table_rows import (
    PERCENT,
    VARIABLES,
    Exposures,
    Fault,
    Rule,
    Side,
    exposures_text,
)

FORMS = ("price_ladder", "price_ending", "price_cents")
"""Variables that need nothing but the price: together they may leave none."""
Intervals = Mapping[str, tuple["Interval", ...]]


@dataclass(frozen=True)
class Interval:
    """The rules that decide on one variable at some exposures; None where there is none."""

    variable: str
    exposures: Exposures
    at_least: Rule | None = None
    at_most: Rule | None = None
    one_of: Rule | None = None

    @property
    def deciding(self) -> dict[Side, Rule]:
        sides: dict[Side, Rule | None] = {
            "at_least": self.at_least, "at_most": self.at_most, "one_of": self.one_of,
        }  # fmt: skip
        return {side: rule for side, rule in sides.items() if rule}

    @property
    def rules(self) -> tuple[Rule, ...]:
        """Each deciding rule once, by line."""
        return tuple(sorted(set(self.deciding.values()), key=lambda rule: rule.line))

    @property
    def limit(self) -> str:
        """In words: ``>= 20 and <= 50``, ``= 300``, ``in .99``, or ``any``."""
        if self.one_of:
            return f"{self.one_of.op} {self.one_of.text}"
        if self.at_least and self.at_least == self.at_most:
            return f"= {self.at_least.text}"
        low = [f">= {self.at_least.text}"] if self.at_least else []
        high = [f"<= {self.at_most.text}"] if self.at_most else []
        return " and ".join(low + high) or "any"

    @property
    def crossed(self) -> bool:
        """The least allowed is above the most allowed."""
        low, high = self.at_least, self.at_most
        return low is not None and high is not None and low.value > high.value


def resolve(rules: Sequence[Rule]) -> Intervals:
    """Cut the exposures where any rule of a variable begins or ends; the last rule decides."""
    found: dict[str, tuple[Interval, ...]] = {}
    for variable in VARIABLES:
        own = [rule for rule in rules if rule.variable == variable]
        pieces: list[Interval] = []
        for span in _spans([rule.exposures for rule in own]) if own else ():
            won = {s: rule for rule in own if _overlap(rule.exposures, span) for s in rule.sides}
            piece = Interval(variable, span, **won)
            if pieces and pieces[-1].deciding == won:
                piece = Interval(variable, (pieces.pop().exposures[0], span[1]), **won)
            pieces.append(piece)
        if pieces:
            found[variable] = tuple(pieces)
    return found


def overlaps(rules: Sequence[Rule]) -> Iterator[Fault]:
    """Rules that decide the same at the same exposures: what hit policy ``unique`` refuses."""
    for first, second in combinations(rules, 2):
        both = _overlap(first.exposures, second.exposures)
        same = first.variable == second.variable and set(first.sides) & set(second.sides)
        if both and same:
            what = f"overlaps {first.where} at exposures {exposures_text(both)}"
            remedy = "narrow one of them, or set hit_policy = 'override'"
            yield _fault(second, f"{what} for {second.variable}; {remedy}")


def gaps(intervals: Intervals) -> Iterator[Fault]:
    """Exposures without a rule for a variable that others have one for."""
    for variable, pieces in intervals.items():
        empty = [exposures_text(piece.exposures) for piece in pieces if not piece.rules]
        if empty:
            first = min((r for piece in pieces for r in piece.rules), key=lambda r: r.line)
            yield _fault(first, f"leaves a gap: no rule for {variable} at {', '.join(empty)}")


def unused(rules: Sequence[Rule], intervals: Intervals) -> Iterator[Fault]:
    """Rules that later ones override wherever they hold."""
    used = {rule for pieces in intervals.values() for piece in pieces for rule in piece.rules}
    for rule in rules:
        if rule not in used:
            yield _fault(rule, f"decides nowhere: later rules for {rule.variable} override it")


def contradictions(intervals: Intervals) -> Iterator[Fault]:
    """Exposures at which no price of any item can be legal."""
    for pieces in intervals.values():
        for piece in pieces:
            if piece.crossed:
                first, last = piece.rules
                at = exposures_text(piece.exposures)
                what = f"{piece.limit} for {piece.variable} at exposures {at}"
                yield _fault(last, f"contradicts {first.where}: {what}")
    for span, at_span in _together(intervals, FORMS):
        pieces = tuple(at_span.values())
        if len(pieces) > 1 and not any(p.crossed for p in pieces) and not _some_price(at_span):
            rules = sorted({r for piece in pieces for r in piece.rules}, key=lambda r: r.line)
            *others, last = rules
            named = " and ".join(rule.where for rule in others)
            what = f"contradicts {named}: together they leave no price"
            yield _fault(last, f"{what} at exposures {exposures_text(span)}")


def ratio_warnings(intervals: Intervals) -> Iterator[Fault]:
    """Where the discount from MSRP and the distance from the original price exclude each other.

    price <= (1 - d) MSRP and price >= (1 - y) original leave nothing once original / MSRP is
    above (1 - d) / (1 - y): with the source's exit sale (60, 40) above 66.7 %. Ratios of 100 %
    and more are left out, as an original price seldom exceeds the list price.
    """
    variables = ("discount_from_msrp_pct", "difference_from_original_pct")
    for span, at in _together(intervals, variables):
        discount = at[variables[0]].at_least if variables[0] in at else None
        distance = at[variables[1]].at_most if variables[1] in at else None
        if not discount or not distance:
            continue
        whole = 100 * PERCENT
        below, above = whole - discount.value[0], whole - distance.value[0]
        if below < above:
            first, last = sorted((discount, distance), key=lambda rule: rule.line)
            yield _fault(
                last,
                f"with {first.where} a price may be at most {below / PERCENT:g} % of MSRP and at "
                f"least {above / PERCENT:g} % of the original price: none is legal at exposures "
                f"{exposures_text(span)} once original / MSRP is above {100 * below / above:.1f} %",
            )


def _some_price(at: Mapping[str, Interval]) -> bool:
    """Whether a price exists that is on the ladder, ends as it must and keeps its limits."""
    ladder, endings = (at[v].one_of if v in at else None for v in FORMS[:2])
    limits = at.get("price_cents")
    low = limits.at_least.value[0] if limits and limits.at_least else 1
    high = limits.at_most.value[0] if limits and limits.at_most else None
    if ladder and not ladder.step:
        prices: Sequence[int] = ladder.value
    else:
        # Steps and endings repeat, so one period above the lower limit shows every case.
        step = ladder.step if ladder else 1
        first = -(-low // step) * step
        prices = range(first, first + lcm(step, 100), step)
    return any(
        price >= low
        and (high is None or price <= high)
        and (endings is None or price % 100 in endings.value)
        for price in prices
    )


def _together(
    intervals: Intervals, variables: Sequence[str]
) -> Iterator[tuple[Exposures, dict[str, Interval]]]:
    """Exposures cut wherever one of the variables is, with the ruled variables of each."""
    pieces = [piece for v in variables for piece in intervals.get(v, ()) if piece.rules]
    for span in _spans([piece.exposures for piece in pieces]):
        yield span, {p.variable: p for p in pieces if _overlap(p.exposures, span)}


def _spans(exposures: Sequence[Exposures]) -> list[Exposures]:
    """0 to infinity, cut where any of the exposures begins or ends."""
    starts = {0} | {lo for lo, _ in exposures} | {hi + 1 for _, hi in exposures if hi is not None}
    cuts = sorted(starts)
    ends = [cut - 1 for cut in cuts[1:]]
    return list(zip(cuts, [*ends, None], strict=True))


def _overlap(one: Exposures, other: Exposures) -> Exposures | None:
    lo = max(one[0], other[0])
    ends = [hi for hi in (one[1], other[1]) if hi is not None]
    hi = min(ends, default=None)
    return None if hi is not None and hi < lo else (lo, hi)


def _fault(rule: Rule, what: str) -> Fault:
    return Fault(rule.line, rule.rule_id, what)
