"""Landing files of the later chains: style trials and shipments, warehouse stock, sales."""

from __future__ import annotations

from datetime import datetime, time, timedelta

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from retail_assets.simulator.arrivals import SHIPMENTS, TRIALS, generator
from retail_assets.simulator.engine import History
from retail_assets.simulator.receipts import price_on
from retail_assets.simulator.specs import CategorySpec, ProductInfo, TrialSpec, WarehouseSpec

DAYS_A_WEEK = 7.0
N_CLIENTS = 2003


def style_probabilities(history: History, trials: TrialSpec) -> pd.DataFrame:
    """True p of every style: product_id, group_id, p."""
    rng = generator(history.seed, -1, -1, TRIALS)
    means = dict(trials.mean)
    rows = []
    for category in history.categories:
        for j, product in enumerate(category.spec.products):
            info = category.spec.infos[j] if category.spec.infos else ProductInfo(product)
            group = info.group or category.spec.category
            mean = means.get(group, 0.15)
            p = rng.beta(mean * trials.strength, (1 - mean) * trials.strength)
            rows.append({"product_id": product, "group_id": group, "p": p})
    return pd.DataFrame(rows)


def trials_and_shipments(history: History, trials: TrialSpec) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Daily (n, k) of every style since its launch, and what was shipped, kept or returned."""
    truth = style_probabilities(history, trials)
    rng = generator(history.seed, -1, -1, SHIPMENTS)
    launches = _launch_days(history)
    n_days, start = history.spec.n_days, history.spec.first_day
    counted, sent = [], []
    for product, p in zip(truth["product_id"], truth["p"], strict=True):
        days = np.arange(launches[product], n_days)
        n = rng.poisson(trials.per_day, len(days))
        k = rng.binomial(n, p)
        dates = [start + timedelta(days=int(d)) for d in days[n > 0]]
        counted.append(
            pd.DataFrame({"product_id": product, "date": dates, "n": n[n > 0], "k": k[n > 0]})
        )
        sent.append(_shipped(product, np.repeat(days, k), trials, history, rng))
    shipments = pd.concat(sent, ignore_index=True)
    shipments = shipments.sort_values(["sent_at", "product_id"], ignore_index=True)
    # A full cycle through the clients: nobody gets the same style twice on one day.
    clients = np.arange(len(shipments)) * 7919 % N_CLIENTS
    shipments["client_id"] = [f"c{n:04d}" for n in clients]
    return (
        pd.concat(counted, ignore_index=True).assign(warehouse=trials.warehouse, channel="box"),
        shipments.assign(warehouse=trials.warehouse),
    )


def _shipped(
    product: str,
    day: NDArray[np.int64],
    trials: TrialSpec,
    history: History,
    rng: np.random.Generator,
) -> pd.DataFrame:
    """Shipments of one style; returns that lie beyond the history are not known yet."""
    noon = datetime.combine(history.spec.first_day, time(12))
    sent_at = pd.Series([noon + timedelta(days=int(d)) for d in day], dtype="datetime64[s]")
    kept = rng.random(len(day)) < trials.keep_rate
    delay = 1 + rng.geometric(1 / max(trials.return_days - 1, 1), len(day))
    settled = day + delay < history.spec.n_days
    back = sent_at + pd.to_timedelta(delay, unit="D")
    known = np.where(settled, np.where(kept, "true", "false"), "")
    return pd.DataFrame(
        {
            "product_id": product,
            "sent_at": sent_at,
            "kept": known,
            "returned_at": back.where(settled & ~kept),
        }
    )


def warehouse_stock(history: History, warehouse: WarehouseSpec) -> pd.DataFrame:
    """What lies behind the shops at the end: weeks of first-choice demand, in units."""
    weeks_on_hand = dict(warehouse.weeks_on_hand)
    weeks = history.spec.n_days / DAYS_A_WEEK
    rows = []
    for category in history.categories:
        own = category.spec
        wanted = np.sum([s.first_choices for s in category.stores], axis=0) / own.basket_p / weeks
        for j, product in enumerate(own.products):
            cover = weeks_on_hand.get(product, warehouse.default_weeks)
            rows.append(
                {
                    "product_id": product,
                    "warehouse": warehouse.warehouse,
                    "on_hand": round(cover * wanted[j]),
                    "out_with_clients": 0,
                    "on_order": 0 if cover > warehouse.default_weeks else round(wanted[j]),
                    "lead_time_days": warehouse.lead_time_days,
                    "lead_time_sd": warehouse.lead_time_sd,
                }
            )
    return pd.DataFrame(rows)


def box_stock(trials: TrialSpec, shipments: pd.DataFrame, n_weeks: float) -> pd.DataFrame:
    """What the box service has and has sent: stock of its own, and units not yet settled."""
    sent = shipments.groupby("product_id", sort=False)["kept"]
    weekly = sent.size() / n_weeks
    return pd.DataFrame(
        {
            "product_id": weekly.index,
            "warehouse": trials.warehouse,
            "on_hand": np.rint(trials.weeks_on_hand * weekly.to_numpy()).astype(int),
            "out_with_clients": sent.agg(lambda kept: int((kept == "").sum())).to_numpy(),
            "on_order": 0,
            "lead_time_days": WarehouseSpec.lead_time_days,
            "lead_time_sd": WarehouseSpec.lead_time_sd,
        }
    )


def sale_events(history: History) -> pd.DataFrame:
    """Past sales (one per promotion id) with what they sold, then the coming one."""
    exposures: dict[str, int] = {}
    rows = []
    for sale_id, category, product, first, last in _past_sales(history):
        own = category.spec
        name = own.products[product]
        sold, available, sold_out = _sale_result(history, own, product, first, last)
        price, _ = price_on(own, product, history.spec.n_days)
        rows.append(
            {
                "sale_id": sale_id,
                "product_id": name,
                **_window(history, first, last),
                "units_available": available,
                "exposures": exposures.get(name, 0),
                "candidate_prices": "",
                "price": price[first],
                "units_sold": sold,
                "sold_out_at": sold_out,
            }
        )
        exposures[name] = exposures.get(name, 0) + 1
    rows += _coming(history, exposures)
    frame = pd.DataFrame(rows)
    return frame.astype({"units_sold": "Int64"}) if "units_sold" in frame else frame


def _coming(history: History, exposures: dict[str, int]) -> list[dict[str, object]]:
    """The announced sale: prices to choose from, no result yet."""
    coming = history.spec.sale
    rows: list[dict[str, object]] = []
    if coming is not None:
        first = (coming.starts - history.spec.first_day).days
        last = (coming.ends - history.spec.first_day).days
        offers = zip(coming.products, coming.units_available, coming.candidate_prices, strict=True)
        for name, units, prices in offers:
            rows.append(
                {
                    "sale_id": coming.sale_id,
                    "product_id": name,
                    **_window(history, first, last),
                    "units_available": units,
                    "exposures": exposures.get(name, 0),
                    "candidate_prices": ";".join(f"{p:.2f}" for p in prices),
                }
            )
    return rows


def _past_sales(history: History):  # type: ignore[no-untyped-def]
    every = {
        (p.first_day, p.promo_id, c, p.product, p.last_day)
        for c, category in enumerate(history.categories)
        for p in category.spec.promotions
    }
    for first, sale_id, c, product, last in sorted(every):
        yield sale_id, history.categories[c], product, first, last


def _sale_result(
    history: History, own: CategorySpec, product: int, first: int, last: int
) -> tuple[int, int, datetime | None]:
    """Units sold and available in a sale, and when the last store ran out (if all did)."""
    category = history.category(own.category)
    sold, left, gone_at = 0, 0, []
    for calendar, stored in zip(history.calendars, category.stores, strict=True):
        a, b = calendar.first_interval[first], calendar.first_interval[last + 1]
        inside = (stored.customers.interval >= a) & (stored.customers.interval < b)
        bought = inside & (stored.replay.outcome == product)
        sold += int(stored.replay.taken_units[bought].sum())
        start, stop = stored.out.of(product)
        over = np.flatnonzero((start < b) & (stop >= b))
        if len(over) and start[over[0]] > a:
            gone_at.append(calendar.utc_seconds(start[over[:1]])[0])
        else:
            left += int(stored.replenishment.order_up_to[product]) // 4
    at = None
    if len(gone_at) == len(category.stores):
        zone = history.calendars[0].timezone
        moment = pd.Timestamp(max(gone_at), unit="s", tz="UTC").tz_convert(zone)
        at = moment.tz_localize(None).to_pydatetime()
    return sold, sold + left, at


def _window(history: History, first: int, last: int) -> dict[str, datetime]:
    """From the opening day's midnight to the last second of the closing day."""
    start = datetime.combine(history.spec.first_day, time())
    end = start + timedelta(days=last + 1, seconds=-1)
    return {"starts_at": start + timedelta(days=first), "ends_at": end}


def _launch_days(history: History) -> dict[str, int]:
    days: dict[str, int] = {}
    for category in history.categories:
        launch = category.spec.launch_day
        for j, product in enumerate(category.spec.products):
            days[product] = 0 if launch is None else max(0, int(launch[j]))
    return days
