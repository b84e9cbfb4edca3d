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
        tags={"cut": table.partition or "whole"},
        code_version=code_version,
        metadata={"dagster/column_schema": table_schema(name)},
    )


def written(
    session: Session, name: str, rows: int, metadata: Mapping[str, Any] | None = None
) -> dg.MaterializeResult:
    """What a run says of a table it wrote: rows, the versions it read, and more.

    A landed table has its content for a data version: read again unchanged it starts nothing.
    """
    return dg.MaterializeResult(
        asset_key=name,
        metadata={
            "dagster/row_count": rows,
            "dagster/column_lineage": key_lineage(name, session.versions),
            "versions_read": dg.MetadataValue.json(dict(sorted(session.versions.items()))),
            **(metadata or {}),
        },
        data_version=_content(session, name) if contract.table(name).landed else None,
    )


def key_lineage(name: str, read: Iterable[str]) -> dg.TableColumnLineage:
    """Where the identifiers of a table come from: equal key columns of the tables read.

    Equal in name, type and meaning. Of computed columns the contract does not know what they
    are made from, so nothing is said.
    """
    table, deps = contract.table(name), dict[str, list[dg.TableColumnDep]]()
    for column in (c for c in table.columns if c.name in table.key):
        found = [
            dg.TableColumnDep(dg.AssetKey(other), column.name)
            for other in sorted(set(read) - {name})
            if _means_the_same(column, contract.table(other))
        ]
        if found:
            deps[column.name] = found
    return dg.TableColumnLineage(deps)


def _means_the_same(column: contract.Column, other: contract.Table) -> bool:
    return any(
        (c.name, c.type, c.description) == (column.name, column.type, column.description)
        for c in other.columns
    )


def _content(session: Session, name: str) -> dg.DataVersion:
    """Of the rows just written; where in which file they stood does not count."""
    with session.warehouse.session() as fresh:
        ((content,),) = fresh.sql(
            f"SELECT coalesce(sum(hash(t)::HUGEINT), 0)::VARCHAR FROM"
            f" (SELECT * EXCLUDE (source_file, source_row) FROM {name}) t"
        ).fetchall()
    return dg.DataVersion(content)
