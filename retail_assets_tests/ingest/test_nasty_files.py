"""Exports as they really come: what lands, what is quarantined, what fails alone."""

from __future__ import annotations

import gzip
import io
import time

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

HEADER = "transaction_id,line_number,store_id,sold_at,product_id,quantity,unit_price"
A = "a,1,paris,2024-02-05 10:00:00,bar,1,1.5"
B = "b,1,paris,2024-02-05 11:00:00,bar,1,1.5"
LINES = f"{HEADER}\n{A}\n{B}\n"
QUOTED = '"' + HEADER.replace(",", '","') + '"'


def _landed(shop) -> list[str]:
    return [r for (r,) in shop.rows("SELECT transaction_id FROM pos_lines ORDER BY 1")]


@pytest.mark.parametrize(
    "content",
    [
        b"\xef\xbb\xbf" + LINES.encode(),
        b"\xef\xbb\xbf" + LINES.replace(HEADER, QUOTED).encode(),
        LINES.replace("\n", "\r\n"),
        f"{HEADER}\r\n{A}\n{B}\r\n",
        f"{HEADER}\n\n{A}\n\n{B}",
        LINES.replace(",", ";"),
        LINES.replace(",", "\t"),
        LINES.upper().replace("PARIS", "paris")
        .replace("BAR", "bar").replace("A,1", "a,1").replace("B,1", "b,1"),
        f'{HEADER},"a;b;c;d;e;f;g;h;i"\n{A},1\n{B},2\n',
        f'{HEADER},note\n{A},"one\ntwo"\n{B},"three\r\nfour"\n',
        f"{HEADER},\n{A},\n{B},\n",
    ],
    ids=["bom", "bom and quotes", "crlf", "mixed ends", "blank lines", "semicolons", "tabs",
         "upper case", "separators in a name", "line breaks in quotes", "trailing comma"],
)  # fmt: skip
def test_every_dialect_lands_whole(shop, content):
    shop.basics()
    shop.write("pos/x.csv", content)
    shop.ingest()
    assert _landed(shop) == ["a", "b"]
    assert shop.reasons() == {}


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (HEADER, "unparsable time: sold_at"),
        ("x,1,pa\0ris,2024-02-05 11:00:00,bar,1,1", "NUL byte"),
        ("x,1,paris", "3 columns where the header has 7"),
        (",".join("x" * 1_000_000), "1000000 columns where the header has 7"),
        (A.replace("paris", "p" * 2_000_000), "value longer than 131,072 characters"),
        ('x,1,"paris,2024-02-05 11:00:00,bar,1,1', "quote that is never closed"),
        (A.replace("1.5", '"1,5"'), "unparsable number: unit_price"),
        (A.replace(":00:00", ":00:00Z"), "unparsable time: sold_at"),
        (A.replace(":00:00", ":00:00+01:00"), "unparsable time: sold_at"),
        (A.replace(":00:00", ":00-05"), "unparsable time: sold_at"),
        (A.replace(":00:00", ":00:00 UTC"), "unparsable time: sold_at"),
        (A.replace("2024-02-05 10:00:00", "infinity"), "implausible date"),
    ],
    ids=lambda value: str(value)[:40].replace("\0", "0"),
)
def test_a_bad_line_is_quarantined_and_its_neighbours_land(shop, bad, reason):
    shop.basics()
    shop.write("pos/x.csv", f"{HEADER}\n{A}\n{bad}\n{B}\n")
    began = time.monotonic()
    shop.ingest()
    assert time.monotonic() - began < 60
    assert _landed(shop) == ["a", "b"]
    assert reason in shop.reasons()[3]
    assert shop.scan()["pos/x.csv"].rows == 3


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("empty.csv", b"", "line 1: is empty; a header line is needed"),
        ("empty.csv.gz", b"", "line 1: is empty; a header line is needed"),
        ("cr.csv", LINES.replace("\n", "\r").encode(), "line 1: header is not text with line fe"),
        ("utf16.csv", LINES.encode("utf-16"), "line 1: header is not utf-8; save it as CSV"),
        ("title.csv", f"Sales\n{LINES}".encode(), "line 1: column transaction_id is missing"),
        ("twice.csv", LINES.replace("line_number", "quantity").encode(),
         "line 1: column 'quantity' occurs twice; rename one of them"),
        ("wide.csv", ",".join(f"c{i}" for i in range(1_000_000)).encode(),
         "line 1: header has more than 4,000 columns"),
        ("plain.csv.gz", LINES.encode(), "cannot be read: Not a gzipped file"),
        ("crc.csv.gz", gzip.compress(LINES.encode())[:-8] + b"\0" * 8, "CRC check failed"),
        ("liar.parquet", b"PAR1" + b"x" * 99 + b"PAR1", "cannot be read: "),
    ],
)  # fmt: skip
def test_a_bad_file_fails_alone_saying_where_and_what_to_do(shop, name, content, says):
    shop.basics()
    shop.write("pos/good.csv", LINES)
    shop.write(f"pos/{name}", content)
    shop.ingest()
    found = shop.scan()[f"pos/{name}"]
    assert found.state == "failed"
    assert found.error.startswith(f"pos/{name}")
    assert says in found.error
    assert ";" in found.error, "a remedy"
    assert _landed(shop) == ["a", "b"]


def test_a_gzip_cut_off_in_the_middle_waits_and_its_whole_lands(shop):
    shop.basics()
    whole = gzip.compress((LINES + "\n".join(f"c{i},{A[2:]}" for i in range(500))).encode())
    shop.write("pos/x.csv.gz", whole[:200])
    shop.ingest()
    found = shop.scan()["pos/x.csv.gz"]
    assert (found.state, found.error) == (
        "waiting",
        "pos/x.csv.gz: gzip ends in the middle; wait for it, or land it again",
    )
    shop.write("pos/x.csv.gz", whole)
    shop.ingest()
    assert shop.rows("SELECT count(*) FROM pos_lines") == [(502,)]


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_names_with_wildcards_read_no_other_file(shop, suffix):
    shop.basics()
    names = [f"{n}.{suffix}" for n in ("a*", "ab", "c[1]", "c1", "d?", "de", "it's", "sp ace%20ü")]
    for at, name in enumerate(names):
        content = f"{HEADER}\n{A.replace('a,1', f'r{at},1')}\n".encode()
        if suffix == "parquet":
            texts = f"r{at},1,paris,2024-02-05 10:00:00,bar,1,1.5".split(",")
            values = {k: [v] for k, v in zip(HEADER.split(","), texts, strict=True)}
            buffer = io.BytesIO()
            pq.write_table(pa.table(values), buffer)
            content = buffer.getvalue()
        shop.write(f"pos/{name}", content)
    shop.ingest()
    rows = shop.rows("SELECT source_file, transaction_id FROM pos_lines ORDER BY 2")
    assert rows == [(f"pos/{name}", f"r{at}") for at, name in enumerate(names)]
    assert shop.reasons() == {}


def test_a_parquet_file_of_instants_is_not_taken_for_local_time(shop):
    shop.basics()
    values = {k: [v] for k, v in zip(HEADER.split(","), A.split(","), strict=True)}
    for at, kind in (("utc", pa.timestamp("us", "UTC")), ("local", pa.timestamp("us"))):
        times = {"sold_at": pa.array([1707130800000000], kind), "transaction_id": [at]}
        buffer = io.BytesIO()
        pq.write_table(pa.table(values | times), buffer)
        shop.write(f"pos/{at}.parquet", buffer.getvalue())
    shop.ingest()
    assert _landed(shop) == ["local"]
    assert list(shop.reasons().values()) == [{"unparsable time: sold_at"}]
