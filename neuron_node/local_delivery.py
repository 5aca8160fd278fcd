"""Delivers messages between the groups of one node inside the program.

The groups of the node receive each message of a group directly. The message goes to the link only if a group of another node
has the same address. Frames for one address are joined, as in a relay.

If a stage is spread over several nodes, the broker returns a node's own frames to it. They are duplicates, and not counted.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from neuron_node.addresses import ADDRESS_LENGTH, group_address, stage_address
from neuron_node.errors import Duplicate
from neuron_node.events import Send
from neuron_node.frames import HEAD
from neuron_node.group import WANTED_AT_MOST, Group
from neuron_node.inbox import Rejection
from neuron_node.protocol import Stage

_SENDER = slice(HEAD.stop - 9, HEAD.stop - 5)


class LocalDelivery:
    """All groups of a node, by their addresses. It has the same methods as a `Group`."""

    def __init__(self, groups: Sequence[Group]) -> None:
        self.wanted = 1
        """The number of frames from other programs to wait for before the next `receive`."""
        self._groups = sorted(groups, key=lambda group: group.role.group)
        self._here = {group.role.group.to_bytes(4, "big") for group in groups}
        self._at: dict[bytes, list[Group]] = {}
        for group in self._groups:
            for address in group.addresses:
                self._at.setdefault(address, []).append(group)
        self._addressed_only_here = addressed_only_here(self._groups)
        self._received: dict[int, Group] = {}
        """The groups that received a message since the last `run`."""

    @property
    def addresses(self) -> tuple[bytes, ...]:
        """The addresses of the groups of this node."""
        return tuple(self._at)

    @property
    def unlearned(self) -> list[Group]:
        """The groups that have sent their errors but not yet learned."""
        return [group for group in self._groups if group.unlearned]

    def receive(self, message: bytes) -> list[Rejection]:
        """Give a message from another program to the groups with its address; return the rejected frames."""
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
        """Process every complete pass, and deliver the messages between groups, until no pass is complete.

        Returns the messages for other programs.
        """
        leaving: list[Send] = []
        while self._received:
            groups, self._received = self._received, {}
            leaving += self._deliver([send for _, group in sorted(groups.items()) for send in group.run()])
        self.wanted = self._count_wanted()
        return leaving

    def learn(self) -> list[Send]:
        """Let all groups learn the passes that they put off; return the messages for other programs."""
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
        """Return how many frames from other programs the first waiting stage of the oldest pass lacks.

        Frames for other stages and later passes do not count: they may depend on messages that this node has yet to send.
        """
        oldest = min(group.due for group in self._groups)
        if oldest > max(group.high for group in self._groups):
            return 1
        # This list includes groups that have received no frame of the pass.
        there = [(group.oldest, group) for group in self._groups if group.due == oldest]
        listening = [group.role.stage for record, group in there if record is None or record.stage is Stage.LISTENING]
        # Signals come from the stages above, errors from those below. All frames from this node have arrived by now.
        stage = min(listening, default=max(group.role.stage for _, group in there))
        wanted = max(group.lacking for _, group in there if group.role.stage == stage)
        return max(1, min(wanted, WANTED_AT_MOST))


def joined(messages: Iterable[bytes]) -> list[bytes]:
    """Join messages that have the same address and length into one message each; keep the order of the first of each."""
    bins: dict[tuple[bytes, int], list[bytes]] = {}
    for message in messages:
        bins.setdefault((message[:ADDRESS_LENGTH], len(message)), []).append(message)
    return [
        alike[0] if len(alike) == 1 else b"".join([alike[0], *[message[ADDRESS_LENGTH:] for message in alike[1:]]])
        for alike in bins.values()
    ]


def joined_in_turn(messages: Iterable[bytes]) -> list[bytes]:
    """Join successive messages of one address and length. Every frame keeps its turn.

    A message from outside may be an altered copy of a frame that came before, and the first copy counts.
    """
    runs: list[list[bytes]] = []
    for message in messages:
        last = runs[-1][0] if runs else b""
        if len(last) == len(message) and last.startswith(message[:ADDRESS_LENGTH]):
            runs[-1] += [message[ADDRESS_LENGTH:]]
        else:
            runs.append([message])
    return [alike[0] if len(alike) == 1 else b"".join(alike) for alike in runs]


def addressed_only_here(groups: Sequence[Group]) -> frozenset[bytes]:
    """Return the addresses at which no group of another node receives: of each group, and of each stage that is here whole."""
    neurons: dict[int, int] = {}
    for group in groups:
        neurons[group.role.stage] = neurons.get(group.role.stage, 0) + group.role.size
    found = {stage_address(group.role.stage) for group in groups if neurons[group.role.stage] == group.role.width}
    return frozenset(found | {group_address(group.role.group) for group in groups})
