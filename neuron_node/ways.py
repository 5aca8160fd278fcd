"""The two ways of a pass, down and up: how its messages begin, where a group finds its own numbers in them, who has sent.

A message that differs from an earlier one in its numbers only need not be decoded: `Way.prefix` and what stands between
it and the numbers are compared as bytes. Everything else is decoded in full.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

from neuron_node.addresses import ADDRESS_LENGTH
from neuron_node.codec import data_prefix, packed
from neuron_node.messages import Axon, Data, Error, Input, Signal, Target
from neuron_node.role import OUTSIDE, Role

NEVER = b"\xc1"
"""A byte that begins no msgpack value, so no message begins with it."""


@dataclass(slots=True)
class Way:
    """One direction of one pass."""

    kind: type[Data]
    prefix: bytes
    middle: slice
    """Where in a frame the sender and the shape stand."""
    own: slice
    """Where this group's numbers stand, (batch, columns) of them."""
    columns: int
    order: tuple[int, ...]
    """Who is to send, in synapse order."""
    expected: int
    heard: set[int]
    known: dict[bytes, tuple[int, bytes]] = field(default_factory=dict)
    """Sender and address of messages that were decoded in full before, by what stands in the middle."""
    waiting: dict[int, bytes] = field(default_factory=dict)
    """Frames whose numbers have not been looked at, by sender."""

    @property
    def complete(self) -> bool:
        """Whether everybody has sent."""
        return len(self.heard) + len(self.waiting) == self.expected


class Layout(NamedTuple):
    """A kind of message with batches of one size: bytes of numbers in it, and which of them are the group's own."""

    numbers: int
    own: slice
    columns: int
    alike: bool
    """Whether all senders' messages have the same layout; if not, there is no short way."""


class Ways:
    """Makes the ways of each pass of a group; what does not change from pass to pass is worked out once."""

    def __init__(self, role: Role, run: bytes, generation: int) -> None:
        self._run, self._generation = run, generation
        self.signal_sizes = {sender.group: sender.size for sender in role.senders} or {OUTSIDE: role.size}
        self.error_sizes = {block.receiver: block.size for block in role.blocks} or {OUTSIDE: role.size}
        self.axons = {sender.group: (sender.first, sender.fan_out) for sender in role.senders}
        self.down_kind: type[Data] = Input if role.is_input else Signal
        self._up_kind: type[Data] = Target if role.is_output else Error
        self._size = role.size
        self.senders, self._receivers = tuple(self.signal_sizes), tuple(self.error_sizes)
        self._prefixes: dict[type[Data], bytes] = {}
        self._layouts: dict[tuple[type[Data], int], Layout] = {}

    def down(self, number: int, batch: int, heard: set[int]) -> Way:
        """How signals (or inputs) come in a pass: as they came last, for senders choose by the size of the batch."""
        return self._way(self.down_kind, number, batch, self.senders, heard)

    def up(self, number: int, batch: int, heard: set[int]) -> Way:
        """How errors (or targets) come in a pass."""
        return self._way(self._up_kind, number, batch, self._receivers, heard)

    def _way(self, kind: type[Data], number: int, batch: int, order: tuple[int, ...], heard: set[int]) -> Way:
        layout = self._layouts.get((kind, batch)) or self._layout(kind, batch)
        prefix = self._prefixes[kind] + packed(number) if layout.alike else NEVER
        middle = slice(ADDRESS_LENGTH + len(prefix), -layout.numbers)
        return Way(kind, prefix, middle, layout.own, layout.columns, order, len(order), heard)

    def _layout(self, kind: type[Data], batch: int) -> Layout:
        places = {(0, self._size)}
        columns = self._size
        if kind is Axon:
            places = set(self.axons.values())
        elif kind in (Error, Target):
            places = {(0, size) for size in self.error_sizes.values()}
            columns = max(self.error_sizes.values())
        first, width = min(places)
        numbers = 8 * batch * width
        start = 8 * batch * first - numbers
        layout = Layout(
            numbers, slice(start, (start + 8 * batch * columns) or None), columns, len(places) == 1 and numbers > 0
        )
        if len(self._layouts) > 64:
            self._layouts.clear()
        self._prefixes[kind] = data_prefix(kind, self._run, self._generation)
        self._layouts[(kind, batch)] = layout
        return layout
