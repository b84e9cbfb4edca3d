"""Receipts of some customers only: nothing is inferred to be out of stock, and that is said."""

from __future__ import annotations

import numpy as np
import pytest

from retail_assets.assets.status_tables import assumed_in_stock
from retail_assets.errors import SettingsError
from retail_assets.models.panel import Panel, StorePanel
from retail_assets.models.stockouts.joint import fit_status
from retail_assets.settings import Settings

OPEN, DAYS = 10, 60


def _panel() -> Panel:
    """Two products; one is silent for twenty days, the other is listed from day 30 on."""
    end, rng = OPEN * DAYS, np.random.default_rng(7)
    counts = rng.poisson(1.0, (2, end))
    counts[0, 20 * OPEN : 40 * OPEN] = 0
    counts[1, : 30 * OPEN] = 0
    sold = [np.flatnonzero(row) for row in counts]
    store = StorePanel(
        store_id="households",
        season=np.tile(np.arange(9, 9 + OPEN), DAYS).astype(np.int16),
        day=np.repeat(np.arange(DAYS), OPEN).astype(np.int32),
        indptr=np.cumsum([0, *map(len, sold)]),
        interval=np.concatenate(sold).astype(np.int32),
        transactions=np.concatenate([c[s] for c, s in zip(counts, sold, strict=True)]).astype(
            np.int32
        ),
        listed=np.array([[0, end], [30 * OPEN, end]]),
    )
    return Panel(("silent", "new"), (store,))


def test_a_silence_is_out_of_stock_at_a_till_and_nothing_in_a_sample():
    panel = _panel()
    assert fit_status(panel).stores[0].products[0].share_out == pytest.approx(1 / 3, abs=0.02)
    fit = assumed_in_stock(panel)
    silent, new = fit.stores[0].products
    for product in (silent, new):
        assert product.low_power
        assert product.share_out == 0.0
        assert not product.spans.out.any()
    assert (new.spans.start.tolist(), new.spans.stop.tolist()) == ([30 * OPEN], [DAYS * OPEN])


def test_a_samples_rates_are_sales_per_listed_interval_and_no_history_is_drawn():
    panel = _panel()
    fit = assumed_in_stock(panel)
    store = panel.stores[0]
    sold = [store.sales(j)[1].sum() for j in range(2)]
    assert fit.rates.arrival_rate[0] == pytest.approx([sold[0] / 600, sold[1] / 300])
    assert fit.weight[0].mean() == pytest.approx(1.0)
    (drawn,) = fit.sample_out(np.random.default_rng(1))
    assert len(drawn.start) == 0


def test_another_word_than_all_or_sample_is_refused(tmp_path):
    (tmp_path / "settings.toml").write_text('receipts = "panel"\n')
    with pytest.raises(SettingsError, match=r'use "all" .* or "sample"'):
        Settings.load(tmp_path)
