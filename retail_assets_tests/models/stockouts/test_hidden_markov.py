"""Forward-backward, sampling and EM against enumeration, Monte Carlo and planted truth."""

import itertools

import numpy as np
import pytest
from scipy import stats

from retail_assets.models.stockouts import kernels
from retail_assets.models.stockouts.hidden_markov import (
    HmmParams,
    Series,
    fit,
    in_stock_share,
    sample_paths,
    smooth,
)

IN, OUT = 0, 1


def count_law(mean, dispersion):
    if dispersion == 0:
        return stats.poisson(mean)
    size = 1 / dispersion
    return stats.nbinom(size, size / (size + mean))


def short_series(seed, dispersion):
    rng = np.random.default_rng(seed)
    counts = np.array([1, 0, 0, 2, 0, 0, 1, 0], np.int32)
    n = len(counts)
    series = Series(
        counts,
        rng.uniform(0.5, 1.5, n),
        rng.uniform(0, 0.3, n),
        np.tile([0, 1], n // 2).astype("i2"),
    )
    params = HmmParams(0.6, (0.3, 0.2), 0.05, (0.0, 0.4), dispersion, 0.25)
    return series, params


def enumerate_paths(series, params):
    """Joint probability of the counts and every path of (state, restocked) by definition.

    Within an interval: perhaps run out; at the start of the next: perhaps restock. A
    product may do both, so a path also says whether it ran out in each interval.
    """
    means = series.weight * (params.arrival_rate + series.inflow)
    laws = [count_law(mean, params.dispersion) for mean in means]
    sold = [int(c) for c in series.counts]
    exactly = [law.pmf(c) for law, c in zip(laws, sold, strict=True)]
    at_least = [law.sf(c - 1) for law, c in zip(laws, sold, strict=True)]

    def within(t, state, ran_out):
        q = params.out_after_sale[series.phase[t]]
        if state == OUT:
            return 0.0 if ran_out or sold[t] else 1.0
        if sold[t] == 0:
            drop = params.out_otherwise
            return exactly[t] * (drop if ran_out else 1 - drop)
        if ran_out:
            return at_least[t] * q * (1 - q) ** (sold[t] - 1)
        return exactly[t] * (1 - q) ** sold[t]

    def between(t, empty, state):
        hazard = params.restock_hazard[series.phase[t]] if empty else 1.0
        return hazard if state == IN else 1 - hazard

    joint = {}

    def extend(states, ran, p):
        t = len(states)
        if p == 0:
            return
        if t == series.n_intervals:
            joint[states, ran] = p
            return
        for state in (IN, OUT):
            if t == 0:
                step = params.initial_out if state == OUT else 1 - params.initial_out
            else:
                step = between(t, states[-1] == OUT or ran[-1], state)
            for ran_out in (False, True):
                inside = within(t, state, ran_out)
                extend((*states, state), (*ran, ran_out), p * step * inside)

    extend((), (), 1.0)
    return joint


@pytest.mark.parametrize("dispersion", [0.0, 0.8])
def test_smoothing_equals_the_sum_over_all_paths(dispersion):
    series, params = short_series(1, dispersion)
    joint = enumerate_paths(series, params)
    total = sum(joint.values())
    p_out, p_back = np.zeros(8), np.zeros(8)
    run_outs = 0.0
    for (states, ran_out), p in joint.items():
        p_out += p / total * np.array(states)
        run_outs += (
            p / total * sum(r and c > 0 for r, c in zip(ran_out, series.counts, strict=True))
        )
        for t in range(1, 8):
            empty = states[t - 1] == OUT or ran_out[t - 1]
            p_back[t] += p / total * (empty and states[t] == IN)
    smoothed = smooth(series, params)
    np.testing.assert_allclose(smoothed.p_out, p_out, atol=1e-10)
    np.testing.assert_allclose(smoothed.p_back, p_back, atol=1e-10)
    assert smoothed.log_lik == pytest.approx(np.log(total), abs=1e-9)
    assert smoothed[kernels.RAN_OUT] == pytest.approx(run_outs, abs=1e-9)


@pytest.mark.parametrize("dispersion", [0.0, 0.8])
def test_sampled_paths_visit_each_path_as_often_as_it_is_likely(dispersion):
    series, params = short_series(2, dispersion)
    chance = {}
    joint = enumerate_paths(series, params)
    total = sum(joint.values())
    for (states, _), p in joint.items():
        chance[states] = chance.get(states, 0.0) + p / total
    n_draws = 20_000
    seen = {}
    for start, stop in sample_paths(series, params, n_draws, np.random.default_rng(0)):
        states = np.zeros(8, int)
        for a, b in zip(start, stop, strict=True):
            states[a:b] = 1
        seen[tuple(states)] = seen.get(tuple(states), 0) + 1
    assert set(seen) <= set(chance)
    likely = [s for s, p in chance.items() if p > 0.002]
    expected = np.array([chance[s] for s in likely]) * n_draws
    observed = np.array([seen.get(s, 0) for s in likely])
    assert np.sum((observed - expected) ** 2 / expected) < stats.chi2.ppf(0.9999, len(likely))


def test_a_long_run_behind_a_sale_is_out_and_a_sale_never_is():
    counts = np.zeros(400, np.int32)
    counts[:200:4] = 1
    counts[350:400:4] = 1
    series = Series.of(np.flatnonzero(counts), counts[counts > 0], np.ones(400))
    smoothed = smooth(series, HmmParams(0.25, (0.02,), 1e-6, (0.01,)))
    assert smoothed.p_out[counts > 0].max() == 0.0
    assert smoothed.p_out[210:330].min() > 0.99


@pytest.mark.parametrize(("count", "mean"), [(1, 0.2), (1, 3.0), (2, 1.0), (4, 2.5)])
def test_partial_exposure_equals_simulated_arrivals(count, mean):
    rng = np.random.default_rng(3)
    gaps = rng.exponential(1 / mean, (400_000, count))
    arrival = gaps.sum(axis=1)
    simulated = arrival[arrival < 1]
    share = in_stock_share(np.array([count]), np.array([mean]))[0]
    assert share == pytest.approx(simulated.mean(), abs=4 * simulated.std() / len(simulated) ** 0.5)


def test_partial_exposure_tends_to_the_order_statistic_of_uniform_arrivals():
    np.testing.assert_allclose(
        in_stock_share(np.array([1, 3]), np.array([1e-12, 1e-7])), [1 / 2, 3 / 4], atol=1e-6
    )


@pytest.mark.parametrize("dispersion", [0.0, 1.5])
@pytest.mark.parametrize(("count", "mean"), [(0, 0.3), (2, 0.1), (3, 4.0), (1, 30.0)])
def test_count_probabilities_equal_scipy(count, mean, dispersion):
    law = count_law(mean, dispersion)
    assert kernels.log_pmf(count, mean, dispersion) == pytest.approx(law.logpmf(count), rel=1e-9)
    ratio = law.sf(count) / law.pmf(count)
    assert kernels.tail_ratio(count, mean, dispersion) == pytest.approx(ratio, rel=1e-6)


def simulate_cycles(rng, n, rate, q, hazard, dispersion=0.0):
    """Plain loop over the model's own story, customer by customer."""
    counts, out = np.zeros(n, np.int32), np.zeros(n, bool)
    stocked = True
    for t in range(n):
        stocked = stocked or rng.random() < hazard
        out[t] = not stocked
        size = 1 / dispersion if dispersion else None
        mean = rate if size is None else rate * rng.gamma(size, 1 / size)
        for _ in range(rng.poisson(mean)):
            if stocked:
                counts[t] += 1
                stocked = rng.random() >= q
    return counts, out


@pytest.mark.parametrize("dispersion", [0.0, 1.0])
def test_em_finds_the_planted_parameters(dispersion):
    rng = np.random.default_rng(5)
    counts, out = simulate_cycles(rng, 60_000, 0.8, 0.02, 0.02, dispersion)
    series = Series.of(np.flatnonzero(counts), counts[counts > 0], np.ones(60_000))
    found = fit(series, HmmParams(0.5, (0.05,), 0.0, (0.05,)), max_iterations=80)
    assert found.converged
    assert found.params.arrival_rate == pytest.approx(0.8, rel=0.03)
    assert found.params.out_after_sale[0] == pytest.approx(0.02, rel=0.15)
    assert found.params.restock_hazard[0] == pytest.approx(0.02, rel=0.15)
    assert found.params.dispersion == pytest.approx(dispersion, abs=0.1)
    assert np.mean((found.smoothed.p_out - out) ** 2) < 0.02
    assert found.smoothed.lost_per_outage == pytest.approx(0.8 / 0.02, rel=0.15)


def test_em_does_not_lose_likelihood():
    rng = np.random.default_rng(6)
    counts, _ = simulate_cycles(rng, 5_000, 0.5, 0.03, 0.03)
    series = Series.of(np.flatnonzero(counts), counts[counts > 0], np.ones(5_000))
    start = HmmParams(0.3, (0.01,), 0.0, (0.1,))
    steps = [
        fit(series, start, max_iterations=k, tolerance=0).smoothed.log_lik for k in (1, 3, 6, 12)
    ]
    assert all(b > a - 1e-6 * abs(a) for a, b in itertools.pairwise(steps))


def test_keeping_the_last_interval_removes_the_bias_on_fast_cycles():
    """20 sales a cycle, rates near 1: dropping the interval costs about -1/20."""
    rng = np.random.default_rng(7)
    counts, _ = simulate_cycles(rng, 40_000, 1.0, 0.05, 0.05)
    series = Series.of(np.flatnonzero(counts), counts[counts > 0], np.ones(40_000))
    found = fit(series, HmmParams(0.7, (0.03,), 0.0, (0.03,)), max_iterations=80)
    assert found.params.arrival_rate == pytest.approx(1.0, rel=0.02)


def test_a_sale_that_contradicts_the_schedule_is_survived():
    """900 expected sales missed, no delivery, then a sale: a product in stock all along."""
    counts = np.zeros(3_000, np.int32)
    counts[[10, 2_990]] = 1
    phase = np.zeros(3_000, np.int16)
    phase[:5] = 1
    series = Series(counts, np.ones(3_000), np.zeros(3_000), phase)
    smoothed = smooth(series, HmmParams(0.3, (0.01, 0.01), 0.0, (0.0, 0.9)))
    assert np.isfinite(smoothed.log_lik)
    assert smoothed.p_out[11:2_990].max() < 1e-6
