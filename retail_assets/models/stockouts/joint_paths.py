"""Whole status paths of a category, products drawn in turn given each other.

While a product is out, its substitutes sell more. One product's own receipts say
little about short outages (a bar with 2 lost customers per outage); its substitutes'
receipts are evidence too. Paths drawn product by product from the average inflow
ignore that evidence, and rates fitted to them are biased: in ``paper_money`` the
share of a's customers who take e came out at .18 instead of .65. So each product's
path is drawn here by forward filtering and backward sampling given the current paths
of all others, with the likelihood of everybody's sales: a Gibbs sampler whose other
half is step 2's draw of the rates (`substitution.posterior` calls it in turn).

P(run out | sale) and the restock hazard of every product are redrawn along the way;
the former by phase of the delivery rhythm or by what was sold since the last restock,
whichever makes the receipts likelier (`sold_since`).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from retail_assets.models.choice.markov_chain import choice_rates
from retail_assets.models.panel import Rates, Spans, StorePanel
from retail_assets.models.stockouts.hidden_markov import HmmParams
from retail_assets.models.stockouts.kernels import zero_probability
from retail_assets.models.stockouts.sold_since import (
    MAX_SOLD,
    sample_path,
    sold_since_restock,
)
from retail_assets.models.stockouts.status import StatusFit
from retail_assets.models.substitution.em import fit_em
from retail_assets.models.substitution.patterns import availability_statistics

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

MAX_PRODUCTS = 15
# Pseudo-events at the fitted hazards: enough for a phase without an event of its own.
STRENGTH = 0.5
MAX_AFTER_SALE = 0.999
# Sweeps before the first path is handed out where run-outs follow sales.
WARM_UP = 30
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
    hazard: Floats
    known: bool
    # Candidates for P(run out | sale): (phases, 1), or (1, K + 1) by sales since the restock.
    after_sale: list[Floats]

    @property
    def follows_sales(self) -> bool:
        """P(run out | sale) goes by the sales since the restock."""
        return bool(self.after_sale[0].shape[1] > 1)

    def row(self, after_sale: Floats) -> NDArray[np.int16]:
        """(T,) row of a table of P(run out | sale) that holds in each interval."""
        return self.phase if len(after_sale) > 1 else np.zeros_like(self.phase)


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
        self._rates = fit.rates
        self._stores: list[_Store] = []

    def __call__(self, rng: np.random.Generator, rates: Rates | None) -> list[Spans]:
        """One path per store given all receipts, the rates and the last paths."""
        if not self._stores:
            self._start(rng)
        return self._sweep(rng, rates or self._rates, self._sweeps)

    def _start(self, rng: np.random.Generator) -> None:
        """Sampled paths, then sweeps in turn with step 2's EM while run-outs by sales settle.

        Spells of P(out) > .5 would start it with half the outages of a slow seller.
        """
        panel = self._fit.panel
        drawn = self._fit.sample_out(rng)
        for number, (store, out) in enumerate(zip(panel.stores, drawn, strict=True)):
            self._stores.append(_Store(self._fit, number, store, out, self._redraw_hazards))
        if not self._redraw_hazards:
            return
        out_of = self._sweep(rng, self._rates, 1)
        if not any(p.follows_sales for store in self._stores for p in store.products):
            return
        for _ in range(WARM_UP):
            statistics = availability_statistics(
                panel, out_of, self._fit.weight, arrival_rate=self._rates.arrival_rate
            )
            self._rates = fit_em(statistics, start=self._rates).rates
            out_of = self._sweep(rng, self._rates, 1)

    def _sweep(self, rng: np.random.Generator, rates: Rates, sweeps: int) -> list[Spans]:
        for _ in range(sweeps):
            for number, store in enumerate(self._stores):
                store.sweep(rng, rates, number, self._redraw_hazards)
        return [store.spans() for store in self._stores]


class _Store:
    """One store's products and their current joint path."""

    def __init__(
        self, fit: StatusFit, number: int, store: StorePanel, out: Spans, redraw_hazards: bool
    ) -> None:
        status = fit.stores[number]
        self.weight = status.weight
        self.outside = [store.unlisted(j) for j in range(fit.panel.n_products)]
        self.products = [_product(fit, number, store, j) for j in range(fit.panel.n_products)]
        # Bit j of an interval's code: product j is out at its start.
        self.code = np.zeros(store.n_intervals, np.int64)
        for j, product in enumerate(self.products):
            own = out.mask(j, store.n_intervals)
            self.code |= own.astype(np.int64) << j
            if redraw_hazards:
                _add_by_sales(product, own)

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
            drawn = [
                sample_path(
                    product.counts,
                    zero,
                    mean,
                    product.hazard[product.phase],
                    after_sale,
                    product.row(after_sale),
                    params.dispersion,
                    params.out_otherwise,
                    params.initial_out,
                    rng.random(len(mean) + 1),
                )
                for after_sale in product.after_sale
            ]
            # Two candidates in the first sweep only; they differ by hundreds of nats.
            best = int(np.argmax([log_lik for _, log_lik in drawn]))
            product.after_sale, out = [product.after_sale[best]], drawn[best][0]
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
    after_sale = np.array(status.params.out_after_sale)[:, None]
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
        hazard,
        known,
        [after_sale],
    )


def _add_by_sales(product: _Product, out: NDArray[np.bool_]) -> None:
    """Offer P(run out | sale) by sales since the restock; alone where there is no rhythm."""
    events, chances = _run_outs(product, out, sold_since_restock(product.counts, out), MAX_SOLD + 1)
    mean = product.prior[0]
    table = ((STRENGTH * mean + events) / (STRENGTH + chances))[None]
    kept = product.after_sale if len(product.hazard) > 1 else []
    product.after_sale = [*kept, np.clip(table, 1e-9, MAX_AFTER_SALE)]


def _run_outs(
    product: _Product, out: NDArray[np.bool_], kind: NDArray[np.integer], size: int
) -> tuple[Ints, Ints]:
    """Sales that emptied the shelf, and transactions that might have, by kind of interval."""
    began = np.flatnonzero(out[1:] & ~out[:-1])
    began = began[product.counts[began] > 0]
    events = np.bincount(kind[began], minlength=size)
    sold = np.bincount(kind[product.interval], product.transactions, minlength=size)
    return events, np.maximum(sold, events)


def _redraw(product: _Product, out: NDArray[np.bool_], rng: np.random.Generator) -> None:
    """P(run out | sale) and restock hazard given the path: Beta draws."""
    (after_sale,) = product.after_sale
    follows = product.follows_sales
    kind = sold_since_restock(product.counts, out) if follows else product.phase
    drawn = _beta(*_run_outs(product, out, kind, after_sale.size), product.prior[0], rng)
    product.after_sale = [np.clip(drawn, 1e-9, MAX_AFTER_SALE).reshape(after_sale.shape)]
    n_phases = len(product.hazard)
    ended = np.flatnonzero(out[:-1] & ~out[1:]) + 1
    waited = np.flatnonzero(out[:-1]) + 1
    restocks, waits = (np.bincount(product.phase[at], minlength=n_phases) for at in (ended, waited))
    drawn = _beta(restocks, waits, product.prior[1], rng)
    # A phase without restocks in the model (off the calendar) stays without.
    product.hazard = np.where(product.hazard > 0, np.clip(drawn, 1e-7, 1 - 1e-7), 0.0)


def _beta(events: Ints, chances: Ints, mean: float, rng: np.random.Generator) -> Floats:
    return rng.beta(STRENGTH * mean + events, STRENGTH * (1 - mean) + chances - events)


def _compress(codes: Ints, size: int) -> tuple[Ints, Ints]:
    """The distinct codes, and the row of each interval among them."""
    seen = np.bincount(codes, minlength=size) > 0
    return np.flatnonzero(seen), (np.cumsum(seen) - 1)[codes]
