"""The key pairs of CURVE, libzmq's encryption."""

from __future__ import annotations

import zmq
from zmq.utils import z85


def new_curve_pair() -> tuple[bytes, bytes]:
    """Return a new public key and its secret key, 32 bytes each."""
    public, secret = zmq.curve_keypair()
    return z85.decode(public), z85.decode(secret)


def belong_together(public: bytes, secret: bytes) -> bool:
    """Whether two keys are a pair."""
    return z85.decode(zmq.curve_public(z85.encode(secret))) == public
