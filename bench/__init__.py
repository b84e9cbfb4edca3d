"""Each claim about speed or accuracy, as a script that prints a table."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Row:
    """One measured figure. ``ok`` is None where the figure has no target."""

    metric: str
    value: float | str
    target: str = ""
    ok: bool | None = None


def at_least(metric: str, value: float, bound: float) -> Row:
    return Row(metric, value, f">= {bound:g}", bool(value >= bound))


def at_most(metric: str, value: float, bound: float) -> Row:
    return Row(metric, value, f"<= {bound:g}", bool(value <= bound))


def between(metric: str, value: float, low: float, high: float) -> Row:
    return Row(metric, value, f"{low:g} .. {high:g}", bool(low <= value <= high))
