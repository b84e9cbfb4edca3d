"""What a what-if says: each scenario against the base, with an interval and a verdict.

What an interval is of
----------------------
``diff_ci_low .. diff_ci_high`` is a 95 % interval of the *expected* difference to
the base over the horizon: what the scenario is worth on average. Its width is
parameter uncertainty plus the Monte Carlo error of a finite simulation. One horizon
as it will be lived varies more: that is ``q05, q50, q95``, quantiles of the
difference over replications.

How it is reckoned
------------------
With ``G`` draws of ``k`` replications each, the mean difference of a draw has variance
``B = V_parameters + V_mc / k``, and replications within draws vary by ``V_mc``. Both
are estimated, and their difference matters: its point estimate was 0 in one of nine of
3,000 simulated what-ifs, and intervals made of it covered 88 % of the truths instead of
95. So their posterior is carried through: inverse chi-squares, kept to ``B > V_mc / k``
(Box & Tiao 1973, *Bayesian Inference in Statistical Analysis*, section 5.2). Given both,
the expected difference is normal around the overall mean with variance ``V_parameters +
B / G``. That covered 95.6 %, and the calibration slope of ``p_improves`` went from .90
to 1.02 (``bench/improves.py``). Where chance outweighs the rates ten times over, the
interval is wider than it need be; more replications a draw narrow it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq
from scipy.special import gammainc, gammaincinv, ndtr, stdtr, stdtrit

from retail_assets.models.assortment.scenario_rules import Base
from retail_assets.models.assortment.scenarios import ScenarioResult

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

_SCORES = np.linspace(-5.0, 5.0, 41)


@dataclass(frozen=True)
class ScenarioSummary:
    """One scenario against the base, in cents over the horizon; see the module."""

    scenario: str
    choice_model: str
    goal: str
    profit_mean: float
    profit_se: float
    diff_mean: float
    diff_ci_low: float
    diff_ci_high: float
    diff_sd_parameters: float
    diff_se_monte_carlo: float
    crn_variance_ratio: float
    p_improves: float
    q05: float
    q50: float
    q95: float
    verdict: str


@dataclass(frozen=True)
class ExpectedDifference:
    """What is known of an expected difference; see the module.

    Parameters
    ----------
    mean, low, high : float
        95 % interval.
    sd_parameters : float
        Spread due to the rates: posterior median; 0 where they are known.
    se_monte_carlo : float
        Of the mean, for the rates drawn.
    within_draws : float
        Variance of a difference between replications of one draw.
    p_positive : float
    """

    mean: float
    low: float
    high: float
    sd_parameters: float
    se_monte_carlo: float
    within_draws: float
    p_positive: float


def expected_difference(difference: NDArray[Any], draw: Ints) -> ExpectedDifference:
    """The posterior of an expected difference, from paired replications.

    Parameters
    ----------
    difference : (R,) float64 or int64
        Of two plans or scenarios met by the same customers.
    draw : (R,) int64
        Posterior draw of each replication. With one draw, a known truth, the result is
        the usual Student interval of a mean. With one replication per draw chance cannot
        be told from the rates and counts as theirs.

    Returns
    -------
    ExpectedDifference

    Examples
    --------
    >>> found = expected_difference(np.array([1.0, 3.0, 2.0, 2.0]), np.zeros(4, int))
    >>> round(found.mean, 3), round(found.high, 3), round(found.p_positive, 3)
    (2.0, 3.299, 0.992)
    """
    value = np.asarray(difference, dtype=np.float64)
    _, group, size = np.unique(draw, return_inverse=True, return_counts=True)
    noise, per_mean, n_draws = within_draws(value, draw), float(np.mean(1 / size)), len(size)
    mean, chance = float(value.mean()), noise * per_mean
    parameters, weight, freedom = 0.0, np.ones(1), np.inf
    if n_draws == 1:
        spread, freedom = np.array([noise / len(value)]), len(value) - 1
    else:
        between = float((np.bincount(group, value) / size).var(ddof=1))
        parameters, spread = between, np.array([between * (1 + 1 / n_draws)])
        freedom = n_draws - 1
        if chance > 0 and between > 0:
            total, own, weight = _variances(between, n_draws - 1, chance, len(value) - n_draws)
            parameters, freedom = _median(total - own, weight), np.inf
            spread = total - own + total / n_draws
    deviation = np.sqrt(spread)
    half = _half_width(deviation, weight, freedom)
    return ExpectedDifference(
        mean=mean,
        low=mean - half,
        high=mean + half,
        sd_parameters=float(np.sqrt(parameters)),
        se_monte_carlo=float(np.sqrt(noise / len(value))),
        within_draws=noise,
        p_positive=_p_below(mean, deviation, weight, freedom) if half > 0 else float(mean > 0),
    )


def summarise(result: ScenarioResult) -> tuple[ScenarioSummary, ...]:
    """Each scenario against the base; the interval is that of `expected_difference`.

    ``crn_variance_ratio`` is the variance within draws of the difference between
    unrelated replications over that between the same customers.
    """
    noise = [within_draws(row, result.posterior_draw) for row in result.goal_cents]
    return tuple(
        _against_base(result, s, (noise[s] + noise[0])) for s in range(len(result.scenarios))
    )


def _against_base(result: ScenarioResult, s: int, unrelated: float) -> ScenarioSummary:
    """One scenario; ``unrelated`` is the variance of a difference without common customers."""
    goal, diff = result.goal_cents[s], result.diff_vs_base_cents[s].astype(np.float64)
    found = expected_difference(diff, result.posterior_draw)
    verdict = "better" if found.low > 0 else "worse" if found.high < 0 else "unresolved"
    q05, q50, q95 = (float(q) for q in np.quantile(diff, [0.05, 0.5, 0.95]))
    return ScenarioSummary(
        scenario=result.scenarios[s].name,
        choice_model=result.choice_model,
        goal=result.goal,
        profit_mean=float(goal.mean()),
        profit_se=float(goal.std(ddof=1) / np.sqrt(len(goal))),
        diff_mean=found.mean,
        diff_ci_low=found.low,
        diff_ci_high=found.high,
        diff_sd_parameters=found.sd_parameters,
        diff_se_monte_carlo=found.se_monte_carlo,
        crn_variance_ratio=unrelated / found.within_draws if found.within_draws else float("nan"),
        p_improves=found.p_positive,
        q05=q05,
        q50=q50,
        q95=q95,
        verdict="base" if isinstance(result.scenarios[s], Base) else verdict,
    )


def within_draws(values: NDArray[Any], draw: Ints) -> float:
    """Pooled variance of replications that share a draw."""
    _, group, size = np.unique(draw, return_inverse=True, return_counts=True)
    centre = np.bincount(group, values) / size
    freedom = len(values) - len(size)
    return float(((values - centre[group]) ** 2).sum() / freedom) if freedom > 0 else 0.0


def _variances(
    between: float, between_freedom: int, chance: float, chance_freedom: int
) -> tuple[Floats, Floats, Floats]:
    """Posterior of B and V_mc / k as a weighted grid: both, and their weights.

    Levels are equally spaced as normal scores, for the sake of the tails: with hardly any
    chance the limits are those of Student's t to 3e-6, even for 2 draws.
    """
    level, mass = ndtr(_SCORES), np.exp(-(_SCORES**2) / 2)
    own = chance * chance_freedom / (2 * gammaincinv(chance_freedom / 2, level))
    half_sum = between * between_freedom / 2
    # B > own is chi-square < sum of squares / own.
    share = gammainc(between_freedom / 2, half_sum / own)
    total = half_sum / gammaincinv(between_freedom / 2, share[:, None] * level)
    weight = (mass * share)[:, None] * mass
    if not weight.sum() > 0:  # Draws agree so closely that chance alone cannot explain it.
        return np.array([between]), np.array([between]), np.ones(1)
    own = np.broadcast_to(own[:, None], total.shape)
    return total.ravel(), own.ravel(), weight.ravel() / weight.sum()


def _median(value: Floats, weight: Floats) -> float:
    order = np.argsort(value)
    return float(value[order][np.searchsorted(np.cumsum(weight[order]), 0.5)])


def _p_below(at: float, deviation: Floats, weight: Floats, freedom: float) -> float:
    """Of the mixture of centred Student (infinite freedom: normal) distributions."""
    return float(weight @ stdtr(freedom, at / deviation))


def _half_width(deviation: Floats, weight: Floats, freedom: float) -> float:
    """Half of the mixture's 95 % interval."""
    quantile = float(stdtrit(freedom, 0.975))
    low, high = quantile * float(deviation.min()), quantile * float(deviation.max())
    if not low < high:
        return high
    return float(brentq(lambda at: _p_below(at, deviation, weight, freedom) - 0.975, low, high))


def summarise_models(results: Sequence[ScenarioResult]) -> tuple[ScenarioSummary, ...]:
    """Scenarios under every choice model at once, for when none has won.

    Per scenario the summary of each model, all with a common verdict: better or worse
    only where the models agree, else unresolved.
    """
    tables = [summarise(result) for result in results]
    rows = []
    for versions in zip(*tables, strict=True):
        verdicts = {version.verdict for version in versions}
        common = verdicts.pop() if len(verdicts) == 1 else "unresolved"
        rows += [replace(version, verdict=common) for version in versions]
    return tuple(rows)
