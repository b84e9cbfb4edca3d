"""A retailer whose truth is known: demo data, tests and calibration."""

from __future__ import annotations

from retail_assets.simulator.engine import (
    CategoryHistory,
    History,
    StoreHistory,
    panel_of,
    simulate,
)
from retail_assets.simulator.presets import frozen_truth, load_preset, preset_names
from retail_assets.simulator.specs import CategorySpec, RetailSpec, StoreSpec
from retail_assets.simulator.writer import write_landing, write_preset

__all__ = [
    "CategoryHistory",
    "CategorySpec",
    "History",
    "RetailSpec",
    "StoreHistory",
    "StoreSpec",
    "frozen_truth",
    "load_preset",
    "panel_of",
    "preset_names",
    "simulate",
    "write_landing",
    "write_preset",
]
