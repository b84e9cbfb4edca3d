"""What receipts say of a category's demand: what sold at which price, and who could buy it.

`fill_cells` fills the temporary table ``demand_cells``: units and exposure by product, day
and price, over all stores that charged it. Stores are read one after the other; adding up
after each keeps days x products in DuckDB, never days x products x stores.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from functools import cache
from importlib.resources import files

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from retail_assets.assets.fitted_status import demand_level
from retail_assets.assets.panels import CategoryPanel, load_panel
from retail_assets.models.panel import Spans
from retail_assets.warehouse import Session

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

PAST_DAYS = 56
"""The last eight weeks say which stores trade on which weekday, and what traffic is."""

_KNOWN = "SELECT max(as_of) FROM inventory_status WHERE category = $category"
_STATUS = """
SELECT p.position, epoch_us(start_ts) AS start, epoch_us(end_ts) AS stop, p_out_mean AS p_out
FROM inventory_status JOIN panel_products p USING (product_id)
WHERE category = $category AND store_id = $store ORDER BY position, start
"""
_RATES = """
SELECT store_id, position, mean FROM demand_rates JOIN panel_products USING (product_id)
WHERE category = $category
"""
_SUBSTITUTION = """
SELECT f.position AS source, t.position AS target, mean
FROM substitution_rates r JOIN substitution_diagnostics d USING (category, choice_model)
JOIN panel_products f ON f.product_id = r.from_product
JOIN panel_products t ON t.product_id = r.to_product
WHERE category = $category AND chosen
"""
_SOLD = """
CREATE OR REPLACE TEMP TABLE demand_sold AS
SELECT store_id, position, business_date - DATE '1970-01-01' AS period, sum(units) AS units,
       CASE WHEN sum(net_cents) > 0
            THEN nullif(round(sum(net_cents) / nullif(sum(units), 0)), 0)::BIGINT END AS price
FROM interval_sales JOIN panel_products USING (product_id)
WHERE category = $category GROUP BY ALL
"""
# Of the rows that cover a day, a past sale's price beats all, then a store's own the chain's,
# then the latest begun wins. A sale says nothing of leaflets: nulls lose in arg_max.
_CALENDAR = """
CREATE OR REPLACE TEMP TABLE demand_calendar AS
SELECT position, store_id, valid_from - DATE '1970-01-01' AS since,
       coalesce(valid_to, DATE '9999-12-31') - DATE '1970-01-01' AS until,
       since + CASE WHEN store_id IS NULL THEN 0 ELSE 10000000 END AS choice,
       nullif(round(100 * coalesce(offer_price, regular_price)), 0)::BIGINT AS price,
       coalesce(feature, false)::INTEGER AS feature, coalesce(display, false)::INTEGER AS display
FROM price_calendar JOIN panel_products USING (product_id)
UNION ALL
SELECT position, NULL, starts_at::DATE - DATE '1970-01-01' AS since,
       greatest(coalesce((ends_at - INTERVAL 1 MICROSECOND)::DATE, starts_at::DATE),
                starts_at::DATE) - DATE '1970-01-01', 20000000 + since,
       round(100 * price)::BIGINT, NULL, NULL
FROM sale_events JOIN panel_products USING (product_id) WHERE price > 0
"""
_USUAL = """
CREATE OR REPLACE TEMP TABLE demand_usual AS
SELECT position, round(median(price))::BIGINT AS usual FROM demand_sold GROUP BY ALL
"""
# A store that is always dearer has its own exposure: its price counts at the chain's level,
# or price would seem to do nothing there (slope -1.0 instead of -2 with stores 5 % apart).
# Four weeks of sales tell what is usual.
_LEVELS = """
CREATE OR REPLACE TEMP TABLE demand_store_price AS
SELECT store_id, position, exp(median(ln(price) - usual)) AS ratio FROM (
    SELECT *, avg(ln(price)) OVER (PARTITION BY position, period) AS usual
    FROM demand_sold WHERE price > 0
) GROUP BY ALL HAVING count(*) >= 28
"""
_CELLS = """
CREATE OR REPLACE TEMP TABLE demand_cells (position BIGINT, period BIGINT, price BIGINT,
    exposure DOUBLE, share DOUBLE, units DOUBLE, feature DOUBLE, display DOUBLE)
"""
# Receipts that pay something else than the calendar says tell of an offer it does not hold.
FAR_FROM_LISTED = 0.05
_ADD = f"""
CREATE OR REPLACE TEMP TABLE demand_cells AS
WITH listed AS (
    SELECT e.position, e.period, any_value(exposure) AS exposure, any_value(share) AS share,
           arg_max(price, choice) AS listed,
           coalesce(arg_max(feature, choice), 0) AS feature,
           coalesce(arg_max(display, choice), 0) AS display
    FROM store_exposure e LEFT JOIN demand_calendar c
      ON c.position = e.position AND e.period BETWEEN since AND until
     AND coalesce(store_id, $store) = $store
    GROUP BY e.position, e.period
), known AS (
    SELECT l.*, coalesce(units, 0) AS units,
           CASE WHEN abs(price - listed) > {FAR_FROM_LISTED} * listed THEN price
                ELSE coalesce(listed, price) END AS paid
    FROM listed l LEFT JOIN demand_sold s
      ON s.store_id = $store AND s.position = l.position AND s.period = l.period
), priced AS (
    SELECT k.*, coalesce(paid, last_value(paid IGNORE NULLS) OVER (
        PARTITION BY k.position ORDER BY period), usual) AS exact
    FROM known k LEFT JOIN demand_usual u ON u.position = k.position
)
SELECT position, period, price, sum(exposure) AS exposure, sum(share) AS share,
       sum(units) AS units, sum(feature) AS feature, sum(display) AS display
FROM (
    SELECT p.position, period, round(exact / coalesce(ratio, 1))::BIGINT AS price,
           exposure, share, units, exposure * feature AS feature,
           exposure * display AS display
    FROM priced p LEFT JOIN demand_store_price r
      ON r.store_id = $store AND r.position = p.position
    UNION ALL SELECT * FROM demand_cells
) GROUP BY ALL
"""


@dataclass(frozen=True)
class StoreDemand:
    """Where a category's customers are.

    Parameters
    ----------
    panel : CategoryPanel
    as_of : date
        Last business day of ``demand_cells``: what sales and stock status both know.
    usual : (S, n) float64
        First-choice transactions of a normal open day, per store and product of the panel.
    """

    panel: CategoryPanel
    as_of: date
    usual: Floats

    @property
    def of_product(self) -> Floats:
        """(S, n) each store's share of each product's demand."""
        total = np.maximum(self.usual.sum(axis=0), np.finfo(float).tiny)
        return np.asarray(self.usual / total, np.float64)

    @property
    def of_category(self) -> Floats:
        """(S,) each store's share of the category's demand."""
        total = self.usual.sum(axis=1)
        return np.asarray(total / max(float(total.sum()), np.finfo(float).tiny), np.float64)


def fill_cells(session: Session, category: str) -> StoreDemand:
    """Fill ``demand_cells`` from the receipts of one category.

    ``position`` is a product's place in the panel, ``period`` counts days since 1970 and
    ``price`` cents; ``feature`` and ``display`` are weighted by exposure, ``share`` is the
    exposure of a usual day. A price is that of a past sale, else the calendar's unless
    receipts paid something else, else what was paid that day, else the last one known in
    that store, else the product's median; a store's usual distance to the chain is taken off.
    Without ``inventory_status`` everything counts as in stock; without a substitution
    posterior nothing stands in for anything.

    Raises
    ------
    ModelError
        When the category has no sales.
    """
    panel = load_panel(session, category)
    known = session.sql(_KNOWN, {"category": category}).fetchall()[0][0]
    as_of = min(known or panel.as_of, panel.as_of)
    session.execute(_SOLD, {"category": category})
    for statement in (_CALENDAR, _USUAL, _LEVELS, _CELLS):
        session.execute(statement)
    rates, matrix = _arrival_rates(session, panel), _substitution_rates(session, panel)
    # Intervals of a mean open day: a rate is per interval, and stores trade unequal hours.
    hours = [store.n_intervals / len(c.days) for store, c in _stores(panel)]
    demand = StoreDemand(panel, as_of, rates * np.array(hours)[:, None])
    share = demand.of_product
    for at, (store, clock) in enumerate(_stores(panel)):
        exposure = _exposure(session, panel, at, rates[at], matrix) * share[at]
        exposure[clock.days > np.datetime64(as_of)] = 0.0
        day, position = np.nonzero(exposure)
        period = clock.days.astype(np.int64)[day]
        columns = {"position": position, "period": period, "exposure": exposure[day, position]}
        columns["share"] = share[at][position]
        session.connection.register("store_exposure", pa.table(columns))
        session.execute(_ADD, {"store": store.store_id})
    return demand


def _stores(data: CategoryPanel) -> list[tuple]:
    return list(zip(data.panel.stores, data.clocks, strict=True))


def _exposure(
    session: Session, data: CategoryPanel, at: int, rate: Floats, matrix: Floats
) -> Floats:
    """(D, n) exposure of one store, in its own normal days."""
    from retail_assets.models.demand.calendar import weekday
    from retail_assets.models.demand.exposure import daily_exposure, interval_weights

    store, clock = data.panel.stores[at], data.clocks[at]
    key = {"category": data.category, "store": store.store_id}
    rows = session.sql(_STATUS, key).fetchnumpy()
    start = clock.interval_at(np.asarray(rows["start"], np.int64))
    # A span ends where its last interval does, which may be closing time.
    stop = clock.interval_at(np.asarray(rows["stop"], np.int64) - 1) + 1
    stop = np.minimum(stop, store.n_intervals)
    kept = start < stop
    owner = np.asarray(rows["position"], np.int64)[kept]
    indptr = np.searchsorted(owner, np.arange(data.panel.n_products + 1))
    level = demand_level(session, data.category, store.store_id, clock, store.season).profile
    days = clock.days.astype(np.int64)
    weight = interval_weights(level[store.season], clock.first_interval, weekday(days))
    out, p_out = Spans(indptr, start[kept], stop[kept]), np.asarray(rows["p_out"], float)[kept]
    return daily_exposure(
        weight, clock.first_interval, out, p_out, rate, matrix, store.listed
    ).total


def _arrival_rates(session: Session, data: CategoryPanel) -> Floats:
    """(S, n) first-choice transactions per interval; receipts' own where nothing was fitted."""
    rates = np.empty((len(data.clocks), data.panel.n_products))
    number = {store.store_id: at for at, store in enumerate(data.panel.stores)}
    for at, store in enumerate(data.panel.stores):
        so_far = np.concatenate([[0], np.cumsum(store.transactions)])
        listed = np.tile([0, store.n_intervals], (len(rates[at]), 1))
        first, last = (listed if store.listed is None else store.listed).T
        rates[at] = np.diff(so_far[store.indptr]) / np.maximum(last - first, 1)
    for name, position, mean in session.sql(_RATES, {"category": data.category}).fetchall():
        if name in number:
            rates[number[name], position] = mean
    return rates


def _substitution_rates(session: Session, data: CategoryPanel) -> Floats:
    """(n, n) of the choice model in use; zeros before any fit."""
    matrix = np.zeros((data.panel.n_products,) * 2)
    rows = session.sql(_SUBSTITUTION, {"category": data.category}).fetchnumpy()
    matrix[np.asarray(rows["source"], np.int64), np.asarray(rows["target"], np.int64)] = rows[
        "mean"
    ]
    return matrix


def country_share(demand: StoreDemand) -> dict[str, float]:
    """Share of the category's demand by country; stores whose time zone has none are left out."""
    shares: dict[str, float] = {}
    for clock, share in zip(demand.panel.clocks, demand.of_category, strict=True):
        country = countries().get(clock.timezone)
        if country:
            shares[country] = shares.get(country, 0.0) + float(share)
    return shares


@cache
def countries() -> dict[str, str]:
    """Country code by name of the time zone, as tzdata lists them; older names included."""
    folder = files("tzdata").joinpath("zoneinfo")
    lines = [line.split("\t") for line in folder.joinpath("zone.tab").read_text().splitlines()]
    found = {line[2]: line[0] for line in lines if not line[0].startswith("#")}
    links = [line.split() for line in folder.joinpath("tzdata.zi").read_text().splitlines()]
    for zone, alias in (link[1:3] for link in links if link[:1] == ["L"]):
        if zone in found:
            found.setdefault(alias, found[zone])
    return found


_OPEN = """
SELECT store_id, isodow(business_date) - 1 AS weekday,
       avg((n_intervals > 0 AND business_date <= last_day)::INTEGER) AS share
FROM trading_days JOIN (
    SELECT store_id, min(business_date) AS first_day, max(business_date) AS last_day
    FROM panel_days GROUP BY ALL
) USING (store_id)
WHERE business_date BETWEEN greatest(first_day, $as_of::DATE - $days + 1) AND $as_of GROUP BY ALL
"""


def open_by_weekday(session: Session, demand: StoreDemand) -> Floats:
    """(7, S) how often each store trades on each weekday (0 = Monday), of late."""
    opened = np.zeros((7, len(demand.of_category)))
    number = {store.store_id: at for at, store in enumerate(demand.panel.panel.stores)}
    rows = session.sql(_OPEN, {"as_of": demand.as_of, "days": PAST_DAYS}).fetchall()
    for store, day, share in rows:
        opened[day, number[store]] = share
    return opened


# Receipts of a day on which every store trades; a chance of the cold start is one of them.
_PRIOR = """
WITH traffic AS (
    SELECT sum(receipts / days) AS receipts, sum(units) / sum(lines) AS units FROM (
        SELECT count(DISTINCT (business_date, transaction_id)) AS receipts,
               count(DISTINCT business_date) AS days, sum(quantity) AS units,
               count(DISTINCT (business_date, transaction_id, product_id)) AS lines
        FROM pos_lines WHERE category = $category AND line_type = 'sale'
          AND business_date > (SELECT max(business_date) FROM pos_lines) - $days
        GROUP BY store_id
    )
)
SELECT product_id, p_mean * receipts * units FROM cold_start_posterior, traffic
WHERE product_id IN (SELECT product_id FROM products WHERE category = $category)
QUALIFY row_number() OVER (PARTITION BY product_id ORDER BY source, as_of DESC) = 1
"""


def prior_level(session: Session, category: str, products: Sequence[str], sold: Ints) -> Floats:
    """(n,) units a day expected of products not sold yet: receipts x P(chosen) x units.

    P(chosen) is the newest of ``cold_start_posterior``: by receipts where there is one, else
    by a stylist's or a site's trials. NaN where unknown, and for the products ``sold``.
    """
    level = np.full(len(products), np.nan)
    fresh = np.setdiff1d(np.arange(len(level)), sold)
    if len(fresh):
        rows = session.sql(_PRIOR, {"category": category, "days": PAST_DAYS}).fetchall()
        known = dict(rows)
        level[fresh] = [known.get(products[at]) for at in fresh]
    return level
