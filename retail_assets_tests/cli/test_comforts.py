"""Progress, dry runs, completion, and a command line that starts at once."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner
from rich.console import Console

from retail_assets import runner_dry
from retail_assets.cli import cli
from retail_assets.runner_progress import WORK, Progress
from retail_assets.settings import HOME_VARIABLE, LANDING_VARIABLE

DOCS = Path(__file__).parents[2] / "docs" / "commands.md"


def test_time_left_follows_from_the_work_done_and_counts_down():
    clock = [0.0]
    progress = Progress(Console(quiet=True), now=lambda: clock[0])
    assert progress.left() == ""
    clock[0] = 2 * WORK["references"]  # twice as slow as the machine the figures come from
    progress.end("references")
    progress.expect(["ingest", "models", "models", "publish"], at_once=2)
    left = 2 * (WORK["ingest"] + WORK["models"] + WORK["publish"])
    assert progress.seconds_left() == pytest.approx(left)
    assert progress.left() == f"about {left / 60:.0f} min left"
    clock[0] += left - 40
    assert progress.left() == "about 40 s left"
    for job in ("ingest", "models", "models", "publish"):
        progress.end(job)
    assert progress.left() == ""


def test_no_moving_line_where_nobody_sees_it(capsys):
    with Progress(Console()) as progress:
        progress.begin("receipts")
        progress.end("ingest")
    assert capsys.readouterr().out == ""


@pytest.fixture
def shop(tmp_path: Path, monkeypatch) -> Path:
    """Two days of receipts; a sale to come."""
    landing = tmp_path / "landing"
    (landing / "pos").mkdir(parents=True)
    lines = [f"t{day}{at},s,2026-05-{day:02d} 10:{at:02d}:00,bar,1,3.50"
             for day in (4, 5) for at in range(9)]  # fmt: skip
    files = {
        "pos/may.csv": "transaction_id,store_id,sold_at,product_id,quantity,unit_price\n"
        + "\n".join(lines),
        "products.csv": "product_id,name,category,unit_cost,msrp\nbar,Bar,sweets,1,3.50\n",
        "stores.csv": "store_id,timezone\ns,Europe/Paris\n",
        "sale_events.csv": "sale_id,product_id,starts_at,units_available\n"
        "june,bar,2026-06-01 00:00:00,50\n",
    }
    for name, text in files.items():
        (landing / name).write_text(text + "\n")
        os.utime(landing / name, (1, 1))
    # A dry run points its process at a throwaway home.
    monkeypatch.setenv(HOME_VARIABLE, os.environ[HOME_VARIABLE])
    monkeypatch.setenv(LANDING_VARIABLE, str(landing))
    return tmp_path


def test_a_dry_run_says_what_and_why_and_writes_nothing(shop, capsys):
    before = sorted(shop.rglob("*"))
    runner_dry.dry_run(shop / "home", shop / "landing", Console(width=200), until=None, force=False)
    told = capsys.readouterr().out
    assert sorted(shop.rglob("*")) == before
    for what, why in (
        ("read raw_pos", "pos/may.csv"),
        ("receipts of 2026-05-04 to 2026-05-05", "new or changed receipts"),
        ("models of sweets", "new or changed receipts"),
        ("assortment of sweets", "new or changed receipts"),
        ("trials of 2026-05-04 to 2026-05-05", "the last day, and days"),
        ("demand for sweets", "new or changed receipts"),
        ("prices of june", "to come; sale_events holds no price of it"),
    ):
        assert any(what in line and why in line for line in told.splitlines()), what
    assert told.endswith("nothing was written\n")


def test_help_starts_without_the_platform():
    code = (
        "import sys, retail_assets.cli;"
        "print([m for m in ('dagster', 'duckdb', 'pandas', 'numpy') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.strip() == "[]", done.stderr


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_prints_a_script(shell):
    done = CliRunner().invoke(cli, ["completion", shell])
    assert "_RETAIL_ASSETS_COMPLETE" in done.output


def test_tables_complete():
    asked = {"_RETAIL_ASSETS_COMPLETE": "bash_complete", "COMP_CWORD": "2"}
    asked["COMP_WORDS"] = "retail-assets history optimal"
    done = CliRunner().invoke(cli, prog_name="retail-assets", env=asked)
    assert done.output.split() == ["plain,optimal_prices"]


def test_every_command_has_its_example_on_the_page():
    page = DOCS.read_text()
    names = [name for name in cli.commands if name != "explain"]
    names += [f"explain {name}" for name in cli.commands["explain"].commands]
    assert [name for name in names if f"retail-assets {name} " not in page] == []
