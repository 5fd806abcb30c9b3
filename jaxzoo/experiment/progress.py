"""Who is told how a run gets on: a live bar on a terminal, plain lines elsewhere, nobody from Python.

The runner calls `progress.stage(name, total)` once per stage and, on what that returns, `compiling()`, `running(step,
scalars)` between two chunks, and `finished()`. It knows nothing of the display.
"""

import sys
import time
from collections.abc import Callable, Mapping
from typing import Any, TextIO

LINE_SECONDS = 5.0
"""Least time between two step lines of one stage, off a terminal."""
SCALARS = 3
"""The most scalars shown of a stage."""


class Stage:
    """One named stage under way: what the runner tells, and the times that follow from it.

    Attributes:
      name: "group/arm".
      total: number of steps, or None when unknown.
      unit: what a step is, in the plural.
      step: how far it is.
      scalars: the latest values, name -> float.
      compile_seconds, run_seconds: length of the two phases, once they are over.
      phase: "waiting", "compiling", "running", "finished" or "stopped".
    """

    def __init__(
        self,
        name: str,
        total: int | None,
        unit: str,
        show: Callable[["Stage"], None],
        note: Callable[[str], None],
        clock: Callable[[], float] = time.monotonic,
    ):
        self.name, self.total, self.unit = name, total, unit
        self.step, self.scalars = 0, {}
        self.phase, self.compile_seconds, self.run_seconds = "waiting", 0.0, 0.0
        self._show, self._note, self._clock = show, note, clock
        self._phase_began = clock()
        self._first: tuple[int, float] | None = None  # step and time of the first visit: the base of the rate
        self._last: tuple[int, float] | None = None

    def compiling(self) -> None:
        """The stage is being traced and compiled."""
        self._enter("compiling")

    def running(self, step: int, scalars: Mapping[str, float] | None = None) -> None:
        """So many steps are done; `scalars` are their latest values."""
        self.step, self.scalars = step, dict(scalars or {})
        self._last = (step, self._clock())
        self._first = self._first or self._last
        self._enter("running")

    def finished(self) -> None:
        """All is done. A stage that ends without having run was taken from its checkpoint."""
        if self.phase not in ("finished", "stopped"):
            self._enter("finished")

    def note(self, text: str) -> None:
        """Says something of this stage in a line of its own."""
        self._note(f"{self.name}: {text}")

    def __enter__(self) -> "Stage":
        return self

    def __exit__(self, kind: type | None, *_: Any) -> None:
        if kind is None:
            self.finished()
        elif self.phase != "finished":
            self._enter("stopped")

    @property
    def phase_seconds(self) -> float:
        """Seconds since the present phase began."""
        return self._clock() - self._phase_began

    @property
    def rate(self) -> float | None:
        """Steps per second between the first and the last visit, or None before two visits."""
        if self._first is None or self._last[0] == self._first[0] or self._last[1] <= self._first[1]:
            return None
        return (self._last[0] - self._first[0]) / (self._last[1] - self._first[1])

    @property
    def seconds_left(self) -> float | None:
        """Seconds until the end at the present rate, counted down since the last visit; None when unknown."""
        if self.total is None or self.rate is None:
            return None
        return max(0.0, (self.total - self.step) / self.rate - (self._clock() - self._last[1]))

    def status(self, scalars: int = SCALARS) -> str:
        """The stage in a few words: "120/800  55 steps/s  12 s left  loss 0.43"; with so many scalars at most."""
        if self.phase == "compiling":
            return f"compiling {duration(self.phase_seconds)}"
        if self.phase == "running":
            count = (
                f"running {duration(self.phase_seconds)}" if self.total in (None, 1) else f"{self.step}/{self.total}"
            )
            left = None if self.seconds_left is None else f"{duration(self.seconds_left)} left"
            values = [f"{name} {value:.4g}" for name, value in list(self.scalars.items())[:scalars]]
            return "  ".join(filter(None, [count, self._speed(), left, *values]))
        return self.phase

    def summary(self) -> str:
        """The stage in a few words when it is over."""
        if self.phase == "stopped":
            return (
                f"stopped at {self.unit.removesuffix('s')} {self.step} of {self.total}" if self._counted else "stopped"
            )
        if self._first is None and not self.compile_seconds:
            return "done before, taken from its checkpoint"
        compiled = f"compiled in {duration(self.compile_seconds)}" if self.compile_seconds else None
        count = f"{self.total} {self.unit}" if self._counted else "done"
        return ", ".join(filter(None, [f"{count} in {duration(self.run_seconds)}", self._speed(), compiled]))

    @property
    def _counted(self) -> bool:
        """Whether there are steps to count."""
        return self.total not in (None, 1)

    def _enter(self, phase: str) -> None:
        if phase != self.phase:
            if self.phase == "compiling":
                self.compile_seconds += self.phase_seconds
            if self.phase == "running":
                self.run_seconds = self.phase_seconds
            self.phase, self._phase_began = phase, self._clock()
        self._show(self)

    def _speed(self) -> str | None:
        if self.rate is None:
            return None
        unit = self.unit.removesuffix("s")
        if self.rate < 1:
            return f"{duration(1 / self.rate)} a {unit}"
        return f"{self.rate:,.0f} {unit}s/s" if self.rate >= 100 else f"{self.rate:.3g} {unit}s/s"


class Silent:
    """Shows nothing."""

    def stage(self, name: str, total: int | None = None, *, unit: str = "steps") -> Stage:
        """Begins a stage of `total` steps (None: unknown)."""
        return Stage(name, total, unit, self._show, self.note)

    def note(self, text: str) -> None:
        """Says something of the run."""

    def _show(self, stage: Stage) -> None:
        """Shows how a stage stands; called at every change."""

    def __enter__(self) -> "Silent":
        return self

    def __exit__(self, *_: Any) -> None:
        """Leaves the display."""


class Plain(Silent):
    """Plain lines: a stage's compile phase, its end, and between them a step line every few seconds."""

    def __init__(self, stream: TextIO | None = None, *, line_seconds: float = LINE_SECONDS):
        self._stream, self._line_seconds = stream, line_seconds
        self._shown: dict[str, tuple[str, float]] = {}  # stage -> phase and time of its last line

    def note(self, text: str) -> None:
        print(text, file=self._stream or sys.stderr, flush=True)

    def _show(self, stage: Stage) -> None:
        phase, when = self._shown.get(stage.name, ("waiting", time.monotonic()))
        if stage.phase == phase and time.monotonic() - when < self._line_seconds:
            return
        self._shown[stage.name] = (stage.phase, time.monotonic())
        if stage.phase == "compiling":
            self.note(f"{stage.name}: compiling")
        elif stage.phase == "running":
            compiled = f"compiled in {duration(stage.compile_seconds)}; " if phase == "compiling" else ""
            self.note(f"{stage.name}: {compiled}{stage.status()}")
        else:
            self.note(f"{stage.name}: {stage.summary()}")


class Live(Silent):
    """A bar that moves, drawn with rich on a terminal; a stage that is over leaves one line behind."""

    def __init__(self, stream: TextIO | None = None):
        from rich.console import Console
        from rich.progress import BarColumn, Progress, ProgressColumn, TextColumn
        from rich.table import Column
        from rich.text import Text

        console = Console(file=stream or sys.stderr)

        class Status(ProgressColumn):
            """Asks the stage at every refresh, so that seconds count while the host waits for a compile."""

            def render(self, task: Any) -> Text:
                scalars = SCALARS if console.width >= 80 else 0
                return Text(task.fields["stage"].status(scalars), no_wrap=True, overflow="ellipsis")

        self._bar = Progress(
            TextColumn("{task.description}", style="bold", markup=False, table_column=Column(no_wrap=True)),
            BarColumn(bar_width=24),
            Status(table_column=Column(no_wrap=True)),
            console=console,
            refresh_per_second=4,
            redirect_stdout=sys.stdout.isatty(),
        )
        self._tasks: dict[str, Any] = {}

    def note(self, text: str) -> None:
        self._bar.console.print(text, markup=False, highlight=False)

    def _show(self, stage: Stage) -> None:
        if stage.phase in ("finished", "stopped"):
            if stage.name in self._tasks:
                self._bar.remove_task(self._tasks.pop(stage.name))
            self.note(f"{stage.name}: {stage.summary()}")
            return
        if stage.name not in self._tasks:
            # A task that has not started pulses: the look of a compile phase, and of a stage of unknown length.
            self._tasks[stage.name] = self._bar.add_task(stage.name, total=stage.total, start=False, stage=stage)
        task = self._tasks[stage.name]
        if stage.phase == "running" and stage.total not in (None, 1):
            self._bar.start_task(task)
            self._bar.update(task, completed=stage.step)

    def __enter__(self) -> "Live":
        self._bar.start()
        return self

    def __exit__(self, *_: Any) -> None:
        self._bar.stop()


def for_stream(stream: TextIO | None = None) -> Silent:
    """The display that fits the stream, by default stderr: live on a terminal, plain lines elsewhere."""
    stream = stream or sys.stderr
    return Live(stream) if stream.isatty() else Plain(stream)


def duration(seconds: float) -> str:
    """A time span to read: "0.4 s", "12 s", "3 min 05 s", "2 h 10 min"."""
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"
