"""What to carry and how much of it, for a season that is sold from one buy.

`plan_season` climbs (`ascent`) from several starts (`starts`) on simulated customers and
keeps the best plan. Three samples of customers keep it honest: a small one to find the
products, a large one to settle quantities and choose, and a hold-out that nothing was
chosen on, from which every figure of the plan is reported.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from retail_assets.models.assortment.ascent import Ascent, ascend
from retail_assets.models.assortment.baselines import fitted_mnl, independent_newsvendor, top_k
from retail_assets.models.assortment.bounds import Bound, upper_bound
from retail_assets.models.assortment.customers import Seasons, draw_seasons
from retail_assets.models.assortment.plan_reasons import reasons
from retail_assets.models.assortment.plan_result import Baseline, Estimate, JointPlan
from retail_assets.models.assortment.season import (
    Market,
    Season,
    check_same_products,
    with_carried,
)
from retail_assets.models.assortment.starts import chain_start, fluid_start, pooling_start
from retail_assets.models.assortment.unit_differences import (
    PlanValue,
    evaluate,
    unit_differences,
)

__all__ = [
    "Baseline",
    "Estimate",
    "FrontierPoint",
    "JointPlan",
    "Regret",
    "Samples",
    "draw_samples",
    "evaluate_under",
    "frontier",
    "plan_by_vendor",
    "plan_season",
    "regret",
]

Ints = NDArray[np.int64]

SMALL = 20
"""Products up to which every start is followed to its end, on the large sample at once;
above, the two best."""


@dataclass(frozen=True)
class Samples:
    """Customers to search on, to choose on and to report from."""

    search: Seasons
    choice: Seasons
    holdout: Seasons


def draw_samples(
    market: Market, seed: int, n_seasons: int | None = None, holdout_seasons: int | None = None
) -> Samples:
    """Three independent samples of a market.

    Parameters
    ----------
    market : Market
    seed : int
    n_seasons, holdout_seasons : int, optional
        Of the sample to choose on and of the hold-out. Default: as many as make about
        400,000 customers, or 4,000 per product up to 1.6 million: with 1,500 a product
        (n = 500) the chosen plan looked .6 % better than it was, with 3,200 .1 %.
    """
    expected = float(market.first_choice.sum(axis=1).mean())
    customers = min(max(400_000, 4_000 * len(market.products)), 1_600_000)
    usual = int(np.clip(customers / expected, 60, 40_000))
    chosen_on = usual if n_seasons is None else n_seasons
    reported = usual if holdout_seasons is None else holdout_seasons
    # A fifth finds the products: their gains are larger than what it misjudges.
    fewest = int(np.clip(150_000 / expected, 20, 60))
    search = min(chosen_on, max(chosen_on // 5, fewest))
    seeds = np.random.SeedSequence(seed).generate_state(3).tolist()
    return Samples(*map(draw_seasons, [market] * 3, [search, chosen_on, reported], seeds))


def plan_season(
    season: Season,
    market: Market,
    *,
    seed: int,
    n_seasons: int | None = None,
    holdout_seasons: int | None = None,
    bound: bool = True,
    baselines: bool = True,
    warm_starts: Mapping[str, Ints] | None = None,
) -> JointPlan:
    """The joint assortment and inventory plan of a season.

    Parameters
    ----------
    season : Season
    market : Market
        With D posterior draws the plan is best on average over them: seasons take the
        draws in turn.
    seed : int
    n_seasons, holdout_seasons : int, optional
        See `draw_samples`.
    bound : bool
        Also solve the fluid relaxation: gives the upper bound, one more start and the
        baseline ``fluid_lp``.
    baselines : bool
        Also value simpler plans on the hold-out.
    warm_starts : mapping of str to (n,) int64, optional
        Further starts, e.g. the plan of a slightly different season; feasible ones.

    Returns
    -------
    JointPlan

    Raises
    ------
    ValueError
        Season and market of different products; a warm start that breaks a limit.
    """
    check_same_products(season, market)
    relaxed = upper_bound(season, market) if bound else None
    began = time.perf_counter()
    samples = draw_samples(market, seed, n_seasons, holdout_seasons)
    begin = {"pooling": pooling_start(season, market), "chain": chain_start(season, market)}
    if relaxed is not None:
        begin["fluid_lp"] = fluid_start(season, relaxed.relaxed_quantity)
    simple = {name: plan for name, plan in begin.items() if name != "pooling"}
    if baselines or season.n_products <= SMALL:
        simple |= {
            "newsvendor": independent_newsvendor(season, market),
            "top_k": top_k(season, market, samples.search),
        }
    if season.n_products <= SMALL:
        begin |= simple
    start, best = _best_climb(season, samples, begin, warm_starts or {})
    seconds = time.perf_counter() - began
    if baselines:
        simple["mnl"] = fitted_mnl(season, market, seed)
    return _report(season, samples, start, best, simple if baselines else {}, relaxed, seconds)


def _best_climb(
    season: Season, samples: Samples, begin: Mapping[str, Ints], warm: Mapping[str, Ints]
) -> tuple[str, Ascent]:
    """From every start on the small sample, from the best on the large one.

    Warm starts go to the large one as they are, so the plan is never worse there.
    """
    small = season.n_products <= SMALL
    search = samples.choice if small else samples.search
    brief = {name: ascend(season, search, start, thorough=False) for name, start in begin.items()}
    ranked = sorted(brief, key=lambda name: -brief[name].profit)
    found = {
        name: ascend(
            season, search, brief[name].quantity, first_step=0.02, worth_a_round=2e-4
        ).quantity
        for name in (ranked if small else ranked[:2])
    }
    settled = {
        name: ascend(season, samples.choice, quantity, first_step=0.02, thorough=False)
        for name, quantity in {**found, **warm}.items()
    }
    best = max(settled, key=lambda name: settled[name].profit)
    last = ascend(
        season, samples.choice, settled[best].quantity, first_step=0.02, worth_a_round=2e-4
    )
    return best, last


def _report(
    season: Season,
    samples: Samples,
    start: str,
    best: Ascent,
    simple: Mapping[str, Ints],
    relaxed: Bound | None,
    seconds: float,
) -> JointPlan:
    value = evaluate(season, samples.holdout, best.quantity)
    margins = unit_differences(season, samples.holdout, best.quantity)
    wanted = value.first_choice.sum(axis=0)
    got = (value.sales - value.substituted_in).sum(axis=0)
    return JointPlan(
        products=season.products,
        quantity=best.quantity,
        start=start,
        in_sample_profit=best.profit,
        holdout=Estimate.of(value.profit),
        profit_by_season=value.profit,
        draw=samples.holdout.draw,
        bound=relaxed,
        expected_sales=value.sales.mean(axis=0),
        first_choice=wanted / samples.holdout.n_seasons,
        fill_rate=np.divide(got, wanted, out=np.full(len(wanted), np.nan), where=wanted > 0),
        plus=margins.plus,
        minus=margins.minus,
        reasons=reasons(season, samples.search, best.quantity),
        baselines={
            name: _baseline(season, samples.holdout, quantity, value)
            for name, quantity in simple.items()
        },
        seconds=seconds,
    )


def _baseline(season: Season, holdout: Seasons, quantity: Ints, plan: PlanValue) -> Baseline:
    profit = evaluate(season, holdout, quantity).profit
    return Baseline(quantity, Estimate.of(profit), Estimate.of(profit - plan.profit), profit)


def plan_by_vendor(
    season: Season,
    market: Market,
    vendors: Mapping[str, Sequence[str]],
    order: Sequence[str],
    *,
    seed: int,
    **options: bool | int | None,
) -> tuple[JointPlan, ...]:
    """One vendor after another, each given what is carried from those before.

    Parameters
    ----------
    season, market
    vendors : mapping of str to sequence of str
        Products of each vendor. Products of nobody in ``order`` are not carried.
    order : sequence of str
        In which vendors are met.
    seed : int
    **options
        Of `plan_season`.

    Returns
    -------
    tuple of JointPlan
        After each vendor; the last is the whole plan.

    Raises
    ------
    ValueError
        A vendor without products, or met twice.
    """
    unknown = [vendor for vendor in order if not vendors.get(vendor)]
    if unknown:
        raise ValueError(f"vendor {', '.join(unknown)} has no products; name one of {[*vendors]}")
    if len(set(order)) < len(order):
        raise ValueError(f"vendors are met once each, got {', '.join(order)}")
    plans: list[JointPlan] = []
    carried: dict[str, int] = {}
    later = set(season.products)
    for vendor in order:
        later -= set(vendors[vendor])
        # What must be carried of a later vendor is that vendor's turn.
        now = replace(season, must_carry=season.must_carry & ~np.isin(season.products, [*later]))
        stage = with_carried(now, carried, vendors[vendor])
        plans.append(plan_season(stage, market, seed=seed, **options))  # type: ignore[arg-type]
        carried = plans[-1].carried
    return tuple(plans)


@dataclass(frozen=True)
class Regret:
    """What each plan earns under each choice model, and loses if it is not its own.

    Parameters
    ----------
    profit : dict of (plan, market) to Estimate
    regret : dict of (plan, market) to Estimate
        The market's best plan's profit less this one's, on the same customers.
    """

    profit: dict[tuple[str, str], Estimate]
    regret: dict[tuple[str, str], Estimate]

    def worst(self, plan: str) -> float:
        """Largest regret of a plan over the markets, cents."""
        return max(r.mean for (own, _), r in self.regret.items() if own == plan)


def evaluate_under(
    plans: Mapping[str, Ints],
    season: Season,
    market: Market,
    seed: int,
    n_seasons: int | None = None,
) -> dict[str, PlanValue]:
    """Every plan on the same customers of a market it may not have been made for."""
    check_same_products(season, market)
    seasons = draw_samples(market, seed, holdout_seasons=n_seasons).holdout
    return {name: evaluate(season, seasons, quantity) for name, quantity in plans.items()}


def regret(
    plans: Mapping[str, Ints], season: Season, markets: Mapping[str, Market], seed: int
) -> Regret:
    """Plans under choice models that the data cannot tell apart.

    Parameters
    ----------
    plans : mapping of str to (n,) int64
        E.g. the plan made under each choice model, by its name.
    season : Season
    markets : mapping of str to Market
    seed : int
    """
    profit, lost = {}, {}
    for which, market in markets.items():
        values = evaluate_under(plans, season, market, seed)
        best = max(values.values(), key=lambda value: value.mean)
        for name, value in values.items():
            profit[name, which] = Estimate.of(value.profit)
            lost[name, which] = Estimate.of(best.profit - value.profit)
    return Regret(profit, lost)


@dataclass(frozen=True)
class FrontierPoint:
    """The best plan of a budget, cents."""

    budget: float
    plan: JointPlan


def frontier(
    season: Season,
    market: Market,
    budgets: Sequence[float],
    *,
    seed: int,
    bound: bool = True,
    n_seasons: int | None = None,
) -> tuple[FrontierPoint, ...]:
    """Profit against budget, from the smallest to the largest.

    All budgets are judged on the same customers. A smaller budget's plan is a start of
    the next, and a plan that a larger budget does not beat is kept: profit on the sample
    never falls.
    """
    points: list[FrontierPoint] = []
    for budget in sorted(budgets):
        warm = {"smaller budget": points[-1].plan.quantity} if points else None
        plan = plan_season(
            replace(season, budget=float(budget)),
            market,
            seed=seed,
            n_seasons=n_seasons,
            bound=bound,
            baselines=False,
            warm_starts=warm,
        )
        points.append(FrontierPoint(float(budget), plan))
    return tuple(points)
