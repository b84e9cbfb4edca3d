"""The zero-run test against a loop in plain Python."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from retail_assets.models.stockouts.zero_runs import (
    corrected_test,
    literal_test,
    runs_without_sale,
)


def plain_runs(counts):
    runs, start = [], None
    for t, c in enumerate([*counts, 1]):
        if c == 0 and start is None:
            start = t
        if c > 0 and start is not None:
            runs.append((start, t))
            start = None
    return runs


def plain_corrected(counts, weight, threshold=1e-4):
    """Poisson twin: rate = sales / weight of the intervals not yet flagged, until it settles."""
    runs, flagged = plain_runs(counts), set()
    while True:
        seen = sum(w for t, w in enumerate(weight) if not any(a <= t < b for a, b in flagged))
        rate = sum(counts) / seen
        p = {run: math.exp(-rate * sum(weight[run[0] : run[1]])) for run in runs}
        more = flagged | {run for run in runs if p[run] < threshold}
        if more == flagged:
            return rate, p, flagged
        flagged = more


def sparse(counts):
    counts = np.asarray(counts)
    interval = np.flatnonzero(counts).astype(np.int32)
    return interval, counts[interval].astype(np.int32)


def gappy_counts(seed, n=600):
    rng = np.random.default_rng(seed)
    counts = rng.poisson(0.4, n)
    counts[100:160] = 0
    counts[300:430] = 0
    return counts, rng.uniform(0.5, 1.5, n)


@given(st.lists(st.integers(0, 2), min_size=1, max_size=60))
@settings(deadline=None, max_examples=200)
def test_runs_equal_those_of_a_plain_loop(counts):
    start, stop = runs_without_sale(sparse(counts)[0], len(counts))
    assert list(zip(start.tolist(), stop.tolist(), strict=True)) == plain_runs(counts)


@pytest.mark.parametrize("seed", range(5))
def test_the_corrected_test_equals_a_plain_loop(seed):
    counts, weight = gappy_counts(seed)
    rate, p, flagged = plain_corrected(counts.tolist(), weight.tolist())
    test = corrected_test(*sparse(counts), weight, dispersed=False)
    assert test.arrival_rate == pytest.approx(rate, rel=1e-9)
    runs = list(zip(test.start.tolist(), test.stop.tolist(), strict=True))
    assert set(zip(*(edge.tolist() for edge in test.out), strict=True)) == flagged
    np.testing.assert_allclose(test.neglog10_p, [-math.log10(p[r]) for r in runs], rtol=1e-9)


def test_the_literal_rate_is_that_of_intervals_with_sales():
    counts, _ = gappy_counts(9)
    test = literal_test(*sparse(counts), len(counts))
    assert test.arrival_rate == pytest.approx(counts[counts > 0].mean())
    length = test.stop - test.start
    np.testing.assert_array_equal(
        test.flagged, np.exp(-test.arrival_rate * length) < test.threshold
    )


def test_the_literal_rule_condemns_a_slow_seller_and_the_corrected_one_does_not():
    counts = np.random.default_rng(1).poisson(0.02, 20_000)
    interval, transactions = sparse(counts)
    literal = literal_test(interval, transactions, 20_000)
    corrected = corrected_test(interval, transactions, np.ones(20_000))
    share = [(t.out[1] - t.out[0]).sum() / 20_000 for t in (literal, corrected)]
    assert share[0] > 0.7
    assert share[1] < 0.05


def test_the_corrected_rate_is_unbiased_with_stock_outs():
    rng = np.random.default_rng(2)
    counts = rng.poisson(0.3, 50_000)
    for start in range(500, 50_000, 1000):
        counts[start : start + 250] = 0
    test = corrected_test(*sparse(counts), np.ones(50_000))
    assert test.arrival_rate == pytest.approx(0.3, rel=0.03)


def test_dispersed_sales_make_a_silence_less_surprising():
    rng = np.random.default_rng(3)
    counts = rng.poisson(3 * rng.gamma(0.5, 2.0, 5_000))
    test = corrected_test(*sparse(counts), np.ones(5_000))
    poisson = corrected_test(*sparse(counts), np.ones(5_000), dispersed=False)
    assert test.dispersion == pytest.approx(2.0, rel=0.15)
    assert not test.flagged.any()
    assert poisson.flagged.any()


@pytest.mark.parametrize("counts", [[0, 0, 0, 0], [0, 0, 3, 0], [5], [0]])
def test_tiny_series_are_tested_without_complaint(counts):
    test = corrected_test(*sparse(counts), np.ones(len(counts)))
    assert np.isfinite(test.neglog10_p).all()
    assert not test.flagged.any()


def test_only_flagged_runs_are_out_of_stock():
    counts, _ = gappy_counts(4)
    start, stop = corrected_test(*sparse(counts), np.ones(600)).out
    assert len(start) == 2
    assert start[0] <= 100
    assert stop[1] >= 430
    assert len(corrected_test(*sparse(np.zeros(600, np.int32)), np.ones(600)).out[0]) == 0
