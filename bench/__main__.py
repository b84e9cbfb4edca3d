"""``python -m bench NAME [--json FILE] [--quick]``: print one bench's table."""

from __future__ import annotations

import argparse
import importlib
import json
import sys
from dataclasses import asdict
from pathlib import Path

NAMES = (
    "inventory_status",
    "substitution",
    "scenarios",
    "cold_start",
    "demand",
    "pricing",
    "assortment",
    "chain",
    "ingest",
    "faults",
    "start_up",
)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("name", choices=NAMES)
    parser.add_argument("--json", type=Path, help="write the rows as a list of objects")
    parser.add_argument("--quick", action="store_true", help="fewer seeds; not for claims")
    parser.add_argument("--large", action="store_true", help="the sizes that take minutes")
    args = parser.parse_args()
    rows = importlib.import_module(f"bench.{args.name}").run(quick=args.quick, large=args.large)
    width = max(len(row.metric) for row in rows)
    for row in rows:
        value = row.value if isinstance(row.value, str) else f"{row.value:.5g}"
        verdict = {True: "ok", False: "MISSED", None: ""}[row.ok]
        print(f"{row.metric:<{width}}  {value:>14}  {row.target:<18} {verdict}".rstrip())
    if args.json:
        args.json.write_text(json.dumps([asdict(row) for row in rows], indent=1) + "\n")
    return 0 if all(row.ok is not False for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
