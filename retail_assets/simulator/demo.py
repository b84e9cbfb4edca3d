"""The shipped demo: a small chain of chocolate shops, May to October 2026.

The 90 % bar is the favourite, but its three deliveries a week cannot carry a Saturday.
From then on its customers take the 80 % and the 70 % bar, so receipts flatter those two
and the 90 % looks like the bar to delist. The buyer believed the receipts: the warehouse
is full of 70 %. An 85 % bar came three weeks before the end; a flash sale of the
over-stocked 70 % and its neighbours is coming in November.
"""

from __future__ import annotations

from datetime import date

import numpy as np
from numpy.typing import NDArray

from retail_assets.simulator.specs import (
    CategorySpec,
    ProductInfo,
    Promotion,
    RetailSpec,
    SaleSpec,
    StoreSpec,
    TrialSpec,
    WarehouseSpec,
    WeeklyDeliveries,
)

FIRST_DAY = date(2026, 5, 4)
N_DAYS = 181  # through Saturday 31 October; both countries change their clocks on 25 October
LAUNCH_85 = (date(2026, 10, 12) - FIRST_DAY).days
# Trading intervals of 15 minutes in a week of the mean store: rates below are per week.
WEEK = 250
BASKET_P = 0.75
UNITS = 1 / BASKET_P

_HOURS = {9: 0.5, 10: 0.7, 11: 0.95, 12: 1.2, 13: 1.1, 14: 1.0}
_HOURS |= {15: 1.1, 16: 1.3, 17: 1.5, 18: 1.3, 19: 0.8}
_WEEKDAYS = (0.6, 0.65, 0.7, 0.8, 1.05, 2.2, 1.2)
PROFILE = tuple(tuple(w * _HOURS.get(h, 0.5) for h in range(24)) for w in _WEEKDAYS)


def demo() -> RetailSpec:
    """The preset `demo`."""
    return RetailSpec(
        name="demo",
        stores=_stores(),
        categories=(_bars(), _pralines(), _drinks()),
        first_day=FIRST_DAY,
        n_days=N_DAYS,
        interval_minutes=15,
        profile=PROFILE,
        trend=0.06,
        shock_cv=0.12,
        joint_baskets=0.35,
        return_share=0.006,
        void_share=0.003,
        count_days=2,
        deliveries_known=True,
        trials=TrialSpec((("bars", 0.16), ("pralines", 0.12), ("drinks", 0.2))),
        warehouse=WarehouseSpec("central", (("bar_70", 14.0), ("bar_60", 5.0))),
        sale=SaleSpec(
            "sale_2026_11",
            date(2026, 11, 10),
            date(2026, 11, 12),
            ("bar_70", "bar_60", "bar_80", "bar_milk", "bar_caramel"),
            (3600, 900, 500, 600, 500),
            (
                (3.90, 3.70, 3.50, 3.30, 3.10, 2.90, 2.70, 2.50),
                (3.70, 3.50, 3.30, 3.10, 2.90, 2.70),
                (4.40, 4.20, 4.00, 3.80, 3.60),
                (3.20, 3.00, 2.80, 2.60),
                (3.50, 3.30, 3.10, 2.90),
            ),
        ),
    )


def _stores() -> tuple[StoreSpec, ...]:
    french = (date(2026, 5, 14), date(2026, 5, 25), date(2026, 7, 14), date(2026, 8, 15))
    portuguese = (date(2026, 6, 10), date(2026, 8, 15), date(2026, 10, 5))
    weekdays = ((9 * 60, 20 * 60),) * 5 + ((9 * 60, 18 * 60), None)
    with_sunday = ((10 * 60, 20 * 60),) * 6 + ((11 * 60, 17 * 60),)
    no_monday = (None, *with_sunday[1:])
    paris, lisbon = "Europe/Paris", "Europe/Lisbon"
    return (
        StoreSpec("paris", paris, "Paris Marais", "FR", "city", weekdays, french, 2.0),
        StoreSpec("lyon", paris, "Lyon Presqu'île", "FR", "town", weekdays, french, 1.4),
        StoreSpec("lisbon", lisbon, "Lisboa Chiado", "PT", "city", with_sunday, portuguese, 1.8),
        StoreSpec("porto", lisbon, "Porto Ribeira", "PT", "town", no_monday, portuguese, 1.2),
    )


# id, name, cocoa, customers a week, price, cost, weekend cover, delivery days
_BAR_ROWS = (
    ("bar_90", "Extra dark 90 %", "90", 100, 4.80, 2.10, 0.0, (0, 2, 4)),
    ("bar_85", "Extra dark 85 %", "85", 26, 4.60, 2.05, 0.80, (1, 4)),
    ("bar_80", "Dark 80 %", "80", 66, 4.40, 2.00, 0.86, (1, 4)),
    ("bar_70", "Dark 70 %", "70", 74, 3.90, 1.80, 0.88, (1, 4)),
    ("bar_60", "Dark 60 %", "60", 70, 3.70, 1.75, 0.76, (1, 4)),
    ("bar_milk", "Milk 38 %", "38", 82, 3.20, 1.40, 0.75, (1, 4)),
    ("bar_hazelnut", "Milk with hazelnuts", "35", 76, 3.60, 1.65, 0.75, (1, 4)),
    ("bar_caramel", "Milk with salted caramel", "35", 72, 3.50, 1.60, 0.75, (1, 4)),
)
_BAR_ALPHA = (
    # 90    85    80    70    60    milk  nut   caramel
    (0.00, 0.12, 0.34, 0.26, 0.04, 0.02, 0.01, 0.01),
    (0.35, 0.00, 0.30, 0.12, 0.03, 0.01, 0.01, 0.01),
    (0.22, 0.12, 0.00, 0.28, 0.08, 0.02, 0.02, 0.01),
    (0.06, 0.05, 0.28, 0.00, 0.24, 0.05, 0.02, 0.02),
    (0.02, 0.02, 0.08, 0.32, 0.00, 0.12, 0.04, 0.04),
    (0.01, 0.01, 0.02, 0.04, 0.10, 0.00, 0.24, 0.22),
    (0.01, 0.01, 0.02, 0.03, 0.04, 0.30, 0.00, 0.25),
    (0.01, 0.01, 0.01, 0.02, 0.04, 0.28, 0.24, 0.00),
)
_PRALINE_ROWS = (
    ("box_12", "Assorted pralines, 12", 52, 14.50, 6.90, 0.68, (1, 4)),
    ("box_24", "Assorted pralines, 24", 36, 26.00, 12.20, 0.68, (1, 4)),
    ("truffles", "Champagne truffles", 44, 16.80, 7.60, 0.68, (1, 4)),
    ("marzipan", "Marzipan potatoes", 30, 9.50, 4.10, 0.68, (1, 4)),
    ("nougat", "Layered nougat", 34, 10.20, 4.50, 0.68, (1, 4)),
    ("cherries", "Cherries in kirsch", 28, 13.40, 6.30, 0.68, (1, 4)),
)
_PRALINE_ALPHA = (
    (0.00, 0.25, 0.18, 0.05, 0.08, 0.06),
    (0.40, 0.00, 0.15, 0.03, 0.05, 0.05),
    (0.20, 0.08, 0.00, 0.05, 0.10, 0.15),
    (0.08, 0.02, 0.08, 0.00, 0.30, 0.06),
    (0.10, 0.03, 0.12, 0.25, 0.00, 0.08),
    (0.10, 0.05, 0.28, 0.06, 0.08, 0.00),
)
_DRINK_ROWS = (
    ("hot_chocolate", "Drinking chocolate, dark", 74, 8.90, 3.60, 0.68, (0, 3)),
    ("hot_milk", "Drinking chocolate, milk", 58, 8.50, 3.40, 0.68, (0, 3)),
    ("mocha", "Mocha mix", 42, 9.20, 3.90, 0.68, (0, 3)),
    ("cocoa", "Pure cocoa", 46, 6.40, 2.50, 0.68, (0, 3)),
    ("chai", "Chai with cocoa", 30, 7.80, 3.20, 0.68, (0, 3)),
    ("mint_tea", "Mint and nib tea", 28, 6.90, 2.70, 0.68, (0, 3)),
)
_DRINK_ALPHA = (
    (0.00, 0.35, 0.12, 0.18, 0.03, 0.01),
    (0.42, 0.00, 0.14, 0.08, 0.06, 0.02),
    (0.22, 0.20, 0.00, 0.10, 0.10, 0.02),
    (0.40, 0.12, 0.08, 0.00, 0.02, 0.01),
    (0.08, 0.14, 0.16, 0.04, 0.00, 0.24),
    (0.04, 0.04, 0.04, 0.04, 0.32, 0.00),
)
# Sale, first and last day after FIRST_DAY (Tuesday, when the van has come, to Thursday: sales
# that empty the shelf would pass for substitution), and product: price.
_SALES = (
    ("sale_2026_05", 15, 17, {"bar_80": 3.60, "bar_60": 2.90, "bar_milk": 2.60}),
    ("sale_2026_06", 43, 45, {"bar_70": 3.20, "bar_hazelnut": 2.90, "bar_caramel": 2.90}),
    ("sale_2026_07", 71, 73, {"bar_60": 3.10, "bar_milk": 2.80, "bar_80": 3.90}),
    ("sale_2026_08", 106, 108, {"bar_caramel": 2.70, "bar_hazelnut": 3.10, "bar_70": 3.40}),
    ("sale_2026_09", 134, 136, {"bar_80": 3.70, "bar_60": 3.20, "bar_milk": 2.70}),
    ("sale_2026_10", 155, 157, {"bar_70": 3.00, "bar_caramel": 3.00, "bar_hazelnut": 2.80}),
)


def _bars() -> CategorySpec:
    ids = tuple(row[0] for row in _BAR_ROWS)
    promotions = tuple(
        Promotion(ids.index(name), first, last, price, sale, lift=1.1, feature=True)
        for sale, first, last, offers in _SALES
        for name, price in offers.items()
    )
    weekly = np.array([row[3] for row in _BAR_ROWS], dtype=float)
    cover = np.array([row[6] for row in _BAR_ROWS])
    level = np.rint(weekly * cover * UNITS)
    level[0] = 38  # the 90 %: a Friday and a Saturday morning
    launch = np.zeros(len(ids), dtype=np.int64)
    launch[ids.index("bar_85")] = LAUNCH_85
    infos = tuple(
        ProductInfo(
            name, family=f"bar_{'dark' if int(cocoa) >= 60 else 'milk'}", brand="Maison Cabosse",
            vendor="Cabosse SA", group="bars", size="100 g", pack_size=12,
            attributes=(("cocoa", cocoa),),
        )
        for _, name, cocoa, *_ in _BAR_ROWS
    )  # fmt: skip
    return CategorySpec(
        "bars",
        ids,
        weekly / WEEK,
        np.array(_BAR_ALPHA),
        np.array([row[4] for row in _BAR_ROWS]),
        np.array([row[5] for row in _BAR_ROWS]),
        level.astype(np.int64),
        WeeklyDeliveries(tuple(row[7] for row in _BAR_ROWS), 1, jitter=8, late_share=0.04),
        dispersion=0.12,
        basket_p=BASKET_P,
        elasticity=np.array([-1.4, -1.6, -1.9, -2.4, -2.2, -2.0, -2.0, -2.1]),
        shrinkage_rate=0.002,
        launch_day=launch,
        promotions=promotions,
        infos=infos,
    )


def _pralines() -> CategorySpec:
    return _plain("pralines", _PRALINE_ROWS, _PRALINE_ALPHA, "Maison Cabosse")


def _drinks() -> CategorySpec:
    return _plain("drinks", _DRINK_ROWS, _DRINK_ALPHA, "Cabosse & Co")


def _plain(
    category: str, rows: tuple[tuple, ...], alpha: tuple[tuple[float, ...], ...], brand: str
) -> CategorySpec:
    weekly: NDArray[np.float64] = np.array([row[2] for row in rows], dtype=float)
    cover = np.array([row[5] for row in rows])
    return CategorySpec(
        category,
        tuple(row[0] for row in rows),
        weekly / WEEK,
        np.array(alpha),
        np.array([row[3] for row in rows]),
        np.array([row[4] for row in rows]),
        np.rint(weekly * cover * UNITS).astype(np.int64),
        WeeklyDeliveries(tuple(row[6] for row in rows), 1, jitter=8, late_share=0.04),
        dispersion=0.12,
        basket_p=BASKET_P,
        elasticity=np.full(len(rows), -1.8),
        shrinkage_rate=0.001,
        infos=tuple(
            ProductInfo(row[1], brand=brand, vendor="Cabosse SA", group=category, pack_size=6)
            for row in rows
        ),
    )
