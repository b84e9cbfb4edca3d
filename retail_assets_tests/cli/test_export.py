"""Tables as files: exact, harmless in a spreadsheet, and prices that can be landed again."""

from __future__ import annotations

import csv
import math
import os
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path

import duckdb
import openpyxl
import pandas as pd
import pytest
from click.testing import CliRunner

from retail_assets import export
from retail_assets.cli import cli
from retail_assets.errors import RetailAssetsError
from retail_assets.export_workbook import FORMULA_STARTS, MOST_ROWS, check_rows
from retail_assets.ingest import landing
from retail_assets.ingest.check import check_landing
from retail_assets.ingest.reference import write_reference
from retail_assets.settings import Settings
from retail_assets.warehouse import Warehouse

TODAY, SALE = date(2026, 11, 8), "flash"
ATTACK = '=HYPERLINK("http://x","y")'
PRODUCTS = [
    {"product_id": "ball", "name": "Ball", "category": "toys", "unit_cost": 1.5, "msrp": 4},
    {"product_id": "pen", "name": ATTACK, "category": "toys", "unit_cost": 0.5, "msrp": 2},
]


def put(session, table: str, rows: list[dict], scope=None) -> None:
    session.replace(table, session.connection.from_df(pd.DataFrame(rows)), scope)


@pytest.fixture
def home(tmp_path: Path) -> Warehouse:
    """Two items of a sale, each with a chosen price."""
    (tmp_path / "settings.toml").write_text('timezone = "Asia/Tokyo"\ncurrency = "JPY"\n')
    warehouse = Warehouse(Settings.load(tmp_path, tmp_path))
    start, end = datetime(2026, 11, 10), datetime(2026, 11, 13)
    event = {"sale_id": SALE, "starts_at": start, "ends_at": end, "units_available": 9}
    chosen = {"sale_id": SALE, "target": "weighted", "expected_units": 3.5, "units_lo80": 2.0}
    chosen |= {
        "units_hi80": 5.0,
        "revenue_cents": 1050,
        "margin_cents": -35,
        "reason": "-1 is text",
    }
    chosen |= {"sell_through": 0.39, "prior_price_cents": 400, "change_pct": -25.0}
    chosen |= {"extrapolated": False, "as_of": TODAY}
    with warehouse.session() as session:
        put(session, "products", PRODUCTS)
        put(session, "sale_events", [event | {"product_id": p["product_id"]} for p in PRODUCTS])
        prices = [
            {"product_id": "ball", "price_cents": 300},
            {"product_id": "pen", "price_cents": 199},
        ]
        put(session, "optimal_prices", [chosen | price for price in prices], SALE)
        put(session, "price_calendar", [
            {"product_id": "ball", "valid_from": date(2026, 1, 1), "regular_price": 3.9},
            {"product_id": "pen", "valid_from": date(2026, 1, 1), "regular_price": 1.99},
        ])  # fmt: skip
    return warehouse


def written(warehouse: Warehouse, table: str, name: str, **options) -> Path:
    path = warehouse.settings.home / name
    with warehouse.session() as session:
        export.export_table(session, table, path, export.format_of(None, path), **options)
    return path


def test_text_that_a_spreadsheet_would_run_is_defused_in_csv_and_numbers_are_not(home):
    with home.session() as session:
        rows = [
            {"product_id": f"{start}{at}", "name": f"a{start}", "category": "toys"}
            for at, start in enumerate(FORMULA_STARTS)
        ]
        put(session, "products", rows)
    with written(home, "products", "products.csv").open(newline="") as file:
        found = list(csv.DictReader(file))
    assert sorted(row["product_id"] for row in found) == sorted(
        f"'{row['product_id']}" for row in rows
    )
    assert {row["name"] for row in found} == {row["name"] for row in rows}
    with written(home, "optimal_prices", "prices.csv").open(newline="") as file:
        prices = list(csv.DictReader(file))
    assert prices[0]["margin_cents"] == "-35"
    assert prices[0]["reason"] == "'-1 is text"


def test_parquet_holds_the_table_as_it_is(home):
    path = written(home, "products", "products.parquet")
    with home.session() as session:
        kept = session.sql("SELECT * FROM products ORDER BY product_id").fetchall()
    assert duckdb.read_parquet(str(path)).fetchall() == kept


def test_a_workbook_shows_money_shares_and_dates_and_no_formula(home):
    book = openpyxl.load_workbook(written(home, "optimal_prices", "prices.xlsx"))
    page, columns = book.worksheets
    head = {cell.value: cell.column - 1 for cell in page[1]}
    row = page[2]
    shown = {
        "price (JPY)": (3, "#,##0.00"),
        "margin (JPY)": (-0.35, "#,##0.00"),
        "sell_through": (0.39, "0.0%"),
        "expected_units": (3.5, "#,##0.0"),
        "as_of": (datetime(2026, 11, 8), "yyyy-mm-dd"),
    }
    assert {n: (row[head[n]].value, row[head[n]].number_format) for n in shown} == shown
    reason = row[head["reason"]]
    assert (reason.value, reason.data_type, reason.quotePrefix) == ("-1 is text", "s", True)
    assert (page.freeze_panes, page.auto_filter.ref) == ("A2", f"A1:O{page.max_row}")
    meanings = {r[0]: r[1:] for r in columns.iter_rows(values_only=True) if r[0]}
    assert meanings["price (JPY)"] == ("price_cents", "BIGINT", "JPY", "recommended price")
    book = openpyxl.load_workbook(written(home, "products", "products.xlsx"))
    kinds = {c.data_type for r in book.worksheets[0].iter_rows() for c in r}
    assert "f" not in kinds
    assert ATTACK in {c.value for r in book.worksheets[0].iter_rows() for c in r}


def test_what_excel_cannot_hold_is_shown_as_text_or_refused(home):
    curve = {"category": "toys", "sale_id": SALE, "product_id": "ball", "price_cents": 300}
    curve |= {"rel_price_from": 0.0, "rel_price_to": math.inf, "demand": 3.0, "demand_lo80": 2.0}
    curve |= {"demand_hi80": 4.0, "extrapolated": False, "error_bound": 0.0, "flag": "ok"}
    now = datetime(2026, 11, 8, 12, tzinfo=UTC)
    with home.session() as session:
        put(session, "demand_curves", [curve | {"as_of": TODAY}], "toys")
        put(session, "alerts", [
            {"alert_id": "a", "raised_at": now, "kind": "run_failed", "message": "bell \x07 rang",
             "job": "publish", "run_id": "r"}
        ])  # fmt: skip
    page = openpyxl.load_workbook(written(home, "demand_curves", "curves.xlsx")).worksheets[0]
    assert "infinite" in [cell.value for cell in page[2]]
    page = openpyxl.load_workbook(written(home, "alerts", "alerts.xlsx")).worksheets[0]
    values = [cell.value for cell in page[2]]
    assert datetime(2026, 11, 8, 21) in values  # in the shop's time zone
    assert "bell \ufffd rang" in values
    check_rows("pos_lines", MOST_ROWS - 1)
    with pytest.raises(RetailAssetsError, match=r"1,048,576 rows .* csv or parquet"):
        check_rows("pos_lines", MOST_ROWS)
    with home.session() as session:
        put(session, "products", [PRODUCTS[0] | {"name": "x" * 40_000}])
    with pytest.raises(RetailAssetsError, match="row 2, column name: 40,000 characters"):
        written(home, "products", "products.xlsx")


def test_one_partition_is_written_and_an_unknown_one_is_named(home):
    path = written(home, "optimal_prices", "prices.csv", partition=SALE)
    assert len(path.read_text().splitlines()) == 3
    with pytest.raises(RetailAssetsError, match=f"no sale_id 'x'; known: {SALE}"):
        written(home, "optimal_prices", "prices.csv", partition="x")
    with pytest.raises(RetailAssetsError, match="has no partitions"):
        written(home, "products", "products.csv", partition="x")
    with pytest.raises(RetailAssetsError, match="never written"):
        written(home, "pos_lines", "lines.csv")
    assert not list(home.settings.home.glob(".*.partial"))


@pytest.mark.parametrize("suffix", ["csv", "xlsx"])
def test_chosen_prices_land_again_as_a_price_calendar(home, tmp_path_factory, suffix):
    folder = tmp_path_factory.mktemp("landing")
    with home.session() as session:
        assert export.export_prices(session, SALE, folder / f"price_calendar.{suffix}", suffix) == 2
    (folder / "products.csv").write_text(
        "product_id,name,category\nball,Ball,toys\npen,Pen,toys\n", encoding="utf-8"
    )
    for path in folder.iterdir():
        os.utime(path, (1, 1))
    settings = Settings(home=tmp_path_factory.mktemp("home"), landing=folder)
    assert check_landing(settings).ok
    with Warehouse(settings).session() as session:
        landing.write_landing_files(session, landing.scan(session))
    with Warehouse(settings).session() as session:
        write_reference(session, "price_calendar")
    with Warehouse(settings).session() as session:
        rows = session.sql(
            "SELECT product_id, store_id, valid_from, valid_to, regular_price, offer_price"
            " FROM price_calendar ORDER BY ALL"
        ).fetchall()
    days = (date(2026, 11, 10), date(2026, 11, 12))  # an end at midnight is the day before's
    assert rows == [
        ("ball", None, *days, Decimal("3.9"), Decimal("3")),
        ("pen", None, *days, Decimal("1.99"), None),  # no offer where nothing changes
    ]


def test_prices_of_a_sale_that_changed_or_hold_a_formula_are_refused(home):
    path = home.settings.home / "prices.csv"
    with home.session() as session:
        with pytest.raises(RetailAssetsError, match=f"no prices yet; sales that have: {SALE}"):
            export.export_prices(session, "other", path, "csv")
        event = {"sale_id": SALE, "starts_at": datetime(2026, 11, 10), "units_available": 9}
        items = ("ball", "=pen")
        put(session, "sale_events", [event | {"product_id": product} for product in items])
    refused = pytest.raises(RetailAssetsError, match="=pen has no price; price the sale again")
    with home.session() as session, refused:
        export.export_prices(session, SALE, path, "parquet")
    with home.session() as session:
        session.execute("CREATE TEMP TABLE p AS FROM optimal_prices WHERE product_id = 'ball'")
        both = session.sql("FROM p UNION ALL SELECT * REPLACE ('=pen' AS product_id) FROM p")
        session.replace("optimal_prices", both, SALE)
    with home.session() as session:
        with pytest.raises(RetailAssetsError, match="would run the id '=pen'"):
            export.export_prices(session, SALE, path, "csv")
        assert export.export_prices(session, SALE, path.with_suffix(".xlsx"), "xlsx") == 2


def test_the_commands_write_files_and_say_how_many_rows(home, monkeypatch):
    monkeypatch.chdir(home.settings.home)
    run = CliRunner().invoke
    done = run(cli, ["export", "--home", ".", "--table", "products", "--format", "xlsx"])
    assert done.output == "products.xlsx: 2 rows\n"
    done = run(cli, ["price-file", SALE, "--home", "."])
    assert done.output == f"price_calendar.{SALE}.csv: 2 prices\n"
    done = run(cli, ["export", "--home", ".", "--table", "products", "--out", "products.ods"])
    assert "end it in .csv, .xlsx or .parquet" in str(done.exception)
    done = run(cli, ["export", "--home", ".", "--table", "products", "--out", "no/where.csv"])
    assert "create it first" in str(done.exception)
