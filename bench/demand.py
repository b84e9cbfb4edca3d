"""Demand at any price, on real prices and on shops whose truth is known.

    python -m bench demand            about 4 minutes on one core
    python -m bench demand --quick    fewer seeds, sales and stores; not for claims
"""

from __future__ import annotations

from bench import Row
from bench.demand_orange_juice import orange_juice_rows


def run(*, quick: bool, large: bool) -> list[Row]:
    """The demand rows of the table of claims; ``large`` adds nothing."""
    del large
    return orange_juice_rows(quick=quick)
