"""The programs of a local run, and how soon one that ended starts again.

A program that another one ended did nothing wrong: it starts again however often that happens, only later and later. A
program that keeps ending by its own fault is put aside.
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
"""Signals that a program brings upon itself."""


def is_own_fault(code: int) -> bool:
    """Whether a program that ended like this failed; otherwise a signal from outside ended it, or it obeyed one."""
    return code in OWN_FAULTS if code <= 0 else code != INTERRUPTED


@dataclass
class Program:
    """One program under supervision; `struck` when chaos has ended it, `stopped_at` while a signal has it stopped, and
    `overdue` when the supervisor has killed it because it stayed so.
    """

    name: str
    run: Callable[[Callable[[], bool]], int]
    process: int = 0
    struck: bool = False
    stopped_at: float | None = None
    overdue: bool = False


class Restarts:
    """Counts the starts of every program of a run."""

    def __init__(self) -> None:
        self._starts: dict[str, deque[float]] = {}
        self._delays: dict[str, float] = {}

    def started(self, name: str, now: float) -> None:
        """Note a start, at a time in seconds."""
        self._starts.setdefault(name, deque(maxlen=RESTARTS_AT_MOST)).append(now)

    def delay(self, name: str, code: int, now: float) -> float | None:
        """Seconds until a program that ended with this code is to start again; None if it is put aside."""
        starts = self._starts.get(name)
        if starts is None or len(starts) < RESTARTS_AT_MOST or now - starts[0] >= RESTARTS_WITHIN_SECONDS:
            self._delays.pop(name, None)
            return 0.0
        if is_own_fault(code):
            return None
        delay = min(LONGEST_DELAY_SECONDS, 2.0 * self._delays.get(name, 0.5))
        self._delays[name] = delay
        return delay
