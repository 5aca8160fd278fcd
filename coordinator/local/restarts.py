"""The programs of a local run, and the delay until an ended program starts again.

A program that was ended from outside always starts again, after longer and longer delays. A program that keeps ending by
its own fault is not started again.
"""

from __future__ import annotations

import signal
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

RESTARTS_AT_MOST = 5
RESTARTS_WITHIN_SECONDS = 10.0
LONGEST_DELAY_SECONDS = 8.0
INTERRUPTED = 130
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
