"""Checks of the projected stock: rows left out, projections that jump."""

import dagster as dg

from retail_assets.warehouse import Warehouse

MAX_MOVE = 0.15
"""A month's opening units should move less than this between two runs: buyers plan on them."""


@dg.asset_check(
    asset="inventory_forecast",
    additional_deps=["stock"],
    description="Every row of stock has trials to be projected from, its group two weeks of them.",
)
def stock_rows_projected(warehouse: dg.ResourceParam[Warehouse]) -> dg.AssetCheckResult:
    """Warn, with the names, of stock nothing is known of."""
    with warehouse.session() as session:
        missing = session.sql(
            "SELECT product_id || ', ' || warehouse FROM stock "
            "ANTI JOIN inventory_forecast USING (product_id, warehouse) ORDER BY 1"
        ).fetchall()
    return dg.AssetCheckResult(
        passed=not missing,
        severity=dg.AssetCheckSeverity.WARN,
        metadata={"left_out": len(missing), "first": [str(name) for (name,) in missing[:5]]},
    )


@dg.asset_check(
    asset="inventory_forecast",
    description="Projected units at the beginning of a month move little between two runs.",
)
def month_projections_stable(warehouse: dg.ResourceParam[Warehouse]) -> dg.AssetCheckResult:
    """Warn when the projections of the run before were far off this one's."""
    with warehouse.session() as session:
        moved, units = session.sql(
            "SELECT coalesce(sum(abs(bom_delta)), 0), coalesce(sum(units_start_mean), 0) "
            "FROM inventory_forecast WHERE bom_delta IS NOT NULL"
        ).fetchall()[0]
    share = moved / units if units else 0.0
    return dg.AssetCheckResult(
        passed=share <= MAX_MOVE,
        severity=dg.AssetCheckSeverity.WARN,
        metadata={"share_moved": share, "units": units},
    )
