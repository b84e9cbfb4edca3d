"""Between the trials and the cold-start models, both ways.

Trials come from two counts that measure different things and are never mixed: a
stylist's or a site's own (``style_trials``) and receipts (``pos_trials``).
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from datetime import date, timedelta
from typing import TYPE_CHECKING, Any

import duckdb
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from retail_assets.report import cold_start_plots, metadata
from retail_assets.warehouse import Session

if TYPE_CHECKING:
    from retail_assets.models.cold_start.as_of import Knowledge, Styles
    from retail_assets.models.cold_start.mixture import BetaMixture
    from retail_assets.models.cold_start.rules import ColdStartRules

ANY_GROUP, NO_GROUP = "(any other)", "(not in products)"
EPOCH = date(1970, 1, 1)
LIGHTEST_NODE = 1e-6
NEWEST = 4
DAYS_AT_ONCE = 64

# A style is worth a row from eight weeks before its launch, once its category has trials; one
# that products do not name, from its first trial.
_STYLES = """
WITH begun AS (
    SELECT category, min(date) AS begun FROM {source} JOIN products USING (product_id)
    WHERE date <= $last GROUP BY ALL
)
SELECT coalesce(t.product_id, p.product_id) AS product_id,
       coalesce(p."group", p.category) AS group_id,
       CASE WHEN p.product_id IS NULL THEN first
            ELSE greatest(coalesce(launch_date - 56, begun), begun) END AS listed, attributes
FROM (SELECT product_id, min(date) AS first FROM {source} WHERE date <= $last GROUP BY 1) t
FULL JOIN products p USING (product_id)
LEFT JOIN begun USING (category)
WHERE t.product_id IS NOT NULL OR begun IS NOT NULL
ORDER BY product_id
"""
_DAILY = """
SELECT product_id, date, sum(n)::BIGINT AS n, sum(k)::BIGINT AS k
FROM {source} WHERE date <= $last GROUP BY ALL ORDER BY ALL
"""


def rules(session: Session) -> ColdStartRules:
    """``rules/cold_start.toml``; the defaults where there is none."""
    from retail_assets.models.cold_start.rules import parse_rules

    return session.warehouse.settings.read_rules("cold_start.toml", parse_rules)


def sources(session: Session, last: date) -> dict[str, Styles]:
    """Styles by source, for the sources that have trials up to a day."""
    from retail_assets.models.cold_start.rules import SOURCES

    found = {source: _styles(session, source, last) for source in SOURCES}
    return {source: styles for source, styles in found.items() if styles is not None}


def _styles(session: Session, source: str, last: date) -> Styles | None:
    from retail_assets.models.cold_start.as_of import Styles
    from retail_assets.models.cold_start.posterior import checked_daily

    rows = session.sql(_STYLES.format(source=source), {"last": last}).fetchall()
    daily = session.sql(_DAILY.format(source=source), {"last": last}).fetchnumpy()
    if not len(daily["n"]):
        return None
    names = tuple(row[0] for row in rows)
    groups = tuple(sorted({row[1] for row in rows if row[1] is not None}))
    position = {name: at for at, name in enumerate(names)}
    terms, attributes = _attributes([None if row[1] is None else row[3] or "{}" for row in rows])
    return Styles(
        source=source,
        names=names,
        group=np.array([groups.index(g) if g is not None else -1 for _, g, *_ in rows]),
        groups=groups,
        listed=np.array([(day - EPOCH).days for _, _, day, _ in rows]),
        daily=checked_daily(
            [position[name] for name in daily["product_id"]],
            np.asarray(daily["date"], "datetime64[D]").astype(np.int64),
            daily["k"],
            daily["n"],
            n_styles=len(names),
        ),
        attributes=attributes,
        terms=terms,
    )


def _attributes(texts: Sequence[str | None]) -> tuple[tuple[str, ...], NDArray[np.float64]]:
    """Attributes that every style has as a number and that differ between styles.

    A style that products do not name (None) has the mean of the others.
    """
    given = [None if text is None else json.loads(text) for text in texts]
    named = [each for each in given if each is not None]
    shared = sorted(set.intersection(*(set(each) for each in named))) if named else []
    columns = {}
    for name in shared:
        try:
            own = np.array([float(each[name]) for each in named])
        except (TypeError, ValueError):
            continue
        if np.isfinite(own).all() and np.ptp(own) > 0:
            values = np.full(len(given), own.mean())
            values[[each is not None for each in given]] = own
            columns[name] = values
    return tuple(columns), np.column_stack([*columns.values(), np.empty((len(given), 0))])


def learn(
    sources: Mapping[str, Styles], days: tuple[date, date], rules: ColdStartRules
) -> Iterator[dict[str, pa.Table]]:
    """Rows of the three tables for each day of a range, some days at a time."""
    from retail_assets.models.cold_start.as_of import known_on

    for source, styles in sources.items():
        first = max((days[0] - EPOCH).days, int(styles.daily.day.min()))
        ahead = range(first, (days[1] - EPOCH).days + 1)
        for at in range(0, len(ahead), DAYS_AT_ONCE):
            rows = []
            for day in ahead[at : at + DAYS_AT_ONCE]:
                begun = styles.begun(day)
                rows.append(_rows(source, begun, known_on(begun, day, rules), rules))
            yield {name: pa.concat_tables(each[name] for each in rows) for name in rows[0]}


def _rows(
    source: str, styles: Styles, known: Knowledge, rules: ColdStartRules
) -> dict[str, pa.Table]:
    as_of = EPOCH + timedelta(days=known.day)
    tables = {
        "cold_start_priors": _priors(styles, known) | {"n_for_prior": rules.n_for_prior},
        "cold_start_coefficients": _coefficients(known, rules),
        "cold_start_posterior": _posterior(styles, known),
    }
    return {
        name: pa.table(_spread(columns | {"source": source, "as_of": as_of}))
        for name, columns in tables.items()
    }


def _spread(columns: dict[str, Any]) -> dict[str, pa.Array]:
    """Columns of one length: scalars repeated; NaN and infinity are no numbers in a table."""
    rows = max(len(v) for v in columns.values() if isinstance(v, (np.ndarray, list)))
    spread = {}
    for name, values in columns.items():
        if isinstance(values, np.ndarray) and values.dtype.kind == "f":
            spread[name] = pa.array(values, mask=~np.isfinite(values))
        elif isinstance(values, (np.ndarray, list)):
            spread[name] = pa.array(values)
        else:
            spread[name] = pa.repeat(pa.scalar(values), rows)
    return spread


def _priors(styles: Styles, known: Knowledge) -> dict[str, Any]:
    """Node 0 is the moment-matched Beta, the nodes after it the mixture."""
    group = np.append(np.arange(len(styles.groups)), -1)
    mixture = known.hierarchy.prior(group)
    names = np.array([*styles.groups, ANY_GROUP], dtype=object)
    kept = mixture.weight > LIGHTEST_NODE
    at, node = np.nonzero(kept)
    whole = mixture.moment_matched()
    alpha, beta = (
        np.append(matched, every[kept])
        for matched, every in zip(whole, (mixture.alpha, mixture.beta), strict=True)
    )
    row = np.append(np.arange(len(group)), at)
    fits = known.fits

    def of_group(values: NDArray[Any], other: Any) -> NDArray[Any]:
        return np.append(values, np.array(other, dtype=values.dtype))[row]

    return {
        "group_id": names[row].tolist(),
        "node": np.append(np.zeros(len(group), np.int64), node + 1),
        "weight": np.append(np.ones(len(group)), mixture.weight[kept]),
        "n_styles": of_group(fits.n_styles, 0),
        "trials": of_group(fits.trials, 0),
        "successes": of_group(fits.successes, 0),
        "mu": alpha / (alpha + beta),
        "sigma": 1 / (alpha + beta),
        "alpha": alpha,
        "beta": beta,
        "mle_alpha": of_group(fits.alpha, np.nan),
        "mle_beta": of_group(fits.beta, np.nan),
        "status": of_group(fits.status.astype(object), "no_trials").tolist(),
        "tarone_z": of_group(fits.tarone_z, np.nan),
        "log_lik": of_group(fits.log_likelihood, np.nan),
        "iterations": of_group(fits.iterations, 0),
    }


def _coefficients(known: Knowledge, rules: ColdStartRules) -> dict[str, Any]:
    hyper, regression = known.hierarchy.hyper, known.regression
    rows: list[tuple[str, float, float]] = [
        ("group_mean", float(hyper.coefficients[0]), np.nan),
        ("group_sd", hyper.tau, np.nan),
        ("log_sigma_mean", hyper.mean_log_sigma, np.nan),
        ("log_sigma_sd", hyper.omega, np.nan),
        ("drift_ratio", known.drift.ratio, np.nan),
        ("drift_p_value", known.drift.p_value, np.nan),
        ("forgetting", rules.forgetting, np.nan),
    ]
    # Fewer than two styles with two days of trials cannot show a drift.
    rows = [row for row in rows if np.isfinite(row[1])]
    if regression is not None:
        rows += zip(regression.names, regression.coefficients, regression.se, strict=True)
        rows.append(("log_sigma", regression.log_sigma, regression.log_sigma_se))
    term, estimate, se = zip(*rows, strict=True)
    return {"term": list(term), "estimate": np.array(estimate), "se": np.array(se)}


def _posterior(styles: Styles, known: Knowledge) -> dict[str, Any]:
    found, group = known.posterior, styles.group[known.style]
    names = np.array([*styles.groups, NO_GROUP], dtype=object)
    status = np.where(group < 0, "unknown_style", np.where(found.n > 0, "ok", "prior_only"))
    return {
        "product_id": [styles.names[at] for at in known.style],
        "group_id": names[group].tolist(),
        "n": found.n,
        "k": found.k,
        "p_mean": found.mean,
        "p_sd": found.sd,
        "p_lo95": found.lower,
        "p_hi95": found.upper,
        "prior_mean": found.prior_mean,
        "prior_offset": known.offset,
        "shrink_weight": found.shrink_weight,
        "prob_below_breakeven": found.prob_below,
        "days_known": known.days_known,
        "young": known.young,
        "status": status.tolist(),
    }


def describe(
    session: Session, sources: Mapping[str, Styles], last: date, rules: ColdStartRules
) -> dict[str, dict[str, Any]]:
    """Figures and pictures of the last day, and of what earlier days foresaw, by table name."""
    from retail_assets.models.cold_start.as_of import known_on

    about: dict[str, dict[str, Any]] = {
        "cold_start_priors": {},
        "cold_start_coefficients": {},
        "cold_start_posterior": {},
    }
    for source, styles in sources.items():
        day = (last - EPOCH).days
        styles = styles.begun(day)
        known = known_on(styles, day, rules)
        about["cold_start_priors"][f"{source}: groups"] = _group_table(styles, known)
        about["cold_start_posterior"] |= _style_pictures(source, styles, known)
        about["cold_start_posterior"] |= _track_pictures(session, source, last)
    return about


def _group_table(styles: Styles, known: Knowledge) -> Any:
    fits = known.fits
    alpha, beta = known.hierarchy.prior(range(len(styles.groups))).moment_matched()
    columns = (styles.groups, fits.n_styles, fits.trials, alpha / (alpha + beta), alpha, beta)
    header = ("group", "styles", "trials", "mean", "alpha", "beta", "on its own")
    return metadata.table(header, list(zip(*columns, fits.status, strict=True)))


def _style_pictures(source: str, styles: Styles, known: Knowledge) -> dict[str, Any]:
    found, names = known.posterior, np.array(styles.names, dtype=object)[known.style]
    group = styles.group[known.style]
    raw = found.k / np.maximum(found.n, 1)
    newest = np.argsort(known.days_known, kind="stable")
    newest = newest[found.n[newest] > 0][:NEWEST]
    prior = known.hierarchy.prior(group[newest], known.offset[newest])
    k, n = found.k[newest], found.n[newest]
    posterior = prior.updated(k, n, seen_k=k, seen_n=n)
    p = np.linspace(0, min(1.0, 1.3 * float(found.upper[newest].max(initial=0.01))), 150)
    curves = [
        (str(names[at]), before, after, float(raw[at]))
        for at, before, after in zip(
            newest, _densities(prior, p), _densities(posterior, p), strict=True
        )
    ]
    shrunk = cold_start_plots.shrinkage(
        raw, found.mean, found.lower, found.upper, group, styles.groups,
        title=f"{source}: raw and posterior rate of every style",
    )  # fmt: skip
    newest_styles = cold_start_plots.prior_and_posterior(
        p, curves, title=f"{source}: the newest styles"
    )
    unknown = [str(name) for name in names[group < 0]]
    return {
        f"{source}: styles": len(names),
        f"{source}: styles not in products": ", ".join(unknown[:10]) or "none",
        f"{source}: newest styles": metadata.picture(newest_styles, "prior and posterior"),
        f"{source}: shrinkage": metadata.picture(shrunk, "raw and posterior rate"),
    }


# Without forgetting a week's trials are the difference of two sums; with it they are discounted.
_TRACK_RECORD = """
WITH pairs AS (
    SELECT b.product_id, b.group_id, b.source, b.as_of, a.p_mean AS p_foreseen, a.p_sd,
           greatest(b.n - a.n * $kept, 0) AS n, greatest(b.k - a.k * $kept, 0) AS k
    FROM cold_start_posterior a JOIN cold_start_posterior b
      ON a.product_id = b.product_id AND a.source = b.source AND b.as_of = a.as_of + 7
    WHERE b.as_of BETWEEN $first AND $last AND a.as_of >= $first::DATE - 7
), foreseen AS (
    SELECT *, sqrt(n * (p_foreseen * (1 - p_foreseen) + (n - 1) * p_sd * p_sd)) AS k_foreseen_sd
    FROM pairs WHERE n >= 1
)
SELECT * EXCLUDE (p_sd, k), least(k, n) AS k, (k - n * p_foreseen) / k_foreseen_sd AS z
FROM foreseen WHERE k_foreseen_sd > 0
"""
_FORECASTS = """
SELECT product_id, n, k, p_foreseen, z FROM cold_start_track_record
WHERE source = $source AND as_of BETWEEN $last::DATE - 182 AND $last::DATE
  AND date_diff('day', as_of, $last::DATE) % 7 = 0
"""
_BELIEFS = """
SELECT product_id, as_of, p_mean, p_lo95, p_hi95 FROM cold_start_posterior
WHERE source = $source AND as_of BETWEEN $last::DATE - 55 AND $last::DATE AND product_id IN (
    SELECT product_id FROM cold_start_posterior
    WHERE source = $source AND as_of = $last AND n > 0 ORDER BY days_known, product_id LIMIT 4)
ORDER BY product_id, as_of
"""


def track_record(
    session: Session, days: tuple[date, date], rules: ColdStartRules
) -> duckdb.DuckDBPyRelation:
    """Rows of ``cold_start_track_record``: what was foreseen a week before each day."""
    kept = rules.forgetting**7
    asked = {"first": days[0], "last": days[1], "kept": kept}
    rows: duckdb.DuckDBPyRelation = session.sql(_TRACK_RECORD, asked)
    return rows


def _track_pictures(session: Session, source: str, last: date) -> dict[str, Any]:
    from retail_assets.models.cold_start.reliability import reliability_curve

    week = session.sql(_FORECASTS, {"source": source, "last": last}).fetchnumpy()
    if not len(week["n"]):
        return {}
    curve = reliability_curve(week["p_foreseen"], week["k"], week["n"])
    reliability = cold_start_plots.reliability(
        curve.predicted, curve.realised, curve.realised_se,
        title=f"{source}: next week's rate as foreseen, last half year",
    )  # fmt: skip
    beliefs: dict[str, list[Any]] = {}
    for product, *row in session.sql(_BELIEFS, {"source": source, "last": last}).fetchall():
        beliefs.setdefault(product, []).append(tuple(row))
    lines = []
    for product, rows in beliefs.items():
        days, mean, low, high = zip(*rows, strict=True)
        lines.append((product, days, mean, low, high))
    over_time = cold_start_plots.rate_over_time(
        lines, title=f"{source}: the newest styles as known day by day"
    )
    return {
        f"{source}: weeks within the 95 % foreseen": float(np.mean(np.abs(week["z"]) < 1.96)),
        f"{source}: mean squared z (1 = rates at rest)": float(np.mean(week["z"] ** 2)),
        f"{source}: reliability": metadata.picture(reliability, "foreseen and realised rate"),
        f"{source}: day by day": metadata.picture(over_time, "posterior by day"),
    }


def _densities(mixture: BetaMixture, p: NDArray[np.float64]) -> NDArray[np.float64]:
    """Density of each row at p, (m, len(p)), as differences of its distribution function."""
    cdf = np.stack([mixture.cdf(x) for x in p], axis=1)
    density: NDArray[np.float64] = np.gradient(cdf, p, axis=1)
    return density
