"""Named retailers. The frozen truth is `presets.json`; benches measure on it, so it is read,
never changed. What it leaves open (price, cost, profile shape, the second category) is here.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import date, timedelta
from functools import cache
from importlib.resources import files
from typing import Any

import numpy as np
from numpy.typing import NDArray

from retail_assets.errors import SettingsError
from retail_assets.models.panel import ChoiceModel
from retail_assets.simulator.specs import (
    DAY_MINUTES,
    FLAT_PROFILE,
    CategorySpec,
    RetailSpec,
    ReviewCycle,
    StoreSpec,
)

# The latest day a preset's history may reach: receipts from the future are quarantined.
HORIZON = date(2026, 10, 31)
UNIT_COST_SHARE = 0.6

# Quiet night to evening peak, 8-fold from the quietest to the busiest hour.
_HOURS = (1, 1, 1, 1, 1, 1.5, 2, 3, 4, 4, 4, 4.5, 5, 4.5, 4, 4.5, 5.5, 7, 8, 7, 5, 3, 2, 1.5)
_WEEKDAYS = (0.7, 0.75, 0.85, 0.95, 1.2, 1.4, 1.15)
SEASONAL_PROFILE = tuple(tuple(w * h for h in _HOURS) for w in _WEEKDAYS)


def preset_names() -> tuple[str, ...]:
    """All names `load_preset` knows."""
    return tuple(_registry())


def load_preset(name: str) -> RetailSpec:
    """A preset's specification.

    Raises
    ------
    SettingsError
        When the name is unknown; lists the known ones.
    """
    known = _registry()
    if name not in known:
        raise SettingsError(f"no preset {name!r}; known presets: {', '.join(known)}")
    return known[name]()


@cache
def frozen_truth() -> dict[str, Any]:
    """The content of presets.json, `like` resolved: every entry is complete."""
    text = files("retail_assets.simulator").joinpath("presets.json").read_text("utf-8")
    entries = {k: v for k, v in json.loads(text).items() if not k.startswith("_")}
    return {name: _inherit(name, entries) for name in entries}


def _inherit(name: str, entries: dict[str, Any]) -> dict[str, Any]:
    own = dict(entries[name])
    parent = own.pop("like", None)
    return own if parent is None else _inherit(parent, entries) | own


@cache
def _registry() -> dict[str, Callable[[], RetailSpec]]:
    from retail_assets.simulator import demo

    def json_preset(name: str) -> Callable[[], RetailSpec]:
        return lambda: _from_json(name)

    known = {name: json_preset(name) for name in frozen_truth()}
    known |= {
        "common_shock_cv80": lambda: replace(_from_json("common_shock"), shock_cv=0.8),
        "common_shock_zero": lambda: _without_substitution(_from_json("common_shock")),
        "common_shock_cv80_zero": lambda: replace(
            _without_substitution(_from_json("common_shock")), shock_cv=0.8
        ),
        "forty_stores": _forty_stores,
        "large_1000": large,
        "chocolate_90_80_70": _chocolate,
        "demo": demo.demo,
    }
    return known


def _from_json(name: str) -> RetailSpec:
    truth = frozen_truth()[name]
    own = _category(name, truth)
    minutes = truth.get("interval_minutes", 1)
    n_intervals = truth["intervals"]
    spec = _one_store(name, (own,), n_intervals, minutes)
    if name == "seasonal":
        spec = replace(spec, profile=SEASONAL_PROFILE)
    if name == "common_shock":
        spec = replace(spec, shock_cv=0.4, categories=(own, _bystanders()))
    return spec


def _category(name: str, truth: dict[str, Any]) -> CategorySpec:
    levels = np.array(truth.get("order_up_to", truth.get("capacity")), dtype=float)
    if name == "markov_chain":
        levels = levels * 0.8
    if "order_up_to_a" in truth:
        levels[0] = truth["order_up_to_a"]
    supply = ReviewCycle(int(truth["review"]), int(truth.get("lead", 0)))
    model: ChoiceModel = (
        "markov_chain" if truth["substitution"].startswith("markov_chain") else "one_step"
    )
    own = category(
        name,
        truth["products"],
        truth["rates"],
        # `common_shock` says in words that it is also run at zero: see `_without_substitution`.
        truth["alpha"] if isinstance(truth["alpha"], list) else frozen_truth()["paper"]["alpha"],
        truth["unit_revenue"],
        np.rint(levels),
        supply,
        model,
    )
    if "capacity" in truth:
        own = replace(own, reorder_point=own.order_up_to // 2)
    if name == "overdispersed":
        own = replace(own, dispersion=0.8, basket_p=0.6)
    return own


def category(
    name: str,
    products: list[str],
    rates: Any,
    alpha: Any,
    price: Any,
    order_up_to: Any,
    supply: ReviewCycle,
    choice_model: ChoiceModel = "one_step",
) -> CategorySpec:
    """A plain category from lists: cost is 60 % of the price."""
    prices = np.asarray(price, dtype=np.float64)
    return CategorySpec(
        name,
        tuple(products),
        np.asarray(rates, dtype=np.float64),
        np.asarray(alpha, dtype=np.float64),
        prices,
        np.round(UNIT_COST_SHARE * prices, 3),
        np.asarray(order_up_to, dtype=np.int64),
        supply,
        choice_model,
    )


def _one_store(
    name: str, categories: tuple[CategorySpec, ...], n_intervals: int, minutes: int
) -> RetailSpec:
    """One store open day and night, in UTC; starts on a Monday and ends by `HORIZON`."""
    days = -(-n_intervals * minutes // DAY_MINUTES)
    latest = HORIZON - timedelta(days=days)
    return RetailSpec(
        name,
        (StoreSpec("s1", name=name),),
        categories,
        latest - timedelta(days=latest.weekday()),
        days,
        n_intervals,
        minutes,
        FLAT_PROFILE,
    )


def _without_substitution(spec: RetailSpec) -> RetailSpec:
    first = spec.categories[0]
    bare = replace(first, substitution_rate=np.zeros_like(first.substitution_rate))
    return replace(spec, categories=(bare, *spec.categories[1:]))


def _bystanders() -> CategorySpec:
    """Ten products beside the category of interest: they show a store's footfall.

    Rarely out (order-up-to 1.2 x a review's demand), 1,440 transactions a day in all, so the
    count tells the day's shock to 2.6 %.
    """
    n, rate, review = 10, 0.1, 1000
    alpha = np.full((n, n), 0.05)
    np.fill_diagonal(alpha, 0)
    names = [f"other_{i}" for i in range(n)]
    level = np.full(n, round(1.2 * rate * review))
    return category("other", names, [rate] * n, alpha, [2.0] * n, level, ReviewCycle(review))


def _forty_stores() -> RetailSpec:
    """Pooled rows: 40 stores of 5,000 intervals share α, each has its own λ."""
    own = replace(_category("forty_stores", frozen_truth()["paper"]), rate_spread=0.3)
    spec = _one_store("forty_stores", (own,), 5000, 1)
    return replace(spec, stores=tuple(StoreSpec(f"s{i + 1:02d}") for i in range(40)))


def large(n_products: int = 1000, n_intervals: int = 200_000, n_substitutes: int = 8) -> RetailSpec:
    """`large_1000` at any size: each product has true substitutes among random others.

    Rates are log-normal around 0.03 per minute; every review of 2,000 intervals fills to
    80-110 % of its expected demand, so every product is out about a tenth of the time.
    """
    rng = np.random.default_rng(1000)
    rates = 0.03 * np.exp(rng.normal(0, 0.4, n_products))
    alpha = np.zeros((n_products, n_products))
    for i in range(n_products):
        others = rng.choice(n_products - 1, n_substitutes, replace=False)
        targets = others + (others >= i)
        alpha[i, targets] = rng.dirichlet(np.full(n_substitutes, 2.0)) * rng.uniform(0.5, 0.8)
    review = 2000
    level = np.rint(rates * review * rng.uniform(0.8, 1.1, n_products))
    names = [f"p{i:04d}" for i in range(n_products)]
    price = np.round(rng.uniform(1, 10, n_products), 2)
    own = category("large", names, rates, alpha, price, level, ReviewCycle(review))
    return _one_store(f"large_{n_products}", (own,), n_intervals, 1)


def _chocolate() -> RetailSpec:
    """The Amazon article's example: everyone wants 90 %, then 80 %, then 70 %.

    All three are filled together once a week, so the weekly course is the article's: first
    only the 90 % sells, then the 80 %, then the 70 %. A tenth of the customers leaves at
    each step.
    """
    alpha: NDArray[np.float64] = np.array([[0, 0.9, 0], [0, 0, 0.9], [0, 0, 0]], dtype=float)
    own = category(
        "chocolate",
        ["chocolate_90", "chocolate_80", "chocolate_70"],
        [0.05, 0.0, 0.0],
        alpha,
        [4.5, 4.0, 3.5],
        [200, 150, 150],
        ReviewCycle(7 * DAY_MINUTES, phase=7 * DAY_MINUTES),
        "markov_chain",
    )
    return _one_store("chocolate_90_80_70", (own,), 26 * 7 * DAY_MINUTES, 1)
