"""What becomes of a shipped unit: kept or returned, and when. Learned from shipments.

A unit sent last week with no news is not a unit kept: it is right-censored. Two kinds
of records occur, and the difference decides what silence means.

- *Reported*: ``kept`` is filled in when the client decides. Silence says only that the
  decision is later than the unit's age, the same for units kept and returned.
- *Unreported*: nobody writes down a kept unit. Silence is a mixture, kept for good or
  not back yet: a cure model, fitted by EM with the zero-tail convention (Taylor 1995).

The delay's hazard is Kaplan-Meier's, per day of age, weighted where a unit's kind is
unknown.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from retail_assets.models.inventory.sizes import dirichlet_multinomial

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

_WEEK = 7
_MAX_ITERATIONS = 500
# Without any other style to learn from: the rate is anything, worth two units.
_VAGUE = (1.0, 1.0)
# A category's styles are never credited with more agreement than this many units each.
_MAX_PRIOR_UNITS = 2000.0


@dataclass(frozen=True)
class DelayFit:
    """Return delay and keep rate of one category.

    Parameters
    ----------
    day_pmf : (D,) float64
        P(delay = d days) of a unit that comes back; the tail nobody has seen yet sits
        on the last day.
    keep_rate : float
        Pooled P(kept).
    reported : bool
        Kept units are reported as such.
    censored_share : float
        Share of shipments without a known end.
    never_returned : int
        Units known not to be kept, out for longer than any delay seen.
    """

    day_pmf: Floats
    keep_rate: float
    reported: bool
    censored_share: float
    never_returned: int

    @property
    def week_pmf(self) -> Floats:
        """P(settled l weeks after the week of sending), (L,), sent on any day of it."""
        return _by_week(self.day_pmf, np.arange(_WEEK))

    def still_out(self, age: ArrayLike) -> Floats:
        """P(delay > age days)."""
        tail = np.concatenate([1.0 - np.cumsum(self.day_pmf), [0.0]])
        index = np.minimum(np.asarray(age, np.int64), len(tail) - 1)
        return np.asarray(np.maximum(tail[index], 0.0))

    def residual(self, ages: ArrayLike | None = None) -> Floats:
        """P(settled l weeks from now), (L,), of units now out.

        Parameters
        ----------
        ages : (m,) int or None
            Days since each was sent. None: the ages of a steady flow. Leave out units
            older than any delay seen: they are taken to be settled within the week.
        """
        lags = len(self.week_pmf)
        days = len(self.day_pmf)
        if ages is None:
            weight = self.still_out(np.arange(days))
        else:
            held = np.minimum(np.asarray(ages, np.int64), days)
            weight = np.bincount(held, minlength=days).astype(np.float64)
        pmf = np.zeros(lags)
        for age in np.flatnonzero(weight > 0):
            rest = self.day_pmf[age + 1 :]
            if rest.sum() > 0:
                later = _by_week(rest / rest.sum(), np.zeros(1, np.int64))
                pmf[: len(later)] += weight[age] * later
            else:
                pmf[0] += weight[age]
        return np.asarray(pmf / pmf.sum() if pmf.sum() > 0 else np.eye(lags)[0])


@dataclass(frozen=True)
class KeepRates:
    """Beta posterior of P(kept) per style, (S,) each; ``prior`` is (alpha, beta)."""

    alpha: Floats
    beta: Floats
    prior: tuple[float, float]

    @property
    def mean(self) -> Floats:
        return np.asarray(self.alpha / (self.alpha + self.beta))


@dataclass(frozen=True)
class Settlement:
    """Keep rate and delay as the projection uses them.

    Parameters
    ----------
    keep : (S, R) float64
        One draw per path.
    cumulative : (L,) float64
        Distribution function of the weeks from sending to settling.
    residual : (S, L) float64
        The same, from now, of units now out.
    """

    keep: Floats
    cumulative: Floats
    residual: Floats

    @staticmethod
    def of(keep: ArrayLike, delay: ArrayLike, *, residual: ArrayLike | None = None) -> Settlement:
        """From draws (S, R) and weekly probabilities, (L,) and (L,) or (S, L)."""
        draws = np.asarray(keep, np.float64)
        if draws.ndim != 2 or np.any(~((draws >= 0) & (draws <= 1))):
            raise ValueError("keep must be (rows, paths) probabilities between 0 and 1")
        pmf = np.asarray(delay, np.float64)
        left = pmf if residual is None else np.asarray(residual, np.float64)
        lags = max(len(pmf), left.shape[-1])
        shape = (len(draws), left.shape[-1])
        return Settlement(
            draws,
            _cumulative(pmf[None, :], lags)[0],
            _cumulative(np.broadcast_to(left, shape), lags),
        )

    @staticmethod
    def sold_at_once(rows: int, n_paths: int) -> Settlement:
        """A shop without clients: what is sent is sold."""
        return Settlement.of(np.ones((rows, n_paths)), [1.0])


def fit_delay(
    sent_day: ArrayLike,
    returned_day: ArrayLike,
    kept: ArrayLike,
    *,
    today: int,
    reported: bool | None = None,
) -> DelayFit:
    """Return delay and keep rate from shipments, censoring taken into account.

    Parameters
    ----------
    sent_day : (m,) int
        Day number; rows sent after ``today`` are refused.
    returned_day : (m,) float
        Day number, NaN where not back. A return after ``today`` is not known yet.
    kept : (m,) int
        1 kept, 0 not kept, -1 unknown. A unit that came back was not kept.
    today : int
        As-of day: what happened later is not used.
    reported : bool or None
        None: True when any unit is marked as kept.
    """
    sent = np.asarray(sent_day, np.int64)
    back = np.asarray(returned_day, np.float64)
    mark = np.asarray(kept, np.int64)
    if not len(sent):
        raise ValueError("no shipments; treat the shop as selling at once (keep rate 1)")
    if np.any(sent > today) or np.any(back < sent):
        row = int(np.argmax((sent > today) | (back < sent)))
        raise ValueError(f"shipment {row}: sent {sent[row]}, back {back[row]}, today {today}")
    back = np.where(back > today, np.nan, back)
    came = ~np.isnan(back)
    delay = (back[came] - sent[came]).astype(np.int64)
    days = int(delay.max()) + 1 if came.any() else 1
    age = np.minimum(today - sent, days - 1)
    told = bool(np.any((mark == 1) & ~came)) if reported is None else reported
    is_kept = (mark == 1) & ~came
    not_kept = (mark == 0) & ~came
    silent = ~came & ~is_kept & ~not_kept
    events = np.bincount(delay, minlength=days).astype(np.float64)
    keep_rate, tail, hazard = 0.5, np.zeros(days), np.ones(days)
    for _ in range(_MAX_ITERATIONS):
        coming = 1.0 - keep_rate
        if not told:
            back_later = coming * tail[age[silent]]
            coming = back_later / np.maximum(keep_rate + back_later, 1e-300)
        weight = np.zeros(len(sent))
        weight[silent], weight[not_kept] = coming, 1.0
        hazard = _hazard(events, np.bincount(age, weight, minlength=days).astype(np.float64))
        tail = np.asarray(np.cumprod(1.0 - hazard))
        before = keep_rate
        keep_rate = float((is_kept.sum() + (1.0 - weight[silent]).sum()) / len(sent))
        if abs(keep_rate - before) < 1e-10:
            break
    pmf = np.concatenate([[1.0], tail[:-1]]) * hazard
    return DelayFit(
        pmf,
        keep_rate,
        told,
        float((silent | not_kept).mean()),
        int(np.sum(not_kept & (today - sent >= days))),
    )


def keep_rates(
    style: ArrayLike,
    sent_day: ArrayLike,
    returned_day: ArrayLike,
    kept: ArrayLike,
    fit: DelayFit,
    *,
    n_styles: int,
    today: int,
    prior: tuple[float, float] | None = None,
) -> KeepRates:
    """Beta posterior of P(kept) per style, shrunk to the category.

    Reported: units settled so far are the trials. Unreported: a unit of age a counts as
    F(a) of a trial, F the delay's distribution, so that a fresh shipment says little.

    Parameters
    ----------
    style : (m,) int
        Row of the result each shipment belongs to.
    prior : (alpha, beta) or None
        None: beta-binomial maximum likelihood over the styles.
    """
    own = np.asarray(style, np.int64)
    sent = np.asarray(sent_day, np.int64)
    back = np.asarray(returned_day, np.float64)
    mark = np.asarray(kept, np.int64)
    came = back <= today
    lost = came | ((mark == 0) & ~came)
    returned = np.bincount(own, lost, minlength=n_styles).astype(np.float64)
    if fit.reported:
        stayed = np.bincount(own, (mark == 1) & ~came, minlength=n_styles).astype(np.float64)
    else:
        seen = np.where(lost, 1.0, 1.0 - fit.still_out(today - sent))
        seen_all = 1.0 - fit.still_out(today - sent)
        exposure = np.bincount(own, np.where(mark == 0, seen, seen_all), minlength=n_styles)
        stayed = np.maximum(exposure - returned, 0.0)
    a, b = prior if prior is not None else _keep_prior(stayed, returned)
    return KeepRates(a + stayed, b + returned, (a, b))


def _keep_prior(stayed: Floats, returned: Floats) -> tuple[float, float]:
    counts = np.column_stack([stayed, returned])
    if np.sum(counts.sum(axis=1) > 0) < 2:
        return _VAGUE
    a, b = dirichlet_multinomial(counts)
    scale = min(1.0, _MAX_PRIOR_UNITS / (a + b))
    return float(a * scale), float(b * scale)


def _hazard(events: Floats, censored: Floats) -> Floats:
    """Kaplan-Meier with the unseen tail on the last day (zero-tail, Efron)."""
    leaving = events + censored
    at_risk = np.cumsum(leaving[::-1])[::-1]
    hazard = np.divide(events, at_risk, out=np.zeros_like(events), where=at_risk > 0)
    hazard[-1] = 1.0
    return hazard


def _by_week(day_pmf: Floats, offsets: Ints) -> Floats:
    """Weekly probabilities of a daily delay counted from each of ``offsets`` equally."""
    week = (offsets[:, None] + np.arange(len(day_pmf))[None, :]) // _WEEK
    mass = np.broadcast_to(day_pmf / len(offsets), week.shape)
    return np.bincount(week.ravel(), mass.ravel()).astype(np.float64)


def _cumulative(pmf: Floats, lags: int) -> Floats:
    padded = np.zeros((len(pmf), lags))
    padded[:, : pmf.shape[1]] = pmf
    total = padded.sum(axis=1, keepdims=True)
    if np.any(~(total > 0)) or np.any(padded < 0):
        raise ValueError("delay probabilities must be 0 or more and add to more than 0")
    out = np.cumsum(padded / total, axis=1)
    out[:, -1] = 1.0
    return out
