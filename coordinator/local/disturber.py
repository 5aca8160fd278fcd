"""Does to the programs of a supervisor what chaos commands: kills them, stops them, cuts them off, and lets them go."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Protocol

HIT_BY_CHAOS = ("node", "broker", "coordinator")
"""What the names of programs begin with that are hit by `everything`; the relay is chaos's own tool."""
SIGNALS = {"terminate": signal.SIGTERM, "interrupt": signal.SIGINT, "all": signal.SIGTERM}
"""What is sent where it is not SIGKILL."""
OF_THE_NAME = {"broker": "broker", "stop-broker": "broker", "coordinator": "coordinator"}
"""Kinds that hit one program whose name is known."""


class Victim(Protocol):
    """A program under supervision."""

    name: str
    process: int
    struck: bool


@dataclass
class Held:
    """A program that is stopped or cut off, and when it is let go."""

    victim: Victim
    process: int
    cut: bool
    due: float


class Disturber:
    """Strikes; what it strikes down, the supervisor starts again, and doesn't count as the program's own fault."""

    def __init__(
        self,
        running: Callable[[], Iterable[Victim]],
        tell: Callable[..., None],
        relay: int | None,
    ) -> None:
        """`running` gives the programs that run now, `relay` is where the relay's orders are written."""
        self._running = running
        self._tell = tell
        self._relay = relay
        self._held: dict[int, Held] = {}

    def obey(self, command: dict[str, Any]) -> None:
        """Carry out one of the director's commands."""
        number = command["number"]
        if command["do"] == "release":
            if held := self._held.get(number):
                held.due = min(held.due, time.monotonic() + command["after_ms"] / 1000.0)
            return
        victims = self._victims(command)
        at = time.monotonic()
        facts = {key: command[key] for key in ("number", "of", "neuron", "after_step")}
        # Told first, so that whoever listens hears of the deed before its consequences.
        self._tell(
            "struck",
            kind=command["do"],
            at=at,
            programs=[{"name": victim.name, "process": victim.process} for victim in victims],
            **facts,
        )
        if command["do"] in ("pause", "partition", "stop-broker"):
            for victim in victims:
                self._hold(number, victim, at + command["at_most_ms"] / 1000.0, cut=command["do"] == "partition")
            if not victims:
                self._tell("released", number=number)
            return
        for victim in victims:
            victim.struck = True
            os.kill(victim.process, SIGNALS.get(command["do"], signal.SIGKILL))

    def held(self) -> set[int]:
        """The processes that are stopped or cut off now."""
        return {held.process for held in self._held.values()}

    def release_what_is_due(self) -> float | None:
        """Let go of those whose time has come; seconds until the next one's, if there is one."""
        now = time.monotonic()
        for number in [number for number, held in self._held.items() if held.due <= now]:
            self._release(number, self._held.pop(number))
        return min((held.due - now for held in self._held.values()), default=None)

    def release_all(self) -> None:
        """Let go of all: whoever is stopped can't hear that the run has ended."""
        while self._held:
            self._release(*self._held.popitem())

    def _victims(self, command: dict[str, Any]) -> list[Victim]:
        running = list(self._running())
        if command["do"] == "everything":
            return [victim for victim in running if victim.name.partition("-")[0] in HIT_BY_CHAOS]
        named = OF_THE_NAME.get(command["do"])
        names = [named] if named else command["nodes"]
        return [victim for victim in running if victim.name in names]

    def _hold(self, number: int, victim: Victim, due: float, *, cut: bool) -> None:
        self._held[number] = Held(victim, victim.process, cut, due)
        if cut:
            self._order(f"cut {victim.name}")
        else:
            os.kill(victim.process, signal.SIGSTOP)

    def _release(self, number: int, held: Held) -> None:
        if held.cut:
            self._order(f"heal {held.victim.name}")
        elif any(victim.process == held.process for victim in self._running()):
            os.kill(held.process, signal.SIGCONT)
        self._tell("released", number=number)

    def _order(self, line: str) -> None:
        assert self._relay is not None, "nobody can be cut off without a relay"
        os.write(self._relay, f"{line}\n".encode())
