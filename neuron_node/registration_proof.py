"""The proof of the key that a registration came with.

Behind the broker the coordinator does not see the connection of a node, and so not its key. A registration therefore carries a
keyed hash (BLAKE2b, RFC 7693). Its secret is known to the holder of the node's key and to the coordinator only: both compute it
from the own secret and the other's public key of CURVE (`x25519.py`).
"""

from __future__ import annotations

import hashlib
import hmac
from typing import NamedTuple

PROOF_BYTES = 32
_CONTEXT = b"exmachina places"


class Registrant(NamedTuple):
    """What a proof covers: who registers, and where peers reach it. All are the same during one life of a node."""

    incarnation: bytes
    name: str
    host: str
    process: int
    endpoint: str


def prove(secret: bytes, registrant: Registrant) -> bytes:
    """Return the proof of a registration with a shared secret of 32 bytes."""
    fields = [registrant.incarnation, *(str(field).encode() for field in registrant[1:])]
    # Lengths keep the fields apart.
    content = b"".join(len(field).to_bytes(4, "big") + field for field in fields)
    return hashlib.blake2b(content, digest_size=PROOF_BYTES, key=secret, person=_CONTEXT).digest()


def is_proof(proof: bytes | None, secret: bytes, registrant: Registrant) -> bool:
    """Whether a proof was made with this secret for this registration."""
    return proof is not None and hmac.compare_digest(proof, prove(secret, registrant))
