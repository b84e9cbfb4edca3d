"""How busy each trading interval is: seasonal profile x store-day footfall.

Sales fall when customers stay away and when shelves are empty; a profile taken
from raw sales mixes the two up (substitution rates then miss by .060 instead of
.019). So every cell divides sales by what the *available* products should have
sold, and is re-estimated as the beliefs about availability improve.

Levels are shrunk towards 1 by how much they really vary. The variance comes from
the covariance of two halves (even and odd weeks of a cell, even and odd intervals
of a day): noise cancels there whatever its dispersion, so that without a shared
shock the level is exactly 1 and adds nothing.

Reference: Buehlmann and Gisler (2005), *A Course in Credibility Theory*, ch. 3-4.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from retail_assets.models.panel import StorePanel

Floats = NDArray[np.float64]

# Standard errors by which a variance or elasticity must differ from 0 to be used.
SIGNIFICANT = 3.0
_LOWEST, _HIGHEST = 0.02, 50.0
_ROUNDS = 3
HOURS = 24


@dataclass(frozen=True)
class DemandLevel:
    """Demand level of one store's intervals.

    Parameters
    ----------
    weight : (T,) float64
        ``profile[season] x day_level[day]``, scaled to mean 1.
    profile : (cells,) float64
        Level of each season cell.
    day_level : (D,) float64
        Level of each business day beyond its profile.
    footfall_elasticity : float
        Power of the other categories' footfall in the day level; 0 where unused.
    """

    weight: Floats
    profile: Floats
    day_level: Floats
    footfall_elasticity: float = 0.0


def flat_level(store: StorePanel) -> DemandLevel:
    """Weight 1 everywhere: where nothing is known yet."""
    cells, days = int(store.season.max(initial=0)) + 1, int(store.day.max(initial=0)) + 1
    return DemandLevel(np.ones(store.n_intervals), np.ones(cells), np.ones(days))


def estimate_level(store: StorePanel, sales: Floats, expected: Floats) -> DemandLevel:
    """Profile and day level from sales and what the shelf should have sold.

    Parameters
    ----------
    store : StorePanel
    sales : (T,) float64
        The category's transactions per interval.
    expected : (T,) float64
        Availability-weighted rate at weight 1: sum over products of
        ``P(in stock) x (lambda_j + inflow_j)``.
    """
    if sales.sum() <= 0 or expected.sum() <= 0:
        return flat_level(store)
    level = flat_level(store)
    profile, day_level, elasticity = level.profile, level.day_level, 0.0
    week_half = (store.day // 7) % 2
    day_half = np.arange(store.n_intervals) % 2
    for _ in range(_ROUNDS):
        profile = _profile(store.season, week_half, sales, expected * day_level[store.day])
        seasonal = expected * profile[store.season]
        day_level = np.ones(len(day_level))
        if store.footfall is not None:
            signal = _footfall_level(store, profile)
            elasticity = _elasticity(store.day, sales, seasonal, signal)
            day_level = signal**elasticity
        # Footfall flattens on busy days (other shelves empty too): what it leaves of a
        # shock shows in own sales. Without this step alpha came out at .06 instead of 0.
        left = seasonal * day_level[store.day]
        day_level = day_level * shrunk_levels(store.day, day_half, sales, left, len(day_level))
        if np.ptp(day_level) == 0.0:
            break
    weight = profile[store.season] * day_level[store.day]
    return DemandLevel(weight / weight.mean(), profile, day_level, elasticity)


def draw_level(
    store: StorePanel,
    sales: Floats,
    expected: Floats,
    level: DemandLevel,
    rng: np.random.Generator,
) -> DemandLevel:
    """A draw of the profile given the rates behind ``expected``; days keep their level.

    Days are not redrawn: on `common_shock` that brought no coverage (.80 before and
    after at CV .8), and where nobody substitutes the wider posterior put the mean of
    alpha at .023 instead of .017.
    """
    if sales.sum() <= 0 or expected.sum() <= 0:
        return level
    week_half = (store.day // 7) % 2
    day_level = level.day_level
    profile = _profile(store.season, week_half, sales, expected * day_level[store.day], rng)
    weight = profile[store.season] * day_level[store.day]
    return DemandLevel(weight / weight.mean(), profile, day_level, level.footfall_elasticity)


def _profile(
    season: NDArray[np.int16],
    half: NDArray[np.signedinteger],
    sales: Floats,
    expected: Floats,
    rng: np.random.Generator | None = None,
) -> Floats:
    """Hour of day x day of week x what is left of each hour of the week, each shrunk.

    The product comes first because 168 free cells are noisy: on 20 weeks they miss a
    profile that is one by 3.2 %, its two factors by 1.4 %.
    """
    cells = np.arange(int(season.max()) + 1)
    parts = (cells % HOURS, cells // HOURS)
    levels = [np.ones(int(part.max()) + 1) for part in parts]

    def shrunk(part: NDArray[np.int64], others: Floats) -> Floats:
        size = int(part.max()) + 1
        return shrunk_levels(part[season], half, sales, expected * others[season], size, rng)

    # Alternately: evenings are sold out on busy days, so the factors are not orthogonal.
    for _ in range(_ROUNDS):
        for own, other in ((0, 1), (1, 0)):
            levels[own] = shrunk(parts[own], levels[other][parts[other]])
    product: Floats = levels[0][parts[0]] * levels[1][parts[1]]
    product *= shrunk(cells, product)
    return product


def shrunk_levels(
    group: NDArray[np.signedinteger],
    half: NDArray[np.signedinteger],
    sales: Floats,
    expected: Floats,
    n_groups: int,
    rng: np.random.Generator | None = None,
) -> Floats:
    """Level of each group: credibility-weighted ratio of sales to expected sales.

    ``level = 1 + z (y / e - 1)``, ``z = tau2 e / (tau2 e + psi)``, where tau2 is the
    covariance of the residuals of a group's two halves and psi the variance of
    their difference (1 for Poisson counts). With ``rng``, a draw in place of
    that mean: the posterior under a gamma prior of mean 1 and variance tau2.
    """
    expected = expected * (sales.sum() / expected.sum())
    place = 2 * group.astype(np.int64) + half
    y = np.bincount(place, sales, 2 * n_groups).reshape(n_groups, 2)
    e = np.bincount(place, expected, 2 * n_groups).reshape(n_groups, 2)
    both = (e > 0).all(axis=1)
    if both.sum() < 3:
        return np.ones(n_groups)
    residual, product = (y - e)[both], np.prod(e[both], axis=1)
    gap = np.diff(y[both] / e[both], axis=1)[:, 0]
    psi = max(1.0, float(np.mean(gap**2 / (1.0 / e[both]).sum(axis=1))))
    covariance = float(np.sum(residual[:, 0] * residual[:, 1]))
    if covariance < SIGNIFICANT * psi * np.sqrt(product.sum()):
        return np.ones(n_groups)
    tau2 = covariance / product.sum()
    seen = e.sum(axis=1)
    ratio = np.divide(y.sum(axis=1), seen, out=np.ones(n_groups), where=seen > 0)
    credibility = tau2 * seen / (tau2 * seen + psi)
    level = np.asarray(np.clip(1.0 + credibility * (ratio - 1.0), _LOWEST, _HIGHEST))
    if rng is None:
        return level
    shape = 1.0 / tau2 + seen * ratio / psi
    return np.asarray(rng.gamma(shape, level / shape))


def _footfall_level(store: StorePanel, profile: Floats) -> Floats:
    """Other categories' transactions per day over what the profile expects, shrunk."""
    assert store.footfall is not None
    footfall = store.footfall
    usual = np.bincount(store.day, profile[store.season], len(footfall))
    usual = usual * footfall.sum() / max(usual.sum(), 1e-12)
    seen = usual > 0
    excess = np.sum((footfall - usual)[seen] ** 2) - usual.sum()
    tau2 = max(0.0, float(excess / max(np.sum(usual**2), 1e-12)))
    level = np.ones(len(footfall))
    level[seen] += tau2 * (footfall - usual)[seen] / (tau2 * usual[seen] + 1.0)
    return np.asarray(np.clip(level, _LOWEST, _HIGHEST))


def _elasticity(day: NDArray[np.int32], sales: Floats, expected: Floats, signal: Floats) -> float:
    """Quasi-Poisson regression of the category's daily sales on log footfall; 0 if weak."""
    y = np.bincount(day, sales, len(signal))
    e = np.bincount(day, expected, len(signal))
    used = e > 0
    y, e, x = y[used], e[used], np.log(signal[used])
    if len(y) < 8 or np.ptp(x) == 0.0:
        return 0.0
    slope = 0.0
    for _ in range(30):
        mean = e * np.exp(slope * x)
        mean *= y.sum() / mean.sum()
        centred = x - np.average(x, weights=mean)
        step = np.sum(centred * (y - mean)) / np.sum(mean * centred**2)
        slope += float(np.clip(step, -1.0, 1.0))
        if abs(step) < 1e-8:
            break
    psi = max(1.0, float(np.sum((y - mean) ** 2 / mean) / (len(y) - 2)))
    error = np.sqrt(psi / np.sum(mean * centred**2))
    return slope if abs(slope) > SIGNIFICANT * error else 0.0
