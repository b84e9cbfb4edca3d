"""What a season's plan decides on, and who is expected to come.

A season is sold from one buy: what runs out stays out, what is left is salvaged
(El Housni et al. 2021). `Season` holds what the retailer knows (money, packs, limits),
`Market` what is known of the customers: posterior draws of first choices and of the
substitution matrix, and how uncertain their number is. Drawing them is `customers`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from retail_assets.models.choice.markov_chain import check_rates
from retail_assets.models.panel import ChoiceModel

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Mask = NDArray[np.bool_]

NO_LIMIT = 10**9
"""Units nobody buys; stands for "no largest quantity"."""


@dataclass(frozen=True)
class Cap:
    """At most ``most`` products of a group, e.g. a brand or a price band."""

    name: str
    members: tuple[str, ...]
    most: int


@dataclass(frozen=True)
class Season:
    """Products to choose from, and the limits of the choice. Money in cents.

    Parameters
    ----------
    products : tuple of str
    price, unit_cost, salvage : (n,) float64
        Of one unit: sold for, bought for, worth when left over (below its cost).
    fixed_cost : (n,) float64
        Of carrying the product at all, for the season.
    space : (n,) float64
        Of one unit, in any unit of space.
    pack_size : (n,) int64
        Quantities are whole packs.
    min_quantity, max_quantity : (n,) int64
        Units, if the product is carried at all.
    must_carry, excluded : (n,) bool
    budget : float
        Most that may be spent on units, cents.
    space_limit : float
    max_products : int
    caps : tuple of Cap

    Raises
    ------
    ValueError
        Names the products, what is wrong with them and what would be right.
    """

    products: tuple[str, ...]
    price: Floats
    unit_cost: Floats
    salvage: Floats
    fixed_cost: Floats = field(default_factory=partial(np.array, 0.0))
    space: Floats = field(default_factory=partial(np.array, 1.0))
    pack_size: Ints = field(default_factory=partial(np.array, 1))
    min_quantity: Ints = field(default_factory=partial(np.array, 0))
    max_quantity: Ints = field(default_factory=partial(np.array, NO_LIMIT))
    must_carry: Mask = field(default_factory=partial(np.array, False))
    excluded: Mask = field(default_factory=partial(np.array, False))
    budget: float = float("inf")
    space_limit: float = float("inf")
    max_products: int = NO_LIMIT
    caps: tuple[Cap, ...] = ()

    def __post_init__(self) -> None:
        for name, kind in _KINDS.items():
            value = np.asarray(getattr(self, name), dtype=kind)
            if value.ndim and value.shape != (len(self.products),):
                raise ValueError(
                    f"{name} is given for {value.size} products, the season has "
                    f"{len(self.products)}"
                )
            object.__setattr__(self, name, np.array(np.broadcast_to(value, len(self.products))))
        _check_products(self)
        _check_limits(self)

    @property
    def n_products(self) -> int:
        return len(self.products)

    @property
    def margin(self) -> Floats:
        """(n,) what a unit sold earns over its cost: the underage cost."""
        return self.price - self.unit_cost

    @property
    def overage(self) -> Floats:
        """(n,) what a unit left over loses."""
        return self.unit_cost - self.salvage

    def spend(self, quantity: NDArray[Any]) -> float:
        """Cost of the units, without fixed costs."""
        return float(quantity @ self.unit_cost)

    def violations(self, quantity: Ints) -> tuple[str, ...]:
        """What a plan breaks, in words; empty where it is feasible."""
        carried, found = quantity > 0, []
        wrong = {
            "not whole packs": quantity % self.pack_size != 0,
            "below the smallest quantity": carried & (quantity < self.min_quantity),
            "above the largest quantity": quantity > self.max_quantity,
            "must be carried": self.must_carry & ~carried,
            "excluded": self.excluded & carried,
        }
        for what, where in wrong.items():
            if where.any():
                found.append(f"{_named(self.products, where)}: {what}")
        if self.spend(quantity) > self.budget + 1e-6:
            found.append(f"spends {self.spend(quantity):,.0f} of {self.budget:,.0f} cents")
        if float(quantity @ self.space) > self.space_limit + 1e-9:
            found.append(f"takes {float(quantity @ self.space):g} of {self.space_limit:g} space")
        if int(carried.sum()) > self.max_products:
            found.append(f"carries {int(carried.sum())} of at most {self.max_products} products")
        for cap, members in zip(self.caps, self.cap_members, strict=True):
            if int(carried[members].sum()) > cap.most:
                found.append(f"carries {int(carried[members].sum())} of {cap.most} {cap.name}")
        return tuple(found)

    @property
    def cap_members(self) -> tuple[Mask, ...]:
        """(n,) bool per cap."""
        return tuple(np.isin(self.products, cap.members) for cap in self.caps)


_KINDS: dict[str, Any] = {
    "price": np.float64,
    "unit_cost": np.float64,
    "salvage": np.float64,
    "fixed_cost": np.float64,
    "space": np.float64,
    "pack_size": np.int64,
    "min_quantity": np.int64,
    "max_quantity": np.int64,
    "must_carry": np.bool_,
    "excluded": np.bool_,
}


def _check_products(season: Season) -> None:
    products = season.products
    twice = sorted({p for p in products if products.count(p) > 1})
    if twice:
        raise ValueError(f"products {', '.join(twice)} are listed twice")
    for name in ("price", "unit_cost", "salvage", "fixed_cost", "space"):
        value = getattr(season, name)
        _refuse(products, ~(np.isfinite(value) & (value >= 0)), f"{name} must be a number >= 0")
    _refuse(
        products,
        season.salvage >= season.unit_cost,
        "salvage is not below unit cost, so unlimited stock would be free; lower the salvage",
    )
    _refuse(products, season.pack_size < 1, "pack size must be at least 1 unit")
    _refuse(
        products,
        season.must_carry & season.excluded,
        "must be carried and is excluded; take it out of one list",
    )
    packs = season.max_quantity // season.pack_size * season.pack_size
    _refuse(
        products,
        np.maximum(season.min_quantity, season.pack_size) > packs,
        "no whole number of packs lies between its smallest and largest quantity",
    )


def _check_limits(season: Season) -> None:
    for name in ("budget", "space_limit", "max_products"):
        if not getattr(season, name) >= 0:
            raise ValueError(f"{name} must be a number >= 0, got {getattr(season, name)}")
    must = season.must_carry
    least = smallest_quantity(season)[must]
    needed = {
        "budget": (float(least @ season.unit_cost[must]), season.budget, "cents"),
        "space": (float(least @ season.space[must]), season.space_limit, "of space"),
        "max_products": (float(must.sum()), float(season.max_products), "products"),
    }
    for cap, members in zip(season.caps, season.cap_members, strict=True):
        _known(season.products, cap.members, f"cap {cap.name!r}")
        needed[f"cap {cap.name!r}"] = (float((must & members).sum()), float(cap.most), "products")
    for limit, (least_needed, most, unit) in needed.items():
        if least_needed > most * (1 + 1e-12):
            raise ValueError(
                f"must-carry products {_named(season.products, must)} need {least_needed:,.10g} "
                f"{unit} at their smallest quantities, above the {limit} of {most:,.10g}; raise "
                "it or release one of them"
            )


def smallest_quantity(season: Season) -> Ints:
    """(n,) units of the smallest buy of each product, if it is bought at all."""
    packs = np.maximum(-(-season.min_quantity // season.pack_size), 1)
    smallest: Ints = packs * season.pack_size
    return smallest


def flags(products: Sequence[str], chosen: Iterable[str], what: str) -> Mask:
    """(n,) True where a product is named.

    Raises
    ------
    ValueError
        An unknown product, with those there are.

    Examples
    --------
    >>> flags(("a", "b"), ["b"], "must_carry")
    array([False,  True])
    """
    named = tuple(chosen)
    _known(products, named, what)
    return np.isin(np.array(products), named)


def with_carried(season: Season, carried: Mapping[str, int], candidates: Iterable[str]) -> Season:
    """The next vendor's decision, given what is carried already.

    What is carried keeps its quantity and is must-carry; ``candidates`` are free; all
    other products are excluded, as if their vendors had not come yet.
    """
    free = flags(season.products, candidates, "candidates")
    kept = flags(season.products, [p for p, units in carried.items() if units > 0], "carried")
    _refuse(season.products, free & kept, "is carried already and cannot be a candidate")
    units = np.array([carried.get(p, 0) for p in season.products], np.int64)
    # What is on the shelf already may be any number of units.
    return replace(
        season,
        pack_size=np.where(kept, 1, season.pack_size),
        min_quantity=np.where(kept, units, season.min_quantity),
        max_quantity=np.where(kept, units, season.max_quantity),
        must_carry=kept | (season.must_carry & free),
        excluded=~free & ~kept | (season.excluded & free),
    )


@dataclass(frozen=True)
class Market:
    """Who is expected to come in the season: D posterior draws, equally likely.

    Parameters
    ----------
    products : tuple of str
        In the order of every array.
    first_choice : (D, n) float64
        Expected customers of the season by first choice; a row sums to the mean number
        of customers of its draw.
    substitution_rate : (D, n, n) float64
    choice_model : {"one_step", "markov_chain"}
        How the matrix is read; one is never read as the other.
    cv : float
        Coefficient of variation of the number of customers around its draw's mean.
    distribution : {"lognormal", "negbin", "poisson"}
        Of the number of customers; ``poisson`` ignores ``cv``, and so does ``negbin``
        where ``cv`` is below Poisson's.

    Raises
    ------
    ValueError
        Rates that are no rates, with the product; nobody comes.
    """

    products: tuple[str, ...]
    first_choice: Floats
    substitution_rate: Floats
    choice_model: ChoiceModel
    cv: float = 0.3
    distribution: Literal["lognormal", "negbin", "poisson"] = "lognormal"

    def __post_init__(self) -> None:
        first = np.atleast_2d(np.asarray(self.first_choice, np.float64))
        matrix = np.asarray(self.substitution_rate, np.float64)
        matrix = matrix[None] if matrix.ndim == 2 else matrix
        n = len(self.products)
        if first.shape[1] != n or matrix.shape != (len(first), n, n):
            raise ValueError(
                f"a market of {n} products needs first_choice (D, {n}) and substitution_rate "
                f"(D, {n}, {n}), got {first.shape} and {matrix.shape}"
            )
        for rate, rows in zip(first, matrix, strict=True):
            check_rates(rate, rows, self.choice_model, self.products)
            if rate.sum() <= 0:
                raise ValueError("no product has a customer in the season; check demand rates")
        if not (np.isfinite(self.cv) and self.cv >= 0):
            raise ValueError(f"cv of the number of customers must be >= 0, got {self.cv}")
        object.__setattr__(self, "first_choice", first)
        object.__setattr__(self, "substitution_rate", matrix)

    @property
    def n_draws(self) -> int:
        return len(self.first_choice)

    def draw(self, which: int) -> Market:
        """The market of one posterior draw."""
        own = slice(which, which + 1)
        return replace(
            self,
            first_choice=self.first_choice[own],
            substitution_rate=self.substitution_rate[own],
        )

    def some(self, most: int) -> Market:
        """The market of at most so many of the draws, evenly spaced."""
        used = min(self.n_draws, most)
        which = np.arange(used) * self.n_draws // used
        return replace(
            self,
            first_choice=self.first_choice[which],
            substitution_rate=self.substitution_rate[which],
        )

    def mean(self) -> Market:
        """The market at the posterior mean of its rates: what a plug-in plan would use."""
        return replace(
            self,
            first_choice=self.first_choice.mean(axis=0)[None],
            substitution_rate=self.substitution_rate.mean(axis=0)[None],
        )


def check_same_products(season: Season, market: Market) -> None:
    """A ValueError with the ids where season and market are of different products."""
    if season.products == market.products:
        return
    only_season = sorted(set(season.products) - set(market.products))
    only_market = sorted(set(market.products) - set(season.products))
    if not only_season and not only_market:
        raise ValueError("season and market list the same products in different orders")
    raise ValueError(
        f"season and market are of different products: only in the season "
        f"{', '.join(only_season) or 'none'}; only in the market "
        f"{', '.join(only_market) or 'none'}"
    )


def _known(products: Sequence[str], named: Iterable[str], what: str) -> None:
    unknown = [p for p in named if p not in products]
    if unknown:
        raise ValueError(
            f"{what}: unknown product {', '.join(unknown)}; there are {', '.join(products[:20])}"
            + (" ..." if len(products) > 20 else "")
        )


def _refuse(products: Sequence[str], wrong: Mask, why: str) -> None:
    if wrong.any():
        raise ValueError(f"product {_named(products, wrong)}: {why}")


def _named(products: Sequence[str], which: Mask) -> str:
    return ", ".join(products[int(j)] for j in np.flatnonzero(which))
