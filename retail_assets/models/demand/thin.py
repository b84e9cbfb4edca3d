"""Products seen too few times for a level of their own: flash sales, new styles.

A level that rests on three rows is those rows, and a model that reads it learns its own
answer. Such products share one level and one price response; what tells them apart is their
list price here and everything else in the trees.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from retail_assets.models.demand.rows import DISCOUNT, PRODUCT, DemandRows, Floats

LEAST_ROWS = 8
"""Rows below which a product is thin: the standard error of a level from 8 rows of common
overdispersion (.5) is a quarter of it."""
POOL = "(seen too few times)"
LIST_PRICE = "thin_log_msrp"
"""Feature of the pooled rows: log of the list price, centred; zero for all others."""
CENTRE = float(np.log(1000))
"""An arbitrary centre, 10.00, that fits and predictions share."""


def thin_products(rows: DemandRows) -> NDArray[np.bool_]:
    """(n,) products with sales rows, but fewer than `LEAST_ROWS`."""
    used = (rows.exposure > 0) & ~np.isnan(rows.units)
    count = np.bincount(rows.product[used], minlength=len(rows.products))
    return np.asarray((count > 0) & (count < LEAST_ROWS), bool)


def pool(rows: DemandRows, names: Sequence[str]) -> DemandRows:
    """Rows in which the named products are one, the last, called `POOL`.

    Only where a product is its own series. The same rows when no name is given.
    """
    if not names:
        return rows
    thin = np.isin(np.array(rows.products, dtype=object), list(names))
    place = np.where(thin, len(rows.products), np.arange(len(rows.products)))
    product = place[rows.product]
    pooled = product == len(rows.products)
    feature = np.where(pooled, list_price(rows), 0.0)
    features = dict(rows.features) | {LIST_PRICE: feature}
    if PRODUCT in features:
        features[PRODUCT] = np.where(pooled, np.nan, features[PRODUCT])
    prior = rows.prior_level
    return replace(
        rows,
        products=(*rows.products, POOL),
        product=product,
        series=product,
        features=features,
        prior_level=None if prior is None else np.append(prior, np.nan),
    )


def list_price(rows: DemandRows) -> Floats:
    """(r,) log of each row's list price, centred; of its price where no list price is known."""
    found = np.log(rows.price_cents)
    if DISCOUNT in rows.features:
        known = np.nan_to_num(1 - rows.features[DISCOUNT], nan=1.0)
        found = found - np.log(np.maximum(known, 1e-3))
    return np.asarray(found - CENTRE, np.float64)
