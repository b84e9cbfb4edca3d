"""Between the substitution group's tables and the posterior model, both ways."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from retail_assets.assets.panels import CategoryPanel
from retail_assets.report import metadata, plots
from retail_assets.warehouse import Session

if TYPE_CHECKING:
    from retail_assets.models.substitution.priors import Priors
    from retail_assets.models.substitution.result import SubstitutionPosterior

NONE = "none"

# A product, its brand or its category may stand on either side; the nearest one wins.
_PRIORS = """
WITH named AS (
    SELECT position, product_id AS name, 1 AS distance
    FROM panel_products
    UNION ALL SELECT position, brand, 2 FROM panel_products JOIN products USING (product_id)
    UNION ALL SELECT position, category, 3 FROM panel_products JOIN products USING (product_id)
)
SELECT f.position, CASE WHEN r.to = 'none' THEN NULL ELSE t.position END, r.alpha,
       coalesce(r.beta, 1)
FROM substitution_priors r JOIN named f ON f.name = r.from
LEFT JOIN named t ON t.name = r.to
WHERE r.to = 'none' OR t.position <> f.position
ORDER BY f.distance + coalesce(t.distance, 1) DESC
"""


def priors(session: Session, data: CategoryPanel) -> Priors:
    """What substitution_priors says about the products of a category."""
    from retail_assets.models.substitution.priors import Priors

    n = data.panel.n_products
    pairs = {
        (int(i), n if j is None else int(j)): (float(a), float(b))
        for i, j, a, b in session.sql(_PRIORS).fetchall()
    }
    return Priors.default(n, pairs)


# From sums of whole units, which no order of adding changes: a repeat must write the same rows.
_UNITS = """
SELECT p.position, avg(units) AS mean,
       greatest(0, sum(units * units) / count(*) - avg(units) ** 2) AS variance FROM (
    SELECT product_id, transaction_id, store_id, sum(quantity) AS units
    FROM pos_lines WHERE category = $category AND line_type = 'sale' GROUP BY ALL
) JOIN panel_products p USING (product_id) GROUP BY ALL ORDER BY 1
"""


def of_posterior(
    session: Session, data: CategoryPanel, posterior: SubstitutionPosterior
) -> dict[str, pa.Table]:
    """Rows of the four tables; both choice models where the data cannot tell."""
    versions = [posterior, *([posterior.alternative] if posterior.alternative else [])]
    return {
        "substitution_posterior": pa.concat_tables([_draws(data, p) for p in versions]),
        "demand_rates": _demand(session, data, posterior),
        "substitution_rates": pa.concat_tables([_rates(data, p) for p in versions]),
        "substitution_diagnostics": pa.Table.from_pylist(
            [_diagnostics(data, p, chosen=p is posterior) for p in versions]
        ),
    }


def _draws(data: CategoryPanel, posterior: SubstitutionPosterior) -> pa.Table:
    products = np.array([*posterior.products, NONE], dtype=object)
    draws, stores, n = posterior.arrival_rate.shape
    edges = len(posterior.source)
    arrivals = pa.table(
        {
            "draw": np.repeat(np.arange(draws), stores * n),
            "parameter": ["arrival_rate"] * (draws * stores * n),
            "store_id": np.tile(np.repeat(np.array(posterior.store_ids, object), n), draws),
            "from_product": np.tile(products[:n], draws * stores),
            "to_product": pa.nulls(draws * stores * n, pa.string()),
            "value": posterior.arrival_rate.ravel(),
        }
    )
    pairs = pa.table(
        {
            "draw": np.repeat(np.arange(draws), edges),
            "parameter": ["substitution_rate"] * (draws * edges),
            "store_id": pa.nulls(draws * edges, pa.string()),
            "from_product": np.tile(products[posterior.source], draws),
            "to_product": np.tile(products[posterior.target], draws),
            "value": posterior.pair_rate.ravel(),
        }
    )
    both = pa.concat_tables([arrivals, pairs])
    return (
        both.append_column("category", pa.array([data.category] * len(both)))
        .append_column("choice_model", pa.array([posterior.choice_model] * len(both)))
        .append_column("as_of", pa.array([data.as_of] * len(both)))
    )


def _demand(session: Session, data: CategoryPanel, posterior: SubstitutionPosterior) -> pa.Table:
    units = {
        int(at): (mean, variance)
        for at, mean, variance in session.sql(_UNITS, {"category": data.category}).fetchall()
    }
    demand = posterior.demand
    return pa.Table.from_pylist(
        [
            {
                "category": data.category,
                "store_id": store,
                "product_id": product,
                **{k: float(getattr(demand, k)[s, j]) for k in ("mean", "sd", *QUANTILES)},
                "units_per_transaction_mean": units.get(j, (None, None))[0],
                "units_per_transaction_var": units.get(j, (None, None))[1],
                "as_of": data.as_of,
            }
            for s, store in enumerate(posterior.store_ids)
            for j, product in enumerate(posterior.products)
        ]
    )


QUANTILES = ("q025", "q50", "q975")


def _rates(data: CategoryPanel, posterior: SubstitutionPosterior) -> pa.Table:
    names, found = [*posterior.products, NONE], posterior.substitution
    return pa.Table.from_pylist(
        [
            {
                "category": data.category,
                "from_product": names[i],
                "to_product": names[j],
                "choice_model": posterior.choice_model,
                **{k: float(getattr(found, k)[e]) for k in ("mean", "sd", *QUANTILES)},
                "n_oos_customers": float(posterior.n_oos_customers[e]),
                "contraction": float(posterior.contraction[e]),
                "flag": posterior.flag[e],
                "as_of": data.as_of,
            }
            for e, (i, j) in enumerate(zip(posterior.source, posterior.target, strict=True))
        ]
    )


def _diagnostics(
    data: CategoryPanel, posterior: SubstitutionPosterior, *, chosen: bool
) -> dict[str, Any]:
    about, n = posterior.diagnostics, len(posterior.products)
    stays = posterior.target < n
    sums = np.zeros((posterior.n_draws, n))
    np.add.at(sums.T, posterior.source[stays], posterior.pair_rate[:, stays].T)
    figures = ("elbo", "khat", "rhat", "min_ess", "ppc_p", "dispersion", "seconds")
    return {
        "category": data.category,
        "engine": about.engine,
        "choice_model": about.choice_model,
        "chosen": chosen,
        "resolved": about.resolved,
        "holdout_loglik_one_step": _known(about.holdout_loglik_one_step),
        "holdout_loglik_markov_chain": _known(about.holdout_loglik_markov_chain),
        **{figure: _known(getattr(about, figure)) for figure in figures},
        "max_row_sum": float(sums.max(initial=0.0)),
        "share_unidentified": _share_unidentified(posterior),
        "as_of": data.as_of,
    }


def _share_unidentified(posterior: SubstitutionPosterior) -> float:
    flagged = np.isin(posterior.flag, ("unidentified", "prior_only"))
    rows = np.bincount(posterior.source, flagged, len(posterior.products))
    return float((rows > 0).mean())


def _known(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None


MOST_PANELS = 12
LARGEST_MAP = 20


def describe(posterior: SubstitutionPosterior) -> dict[str, dict[str, Any]]:
    """Figures and pictures of the run, by table name."""
    about, names = posterior.diagnostics, [*posterior.products, NONE]
    shown = np.argsort(-posterior.substitution.mean * (posterior.target < len(names) - 1))
    shown = shown[:MOST_PANELS]
    substitution = plots.posterior_histograms(
        [f"{names[posterior.source[e]]} → {names[posterior.target[e]]}" for e in shown],
        posterior.pair_rate[:, shown],
        unit="share of customers",
    )
    demand = plots.posterior_histograms(
        list(posterior.products[:MOST_PANELS]),
        posterior.arrival_rate[:, 0, :MOST_PANELS],
        unit=f"customers per interval, {posterior.store_ids[0]}",
    )
    figures = {
        "choice_model": about.choice_model,
        "choice_model_resolved": bool(about.resolved),
        "engine": about.engine,
        "seconds": float(about.seconds),
        "share_unidentified": _share_unidentified(posterior),
        **{k: float(v) for k in ("khat", "rhat") if np.isfinite(v := getattr(about, k))},
    }
    return {
        "substitution_posterior": figures
        | {"histograms": metadata.picture(substitution, "substitution rates")},
        "demand_rates": {"histograms": metadata.picture(demand, "demand rates")},
        "substitution_rates": _heat_map(posterior),
        "substitution_diagnostics": figures,
    }


def _heat_map(posterior: SubstitutionPosterior) -> dict[str, Any]:
    n = len(posterior.products)
    if n > LARGEST_MAP:
        return {}
    mean, width = np.full((n, n + 1), np.nan), np.full((n, n + 1), np.nan)
    flagged = np.zeros((n, n + 1), bool)
    at = (posterior.source, posterior.target)
    mean[at] = posterior.substitution.mean
    width[at] = (posterior.substitution.q975 - posterior.substitution.q025) / 2
    flagged[at] = np.isin(posterior.flag, ("unidentified", "prior_only"))
    png = plots.substitution_heatmap(
        posterior.products,
        mean,
        width,
        flagged,
        title="share of customers, % ± half the 95 % interval; hatched: the data cannot tell",
    )
    return {"heat_map": metadata.picture(png, "substitution rates")}
