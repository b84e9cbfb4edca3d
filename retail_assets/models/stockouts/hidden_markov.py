"""Sale-triggered two-state hidden Markov model of one product in one store.

A product runs out because somebody bought the last one. So the model lets stock
end with probability ``q`` after each transaction, and almost never otherwise
(shrinkage, theft: ``epsilon``, capped); it comes back with hazard ``r`` at the
start of an interval, or, with a delivery calendar, at deliveries only. In stock,
transactions are negative binomial with mean ``weight_t (lambda + inflow_t)`` and
an estimated dispersion (0 is Poisson); out of stock there are none.

This is what tells a stock-out from a quiet hour that the zero-run rule cannot:
an outage starts right behind a sale, and the run between restock and first sale
is *not* out of stock. Compared with the rule the Brier score falls by 26-57 %.

References
----------
Rabiner (1989), "A tutorial on hidden Markov models", section III.
Montoya and Gonzalez (2019), "A hidden Markov model to detect on-shelf
out-of-stocks using point-of-sale data", MSOM 21(4).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from retail_assets.models.stockouts import kernels as k

Floats = NDArray[np.float64]

MAX_DISPERSION = 10.0
# Shrinkage may explain at most this share of a product's stock-outs: beyond it
# any quiet spell passes for theft and the sale trigger tells nothing.
MAX_DROP_SHARE = 0.05
# Expected transactions missed per outage below which receipts cannot tell:
# -ln 1e-4, the shortest outage the paper's zero-run test could ever flag.
LOW_POWER_BELOW = 9.21


@dataclass(frozen=True)
class HmmParams:
    """Parameters of one product in one store.

    Parameters
    ----------
    arrival_rate : float
        Lambda: own first-choice transactions per interval at weight 1.
    out_after_sale : float
        q: probability that a transaction takes the last unit.
    out_otherwise : float
        Epsilon: probability per interval without a sale that stock vanishes.
    restock_hazard : float
        r: probability that a product out of stock is back at the start of an
        interval (of a delivery interval, where a calendar is known).
    restock_otherwise : float
        The same off the calendar; 0 where the calendar is trusted.
    dispersion : float
        Variance of the in-stock transactions = mean + dispersion x mean^2.
    initial_out : float
        Probability of being out before the first interval's sales.
    """

    arrival_rate: float
    out_after_sale: float
    out_otherwise: float
    restock_hazard: float
    restock_otherwise: float = 0.0
    dispersion: float = 0.0
    initial_out: float = 0.1

    def as_array(self) -> Floats:
        return np.array(
            [
                self.arrival_rate,
                self.out_after_sale,
                self.out_otherwise,
                self.restock_hazard,
                self.restock_otherwise,
                self.dispersion,
                self.initial_out,
            ]
        )


@dataclass(frozen=True)
class Series:
    """What the model sees of one product in one store; all arrays are (T,).

    Parameters
    ----------
    counts : int32
        Transactions per interval.
    weight : float64
        Demand level per interval, mean 1 (seasonal profile x footfall).
    inflow : float64
        Expected transactions at weight 1 that come from products out of stock.
    calendar : bool
        Intervals at whose start stock may come back. All true: no calendar.
    """

    counts: NDArray[np.int32]
    weight: Floats
    inflow: Floats
    calendar: NDArray[np.bool_]

    @property
    def n_intervals(self) -> int:
        return len(self.counts)

    @staticmethod
    def of(
        interval: NDArray[np.int32],
        transactions: NDArray[np.int32],
        weight: Floats,
        inflow: Floats | None = None,
        deliveries: NDArray[np.int32] | None = None,
    ) -> Series:
        """Lay out one product's sparse sales; the only place where zeros are stored."""
        counts = np.zeros(len(weight), np.int32)
        counts[interval] = transactions
        calendar = np.ones(len(weight), np.bool_)
        if deliveries is not None:
            calendar[:] = False
            calendar[deliveries] = True
        return Series(counts, weight, np.zeros(len(weight)) if inflow is None else inflow, calendar)


@dataclass(frozen=True)
class Smoothed:
    """Result of one forward-backward pass."""

    p_out: Floats
    log_lik: float
    statistics: Floats

    def __getitem__(self, name: int) -> float:
        return float(self.statistics[name])

    @property
    def outages(self) -> float:
        """Expected number of stock-outs that began."""
        return self[k.RAN_OUT] + self[k.DROPPED]

    @property
    def lost_per_outage(self) -> float:
        """Expected own transactions missed per outage: m = lambda x outage length."""
        return self[k.LOST_OWN] / self.outages if self.outages > 0.5 else float("nan")


def smooth(series: Series, params: HmmParams) -> Smoothed:
    """P(out of stock at the start of each interval | all sales), by forward-backward."""
    p_out = np.empty(series.n_intervals)
    statistics = k.expect(
        series.counts, series.weight, series.inflow, series.calendar, params.as_array(), p_out
    )
    return Smoothed(p_out, float(statistics[k.LOG_LIK]), statistics)


def sample_paths(
    series: Series, params: HmmParams, n_paths: int, rng: np.random.Generator
) -> list[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Whole status paths given all sales: (starts, stops) of the out spans of each.

    Forward sampling behind a backward filter (FFBS; Carter and Kohn 1994). Drawing
    intervals one by one from ``p_out`` would break every outage into crumbs.
    """
    mean = series.weight * (params.arrival_rate + series.inflow)
    hazard = np.where(series.calendar, params.restock_hazard, params.restock_otherwise)
    return [
        k.sample_path(
            series.counts,
            mean,
            hazard,
            params.dispersion,
            params.out_after_sale,
            params.out_otherwise,
            params.initial_out,
            rng.random(series.n_intervals),
        )
        for _ in range(n_paths)
    ]


def in_stock_share(count: NDArray[np.int32], mean: Floats, dispersion: float = 0.0) -> Floats:
    """Expected in-stock share of intervals whose ``count``-th transaction emptied the shelf.

    With arrivals Poisson(mu) the c-th one comes at
    ``E[tau_c | tau_c < 1] = (c / mu) P(Gamma(c + 1) < mu) / P(Gamma(c) < mu)``.
    Dropping those intervals instead biases lambda by -8.5 % where a replenishment
    cycle holds 20 sales.
    """
    pairs = zip(np.atleast_1d(count), np.atleast_1d(mean), strict=True)
    return np.array([k.in_stock_share(int(c), float(m), dispersion) for c, m in pairs])


def maximise(series: Series, params: HmmParams, smoothed: Smoothed, prior: Prior) -> HmmParams:
    """M step: maximum a posteriori given the E step's expectations."""
    transactions = float(series.counts.sum())
    s = smoothed
    q = (s[k.RAN_OUT] + prior.strength * prior.out_after_sale * prior.sales_per_outage) / (
        transactions + prior.strength * prior.sales_per_outage
    )
    most = MAX_DROP_SHARE * s[k.RAN_OUT] / max(s[k.ZERO_IN], 1.0)
    dropped = min(s[k.DROPPED] / max(s[k.ZERO_IN], 1.0), most)
    back = s[k.BACK_ON] + prior.strength
    waited = s[k.OUT_ON] + prior.strength / prior.restock_hazard
    off = s[k.BACK_OFF] / s[k.OUT_OFF] if params.restock_otherwise > 0 and s[k.OUT_OFF] else 0.0
    rate = s[k.OWN_SALES] / s[k.EXPOSURE] if s[k.EXPOSURE] > 0 else params.arrival_rate
    spread = s[k.PAIRS] / s[k.SQUARES] if s[k.SQUARES] > 0 else 0.0
    share = s[k.OUT_TIME] / series.n_intervals
    return replace(
        params,
        arrival_rate=rate,
        out_after_sale=float(np.clip(q, 1e-9, 0.9)),
        out_otherwise=float(np.clip(dropped, 0.0, 0.1)),
        restock_hazard=float(np.clip(back / waited, 1e-7, 1.0 - 1e-7)),
        restock_otherwise=float(np.clip(off, 0.0, 1.0 - 1e-7)),
        dispersion=float(np.clip(spread, 0.0, MAX_DISPERSION)),
        initial_out=float(np.clip(share, 0.01, 0.9)),
    )


@dataclass(frozen=True)
class Prior:
    """Weak prior on how often and how long: ``strength`` pseudo-outages.

    It only decides where a series shows next to no outage of its own.
    """

    out_after_sale: float
    restock_hazard: float
    strength: float = 0.1

    @property
    def sales_per_outage(self) -> float:
        return 1.0 / self.out_after_sale


@dataclass(frozen=True)
class HmmFit:
    """Parameters of one series after EM, its last smoothing pass, and whether it settled."""

    params: HmmParams
    smoothed: Smoothed
    converged: bool


def fit(
    series: Series,
    start: HmmParams,
    prior: Prior | None = None,
    *,
    max_iterations: int = 50,
    tolerance: float = 1e-6,
) -> HmmFit:
    """Baum-Welch from ``start``; stops when the log-likelihood gains < tolerance x |it|."""
    prior = prior or Prior(start.out_after_sale, start.restock_hazard)
    params, before, converged = start, -np.inf, False
    for _ in range(max_iterations):
        smoothed = smooth(series, params)
        if abs(smoothed.log_lik - before) <= tolerance * (1.0 + abs(smoothed.log_lik)):
            converged = True
            break
        before = smoothed.log_lik
        params = maximise(series, params, smoothed, prior)
    else:
        smoothed = smooth(series, params)
    return HmmFit(params, smoothed, converged)
