"""Where the frames of one pass and one direction arrive: from offered bytes to numbers in synapse order.

    a message ── offer ──▶ frames that belong here, one place for each sender ── gather ──▶ numbers, in synapse order
                   └─────▶ frames that do not belong, each with its reason

The first copy of a frame counts. Nothing is decoded: heads, marks and shapes are compared as bytes, for all frames of a
message at once where they have one length. A frame that is not accepted changes nothing here.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator, Sequence
from math import isfinite
from operator import itemgetter, xor
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
    MAX_FRAME_BYTES,
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
_FIRST_LENGTH = slice(ADDRESS_LENGTH, ADDRESS_LENGTH + LENGTH_BYTES)
_TAIL = slice(MARK.start, SHAPE.stop)


class Slot(NamedTuple):
    """The place of one sender's frames of one kind: whose they are, their columns, and which of them are ours."""

    place: int
    columns: int
    first: int
    own: int


class FrameLayout(NamedTuple):
    """Frames of one length: their shape, the bytes that are ours, and the place of each beginning (length and head)."""

    length: int
    shape: bytes
    own: slice
    small: bool
    """Whether our numbers are copied: large ones are referred to."""
    unpack: Callable[[memoryview], Iterator[tuple[Any, ...]]]
    """Of each frame: beginning, check, window, mark with shape, and our numbers."""
    places: dict[bytes, int]
    checks: dict[bytes, int]
    """The head's part of the check, of each beginning."""


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

    __slots__ = ("by_length", "count", "direction", "in_order", "plain", "rows")

    def __init__(self, direction: Direction, rows: int) -> None:
        self.direction = direction
        self.rows = rows
        self.count = len(direction.senders)
        self.plain = rows == 1 and {*direction.widths} == {1}
        """Whether each sender has one number for us: it is kept as a float, and not as bytes."""
        self.in_order: Callable[[dict[int, Any]], tuple[Any, ...]] = (
            itemgetter(*range(self.count)) if self.count > 1 else lambda got: (got[0],)
        )
        self.by_length: dict[bytes, FrameLayout] = {}
        for columns, first, own in {slot[1:] for slot in direction.slots.values()}:
            if NUMBERS_BEGIN + NUMBER_BYTES * rows * columns > MAX_FRAME_BYTES:
                continue
            begin = length_of(rows, columns)
            places = {begin + h: slot.place for h, slot in direction.slots.items() if slot[1:] == (columns, first, own)}
            ours, length = own_bytes(rows, first, own), NUMBERS_BEGIN + NUMBER_BYTES * rows * columns
            self.by_length[begin] = FrameLayout(
                length=length,
                shape=shape_of(rows, columns),
                own=ours,
                small=ours.stop - ours.start < REFERRED_TO_FROM_BYTES,
                unpack=_frame(length, ours, plain=self.plain).iter_unpack,
                places=places,
                checks={start: _swapped(start[LENGTH_BYTES:]) for start in places},
            )


def own_bytes(rows: int, first: int, own: int) -> slice:
    """Where in a frame the block of `own` columns stands that begins after `first` columns."""
    begin = NUMBERS_BEGIN + NUMBER_BYTES * rows * first
    return slice(begin, begin + NUMBER_BYTES * rows * own)


def _frame(length: int, own: slice, *, plain: bool) -> struct.Struct:
    window, tail = WINDOW.stop - WINDOW.start, SHAPE.stop - MARK.start
    before, ours, after = own.start - NUMBERS_BEGIN, own.stop - own.start, length - own.stop
    numbers = "d" if plain else f"{ours}s"
    return struct.Struct(f"<{HEAD.stop}sI{window}s{tail}s{before}x{numbers}{after}x")


def _swapped(data: bytes) -> int:
    """The CRC-32, as a little-endian reader sees the big-endian number."""
    return int.from_bytes(crc32(data).to_bytes(4, "big"), "little")


class Inbox:
    """The frames of one pass and one direction."""

    __slots__ = ("_got", "layout", "mark", "missing", "number")

    def __init__(self, layout: InboxLayout, number: int, mark: bytes) -> None:
        self.layout = layout
        self.number = number
        self.mark = mark
        self.missing = layout.count
        """How many senders have sent nothing."""
        self._got: dict[int, Any] = {}

    def offer_message(self, message: bytes) -> list[Window] | None:
        """Take all frames of a message, if each of them belongs here and is new; what their windows say.

        None if not: then nothing was taken, and `offer` tells for each frame whether it belongs.
        """
        layout = self.layout.by_length.get(message[_FIRST_LENGTH])
        if layout is None or (len(message) - ADDRESS_LENGTH) % layout.length:
            return None
        frames = layout.unpack(memoryview(message)[ADDRESS_LENGTH:])
        begins, checks, windows, tails, numbers = zip(*frames, strict=True) if layout.small else _referring(message, layout)
        count, tail, got = len(begins), self.mark + layout.shape, self._got
        try:
            new = dict(zip(map(layout.places.__getitem__, begins), numbers, strict=True))
        except KeyError:
            return None
        common, kinds = _swapped(tail), {*windows}
        expected = map(layout.checks.__getitem__, begins)
        if len(kinds) == 1:
            expected = map((common ^ _swapped(windows[0])).__xor__, expected)
        else:
            expected = map(common.__xor__, map(xor, expected, map(_swapped, windows)))
        if tails.count(tail) < count or (*expected,) != checks or len(new) < count or not got.keys().isdisjoint(new):
            return None
        if not (isfinite(sum(numbers)) if self.layout.plain else _finite(numbers)):
            return None
        said = []
        for window in kinds:
            read = read_window(window, self.number)
            if read is None:
                return None
            said.append(read)
        if got:
            got.update(new)
        else:
            self._got = new
        self.missing -= count
        return said

    def offer(self, slot: Slot, frame: bytes) -> Window:
        """Take one frame of a sender; what its window says. Raises `PeerError` if the frame does not belong here."""
        rows = self.layout.rows
        window = read_window(frame[WINDOW], self.number)
        if (
            window is None
            or len(frame) != NUMBERS_BEGIN + NUMBER_BYTES * rows * slot.columns
            or frame[_TAIL] != (tail := self.mark + shape_of(rows, slot.columns))
            or frame[CHECK] != check_of(frame[HEAD], frame[WINDOW], tail)
            or not frame.startswith(length_of(rows, slot.columns))
        ):
            parse(frame)
            raise WrongShape("another shape, mode or part than the pass has")
        if slot.place in self._got:
            raise Duplicate(window)
        own = own_bytes(rows, slot.first, slot.own)
        numbers: Any = memoryview(frame)[own] if own.stop - own.start >= REFERRED_TO_FROM_BYTES else frame[own]
        if not all_finite(numbers_in(numbers)):
            raise NotFinite("the numbers hold a NaN or an infinity")
        self._got[slot.place] = float(numbers_in(numbers)[0]) if self.layout.plain else numbers
        self.missing -= 1
        return window

    def lacks(self) -> list[int]:
        """The senders that have sent nothing, in synapse order."""
        return [sender for place, sender in enumerate(self.layout.direction.senders) if place not in self._got]

    def floats(self) -> tuple[float, ...]:
        """All numbers of a pass with one row, in synapse order. Only for an inbox that lacks nothing."""
        in_order = self.layout.in_order(self._got)
        return in_order if self.layout.plain else tuple(numbers_in(b"".join(in_order)).tolist())

    def _gather(self) -> Array:
        """All numbers, one sender after the other in synapse order."""
        in_order = self.layout.in_order(self._got)
        if self.layout.plain:
            return np.array(in_order)
        return numbers_in(in_order[0] if len(in_order) == 1 else b"".join(in_order))

    def stacked(self) -> Array:
        """(senders, rows, columns), where each sender has as many columns for us."""
        layout = self.layout
        return self._gather().reshape(layout.count, layout.rows, layout.direction.widths[0])

    def side_by_side(self) -> Array:
        """(rows, columns of all senders), in C order: another memory layout would change the last bits of a product."""
        layout, widths = self.layout, self.layout.direction.widths
        rows, count, total = layout.rows, layout.count, sum(widths)
        numbers = self._gather()
        if count == 1 or rows == 1:
            return numbers.reshape(rows, total)
        if len({*widths}) == 1:
            block = numbers.reshape(count, rows, widths[0]).transpose(1, 0, 2)
            return np.ascontiguousarray(block.reshape(rows, total))
        edges = np.cumsum([rows * width for width in widths])[:-1]
        return np.concatenate([block.reshape(rows, -1) for block in np.split(numbers, edges)], axis=1)


def _finite(numbers: Sequence[bytes | memoryview]) -> bool:
    return all_finite(numbers_in(numbers[0] if len(numbers) == 1 else b"".join(numbers)))


def _referring(message: bytes, layout: FrameLayout) -> tuple[tuple[Any, ...], ...]:
    """The fields of a message's large frames, each as `unpack` gives them, but for our numbers, which are not copied."""
    view = memoryview(message)[ADDRESS_LENGTH:]
    frames = [view[at : at + layout.length] for at in range(0, len(view), layout.length)]
    return (
        tuple(bytes(frame[: HEAD.stop]) for frame in frames),
        tuple(int.from_bytes(frame[CHECK], "little") for frame in frames),
        tuple(bytes(frame[WINDOW]) for frame in frames),
        tuple(bytes(frame[_TAIL]) for frame in frames),
        tuple(frame[layout.own] for frame in frames),
    )
