"""The pricing rules a merchandiser edits: a decision table, read and checked.

csv_rows(bytes) -> rows; parse(rows, hit_policy) -> DecisionTable      raises TableError

A row says: at these previous exposures of an item, this variable must keep this limit. The
table of Elbert and Feldman, "Using Machine Learning, Business Rules, and Optimization for
Flash Sale Pricing", slide "Sample Rules", names its exposures 0, >= 1 and >= 10, which overlap:
it means that later rows override earlier ones (as in OpenRules' "Decision" tables).
"""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from retail_assets.models.pricing import table_checks as checks
from retail_assets.models.pricing.table_checks import Interval
from retail_assets.models.pricing.table_rows import (
    COLUMNS,
    VARIABLES,
    Exposures,
    Fault,
    RowError,
    Rule,
    Side,
    exposures_text,
    is_comment,
    parse_row,
)

HitPolicy = Literal["override", "unique"]
MAX_PRICE_RULES = 60
"""Bits of `Candidates.broken`, less those of `RESERVED`."""
Rows = Sequence[tuple[int, Sequence[str]]]


class TableError(ValueError):
    """Everything that is wrong with a table, in one message."""

    def __init__(self, faults: Sequence[Fault]) -> None:
        self.faults = tuple(sorted(faults, key=lambda fault: fault.line))
        super().__init__("; ".join(map(str, self.faults)))


@dataclass(frozen=True)
class Decision:
    """Where a rule decides, and which side of the variable it sets there."""

    rule: Rule
    side: Side
    exposures: tuple[Exposures, ...]


@dataclass(frozen=True)
class DecisionTable:
    """The rules and how they resolve.

    Attributes
    ----------
    rules : tuple of Rule
        As written, by line.
    hit_policy : {"override", "unique"}
        Whether later rows win where exposures overlap, or overlaps are refused.
    intervals : mapping of variable to tuple of Interval
        Exposures 0 to infinity of every ruled variable, with the rules that decide.
    warnings : tuple of Fault
        What a merchandiser should know but may mean: gaps, rules that decide nowhere, items
        for which no price can be legal.
    """

    rules: tuple[Rule, ...] = ()
    hit_policy: HitPolicy = "override"
    intervals: Mapping[str, tuple[Interval, ...]] = field(default_factory=dict)
    warnings: tuple[Fault, ...] = ()

    def decisions(self) -> tuple[Decision, ...]:
        """What judges a single price, in the order of the table."""
        won: dict[tuple[Rule, Side], list[Exposures]] = {}
        for pieces in self.intervals.values():
            for piece in pieces:
                for side, rule in piece.deciding.items():
                    if not rule.of_sale:
                        won.setdefault((rule, side), []).append(piece.exposures)
        ordered = sorted(won.items(), key=lambda each: (each[0][0].line, each[0][1]))
        return tuple(Decision(rule, side, tuple(at)) for (rule, side), at in ordered)

    def sale_rule(self, variable: str) -> Rule | None:
        """The rule of the whole sale on a variable; None where there is none or it says no."""
        if variable not in self.intervals:
            return None
        rule = self.intervals[variable][0].rules[-1]
        return None if VARIABLES[variable].kind == "yes_no" and rule.value == (0,) else rule

    def describe(self) -> list[tuple[str, str, str, str]]:
        """Rows (variable, exposures, limit, rules) of the resolved intervals, to be shown."""
        return [
            (
                variable,
                "whole sale" if VARIABLES[variable].of_sale else exposures_text(piece.exposures),
                piece.limit,
                ", ".join(f"{r.rule_id} (line {r.line})" for r in piece.rules) or "no rule",
            )
            for variable, pieces in self.intervals.items()
            for piece in pieces
        ]


def csv_rows(data: bytes) -> list[tuple[int, list[str]]]:
    """Lines of a CSV file with their numbers; one rule a line, so no quoted line ends.

    Raises
    ------
    TableError
        Bytes that are not UTF-8, or a quote that is not closed.
    """
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        what = f"byte {data[error.start]:#04x} is not UTF-8; save the file as CSV UTF-8"
        raise TableError([Fault(line, "", what)]) from None
    rows: list[tuple[int, list[str]]] = []
    faults = []
    for number, written in enumerate(io.StringIO(text, newline=None), start=1):
        if is_comment(written.lstrip()):
            continue  # it may hold any quotes
        try:
            rows += [(number, row) for row in csv.reader([written], strict=True)]
        except csv.Error:
            faults.append(Fault(number, "", "a quote is not closed, or text follows it"))
    if faults:
        raise TableError(faults)
    return rows


def parse(rows: Rows, hit_policy: HitPolicy = "override") -> DecisionTable:
    """Read and check a table.

    Parameters
    ----------
    rows : sequence of (line, cells)
        The header first. Rows that are empty or begin with ``#`` are skipped.

    Raises
    ------
    TableError
        Listing every fault with its line and rule id.

    Examples
    --------
    >>> header = "rule_id exposures_op exposures_value variable op value".split()
    >>> table = parse([(1, header), (2, ["floor", "any", "", "margin_pct", ">=", "30"])])
    >>> table.describe()
    [('margin_pct', '0+', '>= 30', 'floor (line 2)')]
    """
    lines = [(line, [cell.strip() for cell in cells]) for line, cells in rows]
    lines = [(line, cells) for line, cells in lines if any(cells) and not is_comment(cells[0])]
    if not lines:
        raise TableError([Fault(1, "", f"the file is empty; its header is {','.join(COLUMNS)}")])
    names = _header(*lines[0])
    rules, faults = _rules(lines[1:], names)
    if hit_policy == "unique":
        faults += checks.overlaps(rules)
    over = [rule for rule in rules if not rule.of_sale][MAX_PRICE_RULES:]
    if over:
        what = f"one price rule too many; a table holds at most {MAX_PRICE_RULES}"
        faults.append(Fault(over[0].line, over[0].rule_id, what))
    if faults:
        # Gaps and contradictions may come from a row that could not be read: mend that first.
        raise TableError(faults)
    intervals = checks.resolve(rules)
    gaps = list(checks.gaps(intervals))
    faults = [*checks.contradictions(intervals), *(gaps if hit_policy == "unique" else ())]
    if faults:
        raise TableError(faults)
    warnings = [*gaps, *checks.unused(rules, intervals), *checks.ratio_warnings(intervals)]
    warnings.sort(key=lambda fault: fault.line)
    return DecisionTable(tuple(rules), hit_policy, intervals, tuple(warnings))


def _header(line: int, cells: Sequence[str]) -> list[str]:
    names = [cell.lower() for cell in cells]
    while names and not names[-1]:
        names.pop()
    if len(names) == 1 and ";" in names[0]:
        what = "columns are separated by semicolons; save with commas, or as .xlsx"
        raise TableError([Fault(line, "", what)])
    faults = [f"column {c} is missing" for c in COLUMNS if c not in names]
    faults += [
        f"unknown column {c!r}; known: {', '.join(COLUMNS)}" for c in names if c not in COLUMNS
    ]
    faults += [f"column {c} appears twice" for c in COLUMNS if names.count(c) > 1]
    if faults:
        raise TableError([Fault(line, "", what) for what in faults])
    return names


def _rules(lines: Rows, names: Sequence[str]) -> tuple[list[Rule], list[Fault]]:
    rules: list[Rule] = []
    faults: list[Fault] = []
    first_line: dict[str, int] = {}
    width = len(names)
    for line, cells in lines:
        rule_id = cells[names.index("rule_id")] if len(cells) > names.index("rule_id") else ""
        if rule_id in first_line:
            what = f"rule_id is used before, in line {first_line[rule_id]}; rename one"
            faults.append(Fault(line, rule_id, what))
        elif rule_id:
            first_line[rule_id] = line
        if len(cells) < width or any(cells[width:]):
            what = f"{len(cells)} cells for {width} columns; lists are separated by semicolons"
            faults.append(Fault(line, rule_id, what))
            continue
        try:
            rules.append(parse_row(line, dict(zip(names, cells[:width], strict=True))))
        except RowError as error:
            faults += [Fault(line, rule_id, what) for what in error.faults]
    return rules, faults
