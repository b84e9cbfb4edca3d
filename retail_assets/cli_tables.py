"""Commands on tables that exist: look, take out, explain, go back, clean up.

Registered on the group of cli.py. They only parse, call and print.
"""

from __future__ import annotations

from pathlib import Path

import click
from click.shell_completion import CompletionItem

from retail_assets.cli_common import home_option, say
from retail_assets.settings import Settings


def _table_names(
    context: click.Context, parameter: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    from retail_assets import contract

    return [CompletionItem(name) for name in contract.tables() if name.startswith(incomplete)]


@click.command()
@click.argument("table", shell_complete=_table_names)
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
        say(f"{version.number:>6}  {when}  {rows}  {version.operation}")


@click.command()
@click.argument("table", shell_complete=_table_names)
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
    say(
        f"{table}: version {version} is current again, as version {warehouse.version(table)};"
        " retail-assets publish brings it into the database"
    )


@click.command()
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
    say(f"{joined:,} files joined, {removed:,} deleted")


@click.command()
@click.option("--table", required=True, shell_complete=_table_names, help="optimal_prices, say.")
@click.option(
    "--format",
    "kind",
    type=click.Choice(["csv", "xlsx", "parquet"]),
    help="Default: what the name of --out ends in, else csv.",
)
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Default: TABLE.FORMAT in this folder.",
)
@click.option("--partition", help="One category, sale or day; default: all.")
@home_option
def export(
    table: str, kind: str | None, out: Path | None, partition: str | None, home: Path
) -> None:
    """Write a table as a file for a spreadsheet or another program.

    Amounts are cents in csv and parquet, money in xlsx, whose second sheet says what each column
    means.

    \b
    Examples:
      retail-assets export --table reorder_plan --format xlsx
      retail-assets export --table optimal_prices --partition sale_2026_11 --out prices.csv
    """
    from retail_assets import contract, export
    from retail_assets.warehouse import Warehouse

    kind = export.format_of(kind, out)
    target = out or Path(f"{table}.{kind}")
    with Warehouse(Settings.load(home)).session() as session:
        rows = export.export_table(session, table, target, kind, partition)
    say(f"{target}: {rows:,} rows")
    if gone := export.left_out(contract.table(table), kind):
        names = ", ".join(column.name for column in gone)
        say(f"left out: {names}, binary; --format parquet holds it")


@click.command("price-file")
@click.argument("sale")
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Ends in .csv, .xlsx or .parquet; default: price_calendar.SALE.csv in this folder.",
)
@home_option
def price_file(sale: str, out: Path | None, home: Path) -> None:
    """Write the chosen prices of SALE as a price calendar, for the tills or to land again.

    \b
    Example:
      retail-assets price-file sale_2026_11 --out my_export/price_calendar.november.csv
    """
    from retail_assets import export
    from retail_assets.warehouse import Warehouse

    target = out or Path(export.price_file_name(sale))
    with Warehouse(Settings.load(home)).session() as session:
        rows = export.export_prices(session, sale, target, export.format_of(None, target))
    say(f"{target}: {rows:,} prices")


@click.group()
def explain() -> None:
    """Say in plain words why a price, an order or a substitution is what it is.

    \b
    Examples:
      retail-assets explain price sale_2026_11 "dark 70"
      retail-assets explain order bar_85 --warehouse central
      retail-assets explain substitution bar_90 bar_80
    """


@explain.command("price")
@click.argument("sale")
@click.argument("product")
@home_option
def explain_price(sale: str, product: str, home: Path) -> None:
    """Why PRODUCT (its id, or part of its name) has its price in SALE.

    \b
    Example:
      retail-assets explain price sale_2026_11 "dark 70"
    """
    from retail_assets import explain
    from retail_assets.warehouse import Warehouse

    with Warehouse(Settings.load(home)).session() as session:
        _told(explain.explain_price(session, sale, product))


@explain.command("order")
@click.argument("product")
@click.option("--size", help="Default: every size.")
@click.option("--warehouse", help="Default: every warehouse.")
@home_option
def explain_order(product: str, size: str | None, warehouse: str | None, home: Path) -> None:
    """Why so many of PRODUCT (its id, or part of its name) are ordered, or none.

    \b
    Example:
      retail-assets explain order bar_85 --warehouse central
    """
    from retail_assets import explain
    from retail_assets.warehouse import Warehouse

    with Warehouse(Settings.load(home)).session() as session:
        _told(explain.explain_order(session, product, size, warehouse))


@explain.command("substitution")
@click.argument("wanted")
@click.argument("taken")
@home_option
def explain_substitution(wanted: str, taken: str, home: Path) -> None:
    """How many customers take TAKEN where WANTED is missing, and how that is known.

    \b
    Example:
      retail-assets explain substitution bar_90 bar_80
    """
    from retail_assets import explain
    from retail_assets.warehouse import Warehouse

    with Warehouse(Settings.load(home)).session() as session:
        _told(explain.explain_substitution(session, wanted, taken))


def _told(lines: list[str]) -> None:
    for line in lines:
        say(line)


COMMANDS: tuple[click.Command, ...] = (history, rollback, vacuum, export, price_file, explain)
