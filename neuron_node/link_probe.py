"""Proves the links of a program: it subscribes, last, to a fresh address, and sends a probe to it until the probe returns.

A SUB socket forwards its subscriptions in order. So when the probe returns, the broker knows all earlier subscriptions.
ZeroMQ gives no other sign of this. In direct wiring the peers receive the same subscription, and each sends an echo.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable

from neuron_node.addresses import probe_address
from neuron_node.codec import encode
from neuron_node.errors import Stale
from neuron_node.events import Action, Send, Subscribe, Unsubscribe
from neuron_node.frames import IDENTITY_LENGTH
from neuron_node.protocol import Echo, Header, Probe


class LinkProbe:
    """The proofs of one program, one after the other. `header` returns the header of a probe from the probe's number."""

    def __init__(self, incarnation: bytes, header: Callable[[int], Header]) -> None:
        self.pending = False
        """Whether the probe has not returned from the broker."""
        self.missing: set[bytes] = set()
        """The incarnations of the peers whose echo has not arrived."""
        self._incarnation = incarnation
        self._header = header
        self._number = 0
        self._address = b""

    @property
    def complete(self) -> bool:
        """Whether every link is proved."""
        return not self.pending and not self.missing

    def begin(self, peers: Iterable[bytes] = ()) -> list[Action]:
        """Begin a new proof with these peers. Probes and echoes of an earlier proof become stale."""
        stale: list[Action] = [] if self.complete else [Unsubscribe(self._address)]
        self._number += 1
        name = hashlib.sha256(self._incarnation + self._number.to_bytes(8, "big")).digest()[:IDENTITY_LENGTH]
        self._address = probe_address(name)
        self.pending, self.missing = True, set(peers)
        return [*stale, Subscribe(self._address), self._probe()]

    def again(self) -> list[Action]:
        """Send the probe again, or subscribe again: messages may have been lost. A peer answers only a new subscription."""
        if self.pending:
            return [self._probe()]
        return [Unsubscribe(self._address), Subscribe(self._address)] if self.missing else []

    def returned(self, message: Probe) -> list[Action]:
        """Handle a probe from the broker. Raises `Stale` for an earlier probe and for a duplicate."""
        if not self.pending or message.header.pass_number != self._number:
            raise Stale("an earlier probe")
        self.pending = False
        return self._end()

    def echoed(self, address: bytes, message: Echo) -> list[Action]:
        """Handle an echo of a peer. Raises `Stale` for an echo of an earlier proof and for a duplicate."""
        if address != self._address or message.header.incarnation not in self.missing:
            raise Stale("an earlier echo")
        self.missing.remove(message.header.incarnation)
        return self._end()

    def _end(self) -> list[Action]:
        return [Unsubscribe(self._address)] if self.complete else []

    def _probe(self) -> Send:
        return Send(self._address + encode(Probe(self._header(self._number))))
