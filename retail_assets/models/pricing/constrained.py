"""The best prices under rules that add up over the sale: changes, margin, sell-through.

The rules enter the bound with multipliers (each relaxation is solved exactly, in about a
millisecond for 30 items); what survives the bound is closed by CP-SAT. A whole sale of 30 x 10
given to CP-SAT has no solution after 3 CPU s, hence only the surviving core goes there.
"""

from __future__ import annotations

import heapq
import math
from dataclasses import dataclass, field
from itertools import combinations

import numpy as np
from numpy.typing import NDArray
from ortools.sat.python import cp_model

from retail_assets.models.pricing.kernels import Floats, Ints, block_values, bound, surviving
from retail_assets.models.pricing.program import NoLegalPriceError, Program
from retail_assets.models.pricing.sale_rules import LinearRule, PreparedSale
from retail_assets.models.pricing.search import START_BLOCKS, SearchResult, search

LEAF_BOOLS = 400
"""A block goes to CP-SAT once this few candidate segments survive (about 10 ms each)."""
ROUNDS = 3
DOUBLINGS = 50
PROOF_STEPS = 1e10
"""Whole-number steps the slacks are mixed in to prove a contradiction."""
PROOF_SEARCHES = 20
GOLDEN = 0.6180339887


@dataclass
class _State:
    """Incumbent and counters of one constrained search."""

    sale: PreparedSale
    value: NDArray[np.float64]
    best: float = -math.inf
    choice: NDArray[np.int64] | None = None
    bounds: int = 0
    closings: int = 0
    open_bound: float = -math.inf
    blocks: list[tuple[float, float, float]] = field(default_factory=list)

    def offer(self, choice: NDArray[np.int64]) -> NDArray[np.float64]:
        """Keep the choice if it obeys every rule and is better; each rule's slack."""
        program = self.sale.program
        k = int(program.offset[choice].sum())
        rows = np.array([program.segment_at(int(c), k) for c in choice])
        slack = np.array([r.coefficient[rows].sum() - r.at_least for r in self.sale.linear])
        own = float(self.value[rows].sum())
        if (slack >= 0).all() and own > self.best:
            self.best, self.choice = own, choice.copy()
        return slack


def search_constrained(
    sale: PreparedSale, value: NDArray[np.float64], *, seconds: float = 30.0
) -> SearchResult:
    """Maximise as `search` does, under the sale's linear rules.

    Raises
    ------
    NoLegalPriceError
        The rules contradict each other, or one alone cannot be met (named).
    """
    program, state = sale.program, _State(sale, value)
    free = search(program, value, reach=sale.reach)
    slack = state.offer(free.choice)
    if (slack >= 0).all():
        return free
    for rule in sale.linear:
        most = search(program, rule.coefficient, reach=sale.reach)
        state.offer(most.choice)
        if most.upper_bound < rule.at_least:
            raise NoLegalPriceError(f"{rule.name}: cannot be met by any prices; see explain()")
    if state.choice is None and _contradict(state):
        raise NoLegalPriceError("the rules of the sale contradict each other; see explain()")
    multipliers = _multipliers(state, slack)
    relaxed = value + sum(m * r.coefficient for m, r in zip(multipliers, sale.linear, strict=True))
    lifted = float(sum(m * r.at_least for m, r in zip(multipliers, sale.linear, strict=True)))
    _branch(state, relaxed, lifted, seconds)
    if state.choice is None:
        if state.open_bound > -math.inf:
            raise ValueError(f"no prices found that keep the sale's rules within {seconds:g} s")
        raise NoLegalPriceError("the rules of the sale contradict each other; see explain()")
    upper = max(state.best, state.open_bound)
    open_totals = 0 if upper == state.best else free.totals
    return SearchResult(
        state.best, upper, state.choice, free.totals, free.totals - open_totals,
        free.bounds + state.bounds, state.closings, np.array(state.blocks).reshape(-1, 3),
    )  # fmt: skip


def _contradict(state: _State) -> bool:
    """Whether no prices reach some mix of two rules' slacks above zero: both cannot hold.

    The best of w slack_1 + (1 - w) slack_2 is convex in w, hence the golden section. It proves
    in a fraction of a second what closing every total by CP-SAT took 12 to 20 s for.
    """
    sale, program = state.sale, state.sale.program
    starts = program.seg_ptr[program.item_ptr[:-1]]
    unit = [
        PROOF_STEPS / max(float(np.maximum.reduceat(abs(r.coefficient), starts).sum()), 1.0)
        for r in sale.linear
    ]

    def best_mix(a: int, b: int, w: float) -> float:
        rules, shares = (sale.linear[a], sale.linear[b]), (w * unit[a], (1 - w) * unit[b])
        mixed = sum(s * r.coefficient for s, r in zip(shares, rules, strict=True))
        found = search(program, np.rint(mixed), reach=sale.reach)
        state.bounds += found.bounds
        state.offer(found.choice)
        needed = sum(s * r.at_least for s, r in zip(shares, rules, strict=True))
        return found.upper_bound + 0.5 * len(program.units) - needed

    for a, b in combinations(range(len(sale.linear)), 2):
        low, high = 0.0, 1.0
        for _ in range(PROOF_SEARCHES):
            left, right = high - GOLDEN * (high - low), low + GOLDEN * (high - low)
            at_left, at_right = best_mix(a, b, left), best_mix(a, b, right)
            if min(at_left, at_right) < 0:
                return True
            if state.choice is not None:
                return False
            low, high = (low, right) if at_left < at_right else (left, high)
    return False


def _multipliers(state: _State, slack: NDArray[np.float64]) -> NDArray[np.float64]:
    """Minimise the relaxation over one multiplier at a time, by intersecting its lines."""
    rules = state.sale.linear
    mu = np.zeros(len(rules))
    for _ in range(ROUNDS if len(rules) > 1 else 1):
        before = mu.copy()
        for r, rule in enumerate(rules):
            mu[r] = _one_multiplier(state, mu, r, rule)
        if np.allclose(before, mu, rtol=1e-3):
            break
    return mu


def _one_multiplier(state: _State, mu: NDArray[np.float64], r: int, rule: LinearRule) -> float:
    trial = mu.copy()

    def line(at: float) -> tuple[float, float]:
        """Value of the relaxation without rule r's own term, and rule r's slack."""
        trial[r] = at
        combined = state.value + sum(
            m * x.coefficient for m, x in zip(trial, state.sale.linear, strict=True)
        )
        found = search(state.sale.program, np.rint(combined), reach=state.sale.reach)
        state.bounds += found.bounds
        slack = state.offer(found.choice)[r]
        return found.value - at * (slack + rule.at_least), slack

    low, high = 0.0, 0.0
    low_line = line(0.0)
    if low_line[1] >= 0:
        return 0.0
    spread = float(np.ptp(rule.coefficient)) or 1.0
    step = max(float(np.ptp(state.value)), 1.0) / spread * 1e-3
    for _ in range(DOUBLINGS):
        high = step
        high_line = line(high)
        if high_line[1] >= 0:
            break
        low, low_line, step = high, high_line, step * 4
    else:
        return high
    for _ in range(12):
        at = (low_line[0] - high_line[0]) / max(high_line[1] - low_line[1], 1e-12)
        if not low < at < high:
            break
        new = line(at)
        if new in (low_line, high_line):
            break
        if new[1] >= 0:
            high, high_line = at, new
        else:
            low, low_line = at, new
    return high


def _branch(state: _State, relaxed: NDArray[np.float64], lifted: float, seconds: float) -> None:
    """Split blocks of totals until their survivors fit CP-SAT; best bound first."""
    program = state.sale.program
    n, m = len(program.item_ptr) - 1, len(program.offset)
    values, keep = np.empty(m), np.empty(m, np.bool_)
    above, below, trial = (np.zeros(n, np.int64) for _ in range(3))
    heap: list[tuple[float, int, int]] = []
    last = program.k_max + 1
    start = min(START_BLOCKS, last)
    todo = [(last * b // start, last * (b + 1) // start - 1) for b in range(start)]
    remaining = seconds
    while True:
        for low, high in todo:
            limit, _, tolerance = _bound(program, relaxed, low, high, values, above, below, trial)
            state.bounds += 1
            limit = limit + tolerance - lifted
            if limit > -math.inf:
                heapq.heappush(heap, (-limit, low, high))
        todo = []
        if not heap:
            return
        minus, low, high = heapq.heappop(heap)
        if math.floor(-minus) <= state.best:
            state.blocks += [(float(a), float(b), -x) for x, a, b in [(minus, low, high), *heap]]
            return
        limit, u, tolerance = _bound(program, relaxed, low, high, values, above, below, trial)
        surviving(
            program.item_ptr, program.offset, values, limit, u, state.best + lifted,
            tolerance + 1e-12 * abs(lifted), keep,
        )  # fmt: skip
        segments = _segments(program, keep, low, high)
        width = high - low + 1
        narrow = width == 1 or (state.best == -math.inf and width <= last // 256)
        if len(segments) > LEAF_BOOLS and not narrow:
            todo = [(low, (low + high) // 2), ((low + high) // 2 + 1, high)]
            continue
        state.closings += 1
        proven, used = _close(state, segments, low, high, remaining)
        remaining = max(remaining - used, 0.05)
        state.blocks.append((float(low), float(high), -minus))
        if not proven:
            state.open_bound = max(state.open_bound, float(math.floor(-minus)))


def _bound(
    program: Program,
    relaxed: Floats,
    low: int,
    high: int,
    values: Floats,
    above: Ints,
    below: Ints,
    trial: Ints,
) -> tuple[float, float, float]:
    """Relaxed bound of a block of totals; leaves the block's values in ``values``."""
    block_values(program.seg_ptr, program.seg_from, program.seg_to, relaxed, low, high, values)
    return bound(program.item_ptr, program.offset, values, low, high, above, below, trial)


def _segments(program: Program, keep: NDArray[np.bool_], low: int, high: int) -> NDArray[np.int64]:
    """Segments of surviving candidates that meet the block, (s,)."""
    owner = np.repeat(np.arange(len(program.offset)), np.diff(program.seg_ptr))
    inside = (program.seg_from <= high) & (program.seg_to >= low)
    return np.flatnonzero(keep[owner] & inside)


def _close(
    state: _State, segments: NDArray[np.int64], low: int, high: int, seconds: float
) -> tuple[bool, float]:
    """Solve one block exactly by CP-SAT; whether proven, and the seconds it took."""
    program = state.sale.program
    owner = np.searchsorted(program.seg_ptr, segments, side="right") - 1
    item = np.searchsorted(program.item_ptr, owner, side="right") - 1
    n = len(program.item_ptr) - 1
    if len(np.unique(item)) < n:
        return True, 0.0
    model = cp_model.CpModel()
    use = [model.new_bool_var("") for _ in segments]
    by_item: list[list[cp_model.IntVar]] = [[] for _ in range(n)]
    for i, literal in zip(item, use, strict=True):
        by_item[int(i)].append(literal)
    for literals in by_item:
        model.add_exactly_one(literals)
    total = cp_model.LinearExpr.weighted_sum(use, program.offset[owner].tolist())
    model.add_linear_constraint(total, low, high)
    for s, literal in zip(segments, use, strict=True):
        if program.seg_from[s] > low:
            model.add(total >= int(program.seg_from[s])).only_enforce_if(literal)
        if program.seg_to[s] < high:
            model.add(total <= int(program.seg_to[s])).only_enforce_if(literal)
    for rule in state.sale.linear:
        weights = rule.coefficient[segments].astype(np.int64).tolist()
        model.add(cp_model.LinearExpr.weighted_sum(use, weights) >= int(rule.at_least))
    goal = cp_model.LinearExpr.weighted_sum(use, state.value[segments].astype(np.int64).tolist())
    if state.best > -math.inf:
        model.add(goal >= int(state.best) + 1)
    model.maximize(goal)
    solver = cp_model.CpSolver()
    solver.parameters.num_workers = 1
    solver.parameters.random_seed = 1
    solver.parameters.max_time_in_seconds = seconds
    status = solver.solve(model)
    if status in (cp_model.OPTIMAL, cp_model.FEASIBLE):
        chosen = np.array([solver.boolean_value(literal) for literal in use])
        choice = np.zeros(n, np.int64)
        choice[item[chosen]] = owner[chosen]
        state.offer(choice)
    return status in (cp_model.OPTIMAL, cp_model.INFEASIBLE), solver.wall_time
