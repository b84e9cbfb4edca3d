"""The code location: ``build_definitions(overrides) -> Definitions``; nothing else."""

from __future__ import annotations

from collections.abc import Mapping

import dagster as dg

from retail_assets.assets import assortment, ingest, inventory, report, substitution
from retail_assets.automation import jobs, sensors
from retail_assets.checks import ingest_checks, model_checks
from retail_assets.settings import Settings
from retail_assets.warehouse import Warehouse


def build_definitions(overrides: Mapping[str, object] | None = None) -> dg.Definitions:
    """Fresh definitions; ``overrides`` swaps resources in tests and deployments.

    Examples
    --------
    >>> build_definitions({"warehouse": Warehouse(settings)})  # doctest: +SKIP
    """
    return dg.Definitions(
        assets=dg.load_assets_from_modules([ingest, inventory, substitution, assortment, report]),
        asset_checks=dg.load_asset_checks_from_modules([ingest_checks, model_checks]),
        jobs=jobs.JOBS,
        sensors=[sensors.landing_sensor],
        resources={"warehouse": Warehouse(Settings.load()), **(overrides or {})},
        executor=jobs.EXECUTOR,
    )


defs = build_definitions()
