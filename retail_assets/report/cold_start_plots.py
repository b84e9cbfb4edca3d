"""Plots of the cold start, as PNG bytes. They draw what they are handed and read nothing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from retail_assets.report.plots import BLUE, GREEN, GREY, ORANGE, RED, new_figure, to_png

Floats = NDArray[np.float64]
PALETTE = (BLUE, ORANGE, GREEN, RED, "#CC79A7", "#56B4E9", "#F0E442", "black")


def prior_and_posterior(
    p: Floats, curves: Sequence[tuple[str, Floats, Floats, float]], *, title: str
) -> bytes:
    """Densities per style: (name, prior, posterior, raw rate k/n)."""
    shown = max(len(curves), 1)
    figure, axes = new_figure(min(shown, 2), -(-shown // 2), 4.0, 2.4)
    for axis in axes[len(curves) :]:
        axis.set_visible(False)
    for axis, (name, prior, posterior, raw) in zip(axes, curves, strict=False):
        axis.fill_between(100 * p, posterior, color=BLUE, alpha=0.5, label="posterior")
        axis.plot(100 * p, prior, color=GREY, linestyle="--", label="prior of its group")
        axis.axvline(100 * raw, color=ORANGE, label="its own rate k / n")
        axis.set_title(name, fontsize=8)
        axis.set_xlabel("P(chosen), %", fontsize=7)
        axis.set_yticks([])
        axis.set_ylabel("density", fontsize=7)
    if curves:
        axes[0].legend(fontsize=6)
    figure.suptitle(title, fontsize=9)
    return to_png(figure)


def shrinkage(
    raw: Floats,
    mean: Floats,
    low: Floats,
    high: Floats,
    group: NDArray[np.int64],
    groups: Sequence[str],
    *,
    title: str,
) -> bytes:
    """Raw against posterior rate with 95 % intervals; colours are groups."""
    figure, (axis,) = new_figure(1, 1, 5.6, 4.4)
    for at in np.unique(group):
        own = group == at
        label = groups[at] if at >= 0 else "unknown"
        error = 100 * np.array([mean[own] - low[own], high[own] - mean[own]])
        axis.errorbar(
            100 * raw[own], 100 * mean[own], yerr=np.maximum(error, 0), fmt="o", markersize=4,
            linewidth=1, color=PALETTE[at % len(PALETTE)], label=label,
        )  # fmt: skip
    top = 100 * float(max(raw.max(initial=0), high.max(initial=0))) * 1.05
    axis.plot([0, top], [0, top], color=GREY, linestyle="--", linewidth=1, label="no shrinkage")
    axis.set_xlabel("raw rate k / n, % (0 without trials)")
    axis.set_ylabel("posterior mean and 95 % interval, %")
    axis.set_title(title, fontsize=9)
    axis.legend(fontsize=7)
    return to_png(figure)


def rate_over_time(
    styles: Sequence[tuple[str, Sequence[Any], Sequence[float], Sequence[float], Sequence[float]]],
    *,
    title: str,
) -> bytes:
    """What was believed day by day: (name, days, mean, lower, upper) per style."""
    from matplotlib import dates as untyped

    dates: Any = untyped
    shown = max(len(styles), 1)
    figure, axes = new_figure(min(shown, 2), -(-shown // 2), 4.4, 2.4)
    for axis in axes[len(styles) :]:
        axis.set_visible(False)
    for axis, (name, days, mean, low, high) in zip(axes, styles, strict=False):
        lower, upper = 100 * np.array(low), 100 * np.array(high)
        axis.fill_between(days, lower, upper, color=BLUE, alpha=0.25, label="95 % interval")
        axis.plot(days, 100 * np.array(mean), color=BLUE, label="posterior mean")
        axis.set_title(name, fontsize=8)
        axis.set_ylabel("P(chosen), %", fontsize=7)
        axis.set_xlabel("as known on", fontsize=7)
        axis.set_ylim(bottom=0)
        axis.xaxis.set_major_formatter(dates.ConciseDateFormatter(axis.xaxis.get_major_locator()))
    if styles:
        axes[0].legend(fontsize=6)
    figure.suptitle(title, fontsize=9)
    return to_png(figure)


def reliability(predicted: Floats, realised: Floats, error: Floats, *, title: str) -> bytes:
    """Foreseen against realised rate, per bin, with 95 % of chance."""
    figure, (axis,) = new_figure(1, 1, 4.6, 4.0)
    top = 100 * float(max(predicted.max(), (realised + 1.96 * error).max())) * 1.05
    axis.plot([0, top], [0, top], color=GREY, linestyle="--", label="perfect")
    axis.errorbar(
        100 * predicted, 100 * realised, yerr=196 * error, color=BLUE, fmt="o",
        label="realised, 95 % by chance",
    )  # fmt: skip
    axis.set_xlabel("rate foreseen a week before, %")
    axis.set_ylabel("rate of that week, %")
    axis.set_title(title, fontsize=9)
    axis.legend(fontsize=7)
    return to_png(figure)
