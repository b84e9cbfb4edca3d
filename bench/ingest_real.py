"""Real exports through their mapping.toml: every line lands or is quarantined, once."""

from __future__ import annotations

import tarfile
from pathlib import Path
from typing import Any

from bench import Row, at_least
from bench.ingest_jobs import ROOT, measure

REAL = ROOT.parent / "shared" / "data"


def rows(work: Path) -> list[Row]:
    """Both exports; UCI Online Retail in 305 day files, and bread_basket.csv."""
    archive = REAL / "online_retail_by_day.tar.gz"
    if not archive.exists():
        return [Row("real input", "not here: ../shared/data is absent")]
    table: list[Row] = []
    for name, data in (("online_retail", archive), ("bread_basket", REAL / "bread_basket.csv")):
        landing = work / name
        landing.mkdir()
        (landing / "mapping.toml").write_text(
            (ROOT / "examples" / name / "mapping.toml").read_text()
        )
        if data.suffix == ".gz":
            with tarfile.open(data) as tar:
                tar.extractall(landing, filter="data")
        else:
            (landing / data.name).write_bytes(data.read_bytes())
        found = measure("bench.ingest_real.real", landing, work / f"{name}-home")
        lines, landed, rejected = found["lines"], found["landed"], found["quarantined"]
        table += [
            Row(f"{name}: lines in {found['files']} files", lines),
            Row("  landed", landed),
            Row("  quarantined", rejected),
            Row("  landed + quarantined = lines", str(landed + rejected == lines), "True",
                landed + rejected == lines),
            at_least("  share landed", landed / lines, 0.95),
            Row("  a second run changes", found["changed"], "0 tables", found["changed"] == 0),
            *(Row(f"  reason: {why}", n) for why, n in found["reasons"].items()),
        ]  # fmt: skip
    return table


def real(landing_folder: Path, home: Path) -> dict[str, Any]:
    """Two full runs of a real folder; what the second one changed."""
    from retail_assets.ingest import intervals, landing, lines, raw, reference
    from retail_assets.settings import Settings
    from retail_assets.warehouse import Warehouse

    warehouse = Warehouse(Settings(home, landing_folder, quiet_seconds=0))
    tables = ("landing_files", "products", "stores", "raw_pos", "pos_lines", "pos_quarantine",
              "trading_days", "interval_sales")  # fmt: skip
    contents = []
    for force in (False, True):
        with warehouse.session() as session:
            files = landing.scan(session)
            landing.write_landing_files(session, files)
        for name in ("products", "stores", "store_hours"):
            with warehouse.session() as session:
                reference.write_reference(session, name)
        for days in landing.affected_ranges(warehouse, force=force):
            with warehouse.session() as session:
                raw.write_raw_pos(session, days)
            with warehouse.session() as session:
                report = lines.write_pos_lines(session, days)
            with warehouse.session() as session:
                intervals.write_intervals(session, days)
        with warehouse.session() as session:
            contents.append(
                [
                    session.sql(
                        f"SELECT count(*), sum(hash(COLUMNS(*))::HUGEINT) FROM {t}"
                    ).fetchall()
                    for t in tables
                ]
            )
    return {
        "files": len(files),
        "lines": sum(f.rows or 0 for f in files),
        "landed": report.landed,
        "quarantined": report.quarantined,
        "reasons": report.reasons,
        "changed": sum(a != b for a, b in zip(*contents, strict=True)),
    }
