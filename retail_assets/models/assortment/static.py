"""The best assortment under a Markov chain of customers, without limits, exactly.

A customer who visits product ``i`` is worth ``v_i``: its revenue where the product is
offered, else what the onward walk is worth. The best assortment is an optimal stopping
rule (Blanchet, Gallego & Goyal 2016, theorem 5.1)

    v = max(r, ρ v),        offered = {i : r_i > 0 and r_i >= (ρ v)_i},

so a product is left out exactly where its customers are worth more walking on. This is of
the ``markov_chain`` reading alone: rates of the one-step model have no such rule and must
not be handed over. Limits and fixed costs are `constrained`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import sparse
from scipy.sparse.linalg import LinearOperator, gmres

from retail_assets.models.choice.markov_chain import check_rates

Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]
Method = Literal["direct", "krylov"]

EPS = float(np.finfo(float).eps)

DIRECT = 800
"""Products not offered up to which LU (0.02 s) is as fast as a Krylov solver."""

SWEEPS = 8
"""Sweeps before a set that still shrinks is evaluated."""

SPARSE = 0.1
"""Share of positive rates below which rho is multiplied as a sparse matrix."""


@dataclass(frozen=True)
class StaticPlan:
    """The optimum, with its certificate.

    Parameters
    ----------
    offered : (n,) bool
    value : float
        ``λ v``: revenue of all customers of ``first_choice``.
    value_of_visit : (n,) float64
        v, revenue of a customer who visits the product.
    method : {"direct", "krylov"}
        How the last assortment was evaluated.
    iterations : int
        Assortments evaluated.
    residual : float
        Largest ``|v - max(r, 0, ρ v)|``; v is within this times the expected number of
        visits of a walk of the optimum.
    """

    offered: Mask
    value: float
    value_of_visit: Floats
    method: Method
    iterations: int
    residual: float


def best_assortment(
    revenue: ArrayLike, first_choice: ArrayLike, substitution_rate: ArrayLike
) -> StaticPlan:
    """The assortment that earns most, by value iteration and policy iteration together.

    Value iteration from ``max(r, 0)`` only ever rises, so a product once worth leaving out
    stays out and the set of the offered only shrinks. When a sweep leaves the set as it is,
    the set is evaluated exactly, ``(I - ρ_OO) v_O = ρ_OA r_A``, which replaces the about
    1,000 further sweeps that a leave probability of 0.5 % needs. A sweep from there either
    shrinks the set again or proves it optimal.

    Parameters
    ----------
    revenue : (n,) float64
        Of a customer who buys, e.g. the margin; may be negative, such a product is
        never offered.
    first_choice : (n,) float64
        λ, customers by first choice, of any unit.
    substitution_rate : (n, n) float64
        ρ of the ``markov_chain`` model.

    Raises
    ------
    ValueError
        Rates that are no rates, products that hand on to each other for ever, revenues
        that are no numbers.

    References
    ----------
    Blanchet, Gallego & Goyal (2016), A Markov chain approximation to choice modeling,
    Operations Research 64(4), theorem 5.1.

    Examples
    --------
    >>> plan = best_assortment([10.0, 4.0], [0.5, 0.5], [[0.0, 0.3], [0.8, 0.0]])
    >>> plan.offered, plan.value
    (array([ True, False]), 9.0)
    """
    rate, matrix = check_rates(first_choice, substitution_rate, "markov_chain")
    worth = np.asarray(revenue, dtype=np.float64)
    if worth.shape != rate.shape or not np.isfinite(worth).all():
        raise ValueError(f"revenue must be {len(rate)} finite numbers, one per product")
    onward: Any = matrix
    if np.count_nonzero(matrix) < SPARSE * matrix.size:
        onward = sparse.csr_array(matrix)
    out = worth <= 0
    value = np.where(out, 0.0, worth)
    # A gain of rounding size is a tie: the product stays on offer.
    tie = 4 * EPS * float(value.max(initial=0.0))
    method: Method = "direct"
    evaluated, sweeps, exact = 0, 0, False
    while True:
        walk_on = onward @ value
        leaving = ~out & (walk_on > worth + tie)
        if exact and not leaving.any():
            break
        out |= leaving
        value = np.where(out, np.maximum(value, walk_on), worth)
        sweeps, exact = sweeps + 1, False
        if sweeps == SWEEPS or not leaving.any():
            value, method = _evaluate(matrix, onward, out, value)
            evaluated, sweeps, exact = evaluated + 1, 0, True
    residual = np.abs(value - np.maximum(np.maximum(worth, 0.0), walk_on)).max(initial=0.0)
    return StaticPlan(~out, float(rate @ value), value, method, evaluated, float(residual))


def _evaluate(matrix: Floats, onward: Any, out: Mask, value: Floats) -> tuple[Floats, Method]:
    """Solve ``v_O = ρ_OO v_O + ρ_OA r_A`` to rounding, starting from ``value``."""
    value = value.copy()
    if int(out.sum()) > DIRECT and _refine(onward, out, value):
        return value, "krylov"
    from_offered = (onward @ np.where(out, 0.0, value))[out]
    stay = -matrix[np.ix_(out, out)]
    stay.flat[:: len(stay) + 1] += 1.0
    value[out] = np.linalg.solve(stay, from_offered)
    return value, "direct"


def _refine(onward: Any, out: Mask, value: Floats) -> bool:
    """Improve ``value`` in place by GMRES on its error; False where that does not converge.

    Products that are offered stay in the vectors as zeros: cutting ρ_OO out of a dense
    matrix costs as much as ten products with all of it.
    """

    def stay(x: Floats) -> Floats:
        return np.where(out, x - onward @ x, 0.0)

    system = LinearOperator((len(value), len(value)), matvec=stay, dtype=np.float64)
    scale, before = EPS * float(value.max()), np.inf
    while True:
        wrong = np.where(out, onward @ value - value, 0.0)
        worst = float(np.abs(wrong).max())
        if worst <= 2 * scale or worst > before / 2:
            return worst <= 64 * scale
        before = worst
        step, _ = gmres(system, wrong, rtol=1e-8, restart=60, maxiter=4)
        value += step
