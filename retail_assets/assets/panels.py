"""One category's sales as the models read them: from interval_sales to a Panel and back.

The clock of each store turns trading intervals into instants. Store-days without any
receipt are data that never came, not days without demand: they are left out and listed.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from retail_assets.errors import ModelError
from retail_assets.models.panel import Panel, StorePanel
from retail_assets.warehouse import Session

MICROSECONDS_PER_MINUTE = 60_000_000
SURELY = 9.21  # -ln 1e-4: expected sales missed before silence stops being chance
NOT_DELISTED_DAYS = 28


@dataclass(frozen=True)
class StoreClock:
    """Trading intervals of one store in time.

    Parameters
    ----------
    first_interval : (D + 1,) int64
        First interval of each business day, and one past the last.
    opens : (D,) int64
        Opening instants, microseconds since 1970 UTC.
    days : (D,) datetime64[D]
        Business days.
    grain : int
        Length of an interval, microseconds.
    timezone : str
    """

    first_interval: NDArray[np.int64]
    opens: NDArray[np.int64]
    days: NDArray[np.datetime64]
    grain: int
    timezone: str

    def start(self, interval: NDArray[np.int64]) -> NDArray[np.int64]:
        """Instants at which intervals begin."""
        day = np.searchsorted(self.first_interval, interval, side="right") - 1
        return self.opens[day] + (interval - self.first_interval[day]) * self.grain

    def first_of(self, day: date, *, after: bool = False) -> int:
        """First interval of a business day, or (``after``) the first one behind it."""
        found = np.searchsorted(self.days, np.datetime64(day + timedelta(days=int(after))))
        return int(self.first_interval[found])

    def interval_at(self, instant: NDArray[np.int64]) -> NDArray[np.int64]:
        """Interval that holds an instant; the next one when closed; T past the end."""
        day = np.maximum(np.searchsorted(self.opens, instant, side="right") - 1, 0)
        within = np.maximum(instant - self.opens[day], 0) // self.grain
        found: NDArray[np.int64] = self.first_interval[day] + within
        last: NDArray[np.int64] = self.first_interval[day + 1]
        return np.minimum(found, last)


@dataclass(frozen=True)
class CategoryPanel:
    """A Panel with the clocks to put its intervals back in time."""

    category: str
    panel: Panel
    clocks: tuple[StoreClock, ...]
    as_of: date
    days_without_receipts: int


_DAYS = """
CREATE OR REPLACE TEMP TABLE panel_days AS
WITH receipts AS (
    SELECT store_id, business_date, sum(transactions) FILTER (category <> $category) AS footfall
    FROM interval_sales GROUP BY ALL
), spans AS (
    SELECT store_id, min(business_date) AS first_day, max(business_date) AS last_day
    FROM receipts GROUP BY ALL
)
SELECT d.*, tz.timezone, $sample OR r.store_id IS NOT NULL AS has_receipts,
       coalesce(r.footfall, 0) AS footfall
FROM trading_days d
JOIN spans s ON d.store_id = s.store_id AND d.business_date BETWEEN first_day AND last_day
JOIN stores tz ON tz.store_id = d.store_id
LEFT JOIN receipts r ON r.store_id = d.store_id AND r.business_date = d.business_date
WHERE n_intervals > 0
"""

_INTERVALS = """
SELECT business_date, epoch_us(open_at) AS opens, n_intervals, grain_minutes, footfall, timezone
FROM panel_days WHERE store_id = $store AND has_receipts ORDER BY business_date
"""

# Hour of the week in the store's own time, 0 = Monday midnight.
_SEASON = """
SELECT (isodow(local) - 1) * 24 + hour(local) AS season FROM (
    SELECT business_date, k,
           (open_at + to_minutes(k * grain_minutes)) AT TIME ZONE timezone AS local
    FROM panel_days, unnest(range(n_intervals)) AS u(k)
    WHERE store_id = $store AND has_receipts
) ORDER BY business_date, k
"""

_SALES = """
WITH days AS (
    SELECT business_date, sum(n_intervals) OVER (ORDER BY business_date) - n_intervals AS first_one
    FROM panel_days WHERE store_id = $store AND has_receipts
)
SELECT p.position, (first_one + interval_of_day)::INTEGER AS interval,
       transactions::INTEGER AS transactions
FROM interval_sales s JOIN days USING (business_date) JOIN panel_products p USING (product_id)
WHERE s.store_id = $store AND s.category = $category ORDER BY ALL
"""

_PRODUCTS = """
CREATE OR REPLACE TEMP TABLE panel_products AS
SELECT product_id, launch_date, delist_date, row_number() OVER (ORDER BY product_id) - 1 AS position
FROM (
    SELECT product_id, any_value(launch_date) AS launch_date, any_value(delist_date) AS delist_date
    FROM products WHERE category = $category
      AND product_id IN (SELECT product_id FROM interval_sales WHERE category = $category)
    GROUP BY ALL
)
"""

_DELIVERIES = """
SELECT p.position, epoch_us(timezone($timezone, delivered_at)) AS instant
FROM deliveries d JOIN panel_products p ON d.product_id IS NULL OR d.product_id = p.product_id
WHERE d.store_id = $store ORDER BY ALL
"""


def load_panel(session: Session, category: str) -> CategoryPanel:
    """Read one category's panel.

    Raises
    ------
    ModelError
        When the category has no sales, or its grain is coarser than a day.
    """
    # In a sample a day without receipts is one without its customers, not one never sent.
    sample = session.warehouse.settings.receipts == "sample"
    session.execute(_DAYS, {"category": category, "sample": sample})
    session.execute(_PRODUCTS, {"category": category})
    products = session.sql("SELECT * FROM panel_products ORDER BY position").fetchall()
    stores = session.sql("SELECT DISTINCT store_id FROM panel_days ORDER BY 1").fetchall()
    if not products or not stores:
        raise ModelError(f"category {category}: no sales yet; materialise interval_sales first")
    lacking, last = session.sql(
        "SELECT count(*) FILTER (NOT has_receipts), max(business_date) FROM panel_days"
    ).fetchall()[0]
    parts = [_store(session, category, store, products) for (store,) in stores]
    return CategoryPanel(
        category,
        Panel(tuple(row[0] for row in products), tuple(panel for panel, _ in parts)),
        tuple(clock for _, clock in parts),
        last,
        int(lacking),
    )


def _store(
    session: Session, category: str, store: str, products: list[tuple]
) -> tuple[StorePanel, StoreClock]:
    days = session.sql(_INTERVALS, {"store": store}).fetchnumpy()
    clock = StoreClock(
        np.concatenate([[0], np.cumsum(days["n_intervals"])]).astype(np.int64),
        np.asarray(days["opens"], np.int64),
        np.asarray(days["business_date"], "datetime64[D]"),
        int(days["grain_minutes"][0]) * MICROSECONDS_PER_MINUTE,
        str(days["timezone"][0]),
    )
    season = session.sql(_SEASON, {"store": store}).fetchnumpy()["season"]
    sales = session.sql(_SALES, {"store": store, "category": category}).fetchnumpy()
    counts = np.bincount(np.asarray(sales["position"], np.int64), minlength=len(products))
    footfall = np.asarray(days["footfall"], np.float64)
    indptr = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
    panel = StorePanel(
        store_id=store,
        season=np.asarray(season, np.int16),
        day=np.repeat(np.arange(len(clock.opens), dtype=np.int32), days["n_intervals"]),
        indptr=indptr,
        interval=np.asarray(sales["interval"], np.int32),
        transactions=np.asarray(sales["transactions"], np.int32),
        footfall=footfall if footfall.any() else None,
        deliveries=_deliveries(session, store, clock, len(products)),
        listed=_listed(products, clock, indptr, np.asarray(sales["interval"], np.int64)),
    )
    return panel, clock


def _deliveries(
    session: Session, store: str, clock: StoreClock, n_products: int
) -> tuple[NDArray[np.int32], ...] | None:
    rows = session.sql(_DELIVERIES, {"store": store, "timezone": clock.timezone}).fetchnumpy()
    if not len(rows["position"]):
        return None
    intervals = clock.interval_at(np.asarray(rows["instant"], np.int64)).astype(np.int32)
    inside = intervals < clock.first_interval[-1]
    return tuple(
        np.unique(intervals[inside & (rows["position"] == product)])
        for product in range(n_products)
    )


def _listed(
    products: list[tuple], clock: StoreClock, indptr: NDArray[np.int64], sold: NDArray[np.int64]
) -> NDArray[np.int64]:
    """When each product was in the range: launch and delist date, else its sales.

    Where no date is known, silence before the first or after the last sale that is too
    long for chance (the threshold of the zero-run test, 1e-4) means not in the range;
    at the end only after 28 days, because until then it is more likely out of stock.
    """
    end = int(clock.first_interval[-1])
    patience = int(NOT_DELISTED_DAYS * end / len(clock.opens))
    bounds = []
    for at, (_, launch, delist, _) in enumerate(products):
        own = sold[indptr[at] : indptr[at + 1]]
        first, last = (int(own[0]), int(own[-1]) + 1) if len(own) else (0, end)
        rate = len(own) / (last - first)
        begin = clock.first_of(launch) if launch else first if rate * first > SURELY else 0
        silence = end - last
        gone = rate * silence > SURELY and silence > patience
        stop = clock.first_of(delist, after=True) if delist else last if gone else end
        bounds.append((min(begin, first), max(stop, last)))
    return np.asarray(bounds, np.int64)


def instants(values: NDArray[np.int64]) -> pa.Array:
    """Microseconds since 1970 as an Arrow column of UTC instants."""
    return pa.array(values, pa.timestamp("us", tz="UTC"))
