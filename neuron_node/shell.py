"""Runs a state machine with real sockets, clock, signals and log. The machine makes all decisions."""

from __future__ import annotations

import logging
import math
import os
import signal
import time
from collections.abc import Callable, Sequence
from types import FrameType
from typing import Any

from neuron_node.events import (
    Connect,
    Die,
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
from neuron_node.memory import MemoryReturn
from neuron_node.transport import Link

logger = logging.getLogger("exmachina")


class Shell:
    """Runs one machine with one link, in one thread."""

    def __init__(
        self,
        machine: BusyMachine,
        link: Link,
        *,
        perform: Callable[[Any], list[Event]] | None = None,
        orphaned: Callable[[], bool] = lambda: False,
        poll: Callable[[], Sequence[Any]] | None = None,
    ) -> None:
        """`perform` performs actions other than messages, and may return events.

        `orphaned` returns whether the program that started this one has ended; it is called at every tick. `poll` returns
        further events, and does not wait; it is called after every wake-up.
        """
        self._machine = machine
        self._link = link
        self._perform_other = perform
        self._orphaned = orphaned
        self._poll = poll
        self._memory = MemoryReturn()
        self._interrupted = 0
        self._code: int | None = None

    def run(self) -> int:
        """Run until the machine ends, or the program that started this one has ended; return the exit code."""
        # Set SIGTERM last: another program that finds its handler set then knows that both handlers are set.
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._on_signal)
        self._perform(self._machine.start(_now_ms()))
        tick_due_ms = _now_ms() + self._machine.tick_interval_ms
        # Look these names up once. The loop runs at every wake-up, mostly with cold caches, so it must be short.
        machine, receive, take, send = self._machine, self._link.receive_many, self._machine.receive, self._link.send
        poll = self._poll
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
            if poll is not None:
                for event in poll():
                    self._handle(event)
            if self._interrupted:
                self._interrupt()
            if now_ms >= tick_due_ms:
                if not self._tick():
                    return 1
                tick_due_ms = now_ms + machine.tick_interval_ms
                self._link.wait_at_most(math.ceil(machine.tick_interval_ms))
        return self._code

    def _tick(self) -> bool:
        """Handle a tick and lost links; return False if the program that started this one has ended."""
        if self._orphaned():
            logger.error("the program that started this one has ended")
            return False
        if self._link.broken():
            if self._link.accepted:
                logger.warning("a connection broke; connecting again")
            self._link.renew()
            self._handle(LinkLost())
        self._memory.check(_now_ms())
        self._handle(Tick())
        return True

    def _interrupt(self) -> None:
        by_hand, self._interrupted = self._interrupted == signal.SIGINT, 0
        self._handle(Interrupted(by_hand))

    def _handle(self, event: Event) -> None:
        if self._code is None:
            self._perform(self._machine.handle(event, _now_ms()))

    def _on_signal(self, number: int, _frame: FrameType | None) -> None:
        # The loop reads this after its present wait, at the next tick at the latest, and never in the middle of a transition.
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
                case Die():
                    os.kill(os.getpid(), signal.SIGKILL)
                case _:
                    assert self._perform_other is not None, f"no function performs {action!r}"
                    for event in self._perform_other(action):
                        self._handle(event)


def _now_ms() -> float:
    return time.monotonic() * 1000.0
