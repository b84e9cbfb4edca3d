"""Overlaps against masks, and the Gibbs sampler against integrals."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats as dist

from retail_assets.models.substitution.overlaps import Overlaps, overlap_statistics
from retail_assets.models.substitution.spike_slab import (
    KnownPairs,
    SlabState,
    _slab_mass,
    _sweep,
    _truncated,
    sample,
)
from retail_assets.simulator import panel_of, simulate


def test_overlaps_are_those_of_the_masks() -> None:
    history = simulate("paper", 4)
    panel, out = panel_of(history), history.category().stores[0].out
    store = panel.stores[0]
    weight = np.random.default_rng(0).uniform(0.5, 1.5, store.n_intervals)
    found = overlap_statistics(panel, [out], [weight])
    gone = np.array([out.mask(j, store.n_intervals) for j in range(5)])
    together = (gone * weight) @ gone.T
    assert found.together[0] == pytest.approx(together, rel=1e-5)
    for j in range(5):
        interval, transactions = store.sales(j)
        for i in range(5):
            sold = transactions[gone[i, interval] & ~gone[j, interval]].sum()
            assert found.sold[0, j, i] == pytest.approx(sold)
            # The intervals in which stock ran out count in part, about half.
            apart = gone[i] & ~gone[j]
            last = apart[:-1] & gone[j, 1:] & ~gone[j, :-1]
            halves = 0.5 * weight[:-1][last].sum()
            assert found.alone[0, j, i] == pytest.approx(weight[apart].sum() - halves, rel=1e-3)


def one_source(sold_out: float, sold_in: float) -> Overlaps:
    """Product 0 for 10,000 intervals, during 1,000 of which product 1 was out."""
    square = np.zeros((1, 2, 2))
    together, alone, sold = square.copy(), square.copy(), square.copy()
    together[0, 1, 1] = alone[0, 0, 1] = 1000.0
    sold[0, 0, 1] = sold_out
    exposure = np.array([[10_000.0, 9_000.0]])
    counts = np.array([[sold_out + sold_in, 1_800.0]])
    return Overlaps(together, alone, sold, exposure, counts)


@pytest.mark.parametrize("sold_out", [300.0, 330.0, 370.0])
def test_one_pair_agrees_with_its_integral(sold_out) -> None:
    stats = one_source(sold_out, 2_700.0)
    known = KnownPairs(np.zeros((2, 2)), np.zeros((2, 2)))
    state, rng = SlabState.start(stats), np.random.default_rng(1)
    inclusion, scale, rate = 0.3, 0.1, 0.2
    drawn = np.empty(20_000)
    for d in range(len(drawn)):
        state.arrival_rate[0, 1] = rate
        _sweep(
            state.arrival_rate,
            state.rate,
            stats.together,
            stats.alone,
            stats.sold,
            stats.exposure,
            stats.counts,
            np.ones(2),
            known.mean,
            known.precision,
            inclusion,
            scale,
            rng,
        )
        drawn[d] = state.rate[0, 1]
    lam = np.linspace(0.27, 0.36, 901)[:, None]
    alpha = np.linspace(0.0, 1.0, 4001)[None]
    log_lik = 2_700 * np.log(lam) - 9_000 * lam
    log_lik = log_lik + sold_out * np.log(lam + rate * alpha) - 1_000 * (lam + rate * alpha)
    lik = np.exp(log_lik - log_lik.max()).sum(axis=0)
    slab = 2.0 * dist.norm.pdf(alpha[0], scale=scale) * (alpha[0, 1] - alpha[0, 0])
    there = inclusion * (lik * slab).sum()
    included = there / (there + (1.0 - inclusion) * lik[0])
    mean = (alpha[0] * lik * slab).sum() / (lik * slab).sum()
    assert (drawn > 0).mean() == pytest.approx(included, abs=0.04)
    assert drawn[drawn > 0].mean() == pytest.approx(mean, rel=0.08)


def test_a_pair_without_evidence_keeps_its_prior() -> None:
    stats = one_source(0.0, 3_000.0)
    stats.alone[:] = 0.0
    known = KnownPairs(np.array([[0.0, 0.2], [0.0, 0.0]]), np.array([[0.0, 100.0], [0.0, 0.0]]))
    pair = np.array([1]), np.array([0])
    state = SlabState.start(stats)
    draws = sample(state, stats, known, np.ones(2), *pair, 20_000, np.random.default_rng(2))
    prior = dist.truncnorm(-2.0, 8.0, 0.2, 0.1)
    assert draws.pair_rate[:, 0].mean() == pytest.approx(prior.mean(), abs=0.005)
    assert draws.pair_rate[:, 0].std() == pytest.approx(prior.std(), rel=0.05)


@pytest.mark.parametrize(("mean", "sd", "room"), [(0.3, 0.1, 1.0), (-0.2, 0.1, 0.5), (0.9, 0.3, 1)])
def test_truncated_normals_have_their_distribution(mean, sd, room) -> None:
    rng = np.random.default_rng(3)
    draws = np.array([_truncated(mean, sd, room, rng) for _ in range(4_000)])
    exact = dist.truncnorm(-mean / sd, (room - mean) / sd, mean, sd)
    assert dist.kstest(draws, exact.cdf).pvalue > 0.001
    z = mean / sd
    mass = np.exp(z * z / 2) * (dist.norm.cdf((room - mean) / sd) - dist.norm.cdf(-z))
    assert _slab_mass(mean, sd, room) == pytest.approx(mass, rel=1e-6)
