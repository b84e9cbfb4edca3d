"""Checks of the prices of a sale: every item can be priced, the proof is whole."""

from retail_assets.checks.model_checks import ModelCheck, build
from retail_assets.partitions import SALES

MAX_SCORE_GAP = 1e-3
"""A weighted goal with margin percent is bounded level by level, to this much of its score."""
MAX_RATIO_GAP = 1e-3
"""Margin percent is measured in whole steps: 1e-6 of a percent are left at 200 items."""


def proven(gap: float | None, score_gap: float | None, ratio_gap: float | None) -> bool:
    """Whether every goal is closed, or within what its certificate may leave open."""
    left = (gap, score_gap, ratio_gap)
    if all(each is None for each in left):
        return False
    allowed = (0.0, MAX_SCORE_GAP, MAX_RATIO_GAP)
    return all((each or 0.0) <= most for each, most in zip(left, allowed, strict=True))


CHECKS = (
    ModelCheck(
        "price_candidates",
        "every_item_has_a_legal_price",
        "The rules leave each item of the sale a price to choose.",
        "SELECT count(*) AS items, count(*) FILTER (NOT legal) AS without, "
        "list(product_id ORDER BY product_id) FILTER (NOT legal)[:5] AS wrong "
        "FROM (SELECT product_id, bool_or(legal) AS legal FROM price_candidates "
        "WHERE sale_id = $sale GROUP BY ALL)",
        lambda row: row["items"] > 0 and row["without"] == 0,
    ),
    ModelCheck(
        "price_candidates",
        "segments_cover_the_totals",
        "The rows of each price cover every total of the sale once: no overlap, no hole.",
        "WITH rows AS (SELECT *, lag(total_to_cents) OVER (PARTITION BY product_id, price_cents "
        "ORDER BY total_from_cents) AS before FROM price_candidates WHERE sale_id = $sale), "
        "ends AS (SELECT sum(low) AS low, sum(high) AS high FROM (SELECT min(price_cents) AS low, "
        "max(price_cents) AS high FROM rows GROUP BY product_id)), "
        "prices AS (SELECT product_id, price_cents, bool_and(before IS NULL OR "
        "total_from_cents = before + 1) AND min(total_from_cents) = any_value(low) AND "
        "max(total_to_cents) = any_value(high) AS covered FROM rows, ends GROUP BY ALL) "
        "SELECT count(*) AS prices, count(*) FILTER (NOT covered) AS torn, "
        "list(product_id ORDER BY product_id) FILTER (NOT covered)[:5] AS wrong FROM prices",
        lambda row: row["prices"] > 0 and row["torn"] == 0,
        blocking=True,
    ),
    ModelCheck(
        "price_certificates",
        "proven_optimal",
        "No prices can beat those chosen; only a margin percent may leave a stated gap.",
        "SELECT max(gap) FILTER (kind = 'sum') AS gap, "
        "max(gap) FILTER (kind = 'score') AS score_gap, "
        "max(gap) FILTER (kind = 'ratio') AS ratio_gap FROM (SELECT gap, CASE "
        "WHEN target = 'margin_pct' THEN 'ratio' WHEN target = 'weighted' "
        "AND margin = 'margin_pct' THEN 'score' ELSE 'sum' END AS kind "
        "FROM price_certificates WHERE sale_id = $sale)",
        lambda row: proven(**row),
    ),
    ModelCheck(
        "optimal_prices",
        "prices_tried_before",
        "Recommended prices lie within what the product was ever sold at.",
        "SELECT count(*) AS items, count(*) FILTER (extrapolated) AS untried, "
        "list(product_id ORDER BY product_id) FILTER (extrapolated)[:5] AS wrong "
        "FROM optimal_prices WHERE sale_id = $sale AND target = 'weighted'",
        lambda row: row["items"] > 0 and row["untried"] == 0,
    ),
)


pricing_checks = [build(check, SALES, "sale") for check in CHECKS]
