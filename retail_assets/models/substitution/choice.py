"""One step or a Markov chain: which of the two the receipts speak for.

The models agree while one product at a time is out. Where several are out, a walker
of the chain tries again and a one-step customer leaves, so both are fitted on some
days and compared on the others, by the log-likelihood of patterns with two or more
products out. A difference within two standard errors is said to be unresolved.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from retail_assets.models.panel import ChoiceModel
from retail_assets.models.substitution.em import expected_counts, fit_em
from retail_assets.models.substitution.patterns import PatternStatistics
from retail_assets.models.substitution.priors import Priors

FOLDS = 2


@dataclass(frozen=True)
class ModelChoice:
    """Outcome of the comparison.

    Parameters
    ----------
    choice_model : {"one_step", "markov_chain"}
        The better one; one_step, the simpler, where it is within one standard error.
    resolved : bool
        Whether the difference exceeds two standard errors.
    holdout_one_step, holdout_markov_chain : float
        Held-out log-likelihood of multi-outage patterns (without Σ log C!).
    standard_error : float
        Of the difference.
    """

    choice_model: ChoiceModel
    resolved: bool
    holdout_one_step: float
    holdout_markov_chain: float
    standard_error: float

    @property
    def difference(self) -> float:
        """Markov chain minus one step, in nats."""
        return self.holdout_markov_chain - self.holdout_one_step


def choose_model(
    stats: PatternStatistics,
    priors: Priors | None = None,
    precision: NDArray[np.float64] | None = None,
    *,
    max_iterations: int = 600,
) -> ModelChoice:
    """Cross-validate both choice models over the folds of ``stats``.

    Parameters
    ----------
    stats : PatternStatistics
        Built with ``folds >= 2``.
    precision : (n,) float64, optional
        1 / dispersion per product: over-dispersed counts tell less.

    Raises
    ------
    ValueError
        Statistics of a single fold.
    """
    folds = np.unique(stats.fold)
    if len(folds) < 2:
        raise ValueError("one fold of days: build the statistics with folds >= 2")
    several = (stats.out >= 0.5).sum(axis=1) >= 2
    weight = np.ones(stats.n_products) if precision is None else precision
    totals, variance = np.zeros(2), 0.0
    for fold in folds:
        test = stats.rows((stats.fold == fold) & several)
        if not test.counts.any():
            continue
        train = stats.rows(stats.fold != fold)
        means = [
            expected_counts(
                test,
                fit_em(
                    train, model, priors=priors, precision=precision, max_iterations=max_iterations
                ).rates,
            )
            for model in ("one_step", "markov_chain")
        ]
        seen = test.observed & (means[0] > 0.0) & (means[1] > 0.0)
        logs = [np.log(np.where(seen, mean, 1.0)) for mean in means]
        for k in range(2):
            totals[k] += (weight * np.where(seen, test.counts * logs[k] - means[k], 0.0)).sum()
        variance += (weight * test.counts * (logs[1] - logs[0]) ** 2).sum()
    return decide(float(totals[0]), float(totals[1]), float(np.sqrt(variance)))


def decide(one_step: float, markov_chain: float, standard_error: float) -> ModelChoice:
    """Two hold-out log-likelihoods and the standard error of their difference, judged.

    Within one standard error the simpler model is put first (Breiman et al. 1984).
    """
    difference = markov_chain - one_step
    return ModelChoice(
        choice_model="markov_chain" if difference > standard_error else "one_step",
        resolved=bool(abs(difference) > 2.0 * standard_error > 0.0),
        holdout_one_step=one_step,
        holdout_markov_chain=markov_chain,
        standard_error=standard_error,
    )
