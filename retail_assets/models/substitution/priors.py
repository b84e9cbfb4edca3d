"""What is believed about the rates before a receipt is read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Priors:
    """λ ~ Gamma(shape, rate); a row's shares Π α^(a-1) (1-α)^(b-1) with 'none' last.

    Parameters
    ----------
    arrival_shape, arrival_rate : float
        Gamma(.5, .001): nearly flat at any grain from minutes to days.
    success, failure : (n, n + 1) float64
        ``a`` and ``b`` per pair; ``b = 1`` makes the row a plain Dirichlet(a).
        Column ``n`` is 'none'; the diagonal is not read.
    """

    arrival_shape: float
    arrival_rate: float
    success: NDArray[np.float64]
    failure: NDArray[np.float64]

    @property
    def n_products(self) -> int:
        return len(self.success)

    @staticmethod
    def default(
        n_products: int, pairs: Mapping[tuple[int, int], tuple[float, float]] | None = None
    ) -> Priors:
        """Flat rows, with Beta(alpha, beta) on the pairs somebody knows about.

        Parameters
        ----------
        n_products : int
        pairs : {(from, to): (alpha, beta)}, optional
            ``to = n_products`` is 'none'.

        Raises
        ------
        ValueError
            A pair outside the category, of a product with itself, or with a
            parameter that is not positive.
        """
        success = np.ones((n_products, n_products + 1))
        failure = np.ones((n_products, n_products + 1))
        for (i, j), (a, b) in (pairs or {}).items():
            if not (0 <= i < n_products and 0 <= j <= n_products and i != j):
                raise ValueError(f"prior pair ({i}, {j}) is not a pair of this category")
            if not (a > 0 and b > 0):
                raise ValueError(f"prior of pair ({i}, {j}) needs alpha, beta > 0, got {a}, {b}")
            success[i, j], failure[i, j] = a, b
        return Priors(0.5, 0.001, success, failure)

    def off_diagonal(self) -> NDArray[np.bool_]:
        """(n, n + 1) mask of the shares that exist."""
        n = self.n_products
        return ~np.eye(n, n + 1, dtype=bool)

    def informed(self) -> NDArray[np.bool_]:
        """(n, n + 1) pairs with a prior of their own."""
        known: NDArray[np.bool_] = (self.success != 1.0) | (self.failure != 1.0)
        return known & self.off_diagonal()

    def pseudo_counts(self) -> NDArray[np.float64]:
        """(n, n + 1) customers the prior adds to a row's mode.

        A Beta's failures are spread over the rest of the row, evenly: exact when the
        row is Dirichlet, a start for Newton's method otherwise.
        """
        mask = self.off_diagonal()
        extra = np.where(mask, self.failure - 1.0, 0.0)
        n = self.n_products
        spread = (extra.sum(axis=1, keepdims=True) - extra) / max(n - 1, 1)
        return np.where(mask, self.success - 1.0 + spread, 0.0)

    def mean(self) -> NDArray[np.float64]:
        """(n, n + 1) prior mean of the shares (of the Dirichlet that matches them)."""
        weight = np.where(self.off_diagonal(), np.maximum(self.pseudo_counts() + 1.0, 1e-3), 0.0)
        mean: NDArray[np.float64] = weight / weight.sum(axis=1, keepdims=True)
        return mean

    def sd(self) -> NDArray[np.float64]:
        """(n, n + 1) prior standard deviation of each share."""
        mask = self.off_diagonal()
        total = np.where(mask, self.success, 0.0).sum(axis=1, keepdims=True)
        a = np.where(mask, self.success, 1.0)
        b = np.where(self.failure != 1.0, self.failure, total - a)
        b = np.maximum(b, 1e-9)
        return np.where(mask, np.sqrt(a * b / ((a + b) ** 2 * (a + b + 1.0))), 0.0)

    def log_density(self, arrival_rate: NDArray[np.float64], row: NDArray[np.float64]) -> float:
        """Log prior density of λ (S, n) and rows (n, n + 1), up to a constant."""
        value = ((self.arrival_shape - 1.0) * np.log(arrival_rate)).sum()
        value -= self.arrival_rate * arrival_rate.sum()
        mask = self.off_diagonal()
        for exponent, share in ((self.success - 1.0, row), (self.failure - 1.0, 1.0 - row)):
            used = mask & (exponent != 0.0)
            value += (exponent[used] * np.log(np.maximum(share[used], 1e-300))).sum()
        return float(value)

    def draw_row(self, product: int, size: int, rng: np.random.Generator) -> NDArray[np.float64]:
        """(size, n + 1) draws of one row from its prior.

        Rows with Beta factors are drawn by importance resampling from the Dirichlet
        of the same successes.
        """
        n = self.n_products
        others = np.flatnonzero(self.off_diagonal()[product])
        b = self.failure[product, others]
        plain = bool((b == 1.0).all())
        share = rng.dirichlet(self.success[product, others], size if plain else 50 * size)
        if not plain:
            log_weight = ((b - 1.0) * np.log(np.maximum(1.0 - share, 1e-300))).sum(axis=1)
            weight = np.exp(log_weight - log_weight.max())
            share = share[rng.choice(len(share), size, p=weight / weight.sum())]
        row = np.zeros((size, n + 1))
        row[:, others] = share
        return row
