"""The code location: ``build_definitions(overrides) -> Definitions``; nothing else."""

from __future__ import annotations

import warnings
from collections.abc import Mapping

import dagster as dg

# Backfill policies are beta and partitioned checks a preview in Dagster 1.13: known, used
# on purpose, and otherwise printed by every process.
warnings.filterwarnings("ignore", category=dg.BetaWarning)
warnings.filterwarnings("ignore", category=dg.PreviewWarning)

from retail_assets.assets import (  # noqa: E402
    assortment,
    cold_start,
    demand,
    ingest,
    inventory,
    pricing,
    report,
    stock,
    substitution,
)
from retail_assets.automation import (  # noqa: E402
    alert_sensor,
    conditions,
    jobs,
    price_sensor,
    schedules,
    sensors,
    upkeep,
)
from retail_assets.checks import (  # noqa: E402
    cold_start_checks,
    demand_checks,
    ingest_checks,
    model_checks,
    plan_checks,
    pricing_checks,
    scenario_checks,
    stock_checks,
)
from retail_assets.settings import Settings  # noqa: E402
from retail_assets.warehouse import Warehouse  # noqa: E402


def build_definitions(overrides: Mapping[str, object] | None = None) -> dg.Definitions:
    """Fresh definitions; ``overrides`` swaps resources in tests and deployments.

    Examples
    --------
    >>> build_definitions({"warehouse": Warehouse(settings)})  # doctest: +SKIP
    """
    settings = Settings.load()
    assets = dg.load_assets_from_modules(
        [
            ingest,
            inventory,
            substitution,
            cold_start,
            demand,
            pricing,
            stock,
            assortment,
            report,
        ]
    )
    return dg.Definitions(
        assets=[
            asset.map_asset_specs(conditions.kept_up(settings))
            for asset in assets
            if isinstance(asset, dg.AssetsDefinition)
        ],
        asset_checks=dg.load_asset_checks_from_modules(
            [
                ingest_checks,
                model_checks,
                scenario_checks,
                cold_start_checks,
                demand_checks,
                plan_checks,
                pricing_checks,
                stock_checks,
            ]
        ),
        jobs=[*jobs.JOBS, upkeep.maintenance],
        schedules=[*schedules.build_schedules(settings), upkeep.maintenance_schedule],
        sensors=[
            sensors.landing_sensor,
            price_sensor.price_sensor,
            conditions.follow_inputs,
            alert_sensor.alert_sensor,
        ],
        resources={"warehouse": Warehouse(settings), **(overrides or {})},
        executor=jobs.EXECUTOR,
    )


defs = build_definitions()
