"""Checks of what to carry and how to divide the shelf."""

from retail_assets.checks.model_checks import ModelCheck, build

MAX_GAP_PCT = 10.0
"""Upper bounds are loose by 3 % of a plan's profit at 100 products and by 6 % with fixed costs;
small seasons and tight limits leave them looser without the plan being worse."""
MAX_OPTIMISM_PCT = 1.0
"""A plan promises on its own seasons at most .5 % more than it keeps on others (bench)."""

CHECKS = (
    ModelCheck(
        "assortment_plan",
        "costs_known",
        "Every product has a purchase cost; without it nothing can be bought to a plan.",
        "SELECT count(*) AS products, count(*) FILTER (unit_cost IS NULL) AS without, "
        "list(product_id ORDER BY product_id) FILTER (unit_cost IS NULL)[:5] AS wrong "
        "FROM products WHERE product_id IN "
        "(SELECT product_id FROM demand_rates WHERE category = $category)",
        lambda row: row["products"] > 0 and row["without"] == 0,
    ),
    ModelCheck(
        "assortment_plan_summary",
        "near_the_upper_bound",
        "Recommended plans earn nearly what no plan can exceed.",
        "SELECT count(*) AS plans, max(gap_pct) AS gap_pct FROM assortment_plan_summary "
        "WHERE category = $category AND recommended",
        lambda row: row["plans"] == 0 or (row["gap_pct"] or 0.0) <= MAX_GAP_PCT,
    ),
    ModelCheck(
        "assortment_plan_summary",
        "keeps_its_promise",
        "Plans earn on other seasons what they promised on their own.",
        "SELECT max(100 * (in_sample_profit - holdout_profit) / nullif(abs(holdout_profit), 0)) "
        "AS optimism_pct FROM assortment_plan_summary WHERE category = $category AND recommended",
        lambda row: row["optimism_pct"] is None or row["optimism_pct"] <= MAX_OPTIMISM_PCT,
    ),
    ModelCheck(
        "assortment_plan_summary",
        "better_than_newsvendor",
        "No simpler way to plan is surely better than the recommended one.",
        "SELECT count(*) AS methods, count(*) FILTER (diff_ci_low > 0) AS better "
        "FROM assortment_plan_summary WHERE category = $category "
        "AND method NOT IN ('joint', 'by_vendor')",
        lambda row: row["better"] == 0,
    ),
    ModelCheck(
        "capacity_plan",
        "room_kept",
        "No store's plan is surely worse than its shelf of today.",
        "SELECT count(*) FILTER (verdict = 'worse') AS worse, count(*) AS rows "
        "FROM capacity_plan WHERE category = $category",
        lambda row: row["rows"] > 0 and row["worse"] == 0,
    ),
)


plan_checks = [build(check) for check in CHECKS]
