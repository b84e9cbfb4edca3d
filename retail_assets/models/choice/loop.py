"""The compiled part of `replay`: numba kernels on plain arrays.

Nothing here validates; `replay` does. A product kept from customers (a forced
outage) has its stock moved from the shelf to the back room, so that the inner
loop asks one question only: is anything on the shelf?
"""

# mypy: disable-error-code="no-untyped-def"

from __future__ import annotations

import numba
import numpy as np

# Rows of the table of totals.
DIRECT, SUB_IN, SUB_OUT, LOST, UNITS, SUB_UNITS, OUT = range(7)
N_TOTALS = 7
# Kinds of events, in the order they happen at the start of one interval.
ARRIVAL, SHRINKAGE, REVIEW, FORCED_STOP, FORCED_START = range(5)


@numba.njit(cache=True)
def serve(first, until, interval, choices, units, shelf, out_since, totals, log):
    """Serve customers from ``first`` on who come before interval ``until``.

    Returns the first customer who was not served.
    """
    record, outcome, taken, ran_out, n_ran_out = log
    for customer in range(first, len(units)):
        if interval[customer] >= until:
            return customer
        wanted = choices[customer, 0]
        if wanted < 0:
            continue
        bought = wanted
        if shelf[wanted] > 0:
            totals[DIRECT, wanted] += 1
        else:
            bought = first_available(choices[customer], shelf)
            if bought < 0:
                totals[LOST, wanted] += 1
                continue
            totals[SUB_OUT, wanted] += 1
            totals[SUB_IN, bought] += 1
            totals[SUB_UNITS, bought] += min(shelf[bought], np.int64(units[customer]))
        took = min(shelf[bought], np.int64(units[customer]))
        shelf[bought] -= took
        totals[UNITS, bought] += took
        if shelf[bought] == 0:
            out_since[bought] = interval[customer] + 1
            if record:
                ran_out[n_ran_out[0], 0] = interval[customer]
                ran_out[n_ran_out[0], 1] = bought
                n_ran_out[0] += 1
        if record:
            outcome[customer] = bought
            taken[customer] = took
    return len(units)


@numba.njit(cache=True)
def first_available(choices, shelf):
    """The first product after the first choice that is on the shelf; -1 if none."""
    for rank in range(1, len(choices)):
        product = choices[rank]
        if product < 0:
            return -1
        if shelf[product] > 0:
            return product
    return -1


@numba.njit(cache=True)
def timetable(review, arrival, shrink_at, forced_start, forced_stop, n_intervals):
    """All events in order of (interval, kind): their time, kind and index.

    A counting sort: events are put in kind by kind, so the order within an interval
    is the order of the kinds. Zero-lead arrivals happen at their review.
    """
    count = np.zeros(n_intervals + 1, np.int64)
    total = 2 * len(review) + len(shrink_at) + 2 * len(forced_start)
    time = np.empty(total, np.int64)
    kind = np.empty(total, np.int8)
    index = np.empty(total, np.int64)
    for placing in range(2):
        for which, times in (
            (ARRIVAL, arrival),
            (SHRINKAGE, shrink_at),
            (REVIEW, review),
            (FORCED_STOP, forced_stop),
            (FORCED_START, forced_start),
        ):
            for i in range(len(times)):
                t = times[i]
                if t >= n_intervals or (which == ARRIVAL and t == review[i]):
                    continue
                if placing:
                    slot = count[t]
                    time[slot], kind[slot], index[slot] = t, which, i
                    count[t] += 1
                else:
                    count[t + 1] += 1
        if not placing:
            count = np.cumsum(count)
    n = count[n_intervals]
    return time[:n], kind[:n], index[:n]


@numba.njit(cache=True)
def put_on_shelf(product, units, t, stock, out_since, totals, spans, n_spans, record):
    """Units come in at the start of interval ``t``; an outage may end."""
    shelf, back_room, hidden = stock
    if hidden[product]:
        back_room[product] += units
        return
    if shelf[product] == 0 and units > 0:
        since = out_since[product]
        totals[OUT, product] += t - since
        if record and t > since:
            spans[n_spans[0], 0] = product
            spans[n_spans[0], 1] = since
            spans[n_spans[0], 2] = t
            n_spans[0] += 1
    shelf[product] += units


@numba.njit(cache=True)
def order(i, orders, ordered, on_order, stock):
    """Review ``i``: units to order, from the position and the product's levels."""
    owner, _, _, order_up_to, reorder_point = orders
    shelf, back_room, _ = stock
    product = owner[i]
    position = shelf[product] + back_room[product] + on_order[product]
    if position > reorder_point[product] or position >= order_up_to[product]:
        return 0
    ordered[i] = order_up_to[product] - position
    on_order[product] += ordered[i]
    return ordered[i]


@numba.njit(cache=True)
def shrink(product, units, t, stock, out_since):
    """Units vanish, wherever they are kept; at most what is there."""
    shelf, back_room, hidden = stock
    held = back_room if hidden[product] else shelf
    gone = min(held[product], units)
    held[product] -= gone
    if gone > 0 and held[product] == 0 and not hidden[product]:
        out_since[product] = t


@numba.njit(cache=True)
def hide(product, t, stock, out_since):
    """A forced outage begins: the shelf's stock goes to the back room."""
    shelf, back_room, hidden = stock
    if shelf[product] > 0:
        out_since[product] = t
    back_room[product], shelf[product] = shelf[product], 0
    hidden[product] = True


@numba.njit(cache=True)
def horizon(
    interval,
    choices,
    units,
    initial,
    orders,
    shrinkage,
    forced,
    n_intervals,
    record,
    outcome,
    taken,
):
    """One store over the whole horizon; see `replay.replay` for the rules."""
    owner, review, arrival, _, _ = orders
    shrink_at, shrink_product, shrink_units = shrinkage
    forced_product, forced_start, forced_stop = forced
    n = len(initial)
    shelf, back_room, hidden = initial.copy(), np.zeros(n, np.int64), np.zeros(n, np.bool_)
    stock = (shelf, back_room, hidden)
    totals, out_since = np.zeros((N_TOTALS, n), np.int64), np.zeros(n, np.int64)
    ordered, on_order = np.zeros(len(review), np.int64), np.zeros(n, np.int64)
    # A shelf can be emptied once per filling: the start, an order, a forced outage's end.
    room = 2 * n + len(review) + len(forced_start) if record else 0
    spans, ran_out = np.empty((room, 3), np.int64), np.empty((room, 2), np.int64)
    n_spans, n_ran_out = np.zeros(1, np.int64), np.zeros(1, np.int64)
    log = (record, outcome, taken, ran_out, n_ran_out)
    keep = (totals, spans, n_spans, record)

    time, kind, index = timetable(
        review, arrival, shrink_at, forced_start, forced_stop, n_intervals
    )
    customer = 0
    for event in range(len(time)):
        t, i = time[event], index[event]
        if kind[event] == ARRIVAL and ordered[i] == 0:
            continue
        if customer < len(units) and interval[customer] < t:
            customer = serve(customer, t, interval, choices, units, shelf, out_since, totals, log)
        if kind[event] == REVIEW:
            units_in = order(i, orders, ordered, on_order, stock)
            if units_in > 0 and arrival[i] == t:
                on_order[owner[i]] -= units_in
                put_on_shelf(owner[i], units_in, t, stock, out_since, *keep)
        elif kind[event] == ARRIVAL:
            on_order[owner[i]] -= ordered[i]
            put_on_shelf(owner[i], ordered[i], t, stock, out_since, *keep)
        elif kind[event] == SHRINKAGE:
            shrink(shrink_product[i], shrink_units[i], t, stock, out_since)
        elif kind[event] == FORCED_STOP:
            product = forced_product[i]
            returning, back_room[product] = back_room[product], 0
            hidden[product] = False
            put_on_shelf(product, returning, t, stock, out_since, *keep)
        else:
            hide(forced_product[i], t, stock, out_since)
    serve(customer, n_intervals, interval, choices, units, shelf, out_since, totals, log)
    for product in range(n):
        if shelf[product] == 0:
            hidden[product] = False
            put_on_shelf(product, 1, n_intervals, stock, out_since, *keep)
    return totals, spans[: n_spans[0]], ran_out[: n_ran_out[0]]


@numba.njit(cache=True)
def seasons(interval, choices, units, indptr, stock):
    """Totals (R, 7, n) of single seasons; ``stock`` (R, n) is used up."""
    n_seasons, n = stock.shape
    totals = np.zeros((n_seasons, N_TOTALS, n), np.int64)
    out_since = np.zeros(n, np.int64)
    nothing = np.empty(0, np.int16)
    log = (False, nothing, nothing, np.empty((0, 2), np.int64), np.zeros(1, np.int64))
    for season in range(n_seasons):
        a, b = indptr[season], indptr[season + 1]
        serve(
            0,
            np.iinfo(np.int64).max,
            interval[a:b],
            choices[a:b],
            units[a:b],
            stock[season],
            out_since,
            totals[season],
            log,
        )
    return totals
