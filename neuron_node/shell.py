"""Runs a state machine against the world: sockets, clock, signals and the log. It decides nothing."""

from __future__ import annotations

import logging
import signal
import time
from collections.abc import Callable
from types import FrameType
from typing import Any, Protocol

from neuron_node.events import End, Event, Interrupted, LinkLost, Log, Received, Send, Subscribe, Tick, Unsubscribe
from neuron_node.wiring import Link

logger = logging.getLogger("exmachina")


class Machine(Protocol):
    """Anything that takes events and returns actions; an action that is not the wire's is the host's to perform."""

    def start(self, now_ms: float) -> list[Any]:
        """The first actions of a life."""

    def handle(self, event: Any, now_ms: float) -> list[Any]:
        """Take one event at a time in milliseconds."""


class Interruption(BaseException):
    """Raised by the signal handler, and only while the shell waits: never in the middle of a transition."""


class Shell:
    """One machine, one link, one thread."""

    def __init__(
        self,
        machine: Machine,
        link: Link,
        tick_ms: float,
        *,
        perform: Callable[[Any], list[Event]] | None = None,
        orphaned: Callable[[], bool] = lambda: False,
    ) -> None:
        """`perform` does actions that are not the wire's and may return events; `orphaned` is asked at every tick."""
        self._machine = machine
        self._link = link
        self._tick_ms = tick_ms
        self._perform_other = perform
        self._orphaned = orphaned
        self._waiting = False
        self._interrupted = 0
        self._code: int | None = None

    def run(self) -> int:
        """Until the machine ends, or the program that owns this one is gone; the exit code."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._on_signal)
        self._perform(self._machine.start(_now_ms()))
        ticked_ms = _now_ms()
        while not self._ended():
            for frame in self._wait():
                self._handle(Received(frame))
            if self._interrupted:
                by_hand, self._interrupted = self._interrupted == signal.SIGINT, 0
                self._handle(Interrupted(by_hand))
            if _now_ms() - ticked_ms >= self._tick_ms:
                ticked_ms = _now_ms()
                if self._orphaned():
                    logger.error("the program that started this one is gone")
                    return 1
                if self._link.broken():
                    logger.warning("the connection to the broker broke; making it anew")
                    self._link.renew()
                    self._handle(LinkLost())
                self._handle(Tick())
        return 0 if self._code is None else self._code

    def _ended(self) -> bool:
        return self._code is not None

    def _handle(self, event: Event) -> None:
        if self._code is None:
            self._perform(self._machine.handle(event, _now_ms()))

    def _wait(self) -> list[bytes]:
        try:
            self._waiting = not self._interrupted
            return self._link.receive() if self._waiting else []
        except Interruption:
            return []
        finally:
            self._waiting = False

    def _on_signal(self, number: int, _frame: FrameType | None) -> None:
        self._interrupted = number
        if self._waiting:
            raise Interruption

    def _perform(self, actions: list[Any]) -> None:
        for action in actions:
            match action:
                case Send(address, body):
                    self._link.send(address, body)
                case Subscribe(address):
                    self._link.subscribe(address)
                case Unsubscribe(address):
                    self._link.unsubscribe(address)
                case Log(level, text):
                    logger.log(level, text)
                case End(code):
                    self._code = code
                case _:
                    assert self._perform_other is not None, f"nobody performs {action!r}"
                    for event in self._perform_other(action):
                        self._handle(event)


def _now_ms() -> float:
    return time.monotonic() * 1000.0
