"""What step 1 hands on: run-length status per store x product, and whole sampled paths."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from retail_assets.models.panel import Panel, Rates, Spans, StorePanel
from retail_assets.models.stockouts.hidden_markov import (
    HmmParams,
    Series,
    Smoothed,
    sample_paths,
    smooth,
)
from retail_assets.models.stockouts.profile import DemandLevel
from retail_assets.models.stockouts.rhythm import Rhythm, calendar_phases
from retail_assets.models.stockouts.soft_spans import SoftSpans, hard_runs
from retail_assets.models.stockouts.zero_runs import ZeroRuns

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Method = Literal["hmm", "rule"]

# Flows below this share of the receiver's own rate are left out of its inflow.
NEGLIGIBLE_FLOW = 0.002


@dataclass(frozen=True)
class StatusSpans:
    """Alternating spells in and out of stock that cover all T intervals; arrays are (m,).

    Parameters
    ----------
    start, stop : int64
    out : bool
        Status of the spell: P(out) > .5.
    p_out_mean, p_out_start, p_out_end : float64
        P(out of stock) over the spell, and in its first and last interval.
    rule_neglog10_p : float64
        -log10 P of the least likely run without a sale that meets the spell.
    """

    start: Ints
    stop: Ints
    out: NDArray[np.bool_]
    p_out_mean: Floats
    p_out_start: Floats
    p_out_end: Floats
    rule_neglog10_p: Floats

    @staticmethod
    def of(p_out: Floats, test: ZeroRuns) -> StatusSpans:
        """Run-length coding of one product's (T,) probability."""
        out_start, out_stop = hard_runs(p_out)
        edges = np.unique(np.concatenate([[0, len(p_out)], out_start, out_stop])).astype(np.int64)
        start, stop = edges[:-1], edges[1:]
        total = np.concatenate([[0.0], np.cumsum(p_out)])
        worst = np.zeros(len(start))
        first = np.searchsorted(stop, test.start, side="right")
        last = np.searchsorted(start, test.stop, side="left")
        for run, (a, b) in enumerate(zip(first, last, strict=True)):
            worst[a:b] = np.maximum(worst[a:b], test.neglog10_p[run])
        return StatusSpans(
            start,
            stop,
            p_out[start] > 0.5,
            (total[stop] - total[start]) / (stop - start),
            p_out[start],
            p_out[stop - 1],
            worst,
        )

    @property
    def n_intervals(self) -> Ints:
        return self.stop - self.start

    def within(self, first: int, stop: int) -> StatusSpans:
        """The part in which the product was in the range."""
        kept = (self.stop > first) & (self.start < stop)
        values = {f.name: getattr(self, f.name)[kept] for f in fields(self)}
        values["start"] = np.maximum(values["start"], first)
        values["stop"] = np.minimum(values["stop"], stop)
        return StatusSpans(**values)


@dataclass(frozen=True)
class ProductStatus:
    """One product in one store.

    Parameters
    ----------
    params : HmmParams
    out_after_sale, restock_hazard : float
        Mean of the phases of ``params``: run-outs per transaction, restocks per wait.
    spans : StatusSpans
    soft : SoftSpans
        P(out) as sparse segments.
    method : {"hmm", "rule"}
        "rule" where there are too few sales to fit a model to.
    low_power : bool
        Outages miss too few sales for receipts to tell: believe ``p_out``, not ``out``.
    expected_sales_per_outage : float
        m = own transactions missed per outage; nan when none was seen.
    log_lik, share_out : float
    converged : bool
    """

    params: HmmParams
    out_after_sale: float
    restock_hazard: float
    spans: StatusSpans
    soft: SoftSpans
    method: Method
    low_power: bool
    expected_sales_per_outage: float
    log_lik: float
    share_out: float
    converged: bool


@dataclass(frozen=True)
class StoreStatus:
    """All products of one store, and how busy its intervals are."""

    store_id: str
    level: DemandLevel
    products: tuple[ProductStatus, ...]
    rhythms: tuple[Rhythm | None, ...]

    @property
    def weight(self) -> Floats:
        """(T,) demand level, mean 1."""
        return self.level.weight

    def out(self) -> Spans:
        """Spans out of stock by P(out) > .5."""
        return Spans.join(
            [(p.spans.start[p.spans.out], p.spans.stop[p.spans.out]) for p in self.products]
        )

    def soft(self) -> tuple[Spans, Floats]:
        """P(out) of all products as sparse segments in CSR form, and the value of each."""
        parts = [product.soft for product in self.products]
        spans = Spans.join([(part.start, part.stop) for part in parts])
        return spans, np.concatenate([part.p_out for part in parts])


@dataclass(frozen=True)
class StatusFit:
    """Status of every store x product of a category, and the rates found on the way.

    Parameters
    ----------
    panel : Panel
        What was fitted.
    stores : one StoreStatus per store
    rates : Rates
        Point estimates of step 2's EM at the last sweep.
    sweeps : int
    converged : bool
    """

    panel: Panel
    stores: tuple[StoreStatus, ...]
    rates: Rates
    sweeps: int
    converged: bool

    @property
    def weight(self) -> list[Floats]:
        """(T,) demand level of each store."""
        return [store.weight for store in self.stores]

    def out(self) -> list[Spans]:
        """Most likely spans out of stock of each store."""
        return [store.out() for store in self.stores]

    def series(self, store: int, product: int) -> Series:
        """One product's series as its model saw it at the last sweep."""
        own = self.stores[store]
        return lay_out(
            self.panel.stores[store],
            own.weight,
            [p.soft for p in own.products],
            self.rates.arrival_rate[store],
            self.rates.substitution_rate,
            own.rhythms[product],
            product,
        )

    def smoothed(self, store: int, product: int) -> Smoothed:
        """P(out) of one product at every interval."""
        return smooth(self.series(store, product), self.stores[store].products[product].params)

    def sample_out(self, rng: np.random.Generator) -> list[Spans]:
        """One whole status path per store x product, given all sales.

        Paths of different products are drawn independently, given the mean inflow.
        """
        return [
            Spans.join([self._draw(s, j, rng) for j in range(self.panel.n_products)])
            for s in range(len(self.stores))
        ]

    def _draw(self, store: int, product: int, rng: np.random.Generator) -> tuple[Ints, Ints]:
        status = self.stores[store].products[product]
        if status.method == "rule":
            out = status.spans.out
            return status.spans.start[out], status.spans.stop[out]
        return sample_paths(self.series(store, product), status.params, 1, rng)[0]


def lay_out(
    store: StorePanel,
    weight: Floats,
    soft: list[SoftSpans],
    arrival_rate: Floats,
    substitution_rate: Floats,
    rhythm: Rhythm | None,
    product: int,
) -> Series:
    """One product's series with the inflow expected from the others' P(out)."""
    inflow = np.zeros(store.n_intervals)
    flow = arrival_rate * substitution_rate[:, product]
    flow[product] = 0.0
    for i in np.flatnonzero(flow > NEGLIGIBLE_FLOW * arrival_rate[product]):
        soft[i].add_to(inflow, float(flow[i]))
    series = Series.of(*store.sales(product), on_sale(store, product, weight), inflow)
    if store.deliveries is not None:
        phase = calendar_phases(store.deliveries[product], store.n_intervals)
        return replace(series, phase=phase)
    if rhythm is not None:
        return replace(series, phase=rhythm.phase(store.season, series.counts))
    return series


def on_sale(store: StorePanel, product: int, weight: Floats) -> Floats:
    """(T,) demand level as one product meets it: 0 while it is not in the range.

    With weight 0 an interval without a sale says nothing about the shelf.
    """
    outside = store.unlisted(product)
    return weight if outside is None else np.where(outside, 0.0, weight)
