"""The inbox of one pass and one direction: stores frames by their sender, and returns their numbers in synapse order.

    a message ── offer ──▶ accepted frames, at most one for each sender ── gather ──▶ numbers, in synapse order
                   └─────▶ rejected frames, each with a `PeerError`

The first copy of a frame counts. The inbox compares heads, marks and shapes as bytes and decodes nothing; it handles all
frames of a message at once if they have one length. A rejected frame does not change the inbox.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator, Sequence
from math import isfinite
from operator import itemgetter
from typing import Any, NamedTuple

import numpy as np

from neuron_node.activations import Array, all_finite
from neuron_node.addresses import ADDRESS_LENGTH
from neuron_node.errors import Duplicate, NotFinite, WrongShape
from neuron_node.frames import (
    HEAD,
    LENGTH_BYTES,
    MAX_FRAME_BYTES,
    NUMBER_BYTES,
    NUMBERS_BEGIN,
    TAIL,
    WINDOW,
    Window,
    numbers_in,
    parse,
    read_window,
    shape_of,
    tail_of,
)

LAYOUTS_KEPT = 64
REFERRED_TO_FROM_BYTES = 4_096
"""Up to this size, copying bytes is faster than referring to them."""
_FIRST_LENGTH = slice(ADDRESS_LENGTH, ADDRESS_LENGTH + LENGTH_BYTES)
_FIRST_BEGIN = slice(ADDRESS_LENGTH, ADDRESS_LENGTH + HEAD.stop)
_FIRST_WINDOW = slice(ADDRESS_LENGTH + WINDOW.start, ADDRESS_LENGTH + WINDOW.stop)
_FIRST_TAIL = slice(ADDRESS_LENGTH + TAIL.start, ADDRESS_LENGTH + TAIL.stop)
"""The positions of the parts of the first frame of a message."""


class Slot(NamedTuple):
    """The frames of one kind from one sender: their sender, their columns, and the columns for this group."""

    place: int
    """The sender's index in synapse order."""
    columns: int
    """The number of columns of a frame."""
    first: int
    """The number of columns before those for this group."""
    own: int
    """The number of columns for this group."""


class FrameLayout:
    """The layout of frames of one length: their shape, the bytes for this group, and the sender's index by length and head."""

    __slots__ = ("length", "only", "own", "places", "shape", "unpack")

    def __init__(self, rows: int, alike: dict[bytes, Slot], *, plain: bool) -> None:
        """`alike` holds slots by their heads; all have the same columns. With `plain`, numbers are kept as floats."""
        _, columns, first, own = next(iter(alike.values()))
        self.shape = shape_of(rows, columns)
        self.length = NUMBERS_BEGIN + NUMBER_BYTES * rows * columns
        self.own = own_bytes(rows, first, own)
        self.places = {self.shape.length + head: slot.place for head, slot in alike.items()}
        before, ours, after = (
            self.own.start - NUMBERS_BEGIN,
            self.own.stop - self.own.start,
            self.length - self.own.stop,
        )
        numbers, window, tail = "d" if plain else f"{ours}s", WINDOW.stop - WINDOW.start, TAIL.stop - TAIL.start
        frame = struct.Struct(f"<{HEAD.stop}s{window}s{tail}s{before}x{numbers}{after}x")
        self.unpack: Callable[[memoryview], Iterator[tuple[Any, ...]]] = frame.iter_unpack
        """Unpack each frame of one message: length and head, window, tail, and the numbers for this group."""
        mine = slice(ADDRESS_LENGTH + self.own.start, ADDRESS_LENGTH + self.own.stop)
        self.only: Callable[[bytes], Any] = lambda message: message[mine]
        """Return the numbers for this group in a message of one frame."""
        if plain:
            double = struct.Struct(f"<{mine.start}xd{self.length + ADDRESS_LENGTH - mine.stop}x")
            self.only = lambda message: double.unpack(message)[0]
        elif ours >= REFERRED_TO_FROM_BYTES:
            self.only = lambda message: memoryview(message)[mine]


class Direction:
    """One direction of a group, signals or errors: its senders in synapse order, and the heads of all their frames."""

    def __init__(self, senders: Sequence[int], slots: dict[bytes, Slot], widths: Sequence[int]) -> None:
        """`slots` are by head; `widths` are the numbers of columns for this group, one for each sender."""
        self.senders = tuple(senders)
        self.slots = slots
        self.widths = tuple(widths)
        self._layouts: dict[int, InboxLayout] = {}

    def layout(self, rows: int) -> InboxLayout:
        """Return the layout for passes with this number of rows."""
        known = self._layouts.get(rows)
        if known is None:
            if len(self._layouts) >= LAYOUTS_KEPT:
                self._layouts.clear()
            known = self._layouts[rows] = InboxLayout(self, rows)
        return known


class InboxLayout:
    """One direction of a group, for passes with one number of rows."""

    __slots__ = ("by_length", "count", "direction", "in_order", "plain", "rows")

    def __init__(self, direction: Direction, rows: int) -> None:
        self.direction = direction
        self.rows = rows
        self.count = len(direction.senders)
        self.plain = rows == 1 and {*direction.widths} == {1}
        """Whether each sender sends one number to this group, which is then kept as a float and not as bytes."""
        self.in_order: Callable[[dict[int, Any]], tuple[Any, ...]] = (
            itemgetter(*range(self.count)) if self.count > 1 else lambda got: (got[0],)
        )
        self.by_length: dict[bytes, FrameLayout] = {}
        alike: dict[tuple[int, ...], dict[bytes, Slot]] = {}
        for head, slot in direction.slots.items():
            alike.setdefault(slot[1:], {})[head] = slot
        for (columns, *_), slots in alike.items():
            if NUMBERS_BEGIN + NUMBER_BYTES * rows * columns > MAX_FRAME_BYTES:
                # Such a frame would be longer than any frame may be.
                continue
            layout = FrameLayout(rows, slots, plain=self.plain)
            self.by_length[layout.shape.length] = layout


def own_bytes(rows: int, first: int, own: int) -> slice:
    """Return the position in a frame of the block of `own` columns that follows the first `first` columns."""
    begin = NUMBERS_BEGIN + NUMBER_BYTES * rows * first
    return slice(begin, begin + NUMBER_BYTES * rows * own)


class Inbox:
    """The accepted frames of one pass and one direction."""

    __slots__ = ("_got", "layout", "mark", "missing", "number")

    def __init__(self, layout: InboxLayout, number: int, mark: bytes) -> None:
        self.layout = layout
        self.number = number
        self.mark = mark
        self.missing = layout.count
        """The number of senders whose frame is missing."""
        self._got: dict[int, Any] = {}

    def offer_message(self, message: bytes, usual: bytes = b"") -> list[Window] | None:  # noqa: PLR0912 - one call for every message
        """Accept all frames of a message, if each frame belongs to this inbox and is new.

        Returns the decoded windows of the frames, except `usual`: the caller knows that this window is valid for the pass.
        Returns None if it accepts no frame; `offer` then gives the reason for each frame.
        """
        layout = self.layout.by_length.get(message[_FIRST_LENGTH])
        if layout is None:
            return None
        got, tail, size = self._got, tail_of(self.mark, layout.shape), len(message) - ADDRESS_LENGTH
        if size == layout.length:
            # Handle the most frequent case, a message of one frame, without lists.
            place = layout.places.get(message[_FIRST_BEGIN])
            if place is None or place in got or message[_FIRST_TAIL] != tail:
                return None
            numbers: Any = layout.only(message)
            windows: Any = (message[_FIRST_WINDOW],)
            new = {place: numbers}
            finite = isfinite(numbers) if self.layout.plain else all_finite(numbers_in(numbers))
        else:
            if size % layout.length:
                return None
            frames = layout.unpack(memoryview(message)[ADDRESS_LENGTH:])
            begins, windows, tails, numbers = zip(*frames)  # noqa: B905 - all have one length, and a keyword takes time here
            try:
                new = dict(zip(map(layout.places.__getitem__, begins), numbers))  # noqa: B905
            except KeyError:
                return None
            count = len(begins)
            if tails.count(tail) < count or len(new) < count or not got.keys().isdisjoint(new):
                return None
            finite = isfinite(sum(numbers)) if self.layout.plain else all_finite(numbers_in(b"".join(numbers)))
        if not finite:
            return None
        said: list[Window] = []
        if windows.count(usual) < len(windows):
            for window in {*windows}:
                read = read_window(window, self.number)
                if read is None:
                    return None
                said.append(read)
        if got:
            got.update(new)
        else:
            self._got = new
        self.missing -= len(new)
        return said

    def offer(self, slot: Slot, frame: bytes) -> Window:
        """Accept one frame of a sender; return its decoded window.

        Raises:
            Duplicate: a frame of this sender has been accepted before.
            WrongShape: the frame has another shape, mode or part than the pass.
            NotFinite: a number is a NaN or an infinity.
            PeerError: the bytes are no data frame: see `frames.parse`.
        """
        rows = self.layout.rows
        window = read_window(frame[WINDOW], self.number)
        if (
            window is None
            or len(frame) != NUMBERS_BEGIN + NUMBER_BYTES * rows * slot.columns
            or frame[TAIL] != tail_of(self.mark, shape := shape_of(rows, slot.columns))
            or not frame.startswith(shape.length)
        ):
            parse(frame)
            raise WrongShape("another shape, mode or part than the pass has")
        if slot.place in self._got:
            raise Duplicate(window.attempt)
        own = own_bytes(rows, slot.first, slot.own)
        numbers: Any = memoryview(frame)[own] if own.stop - own.start >= REFERRED_TO_FROM_BYTES else frame[own]
        if not all_finite(numbers_in(numbers)):
            raise NotFinite("the numbers hold a NaN or an infinity")
        self._got[slot.place] = float(numbers_in(numbers)[0]) if self.layout.plain else numbers
        self.missing -= 1
        return window

    def lacks(self) -> list[int]:
        """Return the senders whose frame is missing, in synapse order."""
        return [sender for place, sender in enumerate(self.layout.direction.senders) if place not in self._got]

    def floats(self) -> tuple[float, ...]:
        """Return all numbers of a pass with one row, in synapse order. The inbox must be complete."""
        in_order = self.layout.in_order(self._got)
        return in_order if self.layout.plain else tuple(numbers_in(b"".join(in_order)).tolist())

    def _gather(self) -> Array:
        """Return all numbers, shape (numbers,), one sender after the other in synapse order."""
        in_order = self.layout.in_order(self._got)
        if self.layout.plain:
            return np.array(in_order)
        return numbers_in(in_order[0] if len(in_order) == 1 else b"".join(in_order))

    def stacked(self) -> Array:
        """Return all numbers as (senders, rows, columns). All senders must have the same number of columns for this group."""
        layout = self.layout
        return self._gather().reshape(layout.count, layout.rows, layout.direction.widths[0])

    def side_by_side(self) -> Array:
        """Return all numbers as (rows, columns of all senders), in C order.

        Another memory layout would change the last bits of a product.
        """
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
