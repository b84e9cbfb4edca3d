"""Why a row is ordered or not, in a short sentence a buyer can check."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


def explain(
    *,
    position: Floats,
    reorder_point: Floats,
    order_up_to: Floats,
    wanted: Ints,
    allowed: Ints,
    moved: Ints,
    policy: NDArray,
    ratio: Floats,
    retire: NDArray[np.bool_],
    retire_prob: Floats,
    size_note: Sequence[str],
) -> list[str]:
    """One sentence per row, from the numbers the plan was made of."""
    sentences = []
    for row in range(len(position)):
        have, point = int(position[row]), int(np.ceil(reorder_point[row]))
        if retire[row]:
            text = f"stop sending: below break-even with probability {retire_prob[row]:.2f}"
        elif wanted[row] == 0:
            text = f"no order: {have} units on hand and on order, reorder point {point}"
        elif allowed[row] == 0:
            text = f"no order: {wanted[row]} units wanted, but the limits allow none worth it"
        else:
            aim = "the season's demand" if policy[row] == "newsvendor" else "the lead time"
            text = (
                f"order {allowed[row]}: {have} units against a reorder point of {point}, "
                f"to cover {aim} with probability {ratio[row]:.3f}"
            )
            lost = int(order_up_to[row]) - have - int(wanted[row])
            if lost > 0:
                text += f"; about {lost} are lost before it can arrive"
            if allowed[row] != wanted[row]:
                text += f"; {wanted[row]} wanted, changed by pack or limits"
            if moved[row] != allowed[row]:
                text += f"; {moved[row]} after moves between warehouses"
        sentences.append(text + (f"; {size_note[row]}" if size_note[row] else ""))
    return sentences
