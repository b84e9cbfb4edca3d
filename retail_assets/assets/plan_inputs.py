"""From the tables to what an assortment plan is made of: rules, seasons, markets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from retail_assets.assets.panels import CategoryPanel, StoreClock
from retail_assets.assets.scenario_tables import HORIZON_DAYS, MINUTES_PER_DAY
from retail_assets.errors import SettingsError
from retail_assets.models.panel import Rates
from retail_assets.warehouse import Session

if TYPE_CHECKING:
    from retail_assets.models.assortment.plan_rules import AssortmentRules, PlanRules
    from retail_assets.models.assortment.season import Cap, Market, Season
    from retail_assets.models.assortment.shop import Shop

RULES = "assortment.toml"
DAYS_PER_YEAR = 365
DRAWS = 40
"""Posterior draws of a market; the upper bound solves a relaxation for each."""

# A store's own shelf row beats the chain's.
_PRODUCTS = """
WITH rows AS (
    SELECT s.*, row_number() OVER (PARTITION BY product_id ORDER BY store_id NULLS LAST) AS choice
    FROM shelf s WHERE coalesce(store_id, $store) = $store
)
SELECT p.position, pack_size, space, min_qty, max_qty, 100 * salvage AS salvage_cents,
       100 * fixed_cost AS fixed_cents, brand, family, vendor, style_id, size, products."group"
FROM panel_products p JOIN products USING (product_id)
LEFT JOIN rows ON rows.product_id = p.product_id AND choice = 1
ORDER BY p.position
"""


@dataclass(frozen=True)
class Occasion:
    """One plan to make: whose stock it is, what may be bought, who comes.

    ``markets`` holds one market per choice model the data leave open; ``vendors`` the
    products of each vendor, in the order they are met.
    """

    plan_id: str
    store_id: str | None
    season: Season
    markets: tuple[Market, ...]
    vendors: dict[str, tuple[str, ...]]


def rules(session: Session, data: CategoryPanel) -> AssortmentRules:
    """The category's plans and shelf limits from ``rules/assortment.toml``.

    Raises
    ------
    SettingsError
        With the file, the plan and what is wrong in it.
    """
    from retail_assets.models.assortment.plan_rules import parse_rules

    def parse(given: Mapping[str, Any]) -> AssortmentRules:
        return parse_rules(given, data.category, data.panel.products)

    return session.warehouse.settings.read_rules(RULES, parse)


def occasions(
    session: Session,
    data: CategoryPanel,
    plans: Sequence[PlanRules],
    shops: Sequence[Shop],
    draws: Sequence[Sequence[Rates]],
) -> list[Occasion]:
    """Every plan of the rules at every stock it is made for; none where a cost is missing.

    Raises
    ------
    SettingsError
        A store or vendor nobody knows, must-carry products beyond a limit, or a product
        whose salvage is not below its cost: with the plan and the ids.
    """
    found: list[Occasion] = []
    if any(shop.unit_cost_cents is None for shop in shops):
        return found
    for plan in plans:
        for own in _stocks(session, data, plan):
            together = plan.stores == "together"
            store = None if together else data.panel.stores[own[0]].store_id
            name = plan.name if store is None else f"{plan.name}, {store}"
            products = [_products(session, data.panel.stores[at].store_id) for at in own]
            markets = tuple(_market(data, plan, own, shops, each) for each in draws)
            try:
                season = _season(data, plan, [shops[at] for at in own], products)
                vendors = _vendors(data, plan, products[0])
            except ValueError as error:
                raise _at(session, plan, error) from None
            found.append(Occasion(name, store, season, markets, vendors))
    return found


def _at(session: Session, plan: PlanRules, error: ValueError | str) -> SettingsError:
    return SettingsError(f"{session.warehouse.settings.rules / RULES}: plan {plan.name!r}: {error}")


def _stocks(session: Session, data: CategoryPanel, plan: PlanRules) -> list[list[int]]:
    """Positions of the stores that sell from one stock, for each stock."""
    every = [store.store_id for store in data.panel.stores]
    if plan.stores == "together":
        return [list(range(len(every)))]
    if plan.stores == "each":
        return [[at] for at in range(len(every))]
    unknown = [store for store in plan.stores if store not in every]
    if unknown:
        raise _at(
            session, plan, f"unknown store {', '.join(unknown)}; there are {', '.join(every)}"
        )
    return [[every.index(store)] for store in plan.stores]


def _products(session: Session, store: str) -> dict[str, NDArray[Any]]:
    rows = session.sql(_PRODUCTS, {"store": store}).fetchnumpy()
    words = ("brand", "family", "vendor", "style_id", "size", "group")
    return {
        name: np.ma.filled(np.ma.asarray(value, object), "")
        if name in words
        else np.ma.filled(np.ma.asarray(value, float), np.nan)
        for name, value in rows.items()
    }


def _season(
    data: CategoryPanel,
    plan: PlanRules,
    shops: Sequence[Shop],
    products: Sequence[dict[str, NDArray[Any]]],
) -> Season:
    """Money and limits of one stock; what differs by store is the first store's."""
    from retail_assets.models.assortment.season import NO_LIMIT, Season, flags

    first, names, share = products[0], data.panel.products, plan.weeks * 7 / DAYS_PER_YEAR
    cost = np.asarray(shops[0].unit_cost_cents, np.float64)
    fixed = np.sum([np.nan_to_num(each["fixed_cents"]) for each in products], axis=0)
    least = np.sum([np.nan_to_num(each["min_qty"]) for each in products], axis=0)
    most = np.sum([_filled(each["max_qty"], NO_LIMIT) for each in products], axis=0)
    budget, space = plan.budget, plan.space
    return Season(
        products=names,
        price=shops[0].unit_price_cents.astype(np.float64),
        unit_cost=cost,
        salvage=_filled(first["salvage_cents"], plan.salvage_share * cost),
        fixed_cost=fixed * share,
        space=_filled(first["space"], 1.0),
        pack_size=_filled(first["pack_size"], 1.0).astype(np.int64),
        min_quantity=least.astype(np.int64),
        max_quantity=np.minimum(most, NO_LIMIT).astype(np.int64),
        must_carry=flags(names, plan.must_carry, "must_carry"),
        excluded=flags(names, plan.exclude, "exclude"),
        budget=float("inf") if budget is None else 100 * budget,
        space_limit=float("inf") if space is None else space,
        max_products=NO_LIMIT if plan.max_products is None else plan.max_products,
        caps=_caps(data, plan, first),
    )


def _filled(values: NDArray[Any], default: NDArray[np.float64] | float) -> NDArray[np.float64]:
    return np.where(np.isnan(values), default, values)


def _caps(data: CategoryPanel, plan: PlanRules, first: dict[str, NDArray[Any]]) -> tuple[Cap, ...]:
    from retail_assets.models.assortment.season import Cap

    found = []
    for rule in plan.at_most:
        own = first[rule.column] == rule.value
        if not own.any():
            raise ValueError(f"at_most: no product has {rule.column} {rule.value!r}")
        members = tuple(np.array(data.panel.products)[own].tolist())
        found.append(Cap(f"of {rule.column} {rule.value}", members, rule.products))
    return tuple(found)


def _vendors(
    data: CategoryPanel, plan: PlanRules, first: dict[str, NDArray[Any]]
) -> dict[str, tuple[str, ...]]:
    products = np.array(data.panel.products)
    found = {
        vendor: tuple(products[first["vendor"] == vendor].tolist()) for vendor in plan.by_vendor
    }
    unknown = [vendor for vendor, own in found.items() if not own]
    if unknown:
        known = ", ".join(sorted({str(v) for v in first["vendor"] if v})) or "none"
        raise ValueError(f"by_vendor: no product of {', '.join(unknown)}; vendors are {known}")
    return found


def _market(
    data: CategoryPanel,
    plan: PlanRules,
    own: Sequence[int],
    shops: Sequence[Shop],
    draws: Sequence[Rates],
) -> Market:
    """Units wanted first in the season, as in the last quarter; stores of one stock summed.

    A customer of several units counts as several, each free to substitute.
    """
    from retail_assets.models.assortment.season import Market

    first = np.zeros((len(draws), data.panel.n_products))
    for at in own:
        shop, clock = shops[at], data.clocks[at]
        weight = shop.n_intervals if shop.weight is None else float(shop.weight.sum())
        exposure = weight * 7 * plan.weeks / _days(clock)
        units = 1.0 if shop.units_mean is None else shop.units_mean
        first += exposure * np.array([rates.arrival_rate[at] for rates in draws]) * units
    return Market(
        data.panel.products,
        first,
        np.array([rates.substitution_rate for rates in draws]),
        draws[0].choice_model,
        cv=plan.customers_cv,
        distribution=plan.distribution,
    )


def _days(clock: StoreClock) -> float:
    """Calendar days of the trading days that stand for the season."""
    begin = clock.opens[max(0, len(clock.opens) - HORIZON_DAYS)]
    return float((clock.opens[-1] - begin) / 60e6 / MINUTES_PER_DAY + 1)
