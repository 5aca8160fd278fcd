"""Where the frames of one pass and one direction arrive: from offered bytes to numbers in synapse order.

    a message ── offer ──▶ frames that belong here, one place for each sender ── gather ──▶ numbers, in synapse order
                   └─────▶ frames that do not belong, each with its reason

The first copy of a frame counts. Nothing is decoded: heads, marks and shapes are compared as bytes, for all frames of a
message at once where they have one length. A frame that is not accepted changes nothing here.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Iterator, Sequence
from operator import itemgetter
from typing import Any, NamedTuple
from zlib import crc32

import numpy as np

from neuron_node.activations import Array, all_finite
from neuron_node.addresses import ADDRESS_LENGTH
from neuron_node.errors import Duplicate, NotFinite, Window, WrongShape
from neuron_node.frames import (
    CHECK,
    HEAD,
    LENGTH_BYTES,
    MARK,
    NUMBER_BYTES,
    NUMBERS_BEGIN,
    SHAPE,
    WINDOW,
    check_of,
    length_of,
    numbers_in,
    parse,
    read_window,
    shape_of,
)

LAYOUTS_KEPT = 64
REFERRED_TO_FROM_BYTES = 4_096
"""Fewer bytes are copied faster than they are referred to."""

Numbers = bytes | memoryview


class Slot(NamedTuple):
    """The place of one sender's frames of one kind: whose they are, their columns, and which of them are ours."""

    place: int
    columns: int
    first: int
    own: int


class FrameLayout(NamedTuple):
    """Frames of one length: how each begins, its shape, the bytes that are ours, and which place each head has."""

    length: int
    begin: bytes
    shape: bytes
    own: slice
    unpack: Callable[[memoryview], Iterator[tuple[Any, ...]]]
    places: dict[bytes, int]
    checks: dict[bytes, int]
    """The CRC-32 of each head."""


class Direction:
    """One direction of a group: the heads of all frames that may come, by the place of their sender in synapse order."""

    def __init__(self, senders: Sequence[int], slots: dict[bytes, Slot], widths: Sequence[int]) -> None:
        """`widths` says how many columns for us each sender has."""
        self.senders = tuple(senders)
        self.slots = slots
        self.widths = tuple(widths)
        self._layouts: dict[int, InboxLayout] = {}

    def layout(self, rows: int) -> InboxLayout:
        """What the direction is like in passes with so many rows."""
        known = self._layouts.get(rows)
        if known is None:
            if len(self._layouts) >= LAYOUTS_KEPT:
                self._layouts.clear()
            known = self._layouts[rows] = InboxLayout(self, rows)
        return known


class InboxLayout:
    """One direction of a group in passes with so many rows."""

    def __init__(self, direction: Direction, rows: int) -> None:
        self.direction = direction
        self.rows = rows
        self.count = len(direction.senders)
        self.in_order: Callable[[dict[int, Numbers]], tuple[Numbers, ...]] | None = (
            itemgetter(*range(self.count)) if self.count > 1 else None
        )
        self.by_length: dict[int, FrameLayout] = {}
        for columns, first, own in {slot[1:] for slot in direction.slots.values()}:
            length = NUMBERS_BEGIN + NUMBER_BYTES * rows * columns
            places = {h: slot.place for h, slot in direction.slots.items() if slot[1:] == (columns, first, own)}
            ours = own_bytes(rows, first, own)
            self.by_length[length] = FrameLayout(
                length=length,
                begin=length_of(rows, columns),
                shape=shape_of(rows, columns),
                own=ours,
                unpack=_row(length, ours).iter_unpack,
                places=places,
                checks={head: crc32(head) for head in places},
            )


def own_bytes(rows: int, first: int, own: int) -> slice:
    """Where in a frame the block of `own` columns stands that begins after `first` columns."""
    begin = NUMBERS_BEGIN + NUMBER_BYTES * rows * first
    return slice(begin, begin + NUMBER_BYTES * rows * own)


def _row(length: int, own: slice) -> struct.Struct:
    head, window, tail = (place.stop - place.start for place in (HEAD, WINDOW, slice(MARK.start, SHAPE.stop)))
    before, ours, after = own.start - NUMBERS_BEGIN, own.stop - own.start, length - own.stop
    return struct.Struct(f">{LENGTH_BYTES}s{head}sI{window}s{tail}s{before}x{ours}s{after}x")


class Inbox:
    """The frames of one pass and one direction."""

    __slots__ = ("_got", "_number", "_windows", "layout", "mark", "missing")

    def __init__(self, layout: InboxLayout, number: int, mark: bytes, windows: set[bytes]) -> None:
        """`windows` holds the windows of the pass that were found valid; the inboxes of one pass share it."""
        self.layout = layout
        self.mark = mark
        self.missing = layout.count
        """How many senders have sent nothing."""
        self._number = number
        self._windows = windows
        self._got: dict[int, Numbers] = {}

    def offer_message(self, message: bytes) -> list[Window] | None:
        """Take all frames of a message, if each of them belongs here and is new; the windows that are new among them.

        None if not. Then nothing was taken, and `offer` tells for each frame whether it belongs.
        """
        frame_layout = self.layout.by_length.get(
            int.from_bytes(message[ADDRESS_LENGTH : ADDRESS_LENGTH + LENGTH_BYTES], "big") + LENGTH_BYTES
        )
        if frame_layout is None or (len(message) - ADDRESS_LENGTH) % frame_layout.length:
            return None
        begins, heads, checks, windows, tails, numbers = _columns_of(message, frame_layout)
        tail = self.mark + frame_layout.shape
        if {*begins} != {frame_layout.begin} or {*tails} != {tail}:
            return None
        unknown = {*windows} - self._windows
        fresh = [read for window in unknown if (read := read_window(window, self._number))]
        try:
            places = [*map(frame_layout.places.__getitem__, heads)]
        except KeyError:
            return None
        if [*map(crc32(tail).__xor__, checks)] != [*map(frame_layout.checks.__getitem__, heads)]:
            return None
        new = dict(zip(places, numbers, strict=True))
        if len(new) < len(places) or len(fresh) < len(unknown) or not self._got.keys().isdisjoint(new):
            return None
        if not all_finite(numbers_in(numbers[0] if len(numbers) == 1 else b"".join(numbers))):
            return None
        self._windows |= unknown
        self._got.update(new)
        self.missing -= len(new)
        return fresh

    def offer(self, slot: Slot, frame: bytes) -> Window:
        """Take one frame of a sender; its window. Raises `PeerError` if the frame does not belong here."""
        rows = self.layout.rows
        window = read_window(frame[WINDOW], self._number)
        tail = self.mark + shape_of(rows, slot.columns)
        if (
            window is None
            or frame[MARK.start : SHAPE.stop] != tail
            or frame[CHECK] != check_of(frame[HEAD], tail)
            or len(frame) != NUMBERS_BEGIN + NUMBER_BYTES * rows * slot.columns
            or not frame.startswith(length_of(rows, slot.columns))
        ):
            parse(frame)
            raise WrongShape("another shape, mode or part than the pass has")
        if slot.place in self._got:
            raise Duplicate(window)
        own = own_bytes(rows, slot.first, slot.own)
        numbers = memoryview(frame)[own] if own.stop - own.start >= REFERRED_TO_FROM_BYTES else frame[own]
        if not all_finite(numbers_in(numbers)):
            raise NotFinite("the numbers hold a NaN or an infinity")
        self._got[slot.place] = numbers
        self.missing -= 1
        return window

    def lacks(self) -> list[int]:
        """The senders that have sent nothing, in synapse order."""
        return [sender for index, sender in enumerate(self.layout.direction.senders) if index not in self._got]

    def gather(self) -> Numbers:
        """The bytes of all numbers, in synapse order. Only for an inbox that lacks nothing."""
        in_order = self.layout.in_order
        return self._got[0] if in_order is None else b"".join(in_order(self._got))

    def stacked(self) -> Array:
        """(senders, rows, columns), where each sender has as many columns for us."""
        layout = self.layout
        return numbers_in(self.gather()).reshape(layout.count, layout.rows, layout.direction.widths[0])

    def side_by_side(self) -> Array:
        """(rows, columns of all senders), in C order: another memory layout would change the last bits of a product."""
        layout, widths = self.layout, self.layout.direction.widths
        rows, count, total = layout.rows, layout.count, sum(widths)
        numbers = numbers_in(self.gather())
        if count == 1 or rows == 1:
            return numbers.reshape(rows, total)
        if len({*widths}) == 1:
            block = numbers.reshape(count, rows, widths[0]).transpose(1, 0, 2)
            return np.ascontiguousarray(block.reshape(rows, total))
        edges = np.cumsum([rows * width for width in widths])[:-1]
        return np.concatenate([block.reshape(rows, -1) for block in np.split(numbers, edges)], axis=1)


def _columns_of(message: bytes, layout: FrameLayout) -> Iterable[tuple[Any, ...]]:
    """Lengths, heads, checks, windows, marks with shapes, and our numbers, of all frames of a message."""
    view = memoryview(message)[ADDRESS_LENGTH:]
    if len(view) > layout.length or layout.own.stop - layout.own.start < REFERRED_TO_FROM_BYTES:
        return zip(*layout.unpack(view), strict=True)
    begin, head, window, tail = (
        bytes(view[place]) for place in (slice(LENGTH_BYTES), HEAD, WINDOW, slice(MARK.start, SHAPE.stop))
    )
    check = int.from_bytes(view[CHECK], "big")
    return (begin,), (head,), (check,), (window,), (tail,), (view[layout.own],)
