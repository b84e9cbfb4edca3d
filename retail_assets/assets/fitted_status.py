"""The stock-out model of a category as the inventory tables hold it, ready to sample from."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from retail_assets.assets.panels import CategoryPanel, StoreClock
from retail_assets.errors import ModelError
from retail_assets.models.panel import Rates
from retail_assets.warehouse import Session

if TYPE_CHECKING:
    from retail_assets.models.stockouts.profile import DemandLevel
    from retail_assets.models.stockouts.rhythm import Rhythm
    from retail_assets.models.stockouts.status import ProductStatus, StatusFit, StatusSpans

HOURS_PER_WEEK = 168

_PROFILE = """
SELECT hour_of_week, business_date, level FROM demand_profile
WHERE category = $category AND store_id = $store ORDER BY hour_of_week, business_date
"""

_PARAMS = """
SELECT * FROM inventory_status_params
WHERE category = $category AND store_id = $store AND product_id = $product
"""

_SPANS = """
SELECT epoch_us(start_ts) AS start, epoch_us(end_ts) AS stop, status = 'out_of_stock' AS out,
       p_out_mean, p_out_start, p_out_end, rule_neglog10_p
FROM inventory_status
WHERE category = $category AND store_id = $store AND product_id = $product ORDER BY start
"""


def restore(session: Session, data: CategoryPanel) -> StatusFit:
    """The fitted status of every store and product.

    Raises
    ------
    ModelError
        When a series of the panel has no inventory status yet.
    """
    from retail_assets.models.stockouts.status import StatusFit, StoreStatus

    stores, n = [], data.panel.n_products
    for clock, store in zip(data.clocks, data.panel.stores, strict=True):
        key = {"category": data.category, "store": store.store_id}
        level = demand_level(session, data.category, store.store_id, clock, store.season)
        fitted = [
            _product(session, key | {"product": product}, clock) for product in data.panel.products
        ]
        statuses, rhythms = zip(*fitted, strict=True)
        stores.append(StoreStatus(store.store_id, level, statuses, rhythms))
    arrival_rate = np.array([[p.params.arrival_rate for p in s.products] for s in stores])
    # Substitution is what comes next; the sampler starts without any.
    return StatusFit(data.panel, tuple(stores), Rates(arrival_rate, np.zeros((n, n))), 0, True)


def demand_level(
    session: Session, category: str, store: str, clock: StoreClock, season: NDArray[np.int16]
) -> DemandLevel:
    """(T,) demand level of one store: its hours times its days, mean 1."""
    from retail_assets.models.stockouts.profile import DemandLevel

    hour, day = np.ones(HOURS_PER_WEEK), np.ones(len(clock.days))
    rows = session.sql(_PROFILE, {"category": category, "store": store}).fetchall()
    for hour_of_week, business_date, level in rows:
        if hour_of_week is not None:
            hour[hour_of_week] = level
        else:
            day[clock.days == np.datetime64(business_date)] = level
    of_day = np.repeat(np.arange(len(day)), np.diff(clock.first_interval))
    weight = hour[season] * day[of_day]
    return DemandLevel(weight / weight.mean(), hour, day)


def _product(
    session: Session, key: dict[str, str], clock: StoreClock
) -> tuple[ProductStatus, Rhythm | None]:
    from retail_assets.models.stockouts.hidden_markov import HmmParams
    from retail_assets.models.stockouts.rhythm import Rhythm
    from retail_assets.models.stockouts.status import ProductStatus

    found = session.sql(_PARAMS, key).to_dicts()
    if not found:
        raise ModelError(
            f"category {key['category']}: no status of {key['product']} in {key['store']}; "
            "materialise inventory_status first"
        )
    row = found[0]
    params = HmmParams(
        arrival_rate=row["arrival_rate"],
        out_after_sale=tuple(row["out_after_sale_by_phase"]),
        out_otherwise=row["out_otherwise"],
        restock_hazard=tuple(row["restock_hazard_by_phase"]),
        dispersion=row["overdispersion"],
        initial_out=row["initial_out"],
    )
    rhythm = None
    if row["rhythm_period"] is not None:
        edges = np.array(row["rhythm_edges"])
        period, offset = row["rhythm_period"], row["rhythm_offset"]
        rhythm = Rhythm(period, edges, offset, row["rhythm_strict"], row["rhythm_by_sales"])
    spans = _spans(session, key, clock)
    status = ProductStatus(
        params=params,
        out_after_sale=_number(row["out_after_sale"]),
        restock_hazard=_number(row["restock_hazard"]),
        spans=spans,
        soft=_soft(spans),
        method=row["method"],
        low_power=row["low_power"],
        expected_sales_per_outage=_number(row["expected_sales_per_outage"]),
        log_lik=_number(row["log_lik"]),
        share_out=row["share_out"],
        converged=row["converged"],
    )
    return status, rhythm


def _spans(session: Session, key: dict[str, str], clock: StoreClock) -> StatusSpans:
    from retail_assets.models.stockouts.status import StatusSpans

    rows = session.sql(_SPANS, key).fetchnumpy()
    start = clock.interval_at(np.asarray(rows["start"], np.int64))
    # A span ends where its last interval does, which may be closing time.
    stop = clock.interval_at(np.asarray(rows["stop"], np.int64) - 1) + 1
    figures = ("p_out_mean", "p_out_start", "p_out_end", "rule_neglog10_p")
    return StatusSpans(
        start, stop, np.asarray(rows["out"], bool), *(np.asarray(rows[f], float) for f in figures)
    )


def _soft(spans: StatusSpans) -> Any:
    from retail_assets.models.stockouts.soft_spans import SoftSpans

    return SoftSpans(spans.start[spans.out], spans.stop[spans.out], spans.p_out_mean[spans.out])


def _number(value: float | None) -> float:
    return float("nan") if value is None else float(value)


IMPUTATIONS = 5
"""Sampled histories of a large category; each costs 8 s at 1,000 products."""


def path_sampler(status: StatusFit, *, seed: int) -> Any:
    """What `fit_posterior` draws status histories from.

    Up to 15 products, whole histories of all products given each other and the rates;
    beyond, histories product by product, drawn once.
    """
    from retail_assets.models.stockouts.joint_paths import MAX_PRODUCTS, JointPaths

    if status.panel.n_products <= MAX_PRODUCTS:
        return JointPaths(status)
    rng = np.random.default_rng(seed)
    return [status.sample_out(rng) for _ in range(IMPUTATIONS)]
