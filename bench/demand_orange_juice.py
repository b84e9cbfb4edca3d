"""Dominick's orange juice: 83 stores, 11 brands, 121 weeks; weeks 141 to 160 held out.

The price champion is chosen as the platform chooses it, inside the training weeks: four
origins, four weeks ahead each (weeks 125 to 140). The held-out weeks are looked at once.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from bench import Row, at_least, at_most, between
from retail_assets.models.demand.accuracy import bias, poisson_deviance, rmsse, wape
from retail_assets.models.demand.backtest import Champion, backtest, choose, origins_of
from retail_assets.models.demand.boosted import RECENT
from retail_assets.models.demand.elasticity import (
    PriceSlope,
    lately,
    model_elasticity,
    perverse_steps,
    reference_slope,
)
from retail_assets.models.demand.models import MODELS, RESPONSIVE, Fitted, fit_models
from retail_assets.models.demand.recent import recent_residual
from retail_assets.models.demand.rows import DemandRows, Floats

DATA = Path(__file__).parents[1].parent / "shared" / "data"
LAST_TRAINED = 140
WEEK, HORIZON_DAYS, ORIGINS = 7, 28, 4
BRANDS, OUNCES, CENTS_PER_OUNCE = 11, 64, 6400
PUBLISHED_OLS_DEVIANCE = 61.4
"""Log-log OLS by brand with smearing, of the same split (methods/pricing.md)."""
REFERENCE = -3.29
"""Store-brand and week effects, deal and feature (methods/demand.md)."""


@dataclass(frozen=True)
class Split:
    """The panel before and after the last week trained."""

    every: DemandRows
    past: DemandRows
    test: DemandRows


def orange_juice_rows(*, quick: bool) -> list[Row]:
    """All rows of this panel; ``quick`` reads every sixth store, without verdicts."""
    if not DATA.exists():
        return [Row("orange juice", "not measured: ../shared/data is absent")]
    started = time.process_time()
    split = panel(every=6 if quick else 1)
    slope = reference_slope(split.past)
    champion = _champion(split.past, slope)
    fitted = fit_models(split.past, gap_days=WEEK)
    forecast = {name: fitted.predict(name, split.test) for name in MODELS}
    forecast["xgboost_on_margin_lags"] = _week_ahead(fitted, split)
    rows = _targets(split, slope, champion, fitted, forecast)
    for name in MODELS:
        rows.append(Row(f"  {name}: WAPE, RMSSE, bias, deviance", _text(split, forecast[name])))
    for name in RESPONSIVE:
        rows.append(Row(f"  {name}: elasticity", _elasticity(fitted, name, split.test)))
    rows.append(Row("orange juice: CPU s", time.process_time() - started))
    return [replace(row, target="", ok=None) for row in rows] if quick else rows


def panel(*, every: int = 1) -> Split:
    """The panel as rows: a series is a brand in a store, a period a week."""
    import pandas as pd

    sales = pd.read_parquet(DATA / "dominicks_orange_juice.parquet")
    sales = sales[sales["store"].rank(method="dense").astype(int) % every == 0]
    places = pd.read_parquet(DATA / "dominicks_store_demographics.parquet")
    places.columns = places.columns.str.lower()
    stores = sales[["store"]].merge(places, on="store", how="left").drop(columns="store")
    brand = sales["brand"].to_numpy().astype(np.int64) - 1
    shelf = sales[[f"price{i}" for i in range(1, BRANDS + 1)]].to_numpy()
    price = shelf[np.arange(len(sales)), brand]
    features = {name: stores[name].to_numpy(float) for name in stores}
    rows = DemandRows(
        products=tuple(f"brand {i}" for i in range(1, BRANDS + 1)),
        product=brand,
        series=np.unique(sales["store"].to_numpy() * 100 + brand, return_inverse=True)[1],
        period=sales["week"].to_numpy().astype(np.int64) * WEEK,
        days=np.ones(len(sales)),
        units=np.exp(sales["logmove"].to_numpy()) / OUNCES,
        exposure=np.ones(len(sales)),
        price_cents=price * CENTS_PER_OUNCE,
        rel_price=price / shelf.mean(axis=1),
        promo=sales[["deal", "feat"]].to_numpy(float),
        promo_names=("deal", "feature"),
        features=features | {"brand": brand.astype(float)},
    )
    past = rows.period <= LAST_TRAINED * WEEK
    return Split(rows, rows.take(past), rows.take(~past))


def _champion(past: DemandRows, slope: PriceSlope) -> Champion:
    origins = origins_of(past, horizon_days=HORIZON_DAYS, most=ORIGINS)
    rivals = np.full(len(past), float(BRANDS))
    tested = backtest(
        past, origins, horizon_days=HORIZON_DAYS, gap_days=WEEK, names=RESPONSIVE, rivals=rivals
    )
    return choose(tested, slope)


def _week_ahead(fitted: Fitted, split: Split) -> Floats:
    """Lags of each held-out week read all weeks before it; nothing is fitted again."""
    seen, test = split.every, split.test
    recent = recent_residual(seen, fitted.margin.log_mean(seen), test, gap_days=WEEK)
    known = replace(test, features=dict(test.features) | {RECENT: recent})
    return fitted.boosted["xgboost_on_margin_lags"].predict(known)


def _targets(
    split: Split, slope: PriceSlope, champion: Champion, fitted: Fitted, forecast: dict[str, Floats]
) -> list[Row]:
    units, name = split.test.units, champion.price
    mean = forecast[name]
    steps = perverse_steps(lambda r: fitted.predict(name, r), split.test)
    deviance = poisson_deviance(units, mean)
    naive = float(np.polyfit(np.log(split.past.price_cents), np.log(split.past.units), 1)[0])
    own = reference_slope(split.past, nuisance=lately(split.past, "ols", gap_days=WEEK))
    bare = reference_slope(replace(split.past, promo=np.zeros((len(split.past), 0))))
    return [
        at_most(
            "orange juice, no lags (xgboost alone): WAPE",
            wape(units, forecast["xgboost"]),
            0.485,
        ),
        at_most(
            "orange juice, lags a week ahead: WAPE",
            wape(units, forecast["xgboost_on_margin_lags"]),
            0.465,
        ),
        Row("orange juice, price champion", name),
        Row("  WAPE", wape(units, mean)),
        between("  bias", bias(units, mean), -0.05, 0.05),
        at_most("  price-up steps of 2 % that raise demand, share", steps, 0.0),
        between("  elasticity", _elasticity(fitted, name, split.test), -3.78, -2.80),
        at_most("  Poisson deviance", deviance, PUBLISHED_OLS_DEVIANCE),
        Row("reference slope, deal and feature", f"{slope.value:.2f} +- {1.96 * slope.se:.2f}"),
        between("  against the published -3.29", slope.value, REFERENCE - 0.05, REFERENCE + 0.05),
        at_least("  share of the price variance it rests on", slope.share, 0.05),
        Row("  with last weeks' demand as a nuisance", own.value),
        Row("  without deal and feature", bare.value),
        Row("  naive pooled slope", naive),
    ]  # fmt: skip


def _elasticity(fitted: Fitted, name: str, rows: DemandRows) -> float:
    rivals = np.full(len(rows), float(BRANDS))
    return model_elasticity(lambda r: fitted.predict(name, r), rows, rivals=rivals)


def _text(split: Split, mean: Floats) -> str:
    told = ~np.isnan(mean)
    test, mean = split.test.take(told), mean[told]
    figures = (
        wape(test.units, mean),
        rmsse(split.past, test, mean),
        bias(test.units, mean),
        poisson_deviance(test.units, mean),
    )
    return "{:.3f} {:.3f} {:+.3f} {:.1f}".format(*figures)
