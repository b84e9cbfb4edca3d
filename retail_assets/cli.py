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
from rich.console import Console

from retail_assets import __version__
from retail_assets.errors import RetailAssetsError
from retail_assets.settings import HOME_VARIABLE, LANDING_VARIABLE, Settings

console = Console(highlight=False)
UNEXPECTED = 70  # EX_SOFTWARE of sysexits.h

home_option = click.option(
    "--home",
    type=click.Path(file_okay=False, path_type=Path),
    envvar=HOME_VARIABLE,
    default=Path("data"),
    show_default=True,
    help="Lake, database, rules and settings.",
)
landing_option = click.option(
    "--landing",
    type=click.Path(file_okay=False, path_type=Path),
    envvar=LANDING_VARIABLE,
    help="Folder of contract files; default: HOME/landing.",
)


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
def run(landing: Path | None, home: Path, until: str | None, force: bool) -> None:
    """Turn a folder of contract files into every table.

    \b
    Example:
      retail-assets run --landing my_export/ --home my_shop/
    """
    from retail_assets import runner, summary

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
        console.print(f"{path}", markup=False, soft_wrap=True)


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
        console.print(str(finding), markup=False, soft_wrap=True)
    if any(finding.level == looking.WRONG for finding in findings):
        sys.exit(1)


@cli.command()
@click.argument("table")
@click.option("--limit", default=20, show_default=True, help="So many versions, newest first.")
@home_option
def history(table: str, limit: int, home: Path) -> None:
    """List the versions of a table, and which can be made current again.

    \b
    Example:
      retail-assets history optimal_prices
    """
    from retail_assets import maintenance
    from retail_assets.warehouse import Warehouse

    for version in maintenance.history(Warehouse(Settings.load(home)), table, limit):
        rows = f"{version.rows:>12,} rows" if version.restorable else "vacuumed".rjust(17)
        when = f"{version.written:%Y-%m-%d %H:%M:%S} UTC"
        console.print(f"{version.number:>6}  {when}  {rows}  {version.operation}", markup=False)


@cli.command()
@click.argument("table")
@click.argument("version", type=int)
@home_option
def rollback(table: str, version: int, home: Path) -> None:
    """Make an earlier VERSION of TABLE current again, as a new version.

    \b
    Example:
      retail-assets rollback optimal_prices 12
    """
    from retail_assets import maintenance
    from retail_assets.warehouse import Warehouse

    warehouse = Warehouse(Settings.load(home))
    maintenance.history(warehouse, table, 1)
    warehouse.rollback(table, version)
    console.print(
        f"{table}: version {version} is current again, as version {warehouse.version(table)};"
        " retail-assets publish brings it into the database",
        soft_wrap=True,
    )


@cli.command()
@click.option(
    "--grace-hours",
    default=168,
    show_default=True,
    type=click.IntRange(0),
    help="Versions younger than this stay; with 0 nobody may be writing.",
)
@home_option
def vacuum(grace_hours: int, home: Path) -> None:
    """Join small files, and delete those of old versions and of killed runs.

    \b
    Example:
      retail-assets vacuum --grace-hours 48
    """
    from retail_assets import maintenance
    from retail_assets.warehouse import Warehouse

    warehouse = Warehouse(Settings.load(home))
    joined = sum(maintenance.compact(warehouse).values())
    maintenance.checkpoint(warehouse)
    removed = maintenance.sweep(warehouse, grace_hours)
    console.print(f"{joined:,} files joined, {removed:,} deleted")


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
        console.print(line, markup=False)
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
