"""From a StatusFit to the rows and pictures of the inventory group."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from retail_assets import contract
from retail_assets.assets.panels import CategoryPanel, StoreClock, instants
from retail_assets.report import metadata, plots
from retail_assets.warehouse import Session

if TYPE_CHECKING:
    from retail_assets.models.panel import Panel, StorePanel
    from retail_assets.models.stockouts.score import Reliability
    from retail_assets.models.stockouts.status import ProductStatus, StatusFit, StoreStatus

TIMELINE_DAYS = 60
ASSUMED = "assumed"
"""Method of a status that nothing was inferred from."""


def assumed_in_stock(panel: Panel) -> StatusFit:
    """What stands for a fit where receipts are of some customers only (setting ``receipts``).

    A run without a sale says nothing there: the product was sold to others. So all is in stock,
    with ``low_power`` set and no sweep made; demand levels are those of what was sold.
    """
    from retail_assets.models.panel import Rates
    from retail_assets.models.stockouts.status import StatusFit

    stores = tuple(_in_stock(store) for store in panel.stores)
    rate = np.array([[p.params.arrival_rate for p in store.products] for store in stores])
    n = panel.n_products
    return StatusFit(panel, stores, Rates(rate, np.zeros((n, n))), 0, True)


def _in_stock(store: StorePanel) -> StoreStatus:
    from retail_assets.models.stockouts.hidden_markov import HmmParams
    from retail_assets.models.stockouts.profile import estimate_level
    from retail_assets.models.stockouts.soft_spans import SoftSpans
    from retail_assets.models.stockouts.status import ProductStatus, StatusSpans, StoreStatus

    n, end, nan = len(store.indptr) - 1, store.n_intervals, float("nan")
    listed = np.tile([0, end], (n, 1)) if store.listed is None else store.listed
    sold = np.array([store.sales(product)[1].sum() for product in range(n)])
    rates = sold / np.maximum(listed[:, 1] - listed[:, 0], 1)
    edges = np.zeros(end + 1)
    np.add.at(edges, listed[:, 0], rates)
    np.add.at(edges, listed[:, 1], -rates)
    sales = np.bincount(store.interval, store.transactions, minlength=end)
    level = estimate_level(store, sales.astype(float), np.cumsum(edges[:-1]))
    zero = np.zeros(1)
    products = tuple(
        ProductStatus(
            HmmParams(float(rate), (0.0,), 0.0, (0.0,), initial_out=0.0), 0.0, nan,
            StatusSpans(bounds[:1], bounds[1:], zero > 0, zero, zero, zero, zero),
            SoftSpans.empty(),
            method="rule", low_power=True, expected_sales_per_outage=nan,
            log_lik=nan, share_out=0.0, converged=True,
        )
        for rate, bounds in zip(rates, listed, strict=True)
    )  # fmt: skip
    return StoreStatus(store.store_id, level, products, (None,) * n)


def of_fit(data: CategoryPanel, fit: StatusFit) -> dict[str, pa.Table]:
    """Rows of every table that one fit fills, by table name."""
    return {
        "inventory_status": _spans(data, fit),
        "inventory_status_params": _params(data, fit),
        "demand_profile": _profile(data, fit),
    }


def _series(
    data: CategoryPanel, fit: StatusFit
) -> Iterator[tuple[StoreClock, str, str, ProductStatus]]:
    for clock, store in zip(data.clocks, fit.stores, strict=True):
        for product, status in zip(data.panel.products, store.products, strict=True):
            yield clock, store.store_id, product, status


def _spans(data: CategoryPanel, fit: StatusFit) -> pa.Table:
    parts = []
    for clock, store, product, status in _series(data, fit):
        spans, n = status.spans, len(status.spans.start)
        parts.append(
            pa.table(
                {
                    "category": [data.category] * n,
                    "store_id": [store] * n,
                    "product_id": [product] * n,
                    "start_ts": instants(clock.start(spans.start)),
                    "end_ts": instants(clock.start(spans.stop - 1) + clock.grain),
                    "n_intervals": spans.n_intervals,
                    "p_out_mean": np.clip(spans.p_out_mean, 0, 1),
                    "p_out_start": np.clip(spans.p_out_start, 0, 1),
                    "p_out_end": np.clip(spans.p_out_end, 0, 1),
                    "status": np.where(spans.out, "out_of_stock", "in_stock"),
                    "method": [status.method if fit.sweeps else ASSUMED] * n,
                    "rule_neglog10_p": spans.rule_neglog10_p,
                    "low_power": [status.low_power] * n,
                    "as_of": [data.as_of] * n,
                }
            )
        )
    return pa.concat_tables(parts)


def _params(data: CategoryPanel, fit: StatusFit) -> pa.Table:
    rows = []
    for store in fit.stores:
        named = zip(data.panel.products, store.products, store.rhythms, strict=True)
        for product, status, rhythm in named:
            params = status.params
            rows.append(
                {
                    "category": data.category,
                    "store_id": store.store_id,
                    "product_id": product,
                    "arrival_rate": params.arrival_rate,
                    "out_after_sale": _known(status.out_after_sale),
                    "out_otherwise": params.out_otherwise,
                    "restock_hazard": _known(status.restock_hazard),
                    "dispersion": 1.0 + params.dispersion * params.arrival_rate,
                    "expected_sales_per_outage": _known(status.expected_sales_per_outage),
                    "log_lik": _known(status.log_lik),
                    "share_out": status.share_out,
                    "low_power": status.low_power,
                    "method": status.method,
                    "initial_out": params.initial_out,
                    "overdispersion": params.dispersion,
                    "out_after_sale_by_phase": list(params.out_after_sale),
                    "restock_hazard_by_phase": list(params.restock_hazard),
                    "rhythm_period": rhythm and rhythm.period,
                    "rhythm_edges": rhythm and rhythm.edges.tolist(),
                    "rhythm_offset": rhythm and rhythm.offset,
                    "rhythm_strict": rhythm and rhythm.strict,
                    "rhythm_by_sales": rhythm and rhythm.by_sales,
                    "converged": status.converged,
                    "as_of": data.as_of,
                }
            )
    return pa.Table.from_pylist(rows)


def _profile(data: CategoryPanel, fit: StatusFit) -> pa.Table:
    rows: list[dict[str, Any]] = []
    for clock, store in zip(data.clocks, fit.stores, strict=True):
        base = {"category": data.category, "store_id": store.store_id, "as_of": data.as_of}
        rows += [
            base | {"hour_of_week": hour, "business_date": None, "level": float(level)}
            for hour, level in enumerate(store.level.profile)
        ]
        rows += [
            base | {"hour_of_week": None, "business_date": day.item(), "level": float(level)}
            for day, level in zip(clock.days, store.level.day_level, strict=True)
        ]
    return pa.Table.from_pylist(rows)


_COUNTS = """
SELECT p.position, epoch_us(timezone($timezone, counted_at)) AS instant, on_hand <= 0 AS is_out
FROM stock_counts c JOIN panel_products p USING (product_id) WHERE store_id = $store ORDER BY ALL
"""


def score(
    session: Session, data: CategoryPanel, fit: StatusFit
) -> tuple[pa.Table, Reliability | None]:
    """Inferred status against stock counts; empty where nobody counted or nothing was inferred."""
    from retail_assets.models.stockouts.score import reliability, score_status

    rows, every_p, every_truth = [], [], []
    for at, (clock, store) in enumerate(zip(data.clocks, data.panel.stores, strict=True)):
        counts = session.sql(
            _COUNTS, {"timezone": clock.timezone, "store": store.store_id}
        ).fetchnumpy()
        interval = clock.interval_at(np.asarray(counts["instant"], np.int64))
        position = np.asarray(counts["position"], np.int64)
        known = interval < store.n_intervals
        if store.listed is not None and len(position):
            first, last = store.listed[position].T
            known &= (interval >= first) & (interval < last)
        for product in np.unique(position[known]):
            own = known & (position == product)
            p_out = fit.smoothed(at, int(product)).p_out[interval[own]]
            truth = np.asarray(counts["is_out"], bool)[own]
            result = score_status(p_out, truth)
            every_p.append(p_out)
            every_truth.append(truth)
            rows.append(
                {
                    "category": data.category,
                    "store_id": store.store_id,
                    "product_id": data.panel.products[product],
                    "accuracy": result.accuracy,
                    "type_1": _known(result.type_1),
                    "type_2": _known(result.type_2),
                    "brier": result.brier,
                    "auc": _known(result.auc),
                    "n_counts": result.n,
                }
            )
    if not rows or not fit.sweeps:
        return _nothing("inventory_status_score"), None
    curve = reliability(np.concatenate(every_p), np.concatenate(every_truth))
    return pa.Table.from_pylist(rows), curve


def describe(
    data: CategoryPanel, fit: StatusFit, scored: pa.Table, curve: Reliability | None
) -> dict[str, dict[str, Any]]:
    """Figures and pictures of the run, by table name."""
    series = list(_series(data, fit))
    shares = [status.share_out for *_, status in series]
    weak = [status.low_power for *_, status in series]
    about: dict[str, dict[str, Any]] = {
        "inventory_status": {
            "stockout_share": float(np.mean(shares)),
            "low_power_share": float(np.mean(weak)),
            "store_days_without_receipts": data.days_without_receipts,
            "as_of": str(data.as_of),
            "inferred": bool(fit.sweeps),
            "timeline": metadata.picture(_timeline(data, fit), "stock-out timeline"),
        },
        "inventory_status_params": {"converged": bool(fit.converged), "sweeps": fit.sweeps},
    }
    if curve is not None:
        counts = scored["n_counts"].to_numpy()
        about["inventory_status_score"] = {
            "accuracy": float(np.average(scored["accuracy"].to_numpy(), weights=counts)),
            "brier": float(np.average(scored["brier"].to_numpy(), weights=counts)),
            "mean_reliability_gap": curve.mean_gap,
            "reliability": metadata.picture(
                plots.reliability_curve(curve.forecast, curve.frequency, curve.n),
                "reliability of P(out of stock)",
            ),
        }
    return about


def _timeline(data: CategoryPanel, fit: StatusFit) -> bytes:
    rows, weak = [], []
    for clock, store, product, status in _series(data, fit):
        spans = status.spans
        since = clock.opens[-1] - TIMELINE_DAYS * 86_400_000_000
        begin, end = clock.start(spans.start), clock.start(spans.stop - 1) + clock.grain
        shown = spans.out & (end > since)
        rows.append(
            (
                f"{store} · {product}",
                [
                    (_moment(max(a, since)), _moment(b), float(p))
                    for a, b, p in zip(
                        begin[shown], end[shown], spans.p_out_mean[shown], strict=True
                    )
                ],
            )
        )
        weak.append(status.low_power)
    title = f"{data.category}: out of stock in the last {TIMELINE_DAYS} days"
    return plots.stockout_timeline(rows[:40], title=title, low_power=weak[:40])


def _moment(microseconds: int) -> datetime:
    return datetime.fromtimestamp(int(microseconds) / 1e6, UTC)


def _known(value: float) -> float | None:
    return None if np.isnan(value) else float(value)


def _nothing(name: str) -> pa.Table:
    return pa.table({column: pa.nulls(0) for column in contract.table(name).column_names})
