"""The first screen: a few decisions in plain words, with money and how sure it is."""

from __future__ import annotations

from collections.abc import Iterator

from retail_assets.report.page.blocks import (
    Card,
    Money,
    Row,
    Story,
    amount,
    percent,
    percents,
    several,
)
from retail_assets.report.page.range import COUNTED, belief
from retail_assets.report.page.supply import PROVEN


def cards(story: Story, money: Money) -> tuple[Card, ...]:
    """At most eight, in the order of the story; what is not known has no card."""
    every = (_refill, _do, _keep, _shelf, _buy, _believe, _order, _price)
    return tuple(card for each in every for card in each(story, money))


def _refill(story: Story, money: Money) -> Iterator[Card]:
    found = [r for r in story["missing"] if not r["weak"]] or list(story["missing"])
    for r in found[:1]:
        between = percents(r["share_lo"], r["share_hi"], 1)
        why = f"Out of stock {percent(r['share'], 1)} ({between})"
        if r["met_empty"] is not None:
            why += f"; {amount(r['met_empty'])} customers a week met an empty shelf."
        if r["lost"] is None:
            yield Card("Refill", r["name"], percent(r["share"]), "of its time out of stock", why,
                       "missing")  # fmt: skip
            continue
        between = money.span(float(r["lost_lo"]), float(r["lost_hi"]))
        yield Card("Refill", r["name"], money(r["lost"]), f"a week left unsold ({between})", why,
                   "missing")  # fmt: skip


def _do(story: Story, money: Money) -> Iterator[Card]:
    better = [r for r in story["scenarios"] if r["verdict"] == "better"]
    for r in sorted(better, key=lambda r: -r["lo"])[:1]:
        yield Card("Do", r["label"], money(r["diff"], sign=True), _quarter(r, money),
                   f"The best of {several(len(story['scenarios']), 'scenario')} tried.",
                   "assortment")  # fmt: skip


def _keep(story: Story, money: Money) -> Iterator[Card]:
    products = {(r["category"], r["product_id"]): r for r in story["products"]}
    found = [
        (products[r["category"], r["dropped"]], r)
        for r in story["scenarios"]
        if r["verdict"] == "worse" and (r["category"], r["dropped"]) in products
    ]
    # The product that receipts rank furthest below where customers want it.
    for product, r in sorted(found, key=lambda each: (_gain(each[0]), each[1]["hi"]))[:1]:
        why = "The costliest to drop."
        if _gain(product) < 0:
            why = (
                f"Rank {product['sold_rank']} in receipts, but {product['wanted_rank']} in what"
                f" customers of {r['category']} come for."
            )
        between = money.span(r["lo"], r["hi"], sign=True)
        yield Card("Keep", product["name"], money(r["diff"], sign=True),
                   f"{r['goal']} a quarter if it goes ({between})", why, "assortment")  # fmt: skip


def _gain(product: Row) -> int:
    known = product["wanted"] is not None
    return int(product["wanted_rank"] - product["sold_rank"]) if known else 0


def _shelf(story: Story, money: Money) -> Iterator[Card]:
    better = [r for r in story["shelves"] if r["verdict"] == "better"]
    for r in sorted(better, key=lambda r: -r["lo"])[:1]:
        more = len(better) - 1
        rest = f" {several(more, 'other shelf', 'other shelves')} gain too." if more else ""
        yield Card("Divide anew", f"{r['category']} in {r['store']}", money(r["diff"], sign=True),
                   _quarter(r, money), f"Room to {r['more']}, from {r['less']}.{rest}",
                   "assortment")  # fmt: skip


def _quarter(row: Row, money: Money) -> str:
    return f"{row['goal']} a quarter ({money.span(row['lo'], row['hi'], sign=True)})"


def _buy(story: Story, money: Money) -> Iterator[Card]:
    # The one that gains most over buying each product for its own customers alone.
    found = sorted(story["buys"], key=lambda r: -r["profit"] * (r["newsvendor_loses_pct"] or 0.0))
    for r in found[:1]:
        more = len(story["buys"]) - 1
        rest = f" {several(more, 'other plan')} below." if more else ""
        yield Card("Buy", f"{r['plan']} ({r['category']})", money(r["profit"]),
                   f"expected profit ({money.span(r['lo'], r['hi'])})",
                   f"{several(r['products'], 'product')} for {money(r['spend'])}.{rest}",
                   "assortment")  # fmt: skip


def _believe(story: Story, _: Money) -> Iterator[Card]:
    young = [r for r in story["styles"] if r["young"] and r["status"] == "ok"]
    for r in young[:1]:
        said = belief(r)[0]
        yield Card("New style", r["name"], percent(r["p_mean"], 1),
                   f"of {COUNTED[r['source']]} ({percents(r['p_lo95'], r['p_hi95'], 1)})",
                   f"{said[:1].upper()}{said[1:]}: that promised {percent(r['prior_mean'])}.",
                   "styles")  # fmt: skip


def _order(story: Story, money: Money) -> Iterator[Card]:
    wanted = [r for r in story["orders"] if r["units"] > 0]
    for r in sorted(wanted, key=lambda r: -(r["short"] or 0.0) * r["units"])[:1]:
        cost = sum(float(w["cost"]) for w in wanted if w["cost"] is not None)
        why = f"With it {several(len(wanted), 'order')} in all, {money(cost)}."
        if r["short"] is not None:
            why = f"Short next week with probability {percent(r['short'])}. {why}"
        of_it = money(float(r["cost"])) if r["cost"] is not None else several(r["units"], "unit")
        yield Card("Order", f"{amount(r['units'])} {r['name']}", of_it, f"for {r['warehouse']}",
                   why, "orders")  # fmt: skip


def _price(story: Story, money: Money) -> Iterator[Card]:
    for sale in dict.fromkeys(r["sale_id"] for r in story["prices"][:1]):
        items = [r for r in story["prices"] if r["sale_id"] == sale]
        low = sum(r["price"] * r["lo"] for r in items)
        high = sum(r["price"] * r["hi"] for r in items)
        gap = [
            p["gap"] for p in story["proofs"] if p["sale_id"] == sale and p["target"] == "weighted"
        ]
        proof = " Proven best." if gap and gap[0] <= PROVEN else ""
        begins = f"{items[0]['starts_at']:%-d %B}"
        moved = sum(1 for r in items if r["before"] is not None and r["price"] != r["before"])
        yield Card("Price", f"{sale}, {several(len(items), 'item')}",
                   money(sum(r["revenue"] for r in items)),
                   f"revenue ({money.span(low, high)}, at least 80 %)",
                   f"{several(moved, 'price')} to change for {begins}.{proof}",
                   "prices")  # fmt: skip
