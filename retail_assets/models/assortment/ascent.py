"""Uphill from a start: the plan that earns most on a fixed sample of seasons.

Profit under dynamic substitution is not even quasiconcave (Mahajan & van Ryzin 2001), so
a climb is three kinds of step, repeated until none helps:

- all quantities at once, by the sign of their exact unit differences, each product with
  its own step that grows while the sign stays and halves when it flips (Riedmiller &
  Braun 1993: Rprop);
- the best moves of one pack, and exchanges of a pack for another's where limits bind;
- products dropped and added as a whole, their demand handed to and taken from the
  products its customers turn to.

A move is only taken if a replay of the same customers earns more, so a climb never ends
below its start, and nothing in it is random.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from retail_assets.models.assortment.customers import Seasons
from retail_assets.models.assortment.hill import Ascent, Hill, pack_moves, sign_steps
from retail_assets.models.assortment.product_moves import product_moves
from retail_assets.models.assortment.season import Season

__all__ = ["Ascent", "ascend"]

Ints = NDArray[np.int64]


def ascend(
    season: Season,
    seasons: Seasons,
    start: Ints,
    *,
    first_step: float = 0.1,
    thorough: bool = True,
    worth_a_round: float = 1e-5,
) -> Ascent:
    """Climb from a feasible plan.

    Parameters
    ----------
    season : Season
    seasons : Seasons
        The sample; the plan is the best found for these customers.
    start : (n,) int64
    first_step : float
        Of all quantities at once, as a share of the start's.
    thorough : bool
        False: the first kind of step only, enough to compare starts.
    worth_a_round : float
        Share of the profit that a round of product moves must add to be followed by
        another; a small sample cannot tell less than its standard error anyway.

    Returns
    -------
    Ascent
        Feasible, and never below the start.

    Raises
    ------
    ValueError
        A start that breaks a limit, with the limit.
    """
    broken = season.violations(start)
    if broken:
        raise ValueError(f"start is no plan: {'; '.join(broken)}")
    hill = Hill(season, seasons)
    at = sign_steps(hill, start, first_step)
    while thorough:
        polished = pack_moves(hill, at)
        at = product_moves(hill, polished)
        if at.profit <= polished.profit + worth_a_round * abs(polished.profit):
            break
    return Ascent(at.quantity, at.profit, hill.replays)
