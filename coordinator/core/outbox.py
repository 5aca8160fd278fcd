"""The actions of the current transition, and the header of the messages among them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from coordinator.core.events import Report
from neuron_node.addresses import ADDRESS_LENGTH
from neuron_node.codec import encode
from neuron_node.events import Send
from neuron_node.protocol import Header, Message
from neuron_node.signing import NODES, Sign, signed


class Outbox:
    """Collects actions in order."""

    def __init__(self, run: bytes, incarnation: bytes, generation: int, sign: Sign | None = None) -> None:
        """With `sign`, every message to a node is signed."""
        self.run = run
        self.incarnation = incarnation
        self.generation = generation
        self.messages_sent = 0
        self._sign = sign
        self._actions: list[Any] = []

    def header(self, pass_number: int = 0) -> Header:
        """Return the header of a message that is sent now."""
        return Header(self.run, self.generation, pass_number, self.incarnation)

    def act(self, action: Any) -> None:
        """Append an action."""
        if isinstance(action, Send):
            self.messages_sent += 1
            if self._sign is not None and action.message.startswith(NODES):
                address = action.message[:ADDRESS_LENGTH]
                action = Send(address + signed(address, action.message[ADDRESS_LENGTH:], self._sign))
        self._actions.append(action)

    def act_all(self, actions: Iterable[Any]) -> None:
        """Append several actions."""
        for action in actions:
            self.act(action)

    def send_all(self, sends: list[Send]) -> None:
        """Append messages that are encoded already."""
        self.messages_sent += len(sends)
        self._actions += sends

    def send(self, address: bytes, message: Message) -> None:
        """Encode a message and append it."""
        self.act(Send(address + encode(message)))

    def report(self, event: str, **facts: Any) -> None:
        """Append a report for the programs and people that watch the run."""
        self.act(Report(event, facts))

    def drain(self) -> list[Any]:
        """Return and clear the pending actions."""
        actions, self._actions = self._actions, []
        return actions
