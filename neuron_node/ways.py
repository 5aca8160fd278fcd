"""The two ways of a pass, down and up: how its messages are laid out, and where a group finds its own numbers in them."""

from __future__ import annotations

from collections.abc import Callable
from operator import itemgetter
from typing import NamedTuple

from neuron_node.codec import NUMBERS_BEGIN, data_shape
from neuron_node.intake import Bin
from neuron_node.messages import Axon, Data, Error, Input, Signal, Target
from neuron_node.role import OUTSIDE, Role

LAYOUTS_KEPT = 64
REFERRED_TO_FROM_BYTES = 4_096
"""Less is copied sooner than referred to."""


class Layout(NamedTuple):
    """A kind of message with batches of one size."""

    kind: type[Data]
    shape: bytes
    """How the numbers begin."""
    length: int
    """Of a whole frame."""
    begin: int
    """Where in it the group's own numbers begin."""
    own: Callable[[bytes], bytes | memoryview]
    """Takes them out of a frame."""
    block: tuple[int, int, int]
    """Senders, batch, and columns of what each of them has for the group."""
    alike: bool
    """Whether all senders' messages have this layout; if not, each is decoded in full."""


class Way:
    """One direction of one pass: who has been heard, and the bin for the frames that have not been looked at."""

    __slots__ = ("expected", "frames", "heard", "layout")

    def __init__(self, layout: Layout) -> None:
        self.layout = layout
        self.expected = layout.block[0]
        self.heard: set[int] = set()
        self.frames: Bin = {}

    @property
    def missing(self) -> int:
        """How many have not sent, if all that has come is right."""
        return self.expected - len(self.heard) - len(self.frames)


class Ways:
    """Makes the ways of each pass of a group; what does not change from pass to pass is worked out once."""

    def __init__(self, role: Role) -> None:
        self.signal_sizes = {sender.group: sender.size for sender in role.senders} or {OUTSIDE: role.size}
        self.error_sizes = {block.receiver: block.size for block in role.blocks} or {OUTSIDE: role.size}
        self.axons = {sender.group: (sender.first, sender.fan_out) for sender in role.senders}
        self.down_kind: type[Data] = Input if role.is_input else Signal
        """As signals came last, for senders choose by the size of the batch."""
        self.up_kind: type[Data] = Target if role.is_output else Error
        self._size = role.size
        self.senders, self.receivers = tuple(self.signal_sizes), tuple(self.error_sizes)
        self._layouts: dict[tuple[type[Data], int], Layout] = {}

    def down(self, batch: int) -> Layout:
        """How signals (or inputs) come in a pass."""
        return self._layouts.get((self.down_kind, batch)) or self._layout(self.down_kind, batch)

    def up(self, batch: int) -> Layout:
        """How errors (or targets) come in a pass."""
        return self._layouts.get((self.up_kind, batch)) or self._layout(self.up_kind, batch)

    def _layout(self, kind: type[Data], batch: int) -> Layout:
        columns, senders = self._size, len(self.senders)
        places = {(0, self._size)}
        if kind is Axon:
            places = set(self.axons.values())
        elif kind in (Error, Target):
            places = {(0, size) for size in self.error_sizes.values()}
            columns, senders = max(self.error_sizes.values()), len(self.receivers)
        first, width = min(places)
        begin = NUMBERS_BEGIN + 8 * batch * first
        layout = Layout(
            kind=kind,
            shape=data_shape(batch, width),
            length=NUMBERS_BEGIN + 8 * batch * width,
            begin=begin,
            own=_part_of(begin, 8 * batch * columns),
            block=(senders, batch, columns),
            alike=len(places) == 1 and batch * width > 0,
        )
        if len(self._layouts) > LAYOUTS_KEPT:
            self._layouts.clear()
        self._layouts[(kind, batch)] = layout
        return layout


def _part_of(begin: int, length: int) -> Callable[[bytes], bytes | memoryview]:
    """Takes these bytes out of a frame, without a copy where that is cheaper."""
    place = slice(begin, begin + length)
    if length < REFERRED_TO_FROM_BYTES:
        return itemgetter(place)
    return lambda frame: memoryview(frame)[place]
