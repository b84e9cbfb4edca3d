"""Rows, figures and pictures of the stock projection and the reorder plan."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from retail_assets.assets.stock_inputs import StockCase
from retail_assets.report import metadata, stock_plots
from retail_assets.warehouse import Session

if TYPE_CHECKING:
    from retail_assets.models.inventory.forecast import InventoryForecast
    from retail_assets.models.inventory.reorder import ReorderPlan
    from retail_assets.models.inventory.rules import StockRules

SHOWN = 6

# What the last run foresaw for the first of a month, between the ends of the week that holds
# it: its weeks began on other days than today's.
_BEFORE = """
WITH months AS (
    SELECT *, date_trunc('month', week_start + 6)::DATE AS month FROM inventory_forecast
)
SELECT product_id, warehouse, month,
       units_start_mean + (on_hand_mean + out_mean - units_start_mean)
       * date_diff('day', week_start, month) / 7, bom_delta, as_of
FROM months WHERE month >= week_start
"""


@dataclass(frozen=True)
class Projection:
    """One case with what was projected and planned for it."""

    case: StockCase
    forecast: InventoryForecast
    plan: ReorderPlan


def project(case: StockCase, rules: StockRules, seed: int) -> Projection:
    """Run the paths of one case twice: with today's stock, and with an order to come."""
    from retail_assets.models.inventory.forecast import project_stock, requirement_paths
    from retail_assets.models.inventory.reorder import plan_reorders
    from retail_assets.models.inventory.retirement import retire_threshold, retirement

    cover = np.where(case.seasonal, rules.season_weeks, 0)
    need = requirement_paths(
        case.stock,
        case.demand,
        case.settlement,
        review_weeks=rules.review_weeks,
        cover_weeks=cover,
        seed=seed,
    )
    never = np.nan_to_num(case.break_even, nan=-1.0)
    plan = plan_reorders(
        case.stock,
        need,
        case.costs,
        seasonal=case.seasonal,
        limits=case.limits,
        sizes=case.sizes,
        retire=retirement(
            case.p, never, threshold=retire_threshold(rules.wrongly_stopped, rules.wrongly_kept)
        ),
        style=np.unique(case.product, return_inverse=True)[1],
        warehouse=np.unique(case.warehouse, return_inverse=True)[1],
        warehouse_room=case.room,
    )
    forecast = project_stock(case.stock, case.demand, case.settlement, seed=seed)
    return Projection(case, forecast, plan)


def of_results(
    session: Session, results: Sequence[Projection], today: date, rules: StockRules
) -> dict[str, pa.Table]:
    """Rows of both tables."""
    before = {tuple(row[:3]): tuple(row[3:]) for row in session.sql(_BEFORE).fetchall()}
    forecasts = [_forecast_rows(r, today, rules.weeks, before) for r in results]
    plans = [_plan_rows(r, today) for r in results]
    return {
        "inventory_forecast": _table("inventory_forecast", forecasts),
        "reorder_plan": _table("reorder_plan", plans),
    }


def _table(name: str, parts: Sequence[dict[str, Any]]) -> pa.Table:
    from retail_assets import contract

    columns = contract.table(name).required_columns
    if not parts:
        return pa.table({column: pa.array([], pa.null()) for column in columns})
    return pa.concat_tables(pa.table(part) for part in parts)


def _forecast_rows(
    result: Projection,
    today: date,
    weeks: int,
    before: dict[tuple[str, str, date], tuple[float, float | None, date]],
) -> dict[str, Any]:
    case, forecast = result.case, result.forecast
    rows = len(case.product)
    starts = [today + timedelta(days=1 + 7 * week) for week in range(weeks)]
    end = forecast.on_hand_mean + forecast.out_mean
    begin = np.column_stack([case.stock.on_hand + case.stock.out, end[:, :-1]])

    def flat(values: NDArray[Any]) -> NDArray[Any]:
        return values[:, :weeks].ravel()

    months = [_month_in(start) for start in starts]
    into = np.array([(m - s).days / 7 if m else 0.0 for m, s in zip(months, starts, strict=True)])
    foreseen = begin[:, :weeks] + (end - begin)[:, :weeks] * into
    keys = [
        (product, warehouse, start)
        for product, warehouse in zip(case.product, case.warehouse, strict=True)
        for start in starts
    ]
    return {
        "product_id": [key[0] for key in keys],
        "warehouse": [key[1] for key in keys],
        "week": np.tile(np.arange(1, weeks + 1), rows),
        "week_start": [key[2] for key in keys],
        "on_hand_mean": flat(forecast.on_hand_mean),
        "on_hand_lo95": flat(forecast.on_hand_lo95).astype(np.float64),
        "on_hand_hi95": flat(forecast.on_hand_hi95).astype(np.float64),
        "out_mean": flat(forecast.out_mean),
        "sent_mean": flat(forecast.sent_mean),
        "sold_mean": flat(forecast.sold_mean),
        "returned_mean": flat(forecast.returned_mean),
        "arrivals": flat(forecast.arrivals),
        "stockout_prob": flat(forecast.stockout_prob),
        "frac_out": flat(forecast.frac_out),
        "units_start_mean": flat(begin),
        "bom_delta": pa.array(
            [
                _month_delta(float(units), before.get((*key[:2], month)) if month else None, today)
                for units, key, month in zip(foreseen.ravel(), keys, months * rows, strict=True)
            ],
            pa.float64(),
        ),
        "cum_sold_mean": flat(forecast.cum_sold_mean),
        "cum_sold_lo95": flat(forecast.cum_sold_lo95).astype(np.float64),
        "cum_sold_hi95": flat(forecast.cum_sold_hi95).astype(np.float64),
        "styles_available": flat(forecast.styles_available),
        "as_of": pa.repeat(pa.scalar(today), len(keys)),
    }


def _month_in(start: date) -> date | None:
    """The first of a month, where the week that begins on a day holds one."""
    month = (start + timedelta(days=6)).replace(day=1)
    return month if month >= start else None


def _month_delta(
    units: float, before: tuple[float, float | None, date] | None, today: date
) -> float | None:
    """Against the last projection made on an earlier day; a repeat of today keeps its delta."""
    if before is None:
        return None
    projected, delta, as_of = before
    return units - projected if as_of < today else delta


def _plan_rows(result: Projection, today: date) -> dict[str, Any]:
    case, plan = result.case, result.plan
    kept = np.flatnonzero(plan.size_share > 0)
    row = plan.row[kept]
    unset = np.isnan(case.break_even[row])
    return {
        "product_id": [case.product[at] for at in row],
        "size": [case.size_names[at] for at in plan.size[kept]],
        "warehouse": [case.warehouse[at] for at in row],
        "policy": [plan.policy[at] for at in kept],
        "critical_ratio": plan.critical_ratio[kept],
        "reorder_point": plan.reorder_point[kept],
        "order_up_to": plan.order_up_to[kept],
        "safety_stock": plan.safety_stock[kept],
        "order_qty": plan.order_qty[kept],
        "size_share": plan.size_share[kept],
        "expected_cost_cents": np.rint(plan.expected_cost_cents[kept]).astype(np.int64),
        "cycle_service": plan.cycle_service[kept],
        "fill_rate": plan.fill_rate[kept],
        "retire_flag": plan.retire_flag[kept],
        "retire_prob": pa.array(plan.retire_prob[kept], mask=unset),
        "reason": [plan.reason[at] for at in kept],
        "as_of": pa.repeat(pa.scalar(today), len(kept)),
    }


def describe(
    results: Sequence[Projection], left_out: Sequence[str], today: date, currency: str
) -> dict[str, dict[str, Any]]:
    """Figures and pictures of the run, by table name."""
    forecast: dict[str, Any] = {
        "stock rows": sum(len(r.case.product) for r in results),
        "left out": "; ".join(sorted(set(left_out))[:10]) or "none",
    }
    plan: dict[str, Any] = {}
    for result in results:
        case = result.case
        urgent = np.argsort(-result.forecast.stockout_prob.mean(axis=1), kind="stable")[:SHOWN]
        fans = stock_plots.on_hand_fans(
            [_fan(result, at) for at in urgent],
            today=today,
            title=f"{case.source}: stock if nothing more is ordered",
        )
        header = ("warehouse, group", "chances a week", "uncertainty of the level")
        rows = [(f"{w}, {g}", t.mean, t.level_cv) for (w, g), t in case.traffic.items()]
        forecast[f"{case.source}: stock"] = metadata.picture(fans, "projected stock")
        forecast[f"{case.source}: traffic"] = metadata.table(header, rows)
        forecast[f"{case.source}: keep rate"] = float(case.settlement.keep.mean())
        short = float(result.forecast.stockout_prob.mean())
        forecast[f"{case.source}: P(short) of a week"] = short
        wanted = float(result.forecast.demand_mean.sum())
        if wanted > 0:
            served = float(result.forecast.sent_mean.sum()) / wanted
            forecast[f"{case.source}: fill rate, nothing ordered"] = served
        orders = stock_plots.reorder_timeline(
            [_order(result, at) for at in urgent],
            today=today,
            title=f"{case.source}: when to order",
        )
        plan[f"{case.source}: timeline"] = metadata.picture(orders, "reorder timeline")
    plan |= _plan_figures(results, currency)
    return {"inventory_forecast": forecast, "reorder_plan": plan}


def _fan(result: Projection, at: int) -> tuple[str, NDArray[Any], NDArray[Any], NDArray[Any]]:
    forecast, case = result.forecast, result.case
    mean, low, high = (
        np.append(case.stock.on_hand[at], values[at])
        for values in (forecast.on_hand_mean, forecast.on_hand_lo95, forecast.on_hand_hi95)
    )
    return f"{case.product[at]}, {case.warehouse[at]}", mean, low, high


def _order(result: Projection, at: int) -> tuple[str, float | None, float, float, int]:
    """Label, weeks until stock passes the reorder point, lead time and its sd, units now."""
    case, lines = result.case, result.plan.row == at
    point = float(result.plan.reorder_point[lines].sum())
    path = np.append(case.stock.position[at], result.forecast.on_hand_mean[at])
    below = np.flatnonzero(path < point)
    when = float(below[0]) if len(below) else None
    lead, sd = float(case.stock.lead_weeks[at]), float(case.stock.lead_weeks_sd[at])
    units = int(result.plan.order_qty[lines].sum())
    return f"{case.product[at]}, {case.warehouse[at]}", when, lead, sd, units


def _plan_figures(results: Sequence[Projection], currency: str) -> dict[str, Any]:
    lines = [
        (r.case.product[row], r.case.warehouse[row], int(r.plan.order_qty[at]), r.plan.reason[at])
        for r in results
        for at, row in enumerate(r.plan.row)
        if r.plan.order_qty[at] > 0 or r.plan.retire_flag[at]
    ]
    lines.sort(key=lambda line: -line[2])
    return {
        "units to order": sum(line[2] for line in lines),
        f"expected cost of being wrong, {currency}": round(
            sum(float(r.plan.expected_cost_cents.sum()) for r in results) / 100
        ),
        "orders": metadata.table(("product", "warehouse", "units", "why"), lines),
    }
