"""The multinomial logit (MNL): its choice probabilities, and itself as a Markov chain.

A customer offered S buys ``j`` with probability ``w_j / (w_0 + Σ_{k in S} w_k)``. The chain

    λ_j = w_j / (w_0 + Σ_k w_k),        ρ_ij = w_j / (w_0 + Σ_{k≠i} w_k)

gives the same probabilities for every S (Blanchet, Gallego & Goyal 2016, §3): the walk forgets
what was out. So whatever plans under a chain plans under a logit too.
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.sparse.csgraph import connected_components
from scipy.special import logsumexp

Floats = NDArray[np.float64]

RIDGE = 0.1
"""Pull of log weights towards their mean, where the likelihood has no maximum. A product of
average attraction that 800 customers were offered and none bought then counts 0.4 sales:
about the half of Jeffreys' prior."""


@dataclass(frozen=True)
class LogWeights:
    """Where Newton's method stopped.

    Parameters
    ----------
    log_weight : (n,) float64
        Buying nothing has 0.
    information : (n, n) float64
        Minus the curvature there, ridge included.
    log_lik : float
        Without multinomial constants and ridge.
    ridge : float
        0, or `RIDGE` where it was needed.
    """

    log_weight: Floats
    information: Floats
    log_lik: float
    ridge: float


@dataclass(frozen=True)
class MnlFit:
    """A fitted logit; see `offer_sets.fit_mnl`.

    Parameters
    ----------
    products : tuple of n
    weights : (n,) float64
        Attraction of each product; that of buying nothing is 1.
    se_log_weight : (n,) float64
        Standard error of log w, from the curvature at the maximum.
    log_lik : float
        Without multinomial constants.
    ridge : float
        0, or `RIDGE` where the likelihood has no maximum.
    never_chosen : tuple of product ids
        Whose weight says only that nobody bought them (ridge).
    """

    products: tuple[Hashable, ...]
    weights: Floats
    se_log_weight: Floats
    log_lik: float
    ridge: float
    never_chosen: tuple[Hashable, ...]

    def chain(self) -> tuple[Floats, Floats]:
        """λ and ρ of the same model; see `mnl_chain`."""
        return mnl_chain(self.weights)


def mnl_chain(weights: ArrayLike, outside: float = 1.0) -> tuple[Floats, Floats]:
    """First choices and transitions of the chain that is this logit.

    Parameters
    ----------
    weights : (n,) float
        Attraction w of each product, 0 or more.
    outside : float
        Attraction w_0 of buying nothing, above 0: without it nobody ever leaves.

    Returns
    -------
    first_choice : (n,) float64
        λ, shares of all customers; what is missing to 1 buys nothing.
    substitution_rate : (n, n) float64
        ρ with a zero diagonal; what a row misses to 1 leaves.

    Raises
    ------
    ValueError
        An attraction that is none; names the product by its position.

    Examples
    --------
    >>> mnl_chain([1.0, 2.0])
    (array([0.25, 0.5 ]), array([[0.  , 0.66666667],
           [0.5 , 0.        ]]))
    """
    w = _check(weights, outside)
    onward = np.where(np.eye(len(w), dtype=bool), 0.0, w)
    # Row sums, not the total less w_i: that cancels where one product is nearly everything.
    return w / (outside + w.sum()), onward / (outside + onward.sum(axis=1, keepdims=True))


def mnl_choice(weights: ArrayLike, available: ArrayLike, outside: float = 1.0) -> Floats:
    """Probability of buying each product.

    Parameters
    ----------
    weights : (n,) float
    available : (..., n) bool
        One offer set, or any number of them at once.
    outside : float

    Returns
    -------
    (..., n) float64
        Zero where the product is not offered.

    Raises
    ------
    ValueError
        An attraction that is none, or offer sets of another number of products.
    """
    w = _check(weights, outside)
    here = np.asarray(available, dtype=bool)
    if here.shape[-1:] != w.shape:
        raise ValueError(f"available must be (..., {len(w)}), got {here.shape}")
    offered = np.where(here, w, 0.0)
    return np.asarray(offered / (outside + offered.sum(axis=-1, keepdims=True)), np.float64)


def fit_log_weights(offered: NDArray[np.bool_], chosen: NDArray[np.int64]) -> LogWeights:
    """The logit of greatest likelihood, which is concave in log weights, by Newton steps.

    A maximum exists if and only if no group of options is always chosen over all the others
    (Ford 1957). Where one is, a product nobody chose for instance, the ridge makes one.

    Parameters
    ----------
    offered : (S, n) bool
    chosen : (S, n + 1) int64
        Customers by what they bought, the last nothing; at least one customer in all.
    """
    present = np.column_stack([offered, np.ones(len(offered), bool)])
    # An arrow from each option to those chosen over it; a maximum needs ways back.
    beaten = present.T.astype(np.float64) @ chosen > 0
    ridge = RIDGE if connected_components(beaten, connection="strong")[0] > 1 else 0.0
    customers, sales = chosen.sum(axis=1), chosen[:, :-1].sum(axis=0)
    choices = max(float(customers @ offered.sum(axis=1)), 1.0) / customers.sum()
    mean = np.log((sales.sum() + 0.5) / (chosen[:, -1].sum() + 0.5) / choices)

    def climbed(u: Floats) -> float:
        return _log_lik(offered, chosen, u) - ridge / 2 * float(((u - mean) ** 2).sum())

    u = np.full(offered.shape[1], mean)
    for _ in range(200):
        p = np.exp(_log_shares(offered, u))[:, :-1]
        slope = sales - customers @ p - ridge * (u - mean)
        information = np.diag(customers @ p + ridge) - (p * customers[:, None]).T @ p
        step = np.linalg.solve(information, slope)
        now, size = climbed(u), 1.0
        while climbed(u + size * step) < now - 1e-12 * abs(now) and size > 1e-6:
            size /= 2
        u = u + size * step
        if np.abs(step).max() < 1e-9:
            break
    return LogWeights(u, information, _log_lik(offered, chosen, u), ridge)


def _log_shares(offered: NDArray[np.bool_], log_weight: Floats) -> Floats:
    """(S, n + 1) log choice probabilities; -inf where not offered."""
    utility = np.where(offered, log_weight, -np.inf)
    utility = np.column_stack([utility, np.zeros(len(offered))])
    return np.asarray(utility - logsumexp(utility, axis=1, keepdims=True), np.float64)


def _log_lik(offered: NDArray[np.bool_], chosen: NDArray[np.int64], log_weight: Floats) -> float:
    log_p = _log_shares(offered, log_weight)
    return float((chosen * np.where(chosen > 0, log_p, 0.0)).sum())


def _check(weights: ArrayLike, outside: float) -> Floats:
    w = np.asarray(weights, dtype=np.float64)
    if w.ndim != 1:
        raise ValueError(f"weights must be (n,), got {w.shape}")
    bad = np.flatnonzero(~(np.isfinite(w) & (w >= 0)))
    if len(bad):
        raise ValueError(f"product {bad[0]}: weight {w[bad[0]]} is not a finite number >= 0")
    if not (np.isfinite(outside) and outside > 0):
        raise ValueError(f"outside is {outside}; it must be above 0, or nobody ever leaves")
    return w
