"""Pictures of demand models: small PNGs whatever they are handed, and colours that mean it."""

from __future__ import annotations

import io
from datetime import date, timedelta

import matplotlib
import numpy as np
import pytest
from PIL import Image

from retail_assets.report import demand_plots as plots
from retail_assets.report.plots import BLUE, GREEN, ORANGE, RED, new_figure, to_png

LARGEST = 60_000  # bytes; the UI loads every one of them with the page
NAN = float("nan")
MODELS = (
    ("seasonal_naive", 0.62, 40.0, False, "forecast"),
    ("last_year_growth", 0.66, 5.2, False, "none"),
    ("poisson_glm", 0.47, 1.8, True, "none"),
    ("xgboost_on_margin", 0.45, 1.6, True, "price"),
)


def scores(models=MODELS, origins=6):
    return [
        plots.Score(name, season, wape * harder, deviance * harder, cover, responsive, champion)
        for name, wape, deviance, responsive, champion in models
        for origin in range(origins)
        for season, harder in (("all", 1.0), ("peak", 1.2), ("normal", 0.9 + 0.01 * origin))
        for cover in (NAN if origin == 0 else 0.8,)
    ]


def slopes(value, reference=-2.4):
    value = np.array(value, dtype=float)
    return plots.elasticities(
        [f"A product with a rather long name {k}" for k in range(len(value))],
        value, value - 0.5, value + 0.5, reference, reference - 0.4, reference + 0.4,
        title="Elasticities",
    )  # fmt: skip


def fitted(n, units=None, out=None):
    mean = 12 + 4 * np.sin(np.arange(n) / 30)
    return plots.fit_over_time(
        [date(2025, 3, 1) + timedelta(days=k) for k in range(n)],
        np.rint(mean) if units is None else units, mean, mean - 4, mean + 4,
        np.where(np.arange(n) % 60 < 40, 349.0, 299.0),
        title="Bar: sold and predicted", currency="$", out_of_stock=out,
    )  # fmt: skip


def pictures():
    unknown = [plots.Score("new", "all", NAN, NAN, NAN, True, "both")]
    return {
        "backtest": plots.backtest(scores(), title="Backtest"),
        "one model, one origin": plots.backtest(scores(MODELS[2:3], 1), title="Backtest"),
        "no models": plots.backtest([], title="Backtest"),
        "nothing known": plots.backtest(unknown, title="Backtest"),
        "only peaks": plots.backtest([s for s in scores() if s.season == "peak"], title="t"),
        "elasticities": slopes(-np.linspace(1, 4, 24)),
        "one elasticity": slopes([-2]),
        "no elasticity": slopes([]),
        "unidentified": slopes([NAN, -2], NAN),
        "two years": fitted(730, out=np.arange(730) % 90 < 12),
        "one day": fitted(1, out=np.ones(1, bool)),
        "no days": fitted(0),
        "never sold": fitted(30, np.full(30, NAN), np.zeros(30, bool)),
    }


@pytest.mark.parametrize(("name", "png"), pictures().items())
def test_a_picture_is_a_small_png_whatever_it_is_handed(name, png):
    assert png.startswith(b"\x89PNG"), name
    assert len(png) < LARGEST, f"{name}: {len(png)} bytes"
    width, height = Image.open(io.BytesIO(png)).size
    assert 500 < width <= 850, name
    assert height <= 800, name


def colours(png: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(png)).convert("RGB"), dtype=int)


def coloured(picture: np.ndarray, colour: str, within: int = 12) -> np.ndarray:
    wanted = np.rint(255 * np.array(matplotlib.colors.to_rgb(colour)))
    return np.abs(picture - wanted).max(axis=2) <= within


def test_models_that_answer_to_prices_have_a_colour_of_their_own():
    deaf = plots.backtest(scores(MODELS[:2]), title="t")
    answering = plots.backtest(scores(MODELS[2:]), title="t")
    # The legend shows both colours; the dots, at an opacity of .6, only their own.
    blue, orange = faded(BLUE, 0.6), faded(ORANGE, 0.6)
    assert not coloured(colours(deaf), blue).any()
    assert coloured(colours(deaf), orange).any()
    assert not coloured(colours(answering), orange).any()
    assert coloured(colours(answering), blue).any()


def faded(colour: str, opacity: float) -> str:
    on_white = opacity * np.array(matplotlib.colors.to_rgb(colour)) + (1 - opacity)
    return matplotlib.colors.to_hex(on_white)


def test_days_out_of_stock_are_shaded_over_their_share_of_the_time():
    n = 200
    out = np.zeros(n, bool)
    out[50:90] = True  # 40 of the 200 days
    picture = colours(fitted(n, out=out))
    shaded = coloured(picture, "#e4e4e4", within=6).sum(axis=0) > 20
    # The interval is drawn over all of the days, at an opacity of .25.
    band = np.flatnonzero(coloured(picture, faded(BLUE, 0.25)).sum(axis=0) > 20)
    share = shaded[band[0] : band[-1] + 1].mean()
    assert share == pytest.approx(0.2, abs=0.02)


def test_a_palette_keeps_the_colours_of_the_figure():
    figure, (axis,) = new_figure(1, 1, 6, 4)
    for at, colour in enumerate((BLUE, ORANGE, GREEN, RED)):
        axis.plot([0, 1], [at, at + 1], color=colour)
    axis.plot(0.5, 4, ".", color="#CC79A7", markersize=3)  # a handful of pixels
    full = colours(to_png(figure))
    assert np.abs(colours(plots.palette_png(figure)) - full).max() <= 12


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ("Bar", "Bar"),
        ("Organic dark chocolate 70 % bar 100 g", "Organic dark chocolate…% bar 100 g"),
        ("$2 and $3", r"\$2 and \$3"),
    ],
)
def test_a_label_is_cut_in_the_middle_and_never_read_as_a_formula(given, shown):
    assert plots.fit_label(given) == shown
