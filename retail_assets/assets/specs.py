"""From a contract table to what Dagster shows of an asset. No asset lives here."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import dagster as dg

from retail_assets import contract
from retail_assets.warehouse import Session

CODE_VERSION = "1"
OWNERS = ("team:retail-analytics",)
ALL_DAYS = dg.AllPartitionMapping()


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
    days: Iterable[str] = (),
    kinds: Iterable[str] = (),
    code_version: str = CODE_VERSION,
) -> dg.AssetSpec:
    """The spec of the asset that writes one contract table.

    Parameters
    ----------
    deps : iterable of str
        Assets cut the same way, or not cut at all.
    days : iterable of str
        Daily assets of which a category needs every day.
    kinds : iterable of str
        Shown beside DuckDB and Delta: the engine of a model.
    """
    table = contract.table(name)
    every_day = [dg.AssetDep(day, partition_mapping=ALL_DAYS) for day in days]
    return dg.AssetSpec(
        name,
        deps=[*deps, *every_day],
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
