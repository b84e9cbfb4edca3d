"""What a day knows: no more than came by then, and nothing twice."""

import dataclasses

import numpy as np
import pytest

from retail_assets.models.cold_start.as_of import STYLES_PER_TERM, Styles, known_on
from retail_assets.models.cold_start.counts import checked_trials
from retail_assets.models.cold_start.hierarchy import fit_hierarchy
from retail_assets.models.cold_start.posterior import checked_daily
from retail_assets.models.cold_start.rules import ColdStartRules, parse_rules


def make(seed=0, m=12, days=20, attributes=None, groups=3, terms=()):
    rng = np.random.default_rng(seed)
    extra = np.empty((m, 0)) if attributes is None else attributes
    p = rng.beta(3, 12, m)
    n = rng.integers(0, 15, (m, days))
    k = rng.binomial(n, p[:, None])
    style, day = np.divmod(np.arange(m * days), days)
    daily = checked_daily(style, day, k.ravel(), n.ravel(), n_styles=m)
    names = tuple(f"s{i}" for i in range(m))
    group = np.arange(m) % groups
    labels = tuple(f"g{i}" for i in range(groups))
    return Styles("pos_trials", names, group, labels, np.zeros(m, int), daily, extra, terms)


def cut(styles, day):
    return dataclasses.replace(styles, daily=styles.daily.until(day))


@pytest.mark.parametrize("policy", ["none", "reference", "current"])
@pytest.mark.parametrize("day", [0, 7, 19])
def test_later_trials_change_nothing_of_a_day(policy, day):
    styles, rules = make(), ColdStartRules(n_for_prior=policy, forgetting=0.97)
    now, then = known_on(styles, day, rules), known_on(cut(styles, day), day, rules)
    for field in dataclasses.fields(now.posterior):
        np.testing.assert_array_equal(
            getattr(now.posterior, field.name), getattr(then.posterior, field.name)
        )
    np.testing.assert_array_equal(now.days_known, then.days_known)


def test_a_style_that_taught_its_prior_is_not_counted_twice():
    """One group: the mixture's nodes given all styles, each moved by the style's own trials."""
    k, n = np.array([4, 1, 9, 3]), np.array([20, 15, 30, 10])
    daily = checked_daily(np.arange(4), np.zeros(4, int), k, n)
    none = np.empty((4, 0))
    styles = Styles("pos_trials", tuple("abcd"), np.zeros(4, int), ("g",), np.zeros(4, int),
                    daily, none, ())  # fmt: skip
    nodes = fit_hierarchy(checked_trials(k, n)).prior([0])
    exact = (nodes.weight @ ((nodes.alpha + 4) / (nodes.alpha + nodes.beta + 20)).T)[0, 0]
    assert known_on(styles, 0, ColdStartRules()).posterior.mean[0] == pytest.approx(exact)


def test_forgetting_widens_and_follows_a_rate_that_jumped():
    day = np.arange(100)
    k = np.where(day < 50, 1, 4)
    daily = checked_daily(np.repeat([0, 1], 100), np.tile(day, 2), np.tile(k, 2), np.full(200, 8))
    styles = Styles("pos_trials", ("a", "b"), np.zeros(2, int), ("g",), np.zeros(2, int), daily,
                    np.empty((2, 0)), ())  # fmt: skip
    still = known_on(styles, 99, ColdStartRules())
    short = known_on(styles, 99, ColdStartRules(forgetting=0.9))
    assert still.posterior.upper[0] < 0.5 < short.posterior.upper[0]
    assert short.posterior.sd[0] > still.posterior.sd[0]
    assert still.drift.p_value < 0.05


def test_an_attribute_moves_the_prior_of_a_style_without_trials():
    rng = np.random.default_rng(5)
    m = 60
    cocoa = np.linspace(-1, 1, m)
    p = 1 / (1 + np.exp(1.5 - cocoa))
    k = rng.binomial(200, p)[: m - 1]
    n = np.full(m - 1, 200)
    daily = checked_daily(np.arange(m - 1), np.zeros(m - 1, int), k, n, n_styles=m)
    styles = Styles("pos_trials", tuple(map(str, range(m))), np.zeros(m, int), ("g",),
                    np.zeros(m, int), daily, cocoa[:, None], ("cocoa",))  # fmt: skip
    known = known_on(styles, 0, ColdStartRules())
    assert known.regression.coefficients[1] == pytest.approx(1, abs=0.15)
    assert known.posterior.prior_mean[-1] == pytest.approx(p[-1], abs=0.04)
    few = dataclasses.replace(
        styles, daily=checked_daily([0, 1], [0, 0], [1, 2], [9, 9], n_styles=m)
    )
    assert STYLES_PER_TERM > 2
    assert known_on(few, 0, ColdStartRules()).regression is None


def test_a_new_styles_prior_at_its_current_n_is_far_off():
    """Bad styles retired early: log(1 + n) at a new style's own n says it is bad (true .25)."""
    rng = np.random.default_rng(6)
    m = 2000
    p = rng.beta(5, 15, m)
    n = np.where(p < 0.2, 10, 300) + rng.integers(0, 20, m)
    n[-1] = 0
    k = rng.binomial(n, p)
    daily = checked_daily(np.arange(m), np.zeros(m, int), k, n, n_styles=m)
    styles = Styles("pos_trials", tuple(map(str, range(m))), np.zeros(m, int), ("g",),
                    np.zeros(m, int), daily, np.empty((m, 0)), ())  # fmt: skip
    mean = {
        policy: known_on(styles, 0, ColdStartRules(n_for_prior=policy)).posterior.mean[-1]
        for policy in ("none", "current")
    }
    assert mean["none"] == pytest.approx(0.25, abs=0.03)
    assert mean["current"] < 0.12


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"young": 3}, "young: unknown entry"),
        ({"forgetting": 1.2}, "forgetting = 1.2: a number between 0.5 and 1"),
        ({"young_days": 2.5}, "young_days = 2.5: a whole number"),
        ({"break_even": {"bars": 0.1}}, "write \\[break_even.style_trials\\]"),
        ({"break_even": {"pos_trials": {"bars": 2}}}, "break_even.pos_trials.bars = 2"),
    ],
)
def test_a_wrong_rule_is_named(given, message):
    with pytest.raises(ValueError, match=message):
        parse_rules(given)
