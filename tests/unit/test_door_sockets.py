"""The sockets of the front door: requests and answers, access, bounds, and clients that misbehave."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coordinator import front_door
from coordinator.core.access import Access
from coordinator.core.events import Answer, Asked
from coordinator.core.queries import NO_ROWS
from coordinator.errors import UserError
from coordinator.front_door import FrontDoor, Visit, access_of, check_door, published
from coordinator.security.keyring import Keyring
from neuron_node.codec import decode, encode
from neuron_node.keys import COORDINATOR, NODE, OPERATOR, VIEWER, KeysFolder
from neuron_node.protocol import NOBODY, Header, Reject, Reply, Request
from neuron_node.security import OwnKeys
from tests.every_kind import control_of_every_kind
from tests.ports import free_ports
from tests.processes.programs import await_that

TIMEOUT_MS = 20_000
HEADER = Header(NOBODY, 0, 0, NOBODY)
FRAME = encode(Request(HEADER, b"12345678", "status", "{}", NO_ROWS))


@pytest.fixture
def folder() -> Iterator[Path]:
    made = Path(tempfile.mkdtemp(prefix="xm-"))
    yield made
    shutil.rmtree(made)


@pytest.fixture
def door(folder: Path) -> Iterator[FrontDoor]:
    made = FrontDoor([f"ipc://{folder}/door"])
    yield made
    made.close()


@pytest.fixture
def visit(door: FrontDoor) -> Iterator[Visit]:
    made = Visit(door.endpoints[0])
    yield made
    made.close()


def request(number: int, command: str = "status") -> bytes:
    return encode(Request(HEADER, number.to_bytes(8, "big"), command, "{}", NO_ROWS))


def reply(text: str = "{}") -> Reply:
    return Reply(HEADER, True, text, NO_ROWS)


def send(client: Visit, frame: bytes) -> None:
    """Send a frame, and wait for room: `Visit.send` drops it, because a client repeats its requests."""
    client._requests.send(frame)


def asked(door: FrontDoor, count: int = 1) -> list[Asked]:
    """Wait until so many requests have come."""
    found: list[Asked] = []
    while len(found) < count:
        assert door.requests.poll(TIMEOUT_MS), "a request is missing"
        found += door.poll()
    return found


def answer(visit: Visit) -> tuple[bytes, Reply]:
    frames = visit.receive(TIMEOUT_MS)
    assert frames is not None and len(frames) == 2
    message = decode(frames[1])
    assert isinstance(message, Reply)
    return frames[0], message


def test_answers_go_to_the_client_that_asked(door: FrontDoor, visit: Visit) -> None:
    """Two clients send two requests each; in any order, each answer reaches its client with the id of its request."""
    other = Visit(door.endpoints[0])
    for client, numbers in ((visit, (1, 2)), (other, (3, 4))):
        for number in numbers:
            send(client, request(number))
    came = asked(door, 4)
    assert {event.access for event in came} == {Access.OPERATOR}
    for event in sorted(came, key=lambda event: event.request.id, reverse=True):
        door.answer(Answer(event.request.id, reply(f'"{event.request.id[-1]}"')))
    for client, own in ((visit, {1, 2}), (other, {3, 4})):
        got = [answer(client) for _ in own]
        assert {request_id[-1] for request_id, _ in got} == own
        assert all(message.result == f'"{request_id[-1]}"' for request_id, message in got)
    other.close()


def test_a_repeated_request_is_answered_on_the_connection_that_repeats_it(door: FrontDoor, visit: Visit) -> None:
    """After the first connection broke, the answer goes to the connection that repeats the request."""
    send(visit, request(1))
    asked(door)
    again = Visit(door.endpoints[0])
    send(again, request(1))
    asked(door)
    door.answer(Answer((1).to_bytes(8, "big"), reply()))
    assert answer(again)[0][-1] == 1 and visit.receive(0) is None
    again.close()


def test_a_client_with_too_many_requests_is_refused_and_others_are_not(door: FrontDoor, visit: Visit) -> None:
    """Each request above the limit is refused in one line; a repetition of an open request does not count."""
    for number in range(front_door.OPEN_A_CLIENT):
        send(visit, request(number))
        asked(door)
    send(visit, request(0))
    asked(door)
    send(visit, request(99))
    assert door.requests.poll(TIMEOUT_MS) and door.poll() == []
    request_id, refused = answer(visit)
    assert request_id[-1] == 99 and not refused.good and "try again" in json.loads(refused.result)["error"]
    other = Visit(door.endpoints[0])
    send(other, request(100))
    asked(door)
    other.close()


@given(st.binary(max_size=200) | st.builds(lambda at, xor: FRAME[:at] + bytes([FRAME[at] ^ xor]) + FRAME[at + 1 :],
                                           st.integers(0, len(FRAME) - 1), st.integers(1, 255)))  # fmt: skip
def test_a_malformed_request_is_dropped_and_counted(door: FrontDoor, visit: Visit, frame: bytes) -> None:
    """Random bytes, and a request with one wrong byte: never an exception. It is dropped, rejected, or still a request."""
    before = door.dropped.total()
    send(visit, frame)
    assert door.requests.poll(TIMEOUT_MS)
    came = door.poll()
    assert len(came) + door.dropped.total() - before == 1
    for event in came:
        door.answer(Answer(event.request.id, reply()))
    if came or door.dropped["version"]:
        visit.receive(TIMEOUT_MS if came else 0)


def test_a_message_that_is_no_request_is_dropped(door: FrontDoor, visit: Visit) -> None:
    """A control message of any other kind is dropped, and so is a message of several frames."""
    others = [message for message in control_of_every_kind() if not isinstance(message, Request)]
    for message in others:
        send(visit, encode(message))
        assert door.requests.poll(TIMEOUT_MS) and door.poll() == []
    assert door.dropped["unexpected"] == len(others)
    visit._requests.send_multipart([b"", request(1)])
    assert door.requests.poll(TIMEOUT_MS) and door.poll() == []
    assert door.dropped["malformed"] == 1


def test_another_version_is_told(door: FrontDoor, visit: Visit, monkeypatch: pytest.MonkeyPatch) -> None:
    """The answer states the versions of both sides, in a kind that every version can read."""
    monkeypatch.setattr("neuron_node.codec.PROTOCOL_VERSION", 99)
    frame = request(1)
    monkeypatch.undo()
    send(visit, frame)
    assert door.requests.poll(TIMEOUT_MS) and door.poll() == []
    frames = visit.receive(TIMEOUT_MS)
    assert frames is not None
    rejected = decode(frames[1])
    assert isinstance(rejected, Reject) and "99" in rejected.reason


def test_a_request_that_is_too_long_ends_the_connection_only(door: FrontDoor, visit: Visit) -> None:
    """The next client is served."""
    flood = Visit(door.endpoints[0])
    send(flood, bytes(front_door.REQUEST_BYTES_AT_MOST + 1))
    send(visit, request(1))
    assert asked(door)[0].request.id[-1] == 1
    flood.close()


def test_a_few_requests_are_taken_at_once(door: FrontDoor) -> None:
    """The front door returns a few requests at a time, so that messages of the network do not wait."""
    clients = [Visit(door.endpoints[0]) for _ in range(3)]
    for number, client in enumerate(clients):
        for more in range(10):
            send(client, request(100 * number + more))
    counts: list[int] = []
    while sum(counts) < 30:
        assert door.requests.poll(TIMEOUT_MS)
        counts.append(len(door.poll()))
    assert max(counts) <= front_door.REQUESTS_AT_ONCE
    for client in clients:
        client.close()


def test_clients_that_never_read_lose_messages_and_block_nothing(door: FrontDoor, visit: Visit) -> None:
    """Ten thousand events and as many answers, some large: each call returns, and another client gets its answer."""
    deaf = Visit(door.endpoints[0])
    deaf.subscribe(b"")
    while not door.topics:
        assert door.publisher.poll(TIMEOUT_MS)
        door.poll()
    large = "1" * 10_000
    for number in range(10_000):
        door.publish_event("progress", {"text": large})
        if number % 10 == 0:
            send(deaf, request(1_000 + number))
            for event in door.poll():
                door.answer(Answer(event.request.id, reply(f'"{large}"')))
    deaf.close()
    send(visit, request(77))
    came: set[int] = set()
    while 77 not in came:
        for event in asked(door):
            came.add(int.from_bytes(event.request.id, "big"))
            door.answer(Answer(event.request.id, reply()))
    assert answer(visit)[0][-1] == 77


def test_events_reach_the_subscribers_of_their_topic(door: FrontDoor, visit: Visit) -> None:
    """Other subscribers do not get the event; an event that is too long is dropped and counted."""
    visit.subscribe(front_door.EVENTS + b"progress")
    while not door.topics:
        assert door.publisher.poll(TIMEOUT_MS)
        door.poll()
    assert door.topics == {b"event.progress"}
    door.publish_event("state", {"state": "idle"})
    door.publish_event("progress", {"text": "1" * front_door.PUBLICATION_BYTES_AT_MOST})
    door.publish_event("progress", {"step": 3})
    assert visit.next_published(TIMEOUT_MS) == [b"event.progress", b'{"step": 3}']
    assert door.dropped["publication"] == 1


@pytest.mark.parametrize(
    ("user", "access"),
    [
        ("operator", Access.OPERATOR),
        ("operator:anna", Access.OPERATOR),
        ("viewer:tom", Access.VIEWER),
        ("", None),
        ("root", None),
        ("operators", None),
    ],
)
def test_access_comes_from_the_user_of_the_connection(user: str, access: Access | None) -> None:
    """An operator and a viewer have access; an unknown user has none."""
    assert access_of(user) is access


def keys_of(folder: Path, role: str, name: str = "") -> OwnKeys:
    """Return the keys of a holder from a folder of keys."""
    found = KeysFolder(folder)
    return OwnKeys(found, found.own([role], name))


class SecuredDoor:
    """A front door over TCP on every interface, and over ipc, with a folder of keys for an operator and a viewer."""

    def __init__(self, folder: Path) -> None:
        self.keyring = Keyring(folder / "keys")
        self.keyring.init(places=4)
        self.keyring.add("tom", VIEWER)
        self.keys = folder / "keys"
        [port] = free_ports(1)
        self.endpoint = f"tcp://127.0.0.1:{port}"
        self.door = FrontDoor([f"tcp://*:{port}", f"ipc://{folder}/door"], keys_of(self.keys, COORDINATOR))

    def visit(self, role: str, name: str = "") -> Visit:
        """Connect with the key of a holder."""
        return Visit(self.endpoint, keys_of(self.keys, role, name).client_of(COORDINATOR))


@pytest.fixture
def secured(folder: Path) -> Iterator[SecuredDoor]:
    made = SecuredDoor(folder)
    yield made
    made.door.close()


def test_roles_come_from_keys_on_tcp_and_ipc_needs_none(secured: SecuredDoor) -> None:
    """Over TCP, an operator and a viewer have their roles, and no other key and no program without a key is heard."""
    visits = [Visit(secured.door.endpoints[0]), secured.visit(OPERATOR), secured.visit(VIEWER)]
    accesses = []
    for number, visit in enumerate(visits):
        send(visit, request(number))
        accesses.append(asked(secured.door)[0].access)
    assert accesses == [Access.OPERATOR, Access.OPERATOR, Access.VIEWER]
    node, without = secured.visit(NODE), Visit(secured.endpoint)
    await_that(node.is_refused, "a refusal of a node's key")
    await_that(without.is_foreign, "a failed handshake")
    assert secured.door.poll() == []
    for visit in (*visits, node, without):
        visit.close()


def test_a_revoked_key_loses_its_connection_and_others_stay(secured: SecuredDoor) -> None:
    """The front door closes all connections; the holder of a valid key connects again, the other one is refused."""
    operator, viewer = secured.visit(OPERATOR), secured.visit(VIEWER)
    for number, visit in enumerate((operator, viewer)):
        send(visit, request(number))
        assert asked(secured.door)
    secured.keyring.revoke("tom")
    await_that(lambda: secured.door.poll() == [] and viewer.is_refused(), "a refusal")
    send(operator, request(9))
    assert asked(secured.door)[0].access is Access.OPERATOR and not operator.is_refused()
    for visit in (operator, viewer):
        visit.close()


def test_the_endpoint_of_published_messages_follows_from_the_other() -> None:
    """The published messages have the next port, or the path with .pub; an endpoint without room for it is refused."""
    assert published("tcp://*:5573") == "tcp://*:5574" and published("ipc:///a/door") == "ipc:///a/door.pub"
    assert check_door("--door", "tcp://h:5573") == "tcp://h:5573"
    for wrong in ("tcp://h:65535", "ipc:///" + "x" * 104, "5573", "tcp://h:0"):
        with pytest.raises(UserError, match="--door"):
            check_door("--door", wrong)


def test_a_door_in_use_is_one_line_and_stays_as_it_is(door: FrontDoor, visit: Visit) -> None:
    """The second front door at the path is refused; the first one answers."""
    with pytest.raises(UserError, match="another program listens there"):
        FrontDoor(door.endpoints)
    send(visit, request(1))
    asked(door)
