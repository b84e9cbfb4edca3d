"""The compiled customer loop against a plain Python twin, and its rules one by one."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.plain_replay import plain_replay, plain_season
from retail_assets.models.choice.replay import Customers, Replenishment, replay, replay_seasons
from retail_assets.models.panel import Spans

TOTALS = (
    "first_choice",
    "sales",
    "substituted_in",
    "substituted_out",
    "lost",
    "sold_units",
    "substituted_units",
    "out_intervals",
)


def customers_of(rows):
    """Customers from (interval, list, units) rows."""
    width = max([len(wishes) for _, wishes, _ in rows] + [1])
    lists = [list(wishes) + [-1] * (width - len(wishes)) for _, wishes, _ in rows]
    return Customers(
        np.array([row[0] for row in rows], np.int32),
        np.array(lists, np.int16).reshape(len(rows), width),
        np.array([row[2] for row in rows], np.int16),
    )


def spans_of(per_product):
    parts = [
        (np.array([a for a, _ in spans], np.int64), np.array([b for _, b in spans], np.int64))
        for spans in per_product
    ]
    return Spans.join(parts)


def replenishment_of(reviews, order_up_to, reorder_point):
    flat = [pair for own in reviews for pair in own]
    return Replenishment(
        np.cumsum([0] + [len(own) for own in reviews]),
        np.array([review for review, _ in flat], np.int64),
        np.array([arrival for _, arrival in flat], np.int64),
        np.array(order_up_to),
        np.array(reorder_point),
    )


@st.composite
def histories(draw):
    n, horizon = draw(st.integers(1, 4)), draw(st.integers(1, 25))
    when, product = st.integers(0, horizon - 1), st.integers(0, n - 1)
    wishes = st.lists(product, max_size=3, unique=True)
    rows = draw(st.lists(st.tuples(when, wishes, st.integers(1, 3)), max_size=60))
    reviews = [
        [(t, t + draw(st.integers(0, 8))) for t in sorted(draw(st.sets(when, max_size=8)))]
        for _ in range(n)
    ]
    cuts = [sorted(draw(st.sets(st.integers(0, horizon), max_size=6))) for _ in range(n)]
    return {
        "rows": sorted(rows, key=lambda row: row[0]),
        "initial": [draw(st.integers(0, 6)) for _ in range(n)],
        "horizon": horizon,
        "reviews": reviews,
        "order_up_to": [draw(st.integers(0, 7)) for _ in range(n)],
        "reorder_point": [draw(st.integers(0, 7)) for _ in range(n)],
        "shrinkage": draw(st.lists(st.tuples(when, product, st.integers(0, 4)), max_size=5)),
        "forced": [list(zip(c[::2], c[1::2], strict=False)) for c in cuts],
    }


def assert_same(case):
    shrinkage = np.array(case["shrinkage"], np.int64).reshape(-1, 3).T
    ours = replay(
        customers_of(case["rows"]),
        np.array(case["initial"]),
        replenishment_of(case["reviews"], case["order_up_to"], case["reorder_point"]),
        n_intervals=case["horizon"],
        shrinkage=tuple(shrinkage),
        forced_out=spans_of(case["forced"]),
        record=True,
    )
    twin = plain_replay(
        [row[0] for row in case["rows"]],
        [row[1] for row in case["rows"]],
        [row[2] for row in case["rows"]],
        case["initial"],
        case["horizon"],
        [dict(own) for own in case["reviews"]],
        case["order_up_to"],
        case["reorder_point"],
        case["shrinkage"],
        case["forced"],
    )
    for name in TOTALS:
        assert getattr(ours, name).tolist() == twin[name], name
    assert ours.outcome.tolist() == twin["outcome"]
    assert ours.taken_units.tolist() == twin["taken_units"]
    assert [tuple(row) for row in ours.ran_out.tolist()] == twin["ran_out"]
    n = len(case["initial"])
    out = {(t, j) for j in range(n) for t in np.flatnonzero(ours.out.mask(j, case["horizon"]))}
    assert out == set(twin["out_at_start"])
    for j in range(n):
        start, stop = ours.out.of(j)
        assert np.all(start < stop)
        assert np.all(stop[:-1] < start[1:]), "spans are not maximal"
    return ours


@settings(max_examples=300, deadline=None)
@given(histories())
def test_every_history_equals_the_plain_python_loop(case):
    ours = assert_same(case)
    assert np.array_equal(
        ours.sales, ours.first_choice - ours.substituted_out - ours.lost + ours.substituted_in
    )
    assert ours.substituted_in.sum() == ours.substituted_out.sum()


def test_totals_do_not_depend_on_recording():
    rng = np.random.default_rng(3)
    lists = np.argsort(rng.random((5_000, 6)), axis=1)[:, :4]
    people = Customers(np.sort(rng.integers(0, 400, 5_000)), lists, rng.integers(1, 4, 5_000))
    reviews = [[(t, t + 3) for t in range(j, 400, 7)] for j in range(6)]
    orders = replenishment_of(reviews, [60] * 6, [30] * 6)
    quiet = replay(people, np.full(6, 60), orders, n_intervals=400)
    loud = replay(people, np.full(6, 60), orders, n_intervals=400, record=True)
    for name in TOTALS:
        assert np.array_equal(getattr(quiet, name), getattr(loud, name))
    assert quiet.out is None
    assert len(quiet.outcome) == 0
    assert (loud.outcome >= 0).sum() == quiet.sales.sum()


def test_seasons_equal_one_replay_each_and_the_plain_loop():
    rng = np.random.default_rng(5)
    lists = np.argsort(rng.random((900, 5)), axis=1)[:, :3]
    people = Customers(np.zeros(900), lists, np.ones(900))
    indptr = np.array([0, 250, 250, 600, 900])
    stock = np.array([20, 40, 10, 0, 30])
    seasons = replay_seasons(people, indptr, stock)
    for r, (a, b) in enumerate(itertools.pairwise(indptr)):
        alone = Customers(people.interval[a:b], people.choices[a:b], people.units[a:b])
        one = replay(alone, stock, n_intervals=1)
        for name in TOTALS[:-1]:
            assert np.array_equal(getattr(seasons, name)[r], getattr(one, name))
        assert seasons.sold_units[r].tolist() == plain_season(lists[a:b].tolist(), stock.tolist())


def test_a_customer_takes_what_is_left_of_one_product():
    people = customers_of([(0, [0, 1], 3), (0, [0, 1], 3)])
    happened = replay(people, np.array([2, 9]), n_intervals=1, record=True)
    assert happened.outcome.tolist() == [0, 1]
    assert happened.taken_units.tolist() == [2, 3]


def test_the_interval_of_the_run_out_is_not_yet_an_out_span():
    people = customers_of([(2, [0], 1)])
    happened = replay(people, np.array([1]), n_intervals=5, record=True)
    assert happened.ran_out.tolist() == [[2, 0]]
    assert (happened.out.start.tolist(), happened.out.stop.tolist()) == ([3], [5])


def test_a_forced_outage_keeps_the_stock():
    people = customers_of([(t, [0], 1) for t in range(4)])
    happened = replay(
        people,
        np.array([2]),
        n_intervals=4,
        forced_out=spans_of([[(0, 2)]]),
        record=True,
    )
    assert happened.outcome.tolist() == [-1, -1, 0, 0]


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: customers_of([(3, [0], 1), (2, [0], 1)]), "sorted by interval"),
        (lambda: customers_of([(0, [0], 0)]), "customer 0 wants 0 units"),
        (
            lambda: replay(customers_of([(0, [4], 1)]), np.array([1]), n_intervals=1),
            "wants product 4, but stock is given for 1",
        ),
        (
            lambda: replay(customers_of([(7, [0], 1)]), np.array([1]), n_intervals=5),
            "interval 7, but the horizon ends after 5",
        ),
        (
            lambda: replay(customers_of([]), np.array([3, -1]), n_intervals=1),
            "product 1: initial stock is negative",
        ),
        (lambda: replenishment_of([[(5, 4)]], [1], [1]), "product 0: order reviewed at 5"),
        (lambda: replenishment_of([[], [(5, 6), (2, 6)]], [1, 1], [1, 1]), "product 1: reviews"),
        (
            lambda: replay(
                customers_of([]),
                np.array([3]),
                n_intervals=9,
                forced_out=spans_of([[(1, 4), (3, 5)]]),
            ),
            "product 0: forced outages",
        ),
        (
            lambda: replay(
                customers_of([]),
                np.array([3]),
                n_intervals=9,
                shrinkage=(np.array([9]), np.array([0]), np.array([1])),
            ),
            "shrinkage outside the 9 intervals",
        ),
    ],
)
def test_bad_input_is_named(build, message):
    with pytest.raises(ValueError, match=message):
        build()
