"""Step 2: intervals that hold the truth, from known statuses and from receipts alone.

    python -m bench substitution            20 seeds a preset, about 12 minutes on 2 cores
    python -m bench substitution --quick    2 seeds; not for claims
    python -m bench substitution --large    also 1,000 products x 200,000 intervals

*Oracle* knows who was out and the demand level; *POS only* sees receipts. α is
compared off the diagonal, λ per trading interval (times the mean demand level). An
interval is the central 95 % of 1,000 draws.
"""

from __future__ import annotations

import multiprocessing
import os
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from bench import Row, at_least, at_most, between

PRESETS = ("paper", "seasonal", "markov_chain")
SHOCKS = ("common_shock", "common_shock_cv80")
LEVEL = 0.05


@dataclass(frozen=True)
class Found:
    """How one fit compares with the truth."""

    alpha_covered: float
    rate_covered: float
    alpha_score: float
    rate_score: float
    alpha_rmse: float
    alpha_mean: float
    alpha_mean_all: float
    rate_bias: float
    unidentified: float
    choice_model: str
    resolved: bool
    engine: str
    rhat: float
    ppc_p: float
    seconds: float


def run(*, quick: bool, large: bool) -> list[Row]:
    """All figures; ``quick`` takes 2 seeds, ``large`` adds the 1,000-product category."""
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    seeds = range(2) if quick else range(20)
    few = range(2) if quick else range(8)
    jobs: list[tuple[str, int]] = [(name, seed) for name in PRESETS for seed in seeds]
    for name in SHOCKS:
        jobs += [(f"{name}{zero}", seed) for zero in ("", "_zero") for seed in few]
    jobs += [(f"fast_cycle{zero}", seed) for zero in ("", "_zero") for seed in few]
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(2, mp_context=context) as pool:
        results = dict(zip(jobs, pool.map(compare, *zip(*jobs, strict=True)), strict=True))
    rows: list[Row] = []
    for name in PRESETS:
        rows += _coverage(name, [results[name, seed] for seed in seeds])
    for name in ("paper", "markov_chain"):
        rows += _told_apart(name, [results[name, seed] for seed in seeds])
    for name in (*SHOCKS, "fast_cycle"):
        rows += _shocks(name, [results[name, seed] for seed in few], zero=False)
        rows += _shocks(name, [results[f"{name}_zero", seed] for seed in few], zero=True)
    return rows + _many_products(seeds=few) + _speed() + (_large() if large else [])


def compare(name: str, seed: int) -> dict[str, Found]:
    """One simulated shop, fitted as oracle, with known status, and from receipts alone."""
    from retail_assets.models.stockouts.joint import fit_status
    from retail_assets.models.stockouts.joint_paths import JointPaths
    from retail_assets.models.substitution.levels import LevelDraws
    from retail_assets.simulator import load_preset, panel_of, simulate

    base = name.removesuffix("_zero") if name.startswith("fast_cycle") else name
    spec = load_preset(base)
    if base != name:
        own = spec.categories[0]
        bare = replace(own, substitution_rate=np.zeros_like(own.substitution_rate))
        spec = replace(spec, categories=(bare, *spec.categories[1:]))
    history = simulate(spec, seed)
    own_history, panel = history.category(), panel_of(history)
    known = [store.out for store in own_history.stores]
    level = [weather.weight for weather in history.weather]
    status = fit_status(panel)
    truth = own_history.truth
    mean_level = np.array([weight.mean() for weight in level])
    redraw = LevelDraws(panel, [store.level for store in status.stores])
    cases = {
        "oracle": ([known], level, None),
        "pos": (JointPaths(status), status.weight, redraw),
    }
    if name.startswith("common_shock"):
        cases["level"] = ([known], status.weight, None)
    return {
        case: _fit(panel, out, weight, redraw, truth, mean_level, seed)
        for case, (out, weight, redraw) in cases.items()
    }


def _fit(panel, out, weight, redraw, truth, mean_level, seed) -> Found:  # type: ignore[no-untyped-def]
    from retail_assets.models.substitution.posterior import fit_posterior

    fit = fit_posterior(panel, out, weight, seed=seed, redraw_level=redraw)
    pairs = fit.target < panel.n_products
    alpha = truth.substitution_rate[fit.source[pairs], fit.target[pairs]]
    rate = truth.arrival_rate * mean_level[:, None]
    scale = np.array([w.mean() for w in weight])[:, None]
    low, high = fit.substitution.q025[pairs], fit.substitution.q975[pairs]
    rate_low, rate_high = fit.demand.q025 * scale, fit.demand.q975 * scale
    found = fit.substitution.mean[pairs]
    # A row that was never learnt keeps its prior and says so: it is no estimate.
    identified = np.array([flag in ("ok", "weak") for flag in fit.flag])[pairs]
    return Found(
        alpha_covered=float(((low <= alpha) & (alpha <= high)).mean()),
        rate_covered=float(((rate_low <= rate) & (rate <= rate_high)).mean()),
        alpha_score=_interval_score(low, high, alpha),
        rate_score=_interval_score(rate_low / rate, rate_high / rate, np.ones_like(rate)),
        alpha_rmse=float(np.sqrt(((found - alpha) ** 2).mean())),
        alpha_mean=float(found[identified].mean()) if identified.any() else float("nan"),
        alpha_mean_all=float(found.mean()),
        rate_bias=float((fit.demand.mean * scale / rate).mean() - 1.0),
        unidentified=float(np.mean([flag == "unidentified" for flag in fit.flag])),
        choice_model=fit.choice_model,
        resolved=fit.diagnostics.resolved,
        engine=fit.diagnostics.engine,
        rhat=fit.diagnostics.rhat,
        ppc_p=fit.diagnostics.ppc_p,
        seconds=fit.diagnostics.seconds,
    )


def _interval_score(
    low: NDArray[np.float64], high: NDArray[np.float64], truth: NDArray[np.float64]
) -> float:
    """Mean interval score (Gneiting and Raftery 2007, equation 43); smaller is better."""
    below = np.maximum(low - truth, 0.0)
    above = np.maximum(truth - high, 0.0)
    return float((high - low + 2.0 / LEVEL * (below + above)).mean())


def _mean(results: Sequence[dict[str, Found]], case: str, field: str) -> float:
    return float(np.mean([getattr(result[case], field) for result in results]))


def _coverage(name: str, results: Sequence[dict[str, Found]]) -> list[Row]:
    rows = []
    for symbol, field in (("α", "alpha"), ("λ", "rate")):
        oracle = _mean(results, "oracle", f"{field}_covered")
        pos = _mean(results, "pos", f"{field}_covered")
        score = _mean(results, "pos", f"{field}_score") / _mean(results, "oracle", f"{field}_score")
        rows += [
            between(f"{name}: {symbol} coverage, true status", oracle, 0.93, 0.98),
            at_least(f"{name}: {symbol} coverage, POS only", pos, 0.90),
            at_most(f"{name}: {symbol} interval score, POS only / oracle", score, 1.3),
        ]
    nuts = [r["pos"] for r in results if r["pos"].engine == "nuts"]
    rows += [
        Row(f"{name}: α RMSE, true status", _mean(results, "oracle", "alpha_rmse")),
        Row(f"{name}: α RMSE, POS only", _mean(results, "pos", "alpha_rmse")),
        Row(f"{name}: λ bias, POS only", _mean(results, "pos", "rate_bias")),
        Row(f"{name}: share unidentified, POS only", _mean(results, "pos", "unidentified")),
        Row(f"{name}: share of fits that went to NUTS", len(nuts) / len(results)),
        Row(f"{name}: worst R-hat, POS only", max((f.rhat for f in nuts), default=float("nan"))),
        Row(f"{name}: seconds per posterior, POS only", _mean(results, "pos", "seconds")),
    ]
    return rows


def _told_apart(name: str, results: Sequence[dict[str, Found]]) -> list[Row]:
    truth = "markov_chain" if name == "markov_chain" else "one_step"
    rows = []
    for case, label in (("oracle", "true status"), ("pos", "POS only")):
        right = [r[case].choice_model == truth for r in results]
        open_ = [not r[case].resolved for r in results]
        fine = sum(a or b for a, b in zip(right, open_, strict=True))
        need = 18 / 20 * len(results)
        rows += [
            at_least(f"{name}: choice model right or unresolved, {label}", fine, need),
            Row(f"{name}: choice model right, {label}", sum(right), f"of {len(results)}"),
            Row(f"{name}: choice model unresolved, {label}", sum(open_), f"of {len(results)}"),
        ]
    return rows


def _shocks(name: str, results: Sequence[dict[str, Found]], *, zero: bool) -> list[Row]:
    cases = [("pos", "POS only")]
    if "level" in results[0]:
        cases.insert(0, ("level", "true status, estimated level"))
    rows = []
    for case, label in cases:
        if zero:
            found = _mean(results, case, "alpha_mean")
            everything = _mean(results, case, "alpha_mean_all")
            rows += [
                at_most(f"{name}, α = 0: mean α̂ of identified pairs, {label}", found, 0.02),
                at_most(f"{name}, α = 0: mean α̂ of all pairs, {label}", everything, 0.02),
            ]
        else:
            ratio = _mean(results, case, "alpha_rmse") / _mean(results, "oracle", "alpha_rmse")
            covered = _mean(results, case, "alpha_covered")
            rows.append(at_most(f"{name}: α RMSE / oracle's, {label}", ratio, 1.3))
            rows.append(Row(f"{name}: α coverage, {label}", covered))
    if zero:
        share = _mean(results, "pos", "unidentified")
        rows += [
            Row(f"{name}, α = 0: mean α̂, oracle", _mean(results, "oracle", "alpha_mean")),
            Row(f"{name}, α = 0: share unidentified, POS only", share),
        ]
    return rows


def _many_products(seeds: Sequence[int]) -> list[Row]:
    """Coverage in a category too large for patterns, from true statuses."""
    from retail_assets.models.substitution.large import fit_large
    from retail_assets.simulator import panel_of, simulate
    from retail_assets.simulator.presets import large

    n, length = 50, 40_000
    found = []
    for seed in seeds:
        history = simulate(large(n, length), seed)
        own, weight = history.category(), [np.ones(length)]
        fit = fit_large(panel_of(history), [[own.stores[0].out]], weight, seed=seed)
        pairs, rate = fit.target < n, own.truth.arrival_rate
        alpha = own.truth.substitution_rate[fit.source[pairs], fit.target[pairs]]
        low, high = fit.substitution.q025[pairs], fit.substitution.q975[pairs]
        covered = ((low <= alpha) & (alpha <= high)).mean()
        rates = ((fit.demand.q025 <= rate) & (rate <= fit.demand.q975)).mean()
        bias = (fit.substitution.mean[pairs] - alpha).mean()
        found.append((covered, bias, rates, pairs.sum() / n))
    covered, bias, rates, named = np.mean(found, axis=0)
    label = f"{n} products x {length:,}"
    return [
        at_least(f"{label}: coverage of named α", float(covered), 0.90),
        at_most(f"{label}: |bias| of named α", float(abs(bias)), 0.02),
        at_least(f"{label}: λ coverage", float(rates), 0.90),
        Row(f"{label}: named pairs per product", float(named)),
    ]


_BOTH_STEPS = """
import time
began = time.perf_counter()
import resource, sys
import numpy as np
from retail_assets.simulator import load_preset, panel_of, simulate
from retail_assets.simulator.presets import large
history = simulate(large() if sys.argv[1] == "large" else load_preset(sys.argv[1]), 1)
panel = panel_of(history)
began = time.perf_counter()
from retail_assets.models.stockouts.joint import fit_status
from retail_assets.models.substitution.posterior import fit_posterior
status = fit_status(panel)
middle = time.perf_counter()
redraw = None
if sys.argv[1] == "large":
    rng = np.random.default_rng(1)
    paths = [status.sample_out(rng) for _ in range(2)]
else:
    from retail_assets.models.stockouts.joint_paths import JointPaths
    from retail_assets.models.substitution.levels import LevelDraws
    paths = JointPaths(status)
    redraw = LevelDraws(panel, [store.level for store in status.stores])
fit = fit_posterior(panel, paths, status.weight, seed=1, redraw_level=redraw)
end = time.perf_counter()
gigabytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
print(middle - began, end - middle, gigabytes)
"""


def _both_steps(preset: str, **environment: str) -> list[float]:
    """Seconds of step 1 and 2 and gigabytes, in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-c", _BOTH_STEPS, preset],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=True,
    )
    return [float(x) for x in done.stdout.split()[-3:]]


def _speed() -> list[Row]:
    import tempfile

    with tempfile.TemporaryDirectory() as cold:
        first = _both_steps("paper", NUMBA_CACHE_DIR=cold)
    later = _both_steps("paper")
    return [
        Row("5 x 200,000: seconds, nothing compiled, step 1", first[0]),
        Row("5 x 200,000: seconds, nothing compiled, step 2", first[1]),
        Row("5 x 200,000: seconds, nothing compiled, both steps", first[0] + first[1]),
        at_most("5 x 200,000: seconds, JAX compile included", later[0] + later[1], 30.0),
        Row("5 x 200,000: gigabytes", later[2]),
    ]


def _large() -> list[Row]:
    one, two, gigabytes = _both_steps("large")
    return [
        Row("1,000 x 200,000: seconds, step 1", one),
        Row("1,000 x 200,000: seconds, step 2", two),
        at_most("1,000 x 200,000: seconds, both steps", one + two, 600.0),
        at_most("1,000 x 200,000: gigabytes", gigabytes, 4.0),
    ]
