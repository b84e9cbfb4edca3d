"""The compiled part of `unit_differences`: customers through the shop, season by season.

Each takes one unit of the first product of their list that is left. Place ``n`` is
outside the shop: who buys nothing "buys" there, at price 0. Nothing here validates;
`unit_differences` does.
"""

# mypy: disable-error-code="no-untyped-def"

from __future__ import annotations

import numba
import numpy as np

STAYS = -1


@numba.njit(cache=True)
def sales(indptr, choices, quantity, first_choice, sold, substituted_in):
    """Fill the (R, n) totals of each season."""
    for season in range(len(indptr) - 1):
        shelf = quantity.copy()
        for customer in range(indptr[season], indptr[season + 1]):
            for rank in range(choices.shape[1]):
                product = choices[customer, rank]
                if product < 0:
                    break
                first_choice[season, product] += rank == 0
                if shelf[product] > 0:
                    shelf[product] -= 1
                    substituted_in[season, product] += rank > 0
                    break
        sold[season] = quantity - shelf


@numba.njit(cache=True)
def left_over(indptr, choices, quantity):
    """(n,) units left over, summed over seasons; nothing else, so the fastest replay.

    The walk along the list is written out in each kernel: as a function on a row of
    ``choices`` it made this loop 3.8 times slower (64 against 243 M customers/s).
    """
    left = np.zeros_like(quantity)
    for season in range(len(indptr) - 1):
        shelf = quantity.copy()
        for customer in range(indptr[season], indptr[season + 1]):
            for rank in range(choices.shape[1]):
                product = choices[customer, rank]
                if product < 0:
                    break
                if shelf[product] > 0:
                    shelf[product] -= 1
                    break
        left += shelf
    return left


@numba.njit(cache=True)
def differences(indptr, choices, quantity, price, salvage):
    """Sums over seasons: (n,) left over, revenue + salvage gained by +1, and by -1.

    ``quantity``, ``price`` and ``salvage`` are (n + 1,): the last place is outside.

    An extra unit of a product matters to the first customer who passes over its empty
    shelf: they take it, and what they bought instead now has the extra unit. A missing
    unit is missed by the customer who buys the last one; they go on along their list,
    and where they buy now lacks the unit. What is out stays out, so each product is
    left at most once a season, and always for one that is not left yet.
    """
    n = len(quantity) - 1
    left, plus, minus = np.zeros(n, np.int64), np.zeros(n), np.zeros(n)
    extra, missing = new_moves(n + 1), new_moves(n + 1)
    extra_to = extra[0]
    for season in range(len(indptr) - 1):
        shelf = quantity.copy()
        forget(extra)
        forget(missing)
        for customer in range(indptr[season], indptr[season + 1]):
            bought, passes_extra = np.int64(n), False
            for rank in range(choices.shape[1]):
                product = choices[customer, rank]
                if product < 0:
                    break
                if shelf[product] > 0:
                    bought = np.int64(product)
                    break
                passes_extra |= extra_to[product] == STAYS
            if passes_extra:
                for rank in range(choices.shape[1]):
                    product = choices[customer, rank]
                    if product < 0 or product == bought:
                        break
                    if extra_to[product] == STAYS:
                        move(product, bought, price[product] - price[bought], extra)
            if bought == n:
                continue
            shelf[bought] -= 1
            if shelf[bought] == 0:
                instead = next_left(choices, customer, shelf)
                move(bought, instead, price[instead] - price[bought], missing)
        left += shelf[:n]
        plus += settled(extra, salvage)[:n]
        minus += settled(missing, -salvage)[:n]
    return left, plus, minus


@numba.njit(cache=True)
def next_left(choices, customer, shelf):
    """Where a customer buys now that their product is gone; outside if nowhere."""
    for rank in range(choices.shape[1]):
        product = choices[customer, rank]
        if product < 0:
            break
        if shelf[product] > 0:
            return np.int64(product)
    return len(shelf) - 1


@numba.njit(cache=True)
def new_moves(places):
    """Where a product's odd unit went, the money of the step, the steps in order."""
    return (
        np.empty(places, np.int64),
        np.empty(places, np.float64),
        np.empty(places, np.int64),
        np.empty(1, np.int64),
    )


@numba.njit(cache=True)
def forget(moves):
    """A new season: every odd unit is at its own product."""
    moves[0][:] = STAYS
    moves[3][0] = 0


@numba.njit(cache=True)
def move(source, target, money, moves):
    """The odd unit at ``source``, whosever it was, goes to ``target`` for ``money``."""
    to, gain, order, n_moves = moves
    to[source], gain[source] = target, money
    order[n_moves[0]] = source
    n_moves[0] += 1


@numba.njit(cache=True)
def settled(moves, unsold):
    """(n + 1,) money of each place's odd unit; ``unsold`` where it lies at the end."""
    to, gain, order, n_moves = moves
    money = unsold.copy()
    # A place is left after it was gone to, so the last step comes first.
    for i in range(n_moves[0] - 1, -1, -1):
        money[order[i]] = gain[order[i]] + money[to[order[i]]]
    return money
