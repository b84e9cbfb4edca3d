"""Dominick's orange juice: from 121 weeks of sales to the price each goal asks for.

    python examples/orange_juice/run.py orangejuice.parquet

Fits the demand models to the weeks until 140, foresees the weeks after, and prices one shop's
juices with their real margins. What it teaches is in README.md.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from retail_assets.models.demand.accuracy import wape
from retail_assets.models.demand.elasticity import reference_slope
from retail_assets.models.demand.models import Fitted, fit_models
from retail_assets.models.demand.rows import DemandRows, Floats
from retail_assets.models.pricing.candidates import Candidates
from retail_assets.models.pricing.optimise import optimise
from retail_assets.models.pricing.plan import Target

BRANDS = (
    *("Tropicana Premium 64 oz", "Tropicana Premium 96 oz", "Florida's Natural 64 oz"),
    *("Tropicana 64 oz", "Minute Maid 64 oz", "Minute Maid 96 oz", "Citrus Hill 64 oz"),
    *("Tree Fresh 64 oz", "Florida Gold 64 oz", "Dominicks 64 oz", "Dominicks 128 oz"),
)
OUNCES = 64
WEEK, LAST_TRAINED = 7, 140
MODELS = ("log_log_ols", "poisson_glm", "xgboost_on_margin")
PRICING_MODEL = "poisson_glm"
GOALS: tuple[Target, ...] = ("revenue", "margin_cents")
STEP, AROUND = 10, 0.15
"""Prices tried: every 10 cents within 15 % of the usual one."""


def read(download: Path, every: int) -> pd.DataFrame:
    """One row per shop, brand and week, of every so many shops; prices per 64 ounces in cents."""
    read_file = pd.read_parquet if download.suffix == ".parquet" else pd.read_csv
    sales = read_file(download)
    sales = sales[sales["store"].rank(method="dense").astype(int) % every == 0]
    shelf = sales[[f"price{i}" for i in range(1, len(BRANDS) + 1)]].to_numpy() * 100 * OUNCES
    price = shelf[np.arange(len(sales)), sales["brand"] - 1]
    units = np.exp(sales["logmove"]) / OUNCES
    cost = price * (1 - sales["profit"] / 100)
    return sales.assign(price=price, mean_price=shelf.mean(axis=1), units=units, cost=cost)


def rows_of(sales: pd.DataFrame) -> DemandRows:
    """What the demand models read: a series is a brand in a shop, a period a week.

    Exposure is 1: nobody knows what was out of stock, and a week is too long to tell.
    """
    brand = sales["brand"].to_numpy(np.int64) - 1
    return DemandRows(
        products=BRANDS,
        product=brand,
        series=np.unique(sales["store"].to_numpy() * 100 + brand, return_inverse=True)[1],
        period=sales["week"].to_numpy(np.int64) * WEEK,
        days=np.full(len(sales), float(WEEK)),
        units=sales["units"].to_numpy(),
        exposure=np.ones(len(sales)),
        price_cents=sales["price"].to_numpy(),
        rel_price=(sales["price"] / sales["mean_price"]).to_numpy(),
        promo=sales[["deal", "feat"]].to_numpy(float),
        promo_names=("deal", "feature"),
        features={"brand": brand.astype(float)},
    )


def candidates(fitted: Fitted, past: pd.DataFrame, rows: DemandRows) -> Candidates:
    """Prices around the usual ones of the shop that sells most, in a week without promotion."""
    known = past.reset_index(drop=True)
    own = known[known["store"] == known.groupby("store")["units"].sum().idxmax()]
    usual = own.groupby("brand")[["price", "cost"]].median().round()
    newest = rows.take(own.groupby("brand").tail(1).sort_values("brand").index.to_numpy())
    coming = replace(newest, promo=np.zeros((len(usual), 2)), period=newest.period + WEEK)
    item, price, demand = [], [], list[Floats]()
    for at, now in enumerate(usual["price"]):
        steps = int(now * AROUND / STEP)
        ladder = now + STEP * np.arange(-steps, steps + 1.0)
        one = coming.take(np.full(len(ladder), at))
        one = one.at_price(ladder, one.rel_price * ladder / one.price_cents)
        item.append(np.full(len(ladder), at))
        price.append(ladder.astype(np.int64))
        demand.append(fitted.predict(PRICING_MODEL, one))
    # Nothing depends on the other prices of the week, and no shelf runs empty.
    rows_made, anything = sum(map(len, item)), 10**6
    return Candidates(
        BRANDS, np.full(len(BRANDS), anything), usual["cost"].to_numpy(np.int64),
        np.concatenate(item), np.concatenate(price),
        np.zeros(rows_made, int), np.full(rows_made, anything), np.concatenate(demand),
        prior_price_cents=usual["price"].to_numpy(np.int64),
    )  # fmt: skip


def figures(download: Path, every: int) -> dict[str, Any]:
    """Elasticity, errors of the weeks held out, and what each goal would charge."""
    sales = read(download, every)
    rows, seen = rows_of(sales), (sales["week"] <= LAST_TRAINED).to_numpy()
    past, coming = rows.take(seen), rows.take(~seen)
    fitted, slope = fit_models(past, gap_days=WEEK, names=MODELS), reference_slope(past)
    forecast = {name: fitted.predict(name, coming) for name in ("median_8_weeks", *MODELS)}
    told = ~np.isnan(forecast["median_8_weeks"])
    sale = candidates(fitted, sales[seen], past)
    usual = np.asarray(sale.prior_price_cents)
    return {
        "rows": len(rows),
        "shops": sales["store"].nunique(),
        "naive_slope": float(np.polyfit(np.log(past.price_cents), np.log(past.units), 1)[0]),
        "slope": (slope.value, 1.96 * slope.se),
        "wape": {name: wape(coming.units[told], f[told]) for name, f in forecast.items()},
        "sale": sale,
        "now": sale.measures()[sale.price_cents == usual[sale.item]].sum(axis=0),
        "plans": {goal: optimise(sale, goal) for goal in GOALS},
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("download", type=Path, help="parquet or CSV, one row per shop, brand, week")
    parser.add_argument("--every", type=int, default=4, help="read every so many shops (1: all)")
    given = parser.parse_args()
    found = figures(given.download, given.every)
    print(f"{found['rows']:,} weeks of a juice in {found['shops']} shops")
    slope, wide = found["slope"]
    naive = found["naive_slope"]
    print(f"elasticity {slope:.2f} +- {wide:.2f}; a line through all prices says {naive:.2f}")
    for name, error in found["wape"].items():
        print(f"  {name:20} WAPE {error:.3f}")
    sale, plans = found["sale"], found["plans"]
    print(f"{'cents per 64 ounces':28}{'cost':>6}{'now':>6}{'most revenue':>15}{'most margin':>14}")
    for at, brand in enumerate(BRANDS):
        best = [plans[goal].price_cents[at] for goal in GOALS]
        cost, now = sale.cost_cents[at], sale.prior_price_cents[at]
        print(f"{brand:28}{cost:6}{now:6}{best[0]:15}{best[1]:14}")
    totals = {"now": found["now"][:2]} | {g: (p.revenue, p.margin) for g, p in plans.items()}
    for goal, (revenue, margin) in totals.items():
        print(f"{goal:20} revenue {revenue / 100:8,.0f}   margin {margin / 100:6,.0f}")


if __name__ == "__main__":
    main()
