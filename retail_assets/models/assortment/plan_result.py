"""What `joint_plan` answers: the plan, its hold-out figures and the simpler plans beside it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from retail_assets.models.assortment.bounds import Bound
from retail_assets.models.assortment.plan_reasons import Reason
from retail_assets.models.assortment.unit_differences import standard_error

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Estimate:
    """A mean over simulated seasons with its 95 % interval, cents."""

    mean: float
    se: float

    @classmethod
    def of(cls, value: Floats) -> Estimate:
        """Of (R,) values in the order of their strata."""
        return cls(float(value.mean()), standard_error(value))

    @property
    def ci_low(self) -> float:
        return self.mean - 1.96 * self.se

    @property
    def ci_high(self) -> float:
        return self.mean + 1.96 * self.se


@dataclass(frozen=True)
class Baseline:
    """A simpler plan on the same hold-out seasons.

    Parameters
    ----------
    quantity : (n,) int64
    holdout : Estimate
    difference : Estimate
        Its profit less the joint plan's, season by season.
    profit_by_season : (R,) float64
    """

    quantity: Ints
    holdout: Estimate
    difference: Estimate
    profit_by_season: Floats


@dataclass(frozen=True)
class JointPlan:
    """A season's plan. Money in cents; every figure is of the hold-out unless it says not.

    Parameters
    ----------
    products : tuple of str
    quantity : (n,) int64
        Units to buy.
    start : str
        Where the climb that ended best began.
    in_sample_profit : float
        Mean on the seasons the plan was chosen on: optimistic.
    holdout : Estimate
        Given the market, so without what is not known of its rates.
    profit_by_season, draw : (R,) float64 and int64
        Of each hold-out season, and the posterior draw its customers came from.
    bound : Bound or None
        No plan can expect more.
    expected_sales : (n,) float64
        Units.
    first_choice : (n,) float64
        Customers who want the product first.
    fill_rate : (n,) float64
        Share of the customers who want the product first and get it; nan if none does.
    plus, minus : (n,) float64
        Change of expected profit by one unit more and one less, fixed costs left out.
    reasons : tuple of Reason
    baselines : dict of str to Baseline
    seconds : float
        Wall time of starts and climbs, without baselines and the bound.
    """

    products: tuple[str, ...]
    quantity: Ints
    start: str
    in_sample_profit: float
    holdout: Estimate
    profit_by_season: Floats
    draw: Ints
    bound: Bound | None
    expected_sales: Floats
    first_choice: Floats
    fill_rate: Floats
    plus: Floats
    minus: Floats
    reasons: tuple[Reason, ...]
    baselines: dict[str, Baseline]
    seconds: float

    @property
    def upper_bound(self) -> float:
        """Cents; nan without a bound."""
        return float("nan") if self.bound is None else self.bound.profit

    @property
    def gap_pct(self) -> float:
        """Upper bound over hold-out profit, percent; nan without a bound or a profit."""
        if self.bound is None or self.holdout.mean <= 0:
            return float("nan")
        return 100 * (self.bound.profit / self.holdout.mean - 1)

    @property
    def optimism_pct(self) -> float:
        """In-sample over hold-out profit, percent; nan without a profit."""
        if self.holdout.mean <= 0:
            return float("nan")
        return 100 * (self.in_sample_profit / self.holdout.mean - 1)

    @property
    def carried(self) -> dict[str, int]:
        """Units of what is bought."""
        pairs = zip(self.products, self.quantity.tolist(), strict=True)
        return {product: units for product, units in pairs if units}
