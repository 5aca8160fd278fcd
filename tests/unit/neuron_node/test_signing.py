"""Signed control messages: a node with a key obeys nothing else, and no byte of them can be changed."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from neuron_node.addresses import EVERY_NODE, group_address, node_address, probe_address
from neuron_node.codec import encode
from neuron_node.ed25519 import signer, verifier
from neuron_node.errors import Unsigned, WrongSignature
from neuron_node.events import Action, Received
from neuron_node.frames import LENGTH_BYTES, framed
from neuron_node.identity import NodeState
from neuron_node.node import Node
from neuron_node.protocol import (
    Fetch,
    Grant,
    Message,
    NodeStatusRequest,
    Placement,
    Reject,
    Reregister,
    Stop,
    Superseded,
    Welcome,
)
from neuron_node.signing import Sign, opened, signed
from tests.made_messages import any_message
from tests.roles import NODE_LIFE, OTHER_LIFE, born, header, kinds, prove, role_of, state_now

SIGN, OTHER_SIGN = signer(bytes(range(32))), signer(bytes(range(1, 33)))
# The public key of the first seed, as published for other implementations of Ed25519.
VERIFY = verifier(bytes.fromhex("03a107bff3ce10be1d70dd18e74bc09967e4d6309ba50d5f1ddc8664125531b8"))
HOME, AWAY = node_address(NODE_LIFE), node_address(OTHER_LIFE)
GRANT = Grant(header(1), (Placement(role_of(), 0, None),))


def tell(machine: Node, message: Message, sign: Sign | None = SIGN, address: bytes = HOME) -> Sequence[Action]:
    """Return the node's actions for a message of the coordinator."""
    frame = encode(message)
    return machine.handle(Received(address + (signed(address, frame, sign) if sign else frame)), 0.0)


def node_with_key() -> Node:
    """Return a node that insists on signatures, and works in generation 1."""
    machine = Node(born(), verify=VERIFY)
    machine.start(0.0)
    tell(machine, Welcome(header(generation=0, pass_number=machine.registration), 1_000))
    prove(machine, tell(machine, GRANT))
    assert machine.state is NodeState.WORKING
    return machine


def commands(machine: Node) -> list[Message]:
    """Return a message of each kind that the coordinator sends to a node, valid but for the signature."""
    again, later = header(pass_number=machine.registration), header(1, generation=2)
    return [
        Welcome(again._replace(generation=0), 1_000),
        Reject(again, "out"),
        Grant(later, ()),
        Stop(header()),
        Superseded(header()),
        Reregister(later._replace(incarnation=b"new life")),
        NodeStatusRequest(header()),
        Fetch(header(), 2, 0),
    ]


def place_of(machine: Node) -> tuple[NodeState, int, list[int], bytes]:
    return machine.state, machine.generation, [*machine.hosting.groups], machine.run


@given(any_message, st.binary(min_size=9, max_size=9))
def test_a_signed_frame_opens_to_the_same_frame(message: Message, address: bytes) -> None:
    """A node gets the original frame at the address for which it was signed."""
    frame = encode(message)
    assert opened(address, signed(address, frame, SIGN), VERIFY) == frame


@given(st.data(), any_message)
def test_no_byte_of_a_signed_frame_can_be_changed(data: st.DataObject, message: Message) -> None:
    """A frame with a changed, missing or additional byte is refused."""
    frame = bytearray(signed(HOME, encode(message), SIGN))
    place = data.draw(st.integers(0, len(frame) - 1))
    frame[place] ^= data.draw(st.integers(1, 255))
    with pytest.raises((Unsigned, WrongSignature)):
        opened(HOME, bytes(frame), VERIFY)


@given(st.binary(max_size=300))
def test_other_bytes_are_refused(garbage: bytes) -> None:
    """Random bytes raise `Unsigned` or `WrongSignature`, and no other error."""
    for frame in (garbage, framed(garbage)):
        with pytest.raises((Unsigned, WrongSignature)):
            opened(HOME, frame, VERIFY)


@given(st.data(), any_message)
def test_the_body_can_not_be_cut_or_extended(data: st.DataObject, message: Message) -> None:
    """A changed body is refused although its stated lengths are right."""
    body = signed(HOME, encode(message), SIGN)[LENGTH_BYTES:]
    other = body[: data.draw(st.integers(0, len(body) - 1))] if data.draw(st.booleans()) else body + b"\xc0"
    with pytest.raises((Unsigned, WrongSignature)):
        opened(HOME, framed(other), VERIFY)


def test_a_message_for_another_node_is_refused() -> None:
    """A message signed for another node, or for all nodes, is refused at the own address of a node."""
    machine, frame = node_with_key(), encode(Stop(header()))
    for meant_for in (AWAY, EVERY_NODE):
        machine.handle(Received(HOME + signed(meant_for, frame, SIGN)), 0.0)
    assert machine.drops.counts == {"signature": 2}
    assert machine.state is NodeState.WORKING


@pytest.mark.parametrize(
    ("stated", "counted"),
    [(Stop(header(run=b"another.")), "stale"), (Grant(header(1, generation=0), ()), "stale")],
)
def test_a_signed_message_of_another_run_or_an_old_generation_is_refused(stated: Message, counted: str) -> None:
    """A signed message of another run or an earlier generation is dropped as stale."""
    machine = node_with_key()
    before = place_of(machine)
    assert tell(machine, stated) == []
    assert place_of(machine) == before
    assert machine.drops.counts == {counted: 1}


def test_the_kind_is_covered() -> None:
    """The signature covers the kind, so a status request can not be turned into a dismissal."""
    machine, asked = node_with_key(), signed(HOME, encode(NodeStatusRequest(header())), SIGN)
    body = encode(NodeStatusRequest(header()))[LENGTH_BYTES:]
    dismissal = encode(Superseded(header()))[LENGTH_BYTES:]
    assert asked.endswith(body) and len(dismissal) == len(body)
    machine.handle(Received(HOME + asked[: -len(body)] + dismissal), 0.0)
    assert machine.drops.counts == {"signature": 1}
    assert machine.state is NodeState.WORKING


@pytest.mark.parametrize("number", range(8))
@pytest.mark.parametrize(("sign", "reason"), [(None, "unsigned"), (OTHER_SIGN, "signature")])
def test_a_node_with_a_key_obeys_no_forged_message(number: int, sign: Sign | None, reason: str) -> None:
    """The node drops and counts a forged message of any kind, and sends no answer."""
    for machine in (node_with_key(), Node(born(), verify=VERIFY)):
        machine.start(0.0)
        before, message = place_of(machine), commands(machine)[number]
        addresses = [HOME, EVERY_NODE] if isinstance(message, Reregister) else [HOME]
        for address in addresses:
            assert kinds(tell(machine, message, sign, address)) == []
        assert place_of(machine) == before
        assert machine.drops.counts == {reason: len(addresses)}


@pytest.mark.parametrize("number", range(8))
def test_a_command_at_an_address_without_signatures_is_refused(number: int) -> None:
    """A node obeys commands only at its own address and at the address of all nodes."""
    machine = node_with_key()
    before, message = place_of(machine), commands(machine)[number]
    for address in (probe_address(b"a probe."), group_address(2), b"X" + bytes(8)):
        assert kinds(tell(machine, message, None, address)) == []
    assert place_of(machine) == before
    assert machine.drops.counts.total() == 3


def test_a_forger_is_logged_once_for_each_reason() -> None:
    """The names of the senders do not matter: 20 senders and two reasons make two lines."""
    machine, logged = node_with_key(), 0
    for number in range(20):
        for sign in (None, OTHER_SIGN):
            logged += len(tell(machine, Stop(header(incarnation=number.to_bytes(8, "big"))), sign))
    assert logged == 2
    assert machine.drops.counts == {"unsigned": 20, "signature": 20}


def test_a_node_without_a_key_takes_unsigned_messages_only() -> None:
    """A node without the public key can not check a signature, and drops signed messages."""
    machine = Node(born())
    machine.start(0.0)
    tell(machine, Welcome(header(generation=0, pass_number=machine.registration), 1_000), SIGN)
    assert state_now(machine) is NodeState.SEEKING
    assert machine.drops.counts == {"malformed": 1}
    tell(machine, Welcome(header(generation=0, pass_number=machine.registration), 1_000), None)
    assert state_now(machine) is NodeState.SPARE
