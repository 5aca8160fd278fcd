"""Signed control frames: how the coordinator's messages to nodes carry a signature, and how a node checks it.

Pure functions: the signature itself is computed by an injected function (`ed25519.py`; a stand-in in the simulator). A signed
frame is a control frame with one more layer around its body, at fixed positions:

    length
    array of 4, version, kind 19, bin 8 of 64 bytes: the signature, bin 32: the body of the control frame

The signature covers a fixed text, the address, every other byte of this layer, and the body. The body holds kind, run and
generation; the address holds the incarnation of the receiver. So a signed frame is worthless at another node, and the checks
of `admission.py` reject it in another run or an earlier generation.
"""

from __future__ import annotations

import struct
from collections.abc import Callable

from neuron_node.errors import Unsigned, WrongSignature
from neuron_node.frames import LENGTH_BYTES, PROTOCOL_VERSION, framed

Sign = Callable[[bytes], bytes]
"""Returns the signature of bytes."""
Verify = Callable[[bytes, bytes], bool]
"""Returns whether a signature is the coordinator's signature of bytes. Takes the signature first."""

SIGNED_KIND = 19
SIGNATURE_BYTES = 64
NODES = b"N"
"""The letter of the addresses of nodes. Only the coordinator sends to them, so a node with a key accepts only signed frames there."""
_CONTEXT = b"exmachina control message\n"
_BEGIN = struct.Struct(">BBB2s")
_END = struct.Struct(">BI")
_ARRAY_4, _BIN_8_64, _BIN_32 = 0x94, b"\xc4\x40", 0xC6
_FIXINTS = 0x80
_SIGNATURE = slice(LENGTH_BYTES + _BEGIN.size, LENGTH_BYTES + _BEGIN.size + SIGNATURE_BYTES)
_BODY_BEGINS = _SIGNATURE.stop + _END.size


def signed(address: bytes, frame: bytes, sign: Sign) -> bytes:
    """Return the signed frame of a control frame that is sent to this address."""
    body = frame[LENGTH_BYTES:]
    begin = _BEGIN.pack(_ARRAY_4, PROTOCOL_VERSION, SIGNED_KIND, _BIN_8_64)
    end = _END.pack(_BIN_32, len(body))
    return framed(b"".join((begin, sign(_content(address, begin, end, body)), end, body)))


def opened(address: bytes, frame: bytes, verify: Verify) -> bytes:
    """Return the control frame inside a signed frame that arrived at this address.

    Raises:
        Unsigned: the frame is no signed frame.
        WrongSignature: the coordinator did not sign this frame for this address.
    """
    if len(frame) < _BODY_BEGINS or int.from_bytes(frame[:LENGTH_BYTES], "big") != len(frame) - LENGTH_BYTES:
        raise Unsigned("a control message without a signature")
    begin, end = frame[LENGTH_BYTES : _SIGNATURE.start], frame[_SIGNATURE.stop : _BODY_BEGINS]
    array, version, kind, size = _BEGIN.unpack(begin)
    # Any version: a node must be able to read a `Reject` of another version. The signature covers the number.
    if (array, kind, size) != (_ARRAY_4, SIGNED_KIND, _BIN_8_64) or version >= _FIXINTS:
        raise Unsigned("a control message without a signature")
    body = frame[_BODY_BEGINS:]
    if end != _END.pack(_BIN_32, len(body)):
        raise Unsigned("a signed control message of another length than it states")
    if not verify(frame[_SIGNATURE], _content(address, begin, end, body)):
        raise WrongSignature("the coordinator did not sign this control message for this node")
    return framed(body)


def _content(address: bytes, begin: bytes, end: bytes, body: bytes) -> bytes:
    return b"".join((_CONTEXT, address, begin, end, body))
