"""Other ways to price a sale: the source's split, Ferreira et al.'s LP bounds, whole models.

All of them solve the same sale; none shares code with the optimiser that is measured.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from ortools.linear_solver import pywraplp
from ortools.sat.python import cp_model

from retail_assets.models.pricing.candidates import MARGIN, REVENUE, UNITS, Candidates
from retail_assets.models.pricing.sale_rules import SaleRules


@dataclass(frozen=True)
class PerTotal:
    """A sale written out per total: value (totals, m) of each candidate, NaN where illegal."""

    item: NDArray[np.int64]
    price: NDArray[np.int64]
    totals: NDArray[np.int64]
    value: NDArray[np.float64]


def per_total(sale: Candidates, step: int) -> PerTotal:
    """Every record the source's solvers were given: item x price x total, with its revenue."""
    first = np.flatnonzero(
        np.append(True, (np.diff(sale.item) != 0) | (np.diff(sale.price_cents) != 0))
    )
    item, price = sale.item[first], sale.price_cents[first]
    low = sum(int(price[item == i].min()) for i in range(len(sale.products)))
    high = sum(int(price[item == i].max()) for i in range(len(sale.products)))
    totals = np.arange(low, high + 1, step)
    value = np.full((len(totals), len(first)), np.nan)
    revenue = sale.measures()[:, REVENUE]
    for c, (a, b) in enumerate(pairwise([*first.tolist(), len(sale.item)])):
        for s in range(a, b):
            left = np.searchsorted(totals, sale.total_from_cents[s])
            right = np.searchsorted(totals, sale.total_to_cents[s], side="right")
            value[left:right, c] = revenue[s]
    return PerTotal(item, price, totals, value)


class OneTotal:
    """The source's sub-problem, built once; totals change its coefficients and right side."""

    def __init__(self, records: PerTotal, solver: str, integer: bool) -> None:
        self.records = records
        self.solver = pywraplp.Solver.CreateSolver(solver)
        m = len(records.item)
        if integer:
            self.use = [self.solver.BoolVar("") for _ in range(m)]
        else:
            self.use = [self.solver.NumVar(0, 1, "") for _ in range(m)]
        for i in range(int(records.item.max()) + 1):
            row = self.solver.Constraint(1, 1)
            for c in np.flatnonzero(records.item == i):
                row.SetCoefficient(self.use[c], 1)
        self.sum = self.solver.Constraint(0, 0)
        for c, p in enumerate(records.price.tolist()):
            self.sum.SetCoefficient(self.use[c], p / 100)
        self.goal = self.solver.Objective()
        self.goal.SetMaximization()

    def solve(self, t: int) -> float:
        """Best value at one total; minus infinity where no prices add up to it."""
        total = int(self.records.totals[t]) / 100
        self.sum.SetBounds(total, total)
        for variable, v in zip(self.use, self.records.value[t].tolist(), strict=True):
            self.goal.SetCoefficient(variable, v)
        if self.solver.Solve() != pywraplp.Solver.OPTIMAL:
            return -np.inf
        return float(self.goal.Value())


def split_sampled(records: PerTotal, solver: str, samples: int) -> float:
    """CPU seconds of one MIP per total, from ``samples`` of them spread over the range."""
    at = np.linspace(0, len(records.totals) - 1, samples).astype(int)
    started = time.process_time()
    for t in at.tolist():
        # a fresh model per total, as the source's split does
        OneTotal(records, solver, integer=True).solve(t)
    return (time.process_time() - started) / samples * len(records.totals)


def split_sampled_cp_sat(records: PerTotal, samples: int) -> float:
    """The same split, each total by CP-SAT with one worker."""
    at = np.linspace(0, len(records.totals) - 1, samples).astype(int)
    started = time.process_time()
    for t in at.tolist():
        model = cp_model.CpModel()
        use = [model.new_bool_var("") for _ in records.item]
        for i in range(int(records.item.max()) + 1):
            model.add_exactly_one(use[c] for c in np.flatnonzero(records.item == i))
        prices = records.price.tolist()
        model.add(cp_model.LinearExpr.weighted_sum(use, prices) == int(records.totals[t]))
        revenue = records.value[t].astype(np.int64).tolist()
        model.maximize(cp_model.LinearExpr.weighted_sum(use, revenue))
        solver = cp_model.CpSolver()
        solver.parameters.num_workers = 1
        solver.parameters.max_time_in_seconds = 5.0
        solver.solve(model)
    return (time.process_time() - started) / samples * len(records.totals)


@dataclass(frozen=True)
class LpBounds:
    """Result of the LP-bound method: objective, CPU seconds, LPs and MIPs solved."""

    objective: float
    cpu_seconds: float
    lps: int
    mips: int


def ferreira(records: PerTotal) -> LpBounds:
    """One LP per total (warm-started GLOP), then MIPs in falling order of the LP's bound.

    Ferreira, Lee and Simchi-Levi, M&SOM 18(1), 2016, section 4: a MIP is solved only while
    its LP bound exceeds the best found. MIPs by SCIP.
    """
    started = time.process_time()
    lp = OneTotal(records, "GLOP", integer=False)
    bounds = np.array([lp.solve(t) for t in range(len(records.totals))])
    best, mips = -np.inf, 0
    for t in np.argsort(-bounds).tolist():
        if bounds[t] <= best:
            break
        best = max(best, OneTotal(records, "SCIP", integer=True).solve(t))
        mips += 1
    return LpBounds(best, time.process_time() - started, len(bounds), mips)


def monolith(records: PerTotal, solver: str, seconds: float) -> tuple[float | None, bool]:
    """The source's MathProg model whole: best value within the limit (None), and proven."""
    model = pywraplp.Solver.CreateSolver(solver)
    model.SetTimeLimit(int(seconds * 1000))
    n_totals, m = records.value.shape
    chosen = [model.BoolVar("") for _ in range(n_totals)]
    one_total = model.Constraint(1, 1)
    one_of_each = [model.Constraint(1, 1) for _ in range(int(records.item.max()) + 1)]
    goal = model.Objective()
    goal.SetMaximization()
    for t in range(n_totals):
        one_total.SetCoefficient(chosen[t], 1)
        is_total = model.Constraint(0, 0)
        is_total.SetCoefficient(chosen[t], -int(records.totals[t]) / 100)
        for c in range(m):
            use = model.BoolVar("")
            one_of_each[records.item[c]].SetCoefficient(use, 1)
            is_total.SetCoefficient(use, int(records.price[c]) / 100)
            goal.SetCoefficient(use, float(records.value[t, c]))
    status = model.Solve()
    found = status in (pywraplp.Solver.OPTIMAL, pywraplp.Solver.FEASIBLE)
    return (goal.Value() if found else None), status == pywraplp.Solver.OPTIMAL


def cp_sat_whole(sale: Candidates, value: NDArray[np.float64], rules: SaleRules) -> float | None:
    """One CP-SAT model of a small sale with its rules; None when there are no prices."""
    model = cp_model.CpModel()
    use = [model.new_bool_var("") for _ in sale.item]
    n, measures = len(sale.products), sale.measures().astype(int)
    rows = [np.flatnonzero(sale.item == i).tolist() for i in range(n)]
    price = [sum(int(sale.price_cents[r]) * use[r] for r in own) for own in rows]
    for own in rows:
        model.add_exactly_one(use[r] for r in own)
    total = sum(price)
    for r, literal in enumerate(use):
        model.add(total >= int(sale.total_from_cents[r])).only_enforce_if(literal)
        model.add(total <= int(sale.total_to_cents[r])).only_enforce_if(literal)
        if not sale.legal[r]:
            model.add(literal == 0)
    for group in rules.same_price:
        for a, b in pairwise(group):
            model.add(price[a] == price[b])
    for chain in rules.price_order:
        for a, b in pairwise(chain):
            model.add(price[a] <= price[b])
    sums = [sum(int(x) * u for x, u in zip(column, use, strict=True)) for column in measures.T]
    if rules.max_changes is not None:
        model.add(sums[3] <= rules.max_changes)
    if rules.min_margin_pct is not None:
        model.add(100 * sums[MARGIN] >= int(rules.min_margin_pct) * sums[REVENUE])
    if rules.min_sell_through_pct is not None:
        available = 1000 * int(sale.units_available.sum())
        model.add(100 * sums[UNITS] >= int(rules.min_sell_through_pct) * available)
    model.maximize(sum(int(v) * u for v, u in zip(value, use, strict=True)))
    solver = cp_model.CpSolver()
    solver.parameters.num_workers = 1
    status = solver.solve(model)
    # the solver scales objectives: 1857 came back as 1857.0000000000002
    return float(round(solver.objective_value)) if status == cp_model.OPTIMAL else None
