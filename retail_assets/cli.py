"""``retail-assets``: the graph without knowing Dagster.

Commands only parse, call and print; what a run does lives in runner.py.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from retail_assets import __version__, cli_tables
from retail_assets.cli_common import console, home_option, landing_option, say
from retail_assets.errors import RetailAssetsError
from retail_assets.settings import Settings

UNEXPECTED = 70  # EX_SOFTWARE of sysexits.h


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="retail-assets")
@click.option("--debug", is_flag=True, help="Show tracebacks.")
def cli(debug: bool) -> None:
    """Turn till receipts into decisions.

    \b
    Examples:
      retail-assets demo
      retail-assets check-landing my_export/
      retail-assets run --landing my_export/ --home my_shop/
      retail-assets simulate --preset paper --out /tmp/paper

    \b
    Exit codes: 0 done, 1 a run failed, 2 wrong usage or setting, 3 a landing file
    cannot be read, 4 rows break the contract, 5 a model cannot answer, 70 a bug.
    """


@cli.command()
@home_option
def demo(home: Path) -> None:
    """Run the whole graph on the shipped data and say what it found."""
    from retail_assets import runner, summary

    settings = runner.prepare(home, None)
    failed = runner.run(settings, console)
    summary.show(settings, console, failed)
    _told(failed)


@cli.command()
@landing_option
@home_option
@click.option("--until", metavar="ASSET", help="Stop after this asset, e.g. interval_sales.")
@click.option("--force", is_flag=True, help="Run again even where nothing is new.")
@click.option("--dry-run", is_flag=True, help="Say what would be made and why; write nothing.")
def run(landing: Path | None, home: Path, until: str | None, force: bool, dry_run: bool) -> None:
    """Turn a folder of contract files into every table.

    \b
    Examples:
      retail-assets run --landing my_export/ --home my_shop/
      retail-assets run --landing my_export/ --home my_shop/ --dry-run
    """
    from retail_assets import runner, runner_dry, summary

    if dry_run:
        runner_dry.dry_run(home, landing, console, until=until, force=force)
        return

    settings = runner.prepare(home, landing)
    failed = runner.run(settings, console, until=until, force=force)
    summary.show(settings, console, failed)
    _told(failed)


def _told(failed: list[str]) -> None:
    """End with an error where part of a run failed."""
    if failed:
        raise RetailAssetsError(f"failed: {', '.join(failed)}; everything else is up to date")


@cli.command()
@click.option("--preset", required=True, help="paper, demo, overdispersed, ... (see --help)")
@click.option("--out", required=True, type=click.Path(file_okay=False, path_type=Path))
@click.option("--seed", type=int, help="Default: the preset's own.")
def simulate(preset: str, out: Path, seed: int | None) -> None:
    """Write the landing files of a retailer whose truth is known, and the truth.

    \b
    Example:
      retail-assets simulate --preset paper --out /tmp/paper
      retail-assets run --landing /tmp/paper --home /tmp/paper_home
    """
    from retail_assets.simulator import write_preset

    try:
        write_preset(preset, out, seed=seed)
    except KeyError as error:
        raise click.BadParameter(str(error.args[0]), param_hint="--preset") from None
    console.print(f"preset {preset} written to {out}")


@cli.command()
@home_option
def publish(home: Path) -> None:
    """Write HOME/retail.duckdb again from the lake."""
    from retail_assets.warehouse import Warehouse

    settings = Settings.load(home)
    counts = Warehouse(settings).publish()
    console.print(f"{settings.database}: {len(counts)} tables, {sum(counts.values()):,} rows")


@cli.command()
@click.option(
    "--profile",
    type=click.Choice(["local", "cluster"]),
    default="local",
    show_default=True,
    help="One machine, or many.",
)
@home_option
def init(profile: str, home: Path) -> None:
    """Write the configuration of Dagster into DAGSTER_HOME (default: HOME/dagster).

    \b
    Example:
      retail-assets init --profile cluster --home my_shop/
    """
    from retail_assets import deploy

    folder = Path(os.environ.get("DAGSTER_HOME") or Settings.load(home).home / "dagster")
    for path in deploy.write_profile(profile, folder):
        say(str(path))


@cli.command()
@landing_option
@home_option
def doctor(landing: Path | None, home: Path) -> None:
    """Look for what is wrong with this machine or home; exit code 1 if something is.

    \b
    Example:
      retail-assets doctor --home my_shop/
    """
    from retail_assets import doctor as looking

    findings = looking.examine(Settings.load(home, landing))
    for finding in findings:
        say(str(finding))
    if any(finding.level == looking.WRONG for finding in findings):
        sys.exit(1)


@cli.command("check-landing")
@click.argument("directory", type=click.Path(exists=True, file_okay=False, path_type=Path))
def check_landing(directory: Path) -> None:
    """Validate a folder of landing files without writing anything.

    \b
    Example:
      retail-assets check-landing my_export/
    """
    from retail_assets.ingest.check import check_landing as check

    report = check(Settings.load(directory / ".nowhere", directory))
    for line in report.lines():
        say(line)
    if not report.ok:
        sys.exit(3)


@cli.command()
@home_option
@click.option("--port", default=3000, show_default=True)
def ui(home: Path, port: int) -> None:
    """Open the Dagster UI on this home (webserver and daemon, loopback only)."""
    from retail_assets import runner

    runner.prepare(home, None)
    workspace = Path("workspace.yaml")
    source = ["-w", str(workspace)] if workspace.exists() else ["-m", "retail_assets.definitions"]
    command = [sys.executable, "-m", "dagster", "dev", *source, "-h", "127.0.0.1", "-p", str(port)]
    os.execv(sys.executable, command)


@cli.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str) -> None:
    """Print what completes commands, options and table names in a SHELL.

    \b
    Example (in ~/.bashrc):
      eval "$(retail-assets completion bash)"
    """
    from click.shell_completion import get_completion_class

    kind = get_completion_class(shell)
    assert kind is not None
    print(kind(cli, {}, "retail-assets", "_RETAIL_ASSETS_COMPLETE").source())


for command in cli_tables.COMMANDS:
    cli.add_command(command)


def main() -> None:
    """Run the CLI; an error a user can mend is one line and its exit code."""
    _guard(cli)


def _guard(command: Callable[..., Any]) -> None:
    debug = "--debug" in sys.argv
    try:
        command()
    except RetailAssetsError as error:
        if debug:
            raise
        print(f"error: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
    except Exception as error:
        if debug:
            raise
        print(f"error: {type(error).__name__}: {error} (--debug shows where)", file=sys.stderr)
        sys.exit(UNEXPECTED)


if __name__ == "__main__":
    main()
