"""Why each product is in a plan or not, by what adding it would change."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from retail_assets.models.assortment.customers import Seasons
from retail_assets.models.assortment.hill import Ascent, Hill, Move
from retail_assets.models.assortment.product_moves import toggles
from retail_assets.models.assortment.season import NO_LIMIT, Season
from retail_assets.models.assortment.unit_differences import mean_profit

Ints = NDArray[np.int64]

Reason = Literal[
    "optimal",
    "must_carry",
    "kept",
    "excluded",
    "budget",
    "space",
    "limit",
    "dropped_fixed_cost",
    "dropped_cannibal",
    "unprofitable",
]
"""Of a product carried: ``optimal``; ``must_carry``; ``kept`` if its quantity is given.

Of another: ``excluded``; ``budget``, ``space`` or ``limit`` (numbers of products) if it
would be carried without it; ``dropped_fixed_cost`` if it would earn something, but not its
fixed cost; ``dropped_cannibal`` if its customers are worth more on what they buy instead;
``unprofitable`` if no unit of it has a margin.
"""


def reasons(season: Season, seasons: Seasons, quantity: Ints) -> tuple[Reason, ...]:
    """One reason per product, from one replay for each that is not carried.

    Parameters
    ----------
    season : Season
    seasons : Seasons
    quantity : (n,) int64
    """
    free = replace(
        season,
        budget=float("inf"),
        space_limit=float("inf"),
        max_products=NO_LIMIT,
        caps=(),
    )
    at = Ascent(quantity, mean_profit(free, seasons, quantity), 0)
    found: dict[int, Reason] = {}
    for move in toggles(Hill(free, seasons), at, (quantity == 0) & ~season.excluded):
        product = int(np.flatnonzero((quantity == 0) & (move.change > 0))[0])
        found[product] = _left_out(season, quantity, product, move)
    given = season.min_quantity == season.max_quantity
    for product in range(season.n_products):
        if season.excluded[product]:
            found[product] = "excluded"
        elif season.must_carry[product]:
            found[product] = "kept" if given[product] else "must_carry"
        elif quantity[product] > 0:
            found[product] = "optimal"
        else:
            found.setdefault(product, "unprofitable")
    return tuple(found[product] for product in range(season.n_products))


def _left_out(season: Season, quantity: Ints, product: int, move: Move) -> Reason:
    """Of a product that could be added if there were no limits."""
    fixed = float(season.fixed_cost[product])
    if move.gain <= 0:
        return "dropped_fixed_cost" if move.gain + fixed > 0 else "dropped_cannibal"
    added = quantity + move.change
    carried = added > 0
    caps = zip(season.caps, season.cap_members, strict=True)
    if carried.sum() > season.max_products or any(
        members[product] and carried[members].sum() > cap.most for cap, members in caps
    ):
        return "limit"
    if added @ season.unit_cost > season.budget:
        return "budget"
    if added @ season.space > season.space_limit:
        return "space"
    # A gain too small to be worth another round of the climb.
    return "dropped_fixed_cost" if fixed > 0 else "dropped_cannibal"
