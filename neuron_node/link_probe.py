"""How a program proves its links: it subscribes, last, to a fresh address and sends to it until that comes back.

A SUB passes its subscriptions on in order, so once the probe is heard all earlier subscriptions hold. Nothing else says so.
In direct wiring the same subscription reaches the peers too, and each of them, when it does, sends an echo to that address.
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
    """One program's proofs, one after the other. `header` makes the header of a probe from its number."""

    def __init__(self, incarnation: bytes, header: Callable[[int], Header]) -> None:
        self.pending = False
        """Whether the broker has not returned the probe."""
        self.missing: set[bytes] = set()
        """The peers whose echo has not come, by incarnation."""
        self._incarnation = incarnation
        self._header = header
        self._number = 0
        self._address = b""

    @property
    def complete(self) -> bool:
        """Whether every link is proved."""
        return not self.pending and not self.missing

    def begin(self, peers: Iterable[bytes] = ()) -> list[Action]:
        """Begin a new proof; whatever is under way of an earlier one proves nothing now."""
        stale: list[Action] = [] if self.complete else [Unsubscribe(self._address)]
        self._number += 1
        name = hashlib.sha256(self._incarnation + self._number.to_bytes(8, "big")).digest()[:IDENTITY_LENGTH]
        self._address = probe_address(name)
        self.pending, self.missing = True, set(peers)
        return [*stale, Subscribe(self._address), self._probe()]

    def again(self) -> list[Action]:
        """Ask once more for what has not come: it may have been lost. A peer answers to a fresh subscription alone."""
        if self.pending:
            return [self._probe()]
        return [Unsubscribe(self._address), Subscribe(self._address)] if self.missing else []

    def returned(self, message: Probe) -> list[Action]:
        """The probe has come back from the broker. Raises `Stale` if it is an earlier one, or comes twice."""
        if not self.pending or message.header.pass_number != self._number:
            raise Stale("an earlier probe")
        self.pending = False
        return self._end()

    def echoed(self, address: bytes, message: Echo) -> list[Action]:
        """A peer's echo has come. Raises `Stale` if none is waited for."""
        if address != self._address or message.header.incarnation not in self.missing:
            raise Stale("an earlier echo")
        self.missing.remove(message.header.incarnation)
        return self._end()

    def _end(self) -> list[Action]:
        return [Unsubscribe(self._address)] if self.complete else []

    def _probe(self) -> Send:
        return Send(self._address + encode(Probe(self._header(self._number))))
