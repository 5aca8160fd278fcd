"""Frames of every kind, made by hypothesis from the bounds in `neuron_node.protocol` and `neuron_node.frames`."""

from __future__ import annotations

from typing import Any
from zlib import crc32

import numpy as np
from hypothesis import strategies as st

from neuron_node.frames import HEAD, MAX_PARTS, TAIL, WINDOW, WINDOW_PASSES, DataFrame, DataKind, Mode
from neuron_node.protocol import KINDS, RECORDS, Message
from neuron_node.schema import MAX_NUMBER, Blob, Flag, Many, Matrix, Maybe, Real, Record, Text, Whole

SMALL = 3


def values_of(field: Any) -> st.SearchStrategy[Any]:
    """Return values within the bounds of a field, mostly small."""
    made: st.SearchStrategy[Any]
    match field:
        case Whole(low, high):
            made = st.one_of(st.integers(low, high), st.sampled_from([low, high]))
        case Real(low, high):
            made = st.floats(low, high)
        case Flag():
            made = st.booleans()
        case Text(max_length, choices):
            made = st.sampled_from(choices) if choices else st.text(max_size=min(max_length, 20))
        case Blob(length):
            made = st.binary(min_size=length, max_size=length)
        case Matrix(max_rows, max_columns):
            made = matrices(min(max_rows, SMALL), min(max_columns, SMALL))
        case Many(item, max_count):
            made = st.lists(values_of(item), max_size=min(max_count, SMALL)).map(tuple)
        case Maybe(item):
            made = st.one_of(st.none(), values_of(item))
        case Record(build, fields):
            made = st.tuples(*map(values_of, fields)).map(lambda values: build(*values))
        case _:
            raise TypeError(f"a field of a new kind: {field!r}")
    return made


@st.composite
def matrices(draw: st.DrawFn, most_rows: int, most_columns: int) -> np.ndarray:
    """Return arrays of finite float64, sometimes in Fortran order, big-endian or empty."""
    shape = draw(st.integers(0, most_rows)), draw(st.integers(0, most_columns))
    count = shape[0] * shape[1]
    flat = draw(st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=count, max_size=count))
    array = np.array(flat, dtype=draw(st.sampled_from(["<f8", ">f8"]))).reshape(shape)
    return np.asfortranarray(array) if draw(st.booleans()) else array


def messages_of(kind: int) -> st.SearchStrategy[Message]:
    """Return control messages of one kind, by its number."""
    return values_of(RECORDS[kind])


any_message: st.SearchStrategy[Message] = st.sampled_from(sorted(KINDS)).flatmap(messages_of)


@st.composite
def data_frames(draw: st.DrawFn) -> DataFrame:
    """Return data frames of any kind."""
    word, long = st.integers(0, 2**32 - 1), st.integers(0, MAX_NUMBER)
    number, parts = draw(long), draw(st.integers(1, MAX_PARTS))
    low = draw(st.integers(max(0, number - WINDOW_PASSES), number))
    high = draw(st.integers(number, low + WINDOW_PASSES))
    return DataFrame(
        kind=draw(st.sampled_from(DataKind)),
        run=draw(st.binary(min_size=8, max_size=8)),
        generation=draw(long),
        receiver=draw(word),
        sender=draw(word),
        attempt=draw(word),
        low=low,
        high=high,
        pass_number=number,
        mode=draw(st.sampled_from(Mode)),
        part=draw(st.integers(0, parts - 1)),
        parts=parts,
        values=draw(matrices(SMALL, SMALL)),
    )


def alike(one: Any, other: Any) -> bool:
    """Return whether two messages are equal: in types, and in every bit of the numbers."""
    if isinstance(one, np.ndarray):
        return (
            isinstance(other, np.ndarray)
            and one.shape == other.shape
            and one.astype("<f8").tobytes() == other.astype("<f8").tobytes()
        )
    if isinstance(one, tuple):
        return type(one) is type(other) and len(one) == len(other) and all(map(alike, one, other))
    if isinstance(one, float):
        return isinstance(other, float) and np.float64(one).tobytes() == np.float64(other).tobytes()
    return bool(one == other)


CHECKED = ((HEAD.start, HEAD.stop - 5), (WINDOW.start, WINDOW.stop - 5), (TAIL.start, TAIL.stop - 10))
"""Which bytes of a frame each check covers; it stands behind them, after its type byte. The tail ends with the bin 32."""


def rechecked(frame: bytes) -> bytes:
    """Return the frame with correct checksums."""
    made = bytearray(frame)
    for begin, end in CHECKED:
        made[end + 1 : end + 5] = crc32(made[begin:end]).to_bytes(4, "big")
    return bytes(made)
