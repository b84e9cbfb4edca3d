"""Step 2: demand and substitution rates, with uncertainty. One fit yields four tables."""

from collections.abc import Iterator

import dagster as dg

from retail_assets.assets import posterior_tables as tables
from retail_assets.assets.fitted_status import path_sampler, restore
from retail_assets.assets.panels import load_panel
from retail_assets.assets.specs import asset_spec, written
from retail_assets.partitions import CATEGORIES
from retail_assets.warehouse import Warehouse

SEED = 20_260_102
DEPS = (
    "inventory_status",
    "inventory_status_params",
    "demand_profile",
    "substitution_priors",
    "products",
    "stores",
)
TABLES = (
    "substitution_posterior",
    "demand_rates",
    "substitution_rates",
    "substitution_diagnostics",
)


@dg.multi_asset(
    name="infer_substitution",
    specs=[
        asset_spec(
            name,
            every=("interval_sales", "trading_days"),
            deps=DEPS,
            kinds=["jax"],
        )
        for name in TABLES
    ],
    partitions_def=CATEGORIES,
)
def infer_substitution(
    context: dg.AssetExecutionContext, warehouse: dg.ResourceParam[Warehouse]
) -> Iterator[dg.MaterializeResult]:
    """Fit one category's posterior over whole sampled status histories."""
    from retail_assets.models.substitution.levels import LevelDraws
    from retail_assets.models.substitution.posterior import fit_posterior

    category = context.partition_key
    with warehouse.session() as session:
        data = load_panel(session, category)
        status, priors = restore(session, data), tables.priors(session, data)
        paths = path_sampler(status, seed=SEED)
        redraw = LevelDraws(data.panel, [store.level for store in status.stores])
        posterior = fit_posterior(
            data.panel, paths, status.weight, priors=priors, seed=SEED, redraw_level=redraw
        )
        rows, about = tables.of_posterior(session, data, posterior), tables.describe(posterior)
        for name, frame in rows.items():
            count = session.replace(name, session.connection.from_arrow(frame), category)
            yield written(session, name, count, about.get(name))
