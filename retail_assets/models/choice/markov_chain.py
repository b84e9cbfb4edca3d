"""Where customers go when what they want is out: one step or a Markov chain.

Both models are one matrix, read differently. Row ``i`` says where a customer who
finds ``i`` out goes next; what is missing to 1 leaves.

- ``one_step`` (the white paper): one substitute is tried, then the customer leaves.
- ``markov_chain`` (Blanchet, Gallego & Goyal 2016): the customer walks on from each
  product that is out until something is available or the walk leaves. The
  multinomial logit is the special case with identical, renormalised rows.

They agree while one product at a time is out, and not beyond: a matrix estimated
under one is never read as the other.

A walk does not depend on stock, only where it stops does. So it is drawn as if
everything were out, repeats are removed (a product found out is still out at the
next glance), and the ranked list is replayed by `replay`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numba
import numpy as np
from numpy.typing import ArrayLike, NDArray

from retail_assets.models.choice.replay import Customers
from retail_assets.models.panel import ChoiceModel

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class RankedLists:
    """Customers' ranked lists.

    Parameters
    ----------
    choices : (N, K) int16
        Products, best first; -1 ends the list.
    truncated_share : float
        Share of customers whose list would go on after K products. They are treated
        as leaving; above 0.001 a longer ``max_length`` is advisable.
    """

    choices: NDArray[np.int16]
    truncated_share: float


def choice_rates(
    arrival_rate: Floats,
    substitution_rate: Floats,
    available: NDArray[np.bool_],
    choice_model: ChoiceModel,
) -> Floats:
    """Expected sales per interval of each product under an availability pattern.

    With A available and O out,

    - one_step: ``λ_j + Σ_{i in O} λ_i α_ij`` for j in A;
    - markov_chain: ``λ_A + ρ_OAᵀ (I − ρ_OOᵀ)⁻¹ λ_O``, the absorption of a chain
      whose absorbing states are A and leaving (Blanchet, Gallego & Goyal 2016, §2).

    Parameters
    ----------
    arrival_rate : (n,) float64
    substitution_rate : (n, n) float64
    available : (..., n) bool
        One pattern, or any number of them at once.
    choice_model : {"one_step", "markov_chain"}

    Returns
    -------
    (..., n) float64
        Zero where the product is out.

    Raises
    ------
    ValueError
        Rates that are no rates, or products out that hand on to each other for ever.

    Examples
    --------
    >>> choice_rates(np.array([1.0, 0.5]), np.array([[0, 0.4], [0, 0]]),
    ...              np.array([False, True]), "one_step")
    array([0. , 0.9])
    """
    rate, matrix = check_rates(arrival_rate, substitution_rate, choice_model)
    here = np.asarray(available, dtype=bool)
    if here.shape[-1:] != rate.shape:
        raise ValueError(f"available must be (..., {len(rate)}), got {here.shape}")
    if choice_model == "one_step":
        return np.where(here, rate + np.where(here, 0.0, rate) @ matrix, 0.0)
    # Visits v solve v_j = lambda_j + sum over i out of v_i rho_ij; those to A are sales.
    passing_on = np.swapaxes(np.where(here[..., :, None], 0.0, matrix), -1, -2)
    first = np.broadcast_to(rate, here.shape)[..., None]
    visits = np.linalg.solve(np.eye(len(rate)) - passing_on, first)[..., 0]
    return np.where(here, visits, 0.0)


def check_rates(
    arrival_rate: ArrayLike,
    substitution_rate: ArrayLike,
    choice_model: ChoiceModel,
    products: Sequence[str] | None = None,
) -> tuple[Floats, Floats]:
    """Both as float arrays, or a ValueError that names the product.

    Under ``markov_chain`` every product must lead to leaving in the end. Without
    ``products`` a product is called by its position.
    """
    rate = np.asarray(arrival_rate, dtype=np.float64)
    matrix = np.asarray(substitution_rate, dtype=np.float64)
    n = len(rate)
    name = range(n) if products is None else products
    if choice_model not in ("one_step", "markov_chain"):
        raise ValueError(f"choice_model is one_step or markov_chain, not {choice_model!r}")
    if matrix.shape != (n, n):
        raise ValueError(f"substitution_rate must be ({n}, {n}), got {matrix.shape}")
    bad = np.flatnonzero(~(np.isfinite(rate) & (rate >= 0)))
    if len(bad):
        raise ValueError(f"product {name[bad[0]]}: arrival rate {rate[bad[0]]} is not >= 0")
    bad = np.flatnonzero(~np.all(np.isfinite(matrix) & (matrix >= 0), axis=1))
    if len(bad):
        raise ValueError(f"product {name[bad[0]]}: substitution rates must be >= 0")
    bad = np.flatnonzero(matrix.sum(axis=1) > 1 + 1e-9)
    if len(bad):
        raise ValueError(
            f"product {name[bad[0]]}: substitution rates sum to {matrix[bad[0]].sum():.6g}, above 1"
        )
    bad = np.flatnonzero(np.diag(matrix) > 0)
    if len(bad):
        raise ValueError(f"product {name[bad[0]]} substitutes itself; the diagonal must be 0")
    if choice_model == "markov_chain":
        stuck = [str(name[product]) for product in _never_leaves(matrix)]
        if stuck:
            raise ValueError(
                f"products {', '.join(stuck)} hand customers to each other for ever; lower "
                "one of their substitution rates so that some leave"
            )
    return rate, matrix


def _never_leaves(matrix: Floats) -> NDArray[np.int64]:
    """Products from which no walk ever leaves."""
    leaves = matrix.sum(axis=1) < 1 - 1e-12
    grown = True
    while grown:
        reached = leaves | (matrix[:, leaves] > 0).any(axis=1)
        grown, leaves = bool((reached != leaves).any()), reached
    return np.flatnonzero(~leaves)


def ranked_lists(
    rng: np.random.Generator,
    arrival_rate: Floats,
    substitution_rate: Floats,
    choice_model: ChoiceModel,
    size: int,
    max_length: int = 8,
) -> RankedLists:
    """Ranked lists of customers whose first choice is drawn in proportion to λ.

    Sampling inverts cumulative sums inside numba, which draws from the caller's
    numpy ``Generator``: the same seed gives the same lists on every machine.

    Parameters
    ----------
    rng : numpy.random.Generator
    arrival_rate : (n,) float64
    substitution_rate : (n, n) float64
    choice_model : {"one_step", "markov_chain"}
    size : int
        Number of customers.
    max_length : int
        K. One-step lists have at most 2 entries whatever K.

    Returns
    -------
    RankedLists
    """
    rate, matrix = check_rates(arrival_rate, substitution_rate, choice_model)
    n = len(rate)
    length = min(max_length, n, 2 if choice_model == "one_step" else n)
    if length < 1:
        raise ValueError(f"max_length must be at least 1, got {max_length}")
    choices = np.full((size, max(length, 1)), -1, dtype=np.int16)
    if size == 0:
        return RankedLists(choices, 0.0)
    if rate.sum() <= 0:
        raise ValueError("no product has a positive arrival rate, so nobody comes")
    first = np.cumsum(rate) / rate.sum()
    onward = np.cumsum(matrix, axis=1)
    cut = _draw_lists(rng, first, onward, choice_model == "one_step", choices)
    return RankedLists(choices, cut / size)


def draw_customers(
    rng: np.random.Generator,
    arrival_rate: Floats,
    substitution_rate: Floats,
    choice_model: ChoiceModel,
    *,
    n_intervals: int | None = None,
    weight: Floats | None = None,
    max_length: int = 8,
    units_mean: Floats | None = None,
    units_var: Floats | None = None,
) -> Customers:
    """A horizon's customers: Poisson arrivals, ranked lists, basket sizes.

    Interval ``t`` receives Poisson(``weight_t Σλ``) customers.

    Parameters
    ----------
    rng : numpy.random.Generator
    arrival_rate : (n,) float64
        First-choice customers per interval at weight 1.
    substitution_rate : (n, n) float64
    choice_model : {"one_step", "markov_chain"}
    n_intervals : int, optional
        Length of the horizon when it has no profile.
    weight : (T,) float64, optional
        Seasonal profile x footfall of each interval; gives the horizon.
    max_length : int
    units_mean, units_var : (n,) float64, optional
        Units per customer by first choice; see `draw_units`. Default: one unit.

    Returns
    -------
    Customers
    """
    rate = np.asarray(arrival_rate, dtype=np.float64)
    if (n_intervals is None) == (weight is None):
        raise ValueError("give either n_intervals or weight (T,), not both")
    profile = np.ones(n_intervals or 0) if weight is None else np.asarray(weight, np.float64)
    if profile.ndim != 1 or np.any(~(profile >= 0)):
        raise ValueError("weight must be (T,), finite and >= 0")
    check_rates(rate, substitution_rate, choice_model)
    counts = rng.poisson(rate.sum() * profile)
    interval = np.repeat(np.arange(len(profile), dtype=np.int32), counts)
    lists = ranked_lists(
        rng, rate, substitution_rate, choice_model, len(interval), max_length=max_length
    )
    units = np.ones(len(interval), dtype=np.int16)
    if units_mean is not None:
        spread = np.zeros_like(units_mean) if units_var is None else units_var
        wanted = lists.choices[:, 0]
        units = draw_units(rng, np.asarray(units_mean)[wanted], np.asarray(spread)[wanted])
    return Customers(interval, lists.choices, units, lists.truncated_share)


def draw_units(rng: np.random.Generator, mean: Floats, var: Floats) -> NDArray[np.int16]:
    """Units per customer with a given mean and variance: 1 + a count.

    The count is negative binomial where its variance exceeds its mean, else Poisson,
    which is the least dispersed count used (variance = mean - 1).

    Parameters
    ----------
    mean, var : (N,) float64
        Of the units of one customer; means are at least 1.
    """
    extra = np.asarray(mean, dtype=np.float64) - 1.0
    if np.any(~(extra >= 0)):
        raise ValueError(f"a customer takes at least 1 unit on average, got {np.min(mean)}")
    over = np.asarray(var, dtype=np.float64) - extra
    # Gamma-mixed Poisson: shape extra^2 / over, so that the mixture adds `over` variance.
    mixed = (over > 1e-9) & (extra > 0)
    safe_over = np.where(mixed, over, 1.0)
    safe_extra = np.where(extra > 0, extra, 1.0)
    intensity = rng.gamma(safe_extra**2 / safe_over, safe_over / safe_extra)
    count = rng.poisson(np.where(mixed, intensity, extra))
    return np.minimum(1 + count, np.iinfo(np.int16).max).astype(np.int16)


@numba.njit(cache=True)
def _pick(cumulative, u):  # type: ignore[no-untyped-def]
    """First index whose cumulative share exceeds ``u``; the length if none does."""
    low, high = 0, len(cumulative)
    while low < high:
        middle = (low + high) // 2
        if cumulative[middle] > u:
            high = middle
        else:
            low = middle + 1
    return low


@numba.njit(cache=True)
def _draw_lists(rng, first, onward, one_step, choices):  # type: ignore[no-untyped-def]
    """Fill ``choices`` (N, K); returns how many lists K cut short."""
    size, length = choices.shape
    n = len(first)
    visited = np.full(n, -1, np.int64)
    cut = 0
    for customer in range(size):
        here = min(_pick(first, rng.random()), n - 1)
        choices[customer, 0] = here
        visited[here] = customer
        found = 1
        while found < n:
            here = _pick(onward[here], rng.random())
            if here == n:
                break
            if visited[here] != customer:
                if found == length:
                    cut += 1
                    break
                visited[here] = customer
                choices[customer, found] = here
                found += 1
            if one_step:
                break
    return cut
