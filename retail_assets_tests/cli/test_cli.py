"""The command line: exit codes, one-line errors, help with examples."""

from __future__ import annotations

import os
import subprocess
import sys

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
