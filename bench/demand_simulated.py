"""Shops whose demand is known: one that prices by what it sees sell, and flash sales.

The chaser sets prices high where a series sells well, high in season, and up after a week
that sold more than it thinks usual at that price; now and then there is a deal, and the
price wobbles by itself. Weekly demand shocks last (AR(1)), so last week's sales tell of this
week's demand *and* of this week's price.

Flash sales start two a day, 20 items each, and sell out about half of the time. Customers
come by Poisson arrivals along a profile of the hours; demand falls in the own price and in
the price relative to the sale's mean.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from retail_assets.models.demand.calendar import weekday
from retail_assets.models.demand.rows import DISCOUNT, PRODUCT, DemandRows, Floats, Ints

FIRST_DAY = 18_262  # 1 January 2020
WEEKS, STORES = 156, 3
RULE_OF_THUMB = -2.0
"""What the chaser takes for the elasticity when it calls a week strong."""


@dataclass(frozen=True)
class Chaser:
    """Rows of a shop whose prices chase demand, with the truth behind them.

    Attributes
    ----------
    rows : DemandRows
    mean : (r,) float64
        True expected units.
    elasticity : (n,) float64
        Of each product.
    """

    rows: DemandRows
    mean: Floats
    elasticity: Floats

    def predict(self, rows: DemandRows) -> Floats:
        """True expected units of the same rows at other prices."""
        step = np.log(rows.price_cents / self.rows.price_cents)
        return np.asarray(self.mean * np.exp(self.elasticity[rows.product] * step))


def chaser(seed: int, *, products: int = 20, sees: str = "sales", chase: float = 0.4) -> Chaser:
    """Three years of weeks of 20 products in 3 stores.

    Parameters
    ----------
    sees : "sales" or "shock"
        What the chaser answers to: last week's sales, as any till shows, or the shock
        itself, which nothing in the data shows.
    chase : float
        Log price per log of last week's surplus.
    """
    rng = np.random.default_rng(seed)
    n = products * STORES
    product = np.repeat(np.arange(products), STORES)
    elasticity = rng.normal(-2.2, 0.3, products)
    base = np.log(rng.uniform(200, 1500, products))[product]
    here = rng.normal(0, 0.5, n)
    level = rng.normal(3.5, 0.6, products)[product] + here
    week = np.arange(WEEKS)
    season = 0.3 * np.sin(2 * np.pi * week / 52) + 0.1 * np.sin(4 * np.pi * week / 52 + 1)
    shock = _ar1(rng, n, WEEKS, rho=0.6, sd=0.3)
    deal = rng.random((WEEKS, n)) < 0.08
    own = rng.normal(0, 0.05, (WEEKS, n)) - deal * rng.uniform(0.15, 0.3, (WEEKS, n))
    price, mean, units = np.zeros((3, WEEKS, n))
    surplus = np.zeros(n)
    for t in week:
        chased = 0.3 * here + 0.3 * season[t] + chase * surplus
        price[t] = np.rint(np.exp(base + chased + own[t]))
        dearer = np.log(price[t]) - base
        usual = level + season[t] + 0.25 * deal[t]
        mean[t] = np.exp(usual + elasticity[product] * dearer + shock[t])
        units[t] = rng.poisson(mean[t])
        told = np.log((units[t] + 0.5) / np.exp(usual + RULE_OF_THUMB * dearer))
        surplus = np.clip(told if sees == "sales" else shock[t], -1, 1)
    size = WEEKS * n
    angle = 2 * np.pi * np.repeat(week, n) / 52
    rows = DemandRows(
        products=tuple(f"product {i}" for i in range(products)),
        product=np.tile(product, WEEKS),
        series=np.tile(np.arange(n), WEEKS),
        period=FIRST_DAY + 7 * np.repeat(week, n),
        days=np.full(size, 7.0),
        units=units.ravel(),
        exposure=np.ones(size),
        price_cents=price.ravel(),
        rel_price=np.full(size, np.nan),
        promo=deal.reshape(-1, 1).astype(float),
        promo_names=("deal",),
        features={"year_sin_1": np.sin(angle), "year_cos_1": np.cos(angle)},
    )
    return Chaser(rows, mean.ravel(), elasticity)


def _ar1(rng: np.random.Generator, n: int, weeks: int, *, rho: float, sd: float) -> Floats:
    """(weeks, n) stationary shocks."""
    shock = rng.normal(0, sd, (weeks, n))
    for t in range(1, weeks):
        shock[t] = rho * shock[t - 1] + np.sqrt(1 - rho**2) * shock[t]
    return shock


HOURS, SALE_DAYS, ITEMS_PER_SALE, SALES_PER_DAY = 48, 2, 20, 2
BRANDS, KINDS = 12, 4
LEAST_EXPOSURE = 0.02


@dataclass(frozen=True)
class Market:
    """Items that flash sales are made of, and the customers who want them.

    Attributes
    ----------
    brand, kind : (m,) int64
    msrp_cents, cost_cents : (m,) int64
    level : (m,) float64
        Log units a sale at 40 % off the list price, priced like its neighbours.
    own, relative : (m,), float
        Slopes on log price and on log price over the sale's mean.
    profile : (48,) float64
        Share of a sale's customers in each of its hours.
    """

    brand: Ints
    kind: Ints
    msrp_cents: Ints
    cost_cents: Ints
    level: Floats
    own: Floats
    relative: float
    profile: Floats

    def mean(self, item: Ints, price_cents: Ints, log_extra: Floats | float) -> Floats:
        """True demand over a sale of items at prices, all of one sale on the last axis."""
        price = np.asarray(price_cents, np.float64)
        own = np.log(price / (0.6 * self.msrp_cents[item]))
        other = np.log(price / price.mean(axis=-1, keepdims=True))
        found = self.level[item] + self.own[item] * own + self.relative * other + log_extra
        return np.asarray(np.exp(found))


def market(rng: np.random.Generator, items: int = 300) -> Market:
    """Twelve brands and four kinds: the attributes tell most of how well an item sells."""
    brand, kind = rng.integers(0, BRANDS, items), rng.integers(0, KINDS, items)
    msrp = np.rint(np.exp(rng.normal(4.6, 0.4, items))).astype(np.int64) * 100
    fame = rng.normal(0, 0.5, BRANDS)
    taste = rng.normal(0, 0.3, (BRANDS, KINDS))
    dear = np.log(msrp / msrp.mean())
    level = 3.2 + fame[brand] + taste[brand, kind] - 0.4 * dear - 0.3 * dear**2
    hour = np.arange(HOURS)
    profile = (1 + 4 * np.exp(-hour / 4)) * (1.1 + np.cos(2 * np.pi * (hour - 9) / 24))
    return Market(
        brand=brand,
        kind=kind,
        msrp_cents=msrp,
        cost_cents=np.rint(msrp * rng.uniform(0.15, 0.3, items)).astype(np.int64),
        level=level + rng.normal(0, 0.2, items),
        own=rng.normal(-1.5, 0.2, items),
        relative=-0.7,
        profile=profile / profile.sum(),
    )


def usual_prices(shop: Market, item: Ints, exposures: Ints, rng: np.random.Generator) -> Ints:
    """What the retailer charges: deeper the oftener shown, less off what sells well."""
    depth = np.array([0.35, 0.45, 0.55, 0.6])[np.minimum(exposures, 3)]
    depth = depth - 0.06 * (shop.level[item] - shop.level.mean()) + rng.normal(0, 0.05, len(item))
    dollars = np.rint(shop.msrp_cents[item] * (1 - np.clip(depth, 0.15, 0.75)) / 100)
    return np.asarray(np.maximum(dollars, 2) * 100 - 1, np.int64)


@dataclass(frozen=True)
class History:
    """Past flash sales, one row per item and sale, and what nobody saw.

    Attributes
    ----------
    rows : DemandRows
        Units sold, exposed until they sold out.
    sale : (r,) int64
    mean, wanted : (r,) float64
        True mean demand, and the units wanted in the event.
    sold_out : (r,) bool
    hours : (r,) float64
        Share of the sale's hours in stock.
    shown : (m,) int64
        Sales each item was in.
    """

    rows: DemandRows
    sale: Ints
    mean: Floats
    wanted: Floats
    sold_out: NDArray[np.bool_]
    hours: Floats
    shown: Ints


def sell(shop: Market, rng: np.random.Generator, *, sales: int = 120) -> History:
    """Run sales one after another, with the retailer's usual prices and orders.

    Exposure is the share of a usual sale's customers who came before the item sold out;
    when they come is learnt from the items that never did (given how many came, Poisson
    arrivals are independent draws of the profile).
    """
    shown = np.zeros(len(shop.level), np.int64)
    parts: list[dict[str, Floats | Ints]] = []
    for sale in range(sales):
        item = rng.choice(len(shown), ITEMS_PER_SALE, replace=False)
        day = np.full(ITEMS_PER_SALE, sale // SALES_PER_DAY)
        price = usual_prices(shop, item, shown[item], rng)
        mean = shop.mean(item, price, day_effect(day) + rng.normal(0, 0.05))
        parts.append(
            {
                "sale": np.full(ITEMS_PER_SALE, sale),
                "day": day,
                "item": item,
                "price": price,
                "rel": price / price.mean(),
                "mean": mean,
                "stock": order(shop, item, rng),
                "wanted": rng.poisson(mean),
                "shown": shown[item],
            }
        )
        shown[item] += 1
    t = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    sold = np.minimum(t["wanted"], t["stock"])
    sold_out = t["wanted"] >= t["stock"]
    # the last unit goes to the stock-th of the customers in order of arrival
    last = rng.beta(t["stock"], np.maximum(t["wanted"] - t["stock"], 0) + 1.0)
    ends = np.concatenate([[0.0], np.cumsum(shop.profile)])
    hour = np.where(sold_out, np.interp(last, ends, np.arange(HOURS + 1.0)), float(HOURS))
    kept = rng.multinomial(int(sold[~sold_out].sum()), shop.profile)
    learnt = np.concatenate([[0.0], np.cumsum(kept / kept.sum())])
    exposure = np.interp(hour, np.arange(HOURS + 1.0), learnt)
    return History(
        rows=flash_rows(shop, t, sold.astype(float), np.clip(exposure, LEAST_EXPOSURE, 1.0)),
        sale=t["sale"].astype(np.int64),
        mean=t["mean"].astype(float),
        wanted=t["wanted"].astype(float),
        sold_out=sold_out,
        hours=np.clip(hour / HOURS, LEAST_EXPOSURE, 1.0),
        shown=shown,
    )


def flash_rows(
    shop: Market, table: dict[str, Floats | Ints], units: Floats, exposure: Floats
) -> DemandRows:
    """One row per item and sale, described as the platform describes sales."""
    item = table["item"].astype(np.int64)
    day = FIRST_DAY + table["day"].astype(np.int64)
    price = table["price"].astype(float)
    return DemandRows(
        products=tuple(f"item {i}" for i in range(len(shop.level))),
        product=item,
        series=item,
        period=day,
        days=np.full(len(item), float(SALE_DAYS)),
        units=units,
        exposure=exposure,
        price_cents=price,
        rel_price=table["rel"].astype(float),
        promo=np.zeros((len(item), 0)),
        promo_names=(),
        features={
            PRODUCT: item.astype(float),
            "attr_brand": shop.brand[item].astype(float),
            "attr_kind": shop.kind[item].astype(float),
            "weekday": weekday(day).astype(float),
            "log_units_available": np.log(table["stock"]),
            "exposures": table["shown"].astype(float),
            DISCOUNT: 1 - price / shop.msrp_cents[item],
        },
    )


def day_effect(day: Ints | int) -> Floats:
    """Log demand of a weekday; the weekend is slow."""
    effect = np.array([0.0, 0.05, 0.1, 0.1, 0.0, -0.2, -0.1])
    return np.asarray(effect[weekday(FIRST_DAY + np.asarray(day))])


def order(shop: Market, item: Ints, rng: np.random.Generator) -> Ints:
    """Units bought for a sale: what buyers expect of it, give or take 60 %."""
    expected = np.exp(shop.level[item]) * 1.6 * np.exp(rng.normal(0, 0.6, len(item)))
    return np.asarray(np.maximum(np.rint(expected), 2), np.int64)
