"""Shared secrets of two key pairs of CURVE, by PyNaCl: X25519 (RFC 7748) as NaCl's `crypto_box_beforenm` uses it."""

from __future__ import annotations

from nacl.bindings import crypto_box_beforenm
from nacl.exceptions import CryptoError

from neuron_node.errors import UserError


def shared_secret(own_secret: bytes, other_public: bytes) -> bytes:
    """Return the secret of 32 bytes that this holder of a key shares with another. Raises `UserError` for a public key that is none."""
    try:
        return crypto_box_beforenm(other_public, own_secret)
    except CryptoError:
        raise UserError(
            "a public key of the folder is no point of the curve; replace it: coordinator keys rotate"
        ) from None
