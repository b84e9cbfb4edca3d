"""A bakery's till: some lines here; that all of them land tests ingest/test_real_receipts.py."""

from __future__ import annotations

from retail_assets.ingest.check import check_landing
from retail_assets.settings import Settings


def test_every_line_lands_or_is_quarantined(example, as_expected, tmp_path, public_data):
    lines = (public_data / "bread_basket.csv").read_text().splitlines(keepends=True)
    (tmp_path / "some.csv").write_text("".join(lines[:501]))
    example("bread_basket").land(tmp_path / "some.csv", tmp_path / "landing")
    report = check_landing(Settings.load(tmp_path, tmp_path / "landing"))
    (file,) = report.files
    found = {"landed": file.landed, "quarantined": file.quarantined}
    as_expected("bread_basket", "slice", found)


def test_the_whole_example_finds_what_its_readme_says(example, as_expected, run_whole, public_data):
    module = example("bread_basket")
    found = module.figures(run_whole(module, [str(public_data / "bread_basket.csv")]))
    out = {product.lower() + "_out": share for product, _, share, *_ in found["best_sellers"]}
    as_expected("bread_basket", "whole", found | out)
