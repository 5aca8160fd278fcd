"""Counts dropped frames by reason, and logs the first one of each sender."""

from __future__ import annotations

import logging
from collections import Counter

from neuron_node.codec import sender_of
from neuron_node.errors import Duplicate, PeerError, Stale, Unsigned, WrongSignature, WrongVersion
from neuron_node.events import Log
from neuron_node.frames import sender_in

SENDERS_AT_MOST = 256


class DropCounter:
    """The number of dropped frames of a program, by reason: see `PeerError.reason`."""

    def __init__(self) -> None:
        self.counts = Counter[str]()
        self._told: set[bytes] = set()

    def note(self, fault: PeerError, frame: bytes) -> list[Log]:
        """Count a dropped frame; return a line for the log if it is its sender's first fault.

        Stale messages and duplicates are counted but not logged: they are normal after a recovery.
        """
        self.counts[fault.reason] += 1
        if isinstance(fault, Stale | Duplicate):
            return []
        if isinstance(fault, Unsigned | WrongSignature):
            # Nothing in the frame is known to be true: log each reason once, not once for each claimed sender.
            sender = fault.reason.encode()
        else:
            sender = fault.sender if isinstance(fault, WrongVersion) else sender_of(frame) or sender_in(frame)
        return self.tell_once(sender, f"dropped a message ({fault.reason}): {fault}; more like it are only counted")

    def tell_once(self, sender: bytes, line: str) -> list[Log]:
        """Return a line for the log, unless there was a line about this sender before."""
        if sender in self._told or len(self._told) >= SENDERS_AT_MOST:
            return []
        self._told.add(sender)
        return [Log(logging.WARNING, line)]
