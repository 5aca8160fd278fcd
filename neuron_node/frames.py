"""The fixed layout of data frames: signals, errors, targets and results. Nothing here decodes msgpack.

A message is an address and one or more frames, end to end. Every frame begins with the length of its body, so a relay may
join the frames for one address. The body of a data frame is a msgpack array of 19 fields, each with a fixed place and length:

    length
    head      version, kind, run, generation, receiver, sender, their check: the same in every pass of a generation
    window    attempt, low, high, their check: may vary within a pass
    tail      pass, mode, part, parts (the mark of the pass), rows, columns, their check, the bytes of the numbers
    numbers   little-endian float64

A receiver knows the head of each frame that it waits for from its role and its grant, and the tail from the first frame of
the pass. So it compares bytes, and reads the numbers where they stand. The checks are CRC-32: no frame with a wrong bit
before its numbers passes for another one.

`low` is the oldest pass that is not over: no frame of an older pass is of any use. `high` is the last pass that the
coordinator sends without waiting for another one to end. `docs/protocol.md` specifies the layout.
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

PROTOCOL_VERSION = 6
IDENTITY_LENGTH = 8
MAX_FRAME_BYTES = 256 * 1024 * 1024
MAX_FRAMES = 65_536
"""In one message. The rest of a longer one is dropped."""
MAX_PARTS = 64
WINDOW_PASSES = 256
"""`high` is at most this far above `low`."""

LENGTH_BYTES = 4
HEAD = slice(LENGTH_BYTES, LENGTH_BYTES + 39)
WINDOW = slice(HEAD.stop, HEAD.stop + 28)
TAIL = slice(WINDOW.stop, WINDOW.stop + 32)
MARK = slice(TAIL.start, TAIL.start + 12)
NUMBERS_BEGIN = TAIL.stop
"""Where in a frame its numbers begin; in a message of one frame that is byte 112, a multiple of 8."""
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
"""The msgpack specification's array 16, bin 8, uint 32, uint 64 and bin 32; version, kind, mode, part and parts are a fixint each."""


class DataKind(IntEnum):
    """Kinds of data frames. 20 was Input, until protocol version 5."""

    TARGET = 21
    """Coordinator → output group: what its activities should be, (rows, its neurons)."""
    SIGNAL = 22
    """Group, or coordinator → group: weight × activity, (rows, the receiver's neurons)."""
    ERROR = 23
    """Group → the stages that send to it: its own error, (rows, its neurons)."""
    OUTPUT = 24
    """Output group → coordinator: its activities."""
    INPUT_ERROR = 25
    """Input group → coordinator: its own errors; no columns if it learns no bias. The pass is over with all of these and all outputs."""
    AXON = 26
    """Group, or coordinator → stage: the signals for all groups of the stage, a block (rows, its neurons) for each, in order."""
    TARGETS = 27
    """Coordinator → the stage of outputs: the targets of all of its groups, a block for each, in order."""


class Mode(IntEnum):
    """What a pass is for. 3 is reserved for tracing."""

    FORWARD = 0
    """Signals run forward only; nothing is learned."""
    TRAIN = 1
    """Forward and back, and an update."""
    TRAIN_AND_COPY = 2
    """Train, and keep a copy of the group as it is when the step ends: the snapshot's part."""


class Window(NamedTuple):
    """The passes under way, as a data frame states them: its attempt, the first pass, and the last announced pass."""

    attempt: int
    low: int
    high: int


class DataFrame(NamedTuple):
    """A data frame, decoded. Only tests, tools and the reason for a rejection need one."""

    kind: int
    run: bytes
    generation: int
    receiver: int
    """A group; for axons, errors and targets of a whole stage, the stage."""
    sender: int
    attempt: int
    low: int
    high: int
    pass_number: int
    mode: int
    part: int
    parts: int
    values: Array
    """(rows, columns)."""

    def encode(self) -> bytes:
        """The frame."""
        return data_frame(
            data_head(self.kind, self.run, self.generation, self.receiver, self.sender),
            window_of(self.attempt, self.low, self.high),
            tail_of(mark_of(self.pass_number, self.mode, self.part, self.parts), shape_of(*self.values.shape)),
            np.ascontiguousarray(self.values, ON_THE_WIRE).tobytes(),
        )


class Shape:
    """What frames with numbers (rows, columns) have in common: their length, and the parts of their tail."""

    __slots__ = ("length", "numbers", "sizes")

    def __init__(self, rows: int, columns: int) -> None:
        size = NUMBER_BYTES * rows * columns
        self.length = _LENGTH.pack(NUMBERS_BEGIN - LENGTH_BYTES + size)
        self.sizes = _SIZES.pack(_UINT_32, rows, _UINT_32, columns)
        self.numbers = _CHECK.pack(_BIN_32, size)


def data_head(kind: int, run: bytes, generation: int, receiver: int, sender: int) -> bytes:
    """The bytes after the length of each frame of this kind, receiver and sender, in every pass of a generation."""
    numbers = (_UINT_64, generation, _UINT_32, receiver, _UINT_32, sender)
    return _checked(_HEAD.pack(_ARRAY_19, PROTOCOL_VERSION, kind, _BYTES_8, run, *numbers))


def _checked(data: bytes) -> bytes:
    """The data and, as a field of its own, their CRC-32."""
    return data + _CHECK.pack(_UINT_32, crc32(data))


@lru_cache(maxsize=64)
def window_of(attempt: int, low: int, high: int) -> bytes:
    """What may vary within a pass: the attempt, and which passes are under way."""
    return _checked(_WINDOW.pack(_UINT_32, attempt, _UINT_64, low, _UINT_64, high))


def mark_of(number: int, mode: int, part: int = 0, parts: int = 1) -> bytes:
    """The bytes that all frames of a pass have in common."""
    return _MARK.pack(_UINT_64, number, mode, part, parts)


@lru_cache(maxsize=256)
def shape_of(rows: int, columns: int) -> Shape:
    """The shape of so many numbers."""
    return Shape(rows, columns)


def tail_of(mark: bytes, shape: Shape) -> bytes:
    """What all frames of a pass that have this shape have before their numbers."""
    data = mark + shape.sizes
    return b"".join((data, _CHECK.pack(_UINT_32, crc32(data)), shape.numbers))


def data_frame(head: bytes, window: bytes, tail: bytes, numbers: bytes) -> bytes:
    """A whole data frame from its parts."""
    return framed(b"".join((head, window, tail, numbers)))


def framed(body: bytes) -> bytes:
    """A body with its length before it."""
    return _LENGTH.pack(len(body)) + body


def split(message: bytes) -> list[bytes]:
    """The frames of a message, without its address. What is not a whole frame is the last piece, which no decoder takes."""
    frames, at, end = list[bytes](), ADDRESS_LENGTH, len(message)
    while at < end:
        stop = at + LENGTH_BYTES + int.from_bytes(message[at : at + LENGTH_BYTES], "big")
        if stop > end or stop < at + LENGTH_BYTES + _LEAST_BODY_BYTES or len(frames) == MAX_FRAMES:
            stop = end
        frames.append(message[at:stop])
        at = stop
    return frames


def frames_in(message: bytes) -> int:
    """How many frames a message has."""
    size = len(message) - ADDRESS_LENGTH
    first = LENGTH_BYTES + int.from_bytes(message[ADDRESS_LENGTH : ADDRESS_LENGTH + LENGTH_BYTES], "big")
    # Nearly always they have one length.
    return size // first if size % first == 0 else len(split(message))


def pass_of(data: bytes, at: int) -> tuple[int, int, int, int, int, int]:
    """Number, mode, part, parts, rows and columns that the data frame at this place of the data claims."""
    return _PASS.unpack_from(data, at + MARK.start)


def read_window(window: bytes, number: int) -> Window | None:
    """What the window of a frame of pass `number` says; None where it is not a valid one."""
    read = _read_window(window)
    return read if read is not None and read.low <= number <= read.high <= read.low + WINDOW_PASSES else None


@lru_cache(maxsize=64)
def _read_window(window: bytes) -> Window | None:
    if len(window) != WINDOW.stop - WINDOW.start:
        return None
    _, attempt, _, low, _, high = _WINDOW.unpack_from(window)
    return Window(attempt, low, high) if window_of(attempt, low, high) == window else None


def parse(frame: bytes) -> DataFrame:
    """The data frame in these bytes, from its fixed places. Raises `PeerError` for bytes that hold none.

    Raises:
        Oversized: longer than any frame may be.
        WrongVersion: of another protocol version.
        NotFinite: a number is a NaN or an infinity.
        Malformed: anything else, another encoding of the same message among it.
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
    """Run and sender that a frame claims, as far as it has them: enough to log each sender once."""
    return frame[HEAD.start + 7 : HEAD.stop]


def numbers_in(data: bytes | memoryview) -> Array:
    """The numbers in the bytes of a frame, as native float64."""
    return np.frombuffer(data, ON_THE_WIRE).astype(np.float64, copy=False)


_KINDS, _MODES = frozenset(DataKind), frozenset(Mode)
