"""``trading_days`` and ``interval_sales``: when stores trade, and what sold when.

Intervals are counted from opening in elapsed time, so a change of clocks neither loses
nor doubles one. ``interval_sales`` is sparse: a product without a sale in an interval
has no row. Only sale lines count as demand: returns and voids are not negative
demand. They stay in ``pos_lines`` (the sum of its net_amount is the revenue), while
``net_cents`` here is the revenue of the sales counted in the row. A void cancels the
sale of the same receipt, product and quantity. Sales outside the trading hours go to
the nearest interval of their business day. At day grain an open day is one interval.
"""

from __future__ import annotations

from dataclasses import dataclass

from retail_assets.ingest.blocks import ONE_THREAD, Block, Days, blocks
from retail_assets.ingest.hours import create_opening
from retail_assets.warehouse import Session

CENTS = "round(sum(net) * 100 + sign(sum(net)) * 1e-6)::BIGINT"
"""Sums of amounts with four decimals as DOUBLE: a third of the CPU of sums of DECIMAL. The
millionth of a cent keeps 1.005 on the side of the half where it belongs."""

ENCODED = ("store_id", "product_id", "category")


@dataclass(frozen=True)
class IntervalsReport:
    """What a write of ``trading_days`` and ``interval_sales`` did."""

    store_days: int
    open_days: int
    rows: int
    sources: dict[str, int]


def write_intervals(session: Session, days: Days) -> IntervalsReport:
    """Replace the days of ``trading_days`` and ``interval_sales``."""
    session.execute(ONE_THREAD)
    create_opening(session, days)
    session.encode("store_text", "SELECT store_id FROM opening")
    columns = "store_id, business_date, open_at, close_at, n_intervals, grain_minutes, source"
    with (
        session.staging("trading_days", days) as trading,
        # Unique: grouped by store day, product and interval.
        session.staging("interval_sales", days, keyed=False) as sales,
    ):
        trading.add(f"SELECT {columns} FROM opening")
        for block in blocks(session, "pos_lines", days):
            sales.add(_interval_sales(session, block), block.day, encoded=ENCODED)
        store_days = trading.commit()
        rows = sales.commit()
    run = session.connection.sql
    opened = run("SELECT count(*) FROM opening WHERE n_intervals > 0").fetchall()[0][0]
    sources = dict(run("SELECT source, count(*) FROM opening GROUP BY 1 ORDER BY 1").fetchall())
    return IntervalsReport(store_days, opened, rows, sources)


def _interval_sales(session: Session, block: Block) -> str:
    grain = session.warehouse.settings.grain_minutes
    lines = session.rows("pos_lines", block.days)
    run = session.connection
    kept = f"SELECT * FROM {lines} WHERE line_type = 'sale'"
    if run.sql(f"SELECT 1 FROM {lines} WHERE line_type = 'void' LIMIT 1").fetchall():
        run.execute(_voided(lines))
        kept += " AND (source_file, source_row) NOT IN (SELECT source_file, source_row FROM voided)"
    run.execute(
        "CREATE OR REPLACE TEMP TABLE sold_products AS SELECT product_id, any_value(category)"
        f" AS category FROM {lines} GROUP BY product_id"
    )
    session.encode("product_text", "SELECT product_id FROM sold_products")
    session.encode("category_text", "SELECT category FROM sold_products")
    nth = f"(epoch_us(s.sold_at) - epoch_us(o.open_at)) // {grain * 60_000_000}"
    # The store day and the product are numbers while grouping: half the CPU of texts.
    return f"""
        WITH open_days AS (
            SELECT *, store_id::store_text AS store FROM opening
            WHERE business_date BETWEEN DATE '{block.days[0]}' AND DATE '{block.days[1]}'
        ), products_sold AS (
            SELECT product_id, product_id::product_text AS product,
                category::category_text AS category FROM sold_products
        ), baskets AS (
            SELECT o.store_day, p.product, s.transaction_id,
                greatest(0, least(o.n_intervals - 1, {nth})) AS interval_of_day,
                sum(s.quantity) AS units, sum(s.net_amount::DOUBLE) AS net
            FROM ({kept}) s
            JOIN open_days o ON o.store_id = s.store_id AND o.business_date = s.business_date
            JOIN products_sold p ON p.product_id = s.product_id
            GROUP BY ALL
        ), sales AS (
            SELECT store_day, product, interval_of_day, count(*) AS transactions,
                sum(units) AS units, {CENTS} AS net_cents
            FROM baskets GROUP BY ALL
        )
        SELECT store AS store_id, product AS product_id, category, business_date,
            make_timestamptz(epoch_us(open_at) + interval_of_day * {grain * 60_000_000})
                AS interval_start,
            interval_of_day, {grain} AS grain_minutes, transactions, units, net_cents
        FROM sales JOIN open_days USING (store_day) JOIN products_sold USING (product)"""


def _voided(lines: str) -> str:
    """Temp table ``voided``: sale lines that a void of the same receipt cancels."""
    key = "business_date, store_id, transaction_id, product_id, abs(quantity)"
    return f"""CREATE OR REPLACE TEMP TABLE voided AS
        WITH cancels AS (
            SELECT {key} AS amount, count(*) AS n FROM {lines}
            WHERE line_type = 'void' GROUP BY ALL
        ), sales AS (
            SELECT {key} AS amount, source_file, source_row, row_number() OVER (
                PARTITION BY {key} ORDER BY line_number DESC, source_row DESC) AS nth
            FROM {lines} WHERE line_type = 'sale'
                AND (business_date, store_id, transaction_id) IN
                    (SELECT (business_date, store_id, transaction_id) FROM cancels)
        )
        SELECT source_file, source_row FROM sales
        JOIN cancels USING (business_date, store_id, transaction_id, product_id, amount)
        WHERE nth <= n"""
