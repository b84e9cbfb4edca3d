"""Step 1 against the smoother that knows the truth, and against the paper's rule.

The oracle smoother is the plain two-state model told everything but the status: true
arrival and substitution rates, the true demand level of each interval, the true status
of the *other* products (hence the true inflow), and P(run out | sale), restock hazard
and dispersion counted from the product's own true status. It knows no rhythm: the
presets' reviews come at fixed intervals, which `fit_status` may find out for itself, so
a ratio below 1 is possible. "no rhythm" rows fit the same plain family as the oracle;
"late vans" repeats presets with deliveries 0 to a quarter of a review late.
"""

from __future__ import annotations

import resource
import time
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from bench import Row, at_least, at_most
from retail_assets.models.panel import Panel
from retail_assets.models.stockouts.hidden_markov import HmmParams, Series, smooth
from retail_assets.models.stockouts.joint import fit_status
from retail_assets.models.stockouts.score import StatusScore, reliability, score_status
from retail_assets.models.stockouts.status import StatusFit
from retail_assets.models.stockouts.zero_runs import corrected_test, literal_test
from retail_assets.simulator.engine import History, panel_of, simulate
from retail_assets.simulator.presets import large as large_retailer
from retail_assets.simulator.presets import load_preset
from retail_assets.simulator.specs import ReviewCycle

Floats = NDArray[np.float64]
# Bins of the reliability curve with fewer product-intervals say nothing: 1 in 1,000.
FEW = 1_000


@dataclass(frozen=True)
class Case:
    """One simulated history of one preset, and what is true in it."""

    history: History
    panel: Panel

    @property
    def truth(self) -> NDArray[np.bool_]:
        """(n, T) status."""
        store = self.history.category().stores[0]
        n, length = self.panel.n_products, self.panel.stores[0].n_intervals
        return np.array([store.out.mask(j, length) for j in range(n)])

    def score(self, p_out: Floats) -> StatusScore:
        return score_status(p_out.ravel(), self.truth.ravel())


def case_of(preset: str, seed: int, *, deliveries: bool = False, jitter: float = 0.0) -> Case:
    spec = load_preset(preset)
    if jitter:
        own, *others = spec.categories
        assert isinstance(own.supply, ReviewCycle)
        late = replace(own.supply, jitter=int(own.supply.review * jitter))
        spec = replace(spec, categories=(replace(own, supply=late), *others))
    history = simulate(spec, seed=seed)
    return Case(history, panel_of(history, deliveries=deliveries))


def fitted_p_out(fit: StatusFit) -> Floats:
    return np.array([fit.smoothed(0, j).p_out for j in range(fit.panel.n_products)])


def oracle_p_out(case: Case) -> Floats:
    """(n, T) smoothed by the plain model with true parameters; see the module's docstring."""
    truth, store = case.truth, case.panel.stores[0]
    own = case.history.category()
    rate, alpha = own.truth.arrival_rate[0], own.truth.substitution_rate
    weight = case.history.weather[0].weight
    smoothed = []
    for j, out in enumerate(truth):
        interval, transactions = store.sales(j)
        inflow = (rate * alpha[:, j]) @ truth
        series = Series.of(interval, transactions, weight, inflow)
        started = max(float(np.sum(out[1:] & ~out[:-1])), 0.5)
        ended = max(float(np.sum(out[:-1] & ~out[1:])), 0.5)
        mean = (weight * (rate[j] + inflow))[~out]
        counts = series.counts[~out]
        excess = np.sum((counts - mean) ** 2 - counts) / np.sum(mean**2)
        params = HmmParams(
            float(rate[j]),
            (min(started / transactions.sum(), 0.9),),
            0.0,
            (min(ended / max(out.sum(), 1), 0.9),),
            max(0.0, float(excess)) if own.spec.dispersion else 0.0,
            float(np.clip(out.mean(), 0.001, 0.999)),
        )
        smoothed.append(smooth(series, params).p_out)
    return np.array(smoothed)


def rule_p_out(case: Case, *, literal: bool) -> Floats:
    """(n, T) the 1e-4 rule, true demand level given to the corrected one."""
    store = case.panel.stores[0]
    result = np.zeros((case.panel.n_products, store.n_intervals))
    for j in range(case.panel.n_products):
        if literal:
            test = literal_test(*store.sales(j), store.n_intervals)
        else:
            test = corrected_test(*store.sales(j), case.history.weather[0].weight)
        for start, stop in zip(*test.out, strict=True):
            result[j, start:stop] = 1.0
    return result


@dataclass(frozen=True)
class Result:
    """Mean figures of one preset over its seeds."""

    score: StatusScore
    oracle: StatusScore
    rule: StatusScore
    literal: StatusScore
    low_power: float
    gap: float
    calibration_error: float
    seconds: float

    @property
    def ratio(self) -> float:
        return self.score.brier / self.oracle.brier


def measure(preset: str, seeds: range, *, rhythm: bool = True, jitter: float = 0.0) -> Result:
    p_out, truth, oracle, rule, literal, low, seconds = [], [], [], [], [], [], 0.0
    for seed in seeds:
        case = case_of(preset, seed, jitter=jitter)
        began = time.perf_counter()
        fit = fit_status(case.panel, seed=seed, learn_deliveries=rhythm)
        seconds += time.perf_counter() - began
        p_out.append(fitted_p_out(fit))
        truth.append(case.truth)
        oracle.append(oracle_p_out(case))
        rule.append(rule_p_out(case, literal=False))
        literal.append(rule_p_out(case, literal=True))
        low.append([product.low_power for product in fit.stores[0].products])
    flat = np.concatenate(truth).ravel()

    def score(parts: list[Floats]) -> StatusScore:
        return score_status(np.concatenate(parts).ravel(), flat)

    curve = reliability(np.concatenate(p_out).ravel(), flat)
    return Result(
        score(p_out),
        score(oracle),
        score(rule),
        score(literal),
        float(np.mean(low)),
        curve.worst_gap(FEW * len(seeds)),
        curve.mean_gap,
        seconds / len(seeds),
    )


def paper_rows(seeds: range) -> list[Row]:
    own = measure("paper", seeds)
    known = []
    for seed in seeds:
        case = case_of("paper", seed, deliveries=True)
        known.append(case.score(fitted_p_out(fit_status(case.panel))).accuracy)
    return [
        at_least("paper: accuracy, POS only", own.score.accuracy, 0.985),
        Row("paper: type I / type II", f"{own.score.type_1:.5f} / {own.score.type_2:.5f}"),
        Row("paper: Brier, ours / oracle", f"{own.score.brier:.5f} / {own.oracle.brier:.5f}"),
        at_most("paper: Brier / oracle smoother", own.ratio, 1.15),
        at_least("paper: accuracy with deliveries", float(np.mean(known)), 0.998),
        at_most("paper: series with low_power", own.low_power, 0.05),
        Row("paper: accuracy of the rule, corrected", own.rule.accuracy),
        Row("paper: accuracy of the rule, literal", own.literal.accuracy),
        Row("paper: status and inflow, s per 5 x 200,000", own.seconds),
    ]


def short_rows(seeds: range) -> list[Row]:
    rows = []
    for preset in ("short_outage", "slow", "slow_short"):
        own = measure(preset, seeds)
        rows += [
            Row(f"{preset}: accuracy", own.score.accuracy),
            Row(
                f"{preset}: Brier, ours / oracle", f"{own.score.brier:.5f} / {own.oracle.brier:.5f}"
            ),
            at_most(f"{preset}: Brier / oracle smoother", own.ratio, 1.25),
            Row(f"{preset}: Brier of the rule, corrected", own.rule.brier),
        ]
        if preset == "slow_short":
            rows.append(at_least("slow_short: series with low_power", own.low_power, 0.95))
    return rows


def overdispersed_rows(seeds: range) -> list[Row]:
    own = measure("overdispersed", seeds)
    rows = [
        at_least("overdispersed: Brier skill over the base rate", own.score.skill, 0.3),
        at_least("overdispersed: AUC", own.score.auc, 0.94),
        at_most("overdispersed: reliability, worst gap", own.gap, 0.05),
        Row("overdispersed: reliability, mean gap", own.calibration_error),
        Row("overdispersed: Brier / oracle smoother", own.ratio),
    ]
    for name, rule in (("corrected", own.rule), ("literal", own.literal)):
        rows.append(
            Row(
                f"overdispersed: the rule, {name}: skill / AUC",
                f"{rule.skill:.3f} / {rule.auc:.3f}",
            )
        )
    return rows


def level_rows(seeds: range) -> list[Row]:
    """Profile and footfall estimated, not given."""
    rows = []
    for preset in ("seasonal", "common_shock", "common_shock_cv80"):
        own = measure(preset, seeds)
        rows += [
            Row(f"{preset}: accuracy, level estimated", own.score.accuracy),
            Row(f"{preset}: Brier / oracle smoother", own.ratio),
        ]
    return rows


def harder_rows(seeds: range) -> list[Row]:
    """What is left where no strict rhythm helps."""
    rows = []
    for preset in ("paper", "short_outage", "slow", "slow_short", "overdispersed"):
        plain = measure(preset, seeds, rhythm=False)
        late = measure(preset, seeds, jitter=0.25)
        for name, own in (("no rhythm", plain), ("late vans", late)):
            rows += [
                Row(f"{preset}, {name}: accuracy", own.score.accuracy),
                Row(f"{preset}, {name}: Brier / oracle smoother", own.ratio),
                Row(f"{preset}, {name}: low_power", own.low_power),
                Row(f"{preset}, {name}: worst reliability gap", own.gap),
            ]
    return rows


def large_rows(n_products: int) -> list[Row]:
    history = simulate(large_retailer(n_products), seed=0)
    panel = panel_of(history)
    began = time.perf_counter()
    fit = fit_status(panel)
    minutes = (time.perf_counter() - began) / 60
    sample = range(0, n_products, max(n_products // 20, 1))
    out = history.category().stores[0].out
    length = panel.stores[0].n_intervals
    score = score_status(
        np.concatenate([fit.smoothed(0, j).p_out for j in sample]),
        np.concatenate([out.mask(j, length) for j in sample]),
    )
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024**2
    return [
        at_most(f"{n_products} x 200,000: status and rates, minutes", minutes, 10.0),
        at_most(f"{n_products} x 200,000: peak memory, GB", memory, 4.0),
        Row(f"{n_products} x 200,000: accuracy", score.accuracy),
        Row(f"{n_products} x 200,000: Brier", score.brier),
    ]


def run(*, quick: bool, large: bool) -> list[Row]:
    """All rows; ``large`` adds 1,000 products x 200,000 intervals."""
    seeds = range(1) if quick else range(3)
    rows = paper_rows(seeds) + short_rows(seeds) + overdispersed_rows(seeds) + level_rows(seeds)
    if not quick:
        rows += harder_rows(seeds)
    if large:
        rows += large_rows(1000)
    return rows
