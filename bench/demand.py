"""Demand at any price, on real prices and on shops whose truth is known.

python -m bench demand            about 3 minutes on one core
python -m bench demand --quick    fewer seeds, sales and stores; not for claims
"""

from __future__ import annotations

import time
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from bench import Row, at_most, between
from bench.demand_orange_juice import orange_juice_rows
from bench.demand_simulated import (
    ITEMS_PER_SALE,
    Chaser,
    History,
    chaser,
    market,
    sell,
)
from bench.demand_uplift import segment_rows, uplift_rows
from retail_assets.models.demand.accuracy import wape
from retail_assets.models.demand.backtest import backtest, choose, origins_of
from retail_assets.models.demand.elasticity import lately, model_elasticity, reference_slope
from retail_assets.models.demand.models import RESPONSIVE, Fitted, fit_models
from retail_assets.models.demand.rows import DISCOUNT, DemandRows, Floats

TOLERANCE = 0.15
WEEK, QUARTER = 7, 91
FIRST_HELD_OUT = 96
"""Of 120 sales; the last 24 are forecast."""
AFT = {
    "objective": "survival:aft",
    "aft_loss_distribution": "normal",
    "tree_method": "hist",
    "max_depth": 6,
    "eta": 0.1,
    "nthread": 1,
    "seed": 0,
}
AFT_TREES = (5, 10, 20, 50, 100, 300)


def run(*, quick: bool, large: bool) -> list[Row]:
    """The demand rows of the table of claims; ``large`` adds nothing."""
    del large
    rows = orange_juice_rows(quick=quick)
    rows += chased_rows(quick=quick)
    rows += sold_out_rows(quick=quick)
    rows += segment_rows(quick=quick)
    rows += uplift_rows(quick=quick)
    return rows


def chased_rows(*, quick: bool) -> list[Row]:
    """Elasticity found over the truth, where prices answer to last week's demand."""
    started = time.process_time()
    seeds = range(3 if quick else 10)
    table = [_elasticities(chaser(seed)) for seed in seeds]
    found = {name: np.array([ratios[name] for ratios, _ in table]) for name in table[0][0]}
    champions = sorted({name for _, name in table})
    hidden = [_reference(chaser(seed, sees="shock")) for seed in seeds]
    rows = []
    for name, ratio in found.items():
        mean, worst = float(ratio.mean()), float(ratio[np.abs(ratio - 1).argmax()])
        metric = f"prices chase demand, elasticity over truth: {name}"
        if name in ("reference slope", "margin", "price champion"):
            rows.append(between(metric, mean, 1 - TOLERANCE, 1 + TOLERANCE))
        else:
            rows.append(Row(metric, mean))
        rows.append(Row(f"  worst of {len(seeds)} seeds", worst))
    rows.append(Row("  price champions", ", ".join(champions)))
    metric = "  reference slope where prices follow what no sales show"
    rows.append(Row(metric, float(np.mean(hidden))))
    rows.append(Row("prices chase demand: CPU s", time.process_time() - started))
    return rows


def _elasticities(shop: Chaser) -> tuple[dict[str, float], str]:
    """Each estimate over the truth, and the price champion."""
    rows = shop.rows
    truth = model_elasticity(shop.predict, rows)
    naive = np.polyfit(np.log(rows.price_cents), np.log(rows.units + 0.5), 1)[0]
    slope = reference_slope(rows, nuisance=lately(rows, "poisson", gap_days=WEEK))
    tested = backtest(
        rows,
        origins_of(rows, horizon_days=QUARTER, most=1),
        horizon_days=QUARTER,
        gap_days=WEEK,
        names=RESPONSIVE,
    )
    champion = choose(tested, slope).price
    fitted = fit_models(rows, gap_days=WEEK, names=("xgboost", champion))
    found = {
        "reference slope": slope.value,
        "margin": fitted.margin.slope_mean,
        "price champion": _of_model(fitted, champion, rows),
        "naive pooled slope": float(naive),
        "series and period effects only": reference_slope(rows).value,
        "xgboost that sees the price": _of_model(fitted, "xgboost", rows),
    }
    return {name: value / truth for name, value in found.items()}, champion


def _of_model(fitted: Fitted, name: str, rows: DemandRows) -> float:
    return model_elasticity(lambda r: fitted.predict(name, r), rows)


def _reference(shop: Chaser) -> float:
    nuisance = lately(shop.rows, "poisson", gap_days=WEEK)
    slope = reference_slope(shop.rows, nuisance=nuisance).value
    return slope / model_elasticity(shop.predict, shop.rows)


def sold_out_rows(*, quick: bool) -> list[Row]:
    """Latent demand where half of the past sold out, against the true mean."""
    started = time.process_time()
    seeds = range(2 if quick else 8)
    table, share = [], []
    for seed in seeds:
        rng = np.random.default_rng([4, seed])
        past = sell(market(rng), rng)
        table.append(_sold_out_errors(past))
        share.append(past.sold_out[past.sale < FIRST_HELD_OUT].mean())
    found = {name: float(np.mean([row[name] for row in table])) for name in table[0]}
    rows = [between("flash sales: share of past rows sold out", float(np.mean(share)), 0.45, 0.55)]
    for name, error in found.items():
        metric = f"flash sales, WAPE against true demand: {name}"
        ours = name in ("xgboost", "xgboost_on_margin", "price champion")
        rows.append(at_most(metric, error, 0.2) if ours else Row(metric, error))
    rows.append(Row(f"flash sales, {len(seeds)} seeds: CPU s", time.process_time() - started))
    return rows


def _sold_out_errors(past: History) -> dict[str, float]:
    """WAPE of each way to learn from rows that sold out."""
    before = past.sale < FIRST_HELD_OUT
    rows, in_stock = past.rows, np.ones(len(past.rows))
    test, truth = replace(rows, exposure=in_stock).take(~before), past.mean[~before]
    known = rows.take(before)
    names = RESPONSIVE
    fitted = fit_models(known, gap_days=1, names=names)
    others = {
        "hours in stock, customers taken as even": replace(rows, exposure=past.hours).take(before),
        "sales taken as demand": replace(rows, exposure=in_stock).take(before),
        "sold-out rows dropped": rows.take(before & ~past.sold_out),
        "oracle, knows what was wanted": replace(
            rows, exposure=in_stock, units=past.wanted
        ).take(before),
    }  # fmt: skip
    found = {"price champion": wape(truth, fitted.predict(_champion(known), test))}
    found |= {name: wape(truth, fitted.predict(name, test)) for name in names}
    for name, other in others.items():
        model = fit_models(other, gap_days=1, names=("xgboost",))
        found[f"xgboost, {name}"] = wape(truth, model.predict("xgboost", test))
    for scale in (1.0, 0.6):
        name = f"survival:aft, normal, scale {scale:g}, best number of trees"
        found[name] = _aft(known, past.sold_out[before], test, truth, scale)
    return found


def _champion(rows: DemandRows) -> str:
    """As chosen on the last two weeks before the held-out sales."""
    tested = backtest(
        rows,
        [int(rows.period.max()) - 2 * WEEK],
        horizon_days=2 * WEEK,
        gap_days=1,
        names=RESPONSIVE,
        rivals=np.full(len(rows), float(ITEMS_PER_SALE)),
    )
    nuisance = lately(rows, "poisson", gap_days=1)
    return choose(tested, reference_slope(rows, nuisance=nuisance)).price


def _aft(
    rows: DemandRows, sold_out: NDArray[np.bool_], test: DemandRows, truth: Floats, scale: float
) -> float:
    """WAPE of accelerated failure trees: what is wanted is at least what sold out.

    Same columns and monotone prices as ours. Nothing holds a censored row's prediction down,
    so the error grows with the trees: the best number by the truth is taken, which nobody
    would know.
    """
    import xgboost as xgb

    columns, wanted = _columns(rows), np.maximum(rows.units, 0.5)
    start = np.log(rows.units.mean())
    matrix = xgb.DMatrix(columns, base_margin=np.full(len(rows), start), nthread=1)
    matrix.set_float_info("label_lower_bound", wanted)
    matrix.set_float_info("label_upper_bound", np.where(sold_out, np.inf, wanted))
    monotone = (-1, -1, *[0] * (columns.shape[1] - 3), 1)
    more = {"aft_loss_distribution_scale": scale, "monotone_constraints": monotone}
    trees = xgb.train(AFT | more, matrix, max(AFT_TREES))
    held_out = xgb.DMatrix(_columns(test), base_margin=np.full(len(test), start), nthread=1)
    return min(
        wape(truth, trees.predict(held_out, iteration_range=(0, n)).astype(np.float64))
        for n in AFT_TREES
    )


def _columns(rows: DemandRows) -> Floats:
    """Log price, relative price, features; the discount last."""
    features = [values for name, values in rows.features.items() if name != DISCOUNT]
    prices = [np.log(rows.price_cents), rows.rel_price]
    return np.column_stack([*prices, *features, rows.features[DISCOUNT]])
