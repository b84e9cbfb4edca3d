"""What demand models read and predict: one row per series and period, sparse."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
PRODUCT = "product"
"""The feature that numbers the products."""
DISCOUNT = "discount_from_msrp"
"""The one feature that moves with the price: 1 - price / list price."""


@dataclass(frozen=True)
class DemandRows:
    """Sales with the time they could have happened in, or the same without sales to predict.

    Parameters
    ----------
    products : tuple of str, length n
    product : (r,) int64
        Index into `products`: rows of one product share its price response.
    series : (r,) int64
        Rows of one series share a level: a product, or a product in one store.
    period : (r,) int64
        Days since 1970; a row of several days bears the first.
    days : (r,) float64
        Length of the row in days.
    units : (r,) float64
        Units sold; NaN in rows to predict.
    exposure : (r,) float64
        Share of the row's normal customers who found the product, plus those sent by
        missing neighbours over its own: 1 is "in stock throughout, neighbours too".
        Expected units are proportional to it. Rows of exposure zero carry no information.
    price_cents : (r,) float64, above zero
    rel_price : (r,) float64
        Price over the mean price of the sale's items; NaN outside a sale.
    promo : (r, f) float64
        Flags that move demand beside the price (feature, display, deal, in a sale).
    promo_names : tuple of f str
    features : mapping of name to (r,) float64
        What only the trees see: seasonality, attributes, units available; NaN = unknown.
    prior_level : (n,) float64, optional
        Units a day and exposure expected of each product before its first sale (cold
        start); NaN where unknown.
    """

    products: tuple[str, ...]
    product: Ints
    series: Ints
    period: Ints
    days: Floats
    units: Floats
    exposure: Floats
    price_cents: Floats
    rel_price: Floats
    promo: Floats
    promo_names: tuple[str, ...]
    features: Mapping[str, Floats]
    prior_level: Floats | None = None

    def __post_init__(self) -> None:
        wrong = ~(self.price_cents > 0)
        if wrong.any():
            name = self.products[int(self.product[wrong.argmax()])]
            raise ValueError(f"{name}: a price must be above zero")
        for name in ("exposure", "days"):
            wrong = ~(getattr(self, name) >= 0)
            if wrong.any():
                product = self.products[int(self.product[wrong.argmax()])]
                raise ValueError(f"{product}: {name} is missing or negative")

    def __len__(self) -> int:
        return len(self.product)

    def take(self, rows: NDArray[np.bool_] | Ints) -> DemandRows:
        """Some of the rows, as a mask or as positions."""
        per_row = ("product", "series", "period", "days", "units", "exposure", "price_cents")
        chosen = {name: getattr(self, name)[rows] for name in (*per_row, "rel_price", "promo")}
        features = {name: values[rows] for name, values in self.features.items()}
        return replace(self, **chosen, features=features)

    def at_price(self, price_cents: Floats, rel_price: Floats) -> DemandRows:
        """The same rows at other prices; a discount from the list price moves along."""
        features = dict(self.features)
        if DISCOUNT in features:
            kept = (1 - features[DISCOUNT]) * price_cents / self.price_cents
            features[DISCOUNT] = 1 - kept
        return replace(self, price_cents=price_cents, rel_price=rel_price, features=features)

    @property
    def base(self) -> Floats:
        """(r,) log of exposure times days: what every model adds to its log rate."""
        return np.asarray(np.log(np.maximum(self.exposure * self.days, 1e-9)), np.float64)
