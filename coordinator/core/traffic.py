"""The messages of one step: their addresses, receivers and sizes.

They follow from topology and protocol alone, so they are known before a program starts.
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
    """One message of a step: its address, the beginning of its frame, the bytes of its numbers, and the number of receivers."""

    address: bytes
    begin: bytes
    number_bytes: int
    receivers: int

    @property
    def size(self) -> int:
        """The bytes of the whole message."""
        return ADDRESS_LENGTH + len(self.begin) + self.number_bytes

    def frame(self) -> bytes:
        """Return the message with zeros as numbers."""
        return self.address + self.begin + bytes(self.number_bytes)


@dataclass(frozen=True)
class Load:
    """Sent messages and deliveries of a step (one message may have many receivers), and the bytes of both."""

    messages: int = 0
    message_bytes: int = 0
    deliveries: int = 0
    delivered_bytes: int = 0

    def plus(self, message: Message, times: int = 1) -> Load:
        """Return the load with `times` more messages of this kind."""
        return Load(
            self.messages + times,
            self.message_bytes + times * message.size,
            self.deliveries + times * message.receivers,
            self.delivered_bytes + times * message.receivers * message.size,
        )


@dataclass(frozen=True)
class Pass:
    """The kind of pass whose messages are computed."""

    batch: int
    learning: bool = True
    followed: bool = False
    """Whether another step was announced: then input groups do not report this one."""

    def message(self, address: bytes, columns: int, receivers: int = 1) -> Message:
        """Return a message of one frame with numbers (batch, columns)."""
        return Message(address, bytes(NUMBERS_BEGIN), NUMBER_BYTES * self.batch * columns, receivers)

    def sent_at_once(self, receivers: int, columns: int) -> bool:
        """Whether one message carries the numbers for all groups of a stage, as `Group` and the coordinator decide it."""
        return receivers > 1 and NUMBER_BYTES * self.batch * columns <= AXON_AT_ONCE_BYTES

    def to_stage(self, stage: int, groups: list[tuple[int, int]]) -> Iterator[Message]:
        """Yield the messages of one sender to all groups (number, size) of a stage: signals, inputs or targets."""
        columns = sum(size for _, size in groups)
        if self.sent_at_once(len(groups), columns):
            yield self.message(stage_address(stage), columns, len(groups))
            return
        for number, size in groups:
            yield self.message(group_address(number), size)


def messages_of(topology: Topology, one: Pass) -> Iterator[Message]:
    """Yield all messages of a step."""
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
    """Return the load of all messages of a step."""
    load = Load()
    for message in messages_of(topology, one):
        load = load.plus(message)
    return load
