"""The shipped demo: a small chain of chocolate shops."""

from __future__ import annotations

from retail_assets.simulator.specs import RetailSpec


def demo() -> RetailSpec:
    raise NotImplementedError
