"""The arms: one retailer's second half decided in different ways, on the same customers.

An arm is what it believes, how it divides the shelf, how it meets the new item and how it
prices. Arms that differ in prices only share their shelves, the two weeks of the new item
included. The clairvoyant hands the truth to the same optimisers.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Literal

import numpy as np

from bench import chain_prices as pricing
from bench import chain_shelves as shelves
from bench.chain_replay import Books, Plan, stock_after, total, trade
from bench.chain_till import (
    Belief,
    Till,
    literal_rule,
    observe,
    sales_are_demand,
    shop_of,
    whole_chain,
)
from bench.chain_worlds import (
    LAUNCH,
    UPDATE,
    Floats,
    Ints,
    StoreHalf,
    World,
    coming_of,
    draw_world,
    past_of,
)
from retail_assets.models.assortment.shop import Shop
from retail_assets.models.cold_start.mixture import BetaMixture
from retail_assets.models.demand.price_model import PriceModel
from retail_assets.models.panel import Rates
from retail_assets.simulator import History

Source = Literal["whole", "alone", "sales", "literal", "truth"]
Cold = Literal["posterior", "plug-in", "default share", "truth"]
Price = Literal["whole", "alone", "plain", "regular", "retailer", "truth"]


@dataclass(frozen=True)
class Arm:
    """How one arm decides.

    Parameters
    ----------
    belief : what demand is taken to be: the whole chain's posterior, the same stock-outs
        without substitution, sales, the literal rule's, or the truth.
    joint : shelves by marginal curves; else each product's newsvendor, scaled to the room.
    cold : the new item: its group's prior and then its own trials, the same as point
        estimates, a default share that stays, or the truth.
    price : whose demand the sale is optimised by; ``plain`` has no exposure offset,
        ``retailer`` keeps the retailer's discounts, ``regular`` gives none.
    """

    belief: Source = "whole"
    joint: bool = True
    cold: Cold = "posterior"
    price: Price = "whole"


CURRENT, PLATFORM, CLAIRVOYANT, LITERAL = "current", "platform", "clairvoyant", "literal sources"
REGULAR = "platform at regular prices"
LINKS = {
    "stock-out inference": Arm(belief="sales", price="plain"),
    "substitution": Arm(belief="alone", price="alone"),
    "cold start": Arm(cold="default share"),
    "censoring offset": Arm(price="plain"),
    "joint plan": Arm(joint=False),
    "price optimiser": Arm(price="retailer"),
}
"""The platform without one link each."""
TOLD = {
    "shelves": Arm(belief="truth", cold="truth"),
    "prices": Arm(price="truth"),
}
"""The platform told the truth by one part: what is left to gain there."""
ARMS = {
    PLATFORM: Arm(),
    LITERAL: Arm("literal", joint=False, cold="plug-in", price="plain"),
    **{f"without {name}": arm for name, arm in LINKS.items()},
    REGULAR: Arm(price="regular"),
    **{f"told {name}": arm for name, arm in TOLD.items()},
    CLAIRVOYANT: Arm("truth", cold="truth", price="truth"),
}


@dataclass
class Headquarters:
    """Everything that is estimated or planned once for all arms of a world."""

    world: World
    history: History
    _plans: dict[tuple[Source, bool, Cold], list[Plan]] = field(default_factory=dict)
    _shelves: dict[tuple[Source, bool], list[Ints]] = field(default_factory=dict)
    _models: dict[Price, PriceModel] = field(default_factory=dict)

    @cached_property
    def till(self) -> Till:
        return observe(self.world, self.history)

    @cached_property
    def stores(self) -> tuple[StoreHalf, ...]:
        pairs = zip(self.history.category().stores, self.history.calendars, strict=True)
        left = [
            stock_after(
                s.customers, s.replay, s.initial_stock, s.replenishment, s.shrinkage, c.n_intervals
            )
            for s, c in pairs
        ]
        return tuple(coming_of(self.world, left))

    @cached_property
    def _inferred(self) -> tuple[Belief, Belief]:
        return whole_chain(self.till, self.world.seed)

    @cached_property
    def _truth(self) -> Belief:
        own = self.world.own
        rates = np.array([store.arrival_rate for store in self.stores])
        draw = Rates(rates, own.substitution_rate, own.choice_model)
        return Belief([draw], tuple(w.profile for w in self.history.weather), (), None)

    def belief(self, source: Source) -> Belief:
        """What an arm takes demand to be; the two fits are made when first asked for."""
        if source == "whole":
            return self._inferred[0]
        if source == "alone":
            return self._inferred[1]
        if source == "truth":
            return self._truth
        return sales_are_demand(self.till) if source == "sales" else literal_rule(self.till)

    def books(self, arm: Arm) -> Books:
        """What an arm earns."""
        plans = self.plans(arm)
        prices = self.prices(arm.price, plans)
        return total(
            [trade(self.world, s, prices, p) for s, p in zip(self.stores, plans, strict=True)]
        )

    def current(self) -> Books:
        """The retailer goes on as it did; the new item gets an average share of the shelf."""
        prices = self.world.retailer_prices()
        lived = []
        for store in self.stores:
            now = store.orders.order_up_to[:-1]
            plan = [(0, np.append(now, 0)), (LAUNCH, fair_share(now, store.room))]
            lived.append(trade(self.world, store, prices, plan))
        return total(lived)

    def prices(self, price: Price, plans: Sequence[Plan]) -> Ints:
        world = self.world
        if price == "retailer":
            return world.retailer_prices()
        available = np.sum([plan[0][1] for plan in plans], axis=0)
        if price == "truth":
            return pricing.sale_prices(world, pricing.Truth(world, self.stores), available)
        # Rule `unknown_effect`: where past prices tell nothing, today's price is kept.
        if price == "regular" or not self.model(price).identified:
            return world.regular_prices()
        demand = pricing.Expected(world, self.till, self.model(price))
        return pricing.sale_prices(world, demand, available)

    def model(self, price: Price) -> PriceModel:
        """The demand model that prices are set by."""
        if price not in self._models:
            belief = self.belief("alone" if price == "alone" else "whole")
            exposure = pricing.exposure_of(
                self.till, self.world, belief, censoring=price != "plain"
            )
            self._models[price] = pricing.champion(pricing.rows_of(self.till, self.world, exposure))
        return self._models[price]

    def plans(self, arm: Arm) -> list[Plan]:
        """Each store's plan: at the start, at the launch, and two weeks after it."""
        key = (arm.belief, arm.joint, arm.cold)
        if key not in self._plans:
            self._plans[key] = self._planned(arm)
        return self._plans[key]

    def _planned(self, arm: Arm) -> list[Plan]:
        belief, seed = self.belief(arm.belief), self.world.seed
        shops = [shop_of(self.till, belief, self.world, s) for s in range(len(self.stores))]
        if (arm.belief, arm.joint) not in self._shelves:
            known = [_without_last(draw, shops[0]) for draw in belief.draws]
            self._shelves[arm.belief, arm.joint] = self._divided(arm, known, shops, seed)
        first = self._shelves[arm.belief, arm.joint]
        wide = [self._wider(shop, shelf) for shop, shelf in zip(shops, first, strict=True)]
        if arm.cold == "default share":
            pairs = zip(first, self.stores, strict=True)
            return _from_launch(first, [fair_share(shelf, store.room) for shelf, store in pairs])
        if arm.cold == "truth":
            return _from_launch(first, self._divided(arm, belief.draws, wide, seed + 1))
        return self._learning(arm, first, wide)

    def _learning(self, arm: Arm, first: list[Ints], wide: list[Shop]) -> list[Plan]:
        """The new item opens on its group's prior; two weeks of its own sales divide anew."""
        belief, seed = self.belief(arm.belief), self.world.seed
        prior = shelves.group_prior(*shelves.trials_of_range(self.till, belief))
        share = self._share(arm, prior)
        launch = [
            shelves.opening(
                share, shelf, shop, self.stores[s].room, till=self.till, store=s, seed=seed
            )
            for s, (shelf, shop) in enumerate(zip(first, wide, strict=True))
        ]
        begun = _from_launch(first, launch)
        prices = self.prices(arm.price, begun)
        lived = [trade(self.world, s, prices, p) for s, p in zip(self.stores, begun, strict=True)]
        k, n = shelves.trials_of_new_item(self.stores, lived, infer=belief.out is not None)
        # Nothing seen before: the prior rests on the others' trials alone.
        none = np.zeros(1)
        known = prior.updated(np.array([k]), np.array([n]), seen_k=none, seen_n=none)
        draws = shelves.draws_with_new_item(belief.draws, self.till, self._share(arm, known))
        again = [replace(shop, capacity=b) for shop, b in zip(wide, launch, strict=True)]
        last = self._divided(arm, draws, again, seed + 2)
        return [[*plan, (UPDATE, c)] for plan, c in zip(begun, last, strict=True)]

    def _divided(
        self, arm: Arm, draws: Sequence[Rates], shops: Sequence[Shop], seed: int
    ) -> list[Ints]:
        """Every store's levels, from shelves as they are."""
        divide = shelves.joint_shelf if arm.joint else shelves.newsvendor_shelf
        found = []
        for s, shop in enumerate(shops):
            shelf = divide(draws, shop, self.stores[s].room, s, seed)
            found.append(shelves.order_levels(draws, shop, shelf, s, seed))
        return found

    def _wider(self, shop: Shop, shelf: Ints) -> Shop:
        world = self.world
        return shelves.with_new_item(
            replace(shop, capacity=shelf),
            int(world.regular_cents[-1]),
            int(world.cost_cents[-1]),
            world.own.products[-1],
        )

    def _share(self, arm: Arm, known: BetaMixture) -> Floats:
        """Draws of the new item's P(chosen); plugged in, its mean."""
        if arm.cold == "plug-in":
            return np.full(shelves.REPLICATIONS, float(known.mean[0]))
        count = max(shelves.REPLICATIONS, len(self.belief(arm.belief).draws))
        return shelves.share_draws(known, count, self.world.seed)


def _from_launch(before: Sequence[Ints], after: Sequence[Ints]) -> list[Plan]:
    pairs = zip(before, after, strict=True)
    return [[(0, np.append(a, 0)), (LAUNCH, b)] for a, b in pairs]


def _without_last(draw: Rates, shop: Shop) -> Rates:
    """The known products' rates, where a draw (the truth) holds the new item's too."""
    n = len(shop.products)
    return Rates(draw.arrival_rate[:, :n], draw.substitution_rate[:n, :n], draw.choice_model)


def fair_share(levels: Ints, room: int) -> Ints:
    """An average share for the new item, the others a little smaller each."""
    n = len(levels) + 1
    share = np.append(levels * (n - 1) / n, levels.sum() / n)
    return shelves.shared_out(share, room)


@dataclass(frozen=True)
class Outcome:
    """One world: every arm's books by name, whether its prices told anything, CPU seconds."""

    books: dict[str, Books]
    identified: bool
    seconds: float


def live(preset: str, seed: int) -> Outcome:
    """One world under every arm."""
    began = time.process_time()
    world = draw_world(preset, seed)
    office = Headquarters(world, past_of(world))
    books = {CURRENT: office.current()}
    books |= {name: office.books(arm) for name, arm in ARMS.items()}
    identified = office.model("whole").identified
    return Outcome(books, identified, time.process_time() - began)
