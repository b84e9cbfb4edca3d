"""Goals of pricing: defaults are the shipped file; every wrong entry is named."""

from __future__ import annotations

import tomllib
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import pytest

from retail_assets.models.pricing.goals import PriceLadder, PricingGoals, parse_goals

SHIPPED = Path(__file__).parents[3] / "data" / "rules" / "pricing.toml"


def test_the_shipped_file_holds_the_defaults() -> None:
    assert parse_goals(tomllib.loads(SHIPPED.read_text())) == parse_goals({}) == PricingGoals()


def test_weights_not_given_keep_the_sources_two_five_three() -> None:
    assert parse_goals({}).weights == (2.0, 5.0, 3.0)
    assert parse_goals({"weights": {"sell_through": 0.5}}).weights == (2.0, 5.0, 0.5)


@pytest.mark.parametrize("msrp", [1, 95, 250, 390, 999, 14_500])
@pytest.mark.parametrize(
    ("step", "ending"), [(1, None), (7, None), (10, None), (100, 99), (200, 0)]
)
@pytest.mark.parametrize(("low", "high"), [(50, 100), (56, 56), (1, 200), (33.3, 90)])
def test_a_ladder_holds_every_price_of_its_form_between_both_ends(
    msrp: int, step: int, ending: int | None, low: float, high: float
) -> None:
    """Against trying every cent in exact arithmetic."""
    ends = [Fraction(str(share)) * msrp / 100 for share in (low, high)]
    wanted = [
        price
        for price in range(1, 2 * msrp + 1)
        if ends[0] <= price <= ends[1] and (price - (ending or 0)) % step == 0
    ]
    assert list(PriceLadder(low, high, step, ending, most_prices=10**6).prices(msrp)) == wanted


def test_a_long_ladder_takes_every_second_third_step_and_keeps_its_form() -> None:
    shoe = list(PriceLadder(50, 100, 10, most_prices=20).prices(20_000))
    assert 10 < len(shoe) <= 20
    assert {b - a for a, b in pairwise(shoe)} == {510}
    endings = list(PriceLadder(50, 100, 100, 99, most_prices=7).prices(20_000))
    assert len(endings) <= 7
    assert {price % 100 for price in endings} == {99}


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"weight": 1}, "weight: unknown entry; known: weights, margin"),
        ({"weights": 3}, r"weights = 3: a table, \[weights\] with revenue, margin, sell_through"),
        ({"weights": {"profit": 3}}, "weights.profit: unknown entry"),
        ({"weights": {"margin": -1}}, "weights.margin = -1: a number between 0 and 1000"),
        ({"weights": {"margin": True}}, "weights.margin = True: a number"),
        (
            {"weights": {"revenue": 0, "margin": 0, "sell_through": 0}},
            "weights: at least one must be above 0",
        ),
        ({"margin": "pct"}, "margin = 'pct': one of 'margin_cents', 'margin_pct'"),
        ({"hit_policy": "first"}, "hit_policy = 'first': one of 'override', 'unique'"),
        ({"demand_kind": ["mnl"]}, r"demand_kind = \['mnl'\]: one of 'auto'"),
        ({"frontier": "yes"}, "frontier = 'yes': true or false"),
        ({"max_total_cells": 1.5e6}, "max_total_cells = 1500000.0: a whole number"),
        ({"max_extrapolation_pct": 101}, "max_extrapolation_pct = 101: a number between 0 and 100"),
        ({"ladder": {"step_cents": 0}}, "ladder.step_cents = 0: a whole number"),
        (
            {"ladder": {"lowest_pct_of_msrp": 90, "highest_pct_of_msrp": 80}},
            "ladder.lowest_pct_of_msrp = 90: above highest_pct_of_msrp = 80",
        ),
        ({"ladder": {"ending_cents": 99}}, "ladder.step_cents = 10: with ending_cents, whole"),
        ({"ladder": {"ending_cents": 100, "step_cents": 100}}, "ladder.ending_cents = 100"),
    ],
)
def test_a_wrong_entry_is_named(given: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        parse_goals(given)
