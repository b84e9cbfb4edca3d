"""Stock of the coming weeks, and what to order. One projection yields both tables."""

from collections.abc import Iterator

import dagster as dg

from retail_assets.assets import stock_inputs as inputs
from retail_assets.assets import stock_tables as tables
from retail_assets.assets.specs import asset_spec, written
from retail_assets.warehouse import Warehouse

SEED = 20_260_104
REFERENCE = ("stock", "shipments", "products", "shelf", "stores", "style_trials")
DAILY = (
    "cold_start_priors",
    "cold_start_posterior",
    "pos_trials",
    "pos_lines",
    "interval_sales",
)


@dg.multi_asset(
    name="plan_stock",
    specs=[
        asset_spec(name, deps=REFERENCE, every=DAILY, kinds=["numba", "ortools"])
        for name in ("inventory_forecast", "reorder_plan")
    ],
)
def plan_stock(warehouse: dg.ResourceParam[Warehouse]) -> Iterator[dg.MaterializeResult]:
    """Project every stock row with its uncertain rate, and read the orders off the paths."""
    with warehouse.session() as session:
        rules, today = inputs.rules(session), inputs.last_day(session)
        cases, left_out = inputs.load(session, today, rules, SEED)
        results = [tables.project(case, rules, SEED) for case in cases]
        rows = tables.of_results(session, results, today, rules)
        about = tables.describe(results, left_out, today, warehouse.settings.currency)
        for name, frame in rows.items():
            count = session.replace(name, session.connection.from_arrow(frame))
            yield written(session, name, count, about[name])
