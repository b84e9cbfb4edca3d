"""Predictive counts against scipy's beta-binomial."""

import numpy as np
import pytest
from scipy import stats

from retail_assets.models.cold_start.mixture import BetaMixture
from retail_assets.models.cold_start.predictive import (
    predictive_mean_sd,
    predictive_pmf,
    predictive_quantile,
)


@pytest.fixture
def mixture():
    rng = np.random.default_rng(0)
    weight = rng.dirichlet(np.ones(20), 4)
    return BetaMixture(rng.lognormal(1, 1, (4, 20)), rng.lognormal(2, 1, (4, 20)), weight)


@pytest.mark.parametrize("n", [0, 1, 7, 400])
def test_the_distribution_is_the_mixture_of_scipys(mixture, n):
    for row in range(4):
        k = np.arange(n + 1)[:, None]
        parts = stats.betabinom.pmf(k, n, mixture.alpha[row], mixture.beta[row])
        exact = parts @ mixture.weight[row]
        pmf = predictive_pmf(mixture, row, n)
        assert pmf == pytest.approx(exact, abs=1e-10)
        mean, sd = predictive_mean_sd(mixture, n)
        values = np.arange(n + 1)
        assert mean[row] == pytest.approx(exact @ values, abs=1e-9)
        assert sd[row] == pytest.approx(
            np.sqrt(max(exact @ values**2 - (exact @ values) ** 2, 0)), abs=1e-6
        )


def test_a_quantile_is_the_smallest_count_that_serves(mixture):
    n, q = np.array([0, 12, 90, 500]), np.array([0.9, 0.05, 0.778, 0.99])
    found = predictive_quantile(mixture, n, q)
    assert found[0] == 0
    for row in range(1, 4):
        cumulative = np.cumsum(predictive_pmf(mixture, row, int(n[row])))
        assert cumulative[found[row]] >= q[row]
        assert found[row] == 0 or cumulative[found[row] - 1] < q[row]


def test_the_quantile_serves_where_the_plugged_in_mean_does_not():
    rng = np.random.default_rng(2)
    prior = BetaMixture(np.full((4_000, 1), 5.0), np.full((4_000, 1), 15.0), np.ones((4_000, 1)))
    demand = rng.binomial(100, rng.beta(5, 15, 4_000))
    served = (demand <= predictive_quantile(prior.take([0]), 100, 0.778)[0]).mean()
    plugged = (demand <= stats.binom.ppf(0.778, 100, 0.25)).mean()
    assert served == pytest.approx(0.778, abs=0.03)
    assert plugged < 0.70


def test_impossible_requests_name_the_row(mixture):
    with pytest.raises(ValueError, match="row 2"):
        predictive_quantile(mixture, 10, [0.5, 0.5, 1.0, 0.5])
    with pytest.raises(ValueError, match="row 1"):
        predictive_quantile(mixture, [1, -1, 2, 3], 0.5)
