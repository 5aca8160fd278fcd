"""Limits in bytes: their values, and the option that sets them."""

from __future__ import annotations

import pytest

from neuron_node.errors import UserError
from neuron_node.frames import MAX_FRAME_BYTES
from neuron_node.limits import (
    MEMORY_AT_LEAST_BYTES,
    MESSAGE_AT_LEAST_BYTES,
    QUEUED_AT_LEAST,
    QUEUED_AT_MOST,
    QUEUED_BYTES,
    checked_message_bytes,
    limits_for,
    queued_messages,
)


def test_queue_holds_a_number_of_bytes_within_bounds() -> None:
    """Large messages: few; small ones: many."""
    assert queued_messages(QUEUED_BYTES // 100) == 100
    assert queued_messages(MAX_FRAME_BYTES) == QUEUED_AT_LEAST
    assert queued_messages(10) == QUEUED_AT_MOST


def test_memory_has_room_for_two_messages_and_for_all_in_flight() -> None:
    """And never less than a least size."""
    assert limits_for(1_000_000) == (1_000_000, MEMORY_AT_LEAST_BYTES)
    assert limits_for(MEMORY_AT_LEAST_BYTES).memory_bytes == 2 * MEMORY_AT_LEAST_BYTES
    assert limits_for(1_000_000, 10 * MEMORY_AT_LEAST_BYTES).memory_bytes == 10 * MEMORY_AT_LEAST_BYTES


@pytest.mark.parametrize(
    "value", ["", "many", "-1", "1e7", "²", str(MESSAGE_AT_LEAST_BYTES - 1), str(MAX_FRAME_BYTES + 1)]
)
def test_wrong_size_of_a_message_is_refused_in_one_line(value: str) -> None:
    """The line names the option, the value and the range."""
    with pytest.raises(
        UserError, match=r"^--max-message: .*no number of bytes from [0-9]+ to [0-9]+; right would be"
    ) as found:
        checked_message_bytes("--max-message", value)
    assert repr(value) in str(found.value) and "\n" not in str(found.value)


def test_right_size_of_a_message_is_taken() -> None:
    """The bounds too."""
    for size in (MESSAGE_AT_LEAST_BYTES, 20_000_000, MAX_FRAME_BYTES):
        assert checked_message_bytes("--max-message", str(size)) == size
