"""P(out of stock) over time, kept where it is not negligible.

A product is in stock beyond doubt most of the time, so its probability is stored
as a few piecewise-constant segments: a category of 1,000 products x 200,000
intervals would otherwise be 1.6 GB per quantity.
"""

from __future__ import annotations

from dataclasses import dataclass

import numba
import numpy as np
from numpy.typing import NDArray

from retail_assets.models.panel import Spans

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

# Below FLOOR a probability counts as 0; a segment ends where it moves by STEP.
FLOOR = 0.02
STEP = 0.05


@dataclass(frozen=True)
class SoftSpans:
    """Disjoint ascending segments of one product with the mean P(out) of each."""

    start: Ints
    stop: Ints
    p_out: Floats

    @staticmethod
    def empty() -> SoftSpans:
        return SoftSpans(np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0))

    @staticmethod
    def of(p_out: Floats, floor: float = FLOOR, step: float = STEP) -> SoftSpans:
        """Compress a (T,) probability; it is met within ``step`` (``floor`` near 0)."""
        return SoftSpans(*_compress(p_out, floor, step))

    def likely_out(self) -> tuple[Ints, Ints]:
        """Starts and stops of the spells with P(out) > .5."""
        likely = self.p_out > 0.5
        start, stop = self.start[likely], self.stop[likely]
        joint = start[1:] == stop[:-1]
        return start[np.append(True, ~joint)[: len(start)]], stop[
            np.append(~joint, True)[: len(stop)]
        ]

    def add_to(self, total: Floats, scale: float) -> None:
        """Add ``scale x P(out)`` to a (T,) array in place."""
        add_segments(total, self.start, self.stop, self.p_out, scale)


def join(parts: list[SoftSpans]) -> tuple[Spans, Floats]:
    """All products of a store in CSR form, and the probability of each span."""
    spans = Spans.join([(part.start, part.stop) for part in parts])
    return spans, np.concatenate([part.p_out for part in parts] or [np.empty(0)])


def hard_runs(p_out: Floats, threshold: float = 0.5) -> tuple[Ints, Ints]:
    """Starts and stops of the spells with P(out) > threshold."""
    steps = np.diff(np.concatenate([[0], (p_out > threshold).astype(np.int8), [0]]))
    return np.flatnonzero(steps == 1), np.flatnonzero(steps == -1)


@numba.njit(cache=True, nogil=True)
def add_segments(total: Floats, start: Ints, stop: Ints, value: Floats, scale: float) -> None:
    for m in range(len(start)):
        for t in range(start[m], stop[m]):
            total[t] += scale * value[m]


@numba.njit(cache=True, nogil=True)
def _compress(p_out: Floats, floor: float, step: float) -> tuple[Ints, Ints, Floats]:
    n = len(p_out)
    size = 0
    for fill in range(2):
        if fill == 1:
            start, stop = np.empty(size, np.int64), np.empty(size, np.int64)
            value = np.empty(size)
        m, t = 0, 0
        while t < n:
            if p_out[t] <= floor:
                t += 1
                continue
            low, high, total, first = p_out[t], p_out[t], 0.0, t
            while t < n and p_out[t] > floor:
                low, high = min(low, p_out[t]), max(high, p_out[t])
                if high - low > step:
                    break
                total += p_out[t]
                t += 1
            if fill == 1:
                start[m], stop[m], value[m] = first, t, total / (t - first)
            m += 1
        size = m
    return start, stop, value
