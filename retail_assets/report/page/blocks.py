"""What the report's page is made of: cards, tables with spans, heat maps, pictures.

A block holds text that is ready to show and positions in percent; the template lays it out and
escapes it. What a block says of a shop belongs in the page_*.py that hands it over.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

Row = Mapping[str, Any]
Story = Mapping[str, Sequence[Row]]
ROWS = 25
"""Rows of a table at most: the report tells a story, retail.duckdb holds the rest."""
NBSP = "\N{NO-BREAK SPACE}"


@dataclass(frozen=True)
class Span:
    """A value with its interval on an axis, in percent of the axis' width."""

    left: float
    width: float
    at: float
    tone: str
    """good, bad, unsure or plain."""
    zero: float | None = None
    band: tuple[float, float] | None = None
    """Left end and width of what was expected before."""
    mark: float | None = None
    """Something to hold the value against."""


@dataclass(frozen=True)
class Cell:
    """One cell: what it says, small print under it, flags beside it, or a span."""

    text: str = ""
    sub: str = ""
    sort: float | str | None = None
    flags: tuple[str, ...] = ()
    span: Span | None = None
    strong: bool = False


@dataclass(frozen=True)
class Head:
    """A column: its title, the ends of its axis if it holds spans."""

    title: str
    kind: str = "text"
    """text, why (long text), num or span."""
    ends: tuple[str, str] | None = None


@dataclass(frozen=True)
class Table:
    """Rows a click can sort."""

    kind: ClassVar[str] = "table"
    title: str
    heads: tuple[Head, ...]
    rows: tuple[tuple[Cell, ...], ...]
    note: str = ""
    more: str = ""


@dataclass(frozen=True)
class HeatCell:
    """A cell of a heat map; ``value`` is 0 to 1, None where there is none."""

    value: float | None = None
    text: str = ""
    sub: str = ""
    about: str = ""
    hatched: bool = False


@dataclass(frozen=True)
class Heat:
    """A matrix in shades; ``small`` ones stand side by side."""

    kind: ClassVar[str] = "heat"
    title: str
    corner: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, tuple[HeatCell, ...]], ...]
    note: str = ""
    small: bool = False


@dataclass(frozen=True)
class Bars:
    """Columns over time: (label, height in percent, what it says)."""

    kind: ClassVar[str] = "bars"
    title: str
    bars: tuple[tuple[str, float, str], ...]
    note: str = ""


@dataclass(frozen=True)
class Picture:
    """A plot another run drew, as a data URI."""

    kind: ClassVar[str] = "picture"
    title: str
    uri: str
    alt: str


@dataclass(frozen=True)
class Words:
    """Sentences, one a line."""

    kind: ClassVar[str] = "words"
    title: str
    lines: tuple[str, ...]


Block = Table | Heat | Bars | Picture | Words


@dataclass(frozen=True)
class Section:
    """One part of the story; without blocks, ``nothing`` says what to land to get it."""

    anchor: str
    title: str
    says: str
    sources: tuple[str, ...]
    blocks: tuple[Block, ...]
    nothing: str


@dataclass(frozen=True)
class Card:
    """One decision: what to do, what it is worth, how sure that is."""

    verb: str
    what: str
    figure: str
    interval: str
    why: str
    anchor: str


@dataclass(frozen=True)
class Money:
    """Amounts in cents, in words."""

    currency: str

    def __call__(self, cents: float, *, sign: bool = False) -> str:
        return f"{amount(cents / 100, sign=sign)}{NBSP}{self.currency}"

    def price(self, cents: float | None) -> str:
        return "?" if cents is None else f"{cents / 100:,.2f}"

    def span(self, low: float, high: float, *, sign: bool = False) -> str:
        return f"{amount(low / 100, sign=sign)} to {amount(high / 100, sign=sign)}"


def amount(value: float, *, sign: bool = False) -> str:
    """A whole number with separators and a true minus."""
    rounded = round(float(value))
    text = f"{rounded:+,d}" if sign and rounded else f"{rounded:,d}"
    return text.replace("-", "\N{MINUS SIGN}")


def percent(share: float, digits: int = 0, *, sign: bool = False) -> str:
    """A share of 0 to 1 in percent."""
    text = f"{100 * float(share):{'+' if sign else ''}.{digits}f} %"
    return text.replace("-", "\N{MINUS SIGN}")


def percents(low: float, high: float, digits: int = 0) -> str:
    return f"{100 * float(low):.{digits}f} to {100 * float(high):.{digits}f} %"


def change(now: float, before: float) -> str:
    """How far a figure moved, in percent of what it was."""
    return percent(float(now) / float(before) - 1, 1, sign=True)


def several(count: float, one: str, many: str | None = None) -> str:
    """A count with its noun."""
    return f"{count:,.0f} {one if count == 1 else many or f'{one}s'}"


@dataclass(frozen=True)
class Axis:
    """A scale from low to high; ``of`` places a value and its interval on it."""

    low: float
    high: float
    show: Callable[[float], str] = field(default=amount)

    @staticmethod
    def over(values: Iterable[float | None], show: Callable[[float], str] = amount) -> Axis:
        """The axis that holds the values and zero."""
        known = [0.0, *(float(v) for v in values if v is not None)]
        low, high = min(known), max(known)
        return Axis(low, high if high > low else low + 1.0, show)

    @property
    def ends(self) -> tuple[str, str]:
        return self.show(self.low), self.show(self.high)

    def _share(self, value: float) -> float:
        share = 100 * (float(value) - self.low) / (self.high - self.low)
        return round(min(100.0, max(0.0, share)), 2)

    def of(
        self,
        value: float,
        low: float | None,
        high: float | None,
        tone: str = "plain",
        band: tuple[float, float] | None = None,
        mark: float | None = None,
    ) -> Span:
        left, width = self._width(value if low is None else low, value if high is None else high)
        return Span(
            left,
            width,
            self._share(value),
            tone,
            zero=self._share(0) if self.low < 0 <= self.high else None,
            band=None if band is None else self._width(*band),
            mark=None if mark is None else self._share(mark),
        )

    def _width(self, low: float, high: float) -> tuple[float, float]:
        left = self._share(low)
        return left, round(max(self._share(high) - left, 0.0), 2)


def tone(low: float, high: float) -> str:
    """Good or bad where the interval is on one side of zero."""
    return "good" if low > 0 else "bad" if high < 0 else "unsure"


def table(
    title: str,
    heads: Sequence[Head],
    rows: Sequence[Sequence[Cell]],
    *,
    note: str = "",
    where: str = "",
    most: int = ROWS,
) -> tuple[Table, ...]:
    """A table of the first rows, or nothing without any; ``where`` holds the rest."""
    if not rows:
        return ()
    left = len(rows) - most
    more = f"{several(left, 'more row')} in {where}." if left > 0 and where else ""
    return (Table(title, tuple(heads), tuple(tuple(row) for row in rows[:most]), note, more),)
