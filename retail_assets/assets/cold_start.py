"""Cold start: trials of each style, priors of its group, and what is known day by day.

As-of: a day's rows rest on trials up to that day, so a backfill gives what a nightly run
gave.
"""

from collections.abc import Iterator
from contextlib import ExitStack

import dagster as dg

from retail_assets.assets import cold_start_tables as tables
from retail_assets.assets import trials
from retail_assets.assets.specs import asset_spec, written
from retail_assets.partitions import DAYS, days_of
from retail_assets.warehouse import Warehouse

SINGLE_RUN = dg.BackfillPolicy.single_run()
LEARNT = ("cold_start_priors", "cold_start_coefficients", "cold_start_posterior")
TRACK_RECORD = "cold_start_track_record"


@dg.multi_asset(
    name="pos_trials",
    specs=[
        asset_spec(
            "pos_trials", deps=("pos_lines", "trading_days", "products"), every=["inventory_status"]
        )
    ],
    partitions_def=DAYS,
    backfill_policy=SINGLE_RUN,
)
def pos_trials(
    context: dg.AssetExecutionContext, warehouse: dg.ResourceParam[Warehouse]
) -> dg.MaterializeResult:
    """Receipts of the category while a product was on the shelf, and those that hold it."""
    days = days_of(context)
    with warehouse.session() as session:
        count = session.replace("pos_trials", trials.pos_trials(session, days), days)
        return written(session, "pos_trials", count)


@dg.multi_asset(
    name="learn_cold_start",
    specs=[
        asset_spec(name, deps=("style_trials", "products"), until=["pos_trials"])
        for name in (*LEARNT, TRACK_RECORD)
    ],
    partitions_def=DAYS,
    backfill_policy=SINGLE_RUN,
    can_subset=False,
)
def learn_cold_start(
    context: dg.AssetExecutionContext, warehouse: dg.ResourceParam[Warehouse]
) -> Iterator[dg.MaterializeResult]:
    """What each day knew of every style, from stylists and from receipts."""
    days = days_of(context)
    with warehouse.session() as session, ExitStack() as open_tables:
        rules = tables.rules(session)
        sources = tables.sources(session, days[1])
        staged = {name: open_tables.enter_context(session.staging(name, days)) for name in LEARNT}
        for rows in tables.learn(sources, days, rules):
            for name, frame in rows.items():
                staged[name].add(session.connection.from_arrow(frame))
        counts = {name: staging.commit() for name, staging in staged.items()}
    with warehouse.session() as fresh:
        record = tables.track_record(fresh, days, rules)
        counts[TRACK_RECORD] = fresh.replace(TRACK_RECORD, record, days)
    with warehouse.session() as fresh:
        about = tables.describe(fresh, sources, days[1], rules)
    for name, count in counts.items():
        yield written(session, name, count, about.get(name))
