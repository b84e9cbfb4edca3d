"""The report on supply: what to order, and what a coming sale should charge."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import groupby
from operator import itemgetter

from retail_assets.report.page.blocks import (
    Axis,
    Block,
    Cell,
    Head,
    Money,
    Picture,
    Row,
    Section,
    Story,
    Words,
    amount,
    percent,
    several,
    table,
)

PROVEN = 1e-6
"""Gap of a score at which rounding is all that is left."""
GOALS = {
    "weighted": "the chosen mix",
    "revenue": "most revenue",
    "margin_cents": "most margin",
    "margin_pct": "best margin percent",
    "sell_through": "most units sold",
}


def orders(story: Story, money: Money) -> Section:
    """What to order now and why, and what to stop."""
    wanted = [r for r in story["orders"] if r["units"] > 0]
    stopped = [r for r in story["orders"] if r["retire"]]
    says = ""
    if story["orders"]:
        cost = sum(float(r["cost"]) for r in wanted if r["cost"] is not None)
        says = (
            f"{several(len(wanted), 'order')} for {money(cost)}" if wanted else "Nothing to order"
        )
        says += f"; {several(len(stopped), 'item')} to stop." if stopped else "."
    blocks: tuple[Block, ...] = (*_orders(wanted, money), *_stopped(stopped))
    if says and not blocks:
        blocks = (Words("", ("Stock on hand and on order covers the lead times.",)),)
    return Section(
        "orders",
        "What to order",
        says,
        ("reorder_plan", "inventory_forecast"),
        blocks,
        "No stock landed: put stock.csv (and shipments.csv) into the landing folder.",
    )  # fmt: skip


def _orders(rows: Sequence[Row], money: Money) -> tuple[Block, ...]:
    heads = (Head("Product"), Head("Order", "num"), Head("Cost", "num"),
             Head("Short next week", "num"), Head("On hand in a week", "num"),
             Head("Why", "why"))  # fmt: skip
    shown = [
        (
            Cell(r["name"], _where(r), strong=True),
            Cell(amount(r["units"]), sort=r["units"]),
            _cost(r, money),
            _short(r),
            _on_hand(r),
            Cell(_sentence(r["reason"])),
        )
        for r in rows
    ]
    note = "Short: probability that demand of the coming week is not met in full. On hand: 95 %."
    return table("Order now", heads, shown, note=note, where="reorder_plan")


def _where(row: Row) -> str:
    size = "" if row["size"] == "one" else f"{row['size']}, "
    return f"{size}{row['warehouse']}"


def _cost(row: Row, money: Money) -> Cell:
    if row["cost"] is None:
        return Cell("no cost known")
    return Cell(money(float(row["cost"])), sort=float(row["cost"]))


def _short(row: Row) -> Cell:
    short = row["short"]
    return Cell("\N{EN DASH}") if short is None else Cell(percent(short), sort=short)


def _on_hand(row: Row) -> Cell:
    if row["on_hand"] is None:
        return Cell("\N{EN DASH}")
    between = f"{amount(row['on_hand_lo'])} to {amount(row['on_hand_hi'])}"
    return Cell(amount(row["on_hand"]), between, row["on_hand"])


def _stopped(rows: Sequence[Row]) -> tuple[Block, ...]:
    heads = (Head("Product"), Head("Below break-even", "num"), Head("Why", "why"))
    shown = [
        (
            Cell(r["name"], _where(r), strong=True),
            Cell("\N{EN DASH}")
            if r["retire_prob"] is None
            else Cell(percent(r["retire_prob"]), sort=r["retire_prob"]),
            Cell(_sentence(r["reason"])),
        )
        for r in rows
    ]
    return table("Stop sending", heads, shown, where="reorder_plan")


def prices(story: Story, money: Money, proofs: Mapping[str, str]) -> Section:
    """The prices of each coming sale, their reasons, and the proof that none are better.

    Parameters
    ----------
    proofs : mapping
        Sale, and the data URI of the plot its proof was drawn as.
    """
    says, blocks = "", list[Block]()
    for sale, group in groupby(story["prices"], key=itemgetter("sale_id")):
        items = list(group)
        goals = [r for r in story["proofs"] if r["sale_id"] == sale]
        blocks += [*_items(sale, items, money), *_goals(sale, goals, money)]
        if sale in proofs:
            alt = (
                f"Bounds on what any total of the prices of {sale} can earn, and the value reached"
            )
            blocks.append(Picture(f"{sale}: the proof", proofs[sale], alt))
        says += f"{sale} begins {items[0]['starts_at']:%-d %B %Y}: {proven(goals)} "
    return Section(
        "prices",
        "Which prices, and why",
        says.strip(),
        ("optimal_prices", "price_certificates", "price_candidates", "sale_events"),
        tuple(blocks),
        "No sale to come: land sale_events with the sale's items, and no price yet.",
    )


def proven(goals: Sequence[Row]) -> str:
    """What the certificate of the chosen goal says, in words."""
    chosen = next((r for r in goals if r["target"] == "weighted"), None)
    if chosen is None:
        return "no proof was kept."
    if chosen["gap"] > PROVEN:
        return f"within {chosen['gap']:.1e} of the best possible score."
    ruled_out, totals = chosen["totals_ruled_out"], chosen["totals"]
    return (
        f"proven best. Of {amount(totals)} totals the prices can add up to,"
        f" {amount(ruled_out)} cannot hold better ones ({chosen['method']})."
    )


def _items(sale: str, items: Sequence[Row], money: Money) -> tuple[Block, ...]:
    axis = Axis.over([r["hi"] for r in items])
    heads = (Head("Item"), Head("Now", "num"), Head(f"Price, {money.currency}", "num"),
             Head("Units", "num"), Head("80 % interval", "span", axis.ends),
             Head("Revenue", "num"), Head("Why", "why"))  # fmt: skip
    shown = [
        (
            Cell(r["name"], flags=("new price",) if r["extrapolated"] else (), strong=True),
            Cell(money.price(r["before"]), sort=r["before"]),
            Cell(money.price(r["price"]), _moved(r), r["price"], strong=True),
            Cell(
                amount(r["units"]),
                f"{amount(r['lo'])} to {amount(r['hi'])} of {amount(r['available'])}",
                r["units"],
            ),
            Cell(sort=r["units"], span=axis.of(r["units"], r["lo"], r["hi"])),
            Cell(money(r["revenue"]), f"margin {money(r['margin'])}", r["revenue"]),
            Cell(_sentence(r["reason"])),
        )
        for r in items
    ]  # fmt: skip
    return table(f"{sale}: recommended prices", heads, shown, where="optimal_prices")


def _moved(row: Row) -> str:
    moved = row["change_pct"]
    return "" if moved is None else percent(moved / 100, sign=True)


def _sentence(reason: str) -> str:
    return reason[:1].upper() + reason[1:]


def _goals(sale: str, goals: Sequence[Row], money: Money) -> tuple[Block, ...]:
    heads = (Head("Goal"), Head("Revenue", "num"), Head("Margin", "num"), Head("Sold", "num"),
             Head("Gap to the bound", "num"))  # fmt: skip
    shown = [
        (
            Cell(GOALS[r["target"]], strong=r["target"] == "weighted"),
            Cell(money(r["revenue"]), sort=r["revenue"]),
            Cell(money(r["margin"]), f"{r['margin_pct']:.1f} % of revenue", r["margin"]),
            Cell(f"{r['sell_through_pct']:.0f} %", "of units available", r["sell_through_pct"]),
            Cell("0, proven" if r["gap"] <= PROVEN else f"{r['gap']:.1e}", sort=r["gap"]),
        )
        for r in goals
    ]
    note = "What each goal by itself would bring; every row has its own proof."
    return table(f"{sale}: what other goals would bring", heads, shown, note=note)
