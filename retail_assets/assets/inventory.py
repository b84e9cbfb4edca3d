"""Step 1: what was out of stock, read off the receipts. One fit yields five tables."""

from collections.abc import Iterator

import dagster as dg

from retail_assets.assets import status_tables as tables
from retail_assets.assets.panels import load_panel
from retail_assets.assets.specs import asset_spec, written
from retail_assets.partitions import CATEGORIES
from retail_assets.warehouse import Warehouse

DAILY = ("interval_sales", "trading_days")
REFERENCE = ("products", "stores", "deliveries")
TABLES = ("inventory_status", "inventory_status_params", "demand_profile")


@dg.multi_asset(
    name="infer_inventory_status",
    specs=[
        *(asset_spec(name, every=DAILY, deps=REFERENCE, kinds=["numba"]) for name in TABLES),
        asset_spec("inventory_status_score", every=DAILY, deps=[*REFERENCE, "stock_counts"]),
    ],
    partitions_def=CATEGORIES,
)
def infer_inventory_status(
    context: dg.AssetExecutionContext, warehouse: dg.ResourceParam[Warehouse]
) -> Iterator[dg.MaterializeResult]:
    """Fit the joint hidden Markov model of one category and write what it says.

    Of receipts of some customers only (setting ``receipts``) nothing is inferred.
    """
    from retail_assets.models.stockouts.joint import fit_status

    category = context.partition_key
    with warehouse.session() as session:
        data = load_panel(session, category)
        every_receipt = warehouse.settings.receipts == "all"
        fit = fit_status(data.panel) if every_receipt else tables.assumed_in_stock(data.panel)
        score, reliability = tables.score(session, data, fit)
        rows = tables.of_fit(data, fit) | {"inventory_status_score": score}
        about = tables.describe(data, fit, score, reliability)
        for name, frame in rows.items():
            count = session.replace(name, session.connection.from_arrow(frame), category)
            yield written(session, name, count, about.get(name))
