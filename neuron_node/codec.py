"""Encode and decode control messages. This is the only file that imports msgpack.

`decode` checks every length, type, range and number of a frame. For any bytes it returns a message or raises a `PeerError`.
"""

from __future__ import annotations

from typing import Any, cast

import msgpack
import numpy as np

from neuron_node.activations import Array
from neuron_node.errors import Malformed, Oversized, WrongVersion
from neuron_node.frames import IDENTITY_LENGTH, LENGTH_BYTES, MAX_FRAME_BYTES, PROTOCOL_VERSION, framed
from neuron_node.protocol import KINDS, RECORDS, Message, Reject

_NUMBERS: dict[type, int] = {kind: number for number, kind in KINDS.items()}
_REFUSE = _NUMBERS[Reject]
_HEADER_FIELDS = 4
_FIRST_FIELD = 2 + _HEADER_FIELDS
_LIMITS = {
    "max_bin_len": MAX_FRAME_BYTES,
    "max_str_len": MAX_FRAME_BYTES,
    "max_array_len": 1_000_000,
    "max_map_len": 0,
    "max_ext_len": 0,
}
_UNREADABLE = (ValueError, msgpack.UnpackException, TypeError, RecursionError)


def _pack_array(value: Any) -> tuple[int, int, bytes]:
    if not isinstance(value, np.ndarray):
        raise TypeError(f"a message can't carry {type(value).__name__}")
    rows, columns = value.shape
    return rows, columns, cast("Array", value).astype("<f8", copy=False).tobytes()


_packer = msgpack.Packer(default=_pack_array)


def encode(message: Message) -> bytes:
    """Return the frame of a control message: its length, and a msgpack array of version, kind, header fields and own fields."""
    return framed(
        cast("bytes", _packer.pack((PROTOCOL_VERSION, _NUMBERS[type(message)], *message.header, *message[1:])))
    )


def decode(frame: bytes) -> Message:
    """Return the control message of a frame.

    Raises:
        Oversized: the frame is longer than any frame may be.
        WrongVersion: the message has another protocol version.
        NotFinite: a number is a NaN or an infinity.
        Malformed: the bytes hold no message, or a field is out of bounds.
    """
    if len(frame) > MAX_FRAME_BYTES:
        raise Oversized(f"{len(frame)} bytes")
    if int.from_bytes(frame[:LENGTH_BYTES], "big") != len(frame) - LENGTH_BYTES:
        raise Malformed("not a frame of the length that it states")
    try:
        body = msgpack.unpackb(frame[LENGTH_BYTES:], use_list=False, **_LIMITS)
    except _UNREADABLE as fault:
        raise Malformed(f"not msgpack within bounds: {type(fault).__name__}") from None
    if type(body) is not tuple or len(body) < _FIRST_FIELD or type(body[0]) is not int or type(body[1]) is not int:
        raise Malformed("not a message")
    version, kind = body[0], body[1]
    if version != PROTOCOL_VERSION and kind != _REFUSE:
        raise WrongVersion(version, kind, _claimed_by(body))
    record = RECORDS.get(kind)
    if record is None:
        raise Malformed(f"kind {kind} is unknown")
    return cast("Message", record.check((body[2:_FIRST_FIELD], *body[_FIRST_FIELD:])))


def sender_of(frame: bytes) -> bytes:
    """Return the incarnation that a frame claims as its sender, for the log; empty if the frame has none."""
    try:
        return _claimed_by(msgpack.unpackb(frame[LENGTH_BYTES:], use_list=False, **_LIMITS))
    except (*_UNREADABLE, LookupError):
        return b""


def _claimed_by(body: Any) -> bytes:
    """Return the incarnation in a decoded body; empty if the body has none."""
    sender = body[_FIRST_FIELD - 1]
    return sender if type(sender) is bytes and len(sender) == IDENTITY_LENGTH else b""
