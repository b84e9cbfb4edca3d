"""What the platform may know of the first half, and what it makes of it.

`observe` keeps what a till, a delivery note and a shelf plan show; `Belief` is what an arm
takes demand to be. One status fit and one substitution fit serve every arm; an arm without a
link has the belief that is left when the link is gone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from bench.chain_worlds import Floats, Ints, World
from retail_assets.models.assortment.shop import Shop
from retail_assets.models.panel import Panel, Rates, Spans, StorePanel
from retail_assets.models.stockouts.profile import estimate_level
from retail_assets.models.stockouts.zero_runs import literal_test
from retail_assets.simulator import History, panel_of
from retail_assets.simulator.specs import WeeklyDeliveries

DRAWS, IMPUTATIONS = 40, 8
"""Draws a plan uses, as assets/plan_inputs; of 20 imputations, the default, 8 gave the same
rates to .01 in two thirds of the time."""
QUARTER = 91


@dataclass(frozen=True)
class Till:
    """The first half as the shop knows it; S stores, n - 1 products, D days.

    Parameters
    ----------
    panel : Panel
    first_interval : one (D + 1,) array per store
    prices : (D, n - 1) int64
        Cents charged.
    in_sale : (D, n - 1) bool
    units : (S, D, n - 1) float64
    units_mean, units_var : (n - 1,) float64
        Units per receipt that holds the product.
    capacity : (S, n - 1) int64
    """

    panel: Panel
    first_interval: tuple[Ints, ...]
    prices: Ints
    in_sale: Ints
    units: Floats
    units_mean: Floats
    units_var: Floats
    capacity: Ints


@dataclass(frozen=True)
class Belief:
    """What an arm takes the demand of the n - 1 known products to be.

    Parameters
    ----------
    draws : sequence of Rates
    weight : (T,) float64 per store
        Demand level of each interval.
    profile : (168,) float64 per store
        How busy an hour of the week is.
    out : (Spans, P(out)) per store, or None
        Who was out of stock when; None: nobody asked.
    """

    draws: Sequence[Rates]
    weight: tuple[Floats, ...]
    profile: tuple[Floats, ...]
    out: tuple[tuple[Spans, Floats], ...] | None

    @property
    def rates(self) -> Rates:
        """Posterior means."""
        first = self.draws[0]
        return Rates(
            np.mean([draw.arrival_rate for draw in self.draws], axis=0),
            np.mean([draw.substitution_rate for draw in self.draws], axis=0),
            first.choice_model,
        )


def observe(world: World, history: History) -> Till:
    """Everything the platform is given of the first half."""
    category = history.category()
    own, n_days = category.spec, world.past.n_days
    n = own.n_products
    prices = np.tile(world.regular_cents[:n], (n_days, 1))
    in_sale = np.zeros((n_days, n), bool)
    for p in own.promotions:
        days = slice(p.first_day, p.last_day + 1)
        prices[days, p.product] = round(100 * p.price)
        in_sale[days, p.product] = True
    units, parts = np.zeros((len(category.stores), n_days, n)), []
    for s, (store, calendar) in enumerate(zip(category.stores, history.calendars, strict=True)):
        bought = store.replay.outcome >= 0
        product = store.replay.outcome[bought].astype(np.int64)
        taken = store.replay.taken_units[bought].astype(np.float64)
        day = calendar.day[store.customers.interval[bought]]
        np.add.at(units[s], (day, product), taken)
        parts.append((product, taken))
    product, taken = (np.concatenate(column) for column in zip(*parts, strict=True))
    count = np.maximum(np.bincount(product, minlength=n), 1)
    mean = np.maximum(np.bincount(product, taken, n) / count, 1.0)
    return Till(
        panel_of(history, deliveries=True),
        tuple(calendar.first_interval for calendar in history.calendars),
        prices,
        in_sale,
        units,
        mean,
        np.maximum(np.bincount(product, taken**2, n) / count - mean**2, 0.0),
        np.array([store.replenishment.order_up_to for store in category.stores]),
    )


def whole_chain(till: Till, seed: int) -> tuple[Belief, Belief]:
    """Stock-outs and substitution inferred; and the same stock-outs without substitution."""
    from retail_assets.models.stockouts.joint import fit_status
    from retail_assets.models.stockouts.joint_paths import JointPaths
    from retail_assets.models.substitution.levels import LevelDraws
    from retail_assets.models.substitution.posterior import fit_posterior

    status = fit_status(till.panel, seed=seed)
    posterior = fit_posterior(
        till.panel,
        JointPaths(status),
        status.weight,
        seed=seed,
        n_draws=DRAWS,
        n_imputations=IMPUTATIONS,
        redraw_level=LevelDraws(till.panel, [store.level for store in status.stores]),
    )
    out = tuple(
        (
            Spans.join([(p.spans.start, p.spans.stop) for p in store.products]),
            np.concatenate([p.spans.p_out_mean for p in store.products]),
        )
        for store in status.stores
    )
    weight = tuple(status.weight)
    profile = tuple(store.level.profile for store in status.stores)
    draws = [posterior.rates(draw) for draw in range(posterior.n_draws)]
    rate = [
        _sales_over_stocked_time(store, *one, w)
        for store, one, w in zip(till.panel.stores, out, weight, strict=True)
    ]
    alone = [_independent(np.array(rate))]
    return Belief(draws, weight, profile, out), Belief(alone, weight, profile, out)


def sales_are_demand(till: Till) -> Belief:
    """No stock-out is inferred, so there is no substitution to see either."""
    weight, profile = _levels(till)
    rate = [_transactions(store) / store.n_intervals for store in till.panel.stores]
    return Belief([_independent(np.array(rate))], weight, profile, None)


def literal_rule(till: Till) -> Belief:
    """The white paper's rule as printed: silence of chance below 1e-4 is a stock-out."""
    weight, profile = _levels(till)
    rates, spans = [], []
    for store, own_weight in zip(till.panel.stores, weight, strict=True):
        tests = [
            literal_test(*store.sales(j), store.n_intervals) for j in range(till.panel.n_products)
        ]
        out = Spans.join([test.out for test in tests])
        spans.append((out, np.ones(len(out.start))))
        rates.append(_sales_over_stocked_time(store, *spans[-1], own_weight))
    return Belief([_independent(np.array(rates))], weight, profile, tuple(spans))


def shop_of(till: Till, belief: Belief, world: World, store: int) -> Shop:
    """A store's shelf as it is, over the last quarter, as assets/scenario_tables builds it."""
    panel, first = till.panel.stores[store], till.first_interval[store]
    begin = int(first[-1 - QUARTER])
    n, lead = till.panel.n_products, 0
    supply = world.own.supply
    if isinstance(supply, WeeklyDeliveries):
        lead = round(supply.lead_days * panel.n_intervals / (len(first) - 1))
    assert panel.deliveries is not None
    reviews = tuple(
        (own[own >= begin + lead] - begin - lead).astype(np.int64) for own in panel.deliveries
    )
    return Shop(
        products=till.panel.products,
        capacity=till.capacity[store],
        unit_price_cents=world.regular_cents[:n],
        n_intervals=panel.n_intervals - begin,
        review=np.ones(n, np.int64),
        lead=np.full(n, lead),
        reorder_share=np.ones(n),
        unit_cost_cents=world.cost_cents[:n],
        weight=belief.weight[store][begin:],
        units_mean=till.units_mean,
        units_var=till.units_var,
        review_times=reviews,
    )


def _transactions(store: StorePanel) -> Floats:
    so_far = np.concatenate([[0], np.cumsum(store.transactions)])
    return np.diff(so_far[store.indptr]).astype(np.float64)


def _sales_over_stocked_time(store: StorePanel, out: Spans, p_out: Floats, w: Floats) -> Floats:
    """(n,) transactions over the demand level met while in stock."""
    level = np.concatenate([[0.0], np.cumsum(w)])
    owner = np.repeat(np.arange(out.n_products), np.diff(out.indptr))
    missed = np.bincount(owner, p_out * (level[out.stop] - level[out.start]), out.n_products)
    rate: Floats = _transactions(store) / np.maximum(level[-1] - missed, 1.0)
    return rate


def _levels(till: Till) -> tuple[tuple[Floats, ...], tuple[Floats, ...]]:
    """Demand level of every store's intervals, all of it taken to be in stock."""
    found = []
    for store in till.panel.stores:
        sales = np.bincount(store.interval, store.transactions, store.n_intervals)
        expected = np.full(store.n_intervals, sales.mean())
        found.append(estimate_level(store, sales.astype(np.float64), expected))
    return tuple(level.weight for level in found), tuple(level.profile for level in found)


def _independent(rate: Floats) -> Rates:
    return Rates(rate, np.zeros((rate.shape[1],) * 2))
