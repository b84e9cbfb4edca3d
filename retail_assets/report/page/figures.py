"""The headline figures of a report, and what changed since the last one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from math import hypot

from retail_assets.report.page.blocks import (
    NBSP,
    Block,
    Cell,
    Head,
    Money,
    Row,
    Section,
    Story,
    Words,
    amount,
    percent,
    percents,
    several,
    table,
)
from retail_assets.report.page.range import COUNTED

NEEDS = ("span", "missing", "pairs", "scenarios", "shelves", "buys", "styles", "orders", "prices")
"""Questions whose answers hold the figures."""
MOST = 200
"""Figures of one kind; beyond that nobody reads what changed."""


@dataclass(frozen=True)
class Figure:
    """One headline figure; without limits it is known exactly, or is a decision."""

    figure: str
    about: str
    label: str
    unit: str
    value: float
    lo: float | None = None
    hi: float | None = None
    level: float | None = None


def figures(story: Story) -> list[Figure]:
    """Every figure the next report compares, each once, the first of a kind that has many."""
    found = dict[tuple[str, str], Figure]()
    seen = Counter[str]()
    for each in (*_selling(story), *_plans(story)):
        key = each.figure, each.about
        if key not in found and seen[each.figure] < MOST:
            found[key] = each
            seen[each.figure] += 1
    return list(found.values())


def _selling(story: Story) -> Iterator[Figure]:
    for r in story["span"]:
        yield Figure("revenue_28_days", "all", "revenue of the last four weeks", "money",
                     float(r["recent_cents"]))  # fmt: skip
    for r in story["missing"]:
        about, name = r["product_id"], r["name"]
        yield Figure("share_out", about, f"{name}: out of stock", "share",
                     r["share"], r["share_lo"], r["share_hi"], 0.95)  # fmt: skip
    for r in story["pairs"]:
        if r["flag"] in ("ok", "weak") and r["q025"] > 0.05:
            taken = "leave" if r["to_product"] == "none" else f"take {r['taken']}"
            yield Figure("substitution", f"{r['from_product']} > {r['to_product']}",
                         f"{r['wanted']} missing: {taken}", "share",
                         r["mean"], r["q025"], r["q975"], 0.95)  # fmt: skip


def _plans(story: Story) -> Iterator[Figure]:
    for r in story["scenarios"]:
        yield Figure("scenario", f"{r['category']}: {r['scenario']}", f"if: {r['label']}",
                     "money", r["diff"], r["lo"], r["hi"], 0.95)  # fmt: skip
    for r in story["shelves"]:
        yield Figure("shelf", f"{r['category']}, {r['store_id']}",
                     f"shelf of {r['category']} in {r['store']} divided anew", "money",
                     r["diff"], r["lo"], r["hi"], 0.95)  # fmt: skip
    for r in story["buys"]:
        yield Figure("plan", f"{r['category']}: {r['plan_id']}", f"profit of {r['plan']}",
                     "money", r["profit"], r["lo"], r["hi"], 0.95)  # fmt: skip
    for r in story["styles"]:
        yield Figure("style", f"{r['product_id']}, {r['source']}",
                     f"{r['name']}: share of {COUNTED[r['source']]}", "share",
                     r["p_mean"], r["p_lo95"], r["p_hi95"], 0.95)  # fmt: skip
    for r in (order for order in story["orders"] if order["units"] > 0):
        yield Figure("order", f"{r['product_id']}, {r['size']}, {r['warehouse']}",
                     f"order of {r['name']} for {r['warehouse']}", "units",
                     float(r["units"]))  # fmt: skip
    for r in story["prices"]:
        about = f"{r['sale_id']}, {r['product_id']}"
        yield Figure("price", about, f"price of {r['name']} in {r['sale_id']}", "price",
                     float(r["price"]))  # fmt: skip
        yield Figure("sale_units", about, f"{r['name']} sold in {r['sale_id']}", "units",
                     r["units"], r["lo"], r["hi"], 0.8)  # fmt: skip


def noise(row: Row) -> float:
    """How far two estimates of one figure may lie apart: their half widths in quadrature."""
    halves = [
        (row[hi] - row[lo]) / 2
        for lo, hi in (("lo", "hi"), ("lo_before", "hi_before"))
        if row[lo] is not None and row[hi] is not None
    ]
    return hypot(*halves) if halves else 0.0


def moved(row: Row) -> bool:
    """The figure changed by more than its interval; any change of an exact one counts."""
    return bool(abs(row["value"] - row["value_before"]) > max(noise(row), 1e-9))


def changes(story: Story, money: Money) -> Section:
    """What changed since the last report beyond its interval; the rest is noise."""
    rows = story["changes"]
    both = [r for r in rows if r["value"] is not None and r["value_before"] is not None]
    real = sorted((r for r in both if moved(r)), key=_surprise, reverse=True)
    new = [r for r in rows if r["value_before"] is None]
    gone = [r for r in rows if r["value"] is None]
    says, blocks = "", tuple[Block, ...]()
    if rows:
        before = next((r["made_before"] for r in rows if r["made_before"] is not None), None)
        says = (
            f"Since the report of {before:%-d %B %Y, %H:%M} UTC, {several(len(real), 'figure')}"
            f" moved beyond the interval; {amount(len(both) - len(real))} stayed within noise."
        )
        lines = _named("New", new), _named("No longer there", gone)
        blocks = (*_moves(real, money), Words("", tuple(filter(None, lines))))
    return Section(
        "changes",
        "What changed since the last report",
        says,
        ("report_figures",),
        blocks,
        "This is the first report on this home: the next one says what changed.",
    )


def _surprise(row: Row) -> float:
    moved_by = abs(row["value"] - row["value_before"])
    return float(moved_by / (noise(row) or abs(row["value_before"]) or 1.0))


def _named(what: str, rows: list[Row]) -> str:
    labels = [str(r["label"]) for r in rows]
    if not labels:
        return ""
    rest = f" and {len(labels) - 5} more" if len(labels) > 5 else ""
    return f"{what}: {'; '.join(labels[:5])}{rest}."


def _moves(rows: list[Row], money: Money) -> tuple[Block, ...]:
    heads = (Head("Figure"), Head("Now", "num"), Head("Before", "num"), Head("Change", "num"))
    shown = [
        (
            Cell(r["label"], strong=True),
            _shown(r, "value", "lo", "hi", money),
            _shown(r, "value_before", "lo_before", "hi_before", money),
            Cell(_text(r["value"] - r["value_before"], r["unit"], money, sign=True),
                 sort=abs(r["value"] - r["value_before"])),
        )
        for r in rows
    ]  # fmt: skip
    return table("Moved beyond the interval", heads, shown, where="report_figures")


def _shown(row: Row, value: str, low: str, high: str, money: Money) -> Cell:
    lo, hi, unit = row[low], row[high], row["unit"]
    between = ""
    if lo is not None and hi is not None:
        between = {
            "money": lambda: money.span(lo, hi),
            "share": lambda: percents(lo, hi, 1),
        }.get(unit, lambda: f"{amount(lo)} to {amount(hi)}")()
    return Cell(_text(row[value], unit, money), between, row[value])


def _text(value: float, unit: str, money: Money, *, sign: bool = False) -> str:
    if unit == "money":
        return money(value, sign=sign)
    if unit == "price":
        shown = f"{value / 100:{'+' if sign else ''},.2f}".replace("-", "\N{MINUS SIGN}")
        return f"{shown}{NBSP}{money.currency}"
    if unit == "share":
        points = percent(value, 1, sign=sign)
        return points.replace("%", "points") if sign else points
    return amount(value, sign=sign)
