"""Checks of what came in, on real tables."""

from __future__ import annotations

import pytest

from retail_assets.checks.ingest_checks import references_landed
from retail_assets.settings import Settings
from retail_assets.warehouse import Warehouse


@pytest.mark.parametrize(("origin", "passed"), [("file", True), ("receipts", False)])
def test_derived_products_are_said(tmp_path, origin, passed):
    warehouse = Warehouse(Settings.load(tmp_path))
    row = f"SELECT 'p' AS product_id, 'P' AS name, 'all' AS category, '{origin}' AS origin"
    with warehouse.session() as session:
        rows = session.sql(f"{row}, 'f' AS source_file, 1 AS source_row")
        session.replace("products", rows)
    result = references_landed(warehouse=warehouse)
    assert result.passed is passed
    assert result.metadata["products_derived_from_receipts"].value == int(not passed)
