"""Run-length coding loses nothing it promises to keep."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from retail_assets.models.stockouts.soft_spans import FLOOR, STEP, SoftSpans, hard_runs, join
from retail_assets.models.stockouts.status import StatusSpans
from retail_assets.models.stockouts.zero_runs import corrected_test

probabilities = st.lists(st.sampled_from([0.0, 0.01, 0.3, 0.32, 0.49, 0.51, 0.9, 1.0]), min_size=1)


@given(probabilities)
@settings(deadline=None, max_examples=300)
def test_a_probability_survives_compression_within_its_tolerance(values):
    p_out = np.array(values)
    soft = SoftSpans.of(p_out)
    again = np.zeros(len(p_out))
    soft.add_to(again, 1.0)
    assert np.abs(again - p_out).max() <= max(FLOOR, STEP) + 1e-12
    assert (soft.start < soft.stop).all()
    assert (soft.start[1:] >= soft.stop[:-1]).all()


@given(probabilities)
@settings(deadline=None, max_examples=300)
def test_hard_runs_give_the_same_mask_back(values):
    p_out = np.array(values)
    mask = np.zeros(len(p_out), bool)
    for start, stop in zip(*hard_runs(p_out), strict=True):
        assert not mask[max(start - 1, 0) : stop].any()
        mask[start:stop] = True
    np.testing.assert_array_equal(mask, p_out > 0.5)


@given(probabilities)
@settings(deadline=None, max_examples=200)
def test_status_spans_tile_the_horizon_and_alternate(values):
    p_out = np.array(values)
    n = len(p_out)
    sold = np.flatnonzero(p_out == 0.0).astype(np.int32)
    spans = StatusSpans.of(p_out, corrected_test(sold, np.ones(len(sold), np.int32), np.ones(n)))
    assert spans.start[0] == 0
    assert spans.stop[-1] == n
    np.testing.assert_array_equal(spans.start[1:], spans.stop[:-1])
    np.testing.assert_array_equal(spans.out[1:], ~spans.out[:-1])
    np.testing.assert_array_equal(np.repeat(spans.out, spans.n_intervals), p_out > 0.5)
    weighted = spans.p_out_mean @ spans.n_intervals
    np.testing.assert_allclose(weighted, p_out.sum(), atol=1e-9)


def test_products_join_in_order():
    first, second = SoftSpans.of(np.array([0, 0.9, 0.9, 0])), SoftSpans.of(np.array([0.2, 0, 0, 1]))
    spans, p_out = join([first, SoftSpans.empty(), second])
    assert spans.indptr.tolist() == [0, 1, 1, 3]
    assert p_out.tolist() == [0.9, 0.2, 1.0]
