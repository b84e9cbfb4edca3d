"""Choice models from known assortments: what was offered, and what each customer bought.

Two fits of the same data. `fit_mnl` is the multinomial logit, by concave maximum likelihood.
`fit_chain` is the Markov chain, by the EM of Şimşek & Topaloglu (2018, §3) under a Dirichlet
prior centred on the fitted logit: where the data cannot tell, the chain *is* the logit. How
strongly it is pulled there is chosen by cross-validation, and one choice is all the way.

Sales from which nobody knows what was on offer are `models.substitution`.
"""

from __future__ import annotations

from collections.abc import Collection, Hashable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from retail_assets.models.choice.markov_chain import check_rates
from retail_assets.models.choice.mnl import LogWeights, MnlFit, fit_log_weights, mnl_chain

Floats = NDArray[np.float64]

STRENGTHS = (np.inf, 1000.0, 300.0, 100.0, 30.0, 10.0, 3.0, 1.0, 0.3)
"""Pseudo-customers tried, from the logit itself down to hardly any per product."""


@dataclass(frozen=True)
class OfferSets:
    """Customers by what they were offered.

    Parameters
    ----------
    products : tuple of n
        Ids, in the order of the columns.
    offered : (S, n) bool
        Distinct offer sets.
    chosen : (S, n + 1) int64
        Customers by what they bought; those who bought nothing are the LAST column.
    """

    products: tuple[Hashable, ...]
    offered: NDArray[np.bool_]
    chosen: NDArray[np.int64]

    def __post_init__(self) -> None:
        n, sets = len(self.products), len(self.offered)
        if len(set(self.products)) < n:
            twice = next(p for p in self.products if self.products.count(p) > 1)
            raise ValueError(f"product {twice} is listed twice; list it once")
        if self.offered.shape != (sets, n) or self.chosen.shape != (sets, n + 1):
            raise ValueError(
                f"offered must be (S, {n}) and chosen (S, {n + 1}), got "
                f"{self.offered.shape} and {self.chosen.shape}"
            )
        for wrong, what in (
            (self.chosen[:, :n] < 0, "chosen by fewer than 0 customers"),
            ((self.chosen[:, :n] > 0) & ~self.offered, "chosen but not offered"),
        ):
            row, product = np.unravel_index(int(wrong.argmax()), wrong.shape)
            if wrong.any():
                raise ValueError(f"product {self.products[product]}: {what} in offer set {row}")
        if (self.chosen[:, n] < 0).any():
            lowest = self.chosen[:, n].argmin()
            raise ValueError(f"offer set {lowest}: fewer than 0 customers bought nothing")
        if len(np.unique(self.offered, axis=0)) < sets:
            raise ValueError("an offer set is listed twice; add up its customers")

    @classmethod
    def from_transactions(
        cls,
        offered: Sequence[Collection[Hashable]],
        chosen: Sequence[Hashable | None],
        products: Sequence[Hashable] | None = None,
    ) -> OfferSets:
        """From one offer and one choice per customer.

        Parameters
        ----------
        offered : N collections of product ids
            Without an id for buying nothing, which is always possible.
        chosen : N product ids
            None where the customer bought nothing.
        products : sequence of product ids, optional
            The columns. Default: all products offered, sorted.

        Raises
        ------
        ValueError
            A choice that was not offered, or a product that is not listed; names the
            transaction, counted from 0, and the product.
        """
        if len(offered) != len(chosen):
            raise ValueError(f"{len(offered)} offers for {len(chosen)} choices")
        everything = set().union(*offered)
        names = tuple(sorted(everything, key=str) if products is None else products)
        place = {product: column for column, product in enumerate(names)}
        rows: dict[frozenset[Hashable], int] = {}
        cells = np.zeros((len(chosen), 2), np.int64)
        for customer, (offer, choice) in enumerate(zip(offered, chosen, strict=True)):
            unknown = [product for product in offer if product not in place]
            if unknown:
                raise ValueError(
                    f"transaction {customer}: product {unknown[0]} is offered but not listed"
                )
            if choice is not None and choice not in offer:
                raise ValueError(
                    f"transaction {customer}: product {choice} is chosen but not offered"
                )
            column = len(names) if choice is None else place[choice]
            cells[customer] = rows.setdefault(frozenset(offer), len(rows)), column
        here = np.array([[product in row for product in names] for row in rows], bool)
        counts = np.zeros((len(rows), len(names) + 1), np.int64)
        np.add.at(counts, (cells[:, 0], cells[:, 1]), 1)
        return cls(names, here.reshape(len(rows), len(names)), counts)


@dataclass(frozen=True)
class ChainFit:
    """A fitted Markov chain.

    Parameters
    ----------
    products : tuple of n
    first_choice : (n,) float64
        λ, shares of all customers; what is missing to 1 wants nothing.
    substitution_rate : (n, n) float64
        ρ: where a customer who finds the row's product out goes next.
    log_lik : float
        Of the data the chain was fitted to, without multinomial constants.
    shrinkage : float
        Pseudo-customers per product who behave as the logit says; inf is the logit.
    held_out : dict of float to float
        Cross-validated log-likelihood of each strength tried; empty if there was nothing to choose.
    found_out : (n,) float64
        Expected customers who wanted the product while it was not offered: the evidence
        behind its row.
    unidentified : (n,) bool
        Always offered: nobody saw where its customers go. Its row is the logit's guess.
    log_posterior : (iterations + 1,) float64
        What EM climbs, up to a constant.
    converged : bool
    iterations : int
    """

    products: tuple[Hashable, ...]
    first_choice: Floats
    substitution_rate: Floats
    log_lik: float
    shrinkage: float
    held_out: dict[float, float]
    found_out: Floats
    unidentified: NDArray[np.bool_]
    log_posterior: Floats
    converged: bool
    iterations: int


def fit_mnl(sets: OfferSets) -> MnlFit:
    """The logit of greatest likelihood, by Newton steps on log weights (concave).

    There is no greatest likelihood where a product is never chosen, or where some products
    are always chosen over all others (Ford 1957). Then, and only then, log weights are pulled
    by a weak ridge towards their mean, and ``ridge`` says so.

    Raises
    ------
    ValueError
        No customers, or a product that was never offered.
    """
    _check_offered(sets)
    fit = fit_log_weights(sets.offered, sets.chosen)
    never = np.flatnonzero(sets.chosen[:, :-1].sum(axis=0) == 0)
    return MnlFit(
        sets.products,
        np.exp(fit.log_weight),
        np.sqrt(np.diag(np.linalg.inv(fit.information))),
        fit.log_lik,
        fit.ridge,
        tuple(sets.products[j] for j in never),
    )


def fit_chain(
    sets: OfferSets,
    *,
    strengths: Sequence[float] = STRENGTHS,
    folds: int = 10,
    max_iterations: int = 5000,
    tolerance: float = 1e-9,
) -> ChainFit:
    """The Markov chain of greatest posterior, shrunk to the logit as far as pays.

    Row ``i`` of ρ and λ have Dirichlet priors with ``strength`` pseudo-customers who behave
    as the fitted logit. EM fills in each customer's unseen walk given the purchase, and its
    updates are ratios of customers (Şimşek & Topaloglu 2018, §3).

    Parameters
    ----------
    sets : OfferSets
    strengths : sequence of float
        Pseudo-customers to choose from, all above 0: without any, products that nobody was
        seen to leave hand customers to each other for ever. One strength is not chosen.
    folds : int
        Offer sets are dealt into so many folds, the largest first (at most one fold each);
        the strongest strength within one standard error of the one that best predicts
        the sets left out is taken. The logit is fitted anew without them. One offer set
        alone shows no substitution: the strongest.
    max_iterations : int
    tolerance : float
        Stop when a step raises the log posterior by less than this share.

    Raises
    ------
    ValueError
        No customers, a product never offered, or a strength that is none.
    """
    _check_offered(sets)
    tried = sorted({float(strength) for strength in strengths}, reverse=True)
    if not tried or not all(strength > 0 for strength in tried):
        raise ValueError(f"strengths {tuple(strengths)} must be one or more numbers above 0")
    stop = (max_iterations, tolerance)
    if folds < 2:
        raise ValueError(f"folds must be at least 2, got {folds}")
    seen = sets.chosen.sum(axis=1) > 0
    offered, chosen = sets.offered[seen], sets.chosen[seen]
    strength, held_out = tried[0], dict[float, float]()
    if len(tried) > 1 and len(offered) > 1:
        by_fold = _cross_validate(offered, chosen, tried, folds, stop)
        strength = tried[_strongest(by_fold)]
        held_out = dict(zip(tried, by_fold.sum(axis=0).tolist(), strict=True))
    prior = _Chain.of_logit(fit_log_weights(offered, chosen))
    chain, trace, converged = _climb(offered, chosen, prior, prior, strength, *stop)
    step = _expect(offered, chosen, chain)
    return ChainFit(
        sets.products,
        chain.first[:-1],
        chain.row[:, :-1],
        step.log_lik,
        strength,
        held_out,
        step.found_out,
        offered.all(axis=0),
        np.array(trace),
        converged,
        len(trace) - 1,
    )


def log_likelihood(sets: OfferSets, first_choice: ArrayLike, substitution_rate: ArrayLike) -> float:
    """Log-likelihood of customers under a chain, without multinomial constants.

    Raises
    ------
    ValueError
        λ or ρ that are no shares, of which too many buy, or products that hand customers to
        each other for ever; names the products.
    """
    names = [str(product) for product in sets.products]
    rate, matrix = check_rates(first_choice, substitution_rate, "markov_chain", names)
    if rate.sum() > 1 + 1e-9:
        raise ValueError(f"first choices of {', '.join(names)} sum to {rate.sum():.6g}, above 1")
    leaves = np.maximum(1.0 - matrix.sum(axis=1, keepdims=True), 0.0)
    first = np.append(rate, max(1.0 - rate.sum(), 0.0))
    return _expect(sets.offered, sets.chosen, _Chain(first, np.hstack([matrix, leaves]))).log_lik


def _check_offered(sets: OfferSets) -> None:
    customers = sets.chosen.sum(axis=1)
    if not customers.sum():
        raise ValueError("no customers: nothing to fit")
    never = np.flatnonzero(~sets.offered[customers > 0].any(axis=0))
    if len(never):
        names = ", ".join(str(sets.products[j]) for j in never)
        raise ValueError(f"products {names} were never offered to anybody; leave them out")


@dataclass(frozen=True)
class _Chain:
    """λ (n + 1,) and ρ (n, n + 1), the last entry buying nothing and leaving."""

    first: Floats
    row: Floats

    @classmethod
    def of_logit(cls, logit: LogWeights) -> _Chain:
        weights = np.exp(logit.log_weight)
        rate, matrix = mnl_chain(weights)
        # Directly, not 1 less the rest: weights of a fold may be large.
        first = np.append(rate, 1.0 / (1.0 + weights.sum()))
        leaves = 1.0 / (1.0 + np.where(np.eye(len(weights)), 0.0, weights).sum(axis=1))
        return cls(first, np.column_stack([matrix, leaves]))


@dataclass(frozen=True)
class _Expected:
    """Expected customers by first choice (n + 1,), by move (n, n + 1) and who found it out."""

    first: Floats
    moves: Floats
    found_out: Floats
    log_lik: float


def _expect(offered: NDArray[np.bool_], chosen: NDArray[np.int64], chain: _Chain) -> _Expected:
    """E step, over all offer sets at once.

    With D the products not offered, walks visit ``v = λ (I - Dρ)^-1``, and P_j = v_j of those
    who come to an offered ``j``. A customer standing at ``i`` is as likely as
    ``b = (I - Dρ)^-1 (N_j / P_j, Dρ_0 N_0 / P_0)`` says to be one of those counted: first
    choices are λ_i b_i, moves from a product out v_i ρ_ij b_j.
    """
    first, matrix, leaves = chain.first, chain.row[:, :-1], chain.row[:, -1]
    out = ~offered
    inverse = np.linalg.inv(np.eye(len(matrix)) - out[:, :, None] * matrix)
    visits = first[:-1] @ inverse
    missed = np.where(out, visits, 0.0)
    p = np.column_stack([np.where(offered, visits, 0.0), first[-1] + missed @ leaves])
    with np.errstate(divide="ignore"):
        log_p = np.log(np.where(chosen > 0, p, 1.0))
    per_share = np.divide(chosen, p, out=np.zeros_like(p), where=chosen > 0)
    ends = np.where(offered, per_share[:, :-1], leaves * per_share[:, -1:])
    standing = (inverse @ ends[:, :, None])[:, :, 0]
    standing = np.column_stack([standing, per_share[:, -1]])
    return _Expected(
        first * standing.sum(axis=0),
        chain.row * (missed.T @ standing),
        chosen.sum(axis=1) @ missed,
        float((chosen * log_p).sum()),
    )


def _climb(
    offered: NDArray[np.bool_],
    chosen: NDArray[np.int64],
    start: _Chain,
    prior: _Chain,
    strength: float,
    max_iterations: int,
    tolerance: float,
) -> tuple[_Chain, list[float], bool]:
    """EM from ``start``: the chain, its log posterior at each step, and whether it settled."""
    if not np.isfinite(strength):
        return prior, [_expect(offered, chosen, prior).log_lik], True
    chain, trace = start, list[float]()
    while True:
        step = _expect(offered, chosen, chain)
        log_prior = (prior.first * np.log(chain.first)).sum()
        # The diagonal is 0 in both and counts nothing.
        log_prior += (prior.row * np.log(np.where(prior.row > 0, chain.row, 1.0))).sum()
        trace.append(step.log_lik + strength * float(log_prior))
        if len(trace) > 1 and trace[-1] - trace[-2] <= tolerance * (abs(trace[-1]) + 1.0):
            return chain, trace, True
        if len(trace) > max_iterations:
            return chain, trace, False
        first, row = step.first + strength * prior.first, step.moves + strength * prior.row
        chain = _Chain(first / first.sum(), row / row.sum(axis=1, keepdims=True))


def _cross_validate(
    offered: NDArray[np.bool_],
    chosen: NDArray[np.int64],
    strengths: list[float],
    folds: int,
    stop: tuple[int, float],
) -> Floats:
    """(folds, strengths) log-likelihood of the offer sets left out; strengths descend.

    Whole offer sets are left out, not single customers, as a plan asks about assortments
    that nobody was offered. There a weak pull can be dear: hotel 4 of `bench.hotels` is
    predicted 37 in log-likelihood worse than by the logit under 0.3 pseudo-customers.
    """
    customers = chosen.sum(axis=1)
    fold = np.empty(len(customers), np.int64)
    # Largest first, then by what is offered: the order of the rows does not matter.
    fold[np.lexsort((*offered.T, -customers))] = np.arange(len(customers)) % folds
    held_out = np.empty((min(folds, len(customers)), len(strengths)))
    for f, row in enumerate(held_out):
        test = fold == f
        train = (offered[~test], chosen[~test])
        chain = prior = _Chain.of_logit(fit_log_weights(*train))
        # From the strongest down: each starts where the last stopped.
        for s, strength in enumerate(strengths):
            chain, _, _ = _climb(*train, chain, prior, strength, *stop)
            row[s] = _expect(offered[test], chosen[test], chain).log_lik
    return held_out


def _strongest(held_out: Floats) -> int:
    """Column of the strongest strength that is within one standard error of the best.

    The error is of the paired difference, over folds (Breiman et al. 1984, §3.4.3): the sets
    left out are few, and a curve of sums over them is bumpy.
    """
    best = int(held_out.sum(axis=0).argmax())
    short = held_out[:, [best]] - held_out
    error = np.sqrt(len(held_out)) * short.std(axis=0, ddof=1)
    return int(np.argmax(short.sum(axis=0) <= error))
