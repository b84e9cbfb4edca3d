"""Demand side of the stock projection: chances a week, units a chance, what comes back."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import date
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from retail_assets.assets.style_rates import StyleRates
from retail_assets.warehouse import Session

if TYPE_CHECKING:
    from retail_assets.models.inventory.demand import Demand
    from retail_assets.models.inventory.returns import Settlement
    from retail_assets.models.inventory.rules import StockRules
    from retail_assets.models.inventory.traffic import PoolTraffic

Floats = NDArray[np.float64]
Rows = Sequence[Mapping[str, Any]]

PAST_WEEKS = 52
DAYS_PER_WEEK = 7

# Counted back from the last day the source tells of: trials that land once a week, or
# stopped a month ago, must not look like weeks without a client.
_LAST = "SELECT max(date) FROM {source} WHERE date <= $last"
_WEEKLY = """
SELECT {warehouse} AS warehouse, product_id, date_diff('day', date, $last::DATE) // 7 AS ago,
       sum(n) AS n
FROM {source} WHERE date BETWEEN $last::DATE - {days} + 1 AND $last GROUP BY ALL
"""
_BEGAN = "SELECT product_id, min(date) FROM {source} WHERE date <= $last GROUP BY ALL"
# Net of what customers bring back, per receipt that holds the product.
_UNITS = """
SELECT product_id, sum(quantity), count(DISTINCT (store_id, business_date, transaction_id))
    FILTER (line_type = 'sale')
FROM pos_lines WHERE line_type IN ('sale', 'return') AND business_date > $last::DATE - 182
GROUP BY ALL
"""
_STORES = """
SELECT category, store_id, any_value(region) AS region, any_value(cluster) AS cluster,
       sum(transactions)::DOUBLE AS receipts
FROM interval_sales JOIN stores USING (store_id) WHERE business_date > $last::DATE - 56
GROUP BY ALL
"""
_SHIPMENTS = """
SELECT product_id, date_diff('day', DATE '1970-01-01', sent_at::DATE) AS sent,
       date_diff('day', DATE '1970-01-01', returned_at::DATE) AS back,
       coalesce(kept::INTEGER, -1) AS kept
FROM shipments WHERE sent_at::DATE <= $last
"""


def column(rows: Rows, name: str, default: float = np.nan) -> Floats:
    """A column as numbers; the default where the table has none."""
    return np.array([default if row[name] is None else row[name] for row in rows], np.float64)


def pool_traffic(
    session: Session, source: str, rows: Rows, rates: StyleRates, last: date, weeks: int
) -> tuple[dict[tuple[str, str], PoolTraffic], dict[tuple[str, str], str]]:
    """Chances a week of each pool, a group of styles in a warehouse; why some have none.

    A style of several sizes has the chances of the size that was offered most.
    """
    from retail_assets.models.inventory.traffic import fit_pool

    last = session.sql(_LAST.format(source=source), {"last": last}).fetchall()[0][0] or last
    began = dict(session.sql(_BEGAN.format(source=source), {"last": last}).fetchall())
    weekly = _weekly(session, source, {row["warehouse"] for row in rows}, last)
    counted = {warehouse for warehouse, _ in weekly}
    pools: dict[tuple[str, str], list[str]] = defaultdict(list)
    for row in rows:
        pools[row["warehouse"], row["group_id"]].append(row["product_id"])
    found, refused = {}, {}
    for pool, names in sorted(pools.items()):
        where = pool[0] if pool[0] in counted else None
        chances = np.zeros((len(names), PAST_WEEKS))
        for at, name in enumerate(names):
            sizes = rates.products(name)
            first = min((began[size] for size in sizes if size in began), default=None)
            for size in sizes:
                for ago, n in weekly.get((where, size), {}).items():
                    week = PAST_WEEKS - 1 - ago
                    chances[at, week] = max(chances[at, week], n)
            whole = ((last - first).days + 1) // DAYS_PER_WEEK if first else 0
            chances[at, : max(PAST_WEEKS - whole, 0)] = np.nan
        try:
            found[pool] = fit_pool(chances, weeks)
        except ValueError as why:
            refused[pool] = str(why)
    return found, refused


def _weekly(
    session: Session, source: str, warehouses: set[str], last: date
) -> dict[tuple[str | None, str], dict[int, float]]:
    """Trials by week before the last day, by warehouse (None: of all) and product.

    Trials that name no warehouse are shared equally by those whose own nobody counted.
    """
    by_stylist = source == "style_trials"
    query = _WEEKLY.format(
        source=source,
        warehouse="warehouse" if by_stylist else "NULL",
        days=DAYS_PER_WEEK * PAST_WEEKS,
    )
    found: dict[tuple[str | None, str], dict[int, float]] = defaultdict(dict)
    counted = session.sql(query, {"last": last}).fetchall()
    nameless = len(warehouses - {warehouse for warehouse, *_ in counted}) if by_stylist else 1
    for warehouse, product, ago, n in counted:
        found[warehouse, product][ago] = float(n) / (1 if warehouse else max(nameless, 1))
    return found


def units_per_success(
    session: Session, source: str, product: Sequence[str], rates: StyleRates, last: date
) -> Floats:
    """Units that leave for good per success, (S,): baskets hold several, some come back."""
    if source == "style_trials":
        return np.ones(len(product))
    known = {name: (u, r) for name, u, r in session.sql(_UNITS, {"last": last}).fetchall()}
    units = []
    for name in product:
        own = [known[size] for size in rates.products(name) if size in known]
        receipts = sum(r for _, r in own)
        units.append(max(sum(u for u, _ in own) / receipts, 0.0) if receipts else 1.0)
    return np.array(units, np.float64)


def demand_of(
    rows: Rows,
    traffic: Mapping[tuple[str, str], PoolTraffic],
    share: Floats,
    p: Floats,
    units: Floats,
    weeks: int,
    rules: StockRules,
) -> Demand:
    from retail_assets.models.inventory.demand import Demand, Traffic

    pools = sorted(traffic)
    number = {pool: at for at, pool in enumerate(pools)}
    at = np.array([number[row["warehouse"], row["group_id"]] for row in rows])
    considered, seen = np.empty(len(rows)), dict.fromkeys(pools, 0)
    for row, pool in enumerate(pools[i] for i in at):
        considered[row] = traffic[pool].considered[seen[pool]]
        seen[pool] += 1
    # A rate of units may exceed one where a rate of receipts cannot: traffic takes the rest.
    scale = max(1.0, float(units.max()))
    level = np.array([traffic[pool].mean for pool in pools]) * share * scale
    return Demand.of(
        at,
        Traffic.of(
            np.repeat(level[:, None], weeks, axis=1),
            dispersion=[traffic[pool].dispersion for pool in pools],
            level_cv=[traffic[pool].level_cv for pool in pools],
        ),
        p * (units / scale)[:, None],
        considered=considered[:, None],
        respill=rules.refill,
    )


def receipt_shares(
    session: Session, pools: Sequence[tuple[str, str]], category: Mapping[str, str], last: date
) -> Floats:
    """Share of the receipts each warehouse serves, by pool.

    A warehouse that bears the name of a store, a region or a cluster serves those stores;
    the others share the rest equally.
    """
    stores = session.sql(_STORES, {"last": last}).to_dicts()
    shares = np.zeros(len(pools))
    for at, (warehouse, group) in enumerate(pools):
        rivals = {w for w, g in pools if g == group}
        every = [r for r in stores if r["category"] == category[group]]
        taken = {w: [r for r in every if w in _labels(r)] for w in rivals}
        free = [r for r in every if not any(w in _labels(r) for w in rivals)]
        plain = [w for w in rivals if not taken[w]]
        total = sum(r["receipts"] for r in every)
        own = sum(r["receipts"] for r in taken[warehouse])
        if warehouse in plain:
            own = sum(r["receipts"] for r in free) / len(plain)
        shares[at] = own / total if total else 1 / len(rivals)
    return shares


def _labels(store: Mapping[str, Any]) -> tuple[Any, ...]:
    return store["store_id"], store["region"], store["cluster"]


def settlement_of(
    session: Session,
    source: str,
    product: Sequence[str],
    rates: StyleRates,
    last: date,
    paths: int,
    seed: int,
) -> Settlement:
    """Keep rate and delay from the shipments; a shop sells at once."""
    from retail_assets.models.inventory.returns import Settlement, fit_delay, keep_rates

    sent = session.sql(_SHIPMENTS, {"last": last}).to_dicts() if source == "style_trials" else []
    if not sent:
        return Settlement.sold_at_once(len(product), paths)
    today = (last - date(1970, 1, 1)).days
    styles = {name: at for at, name in enumerate(dict.fromkeys(product))}
    position = {size: at for name, at in styles.items() for size in rates.products(name)} | styles
    history = (column(sent, "sent"), column(sent, "back"), column(sent, "kept"))
    delay = fit_delay(*history, today=today)
    mine = np.array([row["product_id"] in position for row in sent])
    style = np.array([position.get(row["product_id"], 0) for row in sent])
    sent_day, back, kept = (values[mine] for values in history)
    fitted = keep_rates(style[mine], sent_day, back, kept, delay, n_styles=len(styles), today=today)
    rows = np.array([position[name] for name in product])
    rng = np.random.default_rng((seed, 1))
    keep = rng.beta(fitted.alpha[rows, None], fitted.beta[rows, None], (len(rows), paths))
    return Settlement.of(keep, delay.week_pmf, residual=delay.residual())
