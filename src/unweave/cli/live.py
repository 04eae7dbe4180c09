"""What the verbs have in common: the live lines of a training or a stage, and how settings are written."""

from __future__ import annotations

import ast
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from rich.console import Console, RenderableType
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

if TYPE_CHECKING:
    from unweave.runs import Report

# A file or a pipe has no width; the tables need 110 columns.
console = Console(width=None if sys.stdout.isatty() else 110, markup=False)  # a folder may be called [bold]
errors = Console(stderr=True, markup=False)


class Bars(Progress):
    """Progress bars below something that changes now and then: a table of what was found so far."""

    above: RenderableType | None = None

    def get_renderables(self) -> Iterator[RenderableType]:
        if self.above is not None:
            yield self.above
        yield self.make_tasks_table(self.tasks)


class Training:
    """Shows what `runs.train` reports."""

    def __init__(self, progress: Bars, steps: dict[str, int]) -> None:
        self.progress = progress
        self.tasks = {name: progress.add_task(name, total=n, numbers="") for name, n in steps.items()}

    def __call__(self, report: Report) -> None:
        v = report.values
        numbers = f"FVU {v['fvu']:.3f}  L0 {v['l0']:5.1f}  dead {v['dead']:4.0%}"
        self.progress.update(self.tasks[report.run.name], completed=v["step"], numbers=numbers)


@contextmanager
def training(steps: dict[str, int], quiet: bool = False) -> Iterator[Training]:
    """steps: how many each run will take, by the run's name."""
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=24),
        TextColumn("{task.completed:>5}/{task.total} steps"),
        TextColumn("{task.fields[numbers]}"),
        TimeRemainingColumn(),
    )
    try:
        with Bars(*columns, console=errors, disable=quiet or not errors.is_terminal) as progress:
            yield Training(progress, steps)
    except KeyboardInterrupt:
        errors.print("stopped; the same command goes on from the last checkpoint")
        raise


class Trials:
    """Shows what a long series of trainings does: each stage in a line, and those of the moment as they train."""

    def __init__(self, progress: Bars, quiet: bool) -> None:
        self.progress, self.quiet = progress, quiet
        self.steps, self.running = 0, Training(progress, {})

    def stage(self, what: str, steps: int, above: RenderableType | None = None) -> None:
        """What begins now, in which each training takes so many steps; `above` them what was found until now."""
        self.progress.above = above
        for task in self.running.tasks.values():
            self.progress.remove_task(task)
        self.steps, self.running = steps, Training(self.progress, {})
        if not self.quiet:
            self.progress.console.print(what)

    def __call__(self, report: Report) -> None:
        name, tasks = report.run.name, self.running.tasks
        if name not in tasks:
            tasks[name] = self.progress.add_task(name, total=self.steps, numbers="")
        self.running(report)
        if report.values["step"] == self.steps:
            self.progress.remove_task(tasks.pop(name))

    def count(self, done: int, of: int) -> None:
        """How much of a stage without trainings is done."""
        if "" not in self.running.tasks:
            self.running.tasks[""] = self.progress.add_task("", total=of, numbers="")
        self.progress.update(self.running.tasks[""], completed=done, total=of)


@contextmanager
def trials(quiet: bool = False) -> Iterator[Trials]:
    with training({}, quiet) as shown:
        yield Trials(shown.progress, quiet)


@contextmanager
def progress(what: str, quiet: bool = False) -> Iterator[Callable[[int, int], None]]:
    """A bar for something that is told how much is done, and of how much."""
    columns = (TextColumn("{task.description}"), BarColumn(bar_width=24), TextColumn("{task.percentage:>3.0f} %"))
    with Progress(*columns, TimeRemainingColumn(), console=errors, disable=quiet or not errors.is_terminal) as bars:
        task = bars.add_task(what, total=None)
        yield lambda done, of: bars.update(task, completed=done, total=of)


@contextmanager
def stage(what: str, quiet: bool = False) -> Iterator[None]:
    """One line while something goes on, and how long it took."""
    began = time.perf_counter()
    if quiet:
        yield
        return
    with errors.status(f"{what} ..."):
        yield
    errors.print(f"{what}: {time.perf_counter() - began:.0f} s", style="dim")


@contextmanager
def steps(what: str, quiet: bool = False) -> Iterator[Callable[[str, int, int], None]]:
    """A bar for each stage of something that reports its name, how much of it is done, and how much there is."""
    columns = (TextColumn("{task.description}", markup=False), BarColumn(bar_width=24), TimeRemainingColumn())
    began, tasks = time.perf_counter(), {}
    with Bars(*columns, console=errors, disable=quiet or not errors.is_terminal, transient=True) as progress:

        def show(stage: str, done: int, of: int) -> None:
            if stage not in tasks:
                tasks[stage] = progress.add_task(f"{what}: {stage}", total=of)
            progress.update(tasks[stage], completed=done)

        yield show
    if not quiet:
        errors.print(f"{what}: {time.perf_counter() - began:.0f} s", style="dim")


@contextmanager
def deferred_interrupt() -> Iterator[list[int]]:
    """A list that Ctrl-C adds to, so that a step or a shard under way is finished and nothing is lost; a second Ctrl-C
    interrupts."""
    asked: list[int] = []
    before = signal.getsignal(signal.SIGINT)

    def ask(number: int, _frame: object) -> None:
        asked.append(number)
        signal.signal(signal.SIGINT, before)

    signal.signal(signal.SIGINT, ask)
    try:
        yield asked
    finally:
        signal.signal(signal.SIGINT, before)


def parse_settings(texts: list[str] | None) -> dict[str, Any]:
    """["training.lr=1e-3"] -> {"training.lr": 0.001}; what is no literal is a string. Raises ValueError for no "="."""
    settings: dict[str, Any] = {}
    for text in texts or []:
        name, equals, value = text.partition("=")
        if not equals:
            raise ValueError(f"cannot read --set {text}: write NAME=VALUE, as in training.lr=1e-3")
        try:
            settings[name] = ast.literal_eval(value)
        except (ValueError, SyntaxError):
            settings[name] = value
    return settings
