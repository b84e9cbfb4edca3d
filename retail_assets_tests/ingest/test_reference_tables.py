"""Reference tables: valid rows, reasons, duplicates, files that leave."""

import json
from datetime import date, datetime
from decimal import Decimal

import pytest

from retail_assets import contract
from retail_assets.ingest import reference


def _read(shop, name):
    shop.scan()
    with shop.warehouse.session() as session:
        return reference.write_reference(session, name)


def test_values_are_typed_and_free_attributes_kept(shop):
    shop.write(
        "products.csv",
        "product_id,name,category,unit_cost,pack_size,launch_date,attr_cocoa,attr_vegan\n"
        "bar,Bar,sweets,1.25,6,2024-01-02,90,\nbox,Box,sweets,,,,,yes\n",
    )
    assert _read(shop, "products").rows == 2
    bar, box = shop.rows(
        'SELECT product_id, unit_cost, pack_size, launch_date, "group", attributes FROM products'
        " ORDER BY 1"
    )
    assert bar[:5] == ("bar", Decimal("1.25"), 6, date(2024, 1, 2), "sweets")
    assert json.loads(bar[5]) == {"cocoa": "90"}
    assert json.loads(box[5]) == {"vegan": "yes"}


@pytest.mark.parametrize(
    ("table", "header", "row", "reasons"),
    [
        ("products", "product_id,name,category,unit_cost,pack_size", "bar,,sweets,-1,1.5",
         {"missing value: name", "breaks the rule unit_cost >= 0",
          "unparsable whole number: pack_size"}),
        ("stores", "store_id,timezone", "paris,Europe/Pariss", {"unknown time zone"}),
        ("store_hours", "store_id,weekday,open,close", "paris,7,9,25:00",
         {"breaks the rule weekday BETWEEN 0 AND 6", "unparsable time: open",
          "unparsable time: close"}),
        ("store_hours", "store_id,open,close", "paris,09:00,18:00",
         {"breaks the rule weekday IS NOT NULL OR date IS NOT NULL"}),
        ("deliveries", "store_id,delivered_at", "paris,monday", {"unparsable time: delivered_at"}),
        ("stock_counts", "store_id,product_id,counted_at,on_hand", "paris,bar,2024-01-01,nan",
         {"unparsable number: on_hand"}),
        ("price_calendar", "product_id,valid_from,regular_price,feature", "bar,1/2/2024,1,maybe",
         {"unparsable date: valid_from", "unparsable yes or no: feature"}),
        ("style_trials", "product_id,date,n,k", "bar,2024-01-01,3,4",
         {"breaks the rule k BETWEEN 0 AND n"}),
        ("sales_aggregate", "store_id,product_id,interval_start,grain,units",
         "paris,bar,2024-01-01,year,3", {"breaks the rule grain IN ('hour', 'day', 'week')"}),
    ],
)  # fmt: skip
def test_a_rejected_row_names_every_reason(shop, table, header, row, reasons):
    shop.write(f"{table}.csv", f"{header}\n{row}\n")
    report = _read(shop, table)
    assert (report.rows, report.quarantined) == (0, 1)
    ((line, found, payload),) = shop.rows(
        f"SELECT source_row, reasons, payload FROM {table}_quarantine"
    )
    assert (line, set(found)) == (2, reasons)
    given = dict(zip(header.split(","), row.split(","), strict=True))
    assert json.loads(payload) == {k: v for k, v in given.items() if v}


@pytest.mark.parametrize("table", [t.name for t in contract.landed_tables()])
def test_every_table_is_empty_without_a_file_and_takes_a_full_row(shop, table):
    if table not in ("products", "stores"):
        assert _read(shop, table).rows == 0
        assert shop.rows(f'SELECT * FROM "{table}"') == []
    samples = {"VARCHAR": "x", "DATE": "2024-01-02", "TIMESTAMP": "2024-01-02 10:00:00",
               "BOOLEAN": "yes"}  # fmt: skip
    special = {"timezone": "UTC", "open": "09:00", "close": "18:00", "grain": "day",
               "ends_at": "2024-01-03 10:00:00"}  # fmt: skip
    columns = [c for c in contract.table(table).columns if c.name not in contract.OURS]
    row = [special.get(c.name, samples.get(c.type, "1")) for c in columns]
    shop.write(f"{table}.csv", ",".join(c.name for c in columns) + "\n" + ",".join(row) + "\n")
    report = _read(shop, table)
    assert (report.rows, report.reasons) == (1, {})
    values = shop.rows(f'SELECT * FROM "{table}"')[0]
    assert values[-2:] == (f"{table}.csv", 2)


def test_of_equal_keys_the_later_file_and_line_counts(shop):
    shop.write("products/old.csv", "product_id,name,category\nbar,Old,a\nbox,Box,a\n")
    _read(shop, "products")
    shop.write("products/new.csv", "product_id,name,category\nbar,First,b\nbar,Second,b\n")
    report = _read(shop, "products")
    assert shop.rows("SELECT name FROM products ORDER BY product_id") == [("Second",), ("Box",)]
    assert report.quarantined == 2
    rejected = shop.rows("SELECT source_file, source_row, reasons FROM products_quarantine")
    why = ["duplicate key (product_id): products/new.csv, line 3 counts"]
    assert sorted(rejected) == [("products/new.csv", 2, why), ("products/old.csv", 2, why)]


def test_rows_of_a_file_that_left_stay_and_a_corrected_file_replaces_its_own(shop):
    header = "product_id,name,category\n"
    a = shop.write("products/a.csv", header + "bar,Bar,x\nbad,,x\n")
    shop.write("products/b.csv", header + "box,Box,x\ntin,Tin,x\n")
    _read(shop, "products")
    a.unlink()
    shop.write("products/b.csv", header + "box,Box,x\n", age=30)
    report = _read(shop, "products")
    assert shop.rows("SELECT product_id FROM products ORDER BY 1") == [("bar",), ("box",)]
    assert (report.rows, report.quarantined) == (2, 1)
    assert _read(shop, "products").rows == 2


def test_dates_are_kept_as_local_time(shop):
    shop.write("deliveries.csv", "store_id,product_id,delivered_at\nparis,,2024-03-31 02:30\n")
    _read(shop, "deliveries")
    assert shop.rows("SELECT product_id, delivered_at FROM deliveries") == [
        (None, datetime(2024, 3, 31, 2, 30))
    ]
