"""The jobs. One job holds one kind of partitions, so there are three of them.

``retail-assets run`` chains them in one process; the daemon runs them on their own.
"""

from __future__ import annotations

import dagster as dg

from retail_assets import contract

#: One process per run: a spawned step costs 2.5-3.4 CPU seconds, parallelism is several runs.
EXECUTOR = dg.in_process_executor

DAILY = ("raw_pos", "pos_lines", "pos_quarantine", "trading_days", "interval_sales")
REFERENCE = ("landing_files", *(table.name for table in contract.landed_tables()))
MODELS = tuple(name for name, table in contract.tables().items() if table.partition == "category")

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
publish = dg.define_asset_job(
    "publish",
    dg.AssetSelection.assets("retail_duckdb"),
    description="Write retail.duckdb, the database people open.",
)

JOBS = (references, ingest, models, publish)
