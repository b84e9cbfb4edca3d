"""What a buyer writes in assortment.toml, and what is said when it is wrong."""

import tomllib
from pathlib import Path

import pytest

from retail_assets.models.assortment.plan_rules import (
    AtMost,
    PlanRules,
    ShelfRules,
    parse_rules,
)

PRODUCTS = ("a", "b", "c")
SHIPPED = Path(__file__).parents[3] / "data" / "rules" / "assortment.toml"


def parse(text: str, category: str = "bars"):
    return parse_rules(tomllib.loads(text), category, PRODUCTS)


def test_an_empty_file_plans_every_category_with_the_defaults():
    rules = parse("")
    assert rules.plans == (PlanRules(),)
    assert rules.shelf == ShelfRules()


def test_defaults_of_the_file_hold_for_every_plan_that_does_not_say_otherwise():
    text = 'weeks = 9\n[[plan]]\nname = "x"\n[[plan]]\nname = "y"\nweeks = 2'
    assert [plan.weeks for plan in parse(text).plans] == [9, 2]
    assert parse("weeks = 9").plans[0].weeks == 9


def test_a_plan_belongs_to_its_category_and_without_one_to_all():
    text = '[[plan]]\nname = "x"\ncategory = "bars"\n[[plan]]\nname = "all"'
    assert [plan.name for plan in parse(text).plans] == ["x", "all"]
    assert [plan.name for plan in parse(text, "drinks").plans] == ["all"]


def test_a_whole_plan_is_read():
    text = """
    [[plan]]
    name = "x"
    stores = ["s1"]
    customers_cv = 0.5
    distribution = "negbin"
    salvage_share = 0.1
    budget = 12000
    space = 40.5
    max_products = 2
    must_carry = ["a"]
    exclude = ["c"]
    at_most = [{ brand = "x", products = 3 }]
    by_vendor = ["v", "w"]
    """
    assert parse(text).plans[0] == PlanRules(
        name="x",
        stores=("s1",),
        customers_cv=0.5,
        distribution="negbin",
        salvage_share=0.1,
        budget=12000.0,
        space=40.5,
        max_products=2,
        must_carry=("a",),
        exclude=("c",),
        at_most=(AtMost("brand", "x", 3),),
        by_vendor=("v", "w"),
    )


def test_a_shelf_is_read():
    text = (
        '[[shelf]]\ncategory = "bars"\nkeep = ["a"]\nleast = { a = 4 }\nmost = { b = 9 }\nroom = 50'
    )
    assert parse(text).shelf == ShelfRules(("a",), {"a": 4}, {"b": 9}, 50.0)
    assert parse(text, "drinks").shelf == ShelfRules()


def test_the_shipped_file_is_read_and_shows_every_entry():
    given = tomllib.loads(SHIPPED.read_text())
    pralines = ("box_12", "box_24")
    plan = parse_rules(given, "pralines", pralines).plans[0]
    assert plan.budget == 9000
    assert plan.must_carry == ("box_12",)
    for entry in (*PlanRules.__dataclass_fields__, *ShelfRules.__dataclass_fields__):
        assert f"{entry} =" in SHIPPED.read_text(), entry


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("week = 3", "week: unknown entry; known: weeks"),
        ("plan = 3", r"plan: written as \[\[plan\]\] tables"),
        ("[[plan]]\nweeks = 3", r"a \[\[plan\]\] has no name"),
        ('[[plan]]\nname = "x"\n[[plan]]\nname = "x"', "plan 'x' of bars is there twice"),
        ('[[plan]]\nname = "x"\nbuget = 3', "plan 'x': unknown entry 'buget'; known: name"),
        ('[[plan]]\nname = "x"\nweeks = 1.5', "weeks = 1.5: a whole number between 1 and 104"),
        ('[[plan]]\nname = "x"\nbudget = -1', "budget = -1: a number between 0"),
        ('[[plan]]\nname = "x"\nbudget = true', "budget = True: a number"),
        ('[[plan]]\nname = "x"\nmax_products = 0', "max_products = 0: a whole number"),
        ('[[plan]]\nname = "x"\ndistribution = "normal"', "distribution is one of lognormal"),
        ('[[plan]]\nname = "x"\nstores = "paris"', 'stores is "each", "together" or a list'),
        ('[[plan]]\nname = "x"\nmust_carry = ["z"]', "must_carry names unknown product z"),
        ('[[plan]]\nname = "x"\nexclude = "a"', "exclude is a list, got 'a'"),
        (
            '[[plan]]\nname = "x"\nmust_carry = ["a"]\nexclude = ["a"]',
            "a in must_carry and in exclude",
        ),
        ('[[plan]]\nname = "x"\nat_most = [{ colour = "x", products = 1 }]', "with one of brand"),
        ('[[plan]]\nname = "x"\nat_most = [3]', "at_most entries read"),
        ('[[plan]]\nname = "x"\nby_vendor = []', "by_vendor lists vendors in the order"),
        ("[[shelf]]\nkep = 3", "unknown entry 'kep'; known: keep"),
        ('[[shelf]]\nkeep = ["z"]', "keep names unknown product z"),
        ("[[shelf]]\nleast = { z = 3 }", "least names unknown product z"),
        ("[[shelf]]\nleast = { a = -3 }", "least is a table, product id = units"),
        ("[[shelf]]\nleast = { a = 3 }\nmost = { a = 2 }", "least is above most for a"),
        ("[[shelf]]\n[[shelf]]", "of bars is there twice"),
        ('[[shelf]]\nroom = "big"', "room = 'big': a number"),
    ],
)
def test_what_is_wrong_is_said_with_its_place(text, said):
    with pytest.raises(ValueError, match=said):
        parse(text)
