"""Direct wiring: data frames go from program to program, control messages through the broker. Same interface as `Link`.

Each program publishes its data frames at its outlet, an XPUB socket. Its one SUB socket is connected to the broker and to the
outlets of its peers. An outlet is notified of each new subscription. A program that proves its links subscribes to a fresh
address, after all other addresses. The outlet answers with an echo, which proves that it knows the earlier subscriptions.
"""

from __future__ import annotations

import ipaddress
import logging
import socket
from collections.abc import Callable
from typing import NamedTuple, cast

import zmq

from neuron_node.addresses import DATA_LETTERS
from neuron_node.codec import encode
from neuron_node.errors import UserError
from neuron_node.frames import MAX_FRAME_BYTES
from neuron_node.keys import BROKER, COORDINATOR, NODE, check_name
from neuron_node.protocol import NOBODY, Echo, Header
from neuron_node.security import OwnKeys
from neuron_node.transport import (
    LINGER_MS,
    LONGEST_IPC_PATH,
    SENT_BY_REFERENCE_BYTES,
    Endpoints,
    Link,
    Secure,
    bound_socket,
    is_tcp,
)
from neuron_node.zap import BoundSockets, ZapHandler

PROBE = b"\x01P"
"""The first bytes of the notification about a new subscription to a probe's address."""
KEY_MARK = "#"
"""Separates the endpoint of an outlet from the name of its key. Peers look the public key up in their own folder."""
DESCRIPTORS_A_PEER = 2
"""Open files per peer: one connection in each direction."""

logger = logging.getLogger("exmachina")


class Listening(NamedTuple):
    """The endpoint of a program's outlet, and the number of files that the program may open.

    In `tcp://HOST:PORT`, peers connect to HOST; `*` stands for the name of this host. The port may be `*` for any free port.
    If HOST is an address, the outlet listens at this address only; if it is a name, at all interfaces.
    In `ipc://PATH`, a `*` stands for the program's incarnation.
    """

    endpoint: str
    descriptors: int


def check_listening(name: str, endpoint: str) -> str:
    """Return the endpoint of an outlet, checked; `name` is the option for the message. Raises `UserError` if it is invalid."""
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
    """A link with an outlet. Peers connect to `endpoint`."""

    def __init__(
        self,
        endpoints: Endpoints,
        receive_timeout_ms: int,
        incarnation: bytes,
        listening: Listening,
        message_bytes: int = MAX_FRAME_BYTES,
        keys: OwnKeys | None = None,
    ) -> None:
        """With `keys`, connections over TCP are encrypted, and only nodes and the coordinator connect to the outlet.

        Raises:
            UserError: the outlet's endpoint can't be bound, or the keys can't be read.
        """
        self._keys = keys
        secure = keys.client_of(BROKER) if keys else None
        super().__init__(endpoints, receive_timeout_ms, listening.descriptors, message_bytes, secure)
        self._echo: bytes = encode(Echo(Header(NOBODY, 0, 0, incarnation)))
        self._over_tcp: BoundSockets | None = None
        try:
            # The handler must be there before a socket is bound.
            handler = ZapHandler(self._context, keys.folder, (NODE, COORDINATOR)) if keys else None
            server = keys.server() if keys else None
            self._outlet, self.endpoint = _outlet(self._context, listening.endpoint, incarnation, server)
        except UserError:
            super().close()
            raise
        if keys and handler and is_tcp(self.endpoint):
            self._over_tcp = BoundSockets(handler)
            self._over_tcp.add(self._outlet)
            self.endpoint += KEY_MARK + keys.own.name
        # Call the C method directly, as `Link` does.
        self._publish = cast("Callable[[bytes, int, bool], object]", super(zmq.Socket, self._outlet).send)

    def send(self, frame: bytes) -> bool:
        """Send data frames to the subscribed peers, and control messages to the broker. Without peers, the broker gets all."""
        if not self._peers or frame[0] not in DATA_LETTERS:
            return super().send(frame)
        self._working = True
        self._publish(frame, 0, len(frame) < SENT_BY_REFERENCE_BYTES)
        return True

    def receive_many(self, most: int) -> list[bytes]:
        """Return messages with `most` frames in all, or fewer. While it waits, it answers new subscriptions to the outlet."""
        working, self._working = self._working, False
        # A program that has just sent data frames receives some soon: polling the outlet too would take longer.
        if self._peers and not working and not self._wait():
            self._become_silent()
            return []
        return super().receive_many(most)

    def connect(self, endpoint: str) -> None:
        """Connect to a peer's outlet. If this fails, it logs a warning; the peer's echo then stays missing."""
        self._peers.add(endpoint)
        self._left.discard(endpoint.partition(KEY_MARK)[0])
        where, _, key = endpoint.partition(KEY_MARK)
        try:
            if self._keys and is_tcp(where):
                # libzmq copies the options at each connect.
                self._keys.client_of(check_name(key))(self._sub)
            self._sub.connect(where)
        except (zmq.ZMQError, UserError) as fault:
            logger.warning("can't connect to %s: %s", endpoint, fault)

    def disconnect(self, endpoint: str) -> None:
        """Disconnect from a peer's outlet."""
        self._peers.discard(endpoint)
        self._left.add(endpoint.partition(KEY_MARK)[0])
        try:
            self._sub.disconnect(endpoint.partition(KEY_MARK)[0])
        except zmq.ZMQError as fault:
            logger.warning("can't disconnect from %s: %s", endpoint, fault.strerror or fault)

    def broken(self) -> bool:
        """Return whether a connection has broken, except those to peers that were disconnected on purpose."""
        if self._over_tcp is not None:
            self._over_tcp.poll()
        return self._has_broken(self._left)

    def close(self) -> None:
        """Close the sockets; messages that are not sent within half a second are dropped."""
        self._outlet.close(LINGER_MS)
        super().close()

    def _connect(self) -> None:
        super()._connect()
        self._peers: set[str] = set()
        self._left: set[str] = set()
        self._working = False

    def _wait(self) -> bool:
        """Wait for a message up to the receive timeout; return whether one has arrived."""
        awaited = [(self._sub, zmq.POLLIN), (self._outlet, zmq.POLLIN), *self._watched]
        while True:
            ready = dict(zmq.zmq_poll(awaited, self._receive_timeout_ms))
            if self._outlet in ready:
                self._answer()
            elif not ready:
                return False
            if self._sub in ready:
                return True
            if ready.keys() - {self._outlet}:
                return False

    def _answer(self) -> None:
        """Send an echo for every new subscription to a probe's address: the outlet knows the earlier subscriptions by now."""
        try:
            while True:
                notice = self._outlet.recv(zmq.NOBLOCK)
                if notice.startswith(PROBE):
                    self._outlet.send(notice[1:] + self._echo)
        except zmq.Again:
            pass


def _outlet(
    context: zmq.Context[zmq.Socket[bytes]], endpoint: str, incarnation: bytes, secure: Secure | None
) -> tuple[zmq.Socket[bytes], str]:
    """Return an outlet, and the endpoint that peers connect to. Raises `UserError` if the endpoint can't be bound."""
    transport, _, rest = endpoint.partition("://")
    if transport == "ipc":
        endpoint = endpoint.replace("*", incarnation.hex())
        return bound_socket(context, zmq.XPUB, endpoint), endpoint
    host, _, port = rest.rpartition(":")
    interface = "127.0.0.1" if host == "localhost" else host if _is_number(host) else "*"
    outlet = bound_socket(context, zmq.XPUB, f"tcp://{interface}:{port}", secure=secure)
    port = outlet.getsockopt_string(zmq.LAST_ENDPOINT).rpartition(":")[2]
    return outlet, f"tcp://{socket.gethostname() if host == '*' else host}:{port}"


def _is_number(host: str) -> bool:
    """Return whether a host is an IPv4 address, and not a name."""
    try:
        ipaddress.IPv4Address(host)
    except ValueError:
        return False
    return True
