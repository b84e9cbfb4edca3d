"""Reading line by line: numbers, texts and problems of lines."""

import csv
import io

import duckdb
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from retail_assets.ingest.careful import QUOTED_LINES, read_lines, to_parquet


def _read(content: bytes, width: int = 2, encoding: str = "utf-8"):
    return list(read_lines(io.BytesIO(content), ",", encoding, width))


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        (b"3", "1 columns where the header has 2"),
        (b"3,4,5", "3 columns where the header has 2"),
        (b"3,\xff", "not utf-8 at byte 3"),
        (b"3,4\x00", "NUL byte"),
        (b'3,"4"x', "bad quoting"),
        (b'3,"4', "quote that is never closed"),
    ],
)
def test_a_line_that_cannot_be_split_keeps_its_number_and_text(line, problem):
    one, bad, last = _read(b"a,b\n1,2\n" + line + b"\n5,6\n")
    assert (one.number, one.values) == (2, ("1", "2"))
    assert bad.number == 3
    assert bad.problem.startswith(problem)
    assert bad.text is not None
    assert bad.text[0] == "3"
    assert (last.number, last.values) == (4, ("5", "6"))


def test_quoted_line_breaks_and_blank_lines_keep_physical_numbers():
    found = _read(b'a,b\n1,"x\ny"\n\n5,6\r\n7,""\n')
    assert [(line.number, line.values) for line in found] == [
        (2, ("1", "x\ny")),
        (5, ("5", "6")),
        (6, ("7", None)),
    ]


def test_a_quote_left_open_costs_one_line_only():
    rest = b"".join(b"%d,x\n" % i for i in range(QUOTED_LINES + 10))
    found = _read(b'a,b\n0,"open\n' + rest)
    assert [line.number for line in found if line.problem] == [2]
    assert len(found) == QUOTED_LINES + 11


def test_other_encodings_are_read():
    assert _read("a,b\nKäse,2 €\n".encode("cp1252"), encoding="cp1252")[0].values == ("Käse", "2 €")


fields = st.text(
    st.characters(blacklist_categories=["Cs"], blacklist_characters="\0\r"), max_size=8
)


@given(st.lists(st.tuples(fields, fields), max_size=20))
@settings(deadline=None, max_examples=60)
def test_it_reads_what_the_csv_module_writes(rows):
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n", quoting=csv.QUOTE_ALL)
    writer.writerows([("a", "b"), *rows])
    found = _read(text.getvalue().encode())
    assert [line.values for line in found] == [tuple(v or None for v in row) for row in rows]


def test_batches_reach_parquet_with_problems_beside_values(tmp_path):
    lines = read_lines(io.BytesIO(b"a,b\n1,2\nbad\n"), ",", "utf-8", 2)
    assert to_parquet(lines, 2, tmp_path / "x.parquet") == 2
    rows = duckdb.sql(f"SELECT * FROM '{tmp_path}/x.parquet' ORDER BY source_row").fetchall()
    assert rows == [
        (2, None, None, "1", "2"),
        (3, "bad", "1 columns where the header has 2", None, None),
    ]
