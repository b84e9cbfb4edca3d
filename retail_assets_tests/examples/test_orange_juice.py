"""Orange juice: elasticity, held-out errors and both goals' prices on some of the shops."""

from __future__ import annotations

import os
from typing import Any

import numpy as np
import pytest


def _flat(found: dict[str, Any]) -> dict[str, float]:
    return {
        "rows": found["rows"],
        "slope": found["slope"][0],
        "naive_slope": found["naive_slope"],
        "margin_now": found["now"][1] / 100,
        "margin_best": found["plans"]["margin_cents"].margin / 100,
    } | {f"wape_{name}": error for name, error in found["wape"].items()}


@pytest.mark.parametrize(("part", "every"), [("slice", 14), ("whole", 4)])
def test_the_example_finds_what_its_readme_says(example, as_expected, public_data, part, every):
    if part == "whole" and os.environ.get("RETAIL_ASSETS_EXAMPLES") != "whole":
        pytest.skip("takes longer; set RETAIL_ASSETS_EXAMPLES=whole")
    download = public_data / "dominicks_orange_juice.parquet"
    found = example("orange_juice").figures(download, every)
    as_expected("orange_juice", part, _flat(found))
    revenue, margin = (found["plans"][goal] for goal in ("revenue", "margin_cents"))
    # Each goal is best at its own, and cheaper is what revenue asks for.
    assert revenue.revenue >= max(margin.revenue, found["now"][0])
    assert margin.margin >= max(revenue.margin, found["now"][1])
    assert np.all(revenue.price_cents <= margin.price_cents)
