"""Ingest: landing files to typed receipt lines, interval sales and reference tables.

Bodies read, call ``retail_assets.ingest``, and describe; the SQL lives there.
"""

from collections.abc import Mapping

import dagster as dg

from retail_assets import contract
from retail_assets.assets.specs import asset_spec, written
from retail_assets.ingest import intervals, landing, lines, raw, reference
from retail_assets.partitions import CATEGORIES, DAYS, SALES, days_of
from retail_assets.warehouse import Warehouse

PREVIEW_ROWS = 10
SINGLE_RUN = dg.BackfillPolicy.single_run()


def _preview(title: str, counts: Mapping[str, int]) -> dg.MarkdownMetadataValue:
    """The most frequent entries as a table; the rest is in the tables themselves."""
    rows = list(counts.items())[:PREVIEW_ROWS]
    listed = "".join(f"| {what} | {n:,} |\n" for what, n in rows)
    return dg.MetadataValue.md(f"| {title} | lines |\n|---|---:|\n{listed}" if rows else "none")


@dg.multi_asset(specs=[asset_spec("landing_files")], name="landing_files")
def landing_files(warehouse: dg.ResourceParam[Warehouse]) -> dg.MaterializeResult:
    """Scan the landing folder; new and changed files are hashed and counted."""
    with warehouse.session() as session:
        files = landing.scan(session)
        rows = landing.write_landing_files(session, files)
        states = landing.states(files)
        landing.remember_first_day(warehouse.settings, files)
        errors = {str(f.error): 1 for f in files if f.error}
        return written(
            session,
            "landing_files",
            rows,
            {**{f"files_{state}": n for state, n in states.items()},
             "errors": _preview("file", errors)},
        )  # fmt: skip


@dg.multi_asset(
    specs=[asset_spec("raw_pos", deps=["landing_files"])],
    name="raw_pos",
    partitions_def=DAYS,
    backfill_policy=SINGLE_RUN,
)
def raw_pos(
    context: dg.AssetExecutionContext, warehouse: dg.ResourceParam[Warehouse]
) -> dg.MaterializeResult:
    """Lines of the wanted days as text; lines of files that left stay."""
    first, last = days_of(context)
    with warehouse.session() as session:
        report = raw.write_raw_pos(session, (first, last))
        return written(
            session,
            "raw_pos",
            report.rows,
            {
                "first_day": str(first),
                "last_day": str(last),
                "files_read": len(report.read),
                "lines_of_files_that_left": report.kept,
            },
        )


@dg.multi_asset(
    specs=[
        asset_spec(name, deps=["raw_pos", "products", "stores", "store_hours"])
        for name in ("pos_lines", "pos_quarantine")
    ],
    name="pos_lines",
    partitions_def=DAYS,
    backfill_policy=SINGLE_RUN,
    can_subset=False,
)
def pos_lines(
    context: dg.AssetExecutionContext, warehouse: dg.ResourceParam[Warehouse]
) -> tuple[dg.MaterializeResult, ...]:
    """Every raw line typed: valid ones land, the others are quarantined with every reason."""
    first, last = days_of(context)
    with warehouse.session() as session:
        report = lines.write_pos_lines(session, (first, last))
        about = {
            "first_day": str(first),
            "last_day": str(last),
            "share_quarantined": report.share_quarantined,
        }
        warned = {"warnings": _preview("warning", report.warnings)}
        rejected = {"reasons": _preview("reason", report.reasons)}
        return (
            written(session, "pos_lines", report.landed, about | warned),
            written(session, "pos_quarantine", report.quarantined, about | rejected),
        )


@dg.multi_asset(
    specs=[
        asset_spec(name, deps=["pos_lines", "stores", "store_hours"])
        for name in ("trading_days", "interval_sales")
    ],
    name="interval_sales",
    partitions_def=DAYS,
    backfill_policy=SINGLE_RUN,
    can_subset=False,
)
def interval_sales(
    context: dg.AssetExecutionContext, warehouse: dg.ResourceParam[Warehouse]
) -> tuple[dg.MaterializeResult, ...]:
    """Trading hours of every store day, and sparse sales per trading interval."""
    first, last = days_of(context)
    with warehouse.session() as session:
        report = intervals.write_intervals(session, (first, last))
        about = {"first_day": str(first), "last_day": str(last)}
        hours = {
            "open_store_days": report.open_days,
            "hours_from": _preview("source", report.sources),
        }
        return (
            written(session, "trading_days", report.store_days, about | hours),
            written(session, "interval_sales", report.rows, about),
        )


def reference_asset(name: str) -> dg.AssetsDefinition:
    """The asset of one reference table; its rejected rows go to ``<name>_quarantine``."""

    @dg.multi_asset(specs=[asset_spec(name, deps=["landing_files"])], name=name)
    def read_files(
        context: dg.AssetExecutionContext, warehouse: dg.ResourceParam[Warehouse]
    ) -> dg.MaterializeResult:
        with warehouse.session() as session:
            report = reference.write_reference(session, name)
            if name == "products":
                found = reference.categories(session)
                context.instance.add_dynamic_partitions(CATEGORIES.name or "", found)
            if name == "sale_events":
                coming = reference.coming_sales(session)
                context.instance.add_dynamic_partitions(SALES.name or "", coming)
            return written(
                session,
                name,
                report.rows,
                {
                    "origin": report.origin,
                    "rows_quarantined": report.quarantined,
                    "reasons": _preview("reason", report.reasons),
                },
            )

    return read_files


reference_assets = [reference_asset(table.name) for table in contract.landed_tables()]
