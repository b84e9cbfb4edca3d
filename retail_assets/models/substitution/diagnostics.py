"""Whether a fit may be believed: dispersion, predictive checks, and what to report."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from retail_assets.models.panel import ChoiceModel, Rates
from retail_assets.models.substitution.em import expected_counts, pattern_rates
from retail_assets.models.substitution.patterns import PatternStatistics

Engine = Literal["nuts", "variational", "laplace", "gibbs"]

WIDEN_ABOVE = 1.2
"""Pearson dispersion beyond which a Poisson likelihood would be over-confident."""


@dataclass(frozen=True)
class Diagnostics:
    """Columns of ``substitution_diagnostics``.

    Parameters
    ----------
    engine : {"nuts", "variational", "laplace", "gibbs"}
        gibbs: more than 15 products.
    choice_model : {"one_step", "markov_chain"}
    resolved : bool
        Whether the hold-out tells the two choice models apart.
    holdout_loglik_one_step, holdout_loglik_markov_chain, holdout_se : float
        nan where the choice was not compared.
    elbo, khat : float
        Of the full-rank Gaussian on the first imputation.
    rhat, min_ess : float
        Worst split R̂ and effective sample size over λ and α; nan without chains.
    ppc_p : float
        Posterior predictive p of the chi-square over pattern counts.
    dispersion : float
        Largest Pearson dispersion of a product's store-day counts.
    n_imputations : int
    seconds : float
    """

    engine: Engine
    choice_model: ChoiceModel
    resolved: bool
    holdout_loglik_one_step: float
    holdout_loglik_markov_chain: float
    holdout_se: float
    elbo: float
    khat: float
    rhat: float
    min_ess: float
    ppc_p: float
    dispersion: float
    n_imputations: int
    seconds: float


def pearson_dispersion(stats: PatternStatistics, rates: Rates) -> NDArray[np.float64]:
    """(n,) Σ (C - m)² / Σ m over store-day cells; 1 under Poisson.

    The ratio of sums, not the mean of ratios: it is the factor by which a sum's
    variance exceeds Poisson, and cells with tiny means do not blow it up.

    Raises
    ------
    ValueError
        Statistics without cells.
    """
    cells = stats.cells
    if cells is None:
        raise ValueError("no store-day cells: build them with availability_statistics")
    rate = pattern_rates(cells.store, cells.out, rates)
    square = (cells.counts_sq - 2.0 * rate * cells.cross + rate**2 * cells.exposure_sq).sum(axis=0)
    total = (rate * cells.exposure).sum(axis=0)
    return np.where(total > 20.0, square / np.maximum(total, 1e-9), 1.0)


def precision_of(dispersion: NDArray[np.float64]) -> NDArray[np.float64]:
    """(n,) weight of each product's counts: 1 / dispersion where it exceeds 1.2."""
    return np.where(dispersion > WIDEN_ABOVE, 1.0 / dispersion, 1.0)


def predictive_check(
    stats: PatternStatistics,
    draws: list[Rates],
    dispersion: NDArray[np.float64],
    rng: np.random.Generator,
) -> NDArray[np.float64]:
    """(D,) per draw: 1 if a replicated chi-square exceeds the observed one, else 0.

    Counts that emptied a shelf are added to their pattern: C - m is a martingale only
    with them (without, each cycle misses the sale that ended it). Replicates have
    variance φ m, also where φ is too small to widen intervals: 470 patterns tell 1.1
    from 1, and the question here is whether their means fit (pralines of the demo:
    p = .02 with Poisson replicates).
    """
    whole = np.all((stats.out <= 0.0) | (stats.out >= 1.0), axis=1)
    _, group = np.unique(np.column_stack([stats.store, stats.out]), axis=0, return_inverse=True)
    phi = np.maximum(dispersion, 1.0)
    used = stats.observed & whole[:, None]
    counts = _by_pattern(np.where(used, stats.counts, 0.0), group)
    exceeds = np.zeros(len(draws))
    for k, rates in enumerate(draws):
        mean = _by_pattern(np.where(used, expected_counts(stats, rates), 0.0), group)
        kept = mean >= 1.0
        m, c = mean[kept], counts[kept]
        factor = np.broadcast_to(phi, mean.shape)[kept]
        level = m.copy()
        wide = factor > 1.0
        level[wide] = rng.gamma(m[wide] / (factor[wide] - 1.0), factor[wide] - 1.0)
        replicate = rng.poisson(level)
        scale = m * factor
        exceeds[k] = float(((replicate - m) ** 2 / scale).sum() >= ((c - m) ** 2 / scale).sum())
    return exceeds


def _by_pattern(values: NDArray[np.float64], group: NDArray[np.int64]) -> NDArray[np.float64]:
    total = np.zeros((int(group.max(initial=-1)) + 1, values.shape[1]))
    np.add.at(total, group, values)
    return total
