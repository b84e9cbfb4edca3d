"""docs/data_contract.md, from the contract: ``python -m retail_assets.report.contract_page``."""

from __future__ import annotations

from retail_assets import contract

HEAD = """# The data contract

Made from `retail_assets/tables.txt`; `make docs` writes it again. ● = never null (in a landed
file: the column must be there). Landed tables may hold only the ● columns; another export is read
through `mapping.toml`, see [mapping](mapping.md). Every landed table has a `<table>_quarantine`
beside it with each rejected line and every reason.

Receipts are landed as `pos/*.csv`, `.csv.gz` or `.parquet` with at least `transaction_id`,
`store_id`, `sold_at` (local time), `product_id`, `quantity` and `unit_price`.
"""


def page() -> str:
    """The page, as Markdown."""
    groups: dict[str, list[contract.Table]] = {}
    for name, table in contract.tables().items():
        if name == "pos_quarantine" or not name.endswith("_quarantine"):
            groups.setdefault(table.group, []).append(table)
    overview = ["| group | tables |", "|---|---|", *map(_overview, groups, groups.values()), ""]
    return "\n".join([HEAD, *overview, *map(_group, groups, groups.values())])


def _overview(group: str, tables: list[contract.Table]) -> str:
    links = ", ".join(f"[{table.name}](#{table.name})" for table in tables)
    return f"| [{group}]({group}.md) | {links} |"


def _group(group: str, tables: list[contract.Table]) -> str:
    head = f"## Group {group}\n\nWhat these tables answer: [{group}]({group}.md).\n"
    return "\n".join([head, *map(_section, tables)])


def _section(table: contract.Table) -> str:
    facts = ["Landed by you"] if table.landed else []
    facts += [f"Partitioned by `{table.partition}`"] if table.partition else []
    facts += [f"Key {', '.join(f'`{k}`' for k in table.key)}"] if table.key else []
    rows = [
        f"| {'● ' if c.required else ''}`{c.name}` | {c.type} | {c.description} |"
        for c in table.columns
    ]
    rules = [f"- `{rule}`" for rule in table.rules]
    return "\n".join(
        [f"### {table.name}", "", table.description, "", ". ".join([*facts, ""]).rstrip(), ""]
        + ["| column | type | meaning |", "|---|---|---|", *rows, ""]
        + (["Every row keeps:", "", *rules, ""] if rules else [])
    )


if __name__ == "__main__":
    print(page(), end="")
