"""An online shop: the first days of the download, a correction, and the whole where asked for."""

from __future__ import annotations

import pandas as pd

from retail_assets.ingest.check import check_landing
from retail_assets.settings import Settings

DAYS = 3


def test_the_first_days_land_and_a_correction_changes_one_line(
    example, as_expected, tmp_path, public_data
):
    module, landing = example("online_retail"), tmp_path / "landing"
    module.land(public_data / "online_retail_by_day.tar.gz", landing, days=DAYS)
    report = check_landing(Settings.load(tmp_path, landing))
    assert report.ok
    found = {
        "landed": sum(f.landed for f in report.files),
        "quarantined": sum(f.quarantined for f in report.files),
    }
    as_expected("online_retail", "slice", found)
    file = landing / "by-day" / "2010-12-01.csv"
    before = pd.read_csv(file, dtype=str)
    module.correct(landing, "2010-12-01")
    changed = before.compare(pd.read_csv(file, dtype=str))
    assert list(changed.index) == [0]
    assert list(changed.columns.get_level_values(0).unique()) == ["Quantity"]


def test_one_csv_of_the_whole_download_is_cut_into_days(example, tmp_path):
    header = "InvoiceNo,StockCode,Description,Quantity,InvoiceDate,UnitPrice,Customer ID,Country\n"
    lines = "1,85123A,HOLDER,6,12/1/2010 8:26,2.55,17850,UK\n2,1,MUG,1,12/2/2010 9:00,1,,UK\n"
    download = tmp_path / "data.csv"
    download.write_text(header + lines)
    example("online_retail").land(download, tmp_path / "landing")
    days = {f.name: pd.read_csv(f) for f in (tmp_path / "landing" / "by-day").iterdir()}
    assert {name: len(lines) for name, lines in days.items()} == {
        "2010-12-01.csv": 1,
        "2010-12-02.csv": 1,
    }
    assert days["2010-12-01.csv"].at[0, "InvoiceDate"] == "2010-12-01 08:26:00"
    assert days["2010-12-01.csv"].at[0, "CustomerID"] == 17850


def test_the_whole_example_finds_what_its_readme_says(
    example, as_expected, run_whole, public_data, capfd
):
    module = example("online_retail")
    home = run_whole(module, [str(public_data / "online_retail_by_day.tar.gz")])
    as_expected("online_retail", "whole", module.figures(home))
    # The correction asked for its own day and no other.
    assert "receipts of 2011-03-07 to 2011-03-07" in capfd.readouterr().out
