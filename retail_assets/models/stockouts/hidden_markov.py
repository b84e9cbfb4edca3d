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

from dataclasses import dataclass

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
# Pseudo-events that pull each phase of a delivery rhythm to the mean of all.
PHASE_STRENGTH = 0.2


@dataclass(frozen=True)
class HmmParams:
    """Parameters of one product in one store.

    Parameters
    ----------
    arrival_rate : float
        Lambda: own first-choice transactions per interval at weight 1.
    out_after_sale : tuple of float
        q: probability that a transaction takes the last unit, one per phase of the
        series (see `Series`).
    out_otherwise : float
        Epsilon: probability per interval without a sale that stock vanishes.
    restock_hazard : tuple of float
        r: probability that a product out of stock is back at the start of an
        interval, one per phase.
    dispersion : float
        Variance of the in-stock transactions = mean + dispersion x mean^2.
    initial_out : float
        Probability of being out before the first interval's sales.
    """

    arrival_rate: float
    out_after_sale: tuple[float, ...]
    out_otherwise: float
    restock_hazard: tuple[float, ...]
    dispersion: float = 0.0
    initial_out: float = 0.1

    def as_array(self) -> Floats:
        """(4,) for the kernels: what does not depend on the phase."""
        return np.array([self.arrival_rate, self.out_otherwise, self.dispersion, self.initial_out])


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
    phase : int16
        Which restock hazard holds at the start of the interval. Without a calendar
        all 0; with one, 1 at deliveries and 0 (hazard 0) elsewhere; with a learned
        rhythm, the part of the delivery cycle.
    """

    counts: NDArray[np.int32]
    weight: Floats
    inflow: Floats
    phase: NDArray[np.int16]

    @property
    def n_intervals(self) -> int:
        return len(self.counts)

    @staticmethod
    def of(
        interval: NDArray[np.int32],
        transactions: NDArray[np.int32],
        weight: Floats,
        inflow: Floats | None = None,
        phase: NDArray[np.int16] | None = None,
    ) -> Series:
        """Lay out one product's sparse sales; the only place where zeros are stored."""
        counts = np.zeros(len(weight), np.int32)
        counts[interval] = transactions
        nothing = np.zeros(len(weight))
        return Series(
            counts,
            weight,
            nothing if inflow is None else inflow,
            nothing.astype(np.int16) if phase is None else phase,
        )


@dataclass(frozen=True)
class Smoothed:
    """Result of one forward-backward pass.

    Parameters
    ----------
    p_out, p_back : (T,) float64
        P(out at the start of the interval | all sales); P(came back just then | all sales).
    log_lik : float
    statistics : (N,) float64
        The E step's sums, indexed by the names in `kernels`.
    by_phase : (4, phases) float64
        Expected restocks, waits without stock, run-outs, and transactions.
    """

    p_out: Floats
    p_back: Floats
    log_lik: float
    statistics: Floats
    by_phase: Floats

    def __getitem__(self, name: int) -> float:
        return float(self.statistics[name])

    @property
    def outages(self) -> float:
        """Expected number of stock-outs that began."""
        return self[k.RAN_OUT] + self[k.DROPPED]

    @property
    def share_out(self) -> float:
        return self[k.OUT_TIME] / len(self.p_out)

    @property
    def lost_per_outage(self) -> float:
        """Expected own transactions missed per outage: m = lambda x outage length."""
        return self[k.LOST_OWN] / self.outages if self.outages > 0.5 else float("nan")


def smooth(series: Series, params: HmmParams) -> Smoothed:
    """P(out of stock at the start of each interval | all sales), by forward-backward."""
    p_out, p_back = np.empty(series.n_intervals), np.empty(series.n_intervals)
    by_phase = np.zeros((4, len(params.restock_hazard)))
    mean = series.weight * (params.arrival_rate + series.inflow)
    statistics = k.expect(
        series.counts,
        series.weight,
        mean,
        k.zero_probability(mean, params.dispersion),
        series.phase,
        np.array(params.restock_hazard)[series.phase],
        np.array(params.out_after_sale)[series.phase],
        params.as_array(),
        p_out,
        p_back,
        by_phase,
    )
    # Weight 0: not in the range, so not missing. Sales say nothing there, the prior would.
    p_out[series.weight == 0.0] = 0.0
    return Smoothed(p_out, p_back, float(statistics[k.LOG_LIK]), statistics, by_phase)


def sample_paths(
    series: Series, params: HmmParams, n_paths: int, rng: np.random.Generator
) -> list[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Whole status paths given all sales: (starts, stops) of the out spans of each.

    Forward sampling behind a backward filter (FFBS; Carter and Kohn 1994). Drawing
    intervals one by one from ``p_out`` would break every outage into crumbs.
    """
    mean = series.weight * (params.arrival_rate + series.inflow)
    return [
        k.sample_path(
            series.counts,
            mean,
            k.zero_probability(mean, params.dispersion),
            np.array(params.restock_hazard)[series.phase],
            np.array(params.out_after_sale)[series.phase],
            params.dispersion,
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


@dataclass(frozen=True)
class Prior:
    """Weak prior on how often and how long: ``strength`` pseudo-outages.

    It decides only where a series shows next to no outage of its own.
    """

    out_after_sale: float
    restock_hazard: float
    strength: float = 0.1


def maximise(series: Series, params: HmmParams, smoothed: Smoothed, prior: Prior) -> HmmParams:
    """M step: maximum a posteriori given the E step's expectations."""
    s = smoothed
    zero_in = max(s[k.ZERO_IN], 1.0)
    dropped = min(s[k.DROPPED], MAX_DROP_SHARE * s[k.RAN_OUT]) / zero_in
    rate = s[k.OWN_SALES] / s[k.EXPOSURE] if s[k.EXPOSURE] > 0 else params.arrival_rate
    # Below two standard errors a dispersion is noise: at rates of .01 it would reach .3.
    real = s[k.PAIRS] > 2.0 * np.sqrt(2.0 * s[k.SQUARES])
    spread = s[k.PAIRS] / s[k.SQUARES] if real else 0.0
    restocks, waits, run_outs, transactions = s.by_phase
    live = np.array(params.restock_hazard) > 0
    hazard = _shrunk(restocks * live, waits * live, prior.restock_hazard, prior.strength)
    after_sale = _shrunk(run_outs, transactions, prior.out_after_sale, prior.strength)
    return HmmParams(
        arrival_rate=rate,
        out_after_sale=tuple(np.clip(after_sale, 1e-9, 0.999).tolist()),
        out_otherwise=float(np.clip(dropped, 0.0, 0.1)),
        restock_hazard=tuple(np.where(live, np.clip(hazard, 1e-7, 1.0 - 1e-7), 0.0).tolist()),
        dispersion=float(np.clip(spread, 0.0, MAX_DISPERSION)),
        initial_out=float(np.clip(s.share_out, 0.01, 0.9)),
    )


def _shrunk(events: Floats, chances: Floats, prior: float, strength: float) -> Floats:
    """Events per chance in each phase, shrunk to the mean of all phases, that to the prior."""
    mean = (events.sum() + strength) / (chances.sum() + strength / prior)
    if len(events) == 1:
        return np.array([mean])
    each: Floats = (events + PHASE_STRENGTH) / (chances + PHASE_STRENGTH / mean)
    return each


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
    """Baum-Welch from ``start``; stops when the log-likelihood gains < tolerance x ``|it|``."""
    prior = prior or Prior(max(start.out_after_sale), max(start.restock_hazard))
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
