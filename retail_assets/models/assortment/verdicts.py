"""What a what-if says: each scenario against the base, with an interval and a verdict.

What an interval is of
----------------------
``diff_ci_low .. diff_ci_high`` is a 95 % interval of the *expected* difference to
the base over the horizon: what the scenario is worth on average. Its width is
parameter uncertainty plus the Monte Carlo error of a finite simulation. One horizon
as it will be lived varies more: that is ``q05, q50, q95``, quantiles of the
difference over replications.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtr, stdtrit

from retail_assets.models.assortment.scenario_rules import Base
from retail_assets.models.assortment.scenarios import ScenarioResult

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


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


def summarise(result: ScenarioResult) -> tuple[ScenarioSummary, ...]:
    """Each scenario against the base.

    With ``G`` draws of ``k`` replications each, the mean difference of a draw has
    variance ``V_parameters + V_mc / k``; ``V_mc`` is the variance within draws. The
    interval is ``mean ± t sqrt(V_parameters + (V_parameters + V_mc / k) / G)``, a
    posterior interval of the expected difference with its simulation error; ``t`` is
    Student's with ``G - 1`` degrees of freedom (2.05 for 30 draws), as the variances
    are estimated. With one draw, a known truth, it is the usual interval of a mean.
    ``crn_variance_ratio`` is the variance within draws of the difference between
    unrelated replications over that between the same customers.
    """
    noise = [_within_draws(row, result.posterior_draw) for row in result.goal_cents]
    return tuple(
        _against_base(result, s, (noise[s] + noise[0])) for s in range(len(result.scenarios))
    )


def _against_base(result: ScenarioResult, s: int, unrelated: float) -> ScenarioSummary:
    """One scenario; ``unrelated`` is the variance of a difference without common customers."""
    goal, diff = result.goal_cents[s], result.diff_vs_base_cents[s].astype(np.float64)
    size, n_draws = len(diff), len(np.unique(result.posterior_draw))
    noise = _within_draws(diff, result.posterior_draw)
    parameters, error = _split(diff, result.posterior_draw, noise)
    mean, spread = float(diff.mean()), float(np.sqrt(parameters + error))
    freedom = (n_draws if n_draws > 1 else size) - 1
    half = float(stdtrit(freedom, 0.975)) * spread
    verdict = "better" if mean > half else "worse" if mean < -half else "unresolved"
    q05, q50, q95 = (float(q) for q in np.quantile(diff, [0.05, 0.5, 0.95]))
    return ScenarioSummary(
        scenario=result.scenarios[s].name,
        choice_model=result.choice_model,
        goal=result.goal,
        profit_mean=float(goal.mean()),
        profit_se=float(goal.std(ddof=1) / np.sqrt(size)),
        diff_mean=mean,
        diff_ci_low=mean - half,
        diff_ci_high=mean + half,
        diff_sd_parameters=float(np.sqrt(parameters)),
        diff_se_monte_carlo=float(np.sqrt(noise / size)),
        crn_variance_ratio=unrelated / noise if noise > 0 else float("nan"),
        p_improves=float(stdtr(freedom, mean / spread)) if spread > 0 else float(mean > 0),
        q05=q05,
        q50=q50,
        q95=q95,
        verdict="base" if isinstance(result.scenarios[s], Base) else verdict,
    )


def _within_draws(values: NDArray[Any], draw: Ints) -> float:
    """Pooled variance of replications that share a draw."""
    _, group, size = np.unique(draw, return_inverse=True, return_counts=True)
    centre = np.bincount(group, values) / size
    freedom = len(values) - len(size)
    return float(((values - centre[group]) ** 2).sum() / freedom) if freedom > 0 else 0.0


def _split(values: Floats, draw: Ints, noise: float) -> tuple[float, float]:
    """Variance due to the parameters, and the variance of the overall mean."""
    _, group, size = np.unique(draw, return_inverse=True, return_counts=True)
    if len(size) == 1:
        return 0.0, noise / len(values)
    between = float((np.bincount(group, values) / size).var(ddof=1))
    return max(0.0, between - noise * float(np.mean(1 / size))), between / len(size)


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
