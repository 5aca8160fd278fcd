"""Direct wiring: data go straight from program to program, all else through the broker. Behind `Link`'s interface.

Each program publishes its data at an outlet of its own, an XPUB, and its one SUB is connected to the broker and to the
outlets of its peers. An outlet hears of each new subscription. A program that proves its links subscribes to a fresh
address, after all others; the outlet answers that with an echo, so the prover knows that its subscriptions hold there.
"""

from __future__ import annotations

import ipaddress
import logging
import socket
from collections.abc import Callable
from typing import NamedTuple, cast

import zmq
from zmq.utils.monitor import parse_monitor_message

from neuron_node.addresses import DATA_LETTERS
from neuron_node.codec import encode
from neuron_node.errors import UserError
from neuron_node.protocol import NOBODY, Echo, Header
from neuron_node.transport import LINGER_MS, LONGEST_IPC_PATH, SENT_BY_REFERENCE_BYTES, Endpoints, Link, bound_socket

PROBE = b"\x01P"
"""How the notice of a new subscription to a probe's address begins."""
DESCRIPTORS_A_PEER = 2
"""A connection each way."""

logger = logging.getLogger("exmachina")


class Listening(NamedTuple):
    """Where a program's outlet is to be, and how many open files it may take.

    Of `tcp://HOST:PORT` the host is the name by which others find this one, or `*` for its own; the port may be `*`. For an
    address it listens there alone, for a name at all of this machine's interfaces.
    In `ipc://PATH` a `*` stands for the program's incarnation.
    """

    endpoint: str
    descriptors: int


def check_listening(name: str, endpoint: str) -> str:
    """The endpoint, if an outlet can be there. Raises `UserError`."""
    transport, _, rest = endpoint.partition("://")
    host, _, port = rest.rpartition(":")
    good_port = port == "*" or (port.isdigit() and 0 < int(port) < 65536)
    if not (transport == "ipc" and rest) and not (transport == "tcp" and host and good_port):
        raise UserError(f"{name}: {endpoint!r} is no endpoint to listen at; right would be tcp://HOST:PORT, * for any")
    if transport == "ipc" and len(rest.encode()) > LONGEST_IPC_PATH:
        raise UserError(
            f"{name}: the path of {endpoint!r} is longer than the {LONGEST_IPC_PATH} bytes that a socket's may have"
        )
    return endpoint


class DirectLink(Link):
    """A link with an outlet. `endpoint` is where peers find that."""

    def __init__(self, endpoints: Endpoints, receive_timeout_ms: int, incarnation: bytes, listening: Listening) -> None:
        super().__init__(endpoints, receive_timeout_ms, listening.descriptors)
        self._echo: bytes = encode(Echo(Header(NOBODY, 0, 0, incarnation)))
        try:
            self._outlet, self.endpoint = _outlet(self._context, listening.endpoint, incarnation)
        except UserError:
            super().close()
            raise
        # As `Link` does it.
        self._publish = cast("Callable[[bytes, int, bool], object]", super(zmq.Socket, self._outlet).send)

    def send(self, frame: bytes) -> bool:
        """Data to whoever has subscribed to them here; all else to the broker, as everything where there is no peer."""
        if not self._peers or frame[0] not in DATA_LETTERS:
            return super().send(frame)
        self._working = True
        self._publish(frame, 0, len(frame) < SENT_BY_REFERENCE_BYTES)
        return True

    def receive_many(self, most: int) -> list[bytes]:
        """So many frames, or fewer. While none is there, new subscriptions to the outlet are looked at."""
        working, self._working = self._working, False
        # Whoever has just sent data will be sent some: it is not worth the time to look at the outlet as well.
        if self._peers and not working and not self._wait():
            if not self._silent:
                self._silent = True
                self._sub.setsockopt(zmq.RCVTIMEO, self._receive_timeout_ms)
            return []
        return super().receive_many(most)

    def connect(self, endpoint: str) -> None:
        """Hear a peer; where that can't be, its echo will be missing."""
        self._peers.add(endpoint)
        self._left.discard(endpoint)
        try:
            self._sub.connect(endpoint)
        except zmq.ZMQError as fault:
            logger.warning("can't connect to %s: %s", endpoint, fault.strerror or fault)

    def disconnect(self, endpoint: str) -> None:
        """Hear a peer no longer."""
        self._peers.discard(endpoint)
        self._left.add(endpoint)
        try:
            self._sub.disconnect(endpoint)
        except zmq.ZMQError as fault:
            logger.warning("can't disconnect from %s: %s", endpoint, fault.strerror or fault)

    def broken(self) -> bool:
        """Whether a connection has broken since it was made, but for those to peers that need not be heard any more."""
        push, sub = self._monitors
        while sub.poll(0):
            if parse_monitor_message(sub.recv_multipart())["endpoint"].decode() not in self._left:
                return True
        return bool(push.poll(0))

    def close(self) -> None:
        """Give what was sent half a second to leave, then let go."""
        self._outlet.close(LINGER_MS)
        super().close()

    def _connect(self) -> None:
        super()._connect()
        self._peers: set[str] = set()
        self._left: set[str] = set()
        self._working = False

    def _wait(self) -> bool:
        """Until a frame is there or it has been silent for long; whether one is."""
        awaited = [(self._sub, zmq.POLLIN), (self._outlet, zmq.POLLIN)]
        while True:
            ready = dict(zmq.zmq_poll(awaited, self._receive_timeout_ms))
            if self._outlet in ready:
                self._answer()
            elif not ready:
                return False
            if self._sub in ready:
                return True

    def _answer(self) -> None:
        """Echo to every new subscription to a probe's address: whatever its sender subscribed to before holds by now."""
        try:
            while True:
                notice = self._outlet.recv(zmq.NOBLOCK)
                if notice.startswith(PROBE):
                    self._outlet.send(notice[1:] + self._echo)
        except zmq.Again:
            pass


def _outlet(
    context: zmq.Context[zmq.Socket[bytes]], endpoint: str, incarnation: bytes
) -> tuple[zmq.Socket[bytes], str]:
    """An outlet, and where others find it. Raises `UserError`."""
    transport, _, rest = endpoint.partition("://")
    if transport == "ipc":
        endpoint = endpoint.replace("*", incarnation.hex())
        return bound_socket(context, zmq.XPUB, endpoint), endpoint
    host, _, port = rest.rpartition(":")
    interface = "127.0.0.1" if host == "localhost" else host if _is_number(host) else "*"
    outlet = bound_socket(context, zmq.XPUB, f"tcp://{interface}:{port}")
    port = outlet.getsockopt_string(zmq.LAST_ENDPOINT).rpartition(":")[2]
    return outlet, f"tcp://{socket.gethostname() if host == '*' else host}:{port}"


def _is_number(host: str) -> bool:
    """Whether it is an address, at which alone to listen, and not a name."""
    try:
        ipaddress.IPv4Address(host)
    except ValueError:
        return False
    return True
