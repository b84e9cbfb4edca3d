"""Rows, figures and pictures of the demand model and its backtest."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import date, timedelta
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from retail_assets.assets.demand_rows import CategoryDemand
from retail_assets.errors import ModelError
from retail_assets.report import demand_plots, metadata
from retail_assets.warehouse import Session

if TYPE_CHECKING:
    from retail_assets.models.demand.backtest import Backtest, Champion
    from retail_assets.models.demand.elasticity import PriceSlope, TotalEffect
    from retail_assets.models.demand.price_model import PriceModel

HORIZON_DAYS, ORIGINS, GAP_DAYS = 28, 4, 14
"""Four weeks ahead from four origins; lags are trained at their middle distance."""
HORIZON_DAYS_BY_SALE = 91
EPOCH = date(1970, 1, 1)
LEAST_STOCKED = 0.7
"""Exposure below which a day is shaded as short of stock."""


@dataclass(frozen=True)
class DemandFit:
    """One category's tested and fitted demand model."""

    model: PriceModel
    tested: Backtest
    champion: Champion
    reference: PriceSlope
    total: TotalEffect


# Units a day of the substitution posterior: at the mean profile, over a store's usual day.
_RATES = """
SELECT product_id, sum(mean * usual * units_per_transaction_mean)
FROM demand_rates JOIN (
    SELECT store_id, avg(n_intervals) AS usual FROM trading_days WHERE n_intervals > 0 GROUP BY ALL
) USING (store_id)
WHERE category = $category GROUP BY ALL
"""


def over_rates(session: Session, data: CategoryDemand) -> float:
    """Units sold over what demand rates and exposure say of the same days; NaN without rates.

    The model's levels add up to the units sold: this is their ratio to the rates' as well.
    """
    rates = dict(session.sql(_RATES, {"category": data.category}).fetchall())
    level = np.array([rates.get(name) for name in data.rows.products], np.float64)
    expected = data.rows.exposure * data.rows.days * level[data.rows.product]
    known = ~np.isnan(expected)
    if data.by_sale or not known.any():
        return float("nan")
    return float(data.rows.units[known].sum() / expected[known].sum())


def fit(data: CategoryDemand, *, trust_total: bool = False) -> DemandFit:
    """Backtest, choose and fit; ``trust_total`` as ``demand_kind = "relative"`` says.

    Raises
    ------
    ModelError
        No row has sales in time the product was in stock.
    """
    from retail_assets.models.demand.backtest import backtest, choose, origins_of
    from retail_assets.models.demand.elasticity import (
        lately,
        reference_slope,
        rivals_of,
        step_of,
    )
    from retail_assets.models.demand.models import fit_models
    from retail_assets.models.demand.price_model import price_model
    from retail_assets.models.demand.thin import pool, thin_products

    rows = data.rows
    if not rows.units.sum() > 0:
        raise ModelError(f"category {data.category}: nothing sold while in stock; check the status")
    horizon = HORIZON_DAYS_BY_SALE if data.by_sale else HORIZON_DAYS
    tested = backtest(
        rows,
        origins_of(rows, horizon_days=horizon, most=ORIGINS),
        horizon_days=horizon,
        gap_days=GAP_DAYS,
        rivals=rivals_of(rows),
        trust_total=trust_total,
    )
    pooled = pool(rows, np.array(rows.products, dtype=object)[thin_products(rows)].tolist())
    nuisance = lately(pooled, "poisson", gap_days=step_of(pooled))
    reference = reference_slope(pooled, nuisance=nuisance)
    champion = choose(tested, reference)
    names = (champion.price, "log_log_ols")
    fitted = fit_models(rows, gap_days=GAP_DAYS, names=names, trust_total=trust_total)
    known = tested.conformal(champion.price) if tested.scores else None
    model = price_model(fitted, champion.price, known, identified=reference.identified)
    return DemandFit(model, tested, champion, reference, fitted.total)


def of_fit(session: Session, data: CategoryDemand, result: DemandFit) -> dict[str, pa.Table]:
    """Rows of demand_model and demand_backtest."""
    model, rows, slope = result.model, data.rows, result.reference
    trees = model.boosted
    one = {
        "category": data.category,
        "champion": model.name,
        "forecast_champion": result.champion.forecast,
        "model": model.to_ubj(),
        "coefficients": model.to_json(),
        "features": list(trees.names) if trees else [],
        "thresholds": trees.thresholds().tolist() if trees else [],
        "elasticity": _elasticity(data, result),
        "elasticity_reference": _known(slope.value) if slope.identified else None,
        "elasticity_se": _known(slope.se),
        "residual_price_variance": slope.residual_variance,
        "total_matters": model.total_matters,
        "total_z": _known(result.total.z),
        "identified": model.identified,
        "train_from": _day(rows.period.min()),
        "train_to": data.as_of,
        "rows": len(rows),
        "metrics": json.dumps(_figures(result) | {"over_rates": _known(over_rates(session, data))}),
        "reason": result.champion.reason,
        "as_of": data.as_of,
    }
    kinds: dict[str, Any] = {"model": pa.binary(), "features": pa.list_(pa.string())}
    kinds |= {"thresholds": pa.list_(pa.float64())}
    first = {name: pa.array([value], kinds.get(name)) for name, value in one.items()}
    return {"demand_model": pa.table(first), "demand_backtest": _backtest_rows(data, result)}


def _elasticity(data: CategoryDemand, result: DemandFit) -> float | None:
    """Of the stored model over the last four weeks known; None where prices tell nothing."""
    from retail_assets.models.demand.elasticity import model_elasticity, rivals_of

    model, rows = result.model, data.rows
    if not model.identified:
        return None
    last = rows.take(rows.period > rows.period.max() - HORIZON_DAYS)
    numbered = model.numbered(last)
    grown = model.grown(numbered)
    return _known(
        model_elasticity(lambda r: np.exp(grown.log_mean(r)), numbered, rivals=rivals_of(last))
    )


def _figures(result: DemandFit) -> dict[str, float | None]:
    names = ("wape", "rmsse", "bias", "poisson_deviance", "coverage80", "perverse_steps")
    return {n: _known(result.tested.mean(result.model.name, n)) for n in names}


def _backtest_rows(data: CategoryDemand, result: DemandFit) -> pa.Table:
    from retail_assets.models.demand.models import RESPONSIVE

    scores = result.tested.scores
    figures = ("wape", "rmsse", "bias", "poisson_deviance", "coverage80", "elasticity")
    columns: dict[str, Any] = {
        "category": pa.array([data.category] * len(scores), pa.string()),
        "model": pa.array([s.model for s in scores], pa.string()),
        "origin": pa.array([_day(s.origin) for s in scores], pa.date32()),
        "horizon": pa.array([result.tested.horizon_days] * len(scores), pa.int64()),
        "season": pa.array([s.season for s in scores], pa.string()),
        "rows": pa.array([s.rows for s in scores], pa.int64()),
        "price_responsive": pa.array([s.model in RESPONSIVE for s in scores], pa.bool_()),
        "champion": pa.array([_role(result.champion, s.model) for s in scores], pa.string()),
    }
    for name in (*figures, "perverse_steps"):
        columns[name] = pa.array([_known(getattr(s, name)) for s in scores], pa.float64())
    return pa.table(columns)


def _role(champion: Champion, model: str) -> str:
    roles = (champion.price == model, champion.forecast == model)
    return {(True, True): "both", (True, False): "price", (False, True): "forecast"}.get(
        roles, "none"
    )


def describe_fit(
    data: CategoryDemand, result: DemandFit, currency: str
) -> dict[str, dict[str, Any]]:
    """Figures and pictures of the fit, by table name."""
    model, slope = result.model, result.reference
    figures = {k: v for k, v in _figures(result).items() if v is not None}
    fitted: dict[str, Any] = {
        "champion": model.name,
        "reason": result.champion.reason,
        "total of a sale matters": model.total_matters,
        "rows": len(data.rows),
        "rows left out (no exposure or price)": data.left_out,
        "residual price variance": slope.residual_variance,
        **figures,
    }
    own = _elasticity(data, result)
    if own is not None:
        fitted["elasticity"] = own
    if slope.identified:
        fitted["elasticity_reference"] = slope.value
        picture = _elasticities(data, result)
        fitted["elasticities"] = metadata.picture(picture, "own-price elasticity by product")
    picture = _fit_over_time(data, result, currency)
    fitted["busiest product"] = metadata.picture(picture, "units a day, sold and expected")
    tested: dict[str, Any] = {"reason": result.champion.reason, "origins": _origins(result)}
    if result.tested.scores:
        drawn = demand_plots.backtest(_scores(result), title=f"{data.category}: backtest")
        tested["backtest"] = metadata.picture(drawn, "errors of every model")
        tested["models"] = _models_table(result)
    return {"demand_model": fitted, "demand_backtest": tested}


def _origins(result: DemandFit) -> str:
    days = sorted({s.origin for s in result.tested.scores})
    return ", ".join(str(_day(d)) for d in days) or "none: the history is too short"


def _scores(result: DemandFit) -> list[demand_plots.Score]:
    from retail_assets.models.demand.models import RESPONSIVE

    return [
        demand_plots.Score(
            model=s.model,
            season=s.season,
            wape=s.wape,
            poisson_deviance=s.poisson_deviance,
            coverage80=s.coverage80,
            price_responsive=s.model in RESPONSIVE,
            champion=_role(result.champion, s.model),
        )
        for s in result.tested.scores
    ]


def _models_table(result: DemandFit) -> Any:
    header = ("model", "WAPE", "bias", "deviance", "80 % holds", "elasticity", "perverse", "for")
    names = list(dict.fromkeys(s.model for s in result.tested.scores))
    figures = ("wape", "bias", "poisson_deviance", "coverage80", "elasticity", "perverse_steps")
    rows = [
        (
            name,
            *(_shown(result.tested.mean(name, figure)) for figure in figures),
            _role(result.champion, name),
        )
        for name in sorted(names, key=lambda n: np.nan_to_num(result.tested.mean(n, "wape"), nan=9))
    ]
    return metadata.table(header, rows)


def _elasticities(data: CategoryDemand, result: DemandFit) -> bytes:
    margin, slope = result.model.margin, result.reference
    sold = np.unique(data.rows.product)
    sold = sold[margin.with_history[sold]]
    value = margin.slope[sold] + margin.relative
    error = 1.96 * margin.slope_se[sold]
    return demand_plots.elasticities(
        [data.rows.products[at] for at in sold],
        value,
        value - error,
        value + error,
        slope.value,
        slope.value - 1.96 * slope.se,
        slope.value + 1.96 * slope.se,
        title=f"{data.category}: own-price elasticity, 95 % intervals",
    )


def _fit_over_time(data: CategoryDemand, result: DemandFit, currency: str) -> bytes:
    rows, model = data.rows, result.model
    busiest = int(np.argmax(np.bincount(rows.product, rows.units)))
    own = rows.take(np.flatnonzero(rows.product == busiest)[-180:])
    mean = np.exp(model.log_mean(model.numbered(own)))
    low, high = model.conformal.limits(mean, 1.0) if model.conformal else (mean, mean)
    return demand_plots.fit_over_time(
        (np.datetime64(0, "D") + own.period).tolist(),
        own.units,
        mean,
        low,
        high,
        own.price_cents,
        title=f"{rows.products[busiest]}: sold and expected, with its time in stock",
        currency=currency,
        out_of_stock=own.exposure < LEAST_STOCKED,
    )


def _day(days: Any) -> date:
    return EPOCH + timedelta(days=int(days))


def _known(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None


def _shown(value: float) -> object:
    return "" if np.isnan(value) else float(value)
