"""The textbook's inventory policies under one name; each function names its equation."""

from retail_assets.models.inventory.eoq import (
    OrderQuantity,
    all_units_discount,
    economic_order_quantity,
    eoq_with_backorders,
)
from retail_assets.models.inventory.newsvendor import (
    BaseStock,
    SampleLevels,
    beta_binomial_pmf,
    critical_ratio,
    newsvendor_discrete,
    newsvendor_explicit,
    newsvendor_lognormal,
    newsvendor_normal,
    newsvendor_poisson,
    newsvendor_quantile,
    newsvendor_sample,
    poisson_cost,
)
from retail_assets.models.inventory.replenishment import (
    ReorderPolicy,
    r_q_normal,
    r_q_poisson,
    reorder_point_normal,
    s_s_poisson,
    s_s_power,
)

__all__ = [
    "BaseStock",
    "OrderQuantity",
    "ReorderPolicy",
    "SampleLevels",
    "all_units_discount",
    "beta_binomial_pmf",
    "critical_ratio",
    "economic_order_quantity",
    "eoq_with_backorders",
    "newsvendor_discrete",
    "newsvendor_explicit",
    "newsvendor_lognormal",
    "newsvendor_normal",
    "newsvendor_poisson",
    "newsvendor_quantile",
    "newsvendor_sample",
    "poisson_cost",
    "r_q_normal",
    "r_q_poisson",
    "reorder_point_normal",
    "s_s_poisson",
    "s_s_power",
]
