"""Frames that can't be used: counted by reason, logged once per sender, and otherwise forgotten."""

from __future__ import annotations

import logging
from collections import Counter

from neuron_node.codec import sender_of
from neuron_node.errors import Duplicate, PeerError, Stale, WrongVersion
from neuron_node.events import Log
from neuron_node.frames import sender_in

SENDERS_AT_MOST = 256


class DropCounter:
    """What a program has dropped so far."""

    def __init__(self) -> None:
        self.counts = Counter[str]()
        self._told: set[bytes] = set()

    def note(self, fault: PeerError, frame: bytes) -> list[Log]:
        """Count a fault; a line for the log the first time that its sender errs. Stale frames and second copies are usual."""
        self.counts[fault.reason] += 1
        if isinstance(fault, Stale | Duplicate):
            return []
        sender = fault.sender if isinstance(fault, WrongVersion) else sender_of(frame) or sender_in(frame)
        return self.tell_once(sender, f"dropped a message ({fault.reason}): {fault}; more like it are only counted")

    def tell_once(self, sender: bytes, line: str) -> list[Log]:
        """A line for the log, unless one about this sender was told before."""
        if sender in self._told or len(self._told) >= SENDERS_AT_MOST:
            return []
        self._told.add(sender)
        return [Log(logging.WARNING, line)]
