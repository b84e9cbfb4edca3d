"""Pictures and small tables as Dagster metadata. What they show is made in plots.py."""

from __future__ import annotations

import base64
from collections.abc import Sequence

import dagster as dg

MAX_ROWS = 10


def picture(png: bytes, title: str) -> dg.MarkdownMetadataValue:
    """A PNG inside the run's metadata; nothing is written to disk."""
    return dg.MetadataValue.md(
        f"![{title}](data:image/png;base64,{base64.b64encode(png).decode()})"
    )


def table(header: Sequence[str], rows: Sequence[Sequence[object]]) -> dg.MarkdownMetadataValue:
    """The first rows of a result, as a Markdown table."""
    lines = [
        "| " + " | ".join(header) + " |",
        "|" + "---|" * len(header),
        *("| " + " | ".join(_text(cell) for cell in row) + " |" for row in rows[:MAX_ROWS]),
    ]
    if len(rows) > MAX_ROWS:
        lines.append(f"\n{len(rows) - MAX_ROWS} more rows in the table.")
    return dg.MetadataValue.md("\n".join(lines))


def _text(cell: object) -> str:
    shown = str(cell)
    if isinstance(cell, float):
        shown = f"{cell:,.0f}" if abs(cell) >= 100 else f"{cell:.3f}"
    return shown.replace("|", "\\|")
