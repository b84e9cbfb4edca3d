"""The truth beside the landing files. Not contract files: the pipeline never reads them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd

from retail_assets.simulator.chains import style_probabilities
from retail_assets.simulator.engine import History
from retail_assets.simulator.reference import stored_categories


def truth_tables(history: History) -> Iterator[tuple[str, pd.DataFrame]]:
    """Name and content of every truth table."""
    yield "arrival_rate", _arrival_rate(history)
    yield "substitution_rate", _substitution_rate(history)
    yield "customers", _customers(history)
    yield "out_of_stock", _out_of_stock(history)
    yield "store_day", _store_day(history)
    yield "profile", _profile(history)
    if history.spec.trials is not None:
        yield "style_probability", style_probabilities(history, history.spec.trials)


def description(history: History) -> dict[str, Any]:
    """What was simulated, for people and tests."""
    spec = history.spec
    return {
        "preset": spec.name,
        "seed": history.seed,
        "first_day": spec.first_day.isoformat(),
        "n_days": spec.n_days,
        "interval_minutes": spec.interval_minutes,
        "shock_cv": spec.shock_cv,
        "trend": spec.trend,
        "categories": {
            own.category: {
                "choice_model": own.choice_model,
                "dispersion": own.dispersion,
                "units_per_customer": 1 / own.basket_p,
                "shrinkage_rate": own.shrinkage_rate,
                "elasticity": None if own.elasticity is None else own.elasticity.tolist(),
            }
            for own in spec.categories
        },
    }


def _arrival_rate(history: History) -> pd.DataFrame:
    rows = [
        (c.spec.category, store.store_id, product, c.truth.arrival_rate[s, j])
        for c in history.categories
        for s, store in enumerate(history.spec.stores)
        for j, product in enumerate(c.spec.products)
    ]
    return pd.DataFrame(rows, columns=["category", "store_id", "product_id", "arrival_rate"])


def _substitution_rate(history: History) -> pd.DataFrame:
    """Positive entries only; absent pairs are zero."""
    rows = []
    for own in history.spec.categories:
        for i, j in zip(*np.nonzero(own.substitution_rate), strict=True):
            pair = (own.products[i], own.products[j])
            rows.append((own.category, own.choice_model, *pair, own.substitution_rate[i, j]))
    columns = ["category", "choice_model", "from_product", "to_product", "substitution_rate"]
    return pd.DataFrame(rows, columns=columns)


def _customers(history: History) -> pd.DataFrame:
    parts = []
    for own, stored, s in stored_categories(history):
        run = stored.replay
        parts.append(
            pd.DataFrame(
                {
                    "category": own.category,
                    "store_id": stored.store.store_id,
                    "product_id": own.products,
                    "first_choice": run.first_choice,
                    "bought_first_choice": run.sales - run.substituted_in,
                    "substituted_out": run.substituted_out,
                    "lost": run.lost,
                    "substituted_in": run.substituted_in,
                    "transactions": run.sales,
                    "sold_units": run.sold_units,
                    "out_share": run.out_intervals / history.calendars[s].n_intervals,
                }
            )
        )
    return pd.concat(parts, ignore_index=True)


def _out_of_stock(history: History) -> pd.DataFrame:
    """Spans of intervals that began with an empty shelf; timestamps in UTC."""
    parts = []
    for own, stored, s in stored_categories(history):
        calendar, out = history.calendars[s], stored.out
        owner = np.repeat(np.arange(own.n_products), np.diff(out.indptr))
        last = calendar.utc_seconds(out.stop - 1) + calendar.interval_seconds
        start = calendar.utc_seconds(out.start)
        parts.append(
            pd.DataFrame(
                {
                    "category": own.category,
                    "store_id": stored.store.store_id,
                    "product_id": np.array(own.products, dtype=object)[owner],
                    "start_interval": out.start,
                    "stop_interval": out.stop,
                    "start_ts": pd.to_datetime(start, unit="s", utc=True),
                    "end_ts": pd.to_datetime(last, unit="s", utc=True),
                }
            )
        )
    return pd.concat(parts, ignore_index=True)


def _store_day(history: History) -> pd.DataFrame:
    parts = []
    for store, calendar, weather in zip(
        history.spec.stores, history.calendars, history.weather, strict=True
    ):
        days = pd.date_range(history.spec.first_day, periods=calendar.n_days).date
        sizes = np.diff(calendar.first_interval)
        parts.append(
            pd.DataFrame(
                {
                    "store_id": store.store_id,
                    "business_date": days,
                    "n_intervals": sizes,
                    "shock": weather.shock,
                }
            )
        )
    return pd.concat(parts, ignore_index=True)


def _profile(history: History) -> pd.DataFrame:
    """Mean profile (trend included) per store and hour of the week."""
    parts = []
    for store, calendar, weather in zip(
        history.spec.stores, history.calendars, history.weather, strict=True
    ):
        cells = pd.Series(weather.profile).groupby(calendar.season).mean()
        frame = pd.DataFrame({"hour_of_week": cells.index, "profile": cells.to_numpy()})
        parts.append(frame.assign(store_id=store.store_id)[["store_id", *frame.columns]])
    return pd.concat(parts, ignore_index=True)
