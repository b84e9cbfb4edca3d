"""Expectation-maximisation for demand and substitution rates.

Every unseen customer is filled in at its expectation: those of ``i`` who found it,
who went on to ``j``, and who left. The updates are ratios of customers, so rates
stay non-negative and rows never exceed 1 without any projection. Both choice models
share one scheme; they differ only in where a customer may be standing.

One step:      m_j = (1 - o_j) (λ_j + Σ_i o_i λ_i α_ij)   (Anupindi et al. 1998)
Markov chain:  v = λ + ρᵀ(o ∘ v),  m_j = (1 - o_j) v_j    (Şimşek and Topaloglu 2018)

``o`` is the fraction of a row during which each product is out.
"""

from __future__ import annotations

from dataclasses import dataclass

import numba
import numpy as np
from numpy.typing import NDArray

from retail_assets.models.panel import ChoiceModel, Rates
from retail_assets.models.substitution.patterns import PatternStatistics
from retail_assets.models.substitution.priors import Priors

TINY = 1e-12


@dataclass(frozen=True)
class EMFit:
    """Where EM stopped.

    Parameters
    ----------
    rates : Rates
        λ per store, α or ρ shared by the stores.
    log_likelihood : float
        Poisson log-likelihood of the counts, without the constant Σ log C!.
    log_posterior : float
        The same plus the log prior densities (up to a constant): what EM climbs.
    """

    rates: Rates
    log_likelihood: float
    log_posterior: float
    iterations: int
    converged: bool


def fit_em(
    stats: PatternStatistics,
    choice_model: ChoiceModel = "one_step",
    *,
    priors: Priors | None = None,
    start: Rates | None = None,
    precision: NDArray[np.float64] | None = None,
    max_iterations: int = 500,
    tolerance: float = 1e-8,
) -> EMFit:
    """Posterior mode of the rates by accelerated EM.

    Parameters
    ----------
    stats : PatternStatistics
    choice_model : {"one_step", "markov_chain"}
    priors : Priors, optional
        Default: λ ~ Gamma(.5, .001), each row with 'none' ~ Dirichlet(1).
    start : Rates, optional
        Warm start; its choice model is not read.
    precision : (n,) float64, optional
        1 / dispersion of each product's counts (quasi-Poisson); default 1.
    max_iterations : int
        EM steps; each round of SQUAREM (Varadhan and Roland 2008) takes three.
    tolerance : float
        Stop when a round improves the log posterior by less than this share.

    Notes
    -----
    A flat Dirichlet(1) row has its mode where the likelihood has it: at the boundary
    if need be. The Gamma(.5) shape subtracts half a customer per product.
    """
    priors = priors or Priors.default(stats.n_products)
    state = _initial(stats, start)
    weight = _precision(stats, precision)
    data = (stats.store, stats.out, stats.exposure, stats.counts, weight)
    markov = choice_model == "markov_chain"

    def update(point: _State) -> tuple[_State, float]:
        sums = _expect(*data, point.arrival_rate, point.row, markov)
        value = sums[3] + priors.log_density(point.arrival_rate, point.row)
        return _maximise(sums[0], sums[1], sums[2], priors), value

    iterations, converged, best = 0, False, -np.inf
    while iterations < max_iterations and not converged:
        first, value = update(state)
        second, _ = update(first)
        jump = _squarem(state, first, second)
        third, jumped = update(jump)
        # The jump is kept only if it climbs; two plain steps always do.
        state = third if np.isfinite(jumped) and jumped >= value else second
        iterations += 3
        converged = abs(value - best) <= tolerance * (abs(value) + 1.0) and iterations > 3
        best = value
    sums = _expect(*data, state.arrival_rate, state.row, markov)
    rates = Rates(state.arrival_rate, state.row[:, :-1].copy(), choice_model)
    log_posterior = sums[3] + priors.log_density(state.arrival_rate, state.row)
    return EMFit(rates, float(sums[3]), float(log_posterior), iterations, converged)


def log_likelihood(
    stats: PatternStatistics, rates: Rates, precision: NDArray[np.float64] | None = None
) -> float:
    """Σ C log m - E m over rows and products (no constant), under ``rates``' model."""
    weight = _precision(stats, precision)
    mean = expected_counts(stats, rates)
    with np.errstate(divide="ignore", invalid="ignore"):
        terms = np.where(stats.counts > 0, stats.counts * np.log(mean), 0.0) - mean
    return float(np.where(stats.observed, terms * weight, 0.0).sum())


def _precision(
    stats: PatternStatistics, precision: NDArray[np.float64] | None
) -> NDArray[np.float64]:
    """(P, n) weight of each count: 0 where it is not observed."""
    weight = np.ones(stats.n_products) if precision is None else precision
    return np.where(stats.observed, weight, 0.0).astype(np.float64)


def expected_counts(stats: PatternStatistics, rates: Rates) -> NDArray[np.float64]:
    """(P, n) expected transactions of each row under ``rates``."""
    return stats.exposure[:, None] * pattern_rates(stats.store, stats.out, rates)


def pattern_rates(
    store: NDArray[np.int64], out: NDArray[np.float64], rates: Rates
) -> NDArray[np.float64]:
    """(P, n) expected sales per unit of weight in each store and pattern."""
    found: NDArray[np.float64] = _row_rates(
        store,
        np.ascontiguousarray(out, dtype=np.float64),
        np.ascontiguousarray(rates.arrival_rate, dtype=np.float64),
        np.ascontiguousarray(rates.substitution_rate, dtype=np.float64),
        rates.choice_model == "markov_chain",
    )
    return found


@dataclass(frozen=True)
class _State:
    arrival_rate: NDArray[np.float64]
    row: NDArray[np.float64]  # (n, n + 1), last column 'none'


def _initial(stats: PatternStatistics, start: Rates | None) -> _State:
    n = stats.n_products
    if start is not None:
        alpha = np.clip(np.asarray(start.substitution_rate, np.float64), 1e-4, None)
        np.fill_diagonal(alpha, 0.0)
        none = np.clip(1.0 - alpha.sum(axis=1), 1e-4, None)
        row = np.column_stack([alpha, none])
        lam = np.maximum(np.asarray(start.arrival_rate, np.float64), TINY).copy()
        return _State(lam, row / row.sum(axis=1, keepdims=True))
    in_stock = np.zeros((stats.n_stores, n))
    sold = np.zeros((stats.n_stores, n))
    seen = stats.observed * (1.0 - stats.out) * stats.exposure[:, None]
    np.add.at(in_stock, stats.store, seen)
    np.add.at(sold, stats.store, np.where(stats.observed, stats.counts, 0.0))
    row = np.full((n, n + 1), 1.0 / n)
    np.fill_diagonal(row, 0.0)
    return _State((sold + 0.5) / (in_stock + 1.0), row)


def _maximise(
    arrivals: NDArray[np.float64],
    moves: NDArray[np.float64],
    exposure: NDArray[np.float64],
    priors: Priors,
) -> _State:
    """Closed-form M step: customers per exposure, and shares of a row's customers."""
    lam = (arrivals + priors.arrival_shape - 1.0) / (exposure[:, None] + priors.arrival_rate)
    share = np.maximum(moves + priors.pseudo_counts(), 0.0)
    total = share.sum(axis=1, keepdims=True)
    # No customer and a flat prior: every row is a mode; keep the prior mean.
    row = np.where(total > TINY, share / np.maximum(total, TINY), priors.mean())
    return _State(np.maximum(lam, TINY), row)


def _squarem(a: _State, b: _State, c: _State) -> _State:
    """Extrapolate three EM points in the log domain (SQUAREM, step length S3)."""
    x0, x1, x2 = (np.log(np.maximum(_flat(s), 1e-300)) for s in (a, b, c))
    # Rates on their way to zero would dominate the step length in logs.
    live = _flat(c) > 1e-9
    r = np.where(live, x1 - x0, 0.0)
    v = np.where(live, x2 - x1, 0.0) - r
    size = np.sqrt((v**2).sum())
    step = max(1.0, np.sqrt((r**2).sum()) / size) if size > 1e-14 else 1.0
    x = np.where(live, x0 + 2.0 * step * r + step**2 * v, x2)
    flat = np.exp(np.clip(x, -300.0, 50.0))
    n_rates = a.arrival_rate.size
    row = flat[n_rates:].reshape(a.row.shape)
    np.fill_diagonal(row, 0.0)
    return _State(
        flat[:n_rates].reshape(a.arrival_rate.shape), row / row.sum(axis=1, keepdims=True)
    )


def _flat(state: _State) -> NDArray[np.float64]:
    return np.concatenate([state.arrival_rate.ravel(), state.row.ravel()])


@numba.njit(cache=True)
def _solve_visits(out, lam, row):  # type: ignore[no-untyped-def]
    """Inverse of I - diag(o) ρ, and visits v = λ (I - diag(o) ρ)^-1 per unit of weight."""
    n = len(lam)
    matrix = np.eye(n)
    for i in range(n):
        if out[i] > 0.0:
            for j in range(n):
                # A row of 1 among products that are all out would never end its walk.
                matrix[i, j] -= (1.0 - 1e-9) * out[i] * row[i, j]
    inverse = np.linalg.inv(matrix)
    return inverse, lam @ inverse


@numba.njit(cache=True)
def _row_rates(store, out, arrival_rate, alpha, markov):  # type: ignore[no-untyped-def]
    """(P, n) expected sales per unit of weight."""
    n_rows, n = out.shape
    rate = np.zeros((n_rows, n))
    for p in range(n_rows):
        lam = arrival_rate[store[p]]
        if markov:
            _, visits = _solve_visits(out[p], lam, alpha)
            for j in range(n):
                rate[p, j] = (1.0 - out[p, j]) * visits[j]
        else:
            for j in range(n):
                if out[p, j] < 1.0:
                    total = lam[j]
                    for i in range(n):
                        if i != j and out[p, i] > 0.0:
                            total += out[p, i] * lam[i] * alpha[i, j]
                    rate[p, j] = (1.0 - out[p, j]) * total
    return rate


@numba.njit(cache=True)
def _expect(store, out, exposure, counts, precision, arrival_rate, row, markov):  # type: ignore[no-untyped-def]
    """E step: expected first choices (S, n), moves (n, n + 1), exposure (S,), log-likelihood.

    ``found[j]`` is the expected number of customers, per unit of rate, behind a visit
    to ``j``: sales / expected sales where ``j`` sold, the exposure where nobody looks.
    Counts of precision κ are κ parts observed and 1 - κ parts at their expectation.
    """
    n_rows, n = out.shape
    n_stores = arrival_rate.shape[0]
    first = np.zeros((n_stores, n))
    moves = np.zeros((n, n + 1))
    total = np.zeros(n_stores)
    log_lik = 0.0
    alpha = np.ascontiguousarray(row[:, :n])
    rate = _row_rates(store, out, arrival_rate, alpha, markov)
    found = np.empty(n)
    standing = np.empty(n)
    for p in range(n_rows):
        e = exposure[p]
        if e <= 0.0:
            continue
        s, lam = store[p], arrival_rate[store[p]]
        total[s] += e
        visits = lam
        inverse = np.empty((0, 0))
        if markov:
            inverse, visits = _solve_visits(out[p], lam, alpha)
        for j in range(n):
            found[j] = e
            if out[p, j] < 1.0 and rate[p, j] > 0.0:
                c = counts[p, j]
                found[j] = precision[p, j] * c / rate[p, j] + (1.0 - precision[p, j]) * e
                log_lik -= precision[p, j] * e * rate[p, j]
                if c > 0.0:
                    log_lik += precision[p, j] * c * np.log(e * rate[p, j])
        for j in range(n):
            if markov:
                standing[j] = e
                for k in range(n):
                    standing[j] += inverse[j, k] * (1.0 - out[p, k]) * (found[k] - e)
            else:
                standing[j] = (1.0 - out[p, j]) * found[j] + out[p, j] * e
        for i in range(n):
            if markov:
                first[s, i] += lam[i] * standing[i]
            else:
                first[s, i] += lam[i] * (1.0 - out[p, i]) * found[i]
            if out[p, i] > 0.0:
                leaving = visits[i] * out[p, i]
                gone = leaving * row[i, n] * e
                moves[i, n] += gone
                sent = gone
                for j in range(n):
                    if j != i:
                        moved = leaving * row[i, j] * standing[j]
                        moves[i, j] += moved
                        sent += moved
                if not markov:
                    first[s, i] += sent
    return first, moves, total, log_lik
