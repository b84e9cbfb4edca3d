"""The bench ``chain`` keeps its word: one set of customers, exact books, an honest clairvoyant."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from bench.chain_arms import ARMS, CLAIRVOYANT, Headquarters
from bench.chain_replay import trade, who_comes
from bench.chain_till import observe
from bench.chain_worlds import StoreHalf, World, draw_world, past_of
from retail_assets.simulator import History

SEED = 950


@pytest.fixture(scope="module", params=["paper", "demo"])
def world(request: pytest.FixtureRequest) -> World:
    return draw_world(request.param, SEED)


@pytest.fixture(scope="module")
def history(world: World) -> History:
    return past_of(world)


@pytest.fixture(scope="module")
def office() -> Headquarters:
    world = draw_world("paper", SEED)
    return Headquarters(world, past_of(world))


def test_the_retailers_own_decisions_earn_what_the_retailer_earned(
    world: World, history: History
) -> None:
    again = replace(world, coming=world.past, ladder=world.ladder[:-1])
    till = observe(world, history)
    for s, own in enumerate(history.category().stores):
        half = StoreHalf(
            history.calendars[s],
            history.weather[s].profile,
            history.category().truth.arrival_rate[s],
            own.customers,
            np.zeros(len(own.customers)),
            own.replenishment,
            own.shrinkage,
            own.initial_stock,
        )
        level = own.replenishment.order_up_to
        lived = trade(again, half, till.prices, [(0, level), (70, level.copy())])
        assert lived.sold_units.tolist() == own.replay.sold_units.tolist()
        assert lived.books.lost == own.replay.lost.sum()
        assert lived.books.revenue == (till.units[s] * till.prices).sum()


def test_lower_prices_add_customers_and_take_none_away(office: Headquarters) -> None:
    world, store = office.world, office.stores[0]
    dear, on_sale = world.regular_prices(), world.retailer_prices()
    few, _ = who_comes(world, store, dear)
    more, day = who_comes(world, store, on_sale)
    assert len(few) < len(more) <= len(store.customers)
    first = more.choices[:, 0].astype(int)
    usual = (on_sale == dear)[day, first]
    plain = few.choices[(on_sale == dear)[store.calendar.day[few.interval], few.choices[:, 0]]]
    assert more.choices[usual].tolist() == plain.tolist()


def test_the_clairvoyant_earns_more_than_the_retailer(office: Headquarters) -> None:
    best = office.books(ARMS[CLAIRVOYANT])
    assert best.profit > office.current().profit


def test_no_plan_is_larger_than_the_shelf(office: Headquarters) -> None:
    for store, plan in zip(office.stores, office.plans(ARMS[CLAIRVOYANT]), strict=True):
        assert all(levels.sum() <= store.room for _, levels in plan)


def test_a_world_drawn_again_is_the_same_world(office: Headquarters) -> None:
    name, seed = office.world.preset, office.world.seed
    again = draw_world(name, seed)
    assert Headquarters(again, past_of(again)).current() == office.current()
