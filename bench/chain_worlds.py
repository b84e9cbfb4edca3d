"""Worlds of the bench ``chain``: a retailer, its past half-year and the customers to come.

A world is a preset with other numbers around it: rates x LogNormal(.25), each row of the
substitution matrix (leaving included) Dirichlet with the weight of 30 customers around the
preset's, elasticities x LogNormal(.2). The new item's rate is that of any of the preset's
products, its own among them, so a group's prior is neither right nor wrong by design. The
retailer knows none of this: its shelves are the preset's.

Presets without prices that move get elasticities around -3 and a sale a month; their intervals
stand for ten minutes, so that half a year has 26,208 of them and a review comes about once a
week. Every world has two stores, and one category that is decided on.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from retail_assets.models.choice.replay import Customers, Replenishment, ShrinkageEvents
from retail_assets.models.pricing.goals import PriceLadder
from retail_assets.simulator import CategorySpec, History, RetailSpec, load_preset, simulate
from retail_assets.simulator.arrivals import draw_customers, store_rates, store_weather
from retail_assets.simulator.calendar import TradingCalendar, trading_calendar
from retail_assets.simulator.specs import Promotion, ReviewCycle, WeeklyDeliveries
from retail_assets.simulator.supply import draw_replenishment, draw_shrinkage, order_levels

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

PRESETS = ("demo", "paper", "overdispersed", "common_shock")
HALF = 182
LAUNCH, UPDATE = 28, 42
"""Days of the second half: a Monday each. Two weeks of its own sales tell of the new item."""
NEW_ITEM = {"demo": "bar_85"}
OTHERWISE_NEW = "d"
TRAFFIC = (1.0, 0.6)
RATE_SD, ROW_WEIGHT, ELASTICITY_SD = 0.25, 30.0, 0.2
ELASTICITY = -3.0
SALE_DAYS = (15, 43, 71, 106, 134, 155)
SALE_LENGTH, SALE_ITEMS = 3, 2
LADDER = PriceLadder()
EXTRAPOLATION = 0.1
"""No price further than this below what was ever charged: rules/pricing.toml's default."""


@dataclass(frozen=True)
class World:
    """A retailer before anything happened.

    Parameters
    ----------
    past : RetailSpec
        First half; its first category is the one decided on, without the new item.
    coming : RetailSpec
        Second half of that category alone, the new item last, promotions as the retailer
        would repeat them.
    ladder : tuple of n int64 arrays
        Legal prices in a sale, cents, ascending; the last is the regular price.
    """

    preset: str
    seed: int
    past: RetailSpec
    coming: RetailSpec
    ladder: tuple[Ints, ...]

    @property
    def own(self) -> CategorySpec:
        return self.coming.categories[0]

    @property
    def regular_cents(self) -> Ints:
        return cents(self.own.unit_price)

    @property
    def cost_cents(self) -> Ints:
        return cents(self.own.unit_cost)

    def regular_prices(self) -> Ints:
        """(D, n) cents, no discount ever."""
        return np.tile(self.regular_cents, (self.coming.n_days, 1))

    def prices(self, of_sale: dict[str, dict[int, int]]) -> Ints:
        """(D, n) cents a day: regular, but in sales what ``of_sale`` says of its products."""
        table = self.regular_prices()
        for promotion in self.own.promotions:
            days = slice(promotion.first_day, promotion.last_day + 1)
            table[days, promotion.product] = of_sale[promotion.promo_id][promotion.product]
        return table

    def retailer_prices(self) -> Ints:
        """(D, n) with the retailer's own discounts."""
        sales: dict[str, dict[int, int]] = {}
        for p in self.own.promotions:
            sales.setdefault(p.promo_id, {})[p.product] = round(100 * p.price)
        return self.prices(sales)


@dataclass(frozen=True)
class StoreHalf:
    """One store's second half, whatever is decided.

    Parameters
    ----------
    calendar : TradingCalendar
    normal : (T,) float64
        Profile without the day's shock: what can be expected of each interval.
    arrival_rate : (n,) float64
        True, per interval at weight 1.
    customers : Customers
        Everyone whom the lowest legal prices would bring.
    mark : (N,) float64
        Uniform: a customer comes where the arm's prices bring more than this share.
    orders : Replenishment
        When orders may be placed and arrive; its levels are the retailer's.
    shrinkage : event arrays or None
    stock : (n,) int64
        Units at the start, on the shelf or under way: what the first half left.
    """

    calendar: TradingCalendar
    normal: Floats
    arrival_rate: Floats
    customers: Customers
    mark: Floats
    orders: Replenishment
    shrinkage: ShrinkageEvents | None
    stock: Ints

    @property
    def room(self) -> int:
        """Units the shelf holds today: the retailer's levels of the first half."""
        return int(self.orders.order_up_to[:-1].sum())


def cents(money: Floats) -> Ints:
    return np.rint(100 * money).astype(np.int64)


def draw_world(preset: str, seed: int) -> World:
    """A world of a preset; the same seed gives the same world."""
    spec = _half_year(load_preset(preset))
    name = NEW_ITEM.get(preset, OTHERWISE_NEW)
    rng = np.random.default_rng([PRESETS.index(preset), seed, 2026])
    own = _around(_new_item_last(spec.categories[0], name), rng)
    n = own.n_products
    known = _some(own, np.arange(n - 1))
    launch = np.zeros(n, np.int64)
    launch[-1] = LAUNCH
    # The coming half is a half-year's growth later.
    grown = own.arrival_rate * (1 + spec.trend) ** 0.5
    later = replace(own, arrival_rate=grown, launch_day=launch)
    after = spec.first_day.fromordinal(spec.first_day.toordinal() + HALF)
    return World(
        preset,
        seed,
        replace(spec, categories=(known, *spec.categories[1:])),
        replace(spec, categories=(later,), first_day=after),
        tuple(_legal(own, j) for j in range(n)),
    )


def _half_year(spec: RetailSpec) -> RetailSpec:
    if spec.name == "demo":
        return replace(spec, n_days=HALF, stores=(spec.stores[0], spec.stores[3]))
    two = tuple(
        replace(spec.stores[0], store_id=f"s{at}", traffic=traffic)
        for at, traffic in enumerate(TRAFFIC)
    )
    return replace(spec, stores=two, n_days=HALF, n_intervals=None, interval_minutes=10)


def _new_item_last(own: CategorySpec, name: str) -> CategorySpec:
    new = own.products.index(name)
    order = np.append(np.delete(np.arange(own.n_products), new), new)
    place = {int(old): at for at, old in enumerate(order)}
    promotions = tuple(replace(p, product=place[p.product]) for p in own.promotions)
    return replace(_some(own, order), promotions=promotions, launch_day=None)


def _some(own: CategorySpec, which: Ints) -> CategorySpec:
    """The category of some of its products; promotions are kept as they are."""
    chosen: dict[str, Any] = {
        name: getattr(own, name)[which]
        for name in ("arrival_rate", "unit_price", "unit_cost", "order_up_to", "elasticity")
        if getattr(own, name) is not None
    }
    supply = own.supply
    if isinstance(supply, WeeklyDeliveries):
        supply = replace(supply, weekdays=tuple(supply.weekdays[j] for j in which))
    return replace(
        own,
        products=tuple(own.products[j] for j in which),
        substitution_rate=own.substitution_rate[np.ix_(which, which)],
        supply=supply,
        infos=(),
        launch_day=None,
        **chosen,
    )


def _around(own: CategorySpec, rng: np.random.Generator) -> CategorySpec:
    """Other numbers around the preset's; shelves stay."""
    n = own.n_products
    like = own.arrival_rate.copy()
    like[-1] = rng.choice(own.arrival_rate)
    rate = like * np.exp(rng.normal(0, RATE_SD, n))
    leaves = 1 - own.substitution_rate.sum(axis=1)
    whole = np.column_stack([own.substitution_rate, leaves])
    drawn = rng.gamma(ROW_WEIGHT * whole)
    alpha = drawn[:, :n] / drawn.sum(axis=1, keepdims=True)
    elasticity = np.full(n, ELASTICITY) if own.elasticity is None else own.elasticity
    elasticity = elasticity * np.exp(rng.normal(0, ELASTICITY_SD, n))
    promotions = own.promotions or _monthly_sales(own, rng)
    return replace(
        own,
        arrival_rate=rate,
        substitution_rate=alpha,
        elasticity=elasticity,
        promotions=promotions,
    )


def _monthly_sales(own: CategorySpec, rng: np.random.Generator) -> tuple[Promotion, ...]:
    """10-30 % off two products in turn, from Tuesday to Thursday."""
    found = []
    for sale, first in enumerate(SALE_DAYS):
        for item in range(SALE_ITEMS):
            j = (SALE_ITEMS * sale + item) % (own.n_products - 1)
            price = round(float(own.unit_price[j]) * rng.uniform(0.7, 0.9), 1)
            last = first + SALE_LENGTH - 1
            found.append(Promotion(j, first, last, price, f"sale_{sale}", 1.1, feature=True))
    return tuple(found)


def _legal(own: CategorySpec, product: int) -> Ints:
    regular = int(cents(own.unit_price)[product])
    charged = [100 * p.price for p in own.promotions if p.product == product]
    lowest = (1 - EXTRAPOLATION) * min([*charged, regular])
    prices = [p for p in LADDER.prices(regular) if lowest - 1e-9 <= p < regular]
    return np.array([*prices, regular], np.int64)


def past_of(world: World) -> History:
    """The first half under the retailer's own policy."""
    return simulate(world.past, world.seed)


def coming_of(world: World, stock: list[Ints]) -> list[StoreHalf]:
    """The second half of every store, drawn once; ``stock`` is what the first half left."""
    seed = world.seed + 1_000_000
    low = tuple(
        replace(p, price=float(world.ladder[p.product][0]) / 100) for p in world.own.promotions
    )
    own = replace(world.own, promotions=low)
    spec = replace(world.coming, categories=(own,))
    rates = store_rates(spec, 0, seed)
    known = world.past.categories[0]
    found = []
    for s, store in enumerate(spec.stores):
        calendar = trading_calendar(spec, store)
        weather = store_weather(spec, calendar, seed, s)
        people = draw_customers(own, rates[s], calendar, weather.weight, seed, s, 0)
        levels = order_levels(own, rates[s], store.traffic)
        # Review cycles keep their rhythm; late vans are late on other days.
        when = world.seed if isinstance(own.supply, ReviewCycle) else seed
        orders = draw_replenishment(known, calendar, when, s, 0, (levels[0][:-1], levels[1][:-1]))
        mark = np.random.default_rng([seed, s, 99]).random(len(people))
        found.append(
            StoreHalf(
                calendar,
                weather.profile,
                rates[s],
                people,
                mark,
                _launched(orders, int(calendar.first_interval[LAUNCH]), *levels),
                draw_shrinkage(own, calendar.n_intervals, seed, s, 0),
                np.append(stock[s], 0),
            )
        )
    return found


def _launched(orders: Replenishment, at: int, level: Ints, point: Ints) -> Replenishment:
    """With the new item: on the shelf at its launch, then supplied like the last product."""
    own = slice(orders.indptr[-2], orders.indptr[-1])
    later = orders.review[own] > at
    review = np.append(at, orders.review[own][later])
    arrival = np.append(at, orders.arrival[own][later])
    return Replenishment(
        np.append(orders.indptr, orders.indptr[-1] + len(review)),
        np.concatenate([orders.review, review]),
        np.concatenate([orders.arrival, arrival]),
        level,
        point,
    )
