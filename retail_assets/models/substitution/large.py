"""Step 2 for categories beyond 15 products: one step, sparse.

Two estimates live here. EM over a dozen candidate sources per target is fast and good
enough for step 1's sweeps (`fit_sparse_em`). The posterior is sampled over all pairs
under a prior fitted to them (`fit_large`, see `spike_slab`): estimating the candidates
that were picked on the same receipts made winners of them.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

from retail_assets.models.panel import Panel, Rates, Spans
from retail_assets.models.substitution.diagnostics import Diagnostics, precision_of
from retail_assets.models.substitution.nuts import effective_sample_size
from retail_assets.models.substitution.overlaps import overlap_statistics
from retail_assets.models.substitution.priors import Priors
from retail_assets.models.substitution.result import SubstitutionPosterior
from retail_assets.models.substitution.sparse import PairPriors, TargetStatistics, target_statistics
from retail_assets.models.substitution.spike_slab import KnownPairs, SlabDraws, SlabState, sample

TINY = 1e-12
MOST_PRODUCTS = 1500
"""Pairs grow with the square: 1,000 products take 8 minutes, 4,000 would take hours."""
N_IMPUTATIONS = 5
SETTLING = 100  # sweeps from "nobody substitutes"; π and τ stand still after about 60
WALK_OVER = 20  # sweeps from one imputation's posterior to the next's
# Pairs in fewer sweeps are not named. With 50 products those above carry three quarters
# of the customers who move, and .5 would carry half; intervals hold .96 either way.
NAMED_FROM = 0.2


@dataclass(frozen=True)
class SparseRates:
    """Rates of a large category.

    Parameters
    ----------
    arrival_rate : (S, n) float64
    pair_rate : (E,) float64
        α of each candidate pair of the statistics.
    none : (n,) float64
        What is left of each row.
    """

    arrival_rate: NDArray[np.float64]
    pair_rate: NDArray[np.float64]
    none: NDArray[np.float64]


def fit_sparse_em(
    stats: TargetStatistics,
    priors: PairPriors | None = None,
    *,
    max_iterations: int = 400,
    tolerance: float = 1e-5,
) -> SparseRates:
    """Posterior mode by EM over all targets; see `em` for the scheme.

    Stops when no rate moves by more than ``tolerance`` (relative for λ).
    """
    prior = priors or PairPriors.of(stats, None)
    degree = np.bincount(stats.source, minlength=stats.n_products)
    sold = np.zeros_like(stats.exposure_in)
    owner = np.repeat(np.arange(stats.n_products), np.diff(stats.row_ptr))
    seen = np.zeros_like(stats.exposure_in)
    np.add.at(sold, (stats.store, owner), stats.counts)
    np.add.at(seen, (stats.store, owner), stats.exposure)
    lam = (sold + 0.5) / (seen + 1.0)
    alpha = np.asarray(1.0 / (degree[stats.source] + 1.0))
    none = np.asarray(1.0 / (degree + 1.0))
    hidden = np.maximum(stats.exposure_out.T[stats.source] - stats.seen_out, 0.0)
    for _ in range(max_iterations):
        own, moved = _expect(_arrays(stats), lam, alpha)
        # Customers of the source who went where nothing could be seen.
        base = lam.T[stats.source]
        unseen = alpha[:, None] * base * hidden
        share = np.maximum((moved + unseen).sum(axis=1) + prior.success - 1.0, 0.0)
        left = none * (lam * stats.exposure_out).sum(axis=0) + prior.none - 1.0
        total = np.bincount(stats.source, share, stats.n_products) + left
        total += np.bincount(stats.source, prior.failure - 1.0, stats.n_products)
        gained = moved - alpha[:, None] * base * stats.seen_out
        extra = np.zeros_like(lam.T)
        np.add.at(extra, stats.source, gained)
        arrivals = own + extra.T + lam * stats.exposure_out
        exposure = seen + stats.exposure_out
        new_lam = np.maximum(
            (arrivals + prior.arrival_shape - 1.0) / (exposure + prior.arrival_rate), TINY
        )
        safe = total > TINY
        new_alpha = np.where(
            safe[stats.source], share / np.maximum(total, TINY)[stats.source], alpha
        )
        moved_by = max(
            np.abs(new_alpha - alpha).max(initial=0.0), np.abs(new_lam / lam - 1.0).max()
        )
        lam, alpha = new_lam, new_alpha
        none = np.where(safe, left / np.maximum(total, TINY), none)
        if moved_by < tolerance:
            break
    return SparseRates(lam, alpha, none)


def _arrays(stats: TargetStatistics) -> tuple[Any, ...]:
    return (
        stats.row_ptr,
        stats.pair_ptr,
        stats.store,
        stats.mask,
        stats.exposure,
        stats.counts,
        stats.source,
    )


def target_dispersion(stats: TargetStatistics, rates: SparseRates) -> NDArray[np.float64]:
    """(n,) Pearson dispersion Σ (C - m)² / Σ m over stretches within a day."""
    rate = _row_rates(_arrays(stats), rates.arrival_rate, rates.pair_rate)
    square = stats.cell_counts_sq - 2.0 * rate * stats.cell_cross + rate**2 * stats.cell_exposure_sq
    owner = np.repeat(np.arange(stats.n_products), np.diff(stats.row_ptr))
    mean = np.bincount(owner, rate * stats.exposure, stats.n_products)
    ratio = np.bincount(owner, square, stats.n_products) / np.maximum(mean, 1e-9)
    return np.where(mean > 20.0, ratio, 1.0)


def fit_large(
    panel: Panel,
    sampled_out: Sequence[Sequence[Spans]]
    | Callable[[np.random.Generator, Rates | None], Sequence[Spans]],
    weight: Sequence[NDArray[np.float64]],
    *,
    priors: Priors | None = None,
    seed: int,
    n_draws: int = 1000,
    n_imputations: int = N_IMPUTATIONS,
) -> SubstitutionPosterior:
    """`posterior.fit_posterior` for a large category: the same result, sparse.

    All pairs are sampled; those that exist in a fifth of the sweeps of the first
    imputation, and those with a prior, are kept. Only the one-step model is fitted: with
    thousands of pairs the Markov chain's patterns do not factorise, so ``resolved`` is
    False and both hold-outs are nan.

    Raises
    ------
    ValueError
        More than `MOST_PRODUCTS` products, or no path.
    """
    began = time.perf_counter()
    if panel.n_products > MOST_PRODUCTS:
        raise ValueError(
            f"{panel.n_products:,} products in one category, each perhaps a substitute of each: at"
            f" most {MOST_PRODUCTS:,} can be told apart; land products with smaller categories"
        )
    rng = np.random.default_rng(seed)
    count = n_imputations if callable(sampled_out) else len(sampled_out)
    if count == 0:
        raise ValueError("no sampled status path: pass at least one, or a sampler")
    known, draws, gone = _known_pairs(panel.n_products, priors), [], []
    for m in range(count):
        out = sampled_out(rng, None) if callable(sampled_out) else sampled_out[m]
        stats = overlap_statistics(panel, out, weight)
        gone.append(stats.exposure_out)
        if m == 0:
            dispersion = _dispersion(panel, out, weight, priors)
            precision, state = precision_of(dispersion), SlabState.start(stats)
            nobody = np.empty(0, np.int64)
            sample(state, stats, known, precision, nobody, nobody, SETTLING, rng)
            look = sample(state, stats, known, precision, nobody, nobody, SETTLING, rng)
            target, source = np.nonzero((look.included >= NAMED_FROM) | (known.precision > 0.0))
        else:
            sample(state, stats, known, precision, source, target, WALK_OVER, rng)
        size = len(range(m, n_draws, count))
        draws.append(sample(state, stats, known, precision, source, target, size, rng))
    return _posterior(
        panel, draws, (source, target), np.mean(gone, axis=0), known, priors, dispersion, began
    )


def _known_pairs(n: int, priors: Priors | None) -> KnownPairs:
    """Normal priors with the Betas' means and variances."""
    mean, precision = np.zeros((n, n)), np.zeros((n, n))
    if priors is not None:
        informed = priors.informed()[:, :n]
        a, b = priors.success[:, :n][informed], priors.failure[:, :n][informed]
        mean.T[informed] = a / (a + b)
        precision.T[informed] = (a + b) ** 2 * (a + b + 1.0) / (a * b)
    return KnownPairs(mean, precision)


def _dispersion(
    panel: Panel,
    out: Sequence[Spans],
    weight: Sequence[NDArray[np.float64]],
    priors: Priors | None,
) -> NDArray[np.float64]:
    """Of store-day counts around the rates of the pairs that stand out."""
    forced: dict[int, list[int]] = {}
    if priors is not None:
        for i, j in np.argwhere(priors.informed()[:, :-1]):
            forced.setdefault(int(j), []).append(int(i))
    stats = target_statistics(panel, out, weight, known_pairs=forced)
    return target_dispersion(stats, fit_sparse_em(stats, PairPriors.of(stats, priors)))


def _posterior(
    panel: Panel,
    draws: list[SlabDraws],
    named: tuple[NDArray[np.int64], NDArray[np.int64]],
    exposure_out: NDArray[np.float64],
    known: KnownPairs,
    priors: Priors | None,
    dispersion: NDArray[np.float64],
    began: float,
) -> SubstitutionPosterior:
    n = panel.n_products
    lam = np.concatenate([d.arrival_rate for d in draws])
    pairs = np.concatenate([d.pair_rate for d in draws])
    none = np.clip(1.0 - np.concatenate([d.row_sum for d in draws]), 0.0, 1.0)
    inclusion, scale = (
        float(np.mean([getattr(d, name).mean() for d in draws])) for name in ("inclusion", "scale")
    )
    source = np.concatenate([named[0], np.arange(n)])
    target = np.concatenate([named[1], np.full(n, n)])
    informed = np.zeros(len(source), bool)
    if priors is not None:
        informed = priors.informed()[source, target]
    return SubstitutionPosterior.of(
        panel,
        lam,
        (source, target),
        np.concatenate([pairs, none], axis=1),
        exposure_out=exposure_out,
        contraction=np.concatenate(
            [
                1.0 - _sd_where_positive(pairs) / _slab_sd(scale, known.precision[named[::-1]]),
                1.0 - none.std(axis=0) / _none_sd(n, inclusion, scale),
            ]
        ),
        informed=informed,
        diagnostics=_diagnostics(lam, pairs, dispersion, len(draws), began),
    )


def _sd_where_positive(pairs: NDArray[np.float64]) -> NDArray[np.float64]:
    """(E,) standard deviation of a pair's rate given that there is one; inf if unknown."""
    there = pairs > 0.0
    count = there.sum(axis=0)
    mean = pairs.sum(axis=0) / np.maximum(count, 1)
    square = (np.where(there, pairs - mean, 0.0) ** 2).sum(axis=0)
    return np.where(count > 1, np.sqrt(square / np.maximum(count - 1, 1)), np.inf)


def _slab_sd(scale: float, precision: NDArray[np.float64]) -> NDArray[np.float64]:
    """Prior sd of a rate that is not 0: half-normal, or what somebody knew."""
    half_normal = scale * np.sqrt(1.0 - 2.0 / np.pi)
    return np.where(precision > 0.0, 1.0 / np.sqrt(np.maximum(precision, TINY)), half_normal)


def _none_sd(n: int, inclusion: float, scale: float) -> float:
    """Prior sd of 1 - the sum of n - 1 rates."""
    variance = inclusion * scale**2 * (1.0 - inclusion * 2.0 / np.pi)
    return float(np.sqrt((n - 1) * variance))


def _diagnostics(
    lam: NDArray[np.float64],
    pairs: NDArray[np.float64],
    dispersion: NDArray[np.float64],
    count: int,
    began: float,
) -> Diagnostics:
    """What does not apply to one Gibbs chain is nan."""
    nan = float("nan")
    quantities = np.concatenate([lam.reshape(len(lam), -1), pairs], axis=1)[:, None]
    moving = quantities[:, :, np.ptp(quantities[:, 0], axis=0) > 0.0]
    return Diagnostics(
        engine="gibbs",
        choice_model="one_step",
        resolved=False,
        holdout_loglik_one_step=nan,
        holdout_loglik_markov_chain=nan,
        holdout_se=nan,
        elbo=nan,
        khat=nan,
        rhat=nan,
        min_ess=float(effective_sample_size(moving).min()),
        ppc_p=nan,
        dispersion=float(dispersion.max()),
        n_imputations=count,
        seconds=time.perf_counter() - began,
    )


@numba.njit(cache=True)
def _row_rates(data, lam, alpha):  # type: ignore[no-untyped-def]
    row_ptr, pair_ptr, store, mask, _, _, source = data
    rate = np.empty(len(store))
    for j in range(len(row_ptr) - 1):
        for r in range(row_ptr[j], row_ptr[j + 1]):
            s = store[r]
            total = lam[s, j]
            for e in range(pair_ptr[j], pair_ptr[j + 1]):
                if (mask[r] >> (e - pair_ptr[j])) & 1:
                    total += lam[s, source[e]] * alpha[e]
            rate[r] = total
    return rate


@numba.njit(cache=True)
def _expect(data, lam, alpha):  # type: ignore[no-untyped-def]
    """Expected own customers (S, n) among the sales, and movers per pair and store (E, S)."""
    row_ptr, pair_ptr, store, mask, _, counts, source = data
    own = np.zeros(lam.shape)
    moved = np.zeros((len(source), lam.shape[0]))
    rate = _row_rates(data, lam, alpha)
    for j in range(len(row_ptr) - 1):
        for r in range(row_ptr[j], row_ptr[j + 1]):
            s = store[r]
            per = counts[r] / rate[r]
            own[s, j] += per * lam[s, j]
            for e in range(pair_ptr[j], pair_ptr[j + 1]):
                if (mask[r] >> (e - pair_ptr[j])) & 1:
                    moved[e, s] += per * lam[s, source[e]] * alpha[e]
    return own, moved
