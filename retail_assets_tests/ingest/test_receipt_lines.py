"""Which lines land and which are rejected, against a judge in plain Python."""

from __future__ import annotations

import json
import math
from collections import defaultdict
from collections.abc import Callable
from datetime import UTC, date, datetime
from decimal import Decimal, InvalidOperation

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

COLUMNS = ("transaction_id", "line_number", "store_id", "sold_at", "product_id", "quantity",
           "unit_price", "net_amount", "discount_amount", "line_type")  # fmt: skip
REQUIRED = ("transaction_id", "store_id", "sold_at", "product_id", "quantity", "unit_price")

values = {
    "transaction_id": ["r1", "r2", "r3", "", " "],
    "line_number": ["1", "2", "3", "one", ""],
    "store_id": ["paris", "paris", "paris", "mars", ""],
    "sold_at": ["2024-02-05 10:00:00", "2024-02-05T10:30", "2024-02-06 10:00:00",
                "yesterday", "", "2024-02-05 10:00:00Z", "1901-01-01 10:00:00",
                "2999-01-01 10:00:00", "2024-02-30 10:00:00"],
    "product_id": ["bar", "box", "bar", "unheard of", ""],
    "quantity": ["1", "-2", "0.5", "0", "nan", "inf", "two", ""],
    "unit_price": ["1.5", "2", "0", "-1", "free", "", "1e30"],
    "net_amount": ["", "", "3.25", "much"],
    "discount_amount": ["", "", "0.25", "-"],
    "line_type": ["", "", "sale", "RETURN", "void", "swap"],
}  # fmt: skip
rows = st.lists(st.fixed_dictionaries({c: st.sampled_from(v) for c, v in values.items()}),
                min_size=1, max_size=60)  # fmt: skip


def _number(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def _money(text: str) -> Decimal | None:
    try:
        value = Decimal(text)
    except InvalidOperation:
        return None
    return value if abs(value) < Decimal(10) ** 14 else None


def _time(text: str) -> datetime | None:
    try:
        return None if text.endswith("Z") else datetime.fromisoformat(text)
    except ValueError:
        return None


def _reasons(row: dict[str, str], today: date) -> set[str]:
    """Everything wrong with a line by itself."""
    found = {f"missing value: {c}" for c in REQUIRED if not row[c].strip()}
    when, quantity, price = (
        _time(row["sold_at"]),
        _number(row["quantity"]),
        _money(row["unit_price"]),
    )
    if row["sold_at"] and when is None:
        found.add("unparsable time: sold_at")
    if row["quantity"] and quantity is None:
        found.add("unparsable number: quantity")
    if row["unit_price"] and price is None:
        found.add("unparsable number: unit_price")
    for column in ("net_amount", "discount_amount", "line_number"):
        if row[column] and _money(row[column]) is None:
            found.add(f"unparsable number: {column}")
    if row["product_id"] == "unheard of":
        found.add("unknown product")
    if row["store_id"] == "mars":
        found.add("unknown store")
    if row["line_type"] == "swap":
        found.add("unknown line type")
    if when and when.date() > today:
        found.add("future date")
    if when and when.year < 1990:
        found.add("implausible date")
    if price is not None and price < 0:
        found.add("negative price")
    if quantity == 0:
        found.add("quantity 0")
    return found


def _judge(rows: list[dict[str, str]], today: date) -> dict[int, set[str]]:
    """Reasons by line number of the file, duplicates included."""
    found = {i + 2: _reasons(row, today) for i, row in enumerate(rows)}
    same = defaultdict(list)
    for i, row in enumerate(rows):
        when = _time(row["sold_at"])
        dated = when is not None and when.year >= 1990 and when.date() <= today
        if row["line_number"].isdigit() and row["transaction_id"] and row["store_id"]:
            day = when.date() if when and dated else today
            same[day, row["store_id"], row["transaction_id"], row["line_number"]].append(i + 2)
    for lines in same.values():
        stays = min(lines, key=lambda line: (bool(found[line]), line))
        for line in lines:
            if line != stays:
                found[line] = found[line] | {"duplicate line key"}
    return {line: reasons for line, reasons in found.items() if reasons}


@given(rows)
@settings(
    max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_every_line_lands_or_is_rejected_for_every_reason(new_shop: Callable, rows) -> None:
    shop = new_shop()
    shop.basics()
    body = "\n".join(",".join(f'"{row[c]}"' for c in COLUMNS) for row in rows)
    shop.write("pos/a.csv", ",".join(COLUMNS) + "\n" + body + "\n")
    shop.ingest()
    expected = _judge(rows, datetime.now(UTC).date())
    assert shop.reasons() == expected
    landed = {line for (line,) in shop.rows("SELECT source_row FROM pos_lines")}
    assert landed == {i + 2 for i in range(len(rows))} - expected.keys()
    _check_values(shop, rows, landed)


def _check_values(shop, rows, landed: set[int]) -> None:
    found = shop.rows(
        "SELECT source_row, quantity, unit_price, net_amount, line_type, line_number FROM pos_lines"
    )
    for line, quantity, price, net, kind, number in found:
        row = rows[line - 2]
        given_quantity, given_price = float(row["quantity"]), Decimal(row["unit_price"])
        said = row["line_type"].lower()
        returned = said == "return" or (said in ("", "sale") and given_quantity < 0)
        assert kind == ("return" if returned else said or "sale")
        wanted = -abs(given_quantity) if said == "return" else given_quantity
        assert quantity == wanted
        assert price == given_price
        discount = Decimal(row["discount_amount"] or 0)
        assert net == Decimal(row["net_amount"] or Decimal(wanted) * given_price - discount)
        if row["line_number"]:
            assert number == int(row["line_number"])


def test_a_rejected_line_keeps_its_original_values(shop):
    shop.basics()
    shop.pos("a.csv", "r1,1,mars,10 o'clock,bar,x,1.5")
    shop.ingest()
    ((file, line, payload),) = shop.rows(
        "SELECT source_file, source_row, payload FROM pos_quarantine"
    )
    assert (file, line) == ("pos/a.csv", 2)
    assert json.loads(payload) == {
        "transaction_id": "r1", "line_number": "1", "store_id": "mars", "sold_at": "10 o'clock",
        "product_id": "bar", "quantity": "x", "unit_price": "1.5",
    }  # fmt: skip
    assert shop.reasons()[2] == {
        "unknown store",
        "unparsable time: sold_at",
        "unparsable number: quantity",
    }


def test_lines_that_cannot_be_split_are_quarantined_with_their_text(shop):
    shop.basics()
    good = b"r1,1,paris,2024-02-05 10:00:00,bar,1,1.5\n"
    bad = b'r2,1,paris\n\nr3,1,paris,2024-02-05 10:00:00,b\xff,1,1\nr4,"1,paris\n'
    header = b"transaction_id,line_number,store_id,sold_at,product_id,quantity,unit_price\n"
    shop.write("pos/a.csv", header + good + bad + good.replace(b"r1", b"r5"))
    scanned = shop.scan()["pos/a.csv"]
    assert (scanned.rows, scanned.careful) == (5, True)
    shop.ingest()
    assert shop.reasons() == {
        3: {"3 columns where the header has 7"},
        5: {"not utf-8 at byte 33"},
        6: {"quote that is never closed"},
    }
    assert shop.rows("SELECT payload FROM pos_quarantine WHERE source_row = 3") == [("r2,1,paris",)]
    assert shop.rows("SELECT source_row FROM pos_lines ORDER BY 1") == [(2,), (7,)]


def test_a_sale_outside_trading_hours_lands_with_a_warning(shop):
    shop.basics()
    shop.pos(
        "a.csv",
        "r1,1,paris,2024-02-05 08:59:59,bar,1,1.5",
        "r2,1,paris,2024-02-05 09:00:00,bar,1,1.5",
        "r3,1,paris,2024-02-11 12:00:00,bar,1,1.5",
    )
    shop.ingest()
    warned = dict(shop.rows("SELECT transaction_id, warnings FROM pos_lines"))
    assert warned == {
        "r1": ["outside trading hours"],
        "r2": None,
        "r3": ["outside trading hours"],
    }


def test_lines_without_a_number_are_counted_within_their_receipt(shop):
    shop.basics()
    header = "transaction_id,store_id,sold_at,product_id,quantity,unit_price\n"
    lines = "".join(f"{r},paris,2024-02-05 1{i}:00:00,bar,1,1.5\n" for i, r in enumerate("abab"))
    shop.write("pos/a.csv", header + lines)
    shop.ingest()
    found = shop.rows("SELECT source_row, transaction_id, line_number FROM pos_lines ORDER BY 1")
    assert found == [(2, "a", 1), (3, "b", 1), (4, "a", 2), (5, "b", 2)]


def test_without_products_and_stores_the_receipts_say_what_there_is(shop):
    shop.write("mapping.toml", '[pos.columns]\nproduct_name = "what"\n')
    shop.write(
        "pos/a.csv",
        "transaction_id,store_id,sold_at,product_id,quantity,unit_price,what\n"
        "r1,kiosk,2024-02-05 10:00:00,7,1,2,Tea\nr2,kiosk,2024-02-05 11:00:00,8,1,2,\n"
        "r3,kiosk,2024-02-05 12:00:00,7,1,2,Tea\nr4,kiosk,2024-02-05 12:00:00,7,1,2,TEA!\n",
    )
    shop.ingest()
    products = "SELECT product_id, name, category, origin FROM products ORDER BY 1"
    assert shop.rows(products) == [
        ("7", "Tea", "all", "receipts"),
        ("8", "8", "all", "receipts"),
    ]
    assert shop.rows("SELECT store_id, timezone, origin FROM stores") == [
        ("kiosk", "UTC", "receipts")
    ]
    assert shop.reasons() == {}
    shop.write("products.csv", "product_id,name,category\n7,Tea,drinks\n")
    shop.ingest(force=True)
    assert shop.rows(products) == [("7", "Tea", "drinks", "file")]
    assert shop.reasons() == {3: {"unknown product"}}
