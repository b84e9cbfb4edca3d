"""The demand level of each interval, redrawn given who was out and the rates.

Step 1's level (seasonal profile x day) is an estimate from the same receipts, and its
error leans with availability: on `seasonal` the exposure with everything on the shelf
was .16 % low on average and off by .30 %, beside a posterior sd of λ of .72 %. Plugged
in, 95 % intervals of λ covered .88. So the profile is redrawn along with the paths.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from retail_assets.models.panel import Panel, Rates, Spans, StorePanel
from retail_assets.models.stockouts.profile import DemandLevel, draw_level
from retail_assets.models.substitution.em import pattern_rates
from retail_assets.models.substitution.sweep import partial_exposure


class LevelDraws:
    """Draws of the demand level given paths and rates; see `profile.draw_level`.

    Parameters
    ----------
    panel : Panel of at most 15 products
    levels : one DemandLevel per store
        Step 1's estimate.
    """

    def __init__(self, panel: Panel, levels: Sequence[DemandLevel]) -> None:
        self._panel, self._levels = panel, list(levels)
        self._sales = [_sales(store) for store in panel.stores]

    def __call__(
        self, rng: np.random.Generator, out: Sequence[Spans], rates: Rates
    ) -> list[NDArray[np.float64]]:
        """(T,) level of each store, mean 1."""
        for s, store in enumerate(self._panel.stores):
            expected = _expected(store, s, out[s], self._levels[s].weight, rates)
            self._levels[s] = draw_level(store, self._sales[s], expected, self._levels[s], rng)
        return [level.weight for level in self._levels]


def _sales(store: StorePanel) -> NDArray[np.float64]:
    """(T,) transactions of the category."""
    total = np.bincount(store.interval, store.transactions, store.n_intervals)
    return total.astype(np.float64)


def _expected(
    store: StorePanel, number: int, out: Spans, weight: NDArray[np.float64], rates: Rates
) -> NDArray[np.float64]:
    """(T,) transactions expected of what was on the shelf, at weight 1."""
    n = out.n_products
    code = np.zeros(store.n_intervals, np.int64)
    for j in range(n):
        code |= out.mask(j, store.n_intervals).astype(np.int64) << j
    present = np.flatnonzero(np.bincount(code, minlength=1 << n))
    row = np.zeros(1 << n, np.int64)
    row[present] = np.arange(len(present))
    pattern = ((present[:, None] >> np.arange(n)) & 1).astype(np.float64)
    rate = pattern_rates(np.full(len(present), number, np.int64), pattern, rates)
    expected: NDArray[np.float64] = rate.sum(axis=1)[row[code]]
    for j in range(n):
        outside = store.unlisted(j)
        if outside is not None:
            expected[outside] -= rate[row[code[outside]], j]
        interval, sold = store.sales(j)
        emptied = np.isin(interval + 1, out.of(j)[0])
        at = interval[emptied]
        own = rate[row[code[at]], j]
        lasted = partial_exposure(sold[emptied].astype(np.int64), weight[at] * own)
        expected[at] -= own * (1.0 - lasted)
    return np.maximum(expected, 0.0)
