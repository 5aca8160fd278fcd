"""Direct wiring with real sockets: outlets, what goes where, the proof of subscriptions at a peer, and breaks."""

from __future__ import annotations

import secrets
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from neuron_node.addresses import COORDINATOR, node_address, probe_address, stage_address
from neuron_node.codec import encode
from neuron_node.direct import DirectLink, Listening, check_listening
from neuron_node.errors import UserError
from neuron_node.frames import DataFrame, DataKind
from neuron_node.protocol import Echo, Message, Reregister
from tests.brokers import ThreadBroker
from tests.roles import data, frames_of, header, matrix

TIMEOUT_MS = 20
AT_MOST_SECONDS = 30.0
DATA = data(DataKind.ERROR, 1, 3, matrix((0.5,))).encode()
CONTROL = encode(Reregister(header()))


def frame_of(message: bytes) -> Message | DataFrame:
    """The only one of a message."""
    [frame] = frames_of(message)
    return frame


class Wired(ThreadBroker):
    """A broker and the links of a test, which take turns in one thread."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.links: list[DirectLink] = []

    def link(self, listen: str = "") -> DirectLink:
        """One more program."""
        listening = Listening(listen or f"ipc://{self.folder}/*", 256)
        self.links.append(DirectLink(self.endpoints, TIMEOUT_MS, secrets.token_bytes(8), listening))
        return self.links[-1]

    def met(self) -> tuple[DirectLink, DirectLink]:
        """Two programs that are connected to each other."""
        one, other = self.link(), self.link()
        one.connect(other.endpoint)
        other.connect(one.endpoint)
        return one, other

    def await_frame(self, link: DirectLink, start: bytes, meanwhile: Callable[[], object] = lambda: None) -> bytes:
        """The next frame of a link that begins so, while all others go on waiting too."""
        deadline = time.monotonic() + AT_MOST_SECONDS
        while time.monotonic() < deadline:
            meanwhile()
            for other in self.links:
                frames = other.receive_many(1)
                if other is link and frames and frames[0].startswith(start):
                    return frames[0]
        raise AssertionError(f"nothing came that begins with {start!r}")

    def await_proof(self, link: DirectLink, name: bytes) -> bytes:
        """Subscribe to a probe's address, and wait for a peer's echo."""
        link.subscribe(probe_address(name))
        return self.await_frame(link, probe_address(name))

    def close(self) -> None:
        """All of it."""
        for link in self.links:
            link.close()
        self.end()


@pytest.fixture
def wired() -> Iterator[Wired]:
    with tempfile.TemporaryDirectory(prefix="outlets-") as folder:
        place = Wired(Path(folder))
        yield place
        place.close()


def test_what_was_subscribed_before_an_echo_holds_at_the_peer(wired: Wired) -> None:
    """The first message after the echo arrives, at each of many addresses; the echo names the peer by its incarnation."""
    one, other = wired.met()
    addresses = [stage_address(number) for number in range(1, 51)]
    for address in addresses:
        one.subscribe(address)
    echo = frame_of(wired.await_proof(one, b"fresh..1"))
    assert isinstance(echo, Echo)
    assert other.endpoint.endswith(echo.header.incarnation.hex())
    for address in addresses:
        assert other.send(address + DATA)
    for address in addresses:
        assert wired.await_frame(one, b"") == address + DATA


def test_a_subscription_to_another_address_is_not_echoed(wired: Wired) -> None:
    """And the same probe's address is echoed again after it was given up and asked for once more."""
    one, _ = wired.met()
    one.subscribe(stage_address(1))
    assert frame_of(wired.await_proof(one, b"fresh..1"))
    one.unsubscribe(probe_address(b"fresh..1"))
    assert frame_of(wired.await_proof(one, b"fresh..1"))


def test_control_goes_through_the_broker(wired: Wired) -> None:
    """A node that is connected to nobody hears it; and data too, of a program that has no peers."""
    one, other = wired.met()
    apart = wired.link()
    apart.subscribe(node_address(b"12345678"))
    frame = wired.await_frame(apart, b"N", lambda: one.send(node_address(b"12345678") + CONTROL))
    assert frame == node_address(b"12345678") + CONTROL
    other.subscribe(COORDINATOR)
    assert wired.await_frame(other, b"C", lambda: apart.send(COORDINATOR + DATA)) == COORDINATOR + DATA


def test_data_do_not_go_through_the_broker(wired: Wired) -> None:
    """Whoever is connected to the broker alone hears control, and not the data that were sent before."""
    one, other = wired.met()
    apart = wired.link()
    for address in (stage_address(1), node_address(b"12345678"), COORDINATOR):
        apart.subscribe(address)
    wired.await_frame(apart, COORDINATOR, lambda: other.send(COORDINATOR + CONTROL))
    one.subscribe(stage_address(1))
    wired.await_proof(one, b"fresh..1")
    other.send(stage_address(1) + DATA)
    assert wired.await_frame(one, b"S") == stage_address(1) + DATA
    other.send(node_address(b"12345678") + CONTROL)
    while (frame := wired.await_frame(apart, b"")).startswith(COORDINATOR):
        pass
    assert frame == node_address(b"12345678") + CONTROL


def test_the_end_of_a_peer_is_a_break_and_new_sockets_mend_it(wired: Wired) -> None:
    """Unless the peer was let go of before; one that was taken up again since is a peer like any other."""
    one, other = wired.met()
    third = wired.link()
    one.connect(third.endpoint)
    third.connect(one.endpoint)
    wired.await_proof(one, b"fresh..1")
    wired.await_proof(third, b"fresh..2")
    assert not one.broken()
    one.disconnect(other.endpoint)
    wired.links.remove(other)
    other.close()
    one.disconnect(third.endpoint)
    one.connect(third.endpoint)
    wired.await_proof(one, b"fresh..3")
    assert not one.broken()
    wired.links.remove(third)
    third.close()
    deadline = time.monotonic() + AT_MOST_SECONDS
    while not one.broken():
        assert time.monotonic() < deadline
    one.renew()
    fourth = wired.link()
    one.connect(fourth.endpoint)
    fourth.connect(one.endpoint)
    assert frame_of(wired.await_proof(one, b"fresh..4"))


def test_a_program_hears_itself(wired: Wired) -> None:
    """Two groups of one node, one above the other, need it."""
    one = wired.link()
    one.connect(one.endpoint)
    one.subscribe(stage_address(1))
    assert frame_of(wired.await_proof(one, b"fresh..1"))
    one.send(stage_address(1) + DATA)
    assert wired.await_frame(one, b"S") == stage_address(1) + DATA


def test_any_port_of_a_host(wired: Wired) -> None:
    """The endpoint names the host as it was given and the port that was found; a peer connects to it."""
    one, other = wired.link("tcp://127.0.0.1:*"), wired.link("tcp://localhost:*")
    assert one.endpoint.startswith("tcp://127.0.0.1:") and other.endpoint.startswith("tcp://localhost:")
    one.connect(other.endpoint)
    other.connect(one.endpoint)
    assert frame_of(wired.await_proof(one, b"fresh..1"))


def test_an_endpoint_in_use_is_refused(wired: Wired) -> None:
    """With a line, and no socket is left that would keep the program from ending."""
    taken = wired.link("tcp://127.0.0.1:*").endpoint
    with pytest.raises(UserError, match=r"^can't listen on tcp://127\.0\.0\.1:"):
        wired.link(taken)


def test_a_peer_that_can_not_be_is_no_end(wired: Wired, caplog: pytest.LogCaptureFixture) -> None:
    """What a message says must not end a program: the line is logged, and the echo will be missing."""
    one = wired.link()
    one.connect("nonsense")
    one.disconnect("nonsense")
    assert ["nonsense" in line for line in caplog.messages] == [True, True]


@pytest.mark.parametrize("endpoint", ["tcp://*:*", "tcp://host:5000", "tcp://10.0.0.1:*", "ipc:///tmp/here/*"])
def test_where_a_program_may_listen(endpoint: str) -> None:
    """A host or any, a port or any, a path."""
    assert check_listening("--listen", endpoint) == endpoint


@pytest.mark.parametrize(
    "endpoint",
    ["", "here", "udp://a:1", "tcp://a", "tcp://:5", "tcp://a:0", "tcp://a:65536", "ipc://", "ipc:///" + 110 * "a"],
)
def test_outlet_that_cannot_be_bound_is_refused(endpoint: str) -> None:
    """One line, with the option's name."""
    with pytest.raises(UserError, match=r"^--listen: "):
        check_listening("--listen", endpoint)
