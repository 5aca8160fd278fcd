"""Messages to bytes and back. The only file that imports msgpack.

What comes in is a stranger's until every length, type, range and number in it has been checked: `decode` returns a
message or raises a `PeerError`, whatever the bytes.
"""

from __future__ import annotations

from typing import Any, cast

import msgpack
import numpy as np

from neuron_node.activations import Array
from neuron_node.addresses import ADDRESS_LENGTH
from neuron_node.errors import Malformed, Oversized, WrongVersion
from neuron_node.messages import (
    IDENTITY_LENGTH,
    KINDS,
    MAX_FRAME_BYTES,
    PROTOCOL_VERSION,
    RECORDS,
    Data,
    Message,
    Refuse,
)

_NUMBERS: dict[type, int] = {kind: number for number, kind in KINDS.items()}
_REFUSE = _NUMBERS[Refuse]
_HEADER_FIELDS = 4
_FIRST_FIELD = 2 + _HEADER_FIELDS
_LIMITS = {
    "max_bin_len": MAX_FRAME_BYTES,
    "max_str_len": MAX_FRAME_BYTES,
    "max_array_len": 1_000_000,
    "max_map_len": 0,
    "max_ext_len": 0,
}


def _pack_array(value: Any) -> tuple[int, int, bytes]:
    if not isinstance(value, np.ndarray):
        raise TypeError(f"a message can't carry {type(value).__name__}")
    rows, columns = value.shape
    return rows, columns, cast("Array", value).astype("<f8", copy=False).tobytes()


_packer = msgpack.Packer(default=_pack_array)


def encode(message: Message) -> bytes:
    """The body of a message: a msgpack array that starts with version, kind and the header's four fields."""
    return cast("bytes", _packer.pack((PROTOCOL_VERSION, _NUMBERS[type(message)], *message.header, *message[1:])))


def data_prefix(kind: type[Data], run: bytes, generation: int) -> bytes:
    """How the body of every data message of a kind begins in one generation; `packed` of the pass's number follows."""
    fields = (PROTOCOL_VERSION, _NUMBERS[kind], run, generation)
    return _array_header(len(RECORDS[_NUMBERS[kind]].fields) - 1 + _FIRST_FIELD) + b"".join(map(_packer.pack, fields))


def data_middle(incarnation: bytes, attempt: int, mode: int, sender: int, rows: int, columns: int) -> bytes:
    """What stands between the pass's number and the numbers: who sends, and in what shape. The same in every pass.

    `data_prefix + packed(pass) + data_middle + numbers` is what `encode` makes of the message: a sender writes the first two once a
    pass instead of once a message, and a receiver compares them as bytes with what it has decoded in full before.
    """
    fields = b"".join(map(_packer.pack, (incarnation, attempt, mode, sender)))
    return fields + _array_header(3) + b"".join(map(_packer.pack, (rows, columns))) + _binary_header(8 * rows * columns)


def packed(number: int) -> bytes:
    """A whole number as msgpack writes it."""
    return cast("bytes", _packer.pack(number))


def _array_header(length: int) -> bytes:
    return cast("bytes", _packer.pack_array_header(length))


def _binary_header(length: int) -> bytes:
    """The msgpack specification's bin 8, bin 16 and bin 32."""
    if length < 2**8:
        return b"\xc4" + length.to_bytes(1, "big")
    if length < 2**16:
        return b"\xc5" + length.to_bytes(2, "big")
    return b"\xc6" + length.to_bytes(4, "big")


def decode(frame: bytes) -> Message:
    """The message in a frame (address and body). Raises `PeerError`, and nothing else, for bytes that hold none."""
    if len(frame) > MAX_FRAME_BYTES:
        raise Oversized(f"{len(frame)} bytes")
    try:
        body = msgpack.unpackb(frame[ADDRESS_LENGTH:], use_list=False, **_LIMITS)
    except (ValueError, msgpack.UnpackException, TypeError, RecursionError) as fault:
        raise Malformed(f"not msgpack within bounds: {type(fault).__name__}") from None
    if type(body) is not tuple or len(body) < _FIRST_FIELD or type(body[0]) is not int or type(body[1]) is not int:
        raise Malformed("not a message")
    version, kind = body[0], body[1]
    if version != PROTOCOL_VERSION and kind != _REFUSE:
        sender = body[_FIRST_FIELD - 1]
        raise WrongVersion(version, kind, sender if type(sender) is bytes and len(sender) == IDENTITY_LENGTH else b"")
    record = RECORDS.get(kind)
    if record is None:
        raise Malformed(f"kind {kind} is unknown")
    return cast("Message", record.check((body[2:_FIRST_FIELD], *body[_FIRST_FIELD:])))


def sender_of(frame: bytes) -> bytes:
    """Whoever a frame that can't be decoded claims to be from: enough to log each sender once. Empty if it does not say."""
    try:
        body = msgpack.unpackb(frame[ADDRESS_LENGTH:], use_list=False, **_LIMITS)
        sender = body[_FIRST_FIELD - 1]
    except (ValueError, msgpack.UnpackException, TypeError, RecursionError, LookupError):
        return b""
    return sender if type(sender) is bytes and len(sender) == IDENTITY_LENGTH else b""
