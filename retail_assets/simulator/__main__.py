"""Write landing files: ``python -m retail_assets.simulator PRESET DIR [--seed] [--truth DIR]``."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from retail_assets.errors import RetailAssetsError
from retail_assets.simulator.engine import simulate
from retail_assets.simulator.writer import DEFAULT_SEED, write_landing


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m retail_assets.simulator", description=__doc__)
    parser.add_argument("preset")
    parser.add_argument("out", type=Path)
    parser.add_argument("--seed", type=int, default=DEFAULT_SEED)
    parser.add_argument("--truth", type=Path, help="default: OUT/truth")
    args = parser.parse_args(arguments)
    try:
        files = write_landing(simulate(args.preset, args.seed), args.out, args.truth)
    except RetailAssetsError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    print(f"{len(files)} files, {sum(f.stat().st_size for f in files) / 1e6:.1f} MB in {args.out}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
