"""Who comes in a season: how many, stratified, and what they want."""

import itertools

import numpy as np
import pytest
from scipy import stats

from bench.exact_season import customers_pmf
from retail_assets.models.assortment.customers import customer_quantile, draw_seasons
from retail_assets.models.assortment.season import Market

PRODUCTS = ("a", "b", "c")
FIRST = np.array([30.0, 50.0, 20.0])
MATRIX = np.array([[0.0, 0.5, 0.2], [0.3, 0.0, 0.0], [0.0, 0.4, 0.0]])
DISTRIBUTIONS = ("lognormal", "negbin", "poisson")


def market_of(**changes):
    given = {
        "products": PRODUCTS,
        "first_choice": FIRST,
        "substitution_rate": MATRIX,
        "choice_model": "markov_chain",
        "cv": 0.4,
    }
    return Market(**{**given, **changes})


def level_grid(size):
    return (np.arange(size) + 0.5) / size


@pytest.mark.parametrize("cv", [0.1, 0.3, 0.6])
@pytest.mark.parametrize("mean", [5.0, 100.0, 3000.0])
@pytest.mark.parametrize("distribution", DISTRIBUTIONS)
def test_the_number_of_customers_has_the_mean_and_spread_asked_for(distribution, mean, cv):
    market = market_of(distribution=distribution, cv=cv)
    size = customer_quantile(np.full(20_000, mean), market, level_grid(20_000))
    poisson_variance = mean
    variance = {
        # Rounding to whole customers adds 1/12.
        "lognormal": (cv * mean) ** 2 + 1 / 12,
        "negbin": max((cv * mean) ** 2, poisson_variance),
        "poisson": poisson_variance,
    }[distribution]
    assert size.mean() == pytest.approx(mean, rel=2e-3)
    assert size.std() == pytest.approx(np.sqrt(variance), rel=0.02)


@pytest.mark.parametrize("distribution", DISTRIBUTIONS)
def test_quantiles_are_those_of_the_distribution_function(distribution):
    """`customers_pmf` is built from distribution functions, not quantiles."""
    market = market_of(distribution=distribution, first_choice=FIRST / 10)
    chance = customers_pmf(market)
    size = customer_quantile(np.full(100_000, 10.0), market, level_grid(100_000))
    share = np.bincount(size, minlength=len(chance)) / len(size)
    assert chance.sum() == pytest.approx(1.0, abs=1e-12)
    np.testing.assert_allclose(share[: len(chance)], chance, atol=2e-5)


def test_lognormal_quantiles_are_scipys():
    level, market = level_grid(99), market_of(cv=0.5)
    spread = np.sqrt(np.log(1.25))
    theirs = stats.lognorm.ppf(level, spread, scale=200 * np.exp(-(spread**2) / 2))
    assert customer_quantile(np.full(99, 200.0), market, level).tolist() == np.rint(theirs).tolist()


def test_a_negative_binomial_narrower_than_poisson_is_poisson():
    level = level_grid(999)
    narrow = customer_quantile(np.full(999, 50.0), market_of(distribution="negbin", cv=0.05), level)
    poisson = customer_quantile(np.full(999, 50.0), market_of(distribution="poisson"), level)
    assert np.abs(narrow - poisson).max() <= 1
    assert (narrow == poisson).mean() > 0.99


@pytest.mark.parametrize("distribution", DISTRIBUTIONS)
def test_every_stratum_of_the_number_of_customers_has_one_season(distribution):
    market, n_seasons = market_of(distribution=distribution), 40
    size = np.diff(draw_seasons(market, n_seasons, seed=3).indptr)
    edge = np.clip(np.arange(n_seasons + 1) / n_seasons, 1e-12, 1 - 1e-12)
    bounds = customer_quantile(np.full(n_seasons + 1, 100.0), market, edge)
    assert (bounds[:-1] <= size).all()
    assert (size <= bounds[1:]).all()


def test_strata_make_the_mean_number_of_customers_all_but_exact():
    market = market_of(cv=0.6)
    means = [np.diff(draw_seasons(market, 100, seed).indptr).mean() for seed in range(60)]
    assert np.mean(means) == pytest.approx(100.0, rel=2e-3)
    # Plain random numbers: 60 / sqrt(100) = 6 customers.
    assert np.std(means) < 1.0


def test_the_same_seed_draws_the_same_seasons_and_another_others():
    first, again, other = (draw_seasons(market_of(), 20, seed) for seed in (7, 7, 8))
    for name in ("indptr", "choices", "draw"):
        np.testing.assert_array_equal(getattr(first, name), getattr(again, name))
    assert first.choices.shape != other.choices.shape or (first.choices != other.choices).any()


@pytest.mark.parametrize("choice_model", ["one_step", "markov_chain"])
def test_customers_want_and_go_on_at_the_markets_rates(choice_model):
    seasons = draw_seasons(market_of(choice_model=choice_model), 2_000, seed=1)
    wanted, then = seasons.choices[:, 0], seasons.choices[:, 1]
    size = len(wanted)
    np.testing.assert_allclose(np.bincount(wanted) / size, FIRST / FIRST.sum(), atol=0.005)
    for i, j in itertools.permutations(range(3), 2):
        # The second product of a list is the first step away, under both models.
        assert (then[wanted == i] == j).mean() == pytest.approx(MATRIX[i, j], abs=0.008)
    if choice_model == "one_step":
        assert seasons.choices.shape[1] == 2


def test_lists_name_each_product_once_and_end_with_minus_one():
    seasons = draw_seasons(market_of(), 50, seed=2)
    for wishes in np.unique(seasons.choices, axis=0):
        named = wishes[wishes >= 0]
        assert len(set(named.tolist())) == len(named) > 0
        assert (wishes[len(named) :] == -1).all()
    assert seasons.n_products == 3
    assert seasons.n_seasons == 50


def test_lists_cut_short_are_counted():
    assert draw_seasons(market_of(), 50, seed=2).truncated_share == 0.0
    market = market_of()
    cut = draw_seasons(market, 500, seed=2, max_length=1)
    # A list goes on beyond its first product at the row's sum: .3 x .7 + .5 x .3 + .2 x .4.
    assert cut.choices.shape[1] == 1
    assert cut.truncated_share == pytest.approx(0.44, abs=0.01)


def test_each_season_has_the_customers_of_its_own_draw():
    """Draw d's customers want product d first and nothing else."""
    market = market_of(
        first_choice=np.diag([80.0, 120.0, 40.0]), substitution_rate=np.zeros((3, 3, 3)), cv=0.3
    )
    seasons = draw_seasons(market, 31, seed=5)
    assert sorted(np.bincount(seasons.draw).tolist()) == [10, 10, 11]
    for draw, (begin, end) in zip(seasons.draw, itertools.pairwise(seasons.indptr), strict=True):
        assert end > begin
        assert (seasons.choices[begin:end, 0] == draw).all()
    size = np.diff(seasons.indptr)
    for draw, mean in enumerate((80, 120, 40)):
        assert size[seasons.draw == draw].mean() == pytest.approx(mean, rel=0.15)


def test_strata_are_spread_over_the_draws_at_random():
    market = market_of(
        first_choice=np.tile(FIRST, (2, 1)), substitution_rate=np.stack([MATRIX, MATRIX])
    )
    draw = draw_seasons(market, 200, seed=4).draw
    # In turn, every even stratum would be draw 0.
    assert 0.3 < (draw[::2] == 0).mean() < 0.7


def test_a_certain_number_of_customers_comes_every_time():
    assert np.diff(draw_seasons(market_of(cv=0.0), 5, seed=1).indptr).tolist() == [100] * 5


def test_at_least_one_season_is_needed():
    with pytest.raises(ValueError, match="at least 1 season is needed, got 0"):
        draw_seasons(market_of(), 0, seed=1)
