"""From demand in steps of the *relative* price to what a sale is solved with.

A curve says what is sold at a price p while p over the mean price of the sale lies in [a, b).
With n items whose prices add up to T, that ratio is p n / T: in whole cents the step is
p n / b < T <= p n / a. Where the total does not matter, a price is read at one total.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Stretches:
    """Rows of curves as stretches of the sale's total.

    Attributes
    ----------
    row : (s,) int64
        Curve row a stretch comes from; sorted by price (its key) and total.
    total_from_cents, total_to_cents : (s,) int64
        First and last total, both included.
    """

    row: Ints
    total_from_cents: Ints
    total_to_cents: Ints


def relative_price(price_cents: Ints, n_items: int, total_cents: Ints) -> Floats:
    """Price over the mean price of a sale, as boosted trees see it: in single precision."""
    ratio = np.asarray(price_cents, np.int64) * n_items / np.asarray(total_cents, np.int64)
    return ratio.astype(np.float32).astype(np.float64)


def first_total_below(price_cents: Ints, n_items: int, bound: Floats, low: int, high: int) -> Ints:
    """Smallest total in low..high at which the relative price is below a bound, (s,).

    ``high + 1`` where there is none. The division only guesses: single precision rounds the
    ratio across the bound up to T / 2**24 totals away (7 at a total of a million euros), so
    the cut moves until the comparison the trees make holds on one side and not on the other.
    """
    price, bound = np.asarray(price_cents, np.int64), np.asarray(bound, np.float64)
    with np.errstate(divide="ignore"):
        guess = np.where(bound > 0, np.floor(price * n_items / np.maximum(bound, 0)) + 1, np.inf)
    cut = np.clip(guess, low, high + 1).astype(np.int64)
    while True:
        early = (cut > low) & (relative_price(price, n_items, np.maximum(cut - 1, 1)) < bound)
        late = (cut <= high) & ~(relative_price(price, n_items, np.minimum(cut, high)) < bound)
        if not (early | late).any():
            return cut
        cut += late.astype(np.int64) - early.astype(np.int64)


def to_totals(
    price_cents: Ints, rel_from: Floats, rel_to: Floats, n_items: int, low: int, high: int
) -> Stretches:
    """Each curve row's stretch of the totals low..high; rows that hold at none are left out.

    Parameters
    ----------
    price_cents : (s,) int64
    rel_from, rel_to : (s,) float64
        The row holds where ``rel_from <= relative price < rel_to``.
    n_items : int
        Items of the sale.
    low, high : int
        Smallest and largest total its prices can have, cents.
    """
    first = first_total_below(price_cents, n_items, rel_to, low, high)
    last = first_total_below(price_cents, n_items, rel_from, low, high) - 1
    row = np.flatnonzero(first <= last)
    return Stretches(row, first[row], last[row])


def merged(stretches: Stretches, key: Ints, values: Floats) -> Stretches:
    """Neighbouring stretches of one price with equal values joined into one.

    Parameters
    ----------
    key : (rows of the curves,) int64
        Equal for the rows of one item's price.
    values : (rows of the curves, v) float64
    """
    order = np.lexsort((stretches.total_from_cents, key[stretches.row]))
    row = stretches.row[order]
    first, last = stretches.total_from_cents[order], stretches.total_to_cents[order]
    goes_on = (
        (key[row[1:]] == key[row[:-1]])
        & (first[1:] == last[:-1] + 1)
        & (values[row[1:]] == values[row[:-1]]).all(axis=1)
    )
    begins = np.flatnonzero(np.append(True, ~goes_on)[: len(row)])
    ends = np.append(begins[1:] - 1, len(row) - 1)[: len(begins)]
    return Stretches(row[begins], first[begins], last[ends])


def at_one_total(stretches: Stretches, total_cents: Ints, low: int, high: int) -> Stretches:
    """Each price read at one total, as if it held at all: the total does not matter.

    Parameters
    ----------
    total_cents : (rows of the curves,) int64
        Total at which a row's price is read, e.g. with all other prices as they are today.
    """
    read = np.clip(total_cents, low, high)[stretches.row]
    holds = (stretches.total_from_cents <= read) & (read <= stretches.total_to_cents)
    row = stretches.row[holds]
    return Stretches(row, np.full(len(row), low), np.full(len(row), high))
