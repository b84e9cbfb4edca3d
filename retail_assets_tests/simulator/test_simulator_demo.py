"""The demo tells its story, and the shipped files are its files."""

import gzip
from pathlib import Path

import numpy as np
import pytest

import retail_assets
from retail_assets.simulator import simulate, write_landing
from retail_assets.simulator.demo import LAUNCH_85
from retail_assets.simulator.writer import DEFAULT_SEED

SHIPPED = Path(retail_assets.__file__).parents[1] / "data"
SATURDAY = 5


@pytest.fixture(scope="module")
def history():
    return simulate("demo", DEFAULT_SEED)


@pytest.fixture(scope="module")
def bars(history):
    """Per bar over all stores: first choices, receipts, share of Saturday out of stock."""
    category = history.category("bars")
    names = category.spec.products
    first = sum(s.replay.first_choice for s in category.stores)
    receipts = sum(s.replay.sales for s in category.stores)
    out, hours = np.zeros(len(names)), 0
    for calendar, stored in zip(history.calendars, category.stores, strict=True):
        saturday = calendar.season // 24 == SATURDAY
        hours += saturday.sum()
        for j in range(len(names)):
            out[j] += stored.out.mask(j, calendar.n_intervals)[saturday].sum()
    return {n: (first[j], receipts[j], out[j] / hours) for j, n in enumerate(names)}


def test_the_90_is_wanted_most_and_sold_least(bars):
    established = [name for name in bars if name != "bar_85"]
    assert max(established, key=lambda n: bars[n][0]) == "bar_90"
    assert min(established, key=lambda n: bars[n][1]) == "bar_90"
    assert max(established, key=lambda n: bars[n][1]) == "bar_70"


def test_the_90_sells_out_on_saturdays(bars):
    assert bars["bar_90"][2] > 0.65
    assert all(bars[n][2] < 0.25 for n in bars if n not in ("bar_90", "bar_85"))


def test_every_product_has_dozens_of_outages(history):
    for category in history.categories:
        for j, product in enumerate(category.spec.products):
            outages = sum(len(s.out.of(j)[0]) for s in category.stores)
            assert outages >= 48 or product == "bar_85", (product, outages)


def test_the_85_has_three_weeks_of_receipts(history):
    for calendar, stored in zip(history.calendars, history.category("bars").stores, strict=True):
        sold_at = stored.customers.interval[stored.replay.outcome == 1]
        assert calendar.day[sold_at].min() >= LAUNCH_85
        assert len(sold_at) > 40


def test_no_store_trades_on_its_closed_days_and_clocks_change(history):
    for store, calendar in zip(history.spec.stores, history.calendars, strict=True):
        for closed in store.closed:
            assert not calendar.is_open((closed - calendar.first_day).days)
        offsets = (calendar.opens_at // 3600) % 24
        assert len(set(offsets[np.diff(calendar.first_interval) > 0])) >= 2


def test_the_shipped_files_are_what_the_preset_writes(history, tmp_path):
    shipped = {p.relative_to(SHIPPED): p for p in (SHIPPED / "landing").rglob("*.csv*")}
    shipped |= {p.relative_to(SHIPPED): p for p in (SHIPPED / "demo_truth").rglob("*")}
    written = write_landing(history, tmp_path / "landing", tmp_path / "demo_truth")
    assert {p.relative_to(tmp_path) for p in written} == set(shipped)
    for path in written:
        ours, theirs = path.read_bytes(), shipped[path.relative_to(tmp_path)].read_bytes()
        if path.suffix == ".gz":  # zlib versions pack the same text differently
            ours, theirs = gzip.decompress(ours), gzip.decompress(theirs)
        assert ours == theirs, path.name


def test_the_shipped_landing_is_at_most_8_mb():
    assert sum(p.stat().st_size for p in (SHIPPED / "landing").rglob("*")) <= 8e6
