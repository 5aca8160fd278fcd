"""The progress of a run on stderr: a progress bar on a terminal, plain lines elsewhere."""

from __future__ import annotations

import signal
from collections.abc import Callable, Mapping, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, Protocol

from coordinator.cli.figures import Figures
from coordinator.cli.output import errors, print_json, printable, shown

if TYPE_CHECKING:
    from rich.progress import TaskID


class Watcher(Protocol):
    """Receives every event of a run."""

    def __call__(self, event: str, facts: dict[str, Any]) -> None:
        """Handle one event."""


def _waiting(facts: dict[str, Any]) -> str:
    missing = facts["need"] - facts["have"]
    return f"waiting for nodes: {facts['have']} of {facts['need']} are here; {missing} more are needed"


def _wiring(facts: dict[str, Any]) -> str:
    return f"wiring: {facts['ready']} of {facts['nodes']} nodes have proved their links"


WAITING: dict[str, Callable[[dict[str, Any]], str]] = {
    "no_broker": lambda _facts: "waiting for the broker: it has not answered yet",
    "waiting": _waiting,
    "wiring": _wiring,
}
"""The line of each event that says what the start of a network waits for."""


def _recovery(facts: dict[str, Any]) -> str:
    return f"recovering: {facts['reason']}; generation {facts['generation']} goes on after step {facts['step']:,}"


def _recovered(facts: dict[str, Any]) -> str:
    return f"recovered in {facts['seconds']:.1f} s: {facts['reason']}"


def _ended(facts: dict[str, Any]) -> str:
    code = facts["code"]
    how = f"was ended by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
    if facts.get("stopped"):
        how = "stayed stopped by a signal, was killed,"
    return f"{facts['program']} (process {facts['process']}) {how} and was started again"


LINES: dict[str, Callable[[dict[str, Any]], str]] = {
    "wired": lambda facts: f"wired: {facts['nodes']} nodes connected in {facts['seconds']:.1f} s",
    "recovery": _recovery,
    "recovered": _recovered,
    "ended": _ended,
    "stalled": lambda facts: f"a step is stuck: {facts['why']}",
    "rebalanced": lambda _facts: "groups move to nodes of their own",
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


def line_of(event: str, facts: dict[str, Any], figures: Figures) -> str | None:
    """Return the line of an event, or None. Of many epochs, only the first, some, and the last have a line."""
    if event == "epoch" and facts["epochs"] > LINES_OF_EPOCHS:
        every = -(-facts["epochs"] // LINES_OF_EPOCHS)
        if facts["epoch"] % every and facts["epoch"] not in (1, facts["epochs"]):
            return None
    if event == "epoch":
        return figures.epoch(facts)
    return LINES[event](facts) if event in LINES else None


class PlainLines:
    """Prints one line per important event; what a start waits for only if asked to, so that a start is not a page long."""

    def __init__(self, figures: Figures, say_waiting: bool = False) -> None:
        self._figures = figures
        self._say_waiting = say_waiting
        self._said = ""

    def __enter__(self) -> PlainLines:
        return self

    def __exit__(self, *_: object) -> None:
        return None

    def __call__(self, event: str, facts: dict[str, Any]) -> None:
        """Print one event."""
        if event in WAITING:
            if self._say_waiting:
                errors.print(WAITING[event](facts))
        elif (line := line_of(event, facts, self._figures)) and not (event in REPEATED and line == self._said):
            self._said = line
            errors.print(line)


class ProgressBar:
    """One bar over all steps, and lines above it for important events. A narrow terminal gets fewer figures, none of them cut."""

    def __init__(self, figures: Figures) -> None:
        from rich.progress import Progress, TextColumn  # noqa: PLC0415 - slow to import

        self._figures = figures
        self._console = errors.console()
        self._progress = Progress(
            TextColumn("{task.description}"),
            console=self._console,
            transient=True,
            # Refresh without a thread: the bar changes with the events of the run.
            auto_refresh=False,
        )
        self._task: TaskID | None = None
        self._said = ""

    def __enter__(self) -> ProgressBar:
        self._progress.start()
        self._task = self._progress.add_task("starting", total=None)
        self._show(["starting"])
        return self

    def __exit__(
        self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()

    def __call__(self, event: str, facts: dict[str, Any]) -> None:
        """Show one event."""
        assert self._task is not None
        if event == "waiting":
            self._show([f"{facts['have']} of {facts['need']} nodes"])
        elif event == "wiring":
            self._show([f"{facts['ready']} of {facts['nodes']} nodes wired"])
        elif event == "progress":
            self._progress.update(self._task, total=facts["steps"], completed=facts["step"])
            self._show(figures_of(facts, self._figures))
        elif (line := line_of(event, facts, self._figures)) and not (event in REPEATED and line == self._said):
            self._said = line
            self._progress.console.print(printable(line))
        self._progress.refresh()

    def _show(self, figures: Sequence[str]) -> None:
        """Replace the columns: the most important figures that fit, and a bar in the rest of the line."""
        from rich.progress import BarColumn, ProgressColumn, TextColumn, TimeRemainingColumn  # noqa: PLC0415
        from rich.table import Column  # noqa: PLC0415

        fitting, rest = figures_that_fit(figures, self._console.width)
        texts = [TextColumn(text, markup=False, table_column=Column(no_wrap=True)) for text in map(_escaped, fitting)]
        columns: list[ProgressColumn] = [*texts]
        if rest >= LEAST_BAR:
            columns.insert(1, BarColumn(min(rest, MOST_BAR)))
            if rest >= LEAST_BAR + TIME_LEFT:
                columns[1] = BarColumn(min(rest - TIME_LEFT, MOST_BAR))
                columns.append(TimeRemainingColumn(compact=True))
        self._progress.columns = tuple(columns)


LEAST_BAR = 8
MOST_BAR = 40
TIME_LEFT = 9
"""The width of the time that remains, with a blank before it."""


def figures_of(facts: Mapping[str, Any], figures: Figures) -> list[str]:
    """Return the figures of the progress bar, the most important first."""
    rates = ("samples", "messages")
    return [
        f"step {facts['step']:,}/{facts['steps']:,}",
        f"epoch {facts['epoch']}/{facts['epochs']}",
        *([figures.running(facts)] if figures.running(facts) else []),
        f"loss {shown(facts['loss'])}",
        *(f"{facts[f'{rate}_per_second']:,.0f} {rate}/s" for rate in rates if facts[f"{rate}_per_second"] is not None),
    ]


def figures_that_fit(figures: Sequence[str], width: int) -> tuple[list[str], int]:
    """Return the first figures that fit a line with a short bar, if any does, and the width that is left for the bar."""
    for count in range(len(figures), 0, -1):
        rest = width - sum(len(text) + 1 for text in figures[:count])
        if rest >= LEAST_BAR or (count == 1 and rest >= -1):
            return list(figures[:count]), rest
    return list(figures[:1]), 0


def _escaped(text: str) -> str:
    """Escape braces, which stand for fields of the task."""
    return text.replace("{", "{{").replace("}", "}}")


class JsonLines:
    """Prints each event as one JSON object on a line of stdout."""

    def __enter__(self) -> JsonLines:
        return self

    def __exit__(self, *_: object) -> None:
        return None

    def __call__(self, event: str, facts: dict[str, Any]) -> None:
        """Print one event."""
        print_json({"event": event, **facts})


def watcher(figures: Figures) -> PlainLines | ProgressBar:
    """Return a progress bar if stderr is a terminal, else plain lines, which are not printed if stderr is quiet."""
    return ProgressBar(figures) if errors.is_terminal and not errors.quiet else PlainLines(figures)
