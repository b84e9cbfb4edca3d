"""What a projection starts from: stock, clients, and who might choose what."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from retail_assets.models.inventory.sampling import Floats, Ints


@dataclass(frozen=True)
class Stock:
    """What is there now; one row per style and warehouse.

    Parameters
    ----------
    on_hand : (S,) int64
    out : (S,) int64
        Units with clients, neither kept nor returned.
    on_order : (S,) int64
        Units ordered, at an unknown time: they arrive within one lead time.
    lead_weeks, lead_weeks_sd : (S,) float64
        Of an order placed now; gamma distributed.
    arrivals : (S, T) int64 or None
        Units known to arrive at the start of a week, beside ``on_order``.
    names : (S,) or None
        Names for messages; the row number otherwise.
    """

    on_hand: Ints
    out: Ints
    on_order: Ints
    lead_weeks: Floats
    lead_weeks_sd: Floats
    arrivals: Ints | None = None
    names: tuple[str, ...] | None = None

    @staticmethod
    def of(
        on_hand: ArrayLike,
        *,
        out: ArrayLike = 0,
        on_order: ArrayLike = 0,
        lead_weeks: ArrayLike = 0.0,
        lead_weeks_sd: ArrayLike = 0.0,
        arrivals: ArrayLike | None = None,
        names: tuple[str, ...] | None = None,
    ) -> Stock:
        """Scalars are spread over the rows of ``on_hand``; negative units are refused."""
        held = np.atleast_1d(np.asarray(on_hand))
        rows = len(held)

        def spread(values: ArrayLike, what: str, kind: type) -> NDArray:
            column = np.broadcast_to(np.asarray(values), (rows,))
            bad = ~(np.isfinite(column) & (column >= 0))
            if np.any(bad):
                row = int(np.argmax(bad))
                name = names[row] if names else f"row {row}"
                raise ValueError(f"{name}: {what} is {column[row]}; give a number of at least 0")
            return column.astype(kind)

        return Stock(
            spread(held, "on_hand", np.int64),
            spread(out, "out", np.int64),
            spread(on_order, "on_order", np.int64),
            spread(lead_weeks, "lead_weeks", np.float64),
            spread(lead_weeks_sd, "lead_weeks_sd", np.float64),
            None if arrivals is None else np.asarray(arrivals, np.int64),
            names,
        )

    @property
    def position(self) -> Ints:
        """On hand, on order and scheduled: what an order-up-to level is compared with."""
        scheduled = 0 if self.arrivals is None else self.arrivals.sum(axis=1)
        return self.on_hand + self.on_order + scheduled


@dataclass(frozen=True)
class Traffic:
    """Clients (or baskets) per week of each pool: a category in a warehouse or store.

    Parameters
    ----------
    mean : (P, T) float64
        Expected clients a week.
    dispersion : (P,) float64
        Negative binomial: variance = mean + dispersion mean^2, a new level each week.
    level_cv : (P,) float64
        How uncertain ``mean`` itself is: one gamma factor per path, for all weeks.
    """

    mean: Floats
    dispersion: Floats
    level_cv: Floats

    @staticmethod
    def of(mean: ArrayLike, *, dispersion: ArrayLike = 0.0, level_cv: ArrayLike = 0.0) -> Traffic:
        level = np.atleast_2d(np.asarray(mean, np.float64))
        pools = (len(level),)
        return Traffic(
            level,
            np.broadcast_to(np.asarray(dispersion, np.float64), pools),
            np.broadcast_to(np.asarray(level_cv, np.float64), pools),
        )


def fit_traffic(weekly: ArrayLike, weeks: int) -> Traffic:
    """A level forecast of each pool's clients from its past weeks, by moments.

    Parameters
    ----------
    weekly : (P, W)
        Clients (or baskets) per past week, W >= 2.
    weeks : int
        Weeks to project.

    Returns
    -------
    Traffic
        The mean repeated; ``dispersion`` from the variance in excess of Poisson, widened
        for the few weeks it rests on; ``level_cv`` the standard error of the mean, since
        W weeks do not settle it.
        With a trend or season, give the projection's ``mean`` yourself.
    """
    counts = np.atleast_2d(np.asarray(weekly, np.float64))
    past = counts.shape[1]
    if past < 2 or np.any(~(counts >= 0)):
        raise ValueError(f"{past} past weeks of traffic; at least 2, none negative, are needed")
    mean = np.maximum(counts.mean(axis=1), 1e-9)
    dispersion = np.maximum(counts.var(axis=1, ddof=1) - mean, 0.0) / mean**2
    # The variance is itself an estimate: that of Student's t on W - 1 degrees of freedom.
    dispersion = dispersion * (past - 1) / max(past - 3, 1)
    level_cv = np.sqrt((1.0 / mean + dispersion) / past)
    return Traffic(np.repeat(mean[:, None], weeks, axis=1), dispersion, level_cv)


@dataclass(frozen=True)
class Demand:
    """Who might choose what.

    Parameters
    ----------
    pool : (S,) int64
        Row of ``traffic`` each style and warehouse draws its clients from. Rows of one
        pool share the week's traffic and, by ``respill``, the picks nobody served.
    traffic : Traffic
    p : (S, R) float64
        P(chosen | considered, in stock), one draw of the posterior per path. Rows of one
        style share their draws (index `rate_draws` by style).
    considered : (S, T) float64
        Share of the clients the style is considered for; 0 before launch.
    respill : (P,) float64
        Share of unserved picks that go to another style of the pool still in stock: 1
        where a stylist fills the box anyway, 0 where the client leaves.
    """

    pool: Ints
    traffic: Traffic
    p: Floats
    considered: Floats
    respill: Floats

    @staticmethod
    def of(
        pool: ArrayLike,
        traffic: Traffic,
        p: ArrayLike,
        *,
        considered: ArrayLike = 1.0,
        respill: ArrayLike = 0.0,
    ) -> Demand:
        """Spread ``considered`` ((), (S, 1) or (S, T)) and ``respill`` over rows and pools."""
        rates = np.asarray(p, np.float64)
        rows = np.asarray(pool, np.int64)
        weeks = traffic.mean.shape[1]
        if len(rows) != len(rates):
            raise ValueError(f"pool has {len(rows)} rows, p has {len(rates)}: give one each")
        bad = ~((rates >= 0) & (rates <= 1)).all(axis=1)
        if np.any(bad):
            raise ValueError(f"row {int(np.argmax(bad))}: p must lie in 0 .. 1 and be finite")
        return Demand(
            rows,
            traffic,
            rates,
            np.broadcast_to(np.asarray(considered, np.float64), (len(rows), weeks)),
            np.broadcast_to(np.asarray(respill, np.float64), (len(traffic.mean),)),
        )


def rate_draws(
    alpha: ArrayLike, beta: ArrayLike, weight: ArrayLike | None, n_paths: int, *, seed: int
) -> Floats:
    """(S, R) draws of Beta mixtures, stratified over the nodes.

    Parameters
    ----------
    alpha, beta : (S,) or (S, M)
    weight : (S, M) or None
        Mixture weights, rows adding to 1; None: one node each.
    """
    a, b = (np.asarray(v, np.float64) for v in (alpha, beta))
    a, b = (v[:, None] if v.ndim == 1 else v for v in (a, b))
    if np.any(~(a > 0) | ~(b > 0)):
        row = int(np.argmax(np.any(~(a > 0) | ~(b > 0), axis=1)))
        raise ValueError(f"style {row}: alpha and beta must be positive; use a finite prior")
    rng = np.random.default_rng(seed)
    if a.shape[1] == 1:
        return rng.beta(a, b, (len(a), n_paths))
    w = np.asarray(weight, np.float64)
    edge = np.cumsum(w, axis=1) / w.sum(axis=1, keepdims=True)
    u = (np.arange(n_paths) + rng.random((len(a), n_paths))) / n_paths
    node = np.empty((len(a), n_paths), np.int64)
    for s in range(len(a)):
        node[s] = rng.permutation(np.searchsorted(edge[s, :-1], u[s], side="right"))
    return rng.beta(np.take_along_axis(a, node, 1), np.take_along_axis(b, node, 1))
