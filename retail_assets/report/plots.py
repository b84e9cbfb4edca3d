"""Plots of the spine, as PNG bytes. They draw what they are handed and read nothing.

Colours are Okabe and Ito's, which colour-blind readers can tell apart.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from matplotlib.figure import Figure

BLUE, ORANGE, GREEN, GREY, RED = "#0072B2", "#E69F00", "#009E73", "#9a9a9a", "#D55E00"
DPI = 80  # a picture of 50 kB at the width the UI shows


def posterior_histograms(
    titles: Sequence[str],
    draws: NDArray[np.float64],
    *,
    unit: str,
    truth: Sequence[float] | None = None,
    most: int = 12,
) -> bytes:
    """Histograms with mean (orange), truth (green) and 95 % limits (grey): Figures 2 and 3.

    Parameters
    ----------
    titles : sequence of str
        One per parameter.
    draws : (D, k) float64
        Posterior draws, a column per parameter.
    unit : str
        Label of the horizontal axis.
    truth : sequence of float, optional
        Planted values, where the data were simulated.
    most : int
        Panels drawn at most.
    """
    shown = min(len(titles), most)
    columns = min(shown, 4)
    figure, axes = new_figure(columns, -(-shown // columns), 2.6, 2.0)
    for at, axis in enumerate(axes):
        if at >= shown:
            axis.set_visible(False)
            continue
        values = draws[:, at]
        axis.hist(values, bins=30, color=BLUE, alpha=0.75)
        for limit in np.quantile(values, [0.025, 0.975]):
            axis.axvline(limit, color=GREY, linestyle="--", label="95 % limits")
        axis.axvline(values.mean(), color=ORANGE, label="mean")
        if truth is not None:
            axis.axvline(truth[at], color=GREEN, label="truth")
        axis.set_title(titles[at], fontsize=8)
        axis.set_xlabel(unit, fontsize=7)
        axis.set_yticks([])
    handles, labels = axes[0].get_legend_handles_labels()
    unique = dict(zip(labels, handles, strict=True))
    figure.legend(unique.values(), unique.keys(), loc="outside lower center", ncols=3, fontsize=7)
    return to_png(figure)


def substitution_heatmap(
    products: Sequence[str],
    mean: NDArray[np.float64],
    half_width: NDArray[np.float64],
    flagged: NDArray[np.bool_],
    *,
    title: str,
) -> bytes:
    """Who takes what instead: (n, n + 1) means, the last column is leaving.

    Cells carry the mean and half the width of the 95 % interval, in percent. Flagged
    cells (the data cannot tell) are hatched.
    """
    n = len(products)
    size = max(4.0, 0.62 * n + 1.6)
    figure, (axis,) = new_figure(1, 1, size + 0.8, size)
    shown = np.ma.masked_invalid(mean)
    image = axis.imshow(100 * shown, cmap="Blues", vmin=0, vmax=100)
    for row in range(n):
        for column in range(n + 1):
            if np.ma.is_masked(shown[row, column]):
                continue
            value = 100 * mean[row, column]
            axis.text(
                column,
                row,
                f"{value:.0f}\n±{100 * half_width[row, column]:.0f}",
                ha="center",
                va="center",
                fontsize=7,
                color="black" if value < 55 else "white",
            )
            if flagged[row, column]:
                axis.add_patch(_hatched(column, row))
    axis.set_xticks(range(n + 1), [*products, "(leaves)"], rotation=45, ha="right", fontsize=7)
    axis.set_yticks(range(n), products, fontsize=7)
    axis.set_xlabel("takes instead")
    axis.set_ylabel("wanted, but out of stock")
    axis.set_title(title, fontsize=9)
    figure.colorbar(image, ax=axis, label="share of customers, %", shrink=0.8)
    return to_png(figure)


def stockout_timeline(
    rows: Sequence[tuple[str, Sequence[tuple[datetime, datetime, float]]]],
    *,
    title: str,
    low_power: Sequence[bool] | None = None,
) -> bytes:
    """Spans out of stock per product: (label, [(from, to, P(out))]); darker is surer.

    Products whose outages the data can hardly show are marked with an asterisk.
    """
    from matplotlib import dates as untyped

    dates: Any = untyped
    figure, (axis,) = new_figure(1, 1, 9.0, 0.9 + 0.3 * len(rows))
    for at, (_, spans) in enumerate(rows):
        for start, stop, p_out in spans:
            axis.barh(
                at,
                dates.date2num(stop) - dates.date2num(start),
                left=dates.date2num(start),
                height=0.8,
                color=RED,
                alpha=min(1.0, max(0.15, float(p_out))),
                linewidth=0,
            )
    marks = low_power or [False] * len(rows)
    labels = [f"{label} *" if weak else label for (label, _), weak in zip(rows, marks, strict=True)]
    axis.set_yticks(range(len(rows)), labels, fontsize=7)
    axis.invert_yaxis()
    axis.xaxis_date()
    axis.xaxis.set_major_formatter(dates.ConciseDateFormatter(axis.xaxis.get_major_locator()))
    axis.set_xlabel("date; shade = P(out of stock)" + (", * = low power" if any(marks) else ""))
    axis.set_title(title, fontsize=9)
    return to_png(figure)


def reliability_curve(
    predicted: NDArray[np.float64], observed: NDArray[np.float64], counts: NDArray[np.int64]
) -> bytes:
    """Share truly out of stock against the predicted probability, per bin."""
    figure, (axis,) = new_figure(1, 1, 4.2, 3.8)
    axis.plot([0, 1], [0, 1], color=GREY, linestyle="--", label="perfect")
    error = 1.96 * np.sqrt(np.clip(observed * (1 - observed), 0, None) / np.maximum(counts, 1))
    axis.errorbar(predicted, observed, yerr=error, color=BLUE, marker="o", label="observed, 95 %")
    axis.set_xlabel("predicted P(out of stock)")
    axis.set_ylabel("share of counts out of stock")
    axis.legend(fontsize=7)
    return to_png(figure)


def scenario_forest(
    names: Sequence[str],
    mean: NDArray[np.float64],
    low: NDArray[np.float64],
    high: NDArray[np.float64],
    resolved: Sequence[bool],
    *,
    unit: str,
    title: str,
) -> bytes:
    """Difference to the base with 95 % intervals; what the data cannot tell is grey."""
    figure, (axis,) = new_figure(1, 1, 7.0, 1.0 + 0.35 * len(names))
    for at in range(len(names)):
        colour = GREY if not resolved[at] else BLUE if mean[at] > 0 else RED
        axis.plot([low[at], high[at]], [at, at], color=colour, linewidth=2)
        axis.plot(mean[at], at, "o", color=colour)
    axis.axvline(0, color="black", linewidth=0.8)
    axis.set_yticks(range(len(names)), names, fontsize=8)
    axis.invert_yaxis()
    axis.set_xlabel(
        f"difference to the base, {unit}\n(95 % interval; grey = unresolved)",
        fontsize=8,
        loc="right",
    )
    axis.set_title(title, fontsize=9)
    return to_png(figure)


def new_figure(columns: int, rows: int, width: float, height: float) -> tuple[Figure, list[Any]]:
    # The object API draws without a display and keeps no global state.
    from matplotlib.figure import Figure

    figure = Figure(figsize=(columns * width, rows * height), dpi=DPI, layout="constrained")
    axes = [figure.add_subplot(rows, columns, at + 1) for at in range(rows * columns)]
    for axis in axes:
        axis.tick_params(labelsize=7)
    return figure, axes


def _hatched(column: int, row: int) -> Any:
    from matplotlib.patches import Rectangle

    return Rectangle(
        (column - 0.5, row - 0.5), 1, 1, fill=False, hatch="///", edgecolor=GREY, linewidth=0
    )


def to_png(figure: Figure) -> bytes:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    return buffer.getvalue()
