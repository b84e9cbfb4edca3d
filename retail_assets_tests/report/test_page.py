"""The report's page: nothing is needed to draw it, nothing in it is trusted, noise is no news."""

from __future__ import annotations

import re
from collections import defaultdict
from datetime import UTC, date, datetime

import pytest

from retail_assets.report import page
from retail_assets.report.page import figures as page_figures
from retail_assets.report.page.blocks import Axis, Cell, Head, Money, table
from retail_assets.report.page.range import belief

FRAME = page.Frame(datetime(2026, 11, 1, tzinfo=UTC), "EUR", "http://127.0.0.1:3000", {"stock": 3})
HOSTILE = '<script>alert(1)</script> & "Söhne" \'n'


def empty() -> defaultdict[str, list]:
    return defaultdict(list)


def story() -> defaultdict[str, list]:
    """A shop with one product whose name, category and reasons are hostile."""
    rows = empty()
    rows["span"] = [
        {"first_day": date(2026, 5, 4), "last_day": date(2026, 10, 31), "stores": 1, "products": 1,
         "cents": 12_345_600, "units": 10.0, "recent_cents": 2_000_000, "before_cents": 1_000_000}
    ]  # fmt: skip
    rows["products"] = [
        {"category": HOSTILE, "product_id": "p", "name": HOSTILE, "receipts": 900, "units": 900.0,
         "cents": 9_000, "wanted": 1_600.0, "wanted_lo": 1_500.0, "wanted_hi": 1_700.0,
         "sold_rank": 7, "wanted_rank": 1}
    ]  # fmt: skip
    rows["scenarios"] = [
        {"category": HOSTILE, "scenario": "drop p", "label": f"drop {HOSTILE}", "dropped": "p",
         "goal": "profit", "diff": -1_415_100.0, "lo": -1_512_900.0, "hi": -1_317_200.0,
         "p_improves": 0.0, "verdict": "worse"},
        {"category": HOSTILE, "scenario": "move", "label": "move", "dropped": None,
         "goal": "revenue", "diff": 5.0, "lo": -9.0, "hi": 19.0, "p_improves": 0.6,
         "verdict": "unresolved"},
    ]  # fmt: skip
    rows["rejected"] = [
        {"table_name": "pos_lines", "landed": 99_999, "rejected": 1, "reason": HOSTILE, "lines": 1}
    ]
    rows["files"] = [
        {"table_name": "raw_pos", "state": "failed", "files": 1, "rows": 0, "undated": 0,
         "seen_at": None, "errors": [f"{HOSTILE}, line 3: not a number"]}
    ]  # fmt: skip
    return rows


def change(value, before, half=None, half_before=None):
    def around(at, width):
        return (None, None) if width is None else (at - width, at + width)

    (lo, hi), (lo_before, hi_before) = around(value, half), around(before, half_before)
    return {"label": "out of stock", "unit": "share", "value": value, "lo": lo, "hi": hi,
            "value_before": before, "lo_before": lo_before, "hi_before": hi_before,
            "made_before": datetime(2026, 10, 1, tzinfo=UTC)}  # fmt: skip


def test_a_shop_without_any_table_still_has_a_page_that_says_what_to_land():
    html = page.render(empty(), FRAME)
    for needed in ("pos/*.csv", "land sale_events", "stock.csv", "style_trials", "first report"):
        assert needed in html
    assert html.count('class="nothing"') == 10
    assert 'class="card"' not in html


def test_names_and_reasons_are_escaped_wherever_they_stand():
    html = page.render(story(), FRAME)
    assert html.count("<script>") == 1
    assert "&lt;script&gt;alert(1)&lt;/script&gt; &amp; &#34;Söhne&#34; &#39;n" in html


def test_the_page_asks_the_network_for_nothing():
    html = page.render(story(), FRAME)
    loaded = re.findall(r"""(?:src|href)="(?!#|data:)([^"]+)""", html)
    assert set(re.findall(r"<(?:script|img|iframe|source)[^>]*\ssrc=[^>]*>", html)) == set()
    assert all(link.startswith("http://127.0.0.1:3000/assets/") for link in loaded)
    assert "@import" not in html
    assert "url(" not in html
    assert "default-src 'none'" in html


def test_money_has_the_shops_currency_a_true_minus_and_an_interval():
    frame = page.Frame(FRAME.made_at, "CHF", FRAME.ui_url, {})
    html = page.render(story(), frame)
    assert "123,456\N{NO-BREAK SPACE}CHF" in html
    assert "\N{MINUS SIGN}14,151\N{NO-BREAK SPACE}CHF" in html
    assert "\N{MINUS SIGN}15,129 to \N{MINUS SIGN}13,172" in html
    assert "EUR" not in html


def test_the_first_screen_keeps_the_product_that_receipts_underrate():
    html = page.render(story(), FRAME)
    assert "Rank 7 in receipts, but 1 in what" in html


@pytest.mark.parametrize(
    ("now", "before", "news"),
    [
        ((0.20, 0.05), (0.30, 0.05), True),
        ((0.25, 0.05), (0.30, 0.05), False),
        ((0.37, 0.05), (0.30, 0.05), False),  # inside hypot(.05, .05) = .071
        ((12.0, None), (13.0, None), True),
        ((12.0, None), (12.0, None), False),
    ],
)
def test_a_change_within_both_intervals_is_noise(now, before, news):
    row = change(now[0], before[0], now[1], before[1])
    assert page_figures.moved(row) is news


def test_changes_name_what_moved_and_count_the_noise():
    rows = empty()
    gone = change(0.1, 0.1) | {"value": None, "label": "order of tea"}
    rows["changes"] = [change(0.2, 0.3, 0.05, 0.05), change(0.25, 0.3, 0.05, 0.05), gone]
    part = page_figures.changes(rows, Money("EUR"))
    assert "1 figure moved beyond the interval; 1 stayed within noise" in part.says
    assert part.blocks[-1].lines == ("No longer there: order of tea.",)


def test_each_figure_is_kept_once_and_exact_ones_have_no_interval():
    rows = story()
    rows["scenarios"] *= 2
    found = page_figures.figures(rows)
    assert len(found) == len({(f.figure, f.about) for f in found}) == 3
    revenue = next(f for f in found if f.figure == "revenue_28_days")
    assert (revenue.value, revenue.lo, revenue.level) == (2_000_000, None, None)


def test_a_span_lies_where_its_numbers_do():
    axis = Axis.over([-50.0, 150.0])
    span = axis.of(50.0, 0.0, 100.0, "good", mark=150.0)
    assert (span.left, span.width, span.at, span.zero, span.mark) == (25.0, 50.0, 50.0, 25.0, 100.0)
    assert Axis.over([]).of(0.0, None, None).width == 0.0


def test_a_long_table_says_where_the_rest_is():
    (cut,) = table("t", [Head("a")], [[Cell(str(k))] for k in range(30)], where="stock")
    assert (len(cut.rows), cut.more) == (25, "5 more rows in stock.")
    assert table("t", [Head("a")], []) == ()


@pytest.mark.parametrize(
    ("style", "said"),
    [
        ({"p_lo95": 0.05, "p_hi95": 0.07, "below": None}, "below its group"),
        ({"p_lo95": 0.12, "p_hi95": 0.17, "below": 0.2}, "above its group"),
        ({"p_lo95": 0.05, "p_hi95": 0.17, "below": None}, "as expected so far"),
        ({"p_lo95": 0.05, "p_hi95": 0.07, "below": 0.99}, "stop, it stays below break-even"),
    ],
)
def test_a_style_is_believed_by_its_interval_not_its_mean(style, said):
    assert belief({"prior_mean": 0.1, "status": "ok", **style})[0] == said
