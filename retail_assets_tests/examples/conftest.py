"""The examples as modules, and what each is expected to find.

``RETAIL_ASSETS_EXAMPLES=whole`` runs each example from end to end, which takes minutes.
"""

from __future__ import annotations

import importlib.util
import os
import sys
import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.fixture
def example() -> Callable[[str], ModuleType]:
    """run.py of an example."""

    def load(name: str) -> ModuleType:
        spec = importlib.util.spec_from_file_location(f"example_{name}", EXAMPLES / name / "run.py")
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module

    return load


@pytest.fixture
def as_expected() -> Callable[..., None]:
    """Compare figures with a part of an example's expected.toml."""

    def compare(name: str, part: str, found: Mapping[str, Any]) -> None:
        expected = tomllib.loads((EXAMPLES / name / "expected.toml").read_text())[part]
        wrong = {k: found[k] for k, (low, high) in expected.items() if not low <= found[k] <= high}
        assert not wrong, f"{name}: {wrong}, expected {expected}"

    return compare


@pytest.fixture
def run_whole(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Callable[[ModuleType, list[str]], Path]:
    """Run an example as its README says; its home."""
    if os.environ.get("RETAIL_ASSETS_EXAMPLES") != "whole":
        pytest.skip("takes minutes; set RETAIL_ASSETS_EXAMPLES=whole")

    def run(module: ModuleType, arguments: list[str]) -> Path:
        for variable in ("RETAIL_ASSETS_HOME", "DAGSTER_HOME"):
            monkeypatch.delenv(variable, raising=False)
        home = tmp_path / "home"
        monkeypatch.setattr(sys, "argv", ["run.py", *arguments, "--home", str(home)])
        module.main()
        return home

    return run
