"""mapping.toml: what it says, and what it says when it is wrong."""

from pathlib import Path

import pytest

from retail_assets.errors import LandingError
from retail_assets.ingest.mapping import LandingMapping, Part, load

EXAMPLES = Path(__file__).parents[2] / "examples"


def _load(folder: Path, text: str) -> LandingMapping:
    (folder / "mapping.toml").write_text(text)
    return load(folder)


def test_without_a_mapping_folders_and_names_say_the_table(tmp_path):
    mapping = load(tmp_path)
    assert mapping.of("pos/a/b.csv.gz").table == "raw_pos"
    assert mapping.of("products.parquet").table == "products"
    assert mapping.of("shelf/north.csv").table == "shelf"
    assert mapping.of("readme.csv") is None


def test_a_sum_of_columns_and_texts_is_taken_apart(tmp_path):
    mapping = _load(tmp_path, "[pos.columns]\nsold_at = 'Date + \" \" + Time of day'\n")
    assert mapping.of("pos/x.csv").columns["sold_at"] == (
        Part("Date"),
        Part(" ", literal=True),
        Part("Time of day"),
    )


@pytest.mark.parametrize("name", ["online_retail", "bread_basket"])
def test_the_shipped_examples_are_valid(name):
    file = "by-day/2011-01-04.csv" if name == "online_retail" else "bread_basket.csv"
    mapping = load(EXAMPLES / name).of(file)
    assert mapping is not None
    assert mapping.table == "raw_pos"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[tills]\n", "no such table"),
        ("[pos]\nfile = 'x'\n", "unknown key"),
        ("[pos]\ndecimal_comma = 'yes'\n", "not of type bool"),
        ("[pos]\nencoding = 'utf-7'\n", "encoding"),
        ("[pos]\ndelimiter = '||'\n", "one character"),
        ("[pos.columns]\nprice = 'p'\n", "not a column of ours"),
        ("[pos.columns]\nstore_id = 'x'\n[pos.constants]\nstore_id = 'y'\n", "both"),
        ("[pos.columns]\nsold_at = 'a + \"b'\n", "not a sum"),
        ("[pos.constants]\nquantity = true\n", "text or a number"),
        ("[[pos.leave_out]]\ncolumn = 'a'\n", "needs column and reason"),
        ("[[pos.leave_out]]\ncolumn = 'a'\nreason = 'r'\n", "exactly one of"),
        ("[[pos.leave_out]]\ncolumn = 'a'\nreason = 'r'\nmatches = '('\n", "matches"),
        ("pos = 3\n", "write [pos]"),
        ("[pos\n", "not valid TOML"),
    ],
)
def test_a_wrong_mapping_names_the_place_and_the_remedy(tmp_path, text, says):
    with pytest.raises(LandingError) as caught:
        _load(tmp_path, text)
    message = str(caught.value)
    assert message.startswith("mapping.toml: ")
    assert says in message
    assert "\n" not in message


def test_the_digest_changes_with_what_is_read_and_not_with_which_files(tmp_path):
    one = _load(tmp_path, "[pos]\nfiles = 'a*.csv'\n").tables[0].digest
    other_files = _load(tmp_path, "[pos]\nfiles = 'b*.csv'\n").tables[0].digest
    commas = _load(tmp_path, "[pos]\nfiles = 'a*.csv'\ndecimal_comma = true\n").tables[0].digest
    assert one == other_files != commas


def test_constants_sums_formats_and_commas_reach_the_lines(shop):
    shop.write("products.csv", "product_id;name;category\nbar;Bar;sweets\n")
    shop.write(
        "mapping.toml",
        """
[pos]
files = "till/*.txt"
date_format = "%d.%m.%Y %H:%M"
decimal_comma = true
delimiter = "|"
[pos.columns]
transaction_id = 'Kasse + "-" + Bon'
sold_at = 'Datum + " " + Zeit'
product_id = "Artikel"
quantity = "Menge"
unit_price = "Preis"
line_number = "@row"
[pos.constants]
store_id = "berlin"
[[pos.leave_out]]
column = "Artikel"
values = ["Pfand"]
reason = "deposit"
""",
    )
    shop.write("stores.csv", "store_id,timezone\nberlin,Europe/Berlin\n")
    shop.write(
        "till/monday.txt",
        "Bon|Kasse|Datum|Zeit|Artikel|Menge|Preis\n"
        "7|k1|05.02.2024|13:45|bar|1.000,5|1,25\n"
        "7|k1|05.02.2024|13:45|Pfand|1|0,25\n",
    )
    shop.ingest()
    lines = shop.rows(
        "SELECT transaction_id, line_number, store_id, epoch(sold_at), quantity, unit_price::DOUBLE"
        " FROM pos_lines"
    )
    assert lines == [("k1-7", 2, "berlin", 1707137100.0, 1000.5, 1.25)]
    assert shop.reasons() == {3: {"deposit"}}


def test_columns_are_found_by_name_whatever_their_order_and_case(shop):
    shop.basics()
    shop.pos("a.csv", "r1,1,paris,2024-02-05 10:00:00,bar,2,1.5")
    shop.write(
        "pos/b.csv",
        "Unit_Price,QUANTITY,product_id,sold_at,store_id,line_number,transaction_id,mood\n"
        "1.5,2,bar,2024-02-05 11:00:00,paris,1,r2,happy\n",
    )
    shop.ingest()
    rows = shop.rows(
        "SELECT transaction_id, product_id, quantity, unit_price::DOUBLE FROM pos_lines ORDER BY 1"
    )
    assert rows == [("r1", "bar", 2.0, 1.5), ("r2", "bar", 2.0, 1.5)]
    extra = shop.rows("SELECT payload FROM raw_pos WHERE source_file = 'pos/b.csv'")
    assert extra == [('{"mood":"happy"}',)]


def test_a_changed_mapping_reads_the_same_file_again(shop):
    shop.basics()
    shop.pos("a.csv", "r1,1,paris,2024-02-05 10:00:00,bar,2,1.5")
    shop.ingest()
    assert shop.ingest() == []
    shop.write("mapping.toml", "[pos.constants]\nchannel = 'web'\n")
    assert shop.ingest() != []
    assert shop.rows("SELECT channel FROM pos_lines") == [("web",)]
