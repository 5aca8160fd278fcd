"""Data frames to bytes and back, their fixed places, and the frames of a message."""

from __future__ import annotations

import struct
from zlib import crc32

import msgpack
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from neuron_node import frames
from neuron_node.activations import quiet
from neuron_node.addresses import ADDRESS_LENGTH, stage_address
from neuron_node.errors import Malformed, NotFinite, Oversized, PeerError, WrongVersion
from neuron_node.frames import (
    HEAD,
    MARK,
    MAX_PARTS,
    NUMBERS_BEGIN,
    PROTOCOL_VERSION,
    TAIL,
    WINDOW,
    WINDOW_PASSES,
    DataFrame,
    DataKind,
    Mode,
    framed,
    frames_in,
    parse,
    pass_of,
    read_window,
    sender_in,
    split,
    window_of,
)
from neuron_node.schema import MAX_BATCH, MAX_NUMBER
from tests.made_messages import CHECKED, alike, data_frames, rechecked
from tests.roles import RUN, data, matrix

ADDRESS = stage_address(2)
FRAME = data(DataKind.SIGNAL, 2, 1, matrix((0.5, -1.0), (2.0, 3.0)), 7, attempt=1, low=5, high=9, parts=3, part=2)


def changed(place: int, *values: int) -> bytes:
    """The frame with other bytes from a place on, and checks that fit."""
    frame = FRAME.encode()
    return rechecked(frame[:place] + bytes(values) + frame[place + len(values) :])


@given(frame=data_frames())
def test_encoded_frame_is_decoded_bit_for_bit(frame: DataFrame) -> None:
    """Bit for bit, from arrays in any layout; the same frame is always the same bytes."""
    encoded = frame.encode()
    returned = parse(encoded)
    assert alike(frame._replace(kind=int(frame.kind), mode=int(frame.mode)), returned)
    assert returned.encode() == encoded
    assert returned.values.flags.c_contiguous and returned.values.dtype.isnative


@given(frame=data_frames())
def test_a_frame_is_msgpack_with_fixed_places(frame: DataFrame) -> None:
    """Any msgpack decoder finds 19 fields behind the length; the sender's and the numbers' places never move."""
    encoded = frame.encode()
    assert int.from_bytes(encoded[:4], "big") == len(encoded) - 4
    fields = msgpack.unpackb(encoded[4:])
    # A check does not cover itself: its type and its four bytes end the head and the window, and stand before the bin 32.
    of_head, of_window, of_tail = (crc32(encoded[begin:end]) for begin, end in CHECKED)
    rows, columns = frame.values.shape
    numbers = np.ascontiguousarray(frame.values, "<f8").tobytes()
    assert fields == [
        *(PROTOCOL_VERSION, frame.kind, frame.run, frame.generation, frame.receiver, frame.sender, of_head),
        *(frame.attempt, frame.low, frame.high, of_window),
        *(frame.pass_number, frame.mode, frame.part, frame.parts, rows, columns, of_tail, numbers),
    ]
    assert encoded[NUMBERS_BEGIN:] == numbers and (ADDRESS_LENGTH + NUMBERS_BEGIN) % 8 == 0
    assert pass_of(encoded, 0) == (frame.pass_number, frame.mode, frame.part, frame.parts, rows, columns)
    assert pass_of(ADDRESS + encoded, ADDRESS_LENGTH)[0] == frame.pass_number
    assert read_window(encoded[WINDOW], frame.pass_number) == (frame.attempt, frame.low, frame.high)


@given(garbage=st.binary(max_size=200))
def test_garbage_is_a_peers_fault(garbage: bytes) -> None:
    """Any bytes raise a `PeerError` and nothing else, with a length that is right too; they have a sender to log."""
    for frame in (garbage, framed(garbage), framed(FRAME.encode()[4:NUMBERS_BEGIN] + garbage)):
        sender_in(frame)
        try:
            read = parse(frame)
        except PeerError:
            continue
        assert read.encode() == frame


@given(place=st.integers(0, NUMBERS_BEGIN - 1), value=st.integers(1, 255))
def test_a_frame_with_a_wrong_byte_is_no_frame(place: int, value: int) -> None:
    """Anywhere before the numbers: in the length, the head, the window and the tail, their checks among them."""
    frame = bytearray(FRAME.encode())
    frame[place] ^= value
    with pytest.raises((Malformed, WrongVersion)):
        parse(bytes(frame))


def test_a_bit_of_the_window_changes_its_check() -> None:
    """A wrong `low` would make a group give up passes, so a window must not be accepted with the check of another one."""
    wrong = window_of(0, 6, 9)[:-4] + window_of(0, 5, 9)[-4:]
    assert read_window(window_of(0, 6, 9), 7) == (0, 6, 9) and read_window(wrong, 7) is None


@given(place=st.integers(0, 27), value=st.integers(1, 255))
def test_a_window_with_a_wrong_byte_says_nothing(place: int, value: int) -> None:
    """It is read by itself, apart from its frame."""
    window = bytearray(window_of(1, 5, 9))
    window[place] ^= value
    assert read_window(bytes(window), 7) is None


@pytest.mark.parametrize("window", [(0, 8, 9), (0, 5, 6), (0, 5, 5 + WINDOW_PASSES + 1), (0, 0, 7 + WINDOW_PASSES)])
def test_low_pass_and_high_follow_each_other(window: tuple[int, int, int]) -> None:
    """low ≤ pass ≤ high ≤ low + 256; a frame in which they do not is malformed, though its checks fit."""
    frame = FRAME.encode()
    with pytest.raises(Malformed, match="low, pass and high"):
        parse(rechecked(frame[: WINDOW.start] + window_of(*window) + frame[WINDOW.stop :]))
    assert read_window(window_of(*window), 7) is None


@pytest.mark.parametrize("window", [(0, 7, 7), (0, 5, 5 + WINDOW_PASSES), (2**32 - 1, 0, WINDOW_PASSES)])
def test_the_window_is_so_wide(window: tuple[int, int, int]) -> None:
    """The bounds themselves are right."""
    frame = FRAME.encode()
    read = parse(rechecked(frame[: WINDOW.start] + window_of(*window) + frame[WINDOW.stop :]))
    assert (read.attempt, read.low, read.high) == window
    assert read_window(window_of(*window)[:-1], 7) is None


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), float("-inf")])
def test_numbers_that_are_not_finite_are_refused(bad: float) -> None:
    """Wherever they stand; the largest numbers, whose sum overflows, are accepted, and the sign of zero is kept."""
    for place in range(4):
        values = FRAME.values.copy()
        values.flat[place] = bad
        with pytest.raises(NotFinite):
            parse(FRAME._replace(values=values).encode())
    edge = matrix((1.7e308, 1.7e308), (-0.0, 5e-324))
    with quiet():
        assert parse(FRAME._replace(values=edge).encode()).values.tobytes() == edge.tobytes()


@pytest.mark.parametrize(
    ("frame", "fault"),
    [
        (changed(HEAD.start + 4, 20), Malformed),
        (changed(HEAD.start + 4, 29), Malformed),
        (changed(MARK.start + 9, 5), Malformed),
        (changed(MARK.start + 10, 3), Malformed),
        (changed(MARK.start + 11, MAX_PARTS + 1), Malformed),
        (changed(MARK.start + 11, 0), Malformed),
        (changed(HEAD.start + 3, PROTOCOL_VERSION - 1), WrongVersion),
        (changed(HEAD.start + 3, 0xCC), Malformed),
        (changed(MARK.stop + 1, 0, 0, 0, 3), Malformed),
        (changed(MARK.stop + 1, *struct.pack(">I", MAX_BATCH + 1)), Malformed),
        (changed(TAIL.stop - 4, 0, 0, 0, 24), Malformed),
        (changed(HEAD.start + 16, *struct.pack(">Q", MAX_NUMBER + 1)), Malformed),
        (FRAME.encode() + b"\x00", Malformed),
        (FRAME.encode()[:-1], Malformed),
        (FRAME.encode()[:NUMBERS_BEGIN], Malformed),
        (b"", Malformed),
    ],
    ids=[
        *("kind 20", "kind 29", "mode 5", "part of parts", "parts", "no parts", "version", "version in two bytes"),
        *("rows", "batch", "bytes", "generation", "longer", "shorter", "no numbers", "nothing"),
    ],
)
def test_fields_out_of_bounds_are_refused(frame: bytes, fault: type[PeerError]) -> None:
    """Though the checks fit."""
    with pytest.raises(fault):
        parse(frame)


def test_another_encoding_of_the_same_message_is_refused() -> None:
    """The shortest msgpack of the same 19 fields is the same message for a decoder of msgpack, and no frame of data."""
    body = msgpack.packb(msgpack.unpackb(FRAME.encode()[4:]))
    assert msgpack.unpackb(body) == msgpack.unpackb(FRAME.encode()[4:])
    with pytest.raises(Malformed):
        parse(framed(body))


def test_a_frame_beyond_the_bound_is_not_even_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    """One byte more than the protocol allows."""
    frame = FRAME.encode()
    monkeypatch.setattr(frames, "MAX_FRAME_BYTES", len(frame))
    parse(frame)
    monkeypatch.setattr(frames, "MAX_FRAME_BYTES", len(frame) - 1)
    with pytest.raises(Oversized):
        parse(frame)


bodies = st.lists(st.binary(min_size=2, max_size=40), min_size=1, max_size=8)


@given(bodies=bodies)
def test_a_message_is_split_where_its_frames_end(bodies: list[bytes]) -> None:
    """By the lengths that the frames state, and by nothing in them."""
    parts = [framed(body) for body in bodies]
    message = ADDRESS + b"".join(parts)
    assert split(message) == parts
    assert split(ADDRESS) == []
    if len({len(part) for part in parts}) == 1:
        assert frames_in(message) == len(parts)


@given(bodies=bodies, cut=st.integers(0, 400))
def test_truncated_message_keeps_its_whole_frames(bodies: list[bytes], cut: int) -> None:
    """Whole frames come before it; no byte is lost or comes twice, and the piece is no frame."""
    parts = [framed(body) for body in bodies]
    whole = b"".join(parts)
    found = split((ADDRESS + whole)[: ADDRESS_LENGTH + cut])
    assert b"".join(found) == whole[:cut]
    ends = np.cumsum([len(part) for part in parts])
    complete = int((ends <= cut).sum())
    assert found[:complete] == parts[:complete] and len(found) <= complete + 1
    for piece in found[complete:]:
        with pytest.raises(PeerError):
            parse(piece)


@given(garbage=st.binary(max_size=100))
def test_any_message_can_be_split_and_counted(garbage: bytes) -> None:
    """Lengths that lie, that are too small for a body or that point beyond the end."""
    for message in (garbage, ADDRESS + garbage, ADDRESS + bytes(4) + garbage):
        assert b"".join(split(message)) == message[ADDRESS_LENGTH:]
        frames_in(message)


def test_a_message_has_so_many_frames_at_the_most(monkeypatch: pytest.MonkeyPatch) -> None:
    """The rest of a longer one is one piece, and no frame."""
    monkeypatch.setattr(frames, "MAX_FRAMES", 3)
    part = framed(b"ab")
    assert split(ADDRESS + 3 * part) == [part] * 3
    assert split(ADDRESS + 6 * part) == [part] * 3 + [3 * part]


def test_a_sender_is_a_run_and_a_group() -> None:
    """Enough to log each sender once: the same for its frames of all passes, another one for another sender."""
    one, later = FRAME.encode(), FRAME._replace(pass_number=8).encode()
    assert sender_in(one) == sender_in(later) != sender_in(FRAME._replace(sender=3).encode())
    assert RUN in sender_in(one) and sender_in(b"") == b""


def test_kinds_and_modes_keep_their_numbers() -> None:
    """Old numbers are never given to new kinds and modes."""
    assert {kind.name: int(kind) for kind in DataKind} == {
        **{
            "TARGET": 21,
            "SIGNAL": 22,
            "ERROR": 23,
            "OUTPUT": 24,
            "INPUT_ERROR": 25,
            "AXON": 26,
            "TARGETS": 27,
            "TELEMETRY": 28,
        },
    }
    assert [int(mode) for mode in Mode] == [0, 1, 2, 3, 4]
