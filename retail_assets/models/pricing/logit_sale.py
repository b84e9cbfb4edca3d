"""A sale whose customers choose by a multinomial logit: one fixed price per item, exact.

The alternative to demand read at the price total (`demand_kind = "mnl"`); the solver is `mnl`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from retail_assets.models.pricing.candidates import MILLI, Candidates
from retail_assets.models.pricing.frontier import Frontier, dominated, weight_grid
from retail_assets.models.pricing.mnl import optimise_mnl
from retail_assets.models.pricing.plan import RESOLUTION, Certificate, PricePlan, Target
from retail_assets.models.pricing.program import NoLegalPriceError
from retail_assets.models.pricing.reasons import Move, PriceReason

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class LogitSale:
    """A sale whose customers choose by a multinomial logit; one row per item and price.

    Customer by customer an item at price p is bought with weight w(p) against a weight of
    one for buying nothing. With s(p) the share of the sale's customers who buy it while all
    others stay at today's prices, w(p) = s(p) / s0(p), where s0(p) = (1 - s(p)) / (1 + W) is
    the share who then buy nothing and W the weight of the others at today's prices: exact
    for a logit (the ratio of two options does not depend on a third). Every item is priced
    jointly, so demand at the prices found is that of the logit, capped by the stock.

    Parameters
    ----------
    candidates : Candidates
        Every row holds at all totals.
    customers : float
        Customers the sale sees, buyers or not; above the demand for all items together.
    today : (n,) int64
        Row at the price charged now, or nearest to it.
    """

    candidates: Candidates
    customers: float
    today: Ints

    @property
    def weight(self) -> Floats:
        """(rows,) attraction of each row.

        Raises
        ------
        ValueError
            Fewer customers than units wanted.
        """
        share = self.candidates.demand / self.customers
        now = share[self.today]
        if share.max() >= 1 or now.sum() >= 1:
            raise ValueError(f"{self.customers:.0f} customers want more units than that in a logit")
        own = now / (1 - now.sum())
        others = (own.sum() - own)[self.candidates.item]
        return np.asarray(share * (1 + others) / (1 - share), np.float64)

    @property
    def unit_values(self) -> Floats:
        """(rows, 3) what one unit brings: revenue, margin (cents), and one unit."""
        price = self.candidates.price_cents
        margin = price - np.asarray(self.candidates.cost_cents)[self.candidates.item]
        return np.column_stack([price, margin, np.ones(len(price))]).astype(np.float64)

    def units(self, rows: Ints) -> Floats:
        """Units sold of each item at a choice of rows, (n,)."""
        weight = self.weight[rows]
        wanted = self.customers * weight / (1 + weight.sum())
        return np.asarray(np.minimum(wanted, self.candidates.units_available), np.float64)

    def sums(self, rows: Ints) -> Floats:
        """Per item: units in whole thousandths, revenue and margin in whole cents, (n, 3)."""
        milli = np.rint(self.units(rows) * MILLI)
        values = self.unit_values[rows]
        money = np.rint(values[:, :2] * milli[:, None] / MILLI)
        return np.column_stack([milli / MILLI, money])

    def best(self, value: Floats) -> tuple[Ints, float, float]:
        """Legal rows with the most expected value, (n,), what no prices exceed, its rounding.

        Values below zero count as zero in the bound: a cap then only lowers a plan's value.
        """
        legal = np.flatnonzero(self.candidates.legal)
        counts = np.bincount(self.candidates.item[legal], minlength=len(self.today))
        if (counts == 0).any():
            raise NoLegalPriceError(f"{self.candidates.products[int(counts.argmin())]}: none legal")
        worth = np.maximum(value[legal], 0.0)
        step = max(float(worth.max()), 1e-9) / RESOLUTION
        found = optimise_mnl(
            np.cumsum([0, *counts]).astype(np.int64),
            np.rint(worth / step).astype(np.int64),
            self.weight[legal],
            np.zeros(len(counts), np.int64),
        )
        scale = self.customers * step
        bound = scale * (found.margin_per_customer_cents + found.gap_cents)
        return legal[found.choice], bound, scale

    def solve(self, target: Target, weights: tuple[float, float, float]) -> PricePlan:
        """Best prices for a goal; a weighted score measures each part by its own best."""
        values = self.unit_values
        if target == "margin_pct":
            return self._best_percent()
        if target == "weighted":
            share = np.asarray(weights, float) / sum(weights)
            most = np.array([max(self.best(values[:, k])[1], 1e-9) for k in range(3)])
            factor = share / most
        else:
            column = ("revenue", "margin_cents", "sell_through").index(target)
            factor = np.zeros(3)
            available = float(np.sum(self.candidates.units_available))
            factor[column] = 100.0 / available if target == "sell_through" else 1.0
        rows, bound, rounding = self.best(values @ factor)
        reached = float(self.units(rows) @ (values @ factor)[rows])
        return self.plan(target, rows, reached, bound if bound > reached + rounding else reached)

    def _best_percent(self) -> PricePlan:
        """Margin over revenue: both sums have the logit's denominator, so it drops out."""
        legal, item = np.flatnonzero(self.candidates.legal), self.candidates.item
        value, weight = self.unit_values, self.weight
        ratio, rows = -np.inf, legal[:0]
        trial = float((value[legal, 1] / value[legal, 0]).min())
        while trial > ratio + 1e-15:
            ratio = trial
            gain = weight[legal] * (value[legal, 1] - ratio * value[legal, 0])
            order = legal[np.lexsort((-gain, item[legal]))]
            rows = order[np.unique(item[order], return_index=True)[1]]
            trial = float((weight * value[:, 1])[rows].sum() / (weight * value[:, 0])[rows].sum())
        units = self.units(rows)
        money, margin, _ = units @ value[rows]
        reached = 100 * float(margin / money) if money > 0 else 0.0
        capped = (units >= self.candidates.units_available).any()
        most = 100 * float((value[legal, 1] / value[legal, 0]).max()) if capped else reached
        return self.plan("margin_pct", rows, reached, max(most, reached))

    def plan(self, target: Target, rows: Ints, reached: float, bound: float) -> PricePlan:
        """A plan like those of `optimise`, with what the logit proves of it."""
        candidates, sums = self.candidates, self.sums(rows)
        prices = candidates.price_cents[rows]
        available = np.asarray(candidates.units_available)
        first, last = int(candidates.total_from_cents.min()), int(candidates.total_to_cents.max())
        totals = last - first + 1
        certificate = Certificate(
            reached, bound, bound - reached, int(prices.sum()), totals,
            totals if bound == reached else 0, 1, 0, "multinomial logit, Dinkelbach",
            np.array([[float(first), float(last), bound]]),
        )  # fmt: skip
        return PricePlan(
            target, prices, sums[:, 0], sums[:, 1].astype(np.int64), sums[:, 2].astype(np.int64),
            sums[:, 0] / available, int(available.sum()), certificate,
        )  # fmt: skip

    def frontier(self, steps: int = 10) -> Frontier:
        """One plan per mix of weights, as `frontier` of the price totals."""
        grid = weight_grid(steps)
        plans = tuple(self.solve("weighted", (a, b, c)) for a, b, c in grid.tolist())
        points = np.array([[p.revenue, p.margin_pct, p.sell_through_pct] for p in plans])
        return Frontier(grid, plans, dominated(points))

    def reasons(self, plan: PricePlan) -> tuple[PriceReason, ...]:
        """What the next lower and higher price would do to the whole sale."""
        candidates = self.candidates
        rows = candidates.row_at(plan.price_cents, int(candidates.total_from_cents.max()))
        here = self.sums(rows).sum(axis=0)
        found = []
        for i, product in enumerate(candidates.products):
            moves: list[Move | None] = []
            for to in (int(rows[i]) - 1, int(rows[i]) + 1):
                inside = 0 <= to < len(candidates.item) and candidates.item[to] == i
                moves.append(self._move(rows, here, i, to) if inside else None)
            found.append(PriceReason(product, int(plan.price_cents[i]), moves[0], moves[1]))
        return tuple(found)

    def _move(self, rows: Ints, here: Floats, i: int, to: int) -> Move:
        mask = 0 if self.candidates.broken is None else int(self.candidates.broken[to])
        names = tuple(r for bit, r in enumerate(self.candidates.rules) if mask >> bit & 1)
        moved = rows.copy()
        moved[i] = to
        units, revenue, margin = (self.sums(moved).sum(axis=0) - here).tolist()
        price = int(self.candidates.price_cents[to])
        return Move(price, 0, 0, 0.0, names) if names else Move(price, revenue, margin, units)


def logit_sale(candidates: Candidates, customers: float) -> LogitSale:
    """A logit sale around today's prices, the candidates nearest to those charged now.

    Customers are at least 1.25 times the largest demand for all items together: with fewer
    nobody would be left to win, and shares would not be shares.
    """
    prior = candidates.prior_price_cents
    away = (
        candidates.price_cents if prior is None else candidates.price_cents - prior[candidates.item]
    )
    order = np.lexsort((candidates.price_cents, abs(away), candidates.item))
    today = order[np.unique(candidates.item[order], return_index=True)[1]]
    starts = np.searchsorted(candidates.item, np.arange(len(candidates.products)))
    most = float(np.maximum.reduceat(candidates.demand, starts).sum())
    return LogitSale(candidates, max(customers, 1.25 * most, 1.0), today)
