"""Whole status paths of a category, products drawn in turn given each other.

While a product is out, its substitutes sell more. One product's own receipts say
little about short outages (a bar with 2 lost customers per outage); its substitutes'
receipts are evidence too. Paths drawn product by product from the average inflow
ignore that evidence, and rates fitted to them are biased: in ``paper_money`` the
share of a's customers who take e came out at .18 instead of .65. So each product's
path is drawn here by forward filtering and backward sampling given the current paths
of all others, with the likelihood of everybody's sales: a Gibbs sampler whose other
half is step 2's draw of the rates (`substitution.posterior` calls it in turn).

P(run out | sale) and the restock hazard of every product are redrawn along the way.
"""

from __future__ import annotations

from dataclasses import dataclass

import numba
import numpy as np
from numpy.typing import NDArray

from retail_assets.models.choice.markov_chain import choice_rates
from retail_assets.models.panel import Rates, Spans, StorePanel
from retail_assets.models.stockouts.hidden_markov import HmmParams
from retail_assets.models.stockouts.kernels import backward, emit, zero_probability
from retail_assets.models.stockouts.status import StatusFit

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

MAX_PRODUCTS = 15
# Pseudo-events at the fitted hazards: enough for a phase without an event of its own.
STRENGTH = 0.5
# One interval's evidence, in nats; beyond this it decides alone anyway.
MAX_EVIDENCE = 30.0


@dataclass
class _Product:
    """One product's data and the state of its chain."""

    counts: NDArray[np.int32]
    interval: NDArray[np.int32]
    transactions: NDArray[np.int32]
    phase: NDArray[np.int16]
    params: HmmParams
    prior: Floats
    after_sale: Floats
    hazard: Floats
    known: bool


class JointPaths:
    """A sampler of status paths, to be called in turn with draws of the rates.

    Parameters
    ----------
    fit : StatusFit
        Gives the demand level, the rhythm of deliveries, the starting paths.
    sweeps : int
        Passes over all products per call.
    redraw_hazards : bool
        False keeps P(run out | sale) and the restock hazards as fitted.

    Raises
    ------
    ValueError
        More than 15 products: availability patterns would outnumber the data.
    """

    def __init__(self, fit: StatusFit, *, sweeps: int = 1, redraw_hazards: bool = True) -> None:
        if fit.panel.n_products > MAX_PRODUCTS:
            raise ValueError(
                f"joint paths hold up to {MAX_PRODUCTS} products, got {fit.panel.n_products}; "
                "draw them product by product with StatusFit.sample_out"
            )
        self._fit, self._sweeps, self._redraw_hazards = fit, sweeps, redraw_hazards
        self._stores = [_Store(fit, number, store) for number, store in enumerate(fit.panel.stores)]

    def __call__(self, rng: np.random.Generator, rates: Rates | None) -> list[Spans]:
        """One path per store given all receipts, the rates and the last paths."""
        rates = self._fit.rates if rates is None else rates
        for _ in range(self._sweeps):
            for number, store in enumerate(self._stores):
                store.sweep(rng, rates, number, self._redraw_hazards)
        return [store.spans() for store in self._stores]


class _Store:
    """One store's products and their current joint path."""

    def __init__(self, fit: StatusFit, number: int, store: StorePanel) -> None:
        status = fit.stores[number]
        self.weight = status.weight
        self.outside = [store.unlisted(j) for j in range(fit.panel.n_products)]
        self.products = [_product(fit, number, store, j) for j in range(fit.panel.n_products)]
        # Bit j of an interval's code: product j is out at its start.
        self.code = np.zeros(store.n_intervals, np.int64)
        out = status.out()
        for j in range(fit.panel.n_products):
            self.code |= out.mask(j, store.n_intervals).astype(np.int64) << j

    def sweep(
        self, rng: np.random.Generator, rates: Rates, number: int, redraw_hazards: bool
    ) -> None:
        """Draw every product's path once, given the others'."""
        for j, product in enumerate(self.products):
            if product.known:
                continue
            others = self.code & ~(1 << j)
            mean, evidence = self._weigh(rates, number, j, others)
            params = product.params
            # Evidence for `out` in an interval without a sale is evidence against `in`.
            zero = zero_probability(mean, params.dispersion) * np.exp(-evidence)
            out = _sample(
                product.counts,
                zero,
                mean,
                product.hazard[product.phase],
                product.after_sale[product.phase],
                params.dispersion,
                params.out_otherwise,
                params.initial_out,
                rng.random(len(mean)),
            )
            unlisted = self.outside[j]
            if unlisted is not None:
                out[unlisted] = False
            self.code = others | (out.astype(np.int64) << j)
            if redraw_hazards:
                _redraw(product, out, rng)

    def _weigh(self, rates: Rates, number: int, j: int, others: Ints) -> tuple[Floats, Floats]:
        """Product j's mean sales if in stock, and log odds of the others' sales if it is out."""
        n = len(self.products)
        present, row = _compress(others, 1 << n)
        out = (present[:, None] >> np.arange(n)) & 1 > 0
        pair = np.stack([out, out])
        pair[1, :, j] = True
        without, with_out = choice_rates(
            rates.arrival_rate[number], rates.substitution_rate, ~pair, rates.choice_model
        )
        own = without[:, j].copy()
        without[:, j] = with_out[:, j] = 0.0
        more = with_out - without
        evidence = -self.weight * more.sum(axis=1)[row]
        for k, outside in enumerate(self.outside):
            if outside is not None:  # what is not in the range cannot sell more
                evidence[outside] += self.weight[outside] * more[row[outside], k]
        both = (without > 0) & (with_out > 0)
        gain = np.log(np.where(both, with_out, 1.0) / np.where(both, without, 1.0))
        for k, other in enumerate(self.products):
            if k != j:
                at = other.interval
                evidence[at] += other.transactions * gain[row[at], k]
        mean = self.weight * own[row]
        unlisted = self.outside[j]
        if unlisted is not None:
            mean[unlisted] = evidence[unlisted] = 0.0
        return mean, np.clip(evidence, -MAX_EVIDENCE, MAX_EVIDENCE)

    def spans(self) -> Spans:
        parts = []
        for j in range(len(self.products)):
            edges = np.diff(self.code >> j & 1, prepend=0, append=0)
            parts.append((np.flatnonzero(edges > 0), np.flatnonzero(edges < 0)))
        return Spans.join(parts)


def _product(fit: StatusFit, number: int, store: StorePanel, j: int) -> _Product:
    status = fit.stores[number].products[j]
    series = fit.series(number, j)
    after_sale = np.array(status.params.out_after_sale)
    hazard = np.array(status.params.restock_hazard)
    prior = np.array([status.out_after_sale, status.restock_hazard])
    interval, transactions = store.sales(j)
    known = status.method == "rule"
    return _Product(
        series.counts,
        interval,
        transactions,
        series.phase,
        status.params,
        np.clip(prior, 1e-6, 1 - 1e-6),
        after_sale,
        hazard,
        known,
    )


def _redraw(product: _Product, out: NDArray[np.bool_], rng: np.random.Generator) -> None:
    """P(run out | sale) and restock hazard of each phase given the path: Beta draws."""
    n_phases = len(product.hazard)
    began = np.flatnonzero(out[1:] & ~out[:-1])
    began = began[product.counts[began] > 0]
    ended = np.flatnonzero(out[:-1] & ~out[1:]) + 1
    waited = np.flatnonzero(out[:-1]) + 1
    events = np.array([_by_phase(product.phase, at, n_phases) for at in (began, ended)])
    sold = np.bincount(product.phase[product.interval], product.transactions, minlength=n_phases)
    chances = np.array([sold, _by_phase(product.phase, waited, n_phases)])
    mean = product.prior[:, None]
    drawn = rng.beta(
        STRENGTH * mean + events, STRENGTH * (1 - mean) + np.maximum(chances - events, 0)
    )
    product.after_sale = np.clip(drawn[0], 1e-9, 0.9)
    # A phase without restocks in the model (off the calendar) stays without.
    product.hazard = np.where(product.hazard > 0, np.clip(drawn[1], 1e-7, 1 - 1e-7), 0.0)


def _by_phase(phase: NDArray[np.int16], at: Ints, n_phases: int) -> Ints:
    return np.bincount(phase[at], minlength=n_phases)


def _compress(codes: Ints, size: int) -> tuple[Ints, Ints]:
    """The distinct codes, and the row of each interval among them."""
    seen = np.bincount(codes, minlength=size) > 0
    return np.flatnonzero(seen), (np.cumsum(seen) - 1)[codes]


@numba.njit(cache=True)
def _sample(counts, zero, mean, hazard, after_sale, dispersion, otherwise, initial_out, uniform):  # type: ignore[no-untyped-def]
    """(T,) status drawn forward behind a backward filter; `kernels.sample_path` with evidence."""
    n = len(counts)
    later = backward(counts, zero, mean, hazard, after_sale, dispersion, otherwise)
    path = np.empty(n, np.bool_)
    w_in, w_out = (1.0 - initial_out) * (1.0 - later[0]), initial_out * later[0]
    path[0] = uniform[0] * (w_in + w_out) < w_out
    for t in range(n - 1):
        stay, go, gone = emit(counts[t], zero[t], mean[t], dispersion, after_sale[t], otherwise)
        from_here, kept = (gone, 0.0) if path[t] else (go, stay)
        to_out = from_here * (1.0 - hazard[t + 1]) * later[t + 1]
        to_in = (from_here * hazard[t + 1] + kept) * (1.0 - later[t + 1])
        path[t + 1] = uniform[t + 1] * (to_in + to_out) < to_out
    return path
