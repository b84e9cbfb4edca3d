"""The notebook's cells run on a published database, without jupyter."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime
from typing import Any

import pandas as pd
import pytest

from retail_assets.settings import Settings
from retail_assets.warehouse import Warehouse
from retail_assets_tests.examples.conftest import EXAMPLES

NOTEBOOK = json.loads((EXAMPLES / "notebook" / "look_around.ipynb").read_text())
DAY = date(2026, 3, 2)


def _rows() -> dict[str, list[dict[str, Any]]]:
    """Two bars: one is out a third of the time, and half of its customers take the other."""
    base = {"category": "bars", "as_of": DAY}
    at = [datetime(2026, 3, 2, hour, tzinfo=UTC) for hour in (9, 11, 12)]
    pairs = {("a", "b"): 0.5, ("a", "none"): 0.5, ("b", "a"): 0.2, ("b", "none"): 0.8}
    return {
        "products": [{"product_id": p, "name": p.upper(), "category": "bars"} for p in "ab"],
        "inventory_status": [
            base | {"store_id": "s", "product_id": "a", "start_ts": begin, "end_ts": end,
                    "n_intervals": n, "p_out_mean": p, "p_out_start": p, "p_out_end": p,
                    "status": "out_of_stock" if p else "in_stock", "method": "hmm",
                    "low_power": False}
            for begin, end, n, p in ((at[0], at[1], 8, 0.0), (at[1], at[2], 4, 1.0))
        ],
        "substitution_rates": [
            base | {"choice_model": "one_step", "from_product": f, "to_product": t, "mean": mean,
                    "sd": 0.1, "q025": 0.0, "q50": mean, "q975": 1.0, "flag": "ok",
                    "n_oos_customers": 40.0, "contraction": 0.5}
            for (f, t), mean in pairs.items()
        ],
        "substitution_diagnostics": [
            base | {"engine": "nuts", "choice_model": "one_step", "chosen": True,
                    "resolved": True, "max_row_sum": 1.0, "share_unidentified": 0.0,
                    "seconds": 1.0}
        ],
        "demand_curves": [
            base | {"sale_id": "everyday", "product_id": "a", "price_cents": price,
                    "rel_price_from": 0.0, "rel_price_to": 9.0, "demand": 1e5 / price,
                    "demand_lo80": 8e4 / price, "demand_hi80": 12e4 / price,
                    "extrapolated": price < 300, "error_bound": 0.0, "flag": "ok"}
            for price in (280, 300, 320)
        ],
    }  # fmt: skip


@pytest.fixture
def home(tmp_path):
    warehouse = Warehouse(Settings(home=tmp_path, landing=tmp_path / "landing"))
    with warehouse.session() as session:
        for table, rows in _rows().items():
            scope = None if table == "products" else "bars"
            session.replace(table, session.connection.from_df(pd.DataFrame(rows)), scope)
    warehouse.publish()
    return tmp_path


def test_every_cell_runs_and_shows_what_the_tables_say(home, monkeypatch):
    monkeypatch.setenv("RETAIL_ASSETS_HOME", str(home))
    monkeypatch.setenv("MPLBACKEND", "agg")
    said: dict[str, Any] = {}
    for cell in NOTEBOOK["cells"]:
        if cell["cell_type"] == "code":
            exec("".join(cell["source"]), said)
    assert set(_rows()) <= set(said["tables"]["table_name"])
    assert said["out"].set_index("product")["share_out"]["A"] == pytest.approx(1 / 3)
    assert said["matrix"].loc["a", "b"] == 0.5
    assert said["curve"]["demand"].is_monotonic_decreasing
    said["plt"].close("all")
    said["db"].close()


def test_no_outputs_are_kept_in_the_repository():
    code = [cell for cell in NOTEBOOK["cells"] if cell["cell_type"] == "code"]
    assert all(cell["outputs"] == [] and cell["execution_count"] is None for cell in code)
