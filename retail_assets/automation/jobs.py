"""The jobs. One job holds one kind of partitions, so there are several.

``retail-assets run`` chains them in one process; each can be launched by itself.
"""

from __future__ import annotations

import dagster as dg

from retail_assets import contract

#: One process per run: a spawned step costs 2.5-3.4 CPU seconds, parallelism is several runs.
EXECUTOR = dg.in_process_executor

DAILY = ("raw_pos", "pos_lines", "pos_quarantine", "trading_days", "interval_sales")
REFERENCE = ("landing_files", *(table.name for table in contract.landed_tables()))
DEMAND = ("demand_model", "demand_backtest", "demand_curves")
PLANS = ("assortment_plan", "assortment_plan_summary", "assortment_frontier", "capacity_plan")
MODELS = tuple(
    name
    for name, table in contract.tables().items()
    if table.partition == "category" and name not in {*DEMAND, *PLANS}
)
TRIALS = "pos_trials"
COLD_START = tuple(
    name
    for name, table in contract.tables().items()
    if table.group == "cold_start" and table.partition and name != TRIALS
)
PRICES = tuple(name for name, table in contract.tables().items() if table.group == "pricing")
STOCK = ("inventory_forecast", "reorder_plan")
REPORTS = ("report_figures", "retail_duckdb", "retail_report")
PUBLISHED = ("alerts", *REPORTS)

references = dg.define_asset_job(
    "references",
    dg.AssetSelection.assets(*REFERENCE),
    description="Scan the landing folder and read the reference tables.",
)
ingest = dg.define_asset_job(
    "ingest",
    dg.AssetSelection.assets(*DAILY),
    description="Receipts of the chosen days: landing files to interval_sales.",
)
models = dg.define_asset_job(
    "models",
    dg.AssetSelection.assets(*MODELS),
    description="Stock-outs, substitution and what-if of the chosen categories.",
)
plans = dg.define_asset_job(
    "plans",
    dg.AssetSelection.assets(*PLANS),
    description="What to carry and how much of it, and how to divide the shelf, by category.",
)
trials = dg.define_asset_job(
    "trials",
    dg.AssetSelection.assets(TRIALS),
    description="Receipts of the chosen days as trials of each style.",
)
cold_start = dg.define_asset_job(
    "cold_start",
    dg.AssetSelection.assets(*COLD_START),
    description="Priors and posteriors of the styles, as known on the chosen days.",
)
demand = dg.define_asset_job(
    "demand",
    dg.AssetSelection.assets(*DEMAND),
    description="Own demand of the chosen categories at any price, with its backtest.",
)
prices = dg.define_asset_job(
    "prices",
    dg.AssetSelection.assets(*PRICES),
    description="The best legal prices of the chosen sales, with their proof.",
)
decisions = dg.define_asset_job(
    "decisions",
    dg.AssetSelection.assets("decisions"),
    description="What was charged in the chosen sales, beside what was recommended.",
)
stock_plan = dg.define_asset_job(
    "stock_plan",
    dg.AssetSelection.assets(*STOCK),
    description="Projected stock of the coming weeks, and what to order.",
)
publish = dg.define_asset_job(
    "publish",
    dg.AssetSelection.assets(*PUBLISHED),
    description="Note failed runs; write retail.duckdb and report.html, which people open.",
)

JOBS = (
    references,
    ingest,
    models,
    plans,
    trials,
    cold_start,
    demand,
    prices,
    decisions,
    stock_plan,
    publish,
)
