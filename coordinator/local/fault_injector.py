"""Injects faults into the programs of a supervisor: kill, stop, disconnect, and release."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Protocol

HIT_BY_CHAOS = ("node", "broker", "coordinator")
"""The programs that `everything` kills, by the beginning of their names. The relay belongs to chaos itself."""
SIGNALS = {"terminate": signal.SIGTERM, "interrupt": signal.SIGINT, "all": signal.SIGTERM}
"""The signal of each kind of fault; SIGKILL for all others."""
OF_THE_NAME = {"broker": "broker", "stop-broker": "broker", "coordinator": "coordinator"}
"""The kinds of faults of one program with a fixed name."""


class FaultTarget(Protocol):
    """A program under supervision."""

    name: str
    process: int
    struck: bool


@dataclass
class Held:
    """A program that is stopped or disconnected, and the time of its release."""

    target: FaultTarget
    process: int
    cut: bool
    due: float


class FaultInjector:
    """Injects faults. The supervisor starts killed programs again, and does not count these deaths against them."""

    def __init__(
        self,
        running: Callable[[], Iterable[FaultTarget]],
        report: Callable[..., None],
        relay: int | None,
    ) -> None:
        """`running` returns the running programs. `relay` is the file descriptor for orders to the relay."""
        self._running = running
        self._report = report
        self._relay = relay
        self._held: dict[int, Held] = {}

    def obey(self, command: dict[str, Any]) -> None:
        """Carry out a command."""
        number = command["number"]
        if command["do"] == "release":
            if held := self._held.get(number):
                held.due = min(held.due, time.monotonic() + command["after_ms"] / 1000.0)
            return
        targets = self._targets(command)
        at = time.monotonic()
        facts = {key: command[key] for key in ("number", "of", "neuron", "after_step")}
        # Report first, so that the report arrives before the consequences.
        self._report(
            "struck",
            kind=command["do"],
            at=at,
            programs=[{"name": target.name, "process": target.process} for target in targets],
            **facts,
        )
        if command["do"] in ("pause", "partition", "stop-broker"):
            for target in targets:
                self._hold(number, target, at + command["at_most_ms"] / 1000.0, cut=command["do"] == "partition")
            if not targets:
                self._report("released", number=number)
            return
        for target in targets:
            target.struck = True
            os.kill(target.process, SIGNALS.get(command["do"], signal.SIGKILL))

    def held(self) -> set[int]:
        """Return the processes that are stopped or disconnected now."""
        return {held.process for held in self._held.values()}

    def release_what_is_due(self) -> float | None:
        """Release the programs whose time has come; return the seconds until the next release, or None."""
        now = time.monotonic()
        for number in [number for number, held in self._held.items() if held.due <= now]:
            self._release(number, self._held.pop(number))
        return min((held.due - now for held in self._held.values()), default=None)

    def release_all(self) -> None:
        """Release all programs: a stopped program cannot receive that the run has ended."""
        while self._held:
            self._release(*self._held.popitem())

    def _targets(self, command: dict[str, Any]) -> list[FaultTarget]:
        running = list(self._running())
        if command["do"] == "everything":
            return [target for target in running if target.name.partition("-")[0] in HIT_BY_CHAOS]
        named = OF_THE_NAME.get(command["do"])
        names = [named] if named else command["nodes"]
        return [target for target in running if target.name in names]

    def _hold(self, number: int, target: FaultTarget, due: float, *, cut: bool) -> None:
        self._held[number] = Held(target, target.process, cut, due)
        if cut:
            self._order(f"cut {target.name}")
        else:
            os.kill(target.process, signal.SIGSTOP)

    def _release(self, number: int, held: Held) -> None:
        if held.cut:
            self._order(f"heal {held.target.name}")
        elif any(target.process == held.process for target in self._running()):
            os.kill(held.process, signal.SIGCONT)
        self._report("released", number=number)

    def _order(self, line: str) -> None:
        assert self._relay is not None, "no node can be disconnected without a relay"
        os.write(self._relay, f"{line}\n".encode())
