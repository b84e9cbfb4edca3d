"""How much of each product: shelves within the room, levels to order to, and the new item."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.chain_replay import HOLDING, SALVAGE, YEAR, Lived
from bench.chain_till import Belief, Till
from bench.chain_worlds import LAUNCH, UPDATE, Floats, Ints, StoreHalf
from retail_assets.models.assortment.capacity import plan_capacity
from retail_assets.models.assortment.shop import Shop
from retail_assets.models.cold_start.as_of import Styles, known_on
from retail_assets.models.cold_start.mixture import BetaMixture
from retail_assets.models.cold_start.posterior import checked_daily
from retail_assets.models.cold_start.rules import ColdStartRules
from retail_assets.models.inventory.demand import rate_draws
from retail_assets.models.inventory.newsvendor import newsvendor_sample
from retail_assets.models.inventory.reorder import Costs
from retail_assets.models.inventory.sizes import largest_remainder
from retail_assets.models.panel import Rates
from retail_assets.models.stockouts.zero_runs import corrected_test

REPLICATIONS, MAX_ROUNDS = 8, 4
"""Of the search, as assets/capacity_tables."""
DEMAND_DRAWS = 400
WEEKS_A_YEAR = YEAR / 7


def joint_shelf(draws: Sequence[Rates], shop: Shop, room: int, store: int, seed: int) -> Ints:
    """The room divided by marginal curves: customers who miss a product take another."""
    return plan_capacity(
        draws,
        shop,
        room=float(room),
        store=store,
        replications=REPLICATIONS,
        holdout_replications=2,
        max_rounds=MAX_ROUNDS,
        seed=seed,
    ).capacity_plan


def newsvendor_shelf(draws: Sequence[Rates], shop: Shop, room: int, store: int, seed: int) -> Ints:
    """Each product's own newsvendor between two deliveries, all scaled to the room."""
    assert shop.unit_cost_cents is not None
    first = np.array([draw.arrival_rate[store] for draw in draws])
    demand = demand_between_deliveries(first, shop, store, seed)
    over = (1 - SALVAGE) * shop.unit_cost_cents
    under = shop.unit_price_cents - shop.unit_cost_cents
    level = np.maximum(newsvendor_sample(over, under, demand).level, 0.0)
    return shared_out(level, room)


def order_levels(draws: Sequence[Rates], shop: Shop, shelf: Ints, store: int, seed: int) -> Ints:
    """Units to order up to: the base stock of the reorder plan, at most what the shelf holds.

    Of the most that may be wanted: neighbours' customers come too while those are out.
    """
    cost = np.asarray(shop.unit_cost_cents, np.float64)
    costs = Costs.of(
        shop.unit_price_cents,
        cost,
        seasonal=False,
        holding_cents_per_week=HOLDING * cost / WEEKS_A_YEAR,
    )
    most = [
        draw.arrival_rate[store] + draw.arrival_rate[store] @ draw.substitution_rate
        for draw in draws
    ]
    demand = demand_between_deliveries(np.array(most), shop, store, seed, with_lead=True)
    level = newsvendor_sample(costs.overage, costs.underage, demand).level
    return np.minimum(shelf, np.ceil(level)).astype(np.int64)


def opening(
    share: Floats, shelf: Ints, shop: Shop, room: int, *, till: Till, store: int, seed: int
) -> Ints:
    """Levels with the new item: the newsvendor of what its group promises; others make room.

    ``share`` are draws of P(chosen), ``shelf`` the levels before, ``shop`` of all products.
    """
    sales = till.panel.stores[store]
    rate = share[:, None] * (sales.transactions.sum() / sales.n_intervals)
    last = np.repeat(rate, len(shop.products), axis=1)
    demand = demand_between_deliveries(last, shop, store, seed)[-1:]
    assert shop.unit_cost_cents is not None
    cost = float(shop.unit_cost_cents[-1])
    over, under = (1 - SALVAGE) * cost, float(shop.unit_price_cents[-1]) - cost
    units = min(int(np.ceil(newsvendor_sample(over, under, demand).level[0])), room // 2)
    return np.append(shared_out(shelf.astype(np.float64), room - units), units)


def demand_between_deliveries(
    rates: Floats, shop: Shop, store: int, seed: int, *, with_lead: bool = False
) -> Floats:
    """(n, R) units wanted from one delivery to the next, over draws (d, n) and deliveries."""
    assert shop.weight is not None
    assert shop.units_mean is not None
    assert shop.units_var is not None
    assert shop.review_times is not None
    rng = np.random.default_rng([seed, store, 5])
    level = np.concatenate([[0.0], np.cumsum(shop.weight)])
    rate = rates[np.arange(DEMAND_DRAWS) % len(rates)].T
    found = np.zeros_like(rate)
    for j, review in enumerate(shop.review_times):
        at = rng.integers(0, max(len(review) - 1, 1), DEMAND_DRAWS)
        ends = np.append(review, shop.n_intervals)
        stop = ends[at + 1] + (shop.lead[j] if with_lead else 0)
        mass = level[np.minimum(stop, shop.n_intervals)] - level[ends[at]]
        people = rng.poisson(rate[j] * mass)
        mean, var = shop.units_mean[j], shop.units_var[j]
        spread = np.sqrt(people * var) * rng.standard_normal(DEMAND_DRAWS)
        found[j] = np.maximum(people * mean + spread, 0.0)
    return found


def shared_out(level: Floats, room: int) -> Ints:
    """Whole units in proportion to ``level`` that fill the room."""
    share = level / level.sum() if level.sum() > 0 else np.full(len(level), 1 / len(level))
    return np.asarray(largest_remainder(room, share), np.int64)


def with_new_item(shop: Shop, price_cents: int, cost_cents: int, name: str) -> Shop:
    """The shop with one product more, supplied and bought like the last one."""
    assert shop.unit_cost_cents is not None
    assert shop.units_mean is not None
    assert shop.units_var is not None
    assert shop.review_times is not None

    def more(values: NDArray[Any], last: float) -> NDArray[Any]:
        return np.append(values, np.asarray(last, values.dtype))

    return replace(
        shop,
        products=(*shop.products, name),
        capacity=more(shop.capacity, 0),
        unit_price_cents=more(shop.unit_price_cents, price_cents),
        unit_cost_cents=more(shop.unit_cost_cents, cost_cents),
        review=more(shop.review, 1),
        lead=more(shop.lead, shop.lead[-1]),
        reorder_share=more(shop.reorder_share, 1.0),
        units_mean=more(shop.units_mean, shop.units_mean.mean()),
        units_var=more(shop.units_var, shop.units_var.mean()),
        review_times=(*shop.review_times, shop.review_times[-1]),
    )


def draws_with_new_item(draws: Sequence[Rates], till: Till, p: Floats) -> list[Rates]:
    """Draws of n products: the last is chosen by a share ``p`` of the category's receipts.

    Nothing is known of its substitutes yet: it takes and hands on nobody.
    """
    receipts = np.array([s.transactions.sum() / s.n_intervals for s in till.panel.stores])
    found = []
    for at, share in enumerate(p.tolist()):
        own = draws[at % len(draws)]
        rate = np.column_stack([own.arrival_rate, share * receipts])
        matrix = np.pad(own.substitution_rate, ((0, 1), (0, 1)))
        found.append(Rates(rate, matrix, own.choice_model))
    return found


def trials_of_range(till: Till, belief: Belief) -> tuple[Floats, Floats]:
    """(n - 1,) receipts that held each product, and those that could have."""
    n = till.panel.n_products
    hits, trials = np.zeros(n), np.zeros(n)
    for s, store in enumerate(till.panel.stores):
        every = np.bincount(store.interval, store.transactions, store.n_intervals)
        so_far = np.concatenate([[0.0], np.cumsum(every)])
        for j in range(n):
            k = store.sales(j)[1].sum()
            missed = 0.0
            if belief.out is not None:
                spans, p_out = belief.out[s]
                own = slice(spans.indptr[j], spans.indptr[j + 1])
                gone = p_out[own] > 0.5
                start, stop = spans.start[own][gone], spans.stop[own][gone]
                missed = float((so_far[stop] - so_far[start]).sum())
            hits[j] += k
            trials[j] += max(so_far[-1] - missed, k)
    return hits, trials


def trials_of_new_item(
    stores: Sequence[StoreHalf], lived: Sequence[Lived], *, infer: bool
) -> tuple[float, float]:
    """(k, n) of the new item's first two weeks in all stores; where it was out does not count."""
    hits = trials = 0.0
    for store, one in zip(stores, lived, strict=True):
        begin, end = (int(store.calendar.first_interval[d]) for d in (LAUNCH, UPDATE))
        bought = one.outcome >= 0
        at = one.customers.interval[bought].astype(np.int64)
        seen = (at >= begin) & (at < end)
        at, product = at[seen] - begin, one.outcome[bought][seen]
        every = np.bincount(at, minlength=end - begin)
        own = np.bincount(at[product == len(store.stock) - 1], minlength=end - begin)
        counted = np.ones(end - begin, bool)
        if infer and own.any():
            sold, busy = np.flatnonzero(own), every / max(every.mean(), 1e-9)
            test = corrected_test(sold.astype(np.int32), own[sold].astype(np.int32), busy)
            for start, stop in zip(*test.out, strict=True):
                counted[start:stop] = False
        hits += float(own.sum())
        trials += float(every[counted].sum())
    return hits, max(trials, hits)


def group_prior(hits: Floats, trials: Floats) -> BetaMixture:
    """What the range says of a new item of its group, (1,)."""
    n = len(hits) + 1
    styles = Styles(
        source="pos_trials",
        names=tuple(f"item {j}" for j in range(n)),
        group=np.zeros(n, np.int64),
        groups=("range",),
        listed=np.zeros(n, np.int64),
        daily=checked_daily(np.arange(n - 1), np.zeros(n - 1, np.int64), hits, trials, n_styles=n),
        attributes=np.empty((n, 0)),
        terms=(),
    )
    return known_on(styles, 0, ColdStartRules()).hierarchy.prior([0])


def share_draws(mixture: BetaMixture, n_draws: int, seed: int) -> Floats:
    """(n_draws,) of P(chosen)."""
    draws = rate_draws(mixture.alpha, mixture.beta, mixture.weight, n_draws, seed=seed)
    return np.asarray(draws[0], np.float64)
