"""Finds the key that a registration came with, so that no more nodes use a key than it has places."""

from __future__ import annotations

import logging
import time

from coordinator.core.access import NodeKey
from neuron_node.errors import UserError
from neuron_node.keys import NODE, PublicKeys
from neuron_node.protocol import Register
from neuron_node.registration_proof import is_proof
from neuron_node.security import OwnKeys
from neuron_node.x25519 import shared_secret

LOOK_SECONDS = 0.25
"""The time between two looks at the folder of public keys."""

logger = logging.getLogger("exmachina")


class Places:
    """The holders of nodes' keys. Call it with a registration; it returns the key that made its proof, or None."""

    def __init__(self, keys: OwnKeys) -> None:
        """Read the public keys. Raises `UserError` if they can't be read."""
        self._keys = keys
        self._version = keys.folder.version()
        self._holders = keys.folder.holders()
        self._secrets: dict[bytes, bytes] = {}
        self._look_due = 0.0

    def __call__(self, message: Register) -> NodeKey | None:
        """Return the key that made the proof of a registration; None if no valid key of a node made it."""
        self._look()
        holder = self._holders.get(message.key)
        if holder is None or holder.role != NODE or holder.revoked:
            return None
        proved = is_proof(message.proof, self._secret_with(holder), message.registrant)
        return NodeKey(holder.name, holder.places) if proved else None

    def _secret_with(self, holder: PublicKeys) -> bytes:
        public = holder.curve_public
        if public not in self._secrets:
            self._secrets[public] = shared_secret(self._keys.own.curve_secret, public)
        return self._secrets[public]

    def _look(self) -> None:
        """Read the public keys again if they have changed. The keys of before stay valid while they can't be read."""
        now = time.monotonic()
        if now < self._look_due:
            return
        self._look_due = now + LOOK_SECONDS
        version = self._keys.folder.version()
        if version != self._version:
            try:
                self._holders = self._keys.folder.holders()
            except UserError as fault:
                logger.warning("the public keys can't be read: %s", fault)
                return
            self._version = version
            self._secrets.clear()
