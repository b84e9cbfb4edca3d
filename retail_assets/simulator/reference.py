"""The small landing files beside the receipts: products, shelf, stores, hours, prices, stock."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

import numpy as np
import pandas as pd

from retail_assets.simulator.arrivals import COUNTS, generator
from retail_assets.simulator.engine import History, StoreHistory
from retail_assets.simulator.receipts import local_time, price_on
from retail_assets.simulator.specs import CategorySpec, ProductInfo, ReviewCycle
from retail_assets.simulator.supply import stock_ledger

WEEK = 7
# Of the unit cost: a year on the shelf, and what a left-over unit fetches.
HOLDING_SHARE, SALVAGE_SHARE = 0.2, 0.4


def products(history: History) -> pd.DataFrame:
    rows = []
    for category in history.categories:
        own = category.spec
        for j, product in enumerate(own.products):
            info = own.infos[j] if own.infos else ProductInfo(product)
            launch = 0 if own.launch_day is None else int(own.launch_day[j])
            rows.append(
                {
                    "product_id": product,
                    "name": info.name,
                    "category": own.category,
                    "style_id": info.style_id or product,
                    "size": info.size,
                    "family": info.family,
                    "brand": info.brand,
                    "vendor": info.vendor,
                    "group": info.group or own.category,
                    "unit_cost": own.unit_cost[j],
                    "msrp": own.unit_price[j] if info.msrp is None else info.msrp,
                    "original_price": own.unit_price[j],
                    "pack_size": info.pack_size,
                    "space": info.space,
                    "launch_date": _date(history, launch) if launch > 0 else "",
                    **{f"attr_{key}": value for key, value in info.attributes},
                }
            )
    return pd.DataFrame(rows)


def shelf(history: History) -> pd.DataFrame:
    """Capacity of every product in every store, and how it is supplied."""
    rows = []
    for category in history.categories:
        own = category.spec
        for s, stored in enumerate(category.stores):
            per_day = history.calendars[s].n_intervals / history.spec.n_days
            for j, product in enumerate(own.products):
                review, lead, late = _rhythm(own, j, per_day)
                rows.append(
                    {
                        "product_id": product,
                        "store_id": stored.store.store_id,
                        "capacity": int(stored.replenishment.order_up_to[j]),
                        "review_days": round(review, 4),
                        "lead_time_days": round(lead, 4),
                        "lead_time_sd": round(late, 4),
                        "holding_cost": round(HOLDING_SHARE * float(own.unit_cost[j]), 2),
                        "salvage": round(SALVAGE_SHARE * float(own.unit_cost[j]), 2),
                    }
                )
    return pd.DataFrame(rows)


def _rhythm(own: CategorySpec, product: int, per_day: float) -> tuple[float, float, float]:
    """Days between reviews, of the lead time, and its standard deviation."""
    supply = own.supply
    if isinstance(supply, ReviewCycle):
        late = (((supply.jitter + 1) ** 2 - 1) / 12) ** 0.5
        return supply.review / per_day, supply.lead / per_day, late / per_day
    slip = supply.late_share * (1 - supply.late_share)
    return WEEK / len(supply.weekdays[product]), float(supply.lead_days), slip**0.5


def stores(history: History) -> pd.DataFrame:
    fields = ("store_id", "timezone", "name", "region", "cluster")
    return pd.DataFrame([{f: getattr(s, f) for f in fields} for s in history.spec.stores])


def store_hours(history: History) -> pd.DataFrame:
    """Weekly hours, then the dates that differ: closed, or cut at the end of the history.

    Midnight to midnight is all day on a weekday row and closed on a date row, as the
    contract reads them.
    """
    rows: list[tuple[str, int | str, str, str, str]] = []
    for store, calendar in zip(history.spec.stores, history.calendars, strict=True):
        for weekday, hours in enumerate(store.hours):
            if hours:
                rows.append((store.store_id, weekday, "", _clock(hours[0]), _clock(hours[1])))
        for day in range(calendar.n_days):
            on = calendar.date_of(day)
            usual = store.hours[on.weekday()]
            if usual and not calendar.is_open(day):
                rows.append((store.store_id, "", on.isoformat(), "00:00", "00:00"))
            elif usual and day == calendar.n_days - 1 and history.spec.n_intervals:
                open_minutes = int(np.diff(calendar.first_interval)[day])
                close = usual[0] + open_minutes * history.spec.interval_minutes
                if close < usual[1]:
                    row = (_clock(usual[0]), _clock(close))
                    rows.append((store.store_id, "", on.isoformat(), *row))
    return pd.DataFrame(rows, columns=["store_id", "weekday", "date", "open", "close"])


def price_calendar(history: History) -> pd.DataFrame:
    """Consecutive stretches of one price per product, the same in all stores."""
    rows = []
    n_days = history.spec.n_days
    for category in history.categories:
        own = category.spec
        for j, product in enumerate(own.products):
            price, promo = price_on(own, j, n_days)
            launch = 0 if own.launch_day is None else max(0, int(own.launch_day[j]))
            for first, stop in _stretches(promo, launch):
                shown = [p for p in own.promotions if p.promo_id == promo[first] and p.product == j]
                rows.append(
                    {
                        "product_id": product,
                        "valid_from": _date(history, first),
                        "valid_to": _date(history, stop - 1),
                        "regular_price": own.unit_price[j],
                        "offer_price": price[first] if promo[first] else np.nan,
                        "feature": any(p.feature for p in shown),
                        "display": any(p.display for p in shown),
                    }
                )
    return pd.DataFrame(rows)


def deliveries(history: History) -> pd.DataFrame:
    """Every delivery that brought something."""
    parts = []
    for own, stored, s in stored_categories(history):
        calendar, orders = history.calendars[s], stored.replenishment
        brought, _ = _ledger(stored, np.empty(0, np.int64))
        came = (brought > 0) & (orders.arrival < calendar.n_intervals)
        at = local_time(calendar, calendar.utc_seconds(orders.arrival[came]))
        names = np.array(own.products, dtype=object)[orders.owner[came]]
        frame = pd.DataFrame(
            {"store_id": stored.store.store_id, "product_id": names, "delivered_at": at}
        )
        parts.append(frame)
    every = pd.concat(parts, ignore_index=True)
    return every.sort_values(["delivered_at", "store_id", "product_id"], ignore_index=True)


def stock_counts(history: History) -> pd.DataFrame:
    """What lay on the shelf at a random moment of every `count_days`-th trading day."""
    parts = []
    for own, stored, s in stored_categories(history):
        calendar = history.calendars[s]
        rng = generator(history.seed, s, -1, COUNTS)
        open_days = np.flatnonzero(np.diff(calendar.first_interval) > 0)[:: history.spec.count_days]
        asked = rng.integers(
            calendar.first_interval[open_days], calendar.first_interval[open_days + 1]
        )
        _, on_hand = _ledger(stored, asked)
        frame = pd.DataFrame(
            {
                "store_id": stored.store.store_id,
                "product_id": np.tile(np.array(own.products, dtype=object), len(asked)),
                "counted_at": local_time(calendar, calendar.utc_seconds(asked)).repeat(
                    own.n_products
                ),
                "on_hand": on_hand.ravel(),
            }
        )
        parts.append(frame)
    every = pd.concat(parts, ignore_index=True)
    return every.sort_values(["counted_at", "store_id", "product_id"], ignore_index=True)


def stored_categories(history: History) -> Iterator[tuple[CategorySpec, StoreHistory, int]]:
    """Every category in every store, with the store's index."""
    for category in history.categories:
        for s, stored in enumerate(category.stores):
            yield category.spec, stored, s


def _ledger(stored: StoreHistory, asked: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return stock_ledger(
        stored.customers,
        stored.replay,
        stored.initial_stock,
        stored.replenishment,
        stored.shrinkage,
        np.asarray(asked, dtype=np.int64),
    )


def _stretches(labels: list[str], first: int) -> Iterator[tuple[int, int]]:
    start = first
    for day in range(first + 1, len(labels) + 1):
        if day == len(labels) or labels[day] != labels[start]:
            yield start, day
            start = day


def _date(history: History, day: int) -> str:
    return (history.spec.first_day + timedelta(days=day)).isoformat()


def _clock(minutes: int) -> str:
    """Minutes after midnight as HH:MM on the clock."""
    return f"{minutes // 60 % 24:02d}:{minutes % 60:02d}"
