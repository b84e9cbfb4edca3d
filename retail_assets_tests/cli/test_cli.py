"""The command line: exit codes, one-line errors, help with examples."""

from __future__ import annotations

import os
import subprocess
import sys

import duckdb
import pytest
from click.testing import CliRunner

from retail_assets.cli import cli


def run(*args: str, home) -> subprocess.CompletedProcess[str]:
    keep = {k: v for k, v in os.environ.items() if not k.startswith("RETAIL_ASSETS")}
    command = [sys.executable, "-m", "retail_assets.cli", *args]
    return subprocess.run(command, env=keep, cwd=home, capture_output=True, text=True)


@pytest.mark.parametrize("command", ["run", "simulate", "check-landing"])
def test_help_has_an_example(command):
    shown = CliRunner().invoke(cli, [command, "--help"]).output
    assert f"retail-assets {command}" in shown


def test_a_missing_landing_folder_is_one_line_and_exit_code_2(tmp_path):
    done = run("run", "--home", "h", "--landing", "nowhere", home=tmp_path)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "nowhere" in done.stderr
    assert "Traceback" not in done.stderr


def test_debug_shows_where(tmp_path):
    done = run("--debug", "run", "--home", "h", "--landing", "nowhere", home=tmp_path)
    assert "Traceback" in done.stderr


def test_a_broken_setting_names_file_and_value(tmp_path):
    (tmp_path / "h").mkdir()
    (tmp_path / "h" / "settings.toml").write_text("grain_minutes = 10080\n")
    done = run("publish", "--home", "h", home=tmp_path)
    assert done.returncode == 2
    assert "settings.toml" in done.stderr
    assert "10080" in done.stderr


def test_an_unknown_preset_lists_the_known_ones(tmp_path):
    done = run("simulate", "--preset", "nope", "--out", "o", home=tmp_path)
    assert done.returncode == 2
    assert "paper" in done.stderr


def test_check_landing_names_file_and_column_and_writes_nothing(tmp_path):
    pos = tmp_path / "landing" / "pos"
    pos.mkdir(parents=True)
    (pos / "day.csv").write_text("transaction_id,store_id,product_id\n1,a,b\n")
    os.utime(pos / "day.csv", (1, 1))
    before = sorted(tmp_path.rglob("*"))
    done = run("check-landing", "landing", home=tmp_path)
    assert done.returncode == 3
    assert "day.csv" in done.stdout
    assert "sold_at" in done.stdout
    assert sorted(tmp_path.rglob("*")) == before


def test_a_retailer_with_stylists_and_no_till_gets_its_plan(tmp_path):
    folder = tmp_path / "landing"
    folder.mkdir()
    days = [f"2026-05-{day:02d}" for day in range(4, 25)]
    files = {
        "products.csv": "product_id,name,category,unit_cost,msrp\n"
        + "".join(f"style_{i},Style {i},shirts,10,30\n" for i in range(4)),
        "style_trials.csv": "product_id,date,n,k,warehouse\n"
        + "".join(f"style_{i},{day},20,{2 + i},north\n" for i in range(4) for day in days)
        + "style_0,2026-05-24,3,9,north\n",
        "stock.csv": "product_id,warehouse,on_hand,lead_time_days\n"
        + "".join(f"style_{i},north,{5 * i},7\n" for i in range(4)),
    }
    for name, text in files.items():
        (folder / name).write_text(text)
        os.utime(folder / name, (1, 1))
    done = run("run", "--landing", "landing", "--home", "h", home=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "Receipts         none" in done.stdout
    assert "Style 0" in done.stdout[done.stdout.index("Order now") :]
    with duckdb.connect(str(tmp_path / "h" / "retail.duckdb"), read_only=True) as database:
        rejected = database.sql("SELECT source_row, reasons FROM style_trials_quarantine")
        assert rejected.fetchall() == [(86, ["breaks the rule k BETWEEN 0 AND n"])]
        known = database.sql("SELECT count(DISTINCT as_of) FROM cold_start_posterior").fetchall()
    assert known == [(21,)]
    # A sale nobody can price is told of, and stops nothing else.
    (folder / "sale_events.csv").write_text(
        "sale_id,product_id,starts_at,ends_at,units_available\n"
        "autumn,unicorn,2026-09-01 00:00:00,2026-09-02 00:00:00,5\n"
    )
    os.utime(folder / "sale_events.csv", (1, 1))
    again = run("run", "--landing", "landing", "--home", "h", home=tmp_path)
    assert again.returncode == 1
    assert "autumn: unicorn: not in products; land them" in again.stdout
    assert "Order now" in again.stdout
    assert again.stderr.strip() == (
        "error: failed: prices of autumn; everything else is up to date"
    )
