"""What leaves the lake: the published database, the report, and what failed on the way."""

import uuid
from datetime import UTC, datetime
from pathlib import Path

import dagster as dg

from retail_assets import contract
from retail_assets.alerts import alert_of, note, noted
from retail_assets.assets import report_evidence, report_figures, report_rows
from retail_assets.assets.specs import CODE_VERSION, OWNERS, asset_spec, written
from retail_assets.report import page
from retail_assets.report.page import figures as page_figures
from retail_assets.warehouse import Warehouse

LOOKED_AT = 1000
FIGURES = "report_figures"
EVERYTHING = {
    name: dg.AssetDep(name, partition_mapping=dg.AllPartitionMapping() if table.partition else None)
    for name, table in contract.tables().items()
    if not name.endswith("_quarantine") or name == "pos_quarantine"
}


@dg.multi_asset(
    specs=[
        asset_spec(FIGURES).replace_attributes(
            deps=[dep for name, dep in EVERYTHING.items() if name not in (FIGURES, "alerts")]
        )
    ],
    name=FIGURES,
)
def headline_figures(warehouse: dg.ResourceParam[Warehouse]) -> dg.MaterializeResult:
    """Keep this report's figures, unless they are those of the last one."""
    with warehouse.session() as session:
        found = page_figures.figures(report_rows.read(session, page_figures.NEEDS))
        rows = report_figures.keep(session, found)
        return written(session, FIGURES, rows, {"figures": len(found)})


@dg.asset(
    deps=list(EVERYTHING.values()),
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


@dg.asset(
    deps=["retail_duckdb", *EVERYTHING.values()],
    group_name="report",
    description="report.html: the whole story on one page that needs nothing but itself.",
    kinds={"duckdb", "html"},
    owners=list(OWNERS),
    tags={"cut": "whole"},
    code_version=CODE_VERSION,
)
def retail_report(
    context: dg.AssetExecutionContext, warehouse: dg.ResourceParam[Warehouse]
) -> dg.MaterializeResult:
    """Read the story from the tables, and what earlier runs drew and checked; write the page."""
    settings = warehouse.settings
    with warehouse.session() as session:
        story = report_rows.read(session, report_rows.STORY)
        versions = dict(sorted(session.versions.items()))
    story["checks"] = report_evidence.checks(context.instance)
    sales = {row["sale_id"] for row in story["prices"]}
    proofs = report_evidence.proof_plots(context.instance, sorted(sales))
    frame = page.Frame(datetime.now(UTC), settings.currency, settings.ui_url, versions)
    html = page.render(story, frame, proofs)
    _write(settings.report, html)
    return dg.MaterializeResult(
        metadata={
            "path": dg.MetadataValue.path(settings.report),
            "url": dg.MetadataValue.url(settings.report.as_uri()),
            "bytes": len(html.encode()),
            "versions_read": dg.MetadataValue.json(versions),
        }
    )


def _write(path: Path, text: str) -> None:
    """Whole or not at all: written beside, then renamed over."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f"{path.name}.{uuid.uuid4().hex}.partial")
    partial.write_text(text, encoding="utf-8")
    partial.replace(path)


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
