"""A person who intervenes in a simulated run: pauses it, sets numbers, silences and kills neurons, and goes back."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

from coordinator.core.events import Answer
from coordinator.core.queries import NO_ROWS
from coordinator.topology import Topology
from neuron_node.frames import IDENTITY_LENGTH
from neuron_node.protocol import NOBODY, Header, Request
from tests.simulation.client import Ask, Client
from tests.simulation.dice import Dice

KINDS = (
    "pause", "step", "weight", "weight", "bias", "rate", "silence", "silence", "rewind", "rewind", "rewind", "kill",
)  # fmt: skip
CHANGES = ("set", "silence", "rewind")
ASKED_AT_MOST = 9


class Person(Client):
    """Intervenes a few times, each time until the answer is there, and resumes each pause."""

    def __init__(self, dice: Dice, topology: Topology, kept: Callable[[], list[int]]) -> None:
        """`kept` returns the steps of the snapshots that a rewind may go back to."""
        self._kept = kept
        super().__init__(dice, topology.layers[0], topology.layers[-1])
        self._topology = topology
        self._arguments: dict[str, Any] = {}
        self._left = dice.between(2, ASKED_AT_MOST)
        self._resumes = False
        self.answered: dict[str, bool] = {}
        """Whether each change was carried out, by the name of its request."""

    def start(self, now_ms: float) -> Sequence[Any]:
        """Wait a little."""
        self._rest = self._dice.below(30)
        return []

    def _ask(self) -> Sequence[Any]:
        if self._left <= 0 and not self._resumes:
            return []
        self._left -= 1
        self._asked += 1
        self._name = b"man" + self._asked.to_bytes(IDENTITY_LENGTH - 3, "big")
        kind = "resume" if self._resumes else self._dice.pick(KINDS)
        self._resumes = kind in ("pause", "step") or (self._resumes and kind != "resume")
        self._command, self._arguments = self._drawn(kind)
        return [self._request()]

    def _drawn(self, kind: str) -> tuple[str, dict[str, Any]]:
        dice, topology = self._dice, self._topology
        names = [name for group in topology.groups.values() if group.layer > 0 for name in group.names]
        value = round(2.0 * dice.random() - 1.0, 3)
        if kind == "silence":
            return "silence", {"neuron": dice.pick(list(topology.group_of)), "end": dice.falls(0.4)}
        if kind == "rewind":
            step = dice.below(13) if dice.falls(0.1) else dice.pick(self._kept())
            return "rewind", {"step": step} | ({"branch": dice.below(3)} if dice.falls(0.3) else {})
        if kind == "kill":
            return "kill", {"neuron": dice.pick(names)}
        if kind == "rate":
            return "set", {"what": "rate", "value": 0.05 + 0.4 * dice.random()}
        if kind == "bias":
            return "set", {"what": "bias", "neuron": dice.pick(names), "value": value}
        if kind == "weight":
            sender = dice.pick([group for group in topology.groups.values() if topology.receivers[group.number]])
            below = topology.groups[dice.pick(topology.receivers[sender.number])]
            ends = {"neuron": dice.pick(sender.names), "to": dice.pick(below.names)}
            return "set", {"what": "weight", **ends, "value": value}
        return kind, {"count": dice.between(1, 2)} if kind == "step" else {}

    def _receive(self, answer: Answer) -> None:
        before, command = len(self.answers), self._command
        super()._receive(answer)
        if len(self.answers) > before and command in CHANGES:
            self.answered[self._name.hex()] = self.answers[-1][1]

    def _request(self) -> Ask:
        arguments = json.dumps(self._arguments)
        return Ask(Request(Header(NOBODY, 0, 0, NOBODY), self._name, self._command, arguments, NO_ROWS))
