"""The best limited assortment against enumeration; contradictions are named."""

import itertools

import numpy as np
import pytest

from retail_assets.models.assortment.constrained import best_constrained
from retail_assets.models.assortment.season import Cap
from retail_assets.models.assortment.static import best_assortment
from retail_assets.models.choice.markov_chain import choice_rates


def random_category(seed):
    rng = np.random.default_rng(seed)
    n = 4 + seed % 6
    matrix = rng.dirichlet(np.full(n + 1, 0.5), n)[:, :n]
    np.fill_diagonal(matrix, 0.0)
    if seed % 4 == 0:
        matrix *= (0.995 / matrix.sum(axis=1))[:, None]
    revenue = rng.lognormal(6.0, 0.7, n) - (200 if seed % 3 == 0 else 0)
    return rng, revenue, rng.gamma(1.0, 100.0, n), matrix


def best_of_all(revenue, rate, matrix, cost, allowed):
    sets = np.array(list(itertools.product([False, True], repeat=len(rate))))
    sets = sets[[allowed(each) for each in sets]]
    return (choice_rates(rate, matrix, sets, "markov_chain") @ revenue - sets @ cost).max()


@pytest.mark.parametrize("seed", range(24))
def test_no_allowed_assortment_earns_more_and_the_bound_is_the_optimum(seed):
    rng, revenue, rate, matrix = random_category(seed)
    n = len(rate)
    ids = tuple(f"p{j}" for j in range(n))
    cost = rng.uniform(0, 150, n) * rate.mean() if seed % 2 else np.zeros(n)
    must, barred = np.arange(n) == rng.integers(n), np.zeros(n, bool)
    barred[rng.integers(n)] = seed % 5 == 0
    barred &= ~must
    caps = (Cap("brand", ids[: n // 2], 1),) if seed % 3 else ()

    def allowed(on):
        brand = on[: n // 2].sum() <= 1 or not caps
        return on.sum() <= 3 and on[must].all() and not on[barred].any() and brand

    limits = {
        "products": ids,
        "fixed_cost": cost,
        "max_products": 3,
        "caps": caps,
        "must_carry": must,
        "excluded": barred,
    }
    best = best_of_all(revenue, rate, matrix, cost, allowed)
    plan = best_constrained(revenue, rate, matrix, **limits)
    assert plan.proven
    assert allowed(plan.offered)
    assert plan.value == pytest.approx(best, rel=1e-11)
    assert plan.upper_bound == pytest.approx(best, rel=1e-7)
    sales = choice_rates(rate, matrix, plan.offered, "markov_chain")
    assert plan.value == pytest.approx(sales @ revenue - cost[plan.offered].sum(), rel=1e-11)

    unsolved = best_constrained(revenue, rate, matrix, **limits, time_limit=0)
    assert unsolved.value <= best * (1 + 1e-12) + 1e-6
    assert unsolved.upper_bound >= best * (1 - 1e-12) - 1e-6


def test_without_limits_it_is_the_unlimited_optimum():
    _, revenue, rate, matrix = random_category(9)
    free = best_assortment(revenue, rate, matrix)
    plan = best_constrained(revenue, rate, matrix, products=tuple("abcdefghi"[: len(rate)]))
    assert (plan.proven, plan.method, plan.gap) == (True, "swap", pytest.approx(0, abs=1e-12))
    assert plan.value == pytest.approx(free.value, rel=1e-12)


def test_the_programme_finds_what_single_moves_cannot_reach():
    # Either a and b or c and d; from c (the best first) no single move leads to a and b.
    either = [("a", "c"), ("a", "d"), ("b", "c"), ("b", "d")]
    caps = tuple(Cap(f"{one} or {other}", (one, other), 1) for one, other in either)
    given = ([5.0, 5.0, 6.0, 1.0], np.ones(4), np.zeros((4, 4)))
    limits = {"products": tuple("abcd"), "caps": caps}
    quick = best_constrained(*given, **limits, time_limit=0)
    assert (quick.value, quick.upper_bound, quick.proven) == (7.0, 17.0, False)
    plan = best_constrained(*given, **limits)
    assert (plan.method, plan.proven, plan.offered.tolist()) == ("mip", True, [1, 1, 0, 0])
    assert (plan.value, plan.gap) == (10.0, pytest.approx(0, abs=1e-6))


def test_a_product_nobody_visits_and_a_market_nobody_visits():
    matrix = np.zeros((3, 3))
    visited = best_constrained(
        [3.0, 2.0, 1.0],
        [0.0, 4.0, 4.0],
        matrix,
        products=("a", "b", "c"),
        fixed_cost=[1.0, 1.0, 1.0],
        max_products=1,
    )
    assert (visited.offered.tolist(), visited.value, visited.proven) == ([0, 1, 0], 7.0, True)
    nobody = best_constrained(
        [3.0, 2.0, 1.0],
        np.zeros(3),
        matrix,
        products=("a", "b", "c"),
        fixed_cost=[5.0, 5.0, 5.0],
        must_carry=np.array([True, False, False]),
    )
    assert (nobody.offered.tolist(), nobody.value, nobody.proven) == ([1, 0, 0], -5.0, True)


@pytest.mark.parametrize(
    ("limits", "message"),
    [
        (
            {"must_carry": [1, 1, 0], "excluded": [0, 1, 1]},
            "product b: must be carried and is excluded",
        ),
        (
            {"must_carry": [1, 1, 0], "max_products": 1},
            "must-carry products a, b are 2, above the max_products of 1",
        ),
        (
            {"must_carry": [1, 0, 1], "caps": (Cap("brand x", ("a", "c"), 1),)},
            "must-carry products a, c are 2, above the cap 'brand x' of 1",
        ),
        ({"max_products": -1}, "max_products of -1 is below 0"),
        ({"caps": (Cap("brand x", ("a", "z"), 1),)}, "cap 'brand x': unknown product z"),
        ({"fixed_cost": [0.0, -1.0, 0.0]}, "product b: fixed cost must be a number >= 0"),
        ({"excluded": [0, 1]}, "3 products have first choices, other input has"),
    ],
)
def test_contradictions_are_named(limits, message):
    masks = {k: np.array(v, bool) for k, v in limits.items() if k in ("must_carry", "excluded")}
    with pytest.raises(ValueError, match=message):
        best_constrained(
            [3.0, 2.0, 1.0],
            [1.0, 1.0, 1.0],
            np.zeros((3, 3)),
            products=("a", "b", "c"),
            **{**limits, **masks},
        )
