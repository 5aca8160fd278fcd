"""Messages to bytes and back. The only file that imports msgpack.

What comes in is a stranger's until every length, type, range and number in it has been checked: `decode` returns a
message or raises a `PeerError`, whatever the bytes.
"""

from __future__ import annotations

import struct
from functools import lru_cache
from typing import Any, cast, get_args

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
_DATA = frozenset(_NUMBERS[kind] for kind in get_args(Data))
_DATA_FIELDS = 13
_WHOLE_32, _WHOLE_64 = b"\xce", b"\xcf"
_MARK = struct.Struct(">BQBI4B")
"""The msgpack specification's uint 32 and uint 64: with them everything in a data message has one place, whatever its value."""
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
    """The body of a message: a msgpack array that starts with version, kind and the header's four fields.

    A data message has another order, in which what is the same in every pass stands first, and its lengths are fixed.
    """
    if isinstance(message, Data):
        (run, generation, number, incarnation), attempt, mode, sender, values, part, parts, chain = message
        head = data_head(b"", type(message), run, generation, incarnation, sender)
        mark = data_mark(number, attempt, mode, part, parts, chain)
        return head + mark + data_shape(*values.shape) + _pack_array(values)[2]
    return cast("bytes", _packer.pack((PROTOCOL_VERSION, _NUMBERS[type(message)], *message.header, *message[1:])))


HEAD_LENGTH = ADDRESS_LENGTH + 37
NUMBERS_BEGIN = HEAD_LENGTH + 34
"""Where in a frame the tail ends and the numbers begin: at a multiple of 8, so that they need not be copied to be used."""


def data_head(address: bytes, kind: type[Data], run: bytes, generation: int, incarnation: bytes, sender: int) -> bytes:
    """The first `HEAD_LENGTH` bytes of a data message: to whom, of what kind, and from whom. The same in every pass."""
    fields = b"".join(map(_packer.pack, (PROTOCOL_VERSION, _NUMBERS[kind], run)))
    whole = (
        _WHOLE_64 + int.to_bytes(generation, 8, "big"),
        _packer.pack(incarnation),
        _WHOLE_32 + int.to_bytes(sender, 4, "big"),
    )
    return address + _array_header(_DATA_FIELDS) + fields + b"".join(whole)


def data_mark(number: int, attempt: int, mode: int, part: int = 0, parts: int = 1, chain: int = 0) -> bytes:
    """What follows the head: of which pass; a uint 64, a uint 32, and small numbers. The same for all who send in it.

    `data_head + data_mark + data_shape + numbers` is a whole frame: a sender makes the middle once a pass instead of once
    a message, and a receiver compares frames without decoding them.
    """
    return _MARK.pack(0xCF, number, 0xCE, attempt, mode, part, parts, chain)


@lru_cache(maxsize=256)
def data_shape(rows: int, columns: int) -> bytes:
    """How numbers begin: rows, columns and, as the msgpack specification's bin 32, how many bytes follow."""
    sizes = (_WHOLE_32, rows), (_WHOLE_32, columns), (b"\xc6", 8 * rows * columns)
    return _array_header(3) + b"".join(mark + int.to_bytes(size, 4, "big") for mark, size in sizes)


def _array_header(length: int) -> bytes:
    return cast("bytes", _packer.pack_array_header(length))


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
        raise WrongVersion(version, kind, _claimed(body))
    record = RECORDS.get(kind)
    if record is None:
        raise Malformed(f"kind {kind} is unknown")
    if kind not in _DATA:
        return cast("Message", record.check((body[2:_FIRST_FIELD], *body[_FIRST_FIELD:])))
    if len(body) != _DATA_FIELDS:
        raise Malformed(f"expected {_DATA_FIELDS} fields")
    run, generation, incarnation, sender, number, attempt, mode, part, parts, chain, values = body[2:]
    header = (run, generation, number, incarnation)
    return cast("Message", record.check((header, attempt, mode, sender, values, part, parts, chain)))


def sender_of(frame: bytes) -> bytes:
    """Whoever a frame that can't be decoded claims to be from: enough to log each sender once. Empty if it does not say."""
    try:
        return _claimed(msgpack.unpackb(frame[ADDRESS_LENGTH:], use_list=False, **_LIMITS))
    except (ValueError, msgpack.UnpackException, TypeError, RecursionError, LookupError):
        return b""


def _claimed(body: Any) -> bytes:
    """The incarnation that a body names: a data message does so one place earlier than others. Empty if there is none."""
    for sender in (body[_FIRST_FIELD - 1], body[_FIRST_FIELD - 2]):
        if type(sender) is bytes and len(sender) == IDENTITY_LENGTH:
            return sender
    return b""
