"""Till receipts of one store: seconds, baskets, prices, returns and voids.

Receipts never change demand: a joined basket holds at most one customer of each
category, so every customer still counts as one transaction of the product bought.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from retail_assets.simulator.arrivals import RECEIPTS, generator
from retail_assets.simulator.calendar import TradingCalendar
from retail_assets.simulator.engine import History
from retail_assets.simulator.specs import CategorySpec

COLUMNS = (
    "transaction_id",
    "line_number",
    "store_id",
    "sold_at",
    "product_id",
    "quantity",
    "unit_price",
    "discount_amount",
    "net_amount",
    "line_type",
    "promo_id",
    "register_id",
)
MAX_RETURN_DAYS = 10
REGISTERS = 2


def store_receipts(history: History, store: int) -> pd.DataFrame:
    """All receipt lines of one store in order of time.

    Returns
    -------
    DataFrame
        `COLUMNS`, plus ``day`` (business day index). ``sold_at`` is naive local time.
    """
    rng = generator(history.seed, store, -1, RECEIPTS)
    calendar, spec = history.calendars[store], history.spec
    sales = _joined(history, store, rng)
    sales["day"] = calendar.day[sales["interval"].to_numpy()]
    sales["line_type"] = "sale"
    sales = _priced(sales, history, calendar)
    lines = [sales, _voids(sales, spec.void_share, rng)]
    lines.append(_returns(sales, calendar, spec.return_share, rng))
    every = pd.concat([part for part in lines if len(part)], ignore_index=True)
    every = every.sort_values(["moment", "receipt", "line_type"], kind="stable", ignore_index=True)
    # Receipts are numbered by the time of their first line; returns have receipts of their own.
    number = pd.factorize(every["receipt"])[0]
    every["line_number"] = every.groupby(number).cumcount() + 1
    name = history.spec.stores[store].store_id
    every["transaction_id"] = [f"{name}-{n:07d}" for n in (number + 1).tolist()]
    every["store_id"] = name
    every["register_id"] = 1 + number * 7919 % REGISTERS
    every["sold_at"] = _local_time(calendar, every["moment"].to_numpy())
    return every[[*COLUMNS, "day"]]


def price_on(own: CategorySpec, product: int, n_days: int) -> tuple[NDArray, list[str]]:
    """Offer price in currency units and promotion id of one product on each day."""
    price = np.full(n_days, float(own.unit_price[product]))
    promo = [""] * n_days
    for promotion in own.promotions:
        if promotion.product == product:
            last = min(promotion.last_day + 1, n_days)
            price[promotion.first_day : last] = promotion.price
            promo[promotion.first_day : last] = [promotion.promo_id] * (last - promotion.first_day)
    return price, promo


def _joined(history: History, store: int, rng: np.random.Generator) -> pd.DataFrame:
    """Who bought what on which receipt: receipt number and moment (interval + fraction)."""
    parts, receipt_at = [], np.empty(0)
    for c, category in enumerate(history.categories):
        sold = category.stores[store]
        bought = np.flatnonzero(sold.replay.outcome >= 0)
        # Sorting within intervals only: the order of customers is the order of seconds.
        moment = np.sort(sold.customers.interval[bought] + rng.random(len(bought)) * 0.999)
        receipt = np.full(len(bought), -1)
        if c and history.spec.joint_baskets > 0:
            receipt = _join(moment, receipt_at, history.spec.joint_baskets, rng)
            moment = np.where(receipt >= 0, receipt_at[receipt], moment)
        new = receipt < 0
        receipt[new] = len(receipt_at) + np.arange(new.sum())
        receipt_at = np.append(receipt_at, moment[new])
        parts.append(
            pd.DataFrame(
                {
                    "interval": sold.customers.interval[bought],
                    "moment": moment,
                    "receipt": receipt,
                    "category": c,
                    "product": sold.replay.outcome[bought].astype(np.int64),
                    "quantity": sold.replay.taken_units[bought].astype(np.int64),
                }
            )
        )
    return pd.concat(parts, ignore_index=True)


def _join(
    moment: NDArray[np.float64],
    receipt_at: NDArray[np.float64],
    share: float,
    rng: np.random.Generator,
) -> NDArray[np.int64]:
    """Receipt of the same interval each customer joins, at most one each; -1 = their own."""
    order = np.lexsort((rng.random(len(receipt_at)), np.floor(receipt_at)))
    starts = np.floor(receipt_at)[order]
    joiner = np.flatnonzero(rng.random(len(moment)) < share)
    interval = np.floor(moment[joiner])
    rank = np.arange(len(joiner)) - np.searchsorted(interval, interval)
    slot = np.searchsorted(starts, interval) + rank
    found = slot < np.searchsorted(starts, interval, side="right")
    receipt = np.full(len(moment), -1)
    receipt[joiner[found]] = order[slot[found]]
    return receipt


def _priced(sales: pd.DataFrame, history: History, calendar: TradingCalendar) -> pd.DataFrame:
    """Product id, regular price, discount and promotion of each line."""
    code = sales["category"].to_numpy() * 100_000 + sales["product"].to_numpy()
    name, regular = np.empty(len(sales), object), np.empty(len(sales))
    offer, promo = np.empty(len(sales)), np.empty(len(sales), object)
    day = sales["day"].to_numpy()
    for key in np.unique(code).tolist():
        rows = np.flatnonzero(code == key)
        category, product = divmod(key, 100_000)
        own = history.categories[category].spec
        price, ids = price_on(own, product, calendar.n_days)
        name[rows] = own.products[product]
        regular[rows], offer[rows] = own.unit_price[product], price[day[rows]]
        promo[rows] = np.array(ids, dtype=object)[day[rows]]
    quantity = sales["quantity"].to_numpy()
    return sales.assign(
        product_id=name,
        unit_price=regular,
        discount_amount=np.round(quantity * (regular - offer), 4),
        net_amount=np.round(quantity * offer, 4),
        promo_id=promo,
    )


def _voids(sales: pd.DataFrame, share: float, rng: np.random.Generator) -> pd.DataFrame:
    """Mis-scans: a line of some other receipt's product, taken off at once, worth nothing."""
    at = np.flatnonzero(rng.random(len(sales)) < share)
    wrong = sales.iloc[rng.integers(0, len(sales), len(at))]
    where = sales.iloc[at]
    return where.assign(
        line_type="void",
        product_id=wrong["product_id"].to_numpy(),
        unit_price=wrong["unit_price"].to_numpy(),
        quantity=-1,
        discount_amount=0.0,
        net_amount=0.0,
        promo_id="",
    )


def _returns(
    sales: pd.DataFrame, calendar: TradingCalendar, share: float, rng: np.random.Generator
) -> pd.DataFrame:
    """Whole lines brought back on one of the next days, if the shop is open then."""
    back = sales[rng.random(len(sales)) < share]
    day = back["day"].to_numpy() + rng.integers(1, MAX_RETURN_DAYS + 1, len(back))
    inside = day < calendar.n_days
    back, day = back[inside], day[inside]
    first, stop = calendar.first_interval[day], calendar.first_interval[day + 1]
    is_open = stop > first
    back, day, first, stop = back[is_open], day[is_open], first[is_open], stop[is_open]
    moment = rng.uniform(first, stop)
    return back.assign(
        line_type="return",
        moment=moment,
        day=day,
        interval=np.floor(moment).astype(np.int64),
        receipt=sales["receipt"].max() + 1 + np.arange(len(back)),
        quantity=-back["quantity"],
        discount_amount=-back["discount_amount"],
        net_amount=-back["net_amount"],
    )


def _local_time(calendar: TradingCalendar, moment: NDArray[np.float64]) -> pd.DatetimeIndex:
    interval = np.floor(moment).astype(np.int64)
    seconds = np.floor((moment - interval) * calendar.interval_seconds).astype(np.int64)
    return local_time(calendar, calendar.utc_seconds(interval) + seconds)


def local_time(calendar: TradingCalendar, utc_seconds: NDArray[np.int64]) -> pd.DatetimeIndex:
    """Naive local time of UTC seconds."""
    utc = pd.to_datetime(utc_seconds, unit="s", utc=True)
    return utc.tz_convert(calendar.timezone).tz_localize(None).as_unit("s")
