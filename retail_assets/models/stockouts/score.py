"""How good a status is where the truth is known: simulated, or counted on the shelf."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class StatusScore:
    """Agreement of P(out) with the true status over the intervals where it is known.

    Parameters
    ----------
    accuracy : float
        Share of intervals whose status (P(out) > .5) is right.
    type_1 : float
        False alarms: share of in-stock intervals called out. nan without any.
    type_2 : float
        Misses: share of out-of-stock intervals called in stock. nan without any.
    brier : float
        Mean squared error of P(out).
    auc : float
        P(an interval out of stock ranks above one in stock); ties count half.
    base_rate : float
        Share of intervals out of stock.
    n : int
    """

    accuracy: float
    type_1: float
    type_2: float
    brier: float
    auc: float
    base_rate: float
    n: int

    @property
    def skill(self) -> float:
        """1 - Brier / Brier of always saying the base rate."""
        worst = self.base_rate * (1.0 - self.base_rate)
        return 1.0 - self.brier / worst if worst > 0 else float("nan")


@dataclass(frozen=True)
class Reliability:
    """Forecast against frequency in bins of P(out); empty bins are left out.

    Parameters
    ----------
    forecast, frequency : (b,) float64
        Mean P(out), and share truly out, of the bin's intervals.
    n : (b,) int64
    """

    forecast: Floats
    frequency: Floats
    n: NDArray[np.int64]

    def worst_gap(self, at_least: int = 1) -> float:
        """Largest ``|frequency - forecast|`` over bins of at least so many intervals."""
        gaps = np.abs(self.frequency - self.forecast)[self.n >= at_least]
        return float(gaps.max(initial=0.0))

    @property
    def mean_gap(self) -> float:
        """``|frequency - forecast|`` weighted by intervals (expected calibration error)."""
        return float(np.average(np.abs(self.frequency - self.forecast), weights=self.n))


def score_status(p_out: Floats, truth: NDArray[np.bool_]) -> StatusScore:
    """Score one product, or several concatenated.

    Parameters
    ----------
    p_out : (k,) float64
        P(out of stock) at the intervals where the truth is known.
    truth : (k,) bool
        Truly out of stock at the start of the interval.

    Raises
    ------
    ValueError
        Nothing to score, or lengths that differ.
    """
    p_out, truth = np.asarray(p_out, np.float64), np.asarray(truth, bool)
    if len(p_out) != len(truth) or not len(truth):
        raise ValueError(f"{len(p_out)} probabilities for {len(truth)} true statuses")
    called = p_out > 0.5
    n_out, n_in = int(truth.sum()), int((~truth).sum())
    missing = float("nan")
    auc = missing
    if n_out and n_in:
        ranks = rankdata(p_out)
        auc = float((ranks[truth].sum() - n_out * (n_out + 1) / 2) / (n_out * n_in))
    return StatusScore(
        accuracy=float((called == truth).mean()),
        type_1=float(called[~truth].mean()) if n_in else missing,
        type_2=float((~called[truth]).mean()) if n_out else missing,
        brier=float(np.mean((p_out - truth) ** 2)),
        auc=auc,
        base_rate=n_out / len(truth),
        n=len(truth),
    )


def reliability(p_out: Floats, truth: NDArray[np.bool_], n_bins: int = 10) -> Reliability:
    """Reliability curve over equal-width bins of P(out)."""
    bins = np.minimum((np.asarray(p_out) * n_bins).astype(np.int64), n_bins - 1)
    n = np.bincount(bins, minlength=n_bins)
    used = n > 0
    forecast = np.bincount(bins, p_out, n_bins)[used] / n[used]
    frequency = np.bincount(bins, np.asarray(truth, float), n_bins)[used] / n[used]
    return Reliability(forecast, frequency, n[used])
