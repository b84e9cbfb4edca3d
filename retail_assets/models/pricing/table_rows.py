"""One row of the decision table: which variables there are, and what a row may say of them.

parse_row(line, cells) -> Rule       raises RowError with every fault of the row

Numbers are kept in whole units (hundredths of a percent, cents), so that a price exactly at a
limit is legal in SQL, in Python and on paper alike.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Literal

COLUMNS = ("rule_id", "exposures_op", "exposures_value", "variable", "op", "value")
RESERVED = ("extrapolated", "unidentified")
"""Rule ids of prices too far from any ever tried and of prices whose effect is unknown."""
PERCENT = 100
"""Units of a percent: 12.5 % is 1250."""

Side = Literal["at_least", "at_most", "one_of"]
Exposures = tuple[int, int | None]
EVERY: Exposures = (0, None)
LIMITS = (">=", "<=", "=")

EXCEL_ERRORS = ("#DIV/0!", "#N/A", "#NAME?", "#NULL!", "#NUM!", "#REF!", "#VALUE!")
NOT_COMPUTED = "#FORMULA"
"""Stands for an Excel formula whose result the file does not hold."""


@dataclass(frozen=True)
class Variable:
    """What may be ruled: the kind of its value, its operators, the column it needs."""

    kind: Literal["percent", "cents", "count", "yes_no", "ladder", "endings"]
    ops: tuple[str, ...] = LIMITS
    needs: str = "price_cents"
    of_sale: bool = False


VARIABLES: Mapping[str, Variable] = {
    "discount_from_msrp_pct": Variable("percent", needs="msrp_cents"),
    "difference_from_original_pct": Variable("percent", needs="original_price_cents"),
    "margin_pct": Variable("percent", needs="unit_cost_cents"),
    "sell_through_pct": Variable("percent", needs="sell_through"),
    "price_cents": Variable("cents"),
    "price_ladder": Variable("ladder", ("in",)),
    "price_ending": Variable("endings", ("in", "=")),
    "same_price_sizes": Variable("yes_no", ("=",), of_sale=True),
    "price_order_family": Variable("yes_no", ("=",), of_sale=True),
    "max_changes": Variable("count", ("<=",), of_sale=True),
    "sale_margin_pct": Variable("percent", (">=",), of_sale=True),
    "sale_sell_through_pct": Variable("percent", (">=",), of_sale=True),
}
"""The first seven judge one price of one item, the others a whole sale."""


@dataclass(frozen=True)
class Rule:
    """One row, read.

    Parameters
    ----------
    rule_id : str
    line : int
        Of the file, the header being a line too.
    exposures : (lo, hi)
        Previous sales of the item, both included; hi None is open.
    variable, op : str
    value : tuple of int
        One number, or the choices of ``in``: hundredths of a percent, cents, a count, or
        1 for yes and 0 for no.
    text : str
        The value as written.
    step : int
        Cents between the steps of a ladder given as ``step 0.10``; 0 elsewhere.
    """

    rule_id: str
    line: int
    exposures: Exposures
    variable: str
    op: str
    value: tuple[int, ...]
    text: str
    step: int = 0

    @property
    def of_sale(self) -> bool:
        return VARIABLES[self.variable].of_sale

    @property
    def sides(self) -> tuple[Side, ...]:
        """What the rule sets: a limit from below, from above (``=`` is both), or choices."""
        if VARIABLES[self.variable].kind in ("ladder", "endings"):
            return ("one_of",)
        both: dict[str, tuple[Side, ...]] = {">=": ("at_least",), "<=": ("at_most",)}
        return both.get(self.op, ("at_least", "at_most"))

    @property
    def where(self) -> str:
        return f"rule {self.rule_id} (line {self.line})"


@dataclass(frozen=True)
class Fault:
    """What is wrong with a table, and where."""

    line: int
    rule_id: str
    what: str

    def __str__(self) -> str:
        rule = f", rule {self.rule_id}" if self.rule_id else ""
        return f"line {self.line}{rule}: {self.what}"


class RowError(ValueError):
    """The faults of one row."""

    def __init__(self, faults: Sequence[str]) -> None:
        super().__init__("; ".join(faults))
        self.faults = tuple(faults)


def exposures_text(exposures: Exposures) -> str:
    """As in a table: ``0``, ``1-9``, ``10+``.

    Examples
    --------
    >>> exposures_text((0, 0)), exposures_text((1, 9)), exposures_text((10, None))
    ('0', '1-9', '10+')
    """
    lo, hi = exposures
    if hi is None:
        return f"{lo}+"
    return f"{lo}" if lo == hi else f"{lo}-{hi}"


def is_comment(text: str) -> bool:
    """Whether a line or first cell begins a comment; an Excel error begins with # too."""
    return text.startswith("#") and not text.startswith((*EXCEL_ERRORS, NOT_COMPUTED))


def parse_row(line: int, cells: Mapping[str, str]) -> Rule:
    """Read one row, its cells by column name.

    Raises
    ------
    RowError
        With everything that is wrong with the row.
    """
    faults = []
    for name, text in cells.items():
        if text in EXCEL_ERRORS:
            faults.append(f"column {name} holds the Excel error {text}; mend its formula")
        elif text == NOT_COMPUTED:
            faults.append(f"column {name}: formula without a result; save the file in Excel")
    if faults:
        raise RowError(faults)
    rule_id, variable, op = cells["rule_id"], cells["variable"], cells["op"]
    exposures, step = EVERY, 0
    value: tuple[int, ...] = ()
    if not rule_id:
        faults.append("rule_id is empty; give every rule a name of its own")
    elif rule_id in RESERVED:
        faults.append(f"rule_id {rule_id!r} is taken by the demand model; choose another")
    try:
        exposures = _exposures(cells["exposures_op"], cells["exposures_value"])
        if variable in VARIABLES and VARIABLES[variable].of_sale and exposures != EVERY:
            faults.append(f"{variable} rules the whole sale; its exposures must be 'any'")
    except ValueError as error:
        faults.append(str(error))
    if variable not in VARIABLES:
        known = ", ".join(VARIABLES)
        faults.append(f"unknown variable {variable!r}; known: {known}" if variable else
                      f"variable is empty; known: {known}")  # fmt: skip
        raise RowError(faults)
    try:
        _check_op(variable, op)
        value, step = _value(variable, cells["value"])
    except ValueError as error:
        faults.append(str(error))
    if faults:
        raise RowError(faults)
    return Rule(rule_id, line, exposures, variable, op, value, cells["value"], step)


def _exposures(op: str, text: str) -> Exposures:
    if op in ("", "any"):
        if text:
            raise ValueError(f"exposures_value {text!r} without exposures_op; use =, >= or <=")
        return EVERY
    if op not in ("=", ">=", "<=", "between"):
        raise ValueError(f"unknown exposures_op {op!r}; use =, >=, <=, between or any")
    if not text:
        raise ValueError(f"exposures_value is empty, exposures_op {op} needs one")
    if op == "between":
        ends = re.fullmatch(r"(\d+)\s*\.\.\s*(\d+)", text)
        if not ends:
            raise ValueError(f"exposures_value {text!r} is not a range; write 1..9")
        lo, hi = int(ends[1]), int(ends[2])
        if lo > hi:
            raise ValueError(f"exposures_value {text} runs backwards; write {hi}..{lo}")
        return lo, hi
    if re.fullmatch(r"-\d+", text):
        raise ValueError(f"exposures_value {text} is negative; a first sale has 0 exposures")
    if not re.fullmatch(r"\d+", text):
        raise ValueError(f"exposures_value {text!r} is not a whole number")
    count = int(text)
    return {"=": (count, count), ">=": (count, None), "<=": (0, count)}[op]


def _check_op(variable: str, op: str) -> None:
    allowed = VARIABLES[variable].ops
    if op in allowed:
        return
    use = f"use {' or '.join(allowed)}"
    if not op:
        raise ValueError(f"op is empty; {use}")
    if op in (*LIMITS, "in"):
        raise ValueError(f"operator {op} does not suit {variable}; {use}")
    raise ValueError(f"unknown operator {op!r}; {use}")


def _value(variable: str, text: str) -> tuple[tuple[int, ...], int]:
    """The value in whole units, and the step of a ladder."""
    if not text:
        raise ValueError(f"value is empty; {variable} needs one")
    kind = VARIABLES[variable].kind
    if kind == "yes_no":
        if text.lower() not in ("yes", "no"):
            raise ValueError(f"value {text!r} of {variable} must be yes or no")
        return (int(text.lower() == "yes"),), 0
    if kind == "ladder":
        return _ladder(text)
    if kind == "endings":
        return _distinct([_ending(part.strip()) for part in text.split(";")], text), 0
    if kind == "percent":
        number = _number(text.removesuffix("%").rstrip())
        if not 0 <= number <= 100:
            raise ValueError(f"value {text} of {variable} is outside 0 to 100 percent")
        return (_whole(number, text),), 0
    number = _number(text)
    if "." in text:
        # 3.00 is whole, yet means three of the currency and not three cents.
        how = f"in cents; write {round(number * 100)}" if kind == "cents" else "a whole count"
        raise ValueError(f"value {text} of {variable} has decimals; it is {how}")
    least = 1 if kind == "cents" else 0
    if number < least:
        raise ValueError(f"value {text} of {variable} must be {least} or more")
    return (int(number),), 0


def _number(text: str) -> Decimal:
    if re.fullmatch(r"-?\d+,\d+", text):
        raise ValueError(f"value {text!r} has a decimal comma; write {text.replace(',', '.')}")
    if not re.fullmatch(r"-?(\d{1,12}(\.\d*)?|\.\d+)", text):
        raise ValueError(f"value {text!r} is not a number")
    return Decimal(text)


def _whole(number: Decimal, text: str) -> int:
    """Hundredths: of a percent, or of the currency."""
    hundredths = number * PERCENT
    if hundredths != int(hundredths):
        raise ValueError(f"value {text} has more than two decimals")
    return int(hundredths)


def _ladder(text: str) -> tuple[tuple[int, ...], int]:
    if text.startswith("step"):
        size = text.removeprefix("step").strip()
        if not size:
            raise ValueError(f"ladder {text!r} lacks its step; write step 0.10")
        step = _whole(_number(size), text)
        if step <= 0:
            raise ValueError(f"ladder {text!r}: a step must be above 0")
        return (step,), step
    parts = [part.strip() for part in text.split(";")]
    if "" in parts:
        raise ValueError(f"ladder {text!r} has an empty step; write 2.50;2.70")
    steps = [_whole(_number(part), part) for part in parts]
    if min(steps) <= 0:
        raise ValueError(f"ladder {text!r}: a price must be above 0")
    return _distinct(steps, text), 0


def _ending(part: str) -> int:
    """Last two digits of a price: 99, .99, or 0.99 as Excel writes it."""
    if re.fullmatch(r"\d\d", part):
        return int(part)
    if re.fullmatch(r"0?\.\d\d?", part):
        return int(Decimal(part) * 100)
    raise ValueError(f"price ending {part!r} is not two digits; write .99 or 99;95")


def _distinct(numbers: list[int], text: str) -> tuple[int, ...]:
    if len(set(numbers)) < len(numbers):
        raise ValueError(f"value {text!r} names a price twice")
    return tuple(sorted(numbers))
