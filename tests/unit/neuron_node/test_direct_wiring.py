"""Direct wiring as the state machines see it: whom a grant names, what is connected, and when links count as proved."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from coordinator.core.machine import CoordinatorMachine
from neuron_node.addresses import COORDINATOR, node_address
from neuron_node.codec import encode
from neuron_node.errors import Stale
from neuron_node.events import (
    Action,
    Connect,
    Disconnect,
    Interrupted,
    LinkLost,
    Received,
    Send,
    Subscribe,
    Tick,
    Unsubscribe,
)
from neuron_node.identity import NodeState
from neuron_node.link_probe import LinkProbe
from neuron_node.node import PROBE_AGAIN_MS, Node
from neuron_node.peer import Peer
from neuron_node.protocol import (
    NOBODY,
    Echo,
    Grant,
    Header,
    Heartbeat,
    Placement,
    Probe,
    Ready,
    Register,
    Reject,
)
from tests.coordinators import THREE, grants, life, on_disk, ready, tell
from tests.networks import FINGERPRINT, RUN
from tests.roles import NODE_LIFE, born, header, heard, messages, prove, role_of, sent, state_now, welcome

HOME = node_address(NODE_LIFE)
ONE, TWO, THIRD = Peer(b"peer-one", "ipc:///one"), Peer(b"peer-two", "ipc:///two"), Peer(b"peer-3rd", "ipc:///three")
OWN = "ipc:///coordinator"


def echo(peer: bytes) -> Echo:
    return Echo(Header(NOBODY, 0, 0, peer))


def wiring(actions: Sequence[Any]) -> list[Action]:
    """All but messages and lines for the log."""
    return [action for action in actions if isinstance(action, Subscribe | Unsubscribe | Connect | Disconnect)]


def granted(machine: Node, *peers: Peer, generation: int = 1) -> Sequence[Action]:
    return heard(machine, HOME, Grant(header(generation=generation), (Placement(role_of(), 0, None),), peers))


def probe_of(actions: Sequence[Any]) -> bytes:
    """Where the probe among the actions was sent."""
    return next(address for address, message in sent(actions) if isinstance(message, Probe))


# The proof.


def test_a_proof_is_complete_when_broker_and_peers_have_answered() -> None:
    """In any order; the probe's address is heard until then, and no longer."""
    for order in ((0, 1, 2), (2, 1, 0), (1, 0, 2)):
        proof = LinkProbe(NODE_LIFE, header)
        subscribe, send = proof.begin([ONE.incarnation, TWO.incarnation])
        assert isinstance(subscribe, Subscribe) and isinstance(send, Send) and send.address == subscribe.address
        for place in order:
            assert not proof.complete
            answer = (
                proof.returned(Probe(header(1)))
                if place == 0
                else proof.echoed(send.address, echo((ONE, TWO)[place - 1].incarnation))
            )
            assert answer == ([Unsubscribe(send.address)] if place == order[-1] else [])
        assert proof.complete


def test_missing_echo_is_asked_for_again() -> None:
    """The broker by another probe; peers, which answer to a new subscription alone, by giving it up and taking it up."""
    proof = LinkProbe(NODE_LIFE, header)
    subscribe, send = proof.begin([ONE.incarnation])
    assert proof.again() == [send]
    proof.returned(Probe(header(1)))
    assert isinstance(subscribe, Subscribe)
    assert proof.again() == [Unsubscribe(subscribe.address), subscribe]
    proof.echoed(subscribe.address, echo(ONE.incarnation))
    assert proof.again() == []


def test_stale_or_foreign_echo_proves_nothing() -> None:
    """Of an earlier proof, of nobody who was asked, or a second time."""
    proof = LinkProbe(NODE_LIFE, header)
    [before, _] = proof.begin([ONE.incarnation])
    stale, again, _ = proof.begin([ONE.incarnation, TWO.incarnation])
    assert isinstance(before, Subscribe) and isinstance(again, Subscribe)
    assert stale == Unsubscribe(before.address) != Unsubscribe(again.address)
    proof.echoed(again.address, echo(TWO.incarnation))
    for address, peer in ((before.address, ONE), (again.address, THIRD), (again.address, TWO)):
        with pytest.raises(Stale):
            proof.echoed(address, echo(peer.incarnation))
    assert proof.missing == {ONE.incarnation}


# A node.


def test_a_node_connects_first_and_is_ready_when_all_have_echoed() -> None:
    """It connects, subscribes, and only then to the probe's address; the broker's answer alone makes nobody ready."""
    machine = Node(born())
    machine.start(0.0)
    welcome(machine)
    actions = granted(machine, ONE, TWO)
    done, at = wiring(actions), probe_of(actions)
    assert done[:2] == [Connect(ONE.endpoint), Connect(TWO.endpoint)]
    assert done[-1] == Subscribe(at) and all(isinstance(action, Subscribe) for action in done[2:])
    assert messages(prove(machine, actions)) == [] and state_now(machine) is NodeState.WIRING
    assert messages(heard(machine, at, echo(ONE.incarnation))) == []
    assert [type(message) for message in messages(heard(machine, at, echo(TWO.incarnation)))] == [Ready]
    assert state_now(machine) is NodeState.WORKING


def test_another_grant_connects_and_lets_go() -> None:
    """What is new is proved; with the same peers, or fewer, there is nothing to prove."""
    machine = Node(born())
    machine.start(0.0)
    welcome(machine)
    actions = granted(machine, ONE, TWO)
    at = probe_of(actions)
    prove(machine, actions)
    for peer in (ONE, TWO):
        heard(machine, at, echo(peer.incarnation))
    actions = granted(machine, TWO, THIRD, generation=2)
    assert wiring(actions)[:2] == [Connect(THIRD.endpoint), Disconnect(ONE.endpoint)]
    at = probe_of(actions)
    prove(machine, actions)
    heard(machine, at, echo(TWO.incarnation))
    heard(machine, at, echo(THIRD.incarnation))
    assert state_now(machine) is NodeState.WORKING
    actions = granted(machine, TWO, generation=3)
    assert wiring(actions) == [Disconnect(THIRD.endpoint)] and isinstance(messages(actions)[0], Ready)


def test_a_lost_link_is_made_anew_to_all_peers() -> None:
    """Connections come first, then all subscriptions, then the proof; and a node without groups has no peers."""
    machine = Node(born())
    machine.start(0.0)
    welcome(machine)
    granted(machine, ONE, TWO)
    actions = machine.handle(LinkLost(), 1.0)
    done = wiring(actions)
    assert done[:2] == [Connect(ONE.endpoint), Connect(TWO.endpoint)] and Subscribe(HOME) in done
    assert isinstance(done[-1], Subscribe) and done[-1].address == probe_of(actions)
    heard(machine, HOME, Grant(header(generation=2), ()))
    assert not [action for action in wiring(machine.handle(LinkLost(), 2.0)) if isinstance(action, Connect)]


def test_a_node_whose_peer_does_not_echo_is_heard_of_all_the_same() -> None:
    """It asks again, and its heartbeats go on: the coordinator is to lose the peer, not the node."""
    machine = Node(born())
    machine.start(0.0)
    welcome(machine)
    actions = granted(machine, ONE)
    prove(machine, actions)
    later = machine.handle(Tick(), PROBE_AGAIN_MS + 1.0)
    assert wiring(later) == [Unsubscribe(probe_of(actions)), Subscribe(probe_of(actions))]
    assert [type(message) for message in messages(later)] == [Heartbeat]


# The coordinator.


def linked(endpoint: str = OWN) -> CoordinatorMachine:
    machine = CoordinatorMachine(THREE, endpoint)
    actions = on_disk(machine, machine.start(0.0))
    machine.handle(Received(probe_of(actions) + encode(Probe(header(1)))), 0.0)
    return machine


def register(machine: CoordinatorMachine, number: int, endpoint: str) -> list[Any]:
    who = (f"node-{number}", "host", 1000 + number, "0.2.0", FINGERPRINT)
    return tell(machine, Register(Header(NOBODY, 0, 0, life(number)), *who, endpoint))


def placed() -> tuple[CoordinatorMachine, list[Any]]:
    """Two inputs and an output on three nodes; and what was done when the third had come."""
    machine, actions = linked(), list[Any]()
    for number in (1, 2, 3):
        actions = register(machine, number, f"ipc:///{number}")
    return machine, actions


def told(machine: CoordinatorMachine, address: bytes, number: int) -> list[Any]:
    return machine.handle(Received(address + encode(echo(life(number)))), 0.0)


def test_grant_names_every_sender_that_a_node_must_hear() -> None:
    """The hosts of groups above and below, and the coordinator for inputs and outputs; each with where he sends."""
    _, actions = placed()
    by_node = {node: {peer.endpoint for peer in grant.peers} for node, grant in grants(actions).items()}
    assert by_node == {
        life(1): {"ipc:///3", OWN},
        life(2): {"ipc:///3", OWN},
        life(3): {"ipc:///1", "ipc:///2", OWN},
    }


def test_the_coordinator_trains_when_its_own_links_are_proved_too() -> None:
    """It connects to the hosts of inputs and outputs; that all nodes are ready is not enough, nor the broker's probe."""
    machine, actions = placed()
    connects = [action.endpoint for action in actions if isinstance(action, Connect)]
    assert connects == ["ipc:///1", "ipc:///2", "ipc:///3"]
    at = probe_of(actions)
    for number in (1, 2, 3):
        ready(machine, number)
    machine.handle(Received(at + encode(Probe(header(2)))), 0.0)
    told(machine, at, 1)
    told(machine, at, 2)
    assert not machine.running and [host.name for host in machine.connectivity.unready()] == ["node-3"]
    told(machine, at, 3)
    assert machine.trainer.in_flight.flights


def test_a_node_that_never_echoes_is_lost() -> None:
    """Though it says that it is ready: it can't be heard."""
    machine, actions = placed()
    at = probe_of(actions)
    for number in (1, 2, 3):
        ready(machine, number)
    machine.handle(Received(at + encode(Probe(header(2)))), 0.0)
    told(machine, at, 1)
    told(machine, at, 3)
    generation = machine.outbox.generation
    for now_ms in range(0, 60_000, 1_000):
        machine.handle(Tick(), float(now_ms))
        if machine.outbox.generation > generation:
            break
    assert machine.outbox.generation == generation + 1
    assert "node-2" not in [member.name for member in machine.membership.members.values()]


def test_a_node_that_listens_nowhere_is_refused() -> None:
    """In direct wiring, with a line that says what to do; through the broker nobody needs to listen."""
    [refusal] = [message for message in messages(register(linked(), 1, "")) if isinstance(message, Reject)]
    assert "--listen" in refusal.reason
    through_the_broker = linked("")
    for number in (1, 2, 3):
        actions = register(through_the_broker, number, f"ipc:///{number}")
    assert {grant.peers for grant in grants(actions).values()} == {()}
    assert not [action for action in actions if isinstance(action, Connect)]


def test_another_host_is_connected_to_and_the_last_one_let_go() -> None:
    """After a loss: only what has changed, and everything is proved again; after a break of links, all of it."""
    machine, actions = placed()
    at = probe_of(actions)
    machine.handle(Received(at + encode(Probe(header(2)))), 0.0)
    for number in (1, 2, 3):
        ready(machine, number)
        told(machine, at, number)
    assert machine.running
    who = ("node-2", "host", 1, "0.2.0", FINGERPRINT)
    actions = tell(machine, Register(Header(RUN, 0, 0, life(12)), *who, "ipc:///12"))
    connections = [action for action in actions if isinstance(action, Connect | Disconnect)]
    assert connections == [Connect("ipc:///12"), Disconnect("ipc:///2")]
    assert machine.connectivity.proof.missing == {life(1), life(12), life(3)}
    again = wiring(machine.handle(LinkLost(), 1.0))
    assert [action.endpoint for action in again if isinstance(action, Connect)] == ["ipc:///1", "ipc:///12", "ipc:///3"]
    assert again[3:4] == [Subscribe(COORDINATOR)]


def test_a_run_that_ends_lets_go_of_its_peers() -> None:
    """Before it asks them to stop: that they then close their outlets is no break of the coordinator's links."""
    machine, _ = placed()
    actions = machine.handle(Interrupted(), 1.0)
    kinds = [type(action) for action in actions if isinstance(action, Disconnect | Send)]
    assert kinds == [Disconnect] * 3 + [Send] * 3
    assert not [action for action in machine.handle(LinkLost(), 2.0) if isinstance(action, Connect)]
