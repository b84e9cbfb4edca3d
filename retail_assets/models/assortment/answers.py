"""One buying occasion answered: the plan, how sure it is, and what it is measured against.

Puts together `joint_plan` (what to buy), `uncertainty` (what not knowing the rates means
for it) and, where receipts cannot tell one choice model from the other, the regret of
following the wrong one. Chooses nothing but which plan to recommend.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from retail_assets.models.assortment.ascent import ascend
from retail_assets.models.assortment.customers import Seasons, draw_seasons
from retail_assets.models.assortment.joint_plan import (
    Estimate,
    FrontierPoint,
    JointPlan,
    frontier,
    plan_by_vendor,
    plan_season,
    regret,
)
from retail_assets.models.assortment.season import Market, Season, smallest_quantity
from retail_assets.models.assortment.uncertainty import (
    plans_of_draws,
    profit_by_draw,
    value_of_information,
    value_of_learning,
)
from retail_assets.models.assortment.unit_differences import PlanValue, evaluate
from retail_assets.models.assortment.verdicts import ExpectedDifference, expected_difference

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

JOINT, BY_VENDOR, RIVAL = "joint", "by_vendor", "newsvendor"
DRAWS_PLANNED = 8
"""Posterior draws that get a plan of their own; a share of 10 has a standard error of .16."""
SHOWN_SEASONS = 100
"""From which sales and fill rates are shown."""
DRAWS_MET = 12
"""Posterior draws that the plan's customers come from; with 40 the upper bound of 8 products took
20 CPU s instead of 2 and moved by .02 %."""
HOLDOUT_SEASONS = 100
BUDGETS = (0.5, 0.75, 1.25, 1.5)
"""Of the given budget; where the frontier is looked at beside it."""
CUSTOMERS = 80_000
"""Of each sample, and at least 4,000 a product. A category of 6 products then takes 3 CPU s; with
the 400,000 of `joint_plan` 5, for a plan worth .1 % more."""


@dataclass(frozen=True)
class MethodAnswer:
    """What one way to plan buys and earns. Money in cents a season.

    Parameters
    ----------
    quantity : (n,) int64
    expected_sales : (n,) float64
        Units, substitutes included.
    fill_rate : (n,) float64
        Share of those who want the product first and get it; nan if none does.
    holdout : float
        Expected profit on seasons nothing was chosen on.
    low, high : float
        95 % interval of it; not knowing the rates is included.
    against_joint : ExpectedDifference or None
        Its profit less the joint plan's; None for the joint plan.
    """

    quantity: Ints
    expected_sales: Floats
    fill_rate: Floats
    holdout: float
    low: float
    high: float
    against_joint: ExpectedDifference | None


@dataclass(frozen=True)
class Answer:
    """One occasion under one choice model.

    Parameters
    ----------
    choice_model : str
    plan : JointPlan
    by_vendor : JointPlan or None
        The last step of deciding vendor by vendor, where that was asked for.
    methods : dict of str to MethodAnswer
        `JOINT`, `BY_VENDOR` where asked for, and the baselines.
    p_selected : (n,) float64
        Share of the draws whose own best plan carries the product.
    value_of_learning : (n,) float64
        Of knowing the product's demand and its row of the substitution matrix.
    value_of_information : float
        Of knowing all rates.
    gain_by_draw : (G,) float64
        What the followed plan earns more than the independent newsvendor's, by draw.
    regret : float or None
        Expected profit lost if the other choice model holds; None where there is none.
    recommended : str or None
        The method to follow; None where another choice model's plan regrets less.
    frontier : tuple of FrontierPoint
        Empty without a budget.
    """

    choice_model: str
    plan: JointPlan
    by_vendor: JointPlan | None
    methods: dict[str, MethodAnswer]
    p_selected: Floats
    value_of_learning: Floats
    value_of_information: float
    gain_by_draw: Floats
    regret: float | None
    recommended: str | None
    frontier: tuple[FrontierPoint, ...]

    @property
    def followed(self) -> str:
        """The method that the rules ask for."""
        return JOINT if self.by_vendor is None else BY_VENDOR


def answer(
    season: Season,
    markets: Sequence[Market],
    vendors: Mapping[str, Sequence[str]],
    *,
    seed: int,
) -> tuple[Answer, ...]:
    """Plan a season under every choice model the data leave open.

    Parameters
    ----------
    season : Season
    markets : sequence of Market
        One per choice model; their plans are compared under each other's.
    vendors : mapping of str to products
        In the order they are met; empty to decide everything at once.
    seed : int

    Returns
    -------
    tuple of Answer
        In the order of the markets; exactly one has a recommendation.
    """
    plans = [
        plan_season(
            season,
            market.some(DRAWS_MET),
            seed=seed,
            n_seasons=_seasons(market, CUSTOMERS, 40),
            holdout_seasons=_seasons(market, CUSTOMERS, HOLDOUT_SEASONS),
        )
        for market in markets
    ]
    steps = [_by_vendor(season, market, vendors, seed) for market in markets]
    # By vendor is an order of business: it is followed where the rules ask for it.
    followed = [plan if step is None else step for plan, step in zip(plans, steps, strict=True)]
    regrets = _regrets(season, markets, followed, seed)
    kept = int(np.argmin([0.0 if lost is None else lost for lost in regrets]))
    return tuple(
        _answer(season, market, plans[at], steps[at], regrets[at], at == kept, seed)
        for at, market in enumerate(markets)
    )


def _seasons(market: Market, customers: int, least: int) -> int:
    """Seasons that together have about so many customers."""
    expected = float(market.first_choice.sum(axis=1).mean())
    wanted = max(customers, customers * len(market.products) // 30)
    return int(np.clip(wanted / expected, least, 4_000))


def _by_vendor(
    season: Season, market: Market, vendors: Mapping[str, Sequence[str]], seed: int
) -> JointPlan | None:
    if not vendors:
        return None
    return plan_by_vendor(
        season,
        market.some(DRAWS_MET),
        vendors,
        list(vendors),
        seed=seed,
        n_seasons=_seasons(market, CUSTOMERS, 40),
        holdout_seasons=_seasons(market, CUSTOMERS, HOLDOUT_SEASONS),
        bound=False,
        baselines=False,
    )[-1]


def _regrets(
    season: Season, markets: Sequence[Market], plans: Sequence[JointPlan], seed: int
) -> list[float | None]:
    if len(markets) == 1:
        return [None]
    names: list[str] = [market.choice_model for market in markets]
    quantities = {name: plan.quantity for name, plan in zip(names, plans, strict=True)}
    found = regret(quantities, season, dict(zip(names, markets, strict=True)), seed)
    return [found.worst(name) for name in names]


def _answer(
    season: Season,
    market: Market,
    plan: JointPlan,
    step: JointPlan | None,
    lost: float | None,
    kept: bool,
    seed: int,
) -> Answer:
    def improve(own: Season, seasons: Seasons, quantity: Ints) -> Ints:
        # The joint plan is near: what a whole round would add is not worth its time.
        return ascend(own, seasons, quantity, first_step=0.05, worth_a_round=1e-3).quantity

    own_plans = plans_of_draws(
        season,
        market,
        plan.quantity,
        improve,
        seed=seed + 1,
        most=DRAWS_PLANNED,
        n_seasons=_seasons(market, CUSTOMERS // 3, 10),
    )
    quantities = {JOINT: plan.quantity}
    if step is not None:
        quantities[BY_VENDOR] = step.quantity
    quantities |= {name: baseline.quantity for name, baseline in plan.baselines.items()}
    others = np.unique(own_plans.quantity, axis=0)
    candidates = np.vstack([*quantities.values(), others])
    profits = profit_by_draw(
        season,
        market,
        candidates,
        seed=seed + 2,
        n_seasons=_seasons(market, CUSTOMERS // 6, 10),
    )
    holdout = {JOINT: plan.holdout} | {n: b.holdout for n, b in plan.baselines.items()}
    if step is not None:
        holdout[BY_VENDOR] = step.holdout
    people = draw_seasons(market, SHOWN_SEASONS, seed + 3)
    methods = {
        name: _method(
            quantity,
            evaluate(season, people, quantity),
            holdout[name],
            expected_difference(profits.profit[:, :, at].ravel(), np.tile(profits.draw, 2)),
            None if at == 0 else profits.difference(at, 0),
        )
        for at, (name, quantity) in enumerate(quantities.items())
    }
    followed = 0 if step is None else 1
    gain = profits.profit[:, :, followed] - profits.profit[:, :, list(quantities).index(RIVAL)]
    learnt = _learning(market, profits.profit, profits.draw)
    return Answer(
        choice_model=market.choice_model,
        plan=plan,
        by_vendor=step,
        methods=methods,
        p_selected=own_plans.p_selected,
        value_of_learning=learnt,
        value_of_information=float(value_of_information(profits.profit).value),
        gain_by_draw=gain.mean(axis=0),
        regret=lost,
        recommended=(JOINT if step is None else BY_VENDOR) if kept else None,
        frontier=_frontier(season, market, plan, seed),
    )


def _method(
    quantity: Ints,
    value: PlanValue,
    holdout: Estimate,
    by_draw: ExpectedDifference,
    against: ExpectedDifference | None,
) -> MethodAnswer:
    """The interval's width is of the draws' own seasons, its middle of the hold-out."""
    wanted = value.first_choice.sum(axis=0)
    got = (value.sales - value.substituted_in).sum(axis=0)
    return MethodAnswer(
        quantity=quantity,
        expected_sales=value.sales.mean(axis=0),
        fill_rate=np.divide(got, wanted, out=np.full(len(wanted), np.nan), where=wanted > 0),
        holdout=holdout.mean,
        low=holdout.mean + by_draw.low - by_draw.mean,
        high=holdout.mean + by_draw.high - by_draw.mean,
        against_joint=against,
    )


def _learning(market: Market, profit: Floats, draw: Ints) -> Floats:
    """(n,) value of learning each product's demand and row; nan with too few draws."""
    n = len(market.products)
    if len(draw) < 3:
        return np.full(n, np.nan)
    demand = market.first_choice[draw][:, :, None]
    rates = np.concatenate([demand, market.substitution_rate[draw]], axis=2)
    return value_of_learning(profit, rates).value


def _frontier(
    season: Season, market: Market, plan: JointPlan, seed: int
) -> tuple[FrontierPoint, ...]:
    """Budgets around the given one, and that; those below what must be carried are left out."""
    if not np.isfinite(season.budget):
        return ()
    least = season.spend(np.where(season.must_carry, smallest_quantity(season), 0))
    budgets = [share * season.budget for share in BUDGETS if share * season.budget >= least]
    chosen_on = _seasons(market, CUSTOMERS // 3, 20)
    found = frontier(season, market.some(DRAWS_MET), budgets, seed=seed, n_seasons=chosen_on)
    return tuple(
        sorted((*found, FrontierPoint(season.budget, plan)), key=lambda point: point.budget)
    )
