"""How far a run is: jobs done of those to come, and about how long the rest takes.

In a terminal a line that moves; elsewhere nothing, so that logs hold the finished jobs only.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from types import TracebackType

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    ProgressColumn,
    SpinnerColumn,
    Task,
    TextColumn,
)
from rich.progress import Progress as Display
from rich.table import Column
from rich.text import Text

WORK = {
    "references": 3.0,
    "ingest": 16.0,
    "models": 42.0,
    "plans": 25.0,
    "trials": 3.0,
    "cold_start": 10.0,
    "demand": 5.0,
    "prices": 3.0,
    "decisions": 1.0,
    "stock_plan": 3.0,
    "publish": 3.0,
}
"""Seconds of each job on the shipped data, two cores: only how they compare counts here."""
SPREAD = ("models", "plans")
"""Jobs of categories that run side by side."""


class _Left(ProgressColumn):
    """Counts down between jobs, too."""

    def __init__(self, progress: Progress) -> None:
        super().__init__(table_column=Column(no_wrap=True))
        self.progress = progress

    def render(self, task: Task) -> Text:
        return Text(self.progress.left())


class Progress:
    """Jobs done and to come. What was done says how fast this machine and this data are."""

    def __init__(self, console: Console, now: Callable[[], float] = time.monotonic) -> None:
        self._now, self._began = now, now()
        self._done: list[str] = []
        self._left: list[str] = []
        self._at_once, self._estimated = 1, now()
        self._estimate: float | None = None
        self._display = Display(
            SpinnerColumn(),
            TextColumn(
                "{task.description}", table_column=Column(no_wrap=True, overflow="ellipsis")
            ),
            BarColumn(bar_width=20),
            MofNCompleteColumn(),
            _Left(self),
            console=console,
            transient=True,
            disable=not console.is_terminal,
        )
        self._task = self._display.add_task("landing folder ...", total=None)

    def __enter__(self) -> Progress:
        self._display.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._display.stop()

    def expect(self, jobs: Sequence[str], at_once: int = 1) -> None:
        """Jobs that are still to come, by name; ``at_once`` categories side by side."""
        self._left, self._at_once = list(jobs), max(at_once, 1)
        self._show()

    def begin(self, what: str) -> None:
        """Say what is at work."""
        self._display.update(self._task, description=f"{what} ...")

    def end(self, job: str) -> None:
        """A job is done, or there was nothing to do for it."""
        self._done.append(job)
        if job in self._left:
            self._left.remove(job)
        self._show()

    def seconds_left(self) -> float | None:
        """About how long the rest takes; None before anything is done."""
        if self._estimate is None:
            return None
        return max(self._estimate - (self._now() - self._estimated), 0.0)

    def left(self) -> str:
        """The same in words."""
        seconds = self.seconds_left()
        if seconds is None or not self._left:
            return ""
        if seconds >= 90:
            return f"about {seconds / 60:.0f} min left"
        return f"about {max(10 * round(seconds / 10), 10)} s left"

    def _show(self) -> None:
        done, left = self._work(self._done), self._work(self._left)
        self._estimated = self._now()
        if done:
            self._estimate = (self._estimated - self._began) * left / done
        self._display.update(
            self._task,
            completed=len(self._done),
            total=len(self._done) + len(self._left) or None,
        )

    def _work(self, jobs: Sequence[str]) -> float:
        return sum(WORK.get(job, 5.0) / (self._at_once if job in SPREAD else 1) for job in jobs)
