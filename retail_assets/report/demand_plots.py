"""Plots of demand models, as PNG bytes. They draw what they are handed and read nothing."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from retail_assets.report.plots import BLUE, GREY, ORANGE, RED, new_figure, to_png

Floats = NDArray[np.float64]
PRODUCTS = 20  # rows of the elasticities: more would not be legible
# What a season's dots look like: the busiest weeks are told apart by shape and not by colour.
SHAPES = {"normal": ("o", "normal weeks, an origin each"), "peak": ("^", "peak weeks")}


@dataclass(frozen=True)
class Score:
    """A model at one origin of the backtest; all weeks of it, or its peak or normal ones.

    Attributes
    ----------
    model : str
    season : str
        peak, normal, or all.
    wape, poisson_deviance, coverage80 : float
        Shares, a mean a row, and a share; NaN where unknown.
    price_responsive : bool
        The model answers to prices.
    champion : str
        price, forecast, both, or none.
    """

    model: str
    season: str
    wape: float
    poisson_deviance: float
    coverage80: float
    price_responsive: bool
    champion: str


def backtest(scores: Sequence[Score], *, title: str) -> bytes:
    """WAPE, Poisson deviance and 80 % coverage of each model, best WAPE first.

    Dots are origins (peak weeks are triangles); the bar is the mean of all weeks.
    Price-responsive models are blue, the others orange; champions carry their role.
    """
    whole = _by_model(scores, "all")
    means = {
        score.model: _mean([own.wape for own in whole.get(score.model, [])]) for score in scores
    }
    models = sorted(means, key=lambda model: np.nan_to_num(means[model], nan=np.inf))
    roles = {score.model: score for score in scores}
    figure, axes = new_figure(3, 1, 3.2, 1.5 + 0.36 * max(len(models), 1))
    panels = (
        ("wape", 100.0, "WAPE, %", None),
        ("poisson_deviance", 1.0, "Poisson deviance a row", None),
        ("coverage80", 100.0, "inside the 80 % interval, %", 80.0),
    )
    for axis, (name, scale, label, target) in zip(axes, panels, strict=True):
        _draw_scores(axis, scores, models, name, scale)
        if target is not None:
            axis.axvline(target, color=GREY, linestyle="--", linewidth=1)
        axis.set_xlabel(label, fontsize=8)
        axis.locator_params(axis="x", nbins=5)
        thousands(axis.xaxis)
        axis.set_yticks(range(len(models)), [""] * len(models))
        axis.set_ylim(max(len(models), 1) - 0.5, -0.5)
        axis.grid(axis="y", color="#eeeeee")
        axis.set_axisbelow(True)
    deviances = [score.poisson_deviance for score in scores]
    if (spread := _range(deviances)) and spread[1] > 5 * spread[0]:
        axes[1].set_xscale("log")
        _plain_log_ticks(axes[1].xaxis)
        axes[1].set_xlabel("Poisson deviance a row (log scale)", fontsize=8)
    names = [_with_role(model, roles[model].champion) for model in models]
    axes[0].set_yticks(range(len(models)), names, fontsize=8)
    for tick, model in zip(axes[0].get_yticklabels(), models, strict=True):
        tick.set_fontweight("normal" if roles[model].champion == "none" else "bold")
    figure.legend(handles=_backtest_legend(), loc="outside lower center", ncols=5, fontsize=8)
    figure.suptitle(fit_label(title, 110), fontsize=10)
    return palette_png(figure)


def elasticities(
    labels: Sequence[str],
    value: Floats,
    lo95: Floats,
    hi95: Floats,
    reference: float,
    ref_lo: float,
    ref_hi: float,
    *,
    title: str,
) -> bytes:
    """Own-price elasticity of at most 20 products with 95 % intervals, most elastic first.

    The band is the reference slope with series and period effects; NaN where unidentified.
    """
    value, lo95, hi95 = (np.asarray(given, dtype=np.float64) for given in (value, lo95, hi95))
    order = np.argsort(value, kind="stable")[:PRODUCTS]  # NaN sorts last
    figure, (axis,) = new_figure(1, 1, 9.6, 1.5 + 0.26 * max(len(order), 1))
    if np.isfinite([ref_lo, ref_hi]).all():
        axis.axvspan(ref_lo, ref_hi, color=ORANGE, alpha=0.25, linewidth=0)
    if np.isfinite(reference):
        axis.axvline(
            reference, color=ORANGE, linewidth=2,
            label=f"slope with series and period effects, 95 %: {reference:.2f}",
        )  # fmt: skip
    rows = np.arange(len(order))
    axis.hlines(rows, lo95[order], hi95[order], color=BLUE, linewidth=2)
    axis.plot(value[order], rows, "o", color=BLUE, markersize=5, label="model, 95 % interval")
    for row in rows[~np.isfinite(value[order])]:
        axis.annotate(
            "unidentified", (0.01, row), xycoords=axis.get_yaxis_transform(), va="center",
            fontsize=8, color="dimgrey",
        )  # fmt: skip
    axis.axvline(0, color="black", linewidth=0.8)
    axis.set_yticks(rows, [fit_label(labels[at]) for at in order], fontsize=8)
    axis.set_ylim(len(order) - 0.4, -0.6)
    axis.grid(axis="y", color="#eeeeee")
    axis.set_axisbelow(True)
    axis.set_xlabel("own-price elasticity, % of demand per % of price", fontsize=8)
    figure.legend(loc="outside lower center", ncols=2, fontsize=8)
    axis.set_title(fit_label(title, 110) + left_out(len(labels), len(order)), fontsize=10)
    return palette_png(figure)


def fit_over_time(
    days: Sequence[Any],
    units: Floats,
    predicted: Floats,
    lo80: Floats,
    hi80: Floats,
    price_cents: Floats,
    *,
    title: str,
    currency: str,
    out_of_stock: NDArray[np.bool_] | None = None,
) -> bytes:
    """Units sold a day beside the model's with 80 % limits, and the price below.

    Parameters
    ----------
    days : sequence of date or (n,) datetime64
    units, predicted, lo80, hi80 : (n,) float64
        Units a day; NaN where unknown.
    price_cents : (n,) float64
    out_of_stock : (n,) bool, optional
        Days shaded: little was sold because little was there.
    """
    from matplotlib import dates as untyped

    dates: Any = untyped
    when = np.asarray(days, dtype="datetime64[D]")
    figure, (above, below) = new_figure(1, 2, 9.6, 2.2)
    grid = above.get_gridspec()
    grid.set_height_ratios([3, 1.1])
    if out_of_stock is not None and out_of_stock.any():
        spans = [(day - 0.5, 1.0) for day in dates.date2num(when[out_of_stock])]
        above.broken_barh(
            spans, (0, 1), transform=above.get_xaxis_transform(), color="#e4e4e4", linewidth=0,
            zorder=0, label="out of stock",
        )  # fmt: skip
    above.fill_between(when, lo80, hi80, color=BLUE, alpha=0.25, linewidth=0, label="80 % interval")
    above.plot(when, units, ".", color="black", markersize=4, label="units sold")
    above.plot(when, predicted, color=BLUE, linewidth=1.5, label="model, for its time in stock")
    above.set_ylim(bottom=0)
    above.set_ylabel("units a day", fontsize=8)
    below.step(when, np.asarray(price_cents) / 100, where="mid", color=RED, linewidth=1.5)
    below.set_ylabel(f"price, {fit_label(currency)}", fontsize=8)
    below.set_xlabel("day", fontsize=8)
    below.sharex(above)
    above.tick_params(labelbottom=False)
    if len(when):
        below.xaxis.set_major_formatter(dates.ConciseDateFormatter(below.xaxis.get_major_locator()))
    figure.legend(loc="outside lower center", ncols=4, fontsize=8)
    above.set_title(fit_label(title, 110), fontsize=10)
    return palette_png(figure)


def palette_png(figure: Any) -> bytes:
    """The figure with a palette of 256 colours: a third of the bytes, and looks the same.

    Run metadata carries every picture: six panels of curves took 114 kB, and now 34 kB.
    """
    from PIL import Image

    picture = Image.open(io.BytesIO(to_png(figure))).convert("RGB")
    buffer = io.BytesIO()
    # Median cut, the default, turns a rare red into orange (off by 70 of 255); this by 9.
    few = picture.quantize(256, Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE)
    few.save(buffer, format="png", optimize=True)
    return buffer.getvalue()


def fit_label(text: str, most: int = 34) -> str:
    """A label of at most `most` characters, cut in the middle: ends tell sizes apart.

    A $ is a currency here and no formula.
    """
    head, tail = (2 * most) // 3, most - (2 * most) // 3 - 1
    short = text if len(text) <= most else f"{text[:head].rstrip()}…{text[-tail:].lstrip()}"
    return short.replace("$", r"\$")


def thousands(axis: Any) -> None:
    """Write the ticks of an axis as 12,000 instead of 12000 or 1.2e4."""
    from matplotlib.ticker import FuncFormatter

    def written(value: float, _: int) -> str:
        return f"{value + 0.0:,.9f}".rstrip("0").rstrip(".")

    axis.set_major_formatter(FuncFormatter(written))


def left_out(items: int, shown: int) -> str:
    """Addition to a title where not all items are shown."""
    return f" ({shown} of {items:,})" if items > shown else ""


def _draw_scores(
    axis: Any, scores: Sequence[Score], models: Sequence[str], name: str, scale: float
) -> None:
    rows = {model: at for at, model in enumerate(models)}
    for season, (shape, _) in SHAPES.items():
        # Triangles above the line, dots below: they often coincide.
        shift = -0.17 if season == "peak" else 0.17
        for model, own in _by_model(scores, season).items():
            values = scale * np.array([getattr(score, name) for score in own])
            axis.plot(
                values, np.full(len(values), rows[model] + shift), shape, color=_colour(own[0]),
                markersize=5, alpha=0.6, markeredgewidth=0,
            )  # fmt: skip
    for model, own in _by_model(scores, "all").items():
        mean = scale * _mean([getattr(score, name) for score in own])
        axis.plot(mean, rows[model], "|", color="black", markersize=16, markeredgewidth=2.5)


def _by_model(scores: Sequence[Score], season: str) -> dict[str, list[Score]]:
    models: dict[str, list[Score]] = {}
    for score in scores:
        if score.season == season:
            models.setdefault(score.model, []).append(score)
    return models


def _colour(score: Score) -> str:
    return BLUE if score.price_responsive else ORANGE


def _with_role(model: str, champion: str) -> str:
    role = {"both": "prices and forecasts", "price": "prices", "forecast": "forecasts"}
    return fit_label(model) + (f"\n★ {role[champion]}" if champion in role else "")


def _mean(values: Sequence[float]) -> float:
    known = [value for value in values if np.isfinite(value)]
    return float(np.mean(known)) if known else float("nan")


def _range(values: Sequence[float]) -> tuple[float, float] | None:
    """Smallest and largest of the positive, known values."""
    known = [value for value in values if np.isfinite(value) and value > 0]
    return (min(known), max(known)) if known else None


def _plain_log_ticks(axis: Any) -> None:
    from matplotlib.ticker import LogLocator, NullFormatter

    axis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0), numticks=8))
    thousands(axis)
    axis.set_minor_formatter(NullFormatter())


def _backtest_legend() -> list[Any]:
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    return [
        *(
            Line2D([], [], marker=shape, color="dimgrey", linestyle="", label=label)
            for shape, label in SHAPES.values()
        ),
        Line2D([], [], marker="|", color="black", linestyle="", markersize=12, label="mean of all"),
        Patch(color=BLUE, label="answers to prices"),
        Patch(color=ORANGE, label="does not"),
    ]
