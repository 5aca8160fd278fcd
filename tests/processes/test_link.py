"""A program's link: what it has received is never lost, and nothing waits long for what does not come."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from neuron_node import transport
from neuron_node.frames import framed
from neuron_node.transport import PUB, PULL, Endpoints, Link, bound_socket, new_context

ADDRESS = b"A" + bytes(8)
PROBE = b"P" + bytes(8)
TIMEOUT_MS = 200


class Wire:
    """A link and the sockets that stand for its broker."""

    def __init__(self, folder: Path) -> None:
        self.context = new_context()
        endpoints = Endpoints(f"ipc://{folder}/in", f"ipc://{folder}/out")
        self.inward = bound_socket(self.context, PULL, endpoints.inward)
        self.outward = bound_socket(self.context, PUB, endpoints.outward)
        self.link = Link(endpoints, TIMEOUT_MS)
        self.link.subscribe(ADDRESS)
        self.link.subscribe(PROBE)
        while self.link.receive() is None:
            # Until the subscription holds there is nobody to hear it.
            self.outward.send(PROBE)
        self.link.unsubscribe(PROBE)
        while self.link.receive() is not None:
            pass

    def publish(self, *numbers: int) -> None:
        """Frames for the link."""
        for number in numbers:
            self.outward.send(ADDRESS + bytes([number]))

    def received(self, most: int) -> list[int]:
        """What it gets in one go."""
        return [frame[-1] for frame in self.link.receive_many(most)]


@pytest.fixture
def wire(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Wire]:
    """In a folder whose path is short enough for a socket."""
    wire = Wire(tmp_path_factory.mktemp("w"))
    yield wire
    wire.link.close()
    wire.inward.close(0)
    wire.outward.close(0)
    wire.context.term()


def test_frames_that_are_due_come_together(wire: Wire) -> None:
    """As many as are asked for, in order, and the rest the next time."""
    wire.publish(1)
    assert wire.received(1) == [1]
    wire.publish(2, 3, 4, 5)
    assert wire.received(3) == [2, 3, 4]
    assert wire.received(1) == [5]


def test_frames_before_a_silence_are_kept(wire: Wire) -> None:
    """Two of five came: they are given, after a short wait for the others."""
    wire.publish(1)
    assert wire.received(1) == [1]
    wire.publish(2, 3)
    assert wire.received(5) == [2, 3]
    assert wire.received(5) == []


def test_after_a_silence_frames_come_together_too(wire: Wire) -> None:
    """One that nobody waited for comes alone, whatever is due: it may be urgent. As many as are due come at once."""
    assert wire.received(5) == []
    wire.publish(1)
    assert wire.received(5) == [1]
    assert wire.received(5) == []
    wire.publish(2, 3, 4)
    assert wire.received(3) == [2, 3, 4]


def test_a_large_frame_arrives_as_it_was_sent(wire: Wire) -> None:
    """Those that are sent by reference too."""
    for size in (10, 300_000, 3_000_000):
        body = bytes(range(256)) * (size // 256 + 1)
        assert wire.link.send(ADDRESS + body)
        assert wire.inward.recv() == ADDRESS + body


def test_large_frames_are_handled_before_all_are_there(wire: Wire, monkeypatch: pytest.MonkeyPatch) -> None:
    """A program holds a limited number of bytes, although it waits for more frames."""
    monkeypatch.setattr(transport, "GATHERED_BYTES", 1_000)
    for _ in range(3):
        wire.outward.send(ADDRESS + framed(bytes(500)))
    assert [len(wire.link.receive_many(3)) for _ in range(2)] == [2, 1]


def test_a_message_that_the_broker_would_not_take_is_not_sent(
    tmp_path_factory: pytest.TempPathFactory, caplog: pytest.LogCaptureFixture
) -> None:
    """The link says so once, and stays connected: a smaller message arrives."""
    folder = tmp_path_factory.mktemp("l")
    context, most = new_context(), 1_000_000
    endpoints = Endpoints(f"ipc://{folder}/in", f"ipc://{folder}/out")
    inward = bound_socket(context, PULL, endpoints.inward, most)
    link = Link(endpoints, TIMEOUT_MS, message_bytes=most)
    assert [link.send(bytes(most + 1)) for _ in range(2)] == [False, False]
    assert link.send(bytes(most)) and len(inward.recv()) == most
    assert not link.broken() and link.lost_sends == 2
    [line] = caplog.messages
    assert f"a message of {most + 1} bytes is not sent" in line and "--max-message" in line
    link.close()
    inward.close(0)
    context.term()
