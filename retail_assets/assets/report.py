"""What leaves the lake: the published database."""

import dagster as dg

from retail_assets import contract
from retail_assets.assets.specs import OWNERS
from retail_assets.warehouse import Warehouse


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
