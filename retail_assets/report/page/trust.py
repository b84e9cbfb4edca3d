"""The report on trust: what was quarantined or is missing, and how far to believe each model."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from retail_assets.report.page.blocks import (
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
    several,
    table,
)

GOOD_COVERAGE = (0.7, 0.9)
"""Of 80 % intervals: outside, they are too narrow or too wide by more than chance of a few
origins."""
WEAK_EFFECTIVE_DRAWS = 100
WIDE_RHAT = 1.05


def quality(story: Story, _: Money) -> Section:
    """Files, rejected lines with their reasons, days without receipts, alerts."""
    says, blocks = "", tuple[Block, ...]()
    if story["files"]:
        says = _found(story)
        blocks = (*_rejected(story), *_odd(story), *_silent(story), *_alerts(story), *_files(story))
    return Section(
        "quality",
        "Data quality, and what was quarantined",
        says,
        ("landing_files", "pos_quarantine", "pos_lines", "trading_days", "alerts"),
        blocks,
        "No files landed yet.",
    )


def _found(story: Story) -> str:
    failed = sum(r["files"] for r in story["files"] if r["state"] == "failed")
    silent = sum(r["days"] for r in story["silent"])
    found = (
        (failed, several(failed, "file") + " failed"),
        (_rejected_lines(story), several(_rejected_lines(story), "line") + " rejected"),
        (silent, several(silent, "store day") + " without a receipt"),
        (len(story["alerts"]), several(len(story["alerts"]), "run") + " failed in 30 days"),
    )
    wrong = [words for count, words in found if count]
    if wrong:
        return f"To mend: {', '.join(wrong)}."
    return "Every file was read, no line rejected, no open day is without receipts, no run failed."


def _rejected_lines(story: Story) -> int:
    return sum({r["table_name"]: r["rejected"] for r in story["rejected"]}.values())


def _rejected(story: Story) -> tuple[Block, ...]:
    if not story["rejected"]:
        return (Words("Quarantine", ("Empty: every line that landed was valid.",)),)
    heads = (Head("Table"), Head("Reason"), Head("Lines", "num"), Head("Of its lines", "num"))
    rows = [
        (
            Cell(r["table_name"], strong=True),
            Cell(r["reason"]),
            Cell(amount(r["lines"]), sort=r["lines"]),
            Cell(_share(r["lines"], r["landed"] + r["rejected"]),
                 sort=r["lines"] / (r["landed"] + r["rejected"])),
        )
        for r in story["rejected"]
    ]  # fmt: skip
    note = "A line with several reasons counts under each."
    return table("Quarantine", heads, rows, note=note, where="the quarantine tables")


def _share(lines: int, every: int) -> str:
    share = lines / every
    return percent(share, 2) if share >= 5e-5 else "under 0.01 %"


def _odd(story: Story) -> tuple[Block, ...]:
    heads = (Head("Warning"), Head("Lines", "num"))
    rows = [
        (Cell(r["warning"], strong=True), Cell(amount(r["lines"]), sort=r["lines"]))
        for r in story["odd"]
    ]
    return table("Odd, but kept", heads, rows, where="pos_lines")


def _silent(story: Story) -> tuple[Block, ...]:
    heads = (Head("Store"), Head("Days", "num"), Head("The first"))
    rows = [
        (
            Cell(r["store"], strong=True),
            Cell(amount(r["days"]), sort=r["days"]),
            Cell(", ".join(str(day) for day in r["first_days"])),
        )
        for r in story["silent"]
    ]
    note = "Days that should have been open: a file may be missing, or store_hours may be wrong."
    return table("Days without receipts", heads, rows, note=note, where="trading_days")


def _alerts(story: Story) -> tuple[Block, ...]:
    heads = (Head("When, UTC"), Head("Job"), Head("Why"), Head("Told"))
    rows = [
        (
            Cell(f"{r['raised_at']:%Y-%m-%d %H:%M}"),
            Cell(r["job"], r["partition"] or "", strong=True),
            Cell(r["message"], r["step"] or ""),
            Cell({True: "yes", False: "no", None: "nobody"}[r["sent"]]),
        )
        for r in story["alerts"]
    ]
    return table("Failed runs", heads, rows, where="alerts")


def _files(story: Story) -> tuple[Block, ...]:
    heads = [Head("Table"), Head("State"), Head("Files", "num"), Head("Lines", "num")]
    wrong = any(r["errors"] for r in story["files"])
    heads += [Head("Errors", "why")] if wrong else []
    rows = [
        (
            Cell(r["table_name"], strong=True),
            Cell(r["state"], flags=("failed",) if r["state"] == "failed" else ()),
            Cell(amount(r["files"]), sort=r["files"]),
            Cell(amount(r["rows"]), f"{amount(r['undated'])} undated" if r["undated"] else "",
                 float(r["rows"])),
            *([Cell("; ".join(r["errors"] or []))] if wrong else []),
        )
        for r in story["files"]
    ]  # fmt: skip
    return table("What landed", heads, rows, where="landing_files")


def trust(story: Story, _: Money) -> Section:
    """Per model and category: what was measured, and what that means."""
    rows = [*_status(story), *_choice(story), *_demand(story), *_proofs(story)]
    doubts = sum(1 for row in rows if row[-1].flags)
    says = ""
    if rows:
        says = f"{several(len(rows), 'fit')} measured; {amount(doubts)} with something to mind."
    failed = [r for r in story["checks"] if not r["passed"]]
    if story["checks"]:
        says += f" {len(story['checks']) - len(failed)} of {len(story['checks'])} checks passed."
    heads = (Head("Model"), Head("Category"), Head("Measured"), Head("So"))
    return Section(
        "trust",
        "How far to trust each model",
        says,
        ("inventory_status_params", "inventory_status_score", "substitution_diagnostics",
         "demand_model", "demand_backtest", "price_certificates"),
        (*table("Models", heads, rows, where="the tables above", most=40), *_checks(failed)),
        "No models yet: they follow the receipts.",
    )  # fmt: skip


def _fit(
    model: str, about: str, measured: str, doubts: Sequence[str], fine: str
) -> tuple[Cell, ...]:
    return (
        Cell(model, strong=True),
        Cell(about),
        Cell(measured),
        Cell(fine if not doubts else "", flags=tuple(doubts), sort=len(doubts)),
    )


def _status(story: Story) -> Iterator[tuple[Cell, ...]]:
    for r in story["status"]:
        measured = "no stock counts landed to compare with"
        if r["accuracy"] is not None:
            measured = f"{percent(r['accuracy'], 1)} of {amount(r['n_counts'])} counts called right"
            if r["type_2"] is not None:
                measured += f"; missed {percent(r['type_2'], 1)} of empty shelves"
            if r["type_1"] is not None:
                measured += f", {percent(r['type_1'], 1)} false alarms"
        doubts = []
        if r["weak"]:
            doubts.append(f"low power in {r['weak']} of {r['series']} series")
        if r["unsettled"]:
            doubts.append(f"{r['unsettled']} not settled")
        yield _fit("Stock-outs", r["category"], measured, doubts, "every series can be told")


def _choice(story: Story) -> Iterator[tuple[Cell, ...]]:
    for r in story["choice"]:
        measured = f"{r['engine']}, {r['choice_model'].replace('_', ' ')}"
        if r["rhat"] is not None and r["min_ess"] is not None:
            measured += f"; R-hat {r['rhat']:.3f}, {r['min_ess']:.0f} effective draws"
        if r["ppc_p"] is not None:
            measured += f"; predictive p {r['ppc_p']:.2f}"
        doubts = []
        if not r["resolved"]:
            doubts.append("choice model unresolved")
        if r["pairs"] and r["told"] < r["pairs"]:
            doubts.append(f"unidentified: {r['pairs'] - r['told']} of {r['pairs']} pairs")
        if r["min_ess"] is not None and r["min_ess"] < WEAK_EFFECTIVE_DRAWS:
            doubts.append("few effective draws")
        if r["rhat"] is not None and r["rhat"] > WIDE_RHAT:
            doubts.append("chains disagree")
        yield _fit("Substitution", r["category"], measured, doubts, "every pair can be told")


def _demand(story: Story) -> Iterator[tuple[Cell, ...]]:
    for r in story["demand"]:
        measured, doubts = r["champion"], []
        if r["wape"] is not None:
            measured += f": off by {percent(r['wape'])} of units"
            measured += (
                "" if r["naive"] is None else f" (last week's sales again: {percent(r['naive'])})"
            )
        if r["coverage"] is not None:
            measured += f"; 80 % intervals held {percent(r['coverage'])}"
            if not GOOD_COVERAGE[0] <= r["coverage"] <= GOOD_COVERAGE[1]:
                doubts.append("intervals off")
        if r["elasticity"] is not None:
            measured += f"; elasticity {r['elasticity']:.1f}".replace("-", "\N{MINUS SIGN}")
            half = 1.96 * (r["elasticity_se"] or 0.0)
            if half:
                measured += f" \N{PLUS-MINUS SIGN} {half:.1f}"
        if not r["identified"]:
            doubts.append("unidentified: prices never moved")
        yield _fit("Demand at a price", r["category"], measured, doubts, "prices can be told")


def _proofs(story: Story) -> Iterator[tuple[Cell, ...]]:
    for r in story["proofs"]:
        if r["target"] == "weighted":
            measured = f"gap to the bound {r['gap']:.1g}; {r['method']}"
            doubts = () if r["gap"] <= 1e-3 else ("not proven best",)
            yield _fit("Prices", r["sale_id"], measured, doubts, "proven best")


def _checks(failed: Sequence[Row]) -> tuple[Block, ...]:
    heads = (Head("Check"), Head("Of"), Head("Partition"), Head("Weight"))
    rows = [
        (
            Cell(r["check"].replace("_", " "), strong=True),
            Cell(r["asset"]),
            Cell(r["partition"] or ""),
            Cell(r["severity"], flags=("blocking",) if r["severity"] == "error" else ()),
        )
        for r in failed
    ]
    return table("Checks that did not pass", heads, rows, where="the Dagster UI", most=30)
