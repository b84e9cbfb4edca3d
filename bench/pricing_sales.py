"""Synthetic sales of any size, and an optimiser that is independent of the one measured."""

from __future__ import annotations

from itertools import pairwise

import numba
import numpy as np
from numpy.typing import NDArray

from retail_assets.models.pricing.candidates import Candidates

THRESHOLDS = np.geomspace(0.15, 4.0, 63)
"""Where a tree model with 64 bins steps in the relative price."""


def sale(
    n_items: int, n_prices: int, rng: np.random.Generator, *, common_ladder: bool = False
) -> Candidates:
    """A sale of .99 prices whose demand falls in the own and in the relative price.

    20 x 10 has about 1,700 totals (340,000 records per total), the source's size.
    """
    msrp = rng.integers(60, 230, n_items)
    fractions = np.linspace(0.3, 0.9, n_prices)
    if common_ladder:
        dollars = np.tile(10 * np.arange(2, n_prices + 2), (n_items, 1))
    else:
        jitter = rng.uniform(-0.02, 0.02, (n_items, n_prices))
        dollars = np.rint(msrp[:, None] * (fractions + jitter)).astype(np.int64)
        dollars = np.sort(dollars, axis=1) + np.arange(n_prices)
    price = dollars * 100 - 1
    stock = rng.integers(5, 80, n_items)
    cost = (price[:, 0] * rng.uniform(0.5, 1.0, n_items)).astype(np.int64)
    level = stock * rng.uniform(0.3, 1.6, n_items)
    own, relative = rng.uniform(0.5, 2.5, n_items), rng.uniform(0.2, 1.5, n_items)
    low, high = int(price[:, 0].sum()), int(price[:, -1].sum())
    # total at which the relative price p n / T crosses each threshold, from dear to cheap
    cut = np.ceil(price[:, :, None] * n_items / THRESHOLDS[::-1]).astype(np.int64)
    start = np.concatenate([np.full((*price.shape, 1), low), cut], axis=2)
    stop = np.concatenate([cut - 1, np.full((*price.shape, 1), high)], axis=2)
    start, stop = np.maximum(start, low), np.minimum(stop, high)
    step = np.append(THRESHOLDS[::-1], THRESHOLDS[0] * 0.9)
    rate = level[:, None, None] * (price / price.mean(axis=1, keepdims=True))[:, :, None] ** (
        -own[:, None, None]
    )
    demand = np.rint(rate * step[None, None, :] ** (-relative[:, None, None]))
    keep = start <= stop
    item, which, _ = np.nonzero(keep)
    return Candidates(
        products=tuple(f"item {i}" for i in range(n_items)),
        units_available=stock,
        cost_cents=cost,
        item=item,
        price_cents=price[item, which],
        total_from_cents=start[keep],
        total_to_cents=stop[keep],
        demand=demand[keep],
        prior_price_cents=price[np.arange(n_items), rng.integers(0, n_prices, n_items)],
    )


def random_sale(rng: np.random.Generator, most_items: int = 20) -> Candidates:
    """A small sale of every kind: ties, equal ladders, odd cents, illegal stretches."""
    n = int(rng.integers(1, most_items + 1))
    kind = rng.integers(0, 4)
    rows: list[tuple[int, int, int, int, float, int]] = []
    ladder = np.sort(rng.choice(np.arange(1, 12), rng.integers(1, 6), replace=False))
    prices = []
    for _ in range(n):
        if kind == 0:
            own = ladder * 10 - 1
        else:
            own = np.sort(rng.choice(np.arange(1, 31), rng.integers(1, 7), replace=False))
        prices.append(own)
    low, high = sum(int(p[0]) for p in prices), sum(int(p[-1]) for p in prices)
    most = 3 if kind == 2 else 60
    for i, own in enumerate(prices):
        for p in own.tolist():
            inner = rng.integers(low, high + 1, rng.integers(0, 5))
            cuts = np.unique(np.concatenate([[low], inner, [high + 1]]))
            for a, b in pairwise(cuts):
                illegal = int(kind == 3 and rng.random() < 0.15)
                rows.append((i, p, int(a), int(b) - 1, float(rng.integers(0, most)), illegal))
    table = np.array(rows)
    return Candidates(
        tuple(f"item {i}" for i in range(n)),
        rng.integers(1, 61, n),
        rng.integers(0, 15, n),
        *(table[:, k].astype(np.int64) for k in range(4)),
        demand=table[:, 4],
        broken=table[:, 5].astype(np.int64),
        rules=("R1",),
        prior_price_cents=np.array([int(rng.choice(p)) for p in prices]),
    )


@numba.njit(cache=True)
def _all_totals(item_ptr, price, low, high, step, seg_ptr, seg_from, seg_to, value):
    """For each total a whole DP with demand read at that total; the best over totals."""
    n = len(item_ptr) - 1
    best = -np.inf
    for total in range(low, high + 1, step):
        width = (total - low) // step
        table = np.full(width + 1, -np.inf)
        table[0] = 0.0
        for i in range(n):
            grown = np.full(width + 1, -np.inf)
            cheapest = price[item_ptr[i]]
            for c in range(item_ptr[i], item_ptr[i + 1]):
                own = -np.inf
                for s in range(seg_ptr[c], seg_ptr[c + 1]):
                    if seg_from[s] <= total <= seg_to[s]:
                        own = value[s]
                if own == -np.inf:
                    continue
                move = (price[c] - cheapest) // step
                for k in range(move, width + 1):
                    if table[k - move] + own > grown[k]:
                        grown[k] = table[k - move] + own
            table = grown
        best = max(best, table[width])
    return best


def full_dp(candidates: Candidates, value: NDArray[np.float64], step: int = 1) -> float:
    """Best sum of ``value`` (one per row) over all totals; minus infinity if none is legal."""
    item, price = candidates.item, candidates.price_cents
    first = np.flatnonzero(np.append(True, (np.diff(item) != 0) | (np.diff(price) != 0)))
    item_ptr = np.searchsorted(item[first], np.arange(len(candidates.products) + 1))
    legal = np.where(candidates.legal, value, -np.inf)
    cheapest, dearest = price[first][item_ptr[:-1]], price[first][item_ptr[1:] - 1]
    return float(
        _all_totals(
            item_ptr, price[first], int(cheapest.sum()), int(dearest.sum()), step,
            np.append(first, len(item)), candidates.total_from_cents,
            candidates.total_to_cents, legal,
        )
    )  # fmt: skip
