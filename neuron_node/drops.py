"""Messages that can't be used: counted by reason, told once a sender, and otherwise forgotten."""

from __future__ import annotations

import logging
from collections import Counter

from neuron_node.codec import sender_of
from neuron_node.errors import PeerError, Stale, WrongVersion
from neuron_node.events import Log

SENDERS_AT_MOST = 256


class Drops:
    """What a program has dropped so far."""

    def __init__(self) -> None:
        self.counts = Counter[str]()
        self._told: set[bytes] = set()

    def note(self, fault: PeerError, frame: bytes) -> list[Log]:
        """Count a fault; a line for the log the first time that its sender errs. What is merely stale is no news."""
        self.counts[fault.reason] += 1
        if isinstance(fault, Stale):
            return []
        sender = fault.sender if isinstance(fault, WrongVersion) else sender_of(frame)
        return self.tell_once(sender, f"dropped a message ({fault.reason}): {fault}; more like it are only counted")

    def tell_once(self, sender: bytes, line: str) -> list[Log]:
        """A line for the log, unless one about this sender was told before."""
        if sender in self._told or len(self._told) >= SENDERS_AT_MOST:
            return []
        self._told.add(sender)
        return [Log(logging.WARNING, line)]
