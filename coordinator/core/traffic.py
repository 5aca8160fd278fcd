"""What one step puts on the wire: which messages are sent, to how many receivers, and how large each of them is.

It follows from the topology and the protocol alone, so it is known before anything is started.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from coordinator.topology import Topology
from neuron_node.addresses import ADDRESS_LENGTH, group_address, stage_address
from neuron_node.frames import NUMBER_BYTES, NUMBERS_BEGIN
from neuron_node.group import AXON_AT_ONCE_BYTES
from neuron_node.role import OUTSIDE


@dataclass(frozen=True)
class Message:
    """One message of a step: where it goes, how its frame begins, how many bytes of numbers follow, and who receives it."""

    address: bytes
    begin: bytes
    number_bytes: int
    hearers: int

    @property
    def size(self) -> int:
        """Bytes of the whole message."""
        return ADDRESS_LENGTH + len(self.begin) + self.number_bytes

    def frame(self) -> bytes:
        """The message, with zeros for numbers."""
        return self.address + self.begin + bytes(self.number_bytes)


@dataclass(frozen=True)
class Load:
    """Of one step: messages that are sent, deliveries (one message may have many receivers), and the bytes of both."""

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
    followed: bool = False
    """Whether the groups know that another step follows: then input groups tell the coordinator nothing."""

    def message(self, address: bytes, columns: int, hearers: int = 1) -> Message:
        """A message of one frame with numbers (batch, columns)."""
        return Message(address, bytes(NUMBERS_BEGIN), NUMBER_BYTES * self.batch * columns, hearers)

    def sent_at_once(self, receivers: int, columns: int) -> bool:
        """Whether the numbers for all groups of a stage go out in one message: as `Group` and the coordinator decide."""
        return receivers > 1 and NUMBER_BYTES * self.batch * columns <= AXON_AT_ONCE_BYTES

    def to_stage(self, stage: int, groups: list[tuple[int, int]]) -> Iterator[Message]:
        """The messages of one sender to all groups of a stage, each a number and a size: signals, inputs or targets."""
        columns = sum(size for _, size in groups)
        if self.sent_at_once(len(groups), columns):
            yield self.message(stage_address(stage), columns, len(groups))
            return
        for number, size in groups:
            yield self.message(group_address(number), size)


def messages_of(topology: Topology, one: Pass) -> Iterator[Message]:
    """All messages of a step."""
    stages: dict[int, list[tuple[int, int]]] = {}
    for group in topology.groups.values():
        stages.setdefault(topology.stage_of(group), []).append((group.number, group.size))
    last = topology.last_layer + 1
    yield from one.to_stage(1, stages[1])
    if one.learning:
        yield from one.to_stage(last, stages[last])
    for group in topology.groups.values():
        stage = topology.stage_of(group)
        if stage == last:
            yield one.message(stage_address(OUTSIDE), group.size)
        else:
            yield from one.to_stage(stage + 1, stages[stage + 1])
        if one.learning and stage == 1 and not one.followed:
            yield one.message(stage_address(OUTSIDE), 0)
        elif one.learning and stage > 1:
            yield one.message(stage_address(stage - 1), group.size, len(stages[stage - 1]))


def load_of(topology: Topology, one: Pass) -> Load:
    """All programs' messages together."""
    load = Load()
    for message in messages_of(topology, one):
        load = load.plus(message)
    return load
