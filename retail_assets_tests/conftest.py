"""One home for the whole test session, set before any definition is imported; public data."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import pytest

_home = tempfile.TemporaryDirectory(prefix="retail-assets-tests-")
os.environ["RETAIL_ASSETS_HOME"] = _home.name
os.environ.pop("RETAIL_ASSETS_LANDING", None)
# Wide enough for every test's data; partitions.py reads it once at import.
Path(_home.name, "settings.toml").write_text("first_day = 2010-01-01\n")


@pytest.fixture(scope="session")
def public_data() -> Path:
    """Public data sets beside the checkout: their terms do not let us ship a copy."""
    folder = Path(__file__).parents[2] / "shared" / "data"
    if not folder.exists():
        pytest.skip(f"no public data sets beside this checkout: {folder}")
    return folder
