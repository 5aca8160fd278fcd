"""The interface of a state machine. Node and coordinator implement it; shells and the network in memory run it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol


class Machine(Protocol):
    """Anything that takes events and returns actions; an action that is not the wire's is the host's to perform."""

    def start(self, now_ms: float) -> Sequence[Any]:
        """The first actions of a life."""

    def handle(self, event: Any, now_ms: float) -> Sequence[Any]:
        """Take one event at a time in milliseconds."""

    def receive(self, messages: Sequence[bytes], now_ms: float) -> Sequence[Any]:
        """Take messages, each an address and frames."""


class BusyMachine(Machine, Protocol):
    """A machine that says how much it waits for, and puts work off until its messages have left."""

    @property
    def wanted(self) -> int:
        """Frames that are worth waiting for before the next `receive`."""

    @property
    def has_deferred_work(self) -> bool:
        """Whether `run_deferred` has something to do once the last actions are performed."""

    @property
    def tick_interval_ms(self) -> float:
        """The longest time between two ticks."""

    def run_deferred(self, now_ms: float) -> Sequence[Any]:
        """Do what was put off."""
