"""The relay between nodes and broker, which can disconnect a node as a pulled cable does.

Each node has two sockets here, one for each socket of the broker. The relay passes bytes on without change. A disconnected node
keeps its connections, but no bytes pass in either direction, and new connections are not accepted. Neither side is told. When
the node is connected again, the streams continue where they stopped, even in the middle of a message.
"""

from __future__ import annotations

import contextlib
import os
import resource
import selectors
import socket
from collections.abc import Callable, Mapping
from pathlib import Path

from neuron_node.transport import Endpoints

CHUNK_BYTES = 262_144
TURN_SECONDS = 0.5
WAITING_CONNECTIONS = 64
DESCRIPTORS_A_NODE = 6
"""Per node: two listening sockets, and two connections with two ends each."""


def relayed(broker: Endpoints, node: str) -> Endpoints:
    """Return the endpoints at which a node reaches the broker through the relay."""
    number = node.rpartition("-")[2]
    return Endpoints(f"{broker.inward}-{number}", f"{broker.outward}-{number}")


class End:
    """One end of a connection, and the bytes that are still to be written to it."""

    def __init__(self, node: str, connection: socket.socket) -> None:
        self.node = node
        self.connection = connection
        self.other: End = self
        self.unwritten = b""

    @property
    def wanted(self) -> int:
        """The events to wait for: read only when the other end has written all its bytes."""
        reading = 0 if self.other.unwritten else selectors.EVENT_READ
        return reading | (selectors.EVENT_WRITE if self.unwritten else 0)

    def move(self, mask: int) -> bool:
        """Move all bytes that can be moved now; return False when the connection has ended."""
        try:
            if mask & selectors.EVENT_READ and not self.other.unwritten:
                self.other.unwritten = self.connection.recv(CHUNK_BYTES)
                if not self.other.unwritten:
                    return False
                self.other.write()
            if mask & selectors.EVENT_WRITE:
                self.write()
        except BlockingIOError:
            return True
        except OSError:
            return False
        return True

    def write(self) -> None:
        """Write as many bytes as the socket accepts."""
        with contextlib.suppress(BlockingIOError):
            self.unwritten = self.unwritten[self.connection.send(self.unwritten) :]


class Relay:
    """Accepts connections and passes bytes on, in one thread."""

    def __init__(self, broker: Endpoints, nodes: Mapping[str, Endpoints], orders: int) -> None:
        """`orders` is a file descriptor with one order per line: `cut NODE` or `heal NODE`."""
        self._selector = selectors.DefaultSelector()
        self._cut: set[str] = set()
        self._ends: set[End] = set()
        self._doors: list[tuple[str, socket.socket, Callable[[int], None]]] = []
        self._orders = orders
        self._unread = b""
        os.set_blocking(orders, False)
        self._selector.register(orders, selectors.EVENT_READ, self._obey)
        for node, endpoints in nodes.items():
            for ours, brokers in zip(endpoints, broker, strict=True):
                listening = _listening(ours)
                self._doors.append((node, listening, self._taker(node, listening, _path(brokers))))
                self._watch(node, *self._doors[-1][1:], selectors.EVENT_READ)

    def turn(self, seconds: float) -> None:
        """Wait for events, at most for this time, and handle them."""
        for key, mask in self._selector.select(seconds):
            # An earlier event may have closed this connection, and a new connection may have its descriptor.
            if self._selector.get_map().get(key.fd) is key:
                key.data(mask)

    def close(self) -> None:
        """Close all sockets."""
        for end in list(self._ends):
            end.connection.close()
        for _, listening, _ in self._doors:
            listening.close()
        self._selector.close()

    def _obey(self, _mask: int) -> None:
        read = os.read(self._orders, CHUNK_BYTES)
        if not read:
            self._selector.unregister(self._orders)
        *lines, self._unread = (self._unread + read).split(b"\n")
        for line in lines:
            order, _, name = line.decode().partition(" ")
            (self._cut.add if order == "cut" else self._cut.discard)(name)
            for node, listening, take in self._doors:
                if node == name:
                    self._watch(node, listening, take, selectors.EVENT_READ)
            for end in self._ends:
                if end.node == name:
                    self._await(end)

    def _taker(self, node: str, listening: socket.socket, broker: str) -> Callable[[int], None]:
        def take(_mask: int) -> None:
            with contextlib.suppress(OSError):
                near = End(node, listening.accept()[0])
                far = End(node, socket.socket(socket.AF_UNIX))
                near.other, far.other = far, near
                try:
                    far.connection.connect(broker)
                except OSError:
                    # Without a broker, the node finds its connection closed and tries again.
                    near.connection.close()
                    far.connection.close()
                    return
                for end in (near, far):
                    end.connection.setblocking(False)
                    self._ends.add(end)
                    self._await(end)

        return take

    def _await(self, end: End) -> None:
        def move(mask: int) -> None:
            before = (end.wanted, end.other.wanted)
            if not end.move(mask):
                self._close(end)
            elif (end.wanted, end.other.wanted) != before:
                self._await(end)
                self._await(end.other)

        self._watch(end.node, end.connection, move, end.wanted)

    def _watch(self, node: str, watched: socket.socket, action: Callable[[int], None], wanted: int) -> None:
        """Watch a socket for events, or for none if its node is disconnected."""
        if watched.fileno() in self._selector.get_map():
            self._selector.unregister(watched)
        if wanted and node not in self._cut:
            self._selector.register(watched, wanted, action)

    def _close(self, end: End) -> None:
        """Close both ends, so that both programs notice."""
        for closed in (end, end.other):
            self._watch(closed.node, closed.connection, _nothing, 0)
            closed.connection.close()
            self._ends.discard(closed)


def run_relay(
    broker: Endpoints, nodes: Mapping[str, Endpoints], orders: int, descriptors: int, orphaned: Callable[[], bool]
) -> int:
    """Pass bytes on until SIGTERM, or until the supervisor has died."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < descriptors:
        resource.setrlimit(resource.RLIMIT_NOFILE, (descriptors, hard))
    relay = Relay(broker, nodes, orders)
    while not orphaned():
        relay.turn(TURN_SECONDS)
    return 1


def _path(endpoint: str) -> str:
    return endpoint.removeprefix("ipc://")


def _listening(endpoint: str) -> socket.socket:
    path = Path(_path(endpoint))
    # An earlier relay process has left this socket.
    path.unlink(missing_ok=True)
    listening = socket.socket(socket.AF_UNIX)
    listening.bind(str(path))
    listening.listen(WAITING_CONNECTIONS)
    listening.setblocking(False)
    return listening


def _nothing(_mask: int) -> None:
    """Handle events of a socket that is not watched."""
