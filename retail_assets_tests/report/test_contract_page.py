from pathlib import Path

from retail_assets.report.contract_page import page

DOCS = Path(__file__).parents[2] / "docs" / "data_contract.md"


def test_the_page_in_docs_is_the_contract():
    assert DOCS.read_text() == page(), "run: make docs"
