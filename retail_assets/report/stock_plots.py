"""Plots of projected stock and orders, as PNG bytes. They draw what they are handed."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, timedelta
from typing import Any

from numpy.typing import NDArray

from retail_assets.report.plots import BLUE, GREY, ORANGE, RED, new_figure, to_png

Values = NDArray[Any]


def on_hand_fans(
    rows: Sequence[tuple[str, Values, Values, Values]], *, today: date, title: str
) -> bytes:
    """Stock today and at the end of each week: (label, mean, lower, upper), a panel each."""
    from matplotlib import dates as untyped

    dates: Any = untyped
    shown = max(len(rows), 1)
    figure, axes = new_figure(min(shown, 3), -(-shown // 3), 3.3, 2.3)
    for axis in axes[len(rows) :]:
        axis.set_visible(False)
    for axis, (label, mean, low, high) in zip(axes, rows, strict=False):
        weeks = [today + timedelta(days=7 * at) for at in range(len(mean))]
        axis.fill_between(weeks, low, high, color=BLUE, alpha=0.25, label="95 % interval")
        axis.plot(weeks, mean, color=BLUE, label="mean")
        axis.set_ylim(bottom=0)
        axis.set_title(label, fontsize=8)
        axis.set_ylabel("units on hand", fontsize=7)
        axis.set_xlabel("end of week", fontsize=7)
        axis.xaxis.set_major_formatter(dates.ConciseDateFormatter(axis.xaxis.get_major_locator()))
    if rows:
        axes[0].legend(fontsize=6)
    figure.suptitle(title, fontsize=9)
    return to_png(figure)


def reorder_timeline(
    rows: Sequence[tuple[str, float | None, float, float, int]], *, today: date, title: str
) -> bytes:
    """When to order and when it comes.

    Per row: label, weeks from today until the order (None: not within the horizon), lead
    time and its standard deviation in weeks, units to order today.
    """
    figure, (axis,) = new_figure(1, 1, 7.2, 1.2 + 0.34 * max(len(rows), 1))
    for at, (_, when, lead, sd, units) in enumerate(rows):
        if when is None:
            axis.text(0.1, at, "no order within the horizon", va="center", fontsize=7, color=GREY)
            continue
        colour = RED if units > 0 else ORANGE
        axis.plot([when, when + lead], [at, at], color=colour, linewidth=3)
        axis.plot(when, at, "o", color=colour)
        axis.errorbar(when + lead, at, xerr=1.96 * sd, color=BLUE, fmt="s", capsize=3)
        note = f"{units:,} now" if units > 0 else f"in {when:.0f} week{'s' * (when != 1)}"
        axis.text(when + lead + 1.96 * sd + 0.15, at, note, va="center", fontsize=7)
    axis.set_yticks(range(len(rows)), [row[0] for row in rows], fontsize=7)
    axis.invert_yaxis()
    axis.set_xlim(left=-0.3)
    axis.set_xlabel(
        f"weeks from {today}; dot = order (red: today), square = arrival with 95 % of lead times",
        fontsize=7,
    )
    axis.set_xlim(right=1.25 * axis.get_xlim()[1])
    axis.set_title(title, fontsize=9)
    return to_png(figure)
