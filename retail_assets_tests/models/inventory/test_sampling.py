"""Compiled variates against scipy's distributions."""

import numba
import numpy as np
import pytest
from scipy import stats

from retail_assets.models.inventory.sampling import binomial, poisson, stream


@numba.njit
def poisson_sample(state, mean, size):
    drawn = np.empty(size, np.int64)
    for i in range(size):
        drawn[i] = poisson(state, mean)
    return drawn


@numba.njit
def binomial_sample(state, n, p, size):
    drawn = np.empty(size, np.int64)
    for i in range(size):
        drawn[i] = binomial(state, n, p)
    return drawn


def fits(drawn, distribution):
    """Chi-square p value over bins of at least 20 expected."""
    low, high = int(distribution.ppf(0.001)), int(distribution.ppf(0.999))
    edges = np.arange(low, high + 1)
    expected = np.diff(np.concatenate([[0], distribution.cdf(edges), [1]])) * len(drawn)
    seen = np.bincount(np.searchsorted(edges, drawn), minlength=len(expected))
    keep = expected >= 20
    rest = expected[~keep].sum()
    observed = np.append(seen[keep], seen[~keep].sum())
    wanted = np.append(expected[keep], rest)
    if rest < 20:
        observed, wanted = observed[:-1], wanted[:-1] * observed[:-1].sum() / wanted[:-1].sum()
    return stats.chisquare(observed, wanted).pvalue


@pytest.mark.parametrize("mean", [0.02, 0.8, 7.0, 29.0, 31.0, 400.0])
def test_poisson(mean):
    assert fits(poisson_sample(stream(1), mean, 100_000), stats.poisson(mean)) > 1e-3


@pytest.mark.parametrize(
    ("n", "p"), [(1, 0.3), (18, 0.55), (19, 0.1), (60, 0.4), (80, 0.5), (2_000, 0.97)]
)
def test_binomial(n, p):
    assert fits(binomial_sample(stream(2), n, p, 100_000), stats.binom(n, p)) > 1e-3


def test_edges_and_repetition():
    assert poisson_sample(stream(3), 0.0, 3).tolist() == [0, 0, 0]
    assert binomial_sample(stream(3), 9, 1.0, 2).tolist() == [9, 9]
    assert binomial_sample(stream(3), 0, 0.4, 2).tolist() == [0, 0]
    again = [poisson_sample(stream(4, 7), 5.0, 20).tolist() for _ in range(2)]
    assert again[0] == again[1]
    assert again[0] != poisson_sample(stream(4, 8), 5.0, 20).tolist()
