"""How much of a normal day each product could sell to: its own customers and its neighbours'.

Sales are not demand: a sold-out product sells nothing, and one whose neighbour is sold out
sells to that neighbour's customers too. Expected sales of product j on a day are
``λ_j x exposure_j`` with

    exposure_j = Σ_t w_t in_j(t) + Σ_i (λ_i α_ij / λ_j) Σ_t w_t out_i(t) in_j(t)

where w_t is the share of a normal day's customers who come in interval t (the one-step model
of the white paper; `retail_assets.models.choice.markov_chain.choice_rates` per interval). The
out-times of different products are independent given the spans' probabilities.

Of a Markov chain, ρ stands for α: the first step of the walk. That is exact while one product
at a time is out; beyond, those who find the second one out too and walk on are left out.
Rates are those of usual prices: on days of its own offer a product's inflow counts for more
of its demand than it is.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from retail_assets.models.panel import Spans

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

CELLS = 2_000_000
"""Segments x products held at once: 16 MB an array, whatever the length of the history."""

LEAST_RATE = 1e-3
"""A product nobody wants first still sells to others' customers, and their ratio to nobody
is infinite: rates count as at least this share of the store's mean rate."""


@dataclass(frozen=True)
class Exposure:
    """Of each product on each business day of one store.

    Parameters
    ----------
    in_stock : (D, n) float64
        Share of a normal day's own customers who found the product.
    inflow : (D, n) float64
        Customers sent by missing neighbours, over its own of a normal day.
    """

    in_stock: Floats
    inflow: Floats

    @property
    def total(self) -> Floats:
        """(D, n) what sales are proportional to."""
        return self.in_stock + self.inflow


def interval_weights(level: Floats, first_interval: Ints, weekday: Ints) -> Floats:
    """Share of the store's normal day of that weekday in each interval.

    Only the shape within the day counts: that Saturdays are busy is for the demand model to
    learn. A day of the usual hours adds up to 1, one that closes at noon to less.

    Parameters
    ----------
    level : (T,) float64
        How busy the interval's hour of the week is.
    first_interval : (D + 1,) int64
        First interval of each business day, and one past the last.
    weekday : (D,) int64
        0 = Monday.

    Returns
    -------
    (T,) float64
    """
    sizes = np.diff(first_interval)
    day = np.repeat(np.arange(len(sizes)), sizes)
    total = np.bincount(day, level, len(sizes))
    if not total.all():  # a day all of whose hours never sold: flat
        level = np.where(total[day] > 0, level, 1.0)
        total = np.bincount(day, level, len(sizes))
    normal = np.ones(7)
    for each in np.unique(weekday):
        own = total[(weekday == each) & (sizes > 0)]
        normal[each] = np.median(own) if len(own) else 1.0
    return np.asarray(level / normal[weekday][day], np.float64)


def daily_exposure(
    weight: Floats,
    first_interval: Ints,
    out: Spans,
    p_out: Floats,
    arrival_rate: Floats,
    substitution_rate: Floats,
    listed: Ints | None = None,
) -> Exposure:
    """Exposure of every product and day of one store.

    Between two ends of spans nothing changes: the work is segments x products, never
    intervals x products x products.

    Parameters
    ----------
    weight, first_interval : (T,) float64, (D + 1,) int64
        From and as in `interval_weights`.
    out : Spans
        Where something is known of each product's stock; beyond, it is in stock.
    p_out : (m,) float64
        P(out of stock) in each of the spans.
    arrival_rate : (n,) float64
        λ; see `LEAST_RATE` where it is 0.
    substitution_rate : (n, n) float64
        α, or ρ of a Markov chain.
    listed : (n, 2) int64, optional
        First interval of each product in the range, and one past its last. Outside it
        neither sells nor is missed.

    Returns
    -------
    Exposure
    """
    n, end = len(arrival_rate), len(weight)
    floor = max(LEAST_RATE * float(np.mean(arrival_rate)), np.finfo(float).tiny)
    ratio = arrival_rate[:, None] * substitution_rate / np.maximum(arrival_rate, floor)
    span = np.tile([0, end], (n, 1)) if listed is None else np.clip(listed, 0, end)
    edges = np.unique(np.concatenate([first_interval, out.start, out.stop, span.ravel()]))
    share = np.diff(np.concatenate([[0.0], np.cumsum(weight)])[edges])
    day = np.searchsorted(first_interval, edges[:-1], side="right") - 1
    owner = np.repeat(np.arange(n), np.diff(out.indptr))
    begin, stop = np.searchsorted(edges, out.start), np.searchsorted(edges, out.stop)
    since, until = np.searchsorted(edges, span).T
    in_stock, inflow = np.zeros((2, len(first_interval) - 1, n))
    every = max(1, CELLS // n)
    for low in range(0, len(share), every):
        high = min(low + every, len(share))
        own = (begin < high) & (stop > low)
        steps = np.zeros((high - low + 1, n))
        np.add.at(steps, (np.maximum(begin[own], low) - low, owner[own]), p_out[own])
        np.add.at(steps, (np.minimum(stop[own], high) - low, owner[own]), -p_out[own])
        here = np.arange(low, high)[:, None]
        carried = (here >= since) & (here < until)
        gone = np.clip(np.cumsum(steps[:-1], axis=0), 0.0, 1.0) * carried
        found = (carried - gone) * share[low:high, None]
        days, first = np.unique(day[low:high], return_index=True)
        in_stock[days] += np.add.reduceat(found, first)
        inflow[days] += np.add.reduceat(found * (gone @ ratio), first)
    return Exposure(in_stock, inflow)
