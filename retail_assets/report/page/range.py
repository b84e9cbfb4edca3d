"""The report on the range: what to drop or keep, what to buy, and which new styles to believe."""

from __future__ import annotations

from collections.abc import Sequence
from operator import itemgetter

from retail_assets.report.page.blocks import (
    Axis,
    Block,
    Cell,
    Head,
    Money,
    Row,
    Section,
    Story,
    amount,
    percent,
    percents,
    several,
    table,
    tone,
)

COUNTED = {"pos_trials": "receipts", "style_trials": "boxes"}
REASONS = {"optimal": "worth it", "must_carry": "a rule: must be carried", "budget": "no budget"}
SURE = 0.95


def assortment(story: Story, money: Money) -> Section:
    """The forest of scenarios, each plan to take, and the room of each store."""
    better = [r for r in story["scenarios"] if r["verdict"] == "better"]
    worse = [r for r in story["scenarios"] if r["verdict"] == "worse"]
    says = ""
    if story["scenarios"]:
        open_ = len(story["scenarios"]) - len(better) - len(worse)
        says = (
            f"Of {several(len(story['scenarios']), 'scenario')}, {len(better)} would earn more"
            f" than today, {len(worse)} less; {open_} cannot be told (unresolved)."
        )
    return Section(
        "assortment",
        "What to drop or keep",
        says,
        ("assortment_scenarios", "assortment_plan_summary", "assortment_plan", "capacity_plan"),
        (*_forest(story, money), *_shelves(story, money), *_room(story, money),
         *_buys(story, money), *_buy_items(story, money)),
        "No scenarios yet: they need substitution rates; yours stand in rules/scenarios.toml.",
    )  # fmt: skip


def _forest(story: Story, money: Money) -> tuple[Block, ...]:
    rows = sorted(story["scenarios"], key=itemgetter("diff"), reverse=True)
    ends = [end for r in rows[:25] for end in (r["lo"], r["hi"])]
    axis = Axis.over(ends, lambda cents: amount(cents / 100, sign=True))
    heads = (Head("If ..."), Head("Gain a quarter", "num"),
             Head("95 % interval", "span", axis.ends), Head("Verdict"))  # fmt: skip
    shown = [
        (
            Cell(r["label"], r["category"], strong=True),
            _gain(r, money),
            Cell(sort=r["diff"], span=axis.of(r["diff"], r["lo"], r["hi"], _judged(r))),
            _verdict(r),
        )
        for r in rows
    ]
    note = (
        "Gross profit (revenue where a cost is missing) against today's shop, with the same"
        " customers in both. The line in the axis is today."
    )
    return table("What if", heads, shown, note=note, where="assortment_scenarios")


def _gain(row: Row, money: Money) -> Cell:
    flags = () if row["goal"] == "profit" else ("revenue",)
    low, high = row["lo"], row["hi"]
    return Cell(money(row["diff"], sign=True), money.span(low, high, sign=True), row["diff"], flags)


def _judged(row: Row) -> str:
    return "unsure" if row["verdict"] == "unresolved" else tone(row["lo"], row["hi"])


def _verdict(row: Row) -> Cell:
    if row["verdict"] == "unresolved":
        return Cell(flags=("unresolved",), sort="unresolved")
    return Cell(row["verdict"], sort=row["verdict"])


def _shelves(story: Story, money: Money) -> tuple[Block, ...]:
    rows = story["shelves"]
    ends = [end for r in rows for end in (r["lo"], r["hi"])]
    axis = Axis.over(ends, lambda cents: amount(cents / 100, sign=True))
    heads = (Head("Shelf"), Head("Gain a quarter", "num"), Head("95 % interval", "span", axis.ends),
             Head("Most room to"), Head("Most room from"), Head("Verdict"))  # fmt: skip
    shown = [
        (
            Cell(r["store"], r["category"], strong=True),
            _gain(r, money),
            Cell(sort=r["diff"], span=axis.of(r["diff"], r["lo"], r["hi"], _judged(r))),
            Cell(r["more"]),
            Cell(r["less"]),
            _verdict(r),
        )
        for r in rows
    ]
    note = "What dividing the same room anew would gain; no shelf grows."
    return table("Shelf room", heads, shown, note=note, where="capacity_plan")


def _room(story: Story, money: Money) -> tuple[Block, ...]:
    heads = (Head("Store"), Head("Product"), Head("Units now", "num"), Head("Planned", "num"),
             Head("Move", "num"), Head("One unit more is worth", "num"))  # fmt: skip
    shown = [
        (
            Cell(r["store"], r["category"]),
            Cell(r["name"], strong=True),
            Cell(amount(r["now"]), sort=r["now"]),
            Cell(amount(r["planned"]), sort=r["planned"]),
            Cell(amount(r["planned"] - r["now"], sign=True), sort=r["planned"] - r["now"]),
            _marginal(r, money),
        )
        for r in story["room"]
    ]
    note = "On shelves that gain. One unit more is worth: under the plan, a quarter, 95 %."
    return table("The largest moves", heads, shown, note=note, where="capacity_plan")


def _marginal(row: Row, money: Money) -> Cell:
    if row["worth"] is None:
        return Cell("\N{EN DASH}")
    half = 1.96 * (row["worth_se"] or 0.0)
    worth = row["worth"]
    return Cell(money(worth), money.span(worth - half, worth + half), worth)


def _buys(story: Story, money: Money) -> tuple[Block, ...]:
    rows = story["buys"]
    axis = Axis.over([r["hi"] for r in rows], lambda cents: amount(cents / 100))
    heads = (Head("Plan"), Head("Products", "num"), Head("Spend", "num"),
             Head("Expected profit", "num"), Head("95 % interval", "span", axis.ends),
             Head("Best possible", "num"), Head("Buying each alone", "num"))  # fmt: skip
    shown = [
        (
            Cell(r["plan"], r["category"], strong=True),
            Cell(amount(r["products"]), f"{amount(r['units'])} units", r["products"]),
            Cell(money(r["spend"]), sort=r["spend"]),
            Cell(money(r["profit"]), money.span(r["lo"], r["hi"]), r["profit"]),
            Cell(sort=r["profit"], span=axis.of(r["profit"], r["lo"], r["hi"], "good")),
            _bound(r),
            _alone(r),
        )
        for r in rows
    ]
    note = (
        "Best possible: how much more any plan could earn at most. Buying each alone: each"
        " product for its own customers (newsvendor), against this plan."
    )
    return table(
        "What to buy for a season", heads, shown, note=note, where="assortment_plan_summary"
    )


def _bound(row: Row) -> Cell:
    gap = row["gap_pct"]
    return Cell("no bound") if gap is None else Cell(f"+{gap:.1f} % at most", sort=gap)


def _alone(row: Row) -> Cell:
    lost = row["newsvendor_loses_pct"]
    if lost is None:
        return Cell("\N{EN DASH}")
    return Cell(f"{lost:.1f} % less" if lost >= 0.05 else "as good", sort=lost)


def _buy_items(story: Story, money: Money) -> tuple[Block, ...]:
    heads = (Head("Plan"), Head("Product"), Head("Units", "num"), Head("Cost", "num"),
             Head("Served of those who want it", "num"), Head("Why"))  # fmt: skip
    rows = [
        (
            Cell(r["plan"], r["category"]),
            Cell(r["name"], flags=() if r["selected"] else ("not carried",), strong=True),
            Cell(amount(r["units"]), sort=r["units"]),
            Cell(money(r["spend"]), sort=r["spend"]),
            _served(r),
            Cell(REASONS.get(r["reason"], r["reason"].replace("_", " "))),
        )
        for r in story["buy_items"]
    ]
    return table("The buy, item by item", heads, rows, where="assortment_plan")


def _served(row: Row) -> Cell:
    if row["fill_rate"] is None:
        return Cell("\N{EN DASH}")
    return Cell(percent(row["fill_rate"]), sort=row["fill_rate"])


def styles(story: Story, _: Money) -> Section:
    """New styles against what their group promised, and how well that was foreseen before."""
    rows = story["styles"]
    says = " ".join(_promise(r) for r in rows if r["young"] and r["status"] == "ok")
    if rows and not says:
        says = "No young style; below are those without a trial, and those to stop."
    return Section(
        "styles",
        "Which new styles to believe in",
        says,
        ("cold_start_posterior", "cold_start_priors", "cold_start_track_record"),
        (*_posterior(rows), *_track(story)),
        "No trials of styles yet: they come from receipts (pos) or landed style_trials.",
    )


def _promise(row: Row) -> str:
    return (
        f"{row['name']} is in {percent(row['p_mean'], 1)} of {COUNTED[row['source']]}"
        f" ({percents(row['p_lo95'], row['p_hi95'], 1)}) after {several(row['days_known'], 'day')};"
        f" its group promised {percent(row['prior_mean'])}: {belief(row)[0]}."
    )


def belief(row: Row) -> tuple[str, str]:
    """What to make of a style, in words, and the tone of its span."""
    if row["below"] is not None and row["below"] > SURE:
        return "stop, it stays below break-even", "bad"
    if row["status"] != "ok":
        return "not tried yet", "unsure"
    if row["p_hi95"] < row["prior_mean"]:
        return "below its group", "bad"
    if row["p_lo95"] > row["prior_mean"]:
        return "above its group", "good"
    return "as expected so far", "plain"


def _posterior(rows: Sequence[Row]) -> tuple[Block, ...]:
    axis = Axis.over([v for r in rows for v in (r["p_hi95"], r["group_hi"])], percent)
    heads = (Head("Style"), Head("Chosen in", "num"),
             Head("Posterior on its prior", "span", axis.ends), Head("Prior", "num"),
             Head("Trials", "num"), Head("Believe?"))  # fmt: skip
    shown = [
        (
            Cell(r["name"], _group(r), flags=_state(r), strong=True),
            Cell(percent(r["p_mean"], 1), percents(r["p_lo95"], r["p_hi95"], 1), r["p_mean"]),
            Cell(
                sort=r["p_mean"],
                span=axis.of(
                    r["p_mean"], r["p_lo95"], r["p_hi95"], belief(r)[1], _band(r),
                    mark=r["prior_mean"],
                ),
            ),
            Cell(percent(r["prior_mean"], 1), sort=r["prior_mean"]),
            Cell(amount(r["n"]), several(r["days_known"], "day"), r["n"]),
            Cell(belief(r)[0]),
        )
        for r in rows
    ]  # fmt: skip
    note = "The band is where 95 % of the styles of its group lie, the tick their mean: the prior."
    title = "Young styles, and those to stop"
    return table(title, heads, shown, note=note, where="cold_start_posterior")


def _group(row: Row) -> str:
    return f"{row['group_id']}, {COUNTED[row['source']]}"


def _band(row: Row) -> tuple[float, float] | None:
    return None if row["group_lo"] is None else (row["group_lo"], row["group_hi"])


def _state(row: Row) -> tuple[str, ...]:
    young = ("young",) if row["young"] else ()
    return young if row["status"] == "ok" else (*young, row["status"].replace("_", " "))


def _track(story: Story) -> tuple[Block, ...]:
    heads = (Head("Counted in"), Head("Weeks foreseen", "num"),
             Head("Inside the 95 % limits", "num"),
             Head("Mean z\N{SUPERSCRIPT TWO}, 1 is right", "num"), Head("So"))  # fmt: skip
    rows = [
        (
            Cell(COUNTED[r["source"]], several(r["styles"], "style"), strong=True),
            Cell(amount(r["weeks"]), sort=r["weeks"]),
            Cell(percent(r["inside"]), sort=r["inside"]),
            Cell(f"{r['z2']:.2f}", sort=r["z2"]),
            Cell("intervals too narrow: rates drift" if r["z2"] > 1.3 else "trust the intervals"),
        )
        for r in story["track"]
    ]
    note = "What was foreseen a week ahead, against the week that came; the last eight weeks."
    return table("Track record", heads, rows, note=note, where="cold_start_track_record")
