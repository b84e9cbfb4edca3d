"""Projected stock against closed forms, conservation of units and a plain-Python twin."""

import numpy as np
import pytest
from scipy import stats

from retail_assets.models.inventory.demand import (
    Demand,
    Stock,
    Traffic,
    fit_traffic,
    rate_draws,
)
from retail_assets.models.inventory.forecast import (
    project_stock,
    requirement_paths,
)
from retail_assets.models.inventory.returns import Settlement

PATHS = 4_000


def styles(n, *, seed=1, paths=PATHS, alpha=5.0, beta=15.0):
    return rate_draws(np.full(n, alpha), np.full(n, beta), None, paths, seed=seed)


def settlement(n, *, keep=0.4, delay=(0.1, 0.5, 0.4), paths=PATHS):
    return Settlement.of(np.full((n, paths), keep), delay)


def test_units_are_conserved():
    n, weeks = 6, 10
    rng = np.random.default_rng(1)
    stock = Stock.of(
        rng.integers(5, 80, n),
        out=7,
        on_order=9,
        lead_weeks=2.0,
        arrivals=rng.integers(0, 9, (n, 10)),
    )
    traffic = Traffic.of(np.full((2, weeks), 30.0), dispersion=0.1)
    demand = Demand.of([0, 0, 0, 1, 1, 1], traffic, styles(n), respill=0.6)
    got = project_stock(stock, demand, settlement(n), seed=3)
    came = np.cumsum(got.arrivals, axis=1)
    held = (stock.on_hand + stock.out)[:, None] + came - got.cum_sold_mean
    assert got.on_hand_mean + got.out_mean == pytest.approx(held, abs=1e-9)
    flow = np.cumsum(got.sent_mean - got.sold_mean - got.returned_mean, axis=1)
    assert got.out_mean == pytest.approx(stock.out[:, None] + flow, abs=1e-9)
    assert got.frac_out == pytest.approx(got.out_mean / (got.out_mean + got.on_hand_mean))
    assert np.all(got.arrivals.sum(axis=1) == stock.on_order + stock.arrivals.sum(axis=1))


def test_a_shop_sells_what_it_sends_and_stock_falls_by_a_negative_binomial():
    """With p known and plenty of stock, sales of a week are NB(mean, dispersion)."""
    p = np.full((1, 40_000), 0.25)
    traffic = Traffic.of(np.full((1, 1), 80.0), dispersion=0.2)
    got = project_stock(
        Stock.of([1_000]), Demand.of([0], traffic, p), Settlement.sold_at_once(1, 40_000), seed=5
    )
    sold = stats.nbinom(5.0, 5.0 / (5.0 + 20.0))
    assert got.sold_mean[0, 0] == pytest.approx(20.0, rel=0.01)
    assert got.cum_sold_lo95[0, 0] == pytest.approx(sold.ppf(0.025), abs=1)
    assert got.cum_sold_hi95[0, 0] == pytest.approx(sold.ppf(0.975), abs=1)
    assert got.out_mean[0, 0] == 0
    assert got.returned_mean[0, 0] == 0


def test_stock_out_probability_is_that_of_the_demand():
    p = np.full((1, 40_000), 0.25)
    traffic = Traffic.of(np.full((1, 1), 80.0))
    got = project_stock(
        Stock.of([22]), Demand.of([0], traffic, p), Settlement.sold_at_once(1, 40_000), seed=6
    )
    assert got.stockout_prob[0, 0] == pytest.approx(stats.poisson.sf(22, 20), abs=0.01)
    loss = sum((d - 22) * stats.poisson.pmf(d, 20) for d in range(23, 90))
    assert got.sold_mean[0, 0] == pytest.approx(20 - loss, abs=0.06)


def plain_paths(on_hand, rate, keep, delay, weeks, n_paths, rng):
    """The recursion for one style, a unit at a time."""
    ends = []
    for _ in range(n_paths):
        stock, due, row = on_hand, [0] * (weeks + len(delay)), []
        for t in range(weeks):
            stock += rng.binomial(due[t], 1 - keep)
            sent = min(rng.poisson(rate), stock)
            stock -= sent
            for _ in range(sent):
                lag = rng.choice(len(delay), p=delay)
                if lag:
                    due[t + lag] += 1
                else:
                    stock += rng.random() > keep
            row.append(stock)
        ends.append(row)
    return np.array(ends)


def test_paths_equal_a_plain_loop():
    delay, keep = [0.1, 0.5, 0.4], 0.4
    twin = plain_paths(30, 9.0, keep, delay, 6, 1_500, np.random.default_rng(7))
    traffic = Traffic.of(np.full((1, 6), 36.0))
    got = project_stock(
        Stock.of([30]),
        Demand.of([0], traffic, np.full((1, PATHS), 0.25)),
        settlement(1, keep=keep, delay=delay),
        seed=8,
    )
    assert got.on_hand_mean[0] == pytest.approx(twin.mean(axis=0), abs=0.5)
    assert got.on_hand_lo95[0] == pytest.approx(np.quantile(twin, 0.025, axis=0), abs=1.5)
    assert got.on_hand_hi95[0] == pytest.approx(np.quantile(twin, 0.975, axis=0), abs=1.5)


def test_uncertain_p_widens_the_interval():
    traffic = Traffic.of(np.full((1, 8), 30.0))
    known, learned = (
        project_stock(
            Stock.of([200]),
            Demand.of([0], traffic, p),
            Settlement.sold_at_once(1, PATHS),
            seed=9,
        )
        for p in (np.full((1, PATHS), 0.25), styles(1))
    )
    width = [f.on_hand_hi95[0, 7] - f.on_hand_lo95[0, 7] for f in (known, learned)]
    assert width[1] > 1.5 * width[0]


def test_unserved_picks_move_to_styles_in_stock():
    traffic = Traffic.of(np.full((1, 3), 100.0))
    p = np.full((2, PATHS), 0.2)
    stay, move = (
        project_stock(
            Stock.of([0, 1_000]),
            Demand.of([0, 0], traffic, p, respill=share),
            Settlement.sold_at_once(2, PATHS),
            seed=10,
        )
        for share in (0.0, 0.5)
    )
    assert stay.sent_mean[1] == pytest.approx(20.0, rel=0.02)
    assert move.sent_mean[1] == pytest.approx(30.0, rel=0.02)
    assert move.styles_available[0].tolist() == [1.0, 1.0, 1.0]


def test_styles_of_a_pool_share_the_traffic():
    traffic = Traffic.of(np.full((2, 1), 100.0), dispersion=0.3)
    p = np.full((3, PATHS), 0.2)
    stock = Stock.of([10_000] * 3)
    demand = Demand.of([0, 0, 1], traffic, p)
    got = requirement_paths(stock, demand, Settlement.sold_at_once(3, PATHS), seed=11)
    between = np.corrcoef(got.until_next)
    assert between[0, 1] > 0.7
    assert abs(between[0, 2]) < 0.06


def test_the_same_seed_gives_the_same_numbers_whatever_else_is_projected():
    traffic = Traffic.of(np.full((2, 4), 50.0), dispersion=0.1)
    p = styles(4, paths=100)
    both = project_stock(
        Stock.of([9, 30, 40, 12]),
        Demand.of([0, 0, 1, 1], traffic, p),
        settlement(4, paths=100),
        seed=2,
    )
    again = project_stock(
        Stock.of([9, 30, 40, 12]),
        Demand.of([0, 0, 1, 1], traffic, p),
        settlement(4, paths=100),
        seed=2,
    )
    assert np.array_equal(both.on_hand_mean, again.on_hand_mean)


def test_a_style_before_its_launch_is_not_sent():
    considered = np.ones((1, 6))
    considered[0, :3] = 0
    got = project_stock(
        Stock.of([50]),
        Demand.of([0], Traffic.of(np.full((1, 6), 40.0)), styles(1), considered=considered),
        settlement(1),
        seed=12,
    )
    assert got.sent_mean[0, :3].tolist() == [0, 0, 0]
    assert got.styles_available[0, 0] == 0
    assert got.sent_mean[0, 3] > 5


def test_mixture_draws_have_the_mixture_mean_and_variance():
    alpha, beta, weight = [[2.0, 30.0]], [[8.0, 30.0]], [[0.25, 0.75]]
    drawn = rate_draws(alpha, beta, weight, 40_000, seed=14)[0]
    mean = 0.25 * 0.2 + 0.75 * 0.5
    second = sum(
        w * (stats.beta(a, b).var() + stats.beta(a, b).mean() ** 2)
        for a, b, w in ((2, 8, 0.25), (30, 30, 0.75))
    )
    assert drawn.mean() == pytest.approx(mean, abs=0.003)
    assert drawn.var() == pytest.approx(second - mean**2, rel=0.03)
    assert abs(np.corrcoef(drawn[:-1], drawn[1:])[0, 1]) < 0.02


def test_traffic_is_recovered_from_its_past():
    rng = np.random.default_rng(15)
    past = rng.poisson(200 * rng.gamma(1 / 0.05, 0.05, (1, 4_000)))
    traffic = fit_traffic(past, 3)
    assert traffic.mean[0] == pytest.approx(200, rel=0.02)
    assert traffic.dispersion[0] == pytest.approx(0.05, rel=0.1)
    assert fit_traffic(past[:, :16], 3).level_cv[0] == pytest.approx(
        np.sqrt((1 / 200 + 0.05) / 16), rel=0.5
    )


def test_bad_inputs_are_refused_by_row():
    with pytest.raises(ValueError, match="bar: on_hand is -3"):
        Stock.of([5, -3], names=("foo", "bar"))
    with pytest.raises(ValueError, match="row 1: p must lie"):
        Demand.of([0, 0], Traffic.of([[9.0]]), [[0.2], [1.4]])
    with pytest.raises(ValueError, match="style 0: alpha and beta"):
        rate_draws([0.0], [1.0], None, 5, seed=1)
    demand = Demand.of([0], Traffic.of([[9.0] * 4]), np.full((1, 50), 0.2))
    with pytest.raises(ValueError, match="project at least"):
        requirement_paths(
            Stock.of([5], lead_weeks=7.0), demand, Settlement.sold_at_once(1, 50), seed=1
        )


def test_the_requirement_is_the_demand_of_its_weeks_less_what_is_left():
    """Lead time 2, review 1: stock left after two weeks against the third week's demand."""
    traffic = Traffic.of(np.full((1, 8), 80.0))
    p = np.full((1, 20_000), 0.25)
    got = requirement_paths(
        Stock.of([45], lead_weeks=2.0),
        Demand.of([0], traffic, p),
        Settlement.sold_at_once(1, 20_000),
        review_weeks=1,
        cover_weeks=6,
        seed=16,
    )
    rng = np.random.default_rng(17)
    weekly = rng.poisson(20.0, (20_000, 6))
    left = np.maximum(np.maximum(45 - weekly[:, 0], 0) - weekly[:, 1], 0)
    for need, weeks in ((got.until_next[0], 1), (got.until_cover[0], 4)):
        twin = weekly[:, 2 : 2 + weeks].sum(axis=1) - left
        assert need.mean() == pytest.approx(twin.mean(), rel=0.02)
        assert np.quantile(need, 0.9) == pytest.approx(np.quantile(twin, 0.9), abs=1)
    lost = weekly[:, :2].sum(axis=1) - (45 - left)
    assert got.lost[0].mean() == pytest.approx(lost.mean(), abs=0.15)
    assert got.demand[0] == pytest.approx(80.0, rel=0.02)
    assert got.weekly_net[0] == pytest.approx(20.0, rel=0.02)
