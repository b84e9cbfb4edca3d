"""Plots are drawn to be looked at; here: they are PNGs, small enough for run metadata."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from retail_assets.report import metadata, plots

LARGEST = 60_000  # bytes; the UI loads every one of them with the page


def pictures():
    rng = np.random.default_rng(0)
    n = 8
    mean = rng.dirichlet(np.ones(n + 1), n)
    mean[np.arange(n), np.arange(n)] = np.nan
    now = datetime(2026, 5, 1, tzinfo=UTC)
    spans = [(now + timedelta(days=k), now + timedelta(days=k + 0.4), 0.9) for k in range(60)]
    return {
        "histograms": plots.posterior_histograms(
            [f"{k}" for k in range(12)], rng.normal(size=(500, 12)), unit="x", truth=[0.0] * 12
        ),
        "heat map": plots.substitution_heatmap(
            [f"product {k}" for k in range(n)], mean, mean / 5, mean > 0.3, title="t"
        ),
        "timeline": plots.stockout_timeline([(f"{k}", spans) for k in range(32)], title="t"),
        "reliability": plots.reliability_curve(
            np.linspace(0, 1, 9), np.linspace(0, 1, 9), np.full(9, 50)
        ),
        "forest": plots.scenario_forest(
            ["a", "b"],
            np.array([1.0, -1]),
            np.array([0.5, -2]),
            np.array([2.0, 1]),
            [True, False],
            unit="EUR",
            title="t",
        ),
    }


@pytest.mark.parametrize(("name", "png"), pictures().items())
def test_a_plot_is_a_small_png(name, png):
    assert png.startswith(b"\x89PNG"), name
    assert len(png) < LARGEST, f"{name}: {len(png)} bytes"


def test_a_metadata_table_says_what_it_leaves_out():
    shown = metadata.table(("a", "b"), [(k, 0.123456) for k in range(25)]).value
    assert shown.count("\n|") == 11
    assert "15 more rows" in shown
    assert "0.123" in shown
