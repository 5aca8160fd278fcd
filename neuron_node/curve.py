"""CURVE, libzmq's encryption: key pairs, and the options of sockets. Sockets on ipc are not encrypted: their folder protects them."""

from __future__ import annotations

from dataclasses import dataclass

import zmq
from zmq.utils import z85

ZAP_DOMAIN = "exmachina"


@dataclass(frozen=True, slots=True, repr=False)
class CurveServer:
    """Makes a socket that binds a server of CURVE."""

    secret: bytes

    def __call__(self, socket: zmq.Socket[bytes]) -> None:
        """Set the options of a socket, before it is bound."""
        socket.curve_secretkey = z85.encode(self.secret)
        socket.curve_server = True
        # libzmq asks no ZAP handler about a server without a domain.
        socket.zap_domain = ZAP_DOMAIN.encode()


@dataclass(frozen=True, slots=True, repr=False)
class CurveClient:
    """Makes a socket that connects a client of CURVE, which accepts only the server with this public key."""

    public: bytes
    secret: bytes
    server: bytes

    def __call__(self, socket: zmq.Socket[bytes]) -> None:
        """Set the options of a socket, before it is connected."""
        socket.curve_publickey = z85.encode(self.public)
        socket.curve_secretkey = z85.encode(self.secret)
        socket.curve_serverkey = z85.encode(self.server)


def new_curve_pair() -> tuple[bytes, bytes]:
    """Return a new public key and its secret key, 32 bytes each."""
    public, secret = zmq.curve_keypair()
    return z85.decode(public), z85.decode(secret)


def belong_together(public: bytes, secret: bytes) -> bool:
    """Whether two keys are a pair."""
    return z85.decode(zmq.curve_public(z85.encode(secret))) == public
