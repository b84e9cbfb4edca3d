"""What a season and its market refuse, and which plans they allow."""

from dataclasses import replace

import numpy as np
import pytest

from retail_assets.models.assortment.season import (
    Cap,
    Market,
    Season,
    check_same_products,
    flags,
    smallest_quantity,
    with_carried,
)

PRODUCTS = ("a", "b", "c", "d")


def season_of(**changes):
    given = {
        "products": PRODUCTS,
        "price": [1000, 800, 600, 400],
        "unit_cost": [500, 400, 300, 200],
        "salvage": [100, 100, 100, 100],
    }
    return Season(**{**given, **changes})


def market_of(**changes):
    rho = np.full((4, 4), 0.2)
    np.fill_diagonal(rho, 0.0)
    given = {
        "products": PRODUCTS,
        "first_choice": [40.0, 30.0, 20.0, 10.0],
        "substitution_rate": rho,
        "choice_model": "markov_chain",
    }
    return Market(**{**given, **changes})


def only(*products):
    return np.isin(PRODUCTS, products)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"products": ("a", "b", "a", "b")}, "products a, b are listed twice"),
        ({"price": [1, 2]}, "price is given for 2 products, the season has 4"),
        ({"price": [1000, -1, 600, np.nan]}, "product b, d: price must be a number >= 0"),
        ({"unit_cost": [500, np.inf, 300, 200]}, "product b: unit_cost must be a number"),
        ({"fixed_cost": [0, 0, -5, 0]}, "product c: fixed_cost must be a number >= 0"),
        ({"space": [1, 1, 1, -1]}, "product d: space must be a number >= 0"),
        ({"salvage": [500, 10, 10, 300]}, "product a, d: salvage is not below unit cost"),
        ({"pack_size": [1, 0, 1, 1]}, "product b: pack size must be at least 1 unit"),
        (
            {"must_carry": only("b", "c"), "excluded": only("c", "d")},
            "product c: must be carried and is excluded",
        ),
        (
            {"pack_size": 6, "min_quantity": [1, 7, 1, 1], "max_quantity": [20, 11, 5, 6]},
            "product b, c: no whole number of packs lies between",
        ),
        ({"caps": (Cap("brand x", ("a", "z"), 1),)}, "cap 'brand x': unknown product z"),
    ],
)
def test_a_season_that_makes_no_sense_names_its_products(changes, message):
    with pytest.raises(ValueError, match=message):
        season_of(**changes)


@pytest.mark.parametrize(
    ("limits", "message"),
    [
        (
            {"budget": 9_900},
            "must-carry products a, b need 10,800 cents .* above the budget of 9,900",
        ),
        ({"space_limit": 20}, "must-carry products a, b need 24 of space .* above the space of 20"),
        ({"max_products": 1}, "need 2 products .* above the max_products of 1"),
        ({"caps": (Cap("brand x", ("a", "b", "c"), 1),)}, "above the cap 'brand x' of 1"),
    ],
)
def test_must_carry_products_that_break_a_limit_are_refused(limits, message):
    # Packs of 12, 5 units at least: one pack each, 12 x 500 + 12 x 400 cents.
    given = {"must_carry": only("a", "b"), "pack_size": 12, "min_quantity": 5}
    with pytest.raises(ValueError, match=message):
        season_of(**given, **limits)
    enough = {"budget": 10_800, "space_limit": 24, "max_products": 2}
    assert season_of(**given, **enough).must_carry.sum() == 2


def test_one_value_stands_for_all_products_and_cannot_be_shared_by_accident():
    cost = np.array([500.0, 400.0, 300.0, 200.0])
    season = season_of(unit_cost=cost, pack_size=6)
    cost[:] = 0
    assert season.pack_size.tolist() == [6, 6, 6, 6]
    assert season.unit_cost.tolist() == [500, 400, 300, 200]
    assert season.margin.tolist() == [500, 400, 300, 200]
    assert season.overage.tolist() == [400, 300, 200, 100]


def test_the_smallest_buy_is_whole_packs_of_at_least_the_minimum():
    season = season_of(pack_size=[1, 6, 6, 6], min_quantity=[0, 0, 6, 7])
    assert smallest_quantity(season).tolist() == [1, 6, 6, 12]


@pytest.mark.parametrize(
    ("quantity", "broken"),
    [
        ([6, 0, 12, 0], ()),
        ([6, 5, 0, 0], ("b: not whole packs", "b: below the smallest quantity")),
        ([6, 6, 0, 0], ("b: below the smallest quantity",)),
        ([18, 0, 0, 0], ("a: above the largest quantity",)),
        ([0, 12, 0, 0], ("a: must be carried",)),
        ([6, 0, 0, 6], ("d: excluded",)),
        ([6, 0, 36, 0], ("spends 13,800 of 12,000 cents", "takes 42 of 40 space")),
        ([6, 12, 6, 0], ("carries 3 of at most 2 products", "carries 2 of 1 cheap")),
    ],
)
def test_a_plan_is_told_everything_it_breaks(quantity, broken):
    season = season_of(
        pack_size=6,
        min_quantity=[0, 12, 0, 0],
        max_quantity=[12, 99, 99, 99],
        must_carry=only("a"),
        excluded=only("d"),
        budget=12_000,
        space_limit=40,
        max_products=2,
        caps=(Cap("cheap", ("b", "c"), 1),),
    )
    assert season.violations(np.array(quantity)) == broken


def test_flags_name_products_and_refuse_strangers():
    assert flags(PRODUCTS, ["d", "b"], "excluded").tolist() == [False, True, False, True]
    with pytest.raises(ValueError, match="must_carry: unknown product x, y; there are a, b, c, d"):
        flags(PRODUCTS, ["x", "a", "y"], "must_carry")


def test_the_next_vendor_decides_with_what_is_carried_fixed():
    season = season_of(pack_size=6, must_carry=only("c"), excluded=only("d"))
    later = with_carried(season, {"a": 7, "b": 0}, ["c", "d"])
    assert later.must_carry.tolist() == [True, False, True, False]
    # b's vendor has not come yet; d stays excluded although it is a candidate.
    assert later.excluded.tolist() == [False, True, False, True]
    # Seven units are on the shelf, though a pack holds six.
    assert later.violations(np.array([7, 0, 6, 0])) == ()
    assert later.violations(np.array([6, 0, 6, 0])) == ("a: below the smallest quantity",)
    assert later.violations(np.array([8, 0, 6, 0])) == ("a: above the largest quantity",)
    assert "b: excluded" in later.violations(np.array([7, 6, 6, 0]))


def test_with_carried_refuses_strangers_and_candidates_on_the_shelf():
    season = season_of()
    with pytest.raises(ValueError, match="product b: is carried already and cannot be a cand"):
        with_carried(season, {"a": 5, "b": 5}, ["b", "c"])
    with pytest.raises(ValueError, match="candidates: unknown product x"):
        with_carried(season, {}, ["x"])
    with pytest.raises(ValueError, match="carried: unknown product y"):
        with_carried(season, {"y": 2}, ["a"])


def test_what_is_carried_must_fit_the_budget():
    with pytest.raises(ValueError, match="must-carry products a need 5,000 cents"):
        with_carried(season_of(budget=4_999), {"a": 10}, ["b"])


def rates(changed, row):
    matrix = np.zeros((4, 4))
    for target, value in row.items():
        matrix[PRODUCTS.index(changed), PRODUCTS.index(target)] = value
    return matrix


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"substitution_rate": rates("b", {"a": 0.7, "c": 0.4})},
            "product b: substitution rates sum to 1.1, above 1",
        ),
        ({"substitution_rate": rates("c", {"a": -0.1})}, "product c: substitution rates must"),
        ({"substitution_rate": rates("d", {"d": 0.1})}, "product d substitutes itself"),
        (
            {"substitution_rate": rates("a", {"b": 1.0}) + rates("b", {"a": 1.0})},
            "products a, b hand customers to each other for ever",
        ),
        ({"first_choice": [1.0, 2.0, -3.0, 4.0]}, "product c: arrival rate -3.0"),
        ({"first_choice": [1.0, np.nan, 3.0, 4.0]}, "product b: arrival rate nan"),
        ({"first_choice": [0.0] * 4}, "no product has a customer in the season"),
        ({"first_choice": [1.0, 2.0]}, r"a market of 4 products needs first_choice \(D, 4\)"),
        ({"choice_model": "mnl"}, "choice_model is one_step or markov_chain, not 'mnl'"),
        ({"cv": -0.1}, "cv of the number of customers must be >= 0, got -0.1"),
        ({"cv": np.nan}, "cv of the number of customers must be >= 0, got nan"),
    ],
)
def test_a_market_that_makes_no_sense_names_its_products(changes, message):
    with pytest.raises(ValueError, match=message):
        market_of(**changes)


def test_a_closed_loop_is_no_error_where_one_step_is_all_a_customer_takes():
    loop = rates("a", {"b": 1.0}) + rates("b", {"a": 1.0})
    assert market_of(substitution_rate=loop, choice_model="one_step").n_draws == 1


def test_one_bad_draw_among_many_is_found():
    good = rates("a", {"b": 0.5})
    with pytest.raises(ValueError, match=r"product b: substitution rates sum to 1\.2"):
        market_of(
            first_choice=np.ones((2, 4)),
            substitution_rate=np.stack([good, rates("b", {"a": 0.6, "c": 0.6})]),
        )


def test_a_draw_and_the_mean_are_markets_of_one_draw():
    first = np.array([[4.0, 3.0, 2.0, 1.0], [8.0, 5.0, 4.0, 3.0]])
    matrix = np.stack([rates("a", {"b": 0.5}), rates("a", {"b": 0.1})])
    market = market_of(first_choice=first, substitution_rate=matrix, cv=0.7)
    assert market.n_draws == 2
    assert market.draw(1).first_choice.tolist() == [first[1].tolist()]
    assert market.draw(1).substitution_rate[0, 0, 1] == 0.1
    assert market.mean().first_choice.tolist() == [[6, 4, 3, 2]]
    assert market.mean().substitution_rate[0, 0, 1] == pytest.approx(0.3)
    assert market.mean().cv == 0.7


def test_season_and_market_must_be_of_the_same_products():
    season, market = season_of(), market_of()
    check_same_products(season, market)
    with pytest.raises(ValueError, match="only in the season b, d; only in the market x, y"):
        check_same_products(season, replace(market, products=("a", "x", "c", "y")))
    with pytest.raises(ValueError, match="same products in different orders"):
        check_same_products(season, replace(market, products=("b", "a", "c", "d")))
