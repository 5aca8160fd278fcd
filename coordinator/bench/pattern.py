"""The messages of a step on the bare wire: one frame per message, each to the address of its receiver or of its sender.

The network itself sent messages in this way up to protocol version 5, when no relay joined frames. The pattern does not change,
so that figures of all versions can be compared: frames of version 5, which begin with 80 bytes, through ZeroMQ's proxy.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from coordinator.core.traffic import Message
from coordinator.topology import Topology
from neuron_node.addresses import ADDRESS_LENGTH, COORDINATOR, group_address
from neuron_node.group import AXON_AT_ONCE_BYTES
from neuron_node.role import OUTSIDE

NUMBER_BYTES = 8
BEGIN = bytes(80 - ADDRESS_LENGTH)
"""The bytes before the numbers of a frame; their values are meaningless here."""


def axon_address(group: int) -> bytes:
    """Return the address at which a group published the signals of its whole axons."""
    return b"A" + group.to_bytes(8, "big")


def error_address(group: int) -> bytes:
    """Return the address at which a group published its error."""
    return b"E" + group.to_bytes(8, "big")


@dataclass(frozen=True)
class PassShape:
    """The properties of a pass that its messages depend on."""

    batch: int
    learning: bool = True

    def message(self, address: bytes, columns: int, hearers: int = 1) -> Message:
        """Return a message with numbers (batch, columns)."""
        return Message(address, BEGIN, NUMBER_BYTES * self.batch * columns, hearers)

    def publishes_axons(self, receivers: int, fan_out: int) -> bool:
        """Return whether a group sends the signals of its whole axons in one message."""
        return receivers > 1 and NUMBER_BYTES * self.batch * fan_out <= AXON_AT_ONCE_BYTES


@dataclass(frozen=True)
class Part:
    """The part of one program in a step: receive `heard_first` messages, send, receive `heard_then` more, send the rest.

    `peers` are the programs from which it receives in direct wiring, each by its group; `OUTSIDE` is the coordinator.
    """

    subscriptions: tuple[bytes, ...]
    peers: tuple[int, ...]
    heard_first: int
    sent_first: tuple[Message, ...]
    heard_then: int
    sent_then: tuple[Message, ...]

    @property
    def sent(self) -> tuple[Message, ...]:
        """All messages that the program sends in a step."""
        return self.sent_first + self.sent_then


def coordinators_part(topology: Topology, one: PassShape) -> Part:
    """Return the coordinator's part: send inputs and targets, receive outputs and the reports of the input groups."""
    sent = [one.message(group_address(g.number), g.size) for g in topology.inputs]
    heard = len(topology.outputs)
    if one.learning:
        sent += [one.message(group_address(g.number), g.size) for g in topology.outputs]
        heard += len(topology.inputs)
    peers = tuple(group.number for group in (*topology.inputs, *topology.outputs))
    return Part((COORDINATOR,), peers, 0, tuple(sent), heard, ())


def groups_part(topology: Topology, number: int, one: PassShape) -> Part:
    """Return the part of the node that hosts a group; an output group receives its target together with the signals."""
    group, senders, receivers = topology.groups[number], topology.senders[number], topology.receivers[number]
    last = group.layer == topology.last_layer
    sent_then: tuple[Message, ...] = ()
    if one.learning and group.layer == 0:
        sent_then = (one.message(COORDINATOR, 0),)
    elif one.learning:
        sent_then = (one.message(error_address(number), group.size, len(senders)),)
    return Part(
        subscriptions=(
            group_address(number),
            *(axon_address(sender) for sender in senders if len(topology.receivers[sender]) > 1),
            *(error_address(receiver) for receiver in receivers),
        ),
        peers=(*senders, *receivers, *([] if senders and receivers else [OUTSIDE])),
        heard_first=max(1, len(senders)) + (last and one.learning),
        sent_first=tuple(_fired(topology, number, one)),
        heard_then=len(receivers) if one.learning else 0,
        sent_then=sent_then,
    )


def _fired(topology: Topology, number: int, one: PassShape) -> Iterator[Message]:
    if not topology.receivers[number]:
        yield one.message(COORDINATOR, topology.groups[number].size)
        return
    receivers = [topology.groups[receiver] for receiver in topology.receivers[number]]
    fan_out = sum(receiver.size for receiver in receivers)
    if one.publishes_axons(len(receivers), fan_out):
        yield one.message(axon_address(number), fan_out, len(receivers))
        return
    for receiver in receivers:
        yield one.message(group_address(receiver.number), receiver.size)
