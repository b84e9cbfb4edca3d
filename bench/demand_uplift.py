"""Prices that come out, replayed where the truth is known.

Fifty retailers, one sale each. A retailer has three months of flash sales behind it, priced by
rule of thumb and often sold out; from its books alone demand is fitted, drawn as curves over
the candidate prices of the next sale, and the weighted goal is optimised. Its prices, the
retailer's usual ones and those of a clairvoyant, who optimises the true expected sales, are
scored under the truth: expected sales capped by the stock, each goal scaled between its
worst and best under the truth. Nothing is sampled in the replay.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace

import numpy as np
from scipy import stats

from bench import Row, at_least, at_most
from bench.demand_simulated import (
    ITEMS_PER_SALE,
    SALES_PER_DAY,
    History,
    Market,
    day_effect,
    flash_rows,
    market,
    order,
    sell,
    usual_prices,
)
from retail_assets.models.demand.backtest import backtest, choose, origins_of
from retail_assets.models.demand.curves import DemandCurves, demand_curves
from retail_assets.models.demand.elasticity import lately, reference_slope
from retail_assets.models.demand.models import RESPONSIVE, fit_models
from retail_assets.models.demand.price_model import PriceModel, price_model
from retail_assets.models.demand.rows import DemandRows, Floats, Ints
from retail_assets.models.demand.thin import pool, thin_products
from retail_assets.models.pricing.candidates import Candidates
from retail_assets.models.pricing.optimise import optimise
from retail_assets.models.pricing.sale_rules import prepare
from retail_assets.models.pricing.segments import merged, to_totals
from retail_assets.models.pricing.weighted import Scale, scale_of

PAST_SALES, ITEMS = 180, 450
WEIGHTS = (2.0, 5.0, 3.0)
GAP_DAYS, HORIZON_DAYS = 1, 14
RATIO_STEPS = np.geomspace(0.3, 3.0, 300)
"""Where the clairvoyant's demand steps in the relative price: 0.8 % apart."""
DRAWS = 10_000


@dataclass(frozen=True)
class Sale:
    """A coming sale; arrays of length 20 but for the candidates.

    Attributes
    ----------
    usual : prices the retailer would charge
    candidate_item, candidate_cents : (c,) int64
        Ten .99 prices each from 25 % to 75 % off, and the usual one.
    log_extra : float
        What the day and the event do to demand, unknown beforehand.
    """

    item: Ints
    stock: Ints
    usual: Ints
    candidate_item: Ints
    candidate_cents: Ints
    log_extra: float
    shown: Ints


@dataclass(frozen=True)
class Replay:
    """Scores of one sale under the truth."""

    usual: float
    ours: float
    uncorrected: float
    clairvoyant: float
    champion: str
    seconds: float


def uplift_rows(*, quick: bool) -> list[Row]:
    """Share of the possible uplift that is captured, and how."""
    count = 10 if quick else 50
    found = [replay(seed) for seed in range(count)]
    usual, ours, plain, best = (
        np.array([getattr(r, name) for r in found])
        for name in ("usual", "ours", "uncorrected", "clairvoyant")
    )
    rng = np.random.default_rng(0)
    again = rng.integers(0, count, (DRAWS, count))
    captured = (ours - usual)[again].sum(axis=1) / (best - usual)[again].sum(axis=1)
    low, high = np.quantile(captured, [0.025, 0.975])
    names, times = np.unique([r.champion for r in found], return_counts=True)
    return [
        at_least(
            f"{count} sales: captured uplift",
            float((ours - usual).sum() / (best - usual).sum()),
            0.6,
        ),
        Row("  its 95 % bootstrap interval", f"{low:.3f} .. {high:.3f}"),
        Row(
            "  captured by the same model with sales taken as demand",
            float((plain - usual).sum() / (best - usual).sum()),
        ),
        Row("  score of usual prices, mean", float(usual.mean())),
        Row("  score of ours, mean", float(ours.mean())),
        Row("  score of the clairvoyant, mean", float(best.mean())),
        Row("  sales in which ours are worse than the usual prices", float((ours < usual).sum())),
        at_most("  sales in which ours beat the clairvoyant", float((ours > best + 1e-9).sum()), 0),
        Row(
            "  price champions",
            ", ".join(f"{n} {t}" for n, t in zip(names.tolist(), times.tolist(), strict=True)),
        ),
        Row("  CPU s a sale", float(np.mean([r.seconds for r in found]))),
    ]


def replay(seed: int) -> Replay:
    """One retailer: past, fit, curves, prices, and what they would truly bring."""
    started = time.process_time()
    rng = np.random.default_rng([17, seed])
    shop = market(rng, ITEMS)
    past = sell(shop, rng, sales=PAST_SALES)
    sale = coming_sale(shop, past, rng)
    model = fitted_model(past.rows)
    truth = true_candidates(shop, sale)
    prepared = prepare(truth)
    scale = scale_of(prepared)
    best = optimise(prepared, "weighted", weights=WEIGHTS).price_cents
    ours = optimise(our_candidates(shop, sale, model), "weighted", weights=WEIGHTS).price_cents
    sold = replace(past.rows, exposure=np.ones(len(past.rows)))
    fitted = fit_models(sold, gap_days=GAP_DAYS, names=(model.name,))
    plain = price_model(fitted, model.name, None, identified=True)
    other = optimise(our_candidates(shop, sale, plain), "weighted", weights=WEIGHTS).price_cents
    return Replay(
        usual=float(score(shop, sale, sale.usual, scale)),
        ours=float(score(shop, sale, ours, scale)),
        uncorrected=float(score(shop, sale, other, scale)),
        clairvoyant=max(
            float(score(shop, sale, _climb(shop, sale, start, scale), scale))
            for start in (best, ours)
        ),
        champion=model.name,
        seconds=time.process_time() - started,
    )


def coming_sale(shop: Market, past: History, rng: np.random.Generator) -> Sale:
    """Twenty items on the day after the past, with the prices they may have."""
    item = rng.choice(len(shop.level), ITEMS_PER_SALE, replace=False)
    usual = usual_prices(shop, item, past.shown[item], rng)
    depth = np.linspace(0.25, 0.75, 10)
    ladder = np.rint(shop.msrp_cents[item][:, None] * (1 - depth) / 100).astype(np.int64) * 100 - 1
    own = [np.unique(np.append(row, now)) for row, now in zip(ladder, usual, strict=True)]
    day = PAST_SALES // SALES_PER_DAY
    return Sale(
        item=item,
        stock=order(shop, item, rng),
        usual=usual,
        candidate_item=np.repeat(np.arange(len(item)), [len(p) for p in own]),
        candidate_cents=np.concatenate(own),
        log_extra=float(day_effect(day) + rng.normal(0, 0.05)),
        shown=past.shown[item],
    )


def fitted_model(rows: DemandRows) -> PriceModel:
    """The price champion of a backtest, fitted to everything, as the platform fits it."""
    tested = backtest(
        rows,
        origins_of(rows, horizon_days=HORIZON_DAYS, most=1),
        horizon_days=HORIZON_DAYS,
        gap_days=GAP_DAYS,
        names=RESPONSIVE,
        rivals=np.full(len(rows), float(ITEMS_PER_SALE)),
    )
    thin = np.array(rows.products, dtype=object)[thin_products(rows)].tolist()
    pooled = pool(rows, thin)
    slope = reference_slope(pooled, nuisance=lately(pooled, "poisson", gap_days=GAP_DAYS))
    name = choose(tested, slope).price
    fitted = fit_models(rows, gap_days=GAP_DAYS, names=(name,))
    return price_model(fitted, name, None, identified=slope.identified)


def curves_of(shop: Market, sale: Sale, model: PriceModel) -> DemandCurves:
    """Demand at every candidate price in segments of the relative price."""
    rows = model.numbered(_to_predict(shop, sale))
    product = rows.product[sale.candidate_item]
    place, cents = sale.candidate_item, sale.candidate_cents
    ends = np.array(
        [[own.max(), own.min()] for own in (cents[place == i] for i in range(len(sale.item)))]
    )
    reached = cents[:, None] / ends.mean(axis=0)
    return demand_curves(model.grown(rows), rows, product, cents, relative_range=reached)


def _to_predict(shop: Market, sale: Sale) -> DemandRows:
    """One row per item of the coming sale, at the usual prices."""
    n = len(sale.item)
    table = {
        "item": sale.item,
        "day": np.full(n, PAST_SALES // SALES_PER_DAY),
        "price": sale.usual,
        "rel": sale.usual / sale.usual.mean(),
        "stock": sale.stock,
        "shown": sale.shown,
    }
    return flash_rows(shop, table, np.full(n, np.nan), np.ones(n))


def our_candidates(shop: Market, sale: Sale, model: PriceModel) -> Candidates:
    """What the optimiser is given: curves turned into stretches of the total."""
    drawn = curves_of(shop, sale, model)
    return _candidates(
        shop,
        sale,
        sale.candidate_item[drawn.candidate],
        drawn.price_cents,
        (drawn.relative_from, drawn.relative_to),
        drawn.demand,
    )


def true_candidates(shop: Market, sale: Sale) -> Candidates:
    """The same with the true expected sales, in fine steps of the relative price."""
    middle = np.sqrt(RATIO_STEPS[:-1] * RATIO_STEPS[1:])
    middle = np.concatenate([RATIO_STEPS[:1], middle, RATIO_STEPS[-1:]])
    edges = np.concatenate([[0.0], RATIO_STEPS, [np.inf]])
    c, k = len(sale.candidate_item), len(middle)
    place, cents = np.repeat(sale.candidate_item, k), np.repeat(sale.candidate_cents, k)
    item = sale.item[place]
    log_mean = shop.level[item] + shop.own[item] * np.log(cents / (0.6 * shop.msrp_cents[item]))
    log_mean += shop.relative * np.log(np.tile(middle, c)) + sale.log_extra
    sold = expected_sales(np.exp(log_mean), sale.stock[place])
    return _candidates(
        shop, sale, place, cents, (np.tile(edges[:-1], c), np.tile(edges[1:], c)), sold
    )


def _candidates(
    shop: Market, sale: Sale, place: Ints, cents: Ints, ratio: tuple[Floats, Floats], units: Floats
) -> Candidates:
    n = len(sale.item)
    low, high = np.full(n, np.iinfo(np.int64).max), np.zeros(n, np.int64)
    np.minimum.at(low, place, cents)
    np.maximum.at(high, place, cents)
    pieces = to_totals(cents, *ratio, n, int(low.sum()), int(high.sum()))
    key = place * 10_000_000 + cents
    pieces = merged(pieces, key, units[:, None])
    return Candidates(
        products=tuple(f"item {i}" for i in sale.item),
        units_available=sale.stock,
        cost_cents=shop.cost_cents[sale.item],
        item=place[pieces.row],
        price_cents=cents[pieces.row],
        total_from_cents=pieces.total_from_cents,
        total_to_cents=pieces.total_to_cents,
        demand=units[pieces.row],
    )


def expected_sales(mean: Floats, stock: Ints) -> Floats:
    """E[min(N, stock)] of Poisson demand: mean F(stock - 2) + stock (1 - F(stock - 1))."""
    below = stats.poisson.cdf(stock - 2, mean)
    return np.asarray(mean * below + stock * stats.poisson.sf(stock - 1, mean))


def score(shop: Market, sale: Sale, prices: Ints, scale: Scale) -> Floats:
    """Weighted score of prices, (..., 20) to (...,), under the truth, each goal 0 to 1."""
    mean = shop.mean(sale.item, prices, sale.log_extra)
    units = expected_sales(mean, np.broadcast_to(sale.stock, mean.shape))
    margin = prices - shop.cost_cents[sale.item]
    sums = [(prices * units).sum(-1), (margin * units).sum(-1), 1000 * units.sum(-1)]
    share = np.asarray(WEIGHTS) / sum(WEIGHTS)
    parts = [(s - w) / d for s, w, d in zip(sums, scale.worst, scale.spread, strict=True)]
    return np.asarray(share @ np.array(parts).reshape(3, -1)).reshape(mean.shape[:-1])


def _climb(shop: Market, sale: Sale, prices: Ints, scale: Scale) -> Ints:
    """One price after the other moved to its best, exactly, until none moves."""
    prices = prices.copy()
    while True:
        before = prices.copy()
        for i in range(len(prices)):
            own = sale.candidate_cents[sale.candidate_item == i]
            tried = np.tile(prices, (len(own), 1))
            tried[:, i] = own
            prices[i] = own[int(score(shop, sale, tried, scale).argmax())]
        if np.array_equal(before, prices):
            return prices


def segment_rows(*, quick: bool) -> list[Row]:
    """Trees that see the relative price: by segments against one prediction per total.

    Ten prices from 50 to 100 % of the list price, in the platform's steps of 10 cents; the
    same in whole dollars has a tenth of the totals. Only segments a price can be in are read.
    """
    rng = np.random.default_rng([23])
    shop = market(rng, ITEMS)
    past = sell(shop, rng, sales=PAST_SALES)
    fitted = fit_models(past.rows, gap_days=GAP_DAYS, names=("xgboost",))
    model = price_model(fitted, "xgboost", None, identified=True)
    sale = coming_sale(shop, past, rng)
    share = np.linspace(0.5, 1.0, 10)
    rows = []
    for step, name in ((10, "10 cents"), (100, "$1")):
        listed = np.rint(shop.msrp_cents[sale.item][:, None] * share / step).astype(np.int64) * step
        place = np.repeat(np.arange(len(sale.item)), len(share))
        laddered = replace(sale, candidate_item=place, candidate_cents=listed.ravel())
        drawn = curves_of(shop, laddered, model)
        totals = np.arange(listed[:, 0].sum(), listed[:, -1].sum() + 1, step)
        per_total = listed.size * len(totals)
        metric = (
            f"20 x 10 prices in steps of {name}, {len(totals)} totals: predictions saved, times"
        )
        saved = per_total / drawn.predictions
        rows.append(at_least(metric, saved, 100.0) if step == 10 else Row(metric, saved))
        checked = totals[:: 10 if quick and step == 10 else 1]
        wrong = _mismatches(shop, laddered, model, drawn, checked)
        count = listed.size * len(checked)
        rows.append(at_most(f"  of {count} predicted by total: differ", wrong, 0))
    return rows


def _mismatches(
    shop: Market, sale: Sale, model: PriceModel, drawn: DemandCurves, totals: Ints
) -> float:
    """Prices and totals at which the segments say something else than the trees."""
    n, wrong = len(sale.item), 0
    rows = model.numbered(_to_predict(shop, sale))
    grown = model.grown(rows)
    for c, (place, cents) in enumerate(
        zip(sale.candidate_item.tolist(), sale.candidate_cents.tolist(), strict=True)
    ):
        own = drawn.candidate == c
        relative = cents * n / totals
        each = rows.take(np.full(len(totals), place))
        each = each.at_price(np.full(len(totals), float(cents)), relative)
        seen = relative.astype(np.float32).astype(np.float64)
        told = np.searchsorted(drawn.relative_from[own], seen, side="right") - 1
        wrong += int((np.exp(grown.log_mean(each)) != drawn.demand[own][told]).sum())
    return float(wrong)
