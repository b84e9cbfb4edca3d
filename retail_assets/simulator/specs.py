"""What a simulated retailer is made of, as frozen dataclasses. Nothing is drawn here.

Rates are customers per trading interval at profile 1; money is in currency units
(floats, because the published presets have prices such as 8.051); days count from
``RetailSpec.first_day``.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date

import numpy as np
from numpy.typing import NDArray

from retail_assets.models.panel import ChoiceModel

DAY_MINUTES = 1440
ALL_DAY = ((0, DAY_MINUTES),) * 7
FLAT_PROFILE = ((1.0,) * 24,) * 7


@dataclass(frozen=True)
class StoreSpec:
    """A store and when it trades.

    Parameters
    ----------
    store_id, timezone, name, region, cluster : str
    hours : seven of (open, close) minutes after local midnight, or None = closed
        Monday first. A close beyond 1440 lies on the next calendar day.
    closed : tuple of date
        Business dates on which the store stays shut.
    traffic : float
        Multiplies every arrival rate of the store.
    """

    store_id: str
    timezone: str = "UTC"
    name: str = ""
    region: str = ""
    cluster: str = ""
    hours: tuple[tuple[int, int] | None, ...] = ALL_DAY
    closed: tuple[date, ...] = ()
    traffic: float = 1.0


@dataclass(frozen=True)
class ReviewCycle:
    """Orders at a fixed distance in intervals, the white paper's supply.

    Parameters
    ----------
    review : int
        Intervals between two reviews; 0 = a single season without replenishment.
    lead : int
        Intervals from order to arrival.
    jitter : int
        The arrival is late by 0..jitter intervals, uniform.
    phase : int or None
        First review; None draws it per product from 1..review.
    """

    review: int
    lead: int = 0
    jitter: int = 0
    phase: int | None = None


@dataclass(frozen=True)
class WeeklyDeliveries:
    """Deliveries on given weekdays, ordered some days before, sometimes late.

    Parameters
    ----------
    weekdays : one tuple per product
        Weekdays (0 = Monday) on which the product is delivered.
    lead_days : int
        The order is placed at opening this many days before the delivery.
    jitter : int
        The van comes 0..jitter intervals after opening, one draw per store and day.
    late_share : float
        Share of deliveries that arrive on the next trading day instead.
    """

    weekdays: tuple[tuple[int, ...], ...]
    lead_days: int = 1
    jitter: int = 0
    late_share: float = 0.0


@dataclass(frozen=True)
class Promotion:
    """A price or display that changes one product's demand for some days.

    Demand is multiplied by ``(price / regular price) ** elasticity * lift``.
    """

    product: int
    first_day: int
    last_day: int
    price: float
    promo_id: str
    lift: float = 1.0
    feature: bool = False
    display: bool = False


@dataclass(frozen=True)
class ProductInfo:
    """What products.csv says of a product beyond its price; free text, no effect on demand."""

    name: str
    style_id: str = ""
    size: str = ""
    family: str = ""
    brand: str = ""
    vendor: str = ""
    group: str = ""
    msrp: float | None = None
    pack_size: int = 1
    space: float = 1.0
    attributes: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class CategorySpec:
    """Products that replace each other, how they are wanted and how they are supplied.

    Parameters
    ----------
    category : str
    products : tuple of str
        Product ids.
    arrival_rate : (n,) float64
        λ, first-choice customers per interval at profile 1 in a store of traffic 1.
    substitution_rate : (n, n) float64
        α (one step) or ρ (Markov chain); zero diagonal, rows sum to at most 1.
    unit_price, unit_cost : (n,) float64
    order_up_to : (n,) int64
        Units at traffic 1; larger stores hold proportionally more.
    supply : ReviewCycle or WeeklyDeliveries
    choice_model : {"one_step", "markov_chain"}
    reorder_point : (n,) int64 or None
        Order only when on hand + on order is at most this. None: whenever a unit is missing.
    dispersion : float
        k in variance = mean + k mean² of the customers per product and interval; 0 = Poisson.
    basket_p : float
        Units per customer are Geometric(p) on 1, 2, ...; 1 = always one unit.
    elasticity : (n,) float64 or None
        Price elasticity of first choices; None = prices change nothing.
    shrinkage_rate : float
        Units that vanish per product and interval.
    launch_day, delist_day : (n,) int64 or None
        First day on the shelf; first day out of the range. Before and after, nobody has
        the product for a first choice.
    rate_spread : float
        Standard deviation of log λ between stores, per product (own λ, shared α).
    promotions : tuple of Promotion
    infos : tuple of ProductInfo, one per product, or empty
    """

    category: str
    products: tuple[str, ...]
    arrival_rate: NDArray[np.float64]
    substitution_rate: NDArray[np.float64]
    unit_price: NDArray[np.float64]
    unit_cost: NDArray[np.float64]
    order_up_to: NDArray[np.int64]
    supply: ReviewCycle | WeeklyDeliveries
    choice_model: ChoiceModel = "one_step"
    reorder_point: NDArray[np.int64] | None = None
    dispersion: float = 0.0
    basket_p: float = 1.0
    elasticity: NDArray[np.float64] | None = None
    shrinkage_rate: float = 0.0
    launch_day: NDArray[np.int64] | None = None
    delist_day: NDArray[np.int64] | None = None
    rate_spread: float = 0.0
    promotions: tuple[Promotion, ...] = ()
    infos: tuple[ProductInfo, ...] = ()

    def __post_init__(self) -> None:
        n = len(self.products)
        for name in ("arrival_rate", "unit_price", "unit_cost", "order_up_to"):
            if np.shape(getattr(self, name)) != (n,):
                raise ValueError(f"category {self.category}: {name} needs one value per product")
        alpha = self.substitution_rate
        if alpha.shape != (n, n) or np.any(alpha < 0) or np.any(np.diag(alpha) != 0):
            raise ValueError(
                f"category {self.category}: substitution_rate must be ({n}, {n}), "
                "non-negative, with a zero diagonal"
            )
        over = np.flatnonzero(alpha.sum(axis=1) > 1 + 1e-9)
        if len(over):
            raise ValueError(
                f"product {self.products[over[0]]}: substitution rates sum above 1; scale them"
            )

    @property
    def n_products(self) -> int:
        return len(self.products)


@dataclass(frozen=True)
class TrialSpec:
    """Style trials and shipments of a box service beside the shops (cold start).

    Every product is a style; its group is ``ProductInfo.group`` or else its category.

    Parameters
    ----------
    mean : tuple of (group, mean)
        Each style's p is drawn from Beta(mean * strength, (1 - mean) * strength).
    strength : float
    per_day : float
        Mean number of boxes that could hold a style, per style and day.
    keep_rate : float
        Share of shipped styles a client keeps; the rest comes back.
    return_days : float
        Mean days until a return.
    warehouse : str
        Where the boxes are packed; it has stock of its own.
    weeks_on_hand : float
        That stock, in weeks of what is sent.
    """

    mean: tuple[tuple[str, float], ...]
    strength: float = 20.0
    per_day: float = 4.0
    keep_rate: float = 0.7
    return_days: float = 9.0
    warehouse: str = "boxes"
    weeks_on_hand: float = 5.0


@dataclass(frozen=True)
class WarehouseSpec:
    """Stock behind the shops: weeks of first-choice demand on hand, per product."""

    warehouse: str
    weeks_on_hand: tuple[tuple[str, float], ...]
    default_weeks: float = 2.5
    lead_time_days: float = 7.0
    lead_time_sd: float = 1.5


@dataclass(frozen=True)
class SaleSpec:
    """A coming sale: what is offered when, and how much of it there is."""

    sale_id: str
    starts: date
    ends: date
    products: tuple[str, ...]
    units_available: tuple[int, ...]
    candidate_prices: tuple[tuple[float, ...], ...]


@dataclass(frozen=True)
class RetailSpec:
    """A retailer whose truth is known.

    Parameters
    ----------
    name : str
    stores : tuple of StoreSpec
    categories : tuple of CategorySpec
    first_day : date
    n_days : int
        Business days, closed ones included.
    n_intervals : int or None
        Cut every store after this many trading intervals.
    interval_minutes : int
    profile : (7, 24) nested tuple
        Demand by weekday and local hour; scaled to mean 1 over a store's intervals.
    trend : float
        Yearly growth, e.g. 0.1 = +10 %; part of the weight.
    shock_cv : float
        Coefficient of variation of a Gamma multiplier per store and day, shared by all
        products and categories of the store.
    joint_baskets : float
        Probability that a customer is on the same receipt as one of another category in
        the same interval. Changes receipts only, never demand.
    return_share, void_share : float
        Share of receipt lines that come back or are voided at the till.
    count_days : int
        Stock is counted every this many days, at a random moment of the day; 0 = never.
    deliveries_known : bool
        Write deliveries.csv.
    trials : TrialSpec or None
    warehouse : WarehouseSpec or None
    sale : SaleSpec or None
    """

    name: str
    stores: tuple[StoreSpec, ...]
    categories: tuple[CategorySpec, ...]
    first_day: date
    n_days: int
    n_intervals: int | None = None
    interval_minutes: int = 1
    profile: tuple[tuple[float, ...], ...] = field(default=FLAT_PROFILE, repr=False)
    trend: float = 0.0
    shock_cv: float = 0.0
    joint_baskets: float = 0.0
    return_share: float = 0.0
    void_share: float = 0.0
    count_days: int = 1
    deliveries_known: bool = False
    trials: TrialSpec | None = None
    warehouse: WarehouseSpec | None = None
    sale: SaleSpec | None = None
