"""The report: one HTML page that needs nothing but itself. It renders what it is handed.

What each part says stands in the modules beside this one, how it looks in page.html.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from typing import TYPE_CHECKING

from retail_assets.report.page.blocks import NBSP, Money, Section, Story
from retail_assets.report.page.cards import cards
from retail_assets.report.page.figures import changes
from retail_assets.report.page.range import assortment, styles
from retail_assets.report.page.shop import missing, sold, substitutes
from retail_assets.report.page.supply import orders, prices
from retail_assets.report.page.trust import quality, trust

if TYPE_CHECKING:
    from jinja2 import Environment

WORDS = (
    ("interval", "Where the truth lies with the stated probability, 95 % unless another is named."),
    (
        "low power",
        "The product sells too slowly, or its outages are too short, to tell them apart.",
    ),
    ("weak", "The data say something, but the prior still weighs."),
    ("unidentified", "The data say nothing; what is shown is the prior."),
    ("unresolved", "The interval contains zero: better and worse are both possible."),
    ("revenue", "A cost is missing, so that revenue is compared in place of gross profit."),
    ("prior", "What was expected of a style before its first trial, from its group."),
    ("gap", "How far a better answer could lie at most; 0 is proof that none exists."),
)


@dataclass(frozen=True)
class Frame:
    """What stands around the story: when, in which money, from which tables."""

    made_at: datetime
    currency: str
    ui_url: str
    versions: Mapping[str, int]


def render(story: Story, frame: Frame, proofs: Mapping[str, str] | None = None) -> str:
    """The page as HTML; every value is escaped.

    Parameters
    ----------
    story : mapping
        Rows by question, as the report's queries name them; missing parts are empty lists.
    proofs : mapping, optional
        Sale, and the data URI of the plot its proof was drawn as.
    """
    money = Money(frame.currency)
    return _environment().get_template("page.html").render(
        frame=frame,
        span=next(iter(story["span"]), None),
        cards=cards(story, money),
        sections=sections(story, money, proofs or {}),
        words=WORDS,
    )  # fmt: skip


def sections(story: Story, money: Money, proofs: Mapping[str, str]) -> tuple[Section, ...]:
    """The story in its order."""
    return (
        sold(story, money),
        missing(story, money),
        substitutes(story, money),
        assortment(story, money),
        styles(story, money),
        orders(story, money),
        prices(story, money, proofs),
        changes(story, money),
        quality(story, money),
        trust(story, money),
    )


def _unbroken(value: object) -> object:
    """No line ends between a number and its percent sign; product names have them, too."""
    return value.replace(" %", f"{NBSP}%") if isinstance(value, str) else value


@cache
def _environment() -> Environment:
    from jinja2 import Environment, PackageLoader, StrictUndefined

    return Environment(
        loader=PackageLoader("retail_assets", "report/page"),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_unbroken,
        trim_blocks=True,
        lstrip_blocks=True,
    )
