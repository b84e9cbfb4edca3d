"""Pattern statistics against a dense count over every interval."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from retail_assets.models.panel import Panel, Spans, StorePanel
from retail_assets.models.substitution.patterns import (
    availability_statistics,
    partial_exposure,
)


def _random_case(seed: int, n: int = 3, n_intervals: int = 400):
    """A panel whose sales respect random out spans, with the mask and counts laid out."""
    rng = np.random.default_rng(seed)
    out = np.zeros((n, n_intervals), dtype=bool)
    for j in range(n):
        t = int(rng.integers(0, 60))
        while t < n_intervals:
            length = int(rng.integers(1, 30))
            out[j, t : t + length] = True
            t += length + int(rng.integers(1, 60))
    counts = np.where(out, 0, rng.poisson(0.5, (n, n_intervals)))
    parts, indptr, interval, sold = [], [0], [], []
    for j in range(n):
        steps = np.diff(np.concatenate([[0], out[j].astype(int), [0]]))
        parts.append((np.flatnonzero(steps == 1), np.flatnonzero(steps == -1)))
        at = np.flatnonzero(counts[j])
        interval.append(at)
        sold.append(counts[j][at])
        indptr.append(indptr[-1] + len(at))
    store = StorePanel(
        "s",
        np.zeros(n_intervals, np.int16),
        (np.arange(n_intervals) // 50).astype(np.int32),
        np.array(indptr),
        np.concatenate(interval).astype(np.int32),
        np.concatenate(sold).astype(np.int32),
    )
    weight = rng.uniform(0.5, 1.5, n_intervals)
    panel = Panel(tuple("abcdefgh"[:n]), (store,))
    return panel, Spans.join(parts), weight, out, counts


@given(st.integers(0, 10_000))
@settings(max_examples=25, deadline=None)
def test_rows_equal_a_dense_count_per_pattern(seed: int) -> None:
    panel, spans, weight, out, counts = _random_case(seed)
    stats = availability_statistics(panel, [spans], [weight], partial=False)
    for p in range(len(stats.store)):
        same = ((stats.out[p] > 0.5) == out.T).all(axis=1)
        assert stats.exposure[p] == pytest.approx(weight[same].sum())
        assert stats.counts[p] == pytest.approx(counts[:, same].sum(axis=1))
    assert stats.exposure.sum() == pytest.approx(weight.sum())
    assert len(stats.store) == len(np.unique(out.T, axis=0))


@given(st.integers(0, 10_000))
@settings(max_examples=25, deadline=None)
def test_every_transaction_is_counted_once_whatever_is_set_apart(seed: int) -> None:
    panel, spans, weight, _, counts = _random_case(seed)
    stats = availability_statistics(panel, [spans], [weight], folds=2)
    assert stats.counts.sum(axis=0) == pytest.approx(counts.sum(axis=1))
    assert stats.exposure[~stats.stopped].sum() == pytest.approx(weight.sum())
    assert np.all(stats.counts[~stats.observed] == 0)
    assert np.all((stats.out >= 0) & (stats.out <= 1))
    assert np.all(stats.observed[stats.stopped].sum(axis=1) == 1)


def test_the_interval_in_which_stock_runs_out_keeps_its_partial_exposure() -> None:
    # One product, six intervals: sales 1, 0, 2 then out for three.
    store = StorePanel(
        "s",
        np.zeros(6, np.int16),
        np.zeros(6, np.int32),
        np.array([0, 2]),
        np.array([0, 2], np.int32),
        np.array([1, 2], np.int32),
    )
    spans = Spans.join([(np.array([3]), np.array([6]))])
    panel = Panel(("a",), (store,))
    stats = availability_statistics(
        panel, [spans], [np.full(6, 1e-6)], arrival_rate=np.array([[0.1]])
    )
    stopped = np.flatnonzero(stats.stopped)
    assert len(stopped) == 1
    assert stats.exposure[stopped[0]] == pytest.approx(2 / 3 * 1e-6, rel=1e-3)
    assert stats.counts[stopped[0], 0] == 2
    # Seen by the others, the product is out for the last third of that interval.
    shared = (stats.out[:, 0] > 0) & (stats.out[:, 0] < 1)
    assert stats.out[shared, 0] == pytest.approx([1 / 3], rel=1e-3)


def test_partial_exposure_is_the_mean_time_of_the_last_sale() -> None:
    rng = np.random.default_rng(0)
    for c, mu in ((1, 0.2), (3, 2.0), (12, 9.0)):
        times = np.cumsum(rng.exponential(1 / mu, (400_000, c)), axis=1)[:, -1]
        inside = times[times < 1]
        found = partial_exposure(np.array([c]), np.array([mu]))[0]
        assert found == pytest.approx(inside.mean(), abs=5 * inside.std() / np.sqrt(len(inside)))


def test_partial_exposure_keeps_to_its_small_rate_limit_where_probabilities_underflow() -> None:
    c = np.array([1, 7, 40, 400])
    assert partial_exposure(c, np.full(4, 1e-9)) == pytest.approx(c / (c + 1), rel=1e-6)


def test_store_day_cells_reproduce_squared_residuals() -> None:
    panel, spans, weight, out, counts = _random_case(3)
    cells = availability_statistics(panel, [spans], [weight], partial=False).cells
    day = panel.stores[0].day
    rate = 0.4
    for q in range(len(cells.store)):
        same = ((cells.out[q] > 0.5) == out.T).all(axis=1) & ~out[0]
        dense = sum(
            (counts[0, same & (day == d)].sum() - rate * weight[same & (day == d)].sum()) ** 2
            for d in np.unique(day[same])
        )
        found = (
            cells.counts_sq[q, 0] - 2 * rate * cells.cross[q, 0] + rate**2 * cells.exposure_sq[q, 0]
        )
        assert found == pytest.approx(dense, abs=1e-9)


def test_soft_spans_give_the_expected_exposure_out() -> None:
    panel, spans, weight, _, _ = _random_case(5)
    chance = np.random.default_rng(1).uniform(0.1, 1.0, len(spans.start))
    stats = availability_statistics(panel, [spans], [weight], probability=[chance], partial=False)
    for j in range(panel.n_products):
        own = slice(spans.indptr[j], spans.indptr[j + 1])
        spells = zip(spans.start[own], spans.stop[own], chance[own], strict=True)
        expected = sum(p * weight[a:b].sum() for a, b, p in spells)
        assert stats.exposure_out()[0, j] == pytest.approx(expected)


def test_too_many_products_for_patterns_are_refused_with_the_remedy() -> None:
    store = StorePanel(
        "s",
        np.zeros(2, np.int16),
        np.zeros(2, np.int32),
        np.zeros(17, np.int64),
        np.empty(0, np.int32),
        np.empty(0, np.int32),
    )
    nothing = [(np.empty(0, np.int64), np.empty(0, np.int64))] * 16
    panel = Panel(tuple("abcdefghijklmnop"), (store,))
    with pytest.raises(ValueError, match="sparse"):
        availability_statistics(panel, [Spans.join(nothing)], [np.ones(2)])
