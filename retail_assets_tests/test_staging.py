"""Nothing is current before its commit, and nothing stays behind when it fails."""

import multiprocessing
from datetime import date, timedelta
from pathlib import Path

import pytest
from deltalake import DeltaTable

from retail_assets.errors import ContractError
from retail_assets.settings import Settings
from retail_assets.warehouse import Warehouse

DAY = date(2024, 1, 1)


def _days(count, source="'hours'", n=1):
    return (
        f"SELECT 's' || i AS store_id, DATE '{DAY}' + d::INTEGER AS business_date,"
        f" {n} AS n_intervals, 15 AS grain_minutes, {source} AS source,"
        " NULL AS open_at, NULL AS close_at"
        f" FROM range(3) t(i), range({count}) u(d)"
    )


@pytest.fixture
def warehouse(tmp_path):
    return Warehouse(Settings(tmp_path / "home", tmp_path))


def _files(warehouse) -> list[Path]:
    return sorted(warehouse.path("trading_days").rglob("*.parquet"))


def test_batches_of_one_day_and_of_many_are_one_commit(warehouse):
    with (
        warehouse.session() as session,
        session.staging("trading_days", (DAY, DAY + timedelta(9))) as staging,
    ):
        assert staging.add(_days(1), DAY) == 3
        rest = f"SELECT * FROM ({_days(10)}) WHERE business_date > DATE '{DAY}'"
        assert staging.add(session.sql(rest)) == 27
        assert not warehouse.exists("trading_days")
        assert staging.commit() == 30
    assert warehouse.version("trading_days") == 1
    assert len(warehouse.partitions("trading_days")) == 10


@pytest.mark.parametrize(
    ("rows", "says"),
    [
        (_days(1, n=-1), "3 rows: not n_intervals >= 0"),
        (_days(1, n="NULL::BIGINT"), "3 rows: n_intervals is empty"),
        (_days(2), "3 rows: business_date outside"),
        (f"{_days(1)} UNION ALL {_days(1)}", "duplicate key"),
    ],
)
def test_a_breach_leaves_the_table_and_no_files(warehouse, rows, says):
    with warehouse.session() as session:
        session.replace("trading_days", session.sql(_days(1)), (DAY, DAY))
        before = _files(warehouse)
        with pytest.raises(ContractError, match=says):
            session.replace("trading_days", session.sql(rows), (DAY, DAY))
    assert _files(warehouse) == before
    with warehouse.session() as session:
        assert session.sql("SELECT count(*) FROM trading_days").fetchall() == [(3,)]


def test_columns_the_contract_gained_are_empty_in_older_files(warehouse, monkeypatch):
    """A file says in its name which columns it has; one that lacks some is read by name."""
    from dataclasses import replace

    from retail_assets import contract

    now = contract.table("trading_days")
    before = replace(now, columns=tuple(c for c in now.columns if c.name != "close_at"))
    with monkeypatch.context() as patch, warehouse.session() as session:
        patch.setitem(contract.tables(), "trading_days", before)
        session.replace("trading_days", session.sql(_days(1)).project("* EXCLUDE close_at"))
    with warehouse.session() as session:
        later = session.sql(
            f"SELECT * REPLACE (business_date + 1 AS business_date) FROM ({_days(1)})"
        )
        session.replace("trading_days", later, (DAY + timedelta(1), DAY + timedelta(1)))
    with warehouse.session() as session:
        found = session.sql("SELECT count(*), count(close_at) FROM trading_days").fetchall()
    assert found == [(6, 0)]


def test_a_row_of_another_day_is_refused_before_it_is_written(warehouse):
    with (
        warehouse.session() as session,
        session.staging("trading_days", (DAY, DAY)) as staging,
        pytest.raises(Exception, match="a row of another day"),
    ):
        staging.add(_days(2), DAY)


def test_texts_written_from_enums_are_plain_text_to_every_reader(warehouse):
    texts = "store_id::shop AS store_id, source::origin AS source"
    rows = f"SELECT * REPLACE ({texts}) FROM ({_days(2)})"
    with warehouse.session() as session:
        session.encode("shop", "SELECT 's' || i FROM range(50) t(i)")
        session.encode("origin", "SELECT 'hours' UNION ALL SELECT NULL")
        with session.staging("trading_days", (DAY, DAY + timedelta(1))) as staging:
            staging.add(rows, encoded=("store_id", "source"))
            assert staging.commit() == 6
    read = DeltaTable(warehouse.path("trading_days")).to_pyarrow_table()
    assert [str(read.schema.field(c).type) for c in ("store_id", "source")] == ["string"] * 2
    assert sorted(read.column("store_id").to_pylist()) == ["s0", "s0", "s1", "s1", "s2", "s2"]
    with warehouse.session() as session:
        found = session.sql("SELECT store_id || source FROM trading_days ORDER BY 1").fetchall()
    assert found[0] == ("s0hours",)


def test_replacing_by_nothing_empties_the_days(warehouse):
    with warehouse.session() as session:
        session.replace("trading_days", session.sql(_days(3)), (DAY, DAY + timedelta(2)))
        nothing = session.sql(f"SELECT * FROM ({_days(1)}) WHERE false")
        session.replace("trading_days", nothing, (DAY, DAY + timedelta(1)))
    assert warehouse.partitions("trading_days") == {str(DAY + timedelta(2))}


def test_the_rows_of_some_days_read_only_their_files(warehouse):
    with warehouse.session() as session:
        session.replace("trading_days", session.sql(_days(9)), (DAY, DAY + timedelta(8)))
    with warehouse.session() as session:
        some = session.rows("trading_days", (DAY + timedelta(2), DAY + timedelta(4)))
        assert some.count(".parquet") == 3
        days = session.connection.sql(f"SELECT DISTINCT business_date FROM {some} ORDER BY 1")
        assert [d for (d,) in days.fetchall()] == [DAY + timedelta(n) for n in (2, 3, 4)]


def _write_often(home: Path, writer: int) -> int:
    warehouse = Warehouse(Settings(home, home))
    first, last = DAY + timedelta(2 * writer), DAY + timedelta(2 * writer + 1)
    for turn in range(3):
        with warehouse.session() as session:
            rows = f"SELECT * FROM ({_days(99, n=turn)}) WHERE business_date BETWEEN $a AND $b"
            session.replace(
                "trading_days", session.sql(rows, {"a": first, "b": last}), (first, last)
            )
    return writer


def test_several_writers_of_one_table_lose_nothing(tmp_path):
    spawn = multiprocessing.get_context("spawn")
    with spawn.Pool(3) as pool:
        assert pool.starmap(_write_often, [(tmp_path, w) for w in range(3)]) == [0, 1, 2]
    with Warehouse(Settings(tmp_path, tmp_path)).session() as session:
        found = session.sql("SELECT n_intervals, count(*) FROM trading_days GROUP BY 1").fetchall()
    assert found == [(2, 18)]
