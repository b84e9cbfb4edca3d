"""Landing again, correcting, removing and breaking files of receipts."""

import gzip

A = ("r1,1,paris,2024-02-05 10:00:00,bar,2,1.5", "r1,2,paris,2024-02-05 10:00:00,box,1,4")
B = ("r2,1,paris,2024-02-06 10:00:00,bar,1,1.5",)
TABLES = ("raw_pos", "pos_lines", "pos_quarantine", "trading_days", "interval_sales", "products")


def _content(shop):
    return {t: sorted(map(repr, shop.rows(f"SELECT * FROM {t}"))) for t in TABLES}


def test_landing_again_changes_nothing(shop):
    shop.basics()
    shop.pos("a.csv", *A, "r9,1,mars,2024-02-05 10:00:00,bar,1,1")
    shop.pos("b.csv", *B)
    shop.ingest()
    before = _content(shop)
    assert shop.ingest() == []
    assert len(shop.ingest(force=True)) == 1
    assert _content(shop) == before


def test_a_corrected_file_replaces_its_own_rows_on_days_it_no_longer_touches(shop):
    shop.basics()
    shop.pos("a.csv", *A, *B)
    shop.pos("other.csv", "r7,1,paris,2024-02-06 12:00:00,bar,1,1.5")
    shop.ingest()
    shop.pos("a.csv", "r1,1,paris,2024-02-05 10:00:00,bar,3,1.5", age=30)
    shop.ingest()
    assert shop.rows("SELECT transaction_id, quantity FROM pos_lines ORDER BY 1") == [
        ("r1", 3.0),
        ("r7", 1.0),
    ]


def test_nothing_is_deleted_because_a_file_left(shop):
    shop.basics()
    shop.pos("a.csv", *A)
    shop.pos("b.csv", *B)
    shop.ingest()
    before = _content(shop)
    (shop.folder / "pos/a.csv").unlink()
    shop.pos("c.csv", "r3,1,paris,2024-02-05 12:00:00,bar,1,1.5")
    shop.ingest()
    after = _content(shop)
    assert set(before["raw_pos"]) < set(after["raw_pos"])
    assert shop.rows("SELECT count(*) FROM pos_lines") == [(4,)]
    state = shop.rows("SELECT state FROM landing_files WHERE file = 'pos/a.csv'")
    assert state == [("landed",)]


def test_a_broken_correction_leaves_the_former_rows(shop):
    shop.basics()
    shop.pos("a.csv", *A)
    shop.ingest()
    before = _content(shop)
    shop.write("pos/a.csv", "transaction_id,nonsense\n1,2\n", age=30)
    shop.ingest(force=True)
    assert _content(shop) == before
    states = shop.rows("SELECT state FROM landing_files WHERE file = 'pos/a.csv' ORDER BY 1")
    assert states == [("failed",), ("landed",)]


def test_a_correction_still_arriving_leaves_the_former_rows(shop):
    shop.basics()
    shop.pos("a.csv", *A)
    shop.ingest()
    before = _content(shop)
    shop.pos("a.csv", A[0], age=0)
    shop.pos("b.csv", "r3,1,paris,2024-02-05 12:00:00,bar,1,1.5")
    shop.ingest()
    assert set(before["raw_pos"]) < set(_content(shop)["raw_pos"])


def test_any_split_into_files_of_any_kind_gives_the_same_sales(new_shop):
    rows = [
        f"r{i},{1 + i % 2},paris,2024-02-{5 + i % 6:02d} {9 + i % 9:02d}:{i % 60:02d}:00,"
        f"{'bar' if i % 3 else 'box'},{1 + i % 4},1.25"
        for i in range(200)
    ]
    one, many = new_shop(), new_shop()
    for each in (one, many):
        each.basics()
    one.pos("all.csv", *rows)
    header = (one.folder / "pos/all.csv").read_text().splitlines()[0]
    for part in range(4):
        text = "\n".join([header, *rows[part::4]]) + "\n"
        if part % 2:
            many.write(f"pos/2024/{part}.csv.gz", gzip.compress(text.encode()))
        else:
            many.write(f"pos/2024/{part}.csv", text.replace("\n", "\r\n"))
    one.ingest()
    many.ingest()
    sales = "SELECT * FROM interval_sales ORDER BY ALL"
    assert one.rows(sales) == many.rows(sales)
    assert len(one.rows(sales)) > 50
