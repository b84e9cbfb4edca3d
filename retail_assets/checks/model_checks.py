"""Checks of what the models say of themselves, per category.

They read the tables a run has just written. Contract rules are not here: the warehouse
enforces those before a commit.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import dagster as dg

from retail_assets.partitions import CATEGORIES
from retail_assets.warehouse import Warehouse

MAX_KHAT = 0.5
"""The gate of `models.substitution.variational`: above it a Gaussian must not be published."""
MAX_RHAT = 1.01
MIN_ESS = 100
"""Below it the ends of a 95 % interval rest on two or three independent draws."""
PPC_TAILS = (0.01, 0.99)
MAX_LOW_POWER = 0.5


@dataclass(frozen=True)
class ModelCheck:
    """One question to the tables of a category (or another partition).

    ``query`` returns one row; ``passed`` decides on it. A blocking check stops what
    comes downstream in the same run.
    """

    asset: str
    name: str
    description: str
    query: str
    passed: Callable[[dict[str, Any]], bool]
    blocking: bool = False


def sampler_converged(
    engine: str, khat: float | None, rhat: float | None, min_ess: float | None
) -> bool:
    """Whether the published draws may stand for the posterior, by what drew them."""
    if engine == "nuts":
        mixed = rhat is not None and rhat < MAX_RHAT
        return mixed and min_ess is not None and min_ess >= MIN_ESS
    if engine == "gibbs":  # one chain over several imputations: R-hat does not apply
        return min_ess is not None and min_ess >= MIN_ESS
    return khat is not None and khat <= MAX_KHAT


CHECKS = (
    ModelCheck(
        "inventory_status",
        "enough_power",
        "Most series sell enough for a stock-out to be told from a quiet spell.",
        "SELECT avg(low_power::INT) AS low_power_share, avg(converged::INT) AS converged_share "
        "FROM inventory_status_params WHERE category = $category",
        lambda row: row["low_power_share"] <= MAX_LOW_POWER,
    ),
    ModelCheck(
        "inventory_status_score",
        "better_than_always_in_stock",
        "Where stock was counted, P(out) predicts it better than its mean does.",
        "SELECT sum(brier * n_counts) / sum(n_counts) AS brier, "
        "sum(accuracy * n_counts) / sum(n_counts) AS accuracy, sum(n_counts) AS counts "
        "FROM inventory_status_score WHERE category = $category",
        lambda row: row["counts"] is None or row["brier"] < 0.25,
    ),
    ModelCheck(
        "substitution_posterior",
        "rows_sum_to_at_most_one",
        "No draw sends more customers elsewhere than wanted the product.",
        "SELECT max(max_row_sum) AS max_row_sum FROM substitution_diagnostics "
        "WHERE category = $category",
        lambda row: row["max_row_sum"] <= 1.0 + 1e-9,
        blocking=True,
    ),
    ModelCheck(
        "substitution_posterior",
        "sampler_converged",
        "Sampled draws have R-hat below 1.01 and 100 effective draws of every rate; "
        "a Gaussian is published only with PSIS k-hat of at most 0.5.",
        "SELECT engine, khat, rhat, min_ess FROM substitution_diagnostics "
        "WHERE category = $category AND chosen",
        lambda row: sampler_converged(**row),
    ),
    ModelCheck(
        "substitution_posterior",
        "model_fits_the_patterns",
        "Posterior predictive p-value of the pattern counts is not extreme.",
        "SELECT ppc_p, dispersion FROM substitution_diagnostics "
        "WHERE category = $category AND chosen",
        lambda row: row["ppc_p"] is None or PPC_TAILS[0] <= row["ppc_p"] <= PPC_TAILS[1],
    ),
    ModelCheck(
        "substitution_posterior",
        "choice_model_resolved",
        "Held-out patterns tell one-step substitution from a Markov chain; else plans use both.",
        "SELECT resolved, choice_model, holdout_loglik_one_step, holdout_loglik_markov_chain "
        "FROM substitution_diagnostics WHERE category = $category AND chosen",
        lambda row: bool(row["resolved"]),
    ),
    ModelCheck(
        "assortment_scenarios",
        "scenarios_resolved",
        "At least one scenario is told from the base.",
        "SELECT avg((verdict = 'unresolved')::INT) AS unresolved_share "
        "FROM assortment_scenarios WHERE category = $category AND verdict <> 'base'",
        lambda row: row["unresolved_share"] is None or row["unresolved_share"] < 1,
    ),
)


def build(
    check: ModelCheck, cut: dg.PartitionsDefinition = CATEGORIES, key: str = "category"
) -> dg.AssetChecksDefinition:
    """The Dagster check that asks one question of the run's partition, ``$key`` in the query."""

    @dg.asset_check(
        asset=check.asset,
        name=check.name,
        description=check.description,
        blocking=check.blocking,
        partitions_def=cut,
    )
    def ask(
        context: dg.AssetCheckExecutionContext, warehouse: dg.ResourceParam[Warehouse]
    ) -> dg.AssetCheckResult:
        with warehouse.session() as session:
            answer = session.sql(check.query, {key: context.partition_key}).to_dicts()
        row = answer[0] if answer else {}
        return dg.AssetCheckResult(
            passed=bool(row) and bool(check.passed(row)),
            severity=dg.AssetCheckSeverity.ERROR if check.blocking else dg.AssetCheckSeverity.WARN,
            metadata={key: value for key, value in row.items() if value is not None},
        )

    return ask


model_checks = [build(check) for check in CHECKS]
