"""A styling shop that is *not* the forecast's model: whole boxes, tastes, one parcel back.

Every client gets the five styles that please a stylist best among those recommended and
in stock. Tastes are shared within clusters of styles, so that picks of one box are
correlated; a client who likes one piece likes the others; what is not kept comes back
in one parcel, some days after the box was sent. Clients come on days, not weeks.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

WEEK = 7


@dataclass(frozen=True)
class BoxShop:
    """Truth of one shop; utilities and keep effects are per style."""

    utility: NDArray[np.float64]
    cluster: NDArray[np.int64]
    keep_logit: NDArray[np.float64]
    recommended: NDArray[np.float64]
    clients: float = 200.0
    dispersion: float = 0.03
    box: int = 5
    cluster_sd: float = 0.8
    client_sd: float = 0.7
    delay_shape: float = 4.0
    delay_mean: float = 11.0

    @staticmethod
    def draw(n_styles: int, rng: np.random.Generator) -> BoxShop:
        return BoxShop(
            rng.normal(0.0, 0.7, n_styles),
            rng.integers(0, 5, n_styles),
            rng.normal(0.2, 0.4, n_styles),
            rng.uniform(0.3, 0.7, n_styles),
        )


@dataclass
class Log:
    """What the shop's books say."""

    clients: list[int] = field(default_factory=list)
    considered: list[NDArray[np.int64]] = field(default_factory=list)
    chosen: list[NDArray[np.int64]] = field(default_factory=list)
    style: list[NDArray[np.int64]] = field(default_factory=list)
    sent_day: list[NDArray[np.int64]] = field(default_factory=list)
    settled_day: list[NDArray[np.int64]] = field(default_factory=list)
    kept: list[NDArray[np.bool_]] = field(default_factory=list)
    on_hand: list[NDArray[np.int64]] = field(default_factory=list)

    def shipments(self) -> tuple[NDArray, NDArray, NDArray, NDArray]:
        """Style, day sent, day settled, kept: of every unit ever sent."""
        return tuple(
            np.concatenate(part)
            for part in (self.style, self.sent_day, self.settled_day, self.kept)
        )  # type: ignore[return-value]


def trade(
    shop: BoxShop,
    stock: NDArray[np.int64],
    days: range,
    log: Log,
    rng: np.random.Generator,
    arrivals: NDArray[np.int64] | None = None,
) -> NDArray[np.int64]:
    """Trade ``days``; stock at the end. ``arrivals`` (weeks, n) come at each week's start."""
    stock = stock.copy()
    n = len(stock)
    level = 1.0
    for day in days:
        week = (day - days[0]) // WEEK
        if (day - days[0]) % WEEK == 0:
            level = rng.gamma(1.0 / shop.dispersion, shop.dispersion)
            log.clients.append(0)
            log.considered.append(np.zeros(n, np.int64))
            log.chosen.append(np.zeros(n, np.int64))
            if arrivals is not None:
                stock += arrivals[week]
        stock += _back(log, day, n)
        came = rng.poisson(shop.clients * level / WEEK)
        log.clients[-1] += came
        _serve(shop, stock, came, day, log, rng)
        if (day - days[0]) % WEEK == WEEK - 1:
            log.on_hand.append(stock.copy())
    return stock


def _back(log: Log, day: int, n: int) -> NDArray[np.int64]:
    """Units of parcels that arrive today, by style."""
    back = np.zeros(n, np.int64)
    for style, settled, kept in zip(
        log.style[-80:], log.settled_day[-80:], log.kept[-80:], strict=True
    ):
        np.add.at(back, style[(settled == day) & ~kept], 1)
    return back


def _serve(
    shop: BoxShop,
    stock: NDArray[np.int64],
    came: int,
    day: int,
    log: Log,
    rng: np.random.Generator,
) -> None:
    n = len(stock)
    taste = rng.normal(0.0, shop.cluster_sd, (came, shop.cluster.max() + 1))
    liking = shop.utility + taste[:, shop.cluster] + rng.gumbel(size=(came, n))
    shown = rng.random((came, n)) < shop.recommended
    pleased = rng.normal(0.0, shop.client_sd, came)
    parcel = (
        day
        + 1
        + np.floor(
            rng.gamma(shop.delay_shape, (shop.delay_mean - 1) / shop.delay_shape, came)
        ).astype(np.int64)
    )
    styles, settled, kept = [], [], []
    for c in range(came):
        could = shown[c] & (stock > 0)
        log.considered[-1] += could
        picks = np.argsort(np.where(could, -liking[c], np.inf))[: min(shop.box, could.sum())]
        log.chosen[-1][picks] += 1
        stock[picks] -= 1
        styles.append(picks)
        settled.append(np.full(len(picks), parcel[c]))
        logit = shop.keep_logit[picks] + pleased[c]
        kept.append(rng.random(len(picks)) < 1.0 / (1.0 + np.exp(-logit)))
    log.style.append(np.concatenate([np.empty(0, np.int64), *styles]))
    log.sent_day.append(np.full(len(log.style[-1]), day))
    log.settled_day.append(np.concatenate([np.empty(0, np.int64), *settled]))
    log.kept.append(np.concatenate([np.empty(0, bool), *kept]))
