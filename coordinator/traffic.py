"""What one step puts on the wire: which program sends which messages to whom, and how large each of them is.

It follows from the topology and the protocol alone, so it is known before anything is started: `plan` adds it up, and
`bench` sends it without any arithmetic to find out how fast the wire itself is.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from coordinator.topology import Topology
from neuron_node.addresses import ADDRESS_LENGTH, COORDINATOR, axon_address, error_address, group_address
from neuron_node.codec import data_head, data_mark, data_shape
from neuron_node.messages import IDENTITY_LENGTH, Axon, Data, Error, Input, InputError, Mode, Output, Signal, Target
from neuron_node.role import OUTSIDE
from neuron_node.worker import AXON_AT_ONCE_BYTES

NUMBER_BYTES = 8
IN_MID_RUN = 1_000
"""A pass's number as long runs have them: msgpack writes a small one in fewer bytes."""
GENERATION = 1


@dataclass(frozen=True)
class Message:
    """One message of a step: where it goes, how its body begins, and how many bytes of numbers follow."""

    address: bytes
    begin: bytes
    number_bytes: int
    hearers: int

    @property
    def size(self) -> int:
        """Bytes of the whole frame."""
        return ADDRESS_LENGTH + len(self.begin) + self.number_bytes

    def frame(self) -> bytes:
        """The frame, with zeros for numbers."""
        return self.address + self.begin + bytes(self.number_bytes)


@dataclass(frozen=True)
class Part:
    """What one program does in a step: hear so many messages, send some; hear so many more, send the rest.

    Its `peers` are those whom it hears without the broker in direct wiring, each by its group, the coordinator as `OUTSIDE`.
    """

    subscriptions: tuple[bytes, ...]
    peers: tuple[int, ...]
    heard_first: int
    sent_first: tuple[Message, ...]
    heard_then: int
    sent_then: tuple[Message, ...]

    @property
    def sent(self) -> tuple[Message, ...]:
        """All that it sends."""
        return self.sent_first + self.sent_then


@dataclass(frozen=True)
class Load:
    """Of one step: messages that are sent, deliveries (one message may have many hearers), and the bytes of both."""

    messages: int = 0
    message_bytes: int = 0
    deliveries: int = 0
    delivered_bytes: int = 0

    def plus(self, message: Message, times: int = 1) -> Load:
        """With so many messages of this kind more."""
        return Load(
            self.messages + times,
            self.message_bytes + times * message.size,
            self.deliveries + times * message.hearers,
            self.delivered_bytes + times * message.hearers * message.size,
        )


@dataclass(frozen=True)
class Pass:
    """The pass whose messages are asked for."""

    batch: int
    learning: bool = True
    number: int = IN_MID_RUN

    def message(self, address: bytes, kind: type[Data], sender: int, columns: int, hearers: int = 1) -> Message:
        """A message of the pass as `encode` would make it, without its numbers."""
        mode = Mode.TRAIN if self.learning else Mode.FORWARD
        head = data_head(b"", kind, bytes(IDENTITY_LENGTH), GENERATION, bytes(IDENTITY_LENGTH), sender)
        begin = head + data_mark(self.number, 0, mode) + data_shape(self.batch, columns)
        return Message(address, begin, NUMBER_BYTES * self.batch * columns, hearers)

    def publishes_axons(self, receivers: int, fan_out: int) -> bool:
        """Whether a group sends the signals of its whole axons in one message: as `Worker` decides."""
        return receivers > 1 and NUMBER_BYTES * self.batch * fan_out <= AXON_AT_ONCE_BYTES


def coordinators_part(topology: Topology, one: Pass) -> Part:
    """Inputs and targets out, outputs and word of the input groups in."""
    sent = [one.message(group_address(g.number), Input, OUTSIDE, g.size) for g in topology.inputs]
    heard = len(topology.outputs)
    if one.learning:
        sent += [one.message(group_address(g.number), Target, OUTSIDE, g.size) for g in topology.outputs]
        heard += len(topology.inputs)
    peers = tuple(group.number for group in (*topology.inputs, *topology.outputs))
    return Part((COORDINATOR,), peers, 0, tuple(sent), heard, ())


def groups_part(topology: Topology, number: int, one: Pass) -> Part:
    """What the node that hosts a group hears and sends; an output group takes its target beside the signals."""
    group, senders, receivers = topology.groups[number], topology.senders[number], topology.receivers[number]
    last = group.layer == topology.last_layer
    sent_then: tuple[Message, ...] = ()
    if one.learning and group.layer == 0:
        sent_then = (one.message(COORDINATOR, InputError, number, 0),)
    elif one.learning:
        sent_then = (one.message(error_address(number), Error, number, group.size, len(senders)),)
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


def load_of(topology: Topology, one: Pass) -> Load:
    """All programs' messages together."""
    load = Load()
    parts = [coordinators_part(topology, one), *(groups_part(topology, number, one) for number in topology.groups)]
    for message in (message for part in parts for message in part.sent):
        load = load.plus(message)
    return load


def _fired(topology: Topology, number: int, one: Pass) -> Iterator[Message]:
    if not topology.receivers[number]:
        yield one.message(COORDINATOR, Output, number, topology.groups[number].size)
        return
    receivers = [topology.groups[receiver] for receiver in topology.receivers[number]]
    fan_out = sum(receiver.size for receiver in receivers)
    if one.publishes_axons(len(receivers), fan_out):
        yield one.message(axon_address(number), Axon, number, fan_out, len(receivers))
        return
    for receiver in receivers:
        yield one.message(group_address(receiver.number), Signal, number, receiver.size)
