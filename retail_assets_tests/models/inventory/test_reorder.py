"""The reorder plan: service, limits, sizes, warehouses, retirement and its words."""

import numpy as np
import pytest
from scipy import stats

from retail_assets.models.inventory.demand import Demand, Stock, Traffic, rate_draws
from retail_assets.models.inventory.forecast import Requirement, requirement_paths
from retail_assets.models.inventory.newsvendor import newsvendor_poisson
from retail_assets.models.inventory.reorder import Costs, Limits, plan_reorders
from retail_assets.models.inventory.retirement import (
    break_even_rate,
    retire_threshold,
    retirement,
)
from retail_assets.models.inventory.returns import Settlement
from retail_assets.models.inventory.sizes import size_curves

PATHS = 4_000


def season(on_hand, *, weeks=6, lead=0.0, p=0.25, clients=40.0, paths=PATHS, review=6):
    """A shop's requirement with known p, one row per entry of ``on_hand``."""
    rows = len(on_hand)
    stock = Stock.of(on_hand, lead_weeks=lead)
    demand = Demand.of(
        np.arange(rows), Traffic.of(np.full((rows, weeks), clients)), np.full((rows, paths), p)
    )
    need = requirement_paths(
        stock,
        demand,
        Settlement.sold_at_once(rows, paths),
        review_weeks=review,
        cover_weeks=weeks,
        seed=1,
    )
    return stock, need


def seasonal_costs(rows=1):
    return Costs.of(np.full(rows, 4_500), np.full(rows, 1_000), seasonal=True, salvage_cents=0)


def test_a_season_is_the_newsvendor_of_its_demand():
    stock, need = season([20], paths=20_000)
    plan = plan_reorders(stock, need, seasonal_costs(), seasonal=True)
    best = newsvendor_poisson(1_000, 3_500, 60.0)
    assert plan.policy == ("newsvendor",)
    assert plan.critical_ratio[0] == pytest.approx(3_500 / 4_500)
    assert plan.order_up_to[0] == pytest.approx(best.level, abs=1)
    assert plan.order_qty[0] == pytest.approx(best.level - 20, abs=1)
    assert plan.expected_cost_cents[0] == pytest.approx(best.cost, rel=0.03)
    assert plan.cycle_service[0] == pytest.approx(stats.poisson.cdf(best.level, 60), abs=0.02)
    assert "order" in plan.reason[0]


def test_the_reorder_point_does_not_depend_on_where_the_units_are():
    """600 on hand, or 100 on hand and 500 on order: an order placed now comes after those."""
    stock = Stock.of([600, 100], on_order=[0, 500], lead_weeks=2.0, lead_weeks_sd=0.5)
    demand = Demand.of([0, 1], Traffic.of(np.full((2, 8), 20.0)), np.full((2, PATHS), 0.25))
    need = requirement_paths(stock, demand, Settlement.sold_at_once(2, PATHS), seed=8)
    costs = Costs.of([2_000] * 2, [1_050] * 2, seasonal=False, holding_cents_per_week=5)
    plan = plan_reorders(stock, need, costs, seasonal=False)
    assert plan.reorder_point[1] == pytest.approx(plan.reorder_point[0], abs=2)
    assert plan.reorder_point[0] < 50


def test_the_reorder_point_covers_lead_time_and_review_in_a_simulation():
    """Reorder point + nothing else: share of cycles without a unit short is the ratio."""
    rows = 100
    p = rate_draws(np.full(rows, 5.0), np.full(rows, 15.0), None, PATHS, seed=3)
    stock = Stock.of([60] * rows, lead_weeks=3.0, lead_weeks_sd=0.8)
    demand = Demand.of(np.arange(rows), Traffic.of(np.full((rows, 12), 40.0)), p)
    need = requirement_paths(stock, demand, Settlement.sold_at_once(rows, PATHS), seed=4)
    costs = Costs.of(
        np.full(rows, 2_000), np.full(rows, 1_050), seasonal=False, holding_cents_per_week=50
    )
    plan = plan_reorders(stock, need, costs, seasonal=False)
    rng = np.random.default_rng(5)
    true_p = rng.beta(5.0, 15.0, (rows, 600))
    lead = np.floor(rng.gamma(3.0**2 / 0.64, 0.64 / 3.0, (rows, 600)) + rng.random((rows, 600)))
    short = rng.poisson(40.0 * true_p * (lead + 1)) > plan.reorder_point[:, None]
    assert plan.critical_ratio[0] == pytest.approx(0.95)
    assert 1 - short.mean() == pytest.approx(0.95, abs=0.01)


def test_no_order_above_the_reorder_point():
    stock, need = season([500])
    plan = plan_reorders(stock, need, seasonal_costs(), seasonal=True)
    assert plan.order_qty.tolist() == [0]
    assert plan.reason[0].startswith("no order: 500 units")


def test_an_order_does_not_chase_demand_lost_before_it_arrives():
    stock, need = season([0], lead=2.0)
    plan = plan_reorders(stock, need, seasonal_costs(), seasonal=True)
    assert plan.order_qty[0] == pytest.approx(newsvendor_poisson(1_000, 3_500, 40.0).level, abs=1)
    assert plan.order_up_to[0] == pytest.approx(newsvendor_poisson(1_000, 3_500, 60.0).level, abs=1)
    assert "lost before it can arrive" in plan.reason[0]


def test_fixed_costs_add_the_economic_quantity():
    stock, need = season([0], weeks=12, review=1)
    costs = Costs.of(
        2_000, 1_000, seasonal=False, holding_cents_per_week=10, fixed_cost_cents=2_000
    )
    plan = plan_reorders(stock, need, costs, seasonal=False)
    assert plan.policy == ("s_S",)
    batch = np.sqrt(2 * 2_000 * 10 / 10)
    assert plan.order_up_to[0] - plan.reorder_point[0] == pytest.approx(batch, abs=1.5)


def test_packs_minimum_maximum_and_room_hold():
    stock, need = season([20, 20, 20, 59])
    limits = Limits.of(
        4,
        pack_size=[12, 1, 1, 1],
        max_qty=[999, 15, 999, 999],
        room=[999, 999, 30, 999],
        min_qty=[0, 0, 0, 60],
    )
    plan = plan_reorders(stock, need, seasonal_costs(4), seasonal=True, limits=limits)
    assert plan.order_qty[0] in (36, 48)
    assert plan.order_qty[1:3].tolist() == [15, 10]
    # The least that may be ordered costs more than the few units short.
    assert plan.order_qty[3] == 0
    assert "limits" in plan.reason[3]


def test_sizes_add_up_to_the_order_and_a_fallback_is_said():
    stock, need = season([20, 20])
    curves = size_curves([[10, 30, 20], [0, 0, 0]])
    plan = plan_reorders(stock, need, seasonal_costs(2), seasonal=True, sizes=curves)
    alone = plan_reorders(stock, need, seasonal_costs(2), seasonal=True)
    for row in range(2):
        own = plan.row == row
        assert plan.order_qty[own].sum() == alone.order_qty[row]
        assert plan.order_up_to[own].sum() == pytest.approx(alone.order_up_to[row])
        assert plan.expected_cost_cents[own].sum() == pytest.approx(alone.expected_cost_cents[row])
    assert plan.size.tolist() == [0, 1, 2, 0, 1, 2]
    assert "category" in plan.reason[3]
    assert "category" not in plan.reason[0]


def test_what_does_not_fit_a_warehouse_goes_to_the_other():
    stock, need = season([0, 0, 0, 0])
    free = plan_reorders(stock, need, seasonal_costs(4), seasonal=True)
    total = int(free.order_qty.sum())
    room = np.array([total // 4, total])
    plan = plan_reorders(
        stock,
        need,
        seasonal_costs(4),
        seasonal=True,
        style=np.array([0, 0, 1, 1]),
        warehouse=np.array([0, 1, 0, 1]),
        warehouse_room=room,
    )
    assert plan.order_qty[[0, 2]].sum() == room[0]
    assert plan.order_qty.sum() == total
    assert any("after moves between warehouses" in text for text in plan.reason)


def test_a_style_below_break_even_is_not_bought_again():
    stock, need = season([0, 0])
    p = rate_draws([3.0, 60.0], [97.0, 140.0], None, PATHS, seed=6)
    stop = retirement(p, 0.12)
    assert stop.probability == pytest.approx(
        [stats.beta(3, 97).cdf(0.12), stats.beta(60, 140).cdf(0.12)], abs=0.01
    )
    plan = plan_reorders(stock, need, seasonal_costs(2), seasonal=True, retire=stop)
    assert plan.retire_flag.tolist() == [True, False]
    assert plan.order_qty[0] == 0
    assert plan.order_qty[1] > 0
    assert plan.reason[0].startswith("stop sending")


def test_the_retire_threshold_follows_from_costs():
    assert retire_threshold(9.0, 1.0) == pytest.approx(0.9)
    # 40 considered a week, half kept at a margin of 2,000, a place worth 4,000 a week.
    assert break_even_rate(2_000, 0.5, slot_cost_cents=4_000, considered=40) == pytest.approx(0.1)
    assert break_even_rate(0, 0.5, slot_cost_cents=4_000, considered=40) == 1.0


def test_costs_without_a_margin_name_the_row():
    with pytest.raises(ValueError, match="row 1"):
        Costs.of([2_000, 900], [1_000, 1_000], seasonal=True)
    with pytest.raises(ValueError, match="holding cost"):
        Costs.of(2_000, 1_000, seasonal=False)


def test_rooms_need_styles_and_warehouses():
    stock, need = season([0])
    with pytest.raises(ValueError, match="style and the warehouse"):
        plan_reorders(stock, need, seasonal_costs(), seasonal=True, warehouse_room=np.array([1]))


def test_fill_rate_is_the_share_of_demand_served():
    draws = np.array([[0, 10, 20, 30]])
    need = Requirement(draws, draws, np.zeros_like(draws), np.array([15.0]), np.array([5.0]))
    plan = plan_reorders(Stock.of([0]), need, Costs.of(200, 100, seasonal=True), seasonal=True)
    assert plan.order_qty[0] == 20
    assert plan.fill_rate[0] == pytest.approx(1 - 2.5 / 15)
    assert plan.cycle_service[0] == pytest.approx(0.75)
