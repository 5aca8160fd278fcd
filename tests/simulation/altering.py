"""Copies of data messages with other numbers in them: such as nobody has sent, and a receiver must not take."""

from __future__ import annotations

import struct

from neuron_node.addresses import ADDRESS_LENGTH
from neuron_node.frames import NUMBER_BYTES, NUMBERS_BEGIN, split
from tests.simulation.dice import Dice

_NOT_FINITE = tuple(struct.pack("<d", float(number)) for number in ("nan", "inf", "-inf"))
_HIGH_BYTES_OF_FRACTION = 4
"""In a little-endian float64: its sign and size stay as they are."""


def altered(message: bytes) -> bytes:
    """The message with other numbers, all finite, in every frame that has any."""
    copy = bytearray(message)
    for at in _numbers_of(message):
        copy[at + _HIGH_BYTES_OF_FRACTION] ^= 0x55
    return bytes(copy)


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
