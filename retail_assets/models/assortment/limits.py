"""Plans within a season's limits: whole packs, smallest and largest buys, money, space, places."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from retail_assets.models.assortment.season import Season, smallest_quantity

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


def fits(season: Season, quantity: Ints) -> bool:
    """Whether a plan of whole packs is within budget, space and numbers of products."""
    carried = quantity > 0
    return bool(
        quantity @ season.unit_cost <= season.budget + 1e-6
        and quantity @ season.space <= season.space_limit + 1e-9
        and carried.sum() <= season.max_products
        and all(
            carried[members].sum() <= cap.most
            for cap, members in zip(season.caps, season.cap_members, strict=True)
        )
    )


def feasible(season: Season, quantity: NDArray[Any], value_per_unit: Floats) -> Ints:
    """The plan, changed as little as its limits ask for.

    Rounded to packs; then the products worth least go until their number is right; then
    the packs worth least per unit of the limit go until it is met. Of a product's packs
    above its smallest buy, the first is taken to be worth ``value_per_unit`` a unit and
    the others ever less, as their chance of being sold falls.

    Parameters
    ----------
    season : Season
    quantity : (n,) float or int
    value_per_unit : (n,) float64
        Cents that a unit is worth to the plan, e.g. the margin.

    Returns
    -------
    (n,) int64
        ``season.violations`` is empty.
    """
    value = np.maximum(value_per_unit, 1e-9)
    units = whole_packs(season, quantity)
    for members, most in [
        *((m, cap.most) for cap, m in zip(season.caps, season.cap_members, strict=True)),
        (np.ones(season.n_products, bool), season.max_products),
    ]:
        carried = (units > 0) & members
        surplus = int(carried.sum()) - most
        if surplus > 0:
            free = np.flatnonzero(carried & ~season.must_carry)
            worst = free[np.argsort(value[free] * units[free], kind="stable")]
            units[worst[:surplus]] = 0
    units = _trim(season, units, value, season.unit_cost, season.budget)
    return _trim(season, units, value, season.space, season.space_limit)


def whole_packs(season: Season, quantity: NDArray[Any]) -> Ints:
    """The nearest numbers of packs that the products themselves allow."""
    pack, least = season.pack_size, smallest_quantity(season)
    most = season.max_quantity // pack * pack
    units = np.minimum(np.rint(quantity / pack).astype(np.int64) * pack, most)
    units = np.where(units < least, np.where(quantity >= least / 2, least, 0), units)
    units = np.where(season.must_carry, np.maximum(units, least), units)
    allowed: Ints = np.where(season.excluded, 0, units)
    return allowed


def _trim(season: Season, quantity: Ints, value: Floats, need: Floats, limit: float) -> Ints:
    """Take away the packs worth least per ``need`` until the plan needs ``limit`` at most."""
    excess = float(quantity @ need) - limit
    if excess <= 1e-9:
        return quantity
    least, pack = smallest_quantity(season), season.pack_size
    here = np.flatnonzero((quantity > 0) & (need > 0))
    above = (quantity[here] - least[here]) // pack[here]
    product = np.repeat(here, above)
    rank = np.arange(len(product)) - np.repeat(np.cumsum(above) - above, above)
    falling = 1 - (rank + 1) / (np.repeat(above, above) + 1)
    # The smallest buys go last of their product's packs, and as a whole.
    free = here[~season.must_carry[here]]
    product = np.concatenate([product, free])
    units = np.concatenate([pack[product[: len(rank)]], least[free]])
    worth = np.concatenate([falling, np.ones(len(free))]) * value[product] / need[product]
    order = np.argsort(worth, kind="stable")
    taken = np.cumsum(units[order] * need[product[order]])
    last = int(np.searchsorted(taken, excess - 1e-9))
    gone = order[: last + 1]
    return quantity - np.bincount(product[gone], units[gone], season.n_products).astype(np.int64)
