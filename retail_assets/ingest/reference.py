"""Reference tables (products, stores, hours, shelf, ...): landing files to valid rows.

Each row is judged against the contract and a rejected one names every reason. Of rows
with the same key the last counts (later file, then later line); the earlier ones are
quarantined saying so. Rows of a file that left stay; a corrected file replaces its
own. Without a products or stores file the receipts say what is sold and where.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from retail_assets import contract
from retail_assets.ingest import mapping as mappings
from retail_assets.ingest.columns import select_ours, select_some
from retail_assets.ingest.files import open_file
from retail_assets.ingest.landing import LandingFile, present
from retail_assets.ingest.mapping import POS, LandingMapping, columns_of
from retail_assets.ingest.times import timestamp
from retail_assets.staging import quoted
from retail_assets.warehouse import Session

DERIVED_CATEGORY = "all"
FROM_FILE, FROM_RECEIPTS = "file", "receipts"

INTEGERS = ("BIGINT", "INTEGER")
TRUE, FALSE = ("true", "t", "yes", "y", "1", "x"), ("false", "f", "no", "n", "0")

DEFAULTS = {("products", "group"): "category", ("substitution_priors", "beta"): "1"}

_CLOCK = r"'([01]?\d|2[0-4]):[0-5]\d(:[0-5]\d)?'"
EXTRA_RULES = {
    "stores": {
        "unknown time zone": "timezone NOT IN (SELECT name FROM pg_timezone_names())",
    },
    "store_hours": {
        f"unparsable time: {column}": f"NOT regexp_full_match({column}, {_CLOCK})"
        for column in ("open", "close")
    },
}


@dataclass(frozen=True)
class ReferenceReport:
    """What became of the rows of one reference table."""

    rows: int
    quarantined: int
    origin: str = FROM_FILE
    reasons: dict[str, int] = field(default_factory=dict)


def write_reference(session: Session, name: str) -> ReferenceReport:
    """Replace a reference table and its quarantine by what has landed.

    Parameters
    ----------
    name : str
        A landed table of the contract.
    """
    here = present(session, name)
    mapping = mappings.load(session.warehouse.settings.landing)
    _judge(session, name, here, mapping)
    origin = FROM_FILE
    landed = session.connection.sql("SELECT count(*) FROM winners").fetchall()[0][0]
    if not landed and name in ("products", "stores"):
        origin = FROM_RECEIPTS
        _derive(session, name, mapping)
    columns = [c.name for c in contract.table(name).columns]
    listed = ", ".join(f'"{c}"' for c in columns)
    quarantined = session.replace(
        f"{name}_quarantine",
        session.sql(
            "SELECT source_file, source_row, payload, reasons, ingested_at FROM judged"
            " WHERE len(reasons) > 0 UNION ALL BY NAME SELECT * FROM superseded"
            f" UNION ALL BY NAME SELECT * FROM {name}_quarantine WHERE {_left(here)}"
        ),
    )
    rows = session.replace(name, session.connection.sql(f"SELECT {listed} FROM winners"))
    reasons = session.connection.sql(
        "SELECT why, count(*) FROM (SELECT unnest(reasons) AS why FROM judged UNION ALL"
        " SELECT unnest(reasons) FROM superseded) GROUP BY 1 ORDER BY 2 DESC, 1"
    ).fetchall()
    return ReferenceReport(rows, quarantined, origin, dict(reasons))


def _left(here: dict[str, LandingFile]) -> str:
    """Condition for rows whose file is not read now: they stay as they are."""
    names = ", ".join(f"'{quoted(file)}'" for file in here)
    return f"source_file NOT IN ({names})" if names else "source_file IS NOT NULL"


def _judge(
    session: Session, name: str, here: dict[str, LandingFile], mapping: LandingMapping
) -> None:
    """Temp tables ``judged`` (typed rows with reasons), ``winners`` and ``superseded``."""
    table = contract.table(name)
    texts = [_text_rows(session, row, mapping) for row in here.values()]
    session.execute(
        "CREATE OR REPLACE TEMP TABLE judged AS "
        + judged_rows(name, " UNION ALL BY NAME ".join(texts) if texts else _no_text(name))
    )
    own = ", ".join(f'"{c.name}"' for c in table.columns if c.name != "origin")
    origin = ", 'file' AS origin" if "origin" in table.column_names else ""
    derived = f" AND origin <> '{FROM_RECEIPTS}'" if origin else ""
    key = ", ".join(f'"{k}"' for k in table.key) or "source_file, source_row"
    session.execute(
        f"""CREATE OR REPLACE TEMP TABLE ranked AS
        WITH rows AS (
            SELECT {own}, ingested_at FROM judged WHERE len(reasons) = 0
            UNION ALL BY NAME
            SELECT {own}, (SELECT max(seen_at) FROM landing_files f WHERE f.file = source_file)
                AS ingested_at
            FROM "{name}" WHERE {_left(here)}{derived}
        )
        SELECT *{origin}, row_number() OVER newest AS nth,
            first_value(source_file || ', line ' || source_row) OVER newest AS winner
        FROM rows WINDOW newest AS (PARTITION BY {key}
            ORDER BY ingested_at DESC, source_file DESC, source_row DESC)"""
    )
    columns = ", ".join(f'"{c.name}"' for c in table.columns)
    session.execute(
        f"CREATE OR REPLACE TEMP TABLE winners AS SELECT {columns} FROM ranked WHERE nth = 1"
    )
    values = ", ".join(
        f"'{c.name}', \"{c.name}\"" for c in columns_of(name) if c.name != "attributes"
    )
    session.execute(
        f"""CREATE OR REPLACE TEMP TABLE superseded AS
        SELECT source_file, source_row,
            json_merge_patch('{{}}', json_object({values}))::VARCHAR AS payload,
            ['duplicate key ({", ".join(table.key)}): ' || winner || ' counts'] AS reasons,
            ingested_at FROM ranked WHERE nth > 1"""
    )


def _text_rows(session: Session, row: LandingFile, mapping: LandingMapping) -> str:
    how = mapping.of(row.file)
    assert how is not None, f"{row.file} landed"
    path = session.warehouse.settings.landing / row.file
    opened = open_file(session, path, row.file, how, carefully=bool(row.careful))
    return (
        f"SELECT *, '{quoted(row.file)}' AS source_file,"
        f" TIMESTAMPTZ '{row.seen_at.isoformat()}' AS ingested_at"
        f" FROM ({select_ours(opened, row.file, how)})"
    )


def _no_text(name: str) -> str:
    columns = ", ".join(f'NULL::VARCHAR AS "{c.name}"' for c in columns_of(name))
    return (
        f"SELECT {columns}, NULL::BIGINT AS source_row, NULL::VARCHAR AS payload,"
        " NULL::VARCHAR AS problem, NULL::VARCHAR AS source_file,"
        " NULL::TIMESTAMPTZ AS ingested_at WHERE false"
    )


def judged_rows(name: str, texts: str) -> str:
    """SELECT of text rows typed, with payload and the list of reasons against each."""
    table = contract.table(name)
    columns = columns_of(name)
    required = set(table.required_columns)
    typed = ", ".join(f'{_read(c)} AS "{c.name}"' for c in columns)
    kept = ", ".join(f'"{c.name}" AS "text {c.name}"' for c in columns)
    given = {c.name: f'"text {c.name}"' for c in columns}
    reasons = {
        f"missing value: {name_}": f"coalesce(trim({given[name_]}), '') = ''"
        for name_ in given
        if name_ in required
    }
    reasons |= {
        f"unparsable {_noun(c)}: {c.name}": f"trim({given[c.name]}) <> '' AND \"{c.name}\" IS NULL"
        for c in columns
        if c.type != "VARCHAR"
    }
    reasons |= {f"breaks the rule {rule}": f"NOT ({rule})" for rule in table.rules}
    reasons |= EXTRA_RULES.get(name, {})
    tests = ", ".join(
        f"CASE WHEN problem IS NULL AND {test} THEN '{quoted(why)}' END"
        for why, test in reasons.items()
    )
    values = ", ".join(f"'{c}', {text}" for c, text in given.items() if c != "attributes")
    unread = f"coalesce({', '.join(given.values())}) IS NULL"
    final = ", ".join(_default(name, c) for c in columns)
    return f"""
        SELECT {final}, source_file, source_row, ingested_at,
            CASE WHEN problem IS NOT NULL AND {unread} THEN payload ELSE
                json_merge_patch('{{}}', json_object({values}), coalesce(payload, '{{}}'))::VARCHAR
            END AS payload,
            list_filter([problem, {tests}], lambda r: r IS NOT NULL) AS reasons
        FROM (
            SELECT {typed}, {kept}, source_file, source_row, ingested_at, payload, problem
            FROM ({texts}) t
        )"""


def _default(table: str, column: contract.Column) -> str:
    default = DEFAULTS.get((table, column.name))
    name = f'"{column.name}"'
    return f"coalesce({name}, {default}) AS {name}" if default else name


def _read(column: contract.Column) -> str:
    """A text as the column's type; NULL where it cannot be read."""
    text = f't."{column.name}"'
    if column.type in INTEGERS:
        # A plain cast would round 3.5 to 4.
        number = f"try_cast({text} AS DECIMAL(18,4))"
        return f"CASE WHEN {number} = floor({number}) THEN try_cast({number} AS {column.type}) END"
    if column.type == "DOUBLE":
        number = f"try_cast({text} AS DOUBLE)"
        return f"CASE WHEN isfinite({number}) THEN {number} END"
    if column.type == "BOOLEAN":
        return (
            f"CASE WHEN lower(trim({text})) IN {TRUE} THEN true"
            f" WHEN lower(trim({text})) IN {FALSE} THEN false END"
        )
    if column.type == "VARCHAR":
        return f"nullif(trim({text}), '')"
    if column.type == "TIMESTAMP":
        return timestamp(text)
    return f"try_cast({text} AS {column.type})"


def _noun(column: contract.Column) -> str:
    if column.type in ("DATE", "TIMESTAMP"):
        return "date" if column.type == "DATE" else "time"
    if column.type == "BOOLEAN":
        return "yes or no"
    return "whole number" if column.type in INTEGERS else "number"


def _derive(session: Session, name: str, mapping: LandingMapping) -> None:
    """``winners`` from the receipts: what was derived before, and what is new."""
    key, label = ("product_id", "product_name") if name == "products" else ("store_id", "store_id")
    seen = []
    for row in present(session, POS).values():
        how = mapping.of(row.file)
        assert how is not None, f"{row.file} landed"
        path = session.warehouse.settings.landing / row.file
        opened = open_file(session, path, row.file, how, carefully=bool(row.careful))
        some = select_some(opened, row.file, how, (key, label))
        seen.append(
            f"SELECT {key} AS id, {label} AS label FROM ({some})"
            f" WHERE problem IS NULL AND trim({key}) <> ''"
        )
    session.execute("CREATE OR REPLACE TEMP TABLE sold (id VARCHAR, label VARCHAR, n BIGINT)")
    for start in range(0, len(seen), 64):
        batch = " UNION ALL ".join(seen[start : start + 64])
        session.connection.execute(
            f"INSERT INTO sold SELECT id, label, count(*) FROM ({batch}) GROUP BY ALL"
        )
    zone = quoted(session.warehouse.settings.timezone)
    if name == "products":
        ours = f"label AS name, '{DERIVED_CATEGORY}' AS category, '{DERIVED_CATEGORY}' AS \"group\""
    else:
        ours = f"'{zone}' AS timezone, id AS name"
    session.execute(
        f"""INSERT INTO winners BY NAME
        SELECT id AS {key}, {ours}, '{FROM_RECEIPTS}' AS origin
        FROM (SELECT id, coalesce(arg_max(label, (n, label)), id) AS label
            FROM (SELECT id, label, sum(n) AS n FROM sold GROUP BY ALL) GROUP BY id)"""
    )
    session.execute(
        f"""INSERT INTO winners BY NAME SELECT * FROM {name}
        WHERE origin = '{FROM_RECEIPTS}' AND {key} NOT IN (SELECT {key} FROM winners)"""
    )


def categories(session: Session) -> list[str]:
    """Categories of the products just written, in order."""
    rows = session.connection.sql("SELECT DISTINCT category FROM winners ORDER BY 1").fetchall()
    return [category for (category,) in rows]


def coming_sales(session: Session) -> list[str]:
    """Sales of the sale_events just written that still lack a price, in order."""
    rows = session.connection.sql(
        "SELECT DISTINCT sale_id FROM winners WHERE price IS NULL ORDER BY 1"
    ).fetchall()
    return [sale for (sale,) in rows]


def landed_rows(session: Session, name: str, files: list[LandingFile], column: str) -> list[str]:
    """One column of a reference table as its landed files have it, before any write."""
    mapping = mappings.load(session.warehouse.settings.landing)
    found: list[str] = []
    for row in files:
        path = session.warehouse.settings.landing / row.file
        if row.state == "landed" and row.table_name == name and path.is_file():
            texts = judged_rows(name, _text_rows(session, row, mapping))
            found += [
                value
                for (value,) in session.sql(
                    f'SELECT "{column}" FROM ({texts}) WHERE len(reasons) = 0'
                ).fetchall()
            ]
    return found
