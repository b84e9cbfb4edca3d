"""Maximum likelihood Beta prior of each group of similar styles, all groups at once.

p_i ~ Beta(α, β) = Beta(μ/σ, (1 - μ)/σ) within a group, k_i ~ Binomial(n_i, p_i).

    fit_groups(trials) -> GroupFits      α, β, μ, σ, standard errors, status, Tarone's z

Many groups have no finite maximum: with 3 styles a group half of them (49 % of 150
simulated groups). Those are recognised in closed form before any iteration; the
hierarchy (``hierarchy.py``) gives all of them a finite prior.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, logit, xlog1py, xlogy

from retail_assets.models.cold_start.counts import FloatArray, IntArray, Trials, tail_counts
from retail_assets.models.cold_start.likelihood import gamma_objective, log_choose, tail_objective
from retail_assets.models.cold_start.newton import Optimum, maximise

#: Above this many trials of one style the Γ form is cheaper than tail counts.
TAIL_LIMIT = 5_000
#: Tail counts fitted together: small enough for the processor's cache.
BLOCK = 40_000

#: Status of a group -> what it means for the maximum.
STATUSES = {
    "ok": "a finite maximum",
    "no_trials": "no style has a trial: no estimate",
    "unidentified": "no style has two trials: μ only",
    "degenerate": "all trials failed, or all succeeded: μ is 0 or 1",
    "polarised": "every style has rate 0 or 1: α and β go to 0",
    "binomial": "rates differ no more than chance would make them: α and β go to infinity",
}


@dataclass(frozen=True)
class GroupFits:
    """One Beta prior per group by maximum likelihood; every field is (n_groups,).

    Parameters
    ----------
    n_styles, trials, successes : int
        Styles with a trial, and their totals.
    mu, sigma, alpha, beta : float
        The maximum, or its limit: σ is 0 for ``binomial``, infinite for ``polarised``;
        NaN where the data say nothing.
    logit_mu_se, log_sigma_se : float
        Standard errors from the observed information; NaN unless ``ok``. That of μ
        is ``mu * (1 - mu) * logit_mu_se``.
    log_likelihood : float
        At the maximum (its supremum, where there is none), with Σ log C(n, k).
    tarone_z : float
        Tarone's (1979) test of σ = 0, standard normal without overdispersion.
    status : str
        A key of :data:`STATUSES`.
    """

    n_styles: IntArray
    trials: IntArray
    successes: IntArray
    mu: FloatArray
    sigma: FloatArray
    alpha: FloatArray
    beta: FloatArray
    logit_mu_se: FloatArray
    log_sigma_se: FloatArray
    log_likelihood: FloatArray
    tarone_z: FloatArray
    status: NDArray[np.str_]
    iterations: IntArray
    converged: NDArray[np.bool_]


@dataclass(frozen=True)
class GroupSums:
    """What closed forms need of each group: sums over its styles, (n_groups,) each."""

    styles: FloatArray
    n: FloatArray
    k: FloatArray
    pairs: FloatArray
    score: FloatArray
    extreme: NDArray[np.bool_]

    @property
    def rate(self) -> FloatArray:
        """K/N, NaN without trials."""
        return _ratio(self.k, self.n, self.n > 0)

    @property
    def tarone_z(self) -> FloatArray:
        """2 S / sqrt(2 Σ n(n-1)); NaN where no two trials share a style or S is undefined."""
        known = (self.pairs > 0) & np.isfinite(self.score)
        return _ratio(2 * self.score, np.sqrt(2 * self.pairs), known)


def group_sums(trials: Trials) -> GroupSums:
    """Totals, and the score S of σ at σ = 0 given μ = K/N (Tarone 1979, eq. 3):

    S = ½ Σ [(k_i - n_i μ)² / (μ (1 - μ)) - n_i]
    """
    k, n = trials.k.astype(float), trials.n.astype(float)
    total_n, total_k = trials.total(n), trials.total(k)
    rate = np.divide(total_k, total_n, out=np.zeros(total_n.size), where=total_n > 0)
    spread = rate * (1 - rate)
    squares = trials.total((k - n * rate[trials.group]) ** 2)
    score = np.full(total_n.size, np.nan)
    np.divide(squares, spread, out=score, where=spread > 0)
    mixed = trials.total((trials.k > 0) & (trials.k < trials.n))
    return GroupSums(
        styles=trials.total(trials.n > 0),
        n=total_n,
        k=total_k,
        pairs=trials.total(n * (n - 1)),
        score=0.5 * (score - total_n),
        extreme=mixed == 0,
    )


def group_status(sums: GroupSums) -> NDArray[np.str_]:
    """Status of every group in closed form, (n_groups,); a key of :data:`STATUSES`."""
    # S is a difference of large sums: equal rates give a tiny S of either sign.
    flat = sums.score <= 1e-12 * (1.0 + sums.n)
    tests = [
        (sums.n == 0, "no_trials"),
        (sums.pairs == 0, "unidentified"),
        ((sums.k == 0) | (sums.k == sums.n), "degenerate"),
        (sums.extreme, "polarised"),
        (flat, "binomial"),
    ]
    return np.select([test for test, _ in tests], [name for _, name in tests], "ok").astype(np.str_)


def fit_groups(trials: Trials, *, tail_limit: int = TAIL_LIMIT) -> GroupFits:
    """Maximum likelihood of α and β in every group.

    Parameters
    ----------
    trials : Trials
        Counts per style (:func:`~retail_assets.models.cold_start.counts.checked_trials`).
    tail_limit : int
        Groups in which a style has more trials use the Γ form of the likelihood.

    References
    ----------
    Griffiths (1973), Biometrics 29, 637-648; Robinson's and gamlss' ``BB`` form of μ, σ.

    Examples
    --------
    >>> from retail_assets.models.cold_start.counts import checked_trials
    >>> fit = fit_groups(checked_trials([1, 9, 4, 6], [10, 10, 10, 10]))
    >>> str(fit.status[0]), round(float(fit.mu[0]), 3)
    ('ok', 0.5)
    """
    trials = trials.take(trials.n > 0)
    sums = group_sums(trials)
    status = group_status(sums)
    result = _limits(trials, sums, status)
    constant = trials.total(log_choose(trials.n, trials.k))
    eta, s = moments(sums)
    for groups, found in _solve(trials, np.flatnonzero(status == "ok"), eta, s, tail_limit, 100):
        _record(result, groups, found, constant)
    # S <= 0 rules out a maximum near σ = 0, not one far from it: 1 % of small groups with
    # very unequal n have one there, e.g. 1/1, 1/1, 1/4, 0/3.
    eta, s = _typical_style(trials, sums)
    doubtful = np.flatnonzero((status == "binomial") & (sums.styles > 1))
    for groups, found in _solve(trials, doubtful, eta, s, tail_limit, 15):
        gain = found.at.value + constant[groups] - result.log_likelihood[groups]
        better = np.flatnonzero(found.converged & (gain > 1e-9))
        _record(result, groups[better], found.take(better), constant)
        result.status[groups[better]] = "ok"
    return result


def _solve(
    trials: Trials,
    groups: IntArray,
    eta: FloatArray,
    s: FloatArray,
    tail_limit: int,
    max_iterations: int,
) -> Iterator[tuple[IntArray, Optimum]]:
    """Maximise in blocks, each group by the form that suits its largest n."""
    largest = np.zeros(trials.n_groups, dtype=np.int64)
    np.maximum.at(largest, trials.group, trials.n)
    long = largest[groups] > tail_limit
    for block in _blocks(groups[~long], largest):
        tails = tail_objective(tail_counts(trials, block))
        yield block, maximise(tails, eta[block], s[block], max_iterations=max_iterations)
    block = groups[long]
    if block.size:
        rows = gamma_objective(trials)
        yield (
            block,
            maximise(
                lambda g, e, z: rows(block[g], e, z),
                eta[block],
                s[block],
                max_iterations=max_iterations,
            ),
        )


def _typical_style(trials: Trials, sums: GroupSums) -> tuple[FloatArray, FloatArray]:
    """A start far from σ = 0 in which every style counts the same, whatever its n."""
    rates = trials.total((trials.k + 0.5) / (trials.n + 1.0))
    mean = np.divide(rates, sums.styles, out=np.full(rates.size, 0.5), where=sums.styles > 0)
    return logit(mean), np.full(rates.size, np.log(0.5))


def moments(sums: GroupSums) -> tuple[FloatArray, FloatArray]:
    """Starting η and s: μ = K/N, and ρ from E[2S] = ρ Σ n(n - 1)."""
    mu = (sums.k + 0.5) / (sums.n + 1.0)
    rho = 2 * np.nan_to_num(sums.score) / np.maximum(sums.pairs, 1.0)
    return logit(mu), logit(np.clip(rho, 1e-4, 0.9))


def _blocks(groups: IntArray, largest: IntArray) -> list[IntArray]:
    """Cut the groups into runs of about BLOCK tail counts (at most 2 max n each)."""
    if not groups.size:
        return []
    at = np.cumsum(2 * largest[groups]) // BLOCK
    return np.split(groups, np.flatnonzero(np.diff(at)) + 1)


def _limits(trials: Trials, sums: GroupSums, status: NDArray[np.str_]) -> GroupFits:
    """Results with the closed forms filled in, everything else NaN."""
    n_groups = trials.n_groups

    def empty() -> FloatArray:
        return np.full(n_groups, np.nan)

    mu, sigma, alpha, beta, value = sums.rate, empty(), empty(), empty(), empty()
    is_flat, is_split = status == "binomial", status == "polarised"
    sigma[is_flat], alpha[is_flat], beta[is_flat] = 0.0, np.inf, np.inf
    sigma[is_split], alpha[is_split], beta[is_split] = np.inf, 0.0, 0.0
    # As σ -> ∞ a style is one draw, not n: μ is the share of styles with rate 1.
    ones = trials.total(trials.k > 0)
    mu[is_split] = ones[is_split] / sums.styles[is_split]
    value[status == "no_trials"] = 0.0
    value[is_split] = _bernoulli(ones, sums.styles, mu)[is_split]
    plain = np.isin(status, ["unidentified", "degenerate", "binomial"])
    constant = trials.total(log_choose(trials.n, trials.k))
    value[plain] = (_bernoulli(sums.k, sums.n, mu) + constant)[plain]
    return GroupFits(
        n_styles=sums.styles.astype(np.int64),
        trials=sums.n.astype(np.int64),
        successes=sums.k.astype(np.int64),
        mu=mu,
        sigma=sigma,
        alpha=alpha,
        beta=beta,
        logit_mu_se=empty(),
        log_sigma_se=empty(),
        log_likelihood=value,
        tarone_z=sums.tarone_z,
        status=status,
        iterations=np.zeros(n_groups, dtype=np.int64),
        converged=status != "ok",
    )


def _ratio(top: FloatArray, bottom: FloatArray, known: NDArray[np.bool_]) -> FloatArray:
    """top / bottom, NaN where not known."""
    return np.asarray(np.divide(top, bottom, out=np.full(top.size, np.nan), where=known))


def _bernoulli(k: FloatArray, n: FloatArray, mu: FloatArray) -> FloatArray:
    return np.asarray(xlogy(k, mu) + xlog1py(n - k, -mu))


def _record(result: GroupFits, groups: IntArray, found: Optimum, constant: FloatArray) -> None:
    """Write one block's optimum into the arrays of ``result``."""
    at = found.at
    det = at.eta_eta * at.s_s - at.eta_s**2
    theta = np.exp(-found.s)
    result.mu[groups] = expit(found.eta)
    result.sigma[groups] = 1.0 / theta
    result.alpha[groups] = expit(found.eta) * theta
    result.beta[groups] = expit(-found.eta) * theta
    result.logit_mu_se[groups] = np.sqrt(-at.s_s / det)
    result.log_sigma_se[groups] = np.sqrt(-at.eta_eta / det)
    result.log_likelihood[groups] = at.value + constant[groups]
    result.iterations[groups] = found.iterations
    result.converged[groups] = found.converged
