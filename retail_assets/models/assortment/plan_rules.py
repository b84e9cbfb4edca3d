"""What a buyer decides of the assortment: data/rules/assortment.toml, checked.

parse_rules(mapping, category, products) -> AssortmentRules   raises ValueError with the entry
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, Literal

GROUPS = ("brand", "family", "vendor", "style_id", "size", "group")
"""Columns of `products` by which ``at_most`` counts."""


@dataclass(frozen=True)
class AtMost:
    """At most ``products`` products with ``column`` = ``value``."""

    column: str
    value: str
    products: int


@dataclass(frozen=True)
class PlanRules:
    """One buy for one season.

    Parameters
    ----------
    name : str
    stores : "each", "together" or a tuple of store ids
        Each store sells from its own stock (then limits hold for each store), or all
        stores from one. A list: those stores, each from its own.
    weeks : int
        How long the buy has to last.
    customers_cv : float
        Uncertainty of the season's number of customers: standard deviation over mean.
    distribution : {"lognormal", "negbin", "poisson"}
        Of the number of customers.
    salvage_share : float
        Value of a left-over unit over its cost, where shelf says nothing.
    budget : float, optional
        Most that may be spent on units, in the currency of settings.toml.
    space : float, optional
        Space there is, in the unit of products.space.
    max_products : int, optional
    must_carry, exclude : tuple of str
    at_most : tuple of AtMost
    by_vendor : tuple of str
        Vendors in the order they are met: each one's products are decided given what is
        carried already. Empty: all at once.
    """

    name: str = "season"
    stores: Literal["each", "together"] | tuple[str, ...] = "together"
    weeks: int = 4
    customers_cv: float = 0.2
    distribution: Literal["lognormal", "negbin", "poisson"] = "lognormal"
    salvage_share: float = 0.4
    budget: float | None = None
    space: float | None = None
    max_products: int | None = None
    must_carry: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    at_most: tuple[AtMost, ...] = ()
    by_vendor: tuple[str, ...] = ()


@dataclass(frozen=True)
class ShelfRules:
    """Limits of a replenished shelf, in units of each store.

    Parameters
    ----------
    keep : tuple of str
        Products that stay on the shelf: at least one unit of room.
    least, most : mapping of product id to units
    room : float, optional
        Space there is; today's where it is left out.
    """

    keep: tuple[str, ...] = ()
    least: Mapping[str, int] = field(default_factory=dict)
    most: Mapping[str, int] = field(default_factory=dict)
    room: float | None = None


@dataclass(frozen=True)
class AssortmentRules:
    """The plans of one category, and the limits of its shelves."""

    plans: tuple[PlanRules, ...] = (PlanRules(),)
    shelf: ShelfRules = ShelfRules()


_LIMITS: dict[str, tuple[float, float]] = {
    "weeks": (1, 104),
    "customers_cv": (0, 3),
    "salvage_share": (0, 0.99),
    "budget": (0, 10**12),
    "space": (0, 10**12),
    "room": (0, 10**12),
    "max_products": (1, 10**6),
}
_WHOLE = ("weeks", "max_products")
_DISTRIBUTIONS = ("lognormal", "negbin", "poisson")
_DEFAULTS = ("weeks", "customers_cv", "distribution", "salvage_share", "stores")


def parse_rules(
    given: Mapping[str, Any], category: str, products: Sequence[str]
) -> AssortmentRules:
    """The rules of one category.

    Parameters
    ----------
    given : mapping
        The parsed file: defaults of all plans, ``[[plan]]`` and ``[[shelf]]`` tables with a
        ``category`` each (without one they hold for every category).
    category : str
    products : sequence of str
        Product ids of the category.

    Raises
    ------
    ValueError
        Names the plan, the entry, what is wrong in it and what would be right.

    Examples
    --------
    >>> parse_rules({"plan": [{"name": "x", "budget": 900}]}, "bars", ["a"]).plans[0].budget
    900.0
    """
    unknown = sorted(set(given) - {*_DEFAULTS, "plan", "shelf"})
    if unknown:
        raise ValueError(
            f"{unknown[0]}: unknown entry; known: {', '.join(_DEFAULTS)}, [[plan]], [[shelf]]"
        )
    defaults = {entry: given[entry] for entry in _DEFAULTS if entry in given}
    plans = [
        _plan({**defaults, **entry}, f"plan {_name(entry)!r}", products)
        for entry in _tables(given, "plan")
        if entry.get("category", category) == category
    ]
    names = [plan.name for plan in plans]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ValueError(f"plan {twice[0]!r} of {category} is there twice; rename one")
    shelves = [
        _shelf(entry, products)
        for entry in _tables(given, "shelf")
        if entry.get("category", category) == category
    ]
    if len(shelves) > 1:
        raise ValueError(f"[[shelf]] of {category} is there twice; keep one")
    return AssortmentRules(
        tuple(plans) or (_plan({**defaults, "name": "season"}, "defaults", products),),
        shelves[0] if shelves else ShelfRules(),
    )


def _tables(given: Mapping[str, Any], kind: str) -> list[Mapping[str, Any]]:
    entries = given.get(kind, [])
    if not isinstance(entries, list) or not all(isinstance(e, Mapping) for e in entries):
        raise ValueError(f"{kind}: written as [[{kind}]] tables")
    return entries


def _name(entry: Mapping[str, Any]) -> str:
    name = entry.get("name")
    if not isinstance(name, str) or not name.strip():
        raise ValueError("a [[plan]] has no name")
    return name


def _plan(entry: Mapping[str, Any], where: str, products: Sequence[str]) -> PlanRules:
    known = [each.name for each in fields(PlanRules)]
    values: dict[str, Any] = {}
    for key, value in entry.items():
        if key == "category":
            continue
        if key not in known:
            raise ValueError(f"{where}: unknown entry {key!r}; known: {', '.join(known)}")
        values[key] = _value(where, key, value, products)
    both = sorted(set(values.get("must_carry", ())) & set(values.get("exclude", ())))
    if both:
        raise ValueError(
            f"{where}: {', '.join(both)} in must_carry and in exclude; take it out of one"
        )
    return PlanRules(**values)


def _value(where: str, key: str, value: Any, products: Sequence[str]) -> Any:
    if key in _LIMITS:
        return _number(where, key, value)
    if key == "distribution":
        if value not in _DISTRIBUTIONS:
            raise ValueError(f"{where}: distribution is one of {', '.join(_DISTRIBUTIONS)}")
        return value
    if key == "stores":
        if value in ("each", "together"):
            return value
        return _names(where, key, value, 'is "each", "together" or a list of store ids')
    if key in ("must_carry", "exclude"):
        return _products(where, key, value, products)
    if key == "by_vendor":
        return _names(where, key, value, "lists vendors in the order they are met")
    if key == "at_most":
        return tuple(_at_most(where, each) for each in _as_list(where, key, value))
    return value


def _shelf(entry: Mapping[str, Any], products: Sequence[str]) -> ShelfRules:
    where = f"[[shelf]] of {entry.get('category', 'every category')}"
    known = [each.name for each in fields(ShelfRules)]
    values: dict[str, Any] = {}
    for key, value in entry.items():
        if key == "category":
            continue
        if key not in known:
            raise ValueError(f"{where}: unknown entry {key!r}; known: {', '.join(known)}")
        if key == "room":
            values[key] = _number(where, key, value)
        elif key == "keep":
            values[key] = _products(where, key, value, products)
        else:
            if not isinstance(value, Mapping) or not all(_is_count(v) for v in value.values()):
                raise ValueError(f"{where}: {key} is a table, product id = units")
            _products(where, key, list(value), products)
            values[key] = dict(value)
    rules = ShelfRules(**values)
    crossed = [p for p in rules.least if rules.least[p] > rules.most.get(p, rules.least[p])]
    if crossed:
        raise ValueError(f"{where}: least is above most for {', '.join(crossed)}")
    return rules


def _number(where: str, key: str, value: Any) -> float | int:
    low, high = _LIMITS[key]
    right = isinstance(value, int if key in _WHOLE else (int, float))
    if not right or isinstance(value, bool) or not low <= value <= high:
        kind = "a whole number" if key in _WHOLE else "a number"
        raise ValueError(f"{where}: {key} = {value!r}: {kind} between {low:g} and {high:g}")
    return int(value) if key in _WHOLE else float(value)


def _as_list(where: str, key: str, value: Any) -> list[Any]:
    if not isinstance(value, list):
        raise ValueError(f"{where}: {key} is a list, got {value!r}")
    return value


def _names(where: str, key: str, value: Any, what: str) -> tuple[str, ...]:
    if not isinstance(value, list) or not value or not all(isinstance(v, str) for v in value):
        raise ValueError(f"{where}: {key} {what}, got {value!r}")
    return tuple(value)


def _products(where: str, key: str, value: Any, products: Sequence[str]) -> tuple[str, ...]:
    named = _as_list(where, key, value)
    unknown = [str(product) for product in named if product not in products]
    if unknown:
        raise ValueError(
            f"{where}: {key} names unknown product {', '.join(unknown)}; the category has "
            f"{', '.join(products[:20])}" + (" ..." if len(products) > 20 else "")
        )
    return tuple(named)


def _at_most(where: str, entry: Any) -> AtMost:
    """``{ brand = "x", products = 3 }``."""
    given = entry if isinstance(entry, Mapping) else {}
    columns, count = [key for key in given if key != "products"], given.get("products", -1)
    if len(columns) != 1 or columns[0] not in GROUPS or not _is_count(count):
        raise ValueError(
            f'{where}: at_most entries read {{ brand = "x", products = 3 }}, with one of '
            f"{', '.join(GROUPS)}; got {entry!r}"
        )
    return AtMost(columns[0], str(given[columns[0]]), int(count))


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0
