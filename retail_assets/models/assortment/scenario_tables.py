"""Results of a what-if as columns of the contract's tables. No figures are made here."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from typing import Any

import numpy as np

from retail_assets.models.assortment.scenarios import PRODUCT_FIGURES, ScenarioResult
from retail_assets.models.assortment.verdicts import ScenarioSummary

Columns = dict[str, Any]


def simulation_columns(result: ScenarioResult, category: str) -> Columns:
    """``assortment_simulation``: one row per scenario and replication."""
    n_cases, size = result.revenue_cents.shape
    cogs = result.cogs_cents
    none = [None] * (n_cases * size)
    return {
        "category": [category] * (n_cases * size),
        "choice_model": [result.choice_model] * (n_cases * size),
        "scenario": [case.name for case in result.scenarios for _ in range(size)],
        "replication": np.tile(np.arange(size), n_cases),
        "posterior_draw": np.tile(result.posterior_draw, n_cases),
        "customers": np.tile(result.customers, n_cases),
        "revenue_cents": result.revenue_cents.ravel(),
        "cogs_cents": none if cogs is None else cogs.ravel(),
        "gross_profit_cents": none if cogs is None else result.goal_cents.ravel(),
        "lost_customers": result.lost_customers.ravel(),
        "substituted_units": result.substituted_units.ravel(),
        "stockout_share": result.stockout_share.ravel(),
        "diff_vs_base_cents": result.diff_vs_base_cents.ravel(),
    }


def product_columns(result: ScenarioResult, category: str) -> Columns:
    """``assortment_simulation_product``: the white paper's Tables 3-6, with errors."""
    n_cases, n = result.capacity.shape
    columns: Columns = {
        "category": [category] * (n_cases * n),
        "choice_model": [result.choice_model] * (n_cases * n),
        "scenario": [case.name for case in result.scenarios for _ in range(n)],
        "product_id": list(result.products) * n_cases,
        "capacity": result.capacity.ravel(),
    }
    for name in PRODUCT_FIGURES:
        columns[name] = result.product_mean[name].ravel()
        columns[f"{name}_se"] = result.product_se[name].ravel()
    return columns


def summary_columns(summaries: Sequence[ScenarioSummary], category: str) -> Columns:
    """``assortment_scenarios``: one row per scenario and choice model."""
    columns: Columns = {"category": [category] * len(summaries)}
    for column in fields(ScenarioSummary):
        columns[column.name] = [getattr(row, column.name) for row in summaries]
    # The base has no difference to compare variances of.
    ratio = columns["crn_variance_ratio"]
    columns["crn_variance_ratio"] = [None if np.isnan(value) else value for value in ratio]
    return columns
