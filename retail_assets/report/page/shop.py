"""The report on the shop: what sold, what was missing and when, what was taken instead."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from operator import itemgetter

from retail_assets.report.page.blocks import (
    Axis,
    Bars,
    Block,
    Cell,
    Head,
    Heat,
    HeatCell,
    Money,
    Row,
    Section,
    Story,
    amount,
    change,
    percent,
    percents,
    several,
    table,
)

WEEKDAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")


def sold(story: Story, money: Money) -> Section:
    """Revenue by week and category, and each product beside what was wanted first."""
    says, blocks = "", tuple[Block, ...]()
    for span in story["span"]:
        says = (
            f"{money(span['cents'])} in {span['stores']} stores from {span['first_day']} to"
            f" {span['last_day']}. The last four weeks brought {money(span['recent_cents'])}"
        )
        if span["before_cents"]:
            moved = change(span["recent_cents"], span["before_cents"])
            says += f", {moved} on the four before"
        says += f". {_hidden(story)}"
        blocks = (*_weeks(story, money), *_categories(story, money), *_products(story, money))
    return Section(
        "sold",
        "What sold",
        says.strip(),
        ("interval_sales", "demand_rates", "inventory_status"),
        blocks,
        "No receipts landed: put pos/*.csv into the landing folder.",
    )


def _hidden(story: Story) -> str:
    """The product that receipts rank furthest below where customers want it."""
    found = [r for r in story["products"] if _underrated(r)]
    if not found:
        return ""
    top = max(found, key=lambda r: r["sold_rank"] - r["wanted_rank"])
    return (
        f"Receipts rank {top['name']} {top['sold_rank']} in {top['category']}; by what customers"
        f" come for, it is {top['wanted_rank']}."
    )


def _weeks(story: Story, money: Money) -> tuple[Block, ...]:
    weeks = sorted(story["weeks"], key=itemgetter("week"))
    top = max((float(w["cents"]) for w in weeks), default=0.0)
    if len(weeks) < 2 or top <= 0:
        return ()
    bars = tuple(
        (
            f"{w['week']:%-d %b}",
            round(100 * max(0.0, float(w["cents"])) / top, 1),
            f"week of {w['week']}: {money(w['cents'])}",
        )
        for w in weeks
    )
    best = max(weeks, key=itemgetter("cents"))
    note = f"Whole weeks. The best: that of {best['week']}, {money(best['cents'])}."
    return (Bars("Revenue by week", bars, note),)


def _categories(story: Story, money: Money) -> tuple[Block, ...]:
    heads = (Head("Category"), Head("Revenue", "num"), Head("Units", "num"),
             Head("Products", "num"), Head("Last 4 weeks", "num"))  # fmt: skip
    rows = [
        (
            Cell(row["category"], strong=True),
            Cell(money(row["cents"]), sort=float(row["cents"])),
            Cell(amount(row["units"]), sort=row["units"]),
            Cell(amount(row["products"]), sort=row["products"]),
            _recent(row, money),
        )
        for row in story["categories"]
    ]
    return table("By category", heads, rows, where="interval_sales")


def _recent(row: Row, money: Money) -> Cell:
    recent, before = float(row["recent_cents"] or 0), float(row["before_cents"] or 0)
    moved = f"{change(recent, before)} on the 4 before" if before else ""
    return Cell(money(recent), moved, recent)


def _products(story: Story, money: Money) -> tuple[Block, ...]:
    rows = story["products"]
    axis = Axis.over([*(r["wanted_hi"] for r in rows), *(r["receipts"] for r in rows)])
    heads = (Head("Product"), Head("Revenue", "num"), Head("Receipts", "num"),
             Head("Wanted first", "num"), Head("95 % interval", "span", axis.ends))  # fmt: skip
    shown = [
        (
            Cell(r["name"], r["category"], flags=_underrated(r), strong=True),
            Cell(money(r["cents"]), sort=float(r["cents"])),
            Cell(amount(r["receipts"]), _rank(r["sold_rank"]), sort=float(r["receipts"])),
            *_wanted(r, axis),
        )
        for r in rows
    ]
    note = (
        "Receipts flatter what is taken instead of a product that is out. Wanted first counts"
        " customers who came for the product, whether or not they found it; the tick is its"
        " receipts. Ranks are within the category."
    )
    return table("By product: bought, and wanted", heads, shown, note=note, where="demand_rates")


def _wanted(row: Row, axis: Axis) -> tuple[Cell, Cell]:
    if row["wanted"] is None:
        return Cell("\N{EN DASH}"), Cell()
    low, high, receipts = row["wanted_lo"], row["wanted_hi"], float(row["receipts"])
    span = axis.of(row["wanted"], low, high, "good" if low > receipts else "plain", mark=receipts)
    said = f"{_rank(row['wanted_rank'])} \N{MIDDLE DOT} {amount(low)} to {amount(high)}"
    return Cell(amount(row["wanted"]), said, sort=row["wanted"]), Cell(
        sort=row["wanted"], span=span
    )


def _underrated(row: Row) -> tuple[str, ...]:
    known = row["wanted"] is not None
    return (
        ("wanted more than bought",) if known and row["wanted_rank"] + 1 < row["sold_rank"] else ()
    )


def _rank(rank: int) -> str:
    return f"rank {rank}"


def missing(story: Story, money: Money) -> Section:
    """Share out of stock with its interval, what that loses, and when it happens."""
    rows = story["missing"]
    says = ""
    if rows:
        worst = next((r for r in rows if not r["weak"]), rows[0])
        weak = sum(1 for r in rows if r["weak"])
        says = (
            f"{worst['name']} is missing most: {percent(worst['share'], 1)} of its trading time"
            f" ({percents(worst['share_lo'], worst['share_hi'], 1)})."
        )
        if weak:
            says += f" Of {several(weak, 'product')} the receipts alone can hardly tell: low power."
    return Section(
        "missing",
        "What was missing, and when",
        says,
        ("inventory_status", "inventory_status_params", "substitution_rates", "trading_days"),
        (*_shares(rows, money), *_hours(story)),
        "No stock status yet: it needs landed receipts (pos) of several weeks.",
    )


def _shares(rows: Sequence[Row], money: Money) -> tuple[Block, ...]:
    axis = Axis.over([r["share_hi"] for r in rows], percent)
    heads = (Head("Product"), Head("Out of stock", "num"), Head("95 % interval", "span", axis.ends),
             Head("Met an empty shelf, a week", "num"),
             Head("Left with nothing, a week", "num"))  # fmt: skip
    shown = [
        (
            Cell(r["name"], r["category"], flags=_power(r), strong=True),
            Cell(percent(r["share"], 1), percents(r["share_lo"], r["share_hi"], 1), r["share"]),
            Cell(
                sort=r["share"],
                span=axis.of(
                    r["share"], r["share_lo"], r["share_hi"], "unsure" if r["weak"] else "bad"
                ),
            ),
            *_lost(r, money),
        )
        for r in rows
    ]
    note = (
        "Empty shelves: customers who came for the product and did not find it. Left with nothing:"
        " what their purchase would have brought, as far as they took nothing else; its interval"
        " is that of the share who leave."
    )
    return table("Share of trading time", heads, shown, note=note, where="inventory_status")


def _power(row: Row) -> tuple[str, ...]:
    if not row["weak"]:
        return ()
    stores = row["stores"]
    every = row["weak"] == stores
    return ("low power" if every else f"low power {row['weak']}/{stores} stores",)


def _lost(row: Row, money: Money) -> tuple[Cell, Cell]:
    if row["lost"] is None:
        return Cell("\N{EN DASH}"), Cell("\N{EN DASH}")
    flags = (row["leave_flag"],) if row["leave_flag"] != "ok" else ()
    low, high = float(row["lost_lo"]), float(row["lost_hi"])
    return (
        Cell(amount(row["met_empty"]), sort=row["met_empty"]),
        Cell(money(row["lost"]), money.span(low, high), float(row["lost"]), flags),
    )


def _hours(story: Story) -> tuple[Block, ...]:
    found = list[Block]()
    for name, group in groupby(story["hours"], key=itemgetter("name")):
        rows = list(group)
        at = {(r["weekday"], r["hour"]): float(r["p_out"]) for r in rows}
        hours = range(min(h for _, h in at), max(h for _, h in at) + 1)
        lines = tuple(
            (
                WEEKDAYS[day],
                tuple(_hour(name, day, hour, at.get((day, hour))) for hour in hours),
            )
            for day in range(7)
            if any((day, hour) in at for hour in hours)
        )
        day, hour = max(at, key=lambda key: at[key])
        note = (
            f"{percent(rows[0]['share'])} in all; most on {WEEKDAYS[day]} at {hour}:00,"
            f" {percent(at[day, hour])}."
        )
        found.append(Heat(name, "", tuple(f"{hour}" for hour in hours), lines, note, small=True))
    return tuple(found)


def _hour(name: str, day: int, hour: int, value: float | None) -> HeatCell:
    if value is None:
        return HeatCell(about="closed")
    return HeatCell(
        value, about=f"{name}, {WEEKDAYS[day]} {hour}:00: out of stock {percent(value)}"
    )


def substitutes(story: Story, _: Money) -> Section:
    """Who takes what instead: a heat map per category and the surest pairs."""
    pairs = [r for r in story["pairs"] if r["to_product"] != "none"]
    sure = sorted(
        (r for r in pairs if r["flag"] in ("ok", "weak")), key=itemgetter("q025"), reverse=True
    )
    says = ""
    if sure:
        top = sure[0]
        says = (
            f"Of the customers who miss {top['wanted']}, {percent(top['mean'])} take {top['taken']}"
            f" ({percents(top['q025'], top['q975'])})."
        )
    doubtful = sum(1 for r in pairs if r["flag"] in ("unidentified", "prior_only"))
    if doubtful:
        says += f" Of {several(doubtful, 'pair')} the receipts say nothing; these are hatched."
    return Section(
        "substitutes",
        "What substitutes for what",
        says.strip(),
        ("substitution_rates", "substitution_diagnostics"),
        (*_heat_maps(story), *_pairs(sure)),
        "No substitution rates yet: they need receipts of two products of a category or more.",
    )


def _heat_maps(story: Story) -> tuple[Block, ...]:
    found = list[Block]()
    for category, group in groupby(story["pairs"], key=itemgetter("category")):
        rows = list(group)
        names = {r["from_product"]: r["wanted"] for r in rows}
        at = {(r["from_product"], r["to_product"]): r for r in rows}
        lines = tuple(
            (label, tuple(_taken(at.get((wanted, taken))) for taken in (*names, "none")))
            for wanted, label in names.items()
        )
        found.append(
            Heat(
                f"{category}: of 100 customers who miss the row, how many take the column",
                "missing \N{DOWNWARDS ARROW} taken \N{RIGHTWARDS ARROW}",
                (*names.values(), "leave"),
                lines,
                "Small print: half the width of the 95 % interval. Hatched: the data cannot tell.",
            )
        )
    return tuple(found[:6])


def _taken(row: Row | None) -> HeatCell:
    if row is None:
        return HeatCell()
    taken = "leave" if row["to_product"] == "none" else f"take {row['taken']}"
    return HeatCell(
        float(row["mean"]),
        f"{100 * row['mean']:.0f}",
        f"\N{PLUS-MINUS SIGN}{50 * (row['q975'] - row['q025']):.0f}",
        f"of those who miss {row['wanted']}, {percent(row['mean'])} {taken}"
        f" ({percents(row['q025'], row['q975'])}), {row['flag']}",
        row["flag"] in ("unidentified", "prior_only"),
    )


def _pairs(sure: list[Row]) -> tuple[Block, ...]:
    axis = Axis(0.0, max((r["q975"] for r in sure[:15]), default=1.0), percent)
    heads = (Head("Missing"), Head("Taken instead"), Head("Of 100", "num"),
             Head("95 % interval", "span", axis.ends),
             Head("Met an empty shelf", "num"))  # fmt: skip
    rows = [
        (
            Cell(r["wanted"], r["category"], strong=True),
            Cell(r["taken"], flags=(r["flag"],) if r["flag"] != "ok" else ()),
            Cell(percent(r["mean"]), percents(r["q025"], r["q975"]), r["mean"]),
            Cell(sort=r["mean"], span=axis.of(r["mean"], r["q025"], r["q975"])),
            Cell(amount(r["n_oos_customers"]), sort=r["n_oos_customers"]),
        )
        for r in sure
    ]
    return table("The surest pairs", heads, rows, where="substitution_rates")
