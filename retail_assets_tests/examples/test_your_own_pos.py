"""The template's mapping reads a till's export as its comments say."""

from __future__ import annotations

import shutil

from retail_assets import contract
from retail_assets.ingest.check import check_landing
from retail_assets.settings import Settings
from retail_assets_tests.examples.conftest import EXAMPLES

SALES = """Receipt;Pos;Shop;Date;Time;Article;Qty;Price;Discount;Card
1;1;main;31.12.2024;17:45;mug;2;12,50;;
1;2;main;31.12.2024;17:45;BAG;1;0,10;;
2;1;main;31.12.2024;17:50;kännchen;1;1.024,00;;77
2;2;main;31.12.2024;17:50;;;1.024,00;;
"""


def test_four_lines_come_out_as_the_readme_says(tmp_path):
    landing = tmp_path / "my_export"
    shutil.copytree(EXAMPLES / "your_own_pos", landing)
    (landing / "sales").mkdir()
    (landing / "sales" / "a.csv").write_text(SALES, encoding="cp1252")
    said = list(check_landing(Settings.load(tmp_path, landing)).lines())
    at = said.index("sales/a.csv: 4 lines, 2 landed, 2 quarantined")
    assert said[at + 1 : at + 3] == ["  line 3: not a product", "  line 5: a subtotal"]


def test_the_headers_to_fill_in_are_columns_of_the_contract():
    for path in (EXAMPLES / "your_own_pos").glob("*.csv"):
        table = contract.table(path.stem)
        header = path.read_text().strip().split(",")
        assert set(header) <= set(table.column_names)
        needed = {c.name for c in table.columns if c.required and c.name != "origin"}
        assert needed <= set(header)


def test_a_home_named_from_the_folder_beside_it_is_the_same_home(tmp_path, monkeypatch):
    # Delta refuses a table under ``here/../my_shop``: the first run stopped after raw_pos.
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    settings = Settings.load("../my_shop", "../my_export")
    assert settings.home == tmp_path / "my_shop"
    assert settings.landing == tmp_path / "my_export"
