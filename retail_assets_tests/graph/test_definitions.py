"""The code location: it loads, it loads fast, and it says what the contract says."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys

import dagster as dg
import pytest

from retail_assets import contract
from retail_assets.definitions import build_definitions
from retail_assets.settings import HOME_VARIABLE

HEAVY = ("jax", "tensorflow_probability", "xgboost", "ortools", "numba", "matplotlib", "scipy")


@pytest.fixture(scope="module")
def definitions() -> dg.Definitions:
    return build_definitions()


def test_definitions_are_loadable(definitions):
    dg.Definitions.validate_loadable(definitions)


def test_loading_the_code_location_imports_nothing_heavy():
    script = (
        f"import sys, retail_assets.definitions;print([m for m in {HEAVY!r} if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.stdout.strip() == "[]", done.stdout + done.stderr


_SWITCHED = """
from retail_assets.definitions import defs
for one in [*defs.sensors, *defs.schedules]:
    print(one.name, one.default_status.value)
"""


@pytest.mark.parametrize(("written", "status"), [("true", "RUNNING"), ("false", "STOPPED")])
def test_schedules_and_sensors_run_by_themselves_where_settings_say_so(tmp_path, written, status):
    (tmp_path / "settings.toml").write_text(f"automate = {written}\n")
    where = {**os.environ, HOME_VARIABLE: str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", _SWITCHED], capture_output=True, text=True, env=where, check=True
    )
    found = dict(line.split() for line in done.stdout.splitlines())
    assert found.pop("alert_sensor") == "RUNNING"
    assert len(found) == 6
    assert set(found.values()) == {status}


def test_every_contract_table_has_one_asset_with_its_schema(definitions):
    graph = definitions.resolve_asset_graph()
    assets = {key.to_user_string() for key in graph.materializable_asset_keys}
    own = {n for n in contract.tables() if n == "pos_quarantine" or not n.endswith("_quarantine")}
    assert own <= assets
    for name in own:
        node = graph.get(dg.AssetKey(name))
        assert node.group_name == contract.table(name).group
        assert [c.name for c in node.metadata["dagster/column_schema"].columns] == list(
            contract.table(name).column_names
        )


def test_the_spine_is_one_lineage(definitions):
    graph = definitions.resolve_asset_graph()
    spine = [
        "landing_files",
        "raw_pos",
        "pos_lines",
        "interval_sales",
        "inventory_status",
        "substitution_posterior",
        "assortment_simulation",
    ]
    for upstream, downstream in itertools.pairwise(spine):
        assert dg.AssetKey(upstream) in graph.get(dg.AssetKey(downstream)).parent_keys
