"""Step 2 for categories beyond 15 products: one step, sparse pairs, block by block.

EM runs over all targets at once (rows of α couple them); the posterior is then a
full-rank Gaussian per target, over its rates and its candidate sources' shares, given
the other blocks' modes. Measured without: a dense Gaussian over 200 products would
hold 40,000 parameters, and 8 x 10^8 covariances.
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
from retail_assets.models.substitution.blocks import Blocks, sample_blocks
from retail_assets.models.substitution.diagnostics import Diagnostics, precision_of
from retail_assets.models.substitution.priors import Priors
from retail_assets.models.substitution.result import SubstitutionPosterior, Summary, flags
from retail_assets.models.substitution.sparse import PairPriors, TargetStatistics, target_statistics

TINY = 1e-12
N_IMPUTATIONS = 5


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

    Candidates are chosen at the first imputation and kept. Only the one-step model is
    fitted: with thousands of pairs the Markov chain's patterns do not factorise, so
    ``resolved`` is False and both hold-outs are nan.
    """
    began = time.perf_counter()
    rng = np.random.default_rng(seed)
    count = n_imputations if callable(sampled_out) else len(sampled_out)
    if count == 0:
        raise ValueError("no sampled status path: pass at least one, or a sampler")
    candidates: list[NDArray[np.int64]] | None = None
    blocks, exposure, dispersion, stats = [], [], np.ones(panel.n_products), None
    for m in range(count):
        out = sampled_out(rng, None) if callable(sampled_out) else sampled_out[m]
        stats = target_statistics(
            panel, out, weight, candidates=candidates, known_pairs=_known(priors)
        )
        prior = PairPriors.of(stats, priors)
        rates = fit_sparse_em(stats, prior)
        if candidates is None:
            candidates = np.split(stats.source, stats.pair_ptr[1:-1])
            dispersion = target_dispersion(stats, rates)
        size = len(range(m, n_draws, count))
        blocks.append(
            sample_blocks(
                stats,
                rates.arrival_rate,
                rates.pair_rate,
                rates.none,
                prior,
                precision_of(dispersion),
                size,
                seed + m,
            )
        )
        exposure.append(stats.exposure_out)
    assert stats is not None
    return _summarise(
        panel, stats, blocks, np.mean(exposure, axis=0), priors, dispersion, count, began, rng
    )


def _known(priors: Priors | None) -> dict[int, list[int]]:
    known: dict[int, list[int]] = {}
    if priors is not None:
        for i, j in np.argwhere(priors.informed()[:, :-1]):
            known.setdefault(int(j), []).append(int(i))
    return known


def _summarise(
    panel: Panel,
    stats: TargetStatistics,
    blocks: list[Blocks],
    exposure_out: NDArray[np.float64],
    priors: Priors | None,
    dispersion: NDArray[np.float64],
    count: int,
    began: float,
    rng: np.random.Generator,
) -> SubstitutionPosterior:
    n = panel.n_products
    lam = np.concatenate([b.arrival_rate for b in blocks])
    pairs = np.concatenate([b.pair_rate for b in blocks])
    prior = PairPriors.of(stats, priors)
    degree = np.bincount(stats.source, minlength=n)
    total = np.bincount(stats.source, prior.success, n) + prior.none
    never = exposure_out.sum(axis=0) <= 0.0
    for e in np.flatnonzero(never[stats.source]):
        a = prior.success[e]
        pairs[:, e] = rng.beta(a, total[stats.source[e]] - a, len(pairs))
    none = np.ones((len(pairs), n))
    np.add.at(none.T, stats.source, -pairs.T)
    source = np.concatenate([stats.source, np.arange(n)])
    target = np.concatenate([stats.target, np.full(n, n)])
    rate = np.concatenate([pairs, np.clip(none, 0.0, 1.0)], axis=1)
    prior_sd = np.concatenate(prior.sd(stats.source))
    demand, substitution = Summary.of(lam), Summary.of(rate)
    customers = (demand.mean * exposure_out).sum(axis=0)[source]
    contraction = 1.0 - substitution.sd / np.maximum(prior_sd, TINY)
    # A row without candidates is all 'none' by construction: nothing was learnt.
    contraction = np.where(degree[source] == 0, 0.0, contraction)
    informed = np.zeros(len(source), bool)
    if priors is not None:
        informed = priors.informed()[source, target]
    return SubstitutionPosterior(
        products=panel.products,
        store_ids=tuple(store.store_id for store in panel.stores),
        arrival_rate=lam,
        source=source,
        target=target,
        pair_rate=rate,
        demand=demand,
        substitution=substitution,
        n_oos_customers=customers,
        contraction=contraction,
        flag=flags(customers, contraction, informed),
        diagnostics=_diagnostics(blocks, dispersion, count, began),
    )


def _diagnostics(
    blocks: list[Blocks], dispersion: NDArray[np.float64], count: int, began: float
) -> Diagnostics:
    """k̂ is the ninth decile over targets; what was not computed is nan."""
    khat = np.nanquantile(np.concatenate([block.khat for block in blocks]), 0.9)
    nan = float("nan")
    return Diagnostics(
        engine="laplace",
        choice_model="one_step",
        resolved=False,
        holdout_loglik_one_step=nan,
        holdout_loglik_markov_chain=nan,
        holdout_se=nan,
        elbo=nan,
        khat=float(khat),
        rhat=nan,
        min_ess=nan,
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
