"""Scenarios as a merchandiser writes them, and what they do to the shelf."""

import csv
import tomllib
from pathlib import Path

import numpy as np
import pytest

from retail_assets.models.assortment.scenario_rules import (
    AddStockouts,
    Base,
    ChangeCapacity,
    DropProducts,
    capacity_under,
    parse_scenarios,
)

PRODUCTS = ("a", "b", "c", "d", "e")
CAPACITY = np.array([45, 14, 29, 26, 10])
RULES = """
category = "bars"

[[scenario]]
name = "drop b"
drop = ["b"]

[[scenario]]
name = "b to a"
drop = "b"
reallocate = "to:a"

[[scenario]]
name = "b shared"
drop = ["b"]
reallocate = "equal"
remainder_to = "c"

[[scenario]]
name = "d out"
stockouts = { product = "d", share = 0.2, hours_each = 5 }

[[scenario]]
name = "more a"
capacity = { product = "a", times = 1.5, taken_from = "c" }

[[scenario]]
name = "elsewhere"
category = "tea"
drop = ["earl grey"]
"""


def parse(text):
    return parse_scenarios(tomllib.loads(text), "bars", PRODUCTS, interval_minutes=60)


def test_a_rules_file_becomes_typed_scenarios():
    assert parse(RULES) == (
        Base(),
        DropProducts("drop b", ("b",)),
        DropProducts("b to a", ("b",), "to", "a"),
        DropProducts("b shared", ("b",), "equal", "c"),
        AddStockouts("d out", "d", 0.2, 5.0),
        ChangeCapacity("more a", "a", 1.5, 0, "c"),
    )


def test_capacity_follows_the_white_papers_cases():
    shelves = {s.name: capacity_under(s, PRODUCTS, CAPACITY).tolist() for s in parse(RULES)}
    assert shelves == {
        "base": [45, 14, 29, 26, 10],
        "drop b": [45, 0, 29, 26, 10],
        "b to a": [59, 0, 29, 26, 10],
        "b shared": [48, 0, 34, 29, 13],
        "d out": [45, 14, 29, 26, 10],
        "more a": [68, 14, 6, 26, 10],
    }


def test_room_taken_from_another_ends_with_what_it_has():
    greedy = ChangeCapacity("all of e", "a", add=50, taken_from="e")
    assert capacity_under(greedy, PRODUCTS, CAPACITY).tolist() == [55, 14, 29, 26, 0]
    back = ChangeCapacity("less a", "a", add=-5, taken_from="e")
    assert capacity_under(back, PRODUCTS, CAPACITY).tolist() == [40, 14, 29, 26, 15]


def test_freed_room_only_goes_to_products_a_store_carries():
    store = np.array([0, 7, 3, 0, 3])
    shared = DropProducts("x", ("b",), "equal")
    assert capacity_under(shared, PRODUCTS, store).tolist() == [0, 0, 7, 0, 6]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('[[scenario]]\ndrop = ["b"]', "scenario 1 has no name"),
        ('[[scenario]]\nname = "x"\ndrop = ["b"]', "'x' has no category"),
        ('[[scenario]]\nname = "x"\ncategory = "bars"', "exactly one of .* it has none"),
        (
            '[[scenario]]\nname = "x"\ncategory = "bars"\ndrop = ["b"]\ncapacity = {product="a"}',
            "exactly one of .* drop and capacity",
        ),
        (
            '[[scenario]]\nname = "x"\ncategory = "bars"\ndrop = ["zz"]',
            "scenario 'x': unknown product 'zz' in category 'bars'; it has a, b, c, d, e",
        ),
        (
            '[[scenario]]\nname = "x"\ncategory = "bars"\ndrop = ["b"]\nreallocate = "to:q"',
            "scenario 'x': unknown product 'q'",
        ),
        (
            '[[scenario]]\nname = "x"\ncategory = "bars"\ndrop = ["b"]\nreallocate = "all"',
            "'none', 'equal' or 'to:PRODUCT', got 'all'",
        ),
        (
            '[[scenario]]\nname = "x"\ncategory = "bars"\ndrop = ["b"]\nreallocate = "to:b"',
            "'b' is dropped and cannot receive",
        ),
        (
            '[[scenario]]\nname = "x"\ncategory = "bars"\nstockouts = {product="a", share=1.2}',
            "share of time out lies between 0 and 1, got 1.2",
        ),
        (
            '[[scenario]]\nname = "x"\ncategory = "bars"\n'
            'stockouts = {product="a", share=0.2, hours_each=0.1}',
            "shorter than one interval",
        ),
        (
            '[[scenario]]\nname = "x"\ncategory = "bars"\ncapacity = {product="a"}',
            "changes nothing",
        ),
        (
            '[[scenario]]\nname = "x"\ncategory = "bars"\ncapacity = {product="a", plus=3}',
            "unknown key 'plus'; allowed: add, product",
        ),
        (
            '[[scenario]]\nname = "x"\ncategory = "bars"\ndrop = ["a"]\nrealocate = "equal"',
            "unknown key 'realocate'",
        ),
        (
            '[[scenario]]\nname = "base"\ncategory = "bars"\ndrop = ["a"]',
            "'base' is there twice",
        ),
        ('scenario = "drop b"', r"\[\[scenario\]\] tables"),
    ],
)
def test_a_bad_rule_names_its_scenario_and_the_remedy(text, message):
    with pytest.raises(ValueError, match=message):
        parse(text)


def test_the_shipped_rules_fit_the_shipped_products():
    data = Path(__file__).parents[3] / "data"
    rules = tomllib.loads((data / "rules/scenarios.toml").read_text())
    with (data / "landing/products.csv").open(newline="", encoding="utf-8") as file:
        products = list(csv.DictReader(file))
    bars = [row["product_id"] for row in products if row["category"] == "bars"]
    shipped = parse_scenarios(rules, "bars", bars, interval_minutes=15)
    assert len(shipped) == 9
    for scenario in shipped:
        assert np.all(capacity_under(scenario, bars, np.full(len(bars), 20)) >= 0)
    assert parse_scenarios(rules, "pralines", ["box_12"]) == (Base(),)
