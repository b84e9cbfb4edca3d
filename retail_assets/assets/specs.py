"""From a contract table to what Dagster shows of an asset. No asset lives here."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import dagster as dg

from retail_assets import contract
from retail_assets.warehouse import Session

CODE_VERSION = "1"
OWNERS = ("team:retail-analytics",)
ALL = dg.AllPartitionMapping()
# As-of: a day sees what was known by then, ten years back at most.
UNTIL = dg.TimeWindowPartitionMapping(
    start_offset=-3650, allow_nonexistent_upstream_partitions=True
)


def table_schema(name: str) -> dg.TableSchema:
    """Columns of a contract table, as the UI shows them."""
    return dg.TableSchema(
        columns=[
            dg.TableColumn(
                column.name,
                column.type,
                description=column.description,
                constraints=dg.TableColumnConstraints(nullable=not column.required),
            )
            for column in contract.table(name).columns
        ]
    )


def asset_spec(
    name: str,
    *,
    deps: Iterable[str] = (),
    every: Iterable[str] = (),
    until: Iterable[str] = (),
    kinds: Iterable[str] = (),
    code_version: str = CODE_VERSION,
) -> dg.AssetSpec:
    """The spec of the asset that writes one contract table.

    Parameters
    ----------
    deps : iterable of str
        Assets cut the same way, or not cut at all.
    every : iterable of str
        Assets cut another way, of which every partition is read.
    until : iterable of str
        Daily assets of which a day reads that day and the days before it.
    kinds : iterable of str
        Shown beside DuckDB and Delta: the engine of a model.
    """
    table = contract.table(name)
    others = [dg.AssetDep(other, partition_mapping=ALL) for other in every]
    others += [dg.AssetDep(day, partition_mapping=UNTIL) for day in until]
    return dg.AssetSpec(
        name,
        deps=[*deps, *others],
        group_name=table.group,
        description=table.description,
        kinds={"duckdb", "deltalake", *kinds},
        owners=list(OWNERS),
        code_version=code_version,
        metadata={"dagster/column_schema": table_schema(name)},
    )


def written(
    session: Session, name: str, rows: int, metadata: Mapping[str, Any] | None = None
) -> dg.MaterializeResult:
    """What a run says of a table it wrote: rows, the versions it read, and more."""
    return dg.MaterializeResult(
        asset_key=name,
        metadata={
            "dagster/row_count": rows,
            "versions_read": dg.MetadataValue.json(dict(sorted(session.versions.items()))),
            **(metadata or {}),
        },
    )
