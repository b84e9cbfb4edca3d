"""Stock: textbook answers, honest on-hand intervals, speed.

Coverage is asked of two truths. *Model*: style rates, keep rates and traffic are drawn
from the distributions the forecast assumes, in an independent simulation: it tests the
arithmetic. *Box shop* (`bench.box_shop`): whole boxes of five, tastes shared within
clusters of styles, stock-limited picks, one parcel back, traffic by the day. There every
input of the forecast is estimated from the shop's books: priors from mature styles,
three weeks of trials for the new half, keep rate and delay from censored shipments,
traffic from 16 past weeks.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bench import Row, at_least, between
from bench.box_shop import BoxShop, Log, trade
from bench.cold_start_orders import order_rows
from retail_assets.models.inventory import policies
from retail_assets.models.inventory.demand import (
    Demand,
    Stock,
    Traffic,
    fit_traffic,
    rate_draws,
)
from retail_assets.models.inventory.forecast import InventoryForecast, project_stock
from retail_assets.models.inventory.returns import Settlement, fit_delay, keep_rates
from retail_assets.models.inventory.sizes import dirichlet_multinomial

Floats = NDArray[np.float64]
WEEKS = (2, 4, 8)
PATHS = 400
PRIOR = (5.4, 14.6)
SEED = 11


def stock_rows(quick: bool) -> list[Row]:
    """The stock half of the bench ``cold_start``."""
    rows = _textbook()
    rows += _model_truth(3_000 if quick else 12_000)
    rows += _box_truth(20 if quick else 200)
    rows += _speed()
    return rows + order_rows(quick)


def _textbook() -> list[Row]:
    """Section 5's table: every printed figure of every row the policies cover."""
    p = policies
    eoq, short = p.economic_order_quantity(8, 0.225, 1300), p.eoq_with_backorders(8, 0.225, 5, 1300)
    discount = p.all_units_discount(8, 0.3, 1300, [0, 400, 800], [0.75, 0.72, 0.68])
    normal = p.newsvendor_normal(0.18, 0.7, 50, 8)
    base = p.newsvendor_normal(0.18, 0.7, 50, 8, lead_time=4)
    explicit = p.newsvendor_explicit(1, 0.3, 0.12, 50, 8)
    other = p.newsvendor_normal(43, 79, 900, 60)
    second = p.newsvendor_explicit(7, 2.5, 1.5, 50, 10)
    poisson, lognormal = (
        p.newsvendor_poisson(200, 270, 18),
        p.newsvendor_lognormal(1, 0.1765, 6, 0.3),
    )
    ss, ss2 = p.s_s_poisson(1, 4, 5, 6), p.s_s_poisson(40, 125, 150, 4)
    power, power2 = p.s_s_power(0.18, 0.7, 2.5, 50, 8), p.s_s_power(2, 36, 60, 190, 48)
    eil = p.r_q_normal(0.225, 7.5, 8, 1300, 150, 1 / 12)
    rq, rq2 = p.r_q_poisson(20, 150, 100, 1.5, 2), p.r_q_poisson(4, 28, 4, 12, 0.5)
    table = [
        ((eoq.order_quantity, eoq.cost), (304.0467800, 68.4105255)),
        (
            (short.order_quantity, short.backordered, short.cost),
            (310.8125552, 0.0430622, 66.9213636),
        ),
        ((discount.order_quantity, discount.cost), (800, 978.6)),
        ((normal.level, normal.cost), (56.6039559, 1.9976052)),
        ((explicit.level, -explicit.cost), (56.6039559, 33.0023948)),
        ((base.level, base.cost), (264.7668944, 4.4667810)),
        ((other.level, other.cost), (922.7214038, 2718.1967818)),
        ((second.level, -second.cost), (59.0845787, 210.4768083)),
        ((poisson.level, poisson.cost), (19, 786.0884409)),
        ((lognormal.level, lognormal.cost), (295.6266448, 29.4425435)),
        ((ss.reorder_point, ss.order_up_to, ss.cost), (4, 10, 8.0341116)),
        ((ss2.reorder_point, ss2.order_up_to, ss2.cost), (2, 7, 223.5748296)),
        ((power.reorder_point, power.order_up_to), (40.1946170, 74.2901701)),
        ((power2.reorder_point, power2.order_up_to), (226.6137928, 324.3797868)),
        ((eil.reorder_point, eil.order_quantity, eil.cost), (213.9704421, 318.5901811, 95.4511402)),
        ((rq.reorder_point, rq.order_quantity, rq.cost), (3, 5, 107.9235806)),
        ((rq2.reorder_point, rq2.order_quantity, rq2.cost), (6, 7, 28.2413128)),
    ]
    reached = sum(np.allclose(got, printed, rtol=1e-6, atol=1e-7) for got, printed in table)
    return [at_least("textbook rows reached to 1e-6 (of 17)", reached, len(table))]


@dataclass(frozen=True)
class _Coverage:
    """Per week: share of truths in the 95 % interval, its standard error over shops, bias of
    the units, and the share where the interval's lower end is not 0."""

    share: Floats
    error: Floats
    bias: Floats
    above_zero: Floats


def _covered(parts: list[tuple[Floats, InventoryForecast]]) -> _Coverage:
    hit = [(truth >= f.on_hand_lo95) & (truth <= f.on_hand_hi95) for truth, f in parts]
    inside = np.array([h.mean(axis=0) for h in hit])
    free = np.concatenate([f.on_hand_lo95 > 0 for _, f in parts])
    above = (np.concatenate(hit) & free).sum(axis=0) / np.maximum(free.sum(axis=0), 1)
    truth = np.sum([t.sum(axis=0) for t, _ in parts], axis=0)
    projected = np.sum([f.on_hand_mean.sum(axis=0) for _, f in parts], axis=0)
    at = [week - 1 for week in WEEKS]
    error = inside.std(axis=0) / np.sqrt(len(parts))
    return _Coverage(inside.mean(axis=0)[at], error[at], (projected / truth - 1)[at], above[at])


def _coverage_rows(name: str, got: _Coverage, *, target: bool = True) -> list[Row]:
    rows = []
    for k, week in enumerate(WEEKS):
        metric, share = f"on-hand 95 % coverage, {name}, week {week}", got.share[k]
        rows.append(between(metric, share, 0.94, 0.97) if target else Row(metric, share))
        if target:
            rows.append(Row("  where the interval stays above 0", got.above_zero[k]))
            rows.append(Row("  s.e. / bias of units", f"{got.error[k]:.3f} / {got.bias[k]:+.1%}"))
    return rows


def _model_truth(styles: int) -> list[Row]:
    """Twenty trials each; pools of ten styles; learned against plugged in."""
    rng = np.random.default_rng(SEED)
    weeks, n = max(WEEKS), 20
    delay = np.array([0.05, 0.45, 0.35, 0.15])
    p, kappa = rng.beta(*PRIOR, styles), rng.beta(12, 10, styles)
    k, kept = rng.binomial(n, p), rng.binomial(60, kappa)
    pool = np.arange(styles) // 10
    clients = np.full((pool.max() + 1, weeks), 30.0)
    posterior = (PRIOR[0] + k, PRIOR[1] + n - k)
    # Bought on what was known: stock that follows the true p would give it away.
    weekly = 30 * posterior[0] / (sum(PRIOR) + n)
    stock = np.maximum(rng.poisson(weekly * rng.uniform(2, 7, styles)), 1)
    arrivals = np.zeros((styles, weeks), np.int64)
    arrivals[:, 3] = rng.poisson(weekly * rng.uniform(0, 3, styles))
    truth = _plain_truth(rng, stock, arrivals, p, kappa, delay, pool, clients, 0.05)
    keeps = (12.0 + kept, 10.0 + 60 - kept)
    rows = []
    for name in ("posterior draws", "plug-in mean", "naive k/n"):
        if name == "posterior draws":
            draws = rate_draws(*posterior, None, PATHS, seed=1)
            keep = rate_draws(*keeps, None, PATHS, seed=2)
        else:
            plugged = posterior[0] / sum(posterior) if name == "plug-in mean" else k / n
            draws = np.repeat(plugged[:, None], PATHS, axis=1)
            keep = np.repeat((keeps[0] / sum(keeps))[:, None], PATHS, axis=1)
        demand = Demand.of(pool, Traffic.of(clients, dispersion=0.05), draws)
        projected = project_stock(
            Stock.of(stock, arrivals=arrivals), demand, Settlement.of(keep, delay), seed=3
        )
        got = _covered([(truth, projected)])
        rows += _coverage_rows(f"model truth, {name}", got, target=name == "posterior draws")
    return rows


def _plain_truth(
    rng: np.random.Generator,
    stock: NDArray[np.int64],
    arrivals: NDArray[np.int64],
    p: Floats,
    kappa: Floats,
    delay: Floats,
    pool: NDArray[np.int64],
    clients: Floats,
    dispersion: float,
) -> Floats:
    """On hand at each week's end: numpy, week by week, clients counted one by one."""
    weeks = clients.shape[1]
    stock, due = stock.copy(), np.zeros((len(stock), weeks + len(delay)), np.int64)
    ends = np.zeros((len(stock), weeks))
    for t in range(weeks):
        stock += due[:, t] + arrivals[:, t]
        came = rng.poisson(clients[:, t] * rng.gamma(1 / dispersion, dispersion, len(clients)))
        sent = np.minimum(rng.binomial(came[pool], p), stock)
        stock -= sent
        settled = rng.multinomial(sent, delay)
        back = settled - rng.binomial(settled, kappa[:, None])
        due[:, t : t + len(delay)] += back
        stock += back[:, 0]
        ends[:, t] = stock
    return ends


def _box_truth(shops: int) -> list[Row]:
    learned = [_one_shop(seed) for seed in range(shops)]
    plugged = [_one_shop(seed, plug_in=True) for seed in range(max(shops // 4, 5))]
    rows = _coverage_rows(f"box shop ({shops} shops of 40 styles)", _covered(learned))
    return rows + _coverage_rows("box shop, plug-in means", _covered(plugged), target=False)


def _one_shop(seed: int, *, plug_in: bool = False) -> tuple[Floats, InventoryForecast]:
    """Sixteen weeks of books, then eight weeks of truth beside their projection."""
    n, past, young, horizon = 40, 16, 3, max(WEEKS)
    rng = np.random.default_rng((SEED, seed))
    shop, log = BoxShop.draw(n, rng), Log()
    trade(shop, np.full(n, 10**6), range(past * 7), log, rng)
    today = past * 7 - 1
    new = np.arange(n) < n // 2
    seen = np.where(new, young, past)
    shown, chosen, clients = (np.array(v) for v in (log.considered, log.chosen, log.clients))
    trials = np.array([shown[-w:, s].sum() for s, w in enumerate(seen)])
    hits = np.array([chosen[-w:, s].sum() for s, w in enumerate(seen)])
    considered = trials / np.array([clients[-w:].sum() for w in seen])
    a, b = dirichlet_multinomial(np.column_stack([hits, trials - hits])[~new])
    style, sent, settled, kept = log.shipments()
    known = settled <= today
    back = np.where(known & ~kept, settled, np.nan)
    mark = np.where(known, kept, -1)
    use = ~new[style] | (sent > today - young * 7)
    delay = fit_delay(sent, back, mark, today=today)
    keeps = keep_rates(style[use], sent[use], back[use], mark[use], delay, n_styles=n, today=today)
    weekly = clients.mean() * considered * hits / trials
    stock = np.maximum(rng.poisson(weekly * rng.uniform(2, 7, n)), 1)
    arrivals = np.zeros((n, horizon), np.int64)
    arrivals[:, 3] = rng.poisson(weekly * rng.uniform(0, 3, n))
    p = rate_draws(a + hits, b + trials - hits, None, PATHS, seed=seed)
    keep = rate_draws(keeps.alpha, keeps.beta, None, PATHS, seed=seed + 1)
    traffic = fit_traffic(clients, horizon)
    if plug_in:
        p, keep = (np.repeat(v.mean(axis=1, keepdims=True), PATHS, axis=1) for v in (p, keep))
        traffic = Traffic.of(traffic.mean, dispersion=traffic.dispersion)
    out = np.bincount(style[~known], minlength=n)
    projected = project_stock(
        Stock.of(stock, out=out, arrivals=arrivals),
        Demand.of(np.zeros(n, int), traffic, p, considered=considered[:, None], respill=1.0),
        Settlement.of(keep, delay.week_pmf, residual=delay.residual(today - sent[~known])),
        seed=seed,
    )
    trade(shop, stock, range(past * 7, (past + horizon) * 7), log, rng, arrivals.T)
    return np.array(log.on_hand[-horizon:], np.float64).T, projected


def _speed() -> list[Row]:
    """1,000 styles in pools of 50, 400 paths, 12 weeks; about 8 units a style and week."""
    styles, weeks = 1_000, 12
    rng = np.random.default_rng(SEED)
    p = rate_draws(np.full(styles, PRIOR[0]), np.full(styles, PRIOR[1]), None, PATHS, seed=1)
    keep = rate_draws(np.full(styles, 50.0), np.full(styles, 50.0), None, PATHS, seed=2)
    traffic = Traffic.of(np.full((styles // 50, weeks), 30.0), dispersion=0.05, level_cv=0.05)
    stock = Stock.of(rng.integers(20, 120, styles), out=10, lead_weeks=3.0, lead_weeks_sd=0.5)
    rows = []
    for name, respill, settlement in (
        ("with clients", 0.0, Settlement.of(keep, [0.1, 0.5, 0.3, 0.1])),
        ("with clients and substitution", 1.0, Settlement.of(keep, [0.1, 0.5, 0.3, 0.1])),
        ("shop", 0.0, Settlement.sold_at_once(styles, PATHS)),
    ):
        demand = Demand.of(np.arange(styles) // 50, traffic, p, respill=respill)
        project_stock(stock, demand, settlement, seed=1)
        best = np.inf
        for _ in range(3):
            start = time.process_time()
            project_stock(stock, demand, settlement, seed=1)
            best = min(best, time.process_time() - start)
        rows.append(
            at_least(f"styles per CPU s, 400 paths x 12 weeks, {name}", styles / best, 1_000)
        )
    return rows
