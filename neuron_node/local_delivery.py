"""The groups of one node: a message of one group to another one of the same node does not leave the program.

A message that a group sends is given to the groups of the node that are addressed, and goes to the link only if groups of
other nodes are addressed too. The roles say where that is so. Frames for one address are joined, as a relay does it.

A node whose stage is shared with other nodes gets its own frames back from the broker. They are duplicates, and not counted.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from neuron_node.addresses import ADDRESS_LENGTH, group_address, stage_address
from neuron_node.errors import Duplicate
from neuron_node.events import Send
from neuron_node.frames import HEAD
from neuron_node.group import WANTED_AT_MOST, Group, Rejection
from neuron_node.protocol import Stage

_SENDER = slice(HEAD.stop - 9, HEAD.stop - 5)


class LocalDelivery:
    """The groups of a node, by the addresses at which they receive. It is used as a group is."""

    def __init__(self, groups: Sequence[Group]) -> None:
        self.wanted = 1
        """Frames from outside that are worth waiting for."""
        self._groups = sorted(groups, key=lambda group: group.role.group)
        self._here = {group.role.group.to_bytes(4, "big") for group in groups}
        self._at: dict[bytes, list[Group]] = {}
        for group in self._groups:
            for address in group.addresses:
                self._at.setdefault(address, []).append(group)
        self._addressed_only_here = addressed_only_here(self._groups)
        self._received: dict[int, Group] = {}
        """Those that a message has reached since the last `run`."""

    @property
    def addresses(self) -> tuple[bytes, ...]:
        """Where messages for the groups of this node are sent."""
        return tuple(self._at)

    @property
    def unlearned(self) -> list[Group]:
        """The groups that have replied and not learned."""
        return [group for group in self._groups if group.unlearned]

    def receive(self, message: bytes) -> list[Rejection]:
        """Give a message from outside to the groups that are addressed; the frames that do not belong."""
        rejections = self._give(message)
        return [
            (frame, fault)
            for frame, fault in rejections
            if not (type(fault) is Duplicate and frame[_SENDER] in self._here)
        ]

    def _give(self, message: bytes) -> list[Rejection]:
        rejections: list[Rejection] = []
        for group in self._at.get(message[:ADDRESS_LENGTH], ()):
            rejections += group.receive(message)
            self._received[group.role.group] = group
        return rejections

    def run(self) -> list[Send]:
        """Process what has become possible, and deliver among the groups, until nothing moves; the messages that leave."""
        leaving: list[Send] = []
        while self._received:
            groups, self._received = self._received, {}
            leaving += self._deliver([send for _, group in sorted(groups.items()) for send in group.run()])
        self.wanted = self._count_wanted()
        return leaving

    def learn(self) -> list[Send]:
        """Learn what was replied to; the messages that leave."""
        leaving: list[Send] = []
        for group in self.unlearned:
            leaving += self._deliver(group.learn())
            self._received[group.role.group] = group
        return leaving

    def _deliver(self, sends: Iterable[Send]) -> list[Send]:
        leaving, here = [], []
        for send in sends:
            address = send.message[:ADDRESS_LENGTH]
            if address in self._at:
                here.append(send.message)
                if address in self._addressed_only_here:
                    continue
            leaving.append(send)
        for message in joined(here):
            self._give(message)
        return leaving

    def _count_wanted(self) -> int:
        """The frames from outside that the first waiting stage of the oldest pass lacks at least.

        No more: what another stage or a later pass lacks may have to wait for what this node then sends.
        """
        oldest = min(group.due for group in self._groups)
        if oldest > max(group.high for group in self._groups):
            return 1
        # A group that has received nothing of the pass is among them.
        there = [(group.oldest, group) for group in self._groups if group.due == oldest]
        listening = [group.role.stage for record, group in there if record is None or record.stage is Stage.LISTENING]
        # Signals come from above, errors from below: all frames from this node are here by now.
        stage = min(listening, default=max(group.role.stage for _, group in there))
        wanted = max(group.lacking for _, group in there if group.role.stage == stage)
        return max(1, min(wanted, WANTED_AT_MOST))


def joined(messages: Iterable[bytes]) -> list[bytes]:
    """The frames of messages of one address and length in one message each, in the order of their first ones."""
    bins: dict[tuple[bytes, int], list[bytes]] = {}
    for message in messages:
        bins.setdefault((message[:ADDRESS_LENGTH], len(message)), []).append(message)
    return [
        alike[0] if len(alike) == 1 else b"".join([alike[0], *[message[ADDRESS_LENGTH:] for message in alike[1:]]])
        for alike in bins.values()
    ]


def addressed_only_here(groups: Sequence[Group]) -> frozenset[bytes]:
    """The addresses at which no group of another node receives: those of the groups themselves, and of whole stages."""
    neurons: dict[int, int] = {}
    for group in groups:
        neurons[group.role.stage] = neurons.get(group.role.stage, 0) + group.role.size
    found = {stage_address(group.role.stage) for group in groups if neurons[group.role.stage] == group.role.width}
    return frozenset(found | {group_address(group.role.group) for group in groups})
