"""The progress of a run on stderr: a progress bar on a terminal, plain lines elsewhere."""

from __future__ import annotations

import signal
from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING, Any, Protocol

from coordinator.cli.output import errors, printable, shown

if TYPE_CHECKING:
    from rich.progress import TaskID


class Watcher(Protocol):
    """Receives every event of a run."""

    def __call__(self, event: str, facts: dict[str, Any]) -> None:
        """Handle one event."""


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.1f} %"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:,.0f}"


def _waiting(facts: dict[str, Any]) -> str:
    missing = facts["need"] - facts["have"]
    return f"waiting for nodes: {facts['have']} of {facts['need']} are here; start {missing} more"


def _recovery(facts: dict[str, Any]) -> str:
    return f"recovering: {facts['reason']}; generation {facts['generation']} goes on after step {facts['step']}"


def _recovered(facts: dict[str, Any]) -> str:
    return f"recovered in {facts['seconds']:.1f} s: {facts['reason']}"


def _ended(facts: dict[str, Any]) -> str:
    code = facts["code"]
    how = f"was ended by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
    if facts.get("stopped"):
        how = "stayed stopped by a signal, was killed,"
    return f"{facts['program']} (process {facts['process']}) {how} and was started again"


def _epoch(facts: dict[str, Any]) -> str:
    held_out = f"held out: loss {shown(facts['test_loss'])}, accuracy {_percent(facts['test_accuracy'])}"
    return f"epoch {facts['epoch']}: loss {shown(facts['loss'])}, accuracy {_percent(facts['accuracy'])}; {held_out}"


LINES: dict[str, Callable[[dict[str, Any]], str]] = {
    "wired": lambda facts: f"wired: {facts['nodes']} nodes connected in {facts['seconds']:.1f} s",
    "recovery": _recovery,
    "recovered": _recovered,
    "epoch": _epoch,
    "ended": _ended,
    "stalled": lambda facts: f"a step is stuck: {facts['why']}",
    "regrouped": lambda facts: f"{facts['neuron']} now runs in program {facts['node']}",
    "damaged": lambda facts: facts["reason"],
    "unsaved": lambda facts: f"{facts['reason']}; trying again",
    "delayed": lambda facts: f"{facts['reason']}; starting it again in {facts['seconds']:g} s",
    "continued": lambda facts: f"{facts['program']} (process {facts['process']}) was stopped by a signal and continues",
    "put_aside": lambda facts: f"{facts['program']} keeps ending and is not started again; its log is {facts['log']}",
}
"""The line of each event that is printed. Other events are not printed, or are printed elsewhere."""

LINES_OF_EPOCHS = 20
REPEATED = ("unsaved",)
"""Events that repeat while nothing changes: printed once, until another line has been printed."""


def line_of(event: str, facts: dict[str, Any]) -> str | None:
    """Return the line of an event, or None. Of many epochs, only the first, some, and the last have a line."""
    if event == "epoch" and facts["epochs"] > LINES_OF_EPOCHS:
        every = -(-facts["epochs"] // LINES_OF_EPOCHS)
        if facts["epoch"] % every and facts["epoch"] not in (1, facts["epochs"]):
            return None
    return LINES[event](facts) if event in LINES else None


class PlainLines:
    """Prints one line per important event; the event `waiting` only if asked to, so that a start is not a page long."""

    def __init__(self, say_waiting: bool = False) -> None:
        self._say_waiting = say_waiting
        self._said = ""

    def __enter__(self) -> PlainLines:
        return self

    def __exit__(self, *_: object) -> None:
        return None

    def __call__(self, event: str, facts: dict[str, Any]) -> None:
        """Print one event."""
        if event == "waiting" and self._say_waiting:
            errors.print(_waiting(facts))
        elif (line := line_of(event, facts)) and not (event in REPEATED and line == self._said):
            self._said = line
            errors.print(line)


class ProgressBar:
    """One bar over all steps, and lines above it for important events."""

    def __init__(self) -> None:
        from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn  # noqa: PLC0415 - slow to import

        columns = "epoch {task.fields[epoch]}", "accuracy {task.fields[accuracy]}", "loss {task.fields[loss]}"
        rates = "{task.fields[samples]} samples/s", "{task.fields[messages]} messages/s"
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            *(TextColumn(text) for text in (*columns, *rates)),
            TimeRemainingColumn(compact=True),
            console=errors.console(),
            transient=True,
            # Refresh without a thread: the bar changes with the events of the run.
            auto_refresh=False,
        )
        self._task: TaskID | None = None
        self._said = ""

    def __enter__(self) -> ProgressBar:
        self._progress.start()
        self._task = self._progress.add_task(
            "starting", total=None, epoch="-", accuracy="-", loss="-", samples="-", messages="-"
        )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()

    def __call__(self, event: str, facts: dict[str, Any]) -> None:
        """Show one event."""
        assert self._task is not None
        if event == "waiting":
            self._progress.update(self._task, description=f"{facts['have']} of {facts['need']} nodes")
        elif event == "progress":
            self._progress.update(
                self._task,
                description=f"step {facts['step']}",
                total=facts["steps"],
                completed=facts["step"],
                epoch=f"{facts['epoch']}/{facts['epochs']}",
                accuracy=_percent(facts["accuracy"]),
                loss=shown(facts["loss"]),
                samples=_number(facts["samples_per_second"]),
                messages=_number(facts["messages_per_second"]),
            )
        elif (line := line_of(event, facts)) and not (event in REPEATED and line == self._said):
            self._said = line
            self._progress.console.print(printable(line))
        self._progress.refresh()


def watcher(*, quiet: bool = False) -> PlainLines | ProgressBar:
    """Return a progress bar if stderr is a terminal, else plain lines."""
    return ProgressBar() if errors.is_terminal and not quiet else PlainLines()
