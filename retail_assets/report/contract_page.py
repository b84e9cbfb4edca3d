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
    named = [t for n, t in contract.tables().items() if n == "pos_quarantine" or "_quar" not in n]
    return "\n".join([HEAD, *(_section(table) for table in named)])


def _section(table: contract.Table) -> str:
    facts = [f"group {table.group}"]
    facts += ["landed by you"] if table.landed else []
    facts += [f"partitioned by `{table.partition}`"] if table.partition else []
    facts += [f"key {', '.join(f'`{k}`' for k in table.key)}"] if table.key else []
    rows = [
        f"| {'● ' if c.required else ''}`{c.name}` | {c.type} | {c.description} |"
        for c in table.columns
    ]
    rules = [f"- `{rule}`" for rule in table.rules]
    return "\n".join(
        [f"## {table.name}", "", table.description, "", "; ".join(facts) + ".", ""]
        + ["| column | type | meaning |", "|---|---|---|", *rows, ""]
        + (["Every row keeps:", "", *rules, ""] if rules else [])
    )


if __name__ == "__main__":
    print(page(), end="")
