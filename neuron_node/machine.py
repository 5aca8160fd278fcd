"""The interface of a state machine. Node and coordinator implement it; shells and the network in memory run it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol


class Machine(Protocol):
    """A state machine: it takes events and returns actions. The function `perform` performs actions that `Shell` doesn't know."""

    def start(self, now_ms: float) -> Sequence[Any]:
        """Return the first actions. `now_ms` is the time in milliseconds, of a clock that never goes back."""

    def handle(self, event: Any, now_ms: float) -> Sequence[Any]:
        """Handle one event; return the actions, in order."""

    def receive(self, messages: Sequence[bytes], now_ms: float) -> Sequence[Any]:
        """Handle messages, each an address and frames; return the actions, in order."""


class BusyMachine(Machine, Protocol):
    """A machine that says how many frames it waits for, and defers work until its messages are sent."""

    @property
    def wanted(self) -> int:
        """The number of frames to wait for before the next `receive`; 0 if no message is expected soon."""

    @property
    def has_deferred_work(self) -> bool:
        """Whether `run_deferred` must be called after the last actions are performed."""

    @property
    def tick_interval_ms(self) -> float:
        """The longest time between two ticks, in milliseconds."""

    def run_deferred(self, now_ms: float) -> Sequence[Any]:
        """Do the deferred work; return the actions, in order."""
