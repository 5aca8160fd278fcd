"""Limits in bytes for messages and queues. `memory_guard.py` enforces the limit of a program's memory."""

from __future__ import annotations

from typing import NamedTuple

from neuron_node.errors import UserError
from neuron_node.frames import MAX_FRAME_BYTES

MESSAGE_BYTES = 16 * 1024 * 1024
"""The size of the largest message, where the network is unknown."""
MESSAGE_AT_LEAST_BYTES = 1024 * 1024
"""The smallest limit: the control messages of a small network must fit."""
JOINED_AT_MOST_BYTES = 1024 * 1024
"""The number of bytes after which the relay stops receiving, and sends."""
MEMORY_AT_LEAST_BYTES = 16 * 1024 * 1024
QUEUED_BYTES = 16 * 1024 * 1024
"""The bytes of received messages that a program has not read, for each sender."""
QUEUED_AT_LEAST, QUEUED_AT_MOST = 32, 1_000


class Limits(NamedTuple):
    """The size of the largest message, and the memory for all messages and subscriptions of a broker."""

    message_bytes: int
    memory_bytes: int


def limits_for(message_bytes: int, in_flight_bytes: int = 0) -> Limits:
    """Return the limits for messages of this size, of which so many bytes may be in flight."""
    return Limits(message_bytes, max(MEMORY_AT_LEAST_BYTES, 2 * message_bytes, in_flight_bytes))


DEFAULT_LIMITS = limits_for(MESSAGE_BYTES)


def queued_messages(message_bytes: int) -> int:
    """Return the high-water mark of a queue of received messages. If the queue is full, the sender waits; none is lost."""
    return max(QUEUED_AT_LEAST, min(QUEUED_BYTES // message_bytes, QUEUED_AT_MOST))


def checked_message_bytes(name: str, value: str) -> int:
    """Return the size that the option or variable `name` states. Raises `UserError` if it is no size, or out of bounds."""
    if not (value.isascii() and value.isdecimal()) or not MESSAGE_AT_LEAST_BYTES <= int(value) <= MAX_FRAME_BYTES:
        raise UserError(
            f"{name}: {value!r} is no number of bytes from {MESSAGE_AT_LEAST_BYTES} to {MAX_FRAME_BYTES}; "
            f"right would be {MESSAGE_BYTES}"
        )
    return int(value)
