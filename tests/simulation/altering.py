"""Copies of data messages with other numbers in them: such as nobody has sent, and a receiver must not take."""

from __future__ import annotations

import struct

from neuron_node.addresses import ADDRESS_LENGTH
from neuron_node.errors import PeerError
from neuron_node.frames import LENGTH_BYTES, NUMBER_BYTES, NUMBERS_BEGIN, parse, split
from tests.simulation.dice import Dice

TOO_LONG_BYTES = 20_000
_NOT_FINITE = tuple(struct.pack("<d", float(number)) for number in ("nan", "inf", "-inf"))
_HIGH_BYTES_OF_FRACTION = 4
"""In a little-endian float64: its sign and size stay as they are."""


def altered(message: bytes) -> bytes:
    """The message with other numbers, all finite, in every frame that has any."""
    copy = bytearray(message)
    for at in _numbers_of(message):
        copy[at + _HIGH_BYTES_OF_FRACTION] ^= 0x55
    return bytes(copy)


def altered_later(message: bytes, dice: Dice) -> bytes:
    """The message with other numbers, and now and then at a higher attempt, which asks for a repetition."""
    attempts = 1 + dice.below(2) if dice.falls(0.5) else 0
    frames = []
    for frame in split(altered(message)):
        try:
            data = parse(frame)
        except PeerError:
            # Something for other programs.
            continue
        frames.append(data._replace(attempt=data.attempt + attempts).encode())
    return message[:ADDRESS_LENGTH] + b"".join(frames)


def too_long(message: bytes, dice: Dice) -> bytes:
    """The first frame of a message with other numbers, and more of them than the shape says."""
    frame = split(altered(message))[0]
    body = frame[LENGTH_BYTES:] + bytes(dice.between(1, TOO_LONG_BYTES))
    return message[:ADDRESS_LENGTH] + len(body).to_bytes(LENGTH_BYTES, "big") + body


def not_finite(message: bytes, dice: Dice) -> bytes:
    """The message with one number, if it has any, that is a NaN or an infinity."""
    places = _numbers_of(message)
    if not places:
        return message
    at = dice.pick(places)
    return message[:at] + dice.pick(_NOT_FINITE) + message[at + NUMBER_BYTES :]


def _numbers_of(message: bytes) -> list[int]:
    """Where in a message each number begins."""
    places, at = list[int](), ADDRESS_LENGTH
    for frame in split(message):
        places += range(at + NUMBERS_BEGIN, at + len(frame) - NUMBER_BYTES + 1, NUMBER_BYTES)
        at += len(frame)
    return places
