"""Checks of what the scenarios rest on: shelf capacities, and whole customers' lists."""

import dagster as dg

from retail_assets.checks.model_checks import ModelCheck, build
from retail_assets.partitions import CATEGORIES

MAX_TRUNCATED_SHARE = 0.001
"""Customers whose ranked list was cut leave instead of buying; above this it shows in the lost
sales of a scenario (models/choice/markov_chain.py)."""

_CAPACITY = """
SELECT count(*) AS shelves, count(*) FILTER (capacity IS NULL) AS shelves_inferred FROM (
    SELECT d.store_id, d.product_id, first(s.capacity ORDER BY s.store_id NULLS LAST) AS capacity
    FROM demand_rates d
    LEFT JOIN shelf s
        ON s.product_id = d.product_id AND coalesce(s.store_id, d.store_id) = d.store_id
    WHERE d.category = $category GROUP BY ALL)
"""

capacity_landed = build(
    ModelCheck(
        "assortment_scenarios",
        "capacity_landed",
        "Shelf capacities come from a shelf file; those inferred from sales runs are lower bounds.",
        _CAPACITY,
        lambda row: row["shelves_inferred"] == 0,
    )
)


@dg.asset_check(
    asset="assortment_simulation",
    partitions_def=CATEGORIES,
    description="Hardly any customer's ranked list was cut before its end.",
)
def lists_whole(context: dg.AssetCheckExecutionContext) -> dg.AssetCheckResult:
    """Warn when more than 0.1 % of the customers left because their list was cut."""
    simulations = dg.AssetRecordsFilter(
        asset_key=dg.AssetKey("assortment_simulation"), asset_partitions=[context.partition_key]
    )
    records = context.instance.fetch_materializations(simulations, limit=1).records
    event = records[0].asset_materialization if records else None
    said = event.metadata.get("truncated_share") if event else None
    share = float(said.value) if isinstance(said, dg.FloatMetadataValue) and said.value else 0.0
    return dg.AssetCheckResult(
        passed=said is not None and share <= MAX_TRUNCATED_SHARE,
        severity=dg.AssetCheckSeverity.WARN,
        metadata={"truncated_share": share, "at_most": MAX_TRUNCATED_SHARE},
    )
