"""What every module of the command line shares: the console and the options of a home."""

from __future__ import annotations

from pathlib import Path

import click
from rich.console import Console

from retail_assets.settings import HOME_VARIABLE, LANDING_VARIABLE

console = Console(highlight=False)

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


def say(line: str) -> None:
    """Print a line as it is: no markup, no wrapping."""
    console.print(line, markup=False, soft_wrap=True)
