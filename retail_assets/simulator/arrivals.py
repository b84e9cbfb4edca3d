"""Who comes into the shop: first choices, baskets and ranked lists, drawn once.

Everything here is independent of stock. The customer loop itself is
`retail_assets.models.choice.replay`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from retail_assets.models.choice.replay import Customers
from retail_assets.simulator.calendar import TradingCalendar
from retail_assets.simulator.lists import ranked_lists
from retail_assets.simulator.specs import CategorySpec, RetailSpec

# Streams of randomness: one generator per (seed, store, category, purpose), so that a change
# in one place leaves every other draw as it was (common random numbers between variants).
SHOCK, RATES, ARRIVALS, LISTS, ORDERS, SHRINKAGE, RECEIPTS, COUNTS, TRIALS, SHIPMENTS = range(10)


def generator(seed: int, store: int, category: int, purpose: int) -> np.random.Generator:
    """The random stream of one purpose."""
    return np.random.default_rng([seed, store + 1, category + 1, purpose])


@dataclass(frozen=True)
class StoreWeather:
    """What moves all products of a store together.

    Parameters
    ----------
    profile : (T,) float64
        Hour-of-week profile times trend; mean 1 over the store's intervals.
    shock : (D,) float64
        The day's Gamma multiplier; mean 1 in expectation.
    weight : (T,) float64
        profile x shock: what multiplies every arrival rate.
    """

    profile: NDArray[np.float64]
    shock: NDArray[np.float64]
    weight: NDArray[np.float64]


def store_weather(
    spec: RetailSpec, calendar: TradingCalendar, seed: int, store: int
) -> StoreWeather:
    """Draw a store's day shocks and lay its profile over its trading intervals."""
    day = calendar.day
    profile = np.asarray(spec.profile, dtype=np.float64).ravel()[calendar.season]
    if spec.trend:
        profile = profile * (1 + spec.trend) ** (day / 365.0)
    profile = profile / profile.mean()
    shock = np.ones(calendar.n_days)
    if spec.shock_cv > 0:
        shape = spec.shock_cv**-2
        rng = generator(seed, store, -1, SHOCK)
        shock = rng.gamma(shape, 1 / shape, size=calendar.n_days)
    return StoreWeather(profile, shock, profile * shock[day])


def store_rates(spec: RetailSpec, category: int, seed: int) -> NDArray[np.float64]:
    """True λ per store and product (S, n): traffic and the spread between stores."""
    own = spec.categories[category]
    traffic = np.array([store.traffic for store in spec.stores])
    rates = traffic[:, None] * own.arrival_rate[None, :]
    if own.rate_spread > 0:
        rng = generator(seed, -1, category, RATES)
        noise = rng.normal(0, own.rate_spread, size=rates.shape)
        rates = rates * np.exp(noise - own.rate_spread**2 / 2)
    return rates


def draw_customers(
    own: CategorySpec,
    arrival_rate: NDArray[np.float64],
    calendar: TradingCalendar,
    weight: NDArray[np.float64],
    seed: int,
    store: int,
    category: int,
) -> Customers:
    """Everyone who wants something of the category in one store, in order of arrival.

    Parameters
    ----------
    own : CategorySpec
    arrival_rate : (n,) float64
        The store's λ.
    calendar : TradingCalendar
    weight : (T,) float64
        Multiplies every rate.
    seed, store, category : int
        Name the random streams.

    Returns
    -------
    Customers
        Random order within an interval.
    """
    rng = generator(seed, store, category, ARRIVALS)
    mass = np.concatenate([[0.0], np.cumsum(weight)])
    drawn = [
        _moments(own, j, arrival_rate[j], calendar, weight, mass, rng)
        for j in range(own.n_products)
    ]
    moments = [_while_listed(own, j, calendar, each) for j, each in enumerate(drawn)]
    product = np.repeat(np.arange(own.n_products, dtype=np.int16), [len(m) for m in moments])
    moment = np.concatenate(moments)
    order = np.argsort(moment, kind="stable")
    first = product[order]
    interval = moment[order].astype(np.int32)
    units = np.ones(len(first), dtype=np.int16)
    if own.basket_p < 1:
        units = np.minimum(rng.geometric(own.basket_p, len(first)), 1000).astype(np.int16)
    lists = ranked_lists(
        first, own.substitution_rate, own.choice_model, generator(seed, store, category, LISTS)
    )
    return Customers(interval, lists, units)


def _while_listed(
    own: CategorySpec, product: int, calendar: TradingCalendar, moments: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Nobody wants a product before its launch or after it left the range."""
    first, last = 0, calendar.n_days
    if own.launch_day is not None:
        first = int(np.clip(own.launch_day[product], 0, last))
    if own.delist_day is not None:
        last = int(np.clip(own.delist_day[product], 0, last))
    begin, end = calendar.first_interval[[first, last]]
    kept: NDArray[np.float64] = moments[(moments >= begin) & (moments < end)]
    return kept


def price_multipliers(own: CategorySpec, product: int, n_days: int) -> list[tuple[int, int, float]]:
    """Demand multipliers of one product as (first day, stop day, multiplier), covering all days.

    Promotions of one product may not overlap.
    """
    pieces: list[tuple[int, int, float]] = []
    until = 0
    elasticity = 0.0 if own.elasticity is None else float(own.elasticity[product])
    for promotion in sorted(own.promotions, key=lambda p: p.first_day):
        if promotion.product != product or promotion.first_day >= n_days:
            continue
        if promotion.first_day < until:
            raise ValueError(f"product {own.products[product]}: promotions overlap; shorten one")
        ratio = promotion.price / float(own.unit_price[product])
        stop = min(promotion.last_day + 1, n_days)
        pieces.append((until, promotion.first_day, 1.0))
        pieces.append((promotion.first_day, stop, ratio**elasticity * promotion.lift))
        until = stop
    pieces.append((until, n_days, 1.0))
    return [piece for piece in pieces if piece[1] > piece[0]]


def _moments(
    own: CategorySpec,
    product: int,
    rate: float,
    calendar: TradingCalendar,
    weight: NDArray[np.float64],
    mass: NDArray[np.float64],
    rng: np.random.Generator,
) -> NDArray[np.float64]:
    """Arrival moments (interval + fraction) of one product's customers, unsorted.

    Poisson: the number in a stretch is Poisson(λ x its mass), each moment lands by inverse
    of the cumulated weight; cost grows with customers, not intervals. Negative binomial:
    per interval, with ``size = 1 / k``, so variance = mean + k mean².
    """
    parts = []
    for first_day, stop_day, multiplier in price_multipliers(own, product, calendar.n_days):
        a, b = (int(calendar.first_interval[d]) for d in (first_day, stop_day))
        if own.dispersion > 0:
            mean = rate * multiplier * weight[a:b]
            counts = rng.negative_binomial(1 / own.dispersion, 1 / (1 + own.dispersion * mean))
            at = np.repeat(np.arange(a, b, dtype=np.float64), counts)
            parts.append(at + rng.random(len(at)))
        else:
            low, high = mass[a], mass[b]
            n = rng.poisson(rate * multiplier * (high - low))
            at = np.searchsorted(mass, rng.uniform(low, high, n), side="right") - 1
            parts.append(np.clip(at, a, b - 1) + rng.random(n))
    return np.concatenate(parts) if parts else np.empty(0)
