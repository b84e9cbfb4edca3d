"""Mixtures of Beta distributions, one per row: what a style's rate p may be.

A prior of a group is a mixture over its uncertain (α, β); a style's trials update each
component (conjugate) and its weight (by the beta-binomial probability of the trials).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import betainc, betaincinv, betaln, expit, logit

from retail_assets.models.cold_start.counts import FloatArray, sum_by

#: Components lighter than this are left out of distribution functions.
NEGLIGIBLE = 1e-9


@dataclass(frozen=True)
class BetaMixture:
    """(m, j) components per row; weights sum to 1 along the last axis."""

    alpha: FloatArray
    beta: FloatArray
    weight: FloatArray

    def __len__(self) -> int:
        return int(self.alpha.shape[0])

    def take(self, rows: ArrayLike) -> BetaMixture:
        """Some of the rows (mask, slice or index)."""
        index = np.asarray(rows)
        return BetaMixture(self.alpha[index], self.beta[index], self.weight[index])

    @cached_property
    def mean(self) -> FloatArray:
        """E p, (m,)."""
        return np.asarray(np.sum(self.weight * self.alpha / (self.alpha + self.beta), axis=1))

    @cached_property
    def variance(self) -> FloatArray:
        """Var p, (m,): within components and between them."""
        total = self.alpha + self.beta
        mean = self.alpha / total
        within = mean * (self.beta / total) / (total + 1)
        between = (mean - self.mean[:, None]) ** 2
        return np.asarray(np.sum(self.weight * (within + between), axis=1))

    @property
    def sd(self) -> FloatArray:
        return np.asarray(np.sqrt(self.variance))

    def foreseen(self, n: ArrayLike) -> tuple[FloatArray, FloatArray]:
        """Mean and standard deviation of the successes of n trials to come, (m,) each.

        Var K = n E[p(1 - p)] + n² Var p.
        """
        trials = np.asarray(n, dtype=np.float64)
        spread = trials * (self.mean * (1 - self.mean) - self.variance)
        spread = spread + trials**2 * self.variance
        return trials * self.mean, np.sqrt(np.maximum(spread, 0.0))

    def moment_matched(self) -> tuple[FloatArray, FloatArray]:
        """α and β of the single Beta with the same mean and variance, (m,) each."""
        total = np.maximum(self.mean * (1 - self.mean) / self.variance - 1, 1e-12)
        return np.asarray(self.mean * total), np.asarray((1 - self.mean) * total)

    def log_evidence(self, k: ArrayLike, n: ArrayLike) -> FloatArray:
        """log P(k | n) per component without log C(n, k), (m, j); counts may be fractional."""
        k_, n_ = _columns(k, n)
        return np.asarray(
            betaln(self.alpha + k_, self.beta + n_ - k_) - betaln(self.alpha, self.beta)
        )

    def updated(
        self, k: ArrayLike, n: ArrayLike, *, seen_k: ArrayLike = 0.0, seen_n: ArrayLike = 0.0
    ) -> BetaMixture:
        """Posterior after k successes in n trials, (m,) each.

        ``seen_k`` of ``seen_n`` are those trials of the style that already helped to
        fit the mixture's weights: they move its components, but not its weights again.
        """
        k_, n_ = _columns(k, n)
        seen_k_, seen_n_ = _columns(seen_k, seen_n)
        log_weight = betaln(self.alpha + k_, self.beta + n_ - k_)
        log_weight -= betaln(self.alpha + seen_k_, self.beta + seen_n_ - seen_k_)
        with np.errstate(divide="ignore"):
            log_weight = log_weight + np.log(self.weight)
        weight = np.exp(log_weight - log_weight.max(axis=1, keepdims=True))
        weight /= weight.sum(axis=1, keepdims=True)
        return BetaMixture(self.alpha + k_, self.beta + n_ - k_, weight)

    def aged(self, factor: ArrayLike) -> BetaMixture:
        """The same means with ``factor`` (m,) of the information, at least 5 % of it.

        Power discounting (Smith 1979, JRSS B 41; West and Harrison 1997, ch. 6): what was
        believed of a drifting p some time ago says less of it now.
        """
        keep = np.maximum(np.asarray(factor, dtype=np.float64), 0.05)
        keep = np.broadcast_to(keep, (len(self),))[:, None]
        return BetaMixture(self.alpha * keep, self.beta * keep, self.weight)

    def cdf(self, p: ArrayLike) -> FloatArray:
        """P(rate <= p) per row; p is a scalar or (m,)."""
        at = np.broadcast_to(np.asarray(p, dtype=np.float64), (len(self),))
        parts = _Parts.of(self)
        return parts.total(betainc(parts.alpha, parts.beta, at[parts.row]))

    def quantile(self, q: float) -> FloatArray:
        """The p with P(rate <= p) = q, (m,).

        Newton on logit p within a bracket that bisection halves; the last step starts
        within 1e-6 in probability, so its error is of the order of 1e-11.
        """
        if not 0 < q < 1:
            raise ValueError(f"quantile {q:g} is not between 0 and 1")
        parts = _Parts.of(self)
        alpha, beta = self.moment_matched()
        low, high = np.full(len(self), -700.0), np.full(len(self), 36.0)
        x = np.clip(logit(np.clip(betaincinv(alpha, beta, q), 1e-300, 1 - 1e-15)), low, high)
        todo = np.arange(len(self))
        for _ in range(80):
            p, complement = expit(x[todo]), expit(-x[todo])
            excess = parts.total(betainc(parts.alpha, parts.beta, p[parts.row])) - q
            slope = parts.total(parts.slope(p, complement))
            low[todo] = np.where(excess < 0, x[todo], low[todo])
            high[todo] = np.where(excess > 0, x[todo], high[todo])
            with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
                step = x[todo] - excess / slope
            inside = (step > low[todo]) & (step < high[todo])
            done = (np.abs(excess) < 1e-6) & inside
            done |= (excess == 0) | (high[todo] - low[todo] < 1e-12)
            move = np.where(inside, step, 0.5 * (low[todo] + high[todo]))
            x[todo] = np.where(excess == 0, x[todo], move)
            if done.any():
                parts, todo = parts.only(~done), todo[~done]
            if not todo.size:
                break
        return np.asarray(expit(x))

    def interval(self, level: float = 0.95) -> tuple[FloatArray, FloatArray]:
        """Central interval, lower and upper (m,)."""
        return self.quantile(0.5 - level / 2), self.quantile(0.5 + level / 2)


@dataclass(frozen=True)
class _Parts:
    """The components that matter, in one flat array sorted by row."""

    row: np.ndarray
    alpha: FloatArray
    beta: FloatArray
    weight: FloatArray
    log_norm: FloatArray
    rows: int

    @classmethod
    def of(cls, mixture: BetaMixture) -> _Parts:
        kept = mixture.weight > NEGLIGIBLE
        alpha, beta = mixture.alpha[kept], mixture.beta[kept]
        row = np.nonzero(kept)[0]
        weight = mixture.weight[kept]
        weight = weight / np.bincount(row, weight, len(mixture))[row]
        return cls(row, alpha, beta, weight, betaln(alpha, beta), len(mixture))

    def total(self, values: FloatArray) -> FloatArray:
        return sum_by(self.row, self.weight * values, self.rows)

    def slope(self, p: FloatArray, complement: FloatArray) -> FloatArray:
        """Derivative of each component's distribution function in logit p."""
        log_p, log_q = np.log(np.maximum(p, 1e-320)), np.log(np.maximum(complement, 1e-320))
        exponent = self.alpha * log_p[self.row] + self.beta * log_q[self.row] - self.log_norm
        return np.asarray(np.exp(exponent))

    def only(self, keep: np.ndarray) -> _Parts:
        number = np.cumsum(keep) - 1
        chosen = keep[self.row]
        return _Parts(
            number[self.row[chosen]],
            self.alpha[chosen],
            self.beta[chosen],
            self.weight[chosen],
            self.log_norm[chosen],
            int(keep.sum()),
        )


def _columns(k: ArrayLike, n: ArrayLike) -> tuple[FloatArray, FloatArray]:
    k_, n_ = np.asarray(k, dtype=np.float64), np.asarray(n, dtype=np.float64)
    if not (np.all(k_ >= 0) and np.all(k_ <= n_) and np.all(np.isfinite(n_))):
        wrong = np.flatnonzero(np.atleast_1d(~((k_ >= 0) & (k_ <= n_) & np.isfinite(n_))))
        raise ValueError(f"row {wrong[0]}: counts need 0 <= k <= n; quarantine it")
    return (k_[:, None] if k_.ndim else k_), (n_[:, None] if n_.ndim else n_)
