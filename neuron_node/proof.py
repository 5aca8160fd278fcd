"""How a program proves its links: it subscribes, last, to a fresh address and sends to it until that comes back.

A SUB passes its subscriptions on in order, so once the probe is heard all earlier subscriptions hold. Nothing else says so.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable

from neuron_node.addresses import probe_address
from neuron_node.codec import encode
from neuron_node.errors import Stale
from neuron_node.events import Action, Send, Subscribe, Unsubscribe
from neuron_node.messages import IDENTITY_LENGTH, Header, Probe


class LinkProof:
    """One program's proofs, one after the other. `header` makes the header of a probe from its number."""

    def __init__(self, incarnation: bytes, header: Callable[[int], Header]) -> None:
        self.pending = False
        self._incarnation = incarnation
        self._header = header
        self._number = 0
        self._address = b""

    def begin(self) -> list[Action]:
        """Begin a new proof; whatever is under way of an earlier one proves nothing now."""
        stale: list[Action] = [Unsubscribe(self._address)] if self.pending else []
        self._number += 1
        name = hashlib.sha256(self._incarnation + self._number.to_bytes(8, "big")).digest()[:IDENTITY_LENGTH]
        self._address = probe_address(name)
        self.pending = True
        return [*stale, Subscribe(self._address), self.again()]

    def again(self) -> Send:
        """Send the probe once more: it may have been lost."""
        return Send(self._address, encode(Probe(self._header(self._number))))

    def returned(self, message: Probe) -> Action:
        """The probe has come back, the links are proved. Raises `Stale` if it is an earlier one, or comes twice."""
        if not self.pending or message.header.pass_number != self._number:
            raise Stale("an earlier probe")
        self.pending = False
        return Unsubscribe(self._address)
