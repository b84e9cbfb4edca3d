"""Prices of the coming sales: demand rows, a fitted model, curves, and the optimiser."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from bench.chain_till import Belief, Till
from bench.chain_worlds import Floats, Ints, StoreHalf, World
from retail_assets.models.demand.backtest import backtest, choose, origins_of
from retail_assets.models.demand.calendar import season_features, weekday
from retail_assets.models.demand.curves import demand_curves
from retail_assets.models.demand.elasticity import lately, reference_slope, rivals_of, step_of
from retail_assets.models.demand.exposure import daily_exposure, interval_weights
from retail_assets.models.demand.models import RESPONSIVE, fit_models
from retail_assets.models.demand.price_model import PriceModel, price_model
from retail_assets.models.demand.rows import DISCOUNT, PRODUCT, DemandRows
from retail_assets.models.demand.thin import pool, thin_products
from retail_assets.models.pricing.candidates import Candidates
from retail_assets.models.pricing.optimise import optimise

HORIZON_DAYS, ORIGINS, GAP_DAYS = 28, 4, 14
"""As assets/demand_tables."""
LEAST_EXPOSURE = 0.02
EPOCH_ORDINAL = 719_163
Demand = Callable[[int, slice, Ints], Floats]
"""Units of a product over days of the coming half at each of some prices."""


def rows_of(till: Till, world: World, exposure: Floats) -> DemandRows:
    """Sales by product and day over all stores; ``exposure`` (D, n - 1)."""
    n_days, n = till.prices.shape
    day, product = (v.ravel() for v in np.indices((n_days, n)))
    seen = exposure.ravel() >= LEAST_EXPOSURE
    day, product = day[seen], product[seen]
    return _rows(
        world,
        till.panel.products,
        product,
        world.past.first_day.toordinal() - EPOCH_ORDINAL + day,
        till.units.sum(axis=0)[day, product],
        exposure[day, product],
        till.prices[day, product],
        till.in_sale[day, product],
    )


def _rows(
    world: World,
    products: tuple[str, ...],
    product: Ints,
    period: Ints,
    units: Floats,
    exposure: Floats,
    price: Ints,
    in_sale: Ints,
) -> DemandRows:
    regions = [store.region for store in world.past.stores if store.region]
    countries = {region: regions.count(region) / len(regions) for region in regions}
    return DemandRows(
        products=products,
        product=product,
        series=product,
        period=period,
        days=np.ones(len(product)),
        units=units,
        exposure=exposure,
        price_cents=price.astype(np.float64),
        rel_price=np.full(len(product), np.nan),
        promo=in_sale.astype(np.float64)[:, None],
        promo_names=("feature",),
        features={
            PRODUCT: product.astype(np.float64),
            **season_features(period, countries, yearly=False),
            DISCOUNT: 1 - price / world.regular_cents[product],
        },
        prior_level=np.full(len(products), np.nan),
    )


def exposure_of(till: Till, world: World, belief: Belief, *, censoring: bool = True) -> Floats:
    """(D, n - 1) what sales are proportional to; without the offset, who was open."""
    rates = belief.rates
    first = till.first_interval
    days = world.past.first_day.toordinal() - EPOCH_ORDINAL + np.arange(len(first[0]) - 1)
    usual = rates.arrival_rate * np.array([own[-1] for own in first])[:, None]
    share = usual / usual.sum(axis=0)
    total = np.zeros((len(days), till.panel.n_products))
    for s, store in enumerate(till.panel.stores):
        if not censoring or belief.out is None:
            opened = np.diff(first[s]) > 0
            total += opened[:, None] * share[s]
            continue
        weight = interval_weights(belief.profile[s][store.season], first[s], weekday(days))
        found = daily_exposure(
            weight, first[s], *belief.out[s], rates.arrival_rate[s], rates.substitution_rate
        )
        total += found.total * share[s]
    return total


def champion(rows: DemandRows) -> PriceModel:
    """The price champion of a backtest fitted to everything, as assets/demand_tables does."""
    tested = backtest(
        rows,
        origins_of(rows, horizon_days=HORIZON_DAYS, most=ORIGINS),
        horizon_days=HORIZON_DAYS,
        gap_days=GAP_DAYS,
        names=RESPONSIVE,
        rivals=rivals_of(rows),
    )
    pooled = pool(rows, np.array(rows.products, dtype=object)[thin_products(rows)].tolist())
    nuisance = lately(pooled, "poisson", gap_days=step_of(pooled))
    slope = reference_slope(pooled, nuisance=nuisance)
    name = choose(tested, slope).price
    models = fit_models(rows, gap_days=GAP_DAYS, names=(name, "log_log_ols"))
    return price_model(models, name, None, identified=slope.identified)


@dataclass(frozen=True)
class Expected:
    """Demand as a fitted model expects it of the coming half."""

    world: World
    till: Till
    model: PriceModel

    def __call__(self, product: int, days: slice, prices: Ints) -> Floats:
        world = self.world
        window = np.arange(days.start, days.stop)
        period = world.coming.first_day.toordinal() - EPOCH_ORDINAL + window
        own = np.full(len(window), product)
        regular = np.full(len(window), world.regular_cents[product])
        rows = _rows(
            world,
            self.till.panel.products,
            own,
            period,
            np.full(len(window), np.nan),
            np.ones(len(window)),
            regular,
            np.ones(len(window), bool),
        )
        rows = self.model.numbered(rows)
        place = np.full(len(prices), rows.product[0])
        return demand_curves(self.model.grown(rows), rows, place, prices).demand


@dataclass(frozen=True)
class Truth:
    """Demand as it will be on average."""

    world: World
    stores: tuple[StoreHalf, ...]

    def __call__(self, product: int, days: slice, prices: Ints) -> Floats:
        own = self.world.own
        assert own.elasticity is not None
        people = 0.0
        for store in self.stores:
            a, b = store.calendar.first_interval[[days.start, days.stop]]
            people += store.arrival_rate[product] * store.normal[a:b].sum()
        lift = own.promotions[0].lift
        ratio = prices / self.world.regular_cents[product]
        return np.asarray(people / own.basket_p * lift * ratio ** own.elasticity[product])


def sale_prices(world: World, demand: Demand, available: Ints) -> Ints:
    """(D, n) prices: of each sale those that earn most, by ``demand`` and the stock there is."""
    chosen: dict[str, dict[int, int]] = {}
    sales = sorted({(p.first_day, p.promo_id, p.last_day) for p in world.own.promotions})
    for first, name, last in sales:
        items = [p.product for p in world.own.promotions if p.promo_id == name]
        ladders = [world.ladder[j] for j in items]
        low = sum(int(own[0]) for own in ladders)
        high = sum(int(own[-1]) for own in ladders)
        days = slice(first, last + 1)
        count = [len(own) for own in ladders]
        plan = optimise(
            Candidates(
                tuple(world.own.products[j] for j in items),
                np.maximum(available[items], 1),
                world.cost_cents[items],
                np.repeat(np.arange(len(items)), count),
                np.concatenate(ladders),
                np.full(sum(count), low),
                np.full(sum(count), high),
                np.concatenate(
                    [demand(j, days, own) for j, own in zip(items, ladders, strict=True)]
                ),
            ),
            "margin_cents",
        )
        chosen[name] = dict(zip(items, plan.price_cents.tolist(), strict=True))
    return world.prices(chosen)
