"""Newton's method on many two-parameter problems at once.

Each group climbs its own surface: a Hessian that is not negative definite is used with
the absolute values of its eigenvalues (shifting it instead crawls along log σ where a
group is almost binomial: 100 steps were not enough), a step is at most 2 long in
(logit μ, log σ), and halved while the value falls. A group leaves the loop when its
step is below ``tolerance``; the step is still taken, so what remains is its square.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from retail_assets.models.cold_start.counts import FloatArray, IntArray
from retail_assets.models.cold_start.likelihood import Derivatives, Objective

STEP_CAP = 2.0


@dataclass(frozen=True)
class Optimum:
    """Where each group stopped, (g,) each, with the Hessian there."""

    eta: FloatArray
    s: FloatArray
    at: Derivatives
    iterations: IntArray
    converged: NDArray[np.bool_]

    def take(self, rows: IntArray) -> Optimum:
        """Some of the groups."""
        at = self.at.take(rows)
        return Optimum(
            self.eta[rows], self.s[rows], at, self.iterations[rows], self.converged[rows]
        )


def maximise(
    objective: Objective,
    eta: FloatArray,
    s: FloatArray,
    *,
    tolerance: float = 1e-6,
    max_iterations: int = 100,
) -> Optimum:
    """Maximise every group's objective from the given starts, (g,) each."""
    eta, s = eta.copy(), s.copy()
    active = np.arange(eta.size)
    iterations = np.zeros(eta.size, dtype=np.int64)
    converged = np.zeros(eta.size, dtype=bool)
    at = objective(active, eta, s)
    kept = at.map(np.copy)
    for _ in range(max_iterations):
        if not active.size:
            break
        step_eta, step_s = _step(at)
        at, scale = _climb(objective, active, eta, s, at, step_eta, step_s)
        eta[active] += scale * step_eta
        s[active] += scale * step_s
        iterations[active] += 1
        _store(kept, active, at)
        done = scale * np.hypot(step_eta, step_s) < tolerance
        converged[active[done]] = True
        # Copying the survivors costs as much as a step: only when half have left.
        if done.all() or np.count_nonzero(~converged[active]) * 2 <= active.size:
            stay = np.flatnonzero(~converged[active])
            active, at = active[stay], at.take(stay)
    return Optimum(eta, s, kept, iterations, converged)


def _step(at: Derivatives) -> tuple[FloatArray, FloatArray]:
    """Newton step with |eigenvalues| (uphill where the surface is convex), capped."""
    middle = 0.5 * (at.eta_eta + at.s_s)
    spread = np.hypot(0.5 * (at.eta_eta - at.s_s), at.eta_s)
    angle = 0.5 * np.arctan2(2 * at.eta_s, at.eta_eta - at.s_s)
    cos, sin = np.cos(angle), np.sin(angle)
    along = (cos * at.eta + sin * at.s) / np.maximum(np.abs(middle + spread), 1e-300)
    across = (cos * at.s - sin * at.eta) / np.maximum(np.abs(middle - spread), 1e-300)
    scale = np.minimum(1.0, STEP_CAP / np.maximum(np.hypot(along, across), 1e-300))
    return scale * (cos * along - sin * across), scale * (sin * along + cos * across)


def _climb(
    objective: Objective,
    active: IntArray,
    eta: FloatArray,
    s: FloatArray,
    before: Derivatives,
    step_eta: FloatArray,
    step_s: FloatArray,
) -> tuple[Derivatives, FloatArray]:
    """Values at the end of the longest of 1, 1/2, 1/4, ... steps that does not descend."""
    scale = np.ones(active.size)
    after = objective(active, eta[active] + step_eta, s[active] + step_s)
    slack = 1e-12 * (1.0 + np.abs(before.value))
    for _ in range(40):
        low = np.flatnonzero(~(after.value >= before.value - slack))
        if not low.size:
            break
        scale[low] *= 0.5
        rows = active[low]
        again = objective(
            rows, eta[rows] + scale[low] * step_eta[low], s[rows] + scale[low] * step_s[low]
        )
        _store(after, low, again)
    return after, scale


def _store(target: Derivatives, rows: IntArray, source: Derivatives) -> None:
    for name in ("value", "eta", "s", "eta_eta", "eta_s", "s_s"):
        getattr(target, name)[rows] = getattr(source, name)
