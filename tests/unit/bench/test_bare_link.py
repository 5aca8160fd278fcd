"""The bare wire of direct wiring: who is connected to whom, who hears what, and that nothing goes through the broker."""

from __future__ import annotations

import tempfile
import threading
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from coordinator.bench.bare_link import HEARD_BY_REFERENCE_BYTES, BareDirectLink, BareLink
from coordinator.bench.pattern import Part, PassShape, coordinators_part, groups_part
from coordinator.core.machine import CoordinatorMachine
from coordinator.core.traffic import Message, Pass, messages_of
from coordinator.in_memory import MemoryNetwork
from coordinator.topology import Topology
from neuron_node.addresses import ADDRESS_LENGTH, DATA_LETTERS, node_address
from neuron_node.codec import encode
from neuron_node.direct import Listening
from neuron_node.errors import JobError
from neuron_node.events import Connect, Disconnect, Send, Subscribe
from neuron_node.frames import IDENTITY_LENGTH, Mode, parse, split
from neuron_node.identity import NodeIdentity
from neuron_node.node import Node
from neuron_node.protocol import NOBODY, Echo, Header
from neuron_node.role import OUTSIDE
from neuron_node.transport import SENT_BY_REFERENCE_BYTES, proxy
from tests import networks
from tests.brokers import ThreadBroker

TIMEOUT_MS = 20_000
NOW_MS = 1
NETWORKS = [((5, 3, 2), 1, 4), ((5, 3, 2), 2, 4), ((5, 3, 2), 5, 1), ((4, 3), 1, 3), ((3, 4, 3, 2), 2, 2)]


def name_of(number: int) -> bytes:
    return number.to_bytes(IDENTITY_LENGTH, "big")


def parts_of(topology: Topology, one: PassShape) -> dict[int, Part]:
    """By group; the coordinator's is `OUTSIDE`."""
    return {
        OUTSIDE: coordinators_part(topology, one),
        **{number: groups_part(topology, number, one) for number in topology.groups},
    }


# The pattern.


class Published(NamedTuple):
    """One message of a network, the program that sent it, and those that heard it at its outlet."""

    sender: int
    message: bytes
    hearers: frozenset[int]


class OutletNetwork(MemoryNetwork):
    """Machines that are wired directly: data reach whoever is connected to their sender and has subscribed to them.

    A program is known by the number that it got here, and its endpoint is that number.
    """

    def __init__(self, incarnations: Sequence[bytes]) -> None:
        super().__init__()
        self.connected: list[set[int]] = [set() for _ in incarnations]
        self.met: list[set[int]] = [set() for _ in incarnations]
        """Whom each was ever connected to: the coordinator lets go of its peers when the run ends."""
        self.published: list[Published] = []
        self._incarnations = incarnations

    def _perform(self, number: int, actions: Sequence[Any]) -> None:
        for action in actions:
            match action:
                case Connect(endpoint):
                    self.connected[number].add(int(endpoint))
                    self.met[number].add(int(endpoint))
                case Disconnect(endpoint):
                    self.connected[number].remove(int(endpoint))
                case Send(message) if self.connected[number] and message[0] in DATA_LETTERS:
                    self._publish(number, message)
                case _:
                    super()._perform(number, [action])
            if isinstance(action, Subscribe) and action.address.startswith(b"P"):
                for peer in sorted(self.connected[number]):
                    echo = Echo(Header(NOBODY, 0, 0, self._incarnations[peer]))
                    self._put(number, action.address + encode(echo))

    def _publish(self, sender: int, message: bytes) -> None:
        subscribed = self._subscribers.get(message[:ADDRESS_LENGTH], [])
        hearers = [other for other in subscribed if sender in self.connected[other]]
        self.published.append(Published(sender, message, frozenset(hearers)))
        for hearer in hearers:
            self._put(hearer, message)

    def _put(self, hearer: int, message: bytes) -> None:
        self._waiting.setdefault(hearer, deque()).append(message)


def trained_directly(layers: tuple[int, ...], group_size: int, batch: int) -> tuple[OutletNetwork, dict[int, int]]:
    """A network that has learnt two epochs of two batches, and which group each of its programs hosts."""
    data = networks.made_data(2 * batch, layers[0], layers[-1])
    plan = networks.plan_of(networks.settings_of(layers, batch_size=batch), data, group_size=group_size)
    coordinator = CoordinatorMachine(plan, str(OUTSIDE))
    # The first that is added gets 0, which is the coordinator's number as a peer too.
    groups = list(coordinator.topology.groups)
    network = OutletNetwork([plan.incarnation, *map(name_of, groups)])
    network.add(coordinator)
    for number in groups:
        born = NodeIdentity(
            name_of(number), f"node-{number}", "memory", number, "memory", plan.fingerprint, str(number)
        )
        network.add(Node(born))
    network.run_until(lambda: coordinator.finished is not None)
    hosted = {int(member.endpoint): group for member in coordinator.membership.hosting() for group in member.groups}
    return network, {OUTSIDE: OUTSIDE, **hosted}


@pytest.mark.parametrize(("layers", "group_size", "batch"), NETWORKS)
def test_connections_of_the_bare_wire_follow_the_layers(layers: tuple[int, ...], group_size: int, batch: int) -> None:
    """The peers of each program of the bare wire are those that the coordinator of a real network tells it to hear."""
    network, hosted = trained_directly(layers, group_size, batch)
    parts = parts_of(Topology(layers, group_size), PassShape(batch))
    found = {hosted[number]: sorted(hosted[peer] for peer in network.met[number]) for number in hosted}
    assert found == {number: sorted(part.peers) for number, part in parts.items()}


@pytest.mark.parametrize(("layers", "group_size", "batch"), NETWORKS)
def test_outlet_sends_each_frame_to_its_receivers(layers: tuple[int, ...], group_size: int, batch: int) -> None:
    """Address, size and number of hearers of each message of a pass, training or forward, are those that were foreseen.

    Nobody hears anything that it did not subscribe to, and no message gets lost for want of a connection.
    """
    network, _ = trained_directly(layers, group_size, batch)
    frames = [(published, parse(frame)) for published in network.published for frame in split(published.message)]
    assert len(frames) == len(network.published)
    training = {frame.pass_number for _, frame in frames if frame.mode != Mode.FORWARD}
    passes = {frame.pass_number for _, frame in frames}
    assert len(training) == 4 and passes - training
    for number in passes:
        of_pass = [(published, frame) for published, frame in frames if frame.pass_number == number]
        one = Pass(len(of_pass[0][1].values), number in training, followed=number + 1 in training)
        found = Counter((one.message[:ADDRESS_LENGTH], len(one.message), len(one.hearers)) for one, _ in of_pass)
        told = messages_of(Topology(layers, group_size), one)
        assert Counter((message.address, message.size, message.receivers) for message in told) == found


@pytest.mark.parametrize(("layers", "group_size", "batch"), NETWORKS)
def test_on_the_bare_wire_everybody_is_connected_to_whom_it_hears(
    layers: tuple[int, ...], group_size: int, batch: int
) -> None:
    """The peers of a message's sender that subscribe to it are as many as the message is said to have hearers."""
    parts = parts_of(Topology(layers, group_size), PassShape(batch))
    for sender, part in parts.items():
        for message in part.sent:
            assert len(hearers_of(message, sender, parts)) == message.receivers


def hearers_of(message: Message, sender: int, parts: dict[int, Part]) -> list[int]:
    """Those that are connected to the sender's outlet and have subscribed."""
    return [number for number, part in parts.items() if sender in part.peers and message.address in part.subscriptions]


@pytest.mark.parametrize(("layers", "group_size", "batch"), NETWORKS)
def test_peers_hear_each_other(layers: tuple[int, ...], group_size: int, batch: int) -> None:
    """Whoever proves his links waits for as many probes as he has peers, so they must be mutual; and nobody is his own."""
    parts = parts_of(Topology(layers, group_size), PassShape(batch))
    for number, part in parts.items():
        assert len(set(part.peers)) == len(part.peers) and number not in part.peers
        assert all(number in parts[peer].peers for peer in part.peers)


# The links.


class Place(ThreadBroker):
    """A broker, and the links of a test."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, proxy)
        self._links: list[BareLink] = []

    def link(self) -> BareLink:
        """Of a program that is not wired directly."""
        self._links.append(BareLink(self.endpoints, TIMEOUT_MS))
        return self._links[-1]

    def outlet(self, number: int) -> str:
        """Where a program publishes."""
        return f"ipc://{self.folder}/{name_of(number).hex()}"

    def direct_link(self, number: int, timeout_ms: int = TIMEOUT_MS) -> BareDirectLink:
        """Of one that is."""
        link = BareDirectLink(self.endpoints, timeout_ms, name_of(number), Listening(self.outlet(number), 256))
        self._links.append(link)
        return link

    def close(self) -> None:
        """All of it."""
        for link in self._links:
            link.close()
        self.end()


@pytest.fixture
def place() -> Iterator[Place]:
    with tempfile.TemporaryDirectory(prefix="bare-") as folder:
        place = Place(Path(folder))
        yield place
        place.close()


def all_at_once(tasks: Sequence[Callable[[], object]]) -> None:
    """Each in a thread of its own; the first fault of any is the test's."""
    faults: list[BaseException] = []

    def run(task: Callable[[], object]) -> None:
        try:
            task()
        except BaseException as fault:
            faults.append(fault)

    threads = [threading.Thread(target=run, args=(task,)) for task in tasks]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if faults:
        raise faults[0]


def rounds(link: BareLink, part: Part, steps: int) -> None:
    """As a node does, and as the coordinator does who hears nothing first."""
    largest = max(message.size for message in part.sent)
    hear_signals, fire = link.hearing(part.heard_first, largest), link.sending(part.sent_first)
    hear_errors, reply = link.hearing(part.heard_then, largest), link.sending(part.sent_then)
    for _ in range(steps):
        hear_signals()
        fire()
        hear_errors()
        reply()


def test_steps_go_round_without_the_broker(place: Place) -> None:
    """From the first message on, none is lost; and one who hears all addresses at the broker hears nothing of a step.

    What each program sends through the broker afterwards comes after what it would have sent before.
    """
    parts = parts_of(Topology((5, 3, 2), 2), PassShape(4))
    spy, spied = place.link(), node_address(b"the  spy")
    everything = tuple({address for part in parts.values() for address in part.subscriptions})
    spy.prove(replace(parts[OUTSIDE], subscriptions=(*everything, spied)), b"the  spy")
    links = {number: place.direct_link(number) for number in parts}

    def live(number: int) -> None:
        link, part = links[number], parts[number]
        link.prove(part, name_of(number))
        proved.wait()
        link.meet(name_of(number), [place.outlet(peer) for peer in part.peers])
        proved.wait()
        rounds(link, part, 3)
        link._send(spied + name_of(number), 0, True)

    proved = threading.Barrier(len(parts), timeout=TIMEOUT_MS / 1000)
    all_at_once([partial(live, number) for number in parts])
    heard = [spy.receive() for _ in parts]
    assert sorted(frame or b"" for frame in heard) == [spied + name_of(number) for number in parts]


@pytest.mark.parametrize("count", [0, 1, 3])
@pytest.mark.parametrize("size", [100, HEARD_BY_REFERENCE_BYTES, SENT_BY_REFERENCE_BYTES])
def test_messages_sent_repeatedly_are_received(place: Place, size: int, count: int) -> None:
    """So many messages each time, the same bytes as their frames, however large, with and without a copy."""
    one = PassShape(1).message(node_address(b"a   name"), size // 8)
    link = place.link()
    link.prove(Part((one.address,), (), 0, (one,), count, ()), b"a   name")
    send, hear = link.sending([one] * count), link.hearing(count, one.size)
    for _ in range(3):
        send()
    for _ in range(2):
        hear()
    assert [link.receive() for _ in range(count)] == [one.frame()] * count
    link._sub.rcvtimeo = NOW_MS
    assert link.receive() is None


def test_a_peer_that_is_not_there_is_noticed(place: Place) -> None:
    """The measurement fails, in place of waiting for ever."""
    link = place.direct_link(1, NOW_MS)
    with pytest.raises(JobError, match="does not prove"):
        link.meet(name_of(1), [place.outlet(2)])
