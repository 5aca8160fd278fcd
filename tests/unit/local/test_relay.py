"""The relay, turn by turn, with sockets of the test's own on both sides."""

from __future__ import annotations

import os
import shutil
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from coordinator.local.relay import Relay, relayed
from neuron_node.transport import Endpoints

TURNS = 50
MUCH = b"0123456789abcdef" * 200_000


class Place:
    """A broker's two sockets, two nodes' doors, and the relay between them."""

    def __init__(self, folder: Path) -> None:
        self.broker = Endpoints(f"ipc://{folder}/in", f"ipc://{folder}/out")
        self.listening = socket.socket(socket.AF_UNIX)
        self.listening.bind(f"{folder}/in")
        self.listening.listen()
        self.orders, write = os.pipe()
        self.order = open(write, "wb", buffering=0)  # noqa: PTH123, SIM115
        self.nodes = {name: relayed(self.broker, name) for name in ("node-1", "node-2")}
        self.relay = Relay(self.broker, self.nodes, self.orders)
        self.open: list[socket.socket] = [self.listening]

    def tell(self, line: str) -> None:
        """An order to the relay."""
        self.order.write(f"{line}\n".encode())
        self.turn()

    def turn(self) -> None:
        """Whatever can happen now, happens."""
        for _ in range(TURNS):
            self.relay.turn(0)

    def connect(self, node: str) -> socket.socket:
        """A node's connection to the broker's `in`, as far as the node can tell."""
        end = self.knock(node)
        self.turn()
        return end

    def knock(self, node: str) -> socket.socket:
        """The same before the relay has noticed."""
        end = socket.socket(socket.AF_UNIX)
        end.connect(self.nodes[node].inward.removeprefix("ipc://"))
        end.setblocking(False)
        self.open.append(end)
        return end

    def accept(self) -> socket.socket:
        """The broker's end of it."""
        end, _ = self.listening.accept()
        end.setblocking(False)
        self.open.append(end)
        return end

    def close(self) -> None:
        """All of it."""
        self.relay.close()
        for end in self.open:
            end.close()
        self.order.close()
        os.close(self.orders)


@pytest.fixture
def place() -> Iterator[Place]:
    """In a folder with a short path."""
    folder = Path(tempfile.mkdtemp(prefix="xm-"))
    place = Place(folder)
    try:
        yield place
    finally:
        place.close()
        shutil.rmtree(folder)


def read(end: socket.socket) -> bytes | None:
    """What is there now; None if nothing, empty if the connection has ended."""
    try:
        return end.recv(1 << 16)
    except BlockingIOError:
        return None


def test_bytes_pass_both_ways(place: Place) -> None:
    """As they are."""
    node, broker = place.connect("node-1"), place.accept()
    node.send(b"to the broker")
    broker.send(b"to the node")
    place.turn()
    assert (read(broker), read(node)) == (b"to the broker", b"to the node")


def test_partitioned_node_receives_and_sends_nothing(place: Place) -> None:
    """Nothing passes, and no connection ends; the other node is not concerned; healed, all of it comes, in order."""
    node, broker = place.connect("node-1"), place.accept()
    other, others = place.connect("node-2"), place.accept()
    place.tell("cut node-1")
    node.send(b"first ")
    broker.send(b"hello")
    other.send(b"still here")
    place.turn()
    assert (read(broker), read(node), read(others)) == (None, None, b"still here")
    node.send(b"second")
    place.tell("heal node-1")
    place.turn()
    assert (read(broker), read(node)) == (b"first second", b"hello")


def test_partitioned_node_gets_no_new_connection(place: Place) -> None:
    """It can dial; nobody answers until it is healed."""
    place.tell("cut node-1")
    node = place.connect("node-1")
    node.send(b"anybody?")
    place.turn()
    place.listening.setblocking(False)
    with pytest.raises(BlockingIOError):
        place.listening.accept()
    place.tell("heal node-1")
    assert read(place.accept()) == b"anybody?"


def test_an_end_is_passed_on(place: Place) -> None:
    """When the broker dies the node learns of it, and the other way round."""
    node, broker = place.connect("node-1"), place.accept()
    broker.close()
    place.turn()
    assert read(node) == b""
    node, broker = place.connect("node-1"), place.accept()
    node.close()
    place.turn()
    assert read(broker) == b""


def test_event_of_a_closed_connection_is_not_applied_to_a_new_one(place: Place) -> None:
    """Both ends of one are closed, and between the two a new one knocks, all in one turn: it gets the same descriptors."""
    node, broker = place.connect("node-1"), place.accept()
    node.close()
    fresh = place.knock("node-1")
    broker.close()
    place.turn()
    fresh.send(b"to the broker")
    place.turn()
    assert read(place.accept()) == b"to the broker"


def test_without_a_broker_a_connection_ends(place: Place) -> None:
    """The node finds it closed, and may try again."""
    place.listening.close()
    assert read(place.connect("node-1")) == b""


def test_a_slow_reader_gets_everything(place: Place) -> None:
    """Much more than any buffer holds, byte for byte, while the other direction goes on."""
    node, broker = place.connect("node-1"), place.accept()
    sent, got = 0, b""
    while len(got) < len(MUCH):
        try:
            sent += node.send(MUCH[sent : sent + (1 << 18)])
        except BlockingIOError:
            broker.send(b".")
        place.relay.turn(0)
        got += read(broker) or b""
    assert got == MUCH
    place.turn()
    assert set(read(node) or b".") == {ord(".")}
