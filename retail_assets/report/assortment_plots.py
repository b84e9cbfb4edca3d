"""Plots of what to carry and how much of it, as PNG bytes. They draw what they are handed.

Money comes in cents and is shown in the currency. Whiskers are 95 % intervals, NaN is
unknown. Of many products those that matter most are drawn, and the picture says how many.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from retail_assets.report.demand_plots import fit_label, left_out, palette_png, thousands
from retail_assets.report.plots import BLUE, GREEN, GREY, ORANGE, RED, new_figure

Values = NDArray[Any]
Floats = NDArray[np.float64]
WIDTH = 8.8  # inches: 704 px, what the UI shows without scaling
PANELS, TAKERS = 6, 6  # of one flow picture, and named in each: more would not be legible
ROWS, NAMED, BINS = 25, 8, 30  # rows of one chart, names beside the scatter, of the histogram
WHISKERS = {"fmt": "none", "ecolor": "black", "elinewidth": 1, "capsize": 2}
WIDE = 20.0  # largest over smallest quantity from which axes are logarithmic


@dataclass(frozen=True)
class Flow:
    """Where the customers of one product go when it goes.

    Attributes
    ----------
    label : str
        The product that goes.
    taken : sequence of str
        What they may take instead, k products in any order.
    share, low, high : (k + 1,) float64
        Shares of its customers and their 95 % limits; the last buys nothing.
    """

    label: str
    taken: Sequence[str]
    share: Floats
    low: Floats
    high: Floats


def substitution_flow(flows: Sequence[Flow], *, title: str) -> bytes:
    """Where customers go when their product goes, a panel each for the first six products.

    The six largest shares are named; the others are one bar, without an interval, because
    limits do not add up. Bars and not bands: bands cannot show an interval.
    """
    shown = flows[:PANELS]
    columns = 1 if len(shown) < 2 else 2
    bars = [_flow_bars(flow, 26 if columns > 1 else 40) for flow in shown]
    most = max([3, *(len(labels) for labels, _, _ in bars)])
    right = np.fmax.reduce([5.0, *(end for _, percent, _ in bars for end in percent.ravel())])
    rows = -(-len(shown) // columns) or 1
    figure, axes = new_figure(columns, rows, WIDTH / columns, 0.75 + 0.2 * most)
    for axis in axes[len(shown) :]:
        axis.set_visible(False)
    for at, (axis, flow, own) in enumerate(zip(axes, shown, bars, strict=False)):
        _draw_flow(axis, *own)
        axis.set(xlim=(0, 1.18 * right), ylim=(most - 0.4, -0.6))
        axis.set_title(f"without {fit_label(flow.label)}", fontsize=8)
        if at + columns >= len(shown):
            axis.set_xlabel("share of its customers, % (95 % interval)", fontsize=8)
    figure.suptitle(fit_label(title, 90) + left_out(len(flows), len(shown)), fontsize=10)
    return palette_png(figure)


def profit_against_budget(
    budget: Values,
    profit: Values,
    low: Values,
    high: Values,
    bound: Values,
    chosen: float | None,
    *,
    currency: str,
    title: str,
) -> bytes:
    """What a larger budget would earn, and how much more no plan can earn (shaded).

    Parameters
    ----------
    budget, profit, low, high : (b,) number
        Cents: budgets in any order, hold-out profit and its 95 % limits.
    bound : (b,) number
        No plan of that budget can expect more.
    chosen : float, optional
        Budget of the plan; None where it has none.
    """
    order = np.argsort(np.asarray(budget), kind="stable")
    budget, profit, low, high, bound = (
        _money(given)[order] for given in (budget, profit, low, high, bound)
    )
    unknown = int((~np.isfinite(bound)).sum())
    figure, (axis,) = new_figure(1, 1, WIDTH, 4.4)
    if chosen is not None and np.isfinite(chosen):
        label = f"budget of the plan: {chosen / 100:,.0f}"
        axis.axvline(chosen / 100, color=GREEN, linestyle="--", label=label)
    if unknown < len(bound):
        gap = {"color": ORANGE, "alpha": 0.2, "linewidth": 0}
        axis.fill_between(budget, profit, bound, label="not ruled out", **gap)
        axis.plot(budget, bound, color=ORANGE, marker="v", markersize=4, label="upper bound")
    axis.errorbar(
        budget, profit, yerr=_whiskers(profit, low, high), color=BLUE, marker="o", markersize=5,
        capsize=3, label="profit on hold-out seasons, 95 % interval",
    )  # fmt: skip
    thousands(axis.xaxis)
    thousands(axis.yaxis)
    axis.grid(color="#eeeeee")
    note = f"; upper bound unknown at {unknown} of {len(bound)}" if unknown else ""
    axis.set_xlabel(f"budget for units, {fit_label(currency)}{note}", fontsize=8)
    axis.set_ylabel(f"profit of the season, {fit_label(currency)}", fontsize=8)
    axis.set_title(fit_label(title, 90), fontsize=10)
    figure.legend(loc="outside lower center", ncols=2, fontsize=8)
    return palette_png(figure)


def stock_against_newsvendor(
    names: Sequence[str],
    quantity: Values,
    newsvendor: Values,
    pooled_demand: Values,
    *,
    title: str,
) -> bytes:
    """Units of the plan against those of the newsvendor who ignores substitution.

    Above the diagonal the plan relies on customers of other products. The eight products
    that differ most are named; rings are products the plan does not carry.

    Parameters
    ----------
    quantity, newsvendor : (n,) number
        Units.
    pooled_demand : (n,) number
        Expected demand in units under the plan, substitutes included: the area of a dot.
    """
    plan, alone = np.asarray(quantity, np.float64), np.asarray(newsvendor, np.float64)
    pooled = np.nan_to_num(np.asarray(pooled_demand, np.float64))
    largest = float(pooled.max(initial=0.0))
    area = 14 + 260 * pooled / (largest or 1.0)
    figure, (axis,) = new_figure(1, 1, WIDTH, 4.8)
    kinds = {
        "plan has more": (plan > alone, BLUE, BLUE),
        "plan has as many": ((plan == alone) & (plan > 0), GREY, GREY),
        "plan has fewer": ((plan < alone) & (plan > 0), RED, RED),
        "not carried": ((plan <= 0) & (plan <= alone), "none", RED),
    }
    for label, (mask, face, edge) in kinds.items():
        if mask.any():
            axis.scatter(
                alone[mask], plan[mask], s=area[mask], facecolors=face, edgecolors=edge, alpha=0.7,
                linewidths=1.2, zorder=3, clip_on=False, label=f"{label}: {mask.sum():,}",
            )  # fmt: skip
    _same_axes(axis, np.concatenate([plan, alone]))
    differ = np.flatnonzero(plan != alone)
    named = differ[np.argsort(-np.abs(plan - alone)[differ], kind="stable")[:NAMED]]
    _name_in_margin(axis, names, plan, alone, named)
    axis.set_xlabel("units of the newsvendor, who plans each product alone", fontsize=8)
    axis.set_ylabel("units of the plan", fontsize=8)
    if len(plan):
        drawn: Any = figure.legend(loc="outside lower center", ncols=4, fontsize=8).legend_handles
        for handle in drawn:
            handle.set_sizes([36])
    some = f"; {len(named)} of {len(differ):,} that differ are named" * (len(named) < len(differ))
    area_note = f"area of a dot = demand with substitutes, at most {largest:,.0f} units"
    axis.set_title(f"{fit_label(title, 90)}\n{area_note}{some}", fontsize=9)
    return palette_png(figure)


def marginal_value_of_space(
    names: Sequence[str],
    value: Values,
    standard_error: Values,
    capacity_now: Values,
    capacity_plan: Values,
    *,
    currency: str,
    goal: str = "profit",
    space: str = "room",
    title: str,
) -> bytes:
    """Left what one more unit of `space` would earn under the plan; right from now to the plan.

    Of many products those whose space changes most are drawn, largest value first. Grey
    bars are unresolved: their interval holds zero or is unknown.

    Parameters
    ----------
    value, standard_error : (n,) number
        Gain of `goal` in cents of one more unit.
    capacity_now, capacity_plan : (n,) number
        Units.
    """
    gain, half = _money(value), 1.96 * _money(standard_error)
    now, plan = (np.asarray(room, dtype=np.float64) for room in (capacity_now, capacity_plan))
    order = np.lexsort((-np.nan_to_num(np.abs(gain)), -np.abs(plan - now)))[:ROWS]
    order = order[np.argsort(-np.nan_to_num(gain[order], nan=-np.inf), kind="stable")]
    gain, half, now, plan = gain[order], half[order], now[order], plan[order]
    figure, (left, right) = new_figure(2, 1, WIDTH / 2, 1.4 + 0.24 * max(len(order), 1))
    rows = np.arange(len(order))
    left.barh(rows, gain, height=0.7, color=_signs(gain, np.abs(gain) > half))
    left.errorbar(gain, rows, xerr=half, **WHISKERS)
    left.axvline(0, color="black", linewidth=0.8)
    left.update_datalim([(-0.01, 0), (0.01, 0)])  # a cent either way, if all are zero
    unit = f"{fit_label(goal)} of one more unit of {fit_label(space)}, {fit_label(currency)}"
    left.set_xlabel(f"{unit}\n(95 % interval; grey = unresolved)", fontsize=8)
    _draw_moves(right, now, plan)
    right.set_xlabel(f"units of {fit_label(space)}\n(ring = now, triangle = plan)", fontsize=8)
    _rows(left, [fit_label(names[at], 30) for at in order])
    _rows(right, [""] * len(order))
    figure.suptitle(fit_label(title, 90) + left_out(len(names), len(order)), fontsize=10)
    return palette_png(figure)


def plans_compared(
    methods: Sequence[str],
    mean: Values,
    low: Values,
    high: Values,
    bound: float,
    *,
    chosen: str | None = None,
    currency: str,
    title: str,
) -> bytes:
    """Hold-out profit of each way to plan, best first, and what no plan can exceed.

    `mean`, `low`, `high` are (m,) cents, `chosen` is the method whose plan is recommended.
    """
    mean, low, high = (_money(given) for given in (mean, low, high))
    order = np.argsort(-np.nan_to_num(mean, nan=-np.inf), kind="stable")[:ROWS]
    known, bound = bool(np.isfinite(bound)), bound / 100
    whiskers = _whiskers(mean, low, high)
    figure, (axis,) = new_figure(1, 1, WIDTH, 1.4 + 0.3 * max(len(order), 1))
    _rows(axis, [fit_label(methods[at].replace("_", " ")) for at in order])
    for row, (at, tick) in enumerate(zip(order, axis.get_yticklabels(), strict=True)):
        colour = BLUE if methods[at] == chosen else "dimgrey"
        style = {"color": colour, "fmt": "o", "capsize": 3, "linewidth": 2}
        axis.errorbar(mean[at], row, xerr=whiskers[:, at : at + 1], **style)
        gap = f" ({100 * mean[at] / bound:.1f} %)" if known and bound > 0 else ""
        _in_margin(axis, row, f"{mean[at]:,.0f}{gap}", colour)
        tick.set_fontweight("bold" if methods[at] == chosen else "normal")
    if known:
        whole = " (100 %)" if bound > 0 else ""
        axis.axvline(bound, color=ORANGE, linewidth=2, label=f"upper bound: {bound:,.0f}{whole}")
        figure.legend(loc="outside lower center", fontsize=8)
    note = "" if known else "; upper bound unknown"
    unit = f"profit on hold-out seasons, {fit_label(currency)}"
    axis.set_xlabel(f"{unit} (95 % interval{note})", fontsize=8)
    axis.set_title(fit_label(title, 90) + left_out(len(methods), len(order)), fontsize=10)
    return palette_png(figure)


def difference_histogram(
    differences: Values, p_improves: float, *, currency: str, title: str
) -> bytes:
    """Posterior of a profit difference: (R,) draws in cents, blue where better, red where worse."""
    draws = _money(differences)
    known = draws[np.isfinite(draws)]
    figure, (axis,) = new_figure(1, 1, WIDTH, 3.8)
    if len(known):
        edges = _edges(known)
        middle = (edges[1:] + edges[:-1]) / 2
        count, _ = np.histogram(known, edges)
        colours = _signs(middle, middle != 0)
        axis.bar(middle, count, width=0.96 * np.diff(edges), color=colours, alpha=0.8)
        low, high, mean = *np.quantile(known, [0.025, 0.975]), float(known.mean())
        axis.axvline(low, color="dimgrey", linestyle="--", label="95 % limits")
        axis.axvline(high, color="dimgrey", linestyle="--")
        axis.axvline(mean, color=ORANGE, linewidth=2, label=f"mean: {mean:+,.2f}")
        axis.locator_params(axis="y", integer=True)
        figure.legend(loc="outside lower center", ncols=2, fontsize=8)
    axis.axvline(0, color="black", linewidth=1.2)
    axis.locator_params(axis="x", nbins=7)
    thousands(axis.xaxis)
    unit = f"difference of profit, {fit_label(currency)}"
    axis.set_xlabel(f"{unit} (blue: better, red: worse)", fontsize=8)
    unknown = f", {len(draws) - len(known):,} unknown" if len(known) < len(draws) else ""
    axis.set_ylabel(f"posterior draws of {len(draws):,}{unknown}", fontsize=8)
    said = f"{100 * p_improves:.1f} %" if np.isfinite(p_improves) else "unknown"
    axis.set_title(f"{fit_label(title, 90)}\nP(improves) = {said}", fontsize=10)
    return palette_png(figure)


def _flow_bars(flow: Flow, width: int) -> tuple[list[str], Floats, list[str]]:
    """Labels, (3, b) percent with limits, and colours: largest first, buying nothing last."""
    percent = 100 * np.stack([flow.share, flow.low, flow.high])
    order = np.argsort(-np.nan_to_num(percent[0, :-1], nan=-1.0), kind="stable")
    # Seven are all named: the seventh bar takes no more room than "1 others".
    named = order if len(order) <= TAKERS + 1 else order[:TAKERS]
    bars, colours = [percent[:, named]], [BLUE] * len(named)
    labels = [fit_label(flow.taken[at], width) for at in named]
    if rest := len(order) - len(named):
        total = np.nansum(percent[0, order[len(named) :]])
        bars.append(np.array([[total], [np.nan], [np.nan]]))
        labels.append(f"{rest} others together")
        colours.append(GREY)
    return [*labels, "buys nothing"], np.hstack([*bars, percent[:, -1:]]), [*colours, RED]


def _draw_flow(axis: Any, labels: Sequence[str], percent: Floats, colours: Sequence[str]) -> None:
    share, rows = percent[0], np.arange(len(labels))
    axis.barh(rows, share, height=0.7, color=colours, alpha=0.75)
    axis.errorbar(share, rows, xerr=_whiskers(*percent), **WHISKERS)
    for row, value, end in zip(rows, share, np.fmax.reduce([*percent, 0 * rows]), strict=True):
        text = f"{value:.0f} %" if np.isfinite(value) else "unknown"
        axis.text(end, row, f"  {text}", va="center", fontsize=7)
    _rows(axis, labels, fontsize=7)


def _draw_moves(axis: Any, now: Floats, plan: Floats) -> None:
    """From the space now to that of the plan, a row each, with both written at the right."""
    rows, colours = np.arange(len(now)), np.array(_signs(plan - now, plan != now), dtype=object)
    axis.hlines(rows, now, plan, colors=colours, linewidth=2.5, alpha=0.6)
    axis.scatter(now, rows, s=32, facecolors="white", edgecolors="black", zorder=3)
    for mask, marker in ((plan > now, ">"), (plan < now, "<")):
        axis.scatter(plan[mask], rows[mask], s=48, c=colours[mask], marker=marker, zorder=4)
    for row, (a, b) in enumerate(zip(now, plan, strict=True)):
        moved = f"{a:,.0f} → {b:,.0f}" if a != b else f"{a:,.0f}"
        _in_margin(axis, row, moved, colours[row] if a != b else "dimgrey")
    top = np.concatenate([[1.0], now, plan]).max()
    axis.set_xlim(-0.04 * top, 1.06 * top)


def _name_in_margin(
    axis: Any, names: Sequence[str], plan: Floats, alone: Floats, which: NDArray[np.intp]
) -> None:
    # Beside their dots, names of 30 characters would cover other dots and one another.
    order = which[np.lexsort((alone[which], -plan[which]))]  # of equally high ones the left first
    line = {"arrowstyle": "-", "color": GREY, "linewidth": 0.7, "relpos": (0, 0.5)}
    for rank, at in enumerate(order):
        axis.annotate(
            f"{fit_label(names[at], 30)}\n{plan[at]:,.0f} instead of {alone[at]:,.0f}",
            (alone[at], plan[at]), xytext=(1.04, 1 - (rank + 0.5) / len(order)), va="center",
            textcoords="axes fraction", fontsize=7, arrowprops=line,
        )  # fmt: skip


def _same_axes(axis: Any, units: Floats) -> None:
    """Both axes alike and zero in sight; logarithmic above 1 where the range is wide."""
    positive = units[units > 0]
    top = float(positive.max(initial=1.0))
    limits = (-0.04 * top, 1.08 * top)
    axis.locator_params(integer=True)
    if len(positive) and top > WIDE * positive.min():
        limits = (-0.3, 1.6 * top)
        ticks = [0.0, *10.0 ** np.arange(np.floor(np.log10(limits[1])) + 1)]
        axis.set_xscale("symlog", linthresh=1.0, linscale=0.5)
        axis.set_yscale("symlog", linthresh=1.0, linscale=0.5)
        axis.set(xticks=ticks, yticks=ticks)
    axis.set(xlim=limits, ylim=limits)
    axis.axline((0, 0), (1, 1), color="black", linewidth=0.8, linestyle="--")
    axis.grid(color="#eeeeee")
    thousands(axis.xaxis)
    thousands(axis.yaxis)


def _rows(axis: Any, labels: Sequence[str], fontsize: float = 8) -> None:
    """A row of a chart per label, the first on top."""
    axis.set_yticks(range(len(labels)), labels, fontsize=fontsize)
    axis.set_ylim(max(len(labels), 1) - 0.4, -0.6)
    axis.locator_params(axis="x", nbins=6)
    thousands(axis.xaxis)
    axis.grid(axis="x", color="#eeeeee")
    axis.set_axisbelow(True)


def _in_margin(axis: Any, row: int, text: str, colour: str) -> None:
    # Notes stand in a column of their own, or long whiskers would push them about.
    place = axis.get_yaxis_transform()
    axis.text(1.015, row, text, transform=place, va="center", fontsize=8, color=colour)


def _money(cents: Values) -> Floats:
    return np.asarray(cents, dtype=np.float64) / 100


def _whiskers(mean: Floats, low: Floats, high: Floats) -> Floats:
    """(2, n) lengths for errorbar; a limit beyond the mean by rounding is no whisker."""
    return np.maximum(np.stack([mean - low, high - mean]), 0.0)


def _signs(value: Floats, resolved: NDArray[np.bool_]) -> list[str]:
    return [str(colour) for colour in np.select([~resolved, value > 0], [GREY, BLUE], RED)]


def _edges(draws: Floats) -> Floats:
    """About 30 bins, zero on the edge of one, so that no bar is both better and worse."""
    width = float(np.ptp(draws)) / BINS
    if width <= 1e-9 * float(np.abs(draws).max()):  # all alike
        return np.array([-0.5, 0.5]) + float(draws[0])
    first, last = (int(np.floor(end / width)) for end in (draws.min(), draws.max()))
    return width * np.arange(first, last + 2, dtype=np.float64)
