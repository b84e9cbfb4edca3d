"""What not knowing the rates means for a plan, and what knowing them would earn.

Every posterior draw is a market that may be the true one. Three questions are asked of
them: does a product belong in the best plan of most markets (`plans_of_draws`); what
would the plan earn more if all rates were known (`value_of_information`); what if those
of one product were (`value_of_learning`), which says where a trial or a count pays.

Each draw has seasons of its own, stratified like all (`customers`). Plans are valued
twice over: two independent halves tell what the rates do from what chance does.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from retail_assets.models.assortment.customers import Seasons, draw_seasons
from retail_assets.models.assortment.season import Market, Season, check_same_products
from retail_assets.models.assortment.unit_differences import mean_profit
from retail_assets.models.assortment.verdicts import ExpectedDifference, expected_difference

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Improve = Callable[[Season, Seasons, Ints], Ints]
"""A better plan for a sample of seasons, from a feasible one; e.g. `ascent.ascend`'s."""

PENALTIES = 10.0 ** np.arange(-3.0, 3.0)
"""Ridge penalties tried, as a share of the draws."""


@dataclass(frozen=True)
class PlansOfDraws:
    """The best plan of each of some posterior draws, as if it were known to be true.

    Parameters
    ----------
    draw : (G,) int64
    quantity : (G, n) int64
    """

    draw: Ints
    quantity: Ints

    @property
    def p_selected(self) -> Floats:
        """(n,) share of the draws whose plan carries the product."""
        share: Floats = (self.quantity > 0).mean(axis=0)
        return share


@dataclass(frozen=True)
class ProfitByDraw:
    """What each plan earns in the market of each draw.

    Parameters
    ----------
    draw : (G,) int64
    profit : (2, G, P) float64
        Mean cents per season of plan p under draw g, by two independent samples.
    """

    draw: Ints
    profit: Floats

    def difference(self, plan: int, other: int) -> ExpectedDifference:
        """What a plan earns more than another; ``p_positive`` is P(it beats it)."""
        gain = self.profit[:, :, plan] - self.profit[:, :, other]
        return expected_difference(gain.ravel(), np.tile(self.draw, len(gain)))


@dataclass(frozen=True)
class Worth:
    """Expected gain of knowing something before the plan is made, cents a season.

    Parameters
    ----------
    value : float64, or (k,)
        Never below 0: what is known need not be used.
    se : float64, or (k,)
        Standard error, from the spread over the draws.
    """

    value: Floats
    se: Floats


def plans_of_draws(
    season: Season,
    market: Market,
    start: Ints,
    improve: Improve,
    *,
    seed: int,
    most: int = 20,
    n_seasons: int = 60,
) -> PlansOfDraws:
    """For some posterior draws, the plan one would make if that draw were the truth.

    All draws have one seed, so that their plans differ by their rates and not by luck.

    Parameters
    ----------
    season : Season
    market : Market
    start : (n,) int64
        Where each search begins: the joint plan, made for all draws at once.
    improve : callable
        ``improve(season, seasons, quantity) -> quantity``.
    seed : int
    most : int
        Draws used at most, evenly spaced; a share of 20 has a standard error of .11.
    n_seasons : int
        Sample each plan is made for.

    Returns
    -------
    PlansOfDraws

    Raises
    ------
    ValueError
        Season and market of different products; no draw asked for.
    """
    check_same_products(season, market)
    draw = _evenly(market.n_draws, most)
    plans = [
        improve(season, draw_seasons(market.draw(g), n_seasons, seed), start) for g in draw.tolist()
    ]
    return PlansOfDraws(draw, np.array(plans, dtype=np.int64))


def profit_by_draw(
    season: Season,
    market: Market,
    quantities: Ints,
    *,
    seed: int,
    most: int = 100,
    n_seasons: int = 40,
) -> ProfitByDraw:
    """Expected profit of candidate plans under posterior draws.

    Parameters
    ----------
    season : Season
    market : Market
    quantities : (P, n) int64
        Candidates, e.g. the joint plan and the different ones among `plans_of_draws`. Use
        another seed than theirs: a plan earns too much on the seasons it was made for.
    seed : int
    most : int
        Draws used at most, evenly spaced.
    n_seasons : int
        Per draw and half; the same customers for all plans.

    Returns
    -------
    ProfitByDraw

    Raises
    ------
    ValueError
        Season and market of different products; no draw asked for.
    """
    check_same_products(season, market)
    draw = _evenly(market.n_draws, most)
    # A seed for every draw and half: chance shared by the draws would pass for no chance
    # (with 2 seasons each, 83 % of 600 intervals of `difference` then held the truth).
    seeds = np.random.SeedSequence(seed).generate_state(2 * len(draw)).reshape(2, -1)
    profit = np.empty((2, len(draw), len(quantities)))
    for half, own in enumerate(seeds.tolist()):
        for row, g in enumerate(draw.tolist()):
            seasons = draw_seasons(market.draw(g), n_seasons, own[row])
            profit[half, row] = [mean_profit(season, seasons, plan) for plan in quantities]
    return ProfitByDraw(draw, profit)


def value_of_information(profit: Floats) -> Worth:
    """Expected value of perfect information about all rates, among the candidate plans.

    ``E_draw[max_p profit] - max_p E_draw[profit]``. The best of several noisy profits
    looks too good, so a draw's plan is chosen on one half and valued on the other, both
    ways round.

    Parameters
    ----------
    profit : (2, G, P) or (G, P) float64
        Of `profit_by_draw`; (G, P) where profits are free of Monte Carlo error.

    Returns
    -------
    Worth

    Examples
    --------
    >>> float(value_of_information(np.array([[4.0, 1.0], [0.0, 2.0]])).value)
    1.0
    """
    halves = _halves(profit)
    best = int(halves.mean(axis=(0, 1)).argmax())
    gains = []
    for choosing, valuing in zip(halves, halves[::-1], strict=True):
        chosen = np.take_along_axis(valuing, choosing.argmax(axis=1)[:, None], axis=1)[:, 0]
        gains.append(chosen - valuing[:, best])
    return _worth(np.mean(gains, axis=0))


def value_of_learning(profit: Floats, rates: Floats) -> Worth:
    """Expected value of knowing some rates exactly, for each of k sets of rates.

    ``E_phi[max_p E(profit_p | phi)] - max_p E(profit_p)``, the conditional mean by
    regression on the draws of phi (Strong, Oakley & Brennan 2014, *Medical Decision
    Making* 34(3)), here by low-order polynomials. A draw's plan is chosen by the
    regression without that draw and valued by the draw's own profit, so that fitting
    chance earns nothing; what is valued is the policy found. In four markets of 8
    products 100 draws found 88 % of what 3,000 found (``bench/improves.py``).

    Parameters
    ----------
    profit : (2, G, P) or (G, P) float64
    rates : (G, k) or (G, k, m) float64
        k rates, or k sets of m rates each, the one expected to matter most first, e.g. a
        product's demand and then its row of the substitution matrix.

    Returns
    -------
    Worth
        Arrays of (k,).

    Raises
    ------
    ValueError
        Rates of another number of draws; fewer than 3 draws.
    """
    average = _halves(profit).mean(axis=0)
    sets = np.asarray(rates, np.float64)
    if sets.ndim not in (2, 3) or len(sets) != len(average):
        raise ValueError(
            f"rates must be ({len(average)}, k) or ({len(average)}, k, m), a row for each draw "
            f"of the profits, got {sets.shape}"
        )
    if len(average) < 3:
        raise ValueError(f"learning needs at least 3 draws, got {len(average)}")
    gain = average - average[:, [int(average.mean(axis=0).argmax())]]
    worth = []
    for which in range(sets.shape[1]):
        expected = _left_out(sets[:, which].reshape(len(sets), -1), gain)
        chosen = expected.argmax(axis=1)[:, None]
        worth.append(_worth(np.take_along_axis(gain, chosen, axis=1)[:, 0]))
    return Worth(np.array([w.value for w in worth]), np.array([w.se for w in worth]))


def _left_out(rates: Floats, gain: Floats) -> Floats:
    """(G, P) conditional means of the gains; each draw's slopes are without that draw.

    The means are those of all draws, as in the plan that gains are measured against:
    a rate that says nothing then changes no decision. Design and ridge penalty of each
    plan are those of least squared error, left out.
    """
    mean = gain.mean(axis=0)
    centred = gain - mean
    best, least = np.zeros_like(gain), (centred**2).mean(axis=0)
    for x in _designs(rates):
        u, s, _ = np.linalg.svd(x, full_matrices=False)
        for penalty in len(x) * PENALTIES:
            weight = s**2 / (s**2 + penalty)
            own = (u**2 @ weight)[:, None]
            fitted = (u * weight) @ (u.T @ centred)
            slope = (fitted - own * centred) / np.maximum(1 - own, 1e-9)
            error = ((centred - slope) ** 2).mean(axis=0)
            best, least = np.where(error < least, slope, best), np.minimum(error, least)
    expected: Floats = mean + best
    return expected


def _designs(rates: Floats) -> list[Floats]:
    """The first rate alone, then all of them, each without and with squares.

    The best of them is taken because 100 draws do not carry squares of 9 rates: with that
    design alone what a product's demand is worth drowned in the rates of its row.
    """
    centred = rates - rates.mean(axis=0)
    spread = centred.std(axis=0)
    varies = spread > 1e-12 * np.abs(rates).max(initial=0.0)
    unit = np.where(varies, centred / np.where(varies, spread, 1.0), 0.0)
    return [
        np.hstack([x, x**2 - 1]) if curved else x for x in (unit[:, :1], unit) for curved in (0, 1)
    ]


def _worth(gain: Floats) -> Worth:
    """From the gain of each draw."""
    error = gain.std(ddof=1) / np.sqrt(len(gain)) if len(gain) > 1 else np.inf
    return Worth(np.maximum(gain.mean(), 0.0), np.asarray(error))


def _halves(profit: Floats) -> Floats:
    value = np.asarray(profit, np.float64)
    return value[None] if value.ndim == 2 else value


def _evenly(n_draws: int, most: int) -> Ints:
    """At most ``most`` of the draws, evenly spaced over the chain."""
    if most < 1:
        raise ValueError(f"at least 1 posterior draw must be used, got {most}")
    used = min(n_draws, most)
    return np.arange(used, dtype=np.int64) * n_draws // used
