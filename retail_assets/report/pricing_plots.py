"""Plots of prices and of the proof behind them, as PNG bytes. They draw what they are handed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from retail_assets.report.demand_plots import fit_label, left_out, palette_png, thousands
from retail_assets.report.plots import BLUE, GREEN, GREY, ORANGE, RED, new_figure

Floats = NDArray[np.float64]
PANELS = 6  # items of one picture: more would not be legible at 800 px
ITEMS = 30  # rows of one dumbbell chart


@dataclass(frozen=True)
class PriceCurve:
    """One item of a sale at its candidate prices.

    Attributes
    ----------
    label : str
        Item.
    price_cents : (k,) float64
        Candidate prices, in any order.
    demand, demand_lo80, demand_hi80 : (k,) float64
        Units wanted over the sale and the limits of their 80 % band.
    units_available : float
        Units that can be sold.
    legal : (k,) bool
        No rule is broken.
    chosen_cents, prior_cents : float, optional
        Recommended price and price charged now; None where there is none.
    """

    label: str
    price_cents: Floats
    demand: Floats
    demand_lo80: Floats
    demand_hi80: Floats
    units_available: float
    legal: NDArray[np.bool_]
    chosen_cents: float | None
    prior_cents: float | None


def demand_and_revenue(items: Sequence[PriceCurve], *, currency: str, title: str) -> bytes:
    """Demand and revenue against price, a panel each for the first six items.

    Revenue is price x min(demand, units available). After figure "Predicted Demand and
    Revenue at different Prices" of the source.
    """
    shown = items[:PANELS]
    columns = 1 if len(shown) < 2 else 2 if len(shown) < 5 else 3
    rows = -(-max(len(shown), 1) // columns)
    width, height = {1: (8.0, 4.2), 2: (4.8, 2.9), 3: (3.4, 2.7)}[columns]
    figure, axes = new_figure(columns, rows, width, height)
    found: dict[str, Any] = {}
    for axis in axes[len(shown) :]:
        axis.set_visible(False)
    for at, (axis, item) in enumerate(zip(axes, shown, strict=False)):
        twin = axis.twinx()
        _draw_demand(axis, item)
        _draw_revenue(twin, item)
        axis.set_title(fit_label(item.label), fontsize=9)
        axis.set_xlabel(f"price, {fit_label(currency)}", fontsize=8)
        if at % columns == 0:
            axis.set_ylabel("units wanted over the sale", fontsize=8, color=BLUE)
        if at % columns == columns - 1 or at == len(shown) - 1:
            twin.set_ylabel(f"revenue, {fit_label(currency)}", fontsize=8, color=RED)
        for drawn in (axis, twin):
            found |= {label: handle for handle, label in zip(*_legend(drawn), strict=True)}
    if found:
        figure.legend(found.values(), found.keys(), loc="outside lower center", ncols=4, fontsize=8)
    figure.suptitle(fit_label(title, 110) + left_out(len(items), len(shown)), fontsize=10)
    return palette_png(figure)


def proof(
    blocks: Floats,
    objective: float,
    total_cents: float,
    *,
    unit: str,
    title: str,
    upper_bound: float | None = None,
) -> bytes:
    """No total of the prices can beat the chosen one: bounds against the value reached.

    Above the bounds as they are; below what they lack to the value, on a scale that shows
    gaps of all sizes (with 1,000 items the tightest bound is some $2 of $2.8 million away).

    A block whose own bound exceeds the value needed more than its bound. Where that bound
    exceeds even `upper_bound`, the block was closed exactly (by DP or CP-SAT) with nothing
    better in it, so it lies on the value; all others are red and not ruled out.

    Parameters
    ----------
    blocks : (b, 3) float64
        First total in cents, last total in cents, upper bound of the goal in between. Blocks
        without a finite bound hold no legal prices; they are left out.
    objective : float
        Value reached; not finite where no prices were found.
    total_cents : float
        Total of the chosen prices.
    unit : str
        Of the goal, the bounds and the value.
    upper_bound : float, optional
        Proven bound of the whole sale. Without it, no block counts as closed exactly.
    """
    blocks = np.asarray(blocks, dtype=np.float64).reshape(-1, 3)
    blocks = blocks[np.isfinite(blocks).all(axis=1)]
    blocks = blocks[np.argsort(blocks[:, 0], kind="stable")]
    solved = bool(np.isfinite(objective) and np.isfinite(total_cents))
    blocks, kinds = _judged(
        blocks, objective if solved else -np.inf, upper_bound if solved else None
    )
    figure, axes = new_figure(1, 1 + solved, 9.6, 4.4 - 1.4 * solved)
    for axis, base in zip(axes, (0.0, objective), strict=False):
        thousands(axis.xaxis)
        thousands(axis.yaxis)
        _draw_bounds(axis, blocks, kinds, base)
        if solved:
            _draw_value(axis, objective - base, total_cents)
    axes[0].set_ylabel(f"best possible, {fit_label(unit)}", fontsize=8)
    if solved:
        _slack_axis(axes[1], blocks[:, 2] - objective)
        axes[1].set_ylabel(f"bound less value, {fit_label(unit)}", fontsize=8)
    axes[-1].set_xlabel("total of the prices, cents", fontsize=8)
    if len(blocks) or solved:
        figure.legend(*_legend(axes[0]), loc="outside lower center", ncols=3, fontsize=8)
    figure.suptitle(fit_label(title, 110), fontsize=10)
    return palette_png(figure)


def frontier(
    revenue_cents: Floats,
    margin_pct: Floats,
    sell_through_pct: Floats,
    dominated: NDArray[np.bool_],
    extremes: Mapping[str, int],
    chosen: int | None,
    *,
    currency: str,
    title: str,
) -> bytes:
    """Margin against revenue of (n,) plans, colour = sell-through; dominated ones are hollow.

    `extremes` names plans by their index (max_revenue, ...), `chosen` is the one to use.
    """
    revenue = np.asarray(revenue_cents, dtype=np.float64) / 100
    margin, sold = (np.asarray(given, np.float64) for given in (margin_pct, sell_through_pct))
    dominated = np.asarray(dominated, dtype=bool)
    figure, (axis,) = new_figure(1, 1, 9.6, 5.4)
    axis.margins(0.08, 0.12)
    axis.scatter(
        revenue[dominated], margin[dominated], s=36, facecolors="none", edgecolors=GREY,
        label="dominated",
    )  # fmt: skip
    best = ~dominated
    dots = axis.scatter(
        revenue[best], margin[best], c=sold[best], s=48, cmap="viridis",
        edgecolors="black", linewidths=0.5, label="no plan is better in all three",
    )  # fmt: skip
    if chosen is not None:
        axis.plot(
            revenue[chosen], margin[chosen], "*", markersize=20, markerfacecolor="none",
            markeredgecolor=RED, markeredgewidth=2, label="chosen weights",
        )  # fmt: skip
    _name_extremes(axis, revenue, margin, sold, extremes)
    if best.any():
        figure.colorbar(dots, ax=axis, label="sell-through, % of units available", shrink=0.85)
    thousands(axis.xaxis)
    axis.set_xlabel(f"expected revenue, {fit_label(currency)}", fontsize=8)
    axis.set_ylabel("margin, % of revenue", fontsize=8)
    figure.legend(*_legend(axis), loc="outside lower center", ncols=3, fontsize=8)
    axis.set_title(fit_label(title, 110), fontsize=10)
    return palette_png(figure)


def old_and_new(
    labels: Sequence[str], old_cents: Floats, new_cents: Floats, *, currency: str, title: str
) -> bytes:
    """Price now and recommended price of each item, largest changes first, at most 30.

    Parameters
    ----------
    labels : sequence of str
    old_cents : (n,) float64
        NaN where the price charged now is unknown; those items come last.
    new_cents : (n,) float64
    """
    old, new = (np.asarray(cents, dtype=np.float64) / 100 for cents in (old_cents, new_cents))
    change = 100 * np.divide(new - old, old, out=np.full(len(old), np.nan), where=old > 0)
    order = np.argsort(-np.nan_to_num(np.abs(change), nan=-1.0), kind="stable")[:ITEMS]
    figure, (axis,) = new_figure(1, 1, 9.6, 1.3 + 0.24 * max(len(order), 1))
    if len(order):
        old, new, change = old[order], new[order], change[order]
        rows = np.arange(len(order))
        colours = np.select([change > 0, change < 0], [BLUE, RED], GREY)
        axis.hlines(rows, old, new, colors=colours, linewidth=2.5, alpha=0.6)
        axis.scatter(
            old, rows, s=32, facecolors="white", edgecolors="black", zorder=3, label="price now"
        )
        axis.scatter(new, rows, s=36, c=colours, zorder=4, label="recommended price")
        # Notes stand in a column of their own, or long dumbbells would push them about.
        for row, percent in zip(rows, change, strict=True):
            axis.annotate(
                _change(percent), (1, row),
                xycoords=axis.get_yaxis_transform(), xytext=(6, 0), textcoords="offset points",
                va="center", fontsize=8, color=colours[row] if percent != 0 else "black",
            )  # fmt: skip
        figure.legend(*_legend(axis), loc="outside lower center", ncols=2, fontsize=8)
    axis.set_yticks(range(len(order)), [fit_label(labels[at]) for at in order], fontsize=8)
    axis.set_ylim(len(order) - 0.4, -0.6)
    axis.grid(axis="y", color="#eeeeee")
    axis.set_axisbelow(True)
    axis.set_xlabel(f"price, {fit_label(currency)} (blue: up, red: down)", fontsize=8)
    axis.set_title(fit_label(title, 110) + left_out(len(labels), len(order)), fontsize=10)
    return palette_png(figure)


def _draw_demand(axis: Any, item: PriceCurve) -> None:
    order = np.argsort(item.price_cents)
    price = item.price_cents[order] / 100
    low, high = item.demand_lo80[order], item.demand_hi80[order]
    axis.fill_between(price, low, high, color=BLUE, alpha=0.2, linewidth=0, label="80 % band")
    axis.plot(price, item.demand[order], color=BLUE, marker=".", markersize=4, label="demand")
    axis.axhline(
        item.units_available, color=BLUE, linestyle="--", linewidth=1, label="units available"
    )
    for cents, colour, style, label in (
        (item.prior_cents, GREY, ":", "price now"),
        (item.chosen_cents, GREEN, "-", "chosen price"),
    ):
        if cents is not None and np.isfinite(cents):
            axis.axvline(cents / 100, color=colour, linestyle=style, linewidth=2, label=label)
    axis.set_ylim(0, 1.08 * axis.get_ylim()[1])
    thousands(axis.yaxis)


def _draw_revenue(axis: Any, item: PriceCurve) -> None:
    order = np.argsort(item.price_cents)
    price, legal = item.price_cents[order] / 100, item.legal[order]
    revenue = price * np.minimum(item.demand[order], item.units_available)
    axis.plot(price, revenue, color=RED, linewidth=1)
    axis.plot(price[legal], revenue[legal], "o", color=RED, markersize=5, label="revenue, legal")
    axis.plot(
        price[~legal], revenue[~legal], "X", markerfacecolor="white", markeredgecolor=RED,
        markersize=7, label="revenue, breaks a rule",
    )  # fmt: skip
    axis.set_ylim(0, 1.08 * axis.get_ylim()[1])
    axis.tick_params(labelsize=7)
    thousands(axis.yaxis)


def _judged(
    blocks: Floats, value: float, upper_bound: float | None
) -> tuple[Floats, dict[str, tuple[NDArray[np.bool_], str]]]:
    """Blocks, those closed exactly lowered to the value, and which are of what kind."""
    # Bounds are sums of floats: 1e-9 of the value is no bound that exceeds it.
    slip = 1e-9 * abs(value) if np.isfinite(value) else 0.0
    bounds = blocks[:, 2]
    above = bounds > value + slip
    exact = above & (bounds > (np.inf if upper_bound is None else upper_bound) + slip)
    lowered = np.column_stack([blocks[:, :2], np.where(exact, value, bounds)])
    kinds = {
        "ruled out by their bound": (~above, BLUE),
        "closed exactly, nothing better": (exact, GREEN),
        "NOT ruled out": (above & ~exact, RED),
    }
    return lowered, {
        f"{kind}: {mask.sum():,} of {len(blocks):,} blocks": (mask, colour)
        for kind, (mask, colour) in kinds.items()
    }


def _draw_bounds(
    axis: Any, blocks: Floats, kinds: Mapping[str, tuple[NDArray[np.bool_], str]], base: float
) -> None:
    for label, (mask, colour) in kinds.items():
        if mask.any():
            # Dots, because a block of few totals is narrower than a pixel.
            axis.plot(
                *_steps(blocks, mask, base), color=colour, linewidth=1.8, label=label,
                marker="" if colour == BLUE else "s", markersize=4, zorder=4,
            )  # fmt: skip


def _draw_value(axis: Any, value: float, total_cents: float) -> None:
    axis.axhline(value, color=ORANGE, linewidth=1, label="value reached")
    axis.plot(
        total_cents, value, "o", markerfacecolor="none", markersize=11, markeredgecolor="black",
        markeredgewidth=1.5, zorder=5, label="chosen total",
    )  # fmt: skip


def _steps(blocks: Floats, mask: NDArray[np.bool_], base: float) -> tuple[Floats, Floats]:
    """One path along the masked ones of the sorted blocks; broken where totals are missing."""
    gaps = blocks[1:, 0] - blocks[:-1, 1]
    grid = gaps[gaps > 0].min(initial=np.inf)
    half = grid / 2 if np.isfinite(grid) else 0.5  # widens blocks of a single total
    across = blocks[:, [0, 1, 1]] + (-half, half, half)
    bounds = np.where(mask, blocks[:, 2] - base, np.nan)[:, None].repeat(3, axis=1)
    bounds[:-1, 2] = np.where(gaps > 2.5 * half, np.nan, bounds[:-1, 2])
    return across.ravel(), bounds.ravel()


def _slack_axis(axis: Any, slack: Floats) -> None:
    """Logarithmic on both sides of zero, over five decades at most."""
    apart = np.abs(slack[slack != 0])
    if not len(apart):
        return
    top = int(np.ceil(np.log10(apart.max())))
    least = max(int(np.floor(np.log10(apart.min()))), top - 5)
    axis.set_yscale("symlog", linthresh=10.0**least, linscale=0.6)
    decades = 10.0 ** np.arange(least, top + 1)
    low, high = -float(slack.min()), float(slack.max())
    ticks = [*-decades[decades <= low], 0.0, *decades[decades <= high]]
    axis.set_yticks(ticks)
    axis.minorticks_off()
    thousands(axis.yaxis)
    room = 10.0**least  # of the linear stretch about zero
    axis.set_ylim(-2 * max(low, room), max(2 * high, room))


def _name_extremes(
    axis: Any, revenue: Floats, margin: Floats, sell_through: Floats, extremes: Mapping[str, int]
) -> None:
    """Write at each extreme what it reaches, inwards, and below one another where they meet."""
    from matplotlib import patheffects

    plans: dict[int, list[str]] = {}  # one plan may be two extremes
    for name, at in extremes.items():
        plans.setdefault(at, []).append(
            name.replace("_", " ").replace("sell through", "sell-through")
        )
    if not plans:
        return
    middle = (revenue.min() + revenue.max()) / 2
    line = 0.055 * (float(np.ptp(margin)) or 1.0)  # height of a line of text, in percent
    height = np.inf
    for at in sorted(plans, key=lambda plan: -margin[plan]):
        height = min(float(margin[at]), height - line)
        left = revenue[at] > middle
        note = axis.annotate(
            f"{' and '.join(plans[at])} ({margin[at]:.0f} %, {sell_through[at]:.0f} % sold)",
            (revenue[at], margin[at]), xytext=(-12 if left else 12, height), va="center",
            textcoords=("offset points", "data"), ha="right" if left else "left", fontsize=8,
            zorder=6,
        )  # fmt: skip
        note.set_path_effects([patheffects.withStroke(linewidth=3, foreground="white")])


def _change(percent: float) -> str:
    if not np.isfinite(percent):
        return "no price now"
    return f"{percent:+.1f} %" if percent else "unchanged"


def _legend(axis: Any) -> tuple[list[Any], list[str]]:
    handles, labels = axis.get_legend_handles_labels()
    return list(handles), list(labels)
