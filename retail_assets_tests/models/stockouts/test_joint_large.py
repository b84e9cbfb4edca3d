"""Categories too large for availability patterns."""

import os

import numpy as np
import pytest

from retail_assets.models.stockouts.joint import fit_status
from retail_assets.models.stockouts.score import score_status
from retail_assets.simulator.engine import panel_of, simulate
from retail_assets.simulator.presets import large


@pytest.fixture(scope="module")
def history():
    return simulate(large(18, 20_000), seed=1)


def test_a_large_category_is_fitted_with_sparse_pairs(history):
    panel = panel_of(history)
    fit = fit_status(panel, learn_deliveries=False)
    store = history.category().stores[0]
    p_out = np.concatenate([fit.smoothed(0, j).p_out for j in range(18)])
    truth = np.concatenate([store.out.mask(j, 20_000) for j in range(18)])
    assert score_status(p_out, truth).skill > 0.7
    np.testing.assert_allclose(
        fit.rates.arrival_rate[0], history.category().truth.arrival_rate[0], rtol=0.35
    )
    assert (fit.rates.substitution_rate.sum(axis=1) <= 1 + 1e-9).all()


def test_the_result_does_not_depend_on_the_number_of_processors(history, monkeypatch):
    panel = panel_of(history)
    fits = []
    for processors in (1, 5):
        monkeypatch.setattr(os, "cpu_count", lambda n=processors: n)
        fits.append(fit_status(panel, max_sweeps=3))
    np.testing.assert_array_equal(fits[0].rates.arrival_rate, fits[1].rates.arrival_rate)
    for one, other in zip(fits[0].stores[0].products, fits[1].stores[0].products, strict=True):
        assert one.params == other.params
