"""Own demand at any price: the fit with its backtest, and the curves that prices read."""

from collections.abc import Iterator

import dagster as dg

from retail_assets.assets import demand_curve_tables as curve_tables
from retail_assets.assets import demand_rows
from retail_assets.assets import demand_tables as tables
from retail_assets.assets.price_candidates import goals_of
from retail_assets.assets.specs import asset_spec, written
from retail_assets.partitions import CATEGORIES
from retail_assets.warehouse import Warehouse

DAILY = ("interval_sales", "pos_lines", "trading_days", "cold_start_posterior")
REFERENCE = ("products", "stores", "price_calendar", "sale_events")
STATUS = ("inventory_status", "demand_profile", "demand_rates", "substitution_rates")


@dg.multi_asset(
    name="fit_demand",
    specs=[
        asset_spec(name, deps=(*REFERENCE, *STATUS), every=DAILY, kinds=["xgboost"])
        for name in ("demand_model", "demand_backtest")
    ],
    partitions_def=CATEGORIES,
)
def fit_demand(
    context: dg.AssetExecutionContext, warehouse: dg.ResourceParam[Warehouse]
) -> Iterator[dg.MaterializeResult]:
    """Backtest every model, choose what prices use, and fit it to all that is known."""
    category = context.partition_key
    with warehouse.session() as session:
        data = demand_rows.load(session, category)
        trusted = goals_of(session).demand_kind == "relative"
        result = tables.fit(data, trust_total=trusted)
        rows = tables.of_fit(session, data, result)
        about = tables.describe_fit(data, result, warehouse.settings.currency)
        for name, frame in rows.items():
            count = session.replace(name, session.connection.from_arrow(frame), category)
            yield written(session, name, count, about[name])


@dg.multi_asset(
    name="draw_demand_curves",
    specs=[
        asset_spec(
            "demand_curves",
            deps=("demand_model", *REFERENCE, *STATUS),
            every=DAILY,
            kinds=["xgboost"],
        )
    ],
    partitions_def=CATEGORIES,
)
def draw_demand_curves(
    context: dg.AssetExecutionContext, warehouse: dg.ResourceParam[Warehouse]
) -> dg.MaterializeResult:
    """Read the stored model at every candidate price of the coming week and sales."""
    category = context.partition_key
    with warehouse.session() as session:
        data = demand_rows.load(session, category)
        model = curve_tables.stored_model(session, category)
        curves = curve_tables.curves(session, data, model)
        frame = curve_tables.of_curves(data, curves)
        about = curve_tables.describe_curves(data, model, curves)
        count = session.replace("demand_curves", session.connection.from_arrow(frame), category)
        return written(session, "demand_curves", count, about)
