"""Trading days and interval sales, against plain Python."""

from __future__ import annotations

from collections import defaultdict
from datetime import UTC, date, datetime, timedelta
from random import Random
from zoneinfo import ZoneInfo

from retail_assets.ingest.landing import affected_ranges

PARIS = ZoneInfo("Europe/Paris")
HEADER = "transaction_id,line_number,store_id,sold_at,product_id,quantity,unit_price,line_type\n"


def _days(shop):
    return {
        day: rest
        for day, *rest in shop.rows(
            "SELECT business_date, n_intervals, source FROM trading_days ORDER BY 1"
        )
    }


def test_closed_days_exist_and_are_empty(shop):
    shop.basics()
    shop.pos("a.csv", "r1,1,paris,2024-02-03 10:00:00,bar,1,1")
    shop.pos("b.csv", "r2,1,paris,2024-02-05 10:00:00,bar,1,1")
    shop.ingest()
    assert _days(shop) == {
        date(2024, 2, 3): [36, "hours"],
        date(2024, 2, 4): [0, "hours"],
        date(2024, 2, 5): [36, "hours"],
    }


def test_a_date_wins_over_its_weekday_and_sales_over_a_closed_day(shop):
    shop.basics()
    shop.write(
        "store_hours/more.csv",
        "store_id,date,open,close\nparis,2024-02-06,10:00,12:00\nparis,2024-02-07,00:00,00:00\n"
        "paris,2024-02-08,00:00,00:00\n",
    )
    shop.pos(
        "a.csv",
        "r1,1,paris,2024-02-05 10:00:00,bar,1,1",
        "r2,1,paris,2024-02-08 11:07:00,bar,1,1",
        "r3,1,paris,2024-02-08 12:31:00,bar,1,1",
    )
    shop.ingest()
    assert _days(shop) == {
        date(2024, 2, 5): [36, "hours"],
        date(2024, 2, 6): [8, "date"],
        date(2024, 2, 7): [0, "date"],
        date(2024, 2, 8): [7, "inferred"],
    }
    assert affected_ranges(shop.warehouse) == []


def test_hours_are_inferred_from_receipts_where_none_are_given(shop):
    shop.basics(hours=False)
    rows, day = [], date(2024, 1, 1)
    for i in range(56):
        if (day + timedelta(i)).weekday() != 6:
            first = "11:40:00" if i == 8 else "08:03:00"
            rows += [f"{i}a,1,paris,{day + timedelta(i)} {first},bar,1,1",
                     f"{i}b,1,paris,{day + timedelta(i)} 17:52:00,bar,1,1"]  # fmt: skip
    shop.pos("a.csv", *rows)
    shop.ingest()
    found = shop.rows(
        "SELECT DISTINCT strftime(timezone('Europe/Paris', open_at), '%H:%M'),"
        " strftime(timezone('Europe/Paris', close_at), '%H:%M'), n_intervals, source"
        " FROM trading_days WHERE isodow(business_date) < 7"
    )
    assert found == [("08:00", "18:00", 40, "inferred")]
    sundays = "SELECT DISTINCT n_intervals FROM trading_days WHERE isodow(business_date) = 7"
    assert shop.rows(sundays) == [(0,)]


def test_a_store_is_closed_before_its_first_receipt(shop):
    shop.basics()
    shop.write("stores.csv", "store_id,timezone\nparis,Europe/Paris\nlyon,Europe/Paris\n")
    shop.write("store_hours/lyon.csv", "store_id,weekday,open,close\nlyon,0,09:00,10:00\n"
               "lyon,1,09:00,10:00\n")  # fmt: skip
    shop.pos(
        "a.csv",
        "r1,1,paris,2024-02-05 10:00:00,bar,1,1",
        "r2,1,lyon,2024-02-06 09:10:00,bar,1,1",
    )
    shop.ingest()
    lyon = "SELECT business_date, n_intervals FROM trading_days WHERE store_id = 'lyon' ORDER BY 1"
    assert shop.rows(lyon) == [(date(2024, 2, 5), 0), (date(2024, 2, 6), 4)]


def test_returns_and_voids_are_lines_and_not_negative_demand(shop):
    shop.basics()
    rows = [
        "r1,1,paris,2024-02-05 10:00:00,bar,2,1.5,",
        "r1,2,paris,2024-02-05 10:00:30,bar,2,1.5,",
        "r1,3,paris,2024-02-05 10:01:00,bar,-2,1.5,void",
        "r2,1,paris,2024-02-05 10:02:00,bar,-1,1.5,",
        "r3,1,paris,2024-02-05 10:03:00,box,1,4,",
        "r3,2,paris,2024-02-05 10:03:10,box,1,4,void",
        "r4,1,paris,2024-02-05 10:04:00,box,5,4,void",
    ]
    shop.write("pos/a.csv", HEADER + "\n".join(rows) + "\n")
    shop.ingest()
    sales = shop.rows("SELECT product_id, transactions, units, net_cents FROM interval_sales")
    assert sales == [("bar", 1, 2.0, 300)]
    kinds = dict(shop.rows("SELECT line_type, count(*) FROM pos_lines GROUP BY 1"))
    assert kinds == {"sale": 3, "void": 3, "return": 1}
    revenue = shop.rows("SELECT sum(net_amount)::DOUBLE FROM pos_lines WHERE line_type = 'return'")
    assert revenue == [(-1.5,)]


def test_sales_outside_the_hours_go_to_the_nearest_interval(shop):
    shop.basics()
    shop.pos(
        "a.csv",
        "r1,1,paris,2024-02-05 07:00:00,bar,1,1",
        "r2,1,paris,2024-02-05 18:00:00,bar,1,1",
        "r3,1,paris,2024-02-05 22:00:00,bar,1,1",
    )
    shop.ingest()
    found = shop.rows("SELECT interval_of_day, transactions FROM interval_sales ORDER BY 1")
    assert found == [(0, 1), (35, 2)]


def test_interval_sales_are_those_a_plain_loop_counts(new_shop):
    for grain in (5, 60, 1440):
        shop = new_shop(grain_minutes=grain)
        shop.basics()
        random, rows, counted = Random(grain), [], defaultdict(lambda: [set(), 0.0, 0])
        for i in range(800):
            local = datetime(2024, 3, 25) + timedelta(seconds=random.randrange(10 * 86400))
            if local.weekday() == 6:
                continue
            receipt, product = f"r{random.randrange(300)}", random.choice(["bar", "box"])
            quantity, cents = random.choice([1, 2, 5, -1]), random.choice([100, 125])
            rows.append(f"{receipt},{i},paris,{local},{product},{quantity},{cents / 100}")
            if quantity < 0:
                continue
            opened, at = (
                t.replace(tzinfo=PARIS).astimezone(UTC)
                for t in (local.replace(hour=9, minute=0, second=0), local)
            )
            count = 1 if grain == 1440 else 540 // grain
            nth = min(max((at - opened) // timedelta(minutes=grain), 0), count - 1)
            cell = counted[local.date(), product, nth, opened + timedelta(minutes=grain) * nth]
            cell[0].add(receipt)
            cell[1] += quantity
            cell[2] += quantity * cents
        shop.pos("a.csv", *rows)
        shop.ingest()
        found = shop.rows(
            "SELECT business_date, product_id, interval_of_day, interval_start, transactions,"
            " units, net_cents FROM interval_sales"
        )
        assert {tuple(row[:4]): row[4:] for row in found} == {
            key: (len(receipts), units, cents) for key, (receipts, units, cents) in counted.items()
        }


def test_busy_and_quiet_days_are_written_alike(shop, monkeypatch):
    from retail_assets.ingest import blocks, lines

    shop.basics()
    shop.pos("a.csv", *(f"r{i},1,paris,2024-02-{5 + i % 5 % 3:02d} 10:00:00,bar,1,1"
                        for i in range(100)), "bad,1,mars,2024-02-05 10:00:00,bar,1,1")  # fmt: skip
    shop.ingest()
    before = [shop.rows(f"SELECT * FROM {t} ORDER BY ALL") for t in ("pos_lines", "interval_sales")]
    monkeypatch.setattr(blocks.blocks, "__defaults__", (50, 30))
    monkeypatch.setattr(lines, "PASS_ROWS", 45)
    shop.ingest(force=True)
    after = [shop.rows(f"SELECT * FROM {t} ORDER BY ALL") for t in ("pos_lines", "interval_sales")]
    assert before == after
    assert shop.rows("SELECT count(*) FROM pos_quarantine") == [(1,)]
