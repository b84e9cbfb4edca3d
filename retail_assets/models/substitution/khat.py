"""How far importance ratios are from having a mean: the gate between two engines."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def pareto_khat(log_ratio: NDArray[np.float64]) -> float:
    """Shape of the generalized Pareto tail of importance ratios.

    The largest min(N / 5, 3 √N) ratios are fitted by the quasi-Bayesian estimate of
    Zhang and Stephens (2009), with the weak prior at .5 of Vehtari, Simpson, Gelman,
    Yao and Gabry (2024), "Pareto smoothed importance sampling", section 3.

    Parameters
    ----------
    log_ratio : (N,) float64

    Returns
    -------
    float
        inf when a ratio is not finite.
    """
    if not np.isfinite(log_ratio).all():
        return float("inf")
    ratio = np.sort(np.exp(log_ratio - log_ratio.max()))
    tail = int(min(0.2 * len(ratio), 3.0 * np.sqrt(len(ratio))))
    excess = ratio[-tail:] - ratio[-tail - 1]
    if excess[-1] <= 0.0:
        return float("-inf")
    excess = np.maximum(excess, 1e-300)
    n = len(excess)
    m = 30 + int(np.sqrt(n))
    quartile = excess[int(n / 4 + 0.5) - 1]
    theta = 1.0 / excess[-1] + (1.0 - np.sqrt(m / (np.arange(1, m + 1) - 0.5))) / 3.0 / quartile
    shape = np.log1p(-theta[:, None] * excess).mean(axis=1)
    profile = n * (np.log(-theta / shape) - shape - 1.0)
    weight = np.exp(profile - profile.max())
    best = (theta * weight).sum() / weight.sum()
    khat = np.log1p(-best * excess).mean()
    return float((n * khat + 10 * 0.5) / (n + 10))
