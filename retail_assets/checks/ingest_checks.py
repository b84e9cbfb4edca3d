"""Checks of what came in: rejected lines, derived references, inferred hours, failed files."""

import dagster as dg

from retail_assets.partitions import DAYS
from retail_assets.warehouse import Warehouse


@dg.asset_check(
    asset="products",
    additional_deps=["stores"],
    description="Products and stores were landed, not derived from the receipts.",
)
def references_landed(warehouse: dg.ResourceParam[Warehouse]) -> dg.AssetCheckResult:
    """Warn when all products share one category, or all stores the default hours."""
    with warehouse.session() as session:
        derived = {
            table: session.sql(
                f"SELECT count(*) FROM {table} WHERE origin = 'receipts'"
            ).fetchall()[0][0]
            for table in ("products", "stores")
        }
    return dg.AssetCheckResult(
        passed=not any(derived.values()),
        severity=dg.AssetCheckSeverity.WARN,
        metadata={f"{table}_derived_from_receipts": count for table, count in derived.items()},
    )


@dg.asset_check(asset="landing_files", description="Every landed file could be read.")
def files_readable(warehouse: dg.ResourceParam[Warehouse]) -> dg.AssetCheckResult:
    """Warn, with the errors, when files failed; the others have landed."""
    with warehouse.session() as session:
        errors = session.sql(
            "SELECT error FROM landing_files WHERE state = 'failed' ORDER BY file"
        ).fetchall()
    return dg.AssetCheckResult(
        passed=not errors,
        severity=dg.AssetCheckSeverity.WARN,
        metadata={"failed_files": len(errors), "first_errors": [str(e) for (e,) in errors[:5]]},
    )


@dg.asset_check(
    asset="pos_lines",
    partitions_def=DAYS,
    blocking=True,
    description="The share of rejected lines, without those that mapping.toml leaves out, stays"
    " below max_quarantine_share of the settings.",
)
def quarantine_share(
    context: dg.AssetCheckExecutionContext, warehouse: dg.ResourceParam[Warehouse]
) -> dg.AssetCheckResult:
    """Block the models when too many of the run's lines were rejected."""
    from retail_assets.ingest import mapping

    keys = context.partition_key_range
    days = {"first": keys.start, "last": keys.end}
    meant = mapping.left_out_reasons(mapping.load(warehouse.settings.landing))
    with warehouse.session() as session:
        (landed,), (rejected, left_out) = (
            session.sql(
                f"{query} WHERE business_date BETWEEN $first::DATE AND $last::DATE", bound
            ).fetchall()[0]
            for query, bound in (
                ("SELECT count(*) FROM pos_lines", days),
                (
                    "SELECT count(*) FILTER (NOT list_has_any(reasons, $meant::VARCHAR[])),"
                    " count(*) FILTER (list_has_any(reasons, $meant::VARCHAR[]))"
                    " FROM pos_quarantine",
                    days | {"meant": meant},
                ),
            )
        )
    share = rejected / max(landed + rejected, 1)
    return dg.AssetCheckResult(
        passed=share <= warehouse.settings.max_quarantine_share,
        metadata={
            "landed": landed,
            "rejected": rejected,
            "left_out": left_out,
            "share_rejected": share,
        },
    )


@dg.asset_check(
    asset="trading_days",
    partitions_def=DAYS,
    description="Trading hours are known; hours inferred from receipts hide early stock-outs.",
)
def hours_known(
    context: dg.AssetCheckExecutionContext, warehouse: dg.ResourceParam[Warehouse]
) -> dg.AssetCheckResult:
    """Warn when hours were inferred from the receipts or taken as default."""
    keys = context.partition_key_range
    with warehouse.session() as session:
        rows = session.sql(
            "SELECT source, count(*) FROM trading_days "
            "WHERE business_date BETWEEN $first::DATE AND $last::DATE GROUP BY ALL",
            {"first": keys.start, "last": keys.end},
        ).fetchall()
    sources = dict(rows)
    return dg.AssetCheckResult(
        passed=not {"inferred", "default"} & sources.keys(),
        severity=dg.AssetCheckSeverity.WARN,
        metadata={f"store_days_{source}": count for source, count in sources.items()},
    )
