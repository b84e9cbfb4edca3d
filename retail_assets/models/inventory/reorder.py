"""The reorder plan: when, how many, by size, where, and when to stop.

Four questions of the source, one answer each.

- *When*: below the reorder point, the critical ratio's quantile of what the paths need
  until an order placed one review later would arrive. Uncertain lead time and uncertain p
  are in the paths.
- *How many by size*: the order-up-to level less the position, split by the size curve.
- *Where*: one line per warehouse from its own paths, moved where there is no room.
- *When to stop*: P(p < break-even) against a threshold that follows from costs.

One season is a newsvendor on the posterior predictive; replenished styles follow a base
stock, or (s, S) with the EOQ as its batch where an order has a fixed cost.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from retail_assets.models.inventory.allocation import split_over_warehouses
from retail_assets.models.inventory.demand import Stock
from retail_assets.models.inventory.forecast import Requirement
from retail_assets.models.inventory.newsvendor import critical_ratio, newsvendor_sample
from retail_assets.models.inventory.reasons import explain
from retail_assets.models.inventory.retirement import Retirement
from retail_assets.models.inventory.sizes import SizeCurves, largest_remainder

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Costs:
    """Per row; money in cents.

    Parameters
    ----------
    underage : (S,) float64
        Of a unit short: the margin lost.
    overage : (S,) float64
        Of a unit too many: cost less salvage at a season's end, holding until the next
        order otherwise.
    fixed : (S,) float64
        Per order.
    holding : (S,) float64
        Per unit and week.
    """

    underage: Floats
    overage: Floats
    fixed: Floats
    holding: Floats

    @staticmethod
    def of(
        price_cents: ArrayLike,
        unit_cost_cents: ArrayLike,
        *,
        seasonal: ArrayLike,
        salvage_cents: ArrayLike = 0,
        holding_cents_per_week: ArrayLike = 0,
        review_weeks: ArrayLike = 1,
        fixed_cost_cents: ArrayLike = 0,
    ) -> Costs:
        """Both costs of being wrong, for rows of one season and rows replenished on and on."""
        price, cost, salvage, hold, review, fixed, season = (
            np.atleast_1d(np.asarray(v, np.float64))
            for v in (
                price_cents,
                unit_cost_cents,
                salvage_cents,
                holding_cents_per_week,
                review_weeks,
                fixed_cost_cents,
                np.asarray(seasonal, bool),
            )
        )
        over = np.where(season > 0, cost - salvage, hold * np.maximum(review, 1.0))
        under = price - cost + np.zeros_like(over)
        bad = ~((over > 0) & (under > 0))
        if np.any(bad):
            row = int(np.argmax(bad))
            raise ValueError(
                f"row {row}: margin {under[row]:.0f} and overage {over[row]:.0f} cents must be "
                "positive; check price > cost > salvage, and holding cost where replenished"
            )
        rows = over.shape
        return Costs(under, over, np.broadcast_to(fixed, rows), np.broadcast_to(hold, rows))


@dataclass(frozen=True)
class Limits:
    """What an order may be, per row: units. ``room``: the most the position may become."""

    min_qty: Ints
    max_qty: Ints
    pack_size: Ints
    room: Ints

    @staticmethod
    def of(
        rows: int,
        *,
        min_qty: ArrayLike = 0,
        max_qty: ArrayLike | None = None,
        pack_size: ArrayLike = 1,
        room: ArrayLike | None = None,
    ) -> Limits:
        most = np.iinfo(np.int32).max
        return Limits(
            *(
                np.broadcast_to(np.asarray(most if v is None else v, np.int64), (rows,))
                for v in (min_qty, max_qty, pack_size, room)
            )
        )


@dataclass(frozen=True)
class ReorderPlan:
    """One line per row (style and warehouse) and size, row-major.

    Parameters
    ----------
    row, size : (m,) int64
        Row of the stock and column of the size curves.
    policy : (m,) tuple of "newsvendor", "base_stock" or "s_S"
    critical_ratio : (m,) float64
    reorder_point, order_up_to, safety_stock : (m,) float64
        Units of position (on hand + on order), the size's share of its row's. Ordered when
        the position is *below* the reorder point.
    order_qty : (m,) int64
        Order-up-to less position, less the demand lost before the order can arrive.
    size_share : (m,) float64
    expected_cost_cents : (m,) float64
        Of being short and of being left with units, over the cover, at the row's order;
        the size's share. Adds up over lines.
    cycle_service : (m,) float64
        P(no unit short over the cover), the row's.
    fill_rate : (m,) float64
        Share of the cover's demand served, the row's.
    retire_flag, retire_prob : (m,)
    reason : (m,) tuple of str
    """

    row: Ints
    size: Ints
    policy: tuple[str, ...]
    critical_ratio: Floats
    reorder_point: Floats
    order_up_to: Floats
    safety_stock: Floats
    order_qty: Ints
    size_share: Floats
    expected_cost_cents: Floats
    cycle_service: Floats
    fill_rate: Floats
    retire_flag: NDArray[np.bool_]
    retire_prob: Floats
    reason: tuple[str, ...]


def plan_reorders(
    stock: Stock,
    requirement: Requirement,
    costs: Costs,
    *,
    seasonal: ArrayLike,
    limits: Limits | None = None,
    sizes: SizeCurves | None = None,
    retire: Retirement | None = None,
    style: Ints | None = None,
    warehouse: Ints | None = None,
    warehouse_room: Ints | None = None,
) -> ReorderPlan:
    """The plan of every row.

    Parameters
    ----------
    seasonal : () or (S,) bool
        One season (newsvendor over the cover) or replenished on and on.
    sizes : SizeCurves or None
        One row per row of ``stock``; None: products are sizes already.
    style, warehouse : (S,) int or None
        Needed with ``warehouse_room``: which rows are one style, and where they are.
    warehouse_room : (W,) int or None
        Units each warehouse can still take; what does not fit moves to another.
    """
    rows = len(stock.on_hand)
    bounds = limits or Limits.of(rows)
    season = np.broadcast_to(np.asarray(seasonal, bool), (rows,))
    stops = np.zeros(rows, bool) if retire is None else retire.flag
    levels = _levels(stock, requirement, costs, season)
    order = _allowed(np.where(stops, 0, levels.wanted), levels, season, bounds, costs, requirement)
    moved = order
    if warehouse_room is not None:
        if style is None or warehouse is None:
            raise ValueError("warehouse_room needs the style and the warehouse of each row")
        moved = _within_room(order, style, warehouse, warehouse_room, costs, bounds.pack_size)
    reasons = explain(
        position=levels.position,
        reorder_point=levels.point,
        order_up_to=levels.top,
        wanted=levels.wanted,
        allowed=order,
        moved=moved,
        policy=levels.policy,
        ratio=critical_ratio(costs.overage, costs.underage),
        retire=stops,
        retire_prob=np.zeros(rows) if retire is None else retire.probability,
        size_note=("",) * rows if sizes is None else sizes.note,
    )
    share = np.ones((rows, 1)) if sizes is None else sizes.share
    by_size = _by_size(moved, share, bounds.pack_size)
    return _lines(levels, requirement, costs, moved, by_size, share, retire, reasons)


@dataclass(frozen=True)
class _Levels:
    """Per row: position, reorder point, order-up-to, safety stock, units wanted, policy."""

    position: Floats
    point: Floats
    top: Floats
    safety: Floats
    wanted: Ints
    policy: NDArray


def _levels(
    stock: Stock, requirement: Requirement, costs: Costs, season: NDArray[np.bool_]
) -> _Levels:
    soon = newsvendor_sample(costs.overage, costs.underage, requirement.until_next).level
    cover = newsvendor_sample(costs.overage, costs.underage, requirement.until_cover).level
    position = stock.position.astype(np.float64)
    # Levels hold what is lost before an order can arrive; the order itself cannot save it.
    lost = requirement.lost
    whole = [
        newsvendor_sample(costs.overage, costs.underage, need + lost).level
        for need in (requirement.until_next, requirement.until_cover)
    ]
    point = np.maximum(position + whole[0], 0.0)
    # The EOQ of the units that leave for good, eq. (3.4), on top of the reorder point.
    batched = ~season & (costs.fixed > 0) & (costs.holding > 0)
    holding = np.where(batched, costs.holding, 1.0)
    batch = np.ceil(np.sqrt(2.0 * costs.fixed * requirement.weekly_net / holding))
    batch = np.where(batched, batch, 0.0)
    top = np.where(season, np.maximum(position + whole[1], point), point + batch)
    wanted = np.where(season, np.maximum(cover, soon), soon + batch)
    wanted = np.where((position < point) & (soon > 0), np.maximum(wanted, 0.0), 0.0)
    policy = np.where(season, "newsvendor", np.where(batched, "s_S", "base_stock"))
    safety = whole[0] - (requirement.until_next + lost).mean(axis=1)
    return _Levels(position, point, top, safety, wanted.astype(np.int64), policy)


def _lines(
    levels: _Levels,
    requirement: Requirement,
    costs: Costs,
    order: Ints,
    by_size: Ints,
    share: Floats,
    retire: Retirement | None,
    reasons: list[str],
) -> ReorderPlan:
    """Rows repeated over sizes; what adds up is spread by the size's share."""
    rows, n_sizes = share.shape
    gap = order[:, None] - requirement.until_cover
    short = np.maximum(-gap, 0).mean(axis=1)
    cost = costs.overage * np.maximum(gap, 0).mean(axis=1) + costs.underage * short
    cost = cost + costs.fixed * (order > 0)
    served = np.clip(1.0 - short / np.maximum(requirement.demand, 1e-12), 0.0, 1.0)
    none = np.zeros(rows)

    def each(values: NDArray) -> NDArray:
        return np.repeat(values, n_sizes)

    flat = share.ravel()
    return ReorderPlan(
        row=each(np.arange(rows)),
        size=np.tile(np.arange(n_sizes), rows),
        policy=tuple(each(levels.policy).tolist()),
        critical_ratio=each(critical_ratio(costs.overage, costs.underage)),
        reorder_point=each(levels.point) * flat,
        order_up_to=each(levels.top) * flat,
        safety_stock=each(levels.safety) * flat,
        order_qty=by_size.ravel(),
        size_share=flat,
        expected_cost_cents=each(cost) * flat,
        cycle_service=each((gap >= 0).mean(axis=1)),
        fill_rate=each(served),
        retire_flag=each(none > 0 if retire is None else retire.flag),
        retire_prob=each(none if retire is None else retire.probability),
        reason=tuple(each(np.array(reasons, object)).tolist()),
    )


def _allowed(
    wanted: Ints,
    levels: _Levels,
    season: NDArray[np.bool_],
    bounds: Limits,
    costs: Costs,
    requirement: Requirement,
) -> Ints:
    """Whole packs between the limits. A season's order takes the cheaper neighbour, or none
    where even the least that may be ordered costs more than going without."""
    pack = np.maximum(bounds.pack_size, 1)
    most = np.minimum(bounds.max_qty, np.maximum(bounds.room - levels.position, 0).astype(np.int64))
    most = most // pack * pack
    least = -(-bounds.min_qty // pack) * pack
    up = np.minimum(np.maximum(-(-wanted // pack) * pack, least), most)
    down = np.minimum(np.maximum(wanted // pack * pack, least), most)
    order = up.copy()
    for row in np.flatnonzero(wanted > 0):
        if least[row] > most[row]:
            order[row] = 0
            continue
        if not season[row]:
            continue

        def cost(quantity: int, row: int = int(row)) -> float:
            gap = quantity - requirement.until_cover[row]
            short, left = np.maximum(-gap, 0).mean(), np.maximum(gap, 0).mean()
            fixed = costs.fixed[row] if quantity else 0.0
            return float(costs.underage[row] * short + costs.overage[row] * left + fixed)

        order[row] = min((int(up[row]), int(down[row]), 0), key=cost)
    return np.where(wanted > 0, order, 0)


def _by_size(order: Ints, share: Floats, pack: Ints) -> Ints:
    out = np.zeros(share.shape, np.int64)
    for row in np.flatnonzero(order > 0):
        out[row] = largest_remainder(int(order[row]), share[row], pack_size=int(pack[row]))
    return out


def _within_room(
    order: Ints, style: Ints, warehouse: Ints, room: Ints, costs: Costs, pack: Ints
) -> Ints:
    """Orders that fit the warehouses: a unit moves to another only where it must."""
    if all(order[warehouse == w].sum() <= room[w] for w in range(len(room))):
        return order
    names, s = np.unique(style, return_inverse=True)
    need = np.zeros((len(names), len(room)), np.int64)
    need[s, warehouse] = order
    # A style goes only where it has a row; moving costs a cent, going without its margin.
    ranged = np.zeros(need.shape, bool)
    ranged[s, warehouse] = True
    cost = np.broadcast_to(
        1 - np.eye(len(room), dtype=np.int64), (len(names), len(room), len(room))
    )
    cost = np.where(ranged[:, :, None], cost, -1)
    packs = np.ones(len(names), np.int64)
    np.maximum.at(packs, s, pack)
    unmet = max(int(costs.underage.mean()), 2)
    split = split_over_warehouses(need, cost, room, unmet_cost_cents=unmet, pack_size=packs)
    return np.asarray(split.ordered[s, warehouse])
