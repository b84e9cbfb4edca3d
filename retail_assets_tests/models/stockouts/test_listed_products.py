"""A product that joins the range late has not been missing until then."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from retail_assets.models.stockouts.joint import fit_status
from retail_assets.models.stockouts.joint_paths import JointPaths
from retail_assets.models.substitution.patterns import availability_statistics
from retail_assets.simulator import load_preset, panel_of, simulate

LAUNCH_DAY = 70


@pytest.fixture(scope="module")
def late():
    """``paper`` on two fifths of its length; b joins half-way."""
    spec = load_preset("paper")
    launch = np.array([0, LAUNCH_DAY, 0, 0, 0])
    own = replace(spec.categories[0], launch_day=launch)
    history = simulate(replace(spec, categories=(own,)), seed=5)
    return history, panel_of(history)


def test_status_begins_at_launch_and_its_share_out_is_that_of_its_life(late):
    history, panel = late
    fit = fit_status(panel)
    product, first = fit.stores[0].products[1], history.calendars[0].first_interval[LAUNCH_DAY]
    truth = history.category().stores[0].out.mask(1, panel.stores[0].n_intervals)[first:]
    assert product.spans.start[0] == first
    assert product.share_out == pytest.approx(truth.mean(), abs=0.03)
    assert fit.rates.arrival_rate[0, 1] == pytest.approx(0.2, rel=0.1)


def test_sampled_histories_and_statistics_leave_the_time_before_launch_alone(late):
    history, panel = late
    first = history.calendars[0].first_interval[LAUNCH_DAY]
    fit = fit_status(panel)
    path = JointPaths(fit)(np.random.default_rng(0), None)
    assert path[0].of(1)[0].min() >= first
    statistics = availability_statistics(panel, path, fit.weight)
    seen = (statistics.observed * statistics.exposure[:, None])[~statistics.stopped].sum(axis=0)
    assert seen[1] == pytest.approx(fit.weight[0][first:].sum(), rel=0.01)
    assert statistics.counts[:, 1].sum() == panel.stores[0].sales(1)[1].sum()
