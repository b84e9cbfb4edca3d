"""Checks of the demand model: it beats the simple ones, holds the price effect, agrees."""

from typing import Any

from retail_assets.checks.model_checks import ModelCheck, build

WITHIN = 0.05
"""A bias beyond this misstates revenue by more than a price step does."""
WORSE = 1.15
COVERAGE = (0.7, 0.9)
"""Where an 80 % interval may lie at four origins of some hundred rows."""

_SCORES = (
    "SELECT avg({figure}) FILTER (model = champion_model) AS champion, "
    "avg({figure}) FILTER (model = '{rival}') AS rival "
    "FROM demand_backtest, (SELECT champion AS champion_model FROM demand_model "
    "WHERE category = $category) WHERE category = $category AND season = 'all'"
)


def no_worse(row: dict[str, Any], factor: float = 1.0) -> bool:
    """Passes where the history was too short to compare."""
    if row["champion"] is None or row["rival"] is None:
        return True
    return bool(row["champion"] <= factor * row["rival"])


CHECKS = (
    ModelCheck(
        "demand_backtest",
        "beats_eight_week_median",
        "The model that prices use is off by less than the median of the last eight weeks.",
        _SCORES.format(figure="wape", rival="median_8_weeks"),
        no_worse,
    ),
    ModelCheck(
        "demand_backtest",
        "deviance_near_log_log",
        "Its Poisson deviance is at most 1.15 times that of log-log least squares.",
        _SCORES.format(figure="poisson_deviance", rival="log_log_ols"),
        lambda row: no_worse(row, WORSE),
    ),
    ModelCheck(
        "demand_model",
        "unbiased",
        "Over the backtest its forecasts add up to what was sold, within 5 %.",
        "SELECT (metrics->>'bias')::DOUBLE AS bias FROM demand_model WHERE category = $category",
        lambda row: row["bias"] is None or abs(row["bias"]) <= WITHIN,
    ),
    ModelCheck(
        "demand_model",
        "higher_prices_never_sell_more",
        "No price-up step of the champion raises demand.",
        "SELECT (metrics->>'perverse_steps')::DOUBLE AS perverse_steps "
        "FROM demand_model WHERE category = $category",
        lambda row: not row["perverse_steps"],
        blocking=True,
    ),
    ModelCheck(
        "demand_model",
        "prices_identified",
        "Prices moved enough by themselves to tell what they do.",
        "SELECT identified, residual_price_variance, elasticity_reference, elasticity_se "
        "FROM demand_model WHERE category = $category",
        lambda row: bool(row["identified"]),
    ),
    ModelCheck(
        "demand_model",
        "elasticity_held",
        "The champion's elasticity agrees with the slope that series and period effects leave.",
        "SELECT elasticity, elasticity_reference, elasticity_se "
        "FROM demand_model WHERE category = $category",
        lambda row: (
            row["elasticity_reference"] is None
            or row["elasticity"] is None
            or abs(row["elasticity"] - row["elasticity_reference"])
            <= max(0.15 * abs(row["elasticity_reference"]), 2 * row["elasticity_se"])
        ),
    ),
    ModelCheck(
        "demand_model",
        "intervals_hold",
        "Conformal 80 % intervals hold 70 to 90 % of what came.",
        "SELECT (metrics->>'coverage80')::DOUBLE AS coverage80 "
        "FROM demand_model WHERE category = $category",
        lambda row: row["coverage80"] is None or COVERAGE[0] <= row["coverage80"] <= COVERAGE[1],
    ),
    ModelCheck(
        "demand_model",
        "agrees_with_demand_rates",
        "Own demand of the model and of the substitution posterior agree within 5 %.",
        "SELECT (metrics->>'over_rates')::DOUBLE AS over_rates "
        "FROM demand_model WHERE category = $category",
        lambda row: row["over_rates"] is None or abs(row["over_rates"] - 1) <= WITHIN,
    ),
)

demand_checks = [build(check) for check in CHECKS]
