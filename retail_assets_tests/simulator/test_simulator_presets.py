"""The named presets are the frozen ones, and resolve what they inherit."""

import hashlib
from importlib.resources import files

import numpy as np
import pytest

from retail_assets.errors import SettingsError
from retail_assets.simulator import frozen_truth, load_preset, preset_names


def test_the_frozen_truth_was_not_touched():
    content = files("retail_assets.simulator").joinpath("presets.json").read_bytes()
    assert (
        hashlib.sha256(content).hexdigest()
        == "7c87f3441580ec69e9ff4f2674af14766bf7660d977e7df70268969bf578fdb3"
    )


@pytest.mark.parametrize("name", [n for n in preset_names() if n != "large_1000"])
def test_every_preset_resolves_to_valid_rates(name):
    spec = load_preset(name)
    for own in spec.categories:
        assert np.all(own.substitution_rate.sum(axis=1) < 1)
        assert np.all(own.arrival_rate >= 0)
        assert np.all(own.unit_cost < own.unit_price)


def test_like_takes_what_the_child_does_not_say():
    slow, paper = frozen_truth()["slow"], frozen_truth()["paper"]
    assert slow["alpha"] == paper["alpha"]
    assert slow["rates"] == [0.03, 0.02, 0.015, 0.01, 0.025]
    assert load_preset("slow").categories[0].supply.review == 5000


def test_variants_say_what_they_change():
    paper = load_preset("paper").categories[0]
    assert load_preset("never_out").categories[0].order_up_to[0] == 1_000_000
    markov = load_preset("markov_chain").categories[0]
    assert markov.choice_model == "markov_chain"
    np.testing.assert_array_equal(markov.order_up_to, np.rint(0.8 * paper.order_up_to))
    over = load_preset("overdispersed")
    assert (over.interval_minutes, over.categories[0].dispersion) == (60, 0.8)
    assert load_preset("common_shock").shock_cv == 0.4
    assert load_preset("common_shock_cv80_zero").shock_cv == 0.8
    assert load_preset("common_shock_zero").categories[0].substitution_rate.sum() == 0
    assert load_preset("common_shock").categories[1].n_products == 10
    money = load_preset("paper_money").categories[0]
    np.testing.assert_array_equal(money.reorder_point, [22, 7, 14, 13, 5])
    assert money.supply.lead == 101


def test_the_seasonal_profile_is_eightfold_by_hour_and_twofold_by_weekday():
    profile = np.array(load_preset("seasonal").profile)
    hours, weekdays = profile[0], profile[:, 0]
    assert hours.max() / hours.min() == pytest.approx(8)
    assert (weekdays.min(), weekdays.max()) == (0.7, 1.4)
    assert weekdays.mean() == pytest.approx(1, abs=0.01)


def test_an_unknown_preset_lists_the_known_ones():
    with pytest.raises(SettingsError, match=r"no preset 'papre'; known presets: paper, "):
        load_preset("papre")
