"""Prices of a sale: exactness against independent solvers, and CPU against the rivals.

CPU seconds of this process, after warm-up (kernels compiled). ``--quick`` takes fewer
instances and shorter limits; ``--large`` adds nothing (all sizes run in minutes).
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from itertools import product

import numpy as np

from bench import Row, at_least, at_most
from bench.pricing_rivals import (
    cp_sat_whole,
    ferreira,
    monolith,
    per_total,
    split_sampled,
    split_sampled_cp_sat,
)
from bench.pricing_rules import rows as rule_rows
from bench.pricing_sales import full_dp, random_sale, sale
from retail_assets.models.pricing.candidates import MARGIN, REVENUE, Candidates
from retail_assets.models.pricing.frontier import frontier
from retail_assets.models.pricing.optimise import optimise
from retail_assets.models.pricing.program import NoLegalPriceError
from retail_assets.models.pricing.sale_rules import SaleRules, prepare

DOLLAR = 100


def run(*, quick: bool, large: bool) -> list[Row]:
    """The optimiser's rows of the table of claims."""
    del large
    rows = _toy()
    rows += _exact_totals(60 if quick else 300)
    rows += _exact_rules(20 if quick else 100)
    rows += _exact_percent(30 if quick else 100)
    rows += _source_size(quick)
    rows += _large_sizes()
    rows += _frontier()
    rows += rule_rows(quick)
    return rows


def _cpu(work: Callable[[], object], repeats: int = 1) -> float:
    """Median CPU seconds of ``repeats`` runs."""
    times = []
    for _ in range(repeats):
        started = time.process_time()
        work()
        times.append(time.process_time() - started)
    return float(np.median(times))


def _toy() -> list[Row]:
    toy = Candidates(
        ("Ball", "Pen"),
        np.array([99, 99]),
        np.array([0, 0]),
        np.array([0, 0, 0, 1, 1, 1, 1]),
        np.array([200, 200, 400, 100, 100, 300, 300]),
        np.array([300, 600, 300, 300, 500, 300, 700]),
        np.array([599, 700, 700, 499, 700, 699, 700]),
        np.array([4.0, 3, 2, 7, 8, 1, 0]),
    )
    plan = optimise(toy, "revenue")
    ball, pen = plan.price_cents.tolist()
    total, revenue = plan.certificate.total_cents, plan.revenue
    text = " ".join(f"{cents / 100:g}" for cents in (ball, pen, total, revenue))
    return [Row("toy: ball, pen, total, revenue $", text, "4 1 5 16", text == "4 1 5 16")]


def _exact_totals(instances: int) -> list[Row]:
    wrong = proven = 0
    for seed in range(instances):
        instance = random_sale(np.random.default_rng(seed))
        target, column = (("revenue", REVENUE), ("margin_cents", MARGIN))[seed % 2]
        truth = full_dp(instance, instance.measures()[:, column])
        try:
            plan = optimise(instance, target)  # type: ignore[arg-type]
        except NoLegalPriceError:
            wrong += truth != -np.inf
            continue
        wrong += plan.certificate.objective != truth
        proven += plan.certificate.gap == 0
    return [
        at_most(f"{instances} random sales, N <= 20: differ from a full DP", wrong, 0),
        Row("  of them proven with gap 0 (the rest have no legal prices)", proven),
    ]


def _exact_rules(instances: int) -> list[Row]:
    wrong = infeasible = closed = 0
    for seed in range(instances):
        rng = np.random.default_rng(10_000 + seed)
        smooth = seed % 2 == 0
        instance = sale(int(rng.integers(4, 9)), 4, rng) if smooth else random_sale(rng, 10)
        n = len(instance.products)
        rules = SaleRules(
            same_price=[(0, 1)] if n > 3 and seed % 6 == 1 else [],
            price_order=[(n - 3, n - 2, n - 1)] if n > 5 and seed % 3 else [],
            max_changes=int(rng.integers(n // 2, n + 1)) if rng.random() < 0.5 else None,
            min_margin_pct=float(rng.integers(50, 75) if smooth else rng.integers(0, 50)),
            min_sell_through_pct=float(rng.integers(60, 95) if smooth else rng.integers(0, 45)),
        )
        truth = cp_sat_whole(instance, instance.measures()[:, REVENUE], rules)
        infeasible += truth is None
        try:
            plan = optimise(instance, "revenue", rules=rules)
            found: float | None = plan.revenue
            closed += plan.certificate.closings > 0
        except NoLegalPriceError:
            found = None
        wrong += found != truth
    name = f"{instances} sales, N <= 10, with sale rules and families: differ from CP-SAT"
    return [
        at_most(name, wrong, 0),
        Row("  of them without legal prices", infeasible),
        Row("  of them with blocks closed by a DP or CP-SAT", closed),
    ]


def _exact_percent(instances: int) -> list[Row]:
    wrong = 0
    for seed in range(instances):
        instance = random_sale(np.random.default_rng(20_000 + seed), 4)
        ladders = [
            np.unique(instance.price_cents[instance.item == i])
            for i in range(len(instance.products))
        ]
        best = -np.inf
        for prices in product(*ladders):
            rows = instance.row_at(np.array(prices), int(sum(prices)))
            if (rows >= 0).all() and instance.legal[rows].all():
                sums = instance.measures_of(rows).sum(axis=0)
                best = max(best, 100 * sums[MARGIN] / sums[REVENUE] if sums[REVENUE] else -np.inf)
        try:
            found = optimise(instance, "margin_pct").certificate.objective
        except NoLegalPriceError:
            found = -np.inf
        wrong += not (found == best or abs(found - best) < 1e-9)
    return [at_most(f"{instances} tiny sales: margin % differs from enumeration", wrong, 0)]


def _source_size(quick: bool) -> list[Row]:
    seeds = (1, 2) if quick else (1, 2, 3, 4, 5)
    samples, limit = (8, 5.0) if quick else (40, 60.0)
    table = [_one_source_size(seed, samples) for seed in seeds]
    ours, *ratios = (np.array([row[k] for row in table]) for k in range(5))
    instance = sale(20, 10, np.random.default_rng(1))
    records = per_total(instance, DOLLAR)
    plan = optimise(instance, "revenue")
    found, proven = monolith(records, "SCIP", limit)
    name = f"20 x 10, median of {len(seeds)} sales"
    rows = [
        Row("20 x 10: records, one per item, price and total", float(records.value.size)),
        at_most(f"{name}: proven optimal, CPU ms", 1000 * float(np.median(ours)), 20.0),
        at_most("  slowest, CPU ms", 1000 * float(ours.max()), 20.0),
        Row("  totals ruled out / totals", _ruled_out(plan.certificate)),
        at_most(
            "  sales whose revenue differs from the full DP or the LP bounds", _wrong(table), 0
        ),
    ]
    labels = (
        ("LP bounds (Ferreira et al.; GLOP, SCIP)", 500.0),
        ("full DP over all totals", 50.0),
        (f"one SCIP MIP per total ({samples} sampled)", 5000.0),
        (f"one CP-SAT model per total ({samples} sampled)", 5000.0),
    )
    for (label, bound), ratio in zip(labels, ratios, strict=True):
        rows.append(at_least(f"{name}: {label} / ours, CPU", float(np.median(ratio)), bound))
        rows.append(Row("  smallest of the ratios", float(ratio.min())))
    share = "no prices found" if found is None else f"{found / plan.revenue:.3f}"
    metric = f"20 x 10: monolithic MIP, SCIP, {limit:g} s limit: best share of the optimum"
    return [*rows, Row(metric, share, "not proven", not proven)]


def _one_source_size(seed: int, samples: int) -> tuple[float, ...]:
    """CPU seconds of ours, ratios of the four rivals, whether any found more revenue."""
    instance = sale(20, 10, np.random.default_rng(seed))
    records = per_total(instance, DOLLAR)
    plan = optimise(instance, "revenue")
    ours = _cpu(lambda: optimise(instance, "revenue"), 30)
    value = instance.measures()[:, REVENUE]
    dp = full_dp(instance, value, DOLLAR)
    dp_cpu = _cpu(lambda: full_dp(instance, value, DOLLAR), 3)
    lp = ferreira(records)
    split = (split_sampled(records, "SCIP", samples), split_sampled_cp_sat(records, samples))
    wrong = plan.certificate.gap != 0 or not plan.revenue == round(dp) == round(lp.objective)
    return (ours, *(cpu / ours for cpu in (lp.cpu_seconds, dp_cpu, *split)), float(wrong))


def _wrong(table: list[tuple[float, ...]]) -> float:
    return float(sum(row[-1] for row in table))


def _ruled_out(certificate: object) -> str:
    ruled, totals = (getattr(certificate, k) for k in ("totals_ruled_out", "totals"))
    return f"{ruled} / {totals}"


def _large_sizes() -> list[Row]:
    rows = []
    for items, prices, seconds in ((1000, 10, 0.5), (5000, 20, 10.0)):
        for ladder in (False, True):
            instance = sale(items, prices, np.random.default_rng(1), common_ladder=ladder)
            started = time.process_time()
            plan = optimise(instance, "revenue")
            cpu = time.process_time() - started
            name = f"{items} x {prices}{', one ladder for all' if ladder else ''}"
            totals = plan.certificate.totals
            rows.append(at_most(f"{name} ({totals} totals): CPU s", cpu, seconds))
            rows.append(at_most(f"{name}: gap", plan.certificate.gap, 0.0))
    odd = _odd_cents(sale(1000, 10, np.random.default_rng(1)))
    cpu, plan = _cpu(lambda: optimise(odd, "revenue")), optimise(odd, "revenue")
    totals = plan.certificate.totals
    rows.append(Row(f"1000 x 10, odd cents ({totals} totals): CPU s", cpu))
    rows.append(at_most("1000 x 10, odd cents: gap", plan.certificate.gap, 0.0))
    return rows


def _odd_cents(instance: Candidates) -> Candidates:
    """The sale with cents that share no step, so that almost every total can be formed."""
    cents = (instance.item * 7 + instance.price_cents // DOLLAR * 13) % 97 - 48
    return replace(instance, price_cents=instance.price_cents + cents)


def _frontier() -> list[Row]:
    prepared = prepare(sale(30, 10, np.random.default_rng(1)))
    found = frontier(prepared)
    cpu = _cpu(lambda: frontier(prepared), 3)
    levels = frontier(prepared, margin="margin_pct")
    levels_cpu = _cpu(lambda: frontier(prepared, margin="margin_pct"))
    gap = max(p.certificate.gap for p in levels.plans)
    distinct = len({p.price_cents.tobytes() for p in found.plans})
    rows = [
        at_most(f"frontier: {len(found.plans)} solves of 30 items, CPU s", cpu, 3.0),
        at_most("frontier with margin %, by levels: CPU s", levels_cpu, 3.0),
        Row("frontier with margin %: largest gap of a score (0 to 1)", gap),
        Row("frontier: distinct plans", float(distinct)),
        Row("frontier: dominated plans", float(found.dominated.sum())),
    ]
    for target in ("revenue", "margin_cents", "margin_pct", "sell_through", "weighted"):
        plan = optimise(prepared, target)  # type: ignore[arg-type]
        text = f"${plan.revenue / 100:,.0f} {plan.margin_pct:.0f}% {plan.sell_through_pct:.0f}%"
        rows.append(Row(f"  max {target}: revenue, margin %, sell-through %", text))
    percent = optimise(prepared, "weighted", margin="margin_pct")
    rows.append(Row("  weighted with margin %: gap of the score", percent.certificate.gap))
    with_rules = SaleRules(max_changes=15, min_margin_pct=40.0, min_sell_through_pct=90.0)
    instance = prepared.candidates
    rows.append(
        Row(
            "30 x 10 under three sale rules (CP-SAT closes): CPU s",
            _cpu(lambda: optimise(instance, "revenue", rules=with_rules)),
        )
    )
    return rows
