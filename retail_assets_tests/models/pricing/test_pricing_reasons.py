"""The words beside a price agree with pricing the neighbour by hand."""

from __future__ import annotations

import numpy as np
import pytest

from retail_assets.models.pricing.candidates import Candidates
from retail_assets.models.pricing.optimise import optimise
from retail_assets.models.pricing.reasons import reasons


def toy(broken: list[int] | None = None) -> Candidates:
    """The source's ball and pen, as segments of the total, in cents."""
    return Candidates(
        ("Ball", "Pen"),
        np.array([99, 99]),
        np.array([100, 50]),
        np.array([0, 0, 0, 1, 1, 1, 1]),
        np.array([200, 200, 400, 100, 100, 300, 300]),
        np.array([300, 600, 300, 300, 500, 300, 700]),
        np.array([599, 700, 700, 499, 700, 699, 700]),
        np.array([4.0, 3, 2, 7, 8, 1, 0]),
        broken=None if broken is None else np.array(broken),
        rules=("min_discount",),
    )


def test_a_neighbour_is_read_at_the_total_it_leads_to() -> None:
    sale = toy()
    ball, pen = reasons(sale, optimise(sale, "revenue"))
    # Ball 200 + Pen 100: 4 x 200 + 7 x 100 = 1500 against 1600, though the pen stays at 100
    assert ball.lower is not None
    assert (ball.lower.price_cents, ball.lower.revenue_cents) == (200, -100)
    assert ball.lower.margin_cents == (4 * 100 + 7 * 50) - (2 * 300 + 8 * 50)
    assert ball.lower.units == pytest.approx(1.0)
    assert ball.higher is None
    # Ball 400 + Pen 300: the pen sells nothing at a total of 700
    assert pen.higher is not None
    assert pen.higher.revenue_cents == 800 - 1600
    assert pen.sentence() == (
        "raising to 3.00 changes the sale's revenue by -8.00, margin by -4.00, units by -8.0"
    )


def test_a_barred_neighbour_names_its_rule() -> None:
    sale = toy([0, 0, 0, 0, 0, 1, 1])
    _, pen = reasons(sale, optimise(sale, "revenue"))
    assert pen.higher is not None
    assert pen.higher.rules == ("min_discount",)
    assert pen.sentence() == "raising to 3.00 is barred by min_discount"
