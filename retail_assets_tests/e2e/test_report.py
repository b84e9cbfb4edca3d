"""The demo's report in a real browser: on a desk, on a phone, by keyboard, on paper."""

from __future__ import annotations

import pytest
from playwright.sync_api import Page

from retail_assets_tests.e2e.browser import picture

WIDTHS = {"desk": 1440, "phone": 390}
SECTIONS = (
    "sold",
    "missing",
    "substitutes",
    "assortment",
    "styles",
    "orders",
    "prices",
    "changes",
    "quality",
    "trust",
)


@pytest.fixture(scope="module", params=WIDTHS)
def report(demo_home, page, request) -> Page:
    """The page, with everything the browser complained of or asked the network for."""
    page.said, page.asked = [], []
    page.on("console", lambda message: page.said.append(message.text))
    page.on("pageerror", lambda error: page.said.append(str(error)))
    page.on("request", lambda asked: page.asked.append(asked.url))
    page.set_viewport_size({"width": WIDTHS[request.param], "height": 900})
    page.goto((demo_home.path / "report.html").as_uri())
    picture(page, f"report_{request.param}")
    return page


def test_it_fits_the_screen_and_needs_nothing_else(report):
    wide = report.evaluate("document.documentElement.scrollWidth > window.innerWidth")
    assert not wide
    assert report.said == []
    assert [url for url in report.asked if not url.startswith(("file:", "data:"))] == []


def test_the_first_screen_says_what_to_do_with_money_and_an_interval(report):
    cards = report.locator(".card").all_inner_texts()
    assert 4 <= len(cards) <= 8
    assert any("EUR" in card and " to " in card for card in cards)
    assert report.locator(".card").first.bounding_box()["y"] < 300


def test_every_part_of_the_story_is_there_and_names_its_tables(report):
    for anchor in SECTIONS:
        part = report.locator(f"section#{anchor}")
        assert part.locator(".from a").count() >= 1, anchor
        assert part.locator(".nothing").count() == (anchor == "changes"), anchor
    assert report.locator("#prices img").evaluate("image => image.naturalWidth") > 300


@pytest.mark.parametrize("by", ["mouse", "keyboard"])
def test_a_table_is_sorted_by_its_heading(report, by):
    table = report.locator("#missing table").first
    head = table.get_by_role("columnheader", name="Met an empty shelf")
    button = head.get_by_role("button")
    for wanted in ("descending", "ascending"):
        button.scroll_into_view_if_needed()
        if by == "mouse":
            button.click()
        else:
            button.focus()
            report.keyboard.press("Enter")
        assert head.get_attribute("aria-sort") == wanted
        at = head.evaluate("head => head.cellIndex")
        shown = [
            float(value)
            for value in table.evaluate(
                "(table, at) => [...table.tBodies[0].rows].map(r => r.cells[at].dataset.sort)", at
            )
            if value.replace(".", "").isdigit()
        ]
        assert len(shown) > 5
        assert shown == sorted(shown, reverse=wanted == "descending")
    report.reload()


def test_a_folded_table_opens_and_is_whole_on_paper(report):
    rows = report.locator("#assortment figure.folded").first.locator("tbody tr")
    folded = sum(row.is_visible() for row in rows.all())
    assert folded == 8
    report.emulate_media(media="print")
    assert sum(row.is_visible() for row in rows.all()) == rows.count() > 8
    report.emulate_media(media="screen")
    more = report.locator("#assortment figure.folded button.all").first
    figure = more.evaluate_handle("button => button.closest('figure')")
    more.click()
    assert not figure.evaluate("figure => figure.classList.contains('folded')")
