"""The champion that prices use, as it is stored: numbers and xgboost's own format, no pickle."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from retail_assets.models.demand.accuracy import Conformal
from retail_assets.models.demand.boosted import RECENT, Boosted, booster_of
from retail_assets.models.demand.loglinear import LogLinear
from retail_assets.models.demand.models import Fitted
from retail_assets.models.demand.rows import PRODUCT, DemandRows, Floats
from retail_assets.models.demand.thin import CENTRE, LIST_PRICE, POOL, list_price


@dataclass(frozen=True)
class PriceModel:
    """A price-responsive model with its intervals.

    Attributes
    ----------
    name : str
        Name of the model in the backtest.
    products : tuple of n str
        Products as numbered in the fit; each is a series of its own.
    promo_names : tuple of str
        Promotions the fit knew; others are left out, missing ones are zero.
    margin : LogLinear
    boosted : Boosted or None
        Trees; None for a log-linear champion.
    recent : (n,) float64
        Recent residual of each product at the end of its past.
    conformal : Conformal or None
        None without a backtest: no interval is known.
    total_matters : bool
    identified : bool
        Prices moved enough in the past to tell what they do.
    thin : tuple of str
        Products that share the level of `thin.POOL`.
    pool_range : lowest and highest price over list price of those
    """

    name: str
    products: tuple[str, ...]
    promo_names: tuple[str, ...]
    margin: LogLinear
    boosted: Boosted | None
    recent: Floats
    conformal: Conformal | None
    total_matters: bool
    identified: bool
    thin: tuple[str, ...] = ()
    pool_range: tuple[float, float] = (1.0, 1.0)

    @property
    def sees_price(self) -> bool:
        """The trees read the prices: demand steps, and segments of it are exact."""
        return self.boosted is not None and self.boosted.sees_price

    def log_mean(self, rows: DemandRows) -> Floats:
        """(r,) log of the expected units of rows numbered as the model's; see `numbered`."""
        if self.boosted is None:
            return self.margin.log_mean(rows)
        features = dict(rows.features)
        if RECENT in self.boosted.names:
            features[RECENT] = self.recent[rows.product]
        return self.boosted.log_mean(replace(rows, features=features))

    def numbered(self, rows: DemandRows) -> DemandRows:
        """Rows with products numbered as in the fit; products it never knew come last."""
        place = {name: at for at, name in enumerate(self.products)}
        new = [name for name in rows.products if name not in place]
        place |= {name: len(self.products) + at for at, name in enumerate(new)}
        number = np.array([place[name] for name in rows.products], np.int64)
        product = number[rows.product]
        prior = np.full(len(place), np.nan)
        if rows.prior_level is not None:
            prior[number] = rows.prior_level
        every = (*self.products, *new)
        columns = dict(zip(rows.promo_names, rows.promo.T, strict=True))
        promo = [columns.get(name, np.zeros(len(rows))) for name in self.promo_names]
        shared = self._pooled(every, prior)[product]
        features = dict(rows.features)
        if PRODUCT in features:
            apart = ~shared & (product < len(self.products))
            features[PRODUCT] = np.where(apart, product.astype(np.float64), np.nan)
        if self.thin:
            features[LIST_PRICE] = np.where(shared, list_price(rows), 0.0)
        return replace(
            rows,
            products=every,
            product=product,
            series=product,
            features=features,
            promo=np.column_stack(promo) if promo else np.zeros((len(rows), 0)),
            promo_names=self.promo_names,
            prior_level=prior,
        )

    def _pooled(self, products: Sequence[str], prior: Floats) -> NDArray[np.bool_]:
        """(n,) products that take the level and the response of those seen too few times."""
        shared = np.isin(np.array(products, dtype=object), list(self.thin))
        if self.thin:
            never = np.append(~self.margin.with_history, np.ones(len(prior), bool))
            shared |= never[: len(prior)] & np.isnan(prior)
        return np.asarray(shared, bool)

    def grown(self, rows: DemandRows) -> PriceModel:
        """The model with parameters for every product of numbered rows.

        A product without sales in the fit takes its level from ``prior_level``, else that of
        the products seen too few times, else the median; its response is theirs or the mean.
        """
        prior, margin = rows.prior_level, self.margin
        assert prior is not None
        n, extra = len(rows.products), len(rows.products) - len(self.products)
        history = np.append(margin.with_history, np.zeros(extra, bool))
        shared = self._pooled(rows.products, prior)
        home = self.products.index(POOL) if self.thin else 0
        median = float(np.median(margin.level[margin.with_history]))
        expected = np.where(np.isnan(prior), median, np.log(np.maximum(prior, 1e-9)))

        def level(own: Floats) -> Floats:
            wide = np.where(history, np.append(own, np.zeros(extra)), expected)
            return np.asarray(np.where(shared, own[home], wide), np.float64)

        def each(own: Floats, otherwise: float) -> Floats:
            wide = np.append(own, np.full(extra, otherwise))
            return np.asarray(np.where(shared, own[home], wide), np.float64)

        # an expected level is that at the list price
        count = np.maximum(np.bincount(rows.product, minlength=n), 1)
        listed = np.bincount(rows.product, list_price(rows) + CENTRE, minlength=n) / count
        reference = np.append(margin.reference, np.zeros(extra))
        reference = np.where(history, reference, listed)
        promo = np.vstack([margin.promo, np.tile(margin.promo.mean(axis=0), (extra, 1))])
        lowest, highest = self._range(rows, shared, extra)
        wider = replace(
            margin,
            level=level(margin.level),
            reference=np.where(shared, margin.reference[home], reference),
            slope=each(margin.slope, margin.slope_mean),
            slope_se=each(margin.slope_se, float(np.nanmax(margin.slope_se, initial=0.0))),
            promo=np.where(shared[:, None], margin.promo[home], promo),
            with_history=history | np.isin(np.array(rows.products, dtype=object), self.thin),
            lowest_cents=lowest,
            highest_cents=highest,
        )
        boosted = self.boosted
        if boosted is not None:
            own = level(boosted.level) if boosted.sees_price else np.zeros(n)
            boosted = replace(boosted, margin=wider, level=own)
        recent = each(self.recent, 0.0)
        return replace(self, products=rows.products, margin=wider, boosted=boosted, recent=recent)

    def _range(
        self, rows: DemandRows, shared: NDArray[np.bool_], extra: int
    ) -> tuple[Floats, Floats]:
        """Prices the fit rests on: of pooled products, its discounts at their list prices."""
        unknown = np.full(extra, np.nan)
        low, high = (
            np.append(values, unknown)
            for values in (self.margin.lowest_cents, self.margin.highest_cents)
        )
        if self.thin:
            own = shared[rows.product]
            at = rows.product[own]
            full = np.exp(rows.features[LIST_PRICE][own] + CENTRE)
            low[at], high[at] = self.pool_range[0] * full, self.pool_range[1] * full
        return low, high

    def to_json(self) -> str:
        """Everything but the trees."""
        found: dict[str, Any] = {
            "name": self.name,
            "products": list(self.products),
            "promo_names": list(self.promo_names),
            "margin": _plain(asdict(self.margin)),
            "recent": self.recent.tolist(),
            "total_matters": self.total_matters,
            "identified": self.identified,
            "thin": list(self.thin),
            "pool_range": list(self.pool_range),
        }
        if self.conformal is not None:
            found["conformal"] = asdict(self.conformal)
        if self.boosted is not None:
            found["trees"] = {
                "sees_price": self.boosted.sees_price,
                "level": self.boosted.level.tolist(),
                "names": list(self.boosted.names),
                "calibration": self.boosted.calibration,
            }
        return json.dumps(found)

    def to_ubj(self) -> bytes | None:
        """The trees in xgboost's own binary format."""
        return None if self.boosted is None else self.boosted.to_ubj()

    @staticmethod
    def read(text: str, ubj: bytes | None) -> PriceModel:
        """The model from `to_json` and `to_ubj`."""
        found = json.loads(text)
        margin = LogLinear(**{k: _array(k, v) for k, v in found["margin"].items()})
        conformal = found.get("conformal")
        if conformal is not None:
            lower, upper = (
                {int(k): v for k, v in conformal[side].items()} for side in ("lower", "upper")
            )
            conformal = Conformal(conformal["overdispersion"], lower, upper)
        boosted = None
        if ubj is not None:
            trees = found["trees"]
            boosted = Boosted(
                booster_of(ubj),
                margin,
                trees["sees_price"],
                np.array(trees["level"], np.float64),
                tuple(trees["names"]),
                trees["calibration"],
            )
        return PriceModel(
            found["name"],
            tuple(found["products"]),
            tuple(found["promo_names"]),
            margin,
            boosted,
            np.array(found["recent"], np.float64),
            conformal,
            found["total_matters"],
            found["identified"],
            tuple(found["thin"]),
            tuple(found["pool_range"]),
        )


def price_model(
    fitted: Fitted, name: str, conformal: Conformal | None, *, identified: bool
) -> PriceModel:
    """A fitted model by its name, ready to be stored; rows must have a series per product."""
    past = fitted.past
    if not np.array_equal(past.series, past.product):
        raise ValueError("prices are set per product: give rows with one series per product")
    n = len(past.products)
    last = np.full(n, past.period.max())
    each = past.take(np.zeros(n, np.int64))
    each = replace(each, product=np.arange(n), series=np.arange(n), period=last + fitted.gap_days)
    recent = fitted.with_recent(each).features[RECENT]
    discounts = (1.0, 1.0)
    if fitted.thin:
        own = past.take(past.product == past.products.index(POOL))
        ratio = own.price_cents / np.exp(own.features[LIST_PRICE] + CENTRE)
        discounts = (float(ratio.min()), float(ratio.max()))
    margin = fitted.ols if name == "log_log_ols" else fitted.margin
    return PriceModel(
        name=name,
        products=past.products,
        promo_names=past.promo_names,
        margin=margin,
        boosted=fitted.boosted.get(name),
        recent=recent,
        conformal=conformal,
        total_matters=fitted.total_matters,
        identified=identified,
        thin=fitted.thin,
        pool_range=discounts,
    )


def _plain(values: dict[str, Any]) -> dict[str, Any]:
    """Arrays as lists, NaN as null: strict readers of JSON know no NaN."""

    def plain(value: Any) -> Any:
        if isinstance(value, np.ndarray):
            return plain(value.tolist())
        if isinstance(value, list):
            return [plain(each) for each in value]
        return None if isinstance(value, float) and np.isnan(value) else value

    return {name: plain(value) for name, value in values.items()}


def _array(name: str, value: Any) -> Any:
    if name == "with_history":
        return np.array(value, bool)
    if isinstance(value, list):
        return np.array(value, np.float64)
    return np.nan if value is None else value
