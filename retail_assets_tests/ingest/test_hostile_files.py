"""Files made to do harm: each ends in one line that names it, within bounded memory."""

from __future__ import annotations

import ast
import gzip
import io
import json
import os
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import openpyxl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import retail_assets
from retail_assets.errors import LandingError
from retail_assets.ingest import files as reading
from retail_assets.ingest import mapping

HEADER = "transaction_id,line_number,store_id,sold_at,product_id,quantity,unit_price"
LINE = "a,1,paris,2024-02-05 10:00:00,bar,1,1.5"
PACKAGE = Path(retail_assets.__file__).parent
MEGABYTE = 1 << 20

# Peak memory above that of the imports, in a process of its own: VmHWM never sinks.
SCAN = """
import json, sys
from dataclasses import replace
from pathlib import Path
from retail_assets.ingest import landing
from retail_assets.settings import Settings
from retail_assets.warehouse import Warehouse

def peak():
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM"))

folder = Path(sys.argv[1])
import pandas, openpyxl
warehouse = Warehouse(Settings(folder / "home", folder / "empty"))
(folder / "empty").mkdir()
with warehouse.session() as session:
    landing.scan(session)
before = peak()
warehouse.settings = replace(warehouse.settings, landing=folder / "landing")
with warehouse.session() as session:
    found = [(file.state, file.error) for file in landing.scan(session)]
print("\\n" + json.dumps([found, (peak() - before) // 1024]))
"""


def _scan(folder: Path) -> tuple[list[list[str]], int]:
    """State and error of every file, and the megabytes it took to find out."""
    for path in (folder / "landing").rglob("*"):
        os.utime(path, (1, 1))
    done = subprocess.run(
        [sys.executable, "-c", SCAN, str(folder)], capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    found, megabytes = json.loads(done.stdout.splitlines()[-1])
    return found, megabytes


def _sheet(*last_cells: str) -> bytes:
    """A workbook of 5 kB that reaches from A1 to XFD1 and to the ``last_cells``."""
    book = openpyxl.Workbook()
    book.worksheets[0]["A1"] = "product_id"
    book.worksheets[0]["XFD1"] = "name"
    for cell in last_cells:
        book.worksheets[0][cell] = "x"
    buffer = io.BytesIO()
    book.save(buffer)
    return buffer.getvalue()


def _zip_of_zeros() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as parts:
        parts.writestr("xl/worksheets/sheet1.xml", b"\0" * (80 * MEGABYTE))
    return buffer.getvalue()


def _one_value_many_times() -> bytes:
    """A million rows in 2 kB: Parquet says a column of one value in a few bytes."""
    column = pa.DictionaryArray.from_arrays(pa.array([0] * 1_000_000, pa.int32()), ["x"])
    buffer = io.BytesIO()
    table = pa.table(dict.fromkeys(HEADER.split(","), column))
    pq.write_table(table, buffer, write_statistics=False, max_rows_per_page=1_000_000)
    return buffer.getvalue()


def test_files_that_swell_fail_within_bounded_memory(tmp_path, monkeypatch):
    pos = tmp_path / "landing" / "pos"
    pos.mkdir(parents=True)
    zeros = gzip.compress(b"\0" * (32 * MEGABYTE))
    start = gzip.compress(f"{HEADER}\n{LINE}\n".encode())
    (pos / "zeros.csv.gz").write_bytes(start + zeros * 9)
    (pos / "alike.csv.gz").write_bytes(start + gzip.compress(f"{LINE}\n".encode() * 800_000) * 9)
    (pos / "one_line.csv").write_bytes(b"x" * (64 * MEGABYTE))
    (pos / "header_and_one_line.csv").write_bytes(f"{HEADER}\n".encode() + b"x" * (64 * MEGABYTE))
    (pos / "wide.csv").write_bytes(b",".join([b"column"] * 2_000_000) + b"\n")
    (pos / "names.csv").write_bytes(b",".join([b"n" * 1000] * 3000) + b"\n")
    with (pos / "nothing.csv").open("wb") as stream:
        stream.truncate(64 * MEGABYTE)
    (tmp_path / "landing" / "products.xlsx").write_bytes(_zip_of_zeros())
    (tmp_path / "landing" / "stores").mkdir()
    (tmp_path / "landing" / "stores" / "corner.xlsx").write_bytes(_sheet("A1048576"))
    (tmp_path / "landing" / "stores" / "wide.xlsx").write_bytes(
        _sheet(*(f"XFD{row}" for row in range(2, 130)))
    )
    found, megabytes = _scan(tmp_path)
    says = {
        "pos/zeros.csv.gz": "expands to more than 200 times its size",
        "pos/alike.csv.gz": "expands to more than 200 times its size",
        "pos/one_line.csv, line 1": "header is longer than 1,048,576 bytes",
        "pos/header_and_one_line.csv, line 2": "line is longer than 4,000,000 bytes",
        "pos/wide.csv, line 1": "header has more than 4,000 columns",
        "pos/names.csv, line 1": "header is longer than 1,048,576 bytes",
        "pos/nothing.csv, line 1": "header is not text with line feeds",
        "products.xlsx": "expands to 83,886,080 bytes, more than 67,108,864",
        "stores/corner.xlsx": "has 16,384 columns, more than 4,000; Excel is for small tables",
        "stores/wide.xlsx": "has more than 2,000,000 cells; Excel is for small tables",
    }
    assert len(found) == len(says)
    for file, what in says.items():
        error = next(str(f[1]) for f in found if str(f[1]).startswith(f"{file}: "))
        assert what in error
        assert "; " in error, "a remedy"
        assert len(error) < 400
    assert {state for state, _ in found} == {"failed"}
    assert megabytes < 200, "of files that hold 900 MB"


def test_a_parquet_file_of_one_value_many_times_is_no_table(shop, monkeypatch):
    monkeypatch.setattr(reading, "RATIO_FROM", 500_000)
    shop.write("pos/x.parquet", _one_value_many_times())
    assert "expands to more than 200 times its size" in shop.scan()["pos/x.parquet"].error


def test_an_excel_sheet_keeps_line_numbers_past_blank_rows(shop):
    book = openpyxl.Workbook()
    for row in (["product_id", "name", "category", None], ["bar", "Bar", "sweets"], [],
                [7, 1.5, True, "note"], ["box", "#N/A", None]):  # fmt: skip
        book.worksheets[0].append(row)
    buffer = io.BytesIO()
    book.save(buffer)
    shop.write("products.xlsx", buffer.getvalue())
    shop.ingest()
    rows = shop.rows("SELECT product_id, name, category, source_row FROM products ORDER BY 4")
    assert rows == [("bar", "Bar", "sweets", 2), ("7", "1.5", "True", 4)]
    assert shop.rows("SELECT source_row FROM products_quarantine") == [(5,)]


@pytest.mark.parametrize("link", ["file", "folder", "relative", "mapping"])
def test_no_link_leads_out_of_the_landing_folder(shop, tmp_path, link):
    shop.basics()
    outside = tmp_path / "outside"
    (outside / "pos").mkdir(parents=True)
    (outside / "x.csv").write_text(f"{HEADER}\n{LINE}\n")
    (outside / "pos" / "secret.csv").write_text(f"{HEADER}\n{LINE}\n")
    (outside / "mapping.toml").write_text("secret")
    pos = shop.folder / "pos"
    if link == "folder":
        pos.symlink_to(outside / "pos")
    elif link == "mapping":
        (shop.folder / "mapping.toml").symlink_to(outside / "mapping.toml")
        with pytest.raises(LandingError, match=r"mapping\.toml: leads out of the landing folder"):
            shop.scan()
        return
    else:
        pos.mkdir()
        target = outside / "x.csv" if link == "file" else Path("..", "..", "outside", "x.csv")
        (pos / "x.csv").symlink_to(target)
    shop.ingest()
    failed = [f for f in shop.scan().values() if f.state == "failed"]
    assert ["leads out of the landing folder" in f.error for f in failed] == [True]
    assert shop.rows("SELECT count(*) FROM raw_pos") == [(0,)]


def test_a_file_that_becomes_a_link_after_its_scan_is_not_read(shop, tmp_path):
    shop.basics()
    path = shop.pos("x.csv", LINE)
    shop.scan()
    outside = tmp_path / "outside.csv"
    outside.write_bytes(path.read_bytes().replace(b"bar", b"key"))
    os.utime(outside, ns=(path.stat().st_atime_ns, path.stat().st_mtime_ns))
    path.unlink()
    path.symlink_to(outside)
    with shop.warehouse.session() as session:
        assert reading_now(session) == {}


def reading_now(session) -> dict:
    from retail_assets.ingest.landing import present

    return present(session, mapping.POS)


def test_patterns_of_the_mapping_find_files_of_the_landing_folder_only(shop, tmp_path):
    shop.basics()
    (tmp_path / "x.csv").write_text(f"{HEADER}\n{LINE}\n")
    shop.write("mapping.toml", '[pos]\nfiles = ["../x.csv", "/etc/*", "../../**"]\n')
    assert not [file for file in shop.scan() if "x.csv" in file or file.startswith(("/", ".."))]


def test_a_pipe_is_not_waited_for(shop):
    shop.basics()
    (shop.folder / "pos").mkdir()
    os.mkfifo(shop.folder / "pos" / "x.csv")
    assert "is not a regular file" in shop.scan()["pos/x.csv"].error


NASTY = "x'); DROP TABLE products; --"


def test_text_from_landing_files_is_never_run_as_sql(shop):
    row = f'"{NASTY}",1,"{NASTY}",2024-02-05 10:00:00,"{NASTY}",1,1.5,"{NASTY}"\n'
    shop.write(f"pos/{NASTY}.csv", f'{HEADER},"{NASTY}"\n{row}')
    names = [*HEADER.split(","), f'q" {NASTY}']
    values = [NASTY, "2", NASTY, "2024-02-05 11:00:00", NASTY, "1", "1.5", NASTY]
    buffer = io.BytesIO()
    pq.write_table(pa.table({n: [v] for n, v in zip(names, values, strict=True)}), buffer)
    shop.write(f"pos/{NASTY}.parquet", buffer.getvalue())
    shop.write(
        "products.csv",
        f'product_id,name,category,"attr_{NASTY}"\n"{NASTY}","{NASTY}","{NASTY}","{NASTY}"\n',
    )
    shop.write("stores.csv", f'store_id,timezone,name\n"{NASTY}",Europe/Paris,"{NASTY}"\n')
    shop.write("store_hours.csv", f'store_id,weekday,open,close\n"{NASTY}",0,09:00,18:00\n')
    shop.write(
        "mapping.toml",
        f'[[pos]]\nconstants = {{ channel = "{NASTY}" }}\ndate_format = "%Y-%m-%d %H:%M:%S"\n'
        f'[[pos.leave_out]]\ncolumn = "quantity"\nvalues = ["{NASTY}"]\nreason = "{NASTY}"\n',
    )
    shop.ingest()
    rows = shop.rows(
        "SELECT product_id, store_id, category, channel, units FROM pos_lines"
        " JOIN interval_sales USING (product_id, store_id, category) LIMIT 1"
    )
    assert rows == [(NASTY, NASTY, NASTY, NASTY, 1)]
    assert shop.rows("SELECT count(*) FROM pos_lines") == [(2,)]
    assert shop.rows("SELECT count(*) FROM pos_quarantine") == [(0,)]


# What may stand between quotes in SQL besides quoted(...) and pattern(...): days, names of the
# contract and constants of a module. All else is text that somebody wrote into a file.
SAFE = re.compile(
    r"(block\.)?days\[[01]\]|day|arrived|(first|last|row\.seen_at)\.isoformat\(\)"
    r"|[A-Z_]+|alias|c\.name|(self\.)?table\.partition|file\.version"
)
QUOTED = {("lines.py", "name"), ("lines.py", "why"), ("reference.py", "c"),
          ("reference.py", "zone"), ("staging.py", "naming"),
          ("warehouse.py", "comment")}  # fmt: skip


def test_text_between_quotes_in_sql_passes_through_one_function():
    seen, unsafe = 0, []
    for module in sorted(PACKAGE.rglob("*.py")):
        for node in ast.walk(ast.parse(module.read_text())):
            if not isinstance(node, ast.JoinedStr):
                continue
            texts = [getattr(part, "value", "") for part in node.values]
            for before, part, after in zip(
                ["", *texts], node.values, [*texts[1:], ""], strict=False
            ):
                if not isinstance(part, ast.FormattedValue):
                    continue
                if not (str(before).endswith("'") and str(after).startswith("'")):
                    continue
                seen += 1
                code = ast.unparse(part.value)
                known = SAFE.fullmatch(code) or (module.name, code) in QUOTED
                if not known and not re.match(r"(quoted|pattern)\(", code):
                    unsafe.append(f"{module.name}:{node.lineno}: {code}")
    assert unsafe == []
    assert seen > 60, "the scan finds what it is meant to find"


FORBIDDEN = re.compile(
    r"^\s*(import|from)\s+(pickle|cloudpickle|dill|joblib|shelve|marshal)\b"
    r"|allow_pickle|(read|to)_pickle|\b(eval|exec)\(|shell=True|os\.system",
    re.MULTILINE,
)


def test_nothing_is_pickled_evaluated_or_given_to_a_shell():
    modules = [*PACKAGE.rglob("*.py"), *(PACKAGE.parent / "bench").rglob("*.py")]
    assert [str(m) for m in modules if FORBIDDEN.search(m.read_text())] == []
    assert not [*(PACKAGE.parent / "data").rglob("*.pkl")]
