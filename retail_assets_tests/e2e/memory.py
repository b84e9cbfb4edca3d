"""How much memory the servers of a home take, over time. Reads /proc: Linux only."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

from bench import Row, between

SERVERS = {
    "daemon": "dagster._daemon",
    "webserver": "dagster_webserver",
    "code server": "dagster api grpc",
}


@dataclass
class Memory:
    """Resident megabytes of each server, sample by sample."""

    home: Path
    samples: dict[str, list[float]] = field(default_factory=lambda: {name: [] for name in SERVERS})

    def sample(self) -> None:
        """Adds what each server takes now."""
        mine = f"DAGSTER_HOME={self.home / 'dagster'}\0".encode()
        for process in Path("/proc").glob("[0-9]*"):
            with suppress(OSError, StopIteration):
                if mine not in (process / "environ").read_bytes():
                    continue
                command = (process / "cmdline").read_bytes().replace(b"\0", b" ").decode()
                server = next(name for name, part in SERVERS.items() if part in command)
                self.samples[server].append(_resident(process))

    def rows(self, bound: float) -> list[Row]:
        """Last third over second third; the daemon's has a bound, it lives longest."""
        found = []
        for name, taken in self.samples.items():
            third = len(taken) // 3
            second, last = median(taken[third : 2 * third]), median(taken[2 * third :])
            what = f"memory of the {name}, MB: median of the second third, last third, most"
            found.append(Row(what, f"{second:.0f}, {last:.0f}, {max(taken):.0f}"))
            if name == "daemon":
                found.append(
                    between("  last third over second", last / second, 1 - bound, 1 + bound)
                )
        return found


@contextmanager
def watched(home: Path, every: float, also: Callable[[], None] = lambda: None) -> Iterator[Memory]:
    """Samples in a thread while the block lasts; ``also`` is called with each of them."""
    memory, stop = Memory(home), threading.Event()

    def watch() -> None:
        while not stop.wait(every):
            memory.sample()
            also()

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield memory
    finally:
        stop.set()
        thread.join()


def _resident(process: Path) -> float:
    status = (process / "status").read_text()
    return int(status.split("VmRSS:")[1].split()[0]) / 1000
