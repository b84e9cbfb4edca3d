"""Rows, figures and pictures of what to carry and how much of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from retail_assets import contract
from retail_assets.assets.plan_inputs import Occasion
from retail_assets.report import assortment_plots, metadata

if TYPE_CHECKING:
    from retail_assets.models.assortment.answers import Answer, MethodAnswer
    from retail_assets.models.assortment.joint_plan import JointPlan

PICTURES = 3
"""Plans drawn; a chain of 50 shops would fill the run's page."""


@dataclass(frozen=True)
class Planned:
    """One occasion with its answers, one per choice model."""

    occasion: Occasion
    answers: tuple[Answer, ...]

    @property
    def chosen(self) -> Answer:
        """The answer that holds the recommendation."""
        return next(a for a in self.answers if a.recommended is not None)


def plan(occasion: Occasion, seed: int) -> Planned:
    """Answer one occasion."""
    from retail_assets.models.assortment.answers import answer

    found = answer(occasion.season, occasion.markets, occasion.vendors, seed=seed)
    return Planned(occasion, found)


def of_plans(category: str, plans: Sequence[Planned]) -> dict[str, pa.Table]:
    """Rows of the three tables."""
    rows: dict[str, list[dict[str, Any]]] = {
        "assortment_plan": [],
        "assortment_plan_summary": [],
        "assortment_frontier": [],
    }
    for planned in plans:
        for found in planned.answers:
            key = {
                "category": category,
                "plan_id": planned.occasion.plan_id,
                "choice_model": found.choice_model,
            }
            whose = {**key, "store_id": planned.occasion.store_id}
            for method, own in found.methods.items():
                rows["assortment_plan"] += _products(whose, planned.occasion, found, method, own)
                rows["assortment_plan_summary"].append(
                    _summary(whose, planned.occasion, found, method, own)
                )
            rows["assortment_frontier"] += _frontier(key, planned.occasion, found)
    return {name: _table(name, own) for name, own in rows.items()}


def _table(name: str, rows: Sequence[dict[str, Any]]) -> pa.Table:
    columns = contract.table(name).column_names
    return pa.table({c: [_plain(row[c]) for row in rows] for c in columns})


def _plain(value: Any) -> Any:
    """Numbers as Python's, what is unknown as null."""
    if isinstance(value, np.generic):
        value = value.item()
    return None if isinstance(value, float) and not np.isfinite(value) else value


def _by_method(found: Answer, method: str) -> JointPlan | None:
    """The simulated plan behind a method; None for what only has quantities."""
    return {"joint": found.plan, "by_vendor": found.by_vendor}.get(method)


def _products(
    key: dict[str, Any], occasion: Occasion, found: Answer, method: str, own: MethodAnswer
) -> list[dict[str, Any]]:
    season, plan = occasion.season, _by_method(found, method)
    bound, gap = _bound(found, own)
    return [
        {
            **key,
            "method": method,
            "product_id": product,
            "selected": bool(own.quantity[j] > 0),
            "order_qty": own.quantity[j],
            "spend_cents": round(float(own.quantity[j] * season.unit_cost[j])),
            "first_choice_demand": found.plan.first_choice[j],
            "expected_sales": own.expected_sales[j],
            "fill_rate": own.fill_rate[j],
            "marginal_plus1": None if plan is None else plan.plus[j],
            "marginal_minus1": None if plan is None else plan.minus[j],
            "reason": "baseline" if plan is None else plan.reasons[j],
            "p_selected": None if plan is None else found.p_selected[j],
            "value_of_learning": None if plan is None else found.value_of_learning[j],
            "holdout_profit": own.holdout,
            "upper_bound": bound,
            "gap_pct": gap,
        }
        for j, product in enumerate(season.products)
    ]


def _summary(
    key: dict[str, Any], occasion: Occasion, found: Answer, method: str, own: MethodAnswer
) -> dict[str, Any]:
    plan, against = _by_method(found, method), own.against_joint
    bound, gap = _bound(found, own)
    relaxed = found.plan.bound
    return {
        **key,
        "method": method,
        "recommended": method == found.recommended,
        "products": int((own.quantity > 0).sum()),
        "units": int(own.quantity.sum()),
        "spend_cents": round(occasion.season.spend(own.quantity)),
        "customers_mean": float(found.plan.first_choice.sum()),
        "holdout_profit": own.holdout,
        "holdout_ci_low": own.low,
        "holdout_ci_high": own.high,
        "in_sample_profit": None if plan is None else plan.in_sample_profit,
        "upper_bound": bound,
        "gap_pct": gap,
        "diff_mean": 0.0 if against is None else against.mean,
        "diff_ci_low": 0.0 if against is None else against.low,
        "diff_ci_high": 0.0 if against is None else against.high,
        "p_beats_joint": None if against is None else against.p_positive,
        "regret": found.regret if method == found.followed else None,
        "value_of_information": found.value_of_information if plan is not None else None,
        "budget_price": None if relaxed is None else relaxed.budget_price,
        "space_price": None if relaxed is None else relaxed.space_price,
        "seconds": found.plan.seconds,
    }


def _bound(found: Answer, own: MethodAnswer) -> tuple[float, float | None]:
    """No plan of the season can expect more, whatever its method.

    By chance hold-out profit may be a little above the bound; then there is no gap.
    """
    bound = found.plan.upper_bound
    return bound, max(0.0, 100 * (bound / own.holdout - 1)) if own.holdout > 0 else None


def _frontier(key: dict[str, Any], occasion: Occasion, found: Answer) -> list[dict[str, Any]]:
    return [
        {
            **key,
            "budget_cents": round(point.budget),
            "spend_cents": round(occasion.season.spend(point.plan.quantity)),
            "products": int((point.plan.quantity > 0).sum()),
            "holdout_profit": point.plan.holdout.mean,
            "holdout_ci_low": point.plan.holdout.ci_low,
            "holdout_ci_high": point.plan.holdout.ci_high,
            "upper_bound": point.plan.upper_bound,
        }
        for point in found.frontier
    ]


def describe(category: str, plans: Sequence[Planned], currency: str) -> dict[str, dict[str, Any]]:
    """Figures and pictures of the run, by table name."""
    if not plans:
        note = f"{category}: no plan, a unit_cost is missing in products"
        return {"assortment_plan": {"note": note}}
    header = ("plan", "products", f"spend, {currency}", "profit", "95 % from", "to", "gap, %")
    rows: list[tuple[object, ...]] = []
    stock, compared, frontiers = {}, {}, {}
    for planned in plans:
        found, season = planned.chosen, planned.occasion.season
        own = found.methods[found.recommended or "joint"]
        money = (own.holdout / 100, own.low / 100, own.high / 100)
        carried, gap = int((own.quantity > 0).sum()), _bound(found, own)[1]
        rows.append(
            (planned.occasion.plan_id, carried, season.spend(own.quantity) / 100, *money, gap or "")
        )
    for at, planned in enumerate(plans[:PICTURES]):
        title = f"{category}: {planned.occasion.plan_id}"
        stock[f"stock_{at}"] = _stock_picture(planned, title)
        compared[f"methods_{at}"] = _methods_picture(planned, title, currency)
        compared[f"gain_{at}"] = _gain_picture(planned, title, currency)
        if planned.chosen.frontier:
            frontiers[f"budget_{at}"] = _budget_picture(planned, title, currency)
    worst = max((_bound(p.chosen, p.chosen.methods["joint"])[1] or 0.0) for p in plans)
    return {
        "assortment_plan": {**stock, "plans": metadata.table(header, rows)},
        "assortment_plan_summary": {**compared, "gap_pct": worst},
        "assortment_frontier": frontiers,
    }


def _stock_picture(planned: Planned, title: str) -> Any:
    found = planned.chosen
    own = found.methods[found.recommended or "joint"]
    png = assortment_plots.stock_against_newsvendor(
        planned.occasion.season.products,
        own.quantity,
        found.methods["newsvendor"].quantity,
        own.expected_sales,
        title=title,
    )
    return metadata.picture(png, "units to buy against the newsvendor")


def _methods_picture(planned: Planned, title: str, currency: str) -> Any:
    found = planned.chosen
    names = list(found.methods)
    figures = np.array([(m.holdout, m.low, m.high) for m in found.methods.values()])
    mean, low, high = figures.T
    png = assortment_plots.plans_compared(
        names,
        mean,
        low,
        high,
        found.plan.upper_bound,
        chosen=found.recommended,
        currency=currency,
        title=title,
    )
    return metadata.picture(png, "ways to plan")


def _gain_picture(planned: Planned, title: str, currency: str) -> Any:
    gain = planned.chosen.gain_by_draw
    png = assortment_plots.difference_histogram(
        gain, float((gain > 0).mean()), currency=currency, title=f"{title}, against the newsvendor"
    )
    return metadata.picture(png, "gain over the newsvendor, by posterior draw")


def _budget_picture(planned: Planned, title: str, currency: str) -> Any:
    points = planned.chosen.frontier
    figures: NDArray[np.float64] = np.array(
        [
            (
                point.budget,
                point.plan.holdout.mean,
                point.plan.holdout.ci_low,
                point.plan.holdout.ci_high,
                point.plan.upper_bound,
            )
            for point in points
        ]
    )
    budget, profit, low, high, bound = figures.T
    png = assortment_plots.profit_against_budget(
        budget,
        profit,
        low,
        high,
        bound,
        planned.occasion.season.budget,
        currency=currency,
        title=title,
    )
    return metadata.picture(png, "profit against budget")
