"""Checks of what is known of the styles: unknown names, the n policy, rates that drift."""

import dagster as dg

from retail_assets.partitions import DAYS
from retail_assets.warehouse import Warehouse

MAX_DISPERSION = 1.5
"""With forgetting, weeks may scatter by half as much again as chance: 89 % in 95 % intervals."""
SURELY_DRIFTING = 0.05
"""Nyblom's test, 1,000 styles: flags a logit p that moves .02 a day, in which 95 % intervals
cover 88 %, in every run; no alarm in six runs at rest."""

_DRIFT = """
WITH weeks AS (
    SELECT source, avg(z * z) AS dispersion FROM cold_start_track_record
    WHERE as_of BETWEEN $last::DATE - 182 AND $last::DATE
      AND date_diff('day', as_of, $last::DATE) % 7 = 0 GROUP BY ALL
), tests AS (
    SELECT source, any_value(estimate) FILTER (term = 'drift_p_value') AS p_value,
           any_value(estimate) FILTER (term = 'forgetting') AS forgetting
    FROM cold_start_coefficients WHERE as_of = $last GROUP BY ALL
)
SELECT source, p_value, forgetting, dispersion FROM tests LEFT JOIN weeks USING (source)
ORDER BY source
"""


@dg.asset_check(
    asset="cold_start_posterior",
    partitions_def=DAYS,
    description="Every style with trials is named in products; others get any group's prior.",
)
def styles_known(
    context: dg.AssetCheckExecutionContext, warehouse: dg.ResourceParam[Warehouse]
) -> dg.AssetCheckResult:
    """Warn, with the names, of styles that products do not name."""
    with warehouse.session() as session:
        unknown = session.sql(
            "SELECT DISTINCT product_id FROM cold_start_posterior "
            "WHERE as_of = $last AND status = 'unknown_style' ORDER BY 1",
            {"last": context.partition_key_range.end},
        ).fetchall()
    return dg.AssetCheckResult(
        passed=not unknown,
        severity=dg.AssetCheckSeverity.WARN,
        metadata={"unknown": len(unknown), "first": [str(name) for (name,) in unknown[:5]]},
    )


@dg.asset_check(
    asset="cold_start_priors",
    additional_deps=["cold_start_posterior"],
    partitions_def=DAYS,
    description="Young styles' priors do not depend on their own number of trials.",
)
def young_styles_without_their_n(
    context: dg.AssetCheckExecutionContext, warehouse: dg.ResourceParam[Warehouse]
) -> dg.AssetCheckResult:
    """Fail under ``n_for_prior = "current"``: it took a new style's mean from .25 to .04."""
    with warehouse.session() as session:
        young = session.sql(
            "SELECT count(DISTINCT s.product_id) FROM cold_start_posterior s "
            "JOIN cold_start_priors p USING (source, as_of, group_id) "
            "WHERE as_of = $last AND node = 0 AND young AND n_for_prior = 'current'",
            {"last": context.partition_key_range.end},
        ).fetchall()[0][0]
    return dg.AssetCheckResult(passed=young == 0, metadata={"young_styles": young})


@dg.asset_check(
    asset="cold_start_track_record",
    additional_deps=["cold_start_coefficients"],
    partitions_def=DAYS,
    description="Rates stand still; else intervals are too narrow until `forgetting` is set.",
)
def rates_at_rest(
    context: dg.AssetCheckExecutionContext, warehouse: dg.ResourceParam[Warehouse]
) -> dg.AssetCheckResult:
    """Warn when rates drift and nothing is forgotten, or when what is forgotten is not enough."""
    with warehouse.session() as session:
        rows = session.sql(_DRIFT, {"last": context.partition_key_range.end}).to_dicts()
    return dg.AssetCheckResult(
        passed=not any(_drifts(**row) for row in rows),
        severity=dg.AssetCheckSeverity.WARN,
        metadata={
            f"{row['source']}: {name}": row[name]
            for row in rows
            for name in ("p_value", "dispersion")
            if row[name] is not None
        },
    )


def _drifts(
    source: str, p_value: float | None, forgetting: float, dispersion: float | None
) -> bool:
    if forgetting < 1:
        return dispersion is not None and dispersion > MAX_DISPERSION
    return p_value is not None and p_value < SURELY_DRIFTING
