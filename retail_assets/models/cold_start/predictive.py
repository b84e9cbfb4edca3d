"""How many of n future trials succeed, when p is known only by its posterior.

    predictive_mean_sd(mixture, n)           mean and sd of K per row
    predictive_pmf(mixture, row, n)          P(K = 0..n) of one row
    predictive_quantile(mixture, n, q)       smallest k with P(K <= k) >= q: the newsvendor

A newsvendor who plugs in the mean of p serves .60-.69 where .78 was asked; the
beta-binomial quantile serves it.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import betaln

from retail_assets.models.cold_start.counts import FloatArray, IntArray
from retail_assets.models.cold_start.mixture import BetaMixture

#: Components this light cannot move a quantile that matters.
NEGLIGIBLE = 1e-7


def predictive_mean_sd(mixture: BetaMixture, n: ArrayLike) -> tuple[FloatArray, FloatArray]:
    """Mean and standard deviation of K | n per row, (m,) each.

    Var K = n E[p(1 - p)] + n² Var p.
    """
    trials = np.asarray(n, dtype=np.float64)
    mean, var = mixture.mean, mixture.variance
    spread = trials * (mean * (1 - mean) - var) + trials**2 * var
    return trials * mean, np.sqrt(np.maximum(spread, 0.0))


def predictive_pmf(mixture: BetaMixture, row: int, n: int) -> FloatArray:
    """P(K = k | n trials) of one row for k = 0 .. n, (n + 1,).

    By the recurrence P(k+1)/P(k) = (n-k)(α+k) / ((k+1)(β+n-k-1)): one logarithm per
    value, and no Γ function.
    """
    kept = mixture.weight[row] > NEGLIGIBLE
    alpha, beta = mixture.alpha[row][kept, None], mixture.beta[row][kept, None]
    weight = mixture.weight[row][kept]
    k = np.arange(n, dtype=np.float64)
    ratio = np.log((n - k) / (k + 1) * (alpha + k) / (beta + (n - 1 - k)))
    first = betaln(alpha, beta + n) - betaln(alpha, beta)
    log_pmf = first + np.concatenate([np.zeros_like(first), np.cumsum(ratio, axis=1)], axis=1)
    pmf = weight @ np.exp(log_pmf)
    return np.asarray(pmf / pmf.sum())


def predictive_quantile(mixture: BetaMixture, n: ArrayLike, q: ArrayLike) -> IntArray:
    """Smallest k with P(K <= k) >= q per row, (m,) int.

    Parameters
    ----------
    n : int or (m,) array_like of int
        Future trials.
    q : float or (m,) array_like
        Probability, e.g. the critical ratio c_u / (c_u + c_o) of a newsvendor
        (Snyder and Shen, 2nd ed., eq. 4.17).

    Raises
    ------
    ValueError
        A q outside (0, 1) or a negative n; the row is named.
    """
    size = (len(mixture),)
    trials = np.broadcast_to(np.asarray(n), size)
    wanted = np.broadcast_to(np.asarray(q, dtype=np.float64), size)
    wrong = ~((wanted > 0) & (wanted < 1) & (trials >= 0))
    if wrong.any():
        row = int(np.argmax(wrong))
        raise ValueError(
            f"row {row}: needs 0 < q < 1 and n >= 0 (q={wanted[row]}, n={trials[row]})"
        )
    result = np.zeros(size, dtype=np.int64)
    for row in range(size[0]):
        cumulative = np.cumsum(predictive_pmf(mixture, row, int(trials[row])))
        result[row] = min(int(np.searchsorted(cumulative, wanted[row])), int(trials[row]))
    return result
