"""Beta-binomial regression: logit μ_i = x_i'b + μ_n log(1 + n_i), log σ constant.

    fit_regression(k, n, design, names, log_n=True) -> RegressionFit

The source's term μ_n log(1 + n) helps styles that are long on sale. For a new style it
is harmful when read at the style's own n: bad styles were retired early, so few trials
came to mean a low rate (true mean .25, predicted .04). ``reference_log_n`` decides at
which n it is read: see :func:`prior_log_n`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import expit

from retail_assets.models.cold_start.beta_binomial import group_sums, moments
from retail_assets.models.cold_start.counts import FloatArray, Trials
from retail_assets.models.cold_start.likelihood import Derivatives, log_choose, row_derivatives
from retail_assets.models.cold_start.newton import STEP_CAP

NForPrior = Literal["none", "reference", "current"]


@dataclass(frozen=True)
class RegressionFit:
    """Coefficients of logit μ, and log σ.

    Parameters
    ----------
    names : tuple of str
        Names of the coefficients; the last is ``log_n`` when the fit has that term.
    coefficients, se : (p,) float
        Estimates and standard errors from the observed information.
    log_sigma, log_sigma_se : float
    log_likelihood : float
        With Σ log C(n, k).
    has_log_n : bool
    """

    names: tuple[str, ...]
    coefficients: FloatArray
    se: FloatArray
    log_sigma: float
    log_sigma_se: float
    log_likelihood: float
    iterations: int
    converged: bool
    has_log_n: bool

    @property
    def n_effect(self) -> float:
        """μ_n, 0 when the model has no such term."""
        return float(self.coefficients[-1]) if self.has_log_n else 0.0

    def logit_mean(self, design: ArrayLike, log_n: ArrayLike = 0.0) -> FloatArray:
        """x'b + μ_n log_n per row of ``design`` (m, p without the log_n column), (m,)."""
        x = np.asarray(design, dtype=np.float64)
        fixed = self.coefficients[: x.shape[1]]
        return np.asarray(x @ fixed + self.n_effect * np.asarray(log_n, dtype=np.float64))

    def mean(self, design: ArrayLike, log_n: ArrayLike = 0.0) -> FloatArray:
        """Prior mean μ per row, (m,)."""
        return np.asarray(expit(self.logit_mean(design, log_n)))


def fit_regression(
    trials: Trials,
    design: ArrayLike | None = None,
    names: Sequence[str] | None = None,
    *,
    log_n: ArrayLike | bool = False,
    max_iterations: int = 100,
) -> RegressionFit:
    """Maximum likelihood by Newton, Γ form.

    Parameters
    ----------
    trials : Trials
        Counts per style; its groups are ignored. Styles without a trial are left out.
    design : (m, p) array_like, optional
        Attributes per style, with the column of ones; only that column by default.
    names : sequence of p str, optional
        Names of the columns.
    log_n : bool or (m,) array_like
        True adds log(1 + n); an array adds another transform of n (Robinson: log10 n).

    Raises
    ------
    ValueError
        No style with a trial, a design of the wrong length, or collinear columns
        (the ones that add nothing are named).

    References
    ----------
    Robinson (2017), "Understanding beta binomial regression"; Langford, "Automating
    Inventory at Stitch Fix", slide on μ = μ_0 + μ_n log(1 + n).
    """
    m = trials.k.size
    x = np.ones((m, 1)) if design is None else np.asarray(design, dtype=np.float64)
    if x.ndim != 2 or x.shape[0] != m:
        raise ValueError(f"design must be ({m}, p), one row per style: it is {x.shape}")
    labels = list(names) if names is not None else ["intercept", *_numbered(x.shape[1] - 1)]
    has_log_n = not (isinstance(log_n, bool) and not log_n)
    if has_log_n:
        column = np.log1p(trials.n) if isinstance(log_n, bool) else np.asarray(log_n, float)
        x, labels = np.column_stack([x, column]), [*labels, "log_n"]
    if len(labels) != x.shape[1]:
        raise ValueError(f"{len(labels)} names for {x.shape[1]} columns")
    used = trials.n > 0
    if not used.any():
        raise ValueError("no style has a trial: nothing to regress on")
    x, trials = x[used], trials.take(used)
    _check_rank(x, labels)
    start, log_sigma = moments(group_sums(Trials(trials.k, trials.n, 0 * trials.n, 1)))
    parameters = np.append(np.linalg.lstsq(x, np.full(len(x), start[0]), rcond=None)[0], log_sigma)
    parameters, information, value, iterations, converged = _newton(
        trials, x, parameters, max_iterations
    )
    se = np.sqrt(np.diag(np.linalg.inv(information)))
    return RegressionFit(
        names=tuple(labels),
        coefficients=parameters[:-1],
        se=se[:-1],
        log_sigma=float(parameters[-1]),
        log_sigma_se=float(se[-1]),
        log_likelihood=value + float(log_choose(trials.n, trials.k).sum()),
        iterations=iterations,
        converged=converged,
        has_log_n=has_log_n,
    )


def prior_log_n(policy: NForPrior, n: ArrayLike, reference_n: float) -> FloatArray:
    """The log(1 + n) at which a style's prior is read.

    Parameters
    ----------
    policy : {"none", "reference", "current"}
        ``none``: NaN, the prior has no such term (the rule for styles younger than the
        horizon); ``reference``: every style at ``reference_n``, the median n of mature
        styles; ``current``: at its own n, right only for mature styles.
    n : (m,) array_like
        Trials per style so far.

    Raises
    ------
    ValueError
        Unknown policy.
    """
    own = np.asarray(n, dtype=np.float64)
    if policy == "none":
        return np.full(own.shape, np.nan)
    if policy == "reference":
        return np.full(own.shape, np.log1p(reference_n))
    if policy == "current":
        return np.asarray(np.log1p(own))
    raise ValueError(f"n_for_prior {policy!r} is not one of {', '.join(get_args(NForPrior))}")


def _numbered(count: int) -> list[str]:
    return [f"x{i + 1}" for i in range(count)]


def _check_rank(x: FloatArray, labels: Sequence[str]) -> None:
    """Name the columns that are combinations of those before them."""
    r = np.abs(np.diag(np.linalg.qr(x / np.maximum(np.abs(x).max(axis=0), 1e-300), mode="r")))
    rank_deficient = np.flatnonzero(np.append(r, np.zeros(x.shape[1] - r.size)) < 1e-9)
    if rank_deficient.size:
        named = ", ".join(labels[int(i)] for i in rank_deficient)
        raise ValueError(f"columns add nothing to those before them: {named}; drop them")


def _newton(
    trials: Trials, x: FloatArray, parameters: FloatArray, max_iterations: int
) -> tuple[FloatArray, FloatArray, float, int, bool]:
    """Parameters (b, log σ), observed information, log-likelihood, iterations, converged."""
    k, n = trials.k.astype(float), trials.n.astype(float)

    def at(values: FloatArray) -> Derivatives:
        return row_derivatives(k, n, x @ values[:-1], np.full(k.size, values[-1]))

    now = at(parameters)
    for iteration in range(1, max_iterations + 1):
        information = _information(now, x)
        gradient = np.append(x.T @ now.eta, now.s.sum())
        values, vectors = np.linalg.eigh(information)
        size = np.maximum(np.abs(values), 1e-10 * np.abs(values).max())
        step = vectors @ ((vectors.T @ gradient) / size)
        step *= min(1.0, STEP_CAP / max(float(np.abs(x @ step[:-1]).max()), abs(step[-1]), 1e-300))
        best, total = now, now.value.sum()
        for _ in range(40):
            best = at(parameters + step)
            if best.value.sum() >= total - 1e-12 * (1 + abs(total)):
                break
            step = 0.5 * step
        parameters, now = parameters + step, best
        if np.abs(step).max() < 1e-7:
            return parameters, _information(now, x), float(now.value.sum()), iteration, True
    return parameters, _information(now, x), float(now.value.sum()), max_iterations, False


def _information(at: Derivatives, x: FloatArray) -> NDArray[np.float64]:
    """Minus the Hessian in (b, log σ)."""
    p = x.shape[1]
    result = np.empty((p + 1, p + 1))
    result[:p, :p] = -(x.T * at.eta_eta) @ x
    result[:p, p] = result[p, :p] = -(x.T @ at.eta_s)
    result[p, p] = -at.s_s.sum()
    return result
