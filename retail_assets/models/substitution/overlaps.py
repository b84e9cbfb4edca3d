"""Sufficient statistics of a large category, pair by pair.

While nothing changes, a target's sales are Poisson with rate λ_j + Σ_i o_i λ_i α_ij:
linear in ``(λ_j, α_·j)``. What source ``i`` says about it is then three numbers - how long
``i`` was out while ``j`` was there, what ``j`` sold in that time, and how long the other
sources were out at the same time. So nothing is enumerated (patterns allow a target 12
sources), and every product can be a source of every other.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from retail_assets.models.panel import Panel, Spans
from retail_assets.models.substitution.sparse import lay_out_target, sum_over_spans

CHUNK = 4096


@dataclass(frozen=True)
class Overlaps:
    """Exposure and sales of every target with every source out.

    Parameters
    ----------
    together : (S, n, n) float64
        Exposure with both products out; a product's own on the diagonal.
    alone : (S, n, n) float64
        [s, j, i]: exposure with source ``i`` out and target ``j`` in stock.
    sold : (S, n, n) float64
        Transactions of ``j`` meanwhile.
    exposure, counts : (S, n) float64
        Of each target over all of its time in stock.
    """

    together: NDArray[np.float64]
    alone: NDArray[np.float64]
    sold: NDArray[np.float64]
    exposure: NDArray[np.float64]
    counts: NDArray[np.float64]

    @property
    def exposure_out(self) -> NDArray[np.float64]:
        """(S, n) exposure during which each product was out."""
        gone: NDArray[np.float64] = np.diagonal(self.together, axis1=1, axis2=2).copy()
        return gone


def overlap_statistics(
    panel: Panel, out: Sequence[Spans], weight: Sequence[NDArray[np.float64]]
) -> Overlaps:
    """Count overlaps of outages; one product's series is laid out at a time.

    Parameters
    ----------
    panel, out, weight
        As in `patterns.availability_statistics`; any number of products.
    """
    n, n_stores = panel.n_products, len(panel.stores)
    alone, sold = np.zeros((n_stores, n, n)), np.zeros((n_stores, n, n))
    exposure, counts = np.zeros((n_stores, n)), np.zeros((n_stores, n))
    for s, store in enumerate(panel.stores):
        spans = (out[s].indptr, out[s].start, out[s].stop)
        for j in range(n):
            own = lay_out_target(store, out[s], weight[s], j)
            alone[s, j] = sum_over_spans(own.exposure, *spans)
            sold[s, j] = sum_over_spans(own.counts, *spans)
            exposure[s, j], counts[s, j] = own.exposure[-1], own.counts[-1]
    together = [_together(spans, w) for spans, w in zip(out, weight, strict=True)]
    return Overlaps(np.array(together), alone, sold, exposure, counts)


def _together(out: Spans, weight: NDArray[np.float64]) -> NDArray[np.float64]:
    """(n, n) weight of the intervals in which both products are out."""
    n = out.n_products
    owner = np.repeat(np.arange(n), np.diff(out.indptr))
    total = np.zeros((n, n))
    for first in range(0, len(weight), CHUNK):
        last = min(first + CHUNK, len(weight))
        steps = np.zeros((n, last - first + 1), np.float32)
        inside = (out.start < last) & (out.stop > first)
        np.add.at(steps, (owner[inside], np.maximum(out.start[inside] - first, 0)), 1.0)
        stop = np.minimum(out.stop[inside], last) - first
        np.add.at(steps, (owner[inside], stop), -1.0)
        gone = np.cumsum(steps[:, :-1], axis=1)
        total += (gone * weight[first:last].astype(np.float32)) @ gone.T
    return total
