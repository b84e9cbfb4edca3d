"""How many chances a week the styles of a pool will get, and how surely.

    fit_pool(weekly, weeks) -> PoolTraffic

A style's chances are the trials of the cold start: receipts of its category while it was
on the shelf, or clients a stylist thought of it for. The level is that of the last eight
weeks; how far such a level was off in the past is how uncertain it is now.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from retail_assets.models.inventory.demand import fit_traffic

Floats = NDArray[np.float64]

#: Weeks whose mean is taken for the level of the weeks to come.
RECENT_WEEKS = 8
#: Uncertainty of the level where there is no past to try it on.
UNTRIED_LEVEL_CV = 0.2
MIN_ORIGINS = 3


@dataclass(frozen=True)
class PoolTraffic:
    """Traffic of one pool of styles.

    Parameters
    ----------
    mean : float
        Chances a week of a style that is always offered.
    dispersion : float
        Variance of a week about its level = mean + dispersion mean^2.
    level_cv : float
        Relative error, root mean square, of such levels in the past; never less than the
        standard error of the weeks it rests on.
    considered : (m,) float
        Each style's share of the pool's chances; 1 for a style without a whole week.
    """

    mean: float
    dispersion: float
    level_cv: float
    considered: Floats


def fit_pool(weekly: ArrayLike, weeks: int) -> PoolTraffic:
    """Traffic of a pool from its styles' past weeks.

    Parameters
    ----------
    weekly : (m, W) array_like
        Chances per style and whole week, oldest first; NaN before a style's first whole week.
    weeks : int
        Weeks ahead the level is for.

    Raises
    ------
    ValueError
        No style with two whole weeks.

    Examples
    --------
    >>> traffic = fit_pool(np.full((2, 20), [[100.0], [50.0]]), 4)
    >>> traffic.mean, traffic.considered.tolist()
    (100.0, [1.0, 0.5])
    """
    chances = np.atleast_2d(np.asarray(weekly, np.float64))
    recent = [row[~np.isnan(row)] for row in chances[:, -RECENT_WEEKS:]]
    own = np.array([row.mean() if len(row) else np.nan for row in recent])
    full = np.array([len(row) >= 2 for row in recent])
    if not full.any():
        raise ValueError("no style with two whole weeks of trials; wait, or land older trials")
    # The best offered style is the pool: it is hardly ever out.
    best = int(np.argmax(np.where(full, own, -1.0)))
    past = chances[best][~np.isnan(chances[best])]
    recently = fit_traffic(past[None, -RECENT_WEEKS:], weeks)
    level = float(recently.mean[0, 0])
    return PoolTraffic(
        level,
        float(recently.dispersion[0]),
        max(float(recently.level_cv[0]), _level_error(past, weeks)),
        np.clip(np.where(np.isnan(own), 1.0, own / level), 0.0, 1.0),
    )


def _level_error(pool: Floats, weeks: int) -> float:
    """Relative error of the last weeks' mean as a forecast, over rolling origins."""
    errors = [
        pool[at : at + weeks].mean() / pool[at - RECENT_WEEKS : at].mean() - 1
        for at in range(RECENT_WEEKS, len(pool) - min(weeks, RECENT_WEEKS // 2) + 1)
        if pool[at - RECENT_WEEKS : at].sum() > 0
    ]
    if len(errors) < MIN_ORIGINS:
        return UNTRIED_LEVEL_CV
    return float(np.sqrt(np.mean(np.square(errors))))
