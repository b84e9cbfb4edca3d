"""Counts are checked row by row, and condensed without loss."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from retail_assets.models.cold_start.counts import checked_trials, tail_counts


@pytest.mark.parametrize(
    ("k", "n", "group", "says"),
    [
        ([1, 6], [5, 5], [0, 0], "more successes than trials"),
        ([1, -1], [5, 5], [0, 0], "negative"),
        ([1, float("nan")], [5, 5], [0, 0], "missing"),
        ([1, 2], [5, float("inf")], [0, 0], "not finite"),
        ([1, 2.5], [5, 5], [0, 0], "fractional"),
        ([1, 2], [5, 5], [0, -1], "group is not in"),
        ([1, 2], [5, 5], [0, 0.5], "group is not in"),
    ],
)
def test_a_bad_row_is_named(k, n, group, says):
    with pytest.raises(ValueError, match=rf"row bar-85: .*{says}.*quarantine"):
        checked_trials(k, n, group, names=["bar-70", "bar-85"])


def test_lists_of_different_lengths_are_refused():
    with pytest.raises(ValueError, match="one length"):
        checked_trials([1, 2], [3])
    with pytest.raises(ValueError, match="one entry per style"):
        checked_trials([1, 2], [3, 4], [0])


def test_no_rows_are_fine():
    empty = checked_trials([], [], [], n_groups=3)
    assert empty.total(empty.n).tolist() == [0, 0, 0]


@settings(max_examples=50, deadline=None)
@given(
    st.lists(
        st.tuples(st.integers(0, 3), st.integers(0, 12), st.integers(0, 12)),
        min_size=1,
        max_size=25,
    )
)
def test_tail_counts_are_the_numbers_of_styles_beyond_each_value(rows):
    group = np.array([g for g, _, _ in rows])
    k = np.array([min(a, b) for _, a, b in rows])
    n = np.array([max(a, b) for _, a, b in rows])
    trials = checked_trials(k, n, group, n_groups=4)
    chosen = np.array([g for g in range(4) if (n[group == g] > 0).any()], dtype=np.int64)
    tails = tail_counts(trials, chosen)
    for at, g in enumerate(chosen):
        for which, values in enumerate((k, n - k, n)):
            start, length = tails.start[3 * at + which], tails.length[3 * at + which]
            mine = values[group == g]
            assert length == mine.max()
            expected = [int((mine > r).sum()) for r in range(length)]
            assert tails.count[start : start + length].tolist() == expected
            assert tails.r[start : start + length].tolist() == list(range(length))
