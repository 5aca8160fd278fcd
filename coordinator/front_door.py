"""The front door: the sockets by which users reach a coordinator. Users do not reach the broker.

    requests   ROUTER at ENDPOINT            a client sends a frame with a `Request`; the answer is two frames, id and `Reply`
    published  XPUB at published(ENDPOINT)   messages of two frames, topic and JSON, for the subscribers of the topic

The front door decodes, counts and bounds; the coordinator's machine decides. A client that does not read loses messages, and
never delays the coordinator.
"""

from __future__ import annotations

import contextlib
import json
import logging
import resource
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import zmq
from zmq.utils.monitor import parse_monitor_message

from coordinator.core.access import Access
from coordinator.core.events import Answer, Asked
from coordinator.core.queries import ANSWER_BYTES_AT_MOST, NO_ROWS
from coordinator.core.telemetry import SET_BYTES_AT_MOST
from neuron_node.codec import decode, encode
from neuron_node.errors import Malformed, PeerError, Unexpected, UserError, WrongVersion
from neuron_node.frames import PROTOCOL_VERSION
from neuron_node.keys import OPERATOR, VIEWER
from neuron_node.protocol import NOBODY, Header, Reject, Reply, Request
from neuron_node.security import OwnKeys
from neuron_node.transport import (
    LINGER_MS,
    RECONNECT_INTERVAL_MS,
    Secure,
    bind,
    check_endpoint,
    is_tcp,
    new_context,
    set_bounds,
)
from neuron_node.zap import BoundSockets, ZapHandler

REQUEST_BYTES_AT_MOST = 64 * 1024 * 1024
"""libzmq ends the connection of a client that sends a longer frame."""
OPEN_A_CLIENT = 16
"""The largest number of requests of a client that wait for their answers."""
REQUESTS_AT_ONCE = 8
"""The largest number of requests that the coordinator takes between two messages of the network."""
QUEUED_REQUESTS = 16
QUEUED_ANSWERS = 16
QUEUED_PUBLICATIONS = 32
"""The messages that are kept for a subscriber that does not read."""
PUBLICATION_BYTES_AT_MOST = SET_BYTES_AT_MOST + 64 * 1024
SUBSCRIPTION_BYTES_AT_MOST = 1_024
NOTICES_AT_ONCE = 64
TOPICS_AT_MOST = 1_024
IPC_COLONS = 3
DESCRIPTORS = 512
EVENTS = b"event."
"""The first bytes of the topics of events; the name of the event follows."""

logger = logging.getLogger("exmachina")


def published(endpoint: str) -> str:
    """Return the endpoint of the published messages of a front door: the next port, or the path with `.pub`."""
    if endpoint.startswith("ipc://"):
        return f"{endpoint}.pub"
    host, _, port = endpoint.rpartition(":")
    return f"{host}:{int(port) + 1}"


def check_door(name: str, endpoint: str) -> str:
    """Return the endpoint of a front door, checked; `name` is the option for the message. Raises `UserError`."""
    check_endpoint(name, endpoint)
    with contextlib.suppress(UserError):
        check_endpoint(name, published(endpoint))
        return endpoint
    raise UserError(
        f"{name}: {endpoint!r} leaves no room for the published messages; take a lower port or a shorter path"
    )


def access_of(user: str) -> Access | None:
    """Return the access of a user as the ZAP handler names it, `role:name`. None: the role may not send requests."""
    return {OPERATOR: Access.OPERATOR, VIEWER: Access.VIEWER}.get(user.partition(":")[0])


class FrontDoor:
    """The sockets of a front door. They have a context, and so a thread, of their own: users do not delay neurons."""

    def __init__(self, endpoints: Sequence[str], keys: OwnKeys | None = None) -> None:
        """Listen at all `endpoints`. Over TCP, the holders of `keys` get in; ipc sockets have the protection of their folder.

        Raises:
            UserError: an endpoint can't be bound, or the keys can't be read.
        """
        self.endpoints = tuple(sorted(endpoints, key=lambda endpoint: not endpoint.startswith("ipc://")))
        self.dropped: Counter[str] = Counter()
        """The requests that were dropped, by reason."""
        self.topics: set[bytes] = set()
        """The topics with subscribers."""
        self._over_tcp: BoundSockets | None = None
        """The sockets over TCP, if they need keys."""
        self._bound: list[str] = []
        self._open: dict[bytes, bytes] = {}
        """The client of each request that waits for its answer."""
        self._context = new_context(_descriptors())
        self.requests: zmq.Socket[bytes] = self._context.socket(zmq.ROUTER)
        self.publisher: zmq.Socket[bytes] = self._context.socket(zmq.XPUB)
        # Call the C methods directly: the coordinator polls after every wake-up.
        self._requests_state, self._publisher_state = (
            cast("Callable[[int], int]", super(zmq.Socket, socket).get) for socket in self.sockets
        )
        try:
            # The handler must be there before a socket is bound.
            if keys:
                handler = ZapHandler(self._context, keys.folder, (OPERATOR, VIEWER), self.sockets)
                self._over_tcp = BoundSockets(handler)
            self._bind(keys.server() if keys else None)
        except BaseException:
            self.close()
            raise

    def _bind(self, secure: Secure | None) -> None:
        for socket, received, sent, most_bytes in (
            (self.requests, QUEUED_REQUESTS, QUEUED_ANSWERS, REQUEST_BYTES_AT_MOST),
            (self.publisher, QUEUED_REQUESTS, QUEUED_PUBLICATIONS, SUBSCRIPTION_BYTES_AT_MOST),
        ):
            set_bounds(socket, most_bytes)
            socket.setsockopt(zmq.RCVHWM, received)
            socket.setsockopt(zmq.SNDHWM, sent)
        # A client that connects again under its routing id takes its place.
        self.requests.setsockopt(zmq.ROUTER_HANDOVER, 1)
        secured = False
        for endpoint in self.endpoints:
            if secure and not secured and is_tcp(endpoint):
                # libzmq copies the options at the bind, so the ipc endpoints before this one stay as they are.
                secure(self.requests)
                secure(self.publisher)
                secured = True
            for socket, own in ((self.requests, endpoint), (self.publisher, published(endpoint))):
                bind(socket, own)
                self._bound.append(own)
                if self._over_tcp is not None and is_tcp(own):
                    self._over_tcp.add(socket)

    @property
    def sockets(self) -> tuple[zmq.Socket[bytes], ...]:
        """The sockets that can become readable."""
        return self.requests, self.publisher

    def poll(self) -> list[Asked]:
        """Return the requests that have arrived, a few at a time. Does not wait."""
        if self._over_tcp is not None:
            self._over_tcp.poll()
        if self._publisher_state(zmq.EVENTS) & zmq.POLLIN:
            self._read_notices()
        if not self._requests_state(zmq.EVENTS) & zmq.POLLIN:
            return []
        asked = []
        for _ in range(REQUESTS_AT_ONCE):
            try:
                parts = self.requests.recv_multipart(zmq.NOBLOCK, copy=False)
            except zmq.Again:
                break
            try:
                request = self._request(parts)
            except PeerError as fault:
                self._drop(parts[0].bytes, fault)
            else:
                if request is not None:
                    asked.append(request)
        return asked

    def answer(self, answer: Answer) -> None:
        """Send an answer to the client that asked last for it; drop the answer if the client is gone, or does not read."""
        client = self._open.pop(answer.request_id, None)
        if client is not None:
            self._reply(client, answer.request_id, encode(answer.reply))

    def publish(self, topic: bytes, *body: bytes) -> None:
        """Publish frames to the subscribers of a topic. A subscriber that does not read loses messages."""
        if sum(map(len, body)) > PUBLICATION_BYTES_AT_MOST:
            self.dropped["publication"] += 1
            return
        with contextlib.suppress(zmq.Again):
            self.publisher.send_multipart([topic, *body], zmq.NOBLOCK)

    def publish_event(self, event: str, facts: Mapping[str, Any]) -> None:
        """Publish an event of the run."""
        self.publish(EVENTS + event.encode(), json.dumps(facts).encode())

    def close(self) -> None:
        """Close the sockets, and remove the files of ipc sockets. Answers under way get half a second."""
        for socket in self.sockets:
            socket.close(LINGER_MS)
        self._context.term()
        for endpoint in self._bound:
            if endpoint.startswith("ipc://"):
                Path(endpoint.removeprefix("ipc://")).unlink(missing_ok=True)

    def _request(self, parts: Sequence[zmq.Frame]) -> Asked | None:
        """Return the request of a message, or None if it is refused at once. Raises `PeerError` if it is none."""
        if len(parts) != 2:
            raise Malformed(f"{len(parts) - 1} frames instead of one")
        access = self._access(parts[1])
        message = decode(parts[1].bytes)
        if not isinstance(message, Request):
            raise Unexpected(f"a {type(message).__name__} is no request")
        client = parts[0].bytes
        waiting = sum(other == client for other in self._open.values())
        if message.id not in self._open and waiting >= OPEN_A_CLIENT:
            line = f"{waiting} requests of this client wait for their answers; try again when some are answered"
            refusal = Reply(_NO_HEADER, False, json.dumps({"error": line}), NO_ROWS)
            self._reply(client, message.id, encode(refusal))
            return None
        self._open[message.id] = client
        return Asked(message, access)

    def _access(self, frame: zmq.Frame) -> Access:
        """Return the access of the sender of a frame. Raises `PeerError` if its connection has no user."""
        user = _property_of(frame, "User-Id")
        # The peer address of an ipc connection is its user and group: localhost:USER:GROUP:PROCESS.
        if not user and (self._over_tcp is None or _property_of(frame, "Peer-Address").count(":") == IPC_COLONS):
            return Access.OPERATOR
        access = access_of(user)
        if access is None:
            raise Unexpected("a request without a user")
        return access

    def _reply(self, client: bytes, request_id: bytes, frame: bytes) -> None:
        try:
            self.requests.send_multipart([client, request_id, frame], zmq.NOBLOCK)
        except zmq.ZMQError:
            self.dropped["answer"] += 1

    def _drop(self, client: bytes, fault: PeerError) -> None:
        """Count a message that is no request, and log the first of each reason."""
        self.dropped[fault.reason] += 1
        if self.dropped[fault.reason] == 1:
            logger.warning("front door: dropped a message (%s): %s; more like it are only counted", fault.reason, fault)
        if isinstance(fault, WrongVersion):
            reason = f"it speaks protocol version {fault.version}, this coordinator {PROTOCOL_VERSION}"
            self._reply(client, NOBODY, encode(Reject(_NO_HEADER, reason)))

    def _read_notices(self) -> None:
        """Read who has subscribed to which topic."""
        with contextlib.suppress(zmq.Again):
            for _ in range(NOTICES_AT_ONCE):
                notice = self.publisher.recv(zmq.NOBLOCK)
                if notice[:1] == b"\x01" and len(self.topics) < TOPICS_AT_MOST:
                    self.topics.add(notice[1:])
                elif notice[:1] == b"\x00":
                    self.topics.discard(notice[1:])


def _descriptors() -> int:
    """Return the number of files that the coordinator may open, if the system allows it."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    return DESCRIPTORS if hard == resource.RLIM_INFINITY else min(DESCRIPTORS, hard)


_NO_HEADER = Header(NOBODY, 0, 0, NOBODY)


def _property_of(frame: zmq.Frame, name: str) -> str:
    """Return a property of the connection by which a frame came; empty if it has none."""
    try:
        return str(frame.get(name))
    except zmq.ZMQError:
        return ""


class Visit:
    """A client's connection to a front door."""

    def __init__(self, endpoint: str, secure: Secure | None = None) -> None:
        """Connect to the front door at `endpoint`. `secure` prepares the sockets."""
        self.endpoint = _reachable(endpoint)
        self._secure = secure
        self._context = new_context()
        self._requests: zmq.Socket[bytes] = self._context.socket(zmq.DEALER)
        self._published: zmq.Socket[bytes] | None = None
        self._monitor = self._requests.get_monitor_socket(_OF_A_CONNECTION)
        self._connect(self._requests, self.endpoint)
        self._attempts = 0
        self._succeeded = False
        self._refused = False

    def send(self, frame: bytes) -> None:
        """Send a request; drop it if the front door accepts none at the moment."""
        with contextlib.suppress(zmq.Again):
            self._requests.send(frame, zmq.NOBLOCK)

    def receive(self, timeout_ms: int) -> list[bytes] | None:
        """Return the frames of the next answer; None if none arrives in time."""
        if not self._requests.poll(timeout_ms):
            return None
        return self._requests.recv_multipart()

    def is_foreign(self) -> bool:
        """Whether the program at the endpoint has accepted a connection, but does not speak as a front door does."""
        self._read_events()
        return bool(self._attempts) and not self._succeeded

    def is_refused(self) -> bool:
        """Whether the front door has refused the key of this program."""
        self._read_events()
        return self._refused

    def _read_events(self) -> None:
        while self._monitor.poll(0):
            event = parse_monitor_message(self._monitor.recv_multipart())["event"]
            self._succeeded = self._succeeded or event == zmq.EVENT_HANDSHAKE_SUCCEEDED
            self._attempts += event == zmq.EVENT_CONNECTED
            self._refused = self._refused or event == zmq.EVENT_HANDSHAKE_FAILED_AUTH

    def subscribe(self, topic: bytes) -> None:
        """Subscribe to published messages."""
        if self._published is None:
            self._published = self._context.socket(zmq.SUB)
            self._connect(self._published, published(self.endpoint))
        self._published.setsockopt(zmq.SUBSCRIBE, topic)

    def next_published(self, timeout_ms: int) -> list[bytes] | None:
        """Return topic and further frames of the next published message; None if none arrives in time."""
        assert self._published is not None, "subscribe first"
        if not self._published.poll(timeout_ms):
            return None
        return self._published.recv_multipart()

    def close(self) -> None:
        """Close the connection."""
        self._requests.disable_monitor()
        for socket in (self._monitor, self._requests, self._published):
            if socket is not None:
                socket.close(0)
        self._context.term()

    def _connect(self, socket: zmq.Socket[bytes], endpoint: str) -> None:
        set_bounds(socket, ANSWER_BYTES_AT_MOST + REQUEST_BYTES_AT_MOST)
        socket.setsockopt(zmq.SNDHWM, OPEN_A_CLIENT)
        socket.setsockopt(zmq.RCVHWM, QUEUED_PUBLICATIONS)
        socket.setsockopt(zmq.RECONNECT_IVL, RECONNECT_INTERVAL_MS)
        if self._secure and is_tcp(endpoint):
            self._secure(socket)
        socket.connect(endpoint)


_OF_A_CONNECTION = zmq.EVENT_CONNECTED | zmq.EVENT_HANDSHAKE_SUCCEEDED | zmq.EVENT_HANDSHAKE_FAILED_AUTH


def _reachable(endpoint: str) -> str:
    """Return an endpoint to connect to: `*` is every interface of this host."""
    return endpoint.replace("tcp://*:", "tcp://127.0.0.1:").replace("tcp://0.0.0.0:", "tcp://127.0.0.1:")
