"""Runs a state machine against the world: sockets, clock, signals and the log. It decides nothing."""

from __future__ import annotations

import logging
import math
import signal
import time
from collections.abc import Callable, Sequence
from types import FrameType
from typing import Any

from neuron_node.events import (
    Connect,
    Disconnect,
    End,
    Event,
    Interrupted,
    LinkLost,
    Log,
    Send,
    Subscribe,
    Tick,
    Unsubscribe,
)
from neuron_node.machine import BusyMachine
from neuron_node.transport import Link

logger = logging.getLogger("exmachina")


class Shell:
    """One machine, one link, one thread."""

    def __init__(
        self,
        machine: BusyMachine,
        link: Link,
        *,
        perform: Callable[[Any], list[Event]] | None = None,
        orphaned: Callable[[], bool] = lambda: False,
    ) -> None:
        """`perform` does actions that are not the wire's and may return events; `orphaned` is asked at every tick."""
        self._machine = machine
        self._link = link
        self._perform_other = perform
        self._orphaned = orphaned
        self._interrupted = 0
        self._code: int | None = None

    def run(self) -> int:
        """Until the machine ends, or the program that owns this one is gone; the exit code."""
        # In this order: whoever sees that SIGTERM is taken care of knows that both are.
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._on_signal)
        self._perform(self._machine.start(_now_ms()))
        tick_due_ms = _now_ms() + self._machine.tick_interval_ms
        # Bound once: this loop runs for every wake-up, mostly with cold caches, and is kept as short as it can be.
        machine, receive, take, send = self._machine, self._link.receive_many, self._machine.receive, self._link.send
        while self._code is None:
            messages = receive(machine.wanted)
            now_ms = _now_ms()
            if messages:
                for action in take(messages, now_ms):
                    if type(action) is Send:
                        send(action[0])
                    else:
                        self._perform([action])
                while machine.has_deferred_work:
                    self._perform(machine.run_deferred(now_ms))
            if self._interrupted:
                self._interrupt()
            if now_ms >= tick_due_ms:
                if not self._tick():
                    return 1
                tick_due_ms = now_ms + machine.tick_interval_ms
                self._link.wait_at_most(math.ceil(machine.tick_interval_ms))
        return self._code

    def _tick(self) -> bool:
        """Let time pass; False if nobody is left to work for."""
        if self._orphaned():
            logger.error("the program that started this one is gone")
            return False
        if self._link.broken():
            logger.warning("a connection broke; making all anew")
            self._link.renew()
            self._handle(LinkLost())
        self._handle(Tick())
        return True

    def _interrupt(self) -> None:
        by_hand, self._interrupted = self._interrupted == signal.SIGINT, 0
        self._handle(Interrupted(by_hand))

    def _handle(self, event: Event) -> None:
        if self._code is None:
            self._perform(self._machine.handle(event, _now_ms()))

    def _on_signal(self, number: int, _frame: FrameType | None) -> None:
        # Looked at when the present wait ends, at the next tick at the latest: never in the middle of a transition.
        self._interrupted = number

    def _perform(self, actions: Sequence[Any]) -> None:
        send = self._link.send
        for action in actions:
            if type(action) is Send:
                send(action.message)
                continue
            match action:
                case Subscribe(address):
                    self._link.subscribe(address)
                case Unsubscribe(address):
                    self._link.unsubscribe(address)
                case Connect(endpoint):
                    self._link.connect(endpoint)
                case Disconnect(endpoint):
                    self._link.disconnect(endpoint)
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
