"""Gaussian approximation at the posterior mode, in the unconstrained space."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from retail_assets.models.substitution.density import Block, value_gradient_hessian


@dataclass(frozen=True)
class Gaussian:
    """N(loc, scale scaleᵀ) over theta.

    Parameters
    ----------
    loc : (D,) float64
    scale : (D, D) float64
        Lower triangular.
    log_density_at_loc : float
        Log posterior (up to its constant) at ``loc``.
    """

    loc: NDArray[np.float64]
    scale: NDArray[np.float64]
    log_density_at_loc: float

    def sample(self, size: int, rng: np.random.Generator) -> NDArray[np.float64]:
        """(size, D) draws."""
        return self.loc + rng.standard_normal((size, len(self.loc))) @ self.scale.T

    def log_density(self, theta: NDArray[np.float64]) -> NDArray[np.float64]:
        """(N,) normalised log density of N points."""
        white = np.linalg.solve(self.scale, (theta - self.loc).T)
        log_det = np.log(np.diag(self.scale)).sum()
        constant = 0.5 * len(self.loc) * np.log(2.0 * np.pi)
        density: NDArray[np.float64] = -0.5 * (white**2).sum(axis=0) - log_det - constant
        return density


def fit_laplace(
    start: NDArray[np.float64],
    data: Block,
    markov: bool,
    *,
    max_iterations: int = 50,
    tolerance: float = 1e-6,
) -> Gaussian:
    """Newton's method with Levenberg damping from ``start``, then the curvature.

    Parameters
    ----------
    start : (D,) float64
        Unconstrained EM estimate.
    tolerance : float
        Stop when the predicted gain is below this many nats.
    """
    theta = np.asarray(start, dtype=np.float64)
    value, slope, hessian = _evaluate(theta, data, markov)
    damping = 1e-3
    for _ in range(max_iterations):
        curvature = -hessian
        scale = np.abs(np.diag(curvature)) + 1e-3
        step = _solve(curvature + damping * np.diag(scale), slope)
        gain = float(step @ slope)
        if 0.0 <= gain < tolerance:
            break
        # One unit per logit at most: soft-max tails are flat and Newton overshoots.
        step *= min(1.0, 3.0 / max(np.abs(step).max(), 1e-12))
        trial = theta + step
        found = _evaluate(trial, data, markov)
        if np.isfinite(found[0]) and found[0] > value:
            theta, (value, slope, hessian) = trial, found
            damping = max(damping / 5.0, 1e-9)
        else:
            damping = min(damping * 8.0, 1e6)
    return Gaussian(theta, _scale_of(-hessian), value)


def _evaluate(
    theta: NDArray[np.float64], data: Block, markov: bool
) -> tuple[float, NDArray[np.float64], NDArray[np.float64]]:
    value, slope, hessian = value_gradient_hessian(theta, data, markov)
    return float(value), np.asarray(slope), np.asarray(hessian)


def _solve(matrix: NDArray[np.float64], vector: NDArray[np.float64]) -> NDArray[np.float64]:
    values, basis = np.linalg.eigh(matrix)
    # Away from the mode the surface need not be concave: climb along |curvature|.
    solution: NDArray[np.float64] = basis @ ((basis.T @ vector) / np.maximum(np.abs(values), 1e-8))
    return solution


def _scale_of(precision: NDArray[np.float64]) -> NDArray[np.float64]:
    """Lower-triangular square root of the inverse; flat directions get sd 10 at most."""
    values, basis = np.linalg.eigh(precision)
    root = basis / np.sqrt(np.maximum(values, 1e-2))
    # A = root rootᵀ; QR of rootᵀ gives its Cholesky factor without squaring.
    upper: NDArray[np.float64] = np.asarray(np.linalg.qr(root.T, mode="r"))
    factor: NDArray[np.float64] = upper.T * np.sign(np.diag(upper))
    return factor
