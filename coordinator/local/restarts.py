"""The programs of a local run, and the rules of their supervisor: what follows the end, the stop or the failed start of one.

A program that was ended from outside always starts again, after longer and longer delays. A program that keeps ending by
its own fault is not started again.
"""

from __future__ import annotations

import signal
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum

RESTARTS_AT_MOST = 5
RESTARTS_WITHIN_SECONDS = 10.0
LONGEST_DELAY_SECONDS = 8.0
INTERRUPTED = 130
STOPPED_AT_MOST_SECONDS = 5.0
"""The longest stop of a program by a signal, unless chaos holds it. Then it is killed and started again."""
FORK_AGAIN_SECONDS = 1.0
FORKS_FAIL_AT_MOST_SECONDS = 60.0
NEEDED = ("broker", "coordinator", "relay")
"""Programs without which a run cannot continue. Nodes can be replaced."""
OWN_FAULTS = frozenset(
    -number
    for number in (
        signal.SIGSEGV,
        signal.SIGABRT,
        signal.SIGBUS,
        signal.SIGFPE,
        signal.SIGILL,
        signal.SIGSYS,
        signal.SIGTRAP,
    )
)
"""Signals that a program causes itself."""


class Next(Enum):
    """What follows the end of a program."""

    RUN_OVER = "the run is over"
    STAYS_ENDED = "the run has told it to end"
    STARTS_AGAIN = "the run has not told it to end"


def next_of(name: str, code: int, *, run_ends: bool) -> Next:
    """Decide by what the coordinator has said, and not by the exit code; `run_ends` if the coordinator has ended the run."""
    if name == "coordinator" and run_ends and code >= 0:
        return Next.RUN_OVER
    return Next.STAYS_ENDED if run_ends and name not in NEEDED else Next.STARTS_AGAIN


def is_overdue(stopped_at: float, now: float) -> bool:
    """Whether a program has been stopped for so long that it must be killed; both times in seconds."""
    return now - stopped_at >= STOPPED_AT_MOST_SECONDS


def fork_again_at(failed_at: float, now: float) -> float | None:
    """Return when to try again, with forks failing since `failed_at`; None to give the run up."""
    return None if now - failed_at >= FORKS_FAIL_AT_MOST_SECONDS else now + FORK_AGAIN_SECONDS


def is_own_fault(code: int) -> bool:
    """Whether an exit code means a failure of the program, and not a signal from outside."""
    return code in OWN_FAULTS if code <= 0 else code != INTERRUPTED


@dataclass
class Program:
    """One program under supervision.

    If `struck`, chaos has ended it, which does not count as a crash. `stopped_at` is the time at which a signal stopped it.
    If `overdue`, the supervisor has killed it because it stayed stopped.
    """

    name: str
    run: Callable[[Callable[[], bool]], int]
    process: int = 0
    struck: bool = False
    stopped_at: float | None = None
    overdue: bool = False


class Restarts:
    """Count the starts of every program of a run."""

    def __init__(self) -> None:
        self._starts: dict[str, deque[float]] = {}
        self._delays: dict[str, float] = {}

    def started(self, name: str, now: float) -> None:
        """Record a start, at a time in seconds."""
        self._starts.setdefault(name, deque(maxlen=RESTARTS_AT_MOST)).append(now)

    def delay(self, name: str, code: int, now: float) -> float | None:
        """Return the seconds until an ended program starts again; None if it is not started again."""
        starts = self._starts.get(name)
        if starts is None or len(starts) < RESTARTS_AT_MOST or now - starts[0] >= RESTARTS_WITHIN_SECONDS:
            self._delays.pop(name, None)
            return 0.0
        if is_own_fault(code):
            return None
        delay = min(LONGEST_DELAY_SECONDS, 2.0 * self._delays.get(name, 0.5))
        self._delays[name] = delay
        return delay
