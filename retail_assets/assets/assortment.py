"""What happens if the shelf changes, what to carry, and how to divide the room."""

from collections.abc import Iterator

import dagster as dg

from retail_assets.assets import capacity_tables, plan_inputs, plan_tables
from retail_assets.assets import scenario_tables as tables
from retail_assets.assets.panels import load_panel
from retail_assets.assets.specs import asset_spec, written
from retail_assets.partitions import CATEGORIES
from retail_assets.warehouse import Warehouse

SEED = 20_260_103
REPLICATIONS = 200  # 100 posterior draws, two sets of customers each
REFERENCE = ("products", "stores", "shelf", "deliveries")


def _specs(*names: str, kinds: tuple[str, ...] = ()) -> list[dg.AssetSpec]:
    """All of the room rests on the same: the rates, and the last quarter of the stores."""
    return [
        asset_spec(
            name,
            deps=("substitution_posterior", "demand_rates", "demand_profile", *REFERENCE),
            every=("interval_sales", "pos_lines", "trading_days"),
            kinds=["numba", *kinds],
        )
        for name in names
    ]


@dg.multi_asset(
    name="simulate_assortment",
    specs=_specs("assortment_simulation", "assortment_simulation_product", "assortment_scenarios"),
    partitions_def=CATEGORIES,
)
def simulate_assortment(
    context: dg.AssetExecutionContext, warehouse: dg.ResourceParam[Warehouse]
) -> Iterator[dg.MaterializeResult]:
    """Replay the same customers through every scenario of data/rules/scenarios.toml."""
    from retail_assets.models.assortment.scenarios import simulate_scenarios
    from retail_assets.models.assortment.verdicts import summarise_models

    category = context.partition_key
    with warehouse.session() as session:
        data = load_panel(session, category)
        shops, scenarios = tables.shops(session, data), tables.scenarios(session, data)
        draws = tables.draws(session, data)
        results = [
            simulate_scenarios(each, scenarios, shops, replications=REPLICATIONS, seed=SEED)
            for each in draws
        ]
        summaries = summarise_models(results)
        rows = tables.of_results(category, results, summaries)
        about = tables.describe(category, results, summaries, warehouse.settings.currency)
        about["assortment_simulation_product"] = tables.describe_flows(category, draws, results)
        for name, frame in rows.items():
            count = session.replace(name, session.connection.from_arrow(frame), category)
            yield written(session, name, count, about.get(name))


@dg.multi_asset(
    name="plan_assortment",
    specs=_specs(
        "assortment_plan", "assortment_plan_summary", "assortment_frontier", kinds=("ortools",)
    ),
    partitions_def=CATEGORIES,
)
def plan_assortment(
    context: dg.AssetExecutionContext, warehouse: dg.ResourceParam[Warehouse]
) -> Iterator[dg.MaterializeResult]:
    """What to carry and how much of it, by the plans of data/rules/assortment.toml."""
    category = context.partition_key
    with warehouse.session() as session:
        data = load_panel(session, category)
        rules, shops = plan_inputs.rules(session, data), tables.shops(session, data)
        draws = tables.draws(session, data, plan_inputs.DRAWS)
        cases = plan_inputs.occasions(session, data, rules.plans, shops, draws)
        plans = [plan_tables.plan(case, SEED) for case in cases]
        about = plan_tables.describe(category, plans, warehouse.settings.currency)
        for name, frame in plan_tables.of_plans(category, plans).items():
            count = session.replace(name, session.connection.from_arrow(frame), category)
            yield written(session, name, count, about.get(name))


@dg.multi_asset(
    name="divide_shelves",
    specs=_specs("capacity_plan", kinds=("ortools",)),
    partitions_def=CATEGORIES,
)
def divide_shelves(
    context: dg.AssetExecutionContext, warehouse: dg.ResourceParam[Warehouse]
) -> dg.MaterializeResult:
    """How each store's shelf of today would be divided best."""
    category = context.partition_key
    with warehouse.session() as session:
        data = load_panel(session, category)
        rules, shops = plan_inputs.rules(session, data), tables.shops(session, data)
        draws = tables.draws(session, data)
        shelves = capacity_tables.divide(session, data, rules.shelf, shops, draws, SEED)
        frame = capacity_tables.rows(category, shelves)
        count = session.replace("capacity_plan", session.connection.from_arrow(frame), category)
        about = capacity_tables.describe(category, shelves, warehouse.settings.currency)
        return written(session, "capacity_plan", count, about)
