"""ZeroMQ sockets: one PUSH to the broker and one SUB from it. Besides this file, only `direct.py` and the front door import zmq.

A message is one ZeroMQ frame: an address and frames of this protocol. This file sets every bound and timeout of a socket.
"""

from __future__ import annotations

import contextlib
import logging
import os
import resource
import socket as sockets
import stat
import time
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import NamedTuple, cast

import zmq
from zmq.utils.monitor import parse_monitor_message

from neuron_node.addresses import ADDRESS_LENGTH
from neuron_node.errors import InternalError, UserError
from neuron_node.frames import MAX_FRAME_BYTES, frames_in
from neuron_node.limits import JOINED_AT_MOST_BYTES, queued_messages

QUEUED_MESSAGES = 100_000
"""The high-water mark for sending. A step has at most two messages per synapse under way, far fewer than this for one program.

Above this mark, a PUB socket loses messages. So it is not derived from bytes, as the mark for receiving is.
"""
SUBSCRIPTION_AT_MOST_BYTES = 256
"""The largest frame of a subscriber, in the handshake too."""
QUEUED_SUBSCRIPTIONS = 1_000
GATHERED_BYTES = 8 * 1024 * 1024
"""The bytes after which a program handles the messages that it has received, although others are missing."""
SEND_TIMEOUT_MS = 1_000
SENT_BY_REFERENCE_BYTES = 256 * 1024
"""From this size on, copying a message takes longer than the bookkeeping of ZeroMQ for a reference."""
HURRY_MS = 100
"""The longest time that a message waits for the other wanted messages."""
GATHER_MS = 20
"""The same after a silence: the message may be another one than the wanted messages."""
LOOKS = 3
"""How often the relay polls for further messages before it sends."""
IDLE_MS = 50
"""The longest time in which the relay does not process subscriptions and the ends of connections."""
LINGER_MS = 500
HEARTBEAT_INTERVAL_MS = 2_000
HEARTBEAT_TIMEOUT_MS = 6_000
RECONNECT_INTERVAL_MS = 50
RECONNECT_INTERVAL_AT_MOST_MS = 2_000
DESCRIPTORS_A_PROGRAM = 64
LONGEST_IPC_PATH = 107
HANDSHAKE_AT_MOST_BYTES = 1_024
"""libzmq limits the messages of a handshake too, and one of CURVE has more bytes than a subscription may have."""
FOREIGN_AFTER_SECONDS = 5.0
"""After so long, a program that has refused every connection of ours is no broker."""
BREAKS_AT_LEAST = 5

Secure = Callable[["zmq.Socket[bytes]"], None]
"""Sets the options of a socket for TCP, before it is bound or connected."""

logger = logging.getLogger("exmachina")


class Endpoints(NamedTuple):
    """The broker's endpoints: programs send to `inward`, and receive from `outward`."""

    inward: str
    outward: str


DEFAULT_ENDPOINTS = Endpoints("tcp://127.0.0.1:5571", "tcp://127.0.0.1:5572")


def check_endpoint(name: str, endpoint: str) -> str:
    """Return the endpoint, checked; `name` is the option for the message. Raises `UserError` if it is invalid."""
    transport, _, rest = endpoint.partition("://")
    if transport not in ("tcp", "ipc") or not rest:
        raise UserError(f"{name}: {endpoint!r} is no endpoint; right would be tcp://HOST:PORT or ipc:///PATH")
    if transport == "ipc" and len(rest.encode()) > LONGEST_IPC_PATH:
        raise UserError(
            f"{name}: the path of {endpoint!r} is longer than the {LONGEST_IPC_PATH} bytes that a socket's may have"
        )
    if transport == "tcp":
        port = rest.rpartition(":")[2]
        if not (port.isdigit() and 0 < int(port) < 65536):
            raise UserError(f"{name}: {endpoint!r} has no port from 1 to 65535")
    return endpoint


def new_context(descriptors: int = DESCRIPTORS_A_PROGRAM) -> zmq.Context[zmq.Socket[bytes]]:
    """Return a ZeroMQ context, after raising the limit of open files to `descriptors`. libzmq aborts if the limit is too low.

    Raises:
        UserError: the system does not allow so many open files.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < descriptors:
        if hard != resource.RLIM_INFINITY and hard < descriptors:
            raise UserError(
                f"{descriptors} open files are needed, {hard} are allowed; raise the limit (ulimit -n {descriptors})"
            )
        resource.setrlimit(resource.RLIMIT_NOFILE, (descriptors, hard))
    return zmq.Context()


def bound_socket(
    context: zmq.Context[zmq.Socket[bytes]],
    kind: int,
    endpoint: str,
    message_bytes: int = MAX_FRAME_BYTES,
    secure: Secure | None = None,
) -> zmq.Socket[bytes]:
    """Return a socket bound to the endpoint. Raises `UserError` if the endpoint can't be bound.

    A PULL socket receives messages up to `message_bytes`. Any other socket receives only subscriptions. `secure` prepares the
    socket if the endpoint is TCP.
    """
    socket = context.socket(kind)
    set_bounds(socket, message_bytes)
    if kind != PULL:
        socket.setsockopt(zmq.MAXMSGSIZE, SUBSCRIPTION_AT_MOST_BYTES)
        socket.setsockopt(zmq.RCVHWM, QUEUED_SUBSCRIPTIONS)
    if secure is not None and is_tcp(endpoint):
        secure(socket)
        socket.setsockopt(zmq.MAXMSGSIZE, max(socket.getsockopt(zmq.MAXMSGSIZE), HANDSHAKE_AT_MOST_BYTES))
    try:
        bind(socket, endpoint)
    except UserError:
        socket.close(0)
        raise
    return socket


def is_tcp(endpoint: str) -> bool:
    """Whether an endpoint is reached over TCP, and not through a file of this machine."""
    return endpoint.startswith("tcp://")


def bind(socket: zmq.Socket[bytes], endpoint: str) -> None:
    """Bind a socket. Raises `UserError` if the endpoint can't be bound."""
    if endpoint.startswith("ipc://"):
        _check_ipc_path(Path(endpoint.removeprefix("ipc://")))
    try:
        socket.bind(endpoint)
    except zmq.ZMQError as fault:
        raise UserError(
            f"can't listen on {endpoint}: {fault.strerror or fault}; is another program using it?"
        ) from None


def _check_ipc_path(path: Path) -> None:
    """Raise `UserError` if libzmq would remove a file that is no socket, or the socket of a program that lives."""
    try:
        mode = path.lstat().st_mode
    except OSError:
        # It does not exist, or its folder can't be read, as the bind will report.
        return
    if not stat.S_ISSOCK(mode):
        raise UserError(
            f"can't listen on ipc://{path}: a file that is no socket has this path; remove it, or choose another"
        )
    with sockets.socket(sockets.AF_UNIX, sockets.SOCK_STREAM) as probe:
        # Do not wait for a program that accepts no connection at the moment: its queue being full, it lives.
        probe.setblocking(False)
        try:
            probe.connect(str(path))
        except (ConnectionRefusedError, FileNotFoundError):
            # A dead program left the socket.
            return
        except OSError as fault:
            if not isinstance(fault, BlockingIOError):
                return
    raise UserError(
        f"can't listen on ipc://{path}: another program listens there already; end it, or choose another path"
    )


def proxy(inward: zmq.Socket[bytes], outward: zmq.Socket[bytes]) -> None:
    """Forward every message unchanged, inside ZeroMQ, until the context ends; then close both sockets."""
    with contextlib.suppress(zmq.ContextTerminated):
        zmq.proxy(inward, outward)
    inward.close(0)
    outward.close(0)


def relay(inward: zmq.Socket[bytes], outward: zmq.Socket[bytes]) -> None:
    """Forward messages until the context ends, joining the frames for one address; then close both sockets.

    Receives all messages that have arrived, and polls again a few times before it sends. So a receiver wakes up once for many
    frames. The relay reads only addresses, and keeps no message.
    """
    receive = cast("Callable[[int], bytes]", super(zmq.Socket, inward).recv)
    send = cast("Callable[[bytes], object]", super(zmq.Socket, outward).send)
    inward.setsockopt(zmq.RCVTIMEO, IDLE_MS)
    # A poll processes subscriptions and the ends of connections. Other than getsockopt, it lets other threads run meanwhile.
    outwards = [(outward, zmq.POLLIN)]
    with contextlib.suppress(zmq.ContextTerminated):
        while True:
            try:
                message = receive(0)
            except zmq.Again:
                zmq.zmq_poll(outwards, 0)
                continue
            bins, taken, looks = {message[:ADDRESS_LENGTH]: [message]}, len(message), 0
            while looks < LOOKS and taken < JOINED_AT_MOST_BYTES:
                try:
                    while taken < JOINED_AT_MOST_BYTES:
                        message = receive(zmq.NOBLOCK)
                        taken += len(message)
                        address = message[:ADDRESS_LENGTH]
                        if address in bins:
                            bins[address].append(message[ADDRESS_LENGTH:])
                        else:
                            bins[address] = [message]
                except zmq.Again:
                    looks += 1
                    if looks < LOOKS:
                        os.sched_yield()
            # Otherwise new subscriptions may take effect a millisecond later.
            zmq.zmq_poll(outwards, 0)
            for frames in bins.values():
                send(frames[0] if len(frames) == 1 else b"".join(frames))
    inward.close(0)
    outward.close(0)


PULL, PUB = zmq.PULL, zmq.PUB


_OF_A_CONNECTION = zmq.EVENT_DISCONNECTED | zmq.EVENT_HANDSHAKE_SUCCEEDED | zmq.EVENT_HANDSHAKE_FAILED_AUTH


class Link:
    """A program's connection to the broker. After a break, `renew` replaces both sockets."""

    endpoint = ""
    """The endpoint of the outlet for direct wiring: this link has none."""

    def __init__(
        self,
        endpoints: Endpoints,
        receive_timeout_ms: int,
        descriptors: int = DESCRIPTORS_A_PROGRAM,
        message_bytes: int = MAX_FRAME_BYTES,
        secure: Secure | None = None,
    ) -> None:
        """`message_bytes` is the size of the largest message of the network. `secure` prepares sockets for TCP."""
        self.endpoints = endpoints
        self.lost_sends = 0
        self._message_bytes = message_bytes
        self._secure = secure
        self._largest_refused = 0
        self._context = new_context(descriptors)
        self._receive_timeout_ms = receive_timeout_ms
        self._silent = True
        self._hurry_ms = min(HURRY_MS, receive_timeout_ms)
        self._gather_ms = min(GATHER_MS, receive_timeout_ms)
        self._watched: list[tuple[zmq.Socket[bytes], int]] = []
        self._succeeded: set[str] = set()
        """The endpoints at which a handshake has ever succeeded."""
        self._breaks = 0
        self._first_break = 0.0
        self._connect()

    def send(self, frame: bytes) -> bool:
        """Give a message to ZeroMQ; return False if the broker accepted none for a second.

        Also return False if the message is larger than the broker takes: the broker would close the connection. True does not
        prove that the message arrives. Only the results of a step prove it.
        """
        copied = len(frame) < SENT_BY_REFERENCE_BYTES
        if not copied and len(frame) > self._message_bytes:
            self._refuse(len(frame))
            return False
        try:
            self._send(frame, 0, copied)
        except zmq.Again:
            self.lost_sends += 1
            return False
        return True

    def _refuse(self, size: int) -> None:
        self.lost_sends += 1
        if size > self._largest_refused:
            self._largest_refused = size
            logger.error(
                "a message of %d bytes is not sent, because at most %d are allowed: start broker, coordinator and nodes with "
                "a larger --max-message",
                size,
                self._message_bytes,
            )

    def subscribe(self, address: bytes) -> None:
        """Subscribe to an address. The broker knows the subscription only after a later probe has returned."""
        self._sub.setsockopt(zmq.SUBSCRIBE, address)

    def unsubscribe(self, address: bytes) -> None:
        """End the subscription to an address."""
        self._sub.setsockopt(zmq.UNSUBSCRIBE, address)

    def connect(self, endpoint: str) -> None:
        """Raise `InternalError`: only a `DirectLink` connects to peers."""
        raise InternalError(f"a link to the broker alone connects to no peer {endpoint}")

    def disconnect(self, endpoint: str) -> None:
        """Raise `InternalError`: only a `DirectLink` connects to peers."""
        raise InternalError(f"a link to the broker alone has no peer {endpoint}")

    def receive(self) -> bytes | None:
        """Return the next message; None if none arrives within the receive timeout."""
        try:
            return self._sub.recv()
        except zmq.Again:
            return None

    def watch(self, others: Sequence[zmq.Socket[bytes]]) -> None:
        """Let `receive_many` return as soon as one socket of `others` can be read, if no message is expected soon."""
        self._watched = [(socket, zmq.POLLIN) for socket in others]

    def _idle(self, wanted: int) -> bool:
        """If no message is expected soon, wait for one, or for a watched socket; return whether there is no message."""
        if not self._watched or (wanted and not self._silent):
            return False
        ready = zmq.zmq_poll([(self._sub, zmq.POLLIN), *self._watched], self._receive_timeout_ms)
        if any(socket is self._sub for socket, _ in ready):
            return False
        self._become_silent()
        return True

    def _become_silent(self) -> None:
        if not self._silent:
            self._silent = True
            self._sub.setsockopt(zmq.RCVTIMEO, self._receive_timeout_ms)

    def receive_many(self, wanted: int) -> list[bytes]:
        """Return messages with `wanted` frames in all (0: any message); fewer if none arrives for `HURRY_MS`, or if they are large.

        An unexpected message, such as a request, must not wait long for the wanted ones. So after a silence, the method waits
        for the first message up to the receive timeout, and then at most `GATHER_MS` for each further message.
        """
        if self._watched and self._idle(wanted):
            return []
        messages: list[bytes] = []
        silent, receive, room, wanted = self._silent, self._receive, GATHERED_BYTES, wanted or 1
        try:
            while wanted > 0 and room > 0:
                message = receive()
                messages.append(message)
                wanted -= frames_in(message)
                room -= len(message)
                if silent and len(messages) == 1:
                    self._sub.setsockopt(zmq.RCVTIMEO, self._gather_ms)
        except zmq.Again:
            pass
        if messages and silent:
            self._silent = False
            self._sub.setsockopt(zmq.RCVTIMEO, self._hurry_ms)
        elif not messages:
            self._become_silent()
        return messages

    def wait_at_most(self, milliseconds: int) -> None:
        """Set the receive timeout."""
        if milliseconds != self._receive_timeout_ms:
            self._receive_timeout_ms = milliseconds
            if self._silent:
                self._sub.setsockopt(zmq.RCVTIMEO, milliseconds)

    @property
    def accepted(self) -> bool:
        """Whether a program has ever accepted a connection of ours."""
        return bool(self._succeeded)

    def broken(self) -> bool:
        """Return whether a connection has broken.

        Raises:
            UserError: the program at the endpoint has refused every connection, as only a foreign program does.
        """
        return self._has_broken()

    def _has_broken(self, left: Collection[str] = ()) -> bool:
        """Read what has happened to the sockets; return whether a connection broke, except those to the endpoints `left`."""
        broken = False
        for monitor in self._monitors:
            while monitor.poll(0):
                happened = parse_monitor_message(monitor.recv_multipart())
                endpoint = happened["endpoint"].decode()
                if happened["event"] == zmq.EVENT_HANDSHAKE_SUCCEEDED:
                    self._succeeded.add(endpoint)
                elif happened["event"] == zmq.EVENT_HANDSHAKE_FAILED_AUTH:
                    raise UserError(
                        f"the program at {endpoint} refuses the key of this program: it is unknown or revoked there"
                    )
                elif endpoint not in left:
                    broken = True
                    self._refuse_foreign(endpoint)
        return broken

    def _refuse_foreign(self, endpoint: str) -> None:
        if endpoint in self._succeeded or endpoint not in self.endpoints:
            return
        self._first_break = self._first_break or time.monotonic()
        self._breaks += 1
        if self._breaks >= BREAKS_AT_LEAST and time.monotonic() - self._first_break >= FOREIGN_AFTER_SECONDS:
            keys = "has other keys" if self._secure else "needs keys (--keys)"
            raise UserError(
                f"the program at {endpoint} is no broker of a network, or {keys}: it refuses every connection"
            )

    def renew(self) -> None:
        """Replace both sockets. A reconnected SUB sends its subscriptions in any order, so a probe on it would prove nothing."""
        self._disconnect(0)
        self._connect()

    def close(self) -> None:
        """Close both sockets; messages that are not sent within half a second are dropped."""
        self._disconnect(LINGER_MS)
        self._context.term()

    def _connect(self) -> None:
        self._push = self._context.socket(zmq.PUSH)
        self._sub = self._context.socket(zmq.SUB)
        self._monitors = []
        for socket, endpoint in ((self._push, self.endpoints.inward), (self._sub, self.endpoints.outward)):
            # The relay may have joined frames to a message.
            set_bounds(socket, self._message_bytes + JOINED_AT_MOST_BYTES)
            socket.setsockopt(zmq.RECONNECT_IVL, RECONNECT_INTERVAL_MS)
            socket.setsockopt(zmq.RECONNECT_IVL_MAX, RECONNECT_INTERVAL_AT_MOST_MS)
            if self._secure is not None and is_tcp(endpoint):
                self._secure(socket)
            self._monitors.append(socket.get_monitor_socket(_OF_A_CONNECTION))
            socket.connect(endpoint)
        # Call the C methods directly: pyzmq's wrappers do work that these kinds of sockets don't need.
        self._send = cast("Callable[[bytes, int, bool], object]", super(zmq.Socket, self._push).send)
        self._receive = cast("Callable[[], bytes]", super(zmq.Socket, self._sub).recv)
        self._push.setsockopt(zmq.IMMEDIATE, 1)
        self._push.setsockopt(zmq.SNDTIMEO, SEND_TIMEOUT_MS)
        self._sub.setsockopt(zmq.RCVTIMEO, self._receive_timeout_ms)
        self._silent = True

    def _disconnect(self, linger_ms: int) -> None:
        for socket, monitor in zip((self._push, self._sub), self._monitors, strict=True):
            socket.disable_monitor()
            monitor.close(0)
            socket.close(linger_ms)


def set_bounds(socket: zmq.Socket[bytes], message_bytes: int) -> None:
    """Set the bounds and timeouts that all sockets have."""
    socket.setsockopt(zmq.LINGER, 0)
    socket.setsockopt(zmq.SNDHWM, QUEUED_MESSAGES)
    socket.setsockopt(zmq.RCVHWM, queued_messages(message_bytes))
    socket.setsockopt(zmq.MAXMSGSIZE, message_bytes)
    socket.setsockopt(zmq.HANDSHAKE_IVL, 10_000)
    socket.setsockopt(zmq.HEARTBEAT_IVL, HEARTBEAT_INTERVAL_MS)
    socket.setsockopt(zmq.HEARTBEAT_TIMEOUT, HEARTBEAT_TIMEOUT_MS)
    socket.setsockopt(zmq.HEARTBEAT_TTL, HEARTBEAT_TIMEOUT_MS)
