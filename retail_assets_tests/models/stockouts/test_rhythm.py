"""Delivery rhythms: planted ones are found, chance is not taken for one."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from retail_assets.models.stockouts.hidden_markov import HmmParams, Prior, Series, fit
from retail_assets.models.stockouts.rhythm import (
    WEEK,
    Rhythm,
    calendar_phases,
    find_periods,
    learn_rhythm,
    rhythm_score,
)

N = 40_000
FLAT = np.zeros(N, np.int16)
NO_SALE = np.zeros(N, np.int32)


def sell(rng, refills, rate=0.3, stock=45):
    """Order-up-to shop: filled at ``refills``; returns series and true status."""
    counts, out = np.zeros(N, np.int32), np.zeros(N, bool)
    left, refills = stock, set(refills)
    for t, wanted in enumerate(rng.poisson(rate, N)):
        if t in refills:
            left = stock
        out[t] = left == 0
        counts[t] = min(wanted, left)
        left -= counts[t]
    return Series.of(np.flatnonzero(counts), counts[counts > 0], np.ones(N)), out


def plain_fit(series):
    return fit(series, HmmParams(0.3, (0.02,), 0.0, (0.02,)), max_iterations=12)


def learn(series):
    plain = plain_fit(series)
    periods = find_periods(plain.smoothed)
    return (
        plain,
        periods,
        learn_rhythm(
            series, plain, Prior(0.02, 0.02), periods, FLAT, to_beat=rhythm_score(plain, 2)
        ),
    )


def test_a_strict_schedule_is_read_off_the_receipts():
    series, out = sell(np.random.default_rng(0), range(77, N, 200))
    plain, periods, learned = learn(series)
    assert 200.0 in periods
    assert learned.rhythm.strict
    assert learned.rhythm.period == 200.0
    assert learned.rhythm.offset % 200 == pytest.approx(77, abs=1)
    briers = [np.mean((f.smoothed.p_out - out) ** 2) for f in (plain, learned.fit)]
    assert briers[1] < 0.3 * briers[0]


def test_late_vans_still_make_a_rhythm_but_not_a_strict_one():
    rng = np.random.default_rng(1)
    series, out = sell(rng, [t + int(rng.integers(0, 40)) for t in range(77, N, 200)])
    plain, _, learned = learn(series)
    assert learned.rhythm.period == pytest.approx(200, abs=0.2)
    assert not learned.rhythm.strict
    briers = [np.mean((f.smoothed.p_out - out) ** 2) for f in (plain, learned.fit)]
    assert briers[1] < 0.9 * briers[0]


def test_irregular_refills_show_no_rhythm():
    rng = np.random.default_rng(2)
    series, _ = sell(rng, np.cumsum(rng.integers(20, 380, 200)).tolist())
    _, _, learned = learn(series)
    assert learned is None


@given(st.floats(6.0, 50.0), st.integers(1, 12), st.integers(0, 100))
def test_phases_are_those_of_the_definition(period, n_phases, offset):
    rhythm = Rhythm(period, Rhythm.even(period, FLAT, n_phases).edges, offset)
    phase = rhythm.phase(FLAT[:200], NO_SALE[:200])
    for t in (0, 1, 57, 199):
        position = ((t - offset) / period) % 1.0
        if np.abs(rhythm.edges - position).min(initial=1.0) > 1e-6:
            assert phase[t] == (rhythm.edges < position).sum()


def test_a_schedule_has_one_delivery_interval_a_cycle():
    rhythm = Rhythm.schedule(200.0, 77)
    phase = rhythm.phase(FLAT[:1000], NO_SALE[:1000])
    assert np.flatnonzero(phase == 0).tolist() == [77, 277, 477, 677, 877]


def test_between_deliveries_the_phase_is_what_was_sold_since():
    counts = np.random.default_rng(4).poisson(0.4, 300).astype(np.int32)
    edges = np.array([2.0, 5.0])
    phase = Rhythm(50.0, edges, 10, strict=True, by_sales=True).phase(FLAT[:300], counts)
    sold = 0
    for t in range(300):
        sold = counts[t] if t % 50 == 10 else sold + counts[t]
        assert phase[t] == (0 if t % 50 == 10 else 1 + (edges < sold).sum())


def test_a_shelf_filled_to_six_is_empty_at_the_sixth_sale():
    """Two sales missed per outage tell nothing by themselves; the count of sales does."""
    series, out = sell(np.random.default_rng(5), range(17, N, 60), rate=0.1, stock=6)
    start = fit(series, HmmParams(0.12, (0.16,), 0.0, (0.1,)), max_iterations=2)
    learned = learn_rhythm(series, start, Prior(0.02, 0.02), [60.0], FLAT, to_beat=-np.inf)
    assert learned.rhythm.offset % 60 == 17
    briers = [np.mean((f.smoothed.p_out - out) ** 2) for f in (start, learned.fit)]
    assert briers[1] < 0.1 * briers[0]
    assert learned.fit.params.arrival_rate == pytest.approx(0.1, rel=0.03)


def test_a_calendar_marks_its_deliveries_and_ages_between():
    deliveries = np.arange(5, 400, 10, dtype=np.int32)
    phase = calendar_phases(deliveries, 400)
    np.testing.assert_array_equal(np.flatnonzero(phase == phase.max()), deliveries)
    assert (np.diff(phase[6:15]) >= 0).all()


@pytest.mark.parametrize("deliveries", [[], [3]])
def test_a_calendar_of_hardly_any_delivery_works(deliveries):
    phase = calendar_phases(np.array(deliveries, np.int32), 10)
    assert len(phase) == 10
    assert (phase > 0).sum() == len(deliveries)


def test_weekly_vans_are_followed_by_the_clock_through_holidays():
    """A closed day now and then moves every later Tuesday; the hour of the week stays."""
    rng = np.random.default_rng(3)
    hours = np.arange(2 * N)
    closed = np.isin(hours // 24, rng.choice(2 * N // 24, 150, replace=False))
    season = (hours[~closed] % 168).astype(np.int16)[:N]
    series, out = sell(rng, np.flatnonzero(season == 34).tolist(), rate=0.5, stock=60)
    plain = plain_fit(series)
    learned = learn_rhythm(series, plain, Prior(0.02, 0.02), [WEEK], season, to_beat=-np.inf)
    assert learned.rhythm.period == WEEK
    briers = [np.mean((f.smoothed.p_out - out) ** 2) for f in (plain, learned.fit)]
    assert briers[1] < 0.5 * briers[0]
