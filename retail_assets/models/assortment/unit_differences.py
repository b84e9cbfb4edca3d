"""What a buy earns, and what one unit more or less of each product would change.

Customers are drawn once (`customers`), so every plan is judged on the same people. The
2n differences come from one pass over them instead of 2n replays: a unit more of a
product changes nothing until a customer passes over its empty shelf; that customer takes
it and leaves a unit of what they would have bought, so the world with one unit more
always differs by one unit at one place. A unit less wanders likewise, from sell-out to
sell-out. Worlds whose odd unit lies at the same place have the same future, and none
leaves a place twice, so a season's 2n worlds are two trees of at most n steps each: the
work per customer stays that of a replay.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from retail_assets.models.assortment import unit_kernels as kernels
from retail_assets.models.assortment.customers import Seasons
from retail_assets.models.assortment.season import Season

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True)
class PlanValue:
    """What each simulated season earned and sold.

    Parameters
    ----------
    profit : (R,) float64
        Cents: revenue + salvage - unit costs - fixed costs of what is carried.
    sales, substituted_in, first_choice : (R, n) int64
        Units sold, those of them to customers who wanted another product first, and
        customers who wanted the product first.
    """

    profit: Floats
    sales: Ints
    substituted_in: Ints
    first_choice: Ints

    @property
    def mean(self) -> float:
        """Cents per season."""
        return float(self.profit.mean())

    @property
    def se(self) -> float:
        """Standard error of the mean, given the strata; see `standard_error`."""
        return standard_error(self.profit)


@dataclass(frozen=True)
class UnitDifferences:
    """Change of the mean profit by a unit more or less, fixed costs left out. Cents.

    Parameters
    ----------
    profit : float
        Of the plan itself, fixed costs included.
    plus, minus : (n,) float64
        ``minus`` is -inf where there is no unit to take away.
    """

    profit: float
    plus: Floats
    minus: Floats


def evaluate(season: Season, seasons: Seasons, quantity: Ints) -> PlanValue:
    """Send every season's customers through a shop that bought ``quantity``.

    Each takes one unit of the first product of their list that is left.

    Parameters
    ----------
    season : Season
    seasons : Seasons
    quantity : (n,) int64
        Units bought; limits of the season are not checked (`Season.violations`).

    Returns
    -------
    PlanValue

    Raises
    ------
    ValueError
        Not a whole number >= 0 per product; customers of another number of products.
    """
    units = _checked(season, seasons, quantity)
    shape = (seasons.n_seasons, season.n_products)
    first_choice, sold, substituted_in = (np.zeros(shape, np.int64) for _ in range(3))
    kernels.sales(seasons.indptr, seasons.choices, units, first_choice, sold, substituted_in)
    profit = sold @ (season.price - season.salvage) - _outlay(season, units)
    return PlanValue(profit, sold, substituted_in, first_choice)


def mean_profit(season: Season, seasons: Seasons, quantity: Ints) -> float:
    """`evaluate`'s mean, cents per season, without the rest: 1.1-1.4 times as fast."""
    units = _checked(season, seasons, quantity)
    left = kernels.left_over(seasons.indptr, seasons.choices, units)
    return _profit(season, units, left / seasons.n_seasons)


def unit_differences(season: Season, seasons: Seasons, quantity: Ints) -> UnitDifferences:
    """Exact change of the mean profit by one unit more and less of each product.

    Equal to replaying all 2n neighbouring plans on the same customers.

    Parameters
    ----------
    season : Season
    seasons : Seasons
    quantity : (n,) int64

    Returns
    -------
    UnitDifferences

    Raises
    ------
    ValueError
        As `evaluate`.

    Examples
    --------
    >>> season = Season(("a", "b"), [500, 300], [200, 100], [0, 0])
    >>> people = np.array([[0, 1], [0, 1], [0, -1]], np.int16)
    >>> seasons = Seasons(np.array([0, 3]), people, np.zeros(1, np.int64), 0.0, 2)
    >>> unit_differences(season, seasons, np.array([1, 1])).plus
    array([   0., -100.])
    """
    units = _checked(season, seasons, quantity)
    # The place outside: nothing on it runs out, costs or is worth anything.
    left, plus, minus = kernels.differences(
        seasons.indptr,
        seasons.choices,
        np.append(units, 1),
        np.append(season.price, 0.0),
        np.append(season.salvage, 0.0),
    )
    n_seasons = seasons.n_seasons
    return UnitDifferences(
        _profit(season, units, left / n_seasons),
        plus / n_seasons - season.unit_cost,
        np.where(units > 0, minus / n_seasons + season.unit_cost, -np.inf),
    )


def standard_error(value: Floats) -> float:
    """Standard error of the mean over seasons of `customers.draw_seasons`, one a stratum.

    Seasons come in the order of their strata, so what the profit gains from first to
    last is no chance; what it jumps by from one season to the next is. The variance is
    half the mean squared successive difference (estimator of overlapping differences,
    Wolter 1984, JASA 79(388)). The usual formula counts the strata as chance. Also for
    the difference of two plans on the same customers.

    Parameters
    ----------
    value : (R,) float64
        In the order of the seasons. nan where R is 1.
    """
    if len(value) < 2:
        return float("nan")
    return float(np.sqrt(np.mean(np.diff(value) ** 2) / 2 / len(value)))


def _profit(season: Season, quantity: Ints, left: Floats) -> float:
    sold = quantity - left
    return float(sold @ (season.price - season.salvage) - _outlay(season, quantity))


def _outlay(season: Season, quantity: Ints) -> float:
    """What the plan loses if nothing is sold."""
    return float(quantity @ season.overage + season.fixed_cost[quantity > 0].sum())


def _checked(season: Season, seasons: Seasons, quantity: Ints) -> Ints:
    units = np.asarray(quantity)
    if seasons.n_products != season.n_products:
        raise ValueError(
            f"customers choose among {seasons.n_products} products, the season has "
            f"{season.n_products}"
        )
    if units.shape != (season.n_products,) or units.dtype.kind not in "iu":
        raise ValueError(
            f"quantity must be {season.n_products} whole numbers, got {units.dtype} of shape "
            f"{units.shape}"
        )
    if units.min() < 0:
        worst = int(np.argmin(units))
        raise ValueError(f"product {season.products[worst]}: quantity {units[worst]} is negative")
    return units.astype(np.int64)
