"""What a scan says of files that arrive, change, break, leave and return."""

import gzip
import os
from datetime import UTC, date, datetime, timedelta

import duckdb
import openpyxl
import pytest

from retail_assets.errors import LandingError
from retail_assets.ingest import first_scan, landing
from retail_assets.ingest.landing import affected_ranges

ROW = "r1,1,paris,2024-02-05 10:00:00,bar,2,1.5"
LATER = "r2,1,paris,2024-02-07 10:00:00,bar,1,1.5"


def test_a_file_that_changed_a_moment_ago_waits(shop):
    shop.pos("a.csv", ROW, age=0)
    assert shop.scan()["pos/a.csv"].state == "waiting"
    assert affected_ranges(shop.warehouse) == []
    os.utime(shop.folder / "pos/a.csv", (0, 0))
    landed = shop.scan()["pos/a.csv"]
    assert (landed.state, landed.rows) == ("landed", 1)
    assert shop.rows("SELECT count(*) FROM landing_files") == [(1,)]


def test_a_half_written_gzip_waits_until_it_is_whole(shop):
    whole = gzip.compress(b"transaction_id,store_id,sold_at,product_id,quantity,unit_price\n"
                          b"r1,paris,2024-02-05 10:00:00,bar,2,1.5\n")  # fmt: skip
    shop.write("pos/a.csv.gz", whole[:-12])
    half = shop.scan()["pos/a.csv.gz"]
    assert half.state == "waiting"
    assert "ends in the middle" in half.error
    shop.write("pos/a.csv.gz", whole)
    assert shop.scan()["pos/a.csv.gz"].state == "landed"


def test_a_half_written_parquet_waits(shop):
    path = shop.write("pos/a.parquet", b"")
    duckdb.execute(
        f"""COPY (SELECT 'r1' AS transaction_id, 'paris' AS store_id,
        TIMESTAMP '2024-02-05 10:00:00' AS sold_at, 'bar' AS product_id, 2 AS quantity,
        1.5 AS unit_price) TO '{path}' (FORMAT parquet)"""
    )
    whole = path.read_bytes()
    shop.write("pos/a.parquet", whole[:-20])
    assert shop.scan()["pos/a.parquet"].state == "waiting"
    shop.write("pos/a.parquet", whole)
    found = shop.scan()["pos/a.parquet"]
    assert (found.state, found.first_day) == ("landed", date(2024, 2, 5))


def test_a_broken_file_fails_alone_with_name_line_column_and_remedy(shop):
    shop.pos("good.csv", ROW)
    shop.write("pos/short.csv", "transaction_id,store_id,sold_at,quantity,unit_price\n")
    shop.write("pos/empty.csv", "")
    shop.write("pos/liar.parquet", b"not parquet at all")
    shop.write("notes.csv", "a,b\n1,2\n")
    found = shop.scan()
    states = {file: f.state for file, f in found.items()}
    assert states == {
        "pos/good.csv": "landed",
        "pos/short.csv": "failed",
        "pos/empty.csv": "failed",
        "pos/liar.parquet": "failed",
        "notes.csv": "failed",
    }
    assert found["pos/short.csv"].error == (
        "pos/short.csv, line 1: column product_id is missing; the file has transaction_id,"
        " store_id, sold_at, quantity, unit_price; add it, or map it in mapping.toml"
    )
    assert "no table of the contract" in found["notes.csv"].error


def test_a_link_out_of_the_folder_is_refused(shop, tmp_path):
    secret = tmp_path / "secret.csv"
    secret.write_text("transaction_id\n")
    shop.pos("inside.csv", ROW)
    (shop.folder / "pos/out.csv").symlink_to(secret)
    (shop.folder / "pos/in.csv").symlink_to(shop.folder / "pos/inside.csv")
    (shop.folder / "elsewhere").symlink_to(tmp_path)
    found = shop.scan()
    assert "leads out" in found["pos/out.csv"].error
    assert "leads out" in found["elsewhere"].error
    assert found["pos/in.csv"].state == "landed"


def test_the_same_bytes_under_another_name_land_once(shop):
    shop.basics()
    shop.pos("b.csv", ROW)
    shop.scan()
    shop.pos("a.csv", ROW)
    found = shop.scan()
    assert (found["pos/b.csv"].state, found["pos/a.csv"].state) == ("landed", "failed")
    assert "same content as pos/b.csv" in found["pos/a.csv"].error
    shop.ingest()
    assert shop.rows("SELECT count(*) FROM pos_lines") == [(1,)]


def test_a_copy_whose_original_is_removed_stays_out_because_its_lines_stay(shop):
    shop.basics()
    shop.pos("a.csv", ROW)
    shop.ingest()
    (shop.folder / "pos/a.csv").rename(shop.folder / "pos/moved.csv")
    assert shop.ingest() == []
    assert shop.rows("SELECT source_file FROM pos_lines") == [("pos/a.csv",)]


def test_a_touched_file_is_the_same_file(shop):
    shop.pos("a.csv", ROW)
    first = shop.scan()["pos/a.csv"]
    os.utime(shop.folder / "pos/a.csv", (1_700_000_000, 1_700_000_000))
    again = shop.scan()["pos/a.csv"]
    assert (again.version, again.seen_at) == (first.version, first.seen_at)
    assert shop.rows("SELECT count(*) FROM landing_files") == [(1,)]


def test_a_corrected_file_replaces_its_former_version_and_may_return(shop):
    shop.pos("a.csv", ROW)
    shop.scan()
    shop.pos("a.csv", LATER, age=50)
    shop.scan()
    states = "SELECT state, first_day FROM landing_files ORDER BY first_day"
    assert shop.rows(states) == [
        ("replaced", date(2024, 2, 5)),
        ("landed", date(2024, 2, 7)),
    ]
    shop.pos("a.csv", ROW, age=40)
    shop.scan()
    assert shop.rows(states) == [
        ("landed", date(2024, 2, 5)),
        ("replaced", date(2024, 2, 7)),
    ]


def test_affected_days_cover_old_and_new_days_and_closed_days_between(shop):
    shop.basics()
    shop.pos("a.csv", ROW)
    assert shop.ingest() == [(date(2024, 2, 5), date(2024, 2, 5))]
    shop.pos("a.csv", LATER, age=50)
    assert shop.ingest() == [(date(2024, 2, 5), date(2024, 2, 7))]
    shop.pos("b.csv", "r3,1,paris,2024-02-12 10:00:00,bar,1,1.5")
    assert shop.ingest() == [(date(2024, 2, 8), date(2024, 2, 12))]
    days = "SELECT business_date, n_intervals FROM trading_days ORDER BY 1"
    assert len(shop.rows(days)) == 8


def test_days_of_a_run_that_failed_are_found_again(shop):
    shop.basics()
    shop.pos("a.csv", ROW)
    shop.scan()
    assert affected_ranges(shop.warehouse) != []
    shop.scan()
    assert affected_ranges(shop.warehouse) != []


def test_far_apart_days_are_separate_ranges(shop):
    shop.basics()
    shop.pos("a.csv", ROW, "r2,1,paris,yesterday,bar,1,1.5")
    today = datetime.now(UTC).date()
    assert shop.ingest() == [(date(2024, 2, 5), date(2024, 2, 5)), (today, today)]
    assert shop.reasons() == {3: {"unparsable time: sold_at"}}
    assert shop.rows("SELECT business_date FROM pos_quarantine") == [(today,)]


def test_the_first_day_and_the_common_time_zone_are_found_before_any_write(new_shop):
    shop = new_shop(quiet_seconds=0)
    shop.basics()
    shop.pos("a.csv", LATER, ROW)
    found = first_scan.first_day_and_timezone(shop.warehouse.settings)
    assert (found.first_day, found.timezone) == (date(2024, 2, 5), "Europe/Paris")
    assert not shop.warehouse.settings.home.exists()


def test_a_folder_without_receipts_says_so(new_shop):
    shop = new_shop(quiet_seconds=0)
    with pytest.raises(LandingError, match="no receipts have landed"):
        first_scan.first_day_and_timezone(shop.warehouse.settings)


def test_excel_is_read_for_small_tables(shop):
    book = openpyxl.Workbook()
    for row in (("product_id", "name", "category", "launch_date"),
                ("bar", "Bar", "sweets", datetime(2024, 1, 2))):  # fmt: skip
        book.active.append(row)
    book.save(shop.folder / "products.xlsx")
    os.utime(shop.folder / "products.xlsx", (0, 0))
    shop.ingest()
    rows = shop.rows("SELECT product_id, launch_date, source_row FROM products")
    assert rows == [("bar", date(2024, 1, 2), 2)]


def test_waiting_ends_when_the_folder_is_quiet(new_shop):
    shop = new_shop(quiet_seconds=1)
    shop.pos("a.csv", ROW, age=0)
    began = datetime.now(UTC)
    landing.wait_until_quiet(shop.warehouse.settings)
    assert timedelta(seconds=0.5) < datetime.now(UTC) - began < timedelta(seconds=3)
    assert shop.scan()["pos/a.csv"].state == "landed"
