"""Pictures of prices: small PNGs whatever they are handed, and the proof shows what is open."""

from __future__ import annotations

import io
import time

import matplotlib
import numpy as np
import pytest
from PIL import Image

from retail_assets.report import pricing_plots as plots
from retail_assets.report.plots import BLUE, GREEN, RED

LARGEST = 60_000  # bytes; the UI loads every one of them with the page
NAN = float("nan")
TOY = np.array([[300, 300, 1500], [500, 500, 1600], [700, 700, 800]], dtype=float)


def curve(label: str = "Dark $2 & $3 bar", **given) -> plots.PriceCurve:
    price = np.array([399.0, 199, 249, 299, 349])
    demand = 200 * (price / 299) ** -2.0
    fields = {
        "price_cents": price,
        "demand": demand,
        "demand_lo80": 0.7 * demand,
        "demand_hi80": 1.3 * demand,
        "units_available": 180.0,
        "legal": price > 200,
        "chosen_cents": 249.0,
        "prior_cents": 349.0,
    }
    return plots.PriceCurve(label, **(fields | given))


def sale(items):
    return plots.demand_and_revenue(items, currency="EUR", title="A sale")


def frontier(n, extremes=None, chosen=None, **given):
    at = np.linspace(0, 1, n)
    columns = {"revenue": 1e6 * at, "margin": 60 - 40 * at, "sold": 40 + 60 * at, "worse": at < 0.3}
    return plots.frontier(
        *(columns | given).values(), extremes or {}, chosen, currency="$", title="Frontier"
    )


def prices(labels, old, new):
    return plots.old_and_new(
        labels, np.array(old, float), np.array(new, float), currency="EUR", title="Prices"
    )


def pictures():
    nothing = np.full(5, NAN)
    many = range(47)
    ends = {"max_revenue": 29, "max_margin": 0, "max_sell_through": 29}
    return {
        "a sale of eight": sale([curve(f"A product with a long name {k}") for k in range(8)]),
        "a sale of one": sale([curve()]),
        "a sale of nothing": sale([]),
        "all prices illegal": sale([curve(legal=np.zeros(5, bool), chosen_cents=None)]),
        "demand unknown": sale([curve(demand=nothing, demand_lo80=nothing, demand_hi80=nothing)]),
        "no price known": sale([curve(chosen_cents=NAN, prior_cents=None)]),
        "the toy's proof": plots.proof(TOY, 1600, 500, unit="cents", title="Ball and Pen"),
        "no blocks": plots.proof(np.empty((0, 3)), 1600, 500, unit="cents", title="t"),
        "no prices found": plots.proof(TOY, NAN, NAN, unit="cents", title="t", upper_bound=1600),
        "frontier": frontier(30, ends, 14),
        "frontier of one": frontier(1, {"max_revenue": 0}, 0, worse=np.array([False])),
        "frontier of none": frontier(0),
        "frontier all dominated": frontier(3, worse=np.ones(3, bool)),
        "frontier unknown": frontier(3, sold=np.full(3, NAN)),
        "prices of 47": prices([f"item {k}" for k in many], [300 + k for k in many], [299] * 47),
        "price of one": prices(["Bar"], [300], [250]),
        "no old price": prices(["Bar", "Box"], [NAN, 0], [250, 250]),
        "no prices": prices([], [], []),
    }


@pytest.mark.parametrize(("name", "png"), pictures().items())
def test_a_picture_is_a_small_png_whatever_it_is_handed(name, png):
    assert png.startswith(b"\x89PNG"), name
    assert len(png) < LARGEST, f"{name}: {len(png)} bytes"
    width, height = Image.open(io.BytesIO(png)).size
    assert 500 < width <= 850, name
    assert height <= 800, name


def pixels(png: bytes, colour: str) -> int:
    """Pixels of a colour, give or take what the palette costs."""
    picture = np.asarray(Image.open(io.BytesIO(png)).convert("RGB"), dtype=int)
    wanted = np.rint(255 * np.array(matplotlib.colors.to_rgb(colour)))
    return int((np.abs(picture - wanted).max(axis=2) <= 12).sum())


def test_a_proof_without_open_blocks_shows_no_red():
    png = plots.proof(TOY, 1600, 500, unit="cents", title="Ball and Pen")
    assert pixels(png, RED) == 0
    assert pixels(png, GREEN) == 0
    assert pixels(png, BLUE) > 100


def test_a_bound_above_the_value_is_red_until_the_sale_is_proven():
    loose = TOY + np.array([[0, 0, 0], [0, 0, 7], [0, 0, 0]])
    unproven = plots.proof(loose, 1600, 500, unit="cents", title="t")
    gap = plots.proof(loose, 1600, 500, unit="cents", title="t", upper_bound=1607)
    proven = plots.proof(loose, 1600, 500, unit="cents", title="t", upper_bound=1600)
    assert pixels(unproven, RED) > 20
    assert pixels(gap, RED) > 20
    assert pixels(proven, RED) == 0
    assert pixels(proven, GREEN) > 20


def test_blocks_without_legal_prices_are_left_out():
    empty = np.array([[100, 200, -np.inf], [800, 900, NAN]])
    assert plots.proof(
        np.vstack([TOY, empty])[::-1], 1600, 500, unit="cents", title="t"
    ) == plots.proof(TOY, 1600, 500, unit="cents", title="t")


def test_a_proof_of_thousands_of_blocks_takes_under_two_seconds_of_cpu():
    first = np.arange(0, 2_000_000, 400.0)
    bound = 2.8e8 - ((first - 1e6) / 100) ** 2 - 1
    blocks = np.stack([first, first + 300, bound], axis=1)
    start = time.process_time()
    png = plots.proof(blocks, 2.8e8, 1_000_000, unit="cents", title="5,000 blocks")
    assert time.process_time() - start < 2
    assert pixels(png, RED) == 0


def test_up_is_blue_and_down_is_red():
    assert pixels(prices(["Bar"], [300], [350]), RED) == 0
    assert pixels(prices(["Bar"], [300], [250]), BLUE) == 0


def test_of_many_items_the_largest_changes_are_drawn():
    labels, old = [f"item {k}" for k in range(40)], [300] * 40
    assert pixels(prices(labels, old, old), RED) == 0
    assert pixels(prices(labels, old, [*old[:37], 200, 200, 200]), RED) > 50
