"""Tables as files for people and tills: CSV, Excel or Parquet.

``export_table`` writes what a table holds; ``export_prices`` the chosen prices of a sale as a
landing file of ``price_calendar``. How a sheet looks is export_workbook.py.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Callable
from pathlib import Path

import duckdb

from retail_assets import contract
from retail_assets.contract import Column, Table
from retail_assets.errors import RetailAssetsError
from retail_assets.export_workbook import FORMULA_STARTS, Sheet, check_rows, write_workbook
from retail_assets.staging import quoted
from retail_assets.warehouse import Session

FORMATS = ("csv", "xlsx", "parquet")

USED = "weighted"
"""The goal whose prices are charged."""

# Every item with its chosen price, its days and what it costs outside the sale. An end at
# midnight is the end of the day before.
_PRICES = """
WITH items AS (
    SELECT product_id, starts_at::DATE AS first,
           greatest(first, (coalesce(ends_at, starts_at) - INTERVAL 1 SECOND)::DATE) AS last
    FROM sale_events WHERE sale_id = $sale
), chosen AS (
    SELECT * FROM optimal_prices WHERE sale_id = $sale AND target = $used
), calendar AS (
    SELECT product_id, regular_price FROM price_calendar JOIN items USING (product_id)
    WHERE valid_from < first
    QUALIFY row_number() OVER (PARTITION BY product_id
                               ORDER BY valid_from DESC, store_id NULLS FIRST) = 1
)
SELECT product_id, NULL::VARCHAR AS store_id, first AS valid_from, last AS valid_to,
       coalesce(c.regular_price, prior_price_cents / 100, p.original_price, p.msrp,
                price_cents / 100)::DECIMAL(18, 2) AS regular_price,
       nullif((price_cents / 100)::DECIMAL(18, 2), regular_price) AS offer_price,
       price_cents IS NOT NULL AS priced
FROM items FULL JOIN chosen USING (product_id)
LEFT JOIN calendar c USING (product_id) LEFT JOIN products p USING (product_id)
ORDER BY product_id
"""


def format_of(kind: str | None, out: Path | None) -> str:
    """The format asked for, else that of the file's name, else CSV.

    Raises
    ------
    RetailAssetsError
        The file's name says none of the formats.
    """
    suffix = out.suffix.lstrip(".").lower() if out is not None else "csv"
    if kind is None and suffix not in FORMATS:
        raise RetailAssetsError(f"{out}: no such format; end it in .csv, .xlsx or .parquet")
    return kind or suffix


def export_table(
    session: Session, name: str, target: Path, kind: str, partition: str | None = None
) -> int:
    """Write a table, or one partition of it, in the order of its key.

    In CSV, text that a spreadsheet would run gets an apostrophe before it, lists become text
    and binary columns are left out (``left_out``). In Excel such text is a text cell.

    Returns
    -------
    int
        Rows written.

    Raises
    ------
    RetailAssetsError
        The table, the partition or the folder does not exist, or Excel cannot hold it.
    """
    table, settings = _known(session, name), session.warehouse.settings
    rows = f'SELECT * FROM "{name}"{_where(session, table, partition)}'
    count = int(session.sql(f"SELECT count(*) FROM ({rows})").fetchall()[0][0])
    order = ", ".join(f'"{column}"' for column in table.key) or "ALL"
    columns = [column for column in table.columns if column not in left_out(table, kind)]
    if kind == "xlsx":
        check_rows(name, count)
        sheet = Sheet(table, tuple(columns), settings.currency, settings.timezone)
        found = session.sql(f"SELECT {sheet.select()} FROM ({rows} ORDER BY {order})")
        _written(target, lambda path: write_workbook(path, sheet, found))
        return count
    if kind == "csv":
        listed = ", ".join(_csv_text(column) for column in columns)
        rows = f"SELECT {listed} FROM ({rows} ORDER BY {order})"
    else:
        rows = f"{rows} ORDER BY {order}"
    _written(target, lambda path: _save(session.sql(rows), path, kind))
    return count


def left_out(table: Table, kind: str) -> list[Column]:
    """Binary columns, which only Parquet can hold."""
    return [c for c in table.columns if c.type == "BLOB" and kind != "parquet"]


def export_prices(session: Session, sale: str, target: Path, kind: str) -> int:
    """Write the chosen prices of a sale as a file of ``price_calendar``.

    The chosen price is the offer, for all stores, on the days of the sale. Text stands as it
    is, for a machine reads it: an id that a spreadsheet would run is refused in CSV.

    Raises
    ------
    RetailAssetsError
        The sale has no prices, or prices of other items than it has now.
    """
    found = session.sql(_PRICES, {"sale": sale, "used": USED})
    items = found.fetchall()
    if not any(item[-1] for item in items):
        known = _listed(session, "SELECT DISTINCT sale_id FROM optimal_prices ORDER BY ALL")
        raise RetailAssetsError(f"sale {sale} has no prices yet; sales that have: {known}")
    for product, _, first, *_, priced in items:
        if first is None or not priced:
            what = "has no price" if first else "has a price but is not in the sale any more"
            raise RetailAssetsError(f"sale {sale}: {product} {what}; price the sale again")
        if kind == "csv" and product[0] in FORMULA_STARTS:
            raise RetailAssetsError(
                f"sale {sale}: a spreadsheet would run the id {product!r} in a CSV file as a"
                " formula; write .parquet or .xlsx"
            )
    rows = found.project("* EXCLUDE (priced)")
    if kind == "xlsx":
        settings = session.warehouse.settings
        table = contract.table("price_calendar")
        columns = tuple(c for c in table.columns if c.name in rows.columns)
        sheet = Sheet(table, columns, settings.currency, settings.timezone)
        _written(target, lambda path: write_workbook(path, sheet, rows))
    else:
        _written(target, lambda path: _save(rows, path, kind))
    return len(items)


def price_file_name(sale: str) -> str:
    """Name under which the landing folder takes the prices of a sale for a price calendar."""
    return f"price_calendar.{re.sub(r'[^A-Za-z0-9_-]+', '_', sale)}.csv"


def _known(session: Session, name: str) -> Table:
    if name not in contract.tables():
        known = ", ".join(contract.tables())
        raise RetailAssetsError(f"no table {name!r}; known: {known}")
    if not session.warehouse.exists(name):
        raise RetailAssetsError(f"table {name} was never written; run it first")
    return contract.table(name)


def _where(session: Session, table: Table, partition: str | None) -> str:
    """Condition on the partition, which is known to exist."""
    if partition is None:
        return ""
    known = session.warehouse.partitions(table.name)
    if table.partition is None:
        raise RetailAssetsError(f"table {table.name} has no partitions; leave out --partition")
    if partition not in known:
        shown = sorted(known)
        among = ", ".join(shown) if len(shown) <= 12 else f"{shown[0]} to {shown[-1]}"
        what = f"table {table.name} has no {table.partition} {partition!r}"
        raise RetailAssetsError(f"{what}; known: {among}")
    return f" WHERE \"{table.partition}\" = '{quoted(partition)}'"


def _csv_text(column: Column) -> str:
    """A column as CSV holds it: harmless text, or the value itself."""
    name = f'"{column.name}"'
    text = f"array_to_string({name}, '; ')" if column.type.endswith("[]") else name
    if not column.type.startswith("VARCHAR"):
        return f"{text} AS {name}"
    runs = f"{text} <> '' AND contains('{FORMULA_STARTS}', left({text}, 1))"
    return f"CASE WHEN {runs} THEN '''' || {text} ELSE {text} END AS {name}"


def _save(rows: duckdb.DuckDBPyRelation, path: Path, kind: str) -> None:
    if kind == "csv":
        rows.write_csv(str(path), header=True)
    else:
        rows.write_parquet(str(path), compression="zstd")


def _written(target: Path, write: Callable[[Path], None]) -> None:
    """Write beside the file and rename: a reader sees the old one or the new one, whole."""
    if target.is_dir() or not target.absolute().parent.is_dir():
        what = "is a folder; name a file" if target.is_dir() else "no such folder; create it first"
        raise RetailAssetsError(f"{target}: {what}")
    partial = target.with_name(f".{target.name}.{uuid.uuid4().hex}.partial")
    try:
        write(partial)
        partial.replace(target)
    except OSError as error:
        raise RetailAssetsError(f"{target}: cannot be written: {error.strerror}") from None
    finally:
        partial.unlink(missing_ok=True)


def _listed(session: Session, query: str) -> str:
    return ", ".join(str(name) for (name,) in session.sql(query).fetchall()) or "none"
