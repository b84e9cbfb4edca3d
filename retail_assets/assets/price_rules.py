"""Which candidate prices are legal: the decision table evaluated by DuckDB.

read_table(settings, goals) -> DecisionTable of <home>/rules/pricing_rules.csv or .xlsx
evaluate(session, table, candidates) -> the candidates with broken_rules and legal
sale_rules(session, table, products) -> what must hold of the sale as a whole

The table becomes one SELECT: whole numbers and column names of our own stand in its text, the
merchandiser's rule ids come in as a parameter. What a row may say is decision_table.py.
"""

from __future__ import annotations

import re
import zipfile
from collections.abc import Mapping, Sequence
from itertools import groupby, pairwise, product
from pathlib import Path
from typing import TYPE_CHECKING, Any

import duckdb

from retail_assets.errors import ModelError, SettingsError
from retail_assets.models.pricing.decision_table import (
    Decision,
    DecisionTable,
    TableError,
    csv_rows,
    parse,
)
from retail_assets.models.pricing.table_rows import (
    EVERY,
    NOT_COMPUTED,
    PERCENT,
    VARIABLES,
    Exposures,
)
from retail_assets.settings import Settings
from retail_assets.warehouse import Session

if TYPE_CHECKING:
    from retail_assets.models.pricing.goals import PricingGoals
    from retail_assets.models.pricing.sale_rules import SaleRules

NAME = "pricing_rules"
SHOWN = 10
HUNDRED = 100 * PERCENT
"""A hundred percent in the units of `Rule.value`."""
_WHOLE = f"{HUNDRED}::BIGINT"

# What a rule cannot judge. A list price of zero has no discount, and NaN passes every >=.
_UNKNOWN = {
    "price_cents": "price_cents IS NULL OR price_cents <= 0",
    "exposures": "exposures IS NULL",
    "msrp_cents": "msrp_cents IS NULL OR msrp_cents <= 0",
    "original_price_cents": "original_price_cents IS NULL OR original_price_cents <= 0",
    "unit_cost_cents": "unit_cost_cents IS NULL OR unit_cost_cents < 0",
    "sell_through": "sell_through IS NULL OR isnan(sell_through)",
}
_REMEDY = {
    "price_cents": "candidate prices must be above 0",
    "exposures": "give exposures in sale_events",
    "msrp_cents": "give msrp in products",
    "original_price_cents": "give original_price in products",
    "unit_cost_cents": "give unit_cost in products",
    "sell_through": "give units_available in sale_events",
}
# Both sides of a comparison in whole numbers: 20 % of 3.20 is exactly 2.56.
_MEASURES = {
    "discount_from_msrp_pct": (f"{_WHOLE} * (msrp_cents - price_cents)", "msrp_cents"),
    "difference_from_original_pct": (
        f"{_WHOLE} * abs(price_cents - original_price_cents)",
        "original_price_cents",
    ),
    "margin_pct": (f"{_WHOLE} * (price_cents - unit_cost_cents)", "price_cents"),
    "price_cents": ("price_cents", "1"),
}


def read_table(settings: Settings, goals: PricingGoals) -> DecisionTable:
    """The decision table of a retailer; an empty one, where everything is legal, without a file.

    Raises
    ------
    SettingsError
        With the file and every fault's line and rule id; or when both files are there.
    """
    text, book = (settings.rules / f"{NAME}{suffix}" for suffix in (".csv", ".xlsx"))
    if text.exists() and book.exists():
        raise SettingsError(f"{text} and {book.name} both hold pricing rules; keep one of them")
    if not text.exists() and not book.exists():
        return DecisionTable(hit_policy=goals.hit_policy)
    path = text if text.exists() else book
    try:
        rows = csv_rows(path.read_bytes()) if path is text else _excel_rows(path)
        return parse(rows, goals.hit_policy)
    except TableError as error:
        raise SettingsError(f"{path}: {error}") from None


def evaluate(
    session: Session,
    table: DecisionTable,
    candidates: str,
    flags: Mapping[str, str] | None = None,
) -> duckdb.DuckDBPyRelation:
    """Judge every row of ``candidates`` by the table.

    Parameters
    ----------
    candidates : str
        Table or view with product_id, price_cents and, where a rule needs them, exposures,
        msrp_cents, original_price_cents, unit_cost_cents, sell_through (0 to 1).
    flags : mapping of rule id to column, optional
        More rules, broken where their BOOLEAN column is true (``extrapolated``).

    Returns
    -------
    DuckDBPyRelation
        The rows, with ``broken_rules VARCHAR[]`` (in the order of the table) and
        ``legal BOOLEAN``.

    Raises
    ------
    ModelError
        A price is not above zero, or a rule needs what is missing for a product: named.
    ValueError
        A column or its name is wrong.
    """
    flags = flags or {}
    source = _identifier(candidates)
    columns = set(session.sql(f"FROM {source}").columns)
    absent = {"product_id", "price_cents", *_needs(table), *flags.values()} - columns
    if absent:
        named = ", ".join(sorted(absent))
        raise ValueError(f"{candidates}: no column {named}, which the pricing rules need")
    _refuse_unknown(session, table, source)
    broken = _broken(table)
    broken |= {rule: f"coalesce({_identifier(name)}, false)" for rule, name in flags.items()}
    verdicts = ", ".join(broken.values())
    judged: duckdb.DuckDBPyRelation = session.sql(
        f"""
        SELECT *, len(broken_rules) = 0 AS legal FROM (
            SELECT *, list_where($ids::VARCHAR[], [{verdicts}]::BOOLEAN[]) AS broken_rules
            FROM {source}
        )
        """,
        {"ids": list(broken)},
    )
    return judged


def sale_rules(session: Session, table: DecisionTable, products: Sequence[str]) -> SaleRules:
    """The table's rules on a whole sale, for its items in this order.

    Sizes are products of one ``style_id``. Inside a ``family`` items stand by original price
    (list price where that is missing); those that cost the same are not ordered.

    Raises
    ------
    ModelError
        A product that is not in ``products``, or one of a family without any price.
    """
    from retail_assets.models.pricing.sale_rules import SaleRules

    rows = _products(session, products)
    margin, sold = (table.sale_rule(f"sale_{name}_pct") for name in ("margin", "sell_through"))
    changes = table.sale_rule("max_changes")
    return SaleRules(
        same_price=_sizes(rows) if table.sale_rule("same_price_sizes") else (),
        price_order=_chains(rows, products) if table.sale_rule("price_order_family") else (),
        max_changes=changes.value[0] if changes else None,
        min_margin_pct=margin.value[0] / PERCENT if margin else None,
        min_sell_through_pct=sold.value[0] / PERCENT if sold else None,
    )


def rule_behind(table: DecisionTable, part: str) -> str:
    """Rule id behind a name of ``SaleRules.parts()``, e.g. ``same_price[0]``."""
    variable = {
        "same_price": "same_price_sizes",
        "price_order": "price_order_family",
        "max_changes": "max_changes",
        "min_margin_pct": "sale_margin_pct",
        "min_sell_through_pct": "sale_sell_through_pct",
    }[part.partition("[")[0]]
    rule = table.sale_rule(variable)
    return rule.rule_id if rule else part


def _needs(table: DecisionTable) -> dict[str, list[str]]:
    """Columns the deciding rules read, with those rules."""
    needs: dict[str, list[str]] = {}
    for decision in table.decisions():
        columns = [VARIABLES[decision.rule.variable].needs]
        if decision.exposures != (EVERY,):
            columns.append("exposures")
        for column in columns:
            needs.setdefault(column, []).append(decision.rule.rule_id)
    return needs


def _refuse_unknown(session: Session, table: DecisionTable, source: str) -> None:
    """Name the products a rule cannot judge, at the exposures where it decides."""
    at: dict[str, set[str]] = {"price_cents": {"true"}}
    for decision in table.decisions():
        spans = _within(decision.exposures)
        at.setdefault(VARIABLES[decision.rule.variable].needs, set()).add(spans)
        if spans != "true":
            at.setdefault("exposures", set()).add("true")
    counts = ", ".join(
        f"list(DISTINCT product_id ORDER BY product_id)"
        f" FILTER (({_UNKNOWN[column]}) AND ({' OR '.join(sorted(spans))}))"
        for column, spans in at.items()
    )
    found = session.sql(f"SELECT {counts} FROM {source}").fetchall()[0]
    faults = []
    for column, products in zip(at, found, strict=True):
        if products:
            rules = ", ".join(dict.fromkeys(_needs(table).get(column, [])))
            why = f", needed by {rules}" if rules else ""
            named = _named(products)
            faults.append(f"{column} missing or out of range for {named}{why}; {_REMEDY[column]}")
    if faults:
        raise ModelError(f"pricing rules: {'; '.join(faults)}")


def _broken(table: DecisionTable) -> dict[str, str]:
    """Rule id to the SQL that is true where the rule decides and is broken."""
    broken: dict[str, list[str]] = {}
    for decision in table.decisions():
        condition = f"({_within(decision.exposures)}) AND {_breaks(decision)}"
        broken.setdefault(decision.rule.rule_id, []).append(f"({condition})")
    # Null only where the rule does not decide: _refuse_unknown has seen to the others.
    return {rule: f"coalesce({' OR '.join(parts)}, false)" for rule, parts in broken.items()}


def _breaks(decision: Decision) -> str:
    rule = decision.rule
    if rule.variable == "price_ending":
        return f"price_cents % 100 NOT IN {_list(rule.value)}"
    if rule.step:
        return f"price_cents % {rule.step} <> 0"
    if decision.side == "one_of":
        return f"price_cents NOT IN {_list(rule.value)}"
    worse = "<" if decision.side == "at_least" else ">"
    if rule.variable == "sell_through_pct":
        return f"sell_through::DOUBLE {worse} {rule.value[0] / HUNDRED!r}::DOUBLE"
    measure, unit = _MEASURES[rule.variable]
    return f"{measure} {worse} {rule.value[0]}::BIGINT * {unit}"


def _list(numbers: Sequence[int]) -> str:
    return f"({', '.join(map(str, numbers))})"


def _within(exposures: Sequence[Exposures]) -> str:
    """SQL of `exposures` lying in one of the intervals."""
    parts = [
        "true" if (lo, hi) == EVERY
        else f"exposures >= {lo}" if hi is None
        else f"exposures BETWEEN {lo} AND {hi}"
        for lo, hi in exposures
    ]  # fmt: skip
    return " OR ".join(parts)


def _identifier(name: str) -> str:
    if not re.fullmatch(r"[A-Za-z_]\w*", name):
        raise ValueError(f"{name!r} is not the name of a table or column")
    return f'"{name}"'


def _named(products: Sequence[str]) -> str:
    more = f" and {len(products) - SHOWN} more" if len(products) > SHOWN else ""
    return ", ".join(products[:SHOWN]) + more


def _products(session: Session, products: Sequence[str]) -> list[tuple[Any, ...]]:
    """(place in the sale, style, family, price in cents) of each product."""
    rows = session.sql(
        """
        SELECT place - 1, style_id, family,
               round(100 * coalesce(original_price, msrp))::BIGINT, p.product_id
        FROM (SELECT unnest($products::VARCHAR[]) AS product_id,
                     generate_subscripts($products::VARCHAR[], 1) AS place)
        LEFT JOIN products p USING (product_id) ORDER BY place
        """,
        {"products": list(products)},
    ).fetchall()
    absent = [products[row[0]] for row in rows if row[4] is None]
    if absent:
        raise ModelError(f"pricing rules: {_named(absent)} not in products; add them there")
    return [row[:4] for row in rows]


def _sizes(rows: Sequence[tuple[Any, ...]]) -> list[tuple[int, ...]]:
    styles: dict[str, list[int]] = {}
    for place, style, _, _ in rows:
        if style is not None:
            styles.setdefault(style, []).append(place)
    return [tuple(places) for places in styles.values() if len(places) > 1]


def _chains(rows: Sequence[tuple[Any, ...]], products: Sequence[str]) -> list[tuple[int, ...]]:
    """Chains of items, each to be priced at or below the next."""
    unpriced = [products[place] for place, _, family, price in rows if family and price is None]
    if unpriced:
        raise ModelError(
            f"pricing rules: {_named(unpriced)} in a family without original_price or msrp, "
            "needed by price_order_family; give one in products"
        )
    families: dict[str, list[tuple[int, int]]] = {}
    for place, _, family, price in rows:
        if family is not None:
            families.setdefault(family, []).append((price, place))
    chains: list[tuple[int, ...]] = []
    for members in families.values():
        ranked = groupby(sorted(members), key=lambda member: member[0])
        levels = [tuple(place for _, place in same) for _, same in ranked]
        if all(len(level) == 1 for level in levels):
            chains += [tuple(level[0] for level in levels)] if len(levels) > 1 else []
        else:
            chains += [pair for low, high in pairwise(levels) for pair in product(low, high)]
    return chains


def _excel_rows(path: Path) -> list[tuple[int, list[str]]]:
    """Cells of the first sheet as text, with their row numbers."""
    from openpyxl import load_workbook
    from openpyxl.utils.exceptions import InvalidFileException

    try:
        shown, written = (
            load_workbook(path, data_only=only).worksheets[0] for only in (True, False)
        )
    except (zipfile.BadZipFile, InvalidFileException, KeyError, ValueError, IndexError) as error:
        raise SettingsError(f"{path}: not an Excel workbook ({error}); save it as .xlsx") from None
    return [
        (number, [_cell_text(value, formula) for value, formula in zip(row, own, strict=True)])
        for number, (row, own) in enumerate(zip(shown.rows, written.rows, strict=True), start=1)
    ]


def _cell_text(cell: Any, formula: Any) -> str:
    value = cell.value
    if value is None:
        return NOT_COMPUTED if formula.data_type == "f" else ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, (int, float)):
        percent = "%" in str(cell.number_format)
        # Excel keeps 20 % as 0.2; 12 digits hide that 0.07 x 100 is not quite 7.
        return f"{value * 100:.12g}%" if percent else f"{value:.12g}"
    return str(value)
