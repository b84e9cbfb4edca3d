"""When stock comes back: a delivery calendar, or a rhythm read off the receipts.

A delivery calendar is worth more than any algorithm. Where nobody supplies one, the
posterior of the restocks often shows a period: reviews and vans keep to a schedule.
The cycle is then cut into phases with their own hazard of restocking and of running
out, narrow where restocks come; an outage right behind a delivery stops being a
cheap excuse for a quiet spell. A rhythm is kept only where the likelihood pays for its
parameters (Bayesian information criterion). On slow sellers it halves the Brier score of the
smoother that knows the true rates but no rhythm.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numba
import numpy as np
import scipy.fft
from numpy.typing import NDArray

from retail_assets.models.stockouts.hidden_markov import (
    PHASE_STRENGTH,
    HmmFit,
    HmmParams,
    Prior,
    Series,
    Smoothed,
    fit,
    smooth,
)

Floats = NDArray[np.float64]
Phases = NDArray[np.int16]

# At least this many cycles and expected restocks before a rhythm is believed.
MIN_CYCLES = 8
SHORTEST = 6
N_PHASES = 12
# Period of a rhythm that follows the clock's week instead of counting intervals.
WEEK = 0.0
HOURS_OF_WEEK = 168
_STEPS = 4


@dataclass(frozen=True)
class Rhythm:
    """Cycle of ``period`` intervals cut into phases at ``edges`` (shares of the cycle).

    Parameters
    ----------
    period : float
        In trading intervals; `WEEK` (0) for the week by the clock, which a holiday or
        a change of opening hours does not shift.
    edges : float64, ascending
        Shares of the cycle in (0, 1), or if ``by_sales`` transactions.
    offset : int
        Interval at which a cycle begins.
    strict : bool
        Stock comes back in the cycle's first interval only, the first phase.
    by_sales : bool
        Of a strict rhythm: the other phases are how much was sold since the delivery,
        not how long ago it was. A shelf filled to S is empty at the S-th sale,
        whenever that comes.
    """

    period: float
    edges: Floats
    offset: int = 0
    strict: bool = False
    by_sales: bool = False

    @property
    def n_phases(self) -> int:
        return len(self.edges) + (2 if self.by_sales else 1)

    def phase(self, season: NDArray[np.int16], counts: NDArray[np.int32]) -> Phases:
        """(T,) phase of each interval, given its hour of the week and transactions."""
        if self.by_sales:
            delivery, sold = self._sold(counts)
            phase = 1 + np.searchsorted(self.edges, sold, side="left")
            return np.where(delivery, 0, phase).astype(np.int16)
        if self.period == WEEK:
            of_hour = np.searchsorted(self.edges, _HOUR_MIDDLES, side="right")
            return of_hour.astype(np.int16)[season % HOURS_OF_WEEK]
        return _phases(len(season), self.period, self.edges, float(self.offset))

    @staticmethod
    def even(period: float, season: NDArray[np.int16], n_phases: int = N_PHASES) -> Rhythm:
        """Phases with as many intervals each, at least one a cycle."""
        if period == WEEK:
            return Rhythm(WEEK, _cut(_hours(season), n_phases))
        n = int(min(n_phases, np.floor(period)))
        return Rhythm(period, np.arange(1, n) / n)

    @staticmethod
    def schedule(period: float, offset: int) -> Rhythm:
        """One interval with deliveries, then phases in which stock only runs out."""
        n = int(min(N_PHASES, np.floor(period)))
        return Rhythm(period, np.arange(n) / n + 1.0 / period, offset, strict=True)

    def _sold(self, counts: NDArray[np.int32]) -> tuple[NDArray[np.bool_], NDArray[np.int64]]:
        """Intervals with a delivery; transactions since the last, up to the interval's end."""
        one = np.array([1.0 / self.period])
        delivery = _phases(len(counts), self.period, one, float(self.offset)) == 0
        total = np.cumsum(counts, dtype=np.int64)
        before = np.maximum.accumulate(np.where(delivery, total - counts, 0))
        return delivery, total - before

    def filled(self, series: Series, smoothed: Smoothed) -> Rhythm:
        """The same deliveries, phases cut by sales since, narrow where stock runs out."""
        delivery, sold = self._sold(series.counts)
        at = (series.counts > 0) & ~delivery
        ran_out = np.diff(smoothed.p_out, append=0.0) + np.append(smoothed.p_back[1:], 0.0)
        size = int(sold.max(initial=0)) + 1
        chances = np.bincount(sold[at], series.counts[at], size)
        events = np.bincount(sold[at], np.clip(ran_out[at], 0.0, 1.0), size)
        mass = chances / max(chances.sum(), 1.0) + events / max(events.sum(), 1e-9)
        edges = _cut(mass, N_PHASES - 1) * size - 1.0
        return replace(self, edges=edges, by_sales=True)

    def refined(self, p_back: Floats, season: NDArray[np.int16]) -> Rhythm:
        """Half the phases by equal restock mass (narrow), half by equal time (wide)."""
        if self.period == WEEK:
            time, mass = _hours(season), _hours(season, p_back)
        else:
            size = int(np.ceil(self.period))
            slot = np.mod(np.arange(len(p_back)), self.period) / self.period * size
            time = np.ones(size)
            mass = np.bincount(slot.astype(np.int64), p_back, size).astype(np.float64)
        return Rhythm(self.period, _cut(time / time.sum() + mass / mass.sum(), N_PHASES))


_HOUR_MIDDLES = (np.arange(HOURS_OF_WEEK) + 0.5) / HOURS_OF_WEEK


def _hours(season: NDArray[np.int16], values: Floats | None = None) -> Floats:
    """(168,) intervals, or the sum of values, per hour of the week."""
    return np.bincount(season % HOURS_OF_WEEK, values, HOURS_OF_WEEK).astype(np.float64)


def _cut(mass: Floats, n_phases: int) -> Floats:
    """Edges between slots (shares of the cycle) that leave about equal mass in each phase."""
    at = np.arange(1, n_phases) / n_phases * mass.sum()
    slot = np.searchsorted(np.cumsum(mass), at * (1 - 1e-12)) + 1
    return np.unique(np.clip(slot, 1, len(mass) - 1)) / len(mass)


def calendar_phases(deliveries: NDArray[np.int32], n_intervals: int) -> Phases:
    """Phases of a known calendar: time since the last delivery, then the deliveries.

    The last phase is the delivery intervals, the only ones with a restock hazard; the
    others let the chance of selling out grow towards the end of a cycle.
    """
    if not len(deliveries):
        return np.zeros(n_intervals, np.int16)
    deliveries = np.sort(deliveries)
    n = N_PHASES if len(deliveries) > 2 * N_PHASES else 1
    gap = float(np.median(np.diff(deliveries))) if n > 1 else 1.0
    last = np.searchsorted(deliveries, np.arange(n_intervals), side="right") - 1
    age = np.arange(n_intervals) - np.where(last >= 0, deliveries[last], -n_intervals)
    phase = np.minimum(age / gap * n, n - 1).astype(np.int16)
    phase[deliveries] = n
    return phase


@dataclass(frozen=True)
class Learned:
    """A rhythm, the model refitted with it, and its Bayesian information criterion / -2."""

    rhythm: Rhythm
    fit: HmmFit
    score: float


def learn_rhythm(
    series: Series,
    start: HmmFit,
    prior: Prior,
    periods: list[float],
    season: NDArray[np.int16],
    *,
    to_beat: float,
) -> Learned | None:
    """The rhythm of one of ``periods`` that pays best for its parameters; None if none does.

    Three rhythms of each period compete with none: even phases, phases refined around
    the restocks, and a strict schedule that restocks at one interval of the cycle only.
    A strict one that pays is then cut by sales instead of time if that pays more.

    Parameters
    ----------
    start : HmmFit
        The model without a rhythm.
    to_beat : float
        Its `rhythm_score`; -inf for periods other products vouch for.
    """
    found: list[Learned] = []
    for period in sorted(periods, reverse=True):
        # A strict schedule leaves nothing to explain for its divisors.
        if period == WEEK or not any(own.rhythm.strict for own in found):
            found.append(_learn_at(series, start, prior, period, season))
    best = max(found, key=lambda own: own.score, default=None)
    if best is None or best.score <= to_beat:
        return None
    for _ in range(2 if best.rhythm.strict else 0):
        cut = best.rhythm.filled(series, best.fit.smoothed)
        filled = _fitted(series, cut, _strict_params(best.fit, cut), prior, season)
        best = max(best, filled, key=lambda own: own.score)
    return best


def _fitted(
    series: Series, rhythm: Rhythm, start: HmmParams, prior: Prior, season: NDArray[np.int16]
) -> Learned:
    phased = replace(series, phase=rhythm.phase(season, series.counts))
    own = fit(phased, start, prior, max_iterations=_STEPS)
    n_parameters = rhythm.n_phases + (1 if rhythm.strict else rhythm.n_phases)
    return Learned(rhythm, own, rhythm_score(own, n_parameters))


def _learn_at(
    series: Series, plain: HmmFit, prior: Prior, period: float, season: NDArray[np.int16]
) -> Learned:
    def fitted(rhythm: Rhythm, start: HmmParams) -> Learned:
        return _fitted(series, rhythm, start, prior, season)

    def strict(like: Learned) -> Learned:
        return fitted(*_on_schedule(series, like.fit, period, season))

    even = Rhythm.even(period, season)
    first = fitted(even, spread(plain.params, plain.smoothed, even.n_phases))
    if period != WEEK:
        schedule = strict(first)
        if schedule.score > first.score:
            return schedule
    refined = even.refined(first.fit.smoothed.p_back, season)
    second = fitted(refined, spread(first.fit.params, first.fit.smoothed, refined.n_phases))
    if second.score <= first.score:
        return first
    if period == WEEK:
        return second
    return max(second, strict(second), key=lambda own: own.score)


def rhythm_score(own: HmmFit, n_parameters: int) -> float:
    """Log-likelihood less half the log of the number of restocks per parameter.

    On 12 shops refilled at random Akaike's criterion took chance for a rhythm in 8, with
    gains of 20-40; real ones gain 110-700.
    """
    restocks = max(float(own.smoothed.by_phase[0].sum()), 3.0)
    return own.smoothed.log_lik - 0.5 * n_parameters * float(np.log(restocks))


def _on_schedule(
    series: Series, current: HmmFit, period: float, season: NDArray[np.int16]
) -> tuple[Rhythm, HmmParams]:
    """The likeliest interval of the cycle for all restocks, by a search from coarse to fine.

    The likelihood climbs towards the true interval from the left (a restock assumed too
    early adds quiet time) and falls off a cliff behind it.
    """
    size = int(np.floor(period))
    slot = np.mod(np.arange(series.n_intervals), period).astype(np.int64)
    mass = np.bincount(slot, current.smoothed.p_back, size + 1)[:size]
    # Start the cycle where restocks are rarest, so that their cluster is not cut in two.
    turn = int(np.argmin(np.convolve(np.tile(mass, 2), np.ones(size // 2 + 1), "valid")[:size]))
    turn = (turn + size // 4) % size
    share = np.cumsum(np.roll(mass, -turn)) / mass.sum()
    tried: dict[int, float] = {}

    def log_lik(offset: int) -> float:
        if offset not in tried:
            rhythm = Rhythm.schedule(period, (turn + offset) % size)
            phased = replace(series, phase=rhythm.phase(season, series.counts))
            params = _strict_params(current, rhythm)
            tried[offset] = smooth(phased, params).log_lik
        return tried[offset]

    grid = np.unique(np.searchsorted(share, (0.005, 0.03, 0.1, 0.25, 0.5)))
    best = max((int(offset) for offset in grid), key=log_lik)
    step = max(int(np.ptp(grid)) // 8, 1)
    while True:
        near = max((best - step, best, best + step), key=log_lik)
        if near == best and step == 1:
            break
        step = step if near != best else step // 2
        best = near
    rhythm = Rhythm.schedule(period, (turn + best) % size)
    return rhythm, _strict_params(current, rhythm)


def _strict_params(current: HmmFit, rhythm: Rhythm) -> HmmParams:
    """All restocks in the rhythm's delivery interval; running out as likely at any sale."""
    mean = spread(current.params, current.smoothed, rhythm.n_phases)
    return replace(mean, restock_hazard=(0.9,) + (0.0,) * (rhythm.n_phases - 1))


def spread(params: HmmParams, smoothed: Smoothed, n_phases: int) -> HmmParams:
    """The same parameters with every phase at the mean of all."""
    restocks, waits, run_outs, transactions = smoothed.by_phase.sum(axis=1)
    return replace(
        params,
        restock_hazard=(float(np.clip(restocks / waits, 1e-7, 1 - 1e-7)),) * n_phases,
        out_after_sale=(float(np.clip(run_outs / transactions, 1e-9, 0.9)),) * n_phases,
    )


def find_periods(smoothed: Smoothed) -> list[float]:
    """Likely periods of the restocks: the strongest line of their spectrum, or multiples.

    Chance lines among n frequencies reach ``ln n`` times the mean power; a rhythm must
    exceed three times that. A line may be a harmonic of the cycle, so two multiples
    are proposed: the one whose phases best tell restocks from waits cut into a fixed
    number of phases, and cut as finely as the line itself.
    """
    p_back = smoothed.p_back
    n = len(p_back)
    if p_back.sum() < MIN_CYCLES or n < MIN_CYCLES * SHORTEST:
        return []
    size = scipy.fft.next_fast_len(4 * n, real=True)
    power = np.abs(scipy.fft.rfft(p_back - p_back.mean(), size)) ** 2
    lowest = int(np.ceil(MIN_CYCLES * size / n))
    band = power[lowest : size // SHORTEST]
    if not len(band) or band.max() < 3.0 * np.log(n) * np.sum(p_back**2):
        return []
    line = _settle(p_back, size / (int(np.argmax(band)) + lowest))
    coarse, fine = {}, {}
    for multiple in range(1, 7):
        if multiple * line * MIN_CYCLES > n and multiple > 1:
            break
        period = _settle(p_back, multiple * line) if multiple > 1 else line
        coarse[period] = _phase_gain(smoothed, period, N_PHASES)
        n_phases = N_PHASES * multiple
        fine[period] = _phase_gain(smoothed, period, n_phases) - n_phases
    return sorted({max(coarse, key=coarse.__getitem__), max(fine, key=fine.__getitem__)})


def _phase_gain(smoothed: Smoothed, period: float, n_phases: int) -> float:
    """Log-likelihood that a hazard per phase would add to one for all."""
    nothing = np.zeros(len(smoothed.p_out), np.int16)
    rhythm = Rhythm.even(period, nothing, n_phases)
    phase = rhythm.phase(nothing, nothing.astype(np.int32))
    back = np.bincount(phase, smoothed.p_back, rhythm.n_phases)
    waits = np.bincount(phase, smoothed.p_out, rhythm.n_phases) + back
    mean = back.sum() / waits.sum()
    each = (back + PHASE_STRENGTH) / (waits + PHASE_STRENGTH / mean)
    stay = (waits - back) * np.log((1.0 - each) / (1.0 - mean))
    return float(np.sum(back * np.log(each / mean) + stay))


def _settle(p_back: Floats, period: float) -> float:
    """Sharpen the period by its first two harmonics; a whole number if as good."""
    at = np.flatnonzero(p_back > 1e-2)
    mass = p_back[at]

    def sharpness(trial: float) -> float:
        turn = np.exp(-2j * np.pi * at / trial)
        return float(sum(abs(np.sum(mass * power)) ** 2 for power in (turn, turn**2)))

    width = period**2 / len(p_back)
    best = max(period + width * np.linspace(-0.6, 0.6, 25), key=sharpness)
    whole = float(round(best))
    return whole if abs(whole - best) < 0.1 * width else float(best)


@numba.njit(cache=True, nogil=True)
def _phases(n_intervals: int, period: float, edges: Floats, offset: float) -> Phases:
    out = np.empty(n_intervals, np.int16)
    for t in range(n_intervals):
        position = ((t - offset) / period) % 1.0
        k = 0
        # A hair's breadth of tolerance: (period - 1) / period may round either way.
        while k < len(edges) and edges[k] <= position + 1e-9:
            k += 1
        out[t] = k
    return out
