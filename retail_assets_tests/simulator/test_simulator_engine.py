"""The simulated shop keeps its books, and sells what theory says it sells."""

import time
from dataclasses import replace

import numpy as np
import pytest

from retail_assets.models.choice.markov_chain import choice_rates
from retail_assets.simulator import load_preset, panel_of, simulate
from retail_assets.simulator.presets import large
from retail_assets.simulator.specs import ReviewCycle
from retail_assets.simulator.supply import stock_ledger


def plain_shop(stored, n_intervals):
    """The shop as plain Python: outcomes, stock at interval starts, out intervals."""
    orders, people = stored.replenishment, stored.customers
    n = len(stored.initial_stock)
    held = [int(x) for x in stored.initial_stock]
    on_order = [0] * n
    reviews, arriving, gone, by_interval = {}, {}, {}, {}
    for j in range(n):
        for k in range(orders.indptr[j], orders.indptr[j + 1]):
            reviews.setdefault(int(orders.review[k]), []).append((j, int(orders.arrival[k])))
    for t, j, units in zip(*(stored.shrinkage or ((), (), ())), strict=True):
        gone.setdefault(int(t), []).append((int(j), int(units)))
    for c, t in enumerate(people.interval.tolist()):
        by_interval.setdefault(t, []).append(c)
    outcome, stock = [-1] * len(people), np.zeros((n_intervals, n), int)
    for t in range(n_intervals):
        for j, units in arriving.pop(t, []):
            held[j] += units
            on_order[j] -= units
        for j, units in gone.get(t, []):
            held[j] -= min(held[j], units)
        for j, arrives in reviews.get(t, []):
            position = held[j] + on_order[j]
            if position <= orders.reorder_point[j]:
                units = int(orders.order_up_to[j]) - position
                if arrives == t:
                    held[j] += units
                else:
                    on_order[j] += units
                    arriving.setdefault(arrives, []).append((j, units))
        stock[t] = held
        for c in by_interval.get(t, []):
            for j in people.choices[c]:
                if j < 0:
                    break
                if held[j] > 0:
                    outcome[c] = int(j)
                    held[j] -= min(held[j], int(people.units[c]))
                    break
    return np.array(outcome), stock


def small(preset, **changes):
    """A preset cut to 3,000 intervals, with lead time, jitter, shrinkage and baskets."""
    spec = load_preset(preset)
    own = replace(
        spec.categories[0],
        supply=ReviewCycle(60, lead=25, jitter=50),
        order_up_to=np.array([30, 22, 16, 12, 28]),
        shrinkage_rate=0.004,
        basket_p=0.7,
        **changes,
    )
    return replace(spec, categories=(own,), n_intervals=3000, n_days=3)


@pytest.mark.parametrize("preset", ["paper", "markov_chain", "overdispersed", "paper_money"])
def test_a_small_shop_equals_its_plain_python_twin(preset):
    spec = small(preset)
    spec = replace(spec, n_days=3000 * spec.interval_minutes // 1440 + 1)
    stored = simulate(spec, seed=11).category().stores[0]
    outcome, stock = plain_shop(stored, 3000)
    np.testing.assert_array_equal(stored.replay.outcome, outcome)
    for j in range(5):
        np.testing.assert_array_equal(stored.out.mask(j, 3000), stock[:, j] == 0)
    _, on_hand = stock_ledger(
        stored.customers,
        stored.replay,
        stored.initial_stock,
        stored.replenishment,
        stored.shrinkage,
        np.arange(3000),
    )
    np.testing.assert_array_equal(on_hand, stock)
    assert np.all(stock <= stored.replenishment.order_up_to)


@pytest.mark.parametrize("preset", ["paper", "markov_chain", "overdispersed", "fast_cycle"])
def test_every_first_choice_is_bought_substituted_or_lost(preset):
    stored = simulate(preset, seed=12).category().stores[0]
    run, first = stored.replay, stored.customers.choices[:, 0]
    for j in range(5):
        own = run.outcome[first == j]
        assert len(own) == run.first_choice[j]
        assert np.sum(own == j) == run.sales[j] - run.substituted_in[j]
        assert np.sum((own != j) & (own >= 0)) == run.substituted_out[j]
        assert np.sum(own < 0) == run.lost[j]
    assert run.first_choice.sum() == run.sales.sum() + run.lost.sum()


def test_the_same_seed_is_the_same_history_and_another_is_not():
    one, two, other = (simulate("overdispersed", seed=s).category().stores[0] for s in (1, 1, 2))
    np.testing.assert_array_equal(one.customers.choices, two.customers.choices)
    np.testing.assert_array_equal(one.replay.outcome, two.replay.outcome)
    np.testing.assert_array_equal(one.out.start, two.out.start)
    assert len(one.customers) != len(other.customers)


@pytest.mark.parametrize("model", ["one_step", "markov_chain"])
@pytest.mark.parametrize("gone", [(0,), (0, 1), (2, 3, 4)])
def test_sales_under_an_outage_match_the_closed_form(model, gone):
    """Products gone after one unit, the others never short: rates are λ + inflow."""
    spec = load_preset("paper")
    own = replace(
        spec.categories[0],
        choice_model=model,
        order_up_to=np.array([1 if j in gone else 10**7 for j in range(5)]),
        supply=ReviewCycle(0),
    )
    history = simulate(replace(spec, categories=(own,)), seed=13)
    sales = history.category().stores[0].replay.sales
    available = np.array([j not in gone for j in range(5)])
    truth = history.category().truth
    expected = 200_000 * choice_rates(
        truth.arrival_rate[0], truth.substitution_rate, available, model
    )
    assert np.all(sales[~available] == 1)
    assert np.all(np.abs(sales - expected)[available] <= 4.5 * np.sqrt(expected[available]))


def test_nobody_wants_a_product_outside_its_life():
    spec = load_preset("paper")
    launch, delist = np.array([0, 20, 0, 0, 0]), np.array([999, 999, 30, 999, 999])
    own = replace(spec.categories[0], launch_day=launch, delist_day=delist)
    history = simulate(replace(spec, categories=(own,)), seed=13)
    first = history.calendars[0].first_interval
    came = history.category().stores[0].customers
    wanted = came.choices[:, 0]
    assert came.interval[wanted == 1].min() >= first[20]
    assert came.interval[wanted == 2].max() < first[30]
    np.testing.assert_array_equal(
        panel_of(history).stores[0].listed,
        [[0, first[-1]], [first[20], first[-1]]] + [[0, first[30]]] + [[0, first[-1]]] * 2,
    )


def test_one_step_and_markov_differ_once_two_are_out():
    own = load_preset("paper").categories[0]
    both_out = np.array([False, False, True, True, True])
    rates = [
        choice_rates(own.arrival_rate, own.substitution_rate, both_out, model).sum()
        for model in ("one_step", "markov_chain")
    ]
    assert rates[1] > rates[0] * 1.05


def test_the_panel_shows_sales_and_nothing_else():
    history = simulate("common_shock", seed=14)
    panel = panel_of(history)
    store, sold = panel.stores[0], history.category().stores[0]
    assert store.transactions.sum() == sold.replay.sales.sum()
    assert store.transactions.min() >= 1
    for j in range(5):
        interval, transactions = store.sales(j)
        assert np.all(np.diff(interval) > 0)
        at = sold.customers.interval[sold.replay.outcome == j]
        np.testing.assert_array_equal(np.bincount(at, minlength=200_000)[interval], transactions)
    other = history.category("other").stores[0]
    assert store.footfall.sum() == other.replay.sales.sum()
    assert store.deliveries is None
    assert panel_of(history, footfall=False).stores[0].footfall is None


def test_the_delivery_calendar_holds_every_end_of_an_outage():
    history = simulate("paper_money", seed=15)
    panel = panel_of(history, deliveries=True)
    out = history.category().stores[0].out
    for j, delivered in enumerate(panel.stores[0].deliveries):
        ends = out.of(j)[1]
        assert np.all(np.isin(ends[ends < 200_000], delivered))


def test_run_outs_are_where_outages_begin():
    stored = simulate("fast_cycle", seed=16).category().stores[0]
    for j in range(5):
        emptied = stored.ran_out[stored.ran_out[:, 1] == j, 0] + 1
        starts = stored.out.of(j)[0]
        assert np.all(np.isin(starts, emptied))


def test_stores_share_substitution_and_have_their_own_demand():
    history = simulate("forty_stores", seed=17)
    rates = history.category().truth.arrival_rate
    assert rates.shape == (40, 5)
    assert np.log(rates).std(axis=0) == pytest.approx(np.full(5, 0.3), rel=0.4)
    levels = np.array([s.replenishment.order_up_to for s in history.category().stores])
    np.testing.assert_allclose(levels, rates / rates[:1] * levels[:1], rtol=0.03)


def test_five_products_of_200_000_intervals_take_less_than_a_second():
    simulate("paper", seed=1)
    start = time.process_time()
    simulate("paper", seed=2)
    assert time.process_time() - start < 1.0


def test_a_large_category_has_its_eight_true_substitutes():
    spec = large(40, 5_000)
    assert np.all((spec.categories[0].substitution_rate > 0).sum(axis=1) == 8)
    assert simulate(spec, seed=1).category().stores[0].replay.sales.min() > 0


def test_the_90_sells_first_then_the_80_then_the_70():
    """The Amazon article's example, week by week."""
    history = simulate("chocolate_90_80_70", seed=2)
    stored = history.category().stores[0]
    week, run = 7 * 1440, stored.replay
    at, bought = stored.customers.interval, run.outcome
    assert run.first_choice[1:].sum() == 0
    for start in range(0, 26 * week, week):
        own = (at >= start) & (at < start + week)
        last_90, first_80 = at[own & (bought == 0)].max(), at[own & (bought == 1)].min()
        assert last_90 <= first_80
        if np.any(own & (bought == 2)):
            assert at[own & (bought == 1)].max() <= at[own & (bought == 2)].min()
    # A tenth leaves at each step: of those who met an empty 90, 90 % reach the 80.
    turned_away = run.substituted_out[0] + run.lost[0]
    eighty_out = (bought == 2).sum() / 0.9**2 + (bought == 1).sum() / 0.9
    assert eighty_out == pytest.approx(turned_away, rel=0.03)
