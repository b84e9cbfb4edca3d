"""Warehouse splits against the full linear programme and enumeration."""

import itertools

import numpy as np
import pytest
from scipy.optimize import linprog

from retail_assets.models.inventory.allocation import split_over_warehouses


def full_lp(need, cost, room):
    """One variable per style, warehouse and zone; scipy's HiGHS."""
    styles, zones = need.shape
    shape = (styles, len(room), zones)
    index = np.arange(np.prod(shape)).reshape(shape)
    served = np.zeros((styles * zones, index.size))
    for row, (s, z) in enumerate(np.ndindex(styles, zones)):
        served[row, index[s, :, z]] = 1
    used = np.zeros((len(room), index.size))
    for w in range(len(room)):
        used[w, index[:, w].ravel()] = 1
    prices = np.broadcast_to(cost, shape).ravel()
    return linprog(prices, used, room, served, need.ravel(), method="highs").fun


def instance(seed, *, by_style=False):
    rng = np.random.default_rng(seed)
    styles, warehouses, zones = rng.integers(1, 9), rng.integers(1, 5), rng.integers(1, 6)
    need = rng.integers(0, 40, (styles, zones))
    room = rng.multinomial(int(need.sum() * 1.15) + 3, np.full(warehouses, 1 / warehouses))
    shape = (styles, warehouses, zones) if by_style else (warehouses, zones)
    return need, rng.integers(1, 100, shape), room


@pytest.mark.parametrize("by_style", [False, True])
def test_the_flow_equals_the_full_linear_programme_on_fifty_instances(by_style):
    for seed in range(50):
        need, cost, room = instance(seed, by_style=by_style)
        split = split_over_warehouses(need, cost, room)
        assert split.cost_cents == pytest.approx(full_lp(need, cost, room), abs=1e-6)
        assert np.array_equal(split.flow.sum(axis=1), need)
        assert np.all(split.ordered.sum(axis=0) <= room)
        assert (split.flow * np.broadcast_to(cost, split.flow.shape)).sum() == split.cost_cents


def test_without_room_the_dearest_need_stays_unmet():
    split = split_over_warehouses([[10, 10]], [[1, 5]], [12], unmet_cost_cents=50)
    assert split.unmet.tolist() == [[0, 8]]
    with pytest.raises(ValueError, match="raise capacity"):
        split_over_warehouses([[10, 10]], [[1, 5]], [12])


def test_a_forbidden_link_is_not_used():
    split = split_over_warehouses([[5]], [[-1], [9]], [10, 10])
    assert split.ordered.tolist() == [[0, 5]]


def by_enumeration(need, cost, room, pack, fixed):
    """Every number of packs per style and warehouse; flow by the linear programme."""
    styles = len(need)
    best = np.inf
    most = -(-need.sum(axis=1) // pack)
    for packs in itertools.product(*(range(m + 1) for m in most for _ in room)):
        bought = np.array(packs).reshape(styles, len(room)) * pack
        if np.any(bought.sum(axis=0) > room) or np.any(bought.sum(axis=1) < need.sum(axis=1)):
            continue
        total = fixed * np.count_nonzero(bought)
        for s in range(styles):
            total += full_lp(need[s : s + 1], cost, bought[s])
        best = min(best, total)
    return best


@pytest.mark.parametrize("seed", range(4))
def test_packs_and_fixed_costs_equal_enumeration(seed):
    rng = np.random.default_rng(seed)
    need = rng.integers(1, 9, (2, 2))
    cost = rng.integers(1, 30, (2, 2))
    room = np.array([24, 24])
    split = split_over_warehouses(need, cost, room, pack_size=4, fixed_cost_cents=25)
    assert split.method == "cp_sat"
    assert split.proven
    assert split.cost_cents == by_enumeration(need, cost, room, 4, 25)
    assert np.all(split.ordered % 4 == 0)
    assert np.all(split.flow.sum(axis=2) <= split.ordered)


def test_packs_of_one_without_fixed_cost_are_a_flow():
    need, cost, room = instance(3)
    assert split_over_warehouses(need, cost, room, pack_size=1).method == "flow"
    packed = split_over_warehouses(need, cost, room * 2, pack_size=[1] * (len(need) - 1) + [2])
    assert packed.cost_cents == pytest.approx(full_lp(need, cost, room * 2))
