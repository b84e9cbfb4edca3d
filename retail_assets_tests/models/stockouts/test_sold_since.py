"""Paths with run-outs by the sales since the restock, against enumeration of all paths."""

import itertools

import numpy as np
import pytest

from retail_assets.models.stockouts.kernels import tail_ratio
from retail_assets.models.stockouts.sold_since import (
    MAX_SOLD,
    sample_path,
    sold_since_restock,
)

COUNTS = np.array([1, 0, 0, 2, 1, 0, 1], np.int32)
MEAN = np.full(len(COUNTS), 0.7)
ZERO = np.exp(-MEAN)
HAZARD = np.array([0.3, 0.3, 0.6, 0.3, 0.3, 0.5, 0.3])
ROW = np.zeros(len(COUNTS), np.int16)
INITIAL, OTHERWISE = 0.2, 0.05


def enumerated(after_sale):
    """P(path) by walking every sequence of choices of one unit-step state machine."""
    last = len(after_sale) - 1
    totals = {}

    def walk(t, out, sold, path, weight):
        if weight == 0.0:
            return
        if t == len(COUNTS):
            totals[path] = totals.get(path, 0.0) + weight
            return
        c, path = COUNTS[t], (*path, out)
        h = HAZARD[t + 1] if t + 1 < len(COUNTS) else 0.0
        ends = []
        if out:
            ends.append((True, 0, 1.0 if c == 0 else 0.0))
        elif c == 0:
            ends.append((False, sold, ZERO[t] * (1 - OTHERWISE)))
            ends.append((True, 0, ZERO[t] * OTHERWISE))
        else:
            now = min(sold + c, last)
            q = after_sale[now]
            ends.append((False, now, (1 - q) ** c))
            ends.append((True, 0, (1 - q) ** (c - 1) * q * (1 + tail_ratio(c, MEAN[t], 0.0))))
        for gone, now, p in ends:
            if gone:
                walk(t + 1, True, 0, path, weight * p * (1 - h))
                walk(t + 1, False, 0, path, weight * p * h)
            else:
                walk(t + 1, False, now, path, weight * p)

    walk(0, True, 0, (), INITIAL)
    walk(0, False, last, (), 1 - INITIAL)
    return totals


@pytest.mark.parametrize("after_sale", [[0.3], [0.0, 0.02, 0.6, 0.2]])
def test_each_path_is_drawn_as_often_as_it_is_likely(after_sale):
    rng = np.random.default_rng(0)
    totals = enumerated(np.array(after_sale))
    n_draws = 40_000
    seen = dict.fromkeys(itertools.product((False, True), repeat=len(COUNTS)), 0)
    for _ in range(n_draws):
        path, log_lik = sample_path(
            COUNTS, ZERO, MEAN, HAZARD, np.array([after_sale]), ROW, 0.0, OTHERWISE, INITIAL,
            rng.random(len(COUNTS) + 1),
        )  # fmt: skip
        seen[tuple(path.tolist())] += 1
    total = sum(totals.values())
    assert log_lik == pytest.approx(np.log(total), abs=1e-6)
    for path, count in seen.items():
        p = totals.get(path, 0.0) / total
        assert count / n_draws == pytest.approx(p, abs=4 * np.sqrt(p / n_draws) + 1e-9)


def test_sales_are_counted_from_the_restock():
    counts = np.array([1, 2, 0, 0, 1, 3, 0, 1], np.int32)
    out = np.array([0, 0, 1, 1, 0, 0, 0, 0], bool)
    first = [MAX_SOLD] * 4
    assert sold_since_restock(counts, out).tolist() == [*first, 1, 4, 4, 5]
