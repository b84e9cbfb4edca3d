"""How long one light asset takes from the command line, and the code location to load.

Wall seconds depend on what else the machine does; CPU seconds, of a process and all it
starts, far less: both are printed, the median of several runs. The targets are for a quiet
machine with compiled bytecode (``make setup`` compiles it): on a busy one wall time is
printed and not judged, CPU time is judged always.
"""

from __future__ import annotations

import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from bench import Row, at_most
from bench.fault_jobs import small_landing
from retail_assets.doctor import COMPILED, is_compiled

ROOT = Path(__file__).parent.parent
HEAVY = ("jax", "tensorflow_probability", "xgboost", "ortools", "numba", "matplotlib", "scipy",
         "pandas", "openpyxl")  # fmt: skip
LOAD = f"""
import sys, time
began = time.monotonic()
import retail_assets.definitions
print([m for m in {HEAVY!r} if m in sys.modules], time.monotonic() - began, sep=";")
"""


@dataclass(frozen=True)
class Cost:
    """Seconds of one process and its children."""

    wall: float
    cpu: float
    output: str


def run(*, quick: bool, large: bool) -> list[Row]:
    """The table of this bench; ``large``: more repetitions."""
    load = os.getloadavg()[0]
    quiet = load < (os.cpu_count() or 1) / 2
    repeats = 3 if quick else 15 if large else 7
    with tempfile.TemporaryDirectory(prefix="retail-assets-bench-") as folder:
        work = Path(folder)
        environment = _home(work)
        light = ["-m", "dagster", "asset", "materialize", "-m", "retail_assets.definitions",
                 "--select", "landing_files"]  # fmt: skip
        loads = [_cost(["-c", LOAD], environment) for _ in range(repeats)]
        assets = [_cost(light, environment) for _ in range(repeats)]
        version = [_cost(["-m", "retail_assets.cli", "--version"], environment)
                   for _ in range(repeats)]  # fmt: skip
    heavy, _ = loads[-1].output.split(";")
    bare = [name for name in COMPILED if not is_compiled(name)]
    return [
        Row("load of the machine before, 1 minute", load),
        Row("packages without compiled bytecode", ", ".join(bare) or "none"),
        Row("heavy libraries the code location imports", heavy, "[]", heavy == "[]"),
        *_rows("code location loads", loads, 3.0, quiet),
        *_rows("one light asset, dagster asset materialize", assets, 4.0, quiet),
        Row("retail-assets --version, wall s", statistics.median(c.wall for c in version)),
    ]


def _rows(name: str, costs: list[Cost], bound: float, quiet: bool) -> list[Row]:
    wall = at_most(f"{name}, wall s", statistics.median(c.wall for c in costs), bound)
    return [
        wall if quiet else Row(f"{wall.metric} (busy machine)", wall.value),
        Row("  fastest, wall s", min(c.wall for c in costs)),
        at_most("  CPU s", statistics.median(c.cpu for c in costs), bound),
    ]


def _home(work: Path) -> dict[str, str]:
    """A home with three days of receipts, as ``retail-assets run`` would leave it."""
    small_landing(work / "home" / "landing", 1)
    history = work / "home" / "dagster"
    history.mkdir()
    (history / "dagster.yaml").write_text("telemetry: {enabled: false}\n")
    (work / "home" / "settings.toml").write_text("first_day = 2024-02-05\n")
    own = {"RETAIL_ASSETS_HOME": str(work / "home"), "DAGSTER_HOME": str(history)}
    return os.environ | own | {"OMP_NUM_THREADS": "1"}


def _cost(arguments: list[str], environment: dict[str, str]) -> Cost:
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    done = subprocess.run(
        [sys.executable, *arguments], cwd=ROOT, env=environment, capture_output=True, text=True
    )
    wall, after = time.monotonic() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode:
        raise RuntimeError(done.stderr[-2000:])
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Cost(wall, cpu, done.stdout.strip())
