"""Rows, figures and pictures of the shelf divided anew."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from retail_assets import contract
from retail_assets.assets.panels import CategoryPanel
from retail_assets.assets.plan_inputs import RULES
from retail_assets.errors import SettingsError
from retail_assets.models.panel import Rates
from retail_assets.report import assortment_plots, metadata
from retail_assets.warehouse import Session

if TYPE_CHECKING:
    from retail_assets.models.assortment.capacity import CapacityPlan
    from retail_assets.models.assortment.plan_rules import ShelfRules
    from retail_assets.models.assortment.shop import Shop

PICTURES = 4
REPLICATIONS, MAX_ROUNDS = 8, 4
"""Of the search. With its defaults, 20 and 8, the demo's bars gained as much (1,697 against 1,688
EUR in Paris, 1,483 against 1,482 in Lisbon) and took 2.7 times as long."""

_SPACE = """
SELECT coalesce(space, 1) AS space FROM panel_products JOIN products USING (product_id)
ORDER BY position
"""


@dataclass(frozen=True)
class Shelf:
    """The plan of one store under one choice model."""

    store_id: str
    choice_model: str
    plan: CapacityPlan


def divide(
    session: Session,
    data: CategoryPanel,
    rules: ShelfRules,
    shops: Sequence[Shop],
    draws: Sequence[Sequence[Rates]],
    seed: int,
) -> list[Shelf]:
    """Every store's shelf, under every choice model the data leave open.

    Raises
    ------
    SettingsError
        Limits of the rules that the room cannot hold, with the store and the products.
    """
    from retail_assets.models.assortment.capacity import plan_capacity
    from retail_assets.models.assortment.marginal_curves import MAX_CAPACITY
    from retail_assets.models.assortment.season import flags

    products = data.panel.products
    space = np.asarray(session.sql(_SPACE).fetchnumpy()["space"], np.float64)
    keep = flags(products, rules.keep, "keep")
    least = np.array([rules.least.get(product, 0) for product in products])
    found = []
    for at, (shop, store) in enumerate(zip(shops, data.panel.stores, strict=True)):
        # What the store does not carry is no candidate, unless the rules give it room.
        usual = np.where(shop.capacity > 0, MAX_CAPACITY, 0)
        most = [rules.most.get(p, int(u)) for p, u in zip(products, usual, strict=True)]
        carried = (shop.capacity > 0) | (least > 0)
        for own in draws:
            try:
                plan = plan_capacity(
                    own,
                    shop,
                    space=space,
                    room=rules.room,
                    keep=keep & carried,
                    least=least,
                    most=np.maximum(most, least),
                    store=at,
                    replications=REPLICATIONS,
                    max_rounds=MAX_ROUNDS,
                    seed=seed,
                )
            except ValueError as error:
                file = session.warehouse.settings.rules / RULES
                raise SettingsError(f"{file}: [[shelf]] in {store.store_id}: {error}") from None
            found.append(Shelf(store.store_id, own[0].choice_model, plan))
    return found


def rows(category: str, shelves: Sequence[Shelf]) -> pa.Table:
    """Rows of ``capacity_plan``."""
    found = [
        {
            "category": category,
            "store_id": shelf.store_id,
            "choice_model": shelf.choice_model,
            "product_id": product,
            "capacity_now": int(shelf.plan.capacity_now[j]),
            "capacity_plan": int(shelf.plan.capacity_plan[j]),
            "marginal_value": float(shelf.plan.marginal_value[j]),
            "marginal_value_se": float(shelf.plan.marginal_value_se[j]),
            "goal": shelf.plan.goal,
            "diff_mean": shelf.plan.diff_mean,
            "diff_ci_low": shelf.plan.diff_ci_low,
            "diff_ci_high": shelf.plan.diff_ci_high,
            "p_improves": shelf.plan.p_improves,
            "verdict": shelf.plan.verdict,
        }
        for shelf in shelves
        for j, product in enumerate(shelf.plan.products)
    ]
    columns = contract.table("capacity_plan").column_names
    return pa.table({column: [row[column] for row in found] for column in columns})


def describe(category: str, shelves: Sequence[Shelf], currency: str) -> dict[str, Any]:
    """Figures and pictures of the run."""
    header = ("store", "choice model", "gain a quarter", "95 % from", "to", "P(improves)")
    table, pictures = [], {}
    for shelf in shelves:
        plan = shelf.plan
        gain = (plan.diff_mean / 100, plan.diff_ci_low / 100, plan.diff_ci_high / 100)
        table.append((shelf.store_id, shelf.choice_model, *gain, plan.p_improves))
    for at, shelf in enumerate(shelves[:PICTURES]):
        plan = shelf.plan
        png = assortment_plots.marginal_value_of_space(
            plan.products,
            plan.marginal_value,
            plan.marginal_value_se,
            plan.capacity_now,
            plan.capacity_plan,
            currency=currency,
            goal=plan.goal,
            title=f"{category}: shelf of {shelf.store_id} ({shelf.choice_model})",
        )
        pictures[f"shelf_{at}"] = metadata.picture(png, f"shelf of {shelf.store_id}")
    return {
        "gains": metadata.table(header, table),
        # Each choice model plans every store: their mean is the category's gain.
        "gain": sum(s.plan.diff_mean for s in shelves)
        / 100
        / len({s.choice_model for s in shelves}),
        **pictures,
    }
