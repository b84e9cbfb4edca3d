"""How an order is split by size: a curve per style, shrunk to its category's."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from retail_assets.assets.stock_demand import Floats, Rows
from retail_assets.warehouse import Session

if TYPE_CHECKING:
    from retail_assets.models.inventory.sizes import SizeCurves

ONE_SIZE = "one"

_SIZES = """
SELECT coalesce(style_id, product_id) AS style, category, product_id, coalesce(size, $one) AS size,
       coalesce(sum(units), 0)::DOUBLE AS units
FROM products LEFT JOIN (SELECT product_id, units FROM interval_sales) USING (product_id)
GROUP BY ALL ORDER BY ALL
"""


def sizes_of(session: Session, rows: Rows) -> tuple[tuple[str, ...], SizeCurves]:
    """Size curves per row: a product is its own size, a style is split over its sizes."""
    from retail_assets.models.inventory.sizes import SizeCurves

    known = session.sql(_SIZES, {"one": ONE_SIZE}).to_dicts()
    names = tuple(sorted({row["size"] for row in known})) or (ONE_SIZE,)
    number = {size: at for at, size in enumerate(names)}
    size_of = {row["product_id"]: number[row["size"]] for row in known}
    by_category: dict[str, list[Mapping[str, Any]]] = defaultdict(list)
    for row in known:
        by_category[row["category"]].append(row)
    curves: dict[str, dict[str, tuple[Floats, float, str]]] = {}
    share, own, note = np.zeros((len(rows), len(names))), np.ones(len(rows)), [""] * len(rows)
    for at, row in enumerate(rows):
        name, category = row["product_id"], row["category"]
        if name in size_of:
            share[at, size_of[name]] = 1.0
            continue
        if category not in curves:
            curves[category] = _curves(by_category[category], number)
        share[at], own[at], note[at] = curves[category][name]
    # The rows are of several categories: they have no one curve, nor one concentration.
    none = np.full(len(names), np.nan)
    return names, SizeCurves(share, none, np.nan, own, np.array(note) != "", tuple(note))


def _curves(products: Rows, number: Mapping[str, int]) -> dict[str, tuple[Floats, float, str]]:
    """Shares, own weight and note of a category's styles that come in several sizes.

    Styles of one size stay out: they would say that no two styles' curves are alike.
    """
    from retail_assets.models.inventory.sizes import size_curves

    styles = sorted({row["style"] for row in products})
    at = {style: line for line, style in enumerate(styles)}
    units, offered = (
        np.zeros((len(styles), len(number))),
        np.zeros((len(styles), len(number)), bool),
    )
    for row in products:
        cell = at[row["style"]], number[row["size"]]
        units[cell] += row["units"]
        offered[cell] = True
    found = {
        style: (offered[line].astype(np.float64), 1.0, "")
        for style, line in at.items()
        if offered[line].sum() == 1
    }
    several = np.flatnonzero(offered.sum(axis=1) > 1)
    if len(several):
        sizes = np.flatnonzero(offered[several].any(axis=0))
        cells = np.ix_(several, sizes)
        fit = size_curves(
            units[cells], offered=offered[cells], names=tuple(styles[line] for line in several)
        )
        for at_fit, line in enumerate(several):
            share = np.zeros(len(number))
            share[sizes] = fit.share[at_fit]
            found[styles[line]] = share, float(fit.own_weight[at_fit]), fit.note[at_fit]
    return found
