"""Between the assortment group's tables and the scenario simulation, both ways."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from retail_assets.assets.fitted_status import demand_level
from retail_assets.assets.panels import CategoryPanel
from retail_assets.errors import ModelError
from retail_assets.models.panel import Rates
from retail_assets.report import assortment_plots, metadata, plots
from retail_assets.warehouse import Session

if TYPE_CHECKING:
    from retail_assets.models.assortment.scenario_rules import Scenario
    from retail_assets.models.assortment.scenarios import ScenarioResult
    from retail_assets.models.assortment.shop import Shop
    from retail_assets.models.assortment.verdicts import ScenarioSummary

HORIZON_DAYS = 91
"""The last quarter's trading intervals are lived through again."""

MINUTES_PER_DAY = 1440

# Prices of the last four weeks of receipts; a store's own shelf row beats the chain's.
_SHELF = """
WITH recent AS (
    SELECT product_id,
           sum(net_amount) FILTER (recently) / nullif(sum(quantity) FILTER (recently), 0) AS now,
           sum(net_amount) / nullif(sum(quantity), 0) AS ever
    FROM (SELECT *, business_date > max(business_date) OVER () - 28 AS recently FROM pos_lines
          WHERE category = $category AND line_type = 'sale')
    GROUP BY ALL
), rows AS (
    SELECT s.*, row_number() OVER (PARTITION BY product_id ORDER BY store_id NULLS LAST) AS choice
    FROM shelf s WHERE coalesce(store_id, $store) = $store
)
SELECT p.position, round(100 * coalesce(now, ever))::BIGINT AS price_cents,
       round(100 * products.unit_cost)::BIGINT AS cost_cents,
       capacity, review_days, lead_time_days, lead_time_sd,
       d.units_per_transaction_mean, d.units_per_transaction_var
FROM panel_products p
JOIN products USING (product_id)
LEFT JOIN recent USING (product_id)
LEFT JOIN rows ON rows.product_id = p.product_id AND choice = 1
LEFT JOIN demand_rates d
  ON d.product_id = p.product_id AND d.store_id = $store AND d.category = $category
ORDER BY p.position
"""

_RATES = """
SELECT choice_model, draw, parameter, store_id, f.position AS source, t.position AS target, value
FROM substitution_posterior r
JOIN panel_products f ON f.product_id = r.from_product
LEFT JOIN panel_products t ON t.product_id = r.to_product
WHERE category = $category AND coalesce(to_product, '') <> 'none' AND draw % $every = 0
ORDER BY choice_model, draw, parameter, store_id, source, target
"""


def scenarios(session: Session, data: CategoryPanel) -> tuple[Scenario, ...]:
    """The category's scenarios from ``rules/scenarios.toml``; dropping each product if none.

    Raises
    ------
    SettingsError
        With the file, the scenario and what is wrong in it.
    """
    from retail_assets.models.assortment.scenario_rules import DropProducts, parse_scenarios

    def parse(rules: Mapping[str, Any]) -> tuple[Scenario, ...]:
        minutes = data.clocks[0].grain / 60e6
        return parse_scenarios(rules, data.category, data.panel.products, minutes)

    found = session.warehouse.settings.read_rules("scenarios.toml", parse)
    if len(found) > 1:
        return found
    return (*found, *(DropProducts(f"drop {p}", (p,)) for p in data.panel.products[:10]))


def shops(session: Session, data: CategoryPanel) -> list[Shop]:
    """Each store's shelf over the last quarter's trading intervals."""
    found = []
    for at, (clock, store) in enumerate(zip(data.clocks, data.panel.stores, strict=True)):
        level = demand_level(session, data.category, store.store_id, clock, store.season)
        found.append(_shop(session, data, at, level.weight))
    return found


def _shop(session: Session, data: CategoryPanel, at: int, weight: NDArray[np.float64]) -> Shop:
    from retail_assets.models.assortment.shop import Shop

    store, clock = data.panel.stores[at], data.clocks[at]
    begin = int(clock.first_interval[max(0, len(clock.opens) - HORIZON_DAYS)])
    elapsed = (clock.opens[-1] - clock.opens[0]) / 60e6 / MINUTES_PER_DAY + 1
    per_day = store.n_intervals / elapsed
    rows = session.sql(_SHELF, {"category": data.category, "store": store.store_id}).fetchnumpy()
    column: dict[str, NDArray[np.float64]] = {
        name: np.ma.filled(np.ma.asarray(v, float), np.nan) for name, v in rows.items()
    }
    carried = store.listed[:, 1] >= store.n_intervals if store.listed is not None else True
    inferred = _inferred_capacity(session, data, at, column["units_per_transaction_mean"])
    capacity = np.where(np.isnan(column["capacity"]), inferred, column["capacity"])
    lead = np.rint(_filled(column["lead_time_days"], 0.0) * per_day).astype(np.int64)
    cost = column["cost_cents"]
    # Where the vans are known, orders are placed a lead time before each, weekends and all.
    reviews = tuple(
        (own[own >= begin + wait] - begin - wait).astype(np.int64)
        for own, wait in zip(store.deliveries or (), lead, strict=False)
    )
    return Shop(
        products=data.panel.products,
        capacity=np.where(carried, capacity, 0).astype(np.int64),
        unit_price_cents=_filled(column["price_cents"], 0.0).astype(np.int64),
        n_intervals=store.n_intervals - begin,
        review=np.maximum(np.rint(_filled(column["review_days"], 7.0) * per_day), 1).astype(int),
        lead=lead,
        reorder_share=np.ones(len(capacity)),
        lead_sd=np.zeros(len(lead)) if reviews else _filled(column["lead_time_sd"], 0.0) * per_day,
        unit_cost_cents=None if np.isnan(cost).any() else cost.astype(np.int64),
        weight=weight[begin:],
        units_mean=np.maximum(_filled(column["units_per_transaction_mean"], 1.0), 1.0),
        units_var=_filled(column["units_per_transaction_var"], 0.0),
        review_times=reviews or None,
    )


def _filled(values: NDArray[np.float64], default: float) -> NDArray[np.float64]:
    return np.where(np.isnan(values), default, values)


_OUTAGES = """
SELECT p.position, epoch_us(start_ts) AS start, epoch_us(end_ts) AS stop
FROM inventory_status s JOIN panel_products p USING (product_id)
WHERE category = $category AND store_id = $store AND status = 'out_of_stock' ORDER BY ALL
"""


def _inferred_capacity(
    session: Session, data: CategoryPanel, at: int, units: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Where no shelf file says it: units a product sells between two stock-outs.

    A lower bound when it is refilled in between; a product never out gets the units of
    its busiest four weeks.
    """
    store, clock = data.panel.stores[at], data.clocks[at]
    rows = session.sql(_OUTAGES, {"category": data.category, "store": store.store_id}).fetchnumpy()
    owner = np.asarray(rows["position"], np.int64)
    start = clock.interval_at(np.asarray(rows["start"], np.int64))
    found = np.zeros(data.panel.n_products)
    for product in range(data.panel.n_products):
        interval, transactions = store.sales(product)
        total = np.concatenate([[0], np.cumsum(transactions)])
        sold = total[np.searchsorted(interval, start[owner == product])]
        if len(sold) > 1:
            found[product] = np.median(np.diff(sold))
        else:
            every = max(1, round(28 * store.n_intervals / len(clock.opens)))
            found[product] = np.bincount(interval // every, transactions).max(initial=1)
    return np.maximum(np.ceil(found * _filled(units, 1.0)), 1)


def draws(session: Session, data: CategoryPanel, most: int = 100) -> list[list[Rates]]:
    """Posterior draws per choice model: one list, or two where the data cannot tell.

    Raises
    ------
    ModelError
        When the category has no substitution posterior yet.
    """
    count = session.sql(
        "SELECT max(draw) + 1 FROM substitution_posterior WHERE category = $category",
        {"category": data.category},
    ).fetchall()[0][0]
    if count is None:
        raise ModelError(f"category {data.category}: materialise substitution_posterior first")
    every = max(1, int(count) // most)
    rows = session.sql(_RATES, {"category": data.category, "every": every}).fetchnumpy()
    models = np.asarray(rows["choice_model"], object)
    return [_draws(data, rows, models == model) for model in dict.fromkeys(models)]


def _draws(data: CategoryPanel, rows: dict[str, Any], own: NDArray[np.bool_]) -> list[Rates]:
    n, stores = data.panel.n_products, [s.store_id for s in data.panel.stores]
    which, draw = np.unique(np.asarray(rows["draw"])[own], return_inverse=True)
    value, source = np.asarray(rows["value"])[own], np.asarray(rows["source"])[own]
    arrivals = np.asarray(rows["parameter"], object)[own] == "arrival_rate"
    position = {store: at for at, store in enumerate(stores)}
    arrival_rate = np.zeros((len(which), len(stores), n))
    store = np.array([position[s] for s in np.asarray(rows["store_id"], object)[own][arrivals]])
    arrival_rate[draw[arrivals], store, source[arrivals]] = value[arrivals]
    rate = np.zeros((len(which), n, n))
    target = np.ma.filled(np.ma.asarray(rows["target"]), 0)[own][~arrivals].astype(np.int64)
    rate[draw[~arrivals], source[~arrivals], target] = value[~arrivals]
    for at, panel in enumerate(data.panel.stores):
        if panel.listed is not None:  # what left the range has no customers any more
            arrival_rate[:, at, panel.listed[:, 1] < panel.n_intervals] = 0.0
    model = rows["choice_model"][np.flatnonzero(own)[0]]
    return [Rates(a, b, model) for a, b in zip(arrival_rate, rate, strict=True)]


def of_results(
    category: str, results: Sequence[ScenarioResult], summaries: Sequence[ScenarioSummary]
) -> dict[str, pa.Table]:
    """Rows of the three tables, of every choice model that was simulated."""
    from retail_assets.models.assortment import scenario_tables as columns

    return {
        "assortment_simulation": pa.concat_tables(
            pa.table(columns.simulation_columns(result, category)) for result in results
        ),
        "assortment_simulation_product": pa.concat_tables(
            pa.table(columns.product_columns(result, category)) for result in results
        ),
        "assortment_scenarios": pa.table(columns.summary_columns(summaries, category)),
    }


def describe(
    category: str,
    results: Sequence[ScenarioResult],
    summaries: Sequence[ScenarioSummary],
    currency: str,
) -> dict[str, dict[str, Any]]:
    """Figures and pictures of the run, by table name."""
    shown = [s for s in summaries if s.verdict != "base"]
    several = len(results) > 1
    names = [f"{s.scenario} ({s.choice_model})" if several else s.scenario for s in shown]
    resolved = [s.verdict != "unresolved" for s in shown]
    forest = plots.scenario_forest(
        names,
        np.array([s.diff_mean for s in shown]) / 100,
        np.array([s.diff_ci_low for s in shown]) / 100,
        np.array([s.diff_ci_high for s in shown]) / 100,
        resolved,
        unit=f"{currency} of {results[0].goal} over the last quarter",
        title=f"{category}: what if",
    )
    header = ("scenario", "difference", "95 % from", "to", "P(improves)", "verdict")
    rows: list[tuple[object, ...]] = []
    for name, s in zip(names, shown, strict=True):
        money = (s.diff_mean / 100, s.diff_ci_low / 100, s.diff_ci_high / 100)
        rows.append((name, *money, s.p_improves, s.verdict))
    return {
        "assortment_scenarios": {
            "forest": metadata.picture(forest, "scenarios against the base"),
            "summary": metadata.table(header, rows),
            "unresolved_share": 1.0 - float(np.mean(resolved or [True])),
        },
        "assortment_simulation": {
            "replications": len(results[0].customers),
            "stockout_share": float(results[0].stockout_share[0].mean()),
            "lost_customer_share": float(results[0].lost_customers[0].sum())
            / max(1.0, float(results[0].customers.sum())),
            "truncated_share": max(float(result.truncated_share) for result in results),
        },
    }


def describe_flows(
    category: str, draws: Sequence[Sequence[Rates]], results: Sequence[ScenarioResult]
) -> dict[str, Any]:
    """Where customers go when their product goes, of the six products wanted most.

    While one product is missing both choice models read a row of rates alike.
    """
    own, products = draws[0], np.array(results[0].products)
    wanted = np.mean([rates.arrival_rate.sum(axis=0) for rates in own], axis=0)
    flows = []
    for j in np.argsort(-wanted, kind="stable")[:6]:
        others = np.arange(len(products)) != j
        rows = np.array([rates.substitution_rate[j, others] for rates in own])
        shares = np.column_stack([rows, 1.0 - rows.sum(axis=1)])
        low, high = np.quantile(shares, [0.025, 0.975], axis=0)
        flows.append(
            assortment_plots.Flow(
                str(products[j]), products[others].tolist(), shares.mean(axis=0), low, high
            )
        )
    title = f"{category}: where customers go ({own[0].choice_model})"
    picture = assortment_plots.substitution_flow(flows, title=title)
    return {"flows": metadata.picture(picture, "where customers go when their product goes")}
