"""Full-rank Gaussian posteriors of a large category, one per target product.

A block holds a target's rates and its candidate sources' shares, given the other
blocks' modes; it has at most S + 12 parameters, so Newton's method takes microseconds.
"""

from __future__ import annotations

from dataclasses import dataclass

import numba
import numpy as np
from numpy.typing import NDArray

from retail_assets.models.substitution.khat import pareto_khat
from retail_assets.models.substitution.sparse import PairPriors, TargetStatistics

N_RATIOS = 300
TINY = 1e-12


@dataclass(frozen=True)
class Blocks:
    """Draws of every block and how well its Gaussian fits."""

    arrival_rate: NDArray[np.float64]  # (D, S, n)
    pair_rate: NDArray[np.float64]  # (D, E)
    khat: NDArray[np.float64]  # (n,)


def sample_blocks(
    stats: TargetStatistics,
    arrival_rate: NDArray[np.float64],
    pair_rate: NDArray[np.float64],
    none: NDArray[np.float64],
    priors: PairPriors,
    precision: NDArray[np.float64],
    n_draws: int,
    seed: int,
) -> Blocks:
    """Laplace draws target by target in (log λ, logit of α within its row's room)."""
    rng = np.random.default_rng(seed)
    n, n_stores = stats.n_products, stats.n_stores
    lam = np.empty((n_draws, n_stores, n))
    pair = np.empty((n_draws, len(stats.source)))
    khat = np.full(n, np.nan)
    for j in range(n):
        rows = slice(stats.row_ptr[j], stats.row_ptr[j + 1])
        pairs = slice(stats.pair_ptr[j], stats.pair_ptr[j + 1])
        source = stats.source[pairs]
        room = none[source] + pair_rate[pairs]
        data = (
            stats.store[rows],
            stats.mask[rows],
            stats.exposure[rows] * precision[j],
            stats.counts[rows] * precision[j],
            np.ascontiguousarray(arrival_rate[:, source]),
            room,
            priors.success[pairs],
            priors.failure[pairs],
            priors.none[source],
            priors.arrival_shape,
            priors.arrival_rate,
        )
        share = np.clip(pair_rate[pairs] / np.maximum(room, TINY), 1e-3, 1.0 - 1e-3)
        start = np.concatenate([np.log(arrival_rate[:, j]), np.log(share / (1.0 - share))])
        loc, hessian = _newton(start, *data)
        values, basis = np.linalg.eigh(-hessian)
        root = basis / np.sqrt(np.maximum(values, 0.05))
        white = rng.standard_normal((n_draws, len(loc)))
        theta = loc + white @ root.T
        lam[:, :, j] = np.exp(theta[:, :n_stores])
        pair[:, pairs] = room / (1.0 + np.exp(-theta[:, n_stores:]))
        some = slice(0, N_RATIOS)
        log_p = _log_posteriors(theta[some], *data)
        khat[j] = pareto_khat(log_p + 0.5 * (white[some] ** 2).sum(axis=1))
    total = np.zeros((n_draws, n))
    np.add.at(total.T, stats.source, pair.T)
    # Blocks are drawn apart; the few rows that then exceed 1 are scaled back.
    pair /= np.maximum(total, 1.0)[:, stats.source]
    return Blocks(lam, pair, khat)


@numba.njit(cache=True)
def _block_density(theta, store, mask, exposure, counts, base, room, a, b, none, shape, rate):  # type: ignore[no-untyped-def]
    """Log posterior of one block, its gradient and Hessian."""
    n_stores, n_pairs = base.shape
    dim = n_stores + n_pairs
    slope = np.zeros(dim)
    hessian = np.zeros((dim, dim))
    lam = np.exp(theta[:n_stores])
    p = 1.0 / (1.0 + np.exp(-theta[n_stores:]))
    alpha = room * p
    first = alpha * (1.0 - p)
    second = first * (1.0 - 2.0 * p)
    value = 0.0
    index = np.empty(dim, np.int64)
    d1 = np.empty(dim)
    d2 = np.empty(dim)
    for r in range(len(store)):
        s = store[r]
        index[0], d1[0], d2[0] = s, lam[s], lam[s]
        used = 1
        m = lam[s]
        for k in range(n_pairs):
            if (mask[r] >> k) & 1:
                m += base[s, k] * alpha[k]
                index[used] = n_stores + k
                d1[used], d2[used] = base[s, k] * first[k], base[s, k] * second[k]
                used += 1
        value += counts[r] * np.log(m) - exposure[r] * m
        g = counts[r] / m - exposure[r]
        h = -counts[r] / (m * m)
        for u in range(used):
            slope[index[u]] += g * d1[u]
            hessian[index[u], index[u]] += g * d2[u]
            for v in range(used):
                hessian[index[u], index[v]] += h * d1[u] * d1[v]
    for s in range(n_stores):
        value += shape * theta[s] - rate * lam[s]
        slope[s] += shape - rate * lam[s]
        hessian[s, s] -= rate * lam[s]
    for k in range(n_pairs):
        # Beta(a, none) of what the rest of the row leaves, with its Jacobian.
        i = n_stores + k
        value += a[k] * np.log(p[k]) + none[k] * np.log(1.0 - p[k])
        value += (b[k] - 1.0) * np.log(1.0 - alpha[k])
        slope[i] += (
            a[k] * (1.0 - p[k]) - none[k] * p[k] - (b[k] - 1.0) * first[k] / (1.0 - alpha[k])
        )
        hessian[i, i] -= (a[k] + none[k]) * p[k] * (1.0 - p[k])
        hessian[i, i] -= (b[k] - 1.0) * (
            second[k] / (1.0 - alpha[k]) + (first[k] / (1.0 - alpha[k])) ** 2
        )
    return value, slope, hessian


@numba.njit(cache=True)
def _newton(theta, store, mask, exposure, counts, base, room, a, b, none, shape, rate):  # type: ignore[no-untyped-def]
    data = (store, mask, exposure, counts, base, room, a, b, none, shape, rate)
    value, slope, hessian = _block_density(theta, *data)
    damping = 1e-3
    for _ in range(60):
        curvature = -hessian
        for i in range(len(theta)):
            curvature[i, i] += damping * (abs(curvature[i, i]) + 1e-3)
        values, basis = np.linalg.eigh(curvature)
        step = basis @ ((basis.T @ slope) / np.maximum(np.abs(values), 1e-8))
        if step @ slope < 1e-8:
            break
        step *= min(1.0, 3.0 / np.abs(step).max())
        found, new_slope, new_hessian = _block_density(theta + step, *data)
        if found > value:
            theta = theta + step
            value, slope, hessian = found, new_slope, new_hessian
            damping = max(damping / 5.0, 1e-9)
        else:
            damping = damping * 8.0
            if damping > 1e8:
                break
    return theta, hessian


@numba.njit(cache=True)
def _log_posteriors(thetas, store, mask, exposure, counts, base, room, a, b, none, shape, rate):  # type: ignore[no-untyped-def]
    """(N,) log posterior of N points of one block."""
    n_stores, n_pairs = base.shape
    value = np.zeros(len(thetas))
    for d in range(len(thetas)):
        lam = np.exp(thetas[d, :n_stores])
        p = 1.0 / (1.0 + np.exp(-thetas[d, n_stores:]))
        alpha = room * p
        total = 0.0
        for r in range(len(store)):
            m = lam[store[r]]
            for k in range(n_pairs):
                if (mask[r] >> k) & 1:
                    m += base[store[r], k] * alpha[k]
            total += counts[r] * np.log(m) - exposure[r] * m
        for s in range(n_stores):
            total += shape * thetas[d, s] - rate * lam[s]
        for k in range(n_pairs):
            total += a[k] * np.log(p[k]) + none[k] * np.log(1.0 - p[k])
            total += (b[k] - 1.0) * np.log(1.0 - alpha[k])
        value[d] = total
    return value
