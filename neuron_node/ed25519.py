"""Ed25519 signatures by PyNaCl. Only this file and `x25519.py` import nacl.

A supervisor imports this file before it forks its nodes, so that they share the library's memory. A program without keys does
not import it.
"""

from __future__ import annotations

from nacl.exceptions import CryptoError
from nacl.signing import SigningKey, VerifyKey

from neuron_node.signing import Sign, Verify


def new_signing_pair() -> tuple[bytes, bytes]:
    """Return a new public key and its seed, 32 bytes each."""
    key = SigningKey.generate()
    return bytes(key.verify_key), bytes(key)


def signer(secret: bytes) -> Sign:
    """Return the function that signs with an Ed25519 seed of 32 bytes."""
    key = SigningKey(secret)
    return lambda content: key.sign(content).signature


def verifier(public: bytes) -> Verify:
    """Return the function that verifies signatures against a public key of 32 bytes."""
    key = VerifyKey(public)

    def verify(signature: bytes, content: bytes) -> bool:
        try:
            key.verify(content, signature)
        except (CryptoError, ValueError):
            return False
        return True

    return verify
