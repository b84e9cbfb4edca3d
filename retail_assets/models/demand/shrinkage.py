"""Many small regressions with common sense: each product's coefficients towards their mean."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from retail_assets.models.demand.rows import Floats

STEPS = 200
LEAST_SPREAD = 1e-6
TOLD = 1e-9
"""Precision below which a coefficient is not told by the data at all."""


@dataclass(frozen=True)
class Shrunk:
    """Coefficients of n products.

    Attributes
    ----------
    value, se : (n, k)
        Posterior means and standard errors; the mean and NaN where nothing tells.
    mean : (k,)
    spread : (k,)
        Standard deviation between products.
    """

    value: Floats
    se: Floats
    mean: Floats
    spread: Floats


def shrink(value: Floats, precision: Floats) -> Shrunk:
    """Empirical Bayes for b_g ~ N(beta_g, P_g^-1), beta_g ~ N(mean, diag(spread^2)).

    By expectation-maximisation (Laird and Ware, Biometrics 38(4), 1982, section 4). Whole
    vectors, because a price cut and its leaflet are told apart badly in one product: each
    coefficient alone would be off together with, and against, the other.

    Parameters
    ----------
    value : (n, k)
        Least-squares coefficients of each product; any number where the precision is zero.
    precision : (n, k, k)
        Inverse of each one's covariance; singular where its data do not tell.
    """
    k = value.shape[1]
    told = np.einsum("gii->gi", precision).sum(axis=0) > TOLD
    if not told.any():
        return Shrunk(np.zeros_like(value), np.full_like(value, np.nan), np.zeros(k), np.zeros(k))
    score = np.einsum("gij,gj->gi", precision, value)
    own = np.einsum("gii->gi", precision) > TOLD
    variance = np.array([_start(value[own[:, c], c]) for c in range(k)])
    mean: Floats = np.zeros(k)
    middle, posterior = value, precision
    error: Floats = np.zeros((k, k))
    for _ in range(STEPS):
        between = np.diag(1 / variance)
        posterior = np.asarray(np.linalg.inv(precision + between), np.float64)
        # (V + T)^-1 written with the precision, which may be singular
        total = precision - precision @ posterior @ precision
        error = np.asarray(np.linalg.pinv(total.sum(axis=0)), np.float64)
        weighted = score - np.einsum("gij,gjk,gk->gi", precision, posterior, score)
        mean = np.asarray(error @ weighted.sum(axis=0), np.float64)
        middle = np.asarray(np.einsum("gij,gj->gi", posterior, score + mean @ between), np.float64)
        moments = (middle - mean) ** 2 + np.einsum("gii->gi", posterior)
        new = np.array(
            [moments[own[:, c], c].mean() if own[:, c].any() else LEAST_SPREAD for c in range(k)]
        )
        new = np.maximum(new, LEAST_SPREAD)
        done = np.abs(np.log(new / variance)).max() < 1e-4
        variance = new
        if done:
            break
    # the mean's own error reaches each product by how far it is shrunk
    lever = posterior @ np.diag(1 / variance)
    spread = np.einsum("gij,jk,gik->gi", lever, error, lever)
    se = np.sqrt(np.einsum("gii->gi", posterior) + spread)
    return Shrunk(
        value=np.where(told, middle, 0.0),
        se=np.where(told, se, np.nan),
        mean=np.where(told, mean, 0.0),
        spread=np.sqrt(variance),
    )


def _start(values: Floats) -> float:
    return max(float(np.var(values)) if len(values) > 1 else 0.1, 1e-3)
