"""What to carry, how much of it, and on which shelf.

Each part has its own module: the simulator against an exact programme, exact static
assortments, upper bounds, joint plans, choice from offer sets, the white paper's shelf,
and whether P(improves) means what it says.
"""

from __future__ import annotations

from bench import (
    Row,
    capacity,
    hotels,
    improves,
    joint_plans,
    season_bounds,
    season_simulator,
    static_assortment,
)

PARTS = (
    season_simulator,
    static_assortment,
    season_bounds,
    joint_plans,
    hotels,
    capacity,
    improves,
)


def run(*, quick: bool, large: bool) -> list[Row]:
    """The bench's table; ``large`` has nothing more to add."""
    return [row for part in PARTS for row in part.rows(quick=quick)]
