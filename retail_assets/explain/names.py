"""Which product is meant: an id, or a part of a name that only one has."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from retail_assets.errors import RetailAssetsError
from retail_assets.warehouse import Session

SHOWN = 8

# A style has no name of its own where its sizes carry the names.
_NAMES = """
SELECT product_id, name FROM products
UNION ALL
SELECT style_id, any_value(name) FROM products
WHERE style_id NOT IN (SELECT product_id FROM products) GROUP BY style_id
ORDER BY ALL
"""


@dataclass(frozen=True)
class Product:
    """Id and name of a product, or of a style in sizes."""

    id: str
    name: str

    def __str__(self) -> str:
        return self.id if self.name == self.id else f"{self.name} ({self.id})"


def names(session: Session) -> dict[str, str]:
    """Name of every product by its id."""
    return dict(session.sql(_NAMES).fetchall())


def find(session: Session, text: str, among: Sequence[str], where: str) -> Product:
    """The one product of ``among`` that a person means.

    An id first, then a whole name, then names and ids that hold every word of the text, all
    without regard to case.

    Parameters
    ----------
    among : sequence of str
        Ids the question is about.
    where : str
        What they belong to, for the error: "sale sale_2026_11", say.

    Raises
    ------
    RetailAssetsError
        None or several are meant: lists them.
    """
    known = names(session)
    every = [Product(each, known.get(each, each)) for each in sorted(set(among))]
    asked = text.strip().lower()
    found = (
        [p for p in every if p.id == text]
        or [p for p in every if asked in (p.id.lower(), p.name.lower())]
        or [p for p in every if all(word in f"{p.id} {p.name}".lower() for word in asked.split())]
    )
    if len(found) == 1:
        return found[0]
    if found:
        raise RetailAssetsError(f"{text!r} may be {_list(found)}; give the id, or more of the name")
    elsewhere = "" if text not in known else f", though {known[text]} is a known product"
    raise RetailAssetsError(f"{text!r} is not in {where}{elsewhere}; known: {_list(every)}")


def _list(products: Sequence[Product]) -> str:
    shown = ", ".join(str(p) for p in products[:SHOWN]) or "none"
    return shown + (f" and {len(products) - SHOWN} more" if len(products) > SHOWN else "")
