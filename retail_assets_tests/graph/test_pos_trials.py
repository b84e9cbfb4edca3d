"""Receipts as trials, against a loop over every receipt and product."""

from __future__ import annotations

import itertools
from collections import Counter
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from retail_assets.assets.trials import pos_trials
from retail_assets.settings import Settings
from retail_assets.warehouse import Session, Warehouse

FIRST = date(2026, 3, 2)
PRODUCTS = {"a": "bars", "b": "bars", "c": "drinks"}
STORES = ("north", "south")
OPEN_HOURS = 10
DAYS = 3

receipts = st.lists(
    st.tuples(
        st.sampled_from(STORES),
        st.integers(0, DAYS - 1),
        st.integers(-30, OPEN_HOURS * 60 + 30),  # minutes after opening, also outside the hours
        st.sets(st.sampled_from(sorted(PRODUCTS)), min_size=1),
    ),
    max_size=25,
)
# Hours of the whole period at which a series turns from in stock to out and back.
turns = st.lists(st.integers(1, DAYS * 24 - 1), unique=True, max_size=4).map(sorted)
shelves = st.fixed_dictionaries({(s, p): turns for s in STORES for p in PRODUCTS})


def opening(day: int) -> datetime:
    return datetime(FIRST.year, FIRST.month, FIRST.day, 9, tzinfo=UTC) + timedelta(days=day)


def spans(turned: list[int]) -> list[tuple[datetime, datetime, bool]]:
    begin = opening(0) - timedelta(hours=9)
    edges = [begin + timedelta(hours=h) for h in (0, *turned, DAYS * 24)]
    return [(a, b, i % 2 == 0) for i, (a, b) in enumerate(itertools.pairwise(edges))]


def fill(session: Session, sold: list, shelf: dict) -> None:
    """The tables pos_trials reads."""
    span_rows = [
        {"category": PRODUCTS[p], "store_id": s, "product_id": p, "start_ts": a, "end_ts": b,
         "n_intervals": 1, "p_out_mean": 0.5, "p_out_start": 0.5, "p_out_end": 0.5,
         "status": "in_stock" if there else "out_of_stock", "method": "hmm",
         "low_power": False, "as_of": FIRST}
        for (s, p), turned in shelf.items() for a, b, there in spans(turned)
    ]  # fmt: skip
    days = [
        {"store_id": s, "business_date": FIRST + timedelta(days=d), "open_at": opening(d),
         "close_at": opening(d) + timedelta(hours=OPEN_HOURS), "n_intervals": OPEN_HOURS * 4,
         "grain_minutes": 15, "source": "hours"}
        for s in STORES for d in range(DAYS)
    ]  # fmt: skip
    lines = [
        {"transaction_id": str(i), "line_number": j, "store_id": s, "product_id": p,
         "sold_at": opening(d) + timedelta(minutes=m), "quantity": 1.0, "unit_price": 1,
         "business_date": FIRST + timedelta(days=d), "category": PRODUCTS[p], "net_amount": 1,
         "line_type": "sale", "source_file": "f", "source_row": 10 * i + j}
        for i, (s, d, m, basket) in enumerate(sold) for j, p in enumerate(sorted(basket))
    ]  # fmt: skip
    products = [{"product_id": p, "name": p, "category": c} for p, c in PRODUCTS.items()]
    put(session, "products", products)
    for category in set(PRODUCTS.values()):
        own = [row for row in span_rows if row["category"] == category]
        put(session, "inventory_status", own, category)
    period = (FIRST, FIRST + timedelta(days=DAYS - 1))
    put(session, "trading_days", days, period)
    if lines:
        put(session, "pos_lines", lines, period)


def put(session: Session, table: str, rows: list[dict], scope: object = None) -> None:
    session.replace(table, session.connection.from_df(pd.DataFrame(rows)), scope)


def by_hand(sold: list, shelf: dict) -> dict[tuple[str, date], tuple[int, int]]:
    """A loop over receipts and products."""
    n: Counter[tuple[str, date]] = Counter()
    k: Counter[tuple[str, date]] = Counter()
    for store, day, minute, basket in sold:
        inside = min(max(minute, 0), OPEN_HOURS * 60 - 1e-9)
        rung_at = opening(day) + timedelta(minutes=inside)
        key_day = FIRST + timedelta(days=day)
        for category in {PRODUCTS[p] for p in basket}:
            for product in (p for p, c in PRODUCTS.items() if c == category):
                there = any(a <= rung_at < b and s for a, b, s in spans(shelf[store, product]))
                n[product, key_day] += there or product in basket
                k[product, key_day] += product in basket
    return {key: (count, k[key]) for key, count in n.items() if count}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("trials")


@settings(max_examples=12, deadline=None, derandomize=True)
@given(receipts, shelves)
def test_trials_equal_a_loop_over_receipts_and_products(
    folder: Path, sold: list, shelf: dict
) -> None:
    warehouse = Warehouse(Settings(home=folder / str(len(list(folder.iterdir()))), landing=folder))
    with warehouse.session() as session:
        fill(session, sold, shelf)
    with warehouse.session() as session:
        rows = pos_trials(session, (FIRST, FIRST + timedelta(days=DAYS - 1))).fetchall()
    assert {(p, d): (n, k) for p, _, d, n, k in rows} == by_hand(sold, shelf)
