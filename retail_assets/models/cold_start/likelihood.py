"""Beta-binomial log-likelihood with gradient and Hessian, in two forms.

p ~ Beta(μ/σ, (1 - μ)/σ), k | p ~ Binomial(n, p); parameters η = logit μ and s = log σ,
σ = 1/(α + β) (the ``BB`` form of gamlss; log σ is VGAM's logit ρ).

*Tail form*, exact for σ -> 0 because no Γ functions cancel; cost grows with max n:

    ℓ = Σ_r A_r log(μ + rσ) + B_r log(1 - μ + rσ) - C_r log(1 + rσ)

*Γ form*, whose cost is one row per style whatever n, with an η per style. All values
leave out the constant Σ log C(n, k): see :func:`log_choose`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import expit, gammaln, psi, zeta

from retail_assets.models.cold_start.counts import FloatArray, IntArray, TailCounts, Trials, sum_by

#: η, s and which groups they belong to -> value, gradient and Hessian of those groups.
Objective = Callable[[IntArray, FloatArray, FloatArray], "Derivatives"]


@dataclass(frozen=True)
class Derivatives:
    """ℓ with its derivatives in η = logit μ and s = log σ, each (g,)."""

    value: FloatArray
    eta: FloatArray
    s: FloatArray
    eta_eta: FloatArray
    eta_s: FloatArray
    s_s: FloatArray

    def take(self, rows: IntArray) -> Derivatives:
        """Some of the groups."""
        return self.map(lambda part: part[rows])

    def map(self, function: Callable[[FloatArray], FloatArray]) -> Derivatives:
        """Apply one linear function (a sum over groups, a choice of rows) to each part."""
        return Derivatives(*(function(getattr(self, part.name)) for part in fields(self)))


def log_choose(n: ArrayLike, k: ArrayLike) -> FloatArray:
    """log C(n, k) elementwise."""
    n, k = np.asarray(n), np.asarray(k)
    return np.asarray(gammaln(n + 1.0) - gammaln(k + 1.0) - gammaln(n - k + 1.0))


def row_derivatives(k: FloatArray, n: FloatArray, eta: FloatArray, s: FloatArray) -> Derivatives:
    """Γ form: one ℓ per style, each with its own η and s."""
    mu, q, theta = expit(eta), expit(-eta), np.exp(-s)
    alpha, beta, slope = mu * theta, q * theta, mu * q * theta
    m = n - k
    value = gammaln(k + alpha) - gammaln(alpha) + gammaln(m + beta) - gammaln(beta)
    value -= gammaln(n + theta) - gammaln(theta)
    a1, b1, c1 = psi(k + alpha) - psi(alpha), psi(m + beta) - psi(beta), psi(n + theta) - psi(theta)
    a2, b2, c2 = (
        zeta(2.0, count + at) - zeta(2.0, at) for count, at in ((k, alpha), (m, beta), (n, theta))
    )
    return Derivatives(
        value,
        slope * (a1 - b1),
        theta * c1 - alpha * a1 - beta * b1,
        slope**2 * (a2 + b2) + slope * (q - mu) * (a1 - b1),
        slope * (beta * b2 - alpha * a2 - a1 + b1),
        alpha * (alpha * a2 + a1) + beta * (beta * b2 + b1) - theta * (theta * c2 + c1),
    )


def gamma_objective(trials: Trials, offset: FloatArray | None = None) -> Objective:
    """Γ form summed over each group's styles; ``offset`` (m,) shifts η style by style."""
    order = np.argsort(trials.group, kind="stable")
    k, n = trials.k[order].astype(float), trials.n[order].astype(float)
    group = trials.group[order]
    shift = np.zeros(k.size) if offset is None else offset[order]
    first = np.searchsorted(group, np.arange(trials.n_groups + 1))

    def objective(groups: IntArray, eta: FloatArray, s: FloatArray) -> Derivatives:
        size = first[groups + 1] - first[groups]
        local = np.repeat(np.arange(groups.size), size)
        rows = np.arange(local.size) + np.repeat(first[groups] - np.cumsum(size) + size, size)
        each = row_derivatives(k[rows], n[rows], eta[local] + shift[rows], s[local])
        return each.map(lambda part: sum_by(local, part, groups.size))

    return objective


def tail_objective(tails: TailCounts) -> Objective:
    """Tail form of the groups in ``tails``; every group must have a trial."""
    chosen = _Chosen(tails)

    def objective(groups: IntArray, eta: FloatArray, s: FloatArray) -> Derivatives:
        part = chosen.only(groups)
        mu, q, sigma = expit(eta), expit(-eta), np.exp(s)
        base = np.stack([mu, q, np.ones_like(mu)], axis=1).ravel()
        r = part.r * np.repeat(np.repeat(sigma, 3), part.length)
        x = r + np.repeat(base, part.length)
        t = 1.0 / x
        u = r * t
        ct, cu = part.count * t, part.count * u
        value, dt, du, tt, tu, uu = (
            _run_sums(each, part)
            for each in (part.count * np.log(x), ct, cu, ct * t, ct * u, cu * u)
        )
        d = mu * q
        d_mu = dt[:, 0] - dt[:, 1]
        d_s = du[:, 0] + du[:, 1] - du[:, 2]
        return Derivatives(
            value[:, 0] + value[:, 1] - value[:, 2],
            d * d_mu,
            d_s,
            d * (q - mu) * d_mu - d**2 * (tt[:, 0] + tt[:, 1]),
            d * (tu[:, 1] - tu[:, 0]),
            d_s - uu[:, 0] - uu[:, 1] + uu[:, 2],
        )

    return objective


class _Chosen:
    """The tail counts of the groups still iterating, kept while the choice is the same."""

    def __init__(self, tails: TailCounts) -> None:
        self._all, self._groups, self._part = tails, np.arange(tails.length.size // 3), tails

    def only(self, groups: IntArray) -> TailCounts:
        if not np.array_equal(groups, self._groups):
            runs = (3 * groups[:, None] + np.arange(3)).ravel()
            length = self._all.length[runs]
            start = np.cumsum(length) - length
            take = np.arange(int(length.sum())) + np.repeat(self._all.start[runs] - start, length)
            self._part = TailCounts(self._all.r[take], self._all.count[take], start, length)
            self._groups = groups
        return self._part


def _run_sums(values: FloatArray, tails: TailCounts) -> FloatArray:
    """(g, 3) sums over each group's three runs; an empty run sums to 0."""
    full = tails.length > 0
    sums = np.zeros(full.size)
    sums[full] = np.add.reduceat(values, tails.start[full])
    return sums.reshape(-1, 3)
