"""The alternative where the total does not matter: customers choose by multinomial logit.

One fixed price per item that maximises the expected margin per customer
sum_i (p_i - c_i) w_i(p_i) / (w_0 + sum_i w_i(p_i)). For a trial value z each item takes the
price with the largest w (p - c - z), and the ratio of the result improves z until it is best
(Dinkelbach, Management Science 13(7), 1967).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

MAX_STEPS = 100


@dataclass(frozen=True)
class LogitPlan:
    """Candidate per item, (n,), the expected margin per customer in cents, and the steps.

    ``gap_cents`` bounds what any other prices could earn more per customer.
    """

    choice: NDArray[np.int64]
    margin_per_customer_cents: float
    share: NDArray[np.float64]
    gap_cents: float
    steps: int


def optimise_mnl(
    item_ptr: NDArray[np.int64],
    price_cents: NDArray[np.int64],
    attraction: NDArray[np.float64],
    cost_cents: NDArray[np.int64],
    *,
    outside: float = 1.0,
) -> LogitPlan:
    """Best fixed price per item under a multinomial logit.

    Parameters
    ----------
    item_ptr : (n + 1,) int64
        Item i's candidates are ``item_ptr[i]:item_ptr[i + 1]``.
    price_cents, attraction : (m,)
        Price and attraction w = exp(utility) of each candidate.
    cost_cents : (n,) int64
    outside : float
        Attraction of buying nothing, above zero.

    Raises
    ------
    ValueError
        An item without candidates, an attraction below zero, or none outside.
    """
    counts = np.diff(item_ptr)
    if (counts == 0).any():
        raise ValueError(f"item {int((counts == 0).argmax())}: no candidate price; give one")
    if outside <= 0 or not (np.isfinite(attraction) & (attraction >= 0)).all():
        raise ValueError("attractions must be finite and at least 0, the outside one above 0")
    margin = (price_cents - np.repeat(cost_cents, counts)).astype(float)
    owner = np.repeat(np.arange(len(counts)), counts)
    z, gap = 0.0, np.inf
    choice = item_ptr[:-1].copy()
    started = False
    steps = 0
    while steps < MAX_STEPS:
        steps += 1
        gain = attraction * (margin - z)
        best = np.maximum.reduceat(gain, item_ptr[:-1])
        top = np.flatnonzero(gain == best[owner])
        trial = top[np.searchsorted(owner[top], np.arange(len(counts)))]
        weight = attraction[trial]
        reached = float((weight * margin[trial]).sum() / (outside + weight.sum()))
        # best.sum() - outside z is the most that any ratio's numerator exceeds z by
        gap = max(float(best.sum() - outside * z), 0.0) / outside
        if started and reached <= z * (1 + 1e-15):
            break
        z, choice, started = reached, trial, True
    share = attraction[choice] / (outside + attraction[choice].sum())
    return LogitPlan(choice, z, share, gap if gap > 1e-9 * max(abs(z), 1) else 0.0, steps)
