"""The verdict on a folder, without writing anything."""

from retail_assets.ingest.check import check_landing


def test_a_good_folder_is_ok_and_nothing_is_written(shop):
    shop.basics()
    shop.pos("a.csv", "r1,1,paris,2024-02-05 10:00:00,bar,1,1")
    before = sorted(shop.folder.rglob("*"))
    report = check_landing(shop.warehouse.settings)
    assert report.ok
    assert list(report.lines())[-1] == (
        "ok: 4 files, 0.00% of 1 receipt lines quarantined (at most 5%)"
    )
    assert sorted(shop.folder.rglob("*")) == before
    assert not shop.warehouse.settings.home.exists()


def test_every_reason_comes_with_file_line_column_and_remedy(shop):
    shop.basics(hours=False)
    shop.pos(
        "a.csv",
        "r1,1,paris,2024-02-05 10:00:00,bar,1,1",
        "r2,1,paris,5.2.2024,bar,1,1",
        "r3,1,paris,2024-02-05 10:00:00,bar,1 piece,1",
        "r4,1,paris,2024-02-05 10:00:00,bar,2 pieces,1",
    )
    shop.write("pos/b.csv", "transaction_id,store_id,sold_at,quantity,unit_price\n")
    shop.write("stores/more.csv", "store_id,timezone\nlyon,France\n")
    report = check_landing(shop.warehouse.settings)
    assert not report.ok
    text = "\n".join(report.lines())
    assert "pos/a.csv: 4 lines, 1 landed, 3 quarantined" in text
    assert (
        "  line 3: unparsable time: sold_at; use local time like 2024-05-31 17:45:00, no offset,"
        " or set date_format" in text
    )
    assert "  2 lines, the first is line 4: unparsable number: quantity; use 1234.5" in text
    assert "FAILED pos/b.csv, line 1: column product_id is missing" in text
    assert "  line 2: unknown time zone; use a name like Europe/Paris" in text
    assert "note: no store_hours file: trading hours are inferred from the receipts" in text
    assert "NOT OK: 5 files, 75.00% of 4 receipt lines quarantined (at most 5%)" in text


def test_an_empty_folder_is_not_ok(shop):
    assert not check_landing(shop.warehouse.settings).ok
