"""What leaves the lake: the published database, and what failed on the way."""

import dagster as dg

from retail_assets import contract
from retail_assets.alerts import alert_of, note, noted
from retail_assets.assets.specs import CODE_VERSION, OWNERS, asset_spec, written
from retail_assets.warehouse import Warehouse

LOOKED_AT = 1000


@dg.asset(
    deps=[
        dg.AssetDep(name, partition_mapping=dg.AllPartitionMapping() if table.partition else None)
        for name, table in contract.tables().items()
        if not name.endswith("_quarantine") or name == "pos_quarantine"
    ],
    group_name="report",
    description="retail.duckdb: every table under its own name, to open in any DuckDB client.",
    kinds={"duckdb"},
    owners=list(OWNERS),
    tags={"cut": "whole"},
    code_version=CODE_VERSION,
)
def retail_duckdb(warehouse: dg.ResourceParam[Warehouse]) -> dg.MaterializeResult:
    """Publish the database atomically; readers see the old or the new one."""
    counts = warehouse.publish()
    table = "\n".join(
        ["| table | rows |", "|---|---:|", *(f"| {k} | {v:,} |" for k, v in counts.items())]
    )
    return dg.MaterializeResult(
        metadata={
            "path": dg.MetadataValue.path(warehouse.settings.database),
            "tables": len(counts),
            "dagster/row_count": sum(counts.values()),
            "rows_per_table": dg.MetadataValue.md(table),
        }
    )


@dg.multi_asset(specs=[asset_spec("alerts")], name="alerts")
def alerts(
    context: dg.AssetExecutionContext, warehouse: dg.ResourceParam[Warehouse]
) -> dg.MaterializeResult:
    """Note the failed runs that the sensor did not: no daemon was there, say."""
    failed = dg.RunsFilter(statuses=[dg.DagsterRunStatus.FAILURE])
    known = noted(warehouse)
    runs = context.instance.get_runs(failed, limit=LOOKED_AT)
    missed = [alert_of(context.instance, run) for run in runs if run.run_id not in known]
    with warehouse.session() as session:
        return written(session, "alerts", note(warehouse, missed), {"found": len(missed)})
