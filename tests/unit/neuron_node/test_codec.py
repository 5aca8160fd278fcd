"""Control messages to bytes and back, and what is made of bytes that hold none. Data frames: see `test_frames`."""

from __future__ import annotations

from typing import Any, get_args

import msgpack
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from neuron_node import codec
from neuron_node.codec import decode, encode, sender_of
from neuron_node.errors import Malformed, NotFinite, Oversized, PeerError, WrongVersion
from neuron_node.frames import LENGTH_BYTES, PROTOCOL_VERSION, DataKind, framed
from neuron_node.protocol import KINDS, Fetch, Heartbeat, Message, NodeStatusRequest, Reject, Request, Traffic
from tests.made_messages import alike, any_message, messages_of
from tests.roles import NODE_LIFE, data, header, matrix

leaf = st.one_of(
    st.none(), st.booleans(), st.integers(-(2**63), 2**64 - 1), st.floats(), st.text(max_size=8), st.binary(max_size=8)
)
anything = st.recursive(leaf, lambda inner: st.lists(inner, max_size=8), max_leaves=30)


def rows_of(values: Any) -> Request:
    """A message that carries a matrix."""
    return Request(header(3), b"a client", "predict", "{}", np.asarray(values, dtype=np.float64))


def body_of(message: Message) -> list[Any]:
    body: list[Any] = msgpack.unpackb(encode(message)[LENGTH_BYTES:])
    return body


def decoded(body: object) -> Message:
    return decode(framed(msgpack.packb(body)))


@pytest.mark.parametrize("kind", sorted(KINDS), ids=lambda kind: KINDS[kind].__name__)
@given(data=st.data())
def test_encoded_message_of_every_kind_is_decoded_equal(kind: int, data: st.DataObject) -> None:
    """Any message within its bounds, bit for bit and type for type; the same message is always the same bytes."""
    message = data.draw(messages_of(kind))
    frame = encode(message)
    returned = decode(frame)
    assert type(returned) is KINDS[kind]
    assert alike(message, returned)
    assert encode(returned) == frame


def test_message_is_the_union_of_all_kinds() -> None:
    """A class without a number could not be sent, and a kind outside the union would escape the type checker."""
    assert {*get_args(Message)} == {*KINDS.values()}


@given(message=any_message)
def test_arrays_come_back_in_one_layout(message: Message) -> None:
    """Native float64 in C order, whatever was sent: another layout would change the last bits of a product."""
    stack: list[Any] = [decode(encode(message))]
    while stack:
        value = stack.pop()
        if isinstance(value, np.ndarray):
            assert (
                value.dtype == np.dtype("float64")
                and value.dtype.isnative
                and value.flags.c_contiguous
                and value.ndim == 2
            )
        elif isinstance(value, tuple):
            stack.extend(value)


@given(garbage=st.binary(max_size=200))
def test_garbage_is_a_peers_fault(garbage: bytes) -> None:
    """Any bytes at all: a message, or a `PeerError`, and nothing else. Asking for their sender is as safe."""
    refused_or_decoded(garbage)
    refused_or_decoded(framed(garbage))


@given(message=any_message, cut=st.integers(0, 400))
def test_a_truncated_message_is_refused(message: Message, cut: int) -> None:
    """Whatever is missing at its end."""
    frame = encode(message)
    with pytest.raises(PeerError):
        decode(frame[: min(cut, len(frame) - 1)])


@given(message=any_message, position=st.integers(0, 10_000), bit=st.integers(0, 7))
def test_a_flipped_bit_is_a_message_or_a_peers_fault(message: Message, position: int, bit: int) -> None:
    """Never another exception; and what is accepted can be sent on."""
    frame = bytearray(encode(message))
    frame[position % len(frame)] ^= 1 << bit
    refused_or_decoded(bytes(frame))


@given(message=any_message, extra=st.binary(min_size=1, max_size=10))
def test_nothing_may_follow_a_message(message: Message, extra: bytes) -> None:
    """One frame, one message."""
    with pytest.raises(PeerError):
        decode(encode(message) + extra)


@given(body=anything)
def test_msgpack_that_is_no_message_is_a_peers_fault(body: object) -> None:
    """Any nesting of any values, alone and behind a header that is right."""
    refused_or_decoded(framed(msgpack.packb(body)))
    for kind in KINDS:
        refused_or_decoded(framed(msgpack.packb([PROTOCOL_VERSION, kind, *header(), body, body])))


def refused_or_decoded(frame: bytes) -> None:
    assert len(sender_of(frame)) in (0, 8)
    try:
        message = decode(frame)
    except PeerError:
        return
    assert alike(decode(encode(message)), message)


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), float("-inf")])
def test_numbers_that_are_not_finite_are_refused(bad: float) -> None:
    """In an array, wherever it stands, and in a field."""
    for place in range(3):
        values = [[1.0, 2.0, 3.0]]
        values[0][place] = bad
        with pytest.raises(NotFinite):
            decode(encode(rows_of(values)))


@pytest.mark.parametrize("values", [[[1e308, -1e308, 1e308]], [[5e-324, 0.0, -0.0]]])
def test_numbers_at_the_edge_of_float64_are_accepted(values: list[list[float]]) -> None:
    """Even where the sum of their squares overflows; the sign of zero is kept."""
    returned = decode(encode(rows_of(values)))
    assert isinstance(returned, Request)
    assert returned.rows.tobytes() == np.array(values).tobytes()


@pytest.mark.parametrize(
    "numbers",
    [
        [1, 3, bytes(16)],
        [1, 3, bytes(32)],
        [1, 3, bytes(23)],
        [3, 1.0, bytes(24)],
        [True, 3, bytes(24)],
        [-1, -3, bytes(24)],
        [0, 2**40, b""],
        [2**40, 0, b""],
        [1, 3],
        [1, 3, bytes(24), 0],
        bytes(24),
        [1.0, 2.0, 3.0],
        None,
        [1, 3, "x" * 24],
    ],
)
def test_numbers_of_a_wrong_shape_are_refused(numbers: object) -> None:
    """Too few or too many bytes, a shape of no whole numbers, negative or beyond bounds, or no matrix at all."""
    body = body_of(rows_of([[1.0, 2.0, 3.0]]))
    assert alike(decoded(body), rows_of([[1.0, 2.0, 3.0]]))
    with pytest.raises(Malformed):
        decoded([*body[:-1], numbers])


@pytest.mark.parametrize("value", [True, False, -1, 2**63, 1.0, "1", b"1", None, [1]])
@pytest.mark.parametrize("place", [3, 4, 6, 7])
def test_whole_numbers_are_nothing_else(place: int, value: object) -> None:
    """A bool, a float, a text, a negative or too large number is no generation, pass, group or step."""
    body = body_of(Fetch(header(), 2, 3))
    body[place] = value
    with pytest.raises(Malformed):
        decoded(body)


@pytest.mark.parametrize("life", [b"short", b"far too long", "eight ch", None, 12345678, [0] * 8])
def test_an_identity_is_eight_bytes(life: object) -> None:
    """Of run and incarnation."""
    for place in (2, 5):
        body = body_of(NodeStatusRequest(header()))
        body[place] = life
        with pytest.raises(Malformed):
            decoded(body)


@pytest.mark.parametrize("kind", [0, 19, *DataKind, 99, -1, True, 1.0, "1", None])
def test_an_unknown_kind_is_refused(kind: object) -> None:
    """Numbers that are not given to any kind, those of data, and what is no number."""
    with pytest.raises(Malformed):
        decoded([PROTOCOL_VERSION, kind, *header()])


@pytest.mark.parametrize("change", [-1, 1])
def test_a_field_too_few_or_too_many_is_refused(change: int) -> None:
    """For every kind that has fields."""
    body = body_of(Heartbeat(header(), "working", Traffic(1, 2, 3)))
    with pytest.raises(Malformed):
        decoded(body[:-1] if change < 0 else [*body, 0])


@pytest.mark.parametrize("body", [b"\x91" * 10_000 + b"\xc0", b"\xdd\x00\x0f\x42\x40" * 1_000, b"\xdc\xff\xff" * 1_000])
def test_deep_nesting_is_refused(body: bytes) -> None:
    """Ten thousand arrays in each other, and a thousand that promise a million items each."""
    with pytest.raises(Malformed):
        decode(framed(body))
    assert sender_of(framed(body)) == b""


@pytest.mark.parametrize(
    "body",
    [
        msgpack.packb({}),
        msgpack.packb({"version": 1}),
        b"\xd6\xff\x00\x00\x00\x00",
        b"\xc7\x00\x05",
        b"\xc1",
        b"",
        b"\x90",
        b"\xa4\xff\xff\xff\xff",
    ],
    ids=["map", "full map", "timestamp", "extension", "never used", "nothing", "empty array", "no UTF-8"],
)
def test_msgpack_of_other_types_is_refused(body: bytes) -> None:
    """Maps, extensions, text that is none."""
    with pytest.raises(Malformed):
        decode(framed(body))


def test_a_frame_beyond_the_bound_is_not_even_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    """One byte more than the protocol allows."""
    frame = encode(rows_of([[1.0]]))
    monkeypatch.setattr(codec, "MAX_FRAME_BYTES", len(frame))
    decode(frame)
    monkeypatch.setattr(codec, "MAX_FRAME_BYTES", len(frame) - 1)
    with pytest.raises(Oversized):
        decode(frame)


@pytest.mark.parametrize("version", [0, PROTOCOL_VERSION - 1, PROTOCOL_VERSION + 1, 2**40])
def test_another_version_is_told_apart_with_its_sender(version: int) -> None:
    """Whatever else such a message holds, so that its sender can be told why."""
    body = [version, 1, *header(incarnation=NODE_LIFE), "fields", "of another", 1.5]
    with pytest.raises(WrongVersion) as caught:
        decoded(body)
    assert (caught.value.version, caught.value.kind, caught.value.sender) == (version, 1, NODE_LIFE)
    with pytest.raises(WrongVersion) as caught:
        decoded([version, 1, b"", 0, 0, "not an identity"])
    assert caught.value.sender == b""


@pytest.mark.parametrize("version", [0, 2, 99])
def test_a_refusal_is_understood_in_every_version(version: int) -> None:
    """A stranger can read why it can't take part."""
    refusal = Reject(header(), "another version")
    assert alike(decoded([version, *body_of(refusal)[1:]]), refusal)


def test_the_sender_of_a_bad_message_is_found() -> None:
    """Where a header is there; nothing where there is none."""
    body = body_of(Fetch(header(incarnation=NODE_LIFE), 2, 3))
    body[-1] = None
    assert sender_of(framed(msgpack.packb(body))) == NODE_LIFE
    for garbage in (b"\x93\x01\x02\x03", b"\x80", b""):
        assert sender_of(framed(garbage)) == b""
    assert sender_of(data(DataKind.SIGNAL, 2, 1, matrix((0.5,))).encode()) == b""


def test_data_are_no_control_message() -> None:
    """Where control is expected; only the address tells a receiver which of the two a frame is."""
    with pytest.raises(Malformed):
        decode(data(DataKind.SIGNAL, 2, 1, matrix((0.5,))).encode())


@pytest.mark.parametrize("change", [-1, 1])
def test_a_frame_has_the_length_that_it_states(change: int) -> None:
    """One byte more or less in the length, or in the frame."""
    frame = encode(NodeStatusRequest(header()))
    with pytest.raises(Malformed, match="length"):
        decode((len(frame) - LENGTH_BYTES + change).to_bytes(LENGTH_BYTES, "big") + frame[LENGTH_BYTES:])
    with pytest.raises(Malformed, match="length"):
        decode(frame[:-1] if change < 0 else frame + b"\x00")


def test_encoding_an_invalid_message_raises() -> None:
    """Encoding something that no message may carry is a bug here, and raises as one."""
    with pytest.raises(TypeError):
        encode(Fetch(header(), {1, 2}, 0))  # type: ignore[arg-type]
