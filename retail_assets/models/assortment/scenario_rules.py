"""What a what-if is: typed scenarios, what each does to the shelf, and their reader.

The reader takes the parsed mapping of ``scenarios.toml``; opening the file is the
caller's. Simulation lives in `scenarios`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

Reallocation = Literal["none", "equal", "to"]


@dataclass(frozen=True)
class Base:
    """The shelf as it is."""

    name: str = "base"


@dataclass(frozen=True)
class DropProducts:
    """Products leave the shelf; their customers still come and substitute.

    Parameters
    ----------
    name : str
    products : tuple of str
    reallocate : {"none", "equal", "to"}
        Freed capacity stays empty, is shared by what is left, or goes to one product.
    receiver : str, optional
        The product that receives all ("to") or the remainder ("equal"; default: the
        first product left).
    """

    name: str
    products: tuple[str, ...]
    reallocate: Reallocation = "none"
    receiver: str | None = None


@dataclass(frozen=True)
class AddStockouts:
    """A product is kept from customers part of the time, on top of its own stock-outs.

    Parameters
    ----------
    name, product : str
    share : float
        Share of trading time forced out, in (0, 1).
    mean_intervals : float
        Mean length of one forced outage, at least 1 interval.
    """

    name: str
    product: str
    share: float
    mean_intervals: float


@dataclass(frozen=True)
class ChangeCapacity:
    """A product gets more or less room: ``round(times x capacity) + add`` units.

    Parameters
    ----------
    name, product : str
    times : float
    add : int
        Per store; may be negative. Never below 0 units.
    taken_from : str, optional
        The product that gives (or receives) that room, as far as it has it.
    """

    name: str
    product: str
    times: float = 1.0
    add: int = 0
    taken_from: str | None = None


Scenario = Base | DropProducts | AddStockouts | ChangeCapacity


def capacity_under(
    scenario: Scenario, products: Sequence[str], capacity: NDArray[np.int64]
) -> NDArray[np.int64]:
    """The shelf of one store under a scenario.

    Parameters
    ----------
    scenario : Scenario
    products : sequence of str
    capacity : (n,) int64
        Units of each product today.

    Returns
    -------
    (n,) int64

    Raises
    ------
    ValueError
        The scenario names a product that is not there, or leaves nothing to sell.

    Examples
    --------
    >>> capacity_under(DropProducts("x", ("b",), "equal"), "abc", np.array([4, 5, 6]))
    array([7, 0, 8])
    """
    column = {product: j for j, product in enumerate(products)}
    for product in _named_products(scenario):
        if product not in column:
            raise ValueError(f"scenario {scenario.name!r}: unknown product {product!r}")
    room = np.array(capacity, dtype=np.int64)
    if isinstance(scenario, DropProducts):
        return _dropped(scenario, column, room)
    if isinstance(scenario, ChangeCapacity):
        j = column[scenario.product]
        wanted = max(0, round(scenario.times * int(room[j])) + scenario.add)
        if scenario.taken_from is not None:
            giver = column[scenario.taken_from]
            wanted = min(wanted, int(room[j] + room[giver]))
            room[giver] -= wanted - room[j]
        room[j] = wanted
    return room


def _dropped(
    scenario: DropProducts, column: Mapping[str, int], room: NDArray[np.int64]
) -> NDArray[np.int64]:
    gone = [column[product] for product in scenario.products]
    freed = int(room[gone].sum())
    room[gone] = 0
    left = np.flatnonzero(room > 0)
    if scenario.reallocate == "none" or freed == 0:
        return room
    if scenario.reallocate == "to":
        if scenario.receiver is None:
            raise ValueError(f"scenario {scenario.name!r}: name the product that gets the room")
        room[column[scenario.receiver]] += freed
        return room
    if len(left) == 0:
        raise ValueError(f"scenario {scenario.name!r} leaves no product to share the room")
    room[left] += freed // len(left)
    receiver = column.get(scenario.receiver or "", int(left[0]))
    room[receiver if room[receiver] > 0 else left[0]] += freed % len(left)
    return room


def _named_products(scenario: Scenario) -> tuple[str, ...]:
    if isinstance(scenario, DropProducts):
        return scenario.products + ((scenario.receiver,) if scenario.receiver else ())
    if isinstance(scenario, ChangeCapacity):
        return (scenario.product, *((scenario.taken_from,) if scenario.taken_from else ()))
    return (scenario.product,) if isinstance(scenario, AddStockouts) else ()


def parse_scenarios(
    rules: Mapping[str, Any],
    category: str,
    products: Sequence[str],
    interval_minutes: float = 1.0,
) -> tuple[Scenario, ...]:
    """The scenarios of one category, the base first.

    Parameters
    ----------
    rules : mapping
        The parsed file: ``[[scenario]]`` tables, each with ``name``, ``category``
        (default: the file's own ``category``) and one of ``drop``, ``stockouts``,
        ``capacity``; see data/rules/scenarios.toml.
    category : str
        Scenarios of other categories are left out.
    products : sequence of str
        Product ids of the category.
    interval_minutes : float
        Turns ``hours_each`` into trading intervals.

    Returns
    -------
    tuple of Scenario
        A category without scenarios has the base alone.

    Raises
    ------
    ValueError
        Names the scenario, what is wrong in it and what would be right.
    """
    entries = rules.get("scenario", [])
    if not isinstance(entries, list) or not all(isinstance(e, Mapping) for e in entries):
        raise ValueError("scenarios are written as [[scenario]] tables")
    found: list[Scenario] = [Base()]
    for number, entry in enumerate(entries, start=1):
        name = entry.get("name")
        if not isinstance(name, str) or not name.strip():
            raise ValueError(f"scenario {number} has no name")
        own_category = entry.get("category", rules.get("category"))
        if own_category is None:
            raise ValueError(f"scenario {name!r} has no category, and the file has no default")
        if own_category != category:
            continue
        if any(name == other.name for other in found):
            raise ValueError(f"scenario {name!r} is there twice (or is called base); rename one")
        scenario = _parse(name, entry, interval_minutes)
        for product in _named_products(scenario):
            if product not in products:
                raise ValueError(
                    f"scenario {name!r}: unknown product {product!r} in category "
                    f"{category!r}; it has {', '.join(products)}"
                )
        found.append(scenario)
    return tuple(found)


def _parse(name: str, entry: Mapping[str, Any], interval_minutes: float) -> Scenario:
    kinds = [kind for kind in ("drop", "stockouts", "capacity") if kind in entry]
    if len(kinds) != 1:
        raise ValueError(
            f"scenario {name!r} needs exactly one of drop, stockouts, capacity; it has "
            f"{' and '.join(kinds) or 'none'}"
        )
    allowed = {"drop": {"drop", "reallocate", "remainder_to"}}.get(kinds[0], {kinds[0]})
    unknown = sorted(set(entry) - allowed - {"name", "category"})
    if unknown:
        raise ValueError(f"scenario {name!r}: unknown key {unknown[0]!r}")
    if kinds[0] == "drop":
        return _parse_drop(name, entry)
    table = entry[kinds[0]]
    if not isinstance(table, Mapping) or not isinstance(table.get("product"), str):
        raise ValueError(f"scenario {name!r}: {kinds[0]} needs a product")
    if kinds[0] == "stockouts":
        return _parse_stockouts(name, table, interval_minutes)
    return _parse_capacity(name, table)


def _parse_drop(name: str, entry: Mapping[str, Any]) -> DropProducts:
    drop = entry["drop"]
    products = (drop,) if isinstance(drop, str) else tuple(drop)
    if not products or not all(isinstance(product, str) for product in products):
        raise ValueError(f"scenario {name!r}: drop lists product ids, got {drop!r}")
    how = entry.get("reallocate", "none")
    receiver = entry.get("remainder_to")
    if isinstance(how, str) and how.startswith("to:"):
        how, receiver = "to", how[3:].strip()
    if how not in ("none", "equal", "to") or (how == "to" and not receiver):
        raise ValueError(
            f"scenario {name!r}: reallocate is 'none', 'equal' or 'to:PRODUCT', got "
            f"{entry['reallocate']!r}"
        )
    if receiver in products:
        raise ValueError(f"scenario {name!r}: {receiver!r} is dropped and cannot receive room")
    return DropProducts(name, products, how, receiver)


def _parse_stockouts(name: str, table: Mapping[str, Any], interval_minutes: float) -> AddStockouts:
    _only(name, table, {"product", "share", "hours_each"})
    share, hours = table.get("share"), table.get("hours_each", 1.0)
    if not isinstance(share, int | float) or not 0 < share < 1:
        raise ValueError(f"scenario {name!r}: share of time out lies between 0 and 1, got {share}")
    if not isinstance(hours, int | float) or hours * 60 < interval_minutes:
        raise ValueError(
            f"scenario {name!r}: hours_each {hours} is shorter than one interval "
            f"({interval_minutes:g} minutes)"
        )
    return AddStockouts(name, table["product"], float(share), hours * 60 / interval_minutes)


def _parse_capacity(name: str, table: Mapping[str, Any]) -> ChangeCapacity:
    _only(name, table, {"product", "times", "add", "taken_from"})
    times, add = table.get("times", 1.0), table.get("add", 0)
    if not isinstance(times, int | float) or times < 0 or not isinstance(add, int):
        raise ValueError(
            f"scenario {name!r}: times is a number >= 0 and add a whole number of units, got "
            f"{times!r} and {add!r}"
        )
    if times == 1 and add == 0:
        raise ValueError(f"scenario {name!r} changes nothing; give times or add")
    if table.get("taken_from") == table["product"]:
        raise ValueError(f"scenario {name!r}: {table['product']!r} cannot give room to itself")
    return ChangeCapacity(name, table["product"], float(times), add, table.get("taken_from"))


def _only(name: str, table: Mapping[str, Any], allowed: set[str]) -> None:
    unknown = sorted(set(table) - allowed)
    if unknown:
        raise ValueError(
            f"scenario {name!r}: unknown key {unknown[0]!r}; allowed: {', '.join(sorted(allowed))}"
        )
