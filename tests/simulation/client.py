"""A person at a command line who asks a simulated run now and then, while everything else goes wrong."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from coordinator.core.events import Answer
from coordinator.core.queries import NO_ROWS
from coordinator.core.telemetry import MOST_RATE
from neuron_node.activations import Array
from neuron_node.frames import IDENTITY_LENGTH
from neuron_node.protocol import NOBODY, Header, Request
from tests.simulation.dice import Dice

COMMANDS = (
    "status", "neuron", "forward", "neurons", "held_out", "describe", "forward", "neuron", "why", "nonsense", "trace", "trace",
    "watch", "watch",
)  # fmt: skip
ABSURD = {"forward": "absurd forward", "trace": "absurd trace"}
"""The names of the commands with rows that no network can take."""


def client_rows(features: int) -> Array:
    """Two rows."""
    return np.resize(np.array([0.25, -0.5, 1.0, 0.75]), (2, features))


def absurd_row(columns: int) -> Array:
    """Return a row that no network can take."""
    return np.resize(np.array([1.79e308, -1.79e308]), (1, columns))


class Ask(NamedTuple):
    """Send a request to the front door."""

    request: Request


class Client:
    """Asks one thing after another, each until it is answered."""

    wanted = 1
    has_deferred_work = False

    def __init__(self, dice: Dice, features: int, outputs: int) -> None:
        self.answers: list[tuple[str, bool, Any]] = []
        self._dice = dice
        rows = client_rows(features)
        self._rows = {
            "forward": rows,
            "trace": np.concatenate([rows[:1], np.ones((1, outputs))], axis=1),
            ABSURD["forward"]: absurd_row(features),
            ABSURD["trace"]: absurd_row(features + outputs),
        }
        self._asked = 0
        self._command = ""
        self._name = NOBODY
        self._rest = 0
        self.absurd = False
        """Whether rows are sent that no network can take."""
        self.stops = False
        """Whether the next question is that the run may end."""

    def start(self, now_ms: float) -> Sequence[Any]:
        """The first question."""
        return self._ask()

    def handle(self, event: Any, now_ms: float) -> Sequence[Any]:
        """Receive an answer, ask again, or ask the next thing."""
        if isinstance(event, Answer):
            self._receive(event)
            return []
        if self._command:
            return [self._request()]
        self._rest -= 1
        return self._ask() if self._rest < 0 else []

    def receive(self, messages: Sequence[bytes], now_ms: float) -> Sequence[Any]:
        """Messages of the broker do not come here."""
        raise AssertionError("a client is not connected to the broker")

    def _receive(self, answer: Answer) -> None:
        if not self._command or answer.request_id != self._name:
            return
        reply = answer.reply
        values = reply.rows if self._command in ("forward", "held_out") and reply.good else json.loads(reply.result)
        self.answers.append((self._command, reply.good, values))
        self._command, self._rest = "", self._dice.below(8)

    def _ask(self) -> Sequence[Any]:
        self._asked += 1
        self._name = b"ask" + self._asked.to_bytes(IDENTITY_LENGTH - 3, "big")
        self._command = "stop" if self.stops else self._dice.pick(COMMANDS)
        if self._command in ABSURD and self.absurd and self._dice.falls(0.5):
            self._command = ABSURD[self._command]
        return [self._request()]

    def _request(self) -> Ask:
        rows = self._rows.get(self._command, NO_ROWS)
        made: dict[str, Any] = {}
        if self._command == "neuron":
            made = {"neuron": self._dice.pick(("input.0", "output.0"))}
        elif self._command == "watch":
            made = {"watcher": "a client", "rate": MOST_RATE}
        arguments = json.dumps(made)
        command = self._command.removeprefix("absurd ")
        return Ask(Request(Header(NOBODY, 0, 0, NOBODY), self._name, command, arguments, rows))
