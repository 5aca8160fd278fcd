"""The fixed layout of data frames: signals, errors, targets and results. This file does not decode msgpack.

A message is an address and one or more frames, end to end. Every frame begins with the length of its body, so a relay may
join the frames for one address. The body of a data frame is a msgpack array of 19 fields, each at a fixed position:

    length
    head      version, kind, run, generation, receiver, sender, checksum: the same in every pass of a generation
    window    attempt, low, high, checksum: may vary within a pass
    tail      pass, mode, part, parts (the mark of the pass), rows, columns, checksum, number of bytes
    numbers   little-endian float64

A receiver knows the head of each frame from its role and its grant, and the tail from the first frame of the pass. So it
compares bytes, and reads the numbers at their position. The checksums are CRC-32: they detect a wrong bit in a field.

`low` is the oldest pass that is not over: a frame of an older pass is stale. `high` is the last pass that the coordinator
sends without waiting for another pass to end. `docs/protocol.md` specifies the layout.
"""

from __future__ import annotations

import struct
from enum import IntEnum
from functools import lru_cache
from typing import NamedTuple
from zlib import crc32

import numpy as np

from neuron_node.activations import Array, all_finite
from neuron_node.addresses import ADDRESS_LENGTH
from neuron_node.errors import Malformed, NotFinite, Oversized, WrongVersion
from neuron_node.schema import MAX_BATCH, MAX_NUMBER

PROTOCOL_VERSION = 7
IDENTITY_LENGTH = 8
MAX_FRAME_BYTES = 256 * 1024 * 1024
MAX_FRAMES = 65_536
"""The most frames of one message. The receiver drops the rest of a longer message."""
MAX_PARTS = 64
WINDOW_PASSES = 256
"""`high` is at most this far above `low`."""

LENGTH_BYTES = 4
HEAD = slice(LENGTH_BYTES, LENGTH_BYTES + 39)
WINDOW = slice(HEAD.stop, HEAD.stop + 28)
TAIL = slice(WINDOW.stop, WINDOW.stop + 32)
MARK = slice(TAIL.start, TAIL.start + 12)
NUMBERS_BEGIN = TAIL.stop
"""The position of the numbers in a frame. In a message of one frame they begin at byte 112, a multiple of 8."""
NUMBER_BYTES = 8
ON_THE_WIRE = np.dtype("<f8")
_LEAST_BODY_BYTES = 2
_FIXINTS = 0x80

_LENGTH = struct.Struct(">I")
_HEAD = struct.Struct(">3sBB2s8sBQBIBI")
_CHECK = struct.Struct(">BI")
_WINDOW = struct.Struct(">BIBQBQ")
_MARK = struct.Struct(">BQBBB")
_SIZES = struct.Struct(">BIBI")
_PASS = struct.Struct(">xQBBBxIxI")
_ARRAY_19, _BYTES_8 = b"\xdc\x00\x13", b"\xc4\x08"
_UINT_32, _UINT_64, _BIN_32 = 0xCE, 0xCF, 0xC6
"""Type bytes of msgpack: array 16, bin 8, uint 32, uint 64, bin 32. Version, kind, mode, part and parts are fixints."""


class DataKind(IntEnum):
    """The kinds of data frames. Number 20 was Input, up to protocol version 5."""

    TARGET = 21
    """Coordinator → output group: the wanted activities (rows, neurons of the group)."""
    SIGNAL = 22
    """Group or coordinator → group: weight × activity, or the input (rows, neurons of the receiver)."""
    ERROR = 23
    """Group → each stage that sends signals to it: its own error (rows, neurons of the group)."""
    OUTPUT = 24
    """Output group → coordinator: its activities (rows, neurons of the group)."""
    INPUT_ERROR = 25
    """Input group → coordinator: its own errors (rows, neurons of the group); no columns if it learns no bias.

    A pass is over when all of these frames and all outputs have arrived.
    """
    AXON = 26
    """Group or coordinator → stage: the signals for all groups of the stage, in order, one block (rows, neurons) for each."""
    TARGETS = 27
    """Coordinator → output stage: the targets of all groups of the stage, in order, one block (rows, neurons) for each."""
    TELEMETRY = 28
    """Group → coordinator: its numbers in a step of mode `TRAIN_AND_REPORT`, one row; `telemetry.py` has their order."""


class Mode(IntEnum):
    """The purpose of a pass."""

    FORWARD = 0
    """Send signals forward; learn nothing."""
    TRAIN = 1
    """Send signals forward and errors back, and update the weights."""
    TRAIN_AND_COPY = 2
    """Train, and copy each group's state at the end of the step, for a snapshot."""
    TRACE = 3
    """Send signals forward and errors back, learn nothing, and report the numbers of all nine steps in `TraceReport`."""
    TRAIN_AND_REPORT = 4
    """Train, and send the numbers of the step in a frame of kind `TELEMETRY`, for people who watch."""


class Window(NamedTuple):
    """The passes under way, as a data frame states them: its attempt, the first pass, and the last announced pass."""

    attempt: int
    low: int
    high: int


class DataFrame(NamedTuple):
    """A decoded data frame. Used by tests and tools, and to find the reason for a rejection."""

    kind: int
    run: bytes
    generation: int
    receiver: int
    """The number of a group; for frames to a whole stage (AXON, ERROR, TARGETS) the number of the stage."""
    sender: int
    attempt: int
    low: int
    high: int
    pass_number: int
    mode: int
    part: int
    parts: int
    values: Array
    """The numbers (rows, columns)."""

    def encode(self) -> bytes:
        """Return the bytes of the frame."""
        return data_frame(
            data_head(self.kind, self.run, self.generation, self.receiver, self.sender),
            window_of(self.attempt, self.low, self.high),
            tail_of(mark_of(self.pass_number, self.mode, self.part, self.parts), shape_of(*self.values.shape)),
            np.ascontiguousarray(self.values, ON_THE_WIRE).tobytes(),
        )


class Shape:
    """The encoded fields of frames with numbers (rows, columns): their length, and parts of their tail."""

    __slots__ = ("length", "numbers", "sizes")

    def __init__(self, rows: int, columns: int) -> None:
        size = NUMBER_BYTES * rows * columns
        self.length = _LENGTH.pack(NUMBERS_BEGIN - LENGTH_BYTES + size)
        self.sizes = _SIZES.pack(_UINT_32, rows, _UINT_32, columns)
        self.numbers = _CHECK.pack(_BIN_32, size)


def data_head(kind: int, run: bytes, generation: int, receiver: int, sender: int) -> bytes:
    """Return the head of all frames of this kind, receiver and sender in one generation."""
    numbers = (_UINT_64, generation, _UINT_32, receiver, _UINT_32, sender)
    return _checked(_HEAD.pack(_ARRAY_19, PROTOCOL_VERSION, kind, _BYTES_8, run, *numbers))


def _checked(data: bytes) -> bytes:
    """Append the CRC-32 of the data, as a field."""
    return data + _CHECK.pack(_UINT_32, crc32(data))


@lru_cache(maxsize=64)
def window_of(attempt: int, low: int, high: int) -> bytes:
    """Return the window of a frame: the attempt, and the range of the passes under way."""
    return _checked(_WINDOW.pack(_UINT_32, attempt, _UINT_64, low, _UINT_64, high))


def mark_of(number: int, mode: int, part: int = 0, parts: int = 1) -> bytes:
    """Return the mark of a pass: the bytes that all its frames have in common."""
    return _MARK.pack(_UINT_64, number, mode, part, parts)


@lru_cache(maxsize=256)
def shape_of(rows: int, columns: int) -> Shape:
    """Return the encoded fields for numbers (rows, columns)."""
    return Shape(rows, columns)


def tail_of(mark: bytes, shape: Shape) -> bytes:
    """Return the tail of all frames of a pass with this shape."""
    data = mark + shape.sizes
    return b"".join((data, _CHECK.pack(_UINT_32, crc32(data)), shape.numbers))


def data_frame(head: bytes, window: bytes, tail: bytes, numbers: bytes) -> bytes:
    """Return a data frame, made of its parts."""
    return framed(b"".join((head, window, tail, numbers)))


def framed(body: bytes) -> bytes:
    """Return the body with its length before it."""
    return _LENGTH.pack(len(body)) + body


def split(message: bytes) -> list[bytes]:
    """Return the frames of a message, without its address.

    If the rest of the message is no whole frame, it becomes the last item, which every decoder rejects.
    """
    frames, at, end = list[bytes](), ADDRESS_LENGTH, len(message)
    while at < end:
        stop = at + LENGTH_BYTES + int.from_bytes(message[at : at + LENGTH_BYTES], "big")
        if stop > end or stop < at + LENGTH_BYTES + _LEAST_BODY_BYTES or len(frames) == MAX_FRAMES:
            stop = end
        frames.append(message[at:stop])
        at = stop
    return frames


def frames_in(message: bytes) -> int:
    """Return the number of frames of a message."""
    size = len(message) - ADDRESS_LENGTH
    first = LENGTH_BYTES + int.from_bytes(message[ADDRESS_LENGTH : ADDRESS_LENGTH + LENGTH_BYTES], "big")
    # Nearly all messages have frames of one length.
    return size // first if size % first == 0 else len(split(message))


def pass_of(data: bytes, at: int) -> tuple[int, int, int, int, int, int]:
    """Return number, mode, part, parts, rows and columns of the data frame that begins at `at`, without checks."""
    return _PASS.unpack_from(data, at + MARK.start)


def read_window(window: bytes, number: int) -> Window | None:
    """Return the decoded window of a frame of pass `number`; None if the window is invalid."""
    read = _read_window(window)
    return read if read is not None and read.low <= number <= read.high <= read.low + WINDOW_PASSES else None


@lru_cache(maxsize=64)
def _read_window(window: bytes) -> Window | None:
    if len(window) != WINDOW.stop - WINDOW.start:
        return None
    _, attempt, _, low, _, high = _WINDOW.unpack_from(window)
    return Window(attempt, low, high) if window_of(attempt, low, high) == window else None


def parse(frame: bytes) -> DataFrame:
    """Return the decoded data frame.

    Raises:
        Oversized: the frame is longer than any frame may be.
        WrongVersion: the frame has another protocol version.
        NotFinite: a number is a NaN or an infinity.
        Malformed: the bytes are no data frame in the one valid layout.
    """
    if len(frame) > MAX_FRAME_BYTES:
        raise Oversized(f"{len(frame)} bytes")
    if len(frame) < NUMBERS_BEGIN or int.from_bytes(frame[:LENGTH_BYTES], "big") != len(frame) - LENGTH_BYTES:
        raise Malformed("not a data frame of the length that it states")
    array, version, kind, _, run, _, generation, _, receiver, _, sender = _HEAD.unpack_from(frame, HEAD.start)
    if array == _ARRAY_19 and version != PROTOCOL_VERSION and version < _FIXINTS:
        raise WrongVersion(version, kind)
    number, mode, part, parts, rows, columns = pass_of(frame, 0)
    if kind not in _KINDS or mode not in _MODES or not 0 <= part < parts <= MAX_PARTS or rows > MAX_BATCH:
        raise Malformed("a field is out of bounds")
    if generation > MAX_NUMBER or number > MAX_NUMBER:
        raise Malformed("a number is out of bounds")
    if len(frame) != NUMBERS_BEGIN + NUMBER_BYTES * rows * columns:
        raise Malformed(f"the numbers do not fill {rows} x {columns}")
    window = read_window(frame[WINDOW], number)
    if window is None:
        raise Malformed("low, pass and high do not follow each other, or their check does not fit")
    head = data_head(kind, run, generation, receiver, sender)
    if head != frame[HEAD] or tail_of(mark_of(number, mode, part, parts), shape_of(rows, columns)) != frame[TAIL]:
        raise Malformed("not the layout of a data frame, or a check does not fit")
    flat = numbers_in(frame[NUMBERS_BEGIN:])
    if not all_finite(flat):
        raise NotFinite("the numbers hold a NaN or an infinity")
    values = flat.reshape(rows, columns)
    return DataFrame(kind, run, generation, receiver, sender, *window, number, mode, part, parts, values)


def sender_in(frame: bytes) -> bytes:
    """Return the bytes that name run and sender, without checks, for the log; fewer if the frame is short."""
    return frame[HEAD.start + 7 : HEAD.stop]


def numbers_in(data: bytes | memoryview) -> Array:
    """Return the numbers in bytes of a frame, shape (numbers,), as native float64."""
    return np.frombuffer(data, ON_THE_WIRE).astype(np.float64, copy=False)


_KINDS, _MODES = frozenset(DataKind), frozenset(Mode)
