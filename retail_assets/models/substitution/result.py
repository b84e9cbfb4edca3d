"""What step 2 hands on: draws of the rates, their summary and their flags."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from retail_assets.models.panel import ChoiceModel, Panel, Rates
from retail_assets.models.substitution.diagnostics import Diagnostics

Flag = Literal["ok", "weak", "unidentified", "prior_only"]

MIN_CUSTOMERS = 20.0
MIN_CONTRACTION = 0.1
WEAK_BELOW = 0.5


@dataclass(frozen=True)
class Summary:
    """Mean, standard deviation and quantiles of draws along their first axis."""

    mean: NDArray[np.float64]
    sd: NDArray[np.float64]
    q025: NDArray[np.float64]
    q50: NDArray[np.float64]
    q975: NDArray[np.float64]

    @staticmethod
    def of(draws: NDArray[np.float64]) -> Summary:
        low, mid, high = np.quantile(draws, [0.025, 0.5, 0.975], axis=0)
        return Summary(draws.mean(axis=0), draws.std(axis=0), low, mid, high)


@dataclass(frozen=True)
class SubstitutionPosterior:
    """Posterior of a category's demand and substitution rates.

    Substitution is kept per pair, so that 1,000 products x 8 candidates do not become
    a million rates a draw.

    Parameters
    ----------
    products, store_ids : tuple of str
    arrival_rate : (D, S, n) float64
        λ: first-choice transactions per trading interval at weight 1.
    source, target : (E,) int64
        Pairs; ``target = n`` is 'none' (the customer leaves).
    pair_rate : (D, E) float64
        Share of ``source``'s customers who go to ``target``. A row sums to 1 with 'none';
        beyond 15 products the rest went to targets too uncertain to be named.
    demand : Summary of (S, n) arrays
    substitution : Summary of (E,) arrays
    n_oos_customers : (E,) float64
        Expected customers who wanted the source while it was out.
    contraction : (E,) float64
        1 - posterior sd / prior sd (beyond 15 products: given that the pair exists).
    flag : tuple of str, one per pair
        ok; weak (contraction < .5); unidentified (fewer than 20 customers or
        contraction < .1); prior_only (unidentified, but somebody supplied a prior).
    diagnostics : Diagnostics
    alternative : SubstitutionPosterior or None
        The same under the other choice model, where the hold-out cannot tell.
    """

    products: tuple[str, ...]
    store_ids: tuple[str, ...]
    arrival_rate: NDArray[np.float64]
    source: NDArray[np.int64]
    target: NDArray[np.int64]
    pair_rate: NDArray[np.float64]
    demand: Summary
    substitution: Summary
    n_oos_customers: NDArray[np.float64]
    contraction: NDArray[np.float64]
    flag: tuple[Flag, ...]
    diagnostics: Diagnostics
    alternative: SubstitutionPosterior | None = None

    @staticmethod
    def of(
        panel: Panel,
        arrival_rate: NDArray[np.float64],
        pairs: tuple[NDArray[np.int64], NDArray[np.int64]],
        pair_rate: NDArray[np.float64],
        *,
        exposure_out: NDArray[np.float64],
        contraction: NDArray[np.float64],
        informed: NDArray[np.bool_],
        diagnostics: Diagnostics,
    ) -> SubstitutionPosterior:
        """Draws with their summary and flags.

        Parameters
        ----------
        pairs : source and target, (E,) int64 each
        exposure_out : (S, n) float64
            Exposure during which each product was out.
        informed : (E,) bool
            Pairs with a prior of their own.
        """
        source, target = pairs
        demand = Summary.of(arrival_rate)
        customers = (demand.mean * exposure_out).sum(axis=0)[source]
        return SubstitutionPosterior(
            products=panel.products,
            store_ids=tuple(store.store_id for store in panel.stores),
            arrival_rate=arrival_rate,
            source=source,
            target=target,
            pair_rate=pair_rate,
            demand=demand,
            substitution=Summary.of(pair_rate),
            n_oos_customers=customers,
            contraction=contraction,
            flag=flags(customers, contraction, informed),
            diagnostics=diagnostics,
        )

    @property
    def choice_model(self) -> ChoiceModel:
        return self.diagnostics.choice_model

    @property
    def n_draws(self) -> int:
        return len(self.pair_rate)

    @property
    def substitution_rate(self) -> NDArray[np.float64]:
        """(D, n, n) dense draws; meant for small categories."""
        n = len(self.products)
        dense = np.zeros((self.n_draws, n, n + 1))
        dense[:, self.source, self.target] = self.pair_rate
        return dense[:, :, :n]

    def rates(self, draw: int) -> Rates:
        """One draw, ready for a simulation."""
        n = len(self.products)
        dense = np.zeros((n, n + 1))
        dense[self.source, self.target] = self.pair_rate[draw]
        return Rates(self.arrival_rate[draw], dense[:, :n], self.choice_model)


def flags(
    n_oos_customers: NDArray[np.float64],
    contraction: NDArray[np.float64],
    informed: NDArray[np.bool_],
) -> tuple[Flag, ...]:
    """The flag of each pair; see `SubstitutionPosterior`."""

    def one(customers: float, shrunk: float, known: bool) -> Flag:
        if customers < MIN_CUSTOMERS or shrunk < MIN_CONTRACTION:
            return "prior_only" if known else "unidentified"
        return "weak" if shrunk < WEAK_BELOW else "ok"

    return tuple(
        one(float(c), float(s), bool(k))
        for c, s, k in zip(n_oos_customers, contraction, informed, strict=True)
    )
